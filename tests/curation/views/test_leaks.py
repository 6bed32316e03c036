"""Test pictures that are in training, said wherever accuracy is; begun in the background where it is not known."""

from typing import Any

import pandas as pd
import pytest

from curation.audit.suspects import leaks
from curation.audit.suspects.leaks import Leaks, SplitLeaks
from curation.project import Project
from engine.contract.feature_dir import FeatureDir
from tests import views
from tests.fake_features import make_features
from tests.fake_studies import make_study
from tests.fakes import make_project, make_run

SAID = "**2 of 12 test pictures are (nearly) in training** (1 the same file): accuracy on test is too high by an " \
    "unknown amount."


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch) -> Leaks:
    """Two test pictures of every project that are in training."""
    pairs = pd.DataFrame({
        "sample_id": ["test-00000", "test-00000", "test-00001"], "split": "test",
        "train_id": ["train-00000", "train-00003", "train-00002"], "distance": [0.0, 0.01, 0.02],
        "is_identical": [True, False, False]})
    known = Leaks(features="lite0", pairs=pairs, splits=(
        SplitLeaks(split="clean", num_samples=12, num_near=0, num_identical=0),
        SplitLeaks(split="test", num_samples=12, num_near=2, num_identical=1)))
    monkeypatch.setattr(leaks, "leaks_of", lambda project: known)
    return known


def test_train_and_compare_say_it_beside_accuracy_and_show_the_pairs(home, found):
    project = make_project(home / "pets")
    make_run(project, "old")
    make_run(project, "new", seed=1)
    app = views.start(home, "train")
    assert SAID in views.texts(app)
    pictures = [element.proto.body for element in app.get("html") if 'class="ws-pictures"' in element.proto.body]
    assert len(pictures) == 2, "each test picture once, with the nearest of training"
    assert "test: cat" in pictures[0] and "training: cat" in pictures[0] and "another label" not in pictures[0]
    assert "test: dog" in pictures[1] and "another label" in pictures[1]
    assert SAID in views.texts(views.start(home, "compare"))


def test_a_study_says_it_below_its_figure(home, found):
    make_study(make_project(home / "pets"))
    assert SAID in views.texts(views.start(home, "study"))


def test_a_run_without_accuracy_yet_says_nothing(home, found):
    run = make_run(make_project(home / "pets"), "first", state="running")
    rows: list[dict[str, Any]] = run.read_metrics().drop(columns=["clean_accuracy", "test_accuracy"]).to_dict("records")
    run.write_metrics(rows)  # type: ignore[arg-type]
    assert "in training**" not in views.texts(views.start(home, "train"))


def test_where_it_is_not_known_it_is_begun_once_and_only_with_features(home, monkeypatch):
    begun: list[tuple[str, str]] = []
    monkeypatch.setattr(leaks, "begin", lambda project, features: begun.append((project.name, features)))
    project = make_project(home / "pets")
    make_run(project, "first")
    views.start(home, "train")
    assert not begun
    make_features(project, "lite0")
    app = views.start(home, "train")
    views.rerun(app)
    assert begun == [("pets", "lite0")]
    make_features(project, "lite0", missing=("train-00000",))
    views.rerun(app)
    assert len(begun) == 2, "other features"


def test_what_is_found_is_shown_as_soon_as_it_is_there(home):
    path = make_project(home / "pets")
    folder = make_features(path, "lite0", num_features=64)
    make_run(path, "first")
    app = views.start(home, "train")
    assert "in training**" not in views.texts(app)
    samples = folder.read_samples()
    at = samples.set_index("sample_id")["row"]
    samples.loc[samples["sample_id"] == "test-00000", "row"] = at["train-00000"]  # the same picture
    folder.write_samples(samples)
    leaks.find_leaks(Project.open(path), "lite0", lambda *_: None)
    assert FeatureDir.of(path, "lite0").exists()
    assert "of 12 test pictures are (nearly) in training" in views.texts(views.rerun(app))
