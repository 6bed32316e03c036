"""Many heads at once against one head a time: the trainer's own, and the definition written out."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from engine.contract.config import RunConfig
from engine.contract.manifest import read_decisions
from engine.data.batches import epoch_order
from engine.data.dataset import Dataset, load_for
from engine.model.networks import make_head
from engine.runtime.rng import stream
from engine.training.head_batch import train_heads
from engine.training.schedule import learning_rate
from engine.training.trainer import Trainer
from tests.fake_features import make_features
from tests.fakes import make_project


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    project = make_project(tmp_path_factory.mktemp("heads") / "p", num_train=90)
    make_features(project, spread=1.0)
    return load_for(_config("linear"), project, read_decisions(project / "none.parquet"), lambda *_: None)


def _config(network: str, **values: object) -> RunConfig:
    return RunConfig.from_dict({"method": "erm", "features": "own", "network": network, "epochs": 3, "batch_size": 16,
                                "device": "cpu", "hidden": 8, **values})


def _features(data: Dataset) -> torch.Tensor:
    return torch.from_numpy(np.array(data.images[data.train_idx]))


@pytest.mark.parametrize("network", ["linear", "mlp"])
def test_one_of_many_is_what_the_trainer_makes(data: Dataset, network: str) -> None:
    is_in = np.ones((4, data.num_train))
    is_in[3, ::4] = 0
    seeds, decays = [3, 4, 3, 4], [0.1, 0.01, 0.001, 0.01]
    heads = train_heads(_config(network), _features(data), data.train_labels, data.num_classes, seeds=seeds,
                        weight_decays=decays, weights=is_in)
    logits = heads.logits(torch.from_numpy(np.array(data.images[data.test_idx])))
    for k in range(3):  # the fourth has fewer samples and takes as many steps as the others
        trainer = Trainer(_config(network, seed=seeds[k], weight_decay=decays[k]), data)
        for epoch in range(1, 4):
            trainer.run_epoch(epoch, lambda *_: None)
        torch.testing.assert_close(logits[k], trainer.predict(data.test_idx)[0], atol=1e-4, rtol=1e-4)
    trainer = Trainer(_config(network, seed=4, weight_decay=0.01), data, is_active=is_in[3] > 0)
    alone = train_heads(_config(network), _features(data), data.train_labels, data.num_classes, seeds=[4],
                        weight_decays=[0.01], weights=is_in[3])
    for epoch in range(1, 4):
        trainer.run_epoch(epoch, lambda *_: None)
    torch.testing.assert_close(alone.logits(torch.from_numpy(np.array(data.images[data.test_idx])))[0],
                               trainer.predict(data.test_idx)[0], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("network", ["linear", "mlp"])
def test_two_heads_are_their_definition(data: Dataset, network: str) -> None:
    config, x, rng = _config(network), _features(data), np.random.default_rng(0)
    labels = rng.integers(0, 3, (2, data.num_train))
    weights = rng.uniform(0.2, 2.0, (2, data.num_train))
    heads = train_heads(config, x, labels, 3, seeds=[1, 1], weight_decays=[0.3, 0.0], weights=weights,
                        dtype=torch.float64)
    for k, decay in enumerate([0.3, 0.0]):
        expected = _trained(config, x.double(), labels[k], weights[k], 1, decay)
        torch.testing.assert_close(heads.logits(x)[k], expected, atol=1e-10, rtol=1e-10)


def _trained(config: RunConfig, x: torch.Tensor, labels: np.ndarray, weights: np.ndarray, seed: int,
             decay: float) -> torch.Tensor:
    """Logits (N, C) of one head by autograd and SGD's equations, sample after sample of the same order."""
    torch.manual_seed(int(stream(seed, "init").integers(2**31)))
    model = make_head(str(config.head), x.shape[1], config.hidden, 3).double()
    velocity = [torch.zeros_like(p) for p in model.parameters()]
    num_steps = -(-len(x) // 16)
    for epoch in range(1, config.epochs + 1):
        order = epoch_order(np.arange(len(x)), num_steps, 16, stream(seed, "order", epoch))
        for step in range(num_steps):
            rows = order[step * 16:(step + 1) * 16]
            losses = F.cross_entropy(model(x[rows])[0], torch.from_numpy(labels[rows]), reduction="none")
            params: list[nn.Parameter] = list(model.parameters())
            grads = torch.autograd.grad((losses * torch.from_numpy(weights[rows])).mean(), params)
            lr = learning_rate(config, ((epoch - 1) * num_steps + step) / (config.epochs * num_steps))
            with torch.no_grad():
                for p, grad, v in zip(params, grads, velocity, strict=True):
                    slope = grad + (decay if p.ndim > 1 else 0.0) * p
                    v.mul_(config.momentum).add_(slope)
                    p.sub_(lr * (slope + config.momentum * v))
    logits: torch.Tensor = model.eval()(x)[0]
    return logits.detach()


def test_heads_of_one_order_and_of_several_agree(data: Dataset) -> None:
    """Sharing an order is a matter of speed: two labels of one seed, beside two other seeds."""
    config, x = _config("mlp"), _features(data)
    other = (data.train_labels + 1) % 3
    labels = np.stack([data.train_labels, other, data.train_labels, other])
    together = train_heads(config, x, labels, 3, seeds=[5, 5, 6, 6], weight_decays=[0.1] * 4).logits(x)
    apart = train_heads(config, x, labels[[1, 2]], 3, seeds=[5, 6], weight_decays=[0.1] * 2).logits(x)
    torch.testing.assert_close(together[[1, 2]], apart, atol=1e-4, rtol=1e-4)


def test_training_can_be_stopped_between_two_steps(data: Dataset) -> None:
    def on_step(done: int, total: int) -> None:
        assert total == 18
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_heads(_config("linear"), _features(data), data.train_labels, 3, seeds=[0], weight_decays=[0.1],
                    on_step=on_step)
