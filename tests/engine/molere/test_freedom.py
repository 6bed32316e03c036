"""The freedom of learned weights against central differences of the look-ahead, and whole trainings."""

import copy

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from engine.contract.config import RunConfig
from engine.data.dataset import Dataset
from engine.model.losses import cross_entropy
from engine.molere.freedom import Freedom, corrected_loss
from engine.molere.hypergradient import MetaProblem, last_layer
from engine.molere.noise_model import NoiseModel
from engine.molere.weight_sources import freedom_of
from engine.runs.epoch_report import measure
from engine.training.trainer import Trainer
from tests.engine.molere.test_hypergradient import make_problem

CPU = torch.device("cpu")
NOISE = NoiseModel(matrix_CC=0.6 * np.eye(4) + 0.1, temperature=1.0)


def loss_at_rest(problem: MetaProblem, weights: torch.Tensor) -> float:
    """A step of the head under these weights, then the loss of the samples at rest, each true class's loss counted as
    the inverse of the noise matrix says: nothing of engine.molere."""
    model = copy.deepcopy(problem.model)
    logits, features = model(problem.images_B)
    loss = (weights * F.cross_entropy(logits, problem.labels_B, reduction="none")).mean()
    by_weight, by_bias = torch.autograd.grad(loss, [model.head.weight, model.head.bias])
    _, features = model(problem.images_V)
    after = features @ (model.head.weight - problem.lr * by_weight).T + model.head.bias - problem.lr * by_bias
    inverse = torch.linalg.inv(torch.from_numpy(NOISE.matrix_CC))
    losses = -(inverse[problem.labels_V] * torch.log_softmax(after, 1)).sum(1)
    return float(losses.mean().detach())


@pytest.mark.parametrize("at", [0.0, 0.4, 0.9])
def test_freedom_goes_down_the_loss_of_samples_at_rest(at):
    problem = make_problem(3, has_norm=False)
    rng = torch.Generator().manual_seed(5)
    priors = 0.5 + torch.rand(7, generator=rng, dtype=torch.float64)
    learned = priors * (0.1 + 2 * torch.rand(7, generator=rng, dtype=torch.float64))
    freedom = Freedom(200, CPU)
    freedom.value = torch.tensor(at)
    acting = freedom.acting(learned, priors)
    np.testing.assert_allclose(acting, (1 - at) * priors + at * learned, rtol=1e-6)
    slopes = last_layer(MetaProblem(
        model=problem.model, images_B=problem.images_B, labels_B=problem.labels_B, weights_B=acting,
        images_V=problem.images_V, labels_V=problem.labels_V, lr=problem.lr, train_loss=cross_entropy,
        val_loss=corrected_loss(NOISE, CPU)))
    freedom.judge(slopes, learned, priors)
    step = 1e-4
    expected = (loss_at_rest(problem, priors + (at + step) * (learned - priors))
                - loss_at_rest(problem, priors + (at - step) * (learned - priors))) / (2 * step)
    assert float(freedom.mean) / 0.1 == pytest.approx(expected, rel=1e-3) and abs(expected) > 1e-4
    freedom.judge(slopes, learned, priors)  # one alone is as large as its error; a second that agrees says more
    assert np.sign(float(freedom.value) - at) == -np.sign(expected) or (at == 0.0 and expected > 0)


def judged(slopes, start=0.5) -> Freedom:
    freedom = Freedom(200, CPU)
    freedom.value = torch.tensor(start)
    for slope in slopes:
        freedom.judge(torch.tensor([slope]), torch.tensor([2.0]), torch.ones(1))
    return freedom


def test_it_moves_as_far_as_judgements_agree():
    """Up, and down in any case; against the definition over all judgements, each weighted by 0.9 ** its age."""
    slopes, value = np.random.default_rng(3).normal(-0.6, 1.0, 30), 0.5
    for num in range(1, 31):
        weights = 0.9 ** np.arange(num)[::-1]
        weights /= weights.sum()
        mean, square = (weights * slopes[:num]).sum(), (weights * slopes[:num] ** 2).sum()
        error = square * (weights**2).sum()
        clear = max(0.0, 1 - error / mean**2) if mean < 0 else 1.0
        value = min(max(value - 0.05 * mean / square**0.5 * clear, 0.0), 1.0)
        assert float(judged(slopes[:num]).value) == pytest.approx(value, abs=1e-4)
    assert value > 0.6
    assert judged([-1.0, 1.0] * 20).value < 0.5, "judgements that say nothing together earn nothing"
    assert judged([0.0] * 5).value == 0.5
    few = Freedom(1, CPU)  # one judgement a run is all there is
    few.judge(torch.tensor([-1.0]), torch.tensor([2.0]), torch.ones(1))
    few.judge(torch.tensor([-1.0]), torch.tensor([2.0]), torch.ones(1))
    assert float(few.value) == pytest.approx(1 - 181 / 361, abs=1e-5), "two that agree: half of the way"
    assert judged([-2.0] * 40).value == 1.0 and judged([7.0] * 40).value == 0.0


def test_it_comes_back_from_a_checkpoint():
    first, second = judged([-1.0, -0.5, 0.2, -0.9]), Freedom(200, CPU)
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    for each in (first, second):
        each.judge(torch.tensor([0.4]), torch.tensor([3.0]), torch.ones(1))
    assert 0.5 < first.value == second.value and first.num_judged == second.num_judged == 5
    assert first.mean == second.mean and first.square == second.square


def crowd(share_wrong: float, num: int = 1_200) -> Dataset:
    """Three clouds of features that overlap; this share of the labels is the next class's."""
    rng = np.random.default_rng(7)
    truth = np.arange(num) % 3
    features = (2.0 * np.eye(3, 8)[truth] + rng.normal(size=(num, 8))).astype(np.float32)
    labels = np.where(rng.random(num) < share_wrong, (truth + 1) % 3, truth)
    return Dataset(
        classes=("a", "b", "c"), images=features, labels=labels, clean_labels=truth,
        sample_ids=np.arange(num).astype(str).astype(object), train_idx=np.arange(num), clean_idx=np.arange(0),
        test_idx=np.arange(0), groups=None, exclusions=np.full(num, "", dtype=object), unreadable={},
        pins=np.zeros(num, np.int8), excluded=np.zeros(num, dtype=bool))


@pytest.fixture(scope="module")
def trained() -> dict[float, tuple[Trainer, list]]:
    """A whole training on right labels and one on labels of which 40% are wrong, with their lines of metrics."""
    found = {}
    for share in (0.0, 0.4):
        config = RunConfig.from_dict({"features": "f", "network": "linear", "epochs": 14, "weight_decay": 0.01,
                                      "num_threads": 1, "device": "cpu"})
        trainer, lines = Trainer(config, crowd(share)), []
        for epoch in range(1, config.epochs + 1):
            trainer.run_epoch(epoch, lambda *_: None)
            lines.append(measure(trainer, epoch))
        found[share] = trainer, lines
    return found


def test_weights_are_free_where_labels_are_noisy_and_hardly_where_they_are_right(trained):
    noisy, right = (float(freedom_of(trained[share][0].weights).value) for share in (0.4, 0.0))
    assert noisy > 0.7 and right < 0.5
    line = trained[0.4][1][-1]
    assert line["weight_mean_right"] > 1.1 > 0.8 > line["weight_mean_wrong"]
    assert line["guard_wrong_share"] < 0.1 < 0.3 < line["unguarded_wrong_share"]


def test_a_run_tells_how_free_its_weights_are_and_how_many_labels_it_takes_for_wrong(trained):
    for share, (trainer, lines) in trained.items():
        assert [line["weight_freedom"] is None for line in lines[:4]] == [True, True, True, False], "of the game alone"
        assert lines[-1]["weight_freedom"] == float(freedom_of(trainer.weights).value)
        low, high = (0.2, 0.55) if share else (0.0, 0.1)
        assert low <= lines[0]["label_noise"] <= high, "by predictions that it begins with"
        assert {line["label_noise"] for line in lines} == {lines[0]["label_noise"]}
        assert not any(event["kind"] == "weights_idle" for line in lines[:-1] for event in line["events"])


def test_weights_that_are_not_free_are_spoken_of_once_and_not_as_constant(trained):
    trainer, _ = trained[0.4]
    free, weights = trainer.weights.freedom.value, trainer.record.weight.clone()
    try:
        trainer.record.weight[:] = trainer.class_weights[torch.from_numpy(trainer.data.train_labels)]
        for value, expected in ((0.0, ["weights_idle"]), (0.04, ["weights_idle"]), (0.06, ["weights_constant"])):
            trainer.weights.freedom.value = torch.tensor(value)
            assert [event["kind"] for event in measure(trainer, 14)["events"]] == expected
    finally:
        trainer.weights.freedom.value, trainer.record.weight = free, weights


@pytest.mark.parametrize(("settings", "is_judged"), [
    ({}, True), ({"rotation_groups": None}, False), ({"method": "lrw_random"}, False), ({"method": "erm"}, False),
    ({"method": "meta_weight_net"}, False)])
def test_weights_that_nobody_at_rest_can_judge_are_free(settings, is_judged):
    config = RunConfig.from_dict({"features": "f", "network": "linear", "epochs": 4, "weight_decay": 0.01,
                                  "num_threads": 1, "device": "cpu", **settings})
    trainer = Trainer(config, crowd(0.4, 240))
    assert (freedom_of(trainer.weights) is not None) == is_judged
    assert ("freedom" in trainer.state_dict()) == is_judged
