"""Sample weights while training: the reweighter, what it sees, and the steps it takes on the hypergradient.

Computes no hypergradient and touches no classifier. B train batch, C classes, D features.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from engine.contract.method_config import ReweighterConfig
from engine.model.losses import LOSS_FUNCTIONS, cross_entropy
from engine.model.networks import Reweighter, one_hot, standardize
from engine.model.record import SignalRecord
from engine.molere.hypergradient import head_agreement, head_gradient
from engine.molere.meta_step import ValidationBatch

NUM_RECORD_INPUTS = 6
PEAK_DECAY = 0.99
"""A step's hypergradient is measured against the largest so far; the past fades by this share each update."""
LARGEST_LOSS = 10.0
VALIDATION_DECAY = 0.5
"""Of the moving average of the validation gradient, over meta steps: one batch's is half sampling noise."""
LARGEST_AGREEMENT = 3.0
HEAVY_PULL = 0.5
"""Strength of the pull on weights above heavy_weight, on uniform_pull's scale but whatever that is set to."""
AVERAGE_DECAY = 0.7
"""Of the moving average of a sample's weights over epochs, under which a run finishes."""
FEATURE_NORM = 2.0
"""Length of the feature part of the inputs. At its natural length, the root of D, it drowned the record: digits with
40% symmetric noise, weights of right over wrong labels 1.2 / 0.7 against 1.5 / 0.2 (benchmarks/LOG.md)."""


class Weighting:
    """The reweighter of a training with its optimizer and the scale of its hypergradients; part of a checkpoint."""

    def __init__(self, config: ReweighterConfig, source: str, num_features: int, num_classes: int,
                 device: torch.device) -> None:
        """source: "features" (Jain et al. 2024, by config.inputs) or "loss" (1-100-1, Shu et al. 2019)."""
        self.config, self.source, self.num_classes = config, source, num_classes
        if source == "loss":
            self.reweighter = Reweighter(1, 100, 0.0, 1.0)
        else:
            self.reweighter = Reweighter(num_inputs(config.inputs, num_features, num_classes), config.hidden,
                                         config.min_weight, config.max_weight)
        self.reweighter.to(device)
        self.optimizer = torch.optim.Adam(self.reweighter.parameters(), lr=config.lr)
        self.gradient_scale = torch.zeros((), device=device)
        self.val_gradient = torch.zeros(num_classes, num_features, device=device)

    @property
    def sees_record(self) -> bool:
        """Whether the reweighter is shown record_inputs, agreement with validation among them."""
        return self.source == "features" and self.config.inputs in ("all", "record")

    def weigh(self, features_BD: Tensor, labels_B: Tensor, losses_B: Tensor, record_BK: Tensor) -> Tensor:
        """Weights (B,) of mean 1, with a gradient to the reweighter alone. record_BK: record_inputs of the batch."""
        losses_B1 = losses_B.detach().unsqueeze(1)
        if self.source == "loss":
            weights_B: Tensor = self.reweighter(losses_B1)
            return weights_B
        parts: list[Tensor] = []
        if self.config.inputs in ("features", "features_label_loss"):
            parts.append(standardize(features_BD.detach()))
        if self.config.inputs == "all":
            parts.append(F.normalize(standardize(features_BD.detach()), dim=1) * FEATURE_NORM)
        if self.config.inputs != "features":
            parts += [one_hot(labels_B, self.num_classes, losses_B1), losses_B1.clamp(max=LARGEST_LOSS)]
        if self.sees_record:
            parts.append(record_BK)
        weights_B = self.reweighter(torch.cat(parts, dim=1))
        return weights_B

    def agreement(self, gradient_CD: Tensor, logits_BC: Tensor, features_BD: Tensor, labels_B: Tensor) -> Tensor:
        """How each sample's own gradient agrees with gradient_CD of the validation batches so far, (B,) in units of the
        root mean square over the batch; above 0 it would help them now. 0 for all before the first of them.

        It tells the reweighter at every step what it could not learn by heart in its few updates: whom the classifier
        is about to learn against its validation samples. A direction, since the length is the loss's: weights that
        follow the length as well fall for every sample that is fitted (benchmarks/LOG.md).
        """
        if not self.sees_record:
            return torch.zeros_like(labels_B, dtype=features_BD.dtype)
        cosines_B = head_agreement(gradient_CD, logits_BC.detach(), features_BD.detach(), labels_B, cross_entropy)
        scaled_B = cosines_B / cosines_B.square().mean().sqrt().clamp(min=1e-6)
        return scaled_B.clamp(-LARGEST_AGREEMENT, LARGEST_AGREEMENT)

    def views(self, validation: ValidationBatch) -> list[tuple[Tensor, ValidationBatch]]:
        """Pairs of the validation gradient (C, D) that the reweighter is shown and the samples it is judged by.

        Agreeing with the very batch that the hypergradients come from always pays, noise of the draw and all, and a
        reweighter learned to follow that noise. So each half of the batch is shown and the other one judges. Not
        independent all the same where the pool is hardly larger than a batch: the average holds earlier draws of it.
        Takes the batch into the moving average.
        """
        if not self.sees_record:
            return [(self.val_gradient, validation)]
        loss, halves = LOSS_FUNCTIONS[self.config.val_loss], validation.halves()
        gradients = []
        for half in halves:
            assert half.forward_pass is not None, "a reweighter that sees validation needs its forward pass"
            gradients.append(head_gradient(*half.forward_pass, half.labels_V, loss))
        views = [(self._averaged(gradient), judge)
                 for gradient, judge in zip(gradients, reversed(halves), strict=True)]
        self.val_gradient = self._averaged(torch.stack(gradients).mean(0))
        return views

    def _averaged(self, gradient_CD: Tensor) -> Tensor:
        """The moving average with the head gradient of one more validation batch
        (engine.molere.hypergradient.head_gradient). Its length, too small at first, does not matter: agreement is
        about its direction."""
        return VALIDATION_DECAY * self.val_gradient + (1.0 - VALIDATION_DECAY) * gradient_CD

    def averaged_weights(self, averages_B: Tensor, weights_B: Tensor) -> Tensor:
        """Weights (B,) of mean 1 from the moving averages of the epochs before; where a sample has none (NaN), since it
        was never trained on, what the reweighter says of it now.

        Reweighter and classifier answer each other and circle; what one epoch ends on is a matter of chance, the
        average over epochs is not.
        """
        weights_of_epochs_B = torch.where(averages_B.isnan(), weights_B.detach(), averages_B)
        return weights_of_epochs_B / weights_of_epochs_B.mean()

    def objective(self, judged: Sequence[tuple[Tensor, Tensor]]) -> Tensor:
        """Scalar whose gradient moves weights (B,) against their hypergradients dF/dw (B,) of the validation
        loss; the mean over such pairs.

        They are scaled by their largest root mean square so far, fading, not by their own: once the classifier fits its
        data they are small and mostly noise, and scaled to unit size each step they drove the weights to their bounds
        (digits with a spurious colour). Then the pull towards 1 takes over. Weights above heavy_weight are pulled back
        as well: those of wrong labels need to fall, nobody's needs to rise far, and weights that gather on a few
        samples are how they collapse (12,000 photos: effective sample share 0.24 without).
        """
        size = torch.stack([hypergradient_B.square().mean().sqrt() for _, hypergradient_B in judged]).amax()
        self.gradient_scale = torch.maximum(PEAK_DECAY * self.gradient_scale, size).clamp(min=1e-20)
        return torch.stack([
            (weights_B * (hypergradient_B / self.gradient_scale)).mean()
            + self.config.uniform_pull * (weights_B - 1.0).square().mean()
            + HEAVY_PULL * (weights_B - self.config.heavy_weight).clamp(min=0.0).square().mean()
            for weights_B, hypergradient_B in judged]).mean()

    def step(self) -> None:
        """Apply and clear the gradient that a backward of the objective left."""
        self.optimizer.step()
        self.optimizer.zero_grad()

    def state_dict(self) -> dict[str, Any]:
        return {"reweighter": self.reweighter.state_dict(), "optimizer": self.optimizer.state_dict(),
                "peak": self.gradient_scale, "val_gradient": self.val_gradient}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.reweighter.load_state_dict(state["reweighter"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.gradient_scale = state["peak"].to(self.gradient_scale.device)
        self.val_gradient = state["val_gradient"].to(self.gradient_scale.device)


def num_inputs(inputs: str, num_features: int, num_classes: int) -> int:
    """Length K of what a reweighter with these config.inputs sees of a sample."""
    label_and_loss = num_classes + 1
    return {"features": num_features, "features_label_loss": num_features + label_and_loss,
            "record": label_and_loss + NUM_RECORD_INPUTS,
            "all": num_features + label_and_loss + NUM_RECORD_INPUTS}[inputs]


def record_inputs(record: SignalRecord, rows_B: Tensor, labels_B: Tensor, agreement_B: Tensor) -> Tensor:
    """What is known of each sample, (B, 6). From the epochs before: its label's mean held-out probability and margin,
    whether it has any, its mean margin in training, and whether it was trained on; what a sample's record lacks is 0.
    From the steps before: agreement_B of Weighting.agreement.

    The paper's reweighter sees the image alone; what tells wrong labels from hard ones is what predictions made without
    the sample, and early in training, said of it.
    """
    held_B, trained_B = record.heldout_weight[rows_B], record.train_epochs[rows_B]
    quality_B = record.heldout_probs[rows_B, labels_B] / held_B.clamp(min=1e-12)
    margin_B = record.heldout_margin_sum[rows_B] / held_B.clamp(min=1e-12)
    mean_margin_B = record.margin_sum[rows_B] / trained_B.clamp(min=1)
    return torch.stack([2.0 * quality_B, margin_B, (held_B > 0).float(), mean_margin_B, (trained_B > 0).float(),
                        agreement_B], dim=1)
