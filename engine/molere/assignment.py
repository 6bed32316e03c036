"""The roles of one epoch: what the method's source asks for, under pins, guard, coverage, hysteresis and rotation.

Decides from the record and the splitter's scores; changes neither. N samples of the train split.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import torch

from engine.contract.config import RunConfig
from engine.data.dataset import Dataset
from engine.model.record import SignalRecord
from engine.molere import routing as roles
from engine.runtime.rng import stream


@dataclass(kw_only=True, slots=True)
class EpochRoles:
    """Who does what in one epoch; all (N,) over the train split."""

    routed: np.ndarray
    resting: np.ndarray
    withheld: np.ndarray
    kept_by_coverage: np.ndarray
    unguarded: np.ndarray
    is_warmup: bool
    is_finish: bool
    """The end of the run: the routed keep their mark and train like everybody."""
    num_new: int
    coverage: float | None

    def state_dict(self) -> dict[str, Any]:
        """Every field by name, arrays as tensors: part of a checkpoint."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return {name: torch.from_numpy(v) if isinstance(v, np.ndarray) else v for name, v in values.items()}

    @classmethod
    def of_state(cls, state: dict[str, Any]) -> "EpochRoles":
        """What state_dict gave."""
        values: dict[str, Any] = {n: v.numpy() if isinstance(v, torch.Tensor) else v for n, v in state.items()}
        return cls(**values)


def assign(epoch: int, config: RunConfig, data: Dataset, active: np.ndarray, previous: EpochRoles | None, *,
           ranking: np.ndarray | None, groups: np.ndarray, record: SignalRecord,
           score: Callable[[], np.ndarray]) -> EpochRoles:
    """Roles of an epoch (counted from 1).

    active: (N,) bool. ranking: (N,) cross-fitted margins for the sources easy and hard. groups: (N,) rotation groups.
    score: gives (N,) p_train, and is called only once the splitter decides.
    """
    source, is_warmup = config.validation_source, epoch <= config.warmup_epochs
    if epoch >= config.first_finish_epoch and previous is not None:
        return replace(previous, is_warmup=is_warmup, is_finish=True, num_new=0, resting=np.zeros_like(active))
    is_random = source == "random" or (source == "learned" and is_warmup and not config.rotation_groups)
    if source in ("random", "easy", "hard") and previous is not None:
        return replace(previous, is_warmup=is_warmup, num_new=0)  # a fixed split is drawn once
    neighbours = None
    if is_random:
        scores = stream(config.seed, "split", epoch).random(data.num_train)
        routing = _route(config, data, active, scores)
    elif source in ("easy", "hard"):
        assert ranking is not None, "easy and hard need a ranking"
        is_hard = source == "hard"
        routing = _route(config, data, active, ranking if is_hard else -ranking,
                         eligible=_eligible(config, data, active, record) if is_hard else None)
    elif source == "learned" and not is_warmup:
        has_features = record.tensors["has_features"].cpu().numpy()
        keys = np.where(has_features, score(), np.nan)
        eligible = _eligible(config, data, active, record)
        is_free = (data.pins == 0) & (True if eligible is None else eligible)
        if previous:
            keys = np.where(previous.routed, keys - config.splitter.hysteresis, keys)
        features, times = record.features(slice(None)).cpu().numpy(), roles.CANDIDATES
        while True:
            asked = roles.candidates(keys, data.train_labels, active, is_free, config.val_fraction, times)
            asked |= data.pins == -1
            neighbours = roles.same_class_neighbours(features, data.train_labels, active & has_features,
                                                     config.splitter.num_neighbors, asked)
            routing = roles.route(keys, data.train_labels, active, data.pins, fraction=config.val_fraction,
                                  is_eligible_N=eligible, neighbours_Nk=neighbours, coverage=config.splitter.coverage)
            if not (routing.kept_by_coverage & ~asked).any():
                break
            times *= 4  # coverage passed over so many that it came to samples whose neighbours it does not know
    else:
        routing = _pinned_only(data, active)
    resting = np.zeros(data.num_train, dtype=bool)
    if source == "learned" and config.num_rotation_groups and epoch < config.epochs:
        # The last epoch rests nobody: its roles are the ones people see and export.
        resting = (groups == epoch % config.num_rotation_groups) & active & ~routing.routed & (data.pins != 1)
        if not (active & ~routing.routed & ~resting).any():
            resting[:] = False  # so few samples that their rest would leave nobody to train on
    is_new = routing.routed & ~previous.routed if previous else routing.routed
    return EpochRoles(
        routed=routing.routed, resting=resting, withheld=routing.withheld, kept_by_coverage=routing.kept_by_coverage,
        unguarded=routing.unguarded, is_warmup=is_warmup, is_finish=False, num_new=int(is_new.sum()),
        coverage=roles.covered_share(routing.routed, active, neighbours) if neighbours is not None else None)


def _route(config: RunConfig, data: Dataset, active: np.ndarray, scores: np.ndarray,
           eligible: np.ndarray | None = None) -> roles.Routing:
    return roles.route(scores, data.train_labels, active, data.pins, fraction=config.val_fraction,
                       is_eligible_N=eligible)


def _pinned_only(data: Dataset, active: np.ndarray) -> roles.Routing:
    none = np.zeros(data.num_train, dtype=bool)
    return roles.Routing(routed=active & (data.pins == -1), unguarded=none, withheld=none, kept_by_coverage=none)


def _eligible(config: RunConfig, data: Dataset, active: np.ndarray, record: SignalRecord) -> np.ndarray | None:
    """(N,) bool, who may be routed under the noise guard; None: everybody."""
    if config.guard == "off":
        return None
    probs_NC, is_known = record.heldout_predictions()
    return roles.guarded(config.guard, probs_NC, data.train_labels, is_known & active, config.val_fraction)
