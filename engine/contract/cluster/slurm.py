"""Slurm's queue: submit through submitit, ask what became of jobs with squeue, end them with scancel.

submitit itself asks sacct, which needs a database that many clusters do without; squeue always answers. Holds no job:
ids are text, "12" or, of an array, "12_3".
"""

import contextlib
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.contract.cluster.place import Place
from engine.contract.errors import UserError

POLL_SECONDS = 2.0
"""The answer of squeue is kept so long: its controller serves the whole cluster."""
ANSWER_SECONDS = 20.0
SILENT_SECONDS = 30.0
"""A controller that did not answer is asked again after so long: each time somebody may wait for it."""
KEEP_SECONDS = 30 * 24 * 3600.0
"""How long submitit's files of a job are kept."""
SIGNAL_SECONDS = 90
"""So long before its time limit a job is told, to write a checkpoint and queue again."""
MAX_TIMEOUTS = 1000
"""How often a job that reached its time limit queues again."""
RUNNING = ("RUNNING", "COMPLETING", "STAGE_OUT", "SUSPENDED", "STOPPED")
"""States of squeue in which a job has begun; all others that it lists wait."""


class SlurmError(UserError):
    """Slurm cannot be reached or refuses. One line, ready to show."""


@dataclass(frozen=True, slots=True)
class Queued:
    """A job that squeue lists."""

    state: str
    """In Slurm's words, such as PENDING or RUNNING."""
    reason: str
    """Why it waits, in Slurm's words, such as Resources; None once it runs."""
    nodes: str
    """Where it runs, as Slurm writes lists of nodes."""

    @property
    def is_running(self) -> bool:
        return self.state in RUNNING


def is_here() -> bool:
    """Whether jobs can be submitted from this machine."""
    return shutil.which("sbatch") is not None


def submit(tasks: Sequence[Callable[[], object]], place: Place, name: str, folder: Path, *, code: Path,
           is_single: bool = False) -> list[str]:
    """Queue tasks, picklable callables that a node calls once each, or of a place with several nodes each node; their
    jobs' ids in order. Several are one array, of which place.runs_at_once run at a time.

    name: what squeue shows. folder: for submitit's files, private to this user, seen by the nodes too. code: the folder
    that the node works in. is_single: each takes one node and one GPU, however many a run of the place does. Raises
    SlurmError.
    """
    if not is_here():
        raise SlurmError("jobs go to Slurm from a machine that has its commands; there is no sbatch here; choose this "
                         "machine, or start the app where jobs can be submitted")
    from submitit import SlurmExecutor  # a third of a second, which pages without Slurm do not pay

    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    _drop_old(folder)
    executor = SlurmExecutor(folder=folder / "%j", max_num_timeout=MAX_TIMEOUTS)
    executor.update_parameters(**_parameters(place, name, code, is_single), array_parallelism=place.runs_at_once)
    try:
        jobs = [executor.submit(tasks[0])] if len(tasks) == 1 else executor.submit_array(list(tasks))
    except Exception as error:  # submitit passes on whatever sbatch says, as several kinds
        raise SlurmError(f"Slurm must take the job; sbatch said: {_last_line(error)}; change where it runs, or ask who "
                         "runs the cluster") from error
    _forget()
    return [str(job.job_id) for job in jobs]


def _drop_old(folder: Path) -> None:
    """Remove what submitit left of jobs of long ago."""
    for old in folder.iterdir():
        with contextlib.suppress(OSError):
            if time.time() - old.lstat().st_mtime > KEEP_SECONDS:
                shutil.rmtree(old) if old.is_dir() and not old.is_symlink() else old.unlink()


def _parameters(place: Place, name: str, code: Path, is_single: bool) -> dict[str, Any]:
    """Options of sbatch, in submitit's names."""
    wanted: dict[str, Any] = {
        "job_name": name, "time": place.minutes, "nodes": 1 if is_single else place.nodes, "ntasks_per_node": 1,
        "cpus_per_task": place.cpus * (1 if is_single else max(1, place.gpus)), "signal_delay_s": SIGNAL_SECONDS,
        "stderr_to_stdout": True}
    if place.gpus:
        wanted["gpus_per_node"] = 1 if is_single else place.gpus
    if place.memory:
        wanted["mem"] = f"{place.memory}GB"
    wanted |= {key: getattr(place, key) for key in ("partition", "account", "constraint") if getattr(place, key)}
    return wanted | {"additional_parameters": {"chdir": str(code), "requeue": True}}


# -- looking

_asking = threading.Lock()
_seen: tuple[float, Mapping[str, Queued] | None] = (-1e9, None)
"""When squeue answered last, or did not, and what it said."""


def queued() -> Mapping[str, Queued] | None:
    """This user's jobs that wait or run, by id, as of at most POLL_SECONDS ago; None where Slurm does not answer, which
    says nothing of any job. While another thread asks, what was known before."""
    global _seen
    at, found = _seen
    if time.monotonic() - at > (POLL_SECONDS if found is not None or at < 0 else SILENT_SECONDS) \
            and _asking.acquire(blocking=at < 0):
        try:
            if _seen[0] == at:
                _seen = (time.monotonic(), _ask())
        finally:
            _asking.release()
    return _seen[1]


def last_answer() -> Mapping[str, Queued] | None:
    """What queued() found when it was asked last; None before that and where Slurm did not answer. Asks nobody."""
    return _seen[1]


def _forget() -> None:
    global _seen
    _seen = (-1e9, None)


def _ask() -> dict[str, Queued] | None:
    try:
        done = subprocess.run(["squeue", "--me", "--noheader", "--array", "--format=%i|%T|%r|%N"], text=True,
                              capture_output=True, stdin=subprocess.DEVNULL, timeout=ANSWER_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    if done.returncode:
        return None
    rows = (line.split("|") for line in done.stdout.splitlines())
    return {row[0].strip(): Queued(*row[1:]) for row in rows if len(row) == 4}


def end_of(job: str) -> str:
    """How a job that squeue lists no more ended, in Slurm's words, such as "CANCELLED" or "NODE_FAIL"; "" where the
    controller has forgotten it, after some minutes."""
    try:
        done = subprocess.run(["scontrol", "show", "job", job, "--oneliner"], text=True, capture_output=True,
                              stdin=subprocess.DEVNULL, timeout=ANSWER_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    words = dict(word.split("=", 1) for word in done.stdout.split() if "=" in word)
    return words.get("JobState", "")


# -- stopping


def cancel(jobs: Iterable[str], signal: str | None = None) -> None:
    """End jobs, waiting ones at once; or send a signal such as TERM to the processes of running ones. What has ended is
    left alone. Raises SlurmError where Slurm does not answer."""
    given = list(jobs)
    if not given:
        return
    options = ["--quiet", *([f"--signal={signal}"] if signal else [])]
    try:
        done = subprocess.run(["scancel", *options, *given], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              timeout=ANSWER_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise SlurmError("Slurm must answer for a job to be cancelled; scancel did not; try again") from error
    if done.returncode and "Invalid job id" not in done.stderr:  # one that it has forgotten is over
        said = " ".join(done.stderr.split())[:160]
        raise SlurmError(f"Slurm must answer for a job to be cancelled; scancel said: {said}; try again")
    _forget()


def _last_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    said = next((line for line in reversed(lines) if line.startswith("sbatch:")), lines[-1] if lines else "")
    return said.removeprefix("sbatch: error: ")[:200]
