"""Losses and margins against closed forms and naive loops."""

import math

import pytest
import torch
from torch.autograd import gradcheck

from engine.model.losses import (
    GCE_POWER,
    LARGEST_BALANCE,
    balanced_generalized_cross_entropy,
    cross_entropy,
    generalized_cross_entropy,
    margins,
)


def logits_of(*probs):
    return torch.log(torch.tensor(probs, dtype=torch.float64))


def test_generalized_cross_entropy_has_its_closed_form_and_bound():
    logits = logits_of([0.2, 0.5, 0.3])
    found = generalized_cross_entropy(logits, torch.tensor([0]))
    assert math.isclose(float(found), (1 - 0.2**0.7) / 0.7, rel_tol=1e-12)
    worst = generalized_cross_entropy(torch.tensor([[-50.0, 50.0]]), torch.tensor([0]))
    assert math.isclose(float(worst), 1 / GCE_POWER, rel_tol=1e-6)


def test_loss_gradients_agree_with_finite_differences():
    torch.manual_seed(0)
    logits = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)
    labels = torch.tensor([0, 2, 1, 1])
    assert gradcheck(lambda x: generalized_cross_entropy(x, labels), (logits,))
    assert gradcheck(lambda x: cross_entropy(x, labels), (logits,))


def naive_constants(own, labels):
    """What each sample counts, class by class in plain floats: own are the probabilities of the labels."""
    forces = [p**0.7 for p in own]
    constants = {}
    for c in set(labels):
        of_class = [f for f, y in zip(forces, labels, strict=True) if y == c]
        wanted = (sum(forces) / len(forces)) / (sum(of_class) / len(of_class))
        constants[c] = max(0.1, min(10.0, wanted))
    return [constants[y] for y in labels]


LABELS = [0, 0, 1, 1, 1, 1, 3]
"""Of four classes; one, 2, has no sample and one, 3, has a single one."""
UNCLAMPED = [0.9, 0.5, 0.2, 0.4, 0.1, 0.3, 0.05]
CLAMPED = [0.9, 0.5, 0.8, 0.9, 0.7, 0.6, 1e-4]


def logits_with(own, labels=LABELS):
    """float64 logits whose softmax gives the labels these probabilities, the rest in unequal shares."""
    rest = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)
    rows = []
    for p, y in zip(own, labels, strict=True):
        row = [float(share) * (1 - p) for share in rest]
        rows.append(row[:y] + [p] + row[y:])
    return logits_of(*rows).requires_grad_()


@pytest.mark.parametrize(("own", "clamped"), [(UNCLAMPED, []), (CLAMPED, [10.0])])
def test_the_balanced_loss_is_that_of_a_naive_loop_over_classes(own, clamped):
    constants = naive_constants(own, LABELS)
    assert [k for k in constants if k in (0.1, 10.0)] == clamped and LARGEST_BALANCE == 10
    expected = torch.tensor([k * (1 - p**0.7) / 0.7 for k, p in zip(constants, own, strict=True)], dtype=torch.float64)
    found = balanced_generalized_cross_entropy(logits_with(own), torch.tensor(LABELS))
    torch.testing.assert_close(found.detach(), expected, rtol=1e-10, atol=0)
    # No permutation of the samples changes what one of them counts.
    order = torch.tensor([6, 2, 0, 5, 1, 4, 3])
    again = balanced_generalized_cross_entropy(logits_with(own)[order], torch.tensor(LABELS)[order])
    torch.testing.assert_close(again.detach(), expected[order], rtol=1e-10, atol=0)


def test_a_class_that_outnumbers_a_lost_one_counts_no_less_than_a_tenth():
    own, labels = [0.99] + [1e-9] * 30, [0] + [1] * 30  # the mean force is 1/31 of that of class 0
    found = balanced_generalized_cross_entropy(logits_with(own, labels), torch.tensor(labels))
    assert math.isclose(float(found[0].detach()), 0.1 * (1 - 0.99**0.7) / 0.7, rel_tol=1e-6)
    assert torch.allclose(found[1:], found.new_tensor(10 / 0.7), rtol=1e-4), "and the lost no more than ten times"


@pytest.mark.parametrize("own", [UNCLAMPED, CLAMPED])
def test_the_constants_of_the_balanced_loss_carry_no_gradient(own):
    logits = logits_with(own)
    (found,) = torch.autograd.grad(balanced_generalized_cross_entropy(logits, torch.tensor(LABELS)).sum(), logits)
    constants = torch.tensor(naive_constants(own, LABELS), dtype=torch.float64)
    naive = (constants * generalized_cross_entropy(logits, torch.tensor(LABELS))).sum()
    torch.testing.assert_close(found, torch.autograd.grad(naive, logits)[0], rtol=1e-10, atol=1e-12)


def pulls_of(own, loss):
    """Mean force |dloss / dlog p_y| on the samples of each class that has any: |dloss / dz_y| / (1 - p_y)."""
    logits, labels = logits_with(own), torch.tensor(LABELS)
    (grads,) = torch.autograd.grad(loss(logits, labels).sum(), logits)
    forces = (grads[torch.arange(len(own)), labels] / (1 - torch.tensor(own, dtype=torch.float64))).abs()
    return [float(forces[labels == c].mean()) for c in (0, 1, 3)]


def test_every_class_pulls_alike_in_the_balanced_loss_where_unclamped():
    mean = sum(p**0.7 for p in UNCLAMPED) / len(UNCLAMPED)
    assert pulls_of(UNCLAMPED, balanced_generalized_cross_entropy) == pytest.approx([mean] * 3, rel=1e-9)
    plain = pulls_of(UNCLAMPED, generalized_cross_entropy)
    assert max(plain) / min(plain) > 3, "which it does not without the balance"
    lost = pulls_of(CLAMPED, balanced_generalized_cross_entropy)
    assert lost[2] == pytest.approx(10 * 1e-4**0.7, rel=1e-9) and lost[0] == pytest.approx(lost[1], rel=1e-9)


def test_margin_is_own_probability_less_the_best_other():
    logits = logits_of([0.6, 0.3, 0.1], [0.6, 0.3, 0.1], [0.25, 0.25, 0.5])
    found = margins(logits, torch.tensor([0, 1, 2]))
    torch.testing.assert_close(found, torch.tensor([0.3, -0.3, 0.25], dtype=torch.float64))
