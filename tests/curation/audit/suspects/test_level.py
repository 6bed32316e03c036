"""The first guess of how many labels are wrong, on labels that were made wrong on purpose."""

import numpy as np
import pytest

from curation.audit.suspects.level import FIRST_SD, FIRST_SHARE, MIN_SD, level_of

NUM, NUM_CLASSES = 20_000, 5


def made(error: float, noise: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """(given, probabilities) of NUM samples, whose noise was drawn by itself. A third of them are hard: of these the
    predictions are unsure, and in all `error` of the samples are predicted wrongly."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, NUM_CLASSES, NUM)
    is_hard = rng.random(NUM) < 1 / 3
    misses = is_hard & (rng.random(NUM) < 3 * error)
    predicted = np.where(misses, (truth + rng.integers(1, NUM_CLASSES, NUM)) % NUM_CLASSES, truth)
    probs = np.full((NUM, NUM_CLASSES), 0.0)
    top = np.where(is_hard, 0.5, 0.9) + rng.uniform(-0.05, 0.05, NUM)
    probs += ((1 - top) / (NUM_CLASSES - 1))[:, None]
    probs[np.arange(NUM), predicted] = top
    flipped = rng.random(NUM) < noise
    return np.where(flipped, (truth + rng.integers(1, NUM_CLASSES, NUM)) % NUM_CLASSES, truth), probs


def share(odds: float) -> float:
    return float(1 / (1 + np.exp(-odds)))


@pytest.mark.parametrize("error", [0.02, 0.1, 0.3])
@pytest.mark.parametrize("noise", [0.02, 0.1, 0.4])
def test_the_share_of_wrong_labels_lies_within_a_deviation_of_the_guess(error: float, noise: float) -> None:
    given, probs = made(error, noise)
    found = level_of(given, probs)
    assert share(found.odds - found.sd) - 0.01 < noise < share(found.odds + found.sd) + 0.01


def test_what_weak_predictions_contradict_is_not_taken_for_wrong_labels() -> None:
    given, probs = made(0.3, 0.01)
    found = level_of(given, probs)
    assert share(found.odds) < 0.1 and found.sd > 1.5, "confident learning's joint says 0.3"
    given, probs = made(0.0, 0.2)
    found = level_of(given, probs)
    assert share(found.odds) == pytest.approx(0.2, abs=0.02) and found.sd == MIN_SD


def test_samples_without_prediction_or_label_are_left_out_and_none_at_all_is_a_tenth() -> None:
    given, probs = made(0.1, 0.1)
    more = np.r_[given, -1, 2], np.r_[probs, probs[:1], np.full((1, NUM_CLASSES), np.nan)]
    assert level_of(*more) == level_of(given, probs)
    nothing = level_of(np.array([1]), np.full((1, NUM_CLASSES), np.nan))
    assert share(nothing.odds) == pytest.approx(FIRST_SHARE) and nothing.sd == FIRST_SD
    assert np.isfinite(level_of(np.array([0, 1, 1]), np.eye(NUM_CLASSES)[[0, 1, 1]]).odds)
