"""Intervals of means and shares, against scipy and by hand."""

import numpy as np
import pytest
from scipy import stats

from engine.contract.statistics.intervals import mean_interval, paired_interval, t_half_width, wilson_interval


def test_intervals_of_means_agree_with_scipy_and_need_two_values():
    values = np.random.default_rng(0).normal(size=7)
    low, high = stats.t.interval(0.95, 6, values.mean(), stats.sem(values))
    found = mean_interval(values)
    assert (found.mean, found.low, found.high) == pytest.approx((values.mean(), low, high)) and found.num == 7
    assert [(i.num, i.mean, i.low, i.high) for i in (mean_interval([2.0]), mean_interval([]))] == [
        (1, 2.0, None, None), (0, None, None, None)]
    assert paired_interval([1.0, 2.0], [4.0, 7.0]).mean == pytest.approx(4.0)


def test_equal_values_have_an_interval_without_width():
    found = mean_interval([3.0, 3.0, 3.0])
    assert (found.mean, found.low, found.high) == (3.0, 3.0, 3.0)


def test_half_widths_of_many_means_at_once_are_nan_below_two():
    half = t_half_width(np.array([np.nan, 1.0, 2.0]), np.array([1, 2, 5]))
    assert np.isnan(half[0]) and half[1:] == pytest.approx(stats.t.ppf(0.975, [1, 4]) * [1 / 2**0.5, 2 / 5**0.5])


@pytest.mark.parametrize(("num_true", "num"), [(0, 20), (3, 40), (50, 50), (199, 500), (1, 2)])
def test_the_interval_of_a_share_is_wilsons(num_true, num):
    expected = stats.binomtest(num_true, num).proportion_ci(0.95, method="wilson")
    found = wilson_interval(num_true / num, num)
    assert found == (pytest.approx(expected.low, abs=1e-12), pytest.approx(expected.high, abs=1e-12))
    assert 0 <= found[0] <= num_true / num <= found[1] <= 1


def test_a_share_may_be_seen_in_any_number_of_answers_and_at_another_quantile():
    z, share, num = 2.5, 0.3, np.array([7.5, 1e6, np.inf])
    low, high = wilson_interval(share, num, z)
    with np.errstate(invalid="ignore"):
        centre, half = share + z**2 / (2 * num), z * np.sqrt(share * (1 - share) / num + z**2 / (4 * num**2))
    assert low == pytest.approx((centre - half) / (1 + z**2 / num), abs=1e-12)
    assert high == pytest.approx((centre + half) / (1 + z**2 / num), abs=1e-12)
    assert low[2] == high[2] == share, "nothing is open"
