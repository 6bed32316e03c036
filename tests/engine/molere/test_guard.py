"""The noise guard against thresholds and orders worked out by hand, and on a crowd."""

import math

import numpy as np
import pytest

from engine.molere import guard


def test_agree_asks_for_support_where_confident_asks_only_for_no_dispute():
    probs = np.array([[0.9, 0.1], [0.45, 0.55], [0.15, 0.85], [0.9, 0.1], [0.1, 0.9], [0.3, 0.7]])
    labels, known = np.array([0, 0, 0, 0, 1, 1]), np.arange(6) != 3
    # Thresholds: class 0 (0.9 + 0.45 + 0.15) / 3 = 0.5; class 1 (0.9 + 0.7) / 2 = 0.8. Sample 3 was never held out.
    for kind, expected in (("confident", [True, True, False, False, True, True]),
                           ("agree", [True, False, False, False, True, True])):
        assert guard.guarded(kind, probs, labels, known, 0.1, None, 0.02).tolist() == expected


def crowd(seed):
    """600 random predictions of four classes; the last class is never anybody's most probable."""
    rng = np.random.default_rng(seed)
    probs = rng.dirichlet([1, 1, 1, 0.05], 600)
    return probs, rng.integers(0, 4, 600), rng.random(600) < 0.8


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("fraction", [0.125, 0.25, 0.5])
@pytest.mark.parametrize("kind", ["confident", "agree"])
def test_every_class_may_fill_its_quota_with_the_least_disputed(kind, fraction, seed):
    probs, labels, known = crowd(seed)
    found = guard.guarded(kind, probs, labels, known, fraction, None, 0.02)
    thresholds = [probs[known & (labels == c), c].mean() for c in range(4)]

    def passes(i):
        named = [c for c in range(4) if probs[i, c] >= thresholds[c]]
        is_undisputed = not named or max(named, key=lambda c: probs[i, c]) == labels[i]
        return is_undisputed and (kind == "confident" or probs[i].argmax() == labels[i])

    is_added_to = []
    for c in range(4):
        members = [i for i in range(600) if known[i] and labels[i] == c]
        margin = {i: probs[i, c] - max(probs[i, j] for j in range(4) if j != c) for i in members}
        own = {i for i in members if passes(i)}
        rest = sorted(set(members) - own, key=lambda i: -margin[i])
        num_added = max(0, math.ceil(fraction * len(members)) - len(own))  # exact: fractions are powers of 1/2
        assert set(np.flatnonzero(found & (labels == c))) == own | set(rest[:num_added])
        is_added_to.append(num_added > 0)
    assert not found[~known].any()
    if kind == "confident":
        assert is_added_to == [fraction > 0.25] * 3 + [True], "a class of which enough pass anyway gets nobody more"


def test_probable_asks_how_probable_a_wrong_label_is_and_fills_a_class_with_the_least_doubtful():
    """The model's numbers are given here; tests/engine/molere/test_noise_model.py has what they are."""

    class Believed:
        def wrong_probabilities(self, probs, labels):
            return np.array([0.0, 0.02, 0.021, 0.5, 0.9, 0.3, 0.1, 0.6])

    probs, labels = np.full((8, 2), 0.5), np.array([0, 0, 0, 0, 0, 1, 1, 1])
    known = np.arange(8) != 0
    for fraction, largest, expected in ((0.25, 0.02, [1, 6]), (0.5, 0.02, [1, 2, 5, 6]), (0.25, 0.3, [1, 2, 5, 6]),
                                        (0.25, 0.0, [1, 6]), (0.1, 1.0, [1, 2, 3, 4, 5, 6, 7])):
        found = guard.guarded("probable", probs, labels, known, fraction, Believed(), largest)
        assert np.flatnonzero(found).tolist() == expected
    nothing = guard.guarded("probable", probs, labels, np.zeros(8, dtype=bool), 0.5, None, 0.02)
    assert not nothing.any(), "before anything was held out nobody passes"


def test_who_is_added_is_the_least_disputed_first_by_hand():
    probs = np.array([[0.1, 0.9], [0.4, 0.6], [0.2, 0.8], [0.3, 0.7], [0.45, 0.55], [0.05, 0.95]])
    labels, known = np.array([0, 0, 0, 0, 0, 1]), np.arange(6) != 4
    # Four known of class 0, nobody supports any: ceil(fraction * 4) come in; 4 is the closest, but unknown.
    for fraction, expected in ((0.25, [1]), (0.375, [1, 3]), (0.75, [1, 2, 3]), (1.0, [0, 1, 2, 3])):
        found = guard.guarded("agree", probs, labels, known, fraction, None, 0.02)
        assert np.flatnonzero(found).tolist() == [*expected, 5]
