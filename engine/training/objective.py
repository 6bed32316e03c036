"""A step of the classifier up to the scalar that it descends: weighted cross-entropy, with label smoothing, mixup or
ELR where they are asked for.

Knows no roles and no weights' source. B rows of a batch, of which each rank has its own b; C classes, N samples.
"""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from engine.contract.config import RunConfig
from engine.data.batches import to_device
from engine.model.losses import cross_entropy, train_loss_of
from engine.molere.hypergradient import frozen_running_statistics
from engine.molere.meta_step import TrainBatch
from engine.runtime import distributed
from engine.training.classifier import ClassifierTraining

ELR_CLIP = 1e-4
"""Bounds probabilities away from 0 and 1, as the authors' code has it."""


class Mix(NamedTuple):
    """How a batch is mixed: x_i becomes share * x_i + (1 - share) * x_partner(i), and so does its label."""

    share: float
    partners: np.ndarray
    """(B,) int64, a permutation."""

    def of(self, images_B: Tensor) -> Tensor:
        """The mixed images or features, in their shape."""
        return self.share * images_B + (1.0 - self.share) * images_B[to_device(self.partners, images_B.device)]


def draw_mix(strength: float, num: int, rng: np.random.Generator) -> Mix:
    """Mixup's draw for a batch (Zhang et al. 2018, "mixup: Beyond empirical risk minimization", ICLR, eq. 2, and as
    their code has it one share a batch): share ~ Beta(strength, strength), partners a random permutation.

    Not torchvision's MixUp, which draws from torch's global generator and takes images alone.
    """
    return Mix(float(rng.beta(strength, strength)), rng.permutation(num))


def passed_forward(classifier: ClassifierTraining, rows: np.ndarray, images_B: Tensor, labels_B: Tensor,
                   mix: Mix | None) -> tuple[TrainBatch, Tensor, Tensor]:
    """The batch as all ranks see it, detached, and of this rank's part logits (b, C) and cross-entropies (b,) with
    their gradient.

    rows: (B,) of the train split; images_B: of this rank's part. Under a mix, logits and cross-entropies are those of
    the mixed images, while the batch is what the classifier says of its own: that takes a second pass.
    """
    num = len(rows)
    logits, features = classifier.forward(images_B if mix is None else mix.of(images_B))
    losses = cross_entropy(logits, labels_B[distributed.local_slice(num)])
    seen = logits, features, losses
    if mix is not None:
        with torch.no_grad(), frozen_running_statistics(classifier.model):
            own_logits, own_features = classifier.model(images_B)
        seen = own_logits, own_features, cross_entropy(own_logits, labels_B)
    batch = TrainBatch(rows, to_device(rows, labels_B.device), images_B, labels_B, *(
        distributed.gather_rows(values, num) for values in seen))
    return batch, logits, losses


class Objective:
    """The scalar of a step; holds what ELR remembers, which is part of a checkpoint."""

    def __init__(self, config: RunConfig, num_samples: int, num_classes: int, device: torch.device) -> None:
        self.loss = train_loss_of(config.label_smoothing) if config.label_smoothing else None
        self.early = EarlyLearning(config.controls.elr_strength, config.controls.elr_memory, num_samples, num_classes,
                                   device) if config.loss == "early_learning" else None

    def __call__(self, batch: TrainBatch, logits: Tensor, losses: Tensor, weights_B: Tensor, mix: Mix | None) -> Tensor:
        """This rank's share of the weighted mean over the batch.

        logits: (b, C) of this rank's part with their gradient, mixed where mix is given; losses: their cross-entropies
        (b,) by the batch's labels; weights_B: (B,) detached.
        """
        num = len(batch.labels_B)
        mine = distributed.local_slice(num)
        if self.loss is not None:
            losses = self.loss(logits, batch.labels_B[mine])
        if mix is not None:  # one process alone: its part is the batch
            partners_B = to_device(mix.partners, weights_B.device)
            others = (self.loss or train_loss_of(0.0))(logits, batch.labels_B[partners_B])
            weighted = mix.share * weights_B * losses + (1.0 - mix.share) * weights_B[partners_B] * others
            return distributed.mean(weighted, num)
        if self.early is not None:
            losses = losses + self.early.penalty(batch, logits)
        return distributed.mean(weights_B[mine] * losses, num)


class EarlyLearning:
    """Early-Learning Regularization (Liu et al. 2020, "Early-learning regularization prevents memorization of noisy
    labels", NeurIPS, eq. 6 and 7, with temporal ensembling):

        t_i <- beta t_i + (1 - beta) p_i;    penalty_i = lambda log(1 - <p_i, t_i>), t_i without a gradient

    The first prediction of a sample counts 1 - beta, as there: targets start at 0. They are part of a checkpoint.
    """

    def __init__(self, strength: float, memory: float, num_samples: int, num_classes: int,
                 device: torch.device) -> None:
        """strength: lambda; memory: beta."""
        self.strength, self.memory = strength, memory
        self.targets_NC = torch.zeros(num_samples, num_classes, device=device)

    def penalty(self, batch: TrainBatch, logits: Tensor) -> Tensor:
        """Take the batch into the targets, and the penalties (b,) of this rank's part, whose logits (b, C) have their
        gradient. A row that stands there twice counts once."""
        first = to_device(np.unique(batch.rows, return_index=True)[1], self.targets_NC.device)
        probs_UC = clipped_probabilities(batch.logits_BC[first].detach())
        probs_UC = probs_UC / probs_UC.sum(1, keepdim=True)
        rows_U = batch.rows_B[first]
        self.targets_NC[rows_U] = self.memory * self.targets_NC[rows_U] + (1.0 - self.memory) * probs_UC
        mine = distributed.local_slice(len(batch.rows))
        return self.strength * agreement_penalty(logits, self.targets_NC[batch.rows_B[mine]])

    def state_dict(self) -> dict[str, Tensor]:
        return {"targets": self.targets_NC}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        self.targets_NC = state["targets"].to(self.targets_NC.device)


def clipped_probabilities(logits: Tensor) -> Tensor:
    """Softmax in [ELR_CLIP, 1 - ELR_CLIP]."""
    return F.softmax(logits, dim=1).clamp(ELR_CLIP, 1.0 - ELR_CLIP)


def agreement_penalty(logits: Tensor, targets: Tensor) -> Tensor:
    """log(1 - <p, t>), (b,) <= 0, low where predictions agree with the targets (b, C) >= 0 of sum 1 or less."""
    return torch.log(1.0 - (clipped_probabilities(logits) * targets).sum(1))
