"""The record of every training sample over the epochs, and the one row a sample that comes of it.

Tensors of N samples live on the training device, so that recording never waits for it. N samples, B batch, C classes,
D features.
"""

from typing import Literal, NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from engine.contract.config import RunConfig
from engine.contract.run_dir import HISTORY_DTYPE
from engine.contract.signal_columns import COLUMNS, ROLES
from engine.model.losses import cross_entropy, margins

MAX_KEPT, NUM_PROJECTED = 96, 64
"""Features up to MAX_KEPT wide are kept; of wider ones NUM_PROJECTED numbers, a random projection
(Johnson-Lindenstrauss: cosines to about 1 / sqrt(NUM_PROJECTED)), and the logits, since the classifier's head cannot
read those: 2,048 of a million samples are 4 GB, in memory and again in each checkpoint."""
LEVELS = 127
"""Each kept number is a whole one up to this, times its sample's own scale: a byte, at an error of at most 1/254 of the
sample's largest."""


FIELDS = ("margin", "loss", "weight", "p_train", "p_train_unpinned", "prediction", "features", "feature_scale",
          "has_features", "logits", "margin_sum", "train_epochs", "heldout_margin_sum", "heldout_epochs",
          "heldout_weight", "heldout_probs", "weight_average", "route_count", "scored_epochs", "was_correct",
          "forgetting", "seen")
"""Of a SignalRecord, all of them part of a checkpoint: (N,) but features (N, K), logits and heldout_probs (N, C)."""


Keeping = Literal["always", "once", "never"]


class HeldoutPredictions(NamedTuple):
    """What predictions made while samples were held out say of them."""

    probs_NC: np.ndarray
    """float32, their mean, later epochs counting more; 0 where there is none."""
    is_known_N: np.ndarray
    """bool: held out once."""


def kept_by(config: RunConfig) -> Keeping:
    """When a training of this config keeps a sample's features: where a splitter reads them, and those of a linear
    head, which never change, once."""
    if config.validation_source != "learned":
        return "never"
    return "once" if config.head == "linear" else "always"


class SignalRecord:
    """Accumulates margins, losses, weights and held-out predictions; every field is part of a checkpoint."""

    def __init__(self, num_samples: int, num_classes: int, num_features: int, device: torch.device,
                 keeps: Keeping = "always") -> None:
        """keeps: when a sample's features are; "once" for those that never change, "never" where no splitter reads
        them."""
        def floats(value: float) -> Tensor:
            return torch.full((num_samples,), value, device=device)

        def counts() -> Tensor:
            return torch.zeros(num_samples, dtype=torch.int32, device=device)

        self.keeps = keeps
        num_features = 0 if keeps == "never" else num_features
        nan, num_kept = float("nan"), num_features if num_features <= MAX_KEPT else NUM_PROJECTED
        self.projection: Tensor | None = None
        if num_kept < num_features:
            draw = torch.randn(num_features, num_kept, generator=torch.Generator().manual_seed(0))
            self.projection = (draw / num_kept**0.5).to(device)
        # This epoch's (or the last known) values.
        self.margin, self.loss, self.weight = floats(nan), floats(nan), floats(nan)
        self.p_train, self.p_train_unpinned = floats(nan), floats(nan)
        self.prediction = torch.full((num_samples,), -1, dtype=torch.int64, device=device)
        self.features = torch.zeros(num_samples, num_kept, dtype=torch.int8, device=device)
        self.feature_scale = torch.zeros(num_samples, device=device)
        self.has_features = torch.zeros(num_samples, dtype=torch.bool, device=device)
        self.logits: Tensor | None = None
        if self.projection is not None:  # the classifier's head cannot read what is kept
            self.logits = torch.zeros(num_samples, num_classes, dtype=torch.float16, device=device)
        # Totals over epochs.
        self.margin_sum, self.train_epochs = floats(0.0), counts()
        self.heldout_margin_sum, self.heldout_epochs, self.heldout_weight = floats(0.0), counts(), floats(0.0)
        self.heldout_probs = torch.zeros(num_samples, num_classes, device=device)
        self.weight_average = floats(nan)
        self.route_count, self.scored_epochs = counts(), counts()
        self.was_correct = torch.zeros(num_samples, dtype=torch.bool, device=device)
        self.forgetting = counts()
        self.seen = torch.zeros(num_samples, dtype=torch.bool, device=device)
        self._heldout: HeldoutPredictions | None = None

    def state_dict(self) -> dict[str, Tensor]:
        """Every field by name."""
        return {name: value for name in FIELDS if (value := getattr(self, name)) is not None}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Raises KeyError, naming the field, for a state that lacks one; p_train_unpinned may lack: older code had it
        nowhere."""
        for name, value in self.state_dict().items():
            if name in state or name != "p_train_unpinned":
                setattr(self, name, state[name].to(value.device))
        self._heldout = None

    @property
    def num_kept(self) -> int:
        """Numbers kept of a sample's features, K <= D."""
        return self.features.shape[1]

    def kept(self, features_BD: Tensor) -> tuple[Tensor, Tensor]:
        """What is kept of features, themselves or their projection: (B, K) int8 and the scale (B,) float32 of each."""
        features_BD = features_BD.detach().float()
        values_BK = torch.nan_to_num(features_BD if self.projection is None else features_BD @ self.projection)
        scale_B = values_BK.abs().amax(1) / LEVELS
        return (values_BK / scale_B.clamp(min=1e-30)[:, None]).round().to(torch.int8), scale_B

    def features_of(self, rows: Tensor | slice) -> Tensor:
        """The features that are kept of rows, (R, K) float32."""
        return self.features[rows] * self.feature_scale[rows, None]

    def probabilities(self, head: nn.Linear, rows: Tensor | slice) -> Tensor:
        """The classifier's last known predictions of rows, (R, C) float32: by its head as it is now, or where features
        were projected by its head as it was when they were kept."""
        logits = self.logits[rows].float() if self.logits is not None else head(self.features_of(rows))
        return torch.softmax(logits, dim=1)

    def _keep(self, rows_B: Tensor, logits_BC: Tensor, features_BD: Tensor) -> None:
        if self.keeps == "never":
            return
        if self.keeps == "always" or not bool(self.has_features[rows_B].all()):
            self.features[rows_B], self.feature_scale[rows_B] = self.kept(features_BD)
            self.has_features[rows_B] = True
        if self.logits is not None:
            self.logits[rows_B] = _half(logits_BC.detach())

    def start_epoch(self) -> None:
        """Weights and who was seen belong to one epoch; the rest stays as last known."""
        self.weight.fill_(float("nan"))
        self.seen.zero_()

    def observe_training(self, rows_B: Tensor, logits_BC: Tensor, features_BD: Tensor, labels_B: Tensor,
                         losses_B: Tensor, weights_B: Tensor, is_judged_B: Tensor) -> None:
        """A training batch as the classifier saw it, before its step. Counts towards mean_margin and forgetting once
        an epoch a sample, also where the order passes over a sample twice. is_judged_B: bool, whose margin, loss and
        prediction stay as they were last held out: the routed, when they train at the end of a run."""
        logits_BC = logits_BC.detach()
        margins_B = margins(logits_BC, labels_B)
        correct_B = margins_B > 0
        first_B = ~self.seen[rows_B]
        self.margin_sum[rows_B] += margins_B * first_B
        self.train_epochs[rows_B] += first_B.to(torch.int32)
        self.forgetting[rows_B] += (first_B & self.was_correct[rows_B] & ~correct_B).to(torch.int32)
        self.was_correct[rows_B] = torch.where(first_B, correct_B, self.was_correct[rows_B])
        for last, values_B in ((self.margin, margins_B), (self.loss, losses_B.detach()),
                               (self.prediction, logits_BC.argmax(1))):
            last[rows_B] = torch.where(is_judged_B, last[rows_B], values_B)
        self.weight[rows_B] = weights_B.detach()
        self._keep(rows_B, logits_BC, features_BD)
        self.seen[rows_B] = True

    def observe_candidates(self, rows_B: Tensor, logits_BC: Tensor, features_BD: Tensor, labels_B: Tensor,
                           losses_B: Tensor) -> None:
        """Samples looked at but perhaps not trained on: last known values alone, no totals. No row twice."""
        self.margin[rows_B] = margins(logits_BC, labels_B)
        self.loss[rows_B] = losses_B
        self.prediction[rows_B] = logits_BC.argmax(1)
        self._keep(rows_B, logits_BC, features_BD)

    def observe_heldout(self, rows_B: Tensor, logits_BC: Tensor, features_BD: Tensor, labels_B: Tensor,
                        epoch: int) -> None:
        """Predictions for samples out of training in this epoch. Later epochs count more (weight: the epoch's number),
        since the first predictions of a run know little."""
        margins_B = margins(logits_BC, labels_B)
        self.heldout_margin_sum[rows_B] += epoch * margins_B
        self.heldout_probs[rows_B] += epoch * torch.softmax(logits_BC, dim=1)
        self.heldout_weight[rows_B] += float(epoch)
        self.heldout_epochs[rows_B] += 1
        self._heldout = None
        self.margin[rows_B] = margins_B
        self.loss[rows_B] = cross_entropy(logits_BC, labels_B)
        self.prediction[rows_B] = logits_BC.argmax(1)
        self._keep(rows_B, logits_BC, features_BD)

    def set_heldout(self, probs_NC: np.ndarray, is_known_N: np.ndarray, labels_N: np.ndarray,
                    weight: float = 1.0) -> None:
        """Start from cross-fitted predictions: they count as one held-out epoch of this weight (the first epoch's)."""
        device = self.margin.device
        rows = torch.from_numpy(np.flatnonzero(is_known_N)).to(device)
        probs = torch.from_numpy(probs_NC[is_known_N].astype(np.float32)).to(device)
        labels = torch.from_numpy(labels_N[is_known_N]).to(device)
        self.heldout_probs[rows] = weight * probs
        self.heldout_weight[rows] = weight
        self.heldout_epochs[rows] = 1
        self._heldout = None
        self.heldout_margin_sum[rows] = weight * margins(torch.log(probs.clamp(min=1e-12)), labels)

    def average_weights(self, decay: float) -> None:
        """Take this epoch's weights into their moving average; who was not weighed keeps what it had."""
        weight, average = self.weight, self.weight_average
        mixed = torch.where(average.isnan(), weight, decay * average + (1.0 - decay) * weight)
        self.weight_average = torch.where(weight.isnan(), average, mixed)

    def end_epoch(self) -> None:
        """Scale this epoch's weights to mean 1 over the samples trained on."""
        self.weight /= self.weight.nanmean().clamp(min=1e-12)

    def set_scores(self, p_train_N: Tensor, unpinned_N: Tensor) -> None:
        """The splitter's probabilities of training: under the pins, and as it has them by itself."""
        self.p_train, self.p_train_unpinned = p_train_N, unpinned_N

    def count_routes(self, routed_N: Tensor) -> None:
        """One more scored epoch, in which routed_N were in validation."""
        self.route_count += routed_N.to(torch.int32)
        self.scored_epochs += 1

    def heldout_predictions(self) -> HeldoutPredictions:
        """Copied to the CPU once, however often it is asked for until the next are observed. Read-only."""
        if self._heldout is None:
            probs = self.heldout_probs / self.heldout_weight.clamp(min=1e-12)[:, None]
            self._heldout = HeldoutPredictions(_numpy(probs), _numpy(self.heldout_weight > 0))
        return self._heldout

    def history(self, roles_N: np.ndarray, routed_N: np.ndarray) -> np.ndarray:
        """This epoch's record of every sample, (N,) of HISTORY_DTYPE. roles_N: positions in ROLES."""
        records = np.zeros(len(roles_N), dtype=HISTORY_DTYPE)
        for name, values in (("margin", self.margin), ("p_train", self.p_train), ("weight", self.weight)):
            records[name] = _numpy(values)
        records["role"], records["routed"] = roles_N, routed_N
        return records

    def frame(self, *, sample_ids: np.ndarray, labels_N: np.ndarray, roles_N: np.ndarray, reasons_N: np.ndarray,
              is_resting_N: np.ndarray, is_pinned_N: np.ndarray, suggestions_N: np.ndarray,
              classes: tuple[str, ...]) -> pd.DataFrame:
        """signals.parquet: one row a sample with engine.contract.signal_columns.COLUMNS. Excluded samples have null
        signals.

        label_quality: held out of that epoch, but the classifier did train on most samples in others, so this knows a
        label better than cross-fitting would; what set_heldout gave was cross-fitted. roles_N: positions in ROLES;
        reasons_N: of ROLE_REASONS; suggestions_N: positions in `classes`, -1 for none.
        """
        probs_NC, is_known_N = self.heldout_predictions()
        is_out = roles_N == ROLES.index("excluded")
        names = np.asarray([*classes, None], dtype=object)
        with np.errstate(invalid="ignore", divide="ignore"):
            numbers = {
                "p_train": _numpy(self.p_train),
                "p_train_unpinned": np.where(is_pinned_N, _numpy(self.p_train_unpinned), np.nan),
                "route_share": _numpy(self.route_count) / _numpy(self.scored_epochs),
                "weight": _numpy(self.weight), "margin": _numpy(self.margin),
                "heldout_margin": _numpy(self.heldout_margin_sum) / _numpy(self.heldout_weight),
                "mean_margin": _numpy(self.margin_sum) / _numpy(self.train_epochs),
                "label_quality": np.where(is_known_N, probs_NC[np.arange(len(labels_N)), labels_N], np.nan),
                "loss": _numpy(self.loss),
            }
        columns: dict[str, np.ndarray] = {
            "sample_id": sample_ids, "role": np.asarray(ROLES, dtype=object)[roles_N], "role_reason": reasons_N,
            "is_resting": is_resting_N, "heldout_epochs": _numpy(self.heldout_epochs),
            "forgetting": _numpy(self.forgetting),
            "predicted_label": names[np.where(is_out, -1, _numpy(self.prediction))],
            "suggested_label": names[np.where(is_out, -1, suggestions_N)],
            **{name: np.where(is_out, np.nan, values).astype(np.float32) for name, values in numbers.items()},
        }
        frame = pd.DataFrame({name: columns[name] for name in COLUMNS})
        return frame.astype({name: "string" for name, column in COLUMNS.items() if column.kind == "text"})


def _numpy(values: Tensor) -> np.ndarray:
    return np.asarray(values.cpu().numpy())


def _half(values: Tensor) -> Tensor:
    """float16, at most its largest: a classifier of few steps may give thousands in evaluation mode."""
    largest = torch.finfo(torch.float16).max
    return values.clamp(-largest, largest).to(torch.float16)


def effective_sample_frac(weights: np.ndarray) -> float | None:
    """Kish's effective sample size (1965) over n, (sum w)^2 / (n sum w^2) in (0, 1]; 1 where all weights are equal.

    None without weights.
    """
    weights = weights[np.isfinite(weights)]
    if not len(weights) or not (weights > 0).any():
        return None
    return float(weights.sum() ** 2 / (len(weights) * (weights**2).sum()))
