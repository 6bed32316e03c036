"""The noise matrices: counts against naive loops, the confident joint against the paper, what is shown and what not."""


import numpy as np
import pytest

from curation.audit.suspects.matrix import SUSPECT, before_and_after, confident_joint, model_matrix, overlaps


def population(num=400, classes=4, seed=0):
    """given, p_wrong, suggested, confidence and probabilities of a made-up model, with some samples it cannot score."""
    rng = np.random.default_rng(seed)
    given = rng.integers(-1, classes, num).astype(np.int16)
    probabilities = rng.dirichlet(np.full(classes, 0.5), num).astype(np.float32)
    others = probabilities.copy()
    others[np.arange(num), given] = -1
    suggested = np.where(rng.random(num) < 0.1, -1, others.argmax(axis=1)).astype(np.int16)
    p_wrong = np.where(rng.random(num) < 0.05, np.nan, rng.random(num)).astype(np.float32)
    return given, p_wrong, suggested, rng.random(num).astype(np.float32), probabilities


# -- the model's matrix


def test_expected_and_suspected_counts_are_those_of_a_loop():
    given, p_wrong, suggested, confidence, _ = population()
    is_active = np.arange(400) % 7 != 0
    found = model_matrix(given, p_wrong, suggested, confidence, 4, is_active=is_active)
    expected, suspected, elsewhere, unscored = np.zeros((4, 4)), np.zeros((4, 4)), np.zeros(4), np.zeros(4)
    for g, p, s, c, active in zip(given, p_wrong, suggested, confidence, is_active, strict=True):
        if g < 0 or not active:
            continue
        if np.isnan(p):
            unscored[g] += 1
            continue
        expected[g, g] += 1 - p
        elsewhere[g] += p * (1 - c) if s >= 0 else p
        if s >= 0:
            expected[g, s] += p * c
        if p < SUSPECT:
            suspected[g, g] += 1
        elif s >= 0:
            suspected[g, s] += 1
    np.testing.assert_allclose(found.expected, expected, rtol=1e-5)
    np.testing.assert_allclose(found.elsewhere, elsewhere, rtol=1e-5)
    np.testing.assert_array_equal(found.suspected, suspected)
    np.testing.assert_array_equal(found.num_unscored, unscored)
    total = found.expected.sum() + found.elsewhere.sum() + found.num_unscored.sum()
    assert total == pytest.approx(((given >= 0) & is_active).sum()), "every sample is somewhere, once"


def test_after_decisions_settled_labels_count_as_right_and_excluded_samples_no_more():
    given = np.array([0, 0, 1, 1, 1])
    current = np.array([0, 1, 1, 1, 1])
    p_wrong = np.array([0.9, 0.8, 0.7, 0.2, 0.6])
    suggested = np.array([1, 1, 0, 0, 0])
    before, after = before_and_after(given, current, p_wrong, suggested, np.ones(5),
                                     is_active=np.array([1, 1, 1, 1, 0], bool),
                                     is_settled=np.array([1, 0, 0, 0, 0], bool), num_classes=2)
    np.testing.assert_allclose(before.expected, [[0.3, 1.7], [1.5, 1.5]])
    np.testing.assert_allclose(after.expected, [[1.0, 0.0], [0.9, 2.1]])
    assert before.suspected.tolist() == [[0, 2], [2, 1]] and after.suspected.tolist() == [[1, 0], [1, 2]]


def test_classes_that_stand_for_each_other_are_named_most_first():
    expected = np.array([[90.0, 8, 1], [4, 76, 0], [0.2, 0.1, 50]])
    found = overlaps(expected, ("Sweater", "Knitwear", "Vest"))
    assert [pair.name for pair in found] == ["Sweater <-> Knitwear", "Sweater <-> Vest"]
    assert (found[0].num_first, found[0].num_second) == (8, 4)
    assert found[0].share == pytest.approx(12 / (99 + 80)), "of all given either class"
    assert len(overlaps(expected, ("a", "b", "c"), num_top=1)) == 1


# -- the confident joint


def noisy(num=600, classes=5, noise=0.3, seed=0):
    """Labels with noise and probabilities that know the truth better than the labels do."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, classes, num)
    given = np.where(rng.random(num) < noise, rng.integers(0, classes, num), truth)
    logits = rng.normal(0, 1, (num, classes))
    logits[np.arange(num), truth] += 2.5
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return given, probabilities.astype(np.float32)


def naive_joint(given, probabilities):
    """Equations 1 to 3 of Northcutt et al. 2021, sample by sample."""
    classes = probabilities.shape[1]
    thresholds = [np.mean([row[j] for row, g in zip(probabilities, given, strict=True) if g == j])
                  if (given == j).any() else 2.0 for j in range(classes)]
    counts = np.zeros((classes, classes))
    for row, g in zip(probabilities, given, strict=True):
        above = [j for j in range(classes) if row[j] >= thresholds[j] - 1e-6]
        if above:
            counts[g, max(above, key=lambda j: row[j])] += 1
    for j in range(classes):
        counts[j, j] = max(counts[j, j], 1)
    scaled = np.array([counts[j] / counts[j].sum() * (given == j).sum() for j in range(classes)])
    return scaled / scaled.sum()


@pytest.mark.parametrize("seed", range(3))
def test_the_joint_is_that_of_the_paper(seed):
    given, probabilities = noisy(seed=seed)
    given[given == 3] = 4  # a class without samples
    joint = confident_joint(given, probabilities)
    np.testing.assert_allclose(joint, naive_joint(given, probabilities), atol=1e-9)
    assert joint.sum() == pytest.approx(1)
    np.testing.assert_allclose(joint.sum(axis=1), np.bincount(given, minlength=5) / len(given))


@pytest.mark.parametrize("seed", range(3))
def test_the_joint_is_that_of_cleanlab_where_its_argmax_is_masked(seed):
    count = pytest.importorskip("cleanlab.count")
    given, probabilities = noisy(seed=seed)
    thresholds = count.get_confident_thresholds(given, probabilities)
    masked = np.where(probabilities >= thresholds - 1e-6, probabilities, 0)  # mends cleanlab/cleanlab#1248
    theirs = count.estimate_joint(given, probabilities, confident_joint=count.compute_confident_joint(
        given, masked, thresholds=thresholds, calibrate=False))
    np.testing.assert_allclose(confident_joint(given, probabilities), theirs, atol=1.01 / len(given))


def test_a_class_that_misses_its_threshold_never_wins():
    """Class 2 is the most probable of those above their thresholds."""
    given = np.array([0, 1, 2, 3, 2])
    probabilities = np.array([[0.01, 0.0, 0.0, 0.99], [0.0, 0.5, 0.5, 0.0], [0.9, 0.0, 0.01, 0.09],
                              [0.0, 0.4, 0.1, 0.5], [0.1, 0.2, 0.3, 0.4]])
    joint = confident_joint(given, probabilities) * 5
    assert joint[2].tolist() == pytest.approx([1.0, 0, 1.0, 0]), "the last sample counts as 2, not as 3"


def test_rows_without_probabilities_or_labels_are_left_out_of_the_joint():
    given, probabilities = noisy()
    extended = np.vstack([probabilities, np.full((1, 5), np.nan), probabilities[:1]])
    joint = confident_joint(np.r_[given, 0, -1], extended)
    np.testing.assert_allclose(joint, confident_joint(given, probabilities))
