"""How much of each split a run is about is kept, and said wherever its figures are."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from curation.__main__ import main
from curation.project import Project
from curation.samples.taking_part import lost_of, part_lines, splits_of
from engine.contract.config import RunConfig
from engine.contract.manifest import read_info, read_manifest
from engine.contract.run_dir import RunDir
from engine.runs.train import resume, train
from tests import views
from tests.fakes import make_project, make_run, write_manifest

CONFIG = RunConfig.from_dict({"method": "molere", "epochs": 2, "batch_size": 16, "embedding": "pca", "num_threads": 1})


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("WHETSTONE_PROJECTS", str(tmp_path))
    monkeypatch.setenv("WHETSTONE_HOME", str(tmp_path / "home"))
    return tmp_path


def test_missing_pictures_labels_and_exclusions_are_counted_by_split_and_said_everywhere(
        home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    project = make_project(home / "p", 40, 9, 9, size=8)
    rows = read_manifest(project)
    rows.loc[rows["sample_id"].eq("test-00001"), "given_label"] = None
    write_manifest(project, rows, read_info(project).classes, root="images")
    for name in ("train/00002", "train/00003", "clean/00004", "test/00005", "test/00006"):
        (project / "images" / f"{name}.png").unlink()
    (project / "images" / "test" / "00007.png").write_bytes(b"no picture")
    Project.open(project).ledger().exclude(["train-00001", "train-00002"], who="ada")
    run = train(CONFIG, project, "first")
    assert splits_of(run) == {
        "train": {"num_samples": 40, "num_unreadable": 2, "num_unlabelled": 0, "num_excluded": 1},
        "clean": {"num_samples": 9, "num_unreadable": 1, "num_unlabelled": 0, "num_excluded": 0},
        "test": {"num_samples": 9, "num_unreadable": 3, "num_unlabelled": 1, "num_excluded": 0}}
    lines = part_lines(run)
    assert lines == [
        "Run first: 37 of 40 train samples take part (2 missing or unreadable, 1 excluded by decisions).",
        "Run first: 8 of 9 clean samples take part (1 missing or unreadable).",
        "Run first: 5 of 9 test samples take part (3 missing or unreadable, 1 without a label that is a class)."]
    assert "test: 5 of 9 samples take part; 3 missing or unreadable" in run.log_path.read_text()
    assert main(["audit", str(project), "--run", "first"]) == 0 and lines[2] in capsys.readouterr().out
    train(CONFIG, project, "second")
    for page in ("train", "compare", "audit"):
        app = views.start(home, page, project="p", run="first")
        assert any("5 of 9 test samples take part" in warning.value for warning in app.warning), page
    assert splits_of(resume(project, "first")) == splits_of(run)


def test_evidence_that_is_gone_is_said(home: Path) -> None:
    run = make_run(make_project(home / "p"), "first")
    assert lost_of(run) == [] == part_lines(run), "older code did not count, and may not have written all"
    run.write_config({**run.read_config(), "splits": {}})
    run.write_probabilities(np.full((60, 3), 1 / 3))
    assert lost_of(run) == [] == part_lines(run)
    (run.path / "probabilities.npy").unlink()
    (run.path / "history" / "0002.npy").unlink()
    assert lost_of(run) == ["probabilities", "history"]
    assert part_lines(run) == [
        "Gone from the folder of run first: held-out predictions of its own training and some epochs of its history. "
        "What rests on them tells less than it did; restore them from a copy, or train the run anew."]
    app = views.start(home, "audit", project="p", run="first")
    assert any("Gone from the folder of run first" in warning.value for warning in app.warning)


def test_a_run_of_older_code_or_one_that_cannot_be_read_says_nothing(home: Path) -> None:
    project = make_project(home / "p")
    run = make_run(project, "first")
    (run.path / "config.json").write_text("{")
    assert splits_of(run) == {} and part_lines(run) == []
    assert part_lines(RunDir.of(project, "none")) == []
    assert isinstance(run.read_signals(), pd.DataFrame)
