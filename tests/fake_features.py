"""Features of a fake project: each class its own direction, so that a head learns in an epoch what an image says."""

from pathlib import Path

import numpy as np

from engine.contract.feature_dir import FeatureDir, write_features
from engine.contract.manifest import read_manifest


def make_features(project: Path, name: str = "own", num_features: int = 12, missing: tuple[str, ...] = (),
                  spread: float = 0.5) -> FeatureDir:
    """features/NAME/ of every sample but those of the ids `missing`: its true class's direction and noise."""
    rows = read_manifest(project, ["clean_label"])
    rng = np.random.default_rng(0)
    codes, names = rows["clean_label"].factorize()
    values = np.eye(max(num_features, len(names)))[codes, :num_features] + spread * rng.normal(
        size=(len(rows), num_features))
    folder = FeatureDir.of(project, name)
    write_features(folder, {"kind": "imported", "backbone": "fake", "num_features": num_features},
                   rows["sample_id"].tolist(), values, ~rows["sample_id"].isin(missing).to_numpy())
    return folder
