"""The evidence against labels as the columns of a regression: standardised, block of rows by block.

    N samples in the order of the sample table, K pieces of evidence
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from curation.audit.suspects.evidence import Evidence, log_odds

NAMES = ("own", "dynamics", "rival", "heldout", "mean_margin", "loss", "neighbours")
ROWS_AT_ONCE = 262_144
"""A block's temporary arrays are small, however many samples there are."""


def is_judged(evidence: Evidence) -> np.ndarray:
    """(N,) bool: there is a label, and evidence that alone ranks it."""
    found: np.ndarray = (evidence.given >= 0) & (np.isfinite(evidence.own_odds)
                                                 | np.isfinite(evidence.columns["dynamics"]))
    return found


@dataclass(frozen=True, slots=True)
class Design:
    """The evidence standardised over the active samples, in the order of NAMES; high speaks against the label."""

    evidence: Evidence
    mean_K: np.ndarray
    spread_K: np.ndarray
    """Infinite where all are alike or none is known, so that they count for nothing."""

    @classmethod
    def of(cls, evidence: Evidence, is_active: np.ndarray) -> "Design":
        """Means and spreads over blocks of rows, put together as Chan, Golub and LeVeque (1983) do. is_active: (N,)."""
        num_K, mean_K, squares_K = np.zeros((3, len(NAMES)))
        for part in blocks(len(is_active)):
            values = _against(evidence, part).astype(np.float64)
            usable = np.isfinite(values) & is_active[part, None]
            more_K, values = usable.sum(axis=0), np.where(usable, values, 0.0)
            means_K = values.sum(axis=0) / np.maximum(more_K, 1)
            squares_K += (np.where(usable, values - means_K, 0.0) ** 2).sum(axis=0)
            total_K, apart_K = np.maximum(num_K + more_K, 1), means_K - mean_K
            squares_K += apart_K ** 2 * num_K * more_K / total_K
            mean_K += apart_K * more_K / total_K
            num_K += more_K
        spread_K = np.sqrt(squares_K / np.maximum(num_K, 1))
        return cls(evidence, mean_K, np.where(spread_K > 1e-6, spread_K, np.inf))

    def __len__(self) -> int:
        return len(self.evidence.given)

    def rows(self, part: slice | np.ndarray) -> np.ndarray:
        """(n, K) float32 of these rows, unknown 0."""
        values = _against(self.evidence, part)
        found: np.ndarray = np.where(np.isfinite(values), values - self.mean_K, 0.0) / self.spread_K
        return found.astype(np.float32)


def blocks(num: int) -> Iterator[slice]:
    """num rows, ROWS_AT_ONCE at a time."""
    return (slice(start, start + ROWS_AT_ONCE) for start in range(0, num, ROWS_AT_ONCE))


def _against(evidence: Evidence, part: slice | np.ndarray) -> np.ndarray:
    """(n, K) float32 of these rows: each piece of evidence so that high speaks against the label, NaN unknown."""
    columns = {name: values[part] for name, values in evidence.columns.items()}
    # The probability of the strongest other class: margin = own - rival, halved and moved to [0, 1].
    rival = columns["self_confidence"] + 1 - 2 * columns["normalised_margin"]
    found = {"own": -evidence.own_odds[part], "dynamics": -columns["dynamics"], "rival": log_odds(rival),
             "heldout": -log_odds(columns["heldout_confidence"]), "mean_margin": -columns["mean_margin"],
             "loss": np.log(np.maximum(columns["loss"], 1e-3)), "neighbours": -columns["neighbour_agreement"]}
    return np.stack([found[name] for name in NAMES], axis=1)
