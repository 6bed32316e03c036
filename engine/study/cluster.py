"""A study's runs on a cluster: one array in Slurm's queue, a task each, of which some run at a time.

The study's own process hands them out and watches; a task writes its row as a worker here does. What Slurm lost is
handed out again.
"""

import contextlib
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from engine.contract.cluster import slurm
from engine.contract.cluster.place import Place
from engine.contract.disk.event_log import state_folder
from engine.contract.disk.file_systems import is_shared
from engine.contract.studies.study_dir import StudyDir
from engine.contract.studies.study_row import Row
from engine.contract.work_dir import SILENT_SECONDS, write_atomic
from engine.study.worker import STOP_SECONDS, Task, Worker

POLL_SECONDS = 2.0
LOST_SECONDS = 10.0
"""A job counts as lost once squeue has not listed it for so long, and its row is not there; of a folder that machines
share SILENT_SECONDS, since a reader there may wait so long for a file."""
JOBS_NAME = "slurm.json"
"""The jobs that were handed out, for a process that comes after this one to end."""
MAX_LOST = 2
"""How often a run whose job ended without a result is handed out again before it counts as failed."""
MAX_REFUSED = 100
"""How often in a row Slurm may refuse one that is handed out again."""
_CODE = Path(__file__).parents[2]


class TaskOnNode:
    """What a node is given: one run of a study, from its start. minutes: what Slurm gives it."""

    def __init__(self, project: Path, study: Path, task: Task, minutes: int) -> None:
        self.project, self.study, self.task, self.minutes = project, study, task, minutes
        self.began = self.said_at = 0.0

    def __call__(self) -> None:
        said = words_path(self.study, self.task)
        self.began = time.monotonic()

        def say(message: str) -> None:
            if time.monotonic() - self.said_at > POLL_SECONDS:
                self.said_at = time.monotonic()
                write_atomic(said, lambda p: p.write_text(message))

        try:
            Worker(self.project, StudyDir(self.study)).run(self.task, say)
        finally:
            said.unlink(missing_ok=True)

    def checkpoint(self) -> object:
        """submitit's: called when a job of more urgency takes the node, and before the time limit. The first begins
        anew; the second would for ever, so the row of the run says what to do."""
        from submitit.helpers import DelayedSubmission

        if time.monotonic() - self.began > 60 * self.minutes - 2 * slurm.SIGNAL_SECONDS:
            raise TimeoutError(f"a run of a study must end within its time limit, since it keeps no checkpoint; it has "
                               f"{self.minutes:,} minutes; raise the limit")
        return DelayedSubmission(TaskOnNode(self.project, self.study, self.task, self.minutes))


def words_path(study: Path, task: Task) -> Path:
    """What a running task says it is at, in one line."""
    return study / "running" / f"{task.arm.name}-s{task.seed}.txt"


class ClusterPool:
    """Runs of a study in Slurm's queue, as worker.Pool has them in processes here."""

    def __init__(self, project: Path, study: StudyDir, place: Place) -> None:
        self.project, self.study, self.place = Path(project).resolve(), study, place
        self.jobs: dict[str, Task] = {}
        """Job's id -> the run that it trains, until that has ended."""
        self.all: list[str] = []
        """Every job that was handed out."""
        self.before: dict[tuple[str, int], float] = {}
        """When the rows that there were before were written."""
        self.missing: dict[str, float] = {}
        """Job's id -> since when squeue does not list it, by this process's clock."""
        self.again: list[Task] = []
        """Runs that Slurm lost, to be handed out again."""
        self.num_lost: dict[tuple[str, int], int] = {}
        self.num_refused = 0
        self.lost_seconds = SILENT_SECONDS if is_shared(study.path) else LOST_SECONDS

    def run(self, tasks: list[Task], on_message: Callable[[Task, str], None], on_row: Callable[[Row], None],
            on_wait: Callable[[], None]) -> bool:
        """Train all tasks. on_wait: called every two seconds. Returns False if the study was cancelled before all were
        done. Raises SlurmError where Slurm does not take them."""
        num_ended = 0
        for task in tasks:
            if (row := self.study.read_row(task.arm.name, task.seed)) is not None:
                self.before[task.arm.name, task.seed] = row["finished"]
        try:
            self._submit(tasks)
            while (self.jobs or self.again) and not self.study.is_cancel_requested():
                queued = slurm.queued()
                for job, row in self._ended(queued):
                    del self.jobs[job]
                    num_ended += 1
                    on_row(row)
                if queued is not None:
                    self._hand_out_again(queued)
                    for job, task in self.jobs.items():
                        if job in queued and queued[job].is_running:
                            on_message(task, self._words(task))
                on_wait()
                time.sleep(POLL_SECONDS)
            return num_ended == len(tasks)
        finally:
            self._stop()

    def _submit(self, tasks: list[Task]) -> None:
        given = [TaskOnNode(self.project, self.study.path.resolve(), task, self.place.minutes) for task in tasks]
        ids = slurm.submit(given, self.place, f"study-{self.study.name}", state_folder() / "slurm", code=_CODE,
                           is_single=True)
        self.jobs |= dict(zip(ids, tasks, strict=True))
        self.all += ids
        self.study.write_json(self.study.path / JOBS_NAME, {"jobs": self.all})

    def _hand_out_again(self, queued: Mapping[str, slurm.Queued]) -> None:
        """One that was lost. No array's limit holds for a single job, so it waits until fewer than may run at once are
        left of all in the queue."""
        if not self.again or sum(job in queued for job in self.all) >= self.place.runs_at_once:
            return
        try:
            self._submit([self.again[0]])
        except slurm.SlurmError:
            self.num_refused += 1
            if self.num_refused > MAX_REFUSED:
                raise
            return
        self.num_refused = 0
        del self.again[0]

    def _ended(self, queued: Mapping[str, slurm.Queued] | None) -> list[tuple[str, Row]]:
        """Jobs that are over with the row of their run. One that left none is handed out again, up to MAX_LOST times,
        and then its row says why not. queued: what squeue lists; None where it does not answer."""
        found: list[tuple[str, Row]] = []
        lost = []
        with contextlib.suppress(OSError):
            os.listdir(self.study.path / "rows")  # a shared file system looks anew
        for job, task in self.jobs.items():
            row = self.study.read_row(task.arm.name, task.seed)
            is_new = row is not None and row["finished"] != self.before.get((task.arm.name, task.seed))
            if row is not None and is_new and (row["state"] == "failed" or task.is_done_by(row)):
                found.append((job, row))
            elif queued is not None and job not in queued:
                since = self.missing.setdefault(job, time.monotonic())
                if time.monotonic() - since > self.lost_seconds:
                    lost.append(job)
            else:
                self.missing.pop(job, None)
        for job in lost:
            task, how = self.jobs[job], slurm.end_of(job) or "no longer known to Slurm"
            key = (task.arm.name, task.seed)
            self.num_lost[key] = self.num_lost.get(key, 0) + 1
            if self.num_lost[key] > MAX_LOST:
                row = task.failed_row(f"job {job} of Slurm ended without a result ({how}), as {MAX_LOST} before it; "
                                      "out of memory?")
                self.study.write_row(row)
                found.append((job, row))
            else:
                self.study.log(f"{task.arm.name} seed {task.seed}: job {job} ended without a result ({how}); it is "
                               "handed out again")
                del self.jobs[job]
                self.again.append(task)
        return found

    def _words(self, task: Task) -> str:
        """What a running task says that it is at."""
        try:
            return words_path(self.study.path, task).read_text()
        except OSError:
            return "starting"

    def _stop(self) -> None:
        """End what is left: what waits at once, what runs once it has had time to see the request."""
        deadline = time.monotonic() + (STOP_SECONDS if self.study.is_cancel_requested() else 0.0)
        while self.jobs:
            queued = slurm.queued()
            left = [job for job in self.jobs if queued is None or job in queued]
            is_late = time.monotonic() > deadline
            slurm.cancel(job for job in left if is_late or (queued is not None and not queued[job].is_running))
            if is_late or not left:
                break
            time.sleep(POLL_SECONDS)
        self.jobs = {}


def end_old_jobs(study: StudyDir) -> None:
    """End the jobs that a process before this one handed out for a study, and which Slurm may still have: they are of
    another plan perhaps. What they finished stays. Raises SlurmError where Slurm does not answer."""
    path = study.path / JOBS_NAME
    if (there := study.read_json(path)) is not None:
        slurm.cancel(str(job) for job in there.get("jobs") or [])
        path.unlink(missing_ok=True)
