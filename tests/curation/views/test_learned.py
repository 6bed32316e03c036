"""A run that has not learned, on every page that would else name suspects."""

from pathlib import Path

import numpy as np
import pytest

from curation.project import Project
from curation.samples.table import sample_table
from curation.views.train.progress import CURVES
from tests import views
from tests.fakes import make_project, make_run


@pytest.fixture
def project(home: Path) -> Project:
    """60 samples and two runs without knowledge: the labels of the one are shuffled, the loss of the other rose."""
    project, rng = Project.open(make_project(home / "pets", num_train=60, size=2)), np.random.default_rng(0)
    names = sample_table(project, None)["given_label"]
    given = np.array([project.classes.index(name) for name in names])
    for name, labels in (("shuffled", rng.permutation(given)), ("risen", given)):
        run = make_run(project.path, name)
        probs = np.full((60, 3), 0.1)
        probs[np.arange(60), labels] = 0.8
        run.write_probabilities(probs, "label_head")
    metrics = run.read_metrics().to_dict("records")
    run.write_metrics([row | {"train_loss": loss} for row, loss in zip(metrics, (1, 4, 15, 26), strict=True)])
    return project


@pytest.mark.parametrize(("run", "said"), [("shuffled", "has not learned to tell the classes"), ("risen", "diverged")])
@pytest.mark.parametrize("page", ["train", "explore", "triage", "audit"])
def test_every_page_says_so_and_names_no_suspects(project: Project, page: str, run: str, said: str) -> None:
    app = views.start(project.path.parent, page, project="pets", run=run)
    text = views.texts(app)
    assert text.count(f"Run {run} {said}") == 1, "once, in words"
    assert all(caption not in text for *_, caption, _ in CURVES), "no curve is explained as if it were a good run's"
    assert "Probably mislabeled" not in text and "are wrong**" not in text
    if page == "audit":
        app.session_state["section"] = "Find"
        text = views.texts(views.rerun(app))
        assert "There is no queue." in text and not app.get("bidi_component"), "nothing is asked"
