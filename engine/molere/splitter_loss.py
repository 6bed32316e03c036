"""The splitter's loss: find who the classifier gets wrong, keep the split's size and class mix. Pure functions.

Shape suffixes: V validation batch, R random batch of all data, C classes.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from engine.contract.config import SplitterConfig

SMOOTHING = 1.0
"""Added to each soft class count, so that a class missing from a batch gives a finite KL term with a gradient."""


def splitter_loss(config: SplitterConfig, val_fraction: float, num_classes: int, *, validation_logits_V: Tensor,
                  is_correct_V: Tensor, losses_V: Tensor, random_logits_R: Tensor, labels_R: Tensor) -> Tensor:
    """CE(p, 1[correct]) - gap + KL(size) + KL(class mix), a scalar; low is good for the splitter.

    *_logits: of p(train). losses_V: the classifier's detached losses >= 0, large is hard. First two terms: Jain et al.
    2024, splitter update; KL terms: Bao & Barzilay 2022, eq. 2 and 3. The gap averages losses_V with weights 1 - p:
    a hard assignment there (is_soft off) blocks its gradient.
    """
    loss = F.binary_cross_entropy_with_logits(validation_logits_V, is_correct_V.to(validation_logits_V.dtype))
    p_V, p_R = torch.sigmoid(validation_logits_V), torch.sigmoid(random_logits_R)
    out_V = 1.0 - p_V if config.is_soft else (p_V < 0.5).to(p_V.dtype)
    gap = (out_V * losses_V).sum() / out_V.sum().clamp(min=1e-6)
    loss = loss - config.gap_strength * gap
    loss = loss + config.ratio_strength * ratio_divergence(p_R, val_fraction)
    return loss + config.balance_strength * balance_divergence(p_R, labels_R, num_classes)


def ratio_divergence(p_R: Tensor, val_fraction: float) -> Tensor:
    """KL([1 - delta, delta] || [mean p, 1 - mean p]): the target ratio is for train, hence 1 - delta. A scalar >= 0."""
    target = torch.tensor([1.0 - val_fraction, val_fraction], device=p_R.device, dtype=p_R.dtype)
    mean = p_R.mean().clamp(1e-6, 1.0 - 1e-6)
    return (target * (target.log() - torch.stack([mean, 1.0 - mean]).log())).sum()


def balance_divergence(p_R: Tensor, labels_R: Tensor, num_classes: int) -> Tensor:
    """KL(P(y) || P(y | train)) + KL(P(y) || P(y | validation)) from soft, smoothed counts over all C classes."""
    onehot_RC = F.one_hot(labels_R, num_classes).to(p_R.dtype)
    whole_C = onehot_RC.sum(0) + SMOOTHING
    whole_C = whole_C / whole_C.sum()
    divergence = p_R.new_zeros(())
    for share_R in (p_R, 1.0 - p_R):
        # Smoothed towards the whole's mix, so that small sides are not pulled to the uniform mix.
        side_C = (share_R[:, None] * onehot_RC).sum(0) + SMOOTHING * num_classes * whole_C
        side_C = side_C / side_C.sum()
        divergence = divergence + (whole_C * (whole_C.log() - side_C.log())).sum()
    return divergence
