"""Cross-fitted predictions from plain training: the margins that rank lrw_easy and lrw_hard, rho's irreducible losses.

Writes no file of a run; what a caller wants kept goes where it says.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from engine.contract.config import RunConfig
from engine.contract.manifest import ManifestError
from engine.contract.work_dir import open_array, write_array
from engine.data.dataset import Dataset
from engine.model.losses import cross_entropy, margins
from engine.molere import routing
from engine.runtime.rng import stream
from engine.training.trainer import Trainer

NOT_OF_PLAIN_TRAINING = ("method", "validation", "select_best", "guard", "val_fraction", "warmup_fraction",
                         "finish_fraction", "rotation_groups", "folds", "rho_fraction", "proxy_fraction", "proxy_value",
                         "reweighter", "splitter", "controls", "checkpoint_seconds", "tracker", "embedding")
"""Settings that plain training ignores; folds counts by its own number."""
OnFoldStep = Callable[[str, int], None]
"""Called after each step with (fold and epoch in words, steps done in the epoch); raises to stop the training there."""


def plain_settings(config: RunConfig) -> dict[str, object]:
    """The settings that plain training heeds: configs that agree in these and in num_folds have one ranking."""
    return {name: value for name, value in config.to_dict().items() if name not in NOT_OF_PLAIN_TRAINING}


def cross_fitted_probabilities(config: RunConfig, data: Dataset, on_step: OnFoldStep,
                               keep: Path | None = None) -> np.ndarray:
    """Probabilities (N, C) float32 from plain training on all other folds; NaN where excluded.

    Train-twice (Jain et al. 2024, section 3), cross-fitted: a sample's own training would inflate its margin. With two
    folds it is RHO-loss without holdout data (Mindermann et al. 2022). keep: a folder for finished folds,
    so that a killed process repeats at most one. Raises ManifestError where a fold leaves nobody to train on.
    """
    plain = RunConfig.from_dict({**plain_settings(config), "method": "erm"})
    folds = routing.rotation_groups(data.num_train, config.num_folds, stream(config.seed, "folds"), data.siblings)
    probs_NC = np.full((data.num_train, data.num_classes), np.nan, dtype=np.float32)
    for fold in range(config.num_folds):
        rows = np.flatnonzero((folds == fold) & ~data.excluded)
        if not len(rows):
            continue
        if (data.excluded | (data.pins == -1) | (folds == fold)).all():
            raise ManifestError(f"a ranking needs samples to train on outside each fold; fold {fold + 1} of "
                                f"{config.num_folds} leaves none of {int((~data.excluded).sum())} usable samples; "
                                "unpin some, or choose a method that does not rank")
        path = keep / f"fold-{fold}.npy" if keep else None
        if path and path.exists():
            probs_NC[rows] = open_array(path)
            continue
        trainer = Trainer(plain, data, is_active=folds != fold)
        for epoch in range(1, plain.epochs + 1):
            message = f"fold {fold + 1} of {config.num_folds}, epoch {epoch} of {plain.epochs}"
            trainer.run_epoch(epoch, lambda step, _, message=message: on_step(message, step))  # type: ignore[misc]
        logits, _ = trainer.predict(data.train_idx[rows])
        probs_NC[rows] = torch.softmax(logits, 1).cpu().numpy()
        if path:
            write_array(path, probs_NC[rows])
    return probs_NC


def cross_fitted_margins(probs_NC: np.ndarray, data: Dataset) -> np.ndarray:
    """Probabilistic margins (N,) in [-1, 1] of cross-fitted probabilities, low is hard; NaN where excluded."""
    return margins(_logits(probs_NC), _labels(data)).numpy()


def irreducible_losses(probs_NC: np.ndarray, data: Dataset) -> np.ndarray:
    """Cross-entropy (N,) of cross-fitted probabilities, in [0, 27.7]: what training on others does not bring down; NaN
    where excluded."""
    return cross_entropy(_logits(probs_NC), _labels(data)).numpy()


def _logits(probs_NC: np.ndarray) -> torch.Tensor:
    return torch.log(torch.from_numpy(probs_NC).clamp(min=1e-12))


def _labels(data: Dataset) -> torch.Tensor:
    return torch.from_numpy(np.maximum(data.train_labels, 0))
