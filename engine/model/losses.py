"""Per-sample losses, one signature: (logits (B, C), labels (B,) int64) -> losses (B,) >= 0, lower is better."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F

PerSampleLoss = Callable[[Tensor, Tensor], Tensor]
GCE_POWER = 0.7
"""q of the generalized cross-entropy; 0.7 as in Zhang & Sabuncu 2018, section 4."""
LARGEST_BALANCE = 10.0
"""Bounds what a class counts in the balanced loss, however badly it is predicted."""


def cross_entropy(logits_BC: Tensor, labels_B: Tensor) -> Tensor:
    """-log p_y, unbounded."""
    return F.cross_entropy(logits_BC, labels_B, reduction="none")


def smoothed_cross_entropy(logits_BC: Tensor, labels_B: Tensor, smoothing: float) -> Tensor:
    """Cross-entropy with the label's share 1 - smoothing + smoothing / C, each other class's smoothing / C (Szegedy et
    al. 2016, section 7)."""
    return F.cross_entropy(logits_BC, labels_B, reduction="none", label_smoothing=smoothing)


def train_loss_of(smoothing: float) -> PerSampleLoss:
    """What the classifier descends under this label smoothing, in [0, 1); cross_entropy itself for 0."""
    return partial(smoothed_cross_entropy, smoothing=smoothing) if smoothing else cross_entropy


def generalized_cross_entropy(logits_BC: Tensor, labels_B: Tensor) -> Tensor:
    """(1 - p_y^q) / q with q = 0.7, in [0, 1/q] (Zhang & Sabuncu 2018, eq. 6): a wrong label pulls with force p_y^q."""
    log_p_B = F.log_softmax(logits_BC, dim=1).gather(1, labels_B[:, None]).squeeze(1)
    return (1.0 - torch.exp(GCE_POWER * log_p_B)) / GCE_POWER


def balanced_generalized_cross_entropy(logits_BC: Tensor, labels_B: Tensor) -> Tensor:
    """generalized_cross_entropy times a constant of the label's class, so that every class pulls alike.

    A sample pulls with force p_y^q, so a class that the classifier cannot predict yet would hardly pull at all, and
    weights learned against this loss would give it up. The constant is the batch's mean force over that of the class,
    in [1/LARGEST_BALANCE, LARGEST_BALANCE], without a gradient: within a class wrong labels still pull little.
    """
    losses_B = generalized_cross_entropy(logits_BC, labels_B)
    with torch.no_grad():
        forces_B = 1.0 - GCE_POWER * losses_B
        num_classes = logits_BC.shape[1]
        sums_C = forces_B.new_zeros(num_classes).index_add_(0, labels_B, forces_B)
        # Not bincount, which waits for a GPU to tell how long its result is.
        sizes_C = torch.zeros_like(sums_C).index_add_(0, labels_B, torch.ones_like(forces_B))
        means_C = sums_C / sizes_C.clamp(min=1.0)
        constants_C = (forces_B.mean() / means_C.clamp(min=1e-6)).clamp(1.0 / LARGEST_BALANCE, LARGEST_BALANCE)
    return constants_C[labels_B] * losses_B


LOSS_FUNCTIONS: dict[str, PerSampleLoss] = {
    "cross_entropy": cross_entropy,
    "generalized_cross_entropy": generalized_cross_entropy,
    "balanced_generalized_cross_entropy": balanced_generalized_cross_entropy,
}


def margins(logits_BC: Tensor, labels_B: Tensor) -> Tensor:
    """Probabilistic margins p_y - max_{j != y} p_j, (B,) in [-1, 1]; high is good."""
    probs_BC = torch.softmax(logits_BC, dim=1)
    own_B = probs_BC.gather(1, labels_B[:, None]).squeeze(1)
    others_BC = probs_BC.scatter(1, labels_B[:, None], -1.0)
    return own_B - others_BC.amax(1)
