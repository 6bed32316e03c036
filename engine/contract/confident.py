"""Confident learning's rule: which class predictions confidently name. numpy only."""

import numpy as np


def confident_class(probs_NC: np.ndarray, labels_N: np.ndarray, is_known_N: np.ndarray,
                    slack: float = 0.0) -> np.ndarray:
    """The class that a held-out prediction confidently names, (N,) int64; -1 where it names none or is unknown.

    Confident learning's rule (Northcutt et al. 2021, eq. 1-2): sample i counts as class j if p_ij reaches t_j, the
    mean p_j of the samples labelled j; among several such classes the most probable counts. Unlike in the reference
    code a class that misses its threshold never wins. labels_N: codes; a class without a known sample names none.

    slack: a probability may miss its threshold by so much. The mean of equal probabilities may be rounded up beyond
    them, so that a class of one sample misses its own threshold: the reference code has 1e-6. Training has none; with
    one, runs would not repeat those of before.
    """
    num_classes = probs_NC.shape[1]
    thresholds_C = np.full(num_classes, np.inf)
    for c in range(num_classes):
        members = is_known_N & (labels_N == c)
        if members.any():
            thresholds_C[c] = probs_NC[members, c].mean()
    confident_NC = np.where(probs_NC >= thresholds_C - slack, probs_NC, -1.0)
    best_N = confident_NC.argmax(1)
    return np.where(is_known_N & (confident_NC.max(1) > 0), best_N, -1)


def confident_suggestion(probs_NC: np.ndarray, labels_N: np.ndarray, is_known_N: np.ndarray) -> np.ndarray:
    """confident_class where that is another class than the label, (N,) int64; -1 elsewhere."""
    best_N = confident_class(probs_NC, labels_N, is_known_N)
    return np.where(best_N != labels_N, best_N, -1)
