"""Who starts the live loop's process, and who does not."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from curation.jobs import live_jobs
from curation.jobs.live_jobs import LiveStatus
from engine.contract.disk.processes import process_start
from engine.contract.live.live_dir import LiveDir
from engine.contract.run_dir import RunDir
from tests.fakes import make_project, make_run

SLEEP = [sys.executable, "-c", "import time; time.sleep(60)"]
FAIL = [sys.executable, "-c", "print('error: no such features'); raise SystemExit(2)"]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    project = make_project(tmp_path / "p")
    make_run(project, "first")
    return project


def pid_of(project: Path) -> int:
    pid = LiveDir.of(project, "first").read_status()["pid"]
    assert pid is not None
    return pid


def test_looking_starts_one_process_and_again_where_it_was_killed(project: Path) -> None:
    live = LiveDir.of(project, "first")
    assert live_jobs.status_of(live) == LiveStatus("stopped") and live.reader_age() == float("inf")
    assert live_jobs.look(project, "first", SLEEP).state == "starting"
    pid = pid_of(project)
    try:
        assert live_jobs.look(project, "first", SLEEP).state == "starting" and pid_of(project) == pid
        live.write_status(state="running", stage="waiting", pid=pid, pid_started=process_start(pid))
        assert live_jobs.look(project, "first", SLEEP) == LiveStatus("waiting") and live.reader_age() < 30
    finally:
        os.kill(pid, 9)
    wait_gone(pid)
    assert live_jobs.look(project, "first", SLEEP).state == "starting"
    assert pid_of(project) != pid
    os.kill(pid_of(project), 9)


def test_what_fails_is_said_and_not_tried_again_at_once(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    live_jobs.look(project, "first", FAIL)
    wait_gone(pid_of(project))
    assert live_jobs.look(project, "first", FAIL) == LiveStatus("failed", "no such features")
    monkeypatch.setattr(live_jobs, "RETRY_SECONDS", -1.0)
    assert live_jobs.look(project, "first", FAIL).state == "starting"


def test_a_request_to_stop_is_made_of_what_lives_alone(project: Path) -> None:
    live = LiveDir.of(project, "first")
    live_jobs.stop(project, "first")
    assert not live.is_cancel_requested()
    live.touch_reader()
    live.write_status(state="running", stage="training", pid=os.getpid(), pid_started=process_start(os.getpid()))
    live_jobs.stop(project, "first")
    assert live.is_cancel_requested() and live_jobs.status_of(live).state == "working"


def test_a_finished_run_on_features_alone_can_be_followed(project: Path) -> None:
    run = RunDir.of(project, "first")
    assert not live_jobs.can_follow(run) and not live_jobs.can_follow(RunDir.of(project, "none"))
    document = run.read_config()
    document["config"]["features"] = "own"
    run.write_config(document)
    assert live_jobs.can_follow(run)
    document["config"]["method"] = "imported"
    run.write_config(document)
    assert not live_jobs.can_follow(run), "these are another model's predictions"
    document["config"]["method"] = "erm"
    run.write_config(document)
    run.write_status(state="running")
    assert not live_jobs.can_follow(run)


def wait_gone(pid: int) -> None:
    deadline = time.monotonic() + 20
    while process_start(pid) is not None:
        assert time.monotonic() < deadline, "the process is still there"
        time.sleep(0.02)


def test_it_is_started_by_the_engines_own_command(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[list[str]] = []
    monkeypatch.setattr(live_jobs, "start_detached", lambda command, output: started.append(command) or os.getpid())
    live_jobs.look(project, "first")
    assert started == [[sys.executable, "-m", "engine", "live", str(project.resolve()), "--run", "first"]]
    shown = subprocess.run([*started[0][:4], "--help"], capture_output=True, text=True, check=True)
    assert "--run" in shown.stdout
