"""What is judged at once and what is trained for: two sets of signals, and how they make one.

The judgement is the linear discriminant's out-of-fold word on every sample, in closed form. What a method trains for
(roles, weights, dynamics) takes longer; until that is there for new labels, the older stands beside the new judgement.
N training samples, C classes.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from engine.contract.config import RunConfig
from engine.contract.methods import METHODS
from engine.contract.run_dir import RunDir
from engine.contract.signal_columns import COLUMNS
from engine.data.dataset import Dataset
from engine.runs.discriminant import fit_discriminant
from engine.runs.epoch_report import history_of, signals_of
from engine.runs.given_weights import read_given
from engine.training.trainer import Trainer

HELD_OUT = [name for name, column in COLUMNS.items() if column.is_heldout]
OF_LABEL = ["margin", "loss", "predicted_label"]
"""Columns that say something of the sample's label: of a label that has changed since, the judgement's."""
OF_ROLE = ["role", "role_reason", "is_resting"]
NUMBERS = [name for name, column in COLUMNS.items() if column.kind == "number"]
SHARED = ("seed", "features", "num_components", "folds_by", "device", "num_threads")
"""Settings of a run that hold for the judgement as well."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """Every sample by heads that saw neither it nor its fold."""

    signals: pd.DataFrame
    """(N,) rows of SIGNAL_COLUMNS, as a run of method discriminant has them."""
    probs_NC: np.ndarray
    """(N, C) float32, of the excluded too."""
    history: np.ndarray
    """(N,) of HISTORY_DTYPE."""


@dataclass(frozen=True, slots=True)
class Training:
    """What the run's own method made of some labels."""

    signals: pd.DataFrame
    """(N,) rows of SIGNAL_COLUMNS."""
    labels: np.ndarray
    """(N,) int64, that it trained on."""
    digest: str | None
    """Of the decisions that these are under; None: the run's own."""
    history: list[np.ndarray] | None
    """An (N,) record of HISTORY_DTYPE an epoch; None: the run's own stands."""


def judge(config: RunConfig, data: Dataset) -> Judgement:
    """The judgement of a dataset under a run's settings."""
    trainer = Trainer(RunConfig.from_dict({"method": "discriminant", "epochs": 1} | {
        name: getattr(config, name) for name in SHARED}), data)
    probs_NC = fit_discriminant(trainer)
    return Judgement(signals_of(trainer), probs_NC.numpy(), history_of(trainer))


def learns(config: RunConfig) -> bool:
    """Whether a method trains for anything here: not one that is a judgement, nor one of several trainings."""
    return not METHODS[config.method].is_head_only and not config.has_first_training


def retrain(config: RunConfig, run: RunDir, data: Dataset, digest: str,
            on_step: Callable[[int, int], None]) -> Training:
    """The method of `run` from its start on other labels. on_step may raise to stop it."""
    trainer, history = Trainer(config, data, given=read_given(run, data)), []
    for epoch in range(1, config.epochs + 1):
        trainer.run_epoch(epoch, on_step)
        history.append(history_of(trainer))
    return Training(signals_of(trainer), data.train_labels, digest, history)


def merged(training: Training, judgement: Judgement, labels_N: np.ndarray) -> pd.DataFrame:
    """Signals (N,) that are held out by the judgement, the rest by the training. labels_N: of the judgement.

    Of a sample whose label has changed since the training, what is said of its label is the judgement's; who is
    excluded or pinned now is so, and who no longer is, trains, with a weight that is not known yet.
    """
    found, judged = training.signals.copy(), judgement.signals
    found[HELD_OUT] = judged[HELD_OUT]
    is_new = training.labels != labels_N
    found.loc[is_new, OF_LABEL] = judged.loc[is_new, OF_LABEL]
    is_said = ~judged["role_reason"].eq("trains")
    was_said = found["role"].eq("excluded") | found["role_reason"].str.startswith("pinned")
    changed = (is_said | was_said).to_numpy(dtype=bool)
    found.loc[changed, OF_ROLE] = judged.loc[changed, OF_ROLE]
    is_out = found["role"].eq("excluded").to_numpy(dtype=bool)
    found.loc[is_out, NUMBERS] = np.nan
    return found
