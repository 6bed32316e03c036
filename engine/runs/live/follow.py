"""The process of the live loop: `python -m engine live PROJECT --run RUN`, started by the app, ended by itself.

Holds a run's features in memory and looks at decisions.parquet several times a second. After each change it judges all
samples anew in closed form, measures what the decisions did, and trains the run's own method; a newer change goes
first. It ends when nobody has looked for some minutes, when data or run are no longer what they were, or on request.
"""

import contextlib
import os
import shutil
import signal
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch

from engine.contract.config import RunConfig
from engine.contract.disk.processes import alone_in, drop_old_cancel
from engine.contract.errors import UserError
from engine.contract.live.live_dir import READER_SECONDS, LiveDir, LiveState
from engine.contract.manifest import DECISIONS_NAME, MANIFEST_NAME, file_digest, read_decisions
from engine.contract.methods import METHODS
from engine.contract.run_dir import PROBABILITIES, RunDirError
from engine.contract.run_list import damage_of
from engine.contract.settings import ConfigError
from engine.contract.stamps import stamp_of
from engine.contract.work_dir import write_atomic
from engine.data.dataset import decided, load_for
from engine.runs.live.effect import measure_effect
from engine.runs.live.judgement import Judgement, Training, judge, learns, merged, retrain
from engine.runs.status import Cancelled, Status, cancel_on_signals

POLL_SECONDS = 0.1
CHECK_SECONDS = 2.0
PATIENCE_SECONDS = 20.0
"""While people decide without a pause, what takes long begins anew each time; after so long it goes on to its end."""
NICENESS = 5
"""Added to the process's own: a training that people wait for goes first."""
LINKED = ("neighbours.npy", "neighbours.npz", "embedding.parquet", "metrics.jsonl")
"""Files of the run that no label changes."""


class _Superseded(Exception):
    """Decisions are newer than what is being worked on."""


class _Ended(Exception):
    """There is no reason to go on; says why."""


def follow(project: Path, name: str) -> None:
    """Keep a run's live folder up to date until there is no reader. Raises ConfigError for a run that is not on
    features, RunDirError where there is no such run, its data changed since, or another process does this already."""
    folder = LiveDir.of(project, name)
    document = folder.base.read_config()
    config = RunConfig.of_run(document["config"])
    if "chosen" in document:
        config = replace(config, weight_decay=document["chosen"]["weight_decay"])
    if config.features is None or METHODS[config.method].is_imported:
        what = "on images" if config.features is None else "of another model's predictions"
        raise ConfigError(f"only a run on features is followed live; {name!r} is {what}; choose another")
    if document.get("manifest_digest") != file_digest(Path(project) / MANIFEST_NAME):
        raise RunDirError(f"a run is followed on the data it began with; the manifest changed since {name!r} began; "
                          "start a new run")
    if (state := folder.base.read_status()["state"]) != "done":
        raise RunDirError(f"a run is followed once it is done; {name!r} is {state}; wait for its end")
    if line := damage_of(folder.base):
        raise RunDirError(line)
    folder.touch_reader()
    with alone_in(folder.path, RunDirError(f"one process follows a run; {name!r} is being followed; leave it to that")):
        drop_old_cancel(folder.path)
        with contextlib.suppress(OSError):
            os.nice(NICENESS)
        status = Status(folder, config.epochs)
        with cancel_on_signals(status.signal, signal.SIGTERM), status.heartbeat():
            try:
                Follower(Path(project), folder, config, status).run()
            except _Ended as reason:
                status.update(state="done", stage="ended", message=str(reason))
            except Cancelled:
                status.update(state="cancelled", message="cancelled")
                folder.clear_cancel()
            except BaseException as error:
                status.update(state="failed", error=f"{error}" or type(error).__name__)
                raise


class Follower:
    """The run, its data under no decisions, and what was made of the decisions so far."""

    def __init__(self, project: Path, folder: LiveDir, config: RunConfig, status: Status) -> None:
        self.project, self.folder, self.config, self.status = project, folder, config, status
        self.is_judgement = METHODS[config.method].is_head_only
        self.watched = self._watched()
        torch.set_num_threads(config.num_threads or 1)
        nothing = read_decisions(project / "no-such-file")
        self.given = load_for(config, project, nothing,
                              lambda done, total: status.progress(done, total, "reading features"))
        base = decided(self.given, read_decisions(folder.base.decisions_path), project)
        self.training = Training(folder.base.read_signals(), base.train_labels, None, None)
        self.judgement: Judgement | None = None
        self.seen: tuple[int, ...] | None = None
        self.digest, self.decisions, self.data = "", nothing, self.given
        self.decided_at: float | None = None
        self.effect_of: str | None = None
        self.trained: float | None = None
        self.put_off_since: float | None = None
        self.checked = 0.0

    def run(self) -> None:
        """Look, and do what is due, until _Ended or Cancelled."""
        while True:
            if not self.step():
                self._wait()

    def step(self) -> bool:
        """Look, and do one thing that is due; False if nothing was."""
        with contextlib.suppress(_Superseded):
            if self._look():
                return True
            if self.judgement is None:
                return False
            if self.effect_of != self.digest:
                self._measure()
            elif learns(self.config) and self.training.digest != self.digest:
                self._retrain()
            else:
                return False
        return True

    def _wait(self) -> None:
        self.status.values["stage"] = "waiting"
        time.sleep(POLL_SECONDS)
        if time.monotonic() - self.checked > CHECK_SECONDS:
            self.checked = time.monotonic()
            self.mend()

    def mend(self) -> None:
        """Make anew what was damaged from outside."""
        if self.judgement is not None and self.folder.read_state() is None:
            self._judge()

    def _watched(self) -> tuple[object, ...]:
        """What must stay as it is."""
        base = self.folder.base
        return stamp_of(self.project / MANIFEST_NAME, base.path / "config.json", base.signals_path)

    def _look(self) -> bool:
        """Judge anew where decisions have changed; True if they had."""
        self.status.tick()
        if self.folder.reader_age() > READER_SECONDS:
            raise _Ended("nobody has looked for some minutes")
        if self._watched() != self.watched:
            raise _Ended("the data or the run changed")
        path = self.project / DECISIONS_NAME
        state = stamp_of(path)[0]
        stamp = (state.mtime_ns, state.size, state.inode)
        if stamp == self.seen:
            return False
        self.seen = stamp
        digest = file_digest(path)
        if digest == self.digest and self.judgement is not None:
            return False
        try:
            decisions = read_decisions(path)
            if stamp_of(path)[0] != state:  # replaced meanwhile: the digest may be of another than was read
                self.seen = None
                return True
            self.data = decided(self.given, decisions, self.project)
        except UserError as error:  # such as all samples excluded, a damaged file: what there is stands until then
            self.status.update(message=str(error))
            return False
        self.digest, self.decisions, self.decided_at = digest, decisions, state.mtime_ns / 1e9 if digest else None
        self._judge()
        return True

    def _judge(self) -> None:
        self.status.update(stage="judging", message="")
        self.judgement = judge(self.config, self.data)
        self.judged = time.time()
        self._link()
        for name in PROBABILITIES:
            self.folder.write_probabilities(self.judgement.probs_NC, name)
        if self.is_judgement:
            self.folder.write_history(1, self.judgement.history)
        self._write(self.judgement)

    def _write(self, judgement: Judgement) -> None:
        """Signals, then the state that names all files."""
        self.folder.write_signals(judgement.signals if self.is_judgement else merged(
            self.training, judgement, self.data.train_labels))
        self.folder.write_state(LiveState(
            manifest=[], files={}, decisions_digest=self.digest, num_decided=len(self.decisions),
            decided=self.decided_at, judged=self.judged, trained_digest=self.training.digest,
            trained=self.trained, learns_weights=learns(self.config)))

    def _measure(self) -> None:
        self.status.update(stage="measuring", message="what the decisions did")
        digest = self.digest
        effect = measure_effect(self.given, self.data, self.decisions, digest, self.config, self._on_step)
        self.folder.write_effect(effect)
        self.effect_of = digest
        self.put_off_since = None

    def _retrain(self) -> None:
        self.status.update(stage="training", message="")
        self.training = retrain(self.config, self.folder.base, self.data, self.digest, self._on_step)
        for epoch, records in enumerate(self.training.history or [], 1):
            self.folder.write_history(epoch, records)
        self.trained = time.time()
        assert self.judgement is not None, "what is trained for has been judged"
        self._write(self.judgement)
        self.put_off_since = None

    def _on_step(self, step: int, num_steps: int) -> None:
        """Between two steps of what takes long: newer decisions are judged at once, and begin it anew, unless it has
        begun anew for too long already."""
        if not self._look():
            return
        self.put_off_since = self.put_off_since or time.monotonic()
        if time.monotonic() - self.put_off_since < PATIENCE_SECONDS:
            raise _Superseded

    def _link(self) -> None:
        """The run's files that no label changes, as links where the file system has them."""
        base = self.folder.base.path
        wanted = [*LINKED, *(f"history/{path.name}" for path in sorted((base / "history").glob("*.npy"))
                             if self.training.history is None and not self.is_judgement)]
        for name in ["config.json", *wanted]:
            source, target = base / name, self.folder.path / name
            if not source.exists():
                target.unlink(missing_ok=True)
            elif not (target.exists() and target.samefile(source)):
                write_atomic(target, partial(_link_or_copy, source), is_sealed=False)


def _link_or_copy(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
