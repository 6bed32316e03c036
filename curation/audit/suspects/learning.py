"""Whether a run has learned to tell the classes at all: without that it names no suspects and promises nothing.

Judged on predictions that did not see the label, against given labels: noise hits a run that has learned and one that
has not alike; and on its own training loss. The one place that says so. N samples, C classes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

Fault = Literal["diverged", "no_evidence", "chance"]
"""Why a run names no suspects: its training went wrong, nothing was predicted that it had not seen, or that was no
better than guessing."""

Z_CLEAR = 1.96
"""Standard errors above chance from which it is no luck."""


@dataclass(frozen=True, slots=True)
class Divergence:
    """A training that ended worse than it began, and worse than knowing nothing but how frequent each class is."""

    first: float
    """Mean loss (cross-entropy) of the first epoch."""
    last: float
    """Of the last; may be infinite or NaN."""
    by_shares: float
    """Of predicting each class by its share: the entropy of the given labels."""


@dataclass(frozen=True, slots=True)
class Learning:
    """How well held-out predictions name given labels."""

    num_judged: int
    """Samples with a held-out prediction and a given label; 0: there is no such evidence."""
    recall: float
    """Mean over the classes that occur of the share of their samples whose label is predicted (balanced accuracy), in
    [0, 1]: a rare class counts as much as a frequent one, so naming the most frequent is worth chance."""
    standard_error: float
    chance: float
    """1 / number of those classes."""
    divergence: Divergence | None = None

    @property
    def fault(self) -> Fault | None:
        """None: it has learned."""
        if self.divergence is not None:
            return "diverged"
        if not self.num_judged:
            return "no_evidence"
        return None if self.recall - Z_CLEAR * self.standard_error > self.chance else "chance"

    @property
    def has_learned(self) -> bool:
        return self.fault is None


def divergence_of(losses: Sequence[float], given_N: np.ndarray) -> Divergence | None:
    """losses: mean training loss by epoch; given_N: int codes, -1 for none. None where a training has not diverged, or
    had no second epoch to do so in."""
    codes = given_N[given_N >= 0].astype(np.int64)
    if len(losses) < 2 or not len(codes):
        return None
    shares_C = np.bincount(codes) / len(codes)
    shares_C = shares_C[shares_C > 0]
    found = Divergence(first=float(losses[0]), last=float(losses[-1]), by_shares=-float(shares_C @ np.log(shares_C)))
    is_fine = found.last <= max(found.first, found.by_shares)
    return None if is_fine else found  # NaN is not fine


def learning_of(given_N: np.ndarray, is_named_N: np.ndarray, is_known_N: np.ndarray,
                losses: Sequence[float] = ()) -> Learning:
    """given_N: int codes, -1 for none; is_named_N: bool, whether the prediction names the given label; is_known_N:
    bool, there is a prediction and a label; losses: mean training loss by epoch, none of a run that is no training."""
    codes, divergence = given_N[is_known_N].astype(np.int64), divergence_of(losses, given_N)
    if not len(codes):
        return Learning(num_judged=0, recall=0.0, standard_error=0.0, chance=1.0, divergence=divergence)
    sizes_C = np.bincount(codes).astype(np.float64)
    hits_C = np.bincount(codes, weights=is_named_N[is_known_N].astype(np.float64))
    present = sizes_C > 0
    sizes_C, hits_C = sizes_C[present], hits_C[present]
    smoothed_C = (hits_C + 1) / (sizes_C + 2)  # a class of which none or all are named is not known without error
    variance = float((smoothed_C * (1 - smoothed_C) / sizes_C).sum()) / len(sizes_C) ** 2
    return Learning(num_judged=len(codes), recall=float((hits_C / sizes_C).mean()), standard_error=variance**0.5,
                    chance=1.0 / len(sizes_C), divergence=divergence)
