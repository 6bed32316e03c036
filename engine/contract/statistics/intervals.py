"""95% intervals: Student's t of means and of paired differences, Wilson's of shares. Imports no torch."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from scipy.special import ndtr, stdtrit

CONFIDENCE = 0.95
Z = NormalDist().inv_cdf(0.5 + CONFIDENCE / 2)
"""The normal distribution's 97.5%."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Interval:
    """A mean and its 95% t interval; low and high are None for fewer than two values, mean as well for none."""

    num: int
    mean: float | None
    low: float | None
    high: float | None


def mean_interval(values: Sequence[float] | np.ndarray) -> Interval:
    """The mean of `values` (n,) with its 95% t interval, as far as n allows."""
    num = len(values)
    if num < 2:
        return Interval(num=num, mean=float(values[0]) if num else None, low=None, high=None)
    mean, half = float(np.mean(values)), float(t_half_width(float(np.std(values, ddof=1)), num))
    return Interval(num=num, mean=mean, low=mean - half, high=mean + half)


def paired_interval(a: Sequence[float] | np.ndarray, b: Sequence[float] | np.ndarray) -> Interval:
    """b minus a over pairs, position by position (both (n,)), with the 95% t interval of the mean."""
    return mean_interval(np.asarray(b, dtype=float) - np.asarray(a, dtype=float))


def t_half_width(spread: float | np.ndarray, num: int | np.ndarray) -> np.ndarray:
    """Half the 95% t interval of a mean, or of (k,) means: `spread` is the standard deviation (ddof 1) of num values.
    NaN for fewer than two."""
    degrees = np.where(np.asarray(num) >= 2, np.asarray(num, dtype=float) - 1, np.nan)
    half: np.ndarray = stdtrit(degrees, 0.5 + CONFIDENCE / 2) * spread / np.sqrt(degrees + 1)
    return half


def wilson_interval(share: float, num: float | np.ndarray, z: float | None = None) -> tuple[np.ndarray, np.ndarray]:
    """(low, high) of Wilson's interval of a share in [0, 1] that was seen in num > 0 answers; both of num's shape, in
    [0, 1] and on the share's two sides.

    num need not be whole (an effective number) and may be inf: then nothing is open. z: another quantile than the
    normal distribution's 97.5%.
    """
    from statsmodels.stats.proportion import (  # type: ignore[import-untyped]  # takes most of a second
        proportion_confint,
    )

    alpha = 1 - CONFIDENCE if z is None else 2 * float(ndtr(-z))
    is_open = np.isfinite(num)
    finite = np.where(is_open, num, 1.0)
    low, high = proportion_confint(share * finite, finite, alpha, method="wilson")
    return (np.where(is_open, np.clip(low, 0.0, share), share), np.where(is_open, np.clip(high, share, 1.0), share))
