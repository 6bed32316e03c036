"""Confident learning's rule: which other class predictions confidently name. numpy only."""

import numpy as np


def confident_suggestion(probs_NC: np.ndarray, labels_N: np.ndarray, is_known_N: np.ndarray) -> np.ndarray:
    """The other class that a held-out prediction confidently names, (N,) int64; -1 where it names none or is unknown.

    Confident learning's rule (Northcutt et al. 2021, eq. 1-2): sample i counts as class j if p_ij reaches t_j, the
    mean p_j of the samples labelled j; among several such classes the most probable counts.
    """
    num_classes = probs_NC.shape[1]
    thresholds_C = np.full(num_classes, np.inf)
    for c in range(num_classes):
        members = is_known_N & (labels_N == c)
        if members.any():
            thresholds_C[c] = probs_NC[members, c].mean()
    confident_NC = np.where(probs_NC >= thresholds_C, probs_NC, -1.0)
    best_N = confident_NC.argmax(1)
    is_suspected_N = is_known_N & (confident_NC.max(1) > 0) & (best_N != labels_N)
    return np.where(is_suspected_N, best_N, -1)
