"""Confident learning's rule, by hand."""

import numpy as np

from engine.contract.statistics.confident import confident_class, confident_suggestion


def test_suspicion_follows_confident_learning():
    probs = np.array([[0.9, 0.1], [0.7, 0.3], [0.2, 0.8], [0.3, 0.7], [0.45, 0.55], [0.1, 0.9]])
    labels = np.array([0, 0, 0, 1, 1, 1])
    known = np.ones(6, bool)
    # Thresholds: class 0 (0.9 + 0.7 + 0.2) / 3 = 0.6; class 1 (0.7 + 0.55 + 0.9) / 3 = 0.717.
    assert confident_suggestion(probs, labels, known).tolist() == [-1, -1, 1, -1, -1, -1]
    known[2] = False
    assert (confident_suggestion(probs, labels, known) == -1).all()


def test_slack_lets_a_class_meet_a_threshold_that_was_rounded_up() -> None:
    probs = np.full((3, 2), 0.1, dtype=np.float64)
    probs[:, 1] = 0.05
    labels, known = np.zeros(3, int), np.ones(3, bool)
    assert probs[:, 0].mean() > probs[0, 0], "three times a tenth is more than a tenth"
    assert confident_class(probs, labels, known).tolist() == [-1, -1, -1]
    assert confident_class(probs, labels, known, slack=1e-6).tolist() == [0, 0, 0]


def test_a_class_that_misses_its_threshold_never_wins_and_what_is_unknown_names_none() -> None:
    probs = np.array([[0.5, 0.4, 0.1], [0.9, 0.0, 0.1], [0.1, 0.3, 0.6], [np.nan] * 3])
    labels, known = np.array([1, 0, 1, 0]), np.array([True, True, True, False])
    # Thresholds: class 0 has 0.9, class 1 the mean of 0.4 and 0.3, class 2 none: nothing is labelled so.
    assert confident_class(probs, labels, known).tolist() == [1, 0, -1, -1]
