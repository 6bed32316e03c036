"""Confident learning's rule, by hand."""

import numpy as np

from engine.contract.confident import confident_suggestion


def test_suspicion_follows_confident_learning():
    probs = np.array([[0.9, 0.1], [0.7, 0.3], [0.2, 0.8], [0.3, 0.7], [0.45, 0.55], [0.1, 0.9]])
    labels = np.array([0, 0, 0, 1, 1, 1])
    known = np.ones(6, bool)
    # Thresholds: class 0 (0.9 + 0.7 + 0.2) / 3 = 0.6; class 1 (0.7 + 0.55 + 0.9) / 3 = 0.717.
    assert confident_suggestion(probs, labels, known).tolist() == [-1, -1, 1, -1, -1, -1]
    known[2] = False
    assert (confident_suggestion(probs, labels, known) == -1).all()
