"""Studies started from the app: plans as data, the engine's command line, and the queue with a fake engine."""

import json
import os
import signal
import sys
import time
from pathlib import Path

import pytest

from curation.jobs import run_jobs, study_jobs
from curation.jobs.queue import JobError
from curation.jobs.study_jobs import cost_of, plan_study
from engine.contract.config import RunConfig
from engine.contract.disk.processes import is_same_process
from engine.contract.run_dir import RunDir
from engine.contract.settings import ConfigError
from engine.contract.studies.study_dir import StudyDir
from engine.contract.studies.study_plan import StudyError, read_plan_file
from tests.fake_studies import document_of, make_study
from tests.fakes import make_project, make_run

FAKE_ENGINE = """
import json, os, pathlib, sys, time
import psutil
study = pathlib.Path(sys.argv[1])
def status(state, **more):
    values = {"state": state, "pid": os.getpid(), "pid_started": psutil.Process().create_time(), **more}
    (study / "new.json").write_text(json.dumps(values)); os.replace(study / "new.json", study / "status.json")
if sys.argv[2] == "broken":
    sys.exit("error: a study needs at least one arm; got none; give --methods")
status("running", done=0, failed=0, total=2)
for _ in range(600 if sys.argv[2] == "polite" else 2):
    if (study / "cancel").exists():
        status("cancelled"); sys.exit()
    time.sleep(0.05)
status("done", done=2, failed=0, total=2)
"""


class Workplace:
    def __init__(self, path: Path) -> None:
        self.project = path / "project"
        self.project.mkdir()
        self.script = path / "fake_engine.py"
        self.script.write_text(FAKE_ENGINE)

    def command(self, folder: Path, mode: str) -> list[str]:
        return [sys.executable, str(self.script), str(folder), mode]

    def submit(self, name: str, mode: str = "quick") -> StudyDir:
        study = StudyDir.of(self.project, name)
        new = plan_study(name, ["erm"], 2, 3, setting_lines="device=cpu")
        study_jobs.submit(self.project, new, self.command(study.path, mode))
        return study

    def wait(self, study: StudyDir, *states: str, seconds: float = 15.0) -> run_jobs.RunStatus:
        deadline = time.monotonic() + seconds
        while (status := study_jobs.status_of(study)).state not in states:
            assert time.monotonic() < deadline, f"{study.name} is {status.state}, expected {states}"
            time.sleep(0.03)
        return status


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("WHETSTONE_HOME", str(tmp_path / "home"))
    yield Workplace(tmp_path)
    for job in run_jobs.jobs():
        if job.pid is not None and is_same_process(job.pid, job.pid_started):
            os.kill(job.pid, signal.SIGKILL)


# -- plans


def test_a_plan_holds_what_was_picked_and_typed_and_the_engine_reads_it_back(tmp_path):
    new = plan_study("first", ["erm", "molere"], 3, 7, arm_lines="\nopen: method=molere guard=off decisions=none\n",
                     setting_lines="lr=0.02\n\n splitter.coverage=0.3 ", reference="molere", num_workers=2)
    plan = new.plan
    assert plan.num_runs == 9 and plan.seeds == (0, 1, 2) and new.num_workers == 2
    path = tmp_path / "plan.json"
    path.write_text(json.dumps(plan.to_dict()))
    read = read_plan_file(path)
    assert read.arms == plan.arms and [a.name for a in plan.arms] == ["erm", "molere", "open"]
    assert read.arms[2].settings == {"method": "molere", "guard": "off"} and read.arms[2].decisions == "none"
    assert read.settings == {"epochs": 7, "lr": 0.02, "splitter.coverage": 0.3} and read.reference == "molere"


@pytest.mark.parametrize(("change", "error", "match"), [
    ({"setting_lines": "lr"}, ConfigError, "name=value"),
    ({"setting_lines": "learning=1"}, ConfigError, "arm erm"),
    ({"setting_lines": "seed=3"}, ConfigError, "fields of their own; got seed"),
    ({"arm_lines": "erm: lr=0.1"}, StudyError, "must be unique"),
    ({"arm_lines": "no colon"}, StudyError, "NAME: setting=value"),
    ({"name": "../evil"}, ValueError, "a name must be"),
    ({"methods": []}, StudyError, "at least one arm"),
])
def test_a_plan_that_could_not_be_trained_is_refused_in_one_line(change, error, match):
    given = {"name": "first", "methods": ["erm"], "num_seeds": 2, "epochs": 3} | change
    with pytest.raises(error, match=match) as caught:
        plan_study(**given)
    assert "\n" not in str(caught.value)


def test_the_cost_is_runs_by_what_an_epoch_of_each_method_took():
    new = plan_study("first", ["erm", "molere", "rho"], 2, 10, arm_lines="long: method=erm epochs_factor=2")
    cost = cost_of(new, {"erm": [1.0, 3.0], "molere": [5.0]})
    # erm 10 epochs of 2 s, molere 10 of 5 s, rho 10 of the mean 3 s, long 20 of 2 s; two seeds.
    assert cost.seconds == pytest.approx(2 * (20 + 50 + 30 + 40)) and (cost.num_runs, cost.num_measured) == (8, 3)
    assert cost_of(new, {}).seconds is None
    beside = plan_study("first", ["erm"], 4, 10, num_workers=4)
    assert cost_of(beside, {"erm": [2.0]}).seconds == pytest.approx(20)


def test_epochs_are_timed_in_finished_runs_and_studies(tmp_path):
    project = make_project(tmp_path / "pets", num_train=12)
    assert study_jobs.epoch_seconds(project) == {}
    make_run(project, "first", method="erm")
    make_run(project, "going", method="erm", state="failed")
    make_run(project, "looked", method="discriminant", epochs=1)
    make_study(project, arms=("erm", "molere"), num_seeds=2, failed=("molere",))
    assert study_jobs.epoch_seconds(project) == {"erm": [1.5, 2.0, 2.0], "molere": [3.0]}


def test_the_command_takes_the_request_once_and_then_the_studys_own_plan(tmp_path, place):
    new = plan_study("first", ["erm"], 2, 3, num_workers=2, is_tuned_here=False)
    study = StudyDir.of(place.project, "first")
    study_jobs.submit(place.project, new, place.command(study.path, "quick"))
    place.wait(study, "done")
    command = study_jobs.command_of(place.project, study)
    assert command[1:] == ["-m", "engine", "study", str(place.project), "--name", "first", "--workers", "2",
                           "--not-tuned-here", "--plan", str(study.path / "request.json")]
    assert study_jobs.asked_plan(study) == new.plan
    assert [found.name for found in study_jobs.studies(place.project)] == ["first"]
    study.write_document(document_of(new.plan, "first"))
    assert "--plan" not in study_jobs.command_of(place.project, study)


def test_a_request_of_older_versions_is_read(place):
    study = StudyDir.of(place.project, "waiting")
    study.path.mkdir(parents=True)
    arms = {"erm": {"method": "erm", "decisions": None, "epochs_factor": 1.0},
            "open": {"method": "molere", "guard": "off", "decisions": "none", "epochs_factor": 2.0}}
    (study.path / "request.json").write_text(json.dumps({"arms": arms, "seeds": [0, 1], "settings": {"epochs": 7},
                                                         "reference": "open"}))
    plan = study_jobs.asked_plan(study)
    assert (plan.num_runs, plan.reference, plan.settings) == (4, "open", {"epochs": 7})
    assert plan.arms[1].decisions == "none" and plan.arms[1].epochs_factor == 2.0
    assert [found.name for found in study_jobs.studies(place.project)] == ["waiting"]


# -- the queue


def test_a_study_waits_for_a_run_on_its_device_and_then_is_done(place):
    run = RunDir.of(place.project, "first")
    command = [sys.executable, "-c", "import time; time.sleep(60)"]
    run_jobs.submit(place.project, "first", RunConfig(device="cpu"), command)
    study = place.submit("first")  # a run may have the same name
    deadline = time.monotonic() + 15
    while run_jobs.status_of(run).state != "running":
        assert time.monotonic() < deadline
        time.sleep(0.03)
    waiting = study_jobs.status_of(study)
    assert (waiting.state, waiting.num_ahead, waiting.device) == ("queued", 1, "cpu")
    run_jobs.cancel(place.project, "first", grace_seconds=0.2)
    assert place.wait(study, "done").details["done"] == 2


def test_a_name_is_taken_once(place):
    place.submit("first")
    with pytest.raises(JobError, match="choose another name"):
        place.submit("first")


def test_a_running_study_is_cancelled_and_resumed(place):
    study = place.submit("first", "polite")
    place.wait(study, "running")
    with pytest.raises(JobError, match="is running|is queued"):
        study_jobs.resume(place.project, "first")
    study_jobs.cancel(place.project, "first")
    place.wait(study, "cancelled")
    with pytest.raises(JobError, match="is cancelled"):
        study_jobs.cancel(place.project, "first")
    _until_free(place)
    study_jobs.resume(place.project, "first", place.command(study.path, "quick"))
    place.wait(study, "done")


def test_a_study_resumed_at_once_outlives_the_end_of_its_cancel(place):
    study = place.submit("first", "polite")
    place.wait(study, "running")
    run_jobs.cancel_in(RunDir(study.path), grace_seconds=1.0)
    _until_free(place)
    study_jobs.resume(place.project, "first", place.command(study.path, "polite"))
    place.wait(study, "running")
    time.sleep(1.5)  # whoever saw to the cancel would have sent SIGTERM by now
    assert study_jobs.status_of(study).state == "running"


def test_a_killed_study_is_interrupted(place):
    study = place.submit("first", "polite")
    while not study.read_status()["is_alive"]:
        time.sleep(0.02)
    os.kill(study.read_status()["pid"], signal.SIGKILL)
    assert place.wait(study, "interrupted").can_resume


def test_a_study_that_cannot_begin_fails_with_its_last_line(place):
    status = place.wait(place.submit("first", "broken"), "failed")
    assert status.error == "a study needs at least one arm; got none; give --methods"


def test_what_is_no_study_is_refused(place):
    with pytest.raises(JobError, match="has no study 'nothing'"):
        study_jobs.resume(place.project, "nothing")


def _until_free(place: Workplace) -> None:
    deadline = time.monotonic() + 15
    while run_jobs.jobs(place.project):
        assert time.monotonic() < deadline
        time.sleep(0.03)
