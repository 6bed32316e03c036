"""Train-twice, first part: cross-fitted margins that rank the samples of lrw_easy and lrw_hard."""

from pathlib import Path

import numpy as np
import torch

from engine import roles
from engine.config import RunConfig
from engine.data import Dataset
from engine.losses import margins
from engine.manifest import ManifestError
from engine.rundir import RunDir, write_atomic
from engine.status import Status
from engine.streams import stream
from engine.trainer import Trainer


def rank_samples(config: RunConfig, data: Dataset, run: RunDir, status: Status) -> tuple[np.ndarray, np.ndarray]:
    """Cross-fitted margins (N,) and probabilities (N, C) from plain training on all other folds; NaN where excluded.

    Train-twice (Jain et al. 2024, section 3), cross-fitted: a sample's own training would inflate its margin. Each
    finished fold is kept beside the checkpoints, so a killed run repeats at most one. Raises ManifestError where a fold
    leaves nobody to train on.
    """
    plain = RunConfig.from_dict(config.to_dict() | {"method": "erm", "validation": None, "select_best": False})
    rng = stream(config.seed, "folds")
    folds = roles.rotation_groups(data.num_train, config.folds, rng)
    probs_NC = np.full((data.num_train, data.num_classes), np.nan, dtype=np.float32)
    for fold in range(config.folds):
        path = run.checkpoint_dir / f"fold-{fold}.npy"
        rows = np.flatnonzero((folds == fold) & ~data.excluded)
        if not len(rows):
            continue
        if (data.excluded | (data.pins == -1) | (folds == fold)).all():
            raise ManifestError(f"a ranking needs samples to train on outside each fold; fold {fold + 1} of "
                                f"{config.folds} leaves none of {int((~data.excluded).sum())} usable samples; unpin "
                                "some, or choose a method that does not rank")
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
