"""The reviewed noise matrix: exact when all is reviewed, covering when a part is, silent where too little was seen."""

import numpy as np
import pandas as pd
import pytest

from curation.audit.estimate.allocation import draw
from curation.audit.estimate.noise_rate import estimate
from curation.audit.estimate.reviewed_matrix import MIN_CELL, MIN_ROW, reviewed_matrix
from curation.audit.estimate.sampling_plan import Plan, make_plan

CLASSES = ("Sweater", "Knitwear", "Vest")
FLOW = np.array([[0.85, 0.12, 0.0, 0.03], [0.2, 0.72, 0.08, 0.0], [0.01, 0.02, 0.97, 0.0]])
"""P(truth | given) of the made-up population; the last column is none of the classes."""


def population(num=3000, seed=0):
    """given, truth (C: none of the classes) and a p_wrong that knows a good deal of it."""
    rng = np.random.default_rng(seed)
    given = rng.choice(3, num, p=[0.5, 0.3, 0.2])
    truth = (rng.random(num)[:, None] > FLOW[given].cumsum(axis=1)).sum(axis=1)
    logit = rng.normal(-2.5, 1, num) + 3.0 * (truth != given)
    return given, truth, (1 / (1 + np.exp(-logit))).astype(np.float32)


def plan_of(given, p_wrong, seed=0) -> Plan:
    return make_plan(audit="a", run="r", sample_id=np.array([f"s{i}" for i in range(len(given))], dtype=object),
                     given=given, p_wrong=p_wrong, is_active=np.ones(len(given), bool), classes=CLASSES, seed=seed,
                     created=0.0)


def judged(ids, given, truth) -> pd.DataFrame:
    """What a reviewer without fault says of these samples."""
    rows = [int(i[1:]) for i in ids]
    names = np.array([*CLASSES, None], dtype=object)
    wrong = [bool(given[r] != truth[r]) for r in rows]
    return pd.DataFrame({"sample_id": ids, "is_wrong": pd.Series(wrong, dtype=object),
                         "label": pd.Series([names[truth[r]] for r in rows], dtype=object), "state": "agreed"})


def test_all_reviewed_gives_the_truth_without_an_interval():
    given, truth, p_wrong = population(800)
    plan = plan_of(given, p_wrong)
    found = reviewed_matrix(plan, judged(plan.population["sample_id"].tolist(), given, truth))
    counts = np.zeros((3, 5), dtype=int)
    for g, t in zip(given, truth, strict=True):
        counts[g, t] += 1
    np.testing.assert_array_equal(found.num_reviewed, counts)
    np.testing.assert_array_equal(found.num_population, counts.sum(axis=1))
    np.testing.assert_array_equal(found.is_shown, counts >= MIN_CELL)
    np.testing.assert_allclose(found.count[found.is_shown], counts[found.is_shown])
    np.testing.assert_allclose(found.low[found.is_shown], found.high[found.is_shown])
    assert found.pairs[0, 1].total == pytest.approx(counts[0, 1] + counts[1, 0])
    assert found.pairs[0, 1].num_population == counts[:2].sum()


def test_a_rows_errors_add_up_to_the_noise_rate_of_its_class():
    given, truth, p_wrong = population()
    truth[given == 2] = np.arange((given == 2).sum()) % 4  # every cell of the last row is well filled
    plan = plan_of(given, p_wrong)
    empty = judged([], *population(9)[:2])
    verdicts = judged(draw(plan, empty, num=600), given, truth)
    found, rate = reviewed_matrix(plan, verdicts), estimate(plan, verdicts)
    assert found.is_shown[2, :4].all() and found.rate[2, :4].sum() == pytest.approx(1)
    for code in range(3):
        assert 1 - found.rate[code, code] == pytest.approx(rate.per_class[code].share)
        assert 1 - found.low[code, code] == pytest.approx(rate.per_class[code].high)
        assert 1 - found.high[code, code] == pytest.approx(rate.per_class[code].low)


def test_intervals_cover_the_truth_and_estimates_are_not_biased():
    """A frozen population, reviewed by 120 plans of other seeds; 400 of 3,000 reviewed each time."""
    given, truth, p_wrong = population()
    counts = np.zeros((3, 5))
    np.add.at(counts, (given, truth), 1)
    rates = counts / counts.sum(axis=1, keepdims=True)
    empty = judged([], *population(9)[:2])
    told, covered, pairs, halves = [], [], [], []
    for seed in range(120):
        plan = plan_of(given, p_wrong, seed)
        found = reviewed_matrix(plan, judged(draw(plan, empty, num=400), given, truth))
        told.append(found.rate)
        halves.append((found.high - found.low) / 2)
        covered.append(np.where(found.is_shown, (found.low <= rates) & (rates <= found.high), np.nan))
        pair = found.pairs[0, 1]
        pairs.append(pair.low <= counts[0, 1] + counts[1, 0] <= pair.high)
    often = np.isfinite(told).mean(axis=0) > 0.99
    assert often[0, 0] and often[0, 1] and often[1, 0], "cells that are not small are always shown"
    mean = np.nanmean(np.array(told)[:, often], axis=0)
    np.testing.assert_allclose(mean, rates[often], atol=0.012)
    for cell in np.argwhere(often):
        assert 0.90 <= np.nanmean(np.array(covered)[:, cell[0], cell[1]]) <= 1.0, cell
    assert np.mean(pairs) >= 0.90
    spread = np.nanstd(np.array(told)[:, often], axis=0)
    ratio = np.nanmean(np.array(halves)[:, often], axis=0) / (1.96 * spread)
    assert ((ratio > 0.85) & (ratio < 1.5)).all() and np.median(ratio) < 1.15, "as wide as chance makes it"


def test_thin_rows_and_cells_are_not_shown():
    given = np.repeat([0, 1, 2], [300, 200, 100])
    truth = given.copy()
    truth[:2], truth[2:5] = 2, 1
    plan = plan_of(given, np.full(600, 0.1, np.float32))
    ids = [f"s{i}" for i in [*range(40), *range(300, 300 + MIN_ROW), *range(500, 500 + MIN_ROW - 1)]]
    found = reviewed_matrix(plan, judged(ids, given, truth))
    assert found.num_reviewed[0].tolist() == [35, 3, 2, 0, 0]
    assert found.is_shown[0].tolist() == [True, True, False, False, False], "two errors are too few, three are not"
    assert found.is_row_shown.tolist() == [True, True, False] and not found.is_shown[2].any()
    assert np.isnan(found.count[2]).all() and found.is_shown[1].tolist() == [False, True, False, False, False]
    assert (0, 1) in found.pairs and (0, 2) not in found.pairs


def test_a_cell_that_one_heavy_sample_decides_is_not_shown():
    """Stratum 0: 1,000 samples, 10 reviewed; stratum 1: 20 samples, all reviewed."""
    given = np.zeros(1020, dtype=int)
    p_wrong = np.r_[np.full(1000, 0.001), np.full(20, 0.9)].astype(np.float32)
    truth = given.copy()
    truth[1000:1010] = 1
    plan = plan_of(given, p_wrong)
    plan.population["stratum"] = np.r_[np.zeros(1000, np.int16), np.ones(20, np.int16)]
    ids = [f"s{i}" for i in [*range(10), *range(1000, 1020)]]
    assert reviewed_matrix(plan, judged(ids, given, truth)).is_shown[0, 1], "ten light ones"
    truth[0] = 1
    assert not reviewed_matrix(plan, judged(ids, given, truth)).is_shown[0, 1], "and one a hundred times as heavy"


def test_what_is_wrong_but_in_dispute_as_what_stays_wrong_in_its_row():
    """To leave it out would drop errors alone: 1 - diagonal must stay the class's noise rate."""
    given, truth, p_wrong = population()
    plan = plan_of(given, p_wrong)
    verdicts = judged(draw(plan, judged([], *population(9)[:2]), num=600), given, truth)
    settled = reviewed_matrix(plan, verdicts)
    rows = verdicts["sample_id"].str[1:].astype(int)
    is_open = verdicts["is_wrong"].astype(bool) & (given[rows] == 1) & (np.arange(600) % 2 == 0)
    verdicts.loc[is_open, ["state", "label"]] = "disputed", None
    found, rate = reviewed_matrix(plan, verdicts), estimate(plan, verdicts)
    assert is_open.sum() > 20 and found.num_reviewed[:, 4].tolist() == [0, is_open.sum(), 0]
    np.testing.assert_array_equal(found.num_reviewed.sum(axis=1), settled.num_reviewed.sum(axis=1))
    for code in range(3):
        for ours, theirs in zip((found.rate, found.high, found.low), ("share", "low", "high"), strict=True):
            assert 1 - ours[code, code] == pytest.approx(getattr(rate.per_class[code], theirs))
        np.testing.assert_allclose(found.rate[code, code], settled.rate[code, code])
    shares = [_cell_share(plan, verdicts, is_open, 1), found.rate[1, 4]]
    assert shares[1] == pytest.approx(shares[0], abs=0.02) and found.low[1, 4] < shares[0] < found.high[1, 4]
    assert np.nansum(found.rate[1]) == pytest.approx(1, abs=0.02), "no part of the row is lost"


def _cell_share(plan: Plan, verdicts: pd.DataFrame, is_hit: pd.Series, code: int) -> float:
    """Share of a class by weights N_h / n_h alone: Horvitz and Thompson's, without a model."""
    rows = plan.population.set_index("sample_id").loc[verdicts["sample_id"]]
    weight = (plan.sizes / np.bincount(rows["stratum"], minlength=plan.num_strata))[rows["stratum"].to_numpy()]
    return float(weight[is_hit.to_numpy()].sum() / (plan.population["given"] == code).sum())


def test_unsure_and_unknown_samples_are_left_out():
    given, truth, p_wrong = population(800)
    plan = plan_of(given, p_wrong)
    verdicts = judged([f"s{i}" for i in range(300)], given, truth)
    extra = pd.DataFrame({"sample_id": ["s500", "elsewhere", "s501"],
                          "is_wrong": pd.Series([None, True, None], dtype=object),
                          "label": pd.Series([None, "Vest", None], dtype=object),
                          "state": ["unsure", "agreed", "disputed"]})
    found = reviewed_matrix(plan, pd.concat([verdicts, extra], ignore_index=True))
    same = reviewed_matrix(plan, verdicts)
    np.testing.assert_array_equal(found.num_reviewed, same.num_reviewed)
    np.testing.assert_array_equal(found.rate, same.rate)


def test_without_a_verdict_nothing_is_shown():
    given, _, p_wrong = population(100)
    found = reviewed_matrix(plan_of(given, p_wrong), judged([], *population(9)[:2]))
    assert not found.is_shown.any() and not found.pairs and found.num_reviewed.sum() == 0
