"""How the validation loss after one SGD step changes with each sample's weight. Pure functions, one signature.

    theta_hat(w) = theta - lr * grad_theta mean_i(w_i l_i(theta));      F(w) = mean_j l_val_j(theta_hat(w))
    dF/dw_i = -(lr / B) <grad l_i(theta), grad l_val(theta_hat)>   (Jain et al. 2024, eq. 3; Ren et al. 2018)

Nothing here changes a parameter, a buffer, a gradient or an optimizer: batch normalisation runs in training mode on
batch statistics, its running statistics out of reach. Shape suffixes: B train batch, V validation batch, C classes,
D features. Each function returns dF/dw, (B,), detached.
"""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import functional_call, jvp
from torch.nn.attention import SDPBackend, sdpa_kernel

from engine.model.losses import PerSampleLoss, cross_entropy
from engine.model.networks import Classifier

FINITE_DIFFERENCE_RADIUS = 0.01
"""Length of the step along v for finite differences, as in DARTS (Liu et al. 2019, eq. 8)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class MetaProblem:
    """One look-ahead step. Images are floats on the model's device; labels int64; weights (B,) detached, mean 1."""

    model: Classifier
    images_B: Tensor
    labels_B: Tensor
    weights_B: Tensor
    images_V: Tensor
    labels_V: Tensor
    lr: float
    train_loss: PerSampleLoss
    val_loss: PerSampleLoss
    train_pass: tuple[Tensor, Tensor] | None = None
    """Logits (B, C) and features (B, D) of the training batch at theta, where the step has them already."""
    val_pass: tuple[Tensor, Tensor] | None = None
    """The same of the validation batch."""


@contextlib.contextmanager
def frozen_running_statistics(model: nn.Module) -> Iterator[None]:
    """Batch normalisation normalises by the batch but neither reads nor writes running statistics.

    Copying buffers would do as well, save that forward-mode AD refuses to write into them at all. Attention takes its
    plain kernel meanwhile: the fused ones have neither a forward-mode rule nor a second derivative.
    """
    norms = [m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm) and m.track_running_stats]
    for norm in norms:
        norm.track_running_stats = False
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        for norm in norms:
            norm.track_running_stats = True


@contextlib.contextmanager
def _exactly(model: Classifier) -> Iterator[None]:
    """frozen_running_statistics, and in full precision: differences of nearby losses drown in bfloat16."""
    is_mixed, model.is_mixed = model.is_mixed, False
    try:
        with frozen_running_statistics(model):
            yield
    finally:
        model.is_mixed = is_mixed


def last_layer(problem: MetaProblem, is_centred: bool = False) -> Tensor:
    """Closed form over the head's parameters alone: -(lr / B) <g_i, G h_i + g_bias> with g_i = dl_i/dlogits_i.

    G = mean_j g_j h_j^T over validation, a C x D matrix (for cross-entropy g = p - y). Exact for a look-ahead that
    moves the head only; one validation forward, no backward through the backbone. is_centred: see last_layer_centred.
    """
    model, num_train = problem.model, len(problem.labels_B)
    with frozen_running_statistics(model), torch.no_grad():
        logits_B, features_B = problem.train_pass or model(problem.images_B)
        _, features_V = problem.val_pass or model(problem.images_V)
        features_B = features_B.detach()
        grads_B = _logit_gradients(logits_B, problem.labels_B, problem.train_loss)
        weighted_B = grads_B * (problem.weights_B / num_train)[:, None]
        weight_hat = model.head.weight - problem.lr * weighted_B.T @ features_B
        bias_hat = model.head.bias - problem.lr * weighted_B.sum(0)
        logits_V = features_V @ weight_hat.T + bias_hat
        grads_V = _logit_gradients(logits_V, problem.labels_V, problem.val_loss) / len(problem.labels_V)
        if is_centred:
            pull_B: Tensor = (_centred(features_B) @ (grads_V.T @ _centred(features_V)).T * grads_B).sum(1)
        else:
            pull_B = ((features_B @ (grads_V.T @ features_V).T + grads_V.sum(0)) * grads_B).sum(1)
    return -problem.lr / num_train * pull_B


def last_layer_centred(problem: MetaProblem) -> Tensor:
    """last_layer with the mean of each batch taken out of its features in the inner product, and no bias term.

    What all features of a batch share says of a sample only which class it pulls up or down. Without it the rest tells
    wrong labels better (benchmarks/LOG.md). A deviation: no longer the gradient of one look-ahead.
    """
    return last_layer(problem, is_centred=True)


def _centred(features: Tensor) -> Tensor:
    return features - features.mean(0)


def exact_jvp(problem: MetaProblem) -> Tensor:
    """Exact without double backward: one backward for v = grad l_val(theta_hat), one forward-mode product with v."""
    params = _parameters(problem.model)
    with _exactly(problem.model):
        v = _validation_gradient(problem, params)
        _, tangents_B = jvp(  # type: ignore[misc]
            lambda p: _train_losses(problem, p), (params,), (v,))
    return _scaled(problem, tangents_B)


def finite_difference(problem: MetaProblem) -> Tensor:
    """exact_jvp's directional derivative by a central difference, where an operator has no forward-mode rule."""
    params = _parameters(problem.model)
    with _exactly(problem.model):
        v = _validation_gradient(problem, params)
        norm = torch.sqrt(sum((g.double() ** 2).sum() for g in v.values()))  # type: ignore[arg-type]
        epsilon = FINITE_DIFFERENCE_RADIUS / float(norm.clamp(min=1e-12))
        with torch.no_grad():
            plus_B = _train_losses(problem, {k: p + epsilon * v[k] for k, p in params.items()})
            minus_B = _train_losses(problem, {k: p - epsilon * v[k] for k, p in params.items()})
    return _scaled(problem, (plus_B - minus_B) / (2 * epsilon))


def unroll(problem: MetaProblem) -> Tensor:
    """The oracle: differentiate through the look-ahead step with a double backward (Ren et al. 2018, algorithm 1)."""
    params = {k: p.requires_grad_() for k, p in _parameters(problem.model).items()}
    weights_B = problem.weights_B.detach().clone().requires_grad_()
    with _exactly(problem.model), torch.enable_grad():
        loss = (weights_B * _train_losses(problem, params)).mean()
        grads = torch.autograd.grad(loss, list(params.values()), create_graph=True)
        params_hat = {k: p - problem.lr * g for (k, p), g in zip(params.items(), grads, strict=True)}
        logits_V, _ = functional_call(problem.model, params_hat, (problem.images_V,))
        val_loss = problem.val_loss(logits_V, problem.labels_V).mean()
        (hypergradient_B,) = torch.autograd.grad(val_loss, weights_B)
    return hypergradient_B


HYPERGRADIENT_FUNCTIONS: dict[str, Callable[[MetaProblem], Tensor]] = {
    "last_layer_centred": last_layer_centred,
    "last_layer": last_layer,
    "jvp": exact_jvp,
    "unroll": unroll,
    "finite_difference": finite_difference,
}


def _parameters(model: nn.Module) -> dict[str, Tensor]:
    """Detached aliases of the trainable parameters by name."""
    return {k: p.detach() for k, p in model.named_parameters() if p.requires_grad}


def _train_losses(problem: MetaProblem, params: dict[str, Tensor]) -> Tensor:
    logits_B, _ = functional_call(problem.model, params, (problem.images_B,))
    return problem.train_loss(logits_B, problem.labels_B)


def _validation_gradient(problem: MetaProblem, params: dict[str, Tensor]) -> dict[str, Tensor]:
    """v = grad l_val(theta_hat) by name."""
    names = list(params)
    leaves = [params[k].clone().requires_grad_() for k in names]
    with torch.enable_grad():
        loss = (problem.weights_B.detach() * _train_losses(problem, dict(zip(names, leaves, strict=True)))).mean()
        grads = torch.autograd.grad(loss, leaves)
        hats = [(p - problem.lr * g).detach().requires_grad_() for p, g in zip(leaves, grads, strict=True)]
        logits_V, _ = functional_call(problem.model, dict(zip(names, hats, strict=True)), (problem.images_V,))
        v = torch.autograd.grad(problem.val_loss(logits_V, problem.labels_V).mean(), hats)
    return dict(zip(names, v, strict=True))


def head_gradient(logits_VC: Tensor, features_VD: Tensor, labels_V: Tensor, loss: PerSampleLoss) -> Tensor:
    """Gradient (C, D) of the mean loss by the head's weight where features are centred in the batch."""
    grads_VC = _logit_gradients(logits_VC, labels_V, loss) / len(labels_V)
    return grads_VC.T @ _centred(features_VD)


def head_agreement(gradient_CD: Tensor, logits_BC: Tensor, features_BD: Tensor, labels_B: Tensor,
                   loss: PerSampleLoss) -> Tensor:
    """Cosine in [-1, 1] of each sample's own head gradient with gradient_CD of head_gradient, (B,).

    Above 0: a step on this sample alone would lower the loss that gradient_CD is of. 0 where either vanishes.
    """
    grads_BC = _logit_gradients(logits_BC, labels_B, loss)
    features_BD = _centred(features_BD)
    # Each sample's gradient is the outer product of these two, so its length is the product of theirs.
    norm = torch.linalg.vector_norm
    lengths_B = norm(grads_BC, dim=1) * norm(features_BD, dim=1) * norm(gradient_CD)
    cosines_B: Tensor = (features_BD @ gradient_CD.T * grads_BC).sum(1) / lengths_B.clamp(min=1e-20)
    return cosines_B


def _logit_gradients(logits: Tensor, labels: Tensor, loss: PerSampleLoss) -> Tensor:
    """dl_i/dlogits_i, one row a sample."""
    if loss is cross_entropy:
        grads = torch.softmax(logits.detach(), dim=1)
        return grads.scatter_add_(1, labels[:, None], grads.new_full((len(labels), 1), -1.0))
    with torch.enable_grad():
        leaf = logits.detach().requires_grad_()
        (grads,) = torch.autograd.grad(loss(leaf, labels).sum(), leaf)
    return grads


def _scaled(problem: MetaProblem, tangents_B: Tensor) -> Tensor:
    """dF/dw from the directional derivatives of the losses along v."""
    return -problem.lr / len(problem.labels_B) * tangents_B.detach()
