"""A study's runs on a cluster: one array in Slurm's queue, a task each, of which some run at a time.

The study's own process hands them out and watches; a task writes its row as a worker here does. What Slurm lost is
handed out again.
"""

import time
from collections.abc import Callable
from pathlib import Path

from engine.contract.cluster import slurm
from engine.contract.cluster.place import Place
from engine.contract.disk.event_log import state_folder
from engine.contract.studies.study_dir import StudyDir
from engine.contract.studies.study_row import Row
from engine.contract.work_dir import write_atomic
from engine.study.worker import STOP_SECONDS, Task, Worker

POLL_SECONDS = 2.0
NEWBORN_SECONDS = 10.0
"""squeue may not list a job yet that was submitted so recently."""
JOBS_NAME = "slurm.json"
"""Which job trains which run, for a process that comes after this one."""
MAX_LOST = 2
"""How often a run whose job ended without a result is handed out again before it counts as failed."""
_CODE = Path(__file__).parents[2]


class TaskOnNode:
    """What a node is given: one run of a study, from its start."""

    def __init__(self, project: Path, study: Path, task: Task) -> None:
        self.project, self.study, self.task = project, study, task

    def __call__(self) -> None:
        said = words_path(self.study, self.task)
        self.said_at = 0.0

        def say(message: str) -> None:
            if time.monotonic() - self.said_at > POLL_SECONDS:
                self.said_at = time.monotonic()
                write_atomic(said, lambda p: p.write_text(message))

        try:
            Worker(self.project, StudyDir(self.study)).run(self.task, say)
        finally:
            said.unlink(missing_ok=True)

    def checkpoint(self) -> object:
        """submitit's: called before the time limit, and when a job of more urgency takes the node. The run begins anew.
        """
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(TaskOnNode(self.project, self.study, self.task))


def words_path(study: Path, task: Task) -> Path:
    """What a running task says it is at, in one line."""
    return study / "running" / f"{task.arm.name}-s{task.seed}.txt"


class ClusterPool:
    """Runs of a study in Slurm's queue, as worker.Pool has them in processes here."""

    def __init__(self, project: Path, study: StudyDir, place: Place) -> None:
        self.project, self.study, self.place = Path(project).resolve(), study, place
        self.jobs: dict[str, Task] = {}
        """Job's id -> the run that it trains, until that has ended."""
        self.since: dict[str, tuple[float, float | None]] = {}
        """Job's id -> when it was handed out, by this process's clock, and when the run's row before it was written."""
        self.again: list[Task] = []
        """Runs that Slurm lost, to be handed out again."""
        self.num_lost: dict[tuple[str, int], int] = {}

    def run(self, tasks: list[Task], on_message: Callable[[Task, str], None], on_row: Callable[[Row], None],
            on_wait: Callable[[], None]) -> bool:
        """Train all tasks. on_wait: called every two seconds. Returns False if the study was cancelled before all were
        done. Raises SlurmError where Slurm does not take them."""
        num_ended = 0
        try:
            self._adopt(tasks)
            self._submit([task for task in tasks if task not in self.jobs.values()])
            while (self.jobs or self.again) and not self.study.is_cancel_requested():
                for job, row in self._ended():
                    del self.jobs[job]
                    num_ended += 1
                    on_row(row)
                queued = slurm.queued() or {}
                # No array's limit holds for a single job, so it waits until that many of all are left in the queue.
                if self.again and sum(job in queued for job in self.since) < self.place.runs_at_once:
                    self._submit([self.again.pop(0)])
                for job, task in self.jobs.items():
                    if job in queued and queued[job].is_running:
                        on_message(task, self._words(task))
                on_wait()
                time.sleep(POLL_SECONDS)
            return num_ended == len(tasks)
        finally:
            self._stop()

    def _adopt(self, tasks: list[Task]) -> None:
        """Go on with the jobs of a process before this one, which Slurm may still have."""
        there = (self.study.read_json(self.study.path / JOBS_NAME) or {}).get("jobs") or {}
        queued = slurm.queued() or {}
        by_key = {(task.arm.name, task.seed): task for task in tasks}
        for job, key in there.items():
            if job in queued and (task := by_key.get(tuple(key))) is not None:
                self._take(job, task)

    def _submit(self, tasks: list[Task]) -> None:
        if not tasks:
            return
        given = [TaskOnNode(self.project, self.study.path.resolve(), task) for task in tasks]
        ids = slurm.submit_all(given, self.place, f"study-{self.study.name}", state_folder() / "slurm", code=_CODE,
                               is_single=True)
        for job, task in zip(ids, tasks, strict=True):
            self._take(job, task)
        self.study.write_json(self.study.path / JOBS_NAME, {
            "jobs": {job: [task.arm.name, task.seed] for job, task in self.jobs.items()}})

    def _take(self, job: str, task: Task) -> None:
        row = self.study.read_row(task.arm.name, task.seed)
        self.jobs[job] = task
        self.since[job] = (time.monotonic(), None if row is None else row["finished"])

    def _ended(self) -> list[tuple[str, Row]]:
        """Jobs that are over with the row of their run. One that left none is handed out again, up to MAX_LOST times,
        and then its row says why not."""
        found: list[tuple[str, Row]] = []
        queued, lost = slurm.queued(), []
        for job, task in self.jobs.items():
            row, (began, before) = self.study.read_row(task.arm.name, task.seed), self.since[job]
            if row is not None and row["finished"] != before:
                found.append((job, row))
            elif queued is not None and job not in queued and time.monotonic() - began > NEWBORN_SECONDS:
                lost.append(job)
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
            queued = slurm.queued() or {}
            left = [job for job in self.jobs if job in queued]
            is_late = time.monotonic() > deadline
            slurm.cancel(job for job in left if is_late or not queued[job].is_running)
            if is_late or not left:
                break
            time.sleep(POLL_SECONDS)
        self.jobs = {}
