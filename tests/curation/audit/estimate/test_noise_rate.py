"""The noise rate: corners that can be worked out by hand, and simulated audits of a known truth."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm

from curation.audit.estimate.allocation import draw
from curation.audit.estimate.noise_rate import NoiseRate, estimate, has_reached, planned_reviews, reviews_to
from curation.audit.estimate.sampling_plan import Plan, make_plan


def verdicts_of(plan: Plan, rows: np.ndarray, is_wrong: np.ndarray) -> pd.DataFrame:
    ids = plan.population["sample_id"].to_numpy()[rows]
    return pd.DataFrame({"sample_id": ids, "is_wrong": pd.Series(list(is_wrong), dtype=object)})


# -- corners

def small(num: int = 60, seed: int = 0) -> tuple[Plan, np.ndarray]:
    rng = np.random.default_rng(seed)
    p = rng.beta(0.6, 1.2, num).astype(np.float32)
    plan = make_plan(audit="a", run="r", sample_id=np.array([f"s{i}" for i in range(num)]), given=np.arange(num) % 3,
                     p_wrong=p, is_active=np.ones(num, dtype=bool), classes=("a", "b", "c", "none of these"), seed=seed,
                     created=0.0, num_strata=5)
    return plan, rng.random(num) < p


def test_all_reviewed_is_all_known():
    plan, wrong = small()
    told = estimate(plan, verdicts_of(plan, np.arange(60), wrong))
    assert told.overall.share == told.overall.low == told.overall.high == pytest.approx(wrong.mean())
    for c in range(3):
        rate = told.per_class[c]
        assert rate.low == rate.high == pytest.approx(wrong[c::3].mean())
        assert (rate.num_reviews, rate.num_wrong, rate.num_population) == (20, wrong[c::3].sum(), 20)


def test_a_class_without_samples_has_no_rate():
    plan, wrong = small()
    rate = estimate(plan, verdicts_of(plan, np.arange(30), wrong[:30])).per_class[3]
    assert (rate.share, rate.low, rate.high, rate.num_population, rate.half_width) == (None, None, None, 0, 1.0)


@pytest.mark.parametrize("answer", [False, True])
def test_all_alike_so_far_is_no_proof_of_all(answer: bool):
    plan, _ = small(600)
    verdicts = verdicts_of(plan, np.zeros(0, dtype=int), np.zeros(0))
    for _ in range(3):
        ids = draw(plan, verdicts, num=20)
        more = pd.DataFrame({"sample_id": ids, "is_wrong": pd.Series([answer] * len(ids), dtype=object)})
        verdicts = pd.concat([verdicts, more], ignore_index=True)
    told = estimate(plan, verdicts)
    rates = [told.overall, *told.per_class[:3]]
    for rate, least in zip(rates, (0.02, 0.05, 0.05, 0.05), strict=True):
        assert rate.share is not None and rate.low is not None and rate.high is not None
        assert 0 <= rate.low <= rate.share <= rate.high <= 1
        assert rate.half_width * 2 > least
        assert rate.share > 0.9 if answer else rate.share < 0.1


def test_before_every_stratum_has_been_seen_nothing_is_sure():
    plan, wrong = small()
    stratum = plan.population["stratum"].to_numpy()
    none = estimate(plan, verdicts_of(plan, np.zeros(0, dtype=int), np.zeros(0)))
    assert (none.overall.low, none.overall.high, none.is_complete, none.quoted) == (0.0, 1.0, False, None)
    rows = np.flatnonzero(stratum != 2)
    told = estimate(plan, verdicts_of(plan, rows, wrong[rows]))
    unseen = (stratum == 2).sum()
    assert not told.is_complete
    assert told.overall.low == pytest.approx(wrong[rows].sum() / 60)
    assert told.overall.high == pytest.approx((wrong[rows].sum() + unseen) / 60)
    assert reviews_to(plan, verdicts_of(plan, rows, wrong[rows]), 0.05) is None


def test_unsure_ones_are_left_out_and_bounded():
    plan, wrong = small()
    rows = np.arange(50)
    answers = wrong[rows].astype(object)
    answers[::10] = None
    told = estimate(plan, verdicts_of(plan, rows, answers))
    kept = np.array([i for i in rows if i % 10])
    without = estimate(plan, verdicts_of(plan, kept, wrong[kept]))
    assert told.num_unsure == 5 and told.overall == without.overall
    assert without.bounds == (without.overall.low, without.overall.high)
    ends = []
    for answer in (False, True):
        answers[::10] = answer
        ends.append(estimate(plan, verdicts_of(plan, rows, answers)).overall)
    assert told.bounds == pytest.approx((ends[0].low, ends[1].high))
    assert told.overall.low is not None and told.overall.high is not None
    assert told.bounds[0] < told.overall.low and told.overall.high < told.bounds[1]


@pytest.mark.parametrize("half_width", [0.02, 0.05])
def test_the_planned_number_of_reviews_is_what_simple_arithmetic_says_for_equal_probabilities(half_width: float):
    """With one p for all there is one stratum: n = N v / (N e^2 / 1.96^2 + v), the textbook's formula."""
    N, p = 4000, 0.2
    expected = N * p * (1 - p) / (N * (half_width / norm.ppf(0.975)) ** 2 + p * (1 - p))
    assert planned_reviews(np.full(N, p), half_width) == int(np.ceil(expected))
    halves = np.r_[np.full(N // 2, 0.02), np.full(N // 2, 0.38)]
    assert planned_reviews(halves, half_width) < expected, "strata save reviews"
    assert planned_reviews(np.full(N, np.nan), half_width) > expected, "unscored ones may be either"


def test_verdicts_on_strangers_change_nothing():
    plan, wrong = small()
    verdicts = verdicts_of(plan, np.arange(40), wrong[:40])
    stranger = pd.DataFrame({"sample_id": ["of another plan"], "is_wrong": pd.Series([True], dtype=object)})
    assert estimate(plan, pd.concat([verdicts, stranger])) == estimate(plan, verdicts)


def test_a_model_may_be_missing_or_useless():
    wrong = small(600)[1]
    for p_wrong in (np.full(600, np.nan), np.random.default_rng(5).random(600)):
        plan = make_plan(audit="a", run="r", sample_id=np.array([f"s{i}" for i in range(600)]),
                         given=np.arange(600) % 3, p_wrong=p_wrong, is_active=np.ones(600, dtype=bool),
                         classes=("a", "b", "c"), seed=0, created=0.0)
        rows = np.flatnonzero(plan.population["place"] < 240 / plan.num_strata)
        told = estimate(plan, verdicts_of(plan, rows, wrong[rows]))
        for rate, truth in zip([told.overall, *told.per_class], [wrong, *(wrong[c::3] for c in range(3))], strict=True):
            assert rate.low is not None and rate.high is not None and rate.low <= truth.mean() <= rate.high
            assert rate.high - rate.low < 0.25 and rate.num_population == len(truth)


# -- simulated audits

def audits(num: int, budget: int, count: int, level: float) -> tuple[list[NoiseRate], float, np.ndarray]:
    """`count` audits of one population of `num`, with the share wrong of all and of each class."""
    rng = np.random.default_rng(7)
    odds = 2.0 * rng.normal(size=num) + level
    wrong, given = rng.random(num) < 1 / (1 + np.exp(-odds)), rng.integers(0, 3, num)
    guess = (1 / (1 + np.exp(-(1.6 * odds + 0.5)))).astype(np.float32)  # too sure, and too high
    told = []
    for seed in range(count):
        plan = make_plan(audit="a", run="r", sample_id=np.arange(num).astype(str), given=given, p_wrong=guess,
                         is_active=np.ones(num, dtype=bool), classes=("a", "b", "c"), seed=seed, created=0.0)
        verdicts = verdicts_of(plan, np.zeros(0, dtype=int), np.zeros(0))
        while len(verdicts) < budget:
            ids = draw(plan, verdicts, num=budget // 3)
            more = verdicts_of(plan, np.array(ids, dtype=int), wrong[np.array(ids, dtype=int)])
            verdicts = pd.concat([verdicts, more], ignore_index=True)
        told.append(estimate(plan, verdicts))
    return told, float(wrong.mean()), np.array([wrong[given == c].mean() for c in range(3)])


@pytest.mark.parametrize(("num", "budget", "level"), [(600, 240, -0.5), (3000, 150, -3.0)])
def test_the_interval_holds_the_truth_and_is_no_wider_than_it_must_be(num: int, budget: int, level: float):
    told, share, by_class = audits(num, budget, 120, level)
    low, high, middle = (np.array([getattr(x.overall, name) for x in told]) for name in ("low", "high", "share"))
    assert 0.92 <= ((low <= share) & (share <= high)).mean() <= 0.985
    assert middle.mean() == pytest.approx(share, abs=4 * middle.std() / np.sqrt(len(told)))
    # its width is that of the estimates' real spread: a missing correction or weight shows here
    assert (high - low).mean() == pytest.approx(3.92 * middle.std(), rel=0.15)
    plain = 3.92 * np.sqrt(share * (1 - share) / budget * (num - budget) / (num - 1))
    assert (high - low).mean() < 0.85 * plain
    for c, truth in enumerate(by_class):
        rates = [x.per_class[c] for x in told]
        spread = 3.92 * np.std([r.share for r in rates])  # type: ignore[arg-type]
        assert np.mean([r.half_width * 2 for r in rates]) == pytest.approx(spread, rel=0.3)
        assert 0.9 <= np.mean([r.low <= truth <= r.high for r in rates]) <= 1.0  # type: ignore[operator]


def test_the_promised_number_of_reviews_is_about_what_it_takes():
    rng = np.random.default_rng(3)
    odds = 2.0 * rng.normal(size=2000) - 1
    wrong, guess = rng.random(2000) < 1 / (1 + np.exp(-odds)), 1 / (1 + np.exp(-odds))
    promised, took = [], []
    for seed in range(12):
        plan = make_plan(audit="a", run="r", sample_id=np.arange(2000).astype(str), given=np.zeros(2000, dtype=int),
                         p_wrong=guess, is_active=np.ones(2000, dtype=bool), classes=("a",), seed=seed, created=0.0)
        verdicts = verdicts_of(plan, np.zeros(0, dtype=int), np.zeros(0))
        while True:
            told = estimate(plan, verdicts)
            if len(verdicts) == 120:
                promised.append(120 + (reviews_to(plan, verdicts, 0.03) or 0))
            if has_reached(told.overall, 0.03):
                assert reviews_to(plan, verdicts, 0.03) == 0
                break
            ids = np.array(draw(plan, verdicts, num=20), dtype=int)
            verdicts = pd.concat([verdicts, verdicts_of(plan, ids, wrong[ids])], ignore_index=True)
        took.append(len(verdicts))
    assert np.mean(promised) == pytest.approx(np.mean(took), rel=0.1)


def test_the_last_promise_is_the_whole_population():
    plan, wrong = small()
    rows = np.arange(40)
    assert reviews_to(plan, verdicts_of(plan, rows, wrong[rows]), 1e-9) == 20
    answers = wrong.astype(object)
    answers[[5, 6]] = None  # these two stay open for good
    assert reviews_to(plan, verdicts_of(plan, np.arange(60), answers), 1e-9) is None
    assert reviews_to(plan, verdicts_of(plan, rows, answers[:40]), 1e-3) is None


def test_a_little_more_precision_takes_a_few_reviews_and_more_takes_more():
    plan, wrong = small(600)
    verdicts = verdicts_of(plan, np.arange(200), wrong[:200])
    now = estimate(plan, verdicts).overall.half_width
    promises = [reviews_to(plan, verdicts, now * share) for share in (1.0, 0.998, 0.9, 0.8, 0.5)]
    assert promises[0] == 0 and 1 <= promises[1] <= 3
    assert promises == sorted(promises)  # type: ignore[type-var]
