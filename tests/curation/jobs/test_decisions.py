"""A training begins under the decisions in force, also where a process died between recording one and telling."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from curation.jobs.decisions import bring_up_to_date
from curation.project import Project
from engine.contract.config import RunConfig
from engine.contract.integrity.decisions import staleness
from engine.contract.manifest import ManifestError, read_decisions
from engine.contract.studies.study_plan import Arm
from engine.runs.train import train
from engine.study.runner import run_study
from tests import ROOT
from tests.fakes import make_project, write_manifest

KILLED = """
import os, signal, sys
from curation.ledger import ledger
from curation.project import Project
project = Project.open(sys.argv[1])
opened = project.ledger()
ledger.Ledger._renew_snapshot = lambda *_, **named: os.kill(os.getpid(), signal.SIGKILL)
opened.pin(["train-00002"], "validation", "ada")
"""
CONFIG = RunConfig(method="erm", epochs=1, embedding="none", num_threads=1)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    project = Project.open(make_project(tmp_path / "p", 24, 6, 6, size=8))
    project.ledger().pin(["train-00001"], "train", "ada")
    return project


def decide_and_die(project: Project) -> None:
    ended = subprocess.run([sys.executable, "-c", KILLED, str(project.path)], cwd=ROOT, env=os.environ)
    assert ended.returncode == -signal.SIGKILL


def test_killed_between_commit_and_snapshot_the_next_training_is_refused_until_it_is_made_up(project: Project) -> None:
    assert staleness(project.path) == ""
    decide_and_die(project)
    assert read_decisions(project.decisions_path)["sample_id"].tolist() == ["train-00001"]
    for begin in (lambda: train(CONFIG, project.path, "first"),
                  lambda: run_study(project.path, "s", [Arm.of_method("erm")], [0], {}, 1, None, is_tuned_here=None)):
        with pytest.raises(ManifestError, match="begins under the decisions in force; .*decisions.parquet is of "
                                                "revision 1, the ledger of 2; bring decisions.parquet up to date with "
                                                "`python -m curation decide .* list`, then do this again"):
            begin()
    bring_up_to_date(project.path)
    assert staleness(project.path) == ""
    run = train(CONFIG, project.path, "second")
    assert read_decisions(run.decisions_path)["sample_id"].tolist() == ["train-00001", "train-00002"]


@pytest.mark.parametrize(("damage", "reason"), [
    ("gone", "there is no .*decisions.parquet, and the ledger has 1 batches"), ("text", "decisions.parquet is damaged"),
    ("other", "comes from another ledger than"), ("bare", "does not come from the ledger"),
    ("ledger", "ledger.sqlite cannot be read: file is not a database"), ("classes", "is of other classes")])
def test_what_else_keeps_a_training_from_beginning(project: Project, tmp_path: Path, damage: str, reason: str) -> None:
    path = project.decisions_path
    if damage == "gone":
        path.unlink()
    elif damage == "text":
        path.write_text("not a table")
    elif damage == "other":
        other = Project.open(make_project(tmp_path / "q", 24, 6, 6, size=8))
        other.ledger().pin(["train-00001"], "train", "ada")
        path.write_bytes(other.decisions_path.read_bytes())
    elif damage == "bare":
        read_decisions(path).to_parquet(path)
    elif damage == "ledger":
        (project.path / "ledger.sqlite").write_bytes(b"no database" * 500)
    else:
        write_manifest(project.path, project.manifest(), ("bird", "cat", "dog"), root="images")
    with pytest.raises(ManifestError, match=reason):
        train(CONFIG, project.path, "first")


def test_without_a_ledger_or_before_any_decision_there_is_nothing_to_compare(tmp_path: Path) -> None:
    path = make_project(tmp_path / "p", 24, 6, 6, size=8)
    assert staleness(path) == ""
    (path / "ledger.sqlite").touch()
    assert staleness(path) == ""
    Project.open(path).ledger()
    assert staleness(path) == "" and train(CONFIG, path, "first").read_status()["state"] == "done"
