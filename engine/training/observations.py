"""What the steps of an epoch have seen and the record has not been told yet.

To record a batch takes some forty small operations, more than the step of a head itself, so several batches of a head
are recorded at once. A network of images records each step. B batch.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from engine.data.batches import to_device
from engine.model.record import SignalRecord
from engine.molere.fsr import ProxyBuffer
from engine.molere.meta_step import TrainBatch

ROWS_OF_HEADS = 4_096
"""Rows of a head's batches that are recorded at once."""


class Observations:
    """Batches since the record was last told, oldest first. Part of a checkpoint: when they are recorded depends on the
    step alone, so a run that is gone on with repeats."""

    def __init__(self, record: SignalRecord, proxy: ProxyBuffer | None, num_held: int) -> None:
        """num_held: rows that may wait; 0: none, each batch is recorded at once."""
        self.record, self.proxy, self.num_held = record, proxy, num_held
        self.waiting: list[tuple[Tensor, ...]] = []
        self.totals: dict[str, Tensor] = {}
        self.start_epoch()

    def start_epoch(self) -> None:
        self.totals = {name: torch.zeros((), device=self.record.margin.device) for name in ("loss", "samples")}

    def add(self, batch: TrainBatch, weights_B: Tensor, values_B: Tensor | None, judged_N: np.ndarray | None) -> None:
        """A batch as the classifier saw it before its step, its weights and, where there is a proxy buffer, the values
        it asks for. judged_N: as `flush` takes it."""
        self.waiting.append((torch.from_numpy(batch.rows), batch.logits_BC.detach(), batch.features_BD.detach(),
                             batch.labels_B, batch.losses_B.detach(), weights_B.detach(),
                             *([] if values_B is None else [values_B])))
        if sum(len(held[0]) for held in self.waiting) >= self.num_held:
            self.flush(judged_N)

    def flush(self, judged_N: np.ndarray | None) -> None:
        """Record what waits. judged_N: (N,) bool, whose margin, loss and prediction stay as they were last held out;
        None: nobody's.

        Where the order starts over a sample may occur twice, of which the first counts: writing both to one place is a
        race between threads, and the run would not repeat bit for bit.
        """
        if not self.waiting:
            return
        rows, logits, features, labels, losses, weights, *values = (
            parts[0] if len(parts) == 1 else torch.cat(parts) for parts in zip(*self.waiting, strict=True))
        is_one, self.waiting = len(self.waiting) == 1, []
        self.totals["loss"] += (weights * losses).sum()
        self.totals["samples"] += len(rows)
        unique, first = np.unique(rows.numpy(), return_index=True)
        device = self.record.margin.device
        if is_one or len(unique) < len(rows):
            keep = to_device(first, device)
            rows, logits, features, labels, losses, weights, *values = (
                torch.from_numpy(unique),
                *(each[keep] for each in (logits, features, labels, losses, weights, *values)))
        is_judged = torch.zeros(len(rows), dtype=torch.bool) if judged_N is None else \
            torch.from_numpy(judged_N[rows.numpy()])
        rows_U = to_device(rows.numpy(), device)
        self.record.observe_training(rows_U, logits, features, labels, losses, weights,
                                     to_device(is_judged.numpy(), device))
        if self.proxy and values:
            self.proxy.observe(rows_U, values[0])

    def state_dict(self) -> dict[str, Any]:
        return {"totals": self.totals, "waiting": self.waiting}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Older code let nothing wait."""
        device = self.record.margin.device
        self.totals = {name: value.to(device) for name, value in state["totals"].items()}
        self.waiting = [(held[0], *(value.to(device) for value in held[1:])) for held in state.get("waiting", [])]
