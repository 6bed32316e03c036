"""What decisions did: plain linear heads of paired seeds with and without them, on pictures that they do not touch.

K heads, two a seed. N training samples, M scored ones, D features, C classes.
"""

import time
from collections.abc import Callable

import numpy as np
import pandas as pd
import torch

from engine.contract.config import RunConfig
from engine.contract.live.live_dir import LiveEffect
from engine.contract.statistics.intervals import mean_interval
from engine.data.dataset import Dataset
from engine.molere import routing
from engine.runs.weight_decay import FALLBACK
from engine.runtime.rng import stream
from engine.training.head_batch import train_heads

NUM_SEEDS = 10
EPOCHS = 12
HELD_OUT_FOLDS = 5
"""Without a test split, one of so many folds of the training samples is left out and scored."""
LEAST_SCORED = 20


def measure_effect(given: Dataset, data: Dataset, decisions: pd.DataFrame, digest: str, config: RunConfig,
                   on_step: Callable[[int, int], None]) -> LiveEffect | None:
    """Train both, score both. given: the dataset under no decisions; data: under `decisions`, whose digest this is.

    Scored are the test split, whose labels no decision changes, or else a fold of the training samples that no decision
    is about, by their given labels, without which both are trained. None where nothing is decided; without figures
    where too few can be scored or nothing is left to train on.
    """
    started = time.monotonic()
    is_decided = pd.Series(data.sample_ids[data.train_idx]).isin(decisions["sample_id"]).to_numpy(dtype=bool)
    is_used = np.stack([~given.excluded, ~data.excluded & (data.pins != -1)])  # (2, N)
    scored_idx = given.test_idx
    if not len(scored_idx):
        rng = stream(config.seed, "heads", 1)
        folds = routing.rotation_groups(given.num_train, HELD_OUT_FOLDS, rng, given.siblings)
        is_held = folds == 0
        scored_idx = given.train_idx[is_held & ~is_decided & is_used.all(0)]
        is_used = is_used & ~is_held
    if not is_decided.any():
        return None
    found = LiveEffect(
        decisions_digest=digest, num_seeds=NUM_SEEDS, scored_on="test" if len(given.test_idx) else "held_out",
        num_scored=len(scored_idx), without=None, gain=None, low=None, high=None, measured=time.time(), seconds=0.0)
    if len(scored_idx) < LEAST_SCORED or not is_used.any(1).all():
        return found
    seeds = [seed for seed in range(NUM_SEEDS) for _ in range(2)]
    plain = RunConfig.from_dict({"method": "erm", "network": "linear", "epochs": EPOCHS, "features": config.features,
                                 "num_components": config.num_components})
    weight_decay = FALLBACK if config.weight_decay is None else config.weight_decay
    heads = train_heads(
        plain, torch.from_numpy(np.asarray(given.images[given.train_idx])),
        np.maximum(np.tile(np.stack([given.train_labels, data.train_labels]), (NUM_SEEDS, 1)), 0), given.num_classes,
        seeds=seeds, weight_decays=[weight_decay] * len(seeds),
        weights=np.tile(is_used, (NUM_SEEDS, 1)).astype(np.float32), on_step=on_step)
    logits_KMC = heads.logits(torch.from_numpy(np.asarray(given.images[scored_idx])))
    is_right_KM = logits_KMC.argmax(2).numpy() == given.labels[scored_idx]
    without_S, under_S = is_right_KM.mean(1).reshape(NUM_SEEDS, 2).T
    gain = mean_interval(under_S - without_S)
    return {**found, "without": float(without_S.mean()), "gain": gain.mean, "low": gain.low, "high": gain.high,
            "measured": time.time(), "seconds": time.monotonic() - started}
