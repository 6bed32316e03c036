"""Fast Sample Reweighting: weights from the meta-gradient on a buffer that training samples themselves fill.

Zhang & Pfister 2021, "Learning Fast Sample Re-weighting Without Reward Data", ICCV; what the paper leaves open is read
off its published code (google-research/ieg, models/fsr.py). As there: the buffer holds as many of each class, those of
the highest value by a moving average (0.9); it is filled anew after each epoch, also in warm-up; the look-ahead step
moves the head alone (shared features), has the peak learning rate throughout and starts from uniform weights;
w = max(0, -dF/dw), normalised in the batch, at every step.

Ours, and why. The value is the predicted probability of a sample's own label; theirs, the setting meta_margin, is by
how much its loss falls in the look-ahead step. Theirs needs what else their code does against memorising (mixup, label
smoothing, a pseudo-label loss), which no method here has: without it, on small noisy images with 40% wrong labels, the
buffer became 65% wrong by meta_margin and 0% wrong by confidence (1200 images, 16 epochs, one seed). The look-ahead of
the weights has no momentum. Buffer images are not augmented and their loss is reweighter.val_loss (theirs:
cross_entropy). N samples, B batch, C classes, D features.
"""

import numpy as np
import torch
from torch import Tensor, nn

from engine.contract.config import RunConfig
from engine.model.losses import cross_entropy

HISTORY_DECAY = 0.9
"""Share of the past in the moving average of values (queue_beta of the authors' code)."""


class ProxyBuffer:
    """The moving average of every training sample's value and who is in the buffer; all of it part of a checkpoint."""

    def __init__(self, num_samples: int, device: torch.device) -> None:
        self.values = torch.zeros(num_samples, device=device)
        self.is_known = torch.zeros(num_samples, dtype=torch.bool, device=device)
        self.members = np.zeros(num_samples, dtype=bool)

    def observe(self, rows_B: Tensor, values_B: Tensor) -> None:
        """Values of a training batch, high is good. No row twice."""
        self.values[rows_B] = HISTORY_DECAY * self.values[rows_B] + (1.0 - HISTORY_DECAY) * values_B
        self.is_known[rows_B] = True

    def refill(self, labels_N: np.ndarray, may_enter_N: np.ndarray, fraction: float, num_classes: int,
               rng: np.random.Generator) -> None:
        """Take the same number of each class, `fraction` of all together (a smaller class gives what it has): the
        highest values, and at random those without one, so that the first buffer is a random one."""
        per_class = max(1, round(fraction * int(may_enter_N.sum()) / num_classes))
        values = torch.where(self.is_known, self.values, -torch.inf).cpu().numpy()
        best_first = np.lexsort((rng.random(len(values)), -values))
        self.members = np.zeros(len(values), dtype=bool)
        for c in range(num_classes):
            ordered = best_first[(may_enter_N & (labels_N == c))[best_first]]
            self.members[ordered[:per_class]] = True

    def state_dict(self) -> dict[str, Tensor]:
        return {"values": self.values, "is_known": self.is_known, "members": torch.from_numpy(self.members)}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        device = self.values.device
        self.values, self.is_known = state["values"].to(device), state["is_known"].to(device)
        self.members = state["members"].cpu().numpy()


def values(config: RunConfig, head: nn.Linear, optimizer: torch.optim.Optimizer, logits_BC: Tensor, features_BD: Tensor,
           labels_B: Tensor) -> Tensor:
    """What each sample is worth to the buffer by config.proxy_value, (B,), before the step that trains on it."""
    if config.proxy_value == "confidence":
        return confidences(logits_BC, labels_B)
    past = [optimizer.state[p].get("momentum_buffer") for p in head.parameters()]
    velocity = None if past[0] is None else (config.momentum * past[0], config.momentum * past[1])
    return meta_margins(logits_BC, features_BD, labels_B, config.peak_lr(), velocity)


def online_weights(hypergradient_B: Tensor) -> Tensor:
    """Weights (B,) >= 0 of mean 1 from dF/dw (B,): max(0, -dF/dw), normalised (Ren et al. 2018, algorithm 1).

    All zero where no sample's weight would lower the loss: such a step learns nothing.
    """
    raw_B = (-hypergradient_B).clamp(min=0.0)
    return raw_B / raw_B.mean().clamp(min=1e-20)


def meta_margins(logits_BC: Tensor, features_BD: Tensor, labels_B: Tensor, lr: float,
                 velocity: tuple[Tensor, Tensor] | None = None) -> Tensor:
    """By how much each sample's cross-entropy falls, (B,), if the head takes one SGD step on the batch's mean.

    velocity: momentum times the head's past gradients, (C, D) and (C,). It matters: a plain step is to a large part
    the sample's own gradient, and a wrong label's is the largest.
    """
    num, rows = len(labels_B), torch.arange(len(labels_B), device=labels_B.device)
    grads_BC = torch.softmax(logits_BC, dim=1)
    grads_BC[rows, labels_B] -= 1.0
    grads_BC /= num
    step_CD, step_C = grads_BC.T @ features_BD, grads_BC.sum(0)
    if velocity:
        step_CD, step_C = step_CD + velocity[0], step_C + velocity[1]
    moved_BC = logits_BC - lr * (features_BD @ step_CD.T + step_C)
    return cross_entropy(logits_BC, labels_B) - cross_entropy(moved_BC, labels_B)


def confidences(logits_BC: Tensor, labels_B: Tensor) -> Tensor:
    """Predicted probability of each sample's own label, (B,) in [0, 1]."""
    return torch.softmax(logits_BC, dim=1).gather(1, labels_B[:, None]).squeeze(1)
