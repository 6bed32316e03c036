"""Who trains a study's runs: a worker takes one (arm, seed) after the other; several workers are processes.

Writes rows, margins and rankings; decides nothing about what is to be trained and writes no status.
"""

import contextlib
import hashlib
import json
import multiprocessing
import shutil
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import cast

import numpy as np
import torch

from engine.contract.config import RunConfig
from engine.contract.disk.processes import in_turn
from engine.contract.manifest import read_decisions
from engine.contract.method_config import asks_features
from engine.contract.settings import ConfigError
from engine.contract.studies.study_dir import StudyDir
from engine.contract.studies.study_plan import Arm
from engine.contract.studies.study_row import DoneRow, FailedRow, Provenance, Row, RunFigures
from engine.contract.work_dir import write_atomic
from engine.data.dataset import Dataset, load_for
from engine.model.prediction import pick_device
from engine.runs import first_training
from engine.runs.status import Cancelled
from engine.runs.weight_decay import choice_matters, choose_weight_decay, is_chosen_by_run
from engine.runtime.allocator import keep_freed_memory
from engine.study.row import train_and_measure

TICK_SECONDS = 0.2
STOP_SECONDS = 30.0
"""How long a worker may take to see that it is to stop, before it is killed."""
Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True, slots=True)
class Task:
    """One run to be trained. It is sent to another process."""

    arm: Arm
    seed: int
    config: RunConfig
    decisions_path: Path
    decisions_digest: str
    manifest_digest: str
    code_revision: str

    def is_done_by(self, row: Row | None) -> bool:
        """True if the row is of a finished run under this task's config, decisions and manifest.

        Configs are compared as configs: what a setting that is new since did then, RunConfig.of_run says.
        """
        if row is None or row["state"] != "done":
            return False
        try:
            config = RunConfig.of_run(row["config"])
        except ConfigError:
            return False
        return (config.spelled_out(), row["decisions_digest"], row["manifest_digest"]) == \
            (self.config.spelled_out(), self.decisions_digest, self.manifest_digest)

    def done_row(self, figures: RunFigures, ranking_seconds: float) -> DoneRow:
        return {"arm": self.arm.name, "seed": self.seed, "state": "done", "error": None, **figures,
                "ranking_seconds": ranking_seconds, **self._provenance()}

    def failed_row(self, error: str) -> FailedRow:
        return {"arm": self.arm.name, "seed": self.seed, "state": "failed", "error": error,
                "method": self.config.method, **self._provenance()}

    def _provenance(self) -> Provenance:
        return {"settings": self.arm.to_dict(), "config": self.config.written(),
                "decisions_digest": self.decisions_digest, "manifest_digest": self.manifest_digest,
                "code_revision": self.code_revision, "finished": time.time()}


class Worker:
    """Trains tasks in this process. Keeps each dataset it loaded: arms of one study share them."""

    def __init__(self, project: Path, study: StudyDir) -> None:
        self.project, self.study = project, study
        self.datasets: dict[tuple[str | int | None, ...], Dataset] = {}
        self.weight_decays: dict[str, float] = {}
        self.last_tick = 0.0

    def run(self, task: Task, say: Say) -> Row:
        """Train and write the row, also of a run that fails. say: shown to people; may raise Cancelled."""
        config = task.config
        row: Row

        def tick(message: str) -> None:
            now = time.monotonic()
            if now - self.last_tick > TICK_SECONDS:
                self.last_tick = now
                if self.study.is_cancel_requested():
                    raise Cancelled
                say(message)

        try:
            if pick_device(config.device).type == "cpu":
                # One thread each, however many workers: the same bits on every call, and no two fight for a core.
                torch.set_num_threads(config.num_threads or 1)
                keep_freed_memory()
            data = self._dataset(task, tick)
            config = self._with_weight_decay(task, data, tick)
            probs, ranking_seconds = self._probabilities(task, config, data, tick)
            figures, margins = train_and_measure(config, data, probs, lambda epoch, step, total: tick(
                f"epoch {epoch} of {config.epochs}, step {step} of {total}"))
            row = task.done_row(figures, ranking_seconds)
            self.study.write_row(row, margins)
        except (Cancelled, ConnectionError):
            raise
        except Exception as error:  # whatever ends one run must not end the others; the row says what it was
            lines = str(error).splitlines()
            row = task.failed_row(f"{type(error).__name__}: {lines[0] if lines else ''}")
            self.study.write_row(row)
        return row

    def _dataset(self, task: Task, tick: Say) -> Dataset:
        config = task.config
        key = (task.decisions_digest, config.image_size, config.features, config.num_components, config.folds_by,
               config.weights_by, config.splitter.features if asks_features(config) else None)
        if key not in self.datasets:
            self.datasets[key] = load_for(
                config, self.project, read_decisions(task.decisions_path),
                lambda done, total: tick(f"preparing images, {done:,} of {total:,}"))
        return self.datasets[key]

    def _with_weight_decay(self, task: Task, data: Dataset, tick: Say) -> RunConfig:
        """The task's config, with what the run chooses where weight decay is left to it: arms that agree in all that
        plain training depends on choose alike."""
        if not is_chosen_by_run(task.config):
            return task.config
        key = _digest(choice_matters(task.config), task)
        if key not in self.weight_decays:
            self.weight_decays[key] = choose_weight_decay(task.config, data, lambda done, total: tick(
                f"choosing weight decay, step {done} of {total}"))["weight_decay"]
        return replace(task.config, weight_decay=self.weight_decays[key])

    def _probabilities(self, task: Task, config: RunConfig, data: Dataset,
                       tick: Say) -> tuple[np.ndarray | None, float]:
        """(probabilities (N, C) of the first training, seconds that it took, here or in another process); (None, 0)
        where there is none. config: the task's, with its weight decay."""
        if not task.config.has_first_training:
            return None, 0.0
        path = self.study.path / "rankings" / f"{ranking_key(task)}.npz"
        # Two arms of one seed want the same ranking at once: one makes it, the others wait.
        with in_turn(path.with_suffix(".lock"), lambda: tick("waiting for another arm's ranking"), TICK_SECONDS):
            if not path.exists():
                folds, began = path.with_suffix(""), time.monotonic()
                probs = first_training.first_probabilities(
                    config, data, lambda words, _: tick(f"ranking samples, {words}"), keep=folds)
                seconds = time.monotonic() - began

                def save(temporary: Path) -> None:
                    with open(temporary, "wb") as file:
                        np.savez(file, probs=probs, seconds=seconds)

                write_atomic(path, save)
                shutil.rmtree(folds, ignore_errors=True)
        with np.load(path, allow_pickle=False) as arrays:
            return arrays["probs"], float(arrays["seconds"])


def ranking_key(task: Task) -> str:
    """Digest of all that a first training depends on: arms that agree in it share it."""
    return _digest(first_training.matters(task.config), task)


def _digest(matters: list[object], task: Task) -> str:
    text = json.dumps([*matters, task.decisions_digest, task.manifest_digest], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:24]


# -- several processes


class Pool:
    """Worker processes. Each is given one task at a time, so that it is known what one did that died."""

    def __init__(self, project: Path, study: StudyDir, num_workers: int) -> None:
        self.project, self.study, self.num_workers = project, study, num_workers
        self.context = multiprocessing.get_context("spawn")
        self.busy: dict[Connection, tuple[SpawnProcess, Task]] = {}
        self.idle: list[tuple[Connection, SpawnProcess]] = []

    def run(self, tasks: list[Task], on_message: Callable[[Task, str], None],
            on_row: Callable[[Row], None], on_wait: Callable[[], None]) -> bool:
        """Train all tasks in order, as workers come free. on_wait: called several times a second.

        Returns False if the study was cancelled before all were done.
        """
        waiting, num_ended = list(tasks), 0
        try:
            while (waiting or self.busy) and not self.study.is_cancel_requested():
                while waiting and len(self.busy) < self.num_workers:
                    self._give(waiting.pop(0))
                for pipe in wait(list(self.busy), timeout=TICK_SECONDS):
                    row = self._hear(cast(Connection, pipe), on_message)
                    if row is not None:
                        num_ended += 1
                        on_row(row)
                on_wait()
            return num_ended == len(tasks)
        finally:
            self._stop()

    def _give(self, task: Task) -> None:
        pipe, process = self.idle.pop() if self.idle else self._start()
        pipe.send(task)
        self.busy[pipe] = (process, task)

    def _start(self) -> tuple[Connection, SpawnProcess]:
        ours, theirs = self.context.Pipe()
        process = self.context.Process(target=_serve, args=(theirs, self.project, self.study.path), daemon=True)
        process.start()
        theirs.close()
        return ours, process

    def _hear(self, pipe: Connection, on_message: Callable[[Task, str], None]) -> Row | None:
        """What a worker says: the row if its run ended, one of its death included."""
        process, task = self.busy[pipe]
        try:
            heard: str | Row = pipe.recv()
        except (EOFError, ConnectionError):
            process.join()
            del self.busy[pipe]
            row = self.study.read_row(task.arm.name, task.seed)
            if task.is_done_by(row):  # it died after its work
                return row
            if self.study.is_cancel_requested():
                return None
            row = task.failed_row(f"its process ended with status {process.exitcode}; out of memory?")
            self.study.write_row(row)
            return row
        if isinstance(heard, str):
            on_message(task, heard)
            return None
        del self.busy[pipe]
        self.idle.append((pipe, process))
        return heard

    def _stop(self) -> None:
        """Closing a pipe ends its worker at its next word; those that say none for long are killed."""
        pairs = [*self.idle, *((pipe, process) for pipe, (process, _) in self.busy.items())]
        for pipe, _ in pairs:
            pipe.close()
        deadline = time.monotonic() + STOP_SECONDS
        for _, process in pairs:
            process.join(max(0.0, deadline - time.monotonic()))
            if process.is_alive():
                process.kill()
                process.join()
        self.idle, self.busy = [], {}


def _serve(pipe: Connection, project: Path, study_path: Path) -> None:
    """A worker process: tasks in, words and rows out, until the pipe closes or the study is cancelled."""
    for number in (signal.SIGINT, signal.SIGTERM):  # the study's own process hears them, and asks us to stop
        signal.signal(number, signal.SIG_IGN)
    worker = Worker(project, StudyDir(study_path))
    with contextlib.suppress(EOFError, ConnectionError, Cancelled):
        while True:
            task = pipe.recv()
            pipe.send(worker.run(task, pipe.send))
