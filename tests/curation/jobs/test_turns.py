"""What a node that Slurm has given a job does with it: several processes, or several nodes, train one run."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from curation.jobs.request import train_command, write_request
from curation.jobs.turns import Worker, main
from engine.contract.cluster import task
from engine.contract.cluster.task import together
from engine.contract.config import RunConfig
from engine.contract.run_dir import RunDir
from tests import ROOT
from tests.fakes import make_project
from tests.loopback import loopback

TINY = RunConfig(epochs=3, network="tiny", embedding="none", device="cpu", num_threads=1, batch_size=32)
COMMAND = ["python", "-m", "engine", "train", "pets"]


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    """One that was asked for and has not begun."""
    asked = RunDir.of(make_project(tmp_path / "pets", num_train=120), "first")
    asked.path.mkdir(parents=True)
    write_request(asked, TINY)
    return asked


def take(run: RunDir, num_nodes: int, num_processes: int, **environment: str) -> subprocess.Popen[str]:
    project = run.path.parents[1]
    return subprocess.Popen(
        [sys.executable, "-m", "curation.jobs.turns", "take", str(project), "run", run.name, str(num_nodes),
         str(num_processes), *train_command(project, run.name)],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": loopback()} | environment)


@pytest.mark.slow
def test_several_processes_of_a_node_train_one_run(run: RunDir) -> None:
    said, _ = take(run, 1, 2).communicate(timeout=120)
    assert run.read_status()["state"] == "done", said
    assert run.read_config()["num_processes"] == 2


@pytest.mark.slow
def test_several_nodes_meet_at_the_first(run: RunDir) -> None:
    job = {"SUBMITIT_EXECUTOR": "slurm", "SLURM_JOB_ID": str(os.getpid()), "SLURM_JOB_NODELIST": "localhost",
           "SLURM_JOB_NUM_NODES": "2", "SLURM_NTASKS": "2", "SLURM_LOCALID": "0"}
    nodes = [take(run, 2, 1, **job, SLURM_PROCID=str(rank), SLURM_NODEID=str(rank)) for rank in (0, 1)]
    said = [node.communicate(timeout=150)[0] for node in nodes]
    assert run.read_status()["state"] == "done" and [node.returncode for node in nodes] == [0, 0], said
    assert run.read_config()["num_processes"] == 2


def test_a_job_of_one_process_is_the_command_itself() -> None:
    assert together(COMMAND, 1, 1) == COMMAND
    assert together(COMMAND, 1, 4) == [
        sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "4", "--max-restarts", "3", "--standalone",
        *COMMAND[1:]]


def test_a_command_that_fails_fails_its_job_and_says_where_its_words_are(tmp_path: Path) -> None:
    output = tmp_path / "output.txt"
    failing = task.Command([sys.executable, "-c", "print('why'); raise SystemExit(3)"], tmp_path, tmp_path, output)
    with pytest.raises(RuntimeError, match=f"ended with status 3; {output} has its words"):
        failing()
    assert output.read_text() == "why\n"


def test_a_worker_goes_through_a_command_line() -> None:
    for worker in (Worker(), Worker(12, 3.25), Worker(slurm="12_3")):
        assert Worker.of_text(worker.text) == worker
    assert not Worker() and Worker(12, 3.25) and Worker(slurm="7")


def test_what_nobody_may_ask_for_is_told() -> None:
    with pytest.raises(SystemExit, match="Not for people"):
        main(["take", "project", "nothing"])
