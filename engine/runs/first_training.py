"""Methods that train twice: what a first training says of every sample, and the second training that goes by it.

    cross-fitted   lrw_easy, lrw_hard, rho, kfold, oof_exclude: engine.runs.cross_fitting
    short          jtt: plain training on all, stopped early

Just Train Twice (Liu et al. 2021, "Just train twice: Improving group robustness without training group information",
ICML, algorithm 1). Errors are those on its own training samples, as there. Ours: they weigh error_weight instead of
being drawn that often, and the first training follows the course of the learning rate of the whole run up to where it
stops. N samples, C classes.
"""

import math
from pathlib import Path

import numpy as np
import torch

from engine.contract.config import RunConfig
from engine.contract.run_dir import RunDir
from engine.contract.work_dir import open_array, write_array
from engine.data.dataset import Dataset
from engine.molere.weight_sources import Given
from engine.runs.cross_fitting import (
    OnFoldStep,
    cross_fitted_margins,
    cross_fitted_probabilities,
    irreducible_losses,
    plain_settings,
)
from engine.runs.status import Follower, Status
from engine.runtime import distributed
from engine.training.trainer import Trainer

EARLY_NAME = "early.npy"


def trained_first(config: RunConfig, data: Dataset, run: RunDir, status: Status | Follower) -> Trainer:
    """The trainer of a method that trains twice, after its first training, which is kept beside the checkpoints."""
    probs_NC = first_probabilities(
        config, data, lambda message, step: status.tick(stage="ranking samples", message=message, step=step),
        run.checkpoint_dir)
    if not distributed.is_rank_zero():
        return second_trainer(config, data, probs_NC)
    how = f"{config.num_folds}-fold cross-fitted" if config.is_cross_fitted else "a short"
    run.log(f"ranked {int(np.isfinite(probs_NC[:, 0]).sum())} samples by {how} training")
    return second_trainer(config, data, probs_NC)


def matters(config: RunConfig) -> list[object]:
    """All of a config that its first training depends on: configs that agree in it have one first training."""
    if config.is_cross_fitted:
        return [plain_settings(config), config.num_folds]
    return [plain_settings(config), "short", num_first_epochs(config)]


def first_probabilities(config: RunConfig, data: Dataset, on_step: OnFoldStep, keep: Path | None = None) -> np.ndarray:
    """Probabilities (N, C) float32 by the first training; NaN where excluded. keep: a folder for what is finished of
    it. Raises ManifestError where a fold leaves nobody to train on."""
    if config.is_cross_fitted:
        return cross_fitted_probabilities(config, data, on_step, keep)
    return early_probabilities(config, data, on_step, keep)


def num_first_epochs(config: RunConfig) -> int:
    """Epochs of a short first training, at least one."""
    return max(1, math.ceil(config.controls.first_share * config.epochs))


def early_probabilities(config: RunConfig, data: Dataset, on_step: OnFoldStep, keep: Path | None) -> np.ndarray:
    """Probabilities (N, C) float32 of a plain training stopped after num_first_epochs; NaN where excluded."""
    path = keep / EARLY_NAME if keep else None
    if path and path.exists():
        return np.array(open_array(path))
    trainer = Trainer(RunConfig.from_dict({**plain_settings(config), "method": "erm"}), data)
    for epoch in range(1, num_first_epochs(config) + 1):
        message = f"first training, epoch {epoch} of {num_first_epochs(config)}"
        trainer.run_epoch(epoch, lambda step, _, message=message: on_step(message, step))  # type: ignore[misc]
    rows = np.flatnonzero(~data.excluded)
    probs_NC = np.full((data.num_train, data.num_classes), np.nan, dtype=np.float32)
    probs_NC[rows] = torch.softmax(trainer.predict(data.train_idx[rows])[0], 1).cpu().numpy()
    if path:
        write_array(path, probs_NC)
    return probs_NC


def second_trainer(config: RunConfig, data: Dataset, probs_NC: np.ndarray) -> Trainer:
    """The trainer of the second training. probs_NC: first_probabilities of the config."""
    labels_N, given = data.train_labels, None
    if config.weight_source == "errors":
        given = _given(data, error_weights(probs_NC, labels_N, config.controls.error_weight))
    if config.weight_source == "confident":
        may_go_N = ~data.excluded & (data.pins == 0)
        given = _given(data, confident_weights(probs_NC, labels_N, may_go_N, config.controls.excluded_share))
    margins_N = cross_fitted_margins(probs_NC, data)
    trainer = Trainer(config, data, ranking=margins_N, irreducible=irreducible_losses(probs_NC, data), given=given)
    if config.is_cross_fitted:
        trainer.record.set_heldout(probs_NC, np.isfinite(margins_N), labels_N)
    return trainer


def _given(data: Dataset, weights_N: np.ndarray) -> Given:
    return Given.of_weights(weights_N, ~data.excluded & (data.pins != -1))


def error_weights(probs_NC: np.ndarray, labels_N: np.ndarray, error_weight: float) -> np.ndarray:
    """(N,): error_weight of samples whose most probable class is not their label, 1 of the others."""
    return np.where(np.nan_to_num(probs_NC).argmax(1) != labels_N, error_weight, 1.0)


def confident_weights(probs_NC: np.ndarray, labels_N: np.ndarray, may_go_N: np.ndarray, share: float) -> np.ndarray:
    """(N,): 0 of the share of those who may go, (N,) bool, whose own label is the least probable, 1 of the others. Of
    equal ones the earlier go first."""
    own_N = np.where(may_go_N, probs_NC[np.arange(len(labels_N)), np.maximum(labels_N, 0)], np.inf)
    weights_N = np.ones(len(labels_N))
    weights_N[np.argsort(own_N, kind="stable")[:round(share * int(may_go_N.sum()))]] = 0.0
    return weights_N
