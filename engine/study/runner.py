"""A study: arms x seeds on one project, resumable by run. Hands out the runs and keeps status; trains nothing itself.

A run whose row stands for the same config, decisions and manifest is not repeated; a failed one is tried again.
"""

import os
import shutil
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from engine.contract.config import RunConfig
from engine.contract.manifest import (
    DECISIONS_NAME,
    MANIFEST_NAME,
    ManifestError,
    check_decisions,
    file_digest,
    read_info,
)
from engine.contract.processes import drop_old_cancel, process_start
from engine.contract.run_dir import RunDir
from engine.contract.settings import ConfigError
from engine.contract.study_dir import NO_DECISIONS, Arm, StudyDir
from engine.contract.study_plan import config_of, merged, not_controlled
from engine.contract.work_dir import write_atomic
from engine.runs.provenance import describe
from engine.runs.status import Cancelled, cancel_on_signals
from engine.study.worker import Pool, Say, Task, Worker

STATUS_SECONDS = 1.0


def run_study(project: Path, name: str, arms: Sequence[Arm] = (), seeds: Sequence[int] = (),
              settings: dict[str, Any] | None = None, num_workers: int = 1, reference: str | None = None, *,
              is_tuned_here: bool | None = None, say: Say = lambda _: None, show: Say = lambda _: None) -> StudyDir:
    """Train what is missing of a study: seed by seed, every arm. An existing study goes on, with these added to it.

    settings: common to all arms, by dotted name. reference: the arm that others are compared to; default the first.
    is_tuned_here: whether settings were chosen on this project, for the report. num_workers: 1 trains in this process.
    say: gets one line for each finished run; show: every second what is going on now. Returns the study, whose status
    says done or cancelled. Raises ConfigError, StudyError, RunDirError or ManifestError for bad input before anything
    is trained.
    """
    project, study = Path(project), StudyDir.of(project, name)
    read_info(project)
    if num_workers < 1:
        raise ConfigError(f"workers must be at least 1; got {num_workers}")
    plan = merged(study.read_plan() if study.exists() else None, arms, seeds, settings or {}, reference)
    for arm in plan["arms"]:
        config_of(arm, plan["settings"], plan["seeds"][0])
    with study.lock():
        drop_old_cancel(study.path)
        document = _document(project, study, plan, is_tuned_here)
        tasks = plan_tasks(project, study, plan, document)  # refuses bad decisions, so before the plan is written
        study.write_plan(document)
        left = [task for task in tasks if not is_current(study, task)]
        for task in left:
            if (study.read_row(task.arm, task.seed) or {}).get("state") == "done":
                study.set_aside(task.arm, task.seed)
        board = Board(study, num_total=len(tasks), num_left=len(left), say=say, show=show)
        with cancel_on_signals(study.request_cancel, signal.SIGTERM, signal.SIGINT):
            try:
                is_done = _train(project, study, left, num_workers, board)
            except BaseException as error:
                board.write(state="failed", running=[], error=f"{type(error).__name__}: {error}")
                raise
        board.write(state="done" if is_done else "cancelled", running=[], eta_seconds=0.0 if is_done else None)
        study.clear_cancel()
    return study


def _train(project: Path, study: StudyDir, tasks: list[Task], num_workers: int, board: "Board") -> bool:
    """Train these tasks; False if the study was cancelled before the last."""
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


def plan_tasks(project: Path, study: StudyDir, plan: dict[str, Any], document: dict[str, Any]) -> list[Task]:
    """Every run of the plan, seed by seed so that all arms have a first seed soon. Keeps copies of the decisions."""
    decisions = {arm.name: _keep_decisions(project, study, arm) for arm in plan["arms"]}
    return [Task(arm=arm.name, seed=seed, config=config_of(arm, plan["settings"], seed).to_dict(),
                 settings=arm.to_dict(), decisions_path=str(decisions[arm.name][0]),
                 decisions_digest=decisions[arm.name][1], manifest_digest=document["manifest_digest"],
                 code_revision=document["code_revision"])
            for seed in plan["seeds"] for arm in plan["arms"]]


def _keep_decisions(project: Path, study: StudyDir, arm: Arm) -> tuple[Path, str]:
    """(copy of the arm's decisions, its digest): the original may change while the study runs."""
    if arm.decisions == NO_DECISIONS:
        return study.path / "decisions" / "none", ""
    source = project / DECISIONS_NAME if arm.decisions is None else Path(arm.decisions)
    if arm.decisions is not None and not source.is_file():
        raise ManifestError(f"decisions must be a Parquet file, or none; arm {arm.name} names {arm.decisions!r}, "
                            "which is no file")
    digest = file_digest(source)
    copy = study.path / "decisions" / f"{digest[:16] or 'none'}.parquet"
    if digest and not copy.exists():
        check_decisions(source)
        write_atomic(copy, lambda p: shutil.copyfile(source, p))
    return copy, digest


def is_current(study: StudyDir, task: Task) -> bool:
    """True if the row on disk is of a finished run under the task's config, decisions and manifest.

    Configs are compared as configs: what a setting that is new since did then, RunConfig.of_run says.
    """
    row = study.read_row(task.arm, task.seed)
    if row is None or row["state"] != "done":
        return False
    try:
        row_config = RunConfig.of_run(row["config"]).to_dict()
    except ConfigError:
        return False
    return {name: row[name] for name in task.depends_on} | {"config": row_config} == task.depends_on


def _document(project: Path, study: StudyDir, plan: dict[str, Any], is_tuned_here: bool | None) -> dict[str, Any]:
    """study.json."""
    before = study.read_plan() if study.exists() else {}
    config = config_of(plan["arms"][0], plan["settings"], plan["seeds"][0])
    about = describe(config, project, RunDir(study.path))
    document = {
        **plan, "arms": [arm.to_dict() for arm in plan["arms"]], "name": study.name,
        "created": before.get("created", time.time()), "updated": time.time(),
        "is_tuned_here": before.get("is_tuned_here") if is_tuned_here is None else is_tuned_here,
        **{key: about[key] for key in ("project", "versions", "code_revision", "hardware")},
        "manifest_digest": file_digest(project / MANIFEST_NAME)}
    return {**document, "not_controlled": not_controlled(document)}


class Board:
    """status.json and the lines that people see."""

    def __init__(self, study: StudyDir, *, num_total: int, num_left: int, say: Say, show: Say) -> None:
        self.study, self.say, self.show = study, say, show
        self.num_left, self.began, self.written = num_left, time.monotonic(), 0.0
        self.running: dict[tuple[str, int], str] = {}
        self.num_ended = 0
        self.values: dict[str, Any] = {
            "state": "running", "done": num_total - num_left, "failed": 0, "total": num_total, "running": [],
            "eta_seconds": None, "started": time.time(), "pid": os.getpid(),
            "pid_started": process_start(os.getpid()), "error": None}
        self.write()
        if num_left < num_total:
            say(f"{num_total - num_left} of {num_total} runs are there already")

    def write(self, **values: Any) -> None:
        self.values |= {"running": [{"arm": arm, "seed": seed, "message": message}
                                    for (arm, seed), message in self.running.items()], **values}
        self.study.write_status(**self.values, heartbeat=time.time())
        self.written = time.monotonic()

    def write_seldom(self) -> None:
        if time.monotonic() - self.written > STATUS_SECONDS:
            self.write()
            self.show("; ".join(f"{arm} seed {seed}: {message}" for (arm, seed), message in self.running.items()))

    def hear(self, task: Task, message: str) -> None:
        self.running[task.arm, task.seed] = message
        self.write_seldom()

    def row(self, row: dict[str, Any]) -> None:
        """A run ended: count it and say so."""
        self.running.pop((row["arm"], row["seed"]), None)
        self.num_ended += 1
        key = "done" if row["state"] == "done" else "failed"
        left = self.num_left - self.num_ended
        # Elapsed time by runs ended knows of the workers already, since they end side by side.
        eta = left * (time.monotonic() - self.began) / self.num_ended
        self.write(**{key: self.values[key] + 1}, eta_seconds=eta)
        accuracy = row.get("test_accuracy")
        what = row["error"] if row["state"] == "failed" else f"{row['seconds']:.1f} s" if accuracy is None else \
            f"test accuracy {accuracy:.4f} in {row['seconds']:.1f} s"
        self.say(f"{row['arm']} seed {row['seed']}: {what} ({self.values['done'] + self.values['failed']} of "
                 f"{self.values['total']}" + (f", about {_duration(eta)} left)" if left else ")"))


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min" if seconds < 7200 else \
        f"{seconds / 3600:.1f} h"
