"""Given label x true label by the model: to find the way by, never to be quoted.

model_matrix counts what a calibrated model expects; reviewed.py has the estimates that stand on reviews alone.
confident_joint is here for the benchmark's table of biases: it counts about 3 points too few errors on
CIFAR-10N, so it is never shown as a noise rate. Pure functions on arrays of codes: reads no file, draws nothing.

    N samples, C classes; a code is a class's position in the project's classes, -1 for none
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from engine.contract.statistics.confident import confident_class

SUSPECT = 0.5
"""p_wrong from which a sample counts as suspected."""
SLACK = 1e-6
"""By so much a probability may miss its class's threshold, as in the reference code."""


@dataclass(frozen=True, slots=True)
class ModelMatrix:
    """Rows: given label; columns: true label, as far as the model knows."""

    expected: np.ndarray
    """(C, C) float64: expected number of samples of each given and true class."""
    elsewhere: np.ndarray
    """(C,) float64: expected number of wrong labels whose true class the model does not name."""
    suspected: np.ndarray
    """(C, C) int64: samples with p_wrong of SUSPECT or more in the cell of the suggested class, others as given."""
    num_unscored: np.ndarray
    """(C,) int64: samples without p_wrong; they are in no cell."""


@dataclass(frozen=True, slots=True)
class Overlap:
    """Two classes and how often they stand for each other, both ways."""

    name: str
    """As people read it: "Sweater <-> Knitwear"."""
    first: int
    second: int
    num_first: float
    """Samples given as `first` that are truly `second`, as the model expects."""
    num_second: float
    """Samples given as `second` that are truly `first`."""
    share: float
    """Both, over all samples given either class, in [0, 1]; 1 is bad."""


def model_matrix(given: np.ndarray, p_wrong: np.ndarray, suggested: np.ndarray, confidence: np.ndarray,
                 num_classes: int, *, is_active: np.ndarray | None = None) -> ModelMatrix:
    """Count what the model expects: a million samples of 14 classes in about 0.1 s.

    given, suggested: (N,) codes; p_wrong: (N,) in [0, 1], NaN where unknown; confidence: (N,) in [0, 1], probability of
    the suggested class given that the label is wrong, what it leaves over going to `elsewhere`; is_active: (N,) bool,
    all by default.
    """
    given, suggested = np.asarray(given, dtype=np.int64), np.asarray(suggested, dtype=np.int64)
    p = np.asarray(p_wrong, dtype=np.float64)
    is_in = (given >= 0) & (np.True_ if is_active is None else is_active)
    num_unscored = np.bincount(given[is_in & np.isnan(p)], minlength=num_classes)
    rows = np.flatnonzero(is_in & ~np.isnan(p))
    given, suggested, p = given[rows], suggested[rows], p[rows]
    has_name = (suggested >= 0) & (suggested != given)
    is_suspect = (p >= SUSPECT) & has_name
    suspected = _cells(given, np.where(is_suspect, suggested, given), None, num_classes)
    suspected -= np.diag(np.bincount(given[(p >= SUSPECT) & ~has_name], minlength=num_classes))
    expected = np.diag(np.bincount(given, weights=1 - p, minlength=num_classes)).astype(np.float64)
    named = np.where(has_name, p * np.nan_to_num(np.asarray(confidence, dtype=np.float64)[rows]), 0.0)
    expected += _cells(given, np.where(has_name, suggested, 0), named, num_classes)
    elsewhere = np.bincount(given, weights=p - named, minlength=num_classes)
    return ModelMatrix(expected=expected, elsewhere=elsewhere, suspected=suspected, num_unscored=num_unscored)


def before_and_after(given: np.ndarray, current: np.ndarray, p_wrong: np.ndarray, suggested: np.ndarray,
                     confidence: np.ndarray, is_active: np.ndarray, is_settled: np.ndarray,
                     num_classes: int) -> tuple[ModelMatrix, ModelMatrix]:
    """The model's matrix under the given labels, and under the labels in force.

    is_active: (N,) bool, False for excluded samples, which count before and not after; is_settled: (N,) bool, a person
    confirmed the label. A settled or changed label counts as right afterwards, whatever the model thinks of it.
    """
    before = model_matrix(given, p_wrong, suggested, confidence, num_classes)
    given, current = np.asarray(given, dtype=np.int64), np.asarray(current, dtype=np.int64)
    is_known = np.asarray(is_settled, dtype=bool) | (given != current)
    after = model_matrix(current, np.where(is_known, 0.0, p_wrong), suggested, confidence, num_classes,
                         is_active=is_active)
    return before, after


def overlaps(expected: np.ndarray, classes: Sequence[str], num_top: int = 10) -> list[Overlap]:
    """The pairs of classes most mixed up by number of samples, both ways together, most first.

    expected: (C, C) counts of given x true, as model_matrix has them. Pairs without half a sample are left out.
    """
    mixed = np.triu(expected + expected.T, k=1)
    sizes = expected.sum(axis=1)
    order = np.argsort(-mixed, axis=None, kind="stable")[:num_top]
    found = []
    for first, second in zip(*np.unravel_index(order, mixed.shape), strict=True):
        if mixed[first, second] < 0.5:
            break
        found.append(Overlap(
            name=f"{classes[first]} <-> {classes[second]}", first=int(first), second=int(second),
            num_first=float(expected[first, second]), num_second=float(expected[second, first]),
            share=float(mixed[first, second] / (sizes[first] + sizes[second]))))
    return found


def confident_joint(given: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """The joint distribution of given and true label by confident learning (C, C), summing to 1. NOT a noise rate.

    Northcutt, Jiang and Chuang 2021 (JAIR 70), equations 1 to 3: a sample counts as the class that its prediction
    confidently names (engine.contract.statistics.confident); counts are then scaled to the sizes of the given classes.
    As the reference code does, each class counts one sample as right at least. Counts stay unrounded.
    given: (N,) codes; probabilities: (N, C) held-out; rows with a NaN and samples without a given label are left out.
    """
    given, probs = np.asarray(given, dtype=np.int64), np.asarray(probabilities, dtype=np.float32)
    is_in = (given >= 0) & np.isfinite(probs).all(axis=1)
    if not is_in.all():
        given, probs = given[is_in], probs[is_in]
    num_classes = probs.shape[1]
    sizes = np.bincount(given, minlength=num_classes)
    guess = confident_class(probs, given, np.ones(len(given), dtype=bool), SLACK)
    is_confident = guess >= 0
    counts = _cells(given[is_confident], guess[is_confident], None, num_classes).astype(np.float64)
    np.fill_diagonal(counts, np.maximum(counts.diagonal(), 1.0))
    scaled = counts / counts.sum(axis=1, keepdims=True) * sizes[:, None]
    joint: np.ndarray = scaled / max(scaled.sum(), 1.0)
    return joint


def _cells(rows: np.ndarray, columns: np.ndarray, weights: np.ndarray | None, num_classes: int) -> np.ndarray:
    """(C, C) counts, or sums of weights."""
    counts = np.bincount(rows * num_classes + columns, weights=weights, minlength=num_classes * num_classes)
    return counts.reshape(num_classes, num_classes)
