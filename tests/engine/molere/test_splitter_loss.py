"""The splitter's terms against naive loops in float64 and scipy's relative entropy."""

import numpy as np
import pytest
import torch
from scipy.stats import entropy

from engine.contract.method_config import SplitterConfig
from engine.molere.splitter_loss import balance_divergence, ratio_divergence, splitter_loss


def random_batch(seed=0, num=40, num_classes=5, missing=3):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, num_classes, num)
    labels[labels == missing] = 0
    return torch.from_numpy(rng.random(num)), torch.from_numpy(labels)


def test_ratio_term_is_zero_at_the_target_and_is_the_relative_entropy_elsewhere():
    assert float(ratio_divergence(torch.full((8,), 0.9, dtype=torch.float64), 0.1)) == pytest.approx(0.0, abs=1e-12)
    p, _ = random_batch()
    mean = float(p.mean())
    assert float(ratio_divergence(p, 0.1)) == pytest.approx(entropy([0.9, 0.1], [mean, 1 - mean]))


def test_ratio_term_pulls_an_average_of_one_half_towards_training():
    p = torch.full((8,), 0.5, dtype=torch.float64, requires_grad=True)
    ratio_divergence(p, 0.1).backward()
    assert (p.grad < 0).all()


UNEQUAL = np.repeat([0, 1, 2, 3], [100, 50, 7, 2])


def test_balance_term_is_the_definition_where_there_are_many_samples():
    """KL(P(y) || P(y | train)) + KL(P(y) || P(y | validation)) on unequal classes, unsmoothed, by scipy."""
    times = 2000
    p = np.random.default_rng(1).uniform(0.05, 0.95, len(UNEQUAL))
    whole = np.bincount(UNEQUAL) / len(UNEQUAL)
    expected = sum(entropy(whole, np.bincount(UNEQUAL, share) / share.sum()) for share in (p, 1 - p))
    found = balance_divergence(torch.from_numpy(np.tile(p, times)), torch.from_numpy(np.tile(UNEQUAL, times)), 4)
    assert expected > 1e-3 and float(found) == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.97])
def test_an_equal_split_of_unequal_classes_costs_nothing_and_pulls_nobody(share):
    p = torch.full((len(UNEQUAL),), share, dtype=torch.float64, requires_grad=True)
    found = balance_divergence(p, torch.from_numpy(UNEQUAL), 6)  # two classes are missing from the batch
    found.backward()
    assert float(found.detach()) == pytest.approx(0.0, abs=1e-12)
    np.testing.assert_allclose(p.grad.numpy(), 0.0, atol=1e-12)


def test_a_class_that_leaves_a_side_is_pulled_back_and_the_term_stays_finite():
    p = torch.where(torch.from_numpy(UNEQUAL) == 3, 0.0, 0.9).double().requires_grad_()
    found = balance_divergence(p, torch.from_numpy(UNEQUAL), 4)
    found.backward()
    assert np.isfinite(float(found.detach()))
    assert (p.grad[UNEQUAL == 3] < 0).all(), "descending sends the rare to training"
    everything = torch.ones(len(UNEQUAL), dtype=torch.float64)
    assert np.isfinite(float(balance_divergence(everything, torch.from_numpy(UNEQUAL), 4)))


def test_balance_term_is_zero_when_every_class_is_split_alike_and_grows_with_the_skew():
    labels = torch.arange(40) % 4
    even = torch.full((40,), 0.7, dtype=torch.float64)
    skewed = torch.where(labels == 0, 0.1, 0.9).double()
    assert float(balance_divergence(even, labels, 4)) == pytest.approx(0.0, abs=1e-9)
    assert float(balance_divergence(skewed, labels, 4)) > 0.05


def loss_of(config, logits_v, losses_v, correct_v, logits_r, labels_r):
    return splitter_loss(config, 0.1, 5, validation_logits_V=logits_v, is_correct_V=correct_v, losses_V=losses_v,
                         random_logits_R=logits_r, labels_R=labels_r)


def test_splitter_loss_is_the_sum_of_its_four_terms():
    p, labels = random_batch()
    logits_r, logits_v = torch.logit(p), torch.tensor([0.3, -1.0, 2.0], dtype=torch.float64)
    losses, correct = torch.tensor([0.1, 2.0, 1.0], dtype=torch.float64), torch.tensor([True, False, True])
    config = SplitterConfig(gap_strength=0.5, ratio_strength=2.0, balance_strength=3.0)
    p_v = 1 / (1 + np.exp(-logits_v.numpy()))
    cross = -np.mean([np.log(p_v[0]), np.log(1 - p_v[1]), np.log(p_v[2])])
    gap = float(np.average(losses.numpy(), weights=1 - p_v))
    expected = cross - 0.5 * gap + 2 * float(ratio_divergence(p, 0.1)) + 3 * float(balance_divergence(p, labels, 5))
    assert float(loss_of(config, logits_v, losses, correct, logits_r, labels)) == pytest.approx(expected, rel=1e-9)


def test_gap_term_sends_the_harder_sample_to_validation_only_under_soft_assignment():
    p, labels = random_batch()
    losses, correct = torch.tensor([0.0, 3.0], dtype=torch.float64), torch.tensor([True, True])

    def gradient(is_soft):
        logits_v = torch.zeros(2, dtype=torch.float64, requires_grad=True)
        config = SplitterConfig(is_soft=is_soft, gap_strength=5.0)
        loss_of(config, logits_v, losses, correct, torch.logit(p), labels).backward()
        return logits_v.grad

    soft, hard = gradient(True), gradient(False)
    assert soft[1] > soft[0], "descending must lower p(train) of the hard sample more"
    assert hard[0] == hard[1], "a hard threshold leaves the cross-entropy alone"
