"""Jobs in a real Slurm of one node: the same files, states, cancel and resume as here; what it loses goes on."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest

from curation.__main__ import main
from curation.exit_status import LOST, REFUSED
from curation.jobs import feature_jobs, queue, run_jobs, study_jobs
from curation.jobs.feature_jobs import FeatureRequest
from curation.jobs.queue import JobError
from curation.project import Project
from engine.contract.cluster import errand, slurm
from engine.contract.cluster.place import Place, choose_place
from engine.contract.config import RunConfig
from engine.contract.feature_dir import FeatureDir
from engine.contract.run_dir import RunDir
from engine.contract.studies.study_dir import StudyDir
from tests import ROOT
from tests.fakes import make_project
from tests.slurm_cluster import Slurm, cluster

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]
TINY = RunConfig(epochs=3, network="tiny", embedding="none", device="cpu", num_threads=1)
LONG = replace(TINY, epochs=3000, checkpoint_seconds=0)
HERE = Place(where="slurm", cpus=1, minutes=10, runs_at_once=2)


@pytest.fixture(scope="module")
def slurm_here() -> Iterator[Slurm]:
    with cluster(cpus=3) as running:
        before = os.environ.get("SLURM_CONF")
        os.environ["SLURM_CONF"] = str(running.config)
        try:
            yield running
        finally:
            os.environ.pop("SLURM_CONF")
            if before is not None:
                os.environ["SLURM_CONF"] = before


@pytest.fixture
def project(tmp_path: Path, slurm_here: Slurm) -> Path:
    path = make_project(tmp_path / "pets", num_train=120)
    choose_place(path, HERE)
    return path


def wait(is_so: Callable[[], object], what: str, slurm_here: Slurm, seconds: float = 90.0) -> None:
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline, f"{what}\n{slurm_here.say('squeue')}\n{slurm_here.evidence()}"
        time.sleep(0.2)


def is_over(run: RunDir) -> bool:
    return not run_jobs.status_of(run).is_active


def goes_on(run: RunDir, epoch: int, slurm_here: Slurm) -> None:
    """Hold that a run can be resumed and comes further than this epoch; ends it."""
    project = run.path.parents[1]
    run_jobs.resume(project, run.name)
    wait(lambda: run.read_status()["state"] == "running" and (run.read_status().get("epoch") or 0) > epoch,
         "it does not go on", slurm_here)
    run_jobs.cancel(project, run.name)
    wait(lambda: is_over(run), "it does not stop", slurm_here)


def engine_of(run: RunDir) -> psutil.Process:
    return psutil.Process(int(run.read_status()["pid"] or 0))


def test_a_run_waits_runs_and_ends_as_one_here(project: Path, slurm_here: Slurm) -> None:
    job = run_jobs.submit(project, "first", TINY)
    run = RunDir.of(project, "first")
    assert job.slurm and job.pid is None and run_jobs.status_of(run).state == "queued"
    assert run_jobs.status_of(run).slurm == job.slurm
    with pytest.raises(JobError, match="exists"):
        run_jobs.submit(project, "first", TINY)
    wait(lambda: is_over(run), "it does not end", slurm_here)
    assert run_jobs.status_of(run).state == "done", run_jobs.last_words(run)
    wait(lambda: not queue.active(project), "its job does not end", slurm_here)


def test_what_waits_is_cancelled_at_once_and_what_runs_at_a_checkpoint_and_goes_on(
        project: Path, slurm_here: Slurm) -> None:
    first, second = RunDir.of(project, "long"), RunDir.of(project, "next")
    run_jobs.submit(project, "long", LONG)
    wait(lambda: (first.read_status().get("epoch") or 0) > 1, "it does not train", slurm_here)
    choose_place(project, replace(HERE, cpus=3))
    run_jobs.submit(project, "next", TINY)
    wait(lambda: run_jobs.status_of(second).why_queued == "Resources", "it does not wait", slurm_here)
    run_jobs.cancel(project, "next")
    assert run_jobs.status_of(second).state == "cancelled"
    run_jobs.cancel(project, "long", grace_seconds=15.0)
    wait(lambda: is_over(first), "it does not stop", slurm_here)
    assert run_jobs.status_of(first).state == "cancelled"
    epoch = int(first.read_status()["epoch"])
    run_jobs.resume(project, "long")
    wait(lambda: (first.read_status().get("epoch") or 0) > epoch, "it does not go on", slurm_here)
    assert "going on at epoch" in first.log_path.read_text()
    run_jobs.cancel(project, "long")
    wait(lambda: is_over(first) and not queue.active(project), "it does not stop", slurm_here)


@pytest.mark.parametrize("how", ["scancel", "SIGKILL"])
def test_a_run_that_is_killed_is_interrupted_and_goes_on(how: str, project: Path, slurm_here: Slurm) -> None:
    run = RunDir.of(project, "first")
    job = run_jobs.submit(project, "first", LONG)
    wait(lambda: (run.read_status().get("epoch") or 0) > 2, "it does not train", slurm_here)
    if how == "scancel":
        slurm_here.say("scancel", str(job.slurm))
    else:
        engine_of(run).send_signal(signal.SIGKILL)
    wait(lambda: is_over(run), "it does not end", slurm_here)
    assert run_jobs.status_of(run).state == ("cancelled" if how == "scancel" else "interrupted")
    epoch = int(run.read_status()["epoch"])
    goes_on(run, epoch, slurm_here)


def test_a_run_whose_time_is_up_writes_a_checkpoint_and_queues_again(project: Path, slurm_here: Slurm) -> None:
    run = RunDir.of(project, "first")
    job = run_jobs.submit(project, "first", LONG)
    wait(lambda: (run.read_status().get("epoch") or 0) > 2, "it does not train", slurm_here)
    slurm_here.say("scancel", "--signal=USR2", str(job.slurm))  # as Slurm itself does before the limit
    wait(lambda: run_jobs.status_of(run).state == "queued", "it does not queue again", slurm_here)
    assert "cancelled; resume goes on" not in run.read_status().get("message", "")
    epoch = len(run.read_metrics())
    assert epoch > 1
    wait(lambda: "PENDING" in slurm_here.say("squeue", "-h", "-j", str(job.slurm), "-o", "%T"), "it is gone",
         slurm_here)
    run_jobs.cancel(project, "first")  # Slurm lets it rest for two minutes, which this test does not wait for
    goes_on(run, epoch, slurm_here)


def test_features_are_made_there(project: Path, slurm_here: Slurm) -> None:
    features = FeatureDir.of(project, "lite")
    feature_jobs.submit(project, "lite", FeatureRequest(image_size=32))
    wait(lambda: not feature_jobs.is_under_way(features), "they are not made", slurm_here)
    assert feature_jobs.status_of(features).state == "done", run_jobs.last_words(RunDir(features.path))
    assert len(features.read_samples()) > 120


def test_runs_of_a_study_train_two_at_a_time_and_what_is_killed_is_handed_out_again(
        project: Path, slurm_here: Slurm) -> None:
    new = study_jobs.plan_study("first", ["erm", "molere"], 2, 120, setting_lines="network=tiny\nembedding=none")
    study_jobs.submit(project, new)
    study, killed, most = StudyDir.of(project, "first"), set(), 0
    log = study.log_path

    def look() -> bool:
        nonlocal most
        rows = [line.split() for line in slurm_here.say("squeue", "-h", "-r", "-o", "%i %T %j").splitlines()]
        running = [row[0] for row in rows if row[1] == "RUNNING" and row[2] == "study-first"]
        most = max(most, len(running))
        if len(running) == 2 and "scancel" not in killed:  # one that begins has no row for seconds
            slurm_here.say("scancel", running[0])
            killed.add("scancel")
        elif len(running) == 2 and "kill" not in killed:
            slurm_here.say("scancel", "--signal=KILL", running[-1])
            killed.add("kill")
        return not study_jobs.status_of(study).is_active

    wait(look, "it does not end", slurm_here, 200.0)
    assert study_jobs.status_of(study).state == "done", run_jobs.last_words(RunDir(study.path))
    rows = study.read_rows()
    assert most == 2 and len(rows) == 4 and (rows["state"] == "done").all() and killed == {"scancel", "kill"}
    assert log.read_text().count("handed out again") >= 1
    assert np.isfinite(rows["test_accuracy"]).all()


def test_what_slurm_refuses_is_said_in_a_line_and_leaves_a_run_to_resume(project: Path) -> None:
    choose_place(project, replace(HERE, partition="nowhere"))
    with pytest.raises(JobError, match=r"Slurm must take the job; sbatch said: .*partition"):
        run_jobs.submit(project, "first", TINY)
    status = run_jobs.status_of(RunDir.of(project, "first"))
    assert status.state == "failed" and "partition" in status.error and status.can_resume and not queue.active(project)


def test_a_controller_that_does_not_answer_says_nothing_of_any_job(
        project: Path, slurm_here: Slurm, monkeypatch: pytest.MonkeyPatch) -> None:
    run = RunDir.of(project, "first")
    run_jobs.submit(project, "first", LONG)
    wait(lambda: (run.read_status().get("epoch") or 0) > 1, "it does not train", slurm_here)
    monkeypatch.setattr(slurm, "_ask", lambda: None)
    slurm._forget()
    assert slurm.queued() is None and run_jobs.status_of(run).state == "running" and queue.active(project)
    monkeypatch.undo()
    run_jobs.cancel(project, "first")
    wait(lambda: is_over(run), "it does not stop", slurm_here)


def test_an_import_is_carried_out_by_a_node_and_ends_with_its_own_words_and_status(
        tmp_path: Path, slurm_here: Slurm, capfd: pytest.CaptureFixture[str]) -> None:
    images = make_project(tmp_path / "pets", num_train=6) / "images"
    place = tmp_path / "place.json"
    choose_place(tmp_path, HERE)
    rows = [f"{path.relative_to(images)},{name},train" for path, name in
            zip(sorted(images.rglob("*.png")), ["cat", "dog"] * 3, strict=False)]
    table = tmp_path / "rows.csv"
    table.write_text("\n".join(["path,label,split", *rows, "gone.png,cat,train"]))
    words = ["import", "table", str(table), "--image-root", str(images), "--check", "exists", "--place", str(place)]
    assert main([*words, "--project", str(tmp_path / "new")]) == LOST, slurm_here.evidence()
    said = capfd.readouterr().out
    assert said.startswith("job ") and "6 samples of 2 classes" in said and "gone.png" in said
    assert len(Project.open(tmp_path / "new").manifest()) == 6
    assert main(["import", "table", str(tmp_path / "none.csv"), "--project", str(tmp_path / "other"),
                 f"--place={place}"]) == REFUSED
    assert "error: " in capfd.readouterr().out and not (tmp_path / "other").exists()


def test_an_import_that_slurm_ends_says_so(tmp_path: Path, slurm_here: Slurm,
                                           monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(errand, "LATE_SECONDS", 1.0)
    choose_place(tmp_path, HERE)
    said: list[str] = []

    def heard(text: str) -> None:
        said.append(text)
        if "begun" in text:
            slurm.cancel([said[0].split()[1]])

    with pytest.raises(slurm.SlurmError, match="job [0-9]+ was ended: "):
        errand.carry_out(["bash", "-c", "echo begun; sleep 60"], HERE, "long", tmp_path / "files", ROOT, heard)
    assert "begun\n" in said
