"""The splitter's loss: find who the classifier gets wrong, keep the split's size and class mix. Pure functions.

Shape suffixes: V validation batch, R random batch of all data, C classes.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from engine.contract.method_config import SplitterConfig
from engine.model.networks import one_hot

SMOOTHING = 1.0
"""Samples of the whole's class mix that each class's count begins with, so that a class missing from a side gives a
finite KL term with a gradient."""


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
    """KL([1 - delta, delta] || [mean p, 1 - mean p]): the target ratio is for train, hence 1 - delta. A scalar >= 0.

    This direction, from the target, since it grows without bound as a side empties: the split cannot vanish.
    """
    target = torch.tensor([1.0 - val_fraction, val_fraction], device=p_R.device, dtype=p_R.dtype)
    mean = p_R.mean().clamp(1e-6, 1.0 - 1e-6)
    return (target * (target.log() - torch.stack([mean, 1.0 - mean]).log())).sum()


def balance_divergence(p_R: Tensor, labels_R: Tensor, num_classes: int) -> Tensor:
    """KL(P(y) || P(y | train)) + KL(P(y) || P(y | validation)) from soft, smoothed counts over all C classes; 0 where
    both sides have the whole's mix, whatever their sizes.

    This direction, from the whole to a side (Bao & Barzilay 2022, eq. 3), since it grows without bound where a side
    loses a class; the other one lets a side drop classes and charges it for those it keeps.
    """
    onehot_RC = one_hot(labels_R, num_classes, p_R)
    counts_C = onehot_RC.sum(0) + SMOOTHING
    whole_C = counts_C / counts_C.sum()
    divergence = p_R.new_zeros(())
    for share_R in (p_R, 1.0 - p_R):
        # The samples that smooth the whole are split as the batch is, so an equal split of each class stays one.
        side_C = (share_R[:, None] * onehot_RC).sum(0) + SMOOTHING * share_R.mean().clamp(min=1e-6)
        side_C = side_C / side_C.sum()
        divergence = divergence + (whole_C * (whole_C.log() - side_C.log())).sum()
    return divergence
