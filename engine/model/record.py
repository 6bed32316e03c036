"""The record of every training sample over the epochs, and the one row a sample that comes of it.

Tensors of N samples live on the training device, so that recording never waits for it. N samples, B batch, C classes,
D features.
"""

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from engine.contract.run_dir import HISTORY_DTYPE, ROLES, SIGNAL_COLUMNS
from engine.model.losses import cross_entropy, margins

MAX_KEPT, NUM_PROJECTED = 96, 64
"""Features up to MAX_KEPT wide are kept; of wider ones NUM_PROJECTED numbers, a random projection
(Johnson-Lindenstrauss: cosines to about 1 / sqrt(NUM_PROJECTED)), and the logits, since the classifier's head cannot
read those: 2,048 of a million samples are 4 GB, in memory and again in each checkpoint."""
LEVELS = 127
"""Each kept number is a whole one up to this, times its sample's own scale: a byte, at an error of at most 1/254 of the
sample's largest."""


class SignalRecord:
    """Accumulates margins, losses, weights and held-out predictions; every field is part of a checkpoint."""

    def __init__(self, num_samples: int, num_classes: int, num_features: int, device: torch.device) -> None:
        def floats(value: float) -> Tensor:
            return torch.full((num_samples,), value, device=device)

        def counts() -> Tensor:
            return torch.zeros(num_samples, dtype=torch.int32, device=device)

        nan, num_kept = float("nan"), num_features if num_features <= MAX_KEPT else NUM_PROJECTED
        self.projection: Tensor | None = None
        if num_kept < num_features:
            draw = torch.randn(num_features, num_kept, generator=torch.Generator().manual_seed(0))
            self.projection = (draw / num_kept**0.5).to(device)
        self.tensors: dict[str, Tensor] = {
            # This epoch's (or the last known) values.
            "margin": floats(nan), "loss": floats(nan), "weight": floats(nan), "p_train": floats(nan),
            "prediction": torch.full((num_samples,), -1, dtype=torch.int64, device=device),
            "features": torch.zeros(num_samples, num_kept, dtype=torch.int8, device=device),
            "feature_scale": torch.zeros(num_samples, device=device),
            "has_features": torch.zeros(num_samples, dtype=torch.bool, device=device),
            # Totals over epochs.
            "margin_sum": floats(0.0), "train_epochs": counts(),
            "heldout_margin_sum": floats(0.0), "heldout_epochs": counts(),
            "heldout_probs": torch.zeros(num_samples, num_classes, device=device),
            "heldout_weight": floats(0.0),
            "weight_average": floats(nan),
            "route_count": counts(), "scored_epochs": counts(),
            "was_correct": torch.zeros(num_samples, dtype=torch.bool, device=device), "forgetting": counts(),
            "seen": torch.zeros(num_samples, dtype=torch.bool, device=device),
        }
        if self.projection is not None:  # the classifier's head cannot read what is kept
            self.tensors["logits"] = torch.zeros(num_samples, num_classes, dtype=torch.float16, device=device)

    @property
    def num_kept(self) -> int:
        """Numbers kept of a sample's features, K <= D."""
        return self.tensors["features"].shape[1]

    def kept(self, features_BD: Tensor) -> tuple[Tensor, Tensor]:
        """What is kept of features, themselves or their projection: (B, K) int8 and the scale (B,) float32 of each."""
        features_BD = features_BD.detach().float()
        values_BK = torch.nan_to_num(features_BD if self.projection is None else features_BD @ self.projection)
        scale_B = values_BK.abs().amax(1) / LEVELS
        return (values_BK / scale_B.clamp(min=1e-30)[:, None]).round().to(torch.int8), scale_B

    def features(self, rows: Tensor | slice) -> Tensor:
        """The features that are kept of rows, (R, K) float32."""
        return self.tensors["features"][rows] * self.tensors["feature_scale"][rows, None]

    def probabilities(self, head: nn.Linear, rows: Tensor | slice) -> Tensor:
        """The classifier's last known predictions of rows, (R, C) float32: by its head as it is now, or where features
        were projected by its head as it was when they were kept."""
        logits = self.tensors["logits"][rows].float() if self.projection is not None else head(self.features(rows))
        return torch.softmax(logits, dim=1)

    def _keep(self, rows_B: Tensor, logits_BC: Tensor, features_BD: Tensor) -> None:
        self.tensors["features"][rows_B], self.tensors["feature_scale"][rows_B] = self.kept(features_BD)
        self.tensors["has_features"][rows_B] = True
        if self.projection is not None:
            self.tensors["logits"][rows_B] = _half(logits_BC.detach())

    def start_epoch(self) -> None:
        """Weights and who was seen belong to one epoch; the rest stays as last known."""
        self.tensors["weight"].fill_(float("nan"))
        self.tensors["seen"].zero_()

    def observe_training(self, rows_B: Tensor, logits_BC: Tensor, features_BD: Tensor, labels_B: Tensor,
                         losses_B: Tensor, weights_B: Tensor, is_judged_B: Tensor) -> None:
        """A training batch as the classifier saw it, before its step. Counts towards aum and forgetting once an epoch
        a sample, also where the order passes over a sample twice. is_judged_B: bool, whose margin, loss and prediction
        stay as they were last held out: the routed, when they train at the end of a run."""
        t, logits_BC = self.tensors, logits_BC.detach()
        margins_B = margins(logits_BC, labels_B)
        correct_B = margins_B > 0
        first_B = ~t["seen"][rows_B]
        t["margin_sum"][rows_B] += margins_B * first_B
        t["train_epochs"][rows_B] += first_B.to(torch.int32)
        t["forgetting"][rows_B] += (first_B & t["was_correct"][rows_B] & ~correct_B).to(torch.int32)
        t["was_correct"][rows_B] = torch.where(first_B, correct_B, t["was_correct"][rows_B])
        for name, values_B in (("margin", margins_B), ("loss", losses_B.detach()),
                               ("prediction", logits_BC.argmax(1))):
            t[name][rows_B] = torch.where(is_judged_B, t[name][rows_B], values_B)
        t["weight"][rows_B] = weights_B.detach()
        self._keep(rows_B, logits_BC, features_BD)
        t["seen"][rows_B] = True

    def observe_candidates(self, rows_B: Tensor, logits_BC: Tensor, features_BD: Tensor, labels_B: Tensor,
                           losses_B: Tensor) -> None:
        """Samples looked at but perhaps not trained on: last known values alone, no totals. No row twice."""
        t = self.tensors
        t["margin"][rows_B] = margins(logits_BC, labels_B)
        t["loss"][rows_B] = losses_B
        t["prediction"][rows_B] = logits_BC.argmax(1)
        self._keep(rows_B, logits_BC, features_BD)

    def observe_heldout(self, rows_B: Tensor, logits_BC: Tensor, features_BD: Tensor, labels_B: Tensor,
                        epoch: int) -> None:
        """Predictions for samples out of training in this epoch. Later epochs count more (weight: the epoch's number),
        since the first predictions of a run know little."""
        t = self.tensors
        margins_B = margins(logits_BC, labels_B)
        t["heldout_margin_sum"][rows_B] += epoch * margins_B
        t["heldout_probs"][rows_B] += epoch * torch.softmax(logits_BC, dim=1)
        t["heldout_weight"][rows_B] += float(epoch)
        t["heldout_epochs"][rows_B] += 1
        t["margin"][rows_B] = margins_B
        t["loss"][rows_B] = cross_entropy(logits_BC, labels_B)
        t["prediction"][rows_B] = logits_BC.argmax(1)
        self._keep(rows_B, logits_BC, features_BD)

    def set_heldout(self, probs_NC: np.ndarray, is_known_N: np.ndarray, labels_N: np.ndarray) -> None:
        """Start from cross-fitted predictions: they count as one held-out epoch of weight 1."""
        t = self.tensors
        device = t["margin"].device
        rows = torch.from_numpy(np.flatnonzero(is_known_N)).to(device)
        probs = torch.from_numpy(probs_NC[is_known_N].astype(np.float32)).to(device)
        labels = torch.from_numpy(labels_N[is_known_N]).to(device)
        t["heldout_probs"][rows] = probs
        t["heldout_weight"][rows] = 1.0
        t["heldout_epochs"][rows] = 1
        t["heldout_margin_sum"][rows] = margins(torch.log(probs.clamp(min=1e-12)), labels)

    def average_weights(self, decay: float) -> None:
        """Take this epoch's weights into their moving average; who was not weighed keeps what it had."""
        weight, average = self.tensors["weight"], self.tensors["weight_average"]
        mixed = torch.where(average.isnan(), weight, decay * average + (1.0 - decay) * weight)
        self.tensors["weight_average"] = torch.where(weight.isnan(), average, mixed)

    def end_epoch(self, p_train_N: Tensor | None) -> None:
        """Scale this epoch's weights to mean 1 over the samples trained on, and keep the splitter's probabilities."""
        weight = self.tensors["weight"]
        weight /= weight.nanmean().clamp(min=1e-12)
        if p_train_N is not None:
            self.tensors["p_train"] = p_train_N

    def count_routes(self, routed_N: Tensor) -> None:
        """One more scored epoch, in which routed_N were in validation."""
        self.tensors["route_count"] += routed_N.to(torch.int32)
        self.tensors["scored_epochs"] += 1

    def heldout_predictions(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean held-out probabilities (N, C) float32 and who has any (N,) bool."""
        weight = self.tensors["heldout_weight"]
        probs = self.tensors["heldout_probs"] / weight.clamp(min=1e-12)[:, None]
        return probs.cpu().numpy(), (weight > 0).cpu().numpy()

    def history(self, roles_N: np.ndarray, routed_N: np.ndarray) -> np.ndarray:
        """This epoch's record of every sample, (N,) of HISTORY_DTYPE. roles_N: positions in ROLES."""
        records = np.zeros(len(roles_N), dtype=HISTORY_DTYPE)
        for name in ("margin", "p_train", "weight"):
            records[name] = self.tensors[name].cpu().numpy()
        records["role"], records["routed"] = roles_N, routed_N
        return records

    def frame(self, sample_ids: np.ndarray, labels_N: np.ndarray, roles_N: np.ndarray, why_N: np.ndarray,
              suggestions_N: np.ndarray, classes: tuple[str, ...]) -> pd.DataFrame:
        """signals.parquet: one row a sample with SIGNAL_COLUMNS. Excluded samples have null signals.

        label_quality: mean held-out probability of the label, later epochs counting more, in [0, 1], 0 bad, null until
        held out once. Held out of that epoch: the classifier did train on most samples in others, so this knows a label
        better than cross-fitting would (cross-fitted for methods with folds alone).
        suggestions_N: positions in `classes`, -1 for none (engine.molere.routing.confident_suggestion).
        """
        t = {k: v.cpu().numpy() for k, v in self.tensors.items() if k not in ("features", "logits", "heldout_probs")}
        probs_NC, is_known_N = self.heldout_predictions()
        rows = np.arange(len(labels_N))
        is_out = roles_N == ROLES.index("excluded")
        names = np.asarray([*classes, None], dtype=object)
        with np.errstate(invalid="ignore", divide="ignore"):
            values = {
                "p_train": t["p_train"], "route_share": t["route_count"] / t["scored_epochs"],
                "weight": t["weight"], "margin": t["margin"],
                "heldout_margin": t["heldout_margin_sum"] / t["heldout_weight"],
                "aum": t["margin_sum"] / t["train_epochs"],
                "label_quality": np.where(is_known_N, probs_NC[rows, labels_N], np.nan), "loss": t["loss"],
            }
        columns: dict[str, object] = {k: np.where(is_out, np.nan, v).astype(np.float32) for k, v in values.items()}
        columns |= {
            "sample_id": sample_ids, "role": np.asarray(ROLES, dtype=object)[roles_N], "why": why_N,
            "heldout_epochs": t["heldout_epochs"], "forgetting": t["forgetting"],
            "predicted_label": names[np.where(is_out, -1, t["prediction"])],
            "suggested_label": names[np.where(is_out, -1, suggestions_N)],
        }
        frame = pd.DataFrame({name: columns[name] for name in SIGNAL_COLUMNS})
        for name in ("sample_id", "role", "why", "predicted_label", "suggested_label"):
            frame[name] = frame[name].astype("string")
        return frame


def _half(values: Tensor) -> Tensor:
    """float16, at most its largest: a classifier of few steps may give thousands in evaluation mode."""
    largest = torch.finfo(torch.float16).max
    return values.clamp(-largest, largest).to(torch.float16)


def effective_sample_size(weights: np.ndarray) -> float | None:
    """(sum w)^2 / (n sum w^2) in (0, 1]; 1 where all weights are equal; None without weights (Kish 1965)."""
    weights = weights[np.isfinite(weights)]
    if not len(weights) or not (weights > 0).any():
        return None
    return float(weights.sum() ** 2 / (len(weights) * (weights**2).sum()))


def bimodality(values: np.ndarray) -> float:
    """Sarle's coefficient (skewness^2 + 1) / kurtosis in (0, 1], of the finite values: 1/3 for a normal distribution,
    5/9 for a flat one, 1 for two points (Pfister et al. 2013). 0 where fewer than two values differ."""
    finite = values[np.isfinite(values)].astype(np.float64)
    deviations = finite - finite.mean() if len(finite) else finite
    variance = float((deviations**2).mean()) if len(finite) else 0.0
    if variance < 1e-12:
        return 0.0
    skewness, kurtosis = (float((deviations**k).mean()) / variance ** (k / 2) for k in (3, 4))
    return float((skewness**2 + 1.0) / kurtosis)
