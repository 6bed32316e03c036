"""How far learned weights act: as far as samples that took part in neither game nor training say that it helps.

    w_i = c_i (1 + freedom (u_i - 1))     u: the reweighter's, of mean 1; c: the class's own; freedom in [0, 1]

The reweighter is judged by validation samples, which are hard ones. Samples at rest are drawn at random and out of
training in this epoch, so their loss after a look-ahead step tells whether weights help at large: freedom descends it,
dF/dfreedom = sum_i dF/dw_i c_i (u_i - 1), from 0 on (Baydin et al. 2018 descend a learning rate in this way).
Their labels may be wrong, and a classifier under equal weights predicts wrong labels better: so the loss is corrected
by the noise model (engine.molere.noise_model), after which its expectation is that of true labels. B train batch.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from engine.data.batches import to_device
from engine.model.losses import PerSampleLoss
from engine.molere.noise_model import NoiseModel

SHARE_TO_FREE = 0.1
"""Share of a run's judgements that let weights free, or put them back, where all agree."""
MEMORY = 0.9
"""Of the moving averages of judgements: one is of few samples, and says little."""
ROWS_OF_HEADS = 256
"""Samples at rest that judge at a time where a head is trained, whose passes are nearly free."""


class Freedom:
    """The number and the averages it moves by, on the device, so that no step waits for it; part of a checkpoint."""

    def __init__(self, num_judgements: int, device: torch.device) -> None:
        """num_judgements: of the whole run, at least 1."""
        self.rate = 1.0 / max(1.0, SHARE_TO_FREE * num_judgements)
        self.num_judged = 0
        self.value, self.mean, self.square = torch.zeros(3, device=device).unbind()

    def acting(self, weights_B: Tensor, priors_B: Tensor) -> Tensor:
        """The weights (B,) that act, detached. weights_B: the class's own times the reweighter's."""
        return priors_B + self.value * (weights_B.detach() - priors_B)

    def judge(self, hypergradients_B: Tensor, weights_B: Tensor, priors_B: Tensor) -> None:
        """A step down the loss of samples at rest. hypergradients_B: dF/dw under the acting weights, over the learning
        rate.

        By the average slope in units of its root mean square. On the way up it is shrunk by
        1 - (error of the average / average)^2, not below 0 (the positive part of James & Stein 1961): freedom is earned
        where judgements agree, and lost without that.
        """
        slope = (hypergradients_B * (weights_B.detach() - priors_B)).sum().detach().to(self.mean.dtype)
        self.num_judged += 1
        self.mean = MEMORY * self.mean + (1.0 - MEMORY) * slope
        self.square = MEMORY * self.square + (1.0 - MEMORY) * slope**2
        left = MEMORY**self.num_judged
        scaled = self.mean / ((1.0 - left) * self.square).sqrt().clamp(min=1e-20)
        num_independent = (1.0 + MEMORY) / (1.0 - MEMORY) * (1.0 - left) / (1.0 + left)
        earned = (1.0 - 1.0 / (num_independent * scaled.square()).clamp(min=1e-20)).clamp(min=0.0)
        self.value = (self.value - self.rate * scaled * torch.where(scaled < 0.0, earned, 1.0)).clamp(0.0, 1.0)

    def parameters(self) -> Iterator[Tensor]:
        """What ranks must agree on."""
        return iter((self.value, self.mean, self.square))

    def state_dict(self) -> dict[str, Any]:
        return {"num_judged": self.num_judged, "numbers": torch.stack(list(self.parameters()))}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.num_judged = state["num_judged"]
        self.value, self.mean, self.square = state["numbers"].to(self.value.device).unbind()


def corrected_loss(noise: NoiseModel, device: torch.device) -> PerSampleLoss:
    """Cross-entropy whose expectation over given labels is that of true ones, where noise is as the model says; may be
    negative (backward correction: Patrini et al. 2017, theorem 1)."""
    rows_CC = to_device(noise.correction_CC.astype(np.float32), device)

    def loss(logits_BC: Tensor, labels_B: Tensor) -> Tensor:
        losses_B: Tensor = -(rows_CC.to(logits_BC.dtype)[labels_B] * F.log_softmax(logits_BC, dim=1)).sum(1)
        return losses_B

    return loss
