"""A transfer score: python -m engine transfer. Is a set that one backbone found hard still hard for another?

For each of R repetitions a random set is drawn from the other training samples, with as many of each class as the set
has, and a plain linear head is trained, with a seed of its own, on all samples of neither. Set and random set are then
compared under that head, and the repetitions together (engine.contract.statistics.set_difference). Where there are
features of the backbone that chose the set, the same random sets and seeds are taken for them.

Heads see labels in force. Weight decay is chosen once a backbone, on samples of neither the set nor the first random
set. Principal components are of all training samples, without labels. No sample of split test or clean is looked at.
N training samples, S of the set, M of a random set, C classes.
"""

import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from engine.contract.config import RunConfig
from engine.contract.disk.processes import alone_in
from engine.contract.feature_dir import FeatureDir
from engine.contract.integrity.decisions import refuse_stale
from engine.contract.manifest import DECISIONS_NAME, MANIFEST_NAME, file_digest, read_decisions
from engine.contract.statistics.set_difference import SetDifference, set_difference
from engine.contract.transfers.transfer_dir import (
    MIN_RIGHT,
    BackboneScore,
    Comparison,
    Figure,
    TransferDir,
    TransferError,
    TransferRequest,
    TransferScore,
)
from engine.data.dataset import Dataset, load_for
from engine.model.losses import cross_entropy, margins
from engine.runs.processes import set_threads
from engine.runs.status import Status, kept_to_the_end
from engine.runs.weight_decay import choose_weight_decay
from engine.runtime.rng import stream
from engine.training.head_batch import train_heads

ROWS_AT_ONCE = 16_384
OnStep = Callable[[int, int], None]


@dataclass(frozen=True, kw_only=True, slots=True)
class Draw:
    """The set, and R random sets of its classes; rows of the train split, int64."""

    set_S: np.ndarray
    random_RM: np.ndarray
    """In the order of their classes, so that each column has one class."""
    pool_N: np.ndarray
    """bool: the samples that random sets were drawn from."""
    usable_N: np.ndarray
    """bool: those of set and pool, and others that have features and a label."""

    def is_trained_on(self, repeat: int) -> np.ndarray:
        """(N,) bool."""
        mask = self.usable_N.copy()
        mask[self.set_S] = mask[self.random_RM[repeat]] = False
        return mask


def score_transfer(project: Path, name: str) -> TransferDir:
    """Carry out the transfer score `name` that was asked for, whose status then says done or cancelled.

    Raises TransferError where there is no such request or the set leaves nothing to compare with, FeatureError where
    features are missing, ManifestError where the data or the decisions cannot be read.
    """
    folder = TransferDir.of(project, name)
    request, samples = folder.read_request(), folder.read_samples()
    with contextlib.ExitStack() as stack:
        stack.enter_context(alone_in(folder.path, TransferError(
            f"one process makes a transfer score; {name!r} is being made by another; cancel it first")))
        status = Status(folder, 1)
        with kept_to_the_end(status, "cancelled; the same command makes it anew"):
            folder.write_score(_score(Path(project), request, samples, status))
    return folder


def _score(project: Path, request: TransferRequest, samples: pd.DataFrame, status: Status) -> TransferScore:
    refuse_stale(project)
    names = [request["features"], *([request["own_features"]] if request["own_features"] else [])]
    status.update(stage="reading features", epoch=1, message="")
    loaded = [_load(project, name, request["seed"], status) for name in names]
    usable_N = np.logical_and.reduce([~data.excluded for data in loaded])
    ids = pd.Index(samples["sample_id"])
    at_N = ids.get_indexer(pd.Index(loaded[0].sample_ids[loaded[0].train_idx]))
    is_in_set_N, is_right_N = (np.where(at_N >= 0, samples[column].to_numpy(dtype=bool)[at_N], False)
                               for column in ("is_in_set", "is_right"))
    draw = draw_sets(loaded[0].train_labels, is_in_set_N, usable_N, request["num_repeats"], request["seed"])
    scores = [_of_backbone(project, name, data, draw, is_right_N, request["seed"], status)
              for name, data in zip(names, loaded, strict=True)]
    num_samples = len(draw.set_S)
    return TransferScore(
        request=request, num_samples=num_samples, num_left_out=int(samples["is_in_set"].sum()) - num_samples,
        other=scores[0], own=scores[1] if len(scores) > 1 else None,
        manifest_digest=file_digest(project / MANIFEST_NAME), decisions_digest=file_digest(project / DECISIONS_NAME),
        created=time.time())


def config_of(features: str, seed: int) -> RunConfig:
    """What heads are trained with: the project's own plain training, by a linear head."""
    return RunConfig(method="erm", features=features, network="linear", seed=seed, device="cpu")


def _load(project: Path, features: str, seed: int, status: Status) -> Dataset:
    return load_for(config_of(features, seed), project, read_decisions(project / DECISIONS_NAME),
                    lambda done, total: status.progress(done, total, f"reading features {features}"))


def draw_sets(labels_N: np.ndarray, is_in_set_N: np.ndarray, usable_N: np.ndarray, num_repeats: int,
              seed: int) -> Draw:
    """Random sets of the other usable samples, each with as many of each class as the set; of a class of which fewer
    than twice as many others are left, half of these, so that heads have some to learn it from. Each is drawn without
    replacement and anew. Classes without others leave the set. Raises TransferError where none is left.

    labels_N: codes. All (N,), the others bool.
    """
    pool_N, num_classes = usable_N & ~is_in_set_N, int(labels_N.max(initial=0)) + 1
    wanted = np.bincount(labels_N[usable_N & is_in_set_N], minlength=num_classes)
    there = np.bincount(labels_N[pool_N], minlength=num_classes)
    quota_C = np.minimum(wanted, there // 2)
    set_S = np.flatnonzero(usable_N & is_in_set_N & (quota_C[np.maximum(labels_N, 0)] > 0))
    if not len(set_S):
        raise TransferError(f"a set is compared with other samples of its classes; of its {int(is_in_set_N.sum()):,} "
                            f"samples {int(wanted.sum()):,} can be used, and no class has two others; choose another "
                            "set")
    members = [np.flatnonzero(pool_N & (labels_N == c)) for c in range(num_classes)]
    rng = stream(seed, "transfer")
    random_RM = np.stack([np.concatenate([rng.choice(members[c], quota_C[c], replace=False)
                                          for c in np.flatnonzero(quota_C)]) for _ in range(num_repeats)])
    return Draw(set_S=set_S, random_RM=random_RM, pool_N=pool_N, usable_N=usable_N)


def _of_backbone(project: Path, features: str, data: Dataset, draw: Draw, is_right_N: np.ndarray, seed: int,
                 status: Status) -> BackboneScore:
    """Train R heads on one backbone's features, each without the set and its random set, and compare."""
    config = config_of(features, seed)
    set_threads(config, 0)
    num_repeats = len(draw.random_RM)
    others = replace(data, excluded=~draw.is_trained_on(0), pins=np.zeros_like(data.pins))
    decay = choose_weight_decay(config, others, _on_step(status, f"choosing weight decay on {features}"))[
        "weight_decay"]
    x_ND = torch.from_numpy(data.images[data.train_idx])
    masks_RN = np.stack([draw.is_trained_on(r) for r in range(num_repeats)]).astype(np.float32)
    labels_N = np.maximum(data.train_labels, 0)
    heads = train_heads(config, x_ND, labels_N, data.num_classes, seeds=[seed + r for r in range(num_repeats)],
                        weight_decays=[decay] * num_repeats, weights=masks_RN,
                        on_step=_on_step(status, f"training {num_repeats} heads on {features}"))
    of_set, of_random = [], []
    for r in range(num_repeats):
        one = replace(heads, weight_KHC=heads.weight_KHC[r:r + 1], bias_K1C=heads.bias_K1C[r:r + 1])
        of_set.append(_values(one.logits, x_ND, labels_N, draw.set_S))
        of_random.append(_values(one.logits, x_ND, labels_N, draw.random_RM[r]))
        _on_step(status, f"comparing on {features}")(r + 1, num_repeats)
    set_3RS, random_3RM = np.stack(of_set, axis=1), np.stack(of_random, axis=1)
    every = _comparison(set_3RS, random_3RM, labels_N, draw, None)
    assert every is not None, "a drawn set has samples on both sides"
    return BackboneScore(features=features, backbone=str(FeatureDir.of(project, features).read_document().get(
        "backbone", "")), weight_decay=decay, all=every, right=_comparison(set_3RS, random_3RM, labels_N, draw,
                                                                          is_right_N))


def _on_step(status: Status, stage: str) -> OnStep:
    def on_step(done: int, total: int) -> None:
        status.tick(stage=stage, message=f"step {done:,} of {total:,}", step=done, num_steps=total)

    return on_step


def _values(logits_of: Callable[[Tensor], Tensor], x_ND: Tensor, labels_N: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """(3, n) float64 of rows (n,): 1 where predicted as labelled, cross-entropy, margin."""
    found = []
    for start in range(0, len(rows), ROWS_AT_ONCE):
        part = rows[start:start + ROWS_AT_ONCE]
        logits, labels = logits_of(x_ND[torch.from_numpy(part)])[0], torch.from_numpy(labels_N[part])
        found.append(torch.stack([(logits.argmax(1) == labels).float(), cross_entropy(logits, labels),
                                  margins(logits, labels)]).double().numpy())
    return np.concatenate(found, axis=1)


def _comparison(set_3RS: np.ndarray, random_3RM: np.ndarray, labels_N: np.ndarray, draw: Draw,
                counts_N: np.ndarray | None) -> Comparison | None:
    """counts_N: (N,) bool, the samples that count; None: all. None where fewer than MIN_RIGHT of them do on a side."""
    pool_N, counts_S, counts_RM = draw.pool_N, None, None
    if counts_N is not None:
        pool_N, counts_S, counts_RM = pool_N & counts_N, counts_N[draw.set_S], counts_N[draw.random_RM]
    pool_C = np.bincount(labels_N[pool_N], minlength=int(labels_N.max(initial=0)) + 1)
    found = [set_difference(set_RS, labels_N[draw.set_S], random_RM, labels_N[draw.random_RM[0]], pool_C,
                            counts_S=counts_S, counts_RM=counts_RM)
             for set_RS, random_RM in zip(set_3RS, random_3RM, strict=True)]
    accuracy, loss, margin = found
    if accuracy is None or loss is None or margin is None:
        return None
    if counts_N is not None and min(accuracy.num_set, accuracy.num_random) < MIN_RIGHT:
        return None
    return Comparison(num_set=accuracy.num_set, num_random=accuracy.num_random, accuracy=_figure(accuracy),
                      loss=_figure(loss), margin=_figure(margin))


def _figure(found: SetDifference) -> Figure:
    interval = found.difference
    assert interval.mean is not None, "at least one repetition"
    return Figure(of_set=found.of_set, of_random=found.of_random, difference=interval.mean, low=interval.low,
                  high=interval.high)
