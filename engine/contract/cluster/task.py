"""What a node of the cluster is given to do, as submitit calls it there."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from engine.contract.work_dir import WorkDir

STOP_SECONDS = 60.0
"""How long a command may take to write its checkpoint and end, when the job's time is nearly up."""
TOGETHER = {"TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"}
"""Environment of torchrun on several nodes. With the store that its agents share, a node that comes back waits in vain
for an address that the others have from before (seen with torch 2.14)."""
REQUEUED = "waiting in the queue to go on: it reached its time limit"


class Command:
    """A command line, which goes on from its checkpoint when it is called again. Its output is added to a file."""

    def __init__(self, command: Sequence[str], code: Path, folder: Path, output: Path) -> None:
        self.command, self.code, self.folder, self.output = list(command), code, folder, output
        self.process: subprocess.Popen[bytes] | None = None

    def __call__(self) -> None:
        """Raises RuntimeError where the command fails, so that Slurm says so too."""
        is_first = os.environ.get("SLURM_PROCID", "0") == "0"
        with open(self.output if is_first else os.devnull, "ab") as sink:
            self.process = subprocess.Popen(self.command, cwd=self.code, stdin=subprocess.DEVNULL, stdout=sink,
                                            stderr=sink, preexec_fn=ignore_warning)
            code = ended(self.process)
        if code:
            raise RuntimeError(f"it ended with status {code}; {self.output} has its words")

    def checkpoint(self) -> Any:
        """submitit's: called before the time limit. Ends the command, which writes a checkpoint, and queues it again.
        """
        from submitit.helpers import DelayedSubmission

        if self.process is not None:
            self.process.terminate()
            ended(self.process, STOP_SECONDS)
        self.process = None
        WorkDir(self.folder).write_status(state="queued", message=REQUEUED)
        return DelayedSubmission(self)


def ended(process: "subprocess.Popen[bytes]", seconds: float = float("inf")) -> int | None:
    """The status that a process ends with; None if it lives longer. Its own wait() would hold a lock that a handler of
    a signal, which runs in the midst of it, waits for as well."""
    deadline = time.monotonic() + seconds
    while process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.1)
    return process.returncode


def ignore_warning() -> None:
    """Slurm sends its warning to every process of a job, and a process that does not know it ends of it."""
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)


def together(command: Sequence[str], num_nodes: int, num_processes: int) -> list[str]:
    """A command line `python -m engine ...` as torchrun starts it on this node: the same on every node of a Slurm job,
    whose first one they meet at. As it is for one process in all.

    num_processes: on each node. Puts TOGETHER into the environment, for the command to inherit.
    """
    if num_nodes * num_processes < 2:
        return list(command)
    options = ["--nproc-per-node", str(num_processes), "--max-restarts", "3"]
    if num_nodes == 1:
        options += ["--standalone"]
    else:
        from submitit import JobEnvironment

        os.environ.update(TOGETHER)
        job = JobEnvironment()
        number = int("".join(filter(str.isdigit, str(job.job_id))) or 0)
        options += ["--nnodes", str(num_nodes), "--rdzv-backend", "c10d", "--rdzv-id", f"slurm-{job.job_id}",
                    "--rdzv-endpoint", f"{job.hostnames[0]}:{20_000 + number % 10_000}"]
    return [sys.executable, "-m", "torch.distributed.run", *options, *command[1:]]
