"""Runs in the background, one at a time on a device for all projects of this user, or in the queue of a cluster.

A submitted run is a row of a small SQLite queue. Here it is a process of its own as well (curation.jobs.turns), which
first waits for its turn, then turns into the engine (same pid); where its project's place is Slurm, it is a job there.
Either reports through the run directory. So a run outlives the app, and all who look next (app, command line, another
waiting process) see the truth: a process lives if its pid and start time match, a job of Slurm if squeue lists it.

Holds no process handle and plans nothing about training. Runs that were started with `python -m engine train` do not
queue here, but their status, cancel and resume work the same.
"""

import os
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pandas as pd

from curation.jobs import queue, turns
from curation.jobs.queue import Job, JobError, JobKind
from curation.jobs.request import REQUEST_NAME, config_of, created_of, damage_of, train_command, write_request
from curation.ledger import people
from engine.contract.cluster import place, slurm
from engine.contract.cluster.place import SLURM, Place
from engine.contract.cluster.slurm import SlurmError
from engine.contract.cluster.task import Command
from engine.contract.config import RunConfig
from engine.contract.disk.event_log import state_folder
from engine.contract.method_config import alone_because
from engine.contract.run_dir import ENDED, RunDir
from engine.contract.run_list import Damaged
from engine.contract.settings import ConfigError
from engine.contract.work_dir import StatusDocument

GRACE_SECONDS = 20.0
"""How long a cancelled run may take to stop by itself before SIGTERM, and as long again before SIGKILL."""
OUTPUT_NAME = "output.txt"
CODE_ROOT = Path(__file__).parents[2]

RunState = Literal["queued", "running", "done", "failed", "cancelled", "interrupted"]
"""interrupted: its process is gone without a word."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RunStatus:
    """What a run is doing now, judged by its files, its process and the queue together."""

    state: RunState
    ahead: tuple[Job, ...] = ()
    """What goes first on the same device, while queued: the one that runs now, then the others in their order."""
    device: str = ""
    slurm: str | None = None
    """Its job in Slurm's queue, while it waits or runs there."""
    why_queued: str = ""
    """In Slurm's words, such as Resources."""
    error: str = ""
    """Why it failed, one line."""
    is_cancelling: bool = False
    details: StatusDocument
    """status.json as the engine wrote it."""

    @property
    def num_ahead(self) -> int:
        return len(self.ahead)

    @property
    def is_active(self) -> bool:
        return self.state in ("queued", "running")

    @property
    def can_resume(self) -> bool:
        return self.state in ("failed", "cancelled", "interrupted")


# -- starting


def submit(project: Path, run_name: str, config: RunConfig, command: list[str] | None = None, *,
           decisions: pd.DataFrame | None = None, warm_start: str | None = None,
           weights_from: str | None = None) -> Job:
    """Queue a new run of a project and start its process. `command` replaces the engine's (tests).

    decisions, warm_start and weights_from as request.write_request has them.
    Raises JobError if a run of that name exists or is queued, RunDirError for a name that cannot name a run.
    """
    project = Path(project).resolve()
    run = RunDir.of(project, run_name)
    claim(run.path, "run")
    write_request(run, config, decisions, warm_start, weights_from)
    return enqueue(project, "run", run, config.device, command or train_command(project, run_name))


def claim(path: Path, what: str) -> None:
    """Make a new run's or study's folder; of any number of simultaneous submits, one does. Raises JobError."""
    people.require("owner", "starting work")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        path.mkdir()
    except FileExistsError:
        raise JobError(f"a {what}'s name must be new in its project; {path.name!r} exists; choose another name or "
                       f"resume that {what}") from None


def free_name(folder: Path, name: str) -> str:
    """`name`, or `name-2`, `name-3` and so on: the first that nothing in the folder has."""
    number, free = 1, name
    while (folder / free).exists():
        number += 1
        free = f"{name}-{number}"
    return free


def resume(project: Path, run_name: str, command: list[str] | None = None) -> Job:
    """Queue a run that failed, was cancelled or lost its process, from its last checkpoint (else from its start).
    Raises JobError if it is active, done, or no run at all."""
    project = Path(project).resolve()
    run = RunDir.of(project, run_name)
    if not run.path.is_dir():
        raise JobError(f"a run to resume must exist; {project.name} has no run {run_name!r}; start it instead")
    status = status_of(run)
    if not status.can_resume:
        raise JobError(f"a run can be resumed once it failed, was cancelled or interrupted; {run_name!r} is "
                       f"{status.state}; start a new run instead")
    run.clear_cancel()
    return enqueue(project, "run", run, config_of(run).device, command or train_command(project, run_name))


def enqueue(project: Path, kind: JobKind, run: RunDir, device: str, command: list[str]) -> Job:
    """Queue a command for the folder of a run, a study or features where the project's jobs run, and start the process
    that waits for its turn. A study always has its process here, which hands its runs out (study_jobs)."""
    people.require("owner", "starting work")
    try:
        asked = place.place_of(project)
    except ConfigError as error:
        raise JobError(str(error)) from error
    if asked.where == SLURM:
        device = f"{queue.IN_SLURM} {kind} {run.path}"  # no two wait for each other
    job = turns.job_in(run)
    if job is not None and job.slurm is not None and run.read_status()["state"] in ENDED:
        _end_in_slurm(job.slurm)  # which takes seconds to clear up after it, or had it queue again
        queue.end(job.id)
    job_id = queue.add(project, kind, run.name, queue.device_key(device), command)
    if asked.where == SLURM and kind != "study":
        return _to_slurm(asked, queue.get(job_id), command)
    run.write_status(state="queued", message="waiting for its turn", heartbeat=time.time())
    pid = start_detached([sys.executable, "-m", "curation.jobs.turns", "wait", str(job_id)], run.path / OUTPUT_NAME)
    queue.set_process(job_id, pid)
    return queue.get(job_id)


def _to_slurm(asked: Place, job: Job, command: list[str]) -> Job:
    """Have Slurm start a job. Raises JobError where it does not take it."""
    run = job.run_dir
    is_shared = job.kind == "features" or (job.kind == "run" and not alone_because(config_of(run)))
    nodes, processes = (asked.nodes, max(1, asked.gpus)) if is_shared else (1, 1)
    taking = [sys.executable, "-m", "curation.jobs.turns", "take", job.project, job.kind, job.run, str(nodes),
              str(processes), *command]
    run.write_status(state="queued", message="waiting in the queue of the cluster", heartbeat=time.time())
    try:
        [number] = slurm.submit([Command(taking, CODE_ROOT, run.path, run.path / OUTPUT_NAME)], asked,
                                f"{job.kind}-{job.run}", state_folder() / "slurm", code=CODE_ROOT,
                                is_single=not is_shared)
    except SlurmError as error:
        queue.end(job.id)
        run.write_status(state="failed", error=str(error), heartbeat=time.time())
        raise JobError(str(error)) from error
    queue.set_slurm(job.id, number)
    return queue.get(job.id)


def _end_in_slurm(job: str) -> None:
    """Raises JobError where Slurm does not answer."""
    try:
        slurm.cancel([job])
    except SlurmError as error:
        raise JobError(str(error)) from error


def choose_place(project: Path, values: dict[str, object]) -> None:
    """Have the next jobs of a project run there. values: of a Place. Raises ConfigError."""
    people.require("owner", "choosing where jobs run")
    place.choose_place(project, Place.of_dict(values))


def start_detached(command: list[str], output: Path | None) -> int:
    """Start a process in a session of its own, so that neither SIGTERM nor Ctrl-C to the app reaches it; its pid."""
    with open(output or os.devnull, "wb") as sink:
        process = subprocess.Popen(command, cwd=CODE_ROOT, stdin=subprocess.DEVNULL, stdout=sink, stderr=sink,
                                   start_new_session=True)
    # Reaps it should it end before this process does; an unreaped child would count as alive to other tools.
    threading.Thread(target=process.wait, daemon=True, name=f"reap-{process.pid}").start()
    return process.pid


# -- watching


def jobs(project: Path | None = None) -> list[Job]:
    """Queued and running jobs of a project (of all projects if None), in the order of the queue."""
    return queue.active(project)


def run_dirs(project: Path) -> list[RunDir]:
    """Every run of a project that can be read, those still waiting to begin included, newest first."""
    sound = [run for run in _run_folders(project) if not damage_of(run)]
    return sorted(sound, key=created_of, reverse=True)


def damaged_runs(project: Path) -> list[Damaged]:
    """The runs that run_dirs leaves out, by name: a damaged one harms itself alone."""
    return [Damaged(run.name, line) for run in sorted(_run_folders(project), key=lambda run: run.name)
            if (line := damage_of(run))]


def _run_folders(project: Path) -> list[RunDir]:
    folder = Path(project) / "runs"
    return [RunDir(p) for p in folder.iterdir() if not p.name.startswith(".")
            and ((p / "config.json").exists() or (p / REQUEST_NAME).exists())] \
        if folder.is_dir() else []


def status_of(run: RunDir) -> RunStatus:
    """What the run is doing now. Never raises for a run whose process died: that is `interrupted` or `failed`."""
    details = run.read_status()
    state = details["state"]
    is_cancelling = run.is_cancel_requested()
    if state == "cancelled" and (again := queue.in_slurm(run)) is not None and again.state == "queued":
        state = "queued"  # by Slurm, for a job of more urgency: it has the job queue again
    if state in ENDED:
        return RunStatus(state=state, error=str(details.get("error") or ""), details=details,
                         device=str(details.get("device") or ""))
    if state == "running" and details["is_alive"]:
        return RunStatus(state="running", details=details, is_cancelling=is_cancelling,
                         device=str(details.get("device") or ""))
    waiting = queue.active()
    job = next((j for j in waiting if j.run_dir.path == run.path.resolve()), None)
    if job is not None and job.state == "running":
        return RunStatus(state="running", details={**details, "stage": "starting"}, is_cancelling=is_cancelling,
                         device=job.place, slurm=job.slurm)
    if job is not None and job.slurm is not None:
        found = (slurm.last_answer() or {}).get(job.slurm)
        return RunStatus(state="queued", details=details, is_cancelling=is_cancelling, device=job.place,
                         slurm=job.slurm, why_queued=found.reason if found else "")
    if job is not None:
        ahead = [j for j in waiting if j.device == job.device and (j.id < job.id or j.state == "running")]
        ahead.sort(key=lambda j: (j.state != "running", j.id))
        return RunStatus(state="queued", ahead=tuple(ahead), details=details, is_cancelling=is_cancelling,
                         device=job.place)
    if run.read_status()["state"] != state:  # it began or ended between our two looks
        return status_of(run)
    if is_cancelling:
        return RunStatus(state="cancelled", details=details)
    reason = last_words(run) if state == "queued" else ""
    return RunStatus(state="failed" if reason else "interrupted", error=reason, details=details)


def last_words(run: RunDir) -> str:
    """The last line a process wrote that ended before the engine had a status: the reason it gives."""
    path = run.path / OUTPUT_NAME
    lines = path.read_text(errors="replace").splitlines()[-40:] if path.exists() else []
    return next((line.strip().removeprefix("error: ") for line in reversed(lines) if line.strip()), "")


# -- stopping


def cancel(project: Path, run_name: str, grace_seconds: float = GRACE_SECONDS) -> None:
    """Ask a queued or running run to stop; a detached process makes sure that it does within twice the grace period.
    Raises JobError if it is neither."""
    cancel_in(RunDir.of(Path(project).resolve(), run_name), grace_seconds)


def cancel_in(run: RunDir, grace_seconds: float = GRACE_SECONDS) -> None:
    """cancel() of whatever works in this folder: a run, a study or features."""
    people.require("owner", "cancelling work")
    status = status_of(run)
    if not status.is_active:
        raise JobError(f"only a queued or running run can be cancelled; {run.name!r} is {status.state}")
    job, worker = turns.job_in(run), turns.worker_of(run)
    if job is not None and job.slurm is not None and job.state == "queued":
        _end_in_slurm(job.slurm)  # no process of it would see the request
        run.write_status(state="cancelled", message="cancelled while waiting", heartbeat=time.time())
        queue.end(job.id)
        return
    run.request_cancel()
    command = [sys.executable, "-m", "curation.jobs.turns", "stop", str(run.path), str(grace_seconds), worker.text]
    start_detached(command, None)
