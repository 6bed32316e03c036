"""The reweighter's inputs and steps against naive loops, numpy in float64 and values worked out by hand."""

import copy
import io

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from engine.contract.method_config import WEIGHT_INPUTS, ReweighterConfig
from engine.model.record import SignalRecord, effective_sample_frac
from engine.molere.meta_step import ValidationBatch
from engine.molere.reweighter import FEATURE_NORM, NUM_RECORD_INPUTS, Weighting, num_inputs, record_inputs

B, C, D = 12, 3, 5


def make_weighting(source="features", **changes) -> Weighting:
    torch.manual_seed(0)
    return Weighting(ReweighterConfig(**changes), source, D, C, torch.device("cpu"))


def batch(seed=0, dtype=torch.float32) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Features, labels, losses and records of B samples."""
    rng = torch.Generator().manual_seed(seed)
    return (3 + 5 * torch.randn(B, D, generator=rng, dtype=dtype), torch.randint(0, C, (B,), generator=rng),
            4 * torch.rand(B, generator=rng, dtype=dtype),
            torch.randn(B, NUM_RECORD_INPUTS, generator=rng, dtype=dtype))


def inputs_of(weighting: Weighting, *args) -> torch.Tensor:
    """What the reweighter is shown of these."""
    weighting.reweighter.register_forward_pre_hook(lambda _, shown: seen.append(shown[0]))
    seen: list[torch.Tensor] = []
    weighting.weigh(*args)
    return seen[0]


# -- what it sees


def test_a_record_as_input_is_what_earlier_epochs_said():
    rng = torch.Generator().manual_seed(0)
    record, labels = SignalRecord(4, C, 2, torch.device("cpu")), torch.tensor([0, 1, 2, 0])
    heldout: dict[int, list] = {0: [], 1: [], 2: [], 3: []}
    trained: dict[int, list] = {0: [], 1: [], 2: [], 3: []}
    for epoch, out, training in ((1, [0, 1], [2]), (2, [1], [0, 2]), (3, [1], [0])):  # 3 is never seen
        record.start_epoch()
        for rows, told in ((out, heldout), (training, trained)):
            logits, rows_t = 2 * torch.randn(len(rows), C, generator=rng), torch.tensor(rows)
            args = (rows_t, logits, torch.ones(len(rows), 2), labels[rows_t])
            if told is heldout:
                record.observe_heldout(*args, epoch)
            else:
                ones = torch.ones(len(rows))
                record.observe_training(*args, ones, ones, torch.zeros(len(rows), dtype=torch.bool))
            for row, own in zip(rows, logits, strict=True):
                y = int(labels[row])
                probs = torch.softmax(own, 0).tolist()
                told[row].append((epoch, probs[y], probs[y] - max(p for j, p in enumerate(probs) if j != y)))
    rows = torch.tensor([3, 1, 0, 2, 1])
    naive = []
    for row in rows.tolist():
        weight = sum(epoch for epoch, _, _ in heldout[row])
        naive.append([2 * sum(e * p for e, p, _ in heldout[row]) / weight if weight else 0.0,
                      sum(e * m for e, _, m in heldout[row]) / weight if weight else 0.0, float(weight > 0),
                      sum(m for _, _, m in trained[row]) / len(trained[row]) if trained[row] else 0.0,
                      float(bool(trained[row])), float(row) - 1.5])
    found = record_inputs(record, rows, labels[rows], rows.float() - 1.5)
    np.testing.assert_allclose(found.numpy(), naive, rtol=1e-4, atol=1e-6)
    assert found[0].tolist() == [0, 0, 0, 0, 0, 1.5] and found[1, 4] == 0 and found[2, 2] == found[2, 4] == 1


@pytest.mark.parametrize("inputs", WEIGHT_INPUTS)
def test_each_choice_of_inputs_shows_its_parts_in_order(inputs):
    features, labels, losses, known = batch()
    losses[0] = 25.0
    weighting = make_weighting(inputs=inputs)
    shown = inputs_of(weighting, features, labels, losses, known)
    own = features.numpy()
    standard = (own - own.mean(1, keepdims=True)) / np.sqrt(own.var(1, keepdims=True) + 1e-5)
    label_and_loss = np.concatenate([np.eye(C)[labels], np.minimum(losses.numpy(), 10.0)[:, None]], axis=1)
    parts = {"features": [standard], "features_label_loss": [standard, label_and_loss],
             "record": [label_and_loss, known],
             "all": [2.0 * standard / np.linalg.norm(standard, axis=1, keepdims=True), label_and_loss, known]}[inputs]
    np.testing.assert_allclose(shown.numpy(), np.concatenate(parts, axis=1), rtol=1e-4, atol=1e-5)
    assert shown.shape[1] == num_inputs(inputs, D, C) == weighting.reweighter.body[0].in_features


def test_features_count_no_more_than_the_record_however_many_there_are():
    shown = inputs_of(make_weighting(inputs="all"), *batch())[:, :D]
    torch.testing.assert_close(shown.norm(dim=1), torch.full((B,), 2.0))
    assert FEATURE_NORM == 2.0


def test_the_loss_alone_is_shown_as_it_is():
    features, labels, losses, known = batch()
    losses[0] = 25.0
    shown = inputs_of(make_weighting("loss"), features, labels, losses, known)
    assert shown.flatten().tolist() == losses.tolist() and shown.shape == (B, 1)


@pytest.mark.parametrize("source", ["features", "loss"])
def test_weighing_passes_no_gradient_to_the_classifier(source):
    features, labels, losses, known = batch()
    features.requires_grad_(), losses.requires_grad_()
    weighting = make_weighting(source)
    torch.nn.init.normal_(weighting.reweighter.body[2].weight)
    weighting.weigh(features, labels, losses, known).square().sum().backward()
    assert features.grad is None and losses.grad is None
    assert weighting.reweighter.body[0].weight.grad.abs().max() > 0


def val_batch(logits: torch.Tensor, features: torch.Tensor, labels: torch.Tensor) -> ValidationBatch:
    return ValidationBatch(torch.arange(float(len(labels))), labels, (logits, features))


def outer_gradients(logits, features, labels) -> torch.Tensor:
    """Each sample's gradient of the cross-entropy by the head's weight, features centred in the batch, (B, C, D)."""
    return (torch.softmax(logits, 1) - F.one_hot(labels, C))[:, :, None] * (features - features.mean(0))[:, None, :]


def test_agreement_is_the_cosine_with_a_validation_gradient_in_units_of_the_batch():
    weighting, rng = make_weighting(), torch.Generator().manual_seed(1)
    logits, features = torch.randn(B, C, generator=rng), torch.randn(B, D, generator=rng)
    labels, gradient = torch.arange(B) % C, torch.randn(C, D, generator=rng)
    assert (weighting.agreement(weighting.val_gradient, logits, features, labels) == 0).all(), "none was seen yet"
    own = outer_gradients(logits, features, labels)
    cosines = (own * gradient).sum((1, 2)) / own.norm(dim=(1, 2)) / gradient.norm()
    scaled = cosines / cosines.square().mean().sqrt()
    found = weighting.agreement(gradient, logits, features, labels)
    torch.testing.assert_close(found, scaled.clamp(-3, 3), rtol=1e-4, atol=1e-5)
    blind = make_weighting(inputs="features_label_loss")
    assert (blind.agreement(gradient, logits, features, labels) == 0).all(), "nothing is computed that nobody sees"


def test_each_half_of_a_validation_batch_is_shown_with_the_past_and_the_other_half_judges():
    """A reweighter shown the very samples it is judged by learns to follow the noise of their draw."""
    weighting, rng, average = make_weighting(val_loss="cross_entropy"), torch.Generator().manual_seed(2), 0.0
    for num in (6, 8):
        parts = (torch.randn(num, C, generator=rng), torch.randn(num, D, generator=rng), torch.arange(num) % C)
        views = weighting.views(val_batch(*parts))
        halves = [[part[:num // 2] for part in parts], [part[num // 2:] for part in parts]]
        naive = [outer_gradients(*half).mean(0) for half in halves]
        assert len(views) == 2
        for (shown, judge), gradient, other in zip(views, naive, reversed(halves), strict=True):
            torch.testing.assert_close(shown, 0.5 * average + 0.5 * gradient, rtol=1e-4, atol=1e-6)
            assert torch.equal(judge.labels_V, other[2]) and torch.equal(judge.forward_pass[0], other[0])
            assert torch.equal(judge.forward_pass[1], other[1])
        assert [judge.images_V.tolist() for _, judge in views] == [list(range(num // 2, num)), list(range(num // 2))]
        average = 0.5 * average + 0.5 * (naive[0] + naive[1]) / 2
        torch.testing.assert_close(weighting.val_gradient, average, rtol=1e-4, atol=1e-6)


def test_a_reweighter_that_does_not_see_validation_is_judged_by_all_of_it():
    for weighting in (make_weighting("loss"), make_weighting(inputs="features")):
        batch_V = val_batch(torch.randn(6, C), torch.randn(6, D), torch.arange(6) % C)
        (_, judge), = weighting.views(batch_V)
        assert judge is batch_V and (weighting.val_gradient == 0).all()


# -- its steps


def test_the_objective_and_its_gradient_are_those_of_a_naive_one_through_the_normalisation():
    """numpy in float64 with central differences by each parameter; a peak left by an earlier, larger step."""
    weighting = make_weighting(uniform_pull=0.3, heavy_weight=1.2, hidden=4)
    weighting.reweighter.double()
    torch.nn.init.normal_(weighting.reweighter.body[2].weight, std=0.7)
    args, slopes = batch(dtype=torch.float64), torch.linspace(-3, 1, B, dtype=torch.float64) * 1e-3
    weighting.gradient_scale = torch.tensor(8e-3, dtype=torch.float64)
    shown = inputs_of(weighting, *args).numpy()
    params = list(weighting.reweighter.parameters())
    start = np.concatenate([p.detach().numpy().ravel() for p in params])

    def naive(values):
        first, bias, last, shift = np.split(values, np.cumsum([p.numel() for p in params])[:-1])
        hidden = np.maximum(shown @ first.reshape(4, -1).T + bias, 0)
        raw = 0.05 + 3.95 / (1 + np.exp(-(hidden @ last + shift)))
        weights = raw / raw.mean()
        return np.mean(weights * slopes.numpy()) / (0.99 * 8e-3) + 0.3 * np.mean((weights - 1) ** 2) \
            + 0.5 * np.mean(np.maximum(weights - 1.2, 0) ** 2)

    found = weighting.objective([(weighting.weigh(*args), slopes)])
    assert float(found.detach()) == pytest.approx(naive(start), rel=1e-9)
    found.backward()
    numeric = [(naive(start + 1e-6 * unit) - naive(start - 1e-6 * unit)) / 2e-6 for unit in np.eye(len(start))]
    own = np.concatenate([p.grad.numpy().ravel() for p in params])
    np.testing.assert_allclose(own, numeric, rtol=1e-5, atol=1e-8)
    assert np.abs(own).max() > 1e-2


def test_the_peak_is_the_largest_of_late_and_fades():
    weighting, expected = make_weighting(), 0.0
    for size in (0.5, 4.0, 1.0, 0.0, 3.9, 3.7, 0.1, 5.0):
        weighting.objective([(torch.ones(4), torch.tensor([size, -size, size, -size]))])
        expected = max(0.99 * expected, size)
        assert float(weighting.gradient_scale) == pytest.approx(expected) and expected <= 5.0
    for _ in range(100):
        weighting.objective([(torch.ones(4), torch.zeros(4))])
    assert float(weighting.gradient_scale) == pytest.approx(5.0 * 0.99**100, rel=1e-4)


def test_two_views_count_alike_and_share_one_peak():
    """A peak moved by the first would measure the second by another scale, and fade twice."""
    weights, small, large = torch.tensor([0.5, 1.5]), torch.tensor([1.0, -1.0]), torch.tensor([3.0, -3.0])
    for pairs in ([(weights, small), (weights, large)], [(weights, large), (weights, small)]):
        weighting = make_weighting(uniform_pull=0.0, heavy_weight=100.0)
        assert float(weighting.objective(pairs)) == pytest.approx((-0.5 / 3 - 0.5) / 2)
        weighting.objective([(weights, small)])
        assert float(weighting.gradient_scale) == pytest.approx(0.99 * 3.0)


def test_without_any_slope_yet_the_objective_is_the_pull_alone():
    weighting = make_weighting(uniform_pull=0.5, heavy_weight=1.2)
    assert float(weighting.objective([(torch.tensor([0.9, 1.1]), torch.zeros(2))])) == pytest.approx(0.5 * 0.01)
    assert float(weighting.objective([(torch.tensor([0.5, 1.5]), torch.zeros(2))])) == pytest.approx(
        0.5 * 0.25 + 0.5 * 0.3 ** 2 / 2), "who is heavy is pulled back as well, who is light is not"


def teach(weighting: Weighting, args, slopes_of, steps: int) -> np.ndarray:
    for _ in range(steps):
        weighting.objective([(weighting.weigh(*args), slopes_of())]).backward()
        weighting.step()
    return weighting.weigh(*args).detach().numpy()


def test_who_harms_loses_weight():
    weighting, args, rng = make_weighting(), batch(), torch.Generator().manual_seed(0)
    is_harmful = np.arange(B) % 3 == 0
    args[3][:, 0] = torch.from_numpy(np.where(is_harmful, 0.0, 2.0)).float()  # as held-out predictions tell them apart
    harm = torch.from_numpy(np.where(is_harmful, 1.0, -0.5)).float()
    weights = teach(weighting, args, lambda: harm + 0.3 * torch.randn(B, generator=rng), 150)
    assert weights[is_harmful].mean() < 0.2 and weights[~is_harmful].mean() > 1.3
    assert effective_sample_frac(weights) < 0.75
    assert weights.min() / weights.max() >= 0.05 / 4.0, "raw weights keep within their bounds"


def test_once_the_slopes_are_noise_beside_their_peak_all_weights_return_to_one():
    weighting, args, rng = make_weighting(), batch(), torch.Generator().manual_seed(0)
    torch.nn.init.normal_(weighting.reweighter.body[2].weight, std=0.8)
    weighting.objective([(weighting.weigh(*args), torch.linspace(-1.7, 1.7, B))])
    assert effective_sample_frac(weighting.weigh(*args).detach().numpy()) < 0.9
    weights = teach(weighting, args, lambda: 1e-4 * torch.randn(B, generator=rng), 100)
    assert effective_sample_frac(weights) > 0.9999


def test_a_step_applies_the_gradient_once():
    weighting, args = make_weighting(), batch()
    weighting.objective([(weighting.weigh(*args), torch.linspace(-1, 1, B))]).backward()
    before = copy.deepcopy(weighting.reweighter.state_dict())
    weighting.step()
    after = copy.deepcopy(weighting.reweighter.state_dict())
    # Adam's first step is lr against the sign of the gradient; the body's own gradient is zero behind zero weights.
    moved = (after["body.2.weight"] - before["body.2.weight"]).abs()
    assert moved.max() == pytest.approx(0.02, rel=1e-3) and torch.equal(before["body.0.weight"], after["body.0.weight"])
    assert all(p.grad is None for p in weighting.reweighter.parameters())


# -- settled weights, checkpoint


def test_settled_weights_are_the_averages_and_the_reweighters_where_there_is_none_of_mean_one():
    nan, now = float("nan"), torch.tensor([3.0, 0.5, 9.0, 0.1], requires_grad=True)
    settled = make_weighting().averaged_weights(torch.tensor([0.5, nan, 2.5, 1.0]), now)
    assert settled.tolist() == pytest.approx([4 * share / 4.5 for share in (0.5, 0.5, 2.5, 1.0)])
    assert not settled.requires_grad
    assert make_weighting().averaged_weights(torch.tensor([nan, nan]), torch.tensor([1.5, 4.5])).tolist() == [0.5, 1.5]


def test_a_checkpoint_restores_all_that_the_next_step_depends_on():
    first, args = make_weighting(), batch()
    first.views(val_batch(torch.randn(4, C), torch.randn(4, D), torch.arange(4) % C))
    teach(first, args, lambda: torch.linspace(-2, 1, B), 5)
    buffer = io.BytesIO()
    torch.save(first.state_dict(), buffer)
    buffer.seek(0)
    second = make_weighting()
    second.load_state_dict(torch.load(buffer, weights_only=True))
    assert torch.equal(second.val_gradient, first.val_gradient) and second.val_gradient.norm() > 0.01
    assert float(second.gradient_scale) == float(first.gradient_scale) > 1
    ours, theirs = (teach(w, args, lambda: 0.1 * torch.linspace(1, -2, B), 5) for w in (first, second))
    assert (ours == theirs).all() and ours.std() > 0.01


