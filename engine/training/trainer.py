"""One trainer; every method is a configuration of it: where validation samples come from x how weights are made.

Knows a Dataset and a RunConfig and writes no files: run directory, checkpoints and reports are engine.runs.train's. N
training samples, B train batch, V validation batch, C classes, D features.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from engine.contract.config import RunConfig
from engine.contract.method_config import CLOSED_FORMS
from engine.contract.methods import REWEIGHTED
from engine.contract.signal_columns import ROLES
from engine.data.batches import ImageStore, augment, augmentation_of, epoch_order, to_device
from engine.data.dataset import Dataset
from engine.model.networks import Classifier
from engine.model.prediction import non_finite_step, pick_device, predict
from engine.model.record import SignalRecord, kept_by
from engine.molere import freedom, fsr, rho, routing
from engine.molere.assignment import EpochRoles, assign
from engine.molere.meta_step import ValidationBatch, validation_batch
from engine.molere.noise_model import NoiseEstimate
from engine.molere.reweighter import AVERAGE_DECAY, Weighting
from engine.molere.splitter import SplitterTraining
from engine.molere.weight_sources import Given, StepInputs, freedom_of, kept_of, make_source
from engine.runtime import distributed
from engine.runtime.rng import stream
from engine.training.checkpoint import CheckpointError
from engine.training.classifier import STEPS_UNSEEN, ClassifierTraining
from engine.training.early_stopping import BestEpoch
from engine.training.held_out_start import begin_held_out
from engine.training.objective import Objective, draw_mix, passed_forward
from engine.training.observations import ROWS_OF_HEADS, Observations

HELDOUT_ROWS = 65_536
OnStep = Callable[[int, int], None]
"""Called after each step with (steps done, steps in the epoch); raises to stop the training there."""


class Trainer:
    """Networks, optimizers, roles and record of one training; `run_epoch` is the whole method, of these parts:
    start_epoch, run_steps, end_epoch."""

    def __init__(self, config: RunConfig, data: Dataset, *, is_active: np.ndarray | None = None,
                 ranking: np.ndarray | None = None, irreducible: np.ndarray | None = None,
                 given: Given | None = None) -> None:
        """is_active: (N,) bool, who may be used at all (default: not excluded). ranking: (N,) cross-fitted margins
        for the sources "easy" and "hard". irreducible: (N,) cross-fitted losses for rho. given: fixed weights."""
        self.active = ~data.excluded if is_active is None else is_active & ~data.excluded
        num_active = int(self.active.sum())
        self.config = config = replace(config, lr=config.peak_lr(num_active))
        if given is None and data.own_weights is not None:
            given = Given.of_weights(data.own_weights, self.active & (data.pins != -1))
        self.data, self.given, self.ranking = data, given, ranking
        self.device, self.batch_size = pick_device(config.device), config.step_size(num_active)
        self.labels = torch.from_numpy(np.maximum(data.labels, 0)).to(self.device)
        image_size = data.images.shape[-1]
        self.augment = augmentation_of(config, image_size)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(stream(config.seed, "init").integers(2**31)))
            self.classifier = ClassifierTraining(config, data.num_classes, image_size, self.device)
            self.store = ImageStore(data.images, self.device, self.model.mean, self.model.std)
            num_features = self.model.head.in_features
            self.record = SignalRecord(data.num_train, data.num_classes, num_features, self.device, kept_by(config))
            self.weighting = Weighting(config.reweighter, config.weight_source, num_features, data.num_classes,
                                       self.device) if config.weight_source in REWEIGHTED else None
            self.splitting = SplitterTraining(config, self.record.num_kept, data, self.device, 4 * self.batch_size) \
                if config.validation_source == "learned" else None
        self.groups = routing.rotation_groups(data.num_train, config.num_rotation_groups or 1,
                                              stream(config.seed, "rotation"), data.siblings)
        self.class_weights = torch.from_numpy(routing.class_weights(
            data.train_labels[self.active], data.num_classes, config.class_exponent)).to(self.device)
        self.learns_weights = config.weight_source not in ("uniform", "rho")
        self.num_steps = max(1, math.ceil(num_active / self.batch_size))
        self.weights = make_source(config, self.model, self.record, self.weighting, given, self.num_steps)
        self.objective = Objective(config, data.num_train, data.num_classes, self.device)
        self.noise = NoiseEstimate(config)
        self.proxy = fsr.ProxyBuffer(data.num_train, self.device) if config.validation_source == "proxy" else None
        self.irreducible = None if irreducible is None else to_device(irreducible, self.device)
        self.is_choosing = config.weight_source == "rho"
        self.draw_size = self.batch_size if not self.is_choosing else rho.num_candidates(
            self.batch_size, config.rho_fraction, int(self.active.sum()))
        self.best = BestEpoch() if config.select_best else None
        self.roles: EpochRoles | None = None
        self.observations = Observations(self.record, self.proxy, ROWS_OF_HEADS if config.head else 0)

    # -- one epoch

    def run_epoch(self, epoch: int, on_step: OnStep, first_step: int = 0) -> None:
        """Epochs count from 1. first_step > 0 goes on within an epoch whose state was restored."""
        if first_step == 0:
            self.start_epoch(epoch)
        for step in self.run_steps(epoch, range(first_step, self.num_steps)):
            if (step + 1) % STEPS_UNSEEN == 0:
                self.check(epoch)
            on_step(step + 1, self.num_steps)
        self.check(epoch)
        self.end_epoch(epoch)

    def check(self, epoch: int) -> None:
        """Raise NonFiniteError where a step of this epoch was not finite and that has not been looked at yet."""
        if (step := self.classifier.first_bad_step()) is not None:
            rows = self.training_order(epoch)[step * self.draw_size:(step + 1) * self.draw_size]
            raise non_finite_step(None, None, self._ids_of(rows), epoch, step + 1)

    def start_epoch(self, epoch: int) -> None:
        """Assign the roles of this epoch and clear what belongs to one epoch."""
        previous = self.roles
        if epoch == 1:
            begin_held_out(self.record, self.noise, self.config, self.data, self.active, self.class_weights)
        for part in (self.weighting and self.weighting.reweighter, self.splitting and self.splitting.splitter,
                     freedom_of(self.weights)):
            distributed.agree_on(part.parameters() if part else iter(()))
        self.noise.refit(epoch, self.record.heldout_predictions(), self.data.train_labels, self.active)
        self.roles = distributed.broadcast_object(assign(
            epoch, self.config, self.data, self.active, previous, ranking=self.ranking, groups=self.groups,
            record=self.record, noise=self.noise.model, held=None if self.given is None else self.given.rests_N))
        if self.proxy:
            self.proxy.refill(self.data.train_labels, self.active & ~self.roles.routed, self.config.proxy_fraction,
                              self.data.num_classes, stream(self.config.seed, "proxy", epoch))
        self.record.start_epoch()
        self.observations.start_epoch()

    @property
    def epoch_roles(self) -> EpochRoles:
        assert self.roles is not None, "roles exist once the first epoch has started"
        return self.roles

    @property
    def heldout(self) -> np.ndarray:
        """(N,) bool: out of training in this epoch. While the run finishes, that is who people pinned there."""
        current = self.epoch_roles
        heldout: np.ndarray = current.routed | current.resting
        return heldout & (self.data.pins == -1) if current.phase == "finish" else heldout

    @property
    def judged(self) -> np.ndarray | None:
        """(N,) bool: whose margin, loss and prediction stay as they were last held out although they train, since the
        run finishes; None: nobody's."""
        return self.epoch_roles.routed if self.epoch_roles.phase == "finish" else None

    def role_codes(self, is_in_validation: np.ndarray) -> np.ndarray:
        """(N,) positions in ROLES of who is in validation by (N,) bool, in training, or excluded."""
        codes = np.where(is_in_validation, ROLES.index("validation"), ROLES.index("train"))
        return np.asarray(np.where(self.active, codes, ROLES.index("excluded")))

    def training_order(self, epoch: int) -> np.ndarray:
        """Training rows of this epoch's steps, draw_size each, int64."""
        rows = np.flatnonzero(self.active & ~self.heldout)
        if not len(rows):
            raise RuntimeError("training needs at least one sample; all are in validation; unpin some or lower "
                               "val_fraction")
        return epoch_order(rows, self.num_steps, self.draw_size, stream(self.config.seed, "order", epoch))

    def validation_pool(self) -> np.ndarray:
        """Rows of the manifest that validation batches are drawn from: the routed, never those who only rest, and who
        is in the proxy buffer."""
        routed = self.epoch_roles.routed
        pool = self.data.train_idx[routed | self.proxy.members if self.proxy else routed]
        return np.concatenate([pool, self.data.clean_idx]) if self.config.validation_source == "clean" else pool

    def run_steps(self, epoch: int, steps: Sequence[int]) -> Iterator[int]:
        """Each step's number once it is done, while the images of the next are on their way."""
        order, pool = self.training_order(epoch), self.validation_pool()
        at_rest = self.data.train_idx[self.epoch_roles.resting]
        rows = [order[step * self.draw_size:(step + 1) * self.draw_size] for step in steps]
        images = self.store.ahead(self.data.train_idx[rows_B[distributed.local_slice(len(rows_B))]] for rows_B in rows)
        for step, rows_B, images_B in zip(steps, rows, images, strict=True):
            self._step(epoch, step, rows_B, images_B, pool, at_rest)
            yield step

    def _step(self, epoch: int, step: int, rows: np.ndarray, images_B: Tensor, pool: np.ndarray,
              at_rest: np.ndarray) -> None:
        """Pass the batch forward, weigh it, step the classifier and whatever learned beside it, record.

        images_B: of this rank's part. pool, at_rest: manifest rows of who is in validation and of who rests.
        """
        config, phase = self.config, self.epoch_roles.phase
        lr = self.classifier.set_learning_rate(((epoch - 1) * self.num_steps + step) / (config.epochs * self.num_steps))
        if self.augment != "none":
            images_B = augment(images_B, self.augment, stream(config.seed, "augment", epoch, step), len(rows),
                               distributed.local_slice(len(rows)))
        self.classifier.in_training(is_frozen=epoch <= config.num_head_epochs)
        mix = draw_mix(config.mixup, len(rows), stream(config.seed, "mixup", epoch, step)) if config.mixup else None
        rows, images_B = self._chosen(rows, images_B)
        batch, logits, losses = passed_forward(self.classifier, rows, images_B, self._labels_of(rows), mix)
        validation, resting = (
            partial(self._fresh_batch, name, at, epoch, step) if phase == "game" and len(at) else None
            for name, at in (("validation", pool), ("resting", at_rest)))
        weights = self.weights.weigh(StepInputs(batch, self.class_weights[batch.labels_B], phase, step, lr,
                                                validation, resting, self.noise.model))
        values_B = fsr.values(config, self.model.head, self.classifier.optimizer, batch.logits_BC, batch.features_BD,
                              batch.labels_B) if self.proxy else None  # before the step that trains on them
        objective = self.objective(batch, logits, losses, weights.weights_B, mix)
        if weights.objective is not None:
            objective = objective + weights.objective
        self.classifier.step(objective, batch.losses_B, partial(self._ids_of, batch.rows), epoch, step)
        self.weights.update(weights)
        if self.splitting and phase != "finish" and step % config.splitter.every == 0:
            self.splitting.step(self.model.head, self.record, stream(config.seed, "splitter", epoch, step))
        self.observations.add(batch, weights.weights_B, values_B, self.judged)

    def _chosen(self, rows: np.ndarray, images_B: Tensor) -> tuple[np.ndarray, Tensor]:
        """The rows to train on and their images: all of the draw, of which RHO-loss takes its choice."""
        if not self.is_choosing:
            return rows, images_B
        assert self.irreducible is not None, "rho needs irreducible losses"
        chosen = rho.choose(self.model, images_B, self._labels_of(rows), rows, self.irreducible, self.batch_size,
                            self.record)
        return rows[chosen], images_B[chosen]

    def _labels_of(self, rows: np.ndarray) -> Tensor:
        return self.labels[to_device(self.data.train_idx[rows], self.device)]

    def _ids_of(self, rows: np.ndarray) -> np.ndarray:
        return np.asarray(self.data.sample_ids[self.data.train_idx[rows]])

    def _fresh_batch(self, name: str, pool: np.ndarray, epoch: int, step: int) -> ValidationBatch:
        """A fresh, class-stratified batch of the pool: a gradient some steps old is not safe."""
        config, rng = self.config.reweighter, stream(self.config.seed, name, epoch, step)
        size = freedom.ROWS_OF_HEADS if name == "resting" and self.config.head else config.val_batch_size
        idx = routing.stratified_halves(pool, self.data.labels[pool], size, rng)
        needs_pass = self.weighting.sees_record if self.weighting else self.config.weight_source == "similarity"
        needs_pass |= config.hypergradient in CLOSED_FORMS or name == "resting"
        images = self.store.batch(idx[distributed.local_slice(len(idx))])
        return validation_batch(self.model, images, self.labels[to_device(idx, self.device)], needs_pass)

    def end_epoch(self, epoch: int) -> None:
        """Held-out predictions of all who were out of training, then the splitter's view of all samples."""
        self.observations.flush(self.judged)
        phase, rows = self.epoch_roles.phase, np.flatnonzero(self.heldout)
        if len(rows):
            self._observe_heldout(epoch, rows)
        if phase == "game":
            self.record.count_routes(to_device(self.epoch_roles.routed, self.device))
        self.record.end_epoch()
        # While the run finishes the splitter's last word stands: it would now judge features of samples trained on.
        if self.splitting and phase != "finish":
            self.record.set_scores(*self.splitting.scores(self.model.head, self.record))
        if self.weighting and phase == "game":
            self.record.average_weights(AVERAGE_DECAY)
        if self.best and epoch == self.config.epochs:  # last: the signals of an epoch are of its own classifier
            self.best.restore(self.model)

    def _observe_heldout(self, epoch: int, rows: np.ndarray) -> None:
        """Predictions of rows of the train split that this epoch did not train on; in parts, for memory's sake."""
        parts, rows_H, labels = [], to_device(rows, self.device), self._labels_of(rows)
        for part in (slice(start, start + HELDOUT_ROWS) for start in range(0, len(rows), HELDOUT_ROWS)):
            logits, features = self.predict(self.data.train_idx[rows[part]])
            self.record.observe_heldout(rows_H[part], logits, features, labels[part], epoch)
            parts.append(logits)
        logits, routed = torch.cat(parts), self.epoch_roles.routed
        if self.best and routed.any():
            is_right = (logits.argmax(1) == labels).cpu().numpy()
            self.best.consider(epoch, float(is_right[routed[rows]].mean()), self.model)
        if self.splitting and self.epoch_roles.phase != "finish":
            known = self.record.has_features & to_device(self.active, self.device)
            kept = self.record.features[rows_H], self.record.feature_scale[rows_H]
            self.splitting.observe_heldout(logits, kept, labels, known.nonzero()[:, 0].int())

    @property
    def model(self) -> Classifier:
        return self.classifier.model

    def predict(self, idx: np.ndarray) -> tuple[Tensor, Tensor]:
        """Logits (len(idx), C) and features (len(idx), D) of rows of the manifest; see engine.model.prediction."""
        return predict(self.model, self.store, idx, self.data.sample_ids)

    # -- checkpoint

    @property
    def _modules(self) -> dict[str, Any]:
        parts = {"classifier": self.classifier, "splitting": self.splitting, "weighting": self.weighting,
                 "best": self.best, "proxy": self.proxy, **kept_of(self.weights), "noise": self.noise,
                 "early": self.objective.early}
        return {name: part for name, part in parts.items() if part is not None}

    def state_dict(self) -> dict[str, Any]:
        """All that the next step depends on, as tensors and plain values."""
        state: dict[str, Any] = {name: part.state_dict() for name, part in self._modules.items()}
        state |= {"record": self.record.state_dict(), **self.observations.state_dict()}
        return state | ({"roles": self.roles.state_dict()} if self.roles is not None else {})

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Raises CheckpointError for a state that other code wrote."""
        try:
            for name, module in (self._modules | {"record": self.record}).items():
                module.load_state_dict(state[name])
        except KeyError as error:
            raise CheckpointError(f"a checkpoint must be of this version of the program; it lacks {error.args[0]}; "
                                  "start the run anew") from error
        self.observations.load_state_dict(state)
        self.roles = EpochRoles.of_state(state["roles"]) if "roles" in state else self.roles
