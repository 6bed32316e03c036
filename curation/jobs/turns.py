"""The processes of a job that nobody waits for: one that waits for its turn and becomes the engine, one that sees to it
that a cancelled job ends. Not for people.

    python -m curation.jobs.turns wait JOB                      here: until the device is free
    python -m curation.jobs.turns take PROJECT KIND NAME NODES PROCESSES COMMAND...   on a node that Slurm has given it
    python -m curation.jobs.turns stop FOLDER SECONDS WORKER    WORKER: "", or as Worker.text has it
"""

import contextlib
import json
import os
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from curation.jobs import queue
from curation.jobs.decisions import bring_up_to_date
from curation.jobs.queue import Job, JobKind, folder_of
from curation.jobs.request import train_command
from engine.contract.cluster import slurm, task
from engine.contract.cluster.slurm import SlurmError
from engine.contract.disk.processes import is_same_process
from engine.contract.run_dir import ENDED, RunDir
from engine.contract.work_dir import SILENT_SECONDS

POLL_SECONDS = 0.25


@dataclass(frozen=True, slots=True)
class Worker:
    """What works in a folder: a process of this machine, or a job of Slurm."""

    pid: int | None = None
    started: float | None = None
    slurm: str | None = None

    @property
    def text(self) -> str:
        """"" where there is none."""
        return json.dumps([self.pid, self.started, self.slurm]) if self else ""

    @classmethod
    def of_text(cls, text: str) -> "Worker":
        return cls(*json.loads(text)) if text else cls()

    def __bool__(self) -> bool:
        return self.pid is not None or self.slurm is not None

    def is_alive(self) -> bool:
        if self.slurm is not None:
            return (found := slurm.queued()) is None or self.slurm in found
        return is_same_process(self.pid, self.started)

    def send(self, number: signal.Signals) -> None:
        """SIGTERM or SIGKILL, where it lives."""
        if self.slurm is not None:
            slurm.cancel([self.slurm], "TERM" if number == signal.SIGTERM else None)
        elif self.pid is not None and self.is_alive():
            os.kill(self.pid, number)


def job_in(run: RunDir) -> Job | None:
    """The active job that works in a folder, or waits to."""
    return next((job for job in queue.active() if job.run_dir.path == run.path.resolve()), None)


def worker_of(run: RunDir) -> Worker:
    """What works in a folder: by the queue, else by its status."""
    if (job := job_in(run)) is not None:
        return Worker(job.pid, job.pid_started, job.slurm)
    status = run.read_status()
    return Worker(status.get("pid"), status.get("pid_started"))


def is_worked_on(run: RunDir) -> bool:
    job = job_in(run)
    return job.is_alive if job is not None else bool(run.read_status()["is_alive"])


def stop(run: RunDir, grace_seconds: float, worker: Worker) -> None:
    """Wait for a cancelled job to end by itself; then SIGTERM, then SIGKILL, and write the status it could not.

    worker: who was cancelled; none if it had none yet. Who resumes the job meanwhile is another, which is to be left
    alone.
    """
    pause = min(0.2, grace_seconds / 10)
    while not worker and is_worked_on(run):
        time.sleep(pause)
        worker = worker_of(run)
    for number in (None, signal.SIGTERM, signal.SIGKILL):
        if number is not None and worker.is_alive():
            with contextlib.suppress(SlurmError):  # it does not answer: perhaps the next time
                worker.send(number)
        deadline = time.monotonic() + grace_seconds
        while worker.is_alive() and time.monotonic() < deadline:
            time.sleep(pause)
    status = run.read_status()
    if status["state"] not in ENDED and not is_worked_on(run):
        status.pop("is_alive")
        run.write_status(**{**status, "state": "cancelled", "error": None})


def wait(job_id: int) -> None:
    """Wait for the job's turn on its device, then become the engine. Ends early if the job is cancelled."""
    job = queue.get(job_id)
    run = job.run_dir
    queue.set_process(job_id, os.getpid())
    while not run.is_cancel_requested():
        if queue.get(job_id).state == "ended":  # by somebody who took this process for gone
            return
        if queue.claim(job_id):
            bring_up_to_date(Path(job.project))
            command = json.loads(job.command)
            os.execv(command[0], command)
        time.sleep(POLL_SECONDS)
    run.write_status(state="cancelled", message="cancelled while waiting", heartbeat=time.time())
    queue.end(job_id)


def take(project: Path, kind: JobKind, name: str, num_nodes: int, num_processes: int, command: list[str]) -> None:
    """Become the engine on a node that Slurm has given a job, with the job's other nodes where it has several. A job
    that Slurm begins anew, since its node was lost or its time was up, goes on from its checkpoint.

    It first waits until a process of another node that is gone counts as dead.
    """
    run = RunDir(folder_of(project, kind, name))
    deadline = time.monotonic() + 2 * SILENT_SECONDS
    while run.read_status()["is_alive"] and time.monotonic() < deadline:
        time.sleep(1.0)
    if os.environ.get("SLURM_PROCID", "0") == "0":
        bring_up_to_date(project)
    if kind == "run" and run.exists():
        command = train_command(project, name)
    command = task.together(command, num_nodes, num_processes)
    os.execv(command[0], command)


def main(arguments: list[str]) -> None:
    match arguments:
        case ["wait", job_id]:
            wait(int(job_id))
        case ["take", project, ("run" | "study" | "features" | "transfer") as kind, name, nodes, processes, *command]:
            take(Path(project), kind, name, int(nodes), int(processes), command)
        case ["stop", folder, seconds, worker]:
            stop(RunDir(Path(folder)), float(seconds), Worker.of_text(worker))
        case _:
            raise SystemExit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])
