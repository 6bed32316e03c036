"""Means with 95% t intervals, of one sequence or of paired differences. Imports no torch."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats


@dataclass(frozen=True, kw_only=True, slots=True)
class Interval:
    """A mean and its 95% t interval; low and high are None for fewer than two values, mean as well for none."""

    num: int
    mean: float | None
    low: float | None
    high: float | None


def t_interval(values: Sequence[float] | np.ndarray) -> tuple[float, float, float] | None:
    """(mean, low, high) of the 95% t interval of the mean of `values` (n,); None for n < 2."""
    n = len(values)
    if n < 2:
        return None
    mean = float(np.mean(values))
    half = float(stats.t.ppf(0.975, n - 1) * np.std(values, ddof=1) / np.sqrt(n))
    return mean, mean - half, mean + half


def mean_interval(values: Sequence[float] | np.ndarray) -> Interval:
    """The mean of `values` (n,) with its 95% t interval, as far as n allows."""
    mean, low, high = t_interval(values) or (float(values[0]) if len(values) else None, None, None)
    return Interval(num=len(values), mean=mean, low=low, high=high)


def paired_interval(a: Sequence[float] | np.ndarray, b: Sequence[float] | np.ndarray) -> Interval:
    """b minus a over pairs, position by position (both (n,)), with the 95% t interval of the mean."""
    return mean_interval(np.asarray(b, dtype=float) - np.asarray(a, dtype=float))
