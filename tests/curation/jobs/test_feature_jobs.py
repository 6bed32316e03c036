"""Features asked for from the app: the request, the engine's command line, and the queue with a fake engine."""

import json
import sys
import time
from pathlib import Path

import pytest

from curation.jobs import feature_jobs, queue, run_jobs
from curation.jobs.feature_jobs import FeatureRequest
from curation.jobs.queue import JobError
from engine.contract.feature_dir import FeatureDir
from engine.contract.run_dir import RunDirError
from tests.fake_features import make_features
from tests.fakes import make_project, make_run

FAKE_ENGINE = """
import json, os, pathlib, sys, time
import psutil
folder = pathlib.Path(sys.argv[1])
def status(state):
    values = {"state": state, "pid": os.getpid(), "pid_started": psutil.Process().create_time(), "step": 1}
    (folder / "new.json").write_text(json.dumps(values)); os.replace(folder / "new.json", folder / "status.json")
status("running")
while sys.argv[2] == "slow" and not (folder / "cancel").exists():
    time.sleep(0.02)
status("cancelled" if (folder / "cancel").exists() else "done")
"""


@pytest.fixture
def project(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("WHETSTONE_HOME", str(tmp_path / "home"))
    (tmp_path / "fake.py").write_text(FAKE_ENGINE)
    return make_project(tmp_path / "p", num_train=6, size=8)


def command(project: Path, mode: str = "quick") -> list[str]:
    return [sys.executable, str(project.parent / "fake.py"), str(FeatureDir.of(project, "lite0").path), mode]


def wait(features: FeatureDir, state: str) -> run_jobs.RunStatus:
    deadline = time.monotonic() + 20
    while (status := feature_jobs.status_of(features)).state != state:
        assert time.monotonic() < deadline, status
        time.sleep(0.02)
    return status


def wait_for_none(project: Path) -> None:
    deadline = time.monotonic() + 20
    while queue.active(project):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_what_was_asked_for_is_the_engines_command_line(project):
    features = FeatureDir.of(project, "big")
    features.path.mkdir(parents=True)
    features.write_json(features.path / "request.json", {"backbone": "convnext_tiny", "image_size": 96,
                                                          "is_mirrored": True})
    assert feature_jobs.command_of(project, features)[1:] == [
        "-m", "engine", "features", str(project), "--name", "big", "--backbone", "convnext_tiny",
        "--image-size", "96", "--mirror"]
    features.write_json(features.path / "request.json", {"backbone": "x", "image_size": None, "is_mirrored": False})
    assert feature_jobs.command_of(project, features)[-2:] == ["--backbone", "x"]


def test_features_are_queued_watched_cancelled_and_resumed(project):
    features = FeatureDir.of(project, "lite0")
    feature_jobs.submit(project, "lite0", FeatureRequest(), command(project, "slow"))
    (job,) = queue.active(project)
    assert (job.kind, job.run, job.run_dir.path) == ("features", "lite0", features.path)
    wait(features, "running")
    with pytest.raises(JobError, match="features are made once at a time; 'lite0' is under way"):
        feature_jobs.submit(project, "lite0", FeatureRequest(), command(project))
    feature_jobs.cancel(project, "lite0")
    wait(features, "cancelled")
    wait_for_none(project)
    feature_jobs.resume(project, "lite0", command(project))
    wait(features, "done")
    assert [found.name for found in feature_jobs.features_of(project)] == ["lite0"]
    assert feature_jobs.request_of(features) == FeatureRequest()


def test_what_cannot_be_made_is_refused_in_one_line(project):
    with pytest.raises(RunDirError, match="a name must be 1 to 64 letters"):
        feature_jobs.submit(project, "../evil", FeatureRequest())
    imported = make_features(project, "own")
    with pytest.raises(JobError, match="need a name of their own; 'own' is taken; choose another name"):
        feature_jobs.submit(project, "own", FeatureRequest())
    with pytest.raises(JobError, match="features that go on must be of a network; 'own' were imported"):
        feature_jobs.resume(project, "own")
    assert feature_jobs.status_of(imported).state == "done"


def test_a_name_stands_for_one_network_and_size(project):
    feature_jobs.submit(project, "lite0", FeatureRequest(), command(project))
    wait(FeatureDir.of(project, "lite0"), "done")
    wait_for_none(project)
    with pytest.raises(JobError, match="'lite0' is taken"):
        feature_jobs.submit(project, "lite0", FeatureRequest(image_size=96))
    assert feature_jobs.request_of(FeatureDir.of(project, "lite0")) == FeatureRequest()


def test_features_made_on_the_command_line_are_gone_on_with_as_they_were_made(project):
    folder = make_features(project, "cli")
    folder.write_document({"kind": "backbone", "backbone": "convnext_tiny", "num_features": 12, "image_size": 96,
                           "is_mirrored": True})
    assert feature_jobs.request_of(folder) == FeatureRequest(backbone="convnext_tiny", image_size=96, is_mirrored=True)
    assert feature_jobs.command_of(project, folder)[-2:] == ["--name", "cli"], "their document says the rest"
    (folder.path / "request.json").write_text(json.dumps({"backbone": "x"}))
    with pytest.raises(JobError, match="request.json must hold backbone, image_size, is_mirrored; it was damaged"):
        feature_jobs.resume(project, "cli")


def test_the_run_of_features_is_the_newest_that_was_not_trained(project):
    assert feature_jobs.run_on(project, "lite0") is None
    for name, settings in (("old", {"method": "discriminant"}), ("lite0", {"method": "discriminant"}),
                           ("head", {"method": "erm"})):
        run = make_run(project, name)
        run.write_config(run.read_config() | {"config": {"features": "lite0", **settings}})
    found = feature_jobs.run_on(project, "lite0")
    assert found is not None and found.name == "lite0"
