"""One trainer; every method is a configuration of it: where validation samples come from x how weights are made.

Knows a Dataset and a RunConfig; writes no files, so the cross-fitted first training of train-twice uses it as well.
The run directory, checkpoints and reports are engine.train's. N training samples, B train batch, V validation batch,
C classes, D features.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from engine import fsr, rho, roles
from engine.assignment import EpochRoles, assign
from engine.batches import ImageStore, augment, epoch_order, to_device
from engine.best import BestEpoch
from engine.checkpoint import CheckpointError
from engine.config import RunConfig
from engine.data import Dataset
from engine.losses import cross_entropy
from engine.meta_step import TrainBatch, ValidationBatch, hypergradient, validation_batch
from engine.networks import make_classifier
from engine.prediction import non_finite_step, pick_device, predict
from engine.rundir import ROLES
from engine.schedule import learning_rate
from engine.signals import SignalRecord, bimodality
from engine.splitter_training import SplitterTraining
from engine.streams import stream
from engine.weighting import AVERAGE_DECAY, Weighting, record_inputs

OnStep = Callable[[int, int], None]
"""Called after each step with (steps done, steps in the epoch); raises to stop the training there."""


class Trainer:
    """Networks, optimizers, roles and record of one training; `run_epoch` is the whole method."""

    def __init__(self, config: RunConfig, data: Dataset, *, is_active: np.ndarray | None = None,
                 ranking: np.ndarray | None = None, irreducible: np.ndarray | None = None) -> None:
        """is_active: (N,) bool, who may be used at all (default: not excluded). ranking: (N,) cross-fitted margins
        for the sources "easy" and "hard". irreducible: (N,) cross-fitted losses for rho."""
        self.config, self.data = config, data
        self.device = pick_device(config.device)
        self.active = ~data.excluded if is_active is None else is_active & ~data.excluded
        self.ranking = ranking
        self.store = ImageStore(data.images, self.device)
        self.labels = torch.from_numpy(np.maximum(data.labels, 0)).to(self.device)
        image_size = data.images.shape[-1]
        self.augment = {"auto": "shift" if image_size <= 8 else "shift_flip"}.get(config.augment, config.augment)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(stream(config.seed, "init").integers(2**31)))
            # channels_last: a quarter off a step's time on CPU, and what tensor cores want.
            self.model = make_classifier(config.network, data.num_classes, image_size, config.weights)
            self.model.to(self.device).to(memory_format=torch.channels_last)
            num_features = self.model.head.in_features
            self.weighting = Weighting(config.reweighter, config.weight_source, num_features, data.num_classes,
                                       self.device) if config.weight_source in ("features", "loss") else None
            self.splitting = SplitterTraining(config, num_features, data, self.device) \
                if config.validation_source == "learned" else None
        decayed = [p for p in self.model.parameters() if p.ndim > 1]
        plain = [p for p in self.model.parameters() if p.ndim <= 1]
        groups: list[dict[str, Any]] = [{"params": decayed}, {"params": plain, "weight_decay": 0.0}]
        self.optimizer = torch.optim.SGD(groups, lr=config.lr, momentum=config.momentum,
                                         weight_decay=config.weight_decay, nesterov=config.momentum > 0)
        self.record = SignalRecord(data.num_train, data.num_classes, num_features, self.device)
        self.groups = roles.rotation_groups(data.num_train, config.num_rotation_groups or 1,
                                            stream(config.seed, "rotation"))
        self.class_weights = torch.from_numpy(roles.class_weights(
            data.train_labels[self.active], data.num_classes, config.class_exponent)).to(self.device)
        self.learns_weights = config.weight_source not in ("uniform", "rho")
        self.num_steps = max(1, math.ceil(int(self.active.sum()) / config.batch_size))
        self.irreducible = None if irreducible is None else to_device(irreducible, self.device)
        self.proxy = fsr.ProxyBuffer(data.num_train, self.device) if config.validation_source == "proxy" else None
        self.is_choosing = config.weight_source == "rho"
        self.draw_size = config.batch_size if not self.is_choosing else rho.num_candidates(
            config.batch_size, config.rho_fraction, int(self.active.sum()))
        self.best = BestEpoch() if config.select_best else None
        self.roles: EpochRoles | None = None
        self.totals: dict[str, Tensor] = {}

    # -- one epoch

    def run_epoch(self, epoch: int, on_step: OnStep, first_step: int = 0) -> None:
        """Epochs count from 1. first_step > 0 goes on within an epoch whose state was restored."""
        if first_step == 0:
            self.start_epoch(epoch)
        order, pool = self._order(epoch), self._validation_pool()
        for step in range(first_step, self.num_steps):
            self._step(epoch, step, order, pool)
            on_step(step + 1, self.num_steps)
        self._end_epoch(epoch)

    def start_epoch(self, epoch: int) -> None:
        """Assign the roles of this epoch and clear what belongs to one epoch."""
        previous = self.roles
        self.roles = assign(
            epoch, self.config, self.data, self.active, previous, ranking=self.ranking, groups=self.groups,
            record=self.record, score=lambda: self._score().cpu().numpy())
        if self.weighting and not self.roles.is_warmup:
            self.weighting.set_floor(self._disputed_share(), bimodality(
                self.record.tensors["margin"].cpu().numpy()[self.active]))
        if self.proxy:
            self.proxy.refill(self.data.train_labels, self.active & ~self.roles.routed, self.config.proxy_fraction,
                              self.data.num_classes, stream(self.config.seed, "proxy", epoch))
        self.record.start_epoch()
        self.totals = {name: torch.zeros((), device=self.device) for name in ("loss", "samples")}

    def _disputed_share(self) -> float:
        """Share of the active samples with held-out predictions whose label those confidently dispute; 1 if none has
        any, since then nothing vouches for a label."""
        probs_NC, is_known = self.record.heldout_predictions()
        rows = is_known & self.active
        disputed = roles.confident_suggestion(probs_NC, self.data.train_labels, rows) >= 0
        return float(disputed[rows].mean()) if rows.any() else 1.0

    @property
    def epoch_roles(self) -> EpochRoles:
        assert self.roles is not None, "roles exist once the first epoch has started"
        return self.roles

    @property
    def heldout(self) -> np.ndarray:
        """(N,) bool: out of training in this epoch. While the run finishes, that is who people pinned there."""
        current = self.epoch_roles
        heldout: np.ndarray = current.routed | current.resting
        return heldout & (self.data.pins == -1) if current.is_finish else heldout

    def role_codes(self, is_in_validation: np.ndarray) -> np.ndarray:
        """(N,) positions in ROLES of who is in validation by (N,) bool, in training, or excluded."""
        codes: np.ndarray = np.where(is_in_validation, ROLES.index("validation"), ROLES.index("train"))
        everybody: np.ndarray = np.where(self.active, codes, ROLES.index("excluded"))
        return everybody

    def _order(self, epoch: int) -> np.ndarray:
        """Training rows of this epoch's steps."""
        rows = np.flatnonzero(self.active & ~self.heldout)
        if not len(rows):
            raise RuntimeError("training needs at least one sample; all are in validation; unpin some or lower "
                               "val_fraction")
        return epoch_order(rows, self.num_steps, self.draw_size, stream(self.config.seed, "order", epoch))

    def _validation_pool(self) -> np.ndarray:
        """Rows of the manifest that validation batches are drawn from: the routed, never those who only rest, and who
        is in the proxy buffer."""
        routed = self.epoch_roles.routed
        pool = self.data.train_idx[routed | self.proxy.members if self.proxy else routed]
        return np.concatenate([pool, self.data.clean_idx]) if self.config.validation_source == "clean" else pool

    def _step(self, epoch: int, step: int, order: np.ndarray, pool: np.ndarray) -> None:
        """One classifier step; every Q steps also a reweighter and a splitter step."""
        config, size = self.config, self.draw_size
        rows = order[step * size:(step + 1) * size]
        idx = self.data.train_idx[rows]
        lr = self._set_learning_rate(epoch, step)
        images_B = augment(self.store.batch(idx), self.augment, stream(config.seed, "augment", epoch, step))
        labels_B = self.labels[to_device(idx, self.device)]

        self.model.train()
        if self.is_choosing:
            assert self.irreducible is not None, "rho needs irreducible losses"
            chosen = rho.choose(self.model, images_B, labels_B, rows, self.irreducible, config.batch_size, self.record)
            rows, idx, images_B, labels_B = rows[chosen], idx[chosen], images_B[chosen], labels_B[chosen]
        logits_B, features_B = self.model(images_B)
        batch = TrainBatch(to_device(rows, self.device), images_B, labels_B, logits_B, features_B,
                           cross_entropy(logits_B, labels_B))
        losses_B = batch.losses_B
        priors_B = self.class_weights[labels_B]
        weights_B, objective = priors_B, (priors_B * losses_B).mean()
        is_due = len(pool) > 0 and not self.epoch_roles.is_warmup and not self.epoch_roles.is_finish
        is_meta = self.weighting is not None and is_due and step % config.reweighter.every == 0
        if config.weight_source == "online" and is_due:
            weights_B = fsr.online_weights(hypergradient(
                config.reweighter, self.model, batch, weights_B, self._validation_batch(pool, epoch, step), config.lr))
            objective = (weights_B * losses_B).mean()
        elif self.weighting and not self.epoch_roles.is_warmup:
            views = self.weighting.views(self._validation_batch(pool, epoch, step)) if is_meta else []
            with torch.no_grad():
                weights_B = priors_B * self._weigh(batch, self.weighting.val_gradient)
            if self.epoch_roles.is_finish:
                weights_B = self.weighting.settled(self.record.tensors["weight_average"][batch.rows_B], weights_B)
            objective = (weights_B * losses_B).mean()
            if views:
                slopes = [hypergradient(config.reweighter, self.model, batch, weights_B, judge, lr)
                          * priors_B * (len(rows) / lr) for _, judge in views]
                objective = objective + self.weighting.objective(
                    [(self._weigh(batch, shown_CD), slopes_B)
                     for (shown_CD, _), slopes_B in zip(views, slopes, strict=True)])
        values_B = fsr.values(config, self.model.head, self.optimizer, logits_B.detach(), features_B.detach(),
                              labels_B) if self.proxy else None  # before the step that trains on them
        self._classifier_step(objective, losses_B, epoch, step, idx)
        if is_meta and self.weighting:
            self.weighting.step()
        if self.splitting and step % config.splitter.every == 0 and not self.epoch_roles.is_finish:
            self.splitting.step(self.model.head, self.record, stream(config.seed, "splitter", epoch, step))
        self._observe(rows, logits_B, features_B, labels_B, losses_B, weights_B, values_B)
        self.totals["loss"] += (weights_B.detach() * losses_B.detach()).sum()
        self.totals["samples"] += len(rows)

    def _observe(self, rows: np.ndarray, logits_B: Tensor, features_B: Tensor, labels_B: Tensor, losses_B: Tensor,
                 weights_B: Tensor, values_B: Tensor | None) -> None:
        """Record the batch. Where the order starts over within it a sample may occur twice: writing both to one place
        is a race between threads, and the run would not repeat bit for bit."""
        unique, first = np.unique(rows, return_index=True)
        keep = to_device(first, self.device)
        is_judged = self.epoch_roles.routed[unique] & self.epoch_roles.is_finish
        self.record.observe_training(to_device(unique, self.device), logits_B.detach()[keep],
                                     features_B.detach()[keep], labels_B[keep], losses_B.detach()[keep],
                                     weights_B.detach()[keep], to_device(is_judged, self.device))
        if self.proxy and values_B is not None:
            self.proxy.observe(to_device(unique, self.device), values_B[keep])

    def _set_learning_rate(self, epoch: int, step: int) -> float:
        lr = learning_rate(self.config, ((epoch - 1) * self.num_steps + step) / (self.config.epochs * self.num_steps))
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        return lr

    def _validation_batch(self, pool: np.ndarray, epoch: int, step: int) -> ValidationBatch:
        """A fresh, class-stratified batch of the pool: a validation gradient some steps old is not safe."""
        config, rng = self.config.reweighter, stream(self.config.seed, "validation", epoch, step)
        idx = roles.stratified_halves(pool, self.data.labels[pool], config.val_batch_size, rng)
        needs_pass = self.weighting is not None and self.weighting.sees_record
        return validation_batch(self.model, self.store.batch(idx), self.labels[to_device(idx, self.device)],
                                needs_pass or config.hypergradient in ("last_layer", "last_layer_centred"))

    def _weigh(self, batch: TrainBatch, shown_CD: Tensor) -> Tensor:
        """Weights (B,) with a gradient to the reweighter, which is shown the validation gradient shown_CD."""
        assert self.weighting is not None, "only learned weights are asked for"
        agreement_B = self.weighting.agreement(shown_CD, batch.logits_BC, batch.features_BD, batch.labels_B)
        return self.weighting.weigh(batch.features_BD, batch.labels_B, batch.losses_B,
                                    record_inputs(self.record, batch.rows_B, batch.labels_B, agreement_B))

    def _classifier_step(self, objective: Tensor, losses_B: Tensor, epoch: int, step: int, idx: np.ndarray) -> None:
        """One backward for classifier and reweighter together; refuses non-finite values before any update."""
        self.optimizer.zero_grad()
        objective.backward()  # type: ignore[no-untyped-call]
        norms = torch._foreach_norm([p.grad for p in self.model.parameters() if p.grad is not None])
        norm = torch.linalg.vector_norm(torch.stack(norms))
        if not bool(torch.isfinite(objective.detach() + norm)):
            self.optimizer.zero_grad()
            raise non_finite_step(objective.detach(), losses_B.detach(), self.data.sample_ids[idx], epoch, step + 1)
        self.optimizer.step()

    def _end_epoch(self, epoch: int) -> None:
        """Held-out predictions of everybody out of training, then the splitter's view of all."""
        rows = np.flatnonzero(self.heldout)
        if len(rows):
            logits, features = self.predict(self.data.train_idx[rows])
            rows_t = to_device(rows, self.device)
            labels = self.labels[to_device(self.data.train_idx[rows], self.device)]
            self.record.observe_heldout(rows_t, logits, features, labels, epoch)
            if self.best and self.epoch_roles.routed.any():
                is_right = (logits.argmax(1) == labels).cpu().numpy()
                self.best.consider(epoch, float(is_right[self.epoch_roles.routed[rows]].mean()), self.model)
            if self.splitting and not self.epoch_roles.is_finish:
                known = self.record.tensors["has_features"] & to_device(self.active, self.device)
                self.splitting.observe_heldout(logits, features, labels, known.nonzero().squeeze(1))
        if not self.epoch_roles.is_warmup and not self.epoch_roles.is_finish:
            self.record.count_routes(to_device(self.epoch_roles.routed, self.device))
        # While the run finishes the splitter's last word stands: it would now judge features of samples trained on.
        self.record.end_epoch(self._score() if self.splitting and not self.epoch_roles.is_finish else None)
        if self.weighting and not self.epoch_roles.is_warmup and not self.epoch_roles.is_finish:
            self.record.average_weights(AVERAGE_DECAY)
        if self.best and epoch == self.config.epochs:
            # Last, since the signals of an epoch are those of its own classifier.
            self.best.restore(self.model)

    def _score(self) -> Tensor:
        assert self.splitting is not None, "only a learned split has scores"
        return self.splitting.score(self.model.head, self.record)

    def predict(self, idx: np.ndarray) -> tuple[Tensor, Tensor]:
        """Logits (len(idx), C) and features (len(idx), D) of rows of the manifest; see engine.prediction."""
        return predict(self.model, self.store, idx, self.data.sample_ids)

    # -- checkpoint

    @property
    def _modules(self) -> dict[str, Any]:
        parts = {"model": self.model, "optimizer": self.optimizer, "splitting": self.splitting,
                 "weighting": self.weighting, "best": self.best, "proxy": self.proxy}
        return {name: part for name, part in parts.items() if part is not None}

    def state_dict(self) -> dict[str, Any]:
        """All that the next step depends on, as tensors and plain values."""
        state: dict[str, Any] = {name: module.state_dict() for name, module in self._modules.items()}
        state["record"], state["totals"] = self.record.tensors, self.totals
        if self.roles is not None:
            state["roles"] = self.roles.state_dict()
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Raises CheckpointError for a state that other code wrote."""
        lacking = [n for n in self._modules if n not in state] + [n for n in self.record.tensors
                                                                   if n not in state["record"]]
        if lacking:
            raise CheckpointError(f"a checkpoint must be of this version of the program; it lacks {lacking[0]}; "
                                  "start the run anew")
        for name, module in self._modules.items():
            module.load_state_dict(state[name])
        self.record.tensors = {k: v.to(self.device) for k, v in state["record"].items()}
        self.totals = {k: v.to(self.device) for k, v in state["totals"].items()}
        if "roles" in state:
            self.roles = EpochRoles.of_state(state["roles"])


