"""Full, locked and read-only disks: said at once in one line, nothing lost, and what can be read is read."""

import errno
import os
import sqlite3
from pathlib import Path

import numpy as np
import pytest
import torch

from curation import __main__ as curation_main
from curation.jobs import queue
from curation.jobs.queue import JobError
from curation.ledger import engines
from curation.ledger.batch import LedgerError
from curation.project import Project
from curation.views.routes import thumbnails
from engine.contract.disk.failures import disk_line
from engine.contract.work_dir import write_array, write_atomic
from tests import views
from tests.fakes import make_project, make_run
from tests.faults.disks import fill, read_only, small_disk


def decided(project: Path) -> Project:
    opened = Project.open(project)
    opened.ledger().pin(["train-00000"], "validation", "ada")
    return opened


def tree(folder: Path) -> dict[str, int]:
    return {str(path.relative_to(folder)): path.stat().st_mtime_ns for path in sorted(folder.rglob("*"))}


def test_a_commit_that_the_full_disk_refuses_is_said_at_once_and_nothing_is_recorded(
        tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with small_disk(tmp_path / "disk", 2000) as disk:
        project = make_project(disk / "p", 12, 3, 3)
        decided(project)
        filler = fill(disk)
        assert curation_main.main(["decide", str(project), "pin", "--id", "train-00001", "--to", "train"]) == 2
        said = capsys.readouterr().err
        assert said.startswith("error: what is written needs free space; ") and said.count("\n") == 1
        assert curation_main.main(["decide", str(project), "list"]) == 0, "what is there can be read"
        assert "1 batch, 1 sample decided on" in capsys.readouterr().out
        filler.unlink()
        assert Project.open(project).ledger().revision == 1
        assert curation_main.main(["decide", str(project), "pin", "--id", "train-00001", "--to", "train"]) == 0


def test_a_decision_without_room_for_its_snapshot_is_recorded_and_that_is_said(
        tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    project = make_project(tmp_path / "p", 12, 3, 3)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "decisions.parquet")

    with monkeypatch.context() as context:
        context.setattr("curation.ledger.renewal.write_snapshot", full)
        assert curation_main.main(["decide", str(project), "pin", "--id", "train-00001", "--to", "train"]) == 0
        out, err = capsys.readouterr()
        assert "pin: 1 sample to train (batch 1" in out
        assert "recorded; the snapshot could not be written: what is written needs free space; decisions.parquet" in err
        ledger = Project.open(project).ledger()
        assert ledger.state()["sample_id"].tolist() == ["train-00001"] and "free space" in ledger.snapshot_problem
        page = views.start(tmp_path, "data", project="p")
        assert "Decisions are recorded; the snapshot that trainings read could not be written" in views.texts(page)
    assert Project.open(project).ledger().snapshot_problem == ""
    assert (project / "decisions.parquet").exists()


def test_a_locked_ledger_is_waited_for_a_bounded_time_and_then_said(tmp_path: Path,
                                                                    monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "LOCK_SECONDS", 0.2)
    engines._engine_of.cache_clear()
    project = decided(make_project(tmp_path / "p", 12, 3, 3))
    with sqlite3.connect(project.database, isolation_level=None) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(LedgerError, match="one process at a time; .*ledger.sqlite stayed locked by another; end"):
            project.ledger().pin(["train-00001"], "train", "ada")
        assert project.ledger().revision == 1, "reading goes on"
        other.execute("ROLLBACK")
    other.close()
    engines._engine_of.cache_clear()


def test_a_queue_that_cannot_be_opened_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "home").mkdir()
    monkeypatch.setenv("WHETSTONE_HOME", str(tmp_path / "home"))
    with read_only(tmp_path / "home"), pytest.raises(JobError, match="jobs.sqlite cannot be opened; check"):
        queue.active()


def test_a_read_only_project_can_be_looked_at_and_acts_say_what_it_is(
        tmp_path: Path, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    project = make_project(home / "pets", 24, 6, 6)
    decided(project)
    make_run(project)
    with sqlite3.connect(project / "ledger.sqlite") as held:  # keeps the write-ahead log from being folded in
        held.execute("SELECT * FROM batches").fetchall()
        Project.open(project).ledger().exclude(["train-00001"], who="bo")
        before = tree(project)
        with read_only(project):
            opened = Project.open(project)
            assert opened.ledger().revision == 2 and len(opened.ledger().state()) == 2
            assert opened.ledger().refusal and opened.verdicts().rows().empty
            for act in (lambda: opened.ledger().pin(["train-00002"], "train", "ada"),
                        lambda: opened.ledger().undo("ada"), lambda: opened.verdicts().retract(1, "ada")):
                with pytest.raises(LedgerError, match="which is read-only; .*ledger.sqlite cannot be written; ask"):
                    act()
            assert thumbnails.thumbnail(project, "train-00003", 64)[0]
            for command in (["decide", str(project), "list"], ["triage", str(project), "--run", "first"],
                            ["score", str(project), "--run", "first"], ["audit", str(project), "--run", "first"]):
                assert curation_main.main(command) == 0, command
            capsys.readouterr()
            assert curation_main.main(["decide", str(project), "pin", "--id", "train-00002", "--to", "train"]) == 2
            assert "read-only" in capsys.readouterr().err
            for page in ("explore", "triage", "audit", "decide", "train", "compare", "export", "study", "data"):
                shown = views.start(home, page, project="pets", run="first")
                assert not shown.error, (page, [error.value for error in shown.error])
                assert "Everything can be looked at, nothing decided or made" in views.texts(shown)
        assert tree(project) == before
    held.close()


@pytest.mark.parametrize("write", [
    lambda path: write_atomic(path, lambda to: to.write_bytes(bytes(10**6))),
    lambda path: write_array(path, np.zeros(10**6, dtype=np.uint8)),
    lambda path: write_atomic(path, lambda to: torch.save(torch.zeros(10**6), to)),
], ids=["bytes", "numpy", "torch"])
def test_whatever_fills_the_disk_it_is_said_so_and_nothing_half_stays(tmp_path: Path, write) -> None:
    with small_disk(tmp_path / "disk", 300) as disk:
        (disk / "file").write_text("as it was")
        with pytest.raises(OSError, match="No space left") as caught:
            write(disk / "file")
        assert disk_line(caught.value) == (f"what is written needs free space; {disk / 'file'} has none left; free "
                                           "some, then do it again")
        assert [path.name for path in disk.iterdir()] == ["file"] and (disk / "file").read_text() == "as it was"
