"""Whether a run has learned to tell the classes at all: without that it names no suspects and promises nothing.

Judged on predictions that did not see the label, against given labels: noise hits a run that has learned and one that
has not alike. N samples, C classes.
"""

from dataclasses import dataclass

import numpy as np

Z_CLEAR = 1.96
"""Standard errors above chance from which it is no luck."""


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

    @property
    def has_learned(self) -> bool:
        return self.num_judged > 0 and self.recall - Z_CLEAR * self.standard_error > self.chance


def learning_of(given_N: np.ndarray, is_named_N: np.ndarray, is_known_N: np.ndarray) -> Learning:
    """given_N: int codes; is_named_N: bool, whether the prediction names the given label; is_known_N: bool, there is a
    prediction and a label."""
    codes = given_N[is_known_N].astype(np.int64)
    if not len(codes):
        return Learning(num_judged=0, recall=0.0, standard_error=0.0, chance=1.0)
    sizes_C = np.bincount(codes).astype(np.float64)
    hits_C = np.bincount(codes, weights=is_named_N[is_known_N].astype(np.float64))
    present = sizes_C > 0
    sizes_C, hits_C = sizes_C[present], hits_C[present]
    smoothed_C = (hits_C + 1) / (sizes_C + 2)  # a class of which none or all are named is not known without error
    variance = float((smoothed_C * (1 - smoothed_C) / sizes_C).sum()) / len(sizes_C) ** 2
    return Learning(num_judged=len(codes), recall=float((hits_C / sizes_C).mean()), standard_error=variance**0.5,
                    chance=1.0 / len(sizes_C))
