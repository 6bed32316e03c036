"""Feature-Based Reweighting: weights from where a sample's features lie among those of validation, without a gradient.

Zhang, Holtz, Mishne & Cloninger 2025, "Revisiting Meta-Learning with Noisy Labels: Reweighting Dynamics and Theoretical
Guarantees" (arXiv 2510.12209): meta-reweighting is a sum over validation of similarities, signed by whether labels
agree, and the factor that weakens it once the clean loss is small can be left out. What the abstract names is taken
from the paper, and how it is done from public code of the method:

    centring    features less their mean over validation, every class counting alike
    similarity  K_ic, the mean inner product of sample i with the validation samples of class c, both centred
    row shift   K_ic less the second largest of its row
    sign        d_i = K_iy - a sum_c K_ic, y the sample's own class, c the others
    weight      w_i <- clip(w_i + rate d_i, 0, 1), from 1/2

Ours, and why. Their validation is a small clean set, and all of it is passed forward anew; here it is what the setting
`validation` says, by default a random split under its given labels, and K comes from moving averages of the class means
of a batch every reweighter.every steps, so that an epoch costs what it does for the other methods. a is `others` over
the number of other classes; their code has a = 1. Then, of ten classes on features that do not collapse to their
classes, nearly every weight rises to 1: the classes below the second outweigh the one above (benchmarks/LOG.md). d is
measured against its root mean square over the batch, since features have no scale of their own. Their code also sets
weights of 1/2 and less to 0 and can choose the rate so that a set share of weights is 0; the paper's text has neither,
nor have we. Weights are scaled to mean 1 in the batch. N samples, B train batch, V validation batch, C classes, D
features.
"""

import numpy as np
import torch
from torch import Tensor

from engine.data.batches import to_device

MEAN_DECAY = 0.9
"""Share of the past in a class's mean at each validation batch."""
FIRST_WEIGHT = 0.5


class Similarity:
    """The class means of validation and each sample's weight in [0, 1]; part of a checkpoint."""

    def __init__(self, num_samples: int, num_classes: int, num_features: int, device: torch.device) -> None:
        self.values_N = torch.full((num_samples,), FIRST_WEIGHT, device=device)
        self.means_CD = torch.zeros(num_classes, num_features, device=device)
        self.is_known_C = torch.zeros(num_classes, dtype=torch.bool, device=device)

    def look(self, features_VD: Tensor, labels_V: Tensor) -> None:
        """Take a validation batch into the class means; a class's first is its mean, and one without a sample stays."""
        sizes_C = torch.zeros(len(self.means_CD), device=features_VD.device).index_add_(
            0, labels_V, torch.ones_like(labels_V, dtype=torch.float32))
        sums_CD = torch.zeros_like(self.means_CD).index_add_(0, labels_V, features_VD.detach().float())
        is_here_C = sizes_C > 0
        new_CD = sums_CD / sizes_C.clamp(min=1.0)[:, None]
        past_C1 = (MEAN_DECAY * (self.is_known_C & is_here_C).float() + (~is_here_C).float())[:, None]
        self.means_CD = past_C1 * self.means_CD + (1.0 - past_C1) * new_CD
        self.is_known_C = self.is_known_C | is_here_C

    def weigh(self, rows: np.ndarray, features_BD: Tensor, labels_B: Tensor, rate: float, others: float) -> Tensor:
        """Move the weights of a batch, rows (B,) of the train split, and give them, (B,) of mean 1; all 0 where they
        are. A row that stands there twice moves once."""
        device = self.values_N.device
        first = to_device(np.unique(rows, return_index=True)[1], device)
        rows_B = to_device(rows, device)
        rows_U, directions_U = rows_B[first], directions(
            features_BD.detach().float(), labels_B, self.means_CD, self.is_known_C, others)[first]
        scaled_U = directions_U / directions_U.square().mean().sqrt().clamp(min=1e-20)
        self.values_N[rows_U] = (self.values_N[rows_U] + rate * scaled_U).clamp(0.0, 1.0)
        values_B = self.values_N[rows_B]
        return values_B / values_B.mean().clamp(min=1e-20)

    def state_dict(self) -> dict[str, Tensor]:
        return {"values": self.values_N, "means": self.means_CD, "is_known": self.is_known_C}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        device = self.values_N.device
        self.values_N, self.means_CD, self.is_known_C = (
            state[name].to(device) for name in ("values", "means", "is_known"))


def directions(features_BD: Tensor, labels_B: Tensor, means_CD: Tensor, is_known_C: Tensor, others: float) -> Tensor:
    """d_i of the module's table, (B,): above 0 where a sample is nearer to its own class than to others.

    is_known_C: (C,) bool, the classes that have a mean; the rest count for nothing. others: what the mean of the other
    classes counts against the own. 0 where fewer than two are known, and of samples whose own class is not.
    """
    num_known = is_known_C.sum()
    centre_D = (means_CD * is_known_C[:, None]).sum(0) / num_known.clamp(min=1)
    similar_BC = (features_BD - centre_D) @ (means_CD - centre_D).T
    if similar_BC.shape[1] < 2:
        return torch.zeros_like(similar_BC[:, 0])
    second_B1 = similar_BC.masked_fill(~is_known_C, -torch.inf).topk(2, dim=1).values[:, 1:]
    shifted_BC = torch.where(is_known_C & (num_known > 1), similar_BC - second_B1, 0.0)
    own_B = shifted_BC.gather(1, labels_B[:, None]).squeeze(1)
    others_B = (shifted_BC.sum(1) - own_B) / (num_known - 1).clamp(min=1)
    return torch.where(is_known_C[labels_B], own_B - others * others_B, 0.0)
