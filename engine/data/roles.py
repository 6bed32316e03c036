"""The samples of one role of a run as a torch data set, for training elsewhere: picture, class, weight.

Under the decisions in force now, as an export has them: pins and exclusions come before what the run did, and a sample
that only rested from training in its last epoch is one of training.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image
from torch.nn.functional import cross_entropy

from engine.contract.errors import UserError
from engine.contract.manifest import DECISIONS_NAME, image_root, read_decisions, read_info, read_manifest, resolve_image
from engine.contract.pictures.image_files import open_image
from engine.contract.pixels import to_rgb
from engine.contract.run_dir import RunDir

Transform = Callable[[Image.Image], Any]


class RoleError(UserError):
    """A run has no samples of a role. One line."""


class RoleDataset(torch.utils.data.Dataset[tuple[Any, int, float]]):
    """N samples: [i] is (the upright RGB picture, transformed; the index of its class in the project; its weight)."""

    def __init__(self, project: str | Path, run: str, role: Literal["train", "validation"],
                 transform: Transform | None = None) -> None:
        """transform: picture (PIL) -> what [i] has first; None: the picture.

        Raises ManifestError or RunDirError for what cannot be read, RoleError where no sample has the role.
        """
        folder = Path(project)
        info = read_info(folder)
        rows = read_manifest(folder, ["path", "image"]).set_index("sample_id")
        signals = RunDir.of(folder, run).read_signals().set_index("sample_id")
        signals = signals[signals.index.isin(rows.index[rows["split"] == "train"])]
        decisions = read_decisions(folder / DECISIONS_NAME).set_index("sample_id").reindex(signals.index)
        roles = signals["role"].astype(object).mask(signals["is_resting"].to_numpy(dtype=bool), "train")
        roles = decisions["pin"].astype(object).where(decisions["pin"].notna(), roles)
        labels = decisions["label"].astype(object).where(decisions["label"].notna(), rows["given_label"])
        is_kept = roles.eq(role) & ~decisions["excluded"].eq(True) & labels.isin(info.classes)
        if not is_kept.any():
            raise RoleError(f"a data set of a role needs samples; run {run} has none of role {role!r}; choose "
                            "another run, or pin samples there")
        self.classes = info.classes
        self.sample_ids = np.asarray(signals.index[is_kept], dtype=object)
        """(N,) str."""
        self.labels = np.asarray([info.classes.index(label) for label in labels[is_kept]], dtype=np.int64)
        """(N,) int64."""
        self.weights = signals.loc[is_kept, "weight"].fillna(1.0).to_numpy(dtype=np.float32)
        """(N,) float32, 0 or more: the run's weights in its last epoch, 1 where it had none."""
        self._rows, self._root, self._transform = rows.loc[self.sample_ids], image_root(folder, info), transform

    def __len__(self) -> int:
        return len(self.sample_ids)

    def __getitem__(self, idx: int) -> tuple[Any, int, float]:
        """Raises ImageError, ManifestError or OSError for a picture that cannot be read."""
        row = self._rows.iloc[idx]
        held = row.get("image")
        data = held.get("bytes") if isinstance(held, dict) else None
        with open_image(data if data is not None else resolve_image(self._root, row["path"])) as image:
            picture = to_rgb(image)
        return (self._transform(picture) if self._transform else picture), int(self.labels[idx]), \
            float(self.weights[idx])


def weighted_loss(logits_BC: torch.Tensor, labels_B: torch.Tensor, weights_B: torch.Tensor) -> torch.Tensor:
    """Mean over a batch of weight times cross-entropy, as MOLERE trains: weights have mean 1 over all samples, so that
    a batch of light ones counts less. logits_BC: (B, C) float; labels_B: (B,) int64; weights_B: (B,) 0 or more."""
    losses_B = cross_entropy(logits_BC, labels_B, reduction="none")
    return (weights_B.to(losses_B.dtype) * losses_B).mean()
