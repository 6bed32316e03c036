"""The noise model against the noise that made the labels, Bayes' rule written out, and losses of true labels."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from engine.contract.config import RunConfig
from engine.model.record import HeldoutPredictions
from engine.molere.freedom import corrected_loss
from engine.molere.noise_model import NoiseEstimate, NoiseModel, noise_model, sure_matrix

PAIR = np.array([[0.6, 0.4, 0.0], [0.0, 0.7, 0.3], [0.1, 0.0, 0.9]])


def world(matrix, num=12_000, seed=0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """P(true class | picture), some sure and some not, true classes drawn from it, and given labels from those."""
    rng = np.random.default_rng(seed)
    num_classes = len(matrix)
    probs = rng.dirichlet(np.full(num_classes, 0.1), num)
    truth = (rng.random((num, 1)) < probs.cumsum(1)).argmax(1)
    return probs, truth, (rng.random((num, 1)) < matrix[truth].cumsum(1)).argmax(1)


@pytest.mark.parametrize("matrix", [PAIR, np.eye(3), np.full((3, 3), 0.2) + 0.4 * np.eye(3)])
@pytest.mark.parametrize("sees_noise", [False, True])
def test_the_matrix_is_that_which_made_the_labels(matrix, sees_noise):
    """Whether the classifier predicts true classes, or learned wrong labels and predicts them in their share."""
    probs, _, labels = world(matrix)
    predictions = probs @ matrix if sees_noise else probs
    np.testing.assert_allclose(sure_matrix(predictions, labels), matrix, atol=0.04)


def test_only_the_surest_count_but_never_too_few_and_each_class_has_a_right_label_more():
    probs = np.array([[p, 1 - p] for p in np.linspace(0.99, 0.51, 300)])
    labels = np.where(np.arange(300) < 27, 0, 1)  # of the surest tenth, 30, three are given the other class
    assert sure_matrix(probs, labels).tolist() == [[28 / 31, 3 / 31], [0, 1]]
    assert sure_matrix(probs[:24], np.ones(24, dtype=int)).tolist() == [[1 / 21, 20 / 21], [0, 1]]


@pytest.mark.parametrize("power", [0.5, 1.0, 2.0])
def test_the_temperature_undoes_predictions_that_are_too_sure_or_not_sure_enough(power):
    probs, _, labels = world(PAIR)
    said = probs**power / (probs**power).sum(1, keepdims=True)
    model = noise_model(said, labels, np.ones(len(labels), dtype=bool))
    assert model.temperature == pytest.approx(power, rel=0.08)
    np.testing.assert_allclose(model.true_probabilities(said).sum(1), 1, atol=1e-5)


def test_what_is_not_known_does_not_count_and_nothing_known_has_no_model():
    probs, _, labels = world(np.eye(3), 900)
    known = np.arange(900) < 600
    spoilt = np.where(known, labels, (labels + 1) % 3)
    found = noise_model(probs, spoilt, known)
    assert found.matrix_CC.tolist() == sure_matrix(probs[:600], labels[:600]).tolist()
    assert noise_model(probs, labels, np.zeros(900, dtype=bool)) is None


def test_how_probable_a_wrong_label_is_follows_from_bayes_rule():
    model = NoiseModel(matrix_CC=PAIR, temperature=2.0)
    probs, labels = np.array([[0.5, 0.3, 0.2], [0.05, 0.9, 0.05], [1.0, 0.0, 0.0]]), np.array([1, 2, 0])
    for row, label, found in zip(probs, labels, model.wrong_probabilities(probs, labels), strict=True):
        soft = [max(p, 1e-6) ** 0.5 for p in row]
        joint = [p / sum(soft) * PAIR[k, label] for k, p in enumerate(soft)]
        assert found == pytest.approx(1 - joint[label] / sum(joint), abs=1e-5)


@pytest.mark.parametrize("matrix", [PAIR, np.eye(3), np.full((3, 3), 0.2) + 0.4 * np.eye(3)])
def test_of_labels_believed_wrong_with_a_probability_as_many_are(matrix):
    probs, truth, labels = world(matrix, 40_000)
    believed = noise_model(probs, labels, np.ones(len(labels), dtype=bool)).wrong_probabilities(probs, labels)
    is_wrong = truth != labels
    assert believed.mean() == pytest.approx(is_wrong.mean(), abs=0.02)
    for low, high in ((0, 0.02), (0.02, 0.1), (0.1, 0.3), (0.3, 0.6), (0.6, 1.01)):
        rows = (believed >= low) & (believed < high)
        if rows.sum() > 500:
            assert is_wrong[rows].mean() == pytest.approx(believed[rows].mean(), abs=0.05)


@pytest.mark.parametrize("matrix", [PAIR, np.eye(3), np.full((3, 3), 0.2) + 0.4 * np.eye(3)])
@pytest.mark.parametrize("sees_noise", [False, True])
def test_the_share_of_wrong_labels_is_that_which_there_is(matrix, sees_noise):
    probs, truth, labels = world(matrix, 40_000)
    predictions = probs @ matrix if sees_noise else probs
    model = noise_model(predictions, labels, np.ones(len(labels), dtype=bool))
    assert model.wrong_share(predictions) == pytest.approx((truth != labels).mean(), abs=0.03)


def test_a_model_that_is_fixed_stays_whatever_is_predicted_later():
    probs, truth, labels = world(PAIR, 3_000)
    everybody = np.ones(3_000, dtype=bool)
    estimate = NoiseEstimate(RunConfig.from_dict({"epochs": 10}))
    estimate.fix(probs, labels, np.arange(3_000) < 2_000)
    model, share = estimate.model, estimate.share
    assert model.matrix_CC.tolist() == sure_matrix(probs[:2_000], labels[:2_000]).tolist()
    assert share == pytest.approx((truth != labels).mean(), abs=0.05)
    remembered = HeldoutPredictions(np.eye(3, dtype=np.float32)[labels], everybody)
    estimate.refit(3, remembered, labels, everybody)
    assert estimate.model is model and estimate.share == share
    again = NoiseEstimate(estimate.config)
    again.load_state_dict(estimate.state_dict())
    again.refit(4, remembered, labels, everybody)
    assert (again.model.matrix_CC == model.matrix_CC).all() and again.share == share


def test_nothing_known_fixes_nothing():
    estimate = NoiseEstimate(RunConfig.from_dict({"epochs": 10}))
    probs, _, labels = world(PAIR, 300)
    estimate.fix(probs, labels, np.zeros(300, dtype=bool))
    assert estimate.model is None and estimate.share is None
    estimate.refit(2, HeldoutPredictions(probs.astype(np.float32), np.ones(300, bool)), labels, np.ones(300, bool))
    assert estimate.model is not None


def test_the_corrected_loss_of_given_labels_is_on_average_the_loss_of_the_true_one():
    model = NoiseModel(matrix_CC=PAIR, temperature=1.0)
    logits = torch.randn(1, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64).expand(3, 3)
    given = corrected_loss(model, torch.device("cpu"))(logits, torch.arange(3))
    true = F.cross_entropy(logits, torch.arange(3), reduction="none")
    for k in range(3):
        assert float(sum(PAIR[k, j] * given[j] for j in range(3))) == pytest.approx(float(true[k]), rel=1e-5)


@pytest.mark.parametrize(("settings", "is_asked"), [
    ({}, True), ({"method": "lrw_hard"}, True), ({"method": "erm"}, False), ({"method": "lrw_random"}, False)])
def test_an_estimate_is_made_anew_until_nobody_is_held_out_and_comes_back_from_a_checkpoint(settings, is_asked):
    probs, _, labels = world(PAIR, 600)
    estimate = NoiseEstimate(RunConfig.from_dict({"epochs": 10, "finish_fraction": 0.3, **settings}))
    held, everybody = HeldoutPredictions(probs.astype(np.float32), np.ones(600, dtype=bool)), np.ones(600, dtype=bool)
    estimate.refit(7, held, labels, everybody)
    assert (estimate.model is not None) == is_asked
    again = NoiseEstimate(estimate.config)
    again.load_state_dict(estimate.state_dict())
    if is_asked:
        before = estimate.model
        active = np.arange(600) < 400
        estimate.refit(7, held, np.where(active, labels, (labels + 1) % 3), active)
        of_active = sure_matrix(held.probs_NC[:400], labels[:400])
        assert (estimate.model.matrix_CC == of_active).all(), "who is excluded does not count"
        estimate.refit(7, held, np.zeros(600, dtype=int), everybody)
        assert estimate.model.matrix_CC[2, 0] > 0.9 and before.matrix_CC[2, 0] < 0.2
        assert (again.model.matrix_CC == before.matrix_CC).all() and again.model.temperature == before.temperature
        later = estimate.model
        estimate.refit(8, held, labels, everybody)
        assert estimate.model is later, "epochs 8 to 10 finish: nobody is held out any more"
    else:
        assert again.model is None
