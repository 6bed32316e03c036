"""Many plain heads on features at once: seeds, regularisation strengths, labels and samples differ, the product is one.

Each head is trained as engine.training.trainer trains a plain one (its initial weights, its order of samples, SGD with
Nesterov momentum, weight decay of matrices alone, the same schedule), but gradients are written out and all heads take
a step in the same few operations. Writes no file and keeps no record of samples. K heads, S orders of samples and G
heads that share each of them (K = S G), N training samples, M samples to predict, B batch, D features, H hidden units,
C classes.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from engine.contract.config import DEFAULT_HEAD, RunConfig
from engine.data.batches import epoch_order
from engine.model.networks import make_head
from engine.runtime.rng import stream
from engine.training.schedule import learning_rate

EPS, STATISTICS_MOMENTUM = 1e-5, 0.1
"""Batch normalisation's, as torch has them."""
ROWS_AT_ONCE = 4_096
OnStep = Callable[[int, int], None]
"""Called after each step with (steps done, all steps); may raise to stop there."""


@dataclass(kw_only=True, slots=True)
class Heads:
    """K trained heads, in the order they were asked for."""

    weight_KHC: Tensor
    bias_K1C: Tensor
    hidden_KDH: Tensor | None
    """Of network mlp, with batch normalisation as it is after training taken into it; None of network linear."""
    shift_K1H: Tensor | None

    def logits(self, x_MD: Tensor) -> Tensor:
        """(K, M, C) in the heads' dtype."""
        parts = []
        for start in range(0, max(len(x_MD), 1), ROWS_AT_ONCE):
            x = x_MD[start:start + ROWS_AT_ONCE].to(self.weight_KHC.dtype).expand(len(self.weight_KHC), -1, -1)
            if self.hidden_KDH is not None and self.shift_K1H is not None:
                x = torch.baddbmm(self.shift_K1H, x, self.hidden_KDH).relu_()
            parts.append(torch.baddbmm(self.bias_K1C, x, self.weight_KHC))
        return torch.cat(parts, dim=1)


@torch.no_grad()
def train_heads(config: RunConfig, x_ND: Tensor, labels: np.ndarray, num_classes: int, *, seeds: Sequence[int],
                weight_decays: Sequence[float], weights: np.ndarray | None = None, on_step: OnStep = lambda *_: None,
                dtype: torch.dtype = torch.float32) -> Heads:
    """Train K heads of config.network by config's epochs, lr, momentum, batch_size and hidden; seeds and weight_decays
    are K long.

    x_ND: features, float16 or float32. labels: (N,) or (K, N) int64. weights: (N,) or (K, N) sample weights >= 0; a
    sample of weight 0 is not in that head's training, exactly as if it were excluded; None: 1. Each head needs a
    sample of weight > 0. dtype: what is computed in. Where heads train on different numbers of samples, all take as
    many steps as the largest, and the others begin their order anew.
    """
    num_heads = len(seeds)
    assert len(weight_decays) == num_heads, f"{num_heads} seeds, {len(weight_decays)} weight decays"
    weights_LN = None if weights is None else np.atleast_2d(weights)
    order_of, orders = _orders(seeds, weights_LN, len(x_ND))
    by_order = np.argsort(order_of, kind="stable")
    sizes = np.bincount(order_of)
    if (sizes != sizes[0]).any():  # heads of an order differ in number: each takes its own
        orders, by_order = [orders[order] for order in order_of], np.arange(num_heads)
    given = _Given(x_ND, np.atleast_2d(labels), weights_LN, by_order, len(orders), dtype)
    shape = (len(orders), num_heads // len(orders))
    steps = _Steps(config, num_classes, x_ND.shape[1], [seeds[k] for k in by_order],
                   [weight_decays[k] for k in by_order], shape, dtype)
    num_rows = max(len(rows) for _, rows in orders)
    batch_size = config.step_size(num_rows)
    config = replace(config, lr=config.peak_lr(num_rows))
    num_steps = max(1, max(-(-len(rows) // batch_size) for _, rows in orders))
    total = config.epochs * num_steps
    for epoch in range(1, config.epochs + 1):
        rows_SL = _epoch_rows(orders, num_steps, batch_size, epoch)
        for step in range(num_steps):
            done = (epoch - 1) * num_steps + step
            x_SBD, labels_SBG, weights_SBG = given.batch(rows_SL[:, step * batch_size:(step + 1) * batch_size])
            steps.step(x_SBD, labels_SBG, weights_SBG, learning_rate(config, done / total))
            on_step(done + 1, total)
    return steps.heads(np.argsort(by_order))


def _orders(seeds: Sequence[int], weights_LN: np.ndarray | None,
            num_samples: int) -> tuple[np.ndarray, list[tuple[int, np.ndarray]]]:
    """Which order each head takes, (K,), and of each order its seed and its rows: heads of one seed and the same
    samples share one."""
    found: dict[tuple[int, bytes], int] = {}
    orders: list[tuple[int, np.ndarray]] = []
    order_of = np.zeros(len(seeds), dtype=np.int64)
    everybody = np.arange(num_samples)
    for k, seed in enumerate(seeds):
        is_in = None if weights_LN is None else weights_LN[k if len(weights_LN) > 1 else 0] > 0
        key = (seed, b"" if is_in is None else is_in.tobytes())
        if key not in found:
            found[key] = len(orders)
            orders.append((seed, everybody if is_in is None else np.flatnonzero(is_in)))
        order_of[k] = found[key]
    return order_of, orders


def _epoch_rows(orders: list[tuple[int, np.ndarray]], num_steps: int, batch_size: int, epoch: int) -> Tensor:
    """(S, L) rows of an epoch's steps, as plain training takes them; all as many as the order of the most rows."""
    drawn = []
    for seed, rows in orders:
        rng = stream(seed, "order", epoch)
        drawn.append((epoch_order(rows, num_steps, batch_size, rng), rows, rng))
    length = len(max(drawn, key=lambda each: len(each[1]))[0])
    full = []
    for order, rows, rng in drawn:
        while len(order) < length:
            order = np.concatenate([order, rng.permutation(rows)])
        full.append(order[:length])
    return torch.from_numpy(np.stack(full))


class _Given:
    """What heads are trained on, gathered a batch at a time: features once an order, labels and weights once a head."""

    def __init__(self, x_ND: Tensor, labels_LN: np.ndarray, weights_LN: np.ndarray | None, by_order: np.ndarray,
                 num_orders: int, dtype: torch.dtype) -> None:
        self.x_ND, self.dtype, self.num_orders = x_ND, dtype, num_orders
        self.labels = self._by_head(labels_LN, by_order).long()
        is_flat = weights_LN is None or bool(((weights_LN == 0) | (weights_LN == 1)).all())  # of others, none is 0
        self.weights = None if weights_LN is None or is_flat else self._by_head(weights_LN, by_order).to(dtype)

    def _by_head(self, values_LN: np.ndarray, by_order: np.ndarray) -> Tensor:
        """(N,) where all heads have the same, else (S, G, N)."""
        if len(values_LN) == 1:
            return torch.from_numpy(values_LN[0])
        return torch.from_numpy(values_LN[by_order]).view(self.num_orders, -1, values_LN.shape[1])

    def batch(self, rows_SB: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """Features (S, B, D), labels and weights (S, B, G) or (S, B, 1)."""
        x_SBD = self.x_ND.index_select(0, rows_SB.flatten()).to(self.dtype).view(*rows_SB.shape, -1)
        return x_SBD, self._gathered(self.labels, rows_SB), \
            None if self.weights is None else self._gathered(self.weights, rows_SB)

    def _gathered(self, values: Tensor, rows_SB: Tensor) -> Tensor:
        if values.ndim == 1:
            return values[rows_SB].unsqueeze(2)
        return values.gather(2, rows_SB[:, None, :].expand(-1, values.shape[1], -1)).transpose(1, 2)


class _Steps:
    """The parameters of all heads and their step. Matrices are kept as (S, in, G out), so that heads of one order are
    one product."""

    def __init__(self, config: RunConfig, num_classes: int, num_inputs: int, seeds: Sequence[int],
                 weight_decays: Sequence[float], shape: tuple[int, int], dtype: torch.dtype) -> None:
        self.shape, self.num_classes, self.momentum = shape, num_classes, config.momentum
        head = config.head or DEFAULT_HEAD
        states = [_initial(config, head, seed, num_inputs, num_classes) for seed in seeds]

        def stacked(name: str) -> Tensor:
            """(K, in, out) of a matrix, (K, 1, out) of a vector."""
            return torch.stack([state[name].to(dtype).T if state[name].ndim == 2 else state[name].to(dtype)[None]
                                for state in states]).contiguous()

        self.has_hidden = head == "mlp"
        self.params: list[Tensor] = []
        if self.has_hidden:
            self.params = [self._merged(stacked(f"backbone.{name}")) for name in
                           ("layer.weight", "norm.weight", "norm.bias")]
            self.means, self.variances = (self._merged(stacked(f"backbone.norm.running_{name}"))
                                          for name in ("mean", "var"))
        weight, bias = stacked("head.weight"), stacked("head.bias")
        self.params += [weight, bias] if self.has_hidden else [self._merged(weight), self._merged(bias)]
        self.buffers = [torch.zeros_like(p) for p in self.params]
        decay_K11 = torch.tensor(weight_decays, dtype=dtype)[:, None, None]
        self.decays: list[Tensor | None] = [None] * len(self.params)
        if self.has_hidden:
            self.decays[0], self.decays[3] = self._merged(decay_K11.expand(-1, 1, config.hidden)), decay_K11
        else:
            self.decays[0] = self._merged(decay_K11.expand(-1, 1, num_classes))

    def _merged(self, values_KIO: Tensor) -> Tensor:
        """(K, I, O) -> (S, I, G O)."""
        return values_KIO.view(*self.shape, *values_KIO.shape[1:]).transpose(1, 2).flatten(2).contiguous()

    def _parted(self, values_SIO: Tensor) -> Tensor:
        """(S, I, G O) -> (K, I, O)."""
        parted = values_SIO.view(*values_SIO.shape[:2], self.shape[1], -1)
        return parted.transpose(1, 2).flatten(0, 1).contiguous()

    def step(self, x_SBD: Tensor, labels_SBG: Tensor, weights_SBG: Tensor | None, lr: float) -> None:
        """Forward, backward and update of all heads."""
        grads = self._mlp_grads(x_SBD, labels_SBG, weights_SBG) if self.has_hidden else \
            self._linear_grads(x_SBD, labels_SBG, weights_SBG)
        for param, grad, buffer, decay in zip(self.params, grads, self.buffers, self.decays, strict=True):
            if decay is not None:
                grad.addcmul_(param, decay)
            if self.momentum:
                buffer.mul_(self.momentum).add_(grad)
                grad.add_(buffer, alpha=self.momentum)
            param.add_(grad, alpha=-lr)

    def _linear_grads(self, x_SBD: Tensor, labels_SBG: Tensor, weights_SBG: Tensor | None) -> list[Tensor]:
        logits = torch.baddbmm(self.params[1], x_SBD, self.params[0])
        logits_SBGC = logits.view(*x_SBD.shape[:2], self.shape[1], self.num_classes)
        grads = _loss_grads(logits_SBGC, labels_SBG, weights_SBG).flatten(2)
        return [x_SBD.transpose(1, 2) @ grads, grads.sum(1, keepdim=True)]

    def _mlp_grads(self, x_SBD: Tensor, labels_SBG: Tensor, weights_SBG: Tensor | None) -> list[Tensor]:
        layer, scale, shift, weight, bias = self.params
        num = x_SBD.shape[1]
        before = torch.bmm(x_SBD, layer)
        mean = before.mean(1, keepdim=True)
        before.sub_(mean)
        variance = before.square().mean(1, keepdim=True)  # torch.var_mean takes as long as the products
        self.means.lerp_(mean, STATISTICS_MOMENTUM)
        self.variances.lerp_(variance * (num / max(num - 1, 1)), STATISTICS_MOMENTUM)
        rate = torch.rsqrt(variance + EPS)
        normal = before.mul_(rate)  # (S, B, G H)
        active = torch.addcmul(shift, normal, scale).relu_()
        active_KBH = self._parted(active)
        logits_KBC = torch.baddbmm(bias, active_KBH, weight)
        logits_SBGC = logits_KBC.view(*self.shape, num, self.num_classes).transpose(1, 2)
        grads_KBC = _loss_grads(logits_SBGC, labels_SBG, weights_SBG).transpose(1, 2).flatten(0, 1)
        back = self._merged(torch.bmm(grads_KBC, weight.transpose(1, 2))).mul_(active > 0)
        shift_grad, scale_grad = back.sum(1, keepdim=True), (back * normal).sum(1, keepdim=True)
        back.sub_(shift_grad / num).sub_(normal.mul_(scale_grad / num)).mul_(scale * rate)
        return [x_SBD.transpose(1, 2) @ back, scale_grad, shift_grad,
                active_KBH.transpose(1, 2) @ grads_KBC, grads_KBC.sum(1, keepdim=True)]

    def heads(self, order: np.ndarray) -> Heads:
        """The heads as they are now, `order` (K,) giving each one's place."""
        at = torch.from_numpy(order)
        if not self.has_hidden:
            weight, bias = (self._parted(p)[at] for p in self.params)
            return Heads(weight_KHC=weight, bias_K1C=bias, hidden_KDH=None, shift_K1H=None)
        layer, scale, shift, means, variances = (
            self._parted(p)[at] for p in (*self.params[:3], self.means, self.variances))
        rate = scale * torch.rsqrt(variances + EPS)
        return Heads(weight_KHC=self.params[3][at], bias_K1C=self.params[4][at], hidden_KDH=layer * rate,
                     shift_K1H=shift - means * rate)


def _initial(config: RunConfig, head: str, seed: int, num_inputs: int, num_classes: int) -> dict[str, Tensor]:
    """The state that a Trainer of this seed begins with."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(stream(seed, "init").integers(2**31)))
        state: dict[str, Tensor] = make_head(head, num_inputs, config.hidden, num_classes).state_dict()
        return state


def _loss_grads(logits_SBGC: Tensor, labels_SBG: Tensor, weights_SBG: Tensor | None) -> Tensor:
    """Gradient of each head's weighted mean cross-entropy by its logits, (S, B, G, C)."""
    grads = torch.softmax(logits_SBGC, -1)
    labels = labels_SBG.unsqueeze(3).expand(*grads.shape[:3], 1)
    grads.scatter_add_(3, labels, grads.new_full((1, 1, 1, 1), -1.0).expand(labels.shape))
    num = grads.shape[1]
    return grads.div_(num) if weights_SBG is None else grads.mul_((weights_SBG / num).unsqueeze(3))
