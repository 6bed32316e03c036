"""A run from its config to its reports: train(config, project, name) fills the run directory of contract 2.

Read `train` top to bottom; the method itself is engine.training.trainer. Whatever happens, status.json ends in a final
state, and a killed process leaves a checkpoint from which `resume` reaches the same end.
"""

import contextlib
import os
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from engine.contract.config import RunConfig
from engine.contract.disk.processes import alone_in, drop_old_cancel
from engine.contract.events import RunEvent
from engine.contract.feature_dir import FeatureDir
from engine.contract.integrity.decisions import refuse_stale
from engine.contract.manifest import (
    DECISIONS_NAME,
    MANIFEST_NAME,
    ManifestError,
    check_decisions,
    file_digest,
    read_decisions,
)
from engine.contract.method_config import features_used
from engine.contract.methods import METHODS
from engine.contract.metrics import EpochMetrics
from engine.contract.run_dir import RunDir, RunDirError
from engine.contract.run_document import RunDocument
from engine.contract.work_dir import write_atomic
from engine.data.dataset import begun, load_for, settled
from engine.model.prediction import pick_device
from engine.runs import embedding
from engine.runs.discriminant import fit_discriminant
from engine.runs.epoch_report import EpochFiles, measure, write_predictions
from engine.runs.first_training import trained_first
from engine.runs.given_weights import keep_given, read_given
from engine.runs.processes import refuse_ranks, set_threads
from engine.runs.provenance import describe, tell_splits
from engine.runs.status import Cancelled, Follower, Status, cancel_on_signals, kept_to_the_end
from engine.runs.trackers import Trackers
from engine.runs.warm_start import source_of, warm_start
from engine.runs.weight_decay import with_weight_decay
from engine.runtime import distributed
from engine.runtime.allocator import keep_freed_memory
from engine.training import checkpoint
from engine.training.held_out_start import discriminant_features
from engine.training.trainer import Trainer

MAX_LOGGED = 100
"""Unreadable samples that log.txt names."""


def train(config: RunConfig, project: Path, name: str, decisions: Path | None = None,
          preview_of: str | None = None, weights_from: str | None = None) -> RunDir:
    """Start a new run and see it to its end. decisions: a file of DECISION_COLUMNS to train under; None: the project's.
    preview_of: the run whose classifier it begins with (engine.runs.warm_start). weights_from: the run under whose
    weights, split and decisions it trains (engine.runs.given_weights).

    Raises RunDirError if the name is taken or malformed, ManifestError or ConfigError for bad input (the run then says
    failed and why). Returns the run, whose status says done or cancelled.
    """
    with distributed.process_group(config.device):
        run, source = RunDir.of(project, name), decisions or Path(project) / DECISIONS_NAME
        if distributed.is_restart() and run.exists() and run.read_config().get("launch") == distributed.launch():
            return _together(run, lambda: _go_on(Path(project), run), project)

        def begin() -> None:
            drop_old_cancel(run.path)
            if run.exists():
                raise RunDirError(f"a new run needs a free name; {name!r} exists; choose another or --resume {name}")
            given = None if weights_from is None else keep_given(project, weights_from, run, config)
            if decisions is None and given is None:
                refuse_stale(project)
            if given is None and source.exists():
                write_atomic(run.decisions_path, lambda p: shutil.copyfile(source, p))
            document = describe(settled(config, project), project, run)
            if preview_of is not None:
                document["warm_start"] = source_of(project, preview_of)
            if given is not None:
                document["weights_from"] = given
            run.write_config(document)

        if decisions is not None:
            check_decisions(decisions)
        return _together(run, begin, project)


def resume(project: Path, name: str) -> RunDir:
    """Go on with a run from its last checkpoint (from its start if it has none). A done run is left as it is.

    Raises RunDirError if there is no such run, it is running, or the manifest changed since.
    """
    run = RunDir.of(project, name)
    if run.read_config() and run.read_status()["state"] == "done":
        return run
    with distributed.process_group(RunConfig.of_run(run.read_config()["config"]).device):
        return _together(run, lambda: _go_on(Path(project), run), project)


def _go_on(project: Path, run: RunDir) -> None:
    """Check that a run that has begun may be gone on with."""
    document, status = run.read_config(), run.read_status()
    if status["state"] == "running" and status["is_alive"] and status["pid"] != os.getpid():
        raise RunDirError(f"one process trains a run; {run.name!r} is running as pid {status['pid']}; cancel it first")
    _refuse_changed_data(project, run, document)
    if not distributed.is_restart():  # a request that a restart finds was made while it trained, and holds
        drop_old_cancel(run.path)
    run.log("resumed")


def _together(run: RunDir, begin: Callable[[], None], project: Path) -> RunDir:
    """Begin a run (the first rank alone does, under the run's lock) and see it to its end, all ranks together."""
    with contextlib.ExitStack() as stack:
        def begin_alone() -> None:
            run.path.mkdir(parents=True, exist_ok=True)
            stack.enter_context(_alone(run))
            begin()

        distributed.on_rank_zero(begin_alone)
        return _carry_out(RunConfig.of_run(run.read_config()["config"]), Path(project), run)


def _alone(run: RunDir) -> contextlib.AbstractContextManager[None]:
    return alone_in(run.path, RunDirError(f"one process trains a run; {run.name!r} is being trained by another; cancel "
                                          "it first"))


def _refuse_changed_data(project: Path, run: RunDir, document: RunDocument) -> None:
    """Raise RunDirError where what a run still needs is not as it was when it began; older code did not note it all."""
    config = RunConfig.of_run(document["config"])
    features = config.features if checkpoint.checkpoints(run.checkpoint_dir) else features_used(config)
    now = {"manifest_digest": ("the manifest", project / MANIFEST_NAME),
           "decisions_digest": ("its copy of the decisions", run.decisions_path)}
    if features:
        now["features_digest"] = (f"the list of the features {features}", FeatureDir.of(project, features).samples_path)
    for key, (words, path) in now.items():
        if document.get(key, "" if key == "manifest_digest" else None) not in (None, file_digest(path)):
            raise RunDirError(f"a run goes on with the data it began with; {words} changed since {run.name!r} began; "
                              "start a new run")


def _carry_out(config: RunConfig, project: Path, run: RunDir) -> RunDir:
    """Train with a status that always ends: done, cancelled or failed with one line."""
    if not distributed.is_rank_zero():
        return _follow(config, project, run)
    status = Status(run, config.epochs)
    run.log(f"{config.method} on {project.name}, seed {config.seed}, {config.epochs} epochs, pid {os.getpid()}")
    with kept_to_the_end(status, "cancelled; resume goes on from its last checkpoint"):
        status.update(device=str(pick_device(config.device)))
        _run(config, project, run, status)
    return run


def _follow(config: RunConfig, project: Path, run: RunDir) -> RunDir:
    """Train as a rank that writes nothing; what the first rank was asked or failed at ends this one as well."""
    # torchrun sends its signal to all; the first rank's cancel then reaches this one between two steps.
    with cancel_on_signals(lambda: None, signal.SIGTERM), contextlib.suppress(Cancelled):
        try:
            _run(config, project, run, Follower())
        except distributed.RankZeroFailed as failure:
            if failure.kind != Cancelled.__name__:
                raise
    return run


def _run(config: RunConfig, project: Path, run: RunDir, status: Status | Follower) -> None:
    """Load, rank if the method ranks, train epoch by epoch, report, embed."""
    refuse_ranks(config)
    status.update(stage="preparing images")
    say = run.log if distributed.is_rank_zero() else lambda *_: None
    state = checkpoint.load_newest(run.checkpoint_dir, say)
    data = distributed.rank_zero_first(lambda: load_for(
        begun(config) if state else config, project, read_decisions(run.decisions_path),
        lambda done, total: status.progress(done, total, "preparing images")))
    if config.validation_source == "clean" and not len(data.clean_idx):
        raise ManifestError("validation=clean needs samples of split clean; this project has none; choose another")
    say(f"{data.num_train} training samples ({int(data.excluded.sum())} excluded), {len(data.clean_idx)} clean, "
            f"{len(data.test_idx)} test, {data.num_classes} classes, {data.images.shape[-1]} "
        f"{'components of features ' + config.features if config.features else 'pixels'}"
        f"{'' if data.features is None else f'; starts from features {config.splitter.features}'}")
    tell_splits(run, data)
    set_threads(config, 0 if config.head else data.images.shape[-1])
    keep_freed_memory()
    config = with_weight_decay(config, data, run, status)
    if config.has_first_training:
        trainer = trained_first(config, data, run, status)
    else:
        trainer = Trainer(config, data, given=read_given(run, data))
    for sample_id, why in list(data.unreadable.items())[:MAX_LOGGED]:
        say(f"left out, unreadable: {sample_id}: {why}")
    if len(data.unreadable) > MAX_LOGGED:
        say(f"left out, unreadable: {len(data.unreadable) - MAX_LOGGED:,} more")
    metrics: list[EpochMetrics] = []
    epoch, step = 1, 0
    if not state and (begins := warm_start(trainer.model, project, run.read_config())):
        say(begins)
    if state:
        trainer.load_state_dict(state["trainer"])
        metrics, epoch, step = state["metrics"], state["epoch"], state["step"]
        status.update(epoch=epoch - 1)
        say(f"going on at epoch {epoch}, step {step}")
    files = EpochFiles(trainer, run)
    with Trackers(run, config, epoch) as trackers:
        while epoch <= config.epochs:
            metrics.append(_fit_at_once(trainer, run, status) if METHODS[config.method].is_head_only
                           else _train_epoch(files, status, metrics, epoch, step))
            epoch, step = epoch + 1, 0
            if distributed.is_rank_zero():
                is_written = files.end_epoch(epoch - 1)
                run.write_metrics(metrics)
                trackers.end_epoch(metrics[-1], trainer, is_written=is_written)
                if is_written:
                    _save(trainer, run, metrics, epoch, 0)
    status.update(stage="reporting")
    write_predictions(trainer, run)
    status.update(stage="embedding", message="")
    embedding.embed_run(trainer, run, lambda message: status.tick(message=message))


def _save(trainer: Trainer, run: RunDir, metrics: list[EpochMetrics], epoch: int, step: int) -> None:
    checkpoint.save(run.checkpoint_dir, epoch, step, {"trainer": trainer.state_dict(), "metrics": metrics,
                                                      "epoch": epoch, "step": step})


def _fit_at_once(trainer: Trainer, run: RunDir, status: Status | Follower) -> EpochMetrics:
    """The one epoch of a method that fits its head in closed form; returns its line of metrics."""
    started = time.monotonic()
    status.update(stage="fitting", epoch=1, message="")
    probs_NC = fit_discriminant(trainer)
    if distributed.is_rank_zero():
        run.write_probabilities(probs_NC.numpy(), "label_head")
    line = measure(trainer, 1)
    line["seconds"] = time.monotonic() - started
    return line


def _train_epoch(files: EpochFiles, status: Status | Follower, metrics: list[EpochMetrics], epoch: int,
                 first_step: int) -> EpochMetrics:
    """One epoch with status and checkpoints by the clock; returns its line of metrics."""
    trainer, run = files.trainer, files.run
    config, started, saved = trainer.config, time.monotonic(), time.monotonic()
    is_begin = (epoch, first_step) == (1, 0) and discriminant_features(config, trainer.data) is not None
    begins = "predicting out of fold" if is_begin else ""
    status.update(stage="training", epoch=epoch, num_steps=trainer.num_steps, message=begins)

    def on_step(step: int, num_steps: int) -> None:
        nonlocal saved
        rate = (step - first_step) / max(time.monotonic() - started, 1e-9)
        left, is_cancelled = (config.epochs - epoch + 1) * num_steps - step, False
        try:
            status.tick(step=step, samples_per_second=rate * trainer.batch_size, eta_seconds=left / max(rate, 1e-9),
                        message="")
        except Cancelled:
            is_cancelled = True
        is_cancelled = distributed.is_asked(is_cancelled)
        is_late = step < num_steps and time.monotonic() - saved > config.checkpoint_seconds
        if distributed.is_rank_zero() and (is_cancelled or is_late):
            trainer.check(epoch)
            files.write()  # the epochs before are not repeated
            _save(trainer, run, metrics, epoch, step)
            saved = time.monotonic()
        if is_cancelled:
            raise Cancelled

    trainer.run_epoch(epoch, on_step, first_step)
    line = measure(trainer, epoch)
    line["seconds"] = time.monotonic() - started
    if not distributed.is_rank_zero():
        return line
    run.log(f"epoch {epoch}/{config.epochs}: " + ", ".join(
        f"{k} {line[k]:.4g}" for k in ("train_loss", "clean_accuracy", "num_routed", "effective_sample_frac")
        if line[k] is not None) + "".join(f"; {_logged(event)}" for event in line["events"]))
    return line


def _logged(event: RunEvent) -> str:
    """An event as a piece of a line of log.txt; pages put it in words."""
    return " ".join([event["kind"], *(f"{name}={value:.3g}" for name, value in event.items()
                                      if isinstance(value, int | float))])


def embed_again(project: Path, name: str, method: str, on_message: Callable[[str], None]) -> None:
    """Remake a run's map from its last checkpoint. Raises RunDirError if it has none or the manifest changed since."""
    run = RunDir.of(project, name)
    document = run.read_config()
    _refuse_changed_data(project, run, document)
    config = RunConfig.of_run(document["config"] | {"embedding": method})
    state = checkpoint.load_newest(run.checkpoint_dir, run.log)
    if state is None:
        raise RunDirError(f"a map needs a trained classifier; {name!r} has no checkpoint; resume it first")
    data = load_for(begun(config), project, read_decisions(run.decisions_path), lambda *_: None)
    trainer = Trainer(config, data, ranking=np.zeros(data.num_train))
    trainer.load_state_dict(state["trainer"])
    embedding.embed_run(trainer, run, on_message)
