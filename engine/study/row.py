"""One run of a study, in process and without a run directory: train, and measure all that a row holds.

N training samples, T test samples, C classes.
"""

import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import cast

import numpy as np
import torch

from engine.contract.config import RunConfig
from engine.contract.methods import METHODS
from engine.contract.statistics.measures import SMALLEST_GROUP, detection, worst_group
from engine.contract.studies.study_row import GroupFigures, LabelFigures, LastFigures, RunFigures
from engine.data.dataset import Dataset
from engine.model.losses import margins
from engine.runs.discriminant import fit_discriminant
from engine.runs.epoch_report import measure
from engine.runs.first_training import second_trainer
from engine.training.trainer import Trainer

CURVE = ("train_loss", "churn", "validation_loss", "rest_loss", "effective_sample_frac", "guard_wrong_share",
         "clean_accuracy")
Epoch = Mapping[str, float | None]
"""Figures of one epoch: engine.runs.epoch_report.measure's and rest_loss."""
OnTick = Callable[[int, int, int], None]
"""Called after each step with (epoch, steps done, steps in the epoch); raises to stop the training there."""


def train_and_measure(config: RunConfig, data: Dataset, probs_NC: np.ndarray | None,
                      on_tick: OnTick) -> tuple[RunFigures, np.ndarray]:
    """(figures of a row, test margins (T,) in [-1, 1]). probs_NC: of the first training (N, C), for methods that train
    twice."""
    trainer = Trainer(config, data) if probs_NC is None else second_trainer(config, data, probs_NC)
    lines: list[Epoch] = []
    wall = cpu = 0.0
    for epoch in range(1, config.epochs + 1):
        wall_before, cpu_before = time.monotonic(), time.process_time()
        if METHODS[config.method].is_head_only:
            fit_discriminant(trainer)
        else:
            trainer.run_epoch(epoch, lambda step, total, epoch=epoch: on_tick(epoch, step, total))  # type: ignore[misc]
        if trainer.device.type == "cuda":
            torch.cuda.synchronize()
        wall, cpu = wall + time.monotonic() - wall_before, cpu + time.process_time() - cpu_before
        lines.append(cast(Epoch, {**measure(trainer, epoch), "rest_loss": _rest_loss(trainer)}))
    test, test_margins = _test_figures(trainer)
    row: RunFigures = {
        "method": config.method, **_last_figures(lines), **test, **label_figures(trainer), "seconds": wall,
        "cpu_seconds": cpu, "num_steps": config.epochs * trainer.num_steps, "epochs": config.epochs,
        "device": str(trainer.device), "curve": {name: [line[name] for line in lines] for name in CURVE}}
    return row, test_margins


def _rest_loss(trainer: Trainer) -> float | None:
    """Mean held-out loss of who rested in this epoch by rotation alone; None where nobody did."""
    resting = trainer.epoch_roles.resting
    return float(trainer.record.loss.cpu().numpy()[resting].mean()) if resting.any() else None


def _last_figures(lines: list[Epoch]) -> LastFigures:
    """Figures of the last epoch; churn and validation_loss of the last one that has them, since a run may end by
    training on all."""
    last = lines[-1]
    known = {name: [line for line in lines if line[name] is not None]
             for name in ("churn", "validation_loss", "rest_loss")}
    late = known["churn"][-max(1, len(known["churn"]) // 3):]
    same = ("test_accuracy", "clean_accuracy", "train_loss", "effective_sample_frac", "guard_wrong_share",
            "unguarded_wrong_share", "coverage", "num_routed")
    return cast(LastFigures, {
        **{name: last[name] for name in same},
        **{name: found[-1][name] if found else None for name, found in known.items()},
        "weight_right": last["weight_mean_right"], "weight_wrong": last["weight_mean_wrong"],
        "churn_late": float(np.mean([line["churn"] for line in late])) if late else None,
        "routed_loss_then": known["rest_loss"][-1]["validation_loss"] if known["rest_loss"] else None})


def _test_figures(trainer: Trainer) -> tuple[GroupFigures, np.ndarray]:
    """Accuracies of the test split by class and group, and its margins (T,)."""
    data, idx = trainer.data, trainer.data.test_idx
    if not len(idx):
        return group_figures(np.zeros(0, dtype=bool), np.zeros(0, dtype=object), None), np.zeros(0)
    logits, _ = trainer.predict(idx)
    labels = data.labels[idx]
    is_right = logits.argmax(1).cpu().numpy() == labels
    names = np.asarray(data.classes, dtype=object)[labels]
    test_margins = margins(logits, torch.from_numpy(labels).to(logits.device)).cpu().numpy()
    return group_figures(is_right, names, data.groups[idx] if data.groups is not None else None), test_margins


def group_figures(is_right: np.ndarray, classes: np.ndarray, groups: np.ndarray | None) -> GroupFigures:
    """Accuracy by class and by group, their mean and worst. All (T,); groups may hold nulls, whose rows are left out,
    as are groups of fewer than SMALLEST_GROUP samples."""
    by_class = {str(c): float(is_right[classes == c].mean()) for c in sorted(set(classes))}
    sizes = Counter(g for g in groups if isinstance(g, str)) if groups is not None else Counter[str]()
    names = sorted(sizes)
    accuracies = [float(is_right[groups == g].mean()) for g in names]
    worst = worst_group(np.array(accuracies), np.array([sizes[g] for g in names]))
    return {"balanced_accuracy": float(np.mean(list(by_class.values()))) if by_class else None,
            "worst_class_accuracy": min(by_class.values()) if by_class else None,
            "worst_group_accuracy": None if worst is None else accuracies[worst],
            "worst_group": None if worst is None else names[worst], "class_accuracies": by_class,
            "group_accuracies": {g: accuracy for g, accuracy in zip(names, accuracies, strict=True)
                                 if sizes[g] >= SMALLEST_GROUP}}


def label_figures(trainer: Trainer) -> LabelFigures:
    """How well label_quality, mean_margin and p_train tell wrong labels (low is wrong), where the truth is known."""
    data = trainer.data
    truth = data.clean_labels[data.train_idx]
    record = trainer.record
    t = {"margin_sum": record.margin_sum.cpu().numpy(), "train_epochs": record.train_epochs.cpu().numpy(),
         "p_train": record.p_train.cpu().numpy()}
    probs_NC, is_known = trainer.record.heldout_predictions()
    quality = np.where(is_known, probs_NC[np.arange(len(truth)), np.maximum(data.train_labels, 0)], np.nan)
    mean_margin = np.where(t["train_epochs"] > 0, t["margin_sum"] / np.maximum(t["train_epochs"], 1), np.nan)
    found: dict[str, float | None] = {}
    for name, values in (("label_quality", quality), ("mean_margin", mean_margin), ("p_train", t["p_train"])):
        rows = trainer.active & (truth >= 0) & np.isfinite(values)
        scores = detection(values[rows], (truth != data.train_labels)[rows])
        found |= {f"{name}_{figure}": value for figure, value in scores._asdict().items()}
    return cast(LabelFigures, found)
