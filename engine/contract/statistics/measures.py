"""Figures of quality that both sides of the contract take: the worst group, and how well low values find wrong labels.

Imports no torch, and scikit-learn only where it is called for: that takes a second.
"""

from typing import NamedTuple

import numpy as np

SMALLEST_GROUP = 5
"""Groups and classes of fewer samples are no worst group: their accuracy says little."""


def worst_group(accuracies: np.ndarray, num_samples: np.ndarray) -> int | None:
    """The position of the lowest accuracy among groups of at least SMALLEST_GROUP samples, of equals the first; None
    where no group is that large. accuracies: (G,) in [0, 1]; num_samples: (G,)."""
    large = np.flatnonzero(np.asarray(num_samples) >= SMALLEST_GROUP)
    return int(large[np.asarray(accuracies)[large].argmin()]) if len(large) else None


class Detection(NamedTuple):
    """How well low values tell wrong labels from right ones; None without labels of both kinds."""

    auroc: float | None
    """Share of pairs of a wrong and a right label in which the wrong one is lower, ties half: 0.5 chance, 1 perfect."""
    average_precision: float | None
    """Of the ranking from the lowest value up, in (0, 1]; chance is the share of wrong labels."""


def detection(quality: np.ndarray, is_wrong: np.ndarray) -> Detection:
    """Low `quality` as a sign of a wrong label. quality: (n,) finite, low is bad; is_wrong: (n,) bool."""
    from sklearn.metrics import average_precision_score, roc_auc_score

    if is_wrong.all() or not is_wrong.any():
        return Detection(None, None)
    return Detection(float(roc_auc_score(is_wrong, -quality)), float(average_precision_score(is_wrong, -quality)))
