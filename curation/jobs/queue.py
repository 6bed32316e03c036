"""The queue of background runs: one small SQLite database a user, so that two clicks, two tabs and two projects agree.

Two partial unique indexes hold the rules: one active job a run, one running job a device. A job whose process is gone
is ended by whoever looks next. Starts and stops no process.
"""

import json
import os
import platform
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from curation.ledger.sqlite_wal import use_write_ahead_log
from engine.contract.errors import UserError
from engine.contract.processes import is_same_process, process_start
from engine.contract.run_dir import RunDir

LOCK_SECONDS = 30.0
"""How long one process waits for another to let go of the database."""
NEWBORN_SECONDS = 30.0
"""A job without a process counts as alive for this long: whoever queued it is about to start one."""
_SCHEMA = """
CREATE TABLE IF NOT EXISTS job (
    id INTEGER PRIMARY KEY, project TEXT NOT NULL, run TEXT NOT NULL, device TEXT NOT NULL, state TEXT NOT NULL,
    command TEXT NOT NULL, submitted REAL NOT NULL, started REAL, heartbeat REAL, pid INTEGER, pid_started REAL);
CREATE UNIQUE INDEX IF NOT EXISTS one_job_a_run ON job (project, run) WHERE state != 'ended';
CREATE UNIQUE INDEX IF NOT EXISTS one_job_a_device ON job (device) WHERE state = 'running';
"""


class JobError(UserError):
    """A run cannot be started, resumed or cancelled. One line, ready to show."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """One row of the queue. state: queued, running or ended (how it ended stands in the run's status)."""

    id: int
    project: str
    run: str
    device: str
    state: str
    command: str
    submitted: float
    started: float | None
    heartbeat: float | None
    pid: int | None
    pid_started: float | None

    @property
    def is_alive(self) -> bool:
        """Its process lives, or was asked for so recently that it has had no time to say so."""
        if self.pid is None:
            return time.time() - self.submitted < NEWBORN_SECONDS
        return is_same_process(self.pid, self.pid_started)

    @property
    def run_dir(self) -> RunDir:
        """The folder it works in; a study's (run is then "studies/NAME") has the status and cancel files of a run's."""
        return RunDir(Path(self.project) / self.run) if "/" in self.run else RunDir.of(Path(self.project), self.run)


# -- acting on the queue


def add(project: Path, run_name: str, device: str, command: list[str]) -> int:
    """Queue a job for a run; its number. Raises JobError if the run has an active one."""
    with database() as connection:
        release_dead(connection)
        try:
            job_id = connection.execute(
                "INSERT INTO job (project, run, device, state, command, submitted) VALUES (?, ?, ?, 'queued', ?, ?)",
                (str(project), run_name, device, json.dumps(command), time.time())).lastrowid
        except sqlite3.IntegrityError:
            raise JobError(f"a run can be started once at a time; {run_name!r} is queued or running already; wait "
                           "for it or cancel it") from None
    assert job_id is not None, "an inserted row has an id"
    return job_id


def set_process(job_id: int, pid: int) -> None:
    """Note the process that waits for a job's turn and then becomes its engine; who started it and it itself may."""
    with database() as connection:
        connection.execute("UPDATE job SET pid = ?, pid_started = ? WHERE id = ? AND pid IS NULL",
                           (pid, process_start(pid), job_id))


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
        rows = connection.execute("SELECT * FROM job WHERE state != 'ended' ORDER BY id").fetchall()
    found = [Job(**row) for row in rows]
    return [job for job in found if project is None or job.project == str(Path(project).resolve())]


def get(job_id: int) -> Job:
    """One job, ended or not. Raises JobError if there is none of that number."""
    with database() as connection:
        row = connection.execute("SELECT * FROM job WHERE id = ?", (job_id,)).fetchone()
    if row is None:
        raise JobError(f"a job must be in the queue; number {job_id} is not")
    return Job(**row)


def device_key(device: str) -> str:
    """The queue that a device setting belongs to; "auto" is what the engine will most likely choose here."""
    if device != "auto":
        return device
    if Path("/dev/nvidiactl").exists() and os.environ.get("CUDA_VISIBLE_DEVICES", "0") != "":
        return "cuda"
    return "mps" if (platform.system(), platform.machine()) == ("Darwin", "arm64") else "cpu"


# -- the database


def home() -> Path:
    """The folder of this user's queue: $WHETSTONE_HOME, else ~/.local/state/whetstone."""
    return Path(os.environ.get("WHETSTONE_HOME") or Path.home() / ".local" / "state" / "whetstone")


@contextmanager
def database() -> Iterator[sqlite3.Connection]:
    """A connection whose block is one transaction; opened anew each time (0.5 ms), so no handle crosses a thread."""
    folder = home()
    folder.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(folder / "jobs.sqlite", timeout=LOCK_SECONDS, isolation_level=None)
    try:
        connection.row_factory = _as_dict
        use_write_ahead_log(connection, LOCK_SECONDS)
        connection.executescript(_SCHEMA)
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield connection
        except BaseException:
            connection.execute("ROLLBACK")
            raise
        connection.execute("COMMIT")
    finally:
        connection.close()


def _as_dict(cursor: sqlite3.Cursor, row: tuple[Any, ...]) -> dict[str, Any]:
    return {column[0]: value for column, value in zip(cursor.description, row, strict=True)}


def release_dead(connection: sqlite3.Connection) -> None:
    """End every active row whose process is gone: the next in the queue may then take its device."""
    for row in connection.execute("SELECT * FROM job WHERE state != 'ended'").fetchall():
        job = Job(**row)
        if not job.is_alive:
            connection.execute("UPDATE job SET state = 'ended' WHERE id = ?", (job.id,))
