"""The queue of background runs, with a fake engine: a small script that keeps the run directory's contract."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from curation.jobs import request, run_jobs
from curation.jobs.queue import JobError, device_key
from engine.contract.config import RunConfig
from engine.contract.disk.processes import is_same_process, process_start
from engine.contract.run_dir import RunDir
from tests import ROOT

FAKE_ENGINE = """
import json, os, pathlib, signal, sys, time
import psutil
run, mode, log = pathlib.Path(sys.argv[1]), sys.argv[2], pathlib.Path(sys.argv[3])
def status(state, **more):
    values = {"state": state, "pid": os.getpid(), "pid_started": psutil.Process().create_time(), **more}
    (run / "new.json").write_text(json.dumps(values)); os.replace(run / "new.json", run / "status.json")
if mode == "broken":
    sys.exit("device must be one of cpu; got 'abacus'; choose another")
if mode == "deaf":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
with open(log, "a") as file: file.write(f"begin {run.name} {time.time()}\\n")
(run / "config.json").write_text(json.dumps({"created": time.time(), "config": {"device": "cpu"}}))
status("running")
for _ in range(2 if mode == "quick" else 600):
    if mode == "polite" and (run / "cancel").exists():
        status("cancelled"); sys.exit()
    time.sleep(0.05)
with open(log, "a") as file: file.write(f"end {run.name} {time.time()}\\n")
status("done")
"""


class Workplace:
    """A project folder, an empty queue and the fake engine."""

    def __init__(self, path: Path) -> None:
        self.project = path / "project"
        self.project.mkdir()
        self.log = path / "log.txt"
        self.script = path / "fake_engine.py"
        self.script.write_text(FAKE_ENGINE)

    def command(self, name: str, mode: str) -> list[str]:
        return [sys.executable, str(self.script), str(self.project / "runs" / name), mode, str(self.log)]

    def submit(self, name: str, mode: str = "quick", device: str = "cpu") -> RunDir:
        run_jobs.submit(self.project, name, RunConfig(device=device), self.command(name, mode))
        return RunDir.of(self.project, name)

    def wait(self, run: RunDir, *states: str, seconds: float = 15.0) -> run_jobs.RunStatus:
        deadline = time.monotonic() + seconds
        while (status := run_jobs.status_of(run)).state not in states:
            assert time.monotonic() < deadline, f"{run.name} is {status.state}, expected {states}"
            time.sleep(0.03)
        return status

    def events(self) -> list[list[str]]:
        return [line.split()[:2] for line in self.log.read_text().splitlines()]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("WHETSTONE_HOME", str(tmp_path / "home"))
    yield Workplace(tmp_path)
    for job in run_jobs.jobs():
        if job.pid is not None and is_same_process(job.pid, job.pid_started):
            with contextlib.suppress(ProcessLookupError):  # it ended just now
                os.kill(job.pid, signal.SIGKILL)


def test_a_run_is_queued_and_then_done(place):
    run = place.submit("first")
    assert run_jobs.status_of(run).is_active
    assert place.wait(run, "done").error == ""
    deadline = time.monotonic() + 20  # the run says done while its process is still about to end
    while run_jobs.jobs(place.project) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert run_jobs.jobs(place.project) == []
    asked = request.read_request(run)
    assert asked is not None and asked.config == RunConfig(device="cpu") and asked.decisions is None


def test_runs_of_one_device_take_turns_in_order_and_another_device_does_not_wait(place):
    first, second = place.submit("first", "polite"), place.submit("second")
    place.wait(first, "running")
    other = place.submit("other", device="cuda")
    place.wait(other, "done")
    waiting = run_jobs.status_of(second)
    assert (waiting.state, waiting.num_ahead, waiting.device) == ("queued", 1, "cpu")
    run_jobs.cancel(place.project, "first")
    place.wait(second, "done")
    assert place.events() == [["begin", "first"], ["begin", "other"], ["end", "other"], ["begin", "second"],
                              ["end", "second"]]


def test_two_projects_share_one_queue(place, tmp_path):
    first = place.submit("first", "polite")
    place.wait(first, "running")
    other = tmp_path / "other"
    other.mkdir()
    run_jobs.submit(other, "first", RunConfig(device="cpu"), place.command("first", "quick"))
    assert run_jobs.status_of(RunDir.of(other, "first")).num_ahead == 1
    assert [job.project for job in run_jobs.jobs(other)] == [str(other)]


def test_of_twenty_simultaneous_submits_one_wins(place):
    def attempt(_: int) -> str:
        try:
            place.submit("first")
        except JobError as error:
            return str(error)
        return "won"

    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(attempt, range(20)))
    assert answers.count("won") == 1
    assert all("choose another name" in answer for answer in answers if answer != "won")
    place.wait(RunDir.of(place.project, "first"), "done")
    assert place.events() == [["begin", "first"], ["end", "first"]]


def test_simultaneous_resumes_from_separate_processes_start_one(place):
    run = place.submit("first", "broken")
    place.wait(run, "failed")
    code = ("import sys\nfrom pathlib import Path\nfrom curation.jobs import queue, run_jobs\n"
            "while not Path(sys.argv[1]).exists(): pass\n"
            "try:\n    run_jobs.resume(Path(sys.argv[2]), 'first', sys.argv[3:])\n"
            "except queue.JobError: sys.exit(3)\n")
    gun = place.project / "gun"
    command = [sys.executable, "-c", code, str(gun), str(place.project), *place.command("first", "quick")]
    racers = [subprocess.Popen(command, cwd=ROOT) for _ in range(3)]
    time.sleep(1.5)
    gun.touch()
    assert sorted(racer.wait(30) for racer in racers) == [0, 3, 3]
    place.wait(run, "done")


def test_a_queued_run_is_cancelled_without_ever_starting(place):
    first = place.submit("first", "polite")
    place.wait(first, "running")
    second = place.submit("second")
    run_jobs.cancel(place.project, "second")
    place.wait(second, "cancelled")
    assert ["begin", "second"] not in place.events()


@pytest.mark.parametrize("mode", ["polite", "rude", "deaf"])
def test_a_running_run_is_cancelled_even_if_it_does_not_listen(place, mode):
    run = place.submit("first", mode)
    place.wait(run, "running")
    while not run.read_status().get("pid"):
        time.sleep(0.02)
    pid = run.read_status()["pid"]
    run_jobs.cancel(place.project, "first", grace_seconds=0.4)
    place.wait(run, "cancelled")
    deadline = time.monotonic() + 10
    while process_start(pid) is not None:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    with pytest.raises(JobError, match="is cancelled"):
        run_jobs.cancel(place.project, "first")


def test_a_killed_run_is_interrupted_frees_its_device_and_resumes(place):
    run, second = place.submit("first", "polite"), place.submit("second")
    place.wait(run, "running")
    while not run.read_status().get("pid"):
        time.sleep(0.02)
    os.kill(run.read_status()["pid"], signal.SIGKILL)
    assert place.wait(run, "interrupted").can_resume
    place.wait(second, "done")
    run_jobs.resume(place.project, "first", place.command("first", "quick"))
    place.wait(run, "done")
    with pytest.raises(JobError, match="start a new run"):
        run_jobs.resume(place.project, "first")


def test_a_run_outlives_the_process_that_started_it(place):
    # Started from a shell's background it would inherit an ignored SIGINT.
    code = ("import signal, sys, time\nsignal.signal(signal.SIGINT, signal.default_int_handler)\n"
            "from pathlib import Path\nfrom curation.jobs import run_jobs\n"
            "from engine.contract.config import RunConfig\n"
            "run_jobs.submit(Path(sys.argv[1]), 'first', RunConfig(device='cpu'), sys.argv[2:])\n"
            "print('started', flush=True)\ntime.sleep(60)\n")
    app = subprocess.Popen([sys.executable, "-c", code, str(place.project), *place.command("first", "polite")],
                           cwd=ROOT, stdout=subprocess.PIPE, start_new_session=True)
    assert app.stdout is not None and app.stdout.readline() == b"started\n"
    os.killpg(app.pid, signal.SIGINT)
    app.wait(10)
    app.stdout.close()
    run = RunDir.of(place.project, "first")
    place.wait(run, "running")
    run_jobs.cancel(place.project, "first")
    place.wait(run, "cancelled")


def test_an_engine_that_cannot_begin_fails_with_its_last_line(place):
    status = place.wait(place.submit("first", "broken"), "failed")
    assert status.error == "device must be one of cpu; got 'abacus'; choose another"
    assert status.can_resume


def test_auto_queues_with_a_device_of_this_machine():
    assert device_key("auto") in ("cuda", "mps", "cpu")
    assert device_key("cuda") == "cuda"


def test_the_command_resumes_a_run_that_began_and_else_starts_it(place):
    first = place.submit("first", "polite")
    place.wait(first, "running")
    second = place.submit("second")
    assert request.train_command(place.project, "second")[-4:] == ["--config", str(second.path / "request.json"),
                                                                 "--name", "second"]
    while not first.exists():
        time.sleep(0.02)
    assert request.train_command(place.project, "first")[-2:] == ["--resume", "first"]


def test_runs_that_wait_are_listed_with_the_others(place):
    first = place.submit("first", "polite")
    place.wait(first, "running")
    place.submit("second")
    assert [run.name for run in run_jobs.run_dirs(place.project)] == ["second", "first"]


def test_unknown_runs_are_refused_in_one_line(place):
    with pytest.raises(JobError, match="has no run 'nothing'"):
        run_jobs.resume(place.project, "nothing")
    with pytest.raises(ValueError, match="a name must be"):
        run_jobs.submit(place.project, "../evil", RunConfig())
