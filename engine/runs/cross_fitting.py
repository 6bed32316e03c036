"""Cross-fitted predictions from plain training: the margins that rank lrw_easy and lrw_hard, rho's irreducible losses.

Writes no file of a run; what a caller wants kept goes where it says.
"""

import time
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
from engine.runs.status import Cancelled
from engine.runtime import distributed
from engine.runtime.rng import stream
from engine.training.trainer import Trainer

NOT_OF_PLAIN_TRAINING = ("method", "validation", "select_best", "guard", "val_fraction", "warmup_fraction",
                         "finish_fraction", "rotation_groups", "folds", "rho_fraction", "proxy_fraction", "proxy_value",
                         "reweighter", "splitter", "controls", "checkpoint_seconds", "tracker", "embedding")
"""Settings that plain training ignores; folds counts by its own number."""
STOP_SECONDS = 0.3
"""Between two looks at what other processes leave."""
OnFoldStep = Callable[[str, int], None]
"""Called after each step with (fold and epoch in words, steps done in the epoch); raises to stop the training there."""


def plain_settings(config: RunConfig) -> dict[str, object]:
    """The settings that plain training heeds: configs that agree in these and in num_folds have one ranking."""
    return {name: value for name, value in config.to_dict().items() if name not in NOT_OF_PLAIN_TRAINING}


def cross_fitted_probabilities(config: RunConfig, data: Dataset, on_step: OnFoldStep,
                               keep: Path | None = None) -> np.ndarray:
    """Probabilities (N, C) float32 from plain training on all other folds; NaN where excluded.

    Train-twice (Jain et al. 2024, section 3), cross-fitted: a sample's own training would inflate its margin. With two
    folds it is RHO-loss without holdout data (Mindermann et al. 2022). keep: a folder for finished folds, so that a
    killed process repeats at most one; several processes share them, each fold trained by one. Raises ManifestError
    where a fold leaves nobody to train on.
    """
    plain = RunConfig.from_dict({**plain_settings(config), "method": "erm"})
    folds = routing.rotation_groups(data.num_train, config.num_folds, stream(config.seed, "folds"), data.siblings)
    rows_of = {fold: np.flatnonzero((folds == fold) & ~data.excluded) for fold in range(config.num_folds)}
    rows_of = {fold: rows for fold, rows in rows_of.items() if len(rows)}
    for fold in rows_of:
        if (data.excluded | (data.pins == -1) | (folds == fold)).all():
            raise ManifestError(f"a ranking needs samples to train on outside each fold; fold {fold + 1} of "
                                f"{config.num_folds} leaves none of {int((~data.excluded).sum())} usable samples; "
                                "unpin some, or choose a method that does not rank")

    def predicted(fold: int, on_step: OnFoldStep) -> np.ndarray:
        trainer = Trainer(plain, data, is_active=folds != fold)
        for epoch in range(1, plain.epochs + 1):
            message = f"fold {fold + 1} of {config.num_folds}, epoch {epoch} of {plain.epochs}"
            trainer.run_epoch(epoch, lambda step, _, message=message: on_step(message, step))  # type: ignore[misc]
        logits, _ = trainer.predict(data.train_idx[rows_of[fold]])
        return torch.softmax(logits, 1).cpu().numpy()

    if distributed.size() > 1:
        assert keep is not None, "several processes hand each other their folds as files"
        _by_all(list(rows_of), predicted, on_step, keep)
    probs_NC = np.full((data.num_train, data.num_classes), np.nan, dtype=np.float32)
    for fold, rows in rows_of.items():
        path = _path(keep, fold) if keep else None
        if path and path.exists():
            probs_NC[rows] = open_array(path)
            continue
        probs_NC[rows] = predicted(fold, on_step)
        if path:
            write_array(path, probs_NC[rows])
    return probs_NC


def _path(keep: Path, fold: int) -> Path:
    return keep / f"fold-{fold}.npy"


def _by_all(folds: list[int], predicted: Callable[[int, OnFoldStep], np.ndarray], on_step: OnFoldStep,
            keep: Path) -> None:
    """Leave the file of every fold: each process trains its share of those that are missing, by itself. What the first
    is asked to cancel the others see in a file."""
    rank, size, stop = distributed.rank(), distributed.size(), keep / "stop"
    if rank == 0:
        keep.mkdir(parents=True, exist_ok=True)
        stop.unlink(missing_ok=True)
    missing = distributed.broadcast_object([fold for fold in folds if not _path(keep, fold).exists()])
    looked = 0.0

    def watched(message: str, step: int) -> None:
        nonlocal looked
        if rank == 0:
            on_step(message, step)
        elif time.monotonic() - looked > STOP_SECONDS:
            looked = time.monotonic()
            if stop.exists():
                raise Cancelled

    is_cancelled = False
    try:
        with distributed.apart():
            for fold in missing[rank::size]:
                write_array(_path(keep, fold), predicted(fold, watched))
        while rank == 0 and not all(_path(keep, fold).exists() for fold in missing):
            on_step("waiting for the folds of the other processes", 0)
            time.sleep(STOP_SECONDS)
    except Cancelled:
        is_cancelled = True
        if rank == 0:
            stop.touch()
    if distributed.is_asked(is_cancelled):
        raise Cancelled


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
