"""One trainer; every method is a configuration of it: where validation samples come from x how weights are made.

Knows a Dataset and a RunConfig; writes no files, so the cross-fitted first training of train-twice uses it as well.
The run directory, checkpoints and reports are engine.train's. N training samples, B train batch, V validation batch,
C classes, D features.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from engine import fsr, rho, roles
from engine.assignment import EpochRoles, assign
from engine.batches import ImageStore, augment
from engine.best import BestEpoch
from engine.checkpoint import CheckpointError
from engine.config import RunConfig
from engine.data import Dataset
from engine.hypergradient import HYPERGRADIENT_FUNCTIONS, MetaProblem, frozen_running_statistics, head_gradient
from engine.losses import LOSS_FUNCTIONS, cross_entropy, generalized_cross_entropy
from engine.networks import Splitter, make_classifier
from engine.rundir import ROLES
from engine.signals import SignalRecord
from engine.splitter import splitter_loss
from engine.streams import stream
from engine.weighting import AVERAGE_DECAY, Weighting, record_inputs

EVAL_BATCH = 512
CERTAIN_LOGIT = 15.0
"""A pin's logit: p = 1 - 3e-7, as near to certain as float32 keeps apart from 1."""
OnStep = Callable[[int, int], None]
"""Called after each step with (steps done, steps in the epoch); raises to stop the training there."""


class ValidationBatch(NamedTuple):
    """Validation samples of one meta step, under the classifier as it is; V samples, C classes, D features."""

    images_V: Tensor
    labels_V: Tensor
    forward_pass: tuple[Tensor, Tensor]
    """Logits (V, C) and features (V, D)."""
    head_gradient: Tensor
    """(C, D + 1)."""


class NonFiniteError(RuntimeError):
    """A loss, gradient or prediction became NaN or infinite. Names the samples; nothing was updated or recorded."""


def pick_device(name: str) -> torch.device:
    """The device for a config's name. Raises RuntimeError if it is named and this machine lacks it."""
    available = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        name = next(d for d in ("cuda", "mps", "cpu") if available[d])
    if not available[name]:
        usable = ", ".join(d for d, is_there in available.items() if is_there)
        raise RuntimeError(f"device must be one this machine has; got {name}; choose auto or one of: {usable}")
    return torch.device(name)


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
            self.splitter = Splitter(config.splitter, num_features, data.num_classes,
                                     config.val_fraction).to(self.device)
        decayed = [p for p in self.model.parameters() if p.ndim > 1]
        plain = [p for p in self.model.parameters() if p.ndim <= 1]
        groups: list[dict[str, Any]] = [{"params": decayed}, {"params": plain, "weight_decay": 0.0}]
        self.optimizer = torch.optim.SGD(groups, lr=config.lr, momentum=config.momentum,
                                         weight_decay=config.weight_decay, nesterov=config.momentum > 0)
        self.splitter_optimizer = torch.optim.Adam(self.splitter.parameters(), lr=config.splitter.lr)
        self.pins = torch.from_numpy(data.pins).to(self.device)
        self.record = SignalRecord(data.num_train, data.num_classes, num_features, self.device)
        self.groups = roles.rotation_groups(data.num_train, config.num_rotation_groups or 1,
                                            stream(config.seed, "rotation"))
        self.has_splitter = config.validation_source == "learned"
        self.learns_weights = config.weight_source not in ("uniform", "rho")
        self.num_steps = max(1, math.ceil(int(self.active.sum()) / config.batch_size))
        self.irreducible = None if irreducible is None else torch.from_numpy(irreducible).to(self.device)
        self.proxy = fsr.ProxyBuffer(data.num_train, self.device) if config.validation_source == "proxy" else None
        self.is_choosing = config.weight_source == "rho"
        self.draw_size = config.batch_size if not self.is_choosing else rho.num_candidates(
            config.batch_size, config.rho_fraction, int(self.active.sum()))
        self.best = BestEpoch() if config.select_best else None
        self.roles: EpochRoles | None = None
        self.totals: dict[str, Tensor] = {}
        self.held: dict[str, Tensor] = {}

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
            record=self.record, score=lambda: self.score_splitter().cpu().numpy())
        if self.weighting and not self.roles.is_warmup:
            self.weighting.set_floor(self._disputed_share())
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
        """Training rows of this epoch's steps: whole permutations of who trains, until every step is filled."""
        rows = np.flatnonzero(self.active & ~self.heldout)
        if not len(rows):
            raise RuntimeError("training needs at least one sample; all are in validation; unpin some or lower "
                               "val_fraction")
        need, rng = self.num_steps * self.draw_size, stream(self.config.seed, "order", epoch)
        if len(rows) > need - self.draw_size:
            # Plain training: the last batch may be short, but one sample alone has no batch statistics.
            need = need if len(rows) % self.draw_size == 1 else min(need, len(rows))
        return np.concatenate([rng.permutation(rows) for _ in range(math.ceil(need / len(rows)))])[:need]

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
        labels_B = self.labels[torch.from_numpy(idx).to(self.device)]

        self.model.train()
        if self.is_choosing:
            assert self.irreducible is not None, "rho needs irreducible losses"
            chosen = rho.choose(self.model, images_B, labels_B, rows, self.irreducible, config.batch_size, self.record)
            rows, idx, images_B, labels_B = rows[chosen], idx[chosen], images_B[chosen], labels_B[chosen]
        logits_B, features_B = self.model(images_B)
        losses_B = cross_entropy(logits_B, labels_B)
        weights_B, objective = torch.ones_like(losses_B), losses_B.mean()
        is_due = len(pool) > 0 and not self.epoch_roles.is_warmup and not self.epoch_roles.is_finish
        is_meta = self.weighting is not None and is_due and step % config.reweighter.every == 0
        if self.weighting and not self.epoch_roles.is_warmup:
            if is_meta:
                validation = self._validation_batch(pool, stream(config.seed, "validation", epoch, step))
                self.weighting.observe_validation(validation.head_gradient)
            rows_B = torch.from_numpy(rows).to(self.device)
            weights_B = self.weighting.weigh(features_B, labels_B, losses_B,
                                             record_inputs(self.record, rows_B, labels_B, self.weighting.agreement(
                                                 logits_B, features_B, labels_B)))
            if self.epoch_roles.is_finish:
                weights_B = self.weighting.settled(self.record.tensors["weight_average"][rows_B], weights_B)
            objective = (weights_B.detach() * losses_B).mean()
            if is_meta:
                slopes_B = self._hypergradient(images_B, labels_B, weights_B, logits_B, features_B, validation, lr)
                objective = objective + self.weighting.objective(weights_B, slopes_B * (len(rows) / lr))
        if config.weight_source == "online" and is_due:
            validation = self._validation_batch(pool, stream(config.seed, "validation", epoch, step))
            weights_B = fsr.online_weights(self._hypergradient(images_B, labels_B, weights_B, logits_B, features_B,
                                                               validation, config.lr))
            objective = (weights_B * losses_B).mean()
        values_B = self._proxy_values(logits_B.detach(), features_B.detach(), labels_B) if self.proxy else None
        self._classifier_step(objective, losses_B, epoch, step, idx)
        if is_meta and self.weighting:
            self.weighting.step()
        if self.has_splitter and step % config.splitter.every == 0 and not self.epoch_roles.is_finish:
            self._splitter_step(stream(config.seed, "splitter", epoch, step))
        self._observe(rows, logits_B, features_B, labels_B, losses_B, weights_B, values_B)
        self.totals["loss"] += (weights_B.detach() * losses_B.detach()).sum()
        self.totals["samples"] += len(rows)

    def _observe(self, rows: np.ndarray, logits_B: Tensor, features_B: Tensor, labels_B: Tensor, losses_B: Tensor,
                 weights_B: Tensor, values_B: Tensor | None) -> None:
        """Record the batch. Where the order starts over within it a sample may occur twice: writing both to one place
        is a race between threads, and the run would not repeat bit for bit."""
        unique, first = np.unique(rows, return_index=True)
        keep = torch.from_numpy(first).to(self.device)
        is_judged = self.epoch_roles.routed[unique] & self.epoch_roles.is_finish
        self.record.observe_training(torch.from_numpy(unique).to(self.device), logits_B.detach()[keep],
                                     features_B.detach()[keep], labels_B[keep], losses_B.detach()[keep],
                                     weights_B.detach()[keep], torch.from_numpy(is_judged).to(self.device))
        if self.proxy and values_B is not None:
            self.proxy.observe(torch.from_numpy(unique).to(self.device), values_B[keep])

    def _proxy_values(self, logits_B: Tensor, features_B: Tensor, labels_B: Tensor) -> Tensor:
        """What each sample is worth to the proxy buffer, before the step that trains on it."""
        if self.config.proxy_value == "confidence":
            return fsr.confidences(logits_B, labels_B)
        past = [self.optimizer.state[p].get("momentum_buffer") for p in self.model.head.parameters()]
        velocity = None if past[0] is None else (self.config.momentum * past[0], self.config.momentum * past[1])
        return fsr.meta_margins(logits_B, features_B, labels_B, self.config.lr, velocity)

    def _set_learning_rate(self, epoch: int, step: int) -> float:
        """Linear to the peak over the first twentieth of all steps, then a cosine to zero."""
        done = ((epoch - 1) * self.num_steps + step) / (self.config.epochs * self.num_steps)
        rise = 0.05
        share = (done + 1e-3) / rise if done < rise else 0.5 * (1 + math.cos(math.pi * (done - rise) / (1 - rise)))
        lr = self.config.lr * min(share, 1.0)
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        return lr

    def _validation_batch(self, pool: np.ndarray, rng: np.random.Generator) -> ValidationBatch:
        """A fresh, class-stratified batch of the pool: a validation gradient some steps old is not safe."""
        idx = roles.stratified_draw(pool, self.data.labels[pool], self.config.reweighter.val_batch_size, rng)
        idx = np.repeat(idx, 2) if len(idx) == 1 else idx  # one sample alone has no batch statistics
        images_V, labels_V = self.store.batch(idx), self.labels[torch.from_numpy(idx).to(self.device)]
        val_loss = LOSS_FUNCTIONS[self.config.reweighter.val_loss]
        with torch.no_grad(), frozen_running_statistics(self.model):
            logits_V, features_V = self.model(images_V)
        return ValidationBatch(images_V, labels_V, (logits_V, features_V),
                               head_gradient(logits_V, features_V, labels_V, val_loss))

    def _hypergradient(self, images_B: Tensor, labels_B: Tensor, weights_B: Tensor, logits_B: Tensor,
                       features_B: Tensor, validation: ValidationBatch, lr: float) -> Tensor:
        problem = MetaProblem(
            model=self.model, images_B=images_B, labels_B=labels_B, weights_B=weights_B.detach(),
            images_V=validation.images_V, labels_V=validation.labels_V, lr=lr, train_loss=cross_entropy,
            val_loss=LOSS_FUNCTIONS[self.config.reweighter.val_loss],
            train_pass=(logits_B.detach(), features_B.detach()), val_pass=validation.forward_pass)
        return HYPERGRADIENT_FUNCTIONS[self.config.reweighter.hypergradient](problem)

    def _classifier_step(self, objective: Tensor, losses_B: Tensor, epoch: int, step: int, idx: np.ndarray) -> None:
        """One backward for classifier and reweighter together; refuses non-finite values before any update."""
        self.optimizer.zero_grad()
        objective.backward()  # type: ignore[no-untyped-call]
        norms = torch._foreach_norm([p.grad for p in self.model.parameters() if p.grad is not None])
        norm = torch.linalg.vector_norm(torch.stack(norms))
        if not bool(torch.isfinite(objective.detach() + norm)):
            self.optimizer.zero_grad()
            what = "loss" if not bool(torch.isfinite(objective.detach())) else "gradient"
            is_bad = ~torch.isfinite(losses_B.detach()).cpu().numpy()
            ids = self.data.sample_ids[idx[is_bad] if is_bad.any() else idx]
            shown = ", ".join(map(str, ids[:16])) + (f" and {len(ids) - 16} more" if len(ids) > 16 else "")
            raise NonFiniteError(
                f"a {what} must be finite; epoch {epoch} step {step + 1} gave {float(objective.detach()):g} on samples "
                f"{shown}; nothing was updated: lower lr, or exclude the samples if they are damaged")
        self.optimizer.step()

    def _splitter_step(self, rng: np.random.Generator) -> None:
        """One step of the splitter, on samples held out in the epoch before and on a random batch of all data.

        Held out means routed or resting: the resting ones are a random sample, without which the splitter would only
        ever learn about those it chose itself (and the guard let through). Their predictions were made at the end of
        that epoch, so they cost nothing more, and they are never read back after training on the sample.
        """
        config, held = self.config, self.held
        rows = np.flatnonzero(self.active & self.record.tensors["has_features"].cpu().numpy())
        if not held or not len(rows):
            return
        val = torch.from_numpy(rng.integers(0, len(held["labels"]), size=config.reweighter.val_batch_size)).to(
            self.device)
        features_V, logits_V, labels_V = held["features"][val].float(), held["logits"][val], held["labels"][val]
        rows = rows[rng.integers(0, len(rows), size=min(4 * config.batch_size, len(rows)))]
        rows_R = torch.from_numpy(rows).to(self.device)
        labels_R = self.labels[torch.from_numpy(self.data.train_idx[rows]).to(self.device)]
        features_R = self.record.tensors["features"][rows_R].float()
        with torch.no_grad():
            probs_R = torch.softmax(self.model.head(features_R), dim=1)
        loss = splitter_loss(
            config.splitter, config.val_fraction, self.data.num_classes,
            validation_logits_V=self.splitter(features_V, torch.softmax(logits_V, dim=1), labels_V),
            is_correct_V=logits_V.argmax(1) == labels_V,
            losses_V=generalized_cross_entropy(logits_V, labels_V),
            random_logits_R=self._pinned(self.splitter(features_R, probs_R, labels_R), rows_R), labels_R=labels_R)
        self.splitter_optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self.splitter_optimizer.step()

    def _pinned(self, logits_R: Tensor, rows_R: Tensor) -> Tensor:
        """Pins are constraints: they count in the sums with p = 0 or 1 and pass no gradient to the splitter."""
        pins_R = self.pins[rows_R]
        return torch.where(pins_R == 0, logits_R, pins_R * CERTAIN_LOGIT)

    def _end_epoch(self, epoch: int) -> None:
        """Held-out predictions of everybody out of training, then the splitter's view of all."""
        rows = np.flatnonzero(self.heldout)
        if len(rows):
            logits, features = self.predict(self.data.train_idx[rows])
            rows_t = torch.from_numpy(rows).to(self.device)
            labels = self.labels[torch.from_numpy(self.data.train_idx[rows]).to(self.device)]
            self.record.observe_heldout(rows_t, logits, features, labels, epoch)
            if self.best and self.epoch_roles.routed.any():
                is_right = (logits.argmax(1) == labels).cpu().numpy()
                self.best.consider(epoch, float(is_right[self.epoch_roles.routed[rows]].mean()), self.model)
            if self.has_splitter and not self.epoch_roles.is_finish:
                self.held = {"features": features.to(torch.float16), "logits": logits, "labels": labels}
        if not self.epoch_roles.is_warmup and not self.epoch_roles.is_finish:
            self.record.count_routes(torch.from_numpy(self.epoch_roles.routed).to(self.device))
        # While the run finishes the splitter's last word stands: it would now judge features of samples trained on.
        is_scoring = self.has_splitter and not self.epoch_roles.is_finish
        self.record.end_epoch(self.score_splitter() if is_scoring else None)
        if self.weighting and not self.epoch_roles.is_warmup and not self.epoch_roles.is_finish:
            self.record.average_weights(AVERAGE_DECAY)
        if self.best and epoch == self.config.epochs:
            # Last, since the signals of an epoch are those of its own classifier.
            self.best.restore(self.model)

    # -- looking

    @torch.no_grad()
    def predict(self, idx: np.ndarray) -> tuple[Tensor, Tensor]:
        """Logits (len(idx), C) and features (len(idx), D) in evaluation mode; consumes no training randomness.

        Raises NonFiniteError where a logit is not finite: the last step's update is seen by no loss of training.
        """
        self.model.eval()
        passes = [self.model(images) for _, images in self.store.batches(idx, EVAL_BATCH)]
        logits, features = torch.cat([p[0] for p in passes]), torch.cat([p[1] for p in passes])
        is_bad = ~torch.isfinite(logits).all(1).cpu().numpy()
        if is_bad.any():
            raise NonFiniteError(
                f"a prediction must be finite; the classifier gives NaN or infinity on {is_bad.sum()} of {len(idx)} "
                f"samples, first {self.data.sample_ids[idx[is_bad]][0]}; lower lr")
        return logits, features

    @torch.no_grad()
    def score_splitter(self, with_pins: bool = True) -> Tensor:
        """p_train (N,) of every sample whose features are known, NaN for the rest. Pins are 0 and 1, unless one wants
        to know what the splitter alone would say of them."""
        t = self.record.tensors
        labels = self.labels[torch.from_numpy(self.data.train_idx).to(self.device)]
        parts = []
        for start in range(0, self.data.num_train, 65_536):
            part = slice(start, start + 65_536)
            features = t["features"][part].float()
            parts.append(torch.sigmoid(self.splitter(features, torch.softmax(self.model.head(features), 1),
                                                     labels[part])))
        p_train = torch.where(t["has_features"], torch.cat(parts), torch.nan)
        return torch.where(self.pins == 0, p_train, (self.pins == 1).float()) if with_pins else p_train

    # -- checkpoint

    @property
    def _modules(self) -> dict[str, Any]:
        parts = {"model": self.model, "optimizer": self.optimizer, "splitter": self.splitter,
                 "splitter_optimizer": self.splitter_optimizer, "weighting": self.weighting, "best": self.best,
                 "proxy": self.proxy}
        return {name: part for name, part in parts.items() if part is not None}

    def state_dict(self) -> dict[str, Any]:
        """All that the next step depends on, as tensors and plain values."""
        state: dict[str, Any] = {name: module.state_dict() for name, module in self._modules.items()}
        state["record"], state["totals"], state["held"] = self.record.tensors, self.totals, self.held
        if self.roles is not None:
            state["roles"] = {f: torch.from_numpy(value) if isinstance(value := getattr(self.roles, f), np.ndarray)
                              else value for f in EpochRoles.__slots__}  # type: ignore[attr-defined]
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
        self.held = {k: v.to(self.device) for k, v in state["held"].items()}
        if "roles" in state:
            fields: dict[str, Any] = {f: value.numpy() if isinstance(value, Tensor) else value
                                      for f, value in state["roles"].items()}
            self.roles = EpochRoles(**fields)


