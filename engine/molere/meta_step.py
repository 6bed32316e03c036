"""What one meta step works on: the training batch, the validation batch, and the hypergradient between them.

Learns nothing and draws nothing at random. B train batch, V validation batch, C classes, D features.
"""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from engine.contract.method_config import CLOSED_FORMS, ReweighterConfig
from engine.model.losses import LOSS_FUNCTIONS, PerSampleLoss, train_loss_of
from engine.model.networks import Classifier
from engine.molere.hypergradient import (
    HYPERGRADIENT_FUNCTIONS,
    MetaProblem,
    frozen_running_statistics,
    last_layer,
)
from engine.runtime import distributed


class TrainBatch(NamedTuple):
    """The training samples of a step and what the classifier says of them."""

    rows: np.ndarray
    """(B,) rows of the train split."""
    rows_B: Tensor
    """The same on the device."""
    images_B: Tensor
    labels_B: Tensor
    logits_BC: Tensor
    features_BD: Tensor
    losses_B: Tensor


class ValidationBatch(NamedTuple):
    """Validation samples of one meta step, under the classifier as it is."""

    images_V: Tensor
    labels_V: Tensor
    forward_pass: tuple[Tensor, Tensor] | None
    """Logits (V, C) and features (V, D), where anybody asks for them."""

    def halves(self) -> tuple["ValidationBatch", "ValidationBatch"]:
        """The two draws that roles.stratified_halves put one behind the other."""
        middle = len(self.labels_V) // 2
        first, second = (ValidationBatch(
            self.images_V[half], self.labels_V[half],
            self.forward_pass and (self.forward_pass[0][half], self.forward_pass[1][half]))
            for half in (slice(None, middle), slice(middle, None)))
        return first, second


def validation_batch(model: Classifier, images: Tensor, labels_V: Tensor, needs_pass: bool) -> ValidationBatch:
    """The batch with its forward pass, in training mode and out of reach of running statistics, where one is needed.
    images: this rank's part of the batch."""
    if not needs_pass:
        return ValidationBatch(images, labels_V, None)
    with torch.no_grad(), frozen_running_statistics(model):
        logits_VC, features_VD = (distributed.gather_rows(values, len(labels_V)) for values in model(images))
        return ValidationBatch(images, labels_V, (logits_VC, features_VD))


def hypergradient(config: ReweighterConfig, model: Classifier, batch: TrainBatch, weights_B: Tensor,
                  validation: ValidationBatch, lr: float, smoothing: float) -> Tensor:
    """dF/dw (B,) of the validation loss after a step at lr under weights_B, as the config says; see
    engine.molere.hypergradient. smoothing: of the training labels. While the head trains alone, last_layer in place of
    those through the whole network: it is exact then."""
    is_whole = config.hypergradient not in CLOSED_FORMS
    name = "last_layer" if is_whole and model.is_frozen else config.hypergradient
    return HYPERGRADIENT_FUNCTIONS[name](_problem(model, batch, weights_B, validation, lr, smoothing,
                                                  LOSS_FUNCTIONS[config.val_loss]))


def resting_hypergradient(model: Classifier, batch: TrainBatch, weights_B: Tensor, resting: ValidationBatch, lr: float,
                          smoothing: float, loss: PerSampleLoss) -> Tensor:
    """dF/dw (B,) of the mean `loss` of samples at rest after a step of the head alone."""
    return last_layer(_problem(model, batch, weights_B, resting, lr, smoothing, loss))


def _problem(model: Classifier, batch: TrainBatch, weights_B: Tensor, judges: ValidationBatch, lr: float,
             smoothing: float, loss: PerSampleLoss) -> MetaProblem:
    return MetaProblem(
        model=model, images_B=batch.images_B, labels_B=batch.labels_B, weights_B=weights_B.detach(),
        images_V=judges.images_V, labels_V=judges.labels_V, lr=lr, train_loss=train_loss_of(smoothing),
        val_loss=loss, train_pass=(batch.logits_BC.detach(), batch.features_BD.detach()),
        val_pass=judges.forward_pass)
