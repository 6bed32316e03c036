"""Two apps on one project and two trainers of one run, each a process of its own, at the same moment."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from curation.doctor.chain import read_chain
from curation.project import Project
from engine.contract.run_dir import RunDir
from tests import ROOT
from tests.fakes import make_project

APP = """
import sys
from pathlib import Path
from tests import views
home, who = Path(sys.argv[1]), sys.argv[2]
app = views.start(home, "decide", project="pets", timeout=100)
app.text_input(key="person").input(who).run()
print("ready", flush=True)
while not (home / "gun").exists(): pass
for i in range(4):
    app.text_area(key="decide.ids").input(f"train-{i:05d}")
    app.selectbox(key="decide.op").select_index(0)
    app.text_input(key="decide.why").input(f"{who} {i}")
    app.button(key="decide.by_ids").click()
    views.rerun(app)
"""


def start(home: Path, *command: str) -> "subprocess.Popen[str]":
    return subprocess.Popen([sys.executable, *command], cwd=ROOT, text=True, stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, env={**os.environ, "WHETSTONE_PROJECTS": str(home)})


def test_two_apps_on_one_project_lose_and_double_no_decision(home: Path) -> None:
    path = make_project(home / "pets", size=4)
    apps = [start(home, "-c", APP, str(home), who) for who in ("ada", "bob")]
    for app in apps:
        assert app.stdout is not None and app.stdout.readline() == "ready\n", app.communicate()[1]
    (home / "gun").touch()
    said = [app.communicate(timeout=100) for app in apps]
    assert [app.returncode for app in apps] == [0, 0], said
    project = Project.open(path)
    batches = project.ledger().batches()
    assert sorted(batches["why"]) == sorted(f"{who} {i}" for who in ("ada", "bob") for i in range(4))
    assert (batches["why"].str.partition(" ")[0] == batches["who"]).all() and len(project.ledger().state()) == 4
    assert read_chain(project.database).breaks == () and len(read_chain(project.database).digests) == 8


def test_of_two_trainers_of_one_run_one_trains_and_one_is_refused_in_one_line(home: Path) -> None:
    path = make_project(home / "pets", num_train=30, num_clean=3, num_test=3, size=4)
    command = ["-m", "engine", "train", str(path), "--method", "erm", "--name", "first", "--set", "epochs=2", "--set",
               "device=cpu", "--set", "embedding=none"]
    trainers = [start(home, *command) for _ in range(2)]
    said = [trainer.communicate(timeout=100)[1] for trainer in trainers]
    codes = [trainer.returncode for trainer in trainers]
    assert sorted(codes) == [0, 2], said
    refused = said[codes.index(2)]
    assert refused.count("\n") == 1 and ("is being trained by another" in refused or "needs a free name" in refused)
    run = RunDir.of(path, "first")
    assert run.read_status()["state"] == "done" and len(run.read_metrics()) == 2


pytestmark = pytest.mark.timeout(150)
