"""Who trains a study's runs: a worker takes one (arm, seed) after the other; several workers are processes.

Writes rows, margins and rankings; decides nothing about what is to be trained and writes no status.
"""

import contextlib
import fcntl
import hashlib
import json
import multiprocessing
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch

from engine.contract.config import RunConfig
from engine.contract.manifest import read_decisions
from engine.contract.study_dir import StudyDir
from engine.contract.work_dir import write_atomic
from engine.data.dataset import Dataset, load_dataset
from engine.model.prediction import pick_device
from engine.runs.cross_fitting import cross_fitted_probabilities
from engine.runs.status import Cancelled
from engine.runtime.allocator import keep_freed_memory
from engine.study.row import train_and_measure

TICK_SECONDS = 0.2
STOP_SECONDS = 30.0
"""How long a worker may take to see that it is to stop, before it is killed."""
NOT_OF_PLAIN_TRAINING = ("method", "validation", "select_best", "guard", "val_fraction", "warmup_fraction",
                         "finish_fraction", "rotation_groups", "folds", "rho_fraction", "proxy_fraction", "proxy_value",
                         "reweighter", "splitter", "checkpoint_seconds", "embedding")
"""Settings that plain training ignores (folds counts by its own number): arms that differ there share a ranking."""
Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True, slots=True)
class Task:
    """One run to be trained. Plain values, so that it can be sent to another process."""

    arm: str
    seed: int
    config: dict[str, Any]
    """RunConfig.to_dict()."""
    settings: dict[str, Any]
    """The arm as it was planned, for people to read."""
    decisions_path: str
    decisions_digest: str
    manifest_digest: str
    code_revision: str

    @property
    def depends_on(self) -> dict[str, Any]:
        """All that a row must have been trained under to stand for this run."""
        return {"config": self.config, "decisions_digest": self.decisions_digest,
                "manifest_digest": self.manifest_digest}

    def row(self, state: str, error: str | None, figures: dict[str, Any]) -> dict[str, Any]:
        return {"arm": self.arm, "seed": self.seed, "state": state, "error": error, **figures,
                "settings": self.settings, **self.depends_on, "code_revision": self.code_revision,
                "finished": time.time()}


class Worker:
    """Trains tasks in this process. Keeps each dataset it loaded: arms of one study share them."""

    def __init__(self, project: Path, study: StudyDir) -> None:
        self.project, self.study = project, study
        self.datasets: dict[tuple[str, int | None], Dataset] = {}
        self.last_tick = 0.0

    def run(self, task: Task, say: Say) -> dict[str, Any]:
        """Train and write the row, also of a run that fails. say: shown to people; may raise Cancelled."""
        config = RunConfig.from_dict(task.config)

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
            data = self._dataset(task, config, tick)
            probs, ranking_seconds = self._probabilities(task, config, data, tick)
            figures, margins = train_and_measure(config, data, probs, lambda epoch, step, total: tick(
                f"epoch {epoch} of {config.epochs}, step {step} of {total}"))
            row = task.row("done", None, {**figures, "ranking_seconds": ranking_seconds})
            self.study.write_row(row, margins)
        except (Cancelled, ConnectionError):
            raise
        except Exception as error:  # whatever ends one run must not end the others; the row says what it was
            lines = str(error).splitlines()
            row = task.row("failed", f"{type(error).__name__}: {lines[0] if lines else ''}", {
                "method": config.method})
            self.study.write_row(row)
        return row

    def _dataset(self, task: Task, config: RunConfig, tick: Say) -> Dataset:
        key = (task.decisions_digest, config.image_size)
        if key not in self.datasets:
            self.datasets[key] = load_dataset(
                self.project, read_decisions(Path(task.decisions_path)), config.image_size,
                lambda done, total: tick(f"preparing images, {done:,} of {total:,}"))
        return self.datasets[key]

    def _probabilities(self, task: Task, config: RunConfig, data: Dataset,
                       tick: Say) -> tuple[np.ndarray | None, float]:
        """(cross-fitted probabilities (N, C), seconds that they took whoever made them); (None, 0) where not needed."""
        if not config.is_cross_fitted:
            return None, 0.0
        path = self.study.path / "rankings" / f"{ranking_key(task, config)}.npz"
        with _turn(path.with_suffix(".lock"), tick):
            if not path.exists():
                folds, began = path.with_suffix(""), time.monotonic()
                probs = cross_fitted_probabilities(
                    config, data, lambda words, _: tick(f"ranking samples, {words}"), keep=folds)
                seconds = time.monotonic() - began

                def save(temporary: Path) -> None:
                    with open(temporary, "wb") as file:
                        np.savez(file, probs=probs, seconds=seconds)

                write_atomic(path, save)
                shutil.rmtree(folds, ignore_errors=True)
        with np.load(path, allow_pickle=False) as arrays:
            return arrays["probs"], float(arrays["seconds"])


def ranking_key(task: Task, config: RunConfig) -> str:
    """Digest of all that cross-fitted plain training depends on."""
    matters = {name: value for name, value in config.to_dict().items() if name not in NOT_OF_PLAIN_TRAINING}
    text = json.dumps([matters, config.num_folds, task.decisions_digest, task.manifest_digest], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:24]


@contextlib.contextmanager
def _turn(path: Path, tick: Say) -> Iterator[None]:
    """Wait until no other worker holds this lock: two arms of one seed want the same ranking at once."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                tick("waiting for another arm's ranking")
                time.sleep(TICK_SECONDS)
        yield


# -- several processes


class Pool:
    """Worker processes. Each is given one task at a time, so that it is known what one did that died."""

    def __init__(self, project: Path, study: StudyDir, num_workers: int) -> None:
        self.project, self.study, self.num_workers = project, study, num_workers
        self.context = multiprocessing.get_context("spawn")
        self.busy: dict[Connection, tuple[Any, Task]] = {}
        self.idle: list[tuple[Connection, Any]] = []

    def run(self, tasks: list[Task], on_message: Callable[[Task, str], None],
            on_row: Callable[[dict[str, Any]], None], on_wait: Callable[[], None]) -> bool:
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

    def _start(self) -> tuple[Connection, Any]:
        ours, theirs = self.context.Pipe()
        process = self.context.Process(target=_serve, args=(theirs, self.project, self.study.path), daemon=True)
        process.start()
        theirs.close()
        return ours, process

    def _hear(self, pipe: Connection, on_message: Callable[[Task, str], None]) -> dict[str, Any] | None:
        """What a worker says: the row if its run ended, one of its death included."""
        process, task = self.busy[pipe]
        try:
            heard = pipe.recv()
        except (EOFError, ConnectionError):
            process.join()
            del self.busy[pipe]
            row = self.study.read_row(task.arm, task.seed)
            if row is not None and row["state"] == "done" and \
                    {name: row[name] for name in task.depends_on} == task.depends_on:  # it died after its work
                return row
            if self.study.is_cancel_requested():
                return None
            row = task.row("failed", f"its process ended with status {process.exitcode}; out of memory?", {
                "method": task.config["method"]})
            self.study.write_row(row)
            return row
        if isinstance(heard, str):
            on_message(task, heard)
            return None
        del self.busy[pipe]
        self.idle.append((pipe, process))
        return cast(dict[str, Any], heard)

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
