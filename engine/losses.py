"""Per-sample losses, one signature: (logits (B, C), labels (B,) int64) -> losses (B,) >= 0, lower is better."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

PerSampleLoss = Callable[[Tensor, Tensor], Tensor]
GCE_POWER = 0.7
"""q of the generalized cross-entropy; 0.7 as in Zhang & Sabuncu 2018, section 4."""


def cross_entropy(logits_BC: Tensor, labels_B: Tensor) -> Tensor:
    """-log p_y, unbounded."""
    return F.cross_entropy(logits_BC, labels_B, reduction="none")


def generalized_cross_entropy(logits_BC: Tensor, labels_B: Tensor) -> Tensor:
    """(1 - p_y^q) / q with q = 0.7, in [0, 1/q] (Zhang & Sabuncu 2018, eq. 6): a wrong label pulls with force p_y^q."""
    log_p_B = F.log_softmax(logits_BC, dim=1).gather(1, labels_B[:, None]).squeeze(1)
    return (1.0 - torch.exp(GCE_POWER * log_p_B)) / GCE_POWER


LOSS_FUNCTIONS: dict[str, PerSampleLoss] = {
    "cross_entropy": cross_entropy,
    "generalized_cross_entropy": generalized_cross_entropy,
}


def margins(logits_BC: Tensor, labels_B: Tensor) -> Tensor:
    """Probabilistic margins p_y - max_{j != y} p_j, (B,) in [-1, 1]; high is good."""
    probs_BC = torch.softmax(logits_BC, dim=1)
    own_B = probs_BC.gather(1, labels_B[:, None]).squeeze(1)
    others_BC = probs_BC.scatter(1, labels_B[:, None], -1.0)
    return own_B - others_BC.amax(1)
