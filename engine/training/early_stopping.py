"""Early stopping: the classifier of the epoch that did best on the validation samples. Never sees clean or test."""

from typing import Any

from torch import Tensor, nn


class BestEpoch:
    """The best epoch so far, its accuracy and its classifier's state; nothing until an epoch has been considered."""

    def __init__(self) -> None:
        self.epoch, self.accuracy = 0, -1.0
        self.model: dict[str, Tensor] = {}

    def consider(self, epoch: int, accuracy: float, model: nn.Module) -> None:
        """Keep a copy of the classifier if it did better than all before; of equal epochs the earlier one stays."""
        if accuracy > self.accuracy:
            self.epoch, self.accuracy = epoch, accuracy
            self.model = {name: value.detach().clone() for name, value in model.state_dict().items()}

    def restore(self, model: nn.Module) -> None:
        """Give the classifier the kept state; leaves it alone where no epoch had validation samples."""
        if self.model:
            model.load_state_dict(self.model)

    def state_dict(self) -> dict[str, Any]:
        return {"epoch": self.epoch, "accuracy": self.accuracy, "model": self.model}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.epoch, self.accuracy, self.model = state["epoch"], state["accuracy"], state["model"]
