"""What the version before the rooms left opens in this one; make.py says what is in the archive."""

import json
import math
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from curation.jobs import study_jobs
from curation.studies.page import report_page
from curation.views.study import charts as study_charts
from engine.contract.config import RunConfig
from engine.contract.studies.study_dir import StudyDir
from engine.contract.studies.study_plan import parse_arm
from engine.contract.studies.study_summary import report_tables, summary
from engine.study import worker
from engine.study.runner import run_study
from tests import ROOT, views


def unpacked(folder: Path) -> Path:
    """The project, in a home of its own."""
    with zipfile.ZipFile(ROOT / "tests" / "before_rooms" / "before_rooms.zip") as archive:
        archive.extractall(folder)
    return folder / "projects" / "pets"


def is_close(found: object, expected: object) -> bool:
    """The same JSON value, numbers to a relative 1e-9: means are added up in another order on another machine."""
    if isinstance(found, Mapping) and isinstance(expected, Mapping):
        return found.keys() == expected.keys() and all(is_close(found[key], expected[key]) for key in found)
    if isinstance(found, list) and isinstance(expected, list):
        return len(found) == len(expected) and all(map(is_close, found, expected))
    if isinstance(found, float) and isinstance(expected, float):
        return math.isclose(found, expected, rel_tol=1e-9, abs_tol=1e-12)
    return found == expected


def test_a_study_is_listed_with_its_plan_and_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WHETSTONE_HOME", str(tmp_path / "home"))
    project = unpacked(tmp_path)
    (study,) = StudyDir.list(project)
    assert [found.name for found in study_jobs.studies(project)] == [study.name] == ["methods"]
    document = study.read_document()
    assert [arm.name for arm in document.plan.arms] == ["erm", "molere"] and document.plan.seeds == (0, 1)
    assert document.plan.reference == "erm" and document.plan.settings["epochs"] == 4
    assert document.code_revision == "7f322c833d91" and document.is_tuned_here is None
    assert study_jobs.asked_plan(study) == document.plan and study_jobs.status_of(study).state == "done"
    rows = study.read_rows()
    assert rows[["arm", "seed"]].to_numpy().tolist() == [["erm", 0], ["erm", 1], ["molere", 0], ["molere", 1]]
    raw = json.loads((study.path / "rows" / "erm-s0.json").read_text())
    assert rows["mean_margin_auroc"].iloc[0] == raw["aum_auroc"] == 1.0 and rows["curve"].iloc[0] == {
        name.replace("sample_size", "sample_frac"): values for name, values in raw["curve"].items()}
    assert study_jobs.epoch_seconds(project).keys() >= {"erm", "molere"}


def now_called(name: str) -> str:
    return name.replace("aum", "mean_margin").replace("sample_size", "sample_frac")


def test_a_study_is_summed_up_and_reported_as_before(tmp_path: Path) -> None:
    study = StudyDir.of(unpacked(tmp_path), "methods")
    before = json.loads(study.tables_path.read_text())
    tables = report_tables(study)
    assert all(is_close(tables[name], before[name]) for name in ("margin_bins", "groups"))
    assert is_close(tables["curves"], [{**line, "figure": now_called(line["figure"])} for line in before["curves"]])
    assert tables["failed"] == before["failed"] == []
    for figure, lines in before["summary"].items():
        for line, was in zip(tables["summary"][figure], lines, strict=True):
            assert is_close(line, {now_called(name): value for name, value in was.items()})
    page = report_page(study)
    assert page.count("<li>") == len(before["cautions"]) > 3, "made of values now, in other words"
    assert summary(study.read_rows(), "erm")["verdict"].tolist()[0] == "reference"


def test_a_study_is_shown_on_its_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WHETSTONE_HOME", str(tmp_path / "home"))
    project = unpacked(tmp_path)
    monkeypatch.setenv("WHETSTONE_PROJECTS", str(project.parent))
    app = views.start(project.parent, "study", query={"study": "methods"})
    said = views.texts(app)
    assert "done, 4 of 4 runs: ERM, MOLERE; seeds 0, 1" in said
    assert "It is not known whether settings were chosen" in said
    study = StudyDir.of(project, "methods")
    shown = study_charts.shown(study, study_charts.stamp_of_study(study), ("erm", "molere"), "erm")
    assert {"margin_bins", "margin_histogram", "class"} <= set(shown.charts)


def test_a_study_goes_on_where_it_was_and_trains_what_is_missing_alone(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trained: list[tuple[str, int]] = []

    class Trained(Exception):
        """In place of a training."""

    def refuse(config: RunConfig, *rest: object) -> None:
        trained.append((config.method, config.seed))
        raise Trained

    monkeypatch.setattr(worker, "train_and_measure", refuse)
    project = unpacked(tmp_path)
    study = run_study(project, "methods", [parse_arm("molere: method=molere guard=agree finish_fraction=0.2")])
    assert trained == [] and study.read_status()["state"] == "done"
    document = json.loads((study.path / "study.json").read_text())
    assert "not_controlled" not in document and document["created"] < document["updated"]
    (study.path / "rows" / "molere-s1.json").unlink()
    run_study(project, "methods", seeds=[2])
    assert trained == [("molere", 1), ("erm", 2), ("molere", 2)]
    trained.clear()
    run_study(unpacked(tmp_path / "as it was"), "methods")
    assert trained == [("molere", 0), ("molere", 1)], "its guard and finish are others by default now; plain has none"
