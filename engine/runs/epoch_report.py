"""What a run tells of itself: metrics.jsonl's line, signals.parquet, history/ and predictions.parquet."""

import time

import numpy as np
import pandas as pd
import torch

from engine.contract.events import RunEvent
from engine.contract.methods import FROM_VALIDATION
from engine.contract.metrics import EpochMetrics
from engine.contract.run_dir import RunDir
from engine.contract.statistics.confident import confident_suggestion
from engine.model.losses import margins
from engine.model.record import effective_sample_frac
from engine.molere.weight_sources import freedom_of
from engine.runtime import distributed
from engine.training.trainer import Trainer

IDLE_FREEDOM = 0.05
"""Below this a run says that its weights hardly acted."""
HEAD_SECONDS = 3.0
"""Longest time between two writes of a head's files."""


class EpochFiles:
    """Writes history/, signals.parquet and probabilities.npy as epochs end: each epoch of images, which is long;
    those of heads, which may last a tenth of a second, together every few seconds."""

    def __init__(self, trainer: Trainer, run: RunDir) -> None:
        self.trainer, self.run = trainer, run
        self.seconds = HEAD_SECONDS if trainer.config.head else 0.0
        self.written = time.monotonic()
        self.histories: dict[int, np.ndarray] = {}
        self.newest: tuple[pd.DataFrame, np.ndarray] | None = None

    def end_epoch(self, epoch: int) -> bool:
        """Take in the epoch that just ended; whether all files are now of it."""
        held = self.trainer.record.heldout_predictions()
        self.histories[epoch] = history_of(self.trainer)
        self.newest = (signals_of(self.trainer), np.where(held.is_known_N[:, None], held.probs_NC, np.nan))
        if epoch < self.trainer.config.epochs and time.monotonic() - self.written < self.seconds:
            return False
        self.write()
        return True

    def write(self) -> None:
        """Write what waits."""
        for epoch, history in self.histories.items():
            self.run.write_history(epoch, history)
        if self.newest is not None:
            frame, probs_NC = self.newest
            self.run.write_probabilities(probs_NC)
            self.run.write_signals(frame)
        self.histories, self.newest, self.written = {}, None, time.monotonic()


def history_of(trainer: Trainer) -> np.ndarray:
    """(N,) of HISTORY_DTYPE of the epoch that just ended."""
    data, current, record = trainer.data, trainer.epoch_roles, trainer.record
    history = record.history(trainer.role_codes(trainer.heldout), current.routed)
    # Of the pinned: what the splitter alone would have said. While a run finishes it is not asked any more.
    is_pinned = data.pins != 0
    unpinned = np.full(data.num_train, np.nan) if current.phase == "finish" else record.p_train_unpinned.cpu().numpy()
    history["p_train"][is_pinned] = unpinned[is_pinned]
    return history


def signals_of(trainer: Trainer) -> pd.DataFrame:
    """signals.parquet after the epoch that just ended."""
    data, current, record = trainer.data, trainer.epoch_roles, trainer.record
    held = record.heldout_predictions()
    suggestions = confident_suggestion(held.probs_NC, data.train_labels, held.is_known_N)
    return record.frame(
        sample_ids=data.sample_ids[data.train_idx], labels_N=data.train_labels,
        roles_N=trainer.role_codes(trainer.heldout | current.routed),
        reasons_N=role_reasons(trainer, suggestions, held.is_known_N), is_resting_N=current.resting,
        is_pinned_N=data.pins != 0, suggestions_N=suggestions, classes=data.classes)


def role_reasons(trainer: Trainer, suggestions_N: np.ndarray, is_known_N: np.ndarray) -> np.ndarray:
    """(N,) object of ROLE_REASONS: why each sample has its role. suggestions_N, is_known_N: of its held-out
    predictions."""
    data, current = trainer.data, trainer.epoch_roles
    source = "random" if current.phase == "warmup" and trainer.splitting else trainer.config.validation_source
    found = np.full(data.num_train, "trains", dtype=object)
    found[current.kept_by_coverage] = "kept_by_coverage"
    found[current.withheld] = "withheld_unknown"
    found[current.withheld & is_known_N] = "withheld_unsupported"
    found[current.withheld & (suggestions_N >= 0)] = "withheld_disputed"
    found[current.resting] = "rests"
    found[current.routed] = f"routed_{source if source in ('learned', 'easy', 'hard') else 'random'}"
    if trainer.given is not None and source == "none":
        found[current.routed] = trainer.given.reasons_N[current.routed]
    found[data.pins == -1], found[data.pins == 1] = "pinned_validation", "pinned_train"
    found[~trainer.active] = data.exclusions[~trainer.active]
    return found


def measure(trainer: Trainer, epoch: int) -> EpochMetrics:
    """One line of metrics.jsonl. The test split is read in the last epoch alone."""
    config, data, current = trainer.config, trainer.data, trainer.epoch_roles
    totals, weights = trainer.observations.totals, trainer.record.weight.cpu().numpy()
    truth = data.clean_labels[data.train_idx]
    is_wrong, is_scored = (truth != data.train_labels) & (truth >= 0), truth >= 0
    num_active, num_routed = int(trainer.active.sum()), int(current.routed.sum())
    is_weighed = np.isfinite(weights)
    heldout_loss = trainer.record.loss.cpu().numpy()[current.routed]
    ess = effective_sample_frac(weights) if trainer.learns_weights else None
    freedom = freedom_of(trainer.weights)
    line: EpochMetrics = {
        "epoch": epoch, "seconds": None, "lr": trainer.classifier.optimizer.param_groups[0]["lr"],
        "train_loss": float(totals["loss"] / totals["samples"].clamp(min=1)),
        "validation_loss": float(heldout_loss.mean()) if num_routed and current.phase != "finish" else None,
        "clean_accuracy": accuracy(trainer, data.clean_idx),
        "test_accuracy": accuracy(trainer, data.test_idx) if epoch == config.epochs else None,
        "num_train": int((trainer.active & ~trainer.heldout).sum()), "num_validation": int(trainer.heldout.sum()),
        "num_routed": num_routed, "validation_share": num_routed / max(num_active, 1),
        "churn": current.num_new / num_routed if num_routed and current.phase == "game" else None,
        "effective_sample_frac": ess,
        "label_noise": trainer.noise.share,
        "weight_freedom": None if freedom is None or current.phase == "warmup" else float(freedom.value),
        "weight_min": float(weights[is_weighed].min()) if trainer.learns_weights and is_weighed.any() else None,
        "weight_max": float(weights[is_weighed].max()) if trainer.learns_weights and is_weighed.any() else None,
        "weight_mean_wrong": _mean(weights, is_weighed & is_wrong), "num_withheld": int(current.withheld.sum()),
        "weight_mean_right": _mean(weights, is_weighed & is_scored & ~is_wrong),
        "guard_wrong_share": _mean(is_wrong, current.routed & is_scored),
        "unguarded_wrong_share": _mean(is_wrong, current.unguarded & is_scored), "coverage": current.coverage,
        "events": [],
    }
    line["events"] = _events(trainer, line)
    return line


def _mean(values: np.ndarray, mask: np.ndarray) -> float | None:
    return float(values[mask].mean()) if mask.any() else None


def _events(trainer: Trainer, line: EpochMetrics) -> list[RunEvent]:
    """What a user should know of this epoch's split and weights."""
    current, is_last = trainer.epoch_roles, line["epoch"] == trainer.config.epochs
    events: list[RunEvent] = []
    if trainer.config.validation_source not in ("none", "clean", "proxy") and current.phase != "warmup":
        if not line["num_routed"]:
            events.append({"kind": "empty_validation"})
        elif len(np.unique(trainer.data.train_labels[current.routed])) == 1 < trainer.data.num_classes:
            events.append({"kind": "one_class"})
        if line["churn"] is not None and line["churn"] > 0.5 and current.num_new < line["num_routed"]:
            events.append({"kind": "churning", "share": line["churn"]})
    if trainer.best and trainer.best.epoch and is_last:
        events.append({"kind": "went_back", "epoch": trainer.best.epoch, "accuracy": trainer.best.accuracy})
    is_learning = trainer.config.weight_source in FROM_VALIDATION
    return [*events, *_weight_events(trainer, line, is_last)] if is_learning else events


def _weight_events(trainer: Trainer, line: EpochMetrics, is_last: bool) -> list[RunEvent]:
    """The same of learned weights alone."""
    if trainer.epoch_roles.phase == "warmup":
        return [{"kind": "never_left_warmup"}] if is_last else []
    events: list[RunEvent] = []
    freedom = line["weight_freedom"]
    is_idle = freedom is not None and freedom < IDLE_FREEDOM
    if is_last and freedom is not None and is_idle:
        events.append({"kind": "weights_idle", "freedom": freedom})
    ess = _learned_sample_frac(trainer)
    if ess is not None and ess < 0.3:
        events.append({"kind": "weights_collapse", "effective_sample_frac": ess})
    if ess is not None and ess > 0.9999 and not is_idle:
        events.append({"kind": "weights_constant"})
    return events


def _learned_sample_frac(trainer: Trainer) -> float | None:
    """Effective sample share of what was learned: weights without the classes' own."""
    own_N = trainer.class_weights.cpu().numpy()[trainer.data.train_labels]
    return effective_sample_frac(trainer.record.weight.cpu().numpy() / own_N)


def accuracy(trainer: Trainer, idx: np.ndarray) -> float | None:
    """Share of right predictions on these manifest rows; None without rows."""
    if not len(idx):
        return None
    logits, _ = trainer.predict(idx)
    return float((logits.argmax(1).cpu().numpy() == trainer.data.labels[idx]).mean())


def write_predictions(trainer: Trainer, run: RunDir) -> None:
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
    if distributed.is_rank_zero():
        run.write_predictions(everything.astype(columns))
