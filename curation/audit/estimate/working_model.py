"""How likely each label is wrong, given the verdicts so far: a curve over p_wrong, and a step for each class.

    logit P(wrong) = a + b logit(p_wrong) + c[class],   a ~ N(0, 2^2), b ~ N(1, 0.5^2), c ~ N(0, 0.5^2)

Fitted by Newton's method to the mode of the posterior. It is a working model in the survey statistician's sense: it
says where reviews tell most and takes the part of the variance that it explains out of an estimate, and where it is
wrong the estimate is less exact, not biased (curation.audit.estimate.estimator). It draws and estimates nothing itself.
"""

from dataclasses import dataclass

import numpy as np

SD_LEVEL, SD_SLOPE, SD_CLASS = 2.0, 0.5, 0.5
CLIP = 1e-3
"""No guess is surer than this before it is fitted."""
NUM_STEPS, TOLERANCE = 50, 1e-7


@dataclass(frozen=True, slots=True)
class WorkingModel:
    expected: np.ndarray
    """(N,) float64 in (0, 1): the fitted probability of y = 1 for every sample of the population."""
    residual: np.ndarray
    """(n,) float64: y minus what the model fitted without that sample expects, in the order of the reviews."""


def fit(guess: np.ndarray, group: np.ndarray, rows: np.ndarray, y: np.ndarray) -> WorkingModel:
    """guess: (N,) in [0, 1], NaN: none; group: (N,) codes from 0; rows: (n,) reviewed; y: (n,) 0 or 1."""
    logit = _logit(guess)
    num_groups = int(group.max()) + 1
    X = np.zeros((len(rows), 2 + num_groups))
    X[:, 0], X[:, 1] = 1, logit[rows]
    X[np.arange(len(rows)), 2 + group[rows]] = 1
    prior = np.r_[0.0, 1.0, np.zeros(num_groups)]
    precision = np.r_[SD_LEVEL, SD_SLOPE, np.full(num_groups, SD_CLASS)] ** -2.0
    beta, inverse = posterior_mode(X, y, prior, precision)
    expected = _expit(beta[0] + beta[1] * logit + beta[2:][group])
    leverage = np.einsum("ij,jk,ik->i", X, inverse, X) * expected[rows] * (1 - expected[rows])
    return WorkingModel(expected=expected, residual=(y - expected[rows]) / (1 - np.minimum(leverage, 0.9)))


def posterior_mode(X: np.ndarray, y: np.ndarray, prior: np.ndarray,
                   precision: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(mode of a logistic model's posterior (K,), inverse of its Hessian there (K, K)).

    X: (n, K); y: (n,) 0 or 1; prior, precision: (K,) mean and 1 / variance of each coefficient's normal prior.
    """
    beta = prior.copy()

    def loss(at: np.ndarray) -> float:
        x = X @ at
        return float(np.logaddexp(0, x).sum() - x @ y + (precision * (at - prior) ** 2).sum() / 2)

    for _ in range(NUM_STEPS):
        mean = _expit(X @ beta)
        hessian = (X.T * (mean * (1 - mean))) @ X + np.diag(precision)
        step = np.linalg.solve(hessian, X.T @ (y - mean) - precision * (beta - prior))
        while loss(beta + step) > loss(beta) and np.abs(step).max() > TOLERANCE:
            step = step / 2  # the curve is flat where p_wrong is far too sure, and a full step leaps out of it
        beta = beta + step
        if np.abs(step).max() <= TOLERANCE:
            break
    return beta, np.linalg.inv(hessian)


def _logit(guess: np.ndarray) -> np.ndarray:
    """(N,) logits; those without a guess take the middle."""
    p = np.clip(np.asarray(guess, dtype=np.float64), CLIP, 1 - CLIP)
    logit = np.log(p / (1 - p))
    is_known = np.isfinite(logit)
    return np.where(is_known, logit, logit[is_known].mean() if is_known.any() else 0.0)


def _expit(x: np.ndarray) -> np.ndarray:
    odds: np.ndarray = np.exp(-x)
    return 1 / (1 + odds)
