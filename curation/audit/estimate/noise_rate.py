"""The share of wrong given labels, overall and by class, with 95% intervals: the numbers that are signed.

From the estimate queue's verdicts alone, drawn at random by a frozen plan; the find queue never enters. How many more
reviews a wanted precision is expected to take, too; when one may stop, curation.audit.estimate.looks says. The
arithmetic is curation.audit.estimate.estimator's.

Not judged and unsure: an unsure (or disputed) sample counts as not answered, as if its stratum's other answers spoke
for it; `bounds` says what would hold if all of them were wrong, or right. Every sample drawn and judged counts, though
one before it in its stratum's order is still out: the order is random, so those that are in are a random sample as long
as no one chose by the picture which to answer.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from curation.audit.estimate import estimator
from curation.audit.estimate.allocation import MIN_PER_STRATUM, known, next_strata, spreads
from curation.audit.estimate.estimator import Total, expect, total_of
from curation.audit.estimate.goal import MIN_REVIEWS
from curation.audit.estimate.sampling_plan import Plan, cut
from curation.audit.estimate.working_model import WorkingModel, fit
from engine.contract.statistics.intervals import Z, wilson_interval


@dataclass(frozen=True, kw_only=True, slots=True)
class Rate:
    """An estimated share with its 95% interval; all in [0, 1], 1 is bad. None where there is no population."""

    share: float | None
    low: float | None
    high: float | None
    num_reviews: int
    """Answered: wrong or not."""
    num_wrong: int
    """Of these, wrong: a count of reviews, no estimate; they are not drawn with equal chances."""
    num_population: int

    @property
    def half_width(self) -> float:
        """Half the interval's width; 1.0 where there is none."""
        return 1.0 if self.low is None or self.high is None else (self.high - self.low) / 2


@dataclass(frozen=True, kw_only=True, slots=True)
class NoiseRate:
    """What the reviews of one plan say."""

    overall: Rate
    per_class: list[Rate]
    """In the order of plan.classes."""
    num_unsure: int
    bounds: tuple[float, float]
    """(low, high) that hold whatever the unsure ones are: the lower limit with all right, the upper with all wrong."""
    is_complete: bool
    """Every stratum has the reviews that an interval needs; before that it is wide on purpose."""
    num_early: int
    """Answers still wanted before the share may be quoted, not its interval alone: MIN_REVIEWS, and each stratum's
    first; 0: it may."""

    @property
    def quoted(self) -> float | None:
        """The overall share, None as long as it may not be quoted."""
        return None if self.num_early else self.overall.share


def estimate(plan: Plan, verdicts: pd.DataFrame) -> NoiseRate:
    """verdicts: sample_id, is_wrong (True, False; None: unsure or disputed) of the estimate queue, one row a sample.

    0.3 s with 1,000 verdicts on a million samples. Rows of samples that are not in the plan are left out.
    """
    rows, wrong, unsure = known(plan, verdicts)
    model = _model(plan, rows, wrong)
    overall = _total(plan, rows, wrong, model)
    per_class = _per_class(plan, rows, wrong, model)
    rate = _rate(overall, int(wrong.sum()))
    counts = np.bincount(plan.population["stratum"].to_numpy()[rows], minlength=plan.num_strata)
    num_missing = int(np.maximum(np.minimum(MIN_PER_STRATUM, plan.sizes) - counts, 0).sum())
    return NoiseRate(overall=rate, per_class=per_class, num_unsure=len(unsure),
                     bounds=_bounds(plan, rows, wrong, unsure, rate),
                     is_complete=num_missing == 0,
                     num_early=max(min(MIN_REVIEWS, plan.num_population) - len(rows), num_missing, 0))


def reviews_to(plan: Plan, verdicts: pd.DataFrame, half_width: float) -> int | None:
    """Expected number of further answers until the overall interval's half-width is at most this; 0: it is. To end as
    soon as this is 0 would bend the interval (curation.audit.estimate.looks).

    half_width in (0, 1]: 0.01 is one point either way. None while a stratum lacks its first reviews, as it cannot be
    told then, and where unsure answers leave too few. With a share u of unsure answers, 1 / (1 - u) times as many.
    """
    return further_reviews(plan, *known(plan, verdicts), half_width)


def further_reviews(plan: Plan, rows: np.ndarray, wrong: np.ndarray, unsure: np.ndarray,
                    half_width: float) -> int | None:
    """reviews_to of what curation.audit.estimate.allocation.known has: rows (n,), wrong (n,), unsure (u,)."""
    model = _model(plan, rows, wrong)
    stratum = plan.population["stratum"].to_numpy()
    taken = np.bincount(stratum[rows], minlength=plan.num_strata)
    if (taken < np.minimum(MIN_PER_STRATUM, plan.sizes)).any():
        return None
    total = _total(plan, rows, wrong, model)
    if has_reached(_rate(total, 0), half_width):
        return 0
    left = plan.sizes - taken - np.bincount(stratum[unsure], minlength=plan.num_strata)
    further = next_strata(left, taken, spreads(stratum, model.expected), int(left.sum()))
    noise = np.bincount(stratum, weights=model.expected * (1 - model.expected)) * plan.sizes
    seen, weight = (_shrinking(amount, plan.sizes, taken, further) for amount in (noise, plan.sizes ** 2.0))
    variance = (total.variance - total.unseen) * seen + total.unseen * weight ** 2
    with np.errstate(divide="ignore"):
        effective = total.effective * total.variance / variance
    low, high = wilson_interval(total.total / total.num_population, effective, np.sqrt(total.t2))
    is_enough = high - low <= 2 * half_width
    return int(np.argmax(is_enough)) + 1 if is_enough.any() else None


def planned_reviews(p_wrong: np.ndarray, half_width: float) -> int:
    """About how many reviews an overall interval of this half-width takes before there is any, if p_wrong (N,) in
    [0, 1] is right; NaN: may be either. By Neyman's allocation over the strata that a plan would have (Cochran 1977,
    5.25), with a finite population."""
    stratum, _ = cut(p_wrong)
    spread = spreads(stratum, np.nan_to_num(p_wrong, nan=0.5))
    variance = (half_width / Z * len(p_wrong)) ** 2
    return int(np.ceil(spread.sum() ** 2 / (variance + (spread ** 2 / np.bincount(stratum)).sum())))


def has_reached(rate: Rate, half_width: float) -> bool:
    """The interval is at most this wide either way."""
    return rate.half_width <= half_width


def _model(plan: Plan, rows: np.ndarray, wrong: np.ndarray) -> WorkingModel:
    return fit(plan.population["p_wrong"].to_numpy(), plan.population["given"].to_numpy(), rows, wrong)


def _total(plan: Plan, rows: np.ndarray, wrong: np.ndarray, model: WorkingModel) -> Total:
    stratum = plan.population["stratum"].to_numpy()
    expected = expect(stratum, model.expected, np.zeros(len(stratum), dtype=np.int64), 1)[0]
    return total_of(expected, stratum[rows], wrong - model.expected[rows], np.ones(len(rows), dtype=bool),
                    model.residual, estimator.UNSEEN)


def _per_class(plan: Plan, rows: np.ndarray, wrong: np.ndarray, model: WorkingModel) -> list[Rate]:
    stratum, given = plan.population["stratum"].to_numpy(), plan.population["given"].to_numpy()
    rates = []
    for c, expected in enumerate(expect(stratum, model.expected, given, len(plan.classes))):
        is_in = given[rows] == c
        total = total_of(expected, stratum[rows], wrong - model.expected[rows], is_in, model.residual)
        rates.append(_rate(total, int(wrong[is_in].sum())))
    return rates


def _rate(total: Total, num_wrong: int) -> Rate:
    share, low, high = (value / total.num_population if total.num_population else None
                        for value in (total.total, total.low, total.high))
    return Rate(share=share, low=low, high=high, num_reviews=total.num_reviews, num_wrong=num_wrong,
                num_population=total.num_population)


def _bounds(plan: Plan, rows: np.ndarray, wrong: np.ndarray, unsure: np.ndarray, rate: Rate) -> tuple[float, float]:
    if not len(unsure):
        return rate.low or 0.0, 1.0 if rate.high is None else rate.high
    ends = []
    for answer in (0.0, 1.0):
        every, told = np.concatenate([rows, unsure]), np.concatenate([wrong, np.full(len(unsure), answer)])
        ends.append(_total(plan, every, told, _model(plan, every, told)))
    low, high = ends[0].low / plan.num_population, ends[1].high / plan.num_population
    return min(low, rate.low or 0.0), max(high, 1.0 if rate.high is None else rate.high)  # more answers, less width


def _shrinking(amount: np.ndarray, sizes: np.ndarray, taken: np.ndarray, further: np.ndarray) -> np.ndarray:
    """(k,) sum of amount_h (1 / n_h - 1 / N_h) after each further review, as a share of what it is now; exactly 0 where
    all is reviewed. amount, sizes, taken: (H,); further: (k,) strata."""
    end = taken + np.bincount(further, minlength=len(taken))
    turn = taken[further] + _turns(further)
    gain = amount[further] / (turn * (turn + 1.0))
    rest = (amount * (1 / end - 1 / sizes)).sum()  # what the unsure ones leave open
    now = (amount * (1 / taken - 1 / sizes)).sum()
    share: np.ndarray = (rest + np.maximum(np.cumsum(gain[::-1])[::-1] - gain, 0.0)) / now
    return share


def _turns(strata: np.ndarray) -> np.ndarray:
    """(k,) how often each entry has come before."""
    order = np.argsort(strata, kind="stable")
    counts = np.bincount(strata)
    turns = np.empty(len(strata), dtype=np.int64)
    turns[order] = np.arange(len(strata)) - np.repeat(np.cumsum(counts) - counts, counts)
    return turns
