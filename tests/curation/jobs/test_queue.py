"""The queue's table: kinds of jobs, and what older code left in it."""

import os
import sqlite3
import subprocess
import sys
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from curation.jobs import queue
from curation.jobs.queue import JobError
from engine.contract.disk.processes import process_start
from tests import ROOT

PROJECT = Path("/data/pets")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("WHETSTONE_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def old_queue(home: Path) -> Path:
    """The archive's queue: an ended run and an ended study, and beside them two that this very process works on."""
    with zipfile.ZipFile(ROOT / "tests" / "before_rooms" / "before_rooms.zip") as archive:
        archive.extract("home/jobs.sqlite", home.parent)
    connection = sqlite3.connect(home / "jobs.sqlite", isolation_level=None)
    for name, state in (("first", "running"), ("studies/first", "queued")):
        connection.execute("INSERT INTO job (project, run, device, state, command, submitted, pid, pid_started) VALUES "
                           "(?, ?, 'cpu', ?, '[]', 0, ?, ?)",
                           (str(PROJECT), name, state, os.getpid(), process_start(os.getpid())))
    connection.close()
    return home / "jobs.sqlite"


def test_a_run_and_a_study_of_one_name_have_a_job_each_and_no_second(home: Path) -> None:
    first, second = (queue.add(PROJECT, kind, "first", "cpu", []) for kind in ("run", "study"))
    assert [(job.kind, job.run) for job in queue.active()] == [("run", "first"), ("study", "first")]
    assert [queue.get(number).run_dir.path for number in (first, second)] == [
        PROJECT / "runs" / "first", PROJECT / "studies" / "first"]
    for kind in ("run", "study"):
        with pytest.raises(JobError, match=f"a {kind} can be started once at a time; 'first' is queued or running"):
            queue.add(PROJECT, kind, "first", "cpu", [])
    queue.end(second)
    assert queue.add(PROJECT, "study", "first", "cpu", []) == second + 1


def test_jobs_of_older_code_keep_their_places_and_get_a_kind(old_queue: Path) -> None:
    assert [(job.id, job.kind, job.run, job.state) for job in queue.active(PROJECT)] == [
        (3, "run", "first", "running"), (4, "study", "first", "queued")]
    assert [(job.kind, job.run, job.state) for job in map(queue.get, (1, 2))] == [
        ("run", "plain", "ended"), ("study", "methods", "ended")]
    assert queue.get(4).run_dir.path == PROJECT / "studies" / "first"
    with pytest.raises(JobError, match="a study can be started once"):
        queue.add(PROJECT, "study", "first", "cpu", [])
    assert not queue.claim(4), "its device is taken"
    queue.end(3)
    assert queue.claim(4)


def test_threads_that_open_an_old_queue_at_once_alter_it_once(old_queue: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        numbers = list(pool.map(lambda i: queue.add(PROJECT, "run", f"run-{i}", "cpu", []), range(16)))
    assert sorted(numbers) == list(range(5, 21))
    assert len(queue.active(PROJECT)) == 18


def test_processes_that_open_an_old_queue_at_once_alter_it_once(old_queue: Path) -> None:
    code = ("import sys\nfrom pathlib import Path\nfrom curation.jobs import queue\nprint('ready', flush=True)\n"
            "while not Path(sys.argv[1]).exists(): pass\n"
            "queue.add(Path('/data/pets'), 'study', sys.argv[2], 'cpu', [])")
    gun = old_queue.parent / "gun"
    racers = [subprocess.Popen([sys.executable, "-c", code, str(gun), f"study-{i}"], cwd=ROOT, stdout=subprocess.PIPE)
              for i in range(4)]
    for racer in racers:
        assert racer.stdout is not None and racer.stdout.readline() == b"ready\n"
    gun.touch()
    assert [racer.wait(60) for racer in racers] == [0] * 4
    for racer in racers:
        racer.stdout.close()  # type: ignore[union-attr]
    assert {job.run for job in queue.active(PROJECT) if job.kind == "study"} == {
        "first", *(f"study-{i}" for i in range(4))}
