"""Losses and margins against closed forms and naive loops."""

import math

import torch
from torch.autograd import gradcheck

from engine.losses import GCE_POWER, cross_entropy, generalized_cross_entropy, margins


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


def test_margin_is_own_probability_less_the_best_other():
    logits = logits_of([0.6, 0.3, 0.1], [0.6, 0.3, 0.1], [0.25, 0.25, 0.5])
    found = margins(logits, torch.tensor([0, 1, 2]))
    torch.testing.assert_close(found, torch.tensor([0.3, -0.3, 0.25], dtype=torch.float64))
