"""Hypergradients against central differences of the whole look-ahead, in float64, one weight at a time."""

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models import VisionTransformer

from engine.model.losses import cross_entropy, generalized_cross_entropy
from engine.model.networks import Classifier, SmallBackbone
from engine.molere.hypergradient import (
    HYPERGRADIENT_FUNCTIONS,
    MetaProblem,
    _logit_gradients,
    frozen_running_statistics,
    head_agreement,
    head_gradient,
)

STEP = 1e-5


class LinearBackbone(nn.Module):
    def __init__(self, num_inputs: int, num_features: int) -> None:
        super().__init__()
        self.linear = nn.Linear(num_inputs, num_features)

    def forward(self, images: Tensor) -> Tensor:
        return torch.tanh(self.linear(images.flatten(1)))


def make_problem(seed: int, has_norm: bool, val_loss=generalized_cross_entropy) -> MetaProblem:
    torch.manual_seed(seed)
    backbone = SmallBackbone(width=2) if has_norm else LinearBackbone(3 * 64, 5)
    model = Classifier(backbone, backbone.num_features if has_norm else 5, 4).double().train()
    weights = torch.rand(7, dtype=torch.float64) + 0.5
    return MetaProblem(
        model=model, images_B=torch.randn(7, 3, 8, 8, dtype=torch.float64), labels_B=torch.arange(7) % 4,
        weights_B=weights / weights.mean(), images_V=torch.randn(5, 3, 8, 8, dtype=torch.float64),
        labels_V=torch.arange(5) % 4, lr=0.3, train_loss=cross_entropy, val_loss=val_loss)


def loss_after_step(problem: MetaProblem, weights: Tensor, only_head: bool) -> float:
    """The naive oracle: copy the network, take one SGD step on it, look at the validation loss."""
    model = copy.deepcopy(problem.model)
    logits, _ = model(problem.images_B)
    (weights * problem.train_loss(logits, problem.labels_B)).mean().backward()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if not only_head or name.startswith("head"):
                parameter -= problem.lr * parameter.grad
        return float(problem.val_loss(model(problem.images_V)[0], problem.labels_V).mean())


def central_differences(problem: MetaProblem, only_head: bool) -> Tensor:
    found = []
    for i in range(len(problem.weights_B)):
        nudge = torch.zeros_like(problem.weights_B)
        nudge[i] = STEP
        up = loss_after_step(problem, problem.weights_B + nudge, only_head)
        down = loss_after_step(problem, problem.weights_B - nudge, only_head)
        found.append((up - down) / (2 * STEP))
    return torch.tensor(found, dtype=torch.float64)


@pytest.mark.parametrize("has_norm", [False, True])
@pytest.mark.parametrize("val_loss", [cross_entropy, generalized_cross_entropy])
@pytest.mark.parametrize("mode", ["jvp", "unroll"])
def test_exact_modes_equal_central_differences_of_the_look_ahead(mode, val_loss, has_norm):
    problem = make_problem(0, has_norm, val_loss)
    found = HYPERGRADIENT_FUNCTIONS[mode](problem)
    torch.testing.assert_close(found, central_differences(problem, only_head=False), rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("has_norm", [False, True])
def test_last_layer_equals_central_differences_of_a_head_only_look_ahead(has_norm):
    problem = make_problem(1, has_norm)
    found = HYPERGRADIENT_FUNCTIONS["last_layer"](problem)
    torch.testing.assert_close(found, central_differences(problem, only_head=True), rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("mode", ["last_layer", "last_layer_centred"])
@pytest.mark.parametrize(("name", "images"), [("train_pass", "images_B"), ("val_pass", "images_V")])
def test_last_layer_may_reuse_a_pass(name, images, mode):
    problem = make_problem(2, True)
    with torch.no_grad(), frozen_running_statistics(problem.model):
        done = problem.model(getattr(problem, images))
    # Other images beside the pass: what is reused must not be computed again.
    reused = MetaProblem(**{f: getattr(problem, f) for f in MetaProblem.__slots__} | {
        name: done, images: torch.zeros_like(getattr(problem, images))})
    last_layer = HYPERGRADIENT_FUNCTIONS[mode]
    torch.testing.assert_close(last_layer(reused), last_layer(problem))


@pytest.mark.parametrize(("has_norm", "error"), [(False, 1e-3), (True, 0.3)])
def test_finite_difference_is_close_to_exact(has_norm, error):
    """Close on a smooth network; kinks (ReLU, max pooling) within its radius cost it some on the other."""
    problem = make_problem(3, has_norm)
    exact = HYPERGRADIENT_FUNCTIONS["jvp"](problem)
    near = HYPERGRADIENT_FUNCTIONS["finite_difference"](problem)
    assert float((near - exact).norm() / exact.norm()) < error


def centred_head_gradients(model: Classifier, features: Tensor, labels: Tensor, loss) -> Tensor:
    """Autograd's gradient (n, C, D) by the head's weight of each sample's loss, one at a time, where only what differs
    from the batch's mean features goes through that weight."""
    features, rows = features.detach(), []
    fixed = model.head(features.mean(0)).detach()
    for i in range(len(labels)):
        logits = model.head.weight @ (features[i] - features.mean(0)) + fixed
        rows.append(torch.autograd.grad(loss(logits[None], labels[i:i + 1]).sum(), model.head.weight)[0])
    return torch.stack(rows)


def test_head_gradient_and_agreement_are_those_of_autograd_sample_by_sample():
    problem = make_problem(6, False)
    logits_B, features_B = problem.model(problem.images_B)
    logits_V, features_V = problem.model(problem.images_V)
    naive = centred_head_gradients(problem.model, features_V, problem.labels_V, generalized_cross_entropy).mean(0)
    found = head_gradient(logits_V.detach(), features_V.detach(), problem.labels_V, generalized_cross_entropy)
    torch.testing.assert_close(found, naive)
    own = centred_head_gradients(problem.model, features_B, problem.labels_B, cross_entropy).flatten(1)
    cosines = own @ naive.flatten() / own.norm(dim=1) / naive.norm()
    args = (logits_B.detach(), features_B.detach(), problem.labels_B, cross_entropy)
    torch.testing.assert_close(head_agreement(naive, *args), cosines)
    assert float(cosines.max() - cosines.min()) > 0.3
    assert (head_agreement(torch.zeros_like(naive), *args) == 0).all()


@pytest.mark.parametrize("has_norm", [False, True])
def test_centred_last_layer_is_autograds_inner_product_after_the_heads_step(has_norm):
    problem = make_problem(7, has_norm)
    with frozen_running_statistics(problem.model):
        logits_B, features_B = problem.model(problem.images_B)
        own = centred_head_gradients(problem.model, features_B, problem.labels_B, problem.train_loss)
        moved = copy.deepcopy(problem.model)
        mean_loss = (problem.weights_B * problem.train_loss(logits_B, problem.labels_B)).mean()
        steps = torch.autograd.grad(mean_loss, list(problem.model.head.parameters()))
        with torch.no_grad():
            for param, step in zip(moved.head.parameters(), steps, strict=True):
                param -= problem.lr * step
        _, features_V = moved(problem.images_V)
        theirs = centred_head_gradients(moved, features_V, problem.labels_V, problem.val_loss).mean(0)
    naive = -problem.lr / len(own) * (own * theirs).sum((1, 2))
    torch.testing.assert_close(HYPERGRADIENT_FUNCTIONS["last_layer_centred"](problem), naive)


def test_a_sample_like_the_validation_set_gets_a_negative_hypergradient():
    """More weight on a training sample that is the validation sample must lower the validation loss."""
    problem = make_problem(4, False)
    for mode, function in HYPERGRADIENT_FUNCTIONS.items():
        rows = slice(2, 4) if mode == "last_layer_centred" else slice(2, 3)  # one sample is its batch's mean
        same = MetaProblem(**{f: getattr(problem, f) for f in MetaProblem.__slots__} | {
            "images_V": problem.images_B[rows], "labels_V": problem.labels_B[rows]})
        assert float(function(same)[rows].sum()) < 0, mode


@pytest.mark.parametrize("mode", HYPERGRADIENT_FUNCTIONS)
def test_probing_changes_no_parameter_buffer_gradient_or_setting(mode):
    problem = make_problem(5, True)
    model = problem.model
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    problem.train_loss(model(problem.images_B)[0], problem.labels_B).mean().backward()
    optimizer.step()
    before = copy.deepcopy((model.state_dict(), optimizer.state_dict(), [p.grad for p in model.parameters()]))
    flags = [p.requires_grad for p in model.parameters()]
    HYPERGRADIENT_FUNCTIONS[mode](problem)
    after = (model.state_dict(), optimizer.state_dict(), [p.grad for p in model.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(before[0].values(), after[0].values(), strict=True))
    assert all(torch.equal(before[1]["state"][k]["momentum_buffer"], after[1]["state"][k]["momentum_buffer"])
               for k in before[1]["state"])
    assert all(torch.equal(a, b) for a, b in zip(before[2], after[2], strict=True))
    assert flags == [p.requires_grad for p in model.parameters()] and model.training
    assert all(n.track_running_stats for n in model.modules() if isinstance(n, nn.BatchNorm2d))


def test_running_statistics_come_back_after_an_error():
    model = Classifier(SmallBackbone(width=2), 8, 3)
    with pytest.raises(RuntimeError, match="on purpose"), frozen_running_statistics(model):
        raise RuntimeError("on purpose")
    assert all(n.track_running_stats for n in model.modules() if isinstance(n, nn.BatchNorm2d))


def test_the_closed_form_of_cross_entropys_gradient_is_autograds():
    logits, labels = torch.randn(5, 4, dtype=torch.float64, requires_grad=True), torch.tensor([0, 3, 1, 1, 2])
    (expected,) = torch.autograd.grad(F.cross_entropy(logits, labels, reduction="sum"), logits)
    torch.testing.assert_close(_logit_gradients(logits, labels, cross_entropy), expected)


def vision_transformer() -> Classifier:
    """torchvision's, small, as make_classifier takes it apart."""
    torch.manual_seed(0)
    body = VisionTransformer(image_size=16, patch_size=8, num_layers=2, num_heads=2, hidden_dim=12, mlp_dim=24)
    body.heads = nn.Identity()
    return Classifier(body, 12, 3).double().train()


@pytest.mark.parametrize(("mode", "nearness"), [
    ("jvp", 1.0 - 1e-9), ("finite_difference", 0.999), ("last_layer", 0.3)])
def test_a_vision_transformer_goes_through_each_mode_nearly_as_exactly(mode, nearness):
    problem = MetaProblem(
        model=vision_transformer(), images_B=torch.randn(6, 3, 16, 16, dtype=torch.float64),
        labels_B=torch.arange(6) % 3, weights_B=torch.ones(6, dtype=torch.float64),
        images_V=torch.randn(5, 3, 16, 16, dtype=torch.float64), labels_V=torch.arange(5) % 3, lr=0.1,
        train_loss=cross_entropy, val_loss=cross_entropy)
    exact = HYPERGRADIENT_FUNCTIONS["unroll"](problem)
    found = HYPERGRADIENT_FUNCTIONS[mode](problem)
    assert float(torch.nn.functional.cosine_similarity(found, exact, dim=0)) > nearness


@pytest.mark.parametrize("mode", ["jvp", "finite_difference", "unroll"])
def test_exact_modes_compute_in_full_precision_and_leave_mixed_as_it_was(mode):
    problem = make_problem(0, has_norm=True)
    expected = HYPERGRADIENT_FUNCTIONS[mode](problem)
    problem.model.is_mixed = True
    assert torch.equal(HYPERGRADIENT_FUNCTIONS[mode](problem), expected) and problem.model.is_mixed
