"""The baselines and controls: early stopping, RHO-loss and Fast Sample Reweighting, against values worked out here."""

import copy
import dataclasses
import io

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch
from torch.nn import functional as F
from typer.testing import CliRunner

from engine.__main__ import app
from engine.contract.config import RunConfig
from engine.contract.manifest import DECISIONS_NAME, ManifestError, read_decisions
from engine.contract.method_config import LOSSES
from engine.contract.run_dir import RunDir
from engine.contract.settings import ConfigError
from engine.data.batches import augment, normalize
from engine.data.dataset import Dataset, load_dataset
from engine.molere import fsr, rho
from engine.runs import train as engine_train
from engine.runs.cross_fitting import cross_fitted_probabilities, irreducible_losses
from engine.runs.train import resume, train
from engine.runtime.rng import stream
from engine.training.early_stopping import BestEpoch
from engine.training.trainer import Trainer
from tests.engine.runs.test_train import cancel_in_epoch, equal_runs
from tests.engine.training.test_trainer import config_of, run_epochs, same_parameters
from tests.fakes import make_project

NOISY = {"method": "erm", "validation": "random", "val_fraction": 0.3, "select_best": True, "epochs": 5, "lr": 0.3}


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Dataset:
    project = make_project(tmp_path_factory.mktemp("p") / "fake", num_train=90, size=8)
    return load_dataset(project, read_decisions(project / "none"), None, lambda *_: None)


def equal_states(a: dict, b: dict) -> bool:
    return set(a) == set(b) and all(torch.equal(a[k], b[k]) for k in a)


# -- early stopping


@pytest.mark.parametrize(("accuracies", "expected"), [((0.5, 0.8, 0.8, 0.7), 2), ((0.0, 0.0), 1), ((0.1, 0.2, 0.3), 3)])
def test_the_first_of_the_best_epochs_is_kept_and_given_back_exactly(accuracies, expected):
    model, best, states = torch.nn.BatchNorm1d(3), BestEpoch(), {}
    for epoch, accuracy in enumerate(accuracies, 1):
        torch.nn.init.normal_(model.weight)
        model(torch.randn(4, 3))
        states[epoch] = copy.deepcopy(model.state_dict())
        best.consider(epoch, accuracy, model)
    torch.nn.init.zeros_(model.weight)
    best.restore(model)
    assert best.epoch == expected and best.accuracy == accuracies[expected - 1]
    assert equal_states(model.state_dict(), states[expected])


def test_after_the_last_epoch_the_classifier_is_the_best_one_on_the_routed_by_given_label(data, monkeypatch):
    trainer, states, scores = Trainer(config_of(**NOISY), data), {}, {}
    consider = BestEpoch.consider

    def watching(self, epoch, accuracy, model):
        routed = trainer.data.train_idx[trainer.epoch_roles.routed]
        logits, _ = trainer.predict(routed)
        states[epoch] = copy.deepcopy(model.state_dict())
        scores[epoch] = float((logits.argmax(1).numpy() == data.labels[routed]).mean())
        assert accuracy == pytest.approx(scores[epoch])
        # Accuracies as if epoch 2 were the best: whichever it is, the last one must not simply stay.
        consider(self, epoch, {1: 0.1, 2: 0.9}.get(epoch, 0.5), model)

    monkeypatch.setattr(BestEpoch, "consider", watching)
    run_epochs(trainer, range(1, 6))
    assert len(scores) == 5 and trainer.best.epoch == 2
    assert equal_states(trainer.model.state_dict(), states[2])
    assert not equal_states(states[5], states[2])


def test_early_stopping_changes_nothing_before_the_end_and_reads_neither_test_nor_clean(data):
    with_it, without = Trainer(config_of(**NOISY), data), Trainer(config_of(**NOISY | {"select_best": False}), data)
    blind = dataclasses.replace(data, clean_idx=data.clean_idx[:0], test_idx=data.test_idx[:0])
    assert same_parameters(run_epochs(with_it, range(1, 5)), run_epochs(without, range(1, 5)))
    alone = run_epochs(Trainer(config_of(**NOISY), blind), range(1, 6))
    assert same_parameters(run_epochs(with_it, range(5, 6)), alone)


def test_restored_in_the_last_epoch_early_stopping_still_knows_the_best(data):
    whole = run_epochs(Trainer(config_of(**NOISY), data), range(1, 6))
    restored = Trainer(config_of(**NOISY), data)
    restored.load_state_dict(copy.deepcopy(run_epochs(Trainer(config_of(**NOISY), data), range(1, 5)).state_dict()))
    run_epochs(restored, range(5, 6))
    assert restored.best.epoch == whole.best.epoch and same_parameters(whole, restored)


@pytest.mark.parametrize("values", [{"method": "erm"}, {"validation": "none"}, {"validation": "clean"}])
def test_early_stopping_wants_held_out_samples(values):
    with pytest.raises(ConfigError, match="select_best needs validation samples held out of training; got validation "
                                          "source (none|clean); choose validation from random, easy, hard, learned"):
        RunConfig(select_best=True, **values)


def test_the_reports_are_those_of_the_restored_classifier(tmp_path, monkeypatch):
    project = make_project(tmp_path / "fake", num_train=60, size=8)
    monkeypatch.setattr(BestEpoch, "consider", lambda self, epoch, accuracy, model, before=BestEpoch.consider: before(
        self, epoch, 1.0 if epoch == 1 else accuracy, model))
    run = train(config_of(**NOISY, embedding="none"), project, "stopped")
    metrics, predictions = run.read_metrics(), run.read_predictions().query("split == 'test'")
    assert metrics["clean_accuracy"].iloc[-1] == metrics["clean_accuracy"].iloc[0]
    assert (predictions["label"] == predictions["prediction"]).mean() == metrics["test_accuracy"].iloc[-1]
    assert metrics["events"].iloc[-1] == [{"kind": "went_back", "epoch": 1, "accuracy": 1.0}]


def test_plain_training_on_the_training_part_alone(data):
    trainer = run_epochs(Trainer(config_of(method="erm", validation="random"), data), range(1, 3))
    routed = trainer.epoch_roles.routed
    assert routed.sum() == 9 and not trainer.record.seen.numpy()[routed].any()
    assert set(np.flatnonzero(~routed)) == set(trainer.training_order(2))
    assert (trainer.record.weight[torch.from_numpy(~routed)] == 1).all()


# -- decisions of one's own


def write_decisions(path, **changes):
    columns = {"sample_id": ["train-00000", "train-00001"], "pin": ["validation", None], "excluded": [False, True],
               "label": [None, None]}
    pd.DataFrame(columns | changes).to_parquet(path, index=False)
    return path


def test_a_run_trains_under_the_decisions_it_is_given_and_keeps_a_copy(tmp_path):
    project = make_project(tmp_path / "fake", num_train=60, size=8)
    write_decisions(project / DECISIONS_NAME, sample_id=["train-00002", "train-00003"])
    given = write_decisions(tmp_path / "mine.parquet")
    run = train(config_of(method="erm", epochs=1, embedding="none"), project, "first", decisions=given)
    signals = run.read_signals().set_index("sample_id")["role"]
    assert signals["train-00000"] == "validation" and signals["train-00001"] == "excluded"
    assert (signals[["train-00002", "train-00003"]] == "train").all()
    assert pq.read_table(run.decisions_path).equals(pq.read_table(given))


@pytest.mark.parametrize(("changes", "message"), [
    ({"pin": ["test", None]}, "pin must be train, validation or null in every row of .*; row 1 has 'test'"),
    ({"sample_id": ["a", "a"]}, "sample_id must be there and unique in every row of .*; row 2 has 'a'"),
    ({"excluded": [True, None]}, "excluded must be true or false in every row of .*; row 2 has None"),
])
def test_wrong_decisions_are_refused_in_one_line_and_leave_no_run(tmp_path, changes, message):
    project = make_project(tmp_path / "fake", num_train=12, size=8)
    file = write_decisions(tmp_path / "wrong.parquet", **changes)
    with pytest.raises(ManifestError, match=message) as caught:
        train(config_of(), project, "first", decisions=file)
    assert "\n" not in str(caught.value) and not RunDir.of(project, "first").path.exists()


@pytest.mark.parametrize(("content", "message"), [
    (None, "decisions must be a Parquet file with the columns sample_id, pin, excluded, label; .*absent"),
    (b"text", "decisions must be a Parquet file with the columns .*: "),
    (pd.DataFrame({"sample_id": ["a"], "pin": ["train"]}), "lacks excluded; it has sample_id, pin"),
])
def test_a_file_that_holds_no_decisions_is_refused(tmp_path, content, message):
    file = tmp_path / "absent.parquet"
    if isinstance(content, bytes):
        file.write_bytes(content)
    elif content is not None:
        content.to_parquet(file)
    with pytest.raises(ManifestError, match=message) as caught:
        train(config_of(), make_project(tmp_path / "fake", num_train=12, size=8), "first", decisions=file)
    assert "\n" not in str(caught.value)


def test_the_command_line_takes_decisions_for_a_new_run_alone(tmp_path):
    project = make_project(tmp_path / "fake", num_train=12, size=8)
    file = write_decisions(tmp_path / "mine.parquet")
    settings = ["--method", "erm", "--set", "epochs=1", "--set", "embedding=none", "--decisions", str(file)]
    done = CliRunner().invoke(app, ["train", str(project), "--name", "first", *settings])
    kept = RunDir.of(project, "first").decisions_path
    assert done.exit_code == 0 and pq.read_table(kept).equals(pq.read_table(file))
    refused = CliRunner().invoke(app, ["train", str(project), "--resume", "first", "--decisions", str(file)])
    assert str(refused.exception) == "a resumed run keeps what it began with; got --decisions; leave it out"


# -- RHO-loss


def rho_trainer(data, irreducible=None, **changes) -> Trainer:
    values = np.random.default_rng(1).random(data.num_train) * 2 if irreducible is None else irreducible
    return Trainer(config_of(method="rho", **{"rho_fraction": 0.25, **changes}), data, irreducible=values)


def test_each_step_trains_on_the_highest_reducible_losses_of_its_candidates(data):
    """A naive loop over the candidates with a copy of the classifier; irreducible losses that overrule the losses."""
    irreducible = np.random.default_rng(1).normal(0, 2, data.num_train)
    trainer = rho_trainer(data, irreducible, augment="shift_flip", batch_size=8)
    trainer.start_epoch(1)
    order = trainer.training_order(1)
    assert trainer.draw_size == 32 and len(order) == 12 * 32
    for step in range(3):
        rows, model = order[step * 32:(step + 1) * 32], copy.deepcopy(trainer.model).train()
        naive = copy.deepcopy(model)
        images = augment(normalize(torch.from_numpy(data.images[data.train_idx[rows]])), "shift_flip",
                         stream(0, "augment", 1, step))
        losses = F.cross_entropy(model(images)[0], torch.from_numpy(data.train_labels[rows]), reduction="none")
        scores = {int(row): loss - irreducible[row] for row, loss in
                  reversed(list(zip(rows, losses.tolist(), strict=True)))}  # of two occurrences the first counts
        expected = sorted(scores, key=lambda row: scores[row], reverse=True)[:8]
        trainer.record.start_epoch()
        list(trainer.run_steps(1, [step]))
        assert set(np.flatnonzero(trainer.record.seen.numpy())) == set(expected)
        assert (trainer.record.weight.numpy()[expected] == 1).all()
        naive(images[sorted(rows.tolist().index(row) for row in expected)])
        for ours, own in zip(trainer.model.buffers(), naive.buffers(), strict=True):
            torch.testing.assert_close(ours, own, rtol=1e-4, atol=1e-6, msg="running statistics of the chosen alone")
    assert trainer.observations.totals["samples"] == 3 * 8


def test_choosing_leaves_no_trace_but_last_known_values(data):
    trainer = rho_trainer(data)
    trainer.start_epoch(1)
    before, rows = copy.deepcopy(trainer.model.state_dict()), np.arange(40)
    images, labels = normalize(torch.from_numpy(data.images[data.train_idx[rows]])), torch.from_numpy(
        data.train_labels[rows])
    trainer.model.train()
    chosen = rho.choose(trainer.model, images, labels, rows, trainer.irreducible, 16, trainer.record)
    t = trainer.record.state_dict()
    assert len(chosen) == 16 and (np.diff(chosen) > 0).all() and equal_states(before, trainer.model.state_dict())
    assert t["train_epochs"].sum() == 0 and not t["seen"].any() and t["weight"].isnan().all()
    assert t["margin"].isfinite().nonzero().flatten().tolist() == rows.tolist()


def test_nobody_is_chosen_twice_where_the_order_starts_over(data):
    trainer, rows = rho_trainer(data), np.array([5, 3, 5, 3, 7, 9])
    images, labels = normalize(torch.from_numpy(data.images[data.train_idx[rows]])), torch.from_numpy(
        data.train_labels[rows])
    trainer.model.train()
    values = torch.zeros(data.num_train)
    chosen = rho.choose(trainer.model, images, labels, rows, values, 4, trainer.record)
    assert sorted(rows[chosen]) == [3, 5, 7, 9]
    assert len(rho.choose(trainer.model, images, labels, rows, values, 6, trainer.record)) == 6


def test_training_on_every_candidate_is_plain_training_bit_for_bit(data):
    plain = run_epochs(Trainer(config_of(method="erm"), data), range(1, 4))
    assert same_parameters(plain, run_epochs(rho_trainer(data, rho_fraction=1.0), range(1, 4)))
    assert not same_parameters(plain, run_epochs(rho_trainer(data), range(1, 4)))


def test_rho_takes_the_steps_of_plain_training_and_candidates_that_may_train(data):
    pins, excluded = np.zeros(data.num_train, np.int8), np.zeros(data.num_train, bool)
    pins[:3], excluded[3:6] = -1, True
    trainer, steps = rho_trainer(dataclasses.replace(data, pins=pins, excluded=excluded)), []
    trainer.run_epoch(1, lambda step, _: steps.append(step))
    order = trainer.training_order(1)
    assert steps == list(range(1, 7)) and len(order) == 6 * 64, "84 active samples, 16 a step, 64 candidates"
    assert sorted(order[:84]) == list(range(6, 90)), "nobody comes again before all have come"
    assert not trainer.record.has_features[3:6].any() and not trainer.record.seen[:6].any()


@pytest.mark.parametrize(("batch_size", "fraction", "num", "expected"),
                         [(32, 0.1, 5000, 320), (32, 0.1, 100, 100), (32, 1.0, 5000, 32), (32, 0.1, 8, 32)])
def test_candidates_are_a_batch_over_the_fraction_as_far_as_there_are_samples(batch_size, fraction, num, expected):
    assert rho.num_candidates(batch_size, fraction, num) == expected


def test_irreducible_losses_come_from_a_model_that_trained_on_the_other_half(data, tmp_path):
    excluded = np.zeros(data.num_train, bool)
    excluded[:4] = True
    some, said = dataclasses.replace(data, excluded=excluded), []
    config = config_of(method="rho", epochs=2)
    probs = cross_fitted_probabilities(config, some, lambda *words: said.append(words), keep=tmp_path)
    losses = irreducible_losses(probs, some)
    own = probs[np.arange(4, 90), data.train_labels[4:]]
    np.testing.assert_allclose(losses[4:], -np.log(own), rtol=1e-4, atol=1e-6)
    assert np.isnan(losses[:4]).all() and np.isnan(probs[:4]).all()
    np.testing.assert_allclose(probs[4:].sum(1), 1, rtol=1e-5)
    halves = [np.load(tmp_path / f"fold-{fold}.npy") for fold in (0, 1)]
    assert sum(map(len, halves)) == 86 and {words for words, _ in said} == {
        f"fold {fold} of 2, epoch {epoch} of 2" for fold in (1, 2) for epoch in (1, 2)}
    # A sample's own pixels and label train the other half's model alone.
    labels = data.labels.copy()
    labels[data.train_idx[10]] = (labels[data.train_idx[10]] + 1) % 3
    changed = cross_fitted_probabilities(config, dataclasses.replace(some, labels=labels), lambda *_: None)
    is_same = (changed == probs).all(1)
    assert is_same[10] and 30 < is_same[4:].sum() < 60
    said.clear()
    np.testing.assert_array_equal(cross_fitted_probabilities(config, some, lambda *w: said.append(w), tmp_path), probs)
    assert not said, "finished folds are read, not trained"


# -- Fast Sample Reweighting


def head_step(weight, bias, features, labels, weights, lr):
    """float64: the head after one step on mean(w l), sample by sample."""
    w, b = weight.copy(), bias.copy()
    for h, y, share in zip(features, labels, weights, strict=True):
        z = weight @ h + bias
        p = np.exp(z - z.max()) / np.exp(z - z.max()).sum()
        p[y] -= 1
        w -= lr * share / len(labels) * np.outer(p, h)
        b -= lr * share / len(labels) * p
    return w, b


def mean_loss(weight, bias, features, labels):
    z = features @ weight.T + bias
    return np.log(np.exp(z).sum(1)) - z[np.arange(len(labels)), labels]


def test_the_buffer_holds_as_many_of_each_class_and_the_highest_values():
    labels = np.repeat([0, 1, 2], [30, 12, 3])
    values, rng = np.random.default_rng(0).random(45), np.random.default_rng(1)
    buffer, may_enter = fsr.ProxyBuffer(45, torch.device("cpu")), np.ones(45, bool)
    may_enter[[values[:30].argmax(), 44]] = False
    buffer.observe(torch.arange(45), torch.from_numpy(values).float())
    buffer.refill(labels, may_enter, 0.35, 3, rng)
    for c, num in ((0, 5), (1, 5), (2, 2)):  # round(0.35 x 43 / 3) of each class, or what there is
        rows = np.flatnonzero((labels == c) & may_enter)
        assert set(np.flatnonzero(buffer.members & (labels == c))) == set(rows[np.argsort(-values[rows])[:num]])


def test_the_first_buffer_is_random_and_the_unknown_come_last():
    labels, everybody = np.arange(60) % 3, np.ones(60, bool)
    buffer, drawn = fsr.ProxyBuffer(60, torch.device("cpu")), []
    for seed in (0, 0, 1):
        buffer.refill(labels, everybody, 0.2, 3, np.random.default_rng(seed))
        drawn.append(buffer.members)
        assert np.bincount(labels[buffer.members]).tolist() == [4, 4, 4]
    assert (drawn[0] == drawn[1]).all() and (drawn[0] != drawn[2]).any()
    buffer.observe(torch.tensor([3, 6]), torch.tensor([-1.0, -2.0]))
    buffer.refill(labels, everybody, 0.05, 3, np.random.default_rng(0))
    assert np.flatnonzero(buffer.members & (labels == 0)).tolist() == [3], "a bad value is more than none"


def test_values_are_a_moving_average():
    buffer = fsr.ProxyBuffer(3, torch.device("cpu"))
    for value in (1.0, 0.0, 2.0):
        buffer.observe(torch.tensor([1]), torch.tensor([value]))
    assert buffer.values.tolist() == pytest.approx([0, 0.1 * 0.81 + 0.2, 0])
    assert buffer.is_known.tolist() == [False, True, False]


@pytest.mark.parametrize("val_loss", LOSSES)
def test_online_weights_are_a_naive_loss_after_a_step_differentiated_by_each_weight(data, val_loss):
    """float64 and central differences over the head's step, which knows nothing of the closed form."""
    settings = {"val_batch_size": 500, "val_loss": val_loss, "hypergradient": "last_layer"}
    trainer = Trainer(config_of(method="fsr", warmup_fraction=0.0, reweighter=settings), data)
    trainer.start_epoch(1)
    torch.manual_seed(0)
    torch.nn.init.normal_(trainer.model.head.weight, std=0.3)
    order, pool = trainer.training_order(1), trainer.validation_pool()
    assert set(pool) == set(data.train_idx[trainer.proxy.members]) and len(pool) == 3
    model, idx = copy.deepcopy(trainer.model).train(), data.train_idx[order[:16]]
    with torch.no_grad():
        features = model(normalize(torch.from_numpy(data.images[idx])))[1].double().numpy()
        features_V = model(normalize(torch.from_numpy(data.images[pool])))[1].double().numpy()
    weight, bias = (p.detach().double().numpy() for p in (model.head.weight, model.head.bias))

    counts = np.ones(3)  # what each of the buffer, one of a class, counts: fixed, by the head after a step on weights 1
    if val_loss.startswith("balanced"):
        stepped = head_step(weight, bias, features, data.labels[idx], np.ones(16), trainer.config.lr)
        forces = np.exp(-0.7 * mean_loss(*stepped, features_V, data.labels[pool]))
        counts = forces.mean() / forces
        assert counts.min() > 0.1 and counts.max() < 10 and counts.std() > 0.1, "none at a bound, nor all alike"

    def loss_after(weights):
        own = -mean_loss(*head_step(weight, bias, features, data.labels[idx], weights, trainer.config.lr), features_V,
                         data.labels[pool])
        return (counts * (-own if val_loss == "cross_entropy" else (1 - np.exp(0.7 * own)) / 0.7)).mean()

    slopes = np.array([(loss_after(1 + 1e-4 * unit) - loss_after(1 - 1e-4 * unit)) / 2e-4 for unit in np.eye(16)])
    expected = np.maximum(0, -slopes)
    assert 0 < (expected == 0).sum() < 16
    list(trainer.run_steps(1, [0]))
    weights = trainer.record.weight[torch.from_numpy(order[:16])].double().numpy()
    np.testing.assert_allclose(weights, expected / expected.mean(), rtol=1e-2, atol=1e-3)
    # The step descends that weighted loss.
    losses = F.cross_entropy(model(normalize(torch.from_numpy(data.images[idx])))[0],
                             torch.from_numpy(data.labels[idx]), reduction="none")
    (torch.from_numpy(weights).float() * losses).mean().backward()
    for ours, naive in zip(trainer.model.parameters(), model.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, naive.grad, rtol=1e-2, atol=1e-4)


def test_weights_are_zero_where_nobody_helps_and_of_mean_one_elsewhere():
    assert fsr.online_weights(torch.tensor([0.5, 0.0, 2.0])).tolist() == [0, 0, 0]
    assert fsr.online_weights(1e-9 * torch.tensor([-3.0, 1.0, -1.0, 0.0])).tolist() == pytest.approx([3, 0, 1, 0])


def test_a_meta_margin_is_the_fall_of_the_loss_in_a_naive_step_of_the_head():
    rng = np.random.default_rng(0)
    features, labels = rng.normal(size=(7, 5)), rng.integers(0, 3, 7)
    weight, bias = rng.normal(size=(3, 5)), rng.normal(size=3)
    before = mean_loss(weight, bias, features, labels)
    after = mean_loss(*head_step(weight, bias, features, labels, np.ones(7), 0.3), features, labels)
    logits = torch.from_numpy(features @ weight.T + bias)
    shown = fsr.meta_margins(logits, torch.from_numpy(features), torch.from_numpy(labels), 0.3)
    np.testing.assert_allclose(shown.numpy(), before - after, rtol=1e-9)


def test_a_meta_margin_looks_ahead_of_the_step_with_its_momentum(data, monkeypatch):
    trainer, seen = Trainer(config_of(method="fsr", proxy_value="meta_margin"), data), []
    trainer.start_epoch(1)
    order = trainer.training_order(1)
    list(trainer.run_steps(1, [0]))
    model, idx = copy.deepcopy(trainer.model).train(), data.train_idx[order[16:32]]
    past = [trainer.classifier.optimizer.state[p]["momentum_buffer"].double().numpy().copy() for p in
            trainer.model.head.parameters()]
    with torch.no_grad():
        features = model(normalize(torch.from_numpy(data.images[idx])))[1].double().numpy()
    weight, bias = (p.detach().double().numpy() for p in (model.head.weight, model.head.bias))
    w, b = head_step(weight, bias, features, data.labels[idx], np.ones(16), trainer.config.lr)
    after = mean_loss(w - 0.9 * trainer.config.lr * past[0], b - 0.9 * trainer.config.lr * past[1], features,
                      data.labels[idx])
    monkeypatch.setattr(fsr.ProxyBuffer, "observe", lambda self, rows, values: seen.append((rows, values)))
    list(trainer.run_steps(1, [1]))
    (rows, values), = seen
    expected = dict(zip(order[16:32], mean_loss(weight, bias, features, data.labels[idx]) - after, strict=True))
    np.testing.assert_allclose(values.numpy(), [expected[int(row)] for row in rows], rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("value", ["confidence", "meta_margin"])
def test_each_epoch_the_buffer_is_filled_by_what_training_has_seen(data, monkeypatch, value):
    pins, excluded = np.zeros(data.num_train, np.int8), np.zeros(data.num_train, bool)
    pins[:2], excluded[2:4] = -1, True
    some = dataclasses.replace(data, pins=pins, excluded=excluded)
    trainer = Trainer(config_of(method="fsr", proxy_value=value, proxy_fraction=0.2), some)
    naive, before, labels = np.zeros(data.num_train), fsr.ProxyBuffer.observe, data.train_labels
    observe = trainer.record.observe_training

    def watching(rows, logits, features, labels_B, losses, weights, is_judged):
        if value == "confidence":
            own = torch.softmax(logits, 1)[torch.arange(len(rows)), labels_B].numpy()
            naive[rows.numpy()] = 0.9 * naive[rows.numpy()] + 0.1 * own
        observe(rows, logits, features, labels_B, losses, weights, is_judged)

    def noting(self, rows, values):
        if value == "meta_margin":
            naive[rows.numpy()] = 0.9 * naive[rows.numpy()] + 0.1 * values.numpy()
        before(self, rows, values)

    trainer.record.observe_training = watching
    monkeypatch.setattr(fsr.ProxyBuffer, "observe", noting)
    for epoch in (1, 2, 3):
        run_epochs(trainer, range(epoch, epoch + 1))
        assert np.bincount(labels[trainer.proxy.members]).tolist() == [6, 6, 6]
        assert trainer.proxy.members[:4].sum() == 0 and trainer.heldout.nonzero()[0].tolist() == [0, 1]
        assert set(np.flatnonzero(trainer.proxy.members)) <= set(trainer.training_order(epoch)), "they train as well"
        assert set(trainer.validation_pool()) == set(data.train_idx[trainer.proxy.members]) | set(data.train_idx[:2])
    trainer.start_epoch(4)
    for c in range(3):
        rows = np.flatnonzero((labels == c) & (np.arange(90) >= 4))
        assert set(np.flatnonzero(trainer.proxy.members & (labels == c))) == set(rows[np.argsort(-naive[rows])[:6]])


def test_in_warmup_fast_sample_reweighting_is_plain_training(data):
    plain, fast = Trainer(config_of(method="erm"), data), Trainer(config_of(method="fsr"), data)
    assert same_parameters(run_epochs(plain, range(1, 3)), run_epochs(fast, range(1, 3)))
    assert not same_parameters(run_epochs(plain, range(3, 4)), run_epochs(fast, range(3, 4)))
    weights = fast.record.weight
    assert (weights >= 0).all() and (weights == 0).any() and float(weights.mean()) == pytest.approx(1, abs=1e-5)


def test_the_weight_network_of_meta_weight_net_is_that_of_its_paper(data):
    trainer = Trainer(config_of(method="meta_weight_net"), data)
    assert [tuple(p.shape) for p in trainer.weighting.reweighter.parameters()] == [(100, 1), (100,), (1, 100), (1,)]
    torch.nn.init.constant_(trainer.weighting.reweighter.body[2].weight, -1.0)
    weights = trainer.weighting.reweighter(torch.tensor([[0.0], [50.0]]))
    assert float(weights.detach().mean()) == pytest.approx(1) and weights.detach().min() < 1e-3, "no lower bound"


# -- every one of them goes on where it was stopped


@pytest.mark.parametrize("values", [
    NOISY, {"method": "rho", "rho_fraction": 0.25}, {"method": "fsr"}, {"method": "fbr"}, {"method": "elr"},
    {"method": "cvar_dro", "label_smoothing": 0.1}, {"method": "erm", "mixup": 0.4}])
def test_restored_in_mid_epoch_a_baseline_goes_on_bit_for_bit(data, values):
    class Stop(Exception):
        pass

    def stop(step, _):
        if step == 3:
            raise Stop

    config, irreducible = config_of(**values), np.random.default_rng(1).random(data.num_train)
    whole, cut, restored = (Trainer(config, data, irreducible=irreducible) for _ in range(3))
    run_epochs(whole, range(1, config.epochs + 1))
    with pytest.raises(Stop):
        run_epochs(cut, range(1, 3)).run_epoch(3, stop)
    buffer = io.BytesIO()
    torch.save(cut.state_dict(), buffer)
    buffer.seek(0)
    restored.load_state_dict(torch.load(buffer, weights_only=True))
    restored.run_epoch(3, lambda *_: None, first_step=3)
    run_epochs(restored, range(4, config.epochs + 1))
    assert same_parameters(whole, restored)
    for name, value in whole.record.state_dict().items():
        assert torch.equal(value.nan_to_num(-9), restored.record.state_dict()[name].nan_to_num(-9)), name


@pytest.mark.parametrize("method", ["rho", "fsr", "fbr", "elr", "jtt", "oof_exclude"])
def test_a_cancelled_run_of_a_baseline_resumes_to_the_same_end(tmp_path, monkeypatch, method):
    project = make_project(tmp_path / "fake", num_train=60, size=8)
    config = config_of(method=method, embedding="pca", epochs=3)
    whole = train(config, project, "whole")
    asking = cancel_in_epoch(monkeypatch, epoch=3, step=1)
    asking.run = RunDir.of(tmp_path, "elsewhere")  # let the first training on folds pass
    asking.run.path.mkdir(parents=True)
    monkeypatch.setattr("engine.runs.train._train_epoch", lambda *args, before=engine_train._train_epoch: (
        setattr(asking, "run", RunDir.of(project, "cut")), before(*args))[1])
    assert train(config, project, "cut").read_status()["state"] == "cancelled"
    monkeypatch.undo()
    assert resume(project, "cut").read_status()["state"] == "done"
    equal_runs(whole, RunDir.of(project, "cut"))
