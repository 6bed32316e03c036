"""Out-of-fold predictions of a linear head on final features: what everybody else's labels say of a sample.

Linear discriminant analysis (Gaussian classes of one covariance: Hastie, Tibshirani, Friedman, The Elements of
Statistical Learning, section 4.3) is a fit of sums, so leaving a fold out is a subtraction and costs no training. The
features did see the sample's own label while they were learned; the head that judges it did not. N samples, D features,
C classes, K folds.
"""

import numpy as np
import torch
from scipy.optimize import minimize_scalar
from torch import Tensor
from torch.nn import functional as F

from engine.data.dataset import Dataset
from engine.molere import routing
from engine.runtime.rng import stream

NUM_FOLDS = 5
NUM_PARTITIONS = 3
"""Ways to part the samples into folds, over which the logarithms of probabilities are averaged: which others a sample
shares a fold with is chance, and with one partition the precision of a ranking varies by a tenth of itself
(benchmarks/LOG.md)."""
SHRINKAGE = 0.01
"""Share of the identity in the covariance of standardised features, so that it can be inverted."""
COMPONENT_SHRINKAGE = 0.1
"""The same of principal components, which keep their lengths: what hardly varies then counts less. By held-out accuracy
on given labels of three sets of photos (benchmarks/LOG.md)."""
ROWS_AT_ONCE = 65_536
MAX_TEMPERED = 50_000
"""Samples, evenly drawn of more, that a temperature is fitted to."""
TEMPERATURES = (0.5, 1.5)
"""A higher one, which would calibrate better, orders wrong labels worse (benchmarks/LOG.md)."""
SMALLEST = 1e-300
NEVER = 1e4
"""Logit below which a class is never predicted, and which a checkpoint can hold."""


def predict_out_of_fold(features_ND: Tensor, data: Dataset, seed: int, is_used_N: np.ndarray, *,
                        are_components: bool) -> Tensor:
    """out_of_fold_probabilities of a dataset's train split, (N, C) float32, over NUM_PARTITIONS of folds drawn by the
    seed, their geometric mean; of components at the temperature that their labels ask for."""
    rng, logs_NC = stream(seed, "heads"), torch.zeros(data.num_train, data.num_classes, dtype=torch.float64)
    for _ in range(NUM_PARTITIONS):
        folds_N = routing.rotation_groups(data.num_train, NUM_FOLDS, rng, data.siblings)
        probs_NC = torch.from_numpy(out_of_fold_probabilities(
            features_ND, data.train_labels, is_used_N, data.num_classes, folds_N, are_components=are_components))
        logs_NC += torch.log(probs_NC.clamp(min=SMALLEST)) / NUM_PARTITIONS
    probs_NC = torch.softmax(logs_NC, 1)
    if not are_components:
        return probs_NC.float()
    return tempered(probs_NC, temperature_of(probs_NC, data.train_labels, is_used_N)).float()


def temperature_of(probs_NC: Tensor, labels_N: np.ndarray, is_used_N: np.ndarray) -> float:
    """The temperature in TEMPERATURES under which the used labels are most probable (Guo et al. 2017); 1 without any.

    A discriminant of hundreds of features is far too sure: without this hundreds of labels have probability 0 to six
    digits, and no order is left among them.
    """
    rows = np.flatnonzero(is_used_N & np.isfinite(probs_NC[:, 0].numpy()))
    rows = rows[:: max(1, len(rows) // MAX_TEMPERED)]
    if not len(rows):
        return 1.0
    logs_RC = torch.log(probs_NC[torch.from_numpy(rows)].double().clamp(min=SMALLEST))
    labels_R = torch.from_numpy(labels_N[rows])
    found = minimize_scalar(lambda log_t: float(F.cross_entropy(logs_RC / np.exp(log_t), labels_R)),
                            bounds=np.log(TEMPERATURES), method="bounded")
    return float(np.exp(found.x))


def tempered(probs_NC: Tensor, temperature: float) -> Tensor:
    """The same probabilities, (N, C) float64, with their logits divided by the temperature; NaN stays."""
    return torch.softmax(torch.log(probs_NC.double().clamp(min=SMALLEST)) / temperature, 1)


def fit(features_ND: Tensor, labels_N: np.ndarray, is_used_N: np.ndarray, num_classes: int, *,
        are_components: bool) -> tuple[Tensor, Tensor]:
    """Weight (C, D) and bias (C,), float32, of the discriminant of all used samples, of which there must be one. A
    class without any is never predicted."""
    mean_D, scale_D = _scaling(features_ND, are_components)
    sums = _Sums(features_ND.shape[1], num_classes)
    rows = np.flatnonzero(is_used_N)
    for start in range(0, len(rows), ROWS_AT_ONCE):
        block = rows[start:start + ROWS_AT_ONCE]
        sums.add((features_ND[torch.from_numpy(block)] - mean_D) / scale_D, torch.from_numpy(labels_N[block]))
    head = _head(sums, are_components)
    assert head is not None, "a head is fitted to at least one sample"
    weight_CD = (head[0] / scale_D.double()[:, None]).T
    bias_C = (head[1] - weight_CD @ mean_D.double()).clamp(min=-NEVER)
    return weight_CD.float(), bias_C.float()


def _scaling(features_ND: Tensor, are_components: bool) -> tuple[Tensor, Tensor]:
    """Mean and deviation (D,) to take out; components are on one scale already and keep it."""
    mean_D = features_ND.mean(0)
    return mean_D, torch.ones_like(mean_D) if are_components else features_ND.std(0, correction=0).clamp(min=1e-6)


def out_of_fold_probabilities(features_ND: Tensor, labels_N: np.ndarray, is_used_N: np.ndarray, num_classes: int,
                              folds_N: np.ndarray, *, are_components: bool = False) -> np.ndarray:
    """Probabilities (N, C) float64 of each sample by the head of all used samples outside its fold.

    features_ND: float, finite. labels_N: int codes; is_used_N: bool, whose labels count (all are predicted); folds_N:
    int, 0 to K - 1. are_components: of engine.data.components, else features of any scale.
    A class without a used sample outside the fold has probability 0; NaN where none has.
    """
    mean_D, scale_D = _scaling(features_ND, are_components)
    probs_NC = np.full((len(features_ND), num_classes), np.nan)
    num_folds = int(folds_N.max(initial=-1)) + 1
    parts = [_Sums(features_ND.shape[1], num_classes) for _ in range(num_folds)]
    for fold, sums in enumerate(parts):
        rows = np.flatnonzero((folds_N == fold) & is_used_N)
        for start in range(0, len(rows), ROWS_AT_ONCE):
            block = rows[start:start + ROWS_AT_ONCE]
            sums.add((features_ND[torch.from_numpy(block)] - mean_D) / scale_D, torch.from_numpy(labels_N[block]))
    for fold in range(num_folds):
        head = _head(_Sums.total([sums for i, sums in enumerate(parts) if i != fold]), are_components)
        rows = np.flatnonzero(folds_N == fold)
        for start in range(0, len(rows) if head else 0, ROWS_AT_ONCE):
            assert head is not None
            block = rows[start:start + ROWS_AT_ONCE]
            logits = ((features_ND[torch.from_numpy(block)] - mean_D) / scale_D).double() @ head[0] + head[1]
            probs_NC[block] = torch.softmax(logits, 1).numpy()
    return probs_NC


class _Sums:
    """Counts (C,), sums (C, D) and second moments (D, D) of standardised features, float64 on the CPU."""

    def __init__(self, num_features: int, num_classes: int) -> None:
        self.counts_C = torch.zeros(num_classes, dtype=torch.float64)
        self.sums_CD = torch.zeros(num_classes, num_features, dtype=torch.float64)
        self.moments_DD = torch.zeros(num_features, num_features, dtype=torch.float64)

    def add(self, x_BD: Tensor, labels_B: Tensor) -> None:
        self.counts_C += torch.bincount(labels_B, minlength=len(self.counts_C))
        self.sums_CD.index_add_(0, labels_B, x_BD.double())
        self.moments_DD += (x_BD.T @ x_BD).double()

    @classmethod
    def total(cls, parts: list["_Sums"]) -> "_Sums":
        found = cls(parts[0].sums_CD.shape[1] if parts else 0, len(parts[0].counts_C) if parts else 0)
        for part in parts:
            found.counts_C += part.counts_C
            found.sums_CD += part.sums_CD
            found.moments_DD += part.moments_DD
        return found


def _head(sums: _Sums, are_components: bool) -> tuple[Tensor, Tensor] | None:
    """(D, C) and (C,) of the discriminant's logits; None without a sample."""
    num = float(sums.counts_C.sum())
    if not num:
        return None
    means_CD = sums.sums_CD / sums.counts_C.clamp(min=1.0)[:, None]
    within_DD = (sums.moments_DD - means_CD.T @ (sums.counts_C[:, None] * means_CD)) / num
    num_features = len(within_DD)
    level = within_DD.diagonal().mean().clamp(min=1e-12)
    share = COMPONENT_SHRINKAGE if are_components else SHRINKAGE
    shrunk_DD = (1.0 - share) * within_DD + share * level * torch.eye(num_features, dtype=torch.float64)
    coefficients_DC = torch.linalg.solve(shrunk_DD, means_CD.T)
    return coefficients_DC, torch.log(sums.counts_C / num) - 0.5 * (means_CD * coefficients_DC.T).sum(1)
