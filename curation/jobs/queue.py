"""The queue of background work: one small SQLite database a user, so that two clicks, two tabs and two projects agree.

A job trains a run or a study, makes features, or scores a set. Two partial unique indexes hold the rules: one active
job for each of them, one running job a device. A job whose process is gone is ended by the next process that looks. One
in Slurm's queue has no process here: squeue says whether it waits or runs. Starts and stops nothing.
"""

import json
import os
import platform
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Literal

from engine.contract.cluster import slurm
from engine.contract.disk.event_log import state_folder
from engine.contract.disk.failures import disk_line
from engine.contract.disk.processes import is_same_process, process_start
from engine.contract.disk.sqlite_wal import use_write_ahead_log
from engine.contract.errors import UserError
from engine.contract.run_dir import RunDir
from engine.contract.work_dir import SILENT_SECONDS, host

LOCK_SECONDS = 10.0
"""How long one process waits for another to let go of the database, which each holds for milliseconds."""
NEWBORN_SECONDS = 30.0
"""A job without a process counts as alive for this long: the process that queued it is about to start one."""
SUBMITTING_SECONDS = 300.0
"""And one that is on its way to Slurm: sbatch waits for a controller that is busy."""
JobKind = Literal["run", "study", "features", "transfer"]
JobState = Literal["queued", "running", "ended"]
_FOLDERS: dict[JobKind, str] = {"run": "runs", "study": "studies", "features": "features",
                                "transfer": "transfers"}
IN_SLURM = "slurm"
"""The device of jobs that Slurm places."""
_SCHEMA: tuple[tuple[str, ...], ...] = ((
    """CREATE TABLE IF NOT EXISTS job (
    id INTEGER PRIMARY KEY, project TEXT NOT NULL, run TEXT NOT NULL, device TEXT NOT NULL, state TEXT NOT NULL,
    command TEXT NOT NULL, submitted REAL NOT NULL, started REAL, heartbeat REAL, pid INTEGER, pid_started REAL)""",
    "DROP INDEX IF EXISTS one_job_a_run",
    "ALTER TABLE job ADD COLUMN kind TEXT NOT NULL DEFAULT 'run'",
    "UPDATE job SET kind = 'study', run = substr(run, length('studies/') + 1) WHERE run LIKE 'studies/%'",
    "CREATE UNIQUE INDEX one_job_a_run ON job (project, kind, run) WHERE state != 'ended'",
    "CREATE UNIQUE INDEX IF NOT EXISTS one_job_a_device ON job (device) WHERE state = 'running'",
), (
    "ALTER TABLE job ADD COLUMN slurm TEXT", "ALTER TABLE job ADD COLUMN host TEXT",
))
"""What leads from one version of the schema, as SQLite's user_version keeps it, to the next. 0: no table yet, or that
of older code, where a study's job is one of a run called "studies/NAME"."""


class JobError(UserError):
    """A run, a study or features cannot be started, resumed or cancelled. One line, ready to show."""


@dataclass(frozen=True, slots=True)
class Job:
    """One row of the queue."""

    id: int
    project: str
    kind: JobKind
    run: str
    """Name of the run, of the study, of the features, or of the transfer score."""
    device: str
    state: JobState
    """How an ended one ended stands in the run's status."""
    command: str
    submitted: float
    started: float | None
    heartbeat: float | None
    pid: int | None
    pid_started: float | None
    slurm: str | None
    """Its id in Slurm's queue; its state is as Slurm has it then. None: it is a process of its host."""
    host: str | None
    """The machine that queued it; None of older code, which knew one."""

    @property
    def is_alive(self) -> bool:
        """Its process lives, or was asked for so recently that it has had no time to say so; or Slurm has it, or does
        not answer."""
        if self.slurm is not None:
            found = slurm.last_answer()  # which may be older than the job
            return found is None or self.slurm in found or abs(time.time() - self.submitted) < NEWBORN_SECONDS
        if self.host not in (None, host()):
            return self._lives_elsewhere()
        if self.pid is None and self.device.startswith(f"{IN_SLURM} ") and self.kind != "study":
            return abs(time.time() - self.submitted) < SUBMITTING_SECONDS
        if self.pid is None:
            return abs(time.time() - self.submitted) < NEWBORN_SECONDS  # a clock set back makes it no newborn for ever
        return is_same_process(self.pid, self.pid_started)

    def _lives_elsewhere(self) -> bool:
        """Of a process of another machine with the same home folder: by what it wrote last."""
        heard = max(self.heartbeat or 0.0, self.submitted)
        return abs(time.time() - heard) < SILENT_SECONDS or bool(self.run_dir.read_status()["is_alive"])

    @property
    def place(self) -> str:
        """What it runs on or waits for, for people: a device, or the cluster."""
        return "the cluster" if self.device.startswith(IN_SLURM) else self.device

    @property
    def run_dir(self) -> RunDir:
        """The folder it works in; others' have the status and cancel files of a run's."""
        return RunDir(folder_of(Path(self.project), self.kind, self.run))


def folder_of(project: Path, kind: JobKind, name: str) -> Path:
    """The folder that a job works in."""
    return Path(project) / _FOLDERS[kind] / name


# -- acting on the queue


def add(project: Path, kind: JobKind, name: str, device: str, command: list[str]) -> int:
    """Queue a job for a run, a study or features; its number. Raises JobError if that has an active one."""
    with database() as connection:
        release_dead(connection)
        try:
            job_id = connection.execute(
                "INSERT INTO job (project, kind, run, device, state, command, submitted, host) "
                "VALUES (?, ?, ?, ?, 'queued', ?, ?, ?)",
                (str(project), kind, name, device, json.dumps(command), time.time(), host())).lastrowid
        except sqlite3.IntegrityError:
            what = kind if kind == "features" else f"a {kind}"
            raise JobError(f"{what} can be started once at a time; {name!r} is queued or running already; wait or "
                           "cancel") from None
    assert job_id is not None, "an inserted row has an id"
    return job_id


def set_process(job_id: int, pid: int) -> None:
    """Note the process that waits for a job's turn and then becomes its engine; who started it and it itself may."""
    with database() as connection:
        connection.execute("UPDATE job SET pid = ?, pid_started = ? WHERE id = ? AND pid IS NULL",
                           (pid, process_start(pid), job_id))


def set_slurm(job_id: int, slurm_id: str) -> None:
    """Note the id that a job has in Slurm's queue."""
    with database() as connection:
        connection.execute("UPDATE job SET slurm = ?, submitted = ?, state = 'queued' WHERE id = ?",
                           (slurm_id, time.time(), job_id))


def end(job_id: int) -> None:
    with database() as connection:
        connection.execute("UPDATE job SET state = 'ended' WHERE id = ?", (job_id,))


def claim(job_id: int) -> bool:
    """Take the device if it is free and no living job waits before this one; True when it is ours."""
    with database() as connection:
        connection.execute("UPDATE job SET heartbeat = ? WHERE id = ?", (time.time(), job_id))
        release_dead(connection)
        try:
            taken = connection.execute(
                "UPDATE job SET state = 'running', started = ? WHERE id = ? AND state = 'queued' AND NOT EXISTS "
                "(SELECT 1 FROM job AS other WHERE other.device = job.device AND other.id < job.id "
                "AND other.state = 'queued')", (time.time(), job_id)).rowcount
        except sqlite3.IntegrityError:  # the device's running row is another's
            return False
    return taken == 1


# -- looking


def active(project: Path | None = None) -> list[Job]:
    """Queued and running jobs of a project (of all projects if None), in the order of the queue."""
    with database() as connection:
        release_dead(connection)
        found = _jobs(connection, "state != 'ended' ORDER BY id")
    return [job for job in found if project is None or job.project == str(Path(project).resolve())]


def get(job_id: int) -> Job:
    """One job, ended or not. Raises JobError if there is none of that number."""
    with database() as connection:
        found = _jobs(connection, "id = ?", job_id)
    if not found:
        raise JobError(f"a job must be in the queue; number {job_id} is not")
    return found[0]


def in_slurm(run: RunDir) -> Job | None:
    """The active job of Slurm that works in a folder, or waits to. Looks nowhere where there was none a moment ago."""
    return next((job for job in active() if job.slurm is not None and job.run_dir.path == run.path.resolve()),
                None) if _has_slurm_jobs else None


def device_key(device: str) -> str:
    """The queue that a device setting belongs to; "auto" is what the engine will most likely choose here."""
    if device != "auto":
        return device
    if Path("/dev/nvidiactl").exists() and os.environ.get("CUDA_VISIBLE_DEVICES", "0") != "":
        return "cuda"
    return "mps" if (platform.system(), platform.machine()) == ("Darwin", "arm64") else "cpu"


# -- the database

_has_slurm_jobs = False
"""Whether there was one that had not ended, when this process looked last."""


@contextmanager
def database() -> Iterator[sqlite3.Connection]:
    """A connection whose block is one transaction; opened anew each time (0.5 ms), so no handle crosses a thread.
    Raises JobError where the disk or another process refuses it."""
    path = state_folder() / "jobs.sqlite"
    if _has_slurm_jobs:
        slurm.queued()  # before the transaction, in which everybody would wait for it
    try:
        with _transaction(path) as connection:
            yield connection
    except (sqlite3.Error, OSError) as error:
        line = disk_line(error, path)
        if line is None:
            raise
        raise JobError(line) from error


@contextmanager
def _transaction(path: Path) -> Iterator[sqlite3.Connection]:
    path.parent.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(path, timeout=LOCK_SECONDS, isolation_level=None)
    try:
        use_write_ahead_log(connection, path.parent, LOCK_SECONDS)
        connection.execute("BEGIN IMMEDIATE")
        try:
            for version in range(connection.execute("PRAGMA user_version").fetchone()[0], len(_SCHEMA)):
                for statement in (*_SCHEMA[version], f"PRAGMA user_version = {version + 1}"):
                    connection.execute(statement)
            yield connection
        except BaseException:
            if connection.in_transaction:  # a full disk has ended it
                connection.execute("ROLLBACK")
            raise
        connection.execute("COMMIT")
    finally:
        connection.close()


def _jobs(connection: sqlite3.Connection, where: str, *values: object) -> list[Job]:
    """The jobs that a condition of SQL holds for."""
    names = ", ".join(field.name for field in fields(Job))
    found = [Job(*row) for row in connection.execute(f"SELECT {names} FROM job WHERE {where}", values).fetchall()]
    return [_as_in_slurm(job) for job in found]


def _as_in_slurm(job: Job) -> Job:
    """A job with the state that Slurm knows, where it is in its queue."""
    found = slurm.last_answer() if job.slurm is not None else None
    is_running = found is not None and job.slurm in found and found[str(job.slurm)].is_running
    return replace(job, state="running") if is_running and job.state != "ended" else job


def release_dead(connection: sqlite3.Connection) -> None:
    """End every active row whose process is gone: the next in the queue may then take its device."""
    global _has_slurm_jobs
    active = _jobs(connection, "state != 'ended'")
    _has_slurm_jobs = any(job.slurm is not None for job in active)
    for job in active:
        if not job.is_alive:
            connection.execute("UPDATE job SET state = 'ended' WHERE id = ?", (job.id,))
