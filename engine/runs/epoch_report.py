"""What a run tells of itself: metrics.jsonl's line, signals.parquet, history/ and predictions.parquet."""

from typing import Any

import numpy as np
import pandas as pd
import torch

from engine.contract.run_dir import RunDir
from engine.model.losses import margins
from engine.model.record import bimodality, effective_sample_size
from engine.molere import routing
from engine.molere.reweighter import LUMPS
from engine.runtime import distributed
from engine.training.trainer import Trainer


def write_epoch(trainer: Trainer, run: RunDir, epoch: int) -> None:
    """history/ and signals.parquet of the epoch that just ended."""
    data, current = trainer.data, trainer.epoch_roles
    history, alone = trainer.record.history(trainer.role_codes(trainer.heldout), current.routed), _alone(trainer)
    # Of the pinned: what the splitter alone would have said. While a run finishes it is not asked any more.
    is_pinned = data.pins != 0
    history["p_train"][is_pinned] = np.nan if current.is_finish else alone[is_pinned]
    run.write_history(epoch, history)
    probs_NC, is_known = trainer.record.heldout_predictions()
    suggestions = routing.confident_suggestion(probs_NC, data.train_labels, is_known)
    run.write_probabilities(np.where(is_known[:, None], probs_NC, np.nan))
    run.write_signals(trainer.record.frame(data.sample_ids[data.train_idx], data.train_labels,
                                           trainer.role_codes(trainer.heldout | current.routed),
                                           _why(trainer, suggestions, is_known, alone), suggestions, data.classes))


def _alone(trainer: Trainer) -> np.ndarray:
    """p_train (N,) as the splitter has it without pins; NaN where there is no splitter."""
    if trainer.splitting is None:
        return np.full(trainer.data.num_train, np.nan)
    return trainer.splitting.score(trainer.model.head, trainer.record, with_pins=False).cpu().numpy()


def _why(trainer: Trainer, suggestions: np.ndarray, is_known: np.ndarray, alone: np.ndarray) -> np.ndarray:
    """One note a sample on its role: decision, guard, coverage, rotation or routing."""
    data, current = trainer.data, trainer.epoch_roles
    source = "random" if current.is_warmup and trainer.splitting else trainer.config.validation_source
    among = "its class" if trainer.config.guard == "off" else "those of its class that the guard lets pass"
    routed = {"learned": f"routed by the splitter: among the lowest p_train of {among}",
              "hard": f"routed by rank: among the lowest cross-fitted margins of {among}",
              "easy": f"routed by rank: among the highest cross-fitted margins of {among}"}
    why = np.full(data.num_train, "", dtype=object)
    why[current.kept_by_coverage] = "kept in training by coverage: too many of its neighbours are in validation"
    for row in np.flatnonzero(current.withheld):
        says = f"held-out predictions confidently say {data.classes[suggestions[row]]}" if suggestions[row] >= 0 else \
            "held-out predictions do not support its label" if is_known[row] else "it has no held-out prediction yet"
        why[row] = f"withheld by the guard: {says}"
    why[current.resting] = "rests this epoch by rotation, to collect a held-out prediction"
    why[current.routed] = routed.get(source, "routed by a random split")
    if current.is_finish:
        why[current.routed & ~trainer.heldout] += f"; trained on since epoch {trainer.config.first_finish_epoch}"
    for pin, words in ((-1, "pinned to validation"), (1, "pinned to training")):
        for row in np.flatnonzero(data.pins == pin):
            says = f"; the splitter alone gives it p_train {alone[row]:.2f}" if np.isfinite(alone[row]) else ""
            why[row] = words + says
    why[~trainer.active] = data.notes[~trainer.active]
    return why


def measure(trainer: Trainer, epoch: int) -> dict[str, Any]:
    """One line of metrics.jsonl. The test split is read in the last epoch alone."""
    config, data, current = trainer.config, trainer.data, trainer.epoch_roles
    t, totals = trainer.record.tensors, trainer.totals
    weights = t["weight"].cpu().numpy()
    truth = data.clean_labels[data.train_idx]
    is_wrong, is_scored = (truth != data.train_labels) & (truth >= 0), truth >= 0
    num_active, num_routed = int(trainer.active.sum()), int(current.routed.sum())
    is_weighed = np.isfinite(weights)
    is_splitting = not current.is_warmup and not current.is_finish
    heldout_loss = t["loss"].cpu().numpy()[current.routed]
    ess = effective_sample_size(weights) if trainer.learns_weights else None
    line: dict[str, Any] = {
        "epoch": epoch, "seconds": None, "lr": trainer.classifier.optimizer.param_groups[0]["lr"],
        "train_loss": float(totals["loss"] / totals["samples"].clamp(min=1)),
        "validation_loss": float(heldout_loss.mean()) if num_routed and not current.is_finish else None,
        "clean_accuracy": accuracy(trainer, data.clean_idx),
        "test_accuracy": accuracy(trainer, data.test_idx) if epoch == config.epochs else None,
        "num_train": int((trainer.active & ~trainer.heldout).sum()), "num_validation": int(trainer.heldout.sum()),
        "num_routed": num_routed, "validation_share": num_routed / max(num_active, 1),
        "churn": current.num_new / num_routed if num_routed and is_splitting else None,
        "effective_sample_size": ess,
        "margin_bimodality": bimodality(t["margin"].cpu().numpy()[trainer.active]),
        "weight_freedom": trainer.weighting.freedom if trainer.weighting and not current.is_warmup else None,
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
    needs_validation = trainer.config.validation_source not in ("none", "clean", "proxy")
    if needs_validation and not current.is_warmup:
        if not line["num_routed"]:
            events.append("empty validation: no sample was routed, so weights were not updated")
        elif len(np.unique(trainer.data.train_labels[current.routed])) == 1 < trainer.data.num_classes:
            events.append("one class: all validation samples are of one class")
        if line["churn"] is not None and line["churn"] > 0.5 and current.num_new < line["num_routed"]:
            events.append(f"churning: {line['churn']:.0%} of the routed samples are new since the epoch before")
    if trainer.best and trainer.best.epoch and line["epoch"] == trainer.config.epochs:
        events.append(f"early stopping: went back to the classifier of epoch {trainer.best.epoch}, validation accuracy "
                      f"{trainer.best.accuracy:.3f}")
    if trainer.learns_weights and current.is_warmup and line["epoch"] == trainer.config.epochs:
        events.append("never left warm-up: no weight was ever learned; raise epochs or lower warmup_fraction")
    is_held = line["weight_freedom"] is not None and line["weight_freedom"] < 1e-6
    if is_held and line["margin_bimodality"] < LUMPS[0] and line["epoch"] == trainer.config.epochs:
        events.append(f"weights were held near 1: margins lie in one heap (bimodality {line['margin_bimodality']:.2f}, "
                      f"below {LUMPS[0]}), so the classifier cannot tell wrong labels from hard ones yet")
    ess = _learned_sample_size(trainer) if trainer.learns_weights and not current.is_warmup else None
    if ess is not None and ess < 0.3:
        events.append(f"weights collapse onto a few samples: effective sample size {ess:.2f} apart from class sizes")
    if ess is not None and ess > 0.9999:
        events.append("learned weights are constant: they change nothing")
    return events


def _learned_sample_size(trainer: Trainer) -> float | None:
    """Effective sample size of what was learned: weights without the classes' own."""
    own_N = trainer.class_weights.cpu().numpy()[trainer.data.train_labels]
    return effective_sample_size(trainer.record.tensors["weight"].cpu().numpy() / own_N)


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
