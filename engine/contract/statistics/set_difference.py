"""How much one set of samples differs from random sets of the same classes, under several predictors, and how surely.

R repetitions: each has its own predictor and its own random set, which was drawn from a pool without the set. S samples
of the set, M of each random set, C classes. Numbers that many samples have under many predictors vary for three
reasons, and the interval has one variance for each:

    the set is a sample           (s2(mean over repetitions of each sample of the set, within classes) - s2_RS / R) / S
    so is the pool                s2(values of the random sets, within classes) * sum_c share_c^2 / pool_c
    seed, and which were drawn    s2(difference, over repetitions) / R

s2_RS is the mean square of what sample and repetition do together, which the third has in it (two crossed random
effects: Searle, Casella, McCulloch, Variance Components, 1992). Student's t, its degrees of freedom after Satterthwaite
(1946): few repetitions widen it. What is not in it: other training data.
"""

from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit

from engine.contract.statistics.intervals import CONFIDENCE, Interval


@dataclass(frozen=True, kw_only=True, slots=True)
class SetDifference:
    """A figure of a set, of random sets with its share of each class, and the difference."""

    num_set: int
    """Samples of the set, of classes that the random sets have as well."""
    num_random: float
    """Samples of a random set, on average."""
    of_set: float
    of_random: float
    difference: Interval
    """of_set - of_random; num: repetitions. Without ends where there are fewer than two of them, or fewer samples than
    tell how much they vary."""


def set_difference(set_RS: np.ndarray, set_class_S: np.ndarray, random_RM: np.ndarray, random_class_M: np.ndarray,
                   pool_C: np.ndarray, *, counts_S: np.ndarray | None = None,
                   counts_RM: np.ndarray | None = None) -> SetDifference | None:
    """The difference of a figure that each sample has under each predictor.

    set_RS, random_RM: float. set_class_S, random_class_M: int codes; every random set has the same classes in the same
    places. pool_C: how many samples of each class the random sets were drawn from, those that do not count left out.
    counts_S, counts_RM: bool, which samples count at all; None: all do. Random samples are weighed so that each class
    has the share that it has in the set; classes that only one side has are left out. None where nothing is left.
    """
    if counts_S is not None:
        set_RS, set_class_S = set_RS[:, counts_S], set_class_S[counts_S]
    counts_RM = np.ones(random_RM.shape, dtype=bool) if counts_RM is None else counts_RM
    counts_RM = counts_RM & np.isin(random_class_M, set_class_S)
    is_in_S = np.isin(set_class_S, random_class_M[counts_RM.any(0)])
    set_RS, set_class_S = set_RS[:, is_in_S], set_class_S[is_in_S]
    has_any_R = counts_RM.any(1)
    set_RS, random_RM, counts_RM = set_RS[has_any_R], random_RM[has_any_R], counts_RM[has_any_R]
    num_repeats, num = set_RS.shape
    if not num or not num_repeats:
        return None
    share_C = np.bincount(set_class_S, minlength=len(pool_C)) / num
    drawn_C = np.bincount(random_class_M, weights=counts_RM.sum(0), minlength=len(pool_C))
    weight_C = np.divide(share_C, drawn_C, out=np.zeros(len(pool_C)), where=drawn_C > 0)
    weight_RM = np.where(counts_RM, weight_C[random_class_M], 0.0)
    random_R = (weight_RM * random_RM).sum(1) / weight_RM.sum(1)
    difference_R = set_RS.mean(1) - random_R
    mean = float(difference_R.mean())
    parts = _variances(set_RS, set_class_S, (random_RM - random_R[:, None])[counts_RM],
                       np.broadcast_to(random_class_M, random_RM.shape)[counts_RM], share_C, pool_C, difference_R)
    half = _half_width(parts)
    return SetDifference(
        num_set=num, num_random=float(counts_RM.sum(1).mean()), of_set=float(set_RS.mean()),
        of_random=float(random_R.mean()), difference=Interval(
            num=num_repeats, mean=mean, low=None if half is None else mean - half,
            high=None if half is None else mean + half))


def _variances(set_RS: np.ndarray, set_class_S: np.ndarray, random_n: np.ndarray, random_class_n: np.ndarray,
               share_C: np.ndarray, pool_C: np.ndarray, difference_R: np.ndarray) -> list[tuple[float, float]]:
    """(variance, its degrees of freedom) of each reason."""
    of_set, degrees = _within(set_RS.mean(0), set_class_S)
    of_set = max(of_set - _together(set_RS) / len(set_RS), 0.0)
    of_pool, pool_degrees = _within(random_n, random_class_n)
    is_drawn = share_C > 0
    over_pool = float((share_C[is_drawn] ** 2 / np.maximum(pool_C[is_drawn], 1)).sum())
    num_repeats = len(difference_R)
    of_repeats = float(difference_R.var(ddof=1)) / num_repeats if num_repeats > 1 else 0.0
    return [(of_set / set_RS.shape[1], degrees), (of_pool * over_pool, pool_degrees), (of_repeats, num_repeats - 1)]


def _together(values_RS: np.ndarray) -> float:
    """The mean square of what is left of values without the means of their repetition and of their sample."""
    degrees = (values_RS.shape[0] - 1) * (values_RS.shape[1] - 1)
    left = values_RS - values_RS.mean(0) - values_RS.mean(1, keepdims=True) + values_RS.mean()
    return float(np.square(left).sum()) / degrees if degrees else 0.0


def _within(values_n: np.ndarray, class_n: np.ndarray) -> tuple[float, float]:
    """The variance of values about the mean of their class, and its degrees of freedom."""
    counts = np.bincount(class_n)
    means = np.bincount(class_n, weights=values_n) / np.maximum(counts, 1)
    degrees = len(values_n) - int((counts > 0).sum())
    return (float(np.square(values_n - means[class_n]).sum()) / degrees if degrees > 0 else 0.0), degrees


def _half_width(parts: list[tuple[float, float]]) -> float | None:
    """Half the 95% interval; None where one of the variances cannot be told."""
    if any(degrees < 1 for _, degrees in parts):
        return None
    variance = sum(part for part, _ in parts)
    if variance <= 0.0:
        return 0.0
    degrees = variance ** 2 / sum(part ** 2 / own for part, own in parts)
    return float(stdtrit(degrees, 0.5 + CONFIDENCE / 2)) * float(np.sqrt(variance))
