"""Features and predictions that people bring, through AppTest: imported by click, or refused."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from curation.jobs import run_jobs
from engine.contract.config import RunConfig
from engine.contract.feature_dir import FeatureDir, FeatureStore
from engine.contract.manifest import read_manifest
from engine.contract.run_dir import RunDir
from tests import views
from tests.fake_features import make_features
from tests.fakes import make_project


@pytest.fixture
def project(home: Path) -> Path:
    return make_project(home / "pets")


@pytest.fixture
def queued(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, RunConfig]]:
    """The runs that were asked for; none is started."""
    found: list[tuple[str, RunConfig]] = []
    monkeypatch.setattr(run_jobs, "submit", lambda project, name, config: found.append((name, config)))
    return found


def press(app: Any) -> Any:
    app.button(key="own.start").click()
    return views.rerun(app)


def started(home: Path, **given: str) -> Any:
    """The Data page with these fields of the form filled in."""
    app = views.start(home, "data")
    for field, value in given.items():
        (app.text_area if field == "classes" else app.text_input)(key=f"own.{field}").set_value(value)
    return app


def test_features_by_path_become_the_projects_and_are_judged(home, project, queued, tmp_path):
    values = np.random.default_rng(0).normal(size=(len(read_manifest(project)), 7)).astype(np.float16)
    np.save(tmp_path / "dino.npy", values)
    app = press(started(home, path=str(tmp_path / "dino.npy"), **{"name.Features": "dino"}, backbone="DINOv2 ViT-S/14",
                        licence="Apache-2.0"))
    assert np.array_equal(FeatureStore.open(project, "dino").read(np.arange(len(values))), values)
    document = FeatureDir.of(project, "dino").read_document()
    told = [document[key] for key in ("kind", "backbone", "licence")]
    assert told == ["imported", "DINOv2 ViT-S/14", "Apache-2.0"]
    assert queued == [("dino", RunConfig(method="discriminant", features="dino"))]
    assert "taken as all" in app.success[0].value and not app.error
    assert "**dino** &nbsp; imported" in views.texts(app)
    assert not views.rerun(app).success


def test_a_dropped_file_is_taken_and_a_name_that_is_taken_needs_to_be_asked_for(home, project, queued):
    make_features(project, "dino", num_features=12)
    ids = read_manifest(project)["sample_id"]
    buffer = io.BytesIO()
    np.savez(buffer, features=np.ones((len(ids), 3), dtype=np.float32), sample_id=ids.to_numpy(dtype=str))
    app = started(home, **{"name.Features": "dino"})
    app.file_uploader(key="own.upload").upload("mine.npz", buffer.getvalue(), "application/octet-stream")
    assert "choose another name" in press(app).error[0].value and not queued
    app.checkbox(key="own.replace").set_value(True)
    assert not press(app).error
    document = FeatureDir.of(project, "dino").read_document()
    assert (document["num_features"], document["backbone"]) == (3, "mine.npz")
    assert [name for name, _ in queued] == ["dino"]


def test_predictions_become_a_run_that_is_shown(home, project, queued, tmp_path):
    classes = sorted(read_manifest(project)["given_label"].unique())
    num = len(read_manifest(project))
    np.save(tmp_path / "oof.npy", np.full((num, len(classes)), 1.0 / len(classes)))
    app = views.start(home, "data")
    app.segmented_control(key="own.kind").set_value("Out-of-fold predictions")
    views.rerun(app)
    app.text_input(key="own.path").set_value(str(tmp_path / "oof.npy"))
    app.text_input(key="own.name.Out-of-fold predictions").set_value("oof")
    app.text_area(key="own.classes").set_value("\n".join(classes[:-1]))
    refusal = press(app).error[0].value.replace("\\", "")
    assert "must have one a column; classes.txt has" in refusal and not RunDir.of(project, "oof").path.exists()
    app.text_area(key="own.classes").set_value("\n".join(reversed(classes)))
    app = press(app)
    assert RunDir.of(project, "oof").read_config()["imported_file"] == "oof.npy"
    assert app.selectbox(key="run").value == "oof" and "matched by name" in app.success[0].value
    assert not queued


@pytest.mark.parametrize(("file", "says"), [
    ("", "an import needs one file; got none"), ("here.npy", "absolute path"), ("/nowhere/x.npy", "there is none at"),
    (__file__, "must end in .npy")])
def test_what_cannot_be_imported_is_refused_in_one_line(home, project, queued, file, says):
    app = press(started(home, path=file, **{"name.Features": "dino"}))
    message = app.error[0].value.replace("\\", "")
    assert says in message and "\n" not in message and not queued
    assert not FeatureDir.of(project, "dino").path.exists()


def test_a_number_that_is_not_finite_is_named_and_leaves_nothing(home, project, queued, tmp_path):
    values = np.ones((len(read_manifest(project)), 3))
    values[4, 1] = np.nan
    np.save(tmp_path / "bad.npy", values)
    app = press(started(home, path=str(tmp_path / "bad.npy"), **{"name.Features": "dino"}))
    assert "row 4" in app.error[0].value and "must be finite" in app.error[0].value and not queued
    assert not FeatureDir.of(project, "dino").path.exists()
