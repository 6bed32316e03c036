"""How given labels come from true ones: a noise matrix and a temperature, from held-out predictions.

    p_i = softmax(log q_i / temperature);    P(given label of i is j) = sum_k p_ik T_kj,    T_kj = P(given j | true k)

A row of the matrix is counted on the tenth of those predicted as its class that are the surest: anchor points (Liu &
Tao 2016; Patrini et al. 2017, eq. 12), more than one for each class, so that the row is not one prediction's chance. A
classifier that learned wrong labels predicts them in their share, and even of those that it is surest of as many are
wrong; its own errors lie among the unsure, which are not counted. A matrix of most likely rows is no substitute: to
predict wrong labels in their share and to call all labels right explains the labels just as well. Given the matrix, the
temperature is the most likely one. Noise depends on the class alone here: where people err on hard pictures above all,
the sure ones are believed safer than they are (benchmarks/LOG.md). N samples, C classes.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from scipy.optimize import minimize_scalar
from scipy.special import softmax

from engine.contract.config import RunConfig
from engine.model.record import HeldoutPredictions
from engine.runtime import distributed

SUREST = 0.1
"""Share of those predicted as a class that its row is counted on."""
FEWEST = 20
"""Or so many, of a class that is predicted seldom."""
SMALLEST_PROBABILITY = 1e-6
LARGEST_LOG_TEMPERATURE = 3.0
MAX_ROWS = 20_000
"""Samples that temperature and share are of, evenly drawn of more."""


@dataclass(frozen=True, kw_only=True)
class NoiseModel:
    """What noise_model found."""

    matrix_CC: np.ndarray
    """P(given column | true row), float64, rows of sum 1."""
    temperature: float
    """> 0; above 1 where predictions are too sure."""

    def true_probabilities(self, probs_NC: np.ndarray) -> np.ndarray:
        """P(true class | picture), (N, C) float32: the predictions at the temperature. probs_NC: rows of sum 1."""
        logs_NC = np.log(np.maximum(probs_NC, SMALLEST_PROBABILITY, dtype=np.float32))
        return np.asarray(softmax(logs_NC / np.float32(self.temperature), axis=1))

    def wrong_probabilities(self, probs_NC: np.ndarray, labels_N: np.ndarray) -> np.ndarray:
        """P(the given label is wrong | picture, given label), (N,) float32 in [0, 1], by Bayes' rule.

        probs_NC: held-out predictions; labels_N: int codes of the given labels, none of them -1.
        """
        joint_NC = self.true_probabilities(probs_NC) * self.matrix_CC.T.astype(np.float32)[labels_N]
        right_N = joint_NC[np.arange(len(labels_N)), labels_N]
        return np.asarray(1.0 - right_N / np.maximum(joint_NC.sum(1), np.float32(1e-30)))

    def wrong_share(self, probs_NC: np.ndarray) -> float:
        """Expected share of wrong labels among samples of these predictions (N >= 1): sum_k P(true k) (1 - T_kk)."""
        shares_C = self.true_probabilities(probs_NC).mean(0, dtype=np.float64)
        return float(shares_C @ (1.0 - np.diag(self.matrix_CC)))

    @cached_property
    def correction_CC(self) -> np.ndarray:
        """float64, row of a given label: how much each true class's loss counts so that the expected loss of
        given labels is that of true ones (backward correction: Patrini et al. 2017, theorem 1). Rows may hold negative
        numbers; the pseudo-inverse where the matrix has no inverse."""
        return np.linalg.pinv(self.matrix_CC)


def noise_model(probs_NC: np.ndarray, labels_N: np.ndarray, is_known_N: np.ndarray) -> NoiseModel | None:
    """The model of these labels; None where no sample is known.

    probs_NC: float, predictions made without the sample's own label; labels_N: int codes; is_known_N: bool, who has a
    prediction and a label. Each class counts one label more that is right, so one that is never predicted has a row.
    """
    rows = np.flatnonzero(is_known_N)
    if not len(rows):
        return None
    matrix_CC = sure_matrix(probs_NC[rows], labels_N[rows])
    rows = evenly(rows)

    def misfit(log_temperature: float) -> float:
        model = NoiseModel(matrix_CC=matrix_CC, temperature=float(np.exp(log_temperature)))
        likely_R = (model.true_probabilities(probs_NC[rows]) * matrix_CC.T[labels_N[rows]]).sum(1)
        return -float(np.log(np.maximum(likely_R, SMALLEST_PROBABILITY)).mean())

    bounds = (-LARGEST_LOG_TEMPERATURE, LARGEST_LOG_TEMPERATURE)
    found = minimize_scalar(misfit, bounds=bounds, method="bounded", options={"xatol": 0.02})
    return NoiseModel(matrix_CC=matrix_CC, temperature=float(np.exp(found.x)))


def evenly(rows: np.ndarray) -> np.ndarray:
    """At most MAX_ROWS of them."""
    return rows[::max(1, -(-len(rows) // MAX_ROWS))]


def sure_matrix(probs_NC: np.ndarray, labels_N: np.ndarray) -> np.ndarray:
    """P(given column | true row), (C, C) float64: of the SUREST share of those predicted as the row's class, but at
    least FEWEST, the share with each given label, and one right label more."""
    num_classes = probs_NC.shape[1]
    counts_CC = np.eye(num_classes)
    predicted_N = probs_NC.argmax(1)
    for c in np.unique(predicted_N):
        members = np.flatnonzero(predicted_N == c)
        num = max(FEWEST, round(SUREST * len(members)))
        surest = members[np.argsort(-probs_NC[members, c], kind="stable")[:num]]
        counts_CC[c] += np.bincount(labels_N[surest], minlength=num_classes)
    return np.asarray(counts_CC / counts_CC.sum(1, keepdims=True))


class NoiseEstimate:
    """The model of a training whose guard or weights ask for one: fixed, or anew as held-out predictions come in; part
    of a checkpoint."""

    def __init__(self, config: RunConfig) -> None:
        self.config = config
        self.model: NoiseModel | None = None
        self.is_fixed = False
        self.share: float | None = None
        """Estimated share of wrong labels, over evenly drawn known samples."""

    def fix(self, probs_NC: np.ndarray, labels_N: np.ndarray, is_known_N: np.ndarray,
            largest_share: float = 1.0) -> bool:
        """Take the model of these predictions for the whole training, as noise_model, the same on all ranks. Where a
        sample is held out in some epochs and trained on in others, later predictions remember its label, and the more
        so the fewer there are: to them no label is wrong (benchmarks/LOG.md). False, and nothing is taken, where
        nothing is known or more than largest_share of the labels would be wrong."""
        self._fit(probs_NC, labels_N, is_known_N)
        if self.share is not None and self.share > largest_share:
            self.model = self.share = None
        self.is_fixed = self.model is not None
        return self.is_fixed

    def refit(self, epoch: int, held: HeldoutPredictions, labels_N: np.ndarray, is_active_N: np.ndarray) -> None:
        """The model of these predictions, unless it is fixed. Not while a run finishes: no sample is held out any
        more. epoch: from 1."""
        is_asked = self.config.validation_source in ("hard", "learned") and epoch < self.config.first_finish_epoch
        if is_asked and not self.is_fixed:
            self._fit(held.probs_NC, labels_N, held.is_known_N & is_active_N)

    def _fit(self, probs_NC: np.ndarray, labels_N: np.ndarray, is_known_N: np.ndarray) -> None:
        self.model = distributed.broadcast_object(noise_model(probs_NC, labels_N, is_known_N))
        rows = evenly(np.flatnonzero(is_known_N))
        self.share = None if self.model is None else self.model.wrong_share(probs_NC[rows])

    def state_dict(self) -> dict[str, Any]:
        if self.model is None:
            return {}
        return {"matrix": torch.from_numpy(self.model.matrix_CC), "temperature": self.model.temperature,
                "is_fixed": self.is_fixed, "share": self.share}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.model, self.is_fixed, self.share = None, state.get("is_fixed", False), state.get("share")
        if state:
            self.model = NoiseModel(matrix_CC=state["matrix"].cpu().numpy(), temperature=state["temperature"])
