"""Totals, their variance and interval, against enumeration of all samples, closed forms and libraries."""

import itertools

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.stats import bernoulli, t

from curation.audit.estimate.estimator import Total, expect, parts_variance, total_of
from curation.audit.estimate.working_model import SD_CLASS, SD_LEVEL, SD_SLOPE, fit

SIZES, TAKEN = (4, 3, 2, 3), (2, 2, 2, 2)
STRATUM = np.repeat(np.arange(4), SIZES)
Y = np.array([1, 0, 0, 1, 1, 1, 0, 1, 0, 0, 1, 0])
M = np.array([.6, .2, .3, .8, .7, .9, .4, .5, .5, .1, .6, .2])
DOMAIN = np.array([1, 1, 0, 1, 0, 1, 1, 1, 0, 1, 1, 1], dtype=bool)


def total(rows: np.ndarray, m: np.ndarray = M, domain: np.ndarray | None = None, num_unseen: float = 0.0) -> Total:
    """Of a sample, by a model that no review has bent."""
    inside = np.ones(12, dtype=bool) if domain is None else domain
    difference = (Y - m)[rows]
    return total_of(expect(STRATUM, m, inside, 2)[1], STRATUM[rows], difference, inside[rows],
                    difference * inside[rows], num_unseen)


def all_samples() -> list[np.ndarray]:
    """Rows of every possible stratified sample: 6 * 3 * 1 * 3 = 54."""
    parts = [itertools.combinations(np.flatnonzero(STRATUM == h), n) for h, n in enumerate(TAKEN)]
    return [np.concatenate([*map(np.array, choice)]) for choice in itertools.product(*parts)]


@pytest.mark.parametrize("domain", [None, DOMAIN])
def test_the_total_is_unbiased_over_all_samples_and_so_is_its_variance(domain: np.ndarray | None):
    inside = np.ones(12, dtype=bool) if domain is None else domain
    totals, variances = [], []
    for rows in all_samples():
        totals.append(total(rows, M, domain).total)
        difference = (Y - M)[rows] * inside[rows]
        variances.append(parts_variance(difference, STRATUM[rows], np.array(SIZES), np.array(TAKEN), np.zeros(4),
                                        0.0).sum())
    assert np.mean(totals) == pytest.approx(Y[inside].sum())
    assert np.mean(variances) == pytest.approx(np.var(totals))
    # and the textbook's: sum of N_h^2 (1 - n_h / N_h) S_h^2 / n_h
    closed = sum(N * (N - n) / n * np.var(((Y - M) * inside)[STRATUM == h], ddof=1)
                 for h, (N, n) in enumerate(zip(SIZES, TAKEN, strict=True)))
    assert np.var(totals) == pytest.approx(closed)


def test_the_variance_leans_on_the_model_by_the_prior_reviews():
    residual, h = np.array([0.5, -0.5, 0.1, 0.1]), np.array([0, 0, 1, 1])
    sizes, taken, noise = np.array([10, 8]), np.array([2, 2]), np.array([0.2, 0.3])
    found = parts_variance(residual, h, sizes, taken, noise, 2.0)
    by_hand = [10 * 8 / 2 * (0.5 + 2 * 0.2) / 3, 8 * 6 / 2 * (0.0 + 2 * 0.3) / 3]
    assert found == pytest.approx(by_hand)


@pytest.mark.parametrize("level", [1.0, 0.05])
def test_students_t_has_the_degrees_of_freedom_that_rare_errors_leave(level: float):
    m = level * M
    rows = all_samples()[0]
    found = total(rows, m)
    noise = np.array([(m * (1 - m))[STRATUM == h].mean() for h in range(4)])
    parts = parts_variance((Y - m)[rows], STRATUM[rows], np.array(SIZES), np.array(TAKEN), noise, 2.0)
    # a Bernoulli's s^2 has variance s^4 (kurtosis - 1) / n, a normal's 2 s^4 / (n - 1); two prior reviews on top
    p = (1 + np.sqrt(1 - 4 * noise)) / 2
    kurtosis = 3 + bernoulli.stats(p, moments="k")
    each = 2 + 2 * (2 - 1) / np.maximum(kurtosis - 1, 2)
    assert found.variance == pytest.approx(parts.sum())
    # half a review of the mean weight: two of four, of three, of three are reviewed, and all of two
    more, weight = total(rows, m, num_unseen=0.5), (4 * 2 / 2 + 3 * 1 / 2 + 2 * 0 + 3 * 1 / 2) / 12
    assert more.unseen == pytest.approx(0.5 * weight ** 2)
    assert more.variance == pytest.approx(parts.sum() + more.unseen) and more.total == found.total
    assert found.t2 == pytest.approx(t.ppf(0.975, parts.sum() ** 2 / (parts ** 2 / each).sum()) ** 2)


def test_expectations_add_up_by_stratum_and_domain():
    domain = np.arange(12) % 3
    for d, found in enumerate(expect(STRATUM, M, domain, 3)):
        for h in range(4):
            inside = (STRATUM == h) & (domain == d)
            assert found.sizes_in[h] == inside.sum() and found.sizes[h] == SIZES[h]
            assert found.total[h] == pytest.approx(M[inside].sum())
            assert found.noise[h] == pytest.approx((M * (1 - M))[inside].sum())


def test_the_working_model_is_the_mode_of_its_posterior():
    rng = np.random.default_rng(0)
    guess, group = rng.uniform(0.01, 0.99, 200), rng.integers(0, 3, 200)
    rows = rng.permutation(200)[:60]
    y = (rng.random(60) < guess[rows] ** 2).astype(float)
    logit = np.log(guess / (1 - guess))

    def loss(beta: np.ndarray) -> float:
        x = beta[0] + beta[1] * logit[rows] + beta[2:][group[rows]]
        prior = (beta[0] / SD_LEVEL) ** 2 + ((beta[1] - 1) / SD_SLOPE) ** 2 + (beta[2:] ** 2).sum() / SD_CLASS ** 2
        return float(np.logaddexp(0, x).sum() - y @ x + prior / 2)

    beta = minimize(loss, np.r_[0, 1, 0, 0, 0], tol=1e-10).x
    by_hand = 1 / (1 + np.exp(-(beta[0] + beta[1] * logit + beta[2:][group])))
    found = fit(guess, group, rows, y)
    assert found.expected == pytest.approx(by_hand, abs=1e-4)
    for i in range(0, 60, 7):  # the residual is of a fit without that review
        others = np.delete(np.arange(60), i)
        without = fit(guess, group, rows[others], y[others]).expected[rows[i]]
        assert found.residual[i] == pytest.approx(y[i] - without, abs=0.02)


@pytest.mark.parametrize("power", [1, 8])
def test_the_working_model_converges_however_sure_the_guess_is(power: int):
    rng = np.random.default_rng(1)
    odds = rng.normal(size=3000)
    guess = 1 / (1 + np.exp(-power * odds))
    rows = np.arange(400)
    y = (rng.random(400) < 1 / (1 + np.exp(2 - odds[rows]))).astype(float)
    truth = (1 / (1 + np.exp(2 - odds))).mean()
    assert fit(guess, np.zeros(3000, dtype=int), rows, y).expected.mean() == pytest.approx(truth, abs=0.03)
