"""A study: arms x seeds on one project, resumable by run. Hands out the runs and keeps status; trains nothing itself.

A run whose row stands for the same config, decisions and manifest is not repeated; a failed one is tried again.
"""

import os
import shutil
import signal
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Unpack

from engine.contract.cluster.place import SLURM, Place
from engine.contract.disk.processes import drop_old_cancel, process_start
from engine.contract.integrity.decisions import refuse_stale
from engine.contract.manifest import (
    DECISIONS_NAME,
    MANIFEST_NAME,
    ManifestError,
    check_decisions,
    file_digest,
    read_info,
)
from engine.contract.method_config import asks_features
from engine.contract.run_dir import RunDir
from engine.contract.settings import ConfigError, Settings
from engine.contract.studies.study_dir import StudyDir, StudyDocument, StudyStatus
from engine.contract.studies.study_plan import NO_DECISIONS, Arm, StudyPlan, config_of, merged
from engine.contract.studies.study_row import Row
from engine.contract.work_dir import host, write_atomic
from engine.data.dataset import own_features
from engine.runs.provenance import describe
from engine.runs.status import Cancelled, cancel_on_signals
from engine.study.cluster import ClusterPool, end_old_jobs
from engine.study.worker import Pool, Say, Task, Worker

STATUS_SECONDS = 1.0
SPLITTER_FEATURES = "splitter.features"
"""A setting of the plan, once it is settled."""


def run_study(project: Path, name: str, arms: Sequence[Arm] = (), seeds: Sequence[int] = (),
              settings: Settings | None = None, num_workers: int = 1, reference: str | None = None, *,
              is_tuned_here: bool | None = None, place: Place | None = None, say: Say = lambda _: None,
              show: Say = lambda _: None) -> StudyDir:
    """Train what is missing of a study: seed by seed, every arm. An existing study goes on, with these added to it.

    settings: common to all arms, by dotted name. reference: the arm that others are compared to; default the first.
    is_tuned_here: whether settings were chosen on this project, for the report. num_workers: 1 trains in this process.
    place: the cluster whose nodes train the runs instead.
    say: gets one line for each finished run; show: every second what is going on now. Returns the study, whose status
    says done or cancelled. Raises ConfigError, StudyError, RunDirError or ManifestError for bad input before anything
    is trained.
    """
    project, study = Path(project), StudyDir.of(project, name)
    read_info(project)
    if num_workers < 1:
        raise ConfigError(f"workers must be at least 1; got {num_workers}")
    before = study.read_document() if study.exists() else None
    plan = merged(before.plan if before else None, arms, seeds, settings or {}, reference)
    plan = _settled(plan, before.plan if before else None, project)
    with study.lock():
        drop_old_cancel(study.path)
        document = _document(project, study, plan, before, is_tuned_here)
        tasks = plan_tasks(project, study, document)  # refuses bad decisions, so before the plan is written
        study.write_document(document)
        left = [task for task in tasks if not task.is_done_by(study.read_row(task.arm.name, task.seed))]
        for task in left:
            row = study.read_row(task.arm.name, task.seed)
            if row is not None and row["state"] == "done":
                study.set_aside(task.arm.name, task.seed)
        board = Board(study, num_total=len(tasks), num_left=len(left), say=say, show=show)
        with cancel_on_signals(study.request_cancel, signal.SIGTERM, signal.SIGINT):
            try:
                is_done = _train(project, study, left, num_workers, place, board)
            except BaseException as error:
                board.write(state="failed", running=[], error=f"{type(error).__name__}: {error}")
                raise
        board.write(state="done" if is_done else "cancelled", running=[], eta_seconds=0.0 if is_done else None)
        study.clear_cancel()
    return study


def _settled(plan: StudyPlan, before: StudyPlan | None, project: Path) -> StudyPlan:
    """The plan with the features that its arms on images start from, if any do: the same for all that is ever added to
    it. before: the plan as it was; one of older code started from none. Raises ConfigError for an arm that is none."""
    def asks(of: StudyPlan) -> bool:
        configs = [config_of(arm, of.settings, of.seeds[0]) for arm in of.arms]
        return any(asks_features(config) and config.splitter.features == "auto" for config in configs)

    if not asks(plan):
        return plan
    found = None if before is not None and SPLITTER_FEATURES not in plan.settings and asks(before) \
        else own_features(project)
    return replace(plan, settings={**plan.settings, SPLITTER_FEATURES: found})


def _train(project: Path, study: StudyDir, tasks: list[Task], num_workers: int, place: Place | None,
           board: "Board") -> bool:
    """Train these tasks; False if the study was cancelled before the last."""
    end_old_jobs(study)
    if place is not None and place.where == SLURM and tasks:
        return ClusterPool(project, study, place).run(tasks, board.hear, board.row, board.write_seldom)
    if num_workers > 1 and len(tasks) > 1:
        return Pool(project, study, min(num_workers, len(tasks))).run(tasks, board.hear, board.row, board.write_seldom)
    worker = Worker(project, study)
    for task in tasks:
        if study.is_cancel_requested():
            return False
        board.hear(task, "starting")
        try:
            board.row(worker.run(task, lambda message, task=task: board.hear(task, message)))  # type: ignore[misc]
        except Cancelled:
            return False
    return True


def plan_tasks(project: Path, study: StudyDir, document: StudyDocument) -> list[Task]:
    """Every run of the plan, seed by seed so that all arms have a first seed soon. Keeps copies of the decisions."""
    plan = document.plan
    decisions = {arm.name: _keep_decisions(project, study, arm) for arm in plan.arms}
    return [Task(arm=arm, seed=seed, config=config_of(arm, plan.settings, seed), decisions_path=decisions[arm.name][0],
                 decisions_digest=decisions[arm.name][1], manifest_digest=document.manifest_digest,
                 code_revision=document.code_revision)
            for seed in plan.seeds for arm in plan.arms]


def _keep_decisions(project: Path, study: StudyDir, arm: Arm) -> tuple[Path, str]:
    """(copy of the arm's decisions, its digest): the original may change while the study runs."""
    if arm.decisions == NO_DECISIONS:
        return study.path / "decisions" / "none", ""
    source = project / DECISIONS_NAME if arm.decisions is None else Path(arm.decisions)
    if arm.decisions is not None and not source.is_file():
        raise ManifestError(f"decisions must be a Parquet file, or none; arm {arm.name} names {arm.decisions!r}, "
                            "which is no file")
    if arm.decisions is None:
        refuse_stale(project)
    digest = file_digest(source)
    copy = study.path / "decisions" / f"{digest[:16] or 'none'}.parquet"
    if digest and not copy.exists():
        check_decisions(source)
        write_atomic(copy, lambda p: shutil.copyfile(source, p))
    return copy, digest


def _document(project: Path, study: StudyDir, plan: StudyPlan, before: StudyDocument | None,
              is_tuned_here: bool | None) -> StudyDocument:
    now = time.time()
    about = describe(config_of(plan.arms[0], plan.settings, plan.seeds[0]), project, RunDir(study.path))
    return StudyDocument(
        plan=plan, name=study.name, project=about["project"], created=before.created if before else now, updated=now,
        is_tuned_here=before.is_tuned_here if before and is_tuned_here is None else is_tuned_here,
        versions=about["versions"], code_revision=about["code_revision"], hardware=about["hardware"],
        manifest_digest=file_digest(project / MANIFEST_NAME))


class Board:
    """status.json and the lines that people see."""

    def __init__(self, study: StudyDir, *, num_total: int, num_left: int, say: Say, show: Say) -> None:
        self.study, self.say, self.show = study, say, show
        self.num_left, self.began, self.written = num_left, time.monotonic(), 0.0
        self.running: dict[tuple[str, int], str] = {}
        self.num_done, self.num_failed, self.num_total = num_total - num_left, 0, num_total
        self.values: StudyStatus = {
            "state": "running", "total": num_total, "eta_seconds": None, "started": time.time(), "pid": os.getpid(),
            "pid_started": process_start(os.getpid()), "host": host(), "error": None}
        self.write()
        if num_left < num_total:
            say(f"{num_total - num_left} of {num_total} runs are there already")

    def write(self, **values: Unpack[StudyStatus]) -> None:
        self.values.update({"done": self.num_done, "failed": self.num_failed, "heartbeat": time.time(), "running": [
            {"arm": arm, "seed": seed, "message": message} for (arm, seed), message in self.running.items()]})
        self.values.update(values)
        self.study.write_status(**self.values)
        self.written = time.monotonic()

    def write_seldom(self) -> None:
        if time.monotonic() - self.written > STATUS_SECONDS:
            self.write()
            self.show("; ".join(f"{arm} seed {seed}: {message}" for (arm, seed), message in self.running.items()))

    def hear(self, task: Task, message: str) -> None:
        self.running[task.arm.name, task.seed] = message
        self.write_seldom()

    def row(self, row: Row) -> None:
        """A run ended: count it and say so."""
        self.running.pop((row["arm"], row["seed"]), None)
        if row["state"] == "done":
            self.num_done += 1
            accuracy = row.get("test_accuracy")
            what = f"{row['seconds']:.1f} s" if accuracy is None else \
                f"test accuracy {accuracy:.4f} in {row['seconds']:.1f} s"
        else:
            self.num_failed += 1
            what = row["error"]
        left = self.num_total - self.num_done - self.num_failed
        # Elapsed time by runs ended knows of the workers already, since they end side by side.
        eta = left * (time.monotonic() - self.began) / (self.num_left - left)
        self.write(eta_seconds=eta)
        self.say(f"{row['arm']} seed {row['seed']}: {what} ({self.num_done + self.num_failed} of {self.num_total}"
                 + (f", about {_duration(eta)} left)" if left else ")"))


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min" if seconds < 7200 else \
        f"{seconds / 3600:.1f} h"
