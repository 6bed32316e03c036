"""The classifier of a training: its optimizer, its step over all ranks, and the refusal of values that are not finite.

Knows no roles and no weights' source. B rows of a batch, of which each rank passes its part forward.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from engine.contract.config import DEFAULT_WEIGHT_DECAY, RunConfig
from engine.model.networks import Classifier, make_classifier, make_head
from engine.model.prediction import non_finite_step
from engine.runtime import distributed
from engine.training.schedule import learning_rate

STEPS_UNSEEN = 50
"""Steps on a GPU between two looks at whether all was finite; asking at each would make it wait."""


class ClassifierTraining:
    """Network and SGD; `step` is the only place where the classifier changes. Part of a checkpoint."""

    def __init__(self, config: RunConfig, num_classes: int, num_inputs: int, device: torch.device) -> None:
        """num_inputs: side of the images, or numbers of a feature. Draws the initial weights from torch's generator."""
        self.config, self.device = config, device
        model = make_head(config.head, num_inputs, config.hidden, num_classes) if config.head else make_classifier(
            config.network, num_classes, num_inputs, config.weights)
        # channels_last: a quarter off a step's time on CPU, and what tensor cores want.
        model = distributed.synchronized(model, device).to(device)
        self.model: Classifier = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        is_native = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
        self.model.is_mixed = config.precision == "bfloat16" or (config.precision == "auto" and is_native)
        self.forward = torch.compile(self.model, fullgraph=True) if config.is_compiled else distributed.wrapped(
            self.model, device, is_partly_idle=config.num_head_epochs > 0)
        """Images (B, 3, S, S) of this rank's part -> logits (B, C), features (B, D), with gradients over all ranks."""
        self.params = list(self.model.parameters())
        decayed = [p for p in self.model.parameters() if p.ndim > 1]
        plain = [p for p in self.model.parameters() if p.ndim <= 1]
        groups: list[dict[str, Any]] = [{"params": decayed}, {"params": plain, "weight_decay": 0.0}]
        self.optimizer = torch.optim.SGD(
            groups, lr=config.peak_lr(), momentum=config.momentum, nesterov=config.momentum > 0,
            weight_decay=DEFAULT_WEIGHT_DECAY if config.weight_decay is None else config.weight_decay,
            fused=device.type == "cuda" or (config.head is not None and device.type == "cpu") or None)
        self.first_bad = torch.full((), -1, dtype=torch.int64, device=device)

    def in_training(self, is_frozen: bool) -> None:
        """Put the network in training mode. is_frozen: its backbone stays as it is, and in evaluation mode."""
        if not self.model.training or self.model.is_frozen != is_frozen:
            self.model.is_frozen = is_frozen
            self.model.train()

    def set_learning_rate(self, done: float) -> float:
        """done: share of all steps done, in [0, 1)."""
        lr = learning_rate(self.config, done)
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        return lr

    def step(self, objective: Tensor, losses_B: Tensor, name_ids: Callable[[], np.ndarray],
             epoch: int, step: int) -> None:
        """One backward for classifier and whatever else the objective depends on, and an SGD step.

        Raises NonFiniteError before any update where objective or gradient is not finite; on a GPU
        first_bad_step tells later. name_ids: gives the ids of the batch, for the error.
        """
        self._clear_gradients()
        objective.backward()  # type: ignore[no-untyped-call]
        norms = torch._foreach_norm([p.grad for p in self.params if p.grad is not None])
        is_finite = torch.isfinite(objective.detach() + torch.linalg.vector_norm(torch.stack(norms)))
        if self.device.type == "cuda":
            self.first_bad = torch.where(is_finite | (self.first_bad >= 0), self.first_bad, step)
        elif not bool(is_finite):
            self._clear_gradients()
            raise non_finite_step(objective.detach(), losses_B.detach(), name_ids(), epoch, step + 1)
        self.optimizer.step()

    def _clear_gradients(self) -> None:
        """The optimizer's zero_grad without its bookkeeping, which takes as long as a head's update."""
        for param in self.params:
            param.grad = None

    def first_bad_step(self) -> int | None:
        """The first step since the start whose values were not finite; waits for a GPU."""
        bad = int(self.first_bad) if self.device.type == "cuda" else -1
        return None if bad < 0 else bad

    def state_dict(self) -> dict[str, Any]:
        return {"model": self.model.state_dict(), "optimizer": self.optimizer.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
