"""Where the weights of a training batch come from: one signature, six sources.

    uniform     the class's own weight alone
    given       fixed ones: of another run (--weights-from), of the data (weights_by), of a first training (JTT)
    learned     the reweighter's, times the class's own (MOLERE, LRW, Meta-Weight-Net)
    online      each step's hypergradient on the proxy buffer (FSR)
    similarity  what the features of validation samples say of a sample's label (engine.molere.similarity: FBR)
    worst       the share of the batch with the highest losses (CVaR-DRO)

RHO-loss weighs nothing: it chooses a batch before (engine.molere.rho). B train batch, V validation batch.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from engine.contract.config import RunConfig
from engine.data.batches import to_device
from engine.model.networks import Classifier
from engine.model.record import SignalRecord
from engine.molere.assignment import Phase
from engine.molere.freedom import Freedom, corrected_loss
from engine.molere.fsr import online_weights
from engine.molere.meta_step import TrainBatch, ValidationBatch, hypergradient, resting_hypergradient
from engine.molere.noise_model import NoiseModel
from engine.molere.reweighter import Weighting, record_inputs
from engine.molere.similarity import Similarity


@dataclass(frozen=True, slots=True)
class StepInputs:
    """What the weights of one step may depend on."""

    batch: TrainBatch
    priors_B: Tensor
    """Each sample's class weight, mean 1 over the training samples."""
    phase: Phase
    step: int
    """Within the epoch, from 0."""
    lr: float
    draw_validation: Callable[[], ValidationBatch] | None
    """A fresh batch of validation samples; None where there are none to learn from now."""
    draw_resting: Callable[[], ValidationBatch] | None = None
    """A fresh batch of samples at rest, none of them in validation; None where none rest."""
    noise: NoiseModel | None = None
    """Of the given labels; None before there are held-out predictions."""


@dataclass(frozen=True, slots=True)
class StepWeights:
    """The weights of one step, and what its backward is to teach besides the classifier."""

    weights_B: Tensor
    """Detached."""
    objective: Tensor | None = None
    """A scalar with a gradient to the source's own parameters alone; None where nothing is learned at this step."""


class WeightSource(Protocol):
    """weigh() before the classifier's step, update() after its backward."""

    def weigh(self, inputs: StepInputs) -> StepWeights: ...

    def update(self, weights: StepWeights) -> None: ...


@dataclass(frozen=True, slots=True)
class Given:
    """Weights that stay as they are, and what another run says besides; N samples of the train split."""

    weights_N: np.ndarray
    """(N,) float32, mean 1 over those that train."""
    rests_N: np.ndarray
    """(N,) bool: in validation there, so out of training here."""
    reasons_N: np.ndarray
    """(N,) object of ROLE_REASONS, the role's there."""

    @classmethod
    def of_weights(cls, weights_N: np.ndarray, is_used_N: np.ndarray) -> "Given":
        """Weights (N,) >= 0 alone, scaled to mean 1 over those that train; all 1 where that would be none of them."""
        mean = float(weights_N[is_used_N].mean()) if is_used_N.any() else 0.0
        scaled_N = weights_N / mean if mean > 0 else np.ones(len(weights_N))
        return cls(weights_N=scaled_N.astype(np.float32), rests_N=np.zeros(len(weights_N), dtype=bool),
                   reasons_N=np.full(len(weights_N), "trains", dtype=object))


class GivenWeights:
    """Fixed weights, times the class's own."""

    def __init__(self, weights_N: Tensor) -> None:
        self.weights_N = weights_N

    def weigh(self, inputs: StepInputs) -> StepWeights:
        return StepWeights(inputs.priors_B * self.weights_N[inputs.batch.rows_B])

    def update(self, weights: StepWeights) -> None:
        pass


class UniformWeights:
    """The class weights."""

    def weigh(self, inputs: StepInputs) -> StepWeights:
        return StepWeights(inputs.priors_B)

    def update(self, weights: StepWeights) -> None:
        pass


class OnlineWeights:
    """max(0, -dF/dw) of every step, from uniform weights and at the peak learning rate, as FSR has it."""

    def __init__(self, config: RunConfig, model: Classifier) -> None:
        self.config, self.model = config, model

    def weigh(self, inputs: StepInputs) -> StepWeights:
        if inputs.draw_validation is None:
            return StepWeights(inputs.priors_B)
        slopes_B = hypergradient(self.config.reweighter, self.model, inputs.batch, inputs.priors_B,
                                 inputs.draw_validation(), self.config.peak_lr(), self.config.label_smoothing)
        return StepWeights(online_weights(slopes_B))

    def update(self, weights: StepWeights) -> None:
        pass


class WorstWeights:
    """Batch CVaR: all weight on the share of the batch with the highest losses (Levy et al. 2020, "Large-scale methods
    for distributionally robust optimization", NeurIPS, eq. 7 of the batch estimator, without regularisation)."""

    def __init__(self, share: float) -> None:
        self.share = share

    def weigh(self, inputs: StepInputs) -> StepWeights:
        return StepWeights(inputs.priors_B * worst_weights(inputs.priors_B * inputs.batch.losses_B, self.share))

    def update(self, weights: StepWeights) -> None:
        pass


def worst_weights(losses_B: Tensor, share: float) -> Tensor:
    """Weights (B,) >= 0 of mean 1 that maximise the mean weighted loss under the bound 1 / share: CVaR's best response.

    The highest share * B losses have the bound; the next one has what is left of the mean. Of equal losses the first
    come first.
    """
    total = share * len(losses_B)
    order = torch.argsort(losses_B.detach(), descending=True, stable=True)
    ranked_B = (total - torch.arange(len(losses_B), device=losses_B.device, dtype=losses_B.dtype)).clamp(0.0, 1.0)
    return torch.empty_like(losses_B).index_copy_(0, order, ranked_B / share)


class SimilarityWeights:
    """Moved at each step of the game by what validation's features say; before it the class weights."""

    def __init__(self, config: RunConfig, similarity: Similarity) -> None:
        self.config, self.similarity = config, similarity

    def weigh(self, inputs: StepInputs) -> StepWeights:
        if inputs.phase == "warmup":
            return StepWeights(inputs.priors_B)
        if inputs.draw_validation is not None and inputs.step % self.config.reweighter.every == 0:
            validation = inputs.draw_validation()
            assert validation.forward_pass is not None, "similarity needs the features of validation"
            self.similarity.look(validation.forward_pass[1], validation.labels_V)
        batch, controls = inputs.batch, self.config.controls
        return StepWeights(inputs.priors_B * self.similarity.weigh(
            batch.rows, batch.features_BD, batch.labels_B, controls.fbr_rate, controls.fbr_others))

    def update(self, weights: StepWeights) -> None:
        pass


class LearnedWeights:
    """The reweighter's weights, as far as they are free; every Q steps of the game it learns from the hypergradient,
    and so does their freedom."""

    def __init__(self, config: RunConfig, weighting: Weighting, model: Classifier, record: SignalRecord,
                 freedom: Freedom | None) -> None:
        """freedom: None of weights that nothing judges: they are free."""
        self.config, self.weighting, self.model, self.record = config, weighting, model, record
        self.freedom = freedom

    def weigh(self, inputs: StepInputs) -> StepWeights:
        if inputs.phase == "warmup":
            return StepWeights(inputs.priors_B)
        views = self.weighting.views(inputs.draw_validation()) if self._is_due(inputs) and inputs.draw_validation \
            else []
        averages_B = self.record.weight_average[inputs.batch.rows_B] if inputs.phase == "finish" else None
        if averages_B is not None and averages_B.device.type == "cpu" and not averages_B.isnan().any():
            return StepWeights(self.weighting.averaged_weights(averages_B, averages_B))  # nothing is left to be asked
        with torch.no_grad():
            own_B = inputs.priors_B * self._raw(inputs.batch, self.weighting.val_gradient)
        weights_B = own_B if self.freedom is None else self.freedom.acting(own_B, inputs.priors_B)
        if averages_B is not None:
            weights_B = self.weighting.averaged_weights(averages_B, weights_B)
        if not views:
            return StepWeights(weights_B)
        if self.freedom is not None and inputs.draw_resting is not None and inputs.noise is not None:
            slopes_B = resting_hypergradient(
                self.model, inputs.batch, weights_B, inputs.draw_resting(), inputs.lr, self.config.label_smoothing,
                corrected_loss(inputs.noise, weights_B.device))
            self.freedom.judge(slopes_B / inputs.lr, own_B, inputs.priors_B)
        hypergradients = [hypergradient(self.config.reweighter, self.model, inputs.batch, weights_B, judge, inputs.lr,
                                        self.config.label_smoothing)
                          * inputs.priors_B * (len(weights_B) / inputs.lr) for _, judge in views]
        return StepWeights(weights_B, self.weighting.objective(
            [(self._raw(inputs.batch, shown_CD), hypergradient_B)
             for (shown_CD, _), hypergradient_B in zip(views, hypergradients, strict=True)]))

    def _is_due(self, inputs: StepInputs) -> bool:
        return inputs.draw_validation is not None and inputs.step % self.config.reweighter.every == 0

    def _raw(self, batch: TrainBatch, shown_CD: Tensor) -> Tensor:
        """Weights (B,) with a gradient to the reweighter, which is shown the validation gradient shown_CD."""
        agreement_B = self.weighting.agreement(shown_CD, batch.logits_BC, batch.features_BD, batch.labels_B)
        return self.weighting.weigh(batch.features_BD, batch.labels_B, batch.losses_B,
                                    record_inputs(self.record, batch.rows_B, batch.labels_B, agreement_B))

    def update(self, weights: StepWeights) -> None:
        if weights.objective is not None:
            self.weighting.step()


def make_source(config: RunConfig, model: Classifier, record: SignalRecord, weighting: Weighting | None,
                given: Given | None, num_steps: int) -> WeightSource:
    """The source of a training's weights. weighting: of a method that learns them; given: fixed ones; num_steps: of an
    epoch."""
    device = model.head.weight.device
    if weighting is not None:
        is_judged = config.validation_source == "learned" and config.num_rotation_groups is not None
        num_judgements = (config.first_finish_epoch - 1 - config.warmup_epochs) * math.ceil(
            num_steps / config.reweighter.every)
        return LearnedWeights(config, weighting, model, record, Freedom(num_judgements, device) if is_judged else None)
    if given is not None:
        return GivenWeights(to_device(given.weights_N, device))
    if config.weight_source == "similarity":
        return SimilarityWeights(config, Similarity(len(record.margin), model.head.out_features,
                                                    model.head.in_features, device))
    if config.weight_source == "worst":
        return WorstWeights(config.controls.worst_share)
    return OnlineWeights(config, model) if config.weight_source == "online" else UniformWeights()


def freedom_of(source: WeightSource) -> Freedom | None:
    """Of weights that are learned and judged."""
    return source.freedom if isinstance(source, LearnedWeights) else None


def kept_of(source: WeightSource) -> dict[str, Similarity | Freedom | None]:
    """What a source remembers that is nowhere else, by name: parts of a checkpoint."""
    return {"similarity": source.similarity if isinstance(source, SimilarityWeights) else None,
            "freedom": freedom_of(source)}
