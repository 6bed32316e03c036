"""How many samples of a population, or of a part of it, are so: an estimate from stratified reviews, with its interval.

The estimate is what a working model expects of every sample, plus the reviews' mean difference from it, stratum by
stratum, times the stratum's size. Any model does: a bad one costs width, not truth. Finite population: a stratum that
has been reviewed to the end adds no variance. Knows nothing of labels (curation.audit.estimate.noise_rate): y is any 0
or 1.

In simulation the model makes the interval 4% (40% wrong) and 14% (9%) narrower at 500 reviews than strata alone.

Interval: Wilson's, for as many reviews as a simple random sample of that variance would have had ("effective").
Each stratum's variance leans on the model's by PRIOR_REVIEWS, so that three equal verdicts are no certainty; UNSEEN
is for a model that takes wrong labels for right ones, of which none may have been drawn yet; strata without a review
widen the interval by all they could hold.
"""

from dataclasses import dataclass

import numpy as np

from engine.contract.statistics.intervals import CONFIDENCE, wilson_interval

PRIOR_REVIEWS = 2.0
UNSEEN = 0.5
"""Squares of a review's mean weight that the variance of the overall rate has on top of what was seen. Without them the
interval holds the truth in 86 to 95% of audits of 200 to 560 reviews where 3 wrong labels in 10 look right to the model
and 1 or 2% are wrong; with 1, in 98 to 100%. Of classes and cells the interval is wide enough without."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Total:
    """An estimated number of samples, with the 95% interval; all in [0, num_population]."""

    total: float
    low: float
    high: float
    variance: float
    """Of the total, in samples squared; with `unseen`."""
    unseen: float
    """What of it num_unseen adds."""
    effective: float
    """Simple random reviews that the interval is as wide as; inf where all is known."""
    t2: float
    """Student's t squared of the interval."""
    num_reviews: int
    num_population: int
    """Of the domain."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Expected:
    """What is known of a domain before any review, by stratum; all (H,)."""

    sizes: np.ndarray
    """Samples in the stratum, in the domain or not."""
    sizes_in: np.ndarray
    """Of these, in the domain."""
    total: np.ndarray
    """Sum of the working model's expectations m over the domain."""
    noise: np.ndarray
    """Sum of m (1 - m) over the domain."""


def expect(stratum: np.ndarray, m: np.ndarray, domain: np.ndarray, num_domains: int) -> list[Expected]:
    """stratum, m, domain: (N,), domain a code from 0 to num_domains - 1. One entry a domain."""
    sizes = np.bincount(stratum)
    shape = (len(sizes), num_domains)
    cell = stratum.astype(np.int64) * num_domains + domain
    counts, total, noise = (np.bincount(cell, weights=x, minlength=shape[0] * num_domains).reshape(shape)
                            for x in (None, m, m * (1 - m)))
    return [Expected(sizes=sizes, sizes_in=counts[:, d].astype(np.int64), total=total[:, d], noise=noise[:, d])
            for d in range(num_domains)]


def total_of(expected: Expected, h: np.ndarray, difference: np.ndarray, is_in: np.ndarray,
             residual: np.ndarray, num_unseen: float = 0.0) -> Total:
    """h, difference, is_in, residual: (n,) of each review its stratum, y - m, whether it is of the domain, and y - m
    as the variance should see it: m fitted without the help of that very review; num_unseen: UNSEEN, or none."""
    sizes, sizes_in = expected.sizes, expected.sizes_in
    taken, num_in = np.bincount(h, minlength=len(sizes)), np.bincount(h[is_in], minlength=len(sizes))
    parts = expected.total + sizes * _mean(difference * is_in, h, taken)
    prior = PRIOR_REVIEWS * sizes / np.maximum(sizes_in, 1)  # as many of the domain's own
    spread = parts_variance(residual * is_in, h, sizes, taken, expected.noise / sizes, prior)
    num_reviews, num_population = int(is_in.sum()), int(sizes_in.sum())
    unseen = num_unseen * mean_weight(sizes, sizes_in, taken) ** 2
    variance = float(spread.sum()) + unseen
    is_blind = (taken == 0) & (sizes_in > 0)
    num_blind = int(sizes_in[is_blind].sum())
    total, seen = float(np.clip(parts.sum(), 0, num_population)), num_population - num_blind
    if not seen:
        return Total(total=total, low=0.0, high=float(num_population), variance=variance, unseen=unseen, effective=0.0,
                     t2=0.0, num_reviews=num_reviews, num_population=num_population)
    share = float(np.clip(parts[~is_blind].sum() / seen, 0, 1))
    effective = _effective(share, float(expected.total[~is_blind].sum()) / seen, variance / seen ** 2, num_reviews)
    t2 = _t_squared(spread, num_in, expected.noise / np.maximum(sizes_in, 1))
    low, high = wilson_interval(share, effective, np.sqrt(t2))
    return Total(total=total, low=min(float(low) * seen, total), high=max(float(high) * seen + num_blind, total),
                 variance=variance, unseen=unseen, effective=effective, t2=t2, num_reviews=num_reviews,
                 num_population=num_population)


def mean_weight(sizes: np.ndarray, sizes_in: np.ndarray, taken: np.ndarray) -> float:
    """What a review stands for besides itself, in samples, at the mean over the domain; strata without one left out."""
    is_seen = taken > 0
    weight = (sizes - taken) / np.maximum(taken, 1)
    return float((sizes_in * weight)[is_seen].sum() / max(sizes_in[is_seen].sum(), 1))


def parts_variance(residual: np.ndarray, h: np.ndarray, sizes: np.ndarray, taken: np.ndarray,
                   noise: np.ndarray, prior: float | np.ndarray) -> np.ndarray:
    """(H,) variance of each stratum's estimated total; 0 for strata reviewed to the end or not at all.

    residual, h: (n,) and its stratum; noise: (H,) variance of a residual by the model. prior = 0 is the
    textbook's unbiased estimate.
    """
    squares = np.bincount(h, weights=(residual - _mean(residual, h, taken)[h]) ** 2, minlength=len(sizes))
    per_review = (squares + prior * noise) / np.maximum(taken - 1 + prior, 1e-9)
    return np.where(taken > 0, sizes * (sizes - taken) * per_review / np.maximum(taken, 1), 0.0)


def _mean(x: np.ndarray, h: np.ndarray, taken: np.ndarray) -> np.ndarray:
    means: np.ndarray = np.bincount(h, weights=x, minlength=len(taken)) / np.maximum(taken, 1)
    return means


def _effective(share: float, expected: float, variance: float, num_reviews: int) -> float:
    """Simple random reviews of that variance (of the share); `expected`, the model's share, keeps it off 0 and 1."""
    kept = (num_reviews * share + PRIOR_REVIEWS * expected) / (num_reviews + PRIOR_REVIEWS)
    return kept * (1 - kept) / variance if variance > 0 else np.inf


def _t_squared(spread: np.ndarray, num_in: np.ndarray, noise: np.ndarray) -> float:
    """Student's t squared, with Satterthwaite's degrees of freedom of the sum of the strata's variances.

    A rare error tells little of its variance: n reviews of p (1 - p) = noise have 2 n / (kurtosis - 1) degrees of
    freedom, the kurtosis less 1 being 1 / noise - 4, if that is fewer than n.
    """
    from scipy.special import stdtrit  # scipy.stats would take half a second to import

    tail = np.maximum(1 / np.maximum(noise, 1e-9) - 4, 2.0)
    below = (spread ** 2 / (2 / tail * np.maximum(num_in - 1, 0) + PRIOR_REVIEWS)).sum()
    degrees = spread.sum() ** 2 / below if below > 0 else 1e9
    return float(stdtrit(degrees, 0.5 + CONFIDENCE / 2)) ** 2
