"""One run over two nodes, each with an agent of torchrun and an address of its own: one is lost and comes back."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import psutil
import pytest

from engine.contract.cluster.task import TOGETHER
from engine.contract.run_dir import RunDir
from tests import ROOT
from tests.fakes import make_project
from tests.loopback import loopback

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
NUM_EPOCHS = 20
SETTINGS = (f"epochs={NUM_EPOCHS}", "batch_size=33", "network=tiny", "embedding=none", "num_threads=1", "device=cpu",
            "checkpoint_seconds=0")


class Nodes:
    """Agents of torchrun, 127.0.0.1 and 127.0.0.2, that train one run and meet at the first."""

    def __init__(self, project: Path, name: str) -> None:
        self.project, self.run = project, RunDir.of(project, name)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.agents: dict[int, subprocess.Popen[bytes]] = {}
        self.start(1)
        self.start(2)

    def start(self, node: int) -> None:
        meeting = ["--rdzv-backend", "c10d", "--rdzv-id", self.run.name, "--rdzv-endpoint", f"127.0.0.1:{self.port}",
                   "--rdzv-conf", f"is_host={int(node == 1)},keep_alive_interval=1,keep_alive_max_attempt=4",
                   "--local-addr", f"127.0.0.{node}"]
        settings = [part for setting in SETTINGS for part in ("--set", setting)]
        with open(self.project / f"{self.run.name}-{node}.txt", "ab") as sink:
            self.agents[node] = subprocess.Popen(
                [sys.executable, "-m", "torch.distributed.run", "--nnodes", "2", "--nproc-per-node", "1", *meeting,
                 "--max-restarts", "3", "--monitor-interval", "0.2", "-m", "engine", "train", str(self.project),
                 "--name", self.run.name, "--method", "molere", *settings],
                cwd=ROOT, stdin=subprocess.DEVNULL, stdout=sink, stderr=sink, start_new_session=True,
                env=os.environ | {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": loopback(), **TOGETHER})

    def lose(self, node: int) -> None:
        """The machine is gone: its agent and its processes with it."""
        with suppress(psutil.NoSuchProcess):
            agent = psutil.Process(self.agents[node].pid)
            for process in [agent, *agent.children(recursive=True)]:
                with suppress(psutil.NoSuchProcess):
                    process.send_signal(signal.SIGKILL)
        self.agents[node].wait()

    @property
    def num_epochs(self) -> int:
        return len(self.run.read_metrics()) if (self.run.path / "metrics.jsonl").exists() else 0

    def wait(self) -> RunDir:
        """The run, once both have ended well."""
        for agent in self.agents.values():
            assert agent.wait(120) == 0, "".join(
                path.read_text()[-3000:] for path in sorted(self.project.glob(f"{self.run.name}-*.txt")))
        assert self.run.read_status()["state"] == "done"
        return self.run


@pytest.fixture
def start(tmp_path: Path) -> Iterator[object]:
    """Starts a run of one project on two nodes."""
    project, started = make_project(tmp_path / "pets", num_train=200, size=8), []

    def begin(name: str) -> Nodes:
        started.append(Nodes(project, name))
        return started[-1]

    yield begin
    for nodes in started:
        for node in nodes.agents:
            nodes.lose(node)


def test_a_node_that_is_lost_and_comes_back_leaves_the_run_as_if_nothing_had_been(start) -> None:
    whole, nodes = start("whole").wait(), start("cut")
    deadline = time.monotonic() + 90
    while nodes.num_epochs < 3:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    nodes.lose(2)
    assert nodes.num_epochs < NUM_EPOCHS
    time.sleep(5.0)  # no machine is back sooner; torchrun counts it as there so long
    nodes.start(2)
    cut = nodes.wait()
    assert cut.read_config()["num_processes"] == 2 and "going on at epoch" in cut.log_path.read_text()
    assert whole.read_metrics()["train_loss"].tolist() == cut.read_metrics()["train_loss"].tolist()
    left, right = whole.read_signals(), cut.read_signals()
    assert left["sample_id"].tolist() == right["sample_id"].tolist()
    for name in ("role", "margin", "weight"):
        np.testing.assert_array_equal(left[name].to_numpy(), right[name].to_numpy(), err_msg=name)
