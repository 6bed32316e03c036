"""The neighbours of one sample, read alone: of a million samples' 90 MB no more than one row is touched."""

import numpy as np

from engine.contract.run_dir import RunDir

NEAR_ZERO = 1e-3
"""Cosine distance up to which two samples are near-duplicates to the classifier; half floats are exact enough there."""


def neighbours_of(run: RunDir, row: int) -> tuple[np.ndarray, np.ndarray, int] | None:
    """(indices (k,) into signals.parquet's rows, cosine distances (k,) float64, N) of one row of the run's signals,
    nearest first; None until they are made, or where the run did not know the sample (row < 0)."""
    records = run.open_neighbours() if row >= 0 else None
    if records is None:
        return None
    one = records[row]
    return one["rows"], one["distances"].astype(np.float64), len(records)
