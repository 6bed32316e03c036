"""Jobs of other machines that share a folder: judged by what they wrote, never by this machine's processes."""

import os
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest

from curation.jobs import queue
from engine.contract.disk.event_log import state_folder
from engine.contract.disk.processes import process_start
from engine.contract.run_dir import RunDir
from engine.contract.work_dir import SILENT_SECONDS, host


@pytest.mark.parametrize(("state", "age", "is_alive"), [
    ("running", 1.0, True), ("running", -30.0, True), ("running", SILENT_SECONDS + 5, False), ("done", 1.0, False)])
def test_a_run_elsewhere_lives_by_its_heartbeat(tmp_path: Path, state: str, age: float, is_alive: bool) -> None:
    run = RunDir(tmp_path / "first")
    own = {"pid": os.getpid(), "pid_started": process_start(os.getpid())}  # of a process that lives here, by chance
    run.write_status(state=state, heartbeat=time.time() - age, host="elsewhere", **own)
    assert run.read_status()["is_alive"] == is_alive
    run.write_status(state="running", heartbeat=0.0, host=host(), **own)
    assert run.read_status()["is_alive"], "here by its process alone"
    run.write_status(state="running", heartbeat=time.time(), host=host(), pid=2**22 + 1, pid_started=1.0)
    assert not run.read_status()["is_alive"]


def test_a_job_that_another_machine_queued_is_not_taken_for_gone(tmp_path: Path,
                                                                 monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WHETSTONE_HOME", str(tmp_path / "home"))
    job_id = queue.add(tmp_path, "run", "first", "cpu", ["train"])

    def change(values: str, *given: object) -> None:
        with closing(sqlite3.connect(state_folder() / "jobs.sqlite")) as connection:
            connection.execute(f"UPDATE job SET {values}", given)
            connection.commit()

    change("host = 'elsewhere', pid = 99999999, pid_started = 1.0, submitted = 1.0, heartbeat = ?", time.time())
    assert [job.id for job in queue.active()] == [job_id], "it waits, and said so just now"
    change("heartbeat = 1.0")
    run = RunDir(tmp_path / "runs" / "first")
    run.write_status(state="running", heartbeat=time.time(), host="elsewhere", pid=99999999, pid_started=1.0)
    assert [job.id for job in queue.active()] == [job_id], "it runs, says its status"
    run.write_status(state="running", heartbeat=1.0, host="elsewhere", pid=99999999, pid_started=1.0)
    assert not queue.active()


def test_a_queue_of_older_code_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WHETSTONE_HOME", str(tmp_path / "home"))
    state_folder().mkdir(parents=True)
    with closing(sqlite3.connect(state_folder() / "jobs.sqlite")) as connection:
        for statement in (*queue._SCHEMA[0], "PRAGMA user_version = 1"):
            connection.execute(statement)
        connection.execute("INSERT INTO job (project, kind, run, device, state, command, submitted, pid, pid_started) "
                           "VALUES ('/p', 'study', 'first', 'cpu', 'running', '[]', 1.0, ?, ?)",
                           (os.getpid(), process_start(os.getpid())))
        connection.commit()
    [job] = queue.active()
    assert (job.kind, job.state, job.slurm, job.host, job.is_alive) == ("study", "running", None, None, True)
