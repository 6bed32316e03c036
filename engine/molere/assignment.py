"""The roles of one epoch: what the method's source asks for, under pins, guard, coverage, hysteresis and rotation.

Decides from the record and the splitter's scores; changes neither. N samples of the train split.
"""

from dataclasses import dataclass, fields, replace
from typing import Any, Literal

import numpy as np
import torch

from engine.contract.config import RunConfig
from engine.data.dataset import Dataset
from engine.model.record import SignalRecord
from engine.molere import guard, routing
from engine.molere.noise_model import NoiseModel
from engine.runtime.rng import stream

Phase = Literal["warmup", "game", "finish"]
"""Of a run: random splits and uniform weights; then splitter, reweighter and classifier play; at the end the routed
keep their mark and train like everybody, under weights that are no longer updated."""


def phase_of(config: RunConfig, epoch: int) -> Phase:
    """epoch counts from 1. The first never finishes: it draws the routing."""
    return "warmup" if epoch <= config.warmup_epochs else "game" if epoch < config.first_finish_epoch else "finish"


@dataclass(kw_only=True, slots=True)
class EpochRoles:
    """Who does what in one epoch; all (N,) over the train split."""

    routed: np.ndarray
    resting: np.ndarray
    withheld: np.ndarray
    kept_by_coverage: np.ndarray
    unguarded: np.ndarray
    phase: Phase
    num_new: int
    coverage: float | None

    def state_dict(self) -> dict[str, Any]:
        """Every field by name, arrays as tensors: part of a checkpoint."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return {name: torch.from_numpy(v) if isinstance(v, np.ndarray) else v for name, v in values.items()}

    @classmethod
    def of_state(cls, state: dict[str, Any]) -> "EpochRoles":
        """What state_dict gave."""
        values: dict[str, Any] = {name: v.numpy() if isinstance(v, torch.Tensor) else v for name, v in state.items()}
        if "phase" not in values:  # older code had two flags in its place
            is_warmup, is_finish = values.pop("is_warmup"), values.pop("is_finish")
            values["phase"] = "finish" if is_finish else "warmup" if is_warmup else "game"
        return cls(**values)


def assign(epoch: int, config: RunConfig, data: Dataset, active: np.ndarray, previous: EpochRoles | None, *,
           ranking: np.ndarray | None, groups: np.ndarray, record: SignalRecord, noise: NoiseModel | None,
           held: np.ndarray | None = None) -> EpochRoles:
    """Roles of an epoch (counted from 1), by the splitter's scores in the record once it decides.

    active: (N,) bool. ranking: (N,) cross-fitted margins for the sources easy and hard. groups: (N,) rotation groups.
    noise: of the given labels. held: (N,) bool, who another run, whose weights this one trains under,
    had in validation.
    """
    source, phase = config.validation_source, phase_of(config, epoch)
    if phase == "finish":
        assert previous is not None, "a run finishes with the roles of the epoch before"
        return replace(previous, phase=phase, num_new=0, resting=np.zeros_like(active))
    is_random = source == "random" or (source == "learned" and phase == "warmup" and not config.rotation_groups)
    if source in ("random", "easy", "hard") and previous is not None:
        return replace(previous, phase=phase, num_new=0)  # a fixed split is drawn once
    neighbours = None
    if is_random:
        scores = stream(config.seed, "split", epoch).random(data.num_train)
        found = _route(config, data, active, scores)
    elif source in ("easy", "hard"):
        assert ranking is not None, "easy and hard need a ranking"
        is_hard = source == "hard"
        found = _route(config, data, active, ranking if is_hard else -ranking,
                         eligible=_eligible(config, data, active, record, noise) if is_hard else None)
    elif source == "learned" and phase == "game":
        has_features = record.has_features.cpu().numpy()
        keys = np.where(has_features, record.p_train.cpu().numpy(), np.nan)
        eligible = _eligible(config, data, active, record, noise)
        is_free = (data.pins == 0) & (True if eligible is None else eligible)
        if previous:
            keys = np.where(previous.routed, keys - config.splitter.hysteresis, keys)
        times = routing.CANDIDATES
        while True:
            asked = routing.candidates(keys, data.train_labels, active, is_free, config.val_fraction, times)
            asked |= data.pins == -1
            neighbours = routing.same_class_neighbours(
                lambda rows: record.features_of(torch.from_numpy(rows).to(record.features.device)).cpu().numpy(),
                data.train_labels, active & has_features, config.splitter.num_neighbors, asked,
                routing.MAX_COMPARED_OF_HEADS if config.head else None)
            found = routing.route(keys, data.train_labels, active, data.pins, fraction=config.val_fraction,
                                  is_eligible_N=eligible, neighbours_Nk=neighbours, coverage=config.splitter.coverage)
            if not (found.kept_by_coverage & ~asked).any():
                break
            times *= 4  # coverage passed over so many that it came to samples whose neighbours it does not know
    else:
        found = _pinned_only(data, active, held)
    resting = np.zeros(data.num_train, dtype=bool)
    if source == "learned" and config.num_rotation_groups and epoch < config.epochs:
        # The last epoch rests nobody: its roles are the ones people see and export.
        resting = (groups == epoch % config.num_rotation_groups) & active & ~found.routed & (data.pins != 1)
        if not (active & ~found.routed & ~resting).any():
            resting[:] = False  # so few samples that their rest would leave nobody to train on
    is_new = found.routed & ~previous.routed if previous else found.routed
    return EpochRoles(
        routed=found.routed, resting=resting, withheld=found.withheld, kept_by_coverage=found.kept_by_coverage,
        unguarded=found.unguarded, phase=phase, num_new=int(is_new.sum()),
        coverage=routing.covered_share(found.routed, active, neighbours) if neighbours is not None else None)


def _route(config: RunConfig, data: Dataset, active: np.ndarray, scores: np.ndarray,
           eligible: np.ndarray | None = None) -> routing.Routing:
    return routing.route(scores, data.train_labels, active, data.pins, fraction=config.val_fraction,
                       is_eligible_N=eligible)


def _pinned_only(data: Dataset, active: np.ndarray, also: np.ndarray | None) -> routing.Routing:
    none = np.zeros(data.num_train, dtype=bool)
    routed = active & ((data.pins == -1) | (none if also is None else also))
    return routing.Routing(routed=routed, unguarded=none, withheld=none, kept_by_coverage=none)


def _eligible(config: RunConfig, data: Dataset, active: np.ndarray, record: SignalRecord,
              noise: NoiseModel | None) -> np.ndarray | None:
    """(N,) bool, who may be routed under the noise guard; None: everybody."""
    if config.guard == "off":
        return None
    probs_NC, is_known = record.heldout_predictions()
    return guard.guarded(config.guard, probs_NC, data.train_labels, is_known & active, config.val_fraction, noise,
                         config.guard_largest)
