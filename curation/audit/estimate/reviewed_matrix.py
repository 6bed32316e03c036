"""Given label x true label as reviews have it: estimates for the whole population, with intervals. These may be quoted.

They stand on the random queue alone. Every cell is estimated as the noise rate is (curation.audit.estimate.estimator),
with the same working model, so a row's errors add up to the noise rate of its class: samples that are wrong, but in
dispute as what, among them, in a column of their own. What is too thin to be quoted is not shown:

    a row with fewer than MIN_ROW reviewed samples, and
    a cell whose reviewed samples count for fewer than MIN_CELL (Kish's effective number, by weight N_h / n_h).

Three errors seen may be one to nine expected (95%, Poisson): beneath that a cell says no more than "it happens"; and
one heavy sample among many light ones decides a cell alone, which the effective number sees and a count does not.
In simulation the intervals of cells that are always shown cover the truth in 93 to 97% of audits. A rare cell is shown
only by the luck of being seen often, and then tends to be overstated: read one with few reviews as "at most".
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from curation.audit.estimate.allocation import rows_of
from curation.audit.estimate.estimator import Expected, Total, expect, total_of
from curation.audit.estimate.sampling_plan import Plan
from curation.audit.estimate.working_model import fit

MIN_CELL = 3
MIN_ROW = 10
NUM_MORE = 2
"""Columns after the classes: none of them; wrong, undecided what."""
PRIOR_SPREAD = 2.0
"""Errors that a class is thought to have spread evenly over the others, before its own are seen."""


@dataclass(frozen=True, slots=True)
class ReviewedMatrix:
    """Rows: C given classes; columns: C true classes, then "none of them", then "wrong, undecided what". Rates are
    shares of the row, in [0, 1]."""

    num_reviewed: np.ndarray
    """(C, C + 2) int64 reviewed samples in each cell; their sums are the reviews of each row."""
    num_population: np.ndarray
    """(C,) int64 samples given each class."""
    rate: np.ndarray
    """(C, C + 2) float64, NaN where not shown."""
    low: np.ndarray
    high: np.ndarray
    """Ends of the 95% interval, NaN where not shown."""
    is_row_shown: np.ndarray
    """(C,) bool: the row has MIN_ROW reviews."""
    pairs: dict[tuple[int, int], Total]
    """(a, b), a < b: samples given one of the two that truly are the other; only where MIN_CELL allows."""

    @property
    def is_shown(self) -> np.ndarray:
        """(C, C + 2) bool."""
        shown: np.ndarray = np.isfinite(self.rate)
        return shown

    @property
    def count(self) -> np.ndarray:
        """(C, C + 2) float64 estimated samples of the population, NaN where not shown."""
        count: np.ndarray = self.rate * self.num_population[:, None]
        return count


@dataclass(frozen=True, slots=True)
class _Reviews:
    """What the cells are estimated from. n reviews."""

    given: np.ndarray
    """(n,) codes of the given class."""
    truth: np.ndarray
    """(n,) codes of the true class, C: none of them, C + 1: wrong, undecided what."""
    stratum: np.ndarray
    weight: np.ndarray
    """(n,) N_h / n_h."""
    p_wrong: np.ndarray
    """(n,) what the working model expects."""
    p_without: np.ndarray
    """(n,) what it expects when fitted without that review."""
    expected: list[Expected]
    """What it expects of each given class before any review."""
    spread: np.ndarray
    """(C, C + 2): where the errors of a given class go; rows sum to 1, the diagonal is 0."""


def reviewed_matrix(plan: Plan, verdicts: pd.DataFrame) -> ReviewedMatrix:
    """Estimate every cell that has enough reviews.

    verdicts: sample_id, is_wrong (True, False; None: unsure, left out), label (the true class where is_wrong; null:
    none of the classes) and state, as curation.audit.reviews.consensus has them, one row a sample that the
    random queue drew. Wrong but "disputed" counts as wrong, undecided what. Ids outside the plan are left out.
    """
    num_classes = len(plan.classes)
    reviews = _reviews(plan, verdicts, num_classes)
    given = reviews.given
    cells = (num_classes, num_classes + NUM_MORE)
    num_reviewed = np.zeros(cells, dtype=np.int64)
    np.add.at(num_reviewed, (given, reviews.truth), 1)
    effective = _effective(reviews, given * cells[1] + reviews.truth, cells[0] * cells[1]).reshape(cells)
    is_row_shown = num_reviewed.sum(axis=1) >= MIN_ROW
    rate, low, high = (np.full(cells, np.nan) for _ in range(3))
    for code, truth in np.argwhere((effective >= MIN_CELL) & is_row_shown[:, None]):
        found = _total(reviews, [(int(code), int(truth))])
        num = found.num_population
        rate[code, truth], low[code, truth], high[code, truth] = found.total / num, found.low / num, found.high / num
    num_population = np.array([int(expected.sizes_in.sum()) for expected in reviews.expected])
    return ReviewedMatrix(num_reviewed=num_reviewed, num_population=num_population, rate=rate, low=low, high=high,
                          is_row_shown=is_row_shown, pairs=_pairs(reviews, num_classes))


def _reviews(plan: Plan, verdicts: pd.DataFrame, num_classes: int) -> _Reviews:
    """The judged samples of the plan with their true class and weight, and the working model of what is wrong."""
    population = plan.population
    given, stratum = population["given"].to_numpy(dtype=np.int64), population["stratum"].to_numpy(dtype=np.int64)
    rows = rows_of(plan, verdicts["sample_id"].tolist())
    codes = verdicts["label"].map({name: code for code, name in enumerate(plan.classes)}).fillna(num_classes)
    codes[verdicts["state"].eq("disputed")] = num_classes + 1
    is_wrong = verdicts["is_wrong"].astype("boolean")
    is_judged = (rows >= 0) & is_wrong.notna().to_numpy()
    rows, wrong = rows[is_judged], is_wrong[is_judged].to_numpy(dtype=bool)
    truth = np.where(wrong, codes.to_numpy(dtype=np.int64)[is_judged], given[rows])
    num_taken = np.bincount(stratum[rows], minlength=plan.num_strata)
    model = fit(population["p_wrong"].to_numpy(), given, rows, wrong.astype(np.float64))
    spread = np.full((num_classes, num_classes + NUM_MORE), PRIOR_SPREAD / num_classes)
    spread[:, -1] = 0  # no dispute is expected
    np.add.at(spread, (given[rows[wrong]], truth[wrong]), 1.0)
    spread[np.arange(num_classes), np.arange(num_classes)] = 0
    return _Reviews(given=given[rows], truth=truth, stratum=stratum[rows],
                    weight=plan.sizes[stratum[rows]] / num_taken[stratum[rows]], p_wrong=model.expected[rows],
                    p_without=wrong - model.residual, expected=expect(stratum, model.expected, given, num_classes),
                    spread=spread / spread.sum(axis=1, keepdims=True))


def _effective(reviews: _Reviews, cell: np.ndarray, num_cells: int) -> np.ndarray:
    """(num_cells,) Kish's effective number of the reviews in each cell; cell: (n,), -1: none."""
    is_in = cell >= 0
    sums, squares = (np.bincount(cell[is_in], weights=weights[is_in], minlength=num_cells)
                     for weights in (reviews.weight, reviews.weight ** 2))
    return np.divide(sums ** 2, squares, out=np.zeros(num_cells), where=squares > 0) + 1e-9


def _total(reviews: _Reviews, cells: list[tuple[int, int]]) -> Total:
    """Samples in the cells (given, true), each of another row, among all samples of these rows."""
    parts = []
    is_in = np.zeros(len(reviews.given), dtype=bool)
    difference, residual = np.zeros(len(is_in)), np.zeros(len(is_in))
    for code, truth in cells:
        row = reviews.expected[code]
        sign, share = (-1.0, 1.0) if truth == code else (1.0, float(reviews.spread[code, truth]))
        total = row.sizes_in - row.total if truth == code else share * row.total
        noise = share * row.total - share ** 2 * (row.total - row.noise)  # of m = share * p: sum of m - m^2
        parts.append((row.sizes_in, total, noise))
        is_row, hit = reviews.given == code, reviews.truth == truth
        is_in |= is_row
        for target, p in ((difference, reviews.p_wrong), (residual, reviews.p_without)):
            expected = sign * share * p + (truth == code)
            target[is_row] = (hit - expected)[is_row]
    sizes_in, total, noise = (np.sum(part, axis=0) for part in zip(*parts, strict=True))
    domain = Expected(sizes=reviews.expected[0].sizes, sizes_in=sizes_in, total=total, noise=noise)
    return total_of(domain, reviews.stratum, difference, is_in, residual)


def _pairs(reviews: _Reviews, num_classes: int) -> dict[tuple[int, int], Total]:
    """Mix-ups of two classes, both ways together, where enough of them were reviewed."""
    first, second = np.minimum(reviews.given, reviews.truth), np.maximum(reviews.given, reviews.truth)
    is_mixed = (first != second) & (reviews.truth < num_classes)
    pair = np.where(is_mixed, first * num_classes + second, -1)
    effective = _effective(reviews, pair, num_classes * num_classes)
    found = {}
    for code in np.flatnonzero(effective >= MIN_CELL):
        a, b = divmod(int(code), num_classes)
        found[a, b] = _total(reviews, [(a, b), (b, a)])
    return found
