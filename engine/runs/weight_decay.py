"""The weight decay of a head on features, chosen by the run itself on given labels held out of training.

The same way for every method: plain heads of several strengths are trained side by side on four fifths of the given
labels and judged by their cross-entropy on the rest. Wrong labels in that rest raise every strength's cross-entropy
alike, so it needs no clean labels: with 40% and with 9% of them wrong, what it chose for a linear head was within half
a point of the best on clean test labels, for a hidden layer within one (benchmarks/LOG.md). N training samples.
"""

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch

from engine.contract.config import RunConfig
from engine.contract.methods import METHODS
from engine.contract.metrics import ChosenWeightDecay, TriedWeightDecay
from engine.contract.run_dir import RunDir
from engine.data.dataset import Dataset
from engine.molere import routing
from engine.runs.cross_fitting import plain_settings
from engine.runs.status import Follower, Status
from engine.runtime import distributed
from engine.runtime.rng import stream
from engine.training.head_batch import train_heads

STRENGTHS = (0.001, 0.003, 0.01, 0.02, 0.05, 0.1, 0.3)
FALLBACK = 0.01
"""Where too few samples have labels to hold a part of them out."""
HELDOUT_PARTS = 5
"""One in so many samples, siblings together, is held out to judge by."""
MAX_ROWS = {"linear": 200_000, "mlp": 20_000}
"""Training samples that strengths are tried on, evenly drawn of more."""
SHORT, SHORT_BATCH = 0.5, 256
"""A hidden layer is tried on half the epochs and larger batches, which order the strengths nearly alike; in full that
would take longer than the run itself."""
NOT_TRIED = ("label_smoothing", "mixup", "weights_by")
"""Settings that the trials leave out, so that strengths are chosen in the same way for every method."""
OnStep = Callable[[int, int], None]


def is_chosen_by_run(config: RunConfig) -> bool:
    return config.head is not None and config.weight_decay is None and not METHODS[config.method].is_head_only


def choice_matters(config: RunConfig) -> list[object]:
    """All of a config that the choice depends on: configs that agree in it choose alike."""
    return [{name: value for name, value in plain_settings(config).items() if name not in NOT_TRIED}]


def with_weight_decay(config: RunConfig, data: Dataset, run: RunDir, status: Status | Follower) -> RunConfig:
    """The config with the weight decay that the run chooses, where that is left to it. config.json keeps the choice
    ("chosen"), so that a run that is gone on with trains under the same."""
    if not is_chosen_by_run(config):
        return config

    def choose() -> float:
        document = run.read_config()
        if "chosen" not in document:
            document["chosen"] = choose_weight_decay(config, data, lambda done, total: status.progress(
                done, total, "choosing weight decay"))
            run.write_config(document)
            tried = ", ".join(f"{each['weight_decay']:g} {_finite_or_inf(each):.3f}"
                              for each in document["chosen"]["heldout"])
            run.log(f"weight decay {document['chosen']['weight_decay']:g}, chosen on held-out given labels ({tried})")
        return document["chosen"]["weight_decay"]

    return replace(config, weight_decay=distributed.broadcast_object(distributed.on_rank_zero(choose)))


def choose_weight_decay(config: RunConfig, data: Dataset, on_step: OnStep) -> ChosenWeightDecay:
    """The strength whose plain head has the lowest cross-entropy on held-out given labels. on_step: steps done and
    all steps; may raise to give up. Samples that are excluded or pinned to validation take no part."""
    rng = stream(config.seed, "weight_decay")
    parts_N = routing.rotation_groups(data.num_train, HELDOUT_PARTS, rng, data.siblings)
    usable = np.flatnonzero(~data.excluded & (data.pins != -1))
    limit = MAX_ROWS[str(config.head)]
    if len(usable) > limit:
        usable = np.sort(rng.choice(usable, limit, replace=False))
    is_held = parts_N[usable] == 0
    if not is_held.any() or is_held.all():
        return {"weight_decay": FALLBACK, "heldout": []}
    x = torch.from_numpy(data.images[data.train_idx[usable]])
    labels = data.train_labels[usable]
    heads = train_heads(_trial(config), x[torch.from_numpy(~is_held)], labels[~is_held], data.num_classes,
                        seeds=[config.seed] * len(STRENGTHS), weight_decays=STRENGTHS, on_step=on_step)
    logits = heads.logits(x[torch.from_numpy(is_held)])
    own = torch.from_numpy(labels[is_held]).expand(len(STRENGTHS), -1)
    cross_entropies = -torch.log_softmax(logits, 2).gather(2, own.unsqueeze(2)).mean((1, 2))
    accuracies = (logits.argmax(2) == own).float().mean(1)
    losses = [loss if math.isfinite(loss) else None for loss in cross_entropies.tolist()]
    heldout: list[TriedWeightDecay] = [
        {"weight_decay": strength, "accuracy": float(accuracy), "cross_entropy": loss}
        for strength, accuracy, loss in zip(STRENGTHS, accuracies, losses, strict=True)]
    best = min(heldout, key=_finite_or_inf)
    return {"weight_decay": best["weight_decay"], "heldout": heldout}


def _finite_or_inf(tried: TriedWeightDecay) -> float:
    return math.inf if tried["cross_entropy"] is None else tried["cross_entropy"]


def _trial(config: RunConfig) -> RunConfig:
    """What strengths are tried with."""
    plain = replace(config, method="erm", validation=None, select_best=False, weight_decay=FALLBACK)
    if config.head == "linear":
        return plain
    return replace(plain, epochs=math.ceil(SHORT * config.epochs), batch_size=SHORT_BATCH)
