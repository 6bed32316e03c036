"""What MOLERE is held against: ELR, FBR, CVaR-DRO, JTT, exclusion by confidence, given weights, label smoothing, mixup,
each against its definition worked out here."""

import copy
import dataclasses
import math
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from scipy.optimize import linprog
from torch.nn import functional as F

from engine.contract.config import RunConfig
from engine.contract.manifest import MANIFEST_NAME, ManifestError, read_decisions
from engine.data.batches import normalize
from engine.data.dataset import Dataset, load_dataset, load_for
from engine.molere.meta_step import TrainBatch, hypergradient
from engine.molere.similarity import Similarity, directions
from engine.molere.weight_sources import Given, worst_weights
from engine.runs import first_training
from engine.runs.cross_fitting import cross_fitted_probabilities
from engine.runs.train import train
from engine.runtime import distributed
from engine.runtime.rng import stream
from engine.training.objective import EarlyLearning, Objective, agreement_penalty, draw_mix
from engine.training.trainer import Trainer
from tests.engine.training.test_trainer import config_of, run_epochs, same_parameters
from tests.fake_features import make_features
from tests.fakes import make_project

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    made = make_project(tmp_path_factory.mktemp("p") / "fake", num_train=90, size=8)
    make_features(made)
    return made


@pytest.fixture(scope="module")
def data(project) -> Dataset:
    return load_dataset(project, read_decisions(project / "none"), None, lambda *_: None)


@pytest.fixture(scope="module")
def heads(project) -> Dataset:
    return load_for(head_config(), project, read_decisions(project / "none"), lambda *_: None)


def head_config(**changes) -> RunConfig:
    return config_of(**{"features": "own", "network": "linear", "weight_decay": 0.01, "method": "erm", **changes})


def batch_of(rows: np.ndarray, logits: torch.Tensor, labels: torch.Tensor) -> TrainBatch:
    return TrainBatch(rows, torch.from_numpy(rows), torch.zeros(len(rows), 1), labels, logits.detach(),
                      torch.zeros(len(rows), 1), F.cross_entropy(logits, labels, reduction="none").detach())


# -- ELR


def test_the_penalty_has_the_gradient_that_the_paper_gives():
    """Lemma 2: dlog(1 - <p, t>)/dz_c = p_c / (1 - <p, t>) sum_k (t_k - t_c) p_k."""
    rng = np.random.default_rng(0)
    logits, targets = rng.normal(size=(9, 4)), 0.9 * rng.dirichlet(np.ones(4), size=9)
    z = torch.tensor(logits, requires_grad=True)
    value = agreement_penalty(z, torch.from_numpy(targets))
    value.sum().backward()
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    inner = (p * targets).sum(1)
    np.testing.assert_allclose(value.detach().numpy(), np.log(1 - inner), rtol=1e-12)
    expected = np.array([[p[i, c] / (1 - inner[i]) * sum((targets[i, k] - targets[i, c]) * p[i, k] for k in range(4))
                          for c in range(4)] for i in range(9)])
    np.testing.assert_allclose(z.grad.numpy(), expected, rtol=1e-10)


def test_targets_are_temporal_ensembles_and_a_row_counts_once_a_step():
    rng = np.random.default_rng(1)
    early = EarlyLearning(3.0, 0.7, 5, 3, CPU)
    naive = np.zeros((5, 3))
    for rows in ([0, 2], [2, 4, 2], [2]):
        logits = torch.from_numpy(rng.normal(size=(len(rows), 3))).float()
        penalty = early.penalty(batch_of(np.array(rows), logits, torch.zeros(len(rows), dtype=torch.int64)), logits)
        p = torch.softmax(logits, 1).double().numpy()
        for row in set(rows):
            naive[row] = 0.7 * naive[row] + 0.3 * p[rows.index(row)]
        expected = [3.0 * math.log(1 - p[i] @ naive[row]) for i, row in enumerate(rows)]
        np.testing.assert_allclose(penalty.numpy(), expected, rtol=1e-5)
    np.testing.assert_allclose(early.targets_NC.numpy(), naive, rtol=1e-5)


def test_a_step_of_elr_is_a_naive_step_on_both_terms(data):
    trainer = Trainer(config_of(method="elr", controls={"elr_strength": 2.0, "elr_memory": 0.6}), data)
    trainer.start_epoch(1)
    model, rows = copy.deepcopy(trainer.model).train(), trainer.training_order(1)[:16]
    logits, _ = model(normalize(torch.from_numpy(data.images[data.train_idx[rows]])))
    p = torch.softmax(logits, 1)
    labels = torch.from_numpy(data.labels[data.train_idx[rows]])
    (F.cross_entropy(logits, labels) + 2.0 * torch.log(1 - (p * (0.4 * p.detach())).sum(1)).mean()).backward()
    list(trainer.run_steps(1, [0]))
    for ours, naive in zip(trainer.model.parameters(), model.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, naive.grad, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(trainer.objective.early.targets_NC[rows], 0.4 * p.detach(), rtol=1e-4, atol=1e-5)
    assert float(trainer.objective.early.targets_NC.sum()) == pytest.approx(0.4 * 16, rel=1e-3), "and nobody else's"
    assert trainer.record.loss[rows].isfinite().all(), "the record has cross-entropy, which is never below 0"
    assert (trainer.record.loss[rows] >= 0).all()


def test_the_parts_of_a_batch_make_the_whole_objective_and_all_processes_remember_alike(monkeypatch):
    rng = np.random.default_rng(2)
    rows, labels = rng.permutation(40)[:11], torch.from_numpy(rng.integers(0, 4, 11))
    logits, weights = torch.from_numpy(rng.normal(size=(11, 4))), torch.from_numpy(rng.random(11))
    config = config_of(method="elr", label_smoothing=0.1)

    def value(part: slice) -> tuple[float, torch.Tensor]:
        objective = Objective(config, 40, 4, CPU)
        objective.early.targets_NC = torch.from_numpy(np.random.default_rng(3).dirichlet(np.ones(4), size=40))
        losses = F.cross_entropy(logits[part], labels[part], reduction="none")
        found = objective(batch_of(rows, logits, labels), logits[part], losses, weights, None)
        return float(found), objective.early.targets_NC

    whole, remembered = value(slice(None))
    monkeypatch.setattr(distributed, "size", lambda: 3)
    parts = []
    for rank in range(3):
        monkeypatch.setattr(distributed, "rank", lambda rank=rank: rank)
        found, targets = value(distributed.local_slice(11))
        parts.append(found)
        assert torch.equal(targets, remembered)
    assert np.mean(parts) == pytest.approx(whole, rel=1e-12)


# -- CVaR-DRO


@pytest.mark.parametrize("share", [0.03, 0.25, 0.3, 0.77, 1.0])
def test_worst_weights_solve_the_linear_programme_that_defines_cvar(share):
    losses = np.random.default_rng(4).exponential(size=13)
    found = worst_weights(torch.from_numpy(losses), share).numpy()
    solved = linprog(-losses / 13, A_eq=np.ones((1, 13)) / 13, b_eq=[1.0], bounds=[(0, 1 / share)] * 13)
    np.testing.assert_allclose(found, solved.x, atol=1e-9)
    dual = min(eta + np.maximum(losses - eta, 0).mean() / share for eta in [*losses, 0.0])
    assert (found * losses).mean() == pytest.approx(dual, rel=1e-12), "Rockafellar and Uryasev's form of it"


def test_of_equal_losses_the_first_weigh():
    assert worst_weights(torch.ones(4), 0.5).tolist() == [2.0, 2.0, 0.0, 0.0]


def test_a_step_of_cvar_descends_the_worst_share_alone(heads):
    rare = (heads.train_labels == 0) & (np.arange(90) % 5 > 0)
    some = dataclasses.replace(heads, excluded=rare)
    trainer = Trainer(head_config(method="cvar_dro", class_balance=1.0, controls={"worst_share": 0.25}), some)
    assert np.ptp(trainer.class_weights.numpy()) > 0.5
    trainer.start_epoch(1)
    rows = trainer.training_order(1)[:16]
    x = torch.from_numpy(np.asarray(heads.images[heads.train_idx[rows]])).float()
    labels = torch.from_numpy(heads.train_labels[rows])
    priors = trainer.class_weights[labels]
    losses = priors * F.cross_entropy(trainer.model(x)[0], labels, reduction="none")
    expected = torch.autograd.grad(losses.topk(4).values.mean(), list(trainer.model.head.parameters()))
    list(trainer.run_steps(1, [0]))
    for param, naive in zip(trainer.model.head.parameters(), expected, strict=True):
        torch.testing.assert_close(param.grad, naive, rtol=1e-4, atol=1e-6)


# -- FBR


def naive_direction(h, label, validation, validation_labels, num_classes, others) -> float:
    """From the definition, sample by sample: similarities to each class's validation samples, shifted and signed."""
    classes = [c for c in range(num_classes) if (validation_labels == c).any()]
    share = {c: 1 / (len(classes) * (validation_labels == c).sum()) for c in classes}
    centre = sum(share[y] * v for v, y in zip(validation, validation_labels, strict=True))
    similar = {c: np.mean([(h - centre) @ (v - centre) for v in validation[validation_labels == c]]) for c in classes}
    second = sorted(similar.values())[-2]
    signs = {c: 1 if c == label else -others / (len(classes) - 1) for c in classes}
    return sum(signs[c] * (value - second) for c, value in similar.items()) if label in similar else 0


@pytest.mark.parametrize(("known", "others"), [([0, 1, 2, 3], 3.0), ([0, 2, 3], 1.0)])
def test_directions_are_signed_sums_of_centred_and_shifted_similarities(known, others):
    rng = np.random.default_rng(5)
    validation_labels = rng.permutation(np.repeat(known, [7, 4, 2, 5][:len(known)]))
    validation, features = rng.normal(size=(len(validation_labels), 6)), rng.normal(size=(20, 6))
    labels = rng.integers(0, 4, 20)
    similarity = Similarity(20, 4, 6, CPU)
    similarity.look(torch.from_numpy(validation).float(), torch.from_numpy(validation_labels))
    found = directions(torch.from_numpy(features).float(), torch.from_numpy(labels), similarity.means_CD,
                       similarity.is_known_C, others)
    expected = [naive_direction(h, y, validation, validation_labels, 4, others)
                for h, y in zip(features, labels, strict=True)]
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-4, atol=1e-4)
    assert similarity.is_known_C.tolist() == [c in known for c in range(4)]


def test_one_known_class_says_nothing():
    none = directions(torch.randn(3, 2), torch.tensor([0, 1, 0]), torch.randn(2, 2), torch.tensor([True, False]), 1.0)
    assert none.tolist() == [0, 0, 0]


def test_class_means_are_moving_averages_of_the_batches_that_have_the_class():
    similarity = Similarity(1, 2, 1, CPU)
    for values, labels in (([2.0, 4.0], [0, 0]), ([10.0], [1]), ([0.0, 7.0], [0, 1])):
        similarity.look(torch.tensor(values)[:, None], torch.tensor(labels))
    assert similarity.means_CD[:, 0].tolist() == pytest.approx([0.9 * 3, 0.9 * 10 + 0.7])


def test_a_weight_moves_against_the_batch_once_and_stays_between_0_and_1():
    similarity = Similarity(4, 2, 1, CPU)
    similarity.look(torch.tensor([[-1.0], [1.0]]), torch.tensor([0, 1]))
    rows, features = np.array([2, 0, 2]), torch.tensor([[-1.0], [-3.0], [5.0]])
    found = similarity.weigh(rows, features, torch.tensor([0, 1, 1]), 0.1, 1.0)  # d = 2, -6 and, not looked at, 10
    rms = math.sqrt((2**2 + 6**2) / 2)
    expected = 0.5 + 0.1 * np.array([2, -6]) / rms
    assert similarity.values_N.tolist() == pytest.approx([expected[1], 0.5, expected[0], 0.5])
    assert found.tolist() == pytest.approx(list(np.array([expected[0], expected[1], expected[0]]) /
                                                np.mean([expected[0], expected[1], expected[0]])))
    for _ in range(30):
        similarity.weigh(rows, features, torch.tensor([0, 1, 1]), 0.5, 1.0)
    assert similarity.values_N[[2, 0]].tolist() == [1, 0]


def test_wrong_labels_weigh_little_and_in_warmup_all_weigh_alike(project):
    make_features(project, "sharp", spread=0.2)
    config = head_config(method="fbr", features="sharp", epochs=8, controls={"fbr_rate": 0.3})
    heads = load_for(config, project, read_decisions(project / "none"), lambda *_: None)
    labels = heads.labels.copy()
    wrong = heads.train_idx[::4]
    labels[wrong] = (heads.clean_labels[wrong] + 1) % 3
    noisy = dataclasses.replace(heads, labels=labels)
    clean, random = (Trainer(dataclasses.replace(config, validation=source), noisy) for source in ("clean", None))
    run_epochs(clean, range(1, 5))
    assert clean.epoch_roles.phase == "warmup" and clean.record.weight.allclose(torch.tensor(1.0))
    run_epochs(clean, range(5, 9))
    weights, is_wrong = clean.record.weight.numpy(), noisy.train_labels != noisy.clean_labels[noisy.train_idx]
    assert weights[is_wrong].mean() < 0.3 < 1.2 < weights[~is_wrong].mean()
    run_epochs(random, range(1, 9))
    assert random.epoch_roles.phase == "finish" and random.record.weight.isfinite().all(), "all train at the end"


# -- fixed weights: of the data, of a first training


def test_samples_without_a_weight_change_nothing(heads):
    weights = np.where(np.arange(90) % 3 == 0, 0.0, 2.0)
    given = Given.of_weights(weights, np.ones(90, dtype=bool))
    assert given.weights_N.mean() == pytest.approx(1) and not given.rests_N.any()
    labels = heads.labels.copy()
    labels[heads.train_idx[weights == 0]] = 0
    other = dataclasses.replace(heads, labels=labels)
    one, other = (Trainer(head_config(), each, given=given) for each in (heads, other))
    assert same_parameters(run_epochs(one, range(1, 3)), run_epochs(other, range(1, 3)))
    assert not same_parameters(one, run_epochs(Trainer(head_config(), heads), range(1, 3)))


def with_column(project, out, values) -> None:
    table = pq.read_table(project / MANIFEST_NAME)
    out.mkdir()
    pq.write_table(table.append_column("own", pa.array(values)), out / MANIFEST_NAME)
    shutil.copytree(project / "features", out / "features")


def test_a_column_of_the_data_weighs_and_is_scaled_over_those_who_train(project, tmp_path):
    num = pq.read_table(project / MANIFEST_NAME).num_rows
    values = [None if row == 0 else float(row % 3) for row in range(num)]
    with_column(project, tmp_path / "p", values)
    run = train(head_config(weights_by="own", epochs=2, embedding="none"), tmp_path / "p", "first")
    signals = run.read_signals()
    raw = np.array([1.0 if v is None else v for v in values[:90]])
    np.testing.assert_allclose(signals["weight"], raw / raw.mean(), rtol=1e-5)
    assert (signals["role"] == "train").all()


@pytest.mark.parametrize(("values", "words"), [
    ([-1.0], "a weight must be a number of 0 or more; column 'own' has '-1.0' of sample train-00000; correct"),
    (["heavy"], "column 'own' has 'heavy' of sample train-00000"),
    ([math.inf], "column 'own' has 'inf' of sample train-00000")])
def test_a_weight_that_is_none_is_refused_in_a_line(project, tmp_path, values, words):
    with_column(project, tmp_path / "p", values * pq.read_table(project / MANIFEST_NAME).num_rows)
    config = head_config(weights_by="own")
    with pytest.raises(ManifestError, match=words):
        load_for(config, tmp_path / "p", read_decisions(project / "none"), lambda *_: None)
    with pytest.raises(ManifestError, match="weights_by must name a column of the data; there is no 'gone'"):
        load_for(dataclasses.replace(config, weights_by="gone"), project, read_decisions(project / "none"),
                 lambda *_: None)


def test_jtt_weighs_up_the_errors_of_a_plain_training_that_stopped_early(heads):
    excluded = np.arange(90) == 7
    some = dataclasses.replace(heads, excluded=excluded)
    config = head_config(method="jtt", epochs=5, controls={"first_share": 0.21, "error_weight": 4.0})
    plain = run_epochs(Trainer(head_config(epochs=5), some), range(1, 3))
    logits, _ = plain.predict(some.train_idx)
    said = []
    probs = first_training.first_probabilities(config, some, lambda message, _: said.append(message))
    np.testing.assert_array_equal(probs[~excluded], torch.softmax(logits, 1).numpy()[~excluded])
    assert np.isnan(probs[7]).all() and set(said) == {f"first training, epoch {epoch} of 2" for epoch in (1, 2)}
    is_error = logits.argmax(1).numpy() != some.train_labels
    assert 0 < is_error[~excluded].sum() < 80
    trainer = first_training.second_trainer(config, some, probs)
    weights = np.where(is_error, 4.0, 1.0)
    np.testing.assert_allclose(trainer.given.weights_N[~excluded], (weights / weights[~excluded].mean())[~excluded],
                               rtol=1e-6)
    assert not trainer.record.heldout_epochs.any(), "errors on its own samples are no held-out predictions"
    again = Trainer(head_config(epochs=5), some, given=Given.of_weights(weights, ~excluded))
    assert same_parameters(run_epochs(trainer, range(1, 6)), run_epochs(again, range(1, 6)))


def test_the_least_confident_share_is_left_out_and_who_is_pinned_stays(heads):
    config = head_config(method="oof_exclude", folds=2, epochs=2, controls={"excluded_share": 0.25})
    probs = cross_fitted_probabilities(config, heads, lambda *_: None)
    own = probs[np.arange(90), heads.train_labels]
    pins = np.zeros(90, np.int8)
    pins[own.argmin()] = 1
    some = dataclasses.replace(heads, pins=pins)
    trainer = first_training.second_trainer(config, some, first_training.first_probabilities(
        config, some, lambda *_: None))
    order = np.argsort(own)
    out = set(order[1:1 + round(0.25 * 89)])
    assert set(np.flatnonzero(trainer.given.weights_N == 0)) == out
    kept = trainer.given.weights_N[[row not in out for row in range(90)]]
    assert np.ptp(kept) == 0 and trainer.given.weights_N.mean() == pytest.approx(1)
    assert (trainer.record.heldout_epochs == 1).all()


def test_a_first_training_is_shared_by_configs_that_agree_in_what_it_depends_on():
    jtt = head_config(method="jtt")
    same = dataclasses.replace(jtt, controls=dataclasses.replace(jtt.controls, error_weight=9.0))
    longer = dataclasses.replace(jtt, controls=dataclasses.replace(jtt.controls, first_share=0.9))
    assert first_training.matters(jtt) == first_training.matters(same) != first_training.matters(longer)
    oof, hard = head_config(method="oof_exclude", folds=3), head_config(method="lrw_hard", folds=3)
    assert first_training.matters(oof) == first_training.matters(hard) != first_training.matters(jtt)


# -- label smoothing, mixup


def test_smoothed_and_mixed_losses_are_cross_entropy_with_soft_labels():
    rng = np.random.default_rng(6)
    logits, labels = torch.from_numpy(rng.normal(size=(8, 5))), torch.from_numpy(rng.integers(0, 5, 8))
    weights, mix = torch.from_numpy(rng.random(8)), draw_mix(0.4, 8, np.random.default_rng(7))
    soft = 0.8 * F.one_hot(labels, 5).double() + 0.2 / 5
    losses = F.cross_entropy(logits, labels, reduction="none")
    batch = batch_of(np.arange(8), logits, labels)
    smoothed = Objective(config_of(method="erm", label_smoothing=0.2), 8, 5, CPU)
    expected = -(weights[:, None] * soft * torch.log_softmax(logits, 1)).sum(1).mean()
    torch.testing.assert_close(smoothed(batch, logits, losses, weights, None), expected)
    targets = mix.share * (weights[:, None] * soft) + (1 - mix.share) * (weights[:, None] * soft)[mix.partners]
    torch.testing.assert_close(smoothed(batch, logits, losses, weights, mix),
                               -(targets * torch.log_softmax(logits, 1)).sum(1).mean())
    assert sorted(mix.partners) == list(range(8)) and 0 < mix.share < 1


@pytest.mark.parametrize("kind", ["images", "features"])
def test_a_step_of_mixup_is_a_naive_one_on_mixed_samples_and_the_record_is_of_the_samples_themselves(data, heads, kind):
    some = data if kind == "images" else heads
    settings = {"method": "erm", "mixup": 0.5}
    trainer = Trainer(config_of(**settings) if kind == "images" else head_config(**settings, network="mlp"), some)
    trainer.start_epoch(1)
    model, rows = copy.deepcopy(trainer.model).train(), trainer.training_order(1)[:16]
    own = copy.deepcopy(model)
    x, labels = trainer.store.batch(some.train_idx[rows]), torch.from_numpy(some.train_labels[rows])
    rng = stream(trainer.config.seed, "mixup", 1, 0)
    share, partners = rng.beta(0.5, 0.5), rng.permutation(16)
    mixed, _ = model(share * x + (1 - share) * x[partners])
    soft = share * F.one_hot(labels, 3) + (1 - share) * F.one_hot(labels[partners], 3)
    F.cross_entropy(mixed, soft.float()).backward()
    list(trainer.run_steps(1, [0]))
    for ours, naive in zip(trainer.model.parameters(), model.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, naive.grad, rtol=1e-4, atol=1e-6)
    for ours, naive in zip(trainer.model.buffers(), model.buffers(), strict=True):
        torch.testing.assert_close(ours, naive)  # the second pass leaves the running statistics alone
    trainer.observations.flush(None)
    losses = F.cross_entropy(own(x)[0], labels, reduction="none").detach()
    torch.testing.assert_close(trainer.record.loss[torch.from_numpy(rows)], losses, rtol=1e-4, atol=1e-5)


def test_each_step_mixes_anew(heads, monkeypatch):
    drawn = []
    monkeypatch.setattr("engine.training.trainer.draw_mix", lambda *args: drawn.append(draw_mix(*args)) or drawn[-1])
    run_epochs(Trainer(head_config(mixup=0.5), heads), range(1, 3))
    assert len({mix.share for mix in drawn}) == len(drawn) == 12


def test_hypergradients_are_of_the_loss_that_is_descended(heads):
    trainer = Trainer(head_config(method="lrw_random", label_smoothing=0.3), heads)
    trainer.start_epoch(1)
    rows, idx = np.arange(12), heads.train_idx[np.arange(12)]
    labels = torch.from_numpy(heads.train_labels[rows])
    x = trainer.store.batch(idx)
    torch.nn.init.normal_(trainer.model.head.weight)
    logits, features = trainer.model(x)
    batch = TrainBatch(rows, torch.from_numpy(rows), x, labels, logits.detach(), features.detach(),
                       F.cross_entropy(logits, labels, reduction="none").detach())
    validation = trainer._fresh_batch("validation", trainer.validation_pool(), 1, 0)
    found = {(how, smoothing): hypergradient(
        dataclasses.replace(trainer.config.reweighter, hypergradient=how), trainer.model, batch, torch.ones(12),
        validation, 0.1, smoothing) for how in ("last_layer", "unroll") for smoothing in (0.0, 0.3)}
    torch.testing.assert_close(found["last_layer", 0.3], found["unroll", 0.3], rtol=1e-3, atol=1e-6)
    assert not torch.allclose(found["unroll", 0.3], found["unroll", 0.0], rtol=1e-2)
