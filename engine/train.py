"""A run from its config to its reports: train(config, project, name) fills the run directory of contract 2.

Read `train` top to bottom; the method itself is engine.trainer. Whatever happens, status.json ends in a final state,
and a killed process leaves a checkpoint from which `resume` reaches the same end.
"""

import contextlib
import os
import platform
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import psutil
import torch

from engine import checkpoint, embed, roles
from engine.config import RunConfig
from engine.data import Dataset, load_dataset
from engine.losses import margins
from engine.manifest import DECISIONS_NAME, MANIFEST_NAME, ManifestError, file_digest, read_decisions
from engine.rundir import RunDir, RunDirError, write_atomic
from engine.signals import effective_sample_size
from engine.trainer import Trainer, pick_device, stream

STATUS_SECONDS = 1.0


class Cancelled(Exception):
    """Somebody asked the run to stop; raised between two steps."""


def train(config: RunConfig, project: Path, name: str) -> RunDir:
    """Start a new run under the project's current decisions and see it to its end.

    Raises RunDirError if the name is taken or malformed, ManifestError or ConfigError for bad input (nothing is
    written then beyond a failed status). Returns the run, whose status says done or cancelled.
    """
    run = RunDir.of(project, name)
    if run.exists():
        raise RunDirError(f"a new run needs a free name; {name!r} exists; choose another or --resume {name}")
    run.path.mkdir(parents=True, exist_ok=True)
    decisions = Path(project) / DECISIONS_NAME
    if decisions.exists():
        write_atomic(run.decisions_path, lambda p: shutil.copyfile(decisions, p))
    run.write_config(describe(config, project, run))
    return _carry_out(config, Path(project), run)


def resume(project: Path, name: str) -> RunDir:
    """Go on with a run from its last checkpoint (from its start if it has none). A done run is left as it is.

    Raises RunDirError if there is no such run, it is running, or the manifest changed since.
    """
    run = RunDir.of(project, name)
    document, status = run.read_config(), run.read_status()
    if status["state"] == "done":
        return run
    if status["state"] == "running" and status["is_alive"] and status["pid"] != os.getpid():
        raise RunDirError(f"one process trains a run; {name!r} is running as pid {status['pid']}; cancel it first")
    if document["manifest_digest"] != file_digest(Path(project) / MANIFEST_NAME):
        raise RunDirError(f"a run resumes on the data it began with; the manifest changed since {name!r} began; "
                          "start a new run")
    run.clear_cancel()
    run.log("resumed")
    return _carry_out(RunConfig.from_dict(document["config"]), Path(project), run)


def describe(config: RunConfig, project: Path, run: RunDir) -> dict[str, Any]:
    """config.json: the config and all that one needs to know where its results come from."""
    return {
        "config": config.to_dict(), "name": run.name, "method": config.method, "created": time.time(),
        "project": Path(project).resolve().name,
        "versions": {"python": platform.python_version(),
                     **{p: version(p) for p in ("torch", "torchvision", "numpy", "pandas")}},
        "code_revision": _code_revision(), "manifest_digest": file_digest(Path(project) / MANIFEST_NAME),
        "decisions_digest": file_digest(run.decisions_path), "num_decisions": len(read_decisions(run.decisions_path)),
        "hardware": _hardware(),
    }


def _code_revision() -> str:
    """The git commit of this code, "-dirty" if changed since; "unknown" outside a checkout."""
    here = Path(__file__).parent
    try:
        return subprocess.run(["git", "describe", "--always", "--dirty", "--abbrev=12"], cwd=here, capture_output=True,
                              text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return "unknown"


def _hardware() -> str:
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    return f"{platform.machine()}, {os.cpu_count()} cores, {psutil.virtual_memory().total / 2**30:.0f} GiB, {gpu}"


def _carry_out(config: RunConfig, project: Path, run: RunDir) -> RunDir:
    """Train with a status that always ends: done, cancelled or failed with one line."""
    status = Status(run, config)
    run.log(f"{config.method} on {project.name}, seed {config.seed}, {config.epochs} epochs, pid {os.getpid()}")
    with _stop_on_sigterm(run), status.heartbeat():
        try:
            if config.num_threads:
                torch.set_num_threads(config.num_threads)
            status.update(device=str(pick_device(config.device)))
            _run(config, project, run, status)
        except Cancelled:
            status.update(state="cancelled", message="cancelled; resume goes on from its last checkpoint")
        except BaseException as error:
            status.update(state="failed", error=f"{error}" or type(error).__name__)
            run.log(f"failed: {type(error).__name__}: {error}")
            raise
        else:
            status.update(state="done", message="", eta_seconds=0.0)
    run.log(str(status.values["state"]))
    return run


class Status:
    """status.json, rewritten at most once a second by the loop and as a heartbeat by a thread while it is busy."""

    def __init__(self, run: RunDir, config: RunConfig) -> None:
        now = time.time()
        self.run, self.last_check = run, 0.0
        self.lock = threading.Lock()
        self.values: dict[str, Any] = {
            "state": "running", "stage": "starting", "message": "", "epoch": 0, "num_epochs": config.epochs, "step": 0,
            "num_steps": None, "samples_per_second": None, "eta_seconds": None, "started": now, "heartbeat": now,
            "pid": os.getpid(), "pid_started": psutil.Process().create_time(), "device": None, "error": None}
        self.update()

    def update(self, **values: Any) -> None:
        with self.lock:
            self.values |= {**values, "heartbeat": time.time()}
            self.run.write_status(**self.values)

    def tick(self, **values: Any) -> None:
        """Between two steps: keep the values; once a second look for a cancel request. Raises Cancelled."""
        self.values |= values
        now = time.monotonic()
        if now - self.last_check > 0.1:
            self.last_check = now
            if self.run.is_cancel_requested():
                raise Cancelled

    def progress(self, done: int, total: int, stage: str) -> None:
        """A stage that counts up, such as decoding images."""
        self.tick(stage=stage, message=f"{done:,} of {total:,}")

    @contextlib.contextmanager
    def heartbeat(self) -> Iterator[None]:
        """Rewrite status.json once a second, so that long stages without steps show as alive."""
        stop = threading.Event()

        def beat() -> None:
            while not stop.wait(STATUS_SECONDS):
                self.update()

        thread = threading.Thread(target=beat, daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()


@contextlib.contextmanager
def _stop_on_sigterm(run: RunDir) -> Iterator[None]:
    """SIGTERM asks for a cancel at the step's end. Only the main thread can listen; a test's thread does without."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, lambda *_: run.request_cancel())
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _run(config: RunConfig, project: Path, run: RunDir, status: Status) -> None:
    """Load, rank if the method ranks, train epoch by epoch, report, embed."""
    status.update(stage="preparing images")
    data = load_dataset(project, read_decisions(run.decisions_path), config.image_size,
                        lambda done, total: status.progress(done, total, "preparing images"))
    if config.validation_source == "clean" and not len(data.clean_idx):
        raise ManifestError("validation=clean needs samples of split clean; this project has none; choose another")
    run.log(f"{data.num_train} training samples ({int(data.excluded.sum())} excluded), {len(data.clean_idx)} clean, "
            f"{len(data.test_idx)} test, {data.num_classes} classes, {data.images.shape[-1]} pixels")
    ranking = _rank(config, data, run, status) if config.validation_source in ("easy", "hard") else None
    trainer = Trainer(config, data, ranking=ranking[0] if ranking else None)
    if ranking:
        trainer.record.set_heldout(ranking[1], np.isfinite(ranking[0]), data.train_labels)
    state = checkpoint.load_newest(run.checkpoint_dir)
    metrics: list[dict[str, Any]] = []
    epoch, step = 1, 0
    if state:
        trainer.load_state_dict(state["trainer"])
        metrics, epoch, step = state["metrics"], state["epoch"], state["step"]
        run.log(f"going on at epoch {epoch}, step {step}")
    while epoch <= config.epochs:
        metrics.append(_train_epoch(trainer, run, status, metrics, epoch, step))
        run.write_metrics(metrics)
        epoch, step = epoch + 1, 0
        checkpoint.save(run.checkpoint_dir, epoch, 0, {"trainer": trainer.state_dict(), "metrics": metrics,
                                                       "epoch": epoch, "step": 0})
    status.update(stage="reporting")
    _report(trainer, run, metrics)
    status.update(stage="embedding", message="")
    embed.embed_run(trainer, run, lambda message: status.tick(message=message))


def _train_epoch(trainer: Trainer, run: RunDir, status: Status, metrics: list[dict[str, Any]], epoch: int,
                 first_step: int) -> dict[str, Any]:
    """One epoch with status, checkpoints by the clock and the epoch's files; returns its line of metrics."""
    config, started, saved = trainer.config, time.monotonic(), time.monotonic()
    status.update(stage="training", epoch=epoch, num_steps=trainer.num_steps, message="")

    def save_at(step: int) -> None:
        checkpoint.save(run.checkpoint_dir, epoch, step, {"trainer": trainer.state_dict(), "metrics": metrics,
                                                          "epoch": epoch, "step": step})

    def on_step(step: int, num_steps: int) -> None:
        nonlocal saved
        rate = (step - first_step) / max(time.monotonic() - started, 1e-9)
        left = (config.epochs - epoch + 1) * num_steps - step
        try:
            status.tick(step=step, samples_per_second=rate * config.batch_size, eta_seconds=left / max(rate, 1e-9))
        except Cancelled:
            save_at(step)
            raise
        if step < num_steps and time.monotonic() - saved > config.checkpoint_seconds:
            save_at(step)
            saved = time.monotonic()

    trainer.run_epoch(epoch, on_step, first_step)
    line = _measure(trainer, epoch)
    line["seconds"] = time.monotonic() - started
    write_epoch(trainer, run, epoch)
    run.log(f"epoch {epoch}/{config.epochs}: " + ", ".join(
        f"{k} {line[k]:.4g}" for k in ("train_loss", "clean_accuracy", "num_routed", "effective_sample_size")
        if line[k] is not None) + "".join(f"; {e}" for e in line["events"]))
    return line


def write_epoch(trainer: Trainer, run: RunDir, epoch: int) -> None:
    """history/ and signals.parquet of the epoch that just ended."""
    data, current = trainer.data, trainer.epoch_roles
    run.write_history(epoch, trainer.record.history(trainer.role_codes, current.routed))
    probs_NC, is_known = trainer.record.heldout_predictions()
    suggestions = roles.confident_suggestion(probs_NC, data.train_labels, is_known)
    run.write_signals(trainer.record.frame(data.sample_ids[data.train_idx], data.train_labels, trainer.role_codes,
                                           _why(trainer, suggestions, is_known), suggestions, data.classes))


def _why(trainer: Trainer, suggestions: np.ndarray, is_known: np.ndarray) -> np.ndarray:
    """One note a sample on its role: decision, guard, coverage, rotation or routing."""
    data, current = trainer.data, trainer.epoch_roles
    source = trainer.config.validation_source
    routed = {"learned": "routed by the splitter: among the lowest p_train of its class",
              "hard": "routed by rank: among the lowest cross-fitted margins of its class",
              "easy": "routed by rank: among the highest cross-fitted margins of its class"}
    why = np.full(data.num_train, "", dtype=object)
    why[current.kept_by_coverage] = "kept in training by coverage: too many of its neighbours are in validation"
    for row in np.flatnonzero(current.withheld):
        says = f"held-out predictions confidently say {data.classes[suggestions[row]]}" if suggestions[row] >= 0 else \
            "held-out predictions do not support its label" if is_known[row] else "it has no held-out prediction yet"
        why[row] = f"withheld by the guard: {says}"
    why[current.resting] = "rests this epoch by rotation, to collect a held-out prediction"
    why[current.routed] = routed.get(source, "routed by a random split")
    why[data.pins == -1] = "pinned to validation"
    why[data.pins == 1] = "pinned to training"
    why[~trainer.active] = data.notes[~trainer.active]
    return why


def _measure(trainer: Trainer, epoch: int) -> dict[str, Any]:
    """One line of metrics.jsonl. The test split is read in the last epoch alone."""
    config, data, current = trainer.config, trainer.data, trainer.epoch_roles
    t, totals = trainer.record.tensors, trainer.totals
    weights = t["weight"].cpu().numpy()
    truth = data.clean_labels[data.train_idx]
    is_wrong, is_scored = (truth != data.train_labels) & (truth >= 0), truth >= 0
    num_active, num_routed = int(trainer.active.sum()), int(current.routed.sum())
    is_weighed = np.isfinite(weights)
    heldout_loss = t["loss"].cpu().numpy()[current.routed]
    ess = effective_sample_size(weights) if trainer.learns_weights else None
    line: dict[str, Any] = {
        "epoch": epoch, "seconds": None, "lr": trainer.optimizer.param_groups[0]["lr"],
        "train_loss": float(totals["loss"] / totals["samples"].clamp(min=1)),
        "validation_loss": float(heldout_loss.mean()) if num_routed else None,
        "clean_accuracy": accuracy(trainer, data.clean_idx),
        "test_accuracy": accuracy(trainer, data.test_idx) if epoch == config.epochs else None,
        "num_train": int((trainer.active & ~trainer.heldout).sum()), "num_validation": int(trainer.heldout.sum()),
        "num_routed": num_routed, "validation_share": num_routed / max(num_active, 1),
        "churn": current.num_new / num_routed if num_routed and not current.is_warmup else None,
        "effective_sample_size": ess,
        "weight_min": float(weights[is_weighed].min()) if trainer.learns_weights and is_weighed.any() else None,
        "weight_max": float(weights[is_weighed].max()) if trainer.learns_weights and is_weighed.any() else None,
        "weight_mean_wrong": _mean(weights, is_weighed & is_wrong), "num_withheld": int(current.withheld.sum()),
        "weight_mean_right": _mean(weights, is_weighed & is_scored & ~is_wrong),
        "guard_wrong_share": _mean(is_wrong, current.routed & is_scored),
        "unguarded_wrong_share": _mean(is_wrong, current.unguarded & is_scored), "coverage": current.coverage,
    }
    line["events"] = _events(trainer, line)
    return line


def _mean(values: np.ndarray, mask: np.ndarray) -> float | None:
    return float(values[mask].mean()) if mask.any() else None


def _events(trainer: Trainer, line: dict[str, Any]) -> list[str]:
    """What a user should know of this epoch's split and weights."""
    events, current = [], trainer.epoch_roles
    needs_validation = trainer.config.validation_source not in ("none", "clean")
    if needs_validation and not current.is_warmup:
        if not line["num_routed"]:
            events.append("empty validation: no sample was routed, so weights were not updated")
        elif len(np.unique(trainer.data.train_labels[current.routed])) == 1 < trainer.data.num_classes:
            events.append("one class: all validation samples are of one class")
        if line["churn"] is not None and line["churn"] > 0.5 and current.num_new < line["num_routed"]:
            events.append(f"churning: {line['churn']:.0%} of the routed samples are new since the epoch before")
    ess = line["effective_sample_size"]
    if ess is not None and not current.is_warmup and ess < 0.3:
        events.append(f"weights collapse onto a few samples: effective sample size {ess:.2f}")
    if ess is not None and not current.is_warmup and ess > 0.9999:
        events.append("weights are constant: training is plain training")
    return events


def accuracy(trainer: Trainer, idx: np.ndarray) -> float | None:
    """Share of right predictions on these manifest rows; None without rows."""
    if not len(idx):
        return None
    logits, _ = trainer.predict(idx)
    return float((logits.argmax(1).cpu().numpy() == trainer.data.labels[idx]).mean())


def _report(trainer: Trainer, run: RunDir, metrics: list[dict[str, Any]]) -> None:
    """predictions.parquet of the clean and test splits."""
    data, frames = trainer.data, []
    for split, idx in (("clean", data.clean_idx), ("test", data.test_idx)):
        if not len(idx):
            continue
        logits, _ = trainer.predict(idx)
        labels = torch.from_numpy(data.labels[idx]).to(logits.device)
        names = np.asarray(data.classes, dtype=object)
        frames.append(pd.DataFrame({
            "sample_id": data.sample_ids[idx], "split": split, "label": names[data.labels[idx]],
            "prediction": names[logits.argmax(1).cpu().numpy()], "margin": margins(logits, labels).cpu().numpy(),
            "group": data.groups[idx] if data.groups is not None else None}))
    columns = {"sample_id": "string", "split": "string", "label": "string", "prediction": "string",
               "margin": "float32", "group": "string"}
    everything = pd.concat(frames, ignore_index=True) if frames else pd.DataFrame({c: [] for c in columns})
    run.write_predictions(everything.astype(columns))


def _rank(config: RunConfig, data: Dataset, run: RunDir, status: Status) -> tuple[np.ndarray, np.ndarray]:
    """Cross-fitted margins (N,) and probabilities (N, C) from plain training on all other folds; NaN where excluded.

    Train-twice (Jain et al. 2024, section 3), cross-fitted: a sample's own training would inflate its margin. Each
    finished fold is kept beside the checkpoints, so a killed run repeats at most one.
    """
    plain = RunConfig.from_dict(config.to_dict() | {"method": "erm", "validation": None})
    rng = stream(config.seed, "folds")
    folds = roles.rotation_groups(data.num_train, config.folds, rng)
    probs_NC = np.full((data.num_train, data.num_classes), np.nan, dtype=np.float32)
    for fold in range(config.folds):
        path = run.checkpoint_dir / f"fold-{fold}.npy"
        rows = np.flatnonzero((folds == fold) & ~data.excluded)
        if not path.exists():
            trainer = Trainer(plain, data, is_active=folds != fold)
            for epoch in range(1, plain.epochs + 1):
                message = f"fold {fold + 1} of {config.folds}, epoch {epoch} of {plain.epochs}"
                trainer.run_epoch(epoch, lambda step, _, message=message: status.tick(  # type: ignore[misc]
                    stage="ranking samples", message=message, step=step))
            logits, _ = trainer.predict(data.train_idx[rows])
            probs = torch.softmax(logits, 1).cpu().numpy()
            write_atomic(path, lambda p, probs=probs: _save_array(p, probs))  # type: ignore[misc]
        probs_NC[rows] = np.load(path, allow_pickle=False)
    run.log(f"ranked {int(np.isfinite(probs_NC[:, 0]).sum())} samples by {config.folds}-fold cross-fitted margin")
    logits = torch.log(torch.from_numpy(probs_NC).clamp(min=1e-12))
    return margins(logits, torch.from_numpy(np.maximum(data.train_labels, 0))).numpy(), probs_NC


def _save_array(path: Path, array: np.ndarray) -> None:
    with open(path, "wb") as file:
        np.save(file, array)




def embed_again(project: Path, name: str, method: str, on_message: Callable[[str], None]) -> None:
    """Remake a run's map from its last checkpoint. Raises RunDirError if it has no finished epoch."""
    run = RunDir.of(project, name)
    config = RunConfig.from_dict(run.read_config()["config"] | {"embedding": method})
    state = checkpoint.load_newest(run.checkpoint_dir)
    if state is None:
        raise RunDirError(f"a map needs a trained classifier; {name!r} has no checkpoint; resume it first")
    data = load_dataset(project, read_decisions(run.decisions_path), config.image_size, lambda *_: None)
    trainer = Trainer(config, data, ranking=np.zeros(data.num_train))
    trainer.load_state_dict(state["trainer"])
    embed.embed_run(trainer, run, on_message)
