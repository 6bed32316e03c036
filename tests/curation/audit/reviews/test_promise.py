"""What is promised of a batch, by all outcomes and by simulation, and what came of it."""

import itertools

import numpy as np
import pandas as pd
import pytest

from curation.audit.reviews.promise import expected_yield, promise_kept, promises
from tests.curation.audit.reviews.test_queues import NONE, log


@pytest.mark.parametrize("num", [1, 2, 5, 10])
def test_the_yield_is_what_all_outcomes_say(num: int) -> None:
    p = np.random.default_rng(num).random(num)
    mass = np.zeros(num + 1)
    for outcome in itertools.product([0, 1], repeat=num):
        mass[sum(outcome)] += np.prod([q if o else 1 - q for q, o in zip(p, outcome, strict=True)])
    low = min(k for k in range(num + 1) if mass[:k + 1].sum() >= 0.025)
    high = min(k for k in range(num + 1) if mass[:k + 1].sum() >= 0.975)
    found = expected_yield(p)
    assert (found.num, found.low, found.high) == (num, low, high)
    assert found.expected == pytest.approx(sum(k * m for k, m in enumerate(mass)))


def test_the_interval_holds_in_simulation_and_is_no_wider_than_it_must_be() -> None:
    rng = np.random.default_rng(3)
    p = rng.beta(4, 1.5, 50)
    found = expected_yield(p)
    counts = (rng.random((20_000, 50)) < p).sum(axis=1)
    assert 0.945 < np.mean((found.low <= counts) & (counts <= found.high)) < 0.99
    assert np.mean((found.low < counts) & (counts < found.high)) < 0.95


def test_sure_things_are_promised_exactly_and_unscored_ones_not_at_all() -> None:
    found = expected_yield(np.array([1.0, 1.0, 0.0, np.nan]))
    assert (found.num, found.expected, found.low, found.high) == (3, 2.0, 2, 2)
    nothing = expected_yield(np.array([]))
    assert (nothing.num, nothing.expected, nothing.low, nothing.high) == (0, 0.0, 0, 0)


def test_a_promise_is_held_to_what_was_judged() -> None:
    verdicts = log(("s1", "ada", "suggested"), ("s2", "ada", "neither"), ("s3", "ada", "both"), ("s4", "ada", "unsure"),
                   ("s5", "ada", "suggested"), ("s6", "ada", "suggested"), ("s1", "ada", "given"))
    verdicts["purpose"] = ["main", "main", "main", "main", "gold", "main", "main"]
    verdicts["p_wrong"] = [.9, .8, .3, .9, .9, np.nan, .9]
    found = promise_kept(verdicts)
    assert (found.num_judged, found.num_found, found.expected) == (3, 1, pytest.approx(2.0))
    assert (found.low, found.high, found.outcome) == (1, 3, "kept")


def test_a_promise_is_broken_by_too_few_and_by_too_many() -> None:
    rows = [(f"s{i}", "ada", "suggested" if i < 25 else "given") for i in range(50)]
    assert promise_kept(log(*rows, p_wrong=0.5)).outcome == "kept"
    assert promise_kept(log(*rows, p_wrong=0.9)).outcome == "too much"
    assert promise_kept(log(*rows, p_wrong=0.1)).outcome == "too little"
    assert promise_kept(NONE).num_judged == 0 and promise_kept(NONE).outcome == "kept"


def test_promises_are_by_reviewer_and_batch_newest_first_and_those_without_a_batch_count_in_all() -> None:
    first, second, file = (log((f"s{i}", who, "suggested"), verdict_id=i, batch=batch, p_wrong=p)
                           for i, (who, batch, p) in enumerate([("ada", 1, .9), ("bob", 1, .2), ("dan", 1, .5)]))
    file["batch"] = pd.array([pd.NA], dtype="Int64")
    total, each = promises(pd.concat([first, second, file, log(("s9", "eve"), queue="estimate")]), num_dual=50)
    assert [(who, batch, found.num_found, found.expected) for who, batch, found in each] == [
        ("bob", 1, 1, .2), ("ada", 1, 1, .9)]
    assert (total.num_judged, total.num_found) == (3, 3) and total.expected == pytest.approx(1.6)
    assert promises(pd.concat([first, second, file]), num_dual=48)[1] == [], "too few labels were known for a promise"
    assert [who for who, _, _ in promises(pd.concat([first, second]), num_dual=49)[1]] == ["bob"]


def test_log_odds_that_may_all_be_off_together_make_the_interval_wider() -> None:
    rng = np.random.default_rng(4)
    p = rng.beta(3, 2, 50)
    plain, found = expected_yield(p), expected_yield(p, 0.8)
    odds = np.log(p / (1 - p)) + 0.8 * rng.normal(size=(40_000, 1))
    counts = (rng.random(odds.shape) < 1 / (1 + np.exp(-odds))).sum(axis=1)
    assert found.expected == pytest.approx(counts.mean(), abs=0.2)
    np.testing.assert_allclose([found.low, found.high], np.quantile(counts, [0.025, 0.975]), atol=1)
    assert found.low < plain.low and plain.high < found.high
    sure = expected_yield(np.array([1.0, 0.0, np.nan]), np.array([2.0, 2.0, np.nan]))
    assert (sure.num, sure.expected, sure.low, sure.high) == (2, 1.0, 1, 1)


def test_a_promise_is_held_to_the_doubt_that_its_batch_was_served_with() -> None:
    rows = log(*[(f"s{i}", "ada", "suggested" if i < 25 else "given") for i in range(50)], p_wrong=0.75)
    assert promise_kept(rows).outcome == "too much"
    assert promise_kept(rows, {("ada", 1): 0.8}).outcome == "kept"
    assert promise_kept(rows, {("ada", 2): 0.8}).outcome == "too much", "of another batch"
    _, [(_, _, each)] = promises(rows, num_dual=50, doubts={("ada", 1): 0.8})
    assert each.outcome == "kept"
