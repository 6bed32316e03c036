"""The clock set back by a day while things run: who lives counts as living, and what is decided keeps its order."""

import os
import time

import psutil
import pytest

from curation.jobs import queue
from curation.project import Project
from engine.contract.disk.temporaries import is_orphan, temporary_beside
from engine.contract.run_dir import RunDir
from engine.runs.status import Status
from tests.fakes import make_project

DAY = 86_400.0


@pytest.fixture
def set_back(monkeypatch: pytest.MonkeyPatch):
    """Call it, and it is a day earlier; what the system says of when it started moves with its clock."""
    now, boot = time.time, psutil._psplatform.boot_time

    def set_it() -> None:
        monkeypatch.setattr(time, "time", lambda: now() - DAY)
        monkeypatch.setattr(psutil._psplatform, "boot_time", lambda: boot() - DAY)

    return set_it


def test_a_file_that_is_being_written_is_not_taken_for_a_dead_process_s(tmp_path, set_back):
    own = temporary_beside(tmp_path / "signals.parquet")
    own.write_text("half")
    set_back()
    assert not is_orphan(own)


def test_a_run_counts_as_alive_with_the_next_beat(tmp_path, set_back):
    run = RunDir(tmp_path)
    status = Status(run, 3)
    set_back()
    status.update()
    assert run.read_status()["is_alive"] and run.read_status()["pid"] == os.getpid()


def test_a_job_that_never_got_a_process_does_not_hold_its_device_until_the_clock_is_there_again(
        tmp_path, monkeypatch, set_back):
    monkeypatch.setenv("WHETSTONE_HOME", str(tmp_path))
    queue.add(tmp_path / "p", "run", "first", "cpu", ["true"])
    assert len(queue.active()) == 1
    set_back()
    assert queue.active() == []


def test_decisions_keep_their_order_and_undo_takes_the_newest(tmp_path, monkeypatch):
    ledger = Project.open(make_project(tmp_path / "p", 12, 3, 3)).ledger()
    ledger.pin(["train-00000"], "validation", "ada")

    class Earlier:
        @staticmethod
        def now(zone):
            from datetime import datetime, timedelta
            return datetime.now(zone) - timedelta(days=1)

    monkeypatch.setattr("curation.ledger.batch.datetime", Earlier)
    ledger.pin(["train-00000"], "train", "ada")
    assert ledger.state()["pin"].tolist() == ["train"] and ledger.batches()["batch_id"].tolist() == [2, 1]
    assert ledger.undo("ada") == 2 and ledger.state()["pin"].tolist() == ["validation"]
