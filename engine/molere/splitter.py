"""The splitter of a training: its steps on what was held out, and its scores of everybody. Part of a checkpoint.

Decides no roles (engine.molere.assignment) and never trains the classifier. N samples of the train split, V validation
batch, R random batch of all data, C classes, D features.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from engine.contract.config import RunConfig
from engine.data.batches import to_device
from engine.data.dataset import Dataset
from engine.model.losses import generalized_cross_entropy
from engine.model.networks import Splitter
from engine.model.record import SignalRecord
from engine.molere.splitter_loss import splitter_loss

CERTAIN_LOGIT = 15.0
"""A pin's logit: p = 1 - 3e-7, as near to certain as float32 keeps apart from 1."""
SCORE_ROWS = 65_536
MAX_RANDOM_OF_HEADS = 2_048
"""Of the active samples in a step of a splitter on features, where batches grow with the data: size and class mix are
known well enough from so many."""


class SplitterTraining:
    """The splitter with its optimizer, and the predictions held out in the epoch before."""

    def __init__(self, config: RunConfig, num_features: int, data: Dataset, device: torch.device,
                 num_random: int) -> None:
        """num_random: samples of all that are active in a step of the splitter."""
        self.config, self.num_classes, self.device = config, data.num_classes, device
        self.splitter = Splitter(config.splitter, num_features, data.num_classes, config.val_fraction).to(device)
        self.optimizer = torch.optim.Adam(self.splitter.parameters(), lr=config.splitter.lr)
        self.labels = torch.from_numpy(np.maximum(data.train_labels, 0)).to(device)
        self.pins = torch.from_numpy(data.pins).to(device)
        self.num_random = num_random if config.head is None else min(num_random, MAX_RANDOM_OF_HEADS)
        self.held: dict[str, Tensor] = {}

    def observe_heldout(self, logits: Tensor, kept: tuple[Tensor, Tensor], labels: Tensor, rows: Tensor) -> None:
        """Predictions (H, C), features as the record keeps them and labels (H,) of the H samples held out of the epoch
        that ends, and the rows of all active samples whose features are known: what the next steps draw from.

        Held out means routed or resting: the resting ones are a random sample, without which the splitter would only
        ever learn about those it chose itself (and the guard let through). They are never read back after training on
        the sample, and cost nothing more.
        """
        features, scale = kept
        self.held = {"features": features, "scale": scale, "logits": logits, "labels": labels, "rows": rows}

    def step(self, head: nn.Linear, record: SignalRecord, rng: np.random.Generator) -> None:
        """One step, on samples held out in the epoch before and on a random batch of all active ones."""
        config, held = self.config, self.held
        if not held:
            return
        val = to_device(rng.integers(0, len(held["labels"]), size=config.reweighter.val_batch_size), self.device)
        features_V = held["features"][val] * held["scale"][val, None]
        logits_V, labels_V = held["logits"][val], held["labels"][val]
        num = len(held["rows"])
        rows_R = held["rows"][to_device(rng.integers(0, num, size=min(self.num_random, num)), self.device)]
        labels_R, features_R = self.labels[rows_R], record.features_of(rows_R)
        with torch.no_grad():
            probs_R = record.probabilities(head, rows_R)
        loss = splitter_loss(
            config.splitter, config.val_fraction, self.num_classes,
            validation_logits_V=self.splitter(features_V, torch.softmax(logits_V, dim=1), labels_V),
            is_correct_V=logits_V.argmax(1) == labels_V,
            losses_V=generalized_cross_entropy(logits_V, labels_V),
            random_logits_R=self.pinned(self.splitter(features_R, probs_R, labels_R), rows_R), labels_R=labels_R)
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()

    def pinned(self, logits_R: Tensor, rows_R: Tensor) -> Tensor:
        """Pins are constraints: they count in the sums with p = 0 or 1 and pass no gradient to the splitter."""
        pins_R = self.pins[rows_R]
        return torch.where(pins_R == 0, logits_R, pins_R * CERTAIN_LOGIT)

    @torch.no_grad()
    def scores(self, head: nn.Linear, record: SignalRecord) -> tuple[Tensor, Tensor]:
        """p_train (N,) under the pins, which are 0 and 1, and as the splitter alone has it; NaN where a sample's
        features are not known."""
        parts = []
        for start in range(0, len(self.labels), SCORE_ROWS):
            part = slice(start, start + SCORE_ROWS)
            probs = record.probabilities(head, part)
            parts.append(torch.sigmoid(self.splitter(record.features_of(part), probs, self.labels[part])))
        alone = torch.where(record.has_features, torch.cat(parts), torch.nan)
        return torch.where(self.pins == 0, alone, (self.pins == 1).float()), alone

    def state_dict(self) -> dict[str, Any]:
        return {"splitter": self.splitter.state_dict(), "optimizer": self.optimizer.state_dict(), "held": self.held}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.splitter.load_state_dict(state["splitter"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.held = {k: v.to(self.device) for k, v in state["held"].items()}
