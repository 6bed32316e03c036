"""What the version before the rooms left opens in this one; make.py says what is in the archive."""

import zipfile
from pathlib import Path

import pytest

from curation.__main__ import main
from curation.experiments import compare
from curation.experiments.effects import effects, experiment_of
from curation.exports.exporting import EXPORTS, export
from curation.jobs import queue, request, run_jobs
from curation.project import Project
from curation.views.runs.run_table import runs_frame
from tests import ROOT, views


def unpacked(folder: Path) -> Path:
    """The project, in a home of its own."""
    with zipfile.ZipFile(ROOT / "tests" / "before_rooms" / "before_rooms.zip") as archive:
        archive.extractall(folder)
    return folder / "projects" / "pets"


def test_decisions_are_in_force_as_before_and_can_go_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    project = Project.open(unpacked(tmp_path))
    ledger = project.ledger()
    state = ledger.state().set_index("sample_id")
    assert state["pin"].dropna().to_dict() == {"p000": "validation", "p001": "train", "p002": "validation"}
    assert state.index[state["excluded"]].tolist() == ["p004", "p030"]
    labels = {"p017": "dog", "p027": "bird", "p037": "cat", "p057": "bird", "p064": "dog"}
    assert state["label"].dropna().to_dict() == labels == ledger.corrections().set_index("sample_id")["label"].to_dict()
    assert ledger.history_of("p017")[["batch_id", "who"]].to_numpy().tolist() == [[5, "eve"], [4, "bob"], [3, "ada"]]
    (conflict,) = ledger.conflicts().to_dict("records")
    assert {name: conflict[name] for name in ("sample_id", "kind", "first_who", "second_who", "in_force")} == {
        "sample_id": "p001", "kind": "pin", "first_who": "ada", "second_who": "bob", "in_force": "train"}

    assert main(["decide", str(project.path), "list"]) == 0
    assert "14 batches, 10 samples decided on" in capsys.readouterr().out
    assert main(["decide", str(project.path), "pin", "--to", "none", "--id", "p001", "--by", "bob"]) == 0
    assert ledger.undo("bob") == 15
    ledger.pin(["p001"], "train", "eve", origin="settlement")
    assert ledger.conflicts().empty and len(ledger.batches()) == 17
    views_of_batches = ledger.batches().set_index("batch_id")["view"]
    assert (views_of_batches[5], views_of_batches[9]) == ("decide: conflicts", "audit"), "as people read them"


def test_runs_are_listed_and_compared_as_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = Project.open(unpacked(tmp_path))
    monkeypatch.setenv("WHETSTONE_HOME", str(tmp_path / "home"))
    runs = run_jobs.run_dirs(project.path)
    assert {run.name for run in runs} == {"plain", "decided", "untouched", "first", "asked"}
    frame = runs_frame(runs).set_index("name")
    assert frame["state"].drop("asked").tolist() == ["done"] * 4 and frame.loc["asked", "state"] == "interrupted"
    assert frame["epochs"].to_dict() == {name: "0 / 3" if name == "asked" else "4 / 4" for name in frame.index}
    assert frame.loc["asked", "method"].startswith("Preview: ") and frame.loc["decided", "num_decisions"] == 6

    first, decided = project.run("first"), project.run("decided")
    table = compare.accuracy_table(first, decided)
    assert table[["split", "num_samples", "accuracy_a", "accuracy_b"]].to_numpy().tolist() == [
        ["clean", 12, 1.0, 1.0], ["test", 12, 1.0, 1.0]]
    assert compare.decision_differences(first, decided)["sample_id"].tolist() == [
        "p000", "p001", "p002", "p007", "p017", "p030"]
    assert compare.cautions(first, decided) == [
        "More than one thing differs (embedding, decisions), so the difference has no single cause."]
    assert len(compare.sample_changes(first, decided)) == 66 and len(compare.epoch_figures(first, decided)) > 5
    assert experiment_of(first, decided, project.runs()) is None, "the map is made by one of them alone"
    assert len(effects([(0, first, decided)]))


def test_what_was_asked_for_is_still_there_and_would_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = Project.open(unpacked(tmp_path))
    monkeypatch.setenv("WHETSTONE_HOME", str(tmp_path / "home"))
    asked = project.run("asked")
    assert run_jobs.status_of(asked).can_resume and request.warm_start_of(asked) == "first"
    started: list[tuple[str, list[str]]] = []
    monkeypatch.setattr(run_jobs, "enqueue", lambda project, kind, run, device, command: (
        started.append((kind, command))))
    run_jobs.resume(project.path, "asked")
    assert started == [("run", request.train_command(project.path, "asked"))]
    assert started[0][1][-6:] == ["--name", "asked", "--decisions", str(asked.path / "request.parquet"), "--warm-start",
                                  "first"]
    assert queue.active() == [] and [queue.get(i).kind for i in (1, 2)] == ["run", "study"]


@pytest.mark.parametrize(("what", "form", "num"), [
    ("hard-validation", "imagefolder", 6), ("hard-validation", "table", 6), ("hard-validation", "clothing1m", 6),
    ("corrected-labels", "table", 5), ("corrected-labels", "clothing1m", 14)])
def test_exports_hold_what_they_held(tmp_path: Path, what: str, form: str, num: int) -> None:
    project = Project.open(unpacked(tmp_path))
    run = project.run("decided") if EXPORTS[what, form].needs_run else None
    result = export(project, run, what, form, tmp_path / "out")
    assert result.num_samples == num and result.problems.empty and any(result.path.iterdir())


@pytest.mark.parametrize("page", ["data", "train", "decide", "compare", "export"])
def test_pages_show_an_old_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, page: str) -> None:
    project = unpacked(tmp_path)
    monkeypatch.setenv("WHETSTONE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("WHETSTONE_PROJECTS", str(project.parent))
    app = views.start(project.parent, page, project="pets", run="first")
    assert not app.exception and not app.error, views.texts(app)
