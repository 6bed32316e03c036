"""Roles against brute force: quotas, pins, guard, coverage, rotation, stratified draws."""


import numpy as np
import pytest

from engine.molere import routing


def problem(seed=0, num=200, num_classes=4):
    rng = np.random.default_rng(seed)
    return rng.random(num), rng.integers(0, num_classes, num), np.ones(num, bool), np.zeros(num, np.int8), rng


@pytest.mark.parametrize(("exponent", "expected"), [
    (0.0, [1, 1, 1, 1]), (1.0, [0.5, 2.0, 1, 2.0]), (0.5, [0.75, 1.5, 1, 1.5])])
def test_class_weights_by_hand(exponent, expected):
    """Sizes 4, 1, 0 and 1: six samples whose weights sum to six."""
    labels = np.array([0, 0, 3, 0, 1, 0])
    np.testing.assert_allclose(routing.class_weights(labels, 4, exponent), expected, rtol=1e-6)


def test_each_class_sends_its_lowest_share():
    scores, labels, active, pins, _ = problem()
    routed = routing.route(scores, labels, active, pins, fraction=0.1).routed
    for c in range(4):
        members = np.flatnonzero(labels == c)
        expected = members[np.argsort(scores[members])][:round(0.1 * len(members))]
        assert set(np.flatnonzero(routed & (labels == c))) == set(expected)


def test_pins_are_constraints_and_excluded_samples_leave_the_counts():
    scores, labels, active, pins, _ = problem()
    members = np.flatnonzero(labels == 0)
    hardest, easiest = members[np.argmin(scores[members])], members[np.argmax(scores[members])]
    pins[hardest], pins[easiest] = 1, -1
    out = members[np.argsort(scores[members])[1]]
    active[out] = False
    result = routing.route(scores, labels, active, pins, fraction=0.1)
    assert not result.routed[hardest] and result.routed[easiest] and not result.routed[out]
    assert (result.routed & (labels == 0)).sum() == round(0.1 * (len(members) - 1)), "a pin takes a place of the quota"


def test_a_pin_to_validation_needs_no_guard():
    scores, labels, active, pins, _ = problem()
    pins[7] = -1
    nobody = np.zeros(len(scores), bool)
    assert set(np.flatnonzero(routing.route(scores, labels, active, pins, fraction=0.1,
                                          is_eligible_N=nobody).routed)) == {7}


def test_guard_withholds_and_the_next_hardest_take_their_places():
    scores, labels, active, pins, _ = problem()
    free = routing.route(scores, labels, active, pins, fraction=0.1).routed
    eligible = np.ones(len(scores), bool)
    barred = np.flatnonzero(free)[:5]
    eligible[barred] = False
    result = routing.route(scores, labels, active, pins, fraction=0.1, is_eligible_N=eligible)
    assert set(np.flatnonzero(result.withheld)) == set(barred)
    assert not result.routed[barred].any() and result.routed.sum() == free.sum()
    assert (result.unguarded == free).all()


@pytest.mark.parametrize("num", [1, 2, 3])
def test_a_class_never_goes_to_validation_whole(num):
    result = routing.route(np.zeros(num), np.zeros(num, int), np.ones(num, bool), np.zeros(num, np.int8), fraction=0.9)
    assert result.routed.sum() <= num - 1


def test_neighbours_are_the_nearest_of_the_same_class():
    _, labels, active, _, rng = problem(num=60)
    features = rng.standard_normal((60, 6))
    active[5] = False
    found = routing.same_class_neighbours(features.__getitem__, labels, active, 3)
    for i in np.flatnonzero(active):
        same = [j for j in range(60) if active[j] and labels[j] == labels[i]]
        centre = features[same].mean(0)
        unit = {j: (features[j] - centre) / np.linalg.norm(features[j] - centre) for j in same}
        expected = sorted((j for j in same if j != i), key=lambda j: -unit[i] @ unit[j])[:3]
        assert set(found[i]) == set(expected)
    assert (found[5] == -1).all() and 5 not in found
    asked = rng.random(60) < 0.3
    some = routing.same_class_neighbours(features.__getitem__, labels, active, 3, asked)
    assert [set(row) for row in some] == [set(row) if is_asked else {-1} for row, is_asked in
                                          zip(found, asked & active, strict=True)]


def test_neighbours_in_a_large_class_are_looked_for_among_an_even_part_of_it(monkeypatch):
    monkeypatch.setattr(routing, "MAX_COMPARED", 10)
    features = np.random.default_rng(0).standard_normal((25, 4))
    found = routing.same_class_neighbours(features.__getitem__, np.zeros(25, int), np.ones(25, bool), 8)
    assert set(found.ravel()) == set(range(0, 25, 3)) and not (found == np.arange(25)[:, None]).any()


def test_candidates_are_the_hardest_free_of_each_class():
    scores, labels, active, pins, rng = problem()
    scores[3], active[7] = np.nan, False
    is_free = rng.random(len(scores)) < 0.9
    found = routing.candidates(scores, labels, active, is_free, 0.1, 4)
    for c in range(4):
        members = active & (labels == c)
        rows = [i for i in np.flatnonzero(members & is_free) if not np.isnan(scores[i])]
        assert set(np.flatnonzero(found & (labels == c))) == set(
            sorted(rows, key=lambda i: scores[i])[:4 * round(0.1 * members.sum())])


def test_coverage_leaves_every_routed_sample_its_share_of_neighbours_in_training():
    rng = np.random.default_rng(1)
    features = np.concatenate([rng.standard_normal((180, 5)), 6 + 0.1 * rng.standard_normal((20, 5))])
    labels, active, pins = np.zeros(200, int), np.ones(200, bool), np.zeros(200, np.int8)
    scores = np.concatenate([0.5 + rng.random(180), rng.random(20) / 10])  # a tight, hard group of 20
    neighbours = routing.same_class_neighbours(features.__getitem__, labels, active, 6)
    bare = routing.route(scores, labels, active, pins, fraction=0.1).routed
    held = routing.route(scores, labels, active, pins, fraction=0.1, neighbours_Nk=neighbours, coverage=0.5)
    assert bare[180:].all(), "without coverage the whole hard group leaves training"
    assert held.routed.sum() == bare.sum() and held.kept_by_coverage.any()
    for i in np.flatnonzero(held.routed):
        assert held.routed[neighbours[i]].sum() <= 3
    assert routing.covered_share(held.routed, active, neighbours) == 1.0
    naive = np.mean([any(not bare[j] for j in neighbours[i]) for i in np.flatnonzero(bare)])
    assert routing.covered_share(bare, active, neighbours) == pytest.approx(naive) and naive < 0.5


def test_coverage_admits_up_to_its_share_of_neighbours_and_no_more():
    neighbours = np.array([[1, 2], [5, 6], [5, 6], [6, 7], [6, 7], [6, 7], [7, 8], [8, 9], [9, 7], [8, 7]])
    args = (np.arange(10.0)[[1, 0, *range(2, 10)]], np.zeros(10, int), np.ones(10, bool), np.zeros(10, np.int8))
    half = routing.route(*args, fraction=0.3, neighbours_Nk=neighbours, coverage=0.5)
    assert np.flatnonzero(half.routed).tolist() == [0, 1, 3], "2 would be the second of sample 0's two neighbours"
    none = routing.route(*args, fraction=0.3, neighbours_Nk=neighbours, coverage=0.0)
    assert np.flatnonzero(none.routed).tolist() == [1, 2, 3] and none.kept_by_coverage[0]


def test_a_sample_without_a_score_is_not_routed_even_to_fill_the_quota():
    scores = np.array([np.nan, np.nan, np.nan, 0.5])
    result = routing.route(scores, np.zeros(4, int), np.ones(4, bool), np.zeros(4, np.int8), fraction=0.5)
    assert np.flatnonzero(result.routed).tolist() == [3] and not result.unguarded[:3].any()


def test_rotation_covers_everybody_evenly():
    groups = routing.rotation_groups(103, 8, np.random.default_rng(0))
    assert set(np.bincount(groups)) == {12, 13} and len(np.bincount(groups)) == 8


def test_stratified_draw_is_even_over_classes_and_without_repetition():
    rng = np.random.default_rng(0)
    labels = np.array([0] * 500 + [1] * 50 + [3] * 4)
    rows = rng.permutation(1000)[:554]
    drawn = routing.stratified_draw(rows, labels, 34, rng)
    counts = np.bincount(labels[[np.flatnonzero(rows == r)[0] for r in drawn]], minlength=4)
    assert len(set(drawn)) == 34 and counts.tolist() == [15, 15, 0, 4]
    assert set(routing.stratified_draw(rows[:10], labels[:10], 34, rng)) == set(rows[:10])


def test_halves_are_disjoint_and_even_over_classes_each():
    rows, labels = np.arange(100, 200), np.arange(100) % 5
    drawn = routing.stratified_halves(rows, labels, 41, np.random.default_rng(0))
    assert len(drawn) == 40 == len(set(drawn)) and set(drawn) <= set(rows)
    for half in (drawn[:20], drawn[20:]):
        assert np.bincount(labels[half - 100]).tolist() == [4] * 5
    few = routing.stratified_halves(rows[:7], np.array([0, 0, 0, 1, 1, 1, 1]), 41, np.random.default_rng(0))
    assert len(few) == 6 == len(set(few)), "two halves of what there is"


@pytest.mark.parametrize("num", [1, 2, 3])
def test_halves_of_very_few_are_the_same_and_never_one_alone(num):
    drawn = routing.stratified_halves(np.arange(num), np.zeros(num, dtype=int), 8, np.random.default_rng(0))
    first, second = drawn[:len(drawn) // 2], drawn[len(drawn) // 2:]
    assert len(first) >= 2 and set(first) == set(second) == set(range(num))


def test_a_class_of_one_sample_is_in_both_halves():
    """In one alone it would be shown and never judge, or judge and never be shown."""
    labels = np.array([0] * 10 + [1] * 6 + [2])
    drawn = routing.stratified_halves(np.arange(17), labels, 64, np.random.default_rng(0))
    first, second = drawn[:8], drawn[8:]
    assert len(second) == 8 and 16 in first and 16 in second
    assert set(first) & set(second) == {16} and len(set(first)) == len(set(second)) == 8


def test_what_one_half_says_of_the_classes_is_not_what_the_other_denies():
    """With room for 7 of 10 classes a half. Every other sample of one draw gives a correlation near -1 here."""
    rng, labels = np.random.default_rng(0), np.repeat(np.arange(10), 50)
    counts = []
    for _ in range(400):
        drawn = routing.stratified_halves(np.arange(500), labels, 14, rng)
        counts.append([np.bincount(labels[half], minlength=10)[0] for half in (drawn[:7], drawn[7:])])
    assert abs(np.corrcoef(np.array(counts).T)[0, 1]) < 0.15


def test_a_draw_of_some_of_each_class_is_one_of_all(monkeypatch):
    """The same classes to each half and every row as often as before: by its definition, over many draws."""
    rng, labels = np.random.default_rng(0), np.array([0] * 60 + [1] * 30 + [2] * 8 + [4] * 2)
    counted = {}
    for many in (10, 10_000):
        monkeypatch.setattr(routing, "MANY_ROWS", many)
        times, classes = np.zeros(100), np.zeros((2, 5))
        for _ in range(2000):
            drawn = routing.stratified_halves(np.arange(100) + 7, labels, 16, rng) - 7
            assert len(drawn) == 16 == len(set(drawn))
            times[drawn] += 1
            for half, rows in enumerate((drawn[:8], drawn[8:])):
                classes[half] += np.bincount(labels[rows], minlength=5)
        counted[many] = times / 2000, classes / 2000
    for few, all_rows in zip(counted[10], counted[10_000], strict=True):
        np.testing.assert_allclose(few, all_rows, atol=0.06)
    assert counted[10][0][:60].std() < 0.01, "no row of a class is drawn more often than another"
