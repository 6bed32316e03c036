"""The noise guard: whose label is trusted enough to be routed to validation.

Hard is not wrong: under label noise the hardest samples are mostly mislabeled, and a splitter left alone picks just
those. N samples of the train split, C classes.
"""

import math

import numpy as np

from engine.contract.statistics.confident import confident_suggestion, label_margins
from engine.molere.noise_model import NoiseModel


def guarded(kind: str, probs_NC: np.ndarray, labels_N: np.ndarray, is_known_N: np.ndarray, fraction: float,
            noise: NoiseModel | None, largest: float) -> np.ndarray:
    """Who may be routed, (N,) bool, of those with held-out predictions.

    "probable": whose label is wrong with a probability of at most `largest` in [0, 1], by the noise model; without one
    nobody. "agree": whose label is the most probable class and not confidently disputed. "confident": whose label is
    not confidently disputed (engine.contract.statistics.confident).
    A class of which too few pass to fill its `fraction` lets those pass whose labels are the least doubtful, until it
    is filled: without them a class that the classifier cannot predict yet has no voice in validation, its weights fall,
    and it is never learned (benchmarks/LOG.md).
    """
    if kind == "probable":
        doubts_N = np.ones(len(labels_N), dtype=np.float32) if noise is None else \
            noise.wrong_probabilities(probs_NC, labels_N)
        passed = is_known_N & (doubts_N <= largest)
    else:
        doubts_N = -label_margins(probs_NC, labels_N)
        passed = is_known_N & (confident_suggestion(probs_NC, labels_N, is_known_N) < 0)
        if kind == "agree":
            passed &= probs_NC.argmax(1) == labels_N
    for c in np.unique(labels_N[is_known_N]):
        members = np.flatnonzero(is_known_N & (labels_N == c))
        num_missing = math.ceil(fraction * len(members)) - int(passed[members].sum())
        others = members[~passed[members]]
        passed[others[np.argsort(doubts_N[others], kind="stable")[:max(num_missing, 0)]]] = True
    return passed
