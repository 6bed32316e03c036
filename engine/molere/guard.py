"""The noise guard: whose label is trusted enough to be routed to validation.

Hard is not wrong: under label noise the hardest samples are mostly mislabeled, and a splitter left alone picks just
those. N samples of the train split, C classes.
"""

import math

import numpy as np

from engine.contract.statistics.confident import confident_suggestion
from engine.model.record import HeldoutPredictions

NOISY_SHARE = 0.25
"""Share of all labels disputed at which guard and weights take the data for noisy; below it they are more careful the
nearer to 0 it is, since a classifier's own errors look the same."""
STRICTNESS = 2.0
"""In noisy data so many times as many of a class wait as are disputed: a classifier that trains on wrong labels agrees
with some of them, and the splitter finds just those."""
GUARD_ROOM = 1.5
"""A class has at least so many times its quota of validation to choose from, whatever the guard says of it."""


def guarded(kind: str, probs_NC: np.ndarray, labels_N: np.ndarray, is_known_N: np.ndarray,
            fraction: float) -> np.ndarray:
    """Who may be routed, (N,) bool: known from held-out predictions, and not disputed by them.

    "confident": they do not confidently name another class. "agree": moreover their most probable class is the label,
    and where many labels are disputed those of the class with the lowest margins wait as well.
    A class of which too few pass to fill its `fraction` lets the least disputed of the rest pass: without them a class
    that the classifier cannot predict yet has no voice in validation, its weights fall, and it is never learned
    (benchmarks/LOG.md).
    """
    disputed_N = confident_suggestion(probs_NC, labels_N, is_known_N) >= 0
    passed = is_known_N & ~disputed_N
    if kind == "agree":
        passed &= probs_NC.argmax(1) == labels_N
    margins_N = label_margins(probs_NC, labels_N)
    strictness = STRICTNESS * min(float(disputed_N[is_known_N].mean()) / NOISY_SHARE, 1.0) if is_known_N.any() else 0.0
    for c in np.unique(labels_N[is_known_N]):
        members = np.flatnonzero(is_known_N & (labels_N == c))
        if kind == "agree":
            num_waiting = round(strictness * int(disputed_N[members].sum()))
            passed[members[np.argsort(margins_N[members], kind="stable")[:num_waiting]]] = False
        num_missing = math.ceil(GUARD_ROOM * fraction * len(members)) - int(passed[members].sum())
        disputed = members[~passed[members]]
        passed[disputed[np.argsort(-margins_N[disputed], kind="stable")[:max(num_missing, 0)]]] = True
    return passed


def disputed_frac(held: HeldoutPredictions, labels_N: np.ndarray, is_active_N: np.ndarray) -> float:
    """Share in [0, 1] of the active samples with held-out predictions whose label those confidently dispute; 1 if none
    has any, since then nothing vouches for a label."""
    rows = held.is_known_N & is_active_N
    disputed = confident_suggestion(held.probs_NC, labels_N, rows) >= 0
    return float(disputed[rows].mean()) if rows.any() else 1.0


def label_margins(probs_NC: np.ndarray, labels_N: np.ndarray) -> np.ndarray:
    """p_y - max_{j != y} p_j, (N,) in [-1, 1]; high is good."""
    rows = np.arange(len(labels_N))
    others_NC = probs_NC.copy()
    others_NC[rows, labels_N] = -1.0
    margins_N: np.ndarray = probs_NC[rows, labels_N] - others_NC.max(1)
    return margins_N
