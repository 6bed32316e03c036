"""The trainer on small real images: who enters the gradient, what plain weights reproduce, where it refuses."""

import copy
import dataclasses
import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from engine.contract.config import RunConfig
from engine.contract.manifest import read_decisions
from engine.contract.methods import METHODS, TRAINABLE
from engine.data.batches import normalize
from engine.data.dataset import Dataset, load_dataset
from engine.model.networks import Reweighter, make_classifier
from engine.model.prediction import NonFiniteError
from engine.model.record import SignalRecord
from engine.molere import routing
from engine.molere.hypergradient import HYPERGRADIENT_FUNCTIONS
from engine.molere.reweighter import record_inputs
from engine.molere.splitter import SplitterTraining
from engine.molere.splitter_loss import splitter_loss
from engine.runs.epoch_report import measure
from engine.runtime.rng import stream
from engine.training.trainer import Trainer
from tests.fakes import make_project

FAST = {"epochs": 4, "batch_size": 16, "augment": "none", "warmup_fraction": 0.5, "rotation_groups": 4, "lr": 0.05,
        "reweighter": {"every": 2, "val_batch_size": 8}, "splitter": {"every": 2, "num_neighbors": 3}}


def config_of(**changes) -> RunConfig:
    return RunConfig.from_dict({**FAST, **changes})


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Dataset:
    project = make_project(tmp_path_factory.mktemp("p") / "fake", num_train=90, size=8)
    return load_dataset(project, read_decisions(project / "none"), None, lambda *_: None)


def run_epochs(trainer: Trainer, epochs: range) -> Trainer:
    for epoch in epochs:
        trainer.run_epoch(epoch, lambda *_: None)
    return trainer


def same_parameters(a: Trainer, b: Trainer) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a.model.state_dict().values(), b.model.state_dict().values(),
                                                 strict=True))


def test_plain_training_is_a_naive_loop_of_sgd(data):
    config = config_of(method="erm", epochs=1)
    trainer = Trainer(config, data)
    model = copy.deepcopy(trainer.model).train()
    optimizer = torch.optim.SGD([{"params": [p for p in model.parameters() if p.ndim > 1]},
                                 {"params": [p for p in model.parameters() if p.ndim <= 1], "weight_decay": 0.0}],
                                lr=config.lr, momentum=0.9, weight_decay=5e-4, nesterov=True)
    order = stream(config.seed, "order", 1).permutation(np.arange(data.num_train))
    steps = math.ceil(data.num_train / 16)
    for step in range(steps):
        idx = data.train_idx[order[step * 16:(step + 1) * 16]]
        done = step / steps
        share = (done + 1e-3) / 0.05 if done < 0.05 else 0.5 * (1 + math.cos(math.pi * (done - 0.05) / 0.95))
        for group in optimizer.param_groups:
            group["lr"] = config.lr * min(share, 1.0)
        optimizer.zero_grad()
        logits, _ = model(normalize(torch.from_numpy(data.images[idx])))
        F.cross_entropy(logits, torch.from_numpy(data.labels[idx])).backward()
        optimizer.step()
    run_epochs(trainer, range(1, 2))
    for ours, naive in zip(trainer.model.state_dict().values(), model.state_dict().values(), strict=True):
        torch.testing.assert_close(ours, naive, rtol=1e-4, atol=1e-6)


def test_uniform_weights_train_like_no_weights(data):
    """Weight bounds of [1, 1] leave learned weights nothing to learn: the classifier must not notice them."""
    fixed = config_of(method="lrw_random", reweighter={**FAST["reweighter"], "min_weight": 1.0, "max_weight": 1.0})
    learned = run_epochs(Trainer(fixed, data), range(1, 4))
    plain = Trainer(dataclasses.replace(fixed, warmup_fraction=1.0), data)
    run_epochs(plain, range(1, 4))
    assert (learned.epoch_roles.routed == plain.epoch_roles.routed).all()
    for a, b in zip(learned.model.state_dict().values(), plain.model.state_dict().values(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("method", ["lrw_random", "molere"])
def test_validation_pixels_never_reach_the_classifier_in_warmup(data, method):
    """Without learned weights the images of validation samples must not change one bit of the classifier."""
    config = config_of(method=method)
    first = Trainer(config, data)
    first.start_epoch(1)
    scrambled = np.array(data.images)
    scrambled[data.train_idx[first.heldout]] = 255 - scrambled[data.train_idx[first.heldout]]
    second = Trainer(config, dataclasses.replace(data, images=scrambled))
    assert first.heldout.any()
    assert same_parameters(run_epochs(first, range(1, 2)), run_epochs(second, range(1, 2)))
    touched = np.array(data.images)
    touched[data.train_idx[~first.heldout][0]] ^= 255
    third = Trainer(config, dataclasses.replace(data, images=touched))
    assert not same_parameters(first, run_epochs(third, range(1, 2))), "a training sample's pixels must matter"


@pytest.mark.parametrize("method", [name for name in TRAINABLE if not METHODS[name].is_head_only])
def test_decisions_hold_in_every_epoch_of_every_method(data, method):
    pins, excluded = np.zeros(data.num_train, np.int8), np.zeros(data.num_train, bool)
    pins[[0, 1, 2]], pins[[3, 4, 5]], excluded[[6, 7, 8]] = -1, 1, True
    decided = dataclasses.replace(data, pins=pins, excluded=excluded)
    ranking = np.random.default_rng(0).random(data.num_train)
    trainer = Trainer(config_of(method=method, guard="off"), decided, ranking=ranking, irreducible=ranking)
    for epoch in range(1, 5):
        run_epochs(trainer, range(epoch, epoch + 1))
        names = np.asarray(["train", "validation", "excluded"])[trainer.role_codes(trainer.heldout)]
        assert (names[[0, 1, 2]] == "validation").all() and (names[[3, 4, 5]] == "train").all()
        assert (names[[6, 7, 8]] == "excluded").all()
        order = trainer.training_order(epoch)
        assert not np.isin(order, [0, 1, 2, 6, 7, 8]).any() and np.isin([3, 4, 5], order).all()
        assert trainer.record.seen[[0, 1, 2, 6, 7, 8]].sum() == 0


def test_pins_count_as_certain_in_the_splitters_sums_and_teach_it_nothing(data):
    pins = np.zeros(data.num_train, np.int8)
    pins[0], pins[1] = -1, 1
    trainer = Trainer(config_of(), dataclasses.replace(data, pins=pins))
    logits = torch.zeros(3, requires_grad=True)
    shown = trainer.splitting.pinned(logits, torch.tensor([0, 1, 2]))
    torch.testing.assert_close(torch.sigmoid(shown), torch.tensor([0.0, 1.0, 0.5]), atol=1e-6, rtol=0)
    shown.sum().backward()
    assert logits.grad.tolist() == [0, 0, 1]


def test_every_sample_is_held_out_by_rotation_and_nobody_rests_at_the_end(data):
    trainer = run_epochs(Trainer(config_of(epochs=5, warmup_fraction=0.2, guard="off"), data), range(1, 6))
    assert (trainer.record.heldout_epochs >= 1).all()
    assert not trainer.epoch_roles.resting.any() and trainer.epoch_roles.routed.sum() == 9


def test_every_method_takes_as_many_steps_as_plain_training(data):
    counts = {}
    for method in ("erm", "molere", "lrw_random"):
        steps = []
        trainer = Trainer(config_of(method=method), data)
        for epoch in (1, 2, 3):
            trainer.run_epoch(epoch, lambda step, _, steps=steps: steps.append(step))
        counts[method] = len(steps)
    assert len(set(counts.values())) == 1


@pytest.mark.parametrize("mode", ["last_layer_centred", "last_layer", "jvp", "unroll", "finite_difference"])
def test_weights_are_learned_and_of_mean_one_in_every_mode(data, mode):
    config = config_of(method="lrw_random", reweighter={**FAST["reweighter"], "hypergradient": mode, "lr": 0.05})
    trainer = run_epochs(Trainer(config, data), range(1, 5))
    weights = trainer.record.weight
    weights = weights[torch.isfinite(weights)]
    assert float(weights.mean()) == pytest.approx(1.0, abs=1e-5) and float(weights.std()) > 1e-3
    assert weights.min() >= 0.3 / 1.7 - 1e-6


def test_a_common_shift_of_the_hypergradient_moves_no_weight():
    """Through the normalisation only differences count; without it all weights would saturate together."""
    torch.manual_seed(0)
    reweighter, inputs = Reweighter(4, 8, 0.3, 1.7), torch.randn(16, 4)
    torch.nn.init.normal_(reweighter.body[2].weight)
    pull = torch.randn(16)

    def gradient(shift):
        reweighter.zero_grad()
        (reweighter(inputs) * (pull + shift)).mean().backward()
        return torch.cat([p.grad.flatten() for p in reweighter.parameters()])

    torch.testing.assert_close(gradient(0.0), gradient(100.0), rtol=1e-3, atol=1e-4)
    assert gradient(0.0).norm() > 1e-3


def test_weights_learn_to_favour_samples_that_help_validation(data):
    """Three in ten training labels wrong, validation clean: after training, right samples must weigh more."""
    rng = np.random.default_rng(0)
    labels, wrong = data.clean_labels.copy(), rng.choice(data.num_train, 27, replace=False)
    labels[data.train_idx[wrong]] = (labels[data.train_idx[wrong]] + 1 + rng.integers(0, 2, 27)) % 3
    noisy = dataclasses.replace(data, labels=labels)
    config = config_of(method="lrw_random", validation="clean", epochs=12, warmup_fraction=0.2, rotation_groups=None,
                       reweighter={"every": 1, "val_batch_size": 12, "lr": 0.02})
    trainer = run_epochs(Trainer(config, noisy), range(1, 13))
    weights = trainer.record.weight.numpy()
    is_wrong = np.isin(np.arange(data.num_train), wrong)
    assert np.nanmean(weights[~is_wrong]) > np.nanmean(weights[is_wrong]) + 0.4


def test_a_non_finite_loss_stops_before_the_update_and_names_step_and_samples(data):
    trainer = Trainer(config_of(method="erm"), data)
    trainer.start_epoch(1)
    with torch.no_grad():
        trainer.model.head.bias[0] = float("inf")
    before = copy.deepcopy(trainer.model.backbone.convs[0].weight)
    with pytest.raises(NonFiniteError, match=r"epoch 1 step 1 gave nan on samples train-\d{5}"):
        trainer.run_epoch(1, lambda *_: None)
    assert torch.equal(before, trainer.model.backbone.convs[0].weight)


def test_a_non_finite_prediction_is_refused_before_it_is_recorded(data):
    trainer = Trainer(config_of(method="erm"), data)
    with torch.no_grad():
        trainer.model.head.weight[0, 0] = float("nan")
    with pytest.raises(NonFiniteError, match="NaN or infinity on 12 of 12 samples, first test-00000; lower lr"):
        trainer.predict(data.test_idx)


def test_restored_in_mid_epoch_it_goes_on_bit_for_bit(data):
    class Stop(Exception):
        pass

    config = config_of()
    whole = run_epochs(Trainer(config, data), range(1, 5))
    cut = run_epochs(Trainer(config, data), range(1, 3))

    def stop(step, _):
        if step == 3:
            raise Stop

    with pytest.raises(Stop):
        cut.run_epoch(3, stop)
    restored = Trainer(config, data)
    restored.load_state_dict(copy.deepcopy(cut.state_dict()))
    restored.run_epoch(3, lambda *_: None, first_step=3)
    run_epochs(restored, range(4, 5))
    assert same_parameters(whole, restored)
    for name, value in whole.record.state_dict().items():
        assert torch.equal(value.nan_to_num(-9), restored.record.state_dict()[name].nan_to_num(-9)), name


def test_held_out_signals_come_from_held_out_epochs_alone(data):
    trainer = Trainer(config_of(guard="off", finish_fraction=0.0), data)
    naive_sum, naive_weight = np.zeros(data.num_train), np.zeros(data.num_train)
    for epoch in range(1, 5):
        run_epochs(trainer, range(epoch, epoch + 1))
        rows = np.flatnonzero(trainer.heldout)
        logits, _ = trainer.predict(data.train_idx[rows])
        probs = torch.softmax(logits, 1).numpy()
        naive_sum[rows] += epoch * probs[np.arange(len(rows)), data.train_labels[rows]]
        naive_weight[rows] += epoch
    probs, is_known = trainer.record.heldout_predictions()
    assert (is_known == (naive_weight > 0)).all()
    quality = probs[np.arange(data.num_train), data.train_labels]
    np.testing.assert_allclose(quality[is_known], (naive_sum / np.maximum(naive_weight, 1))[is_known], rtol=1e-4)


def test_pretrained_weights_from_a_file_must_fit(tmp_path):
    import safetensors.torch
    import torchvision

    from engine.data.backbones.backbone import BackboneError

    file = tmp_path / "w.safetensors"
    state = torchvision.models.resnet18(weights=None).state_dict()
    safetensors.torch.save_file(state, file)
    model = make_classifier("resnet18", 4, 64, str(file))
    assert torch.equal(model.backbone.conv1.weight, state["conv1.weight"]) and model.head.out_features == 4
    del state["conv1.weight"]
    safetensors.torch.save_file(state, file)
    with pytest.raises(BackboneError, match="lacks or reshapes 'conv1.weight'"):
        make_classifier("resnet18", 4, 64, str(file))
    with pytest.raises(BackboneError, match="readable .safetensors"):
        make_classifier("resnet18", 4, 64, str(tmp_path / "absent.safetensors"))


# -- single steps against values worked out beside them


@pytest.fixture(scope="module")
def lopsided(data) -> Dataset:
    """Classes of different sizes among the active."""
    excluded = data.excluded.copy()
    excluded[np.flatnonzero(data.train_labels == 0)[:20]] = True
    return dataclasses.replace(data, excluded=excluded)


def priors_of(trainer: Trainer, rows: np.ndarray) -> torch.Tensor:
    """Naively: one over the root of the size of each row's class, mean 1 over the active."""
    labels = trainer.data.train_labels
    raw = [sum(trainer.active & (labels == label)) ** -0.5 for label in labels]
    mean = sum(r for r, is_active in zip(raw, trainer.active, strict=True) if is_active) / trainer.active.sum()
    return torch.tensor([raw[row] / mean for row in rows], dtype=torch.float32)


def test_class_weights_are_those_of_torchs_weighted_cross_entropy(lopsided):
    trainer = Trainer(config_of(method="erm", class_balance=1.0), lopsided)
    trainer.start_epoch(1)
    order, model = trainer.training_order(1), copy.deepcopy(trainer.model).train()
    idx = lopsided.train_idx[order[:16]]
    sizes = torch.bincount(torch.from_numpy(lopsided.train_labels[trainer.active]))
    assert len(set(sizes.tolist())) > 1
    logits, _ = model(normalize(torch.from_numpy(lopsided.images[idx])))
    F.cross_entropy(logits, torch.from_numpy(lopsided.labels[idx]), weight=sizes.sum() / len(sizes) / sizes,
                    reduction="none").mean().backward()
    list(trainer.run_steps(1, [0]))
    for ours, naive in zip(trainer.model.parameters(), model.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, naive.grad, rtol=1e-4, atol=1e-6)
    recorded = trainer.record.weight.numpy()[order[:16]]
    expected = (sizes.sum() / len(sizes) / sizes)[lopsided.train_labels[order[:16]]]
    np.testing.assert_allclose(recorded, expected, rtol=1e-6)


@pytest.mark.parametrize("method", ["molere", "lrw_random", "meta_weight_net"])
def test_who_learns_weights_on_validation_warms_up_under_the_classes_own(lopsided, method):
    trainer = Trainer(config_of(method=method), lopsided)
    run_epochs(trainer, range(1, 2))
    weight = trainer.record.weight.numpy()
    rows = np.flatnonzero(np.isfinite(weight))
    expected = priors_of(trainer, rows).numpy()
    assert np.ptp(expected) > 0.1
    np.testing.assert_allclose(weight[rows], expected / expected.mean(), rtol=1e-5)


def weighing(data, **changes) -> tuple[Trainer, np.ndarray, np.ndarray]:
    """A trainer at the start of an epoch whose reweighter already tells samples apart; order and validation pool."""
    trainer = Trainer(config_of(method="lrw_random", warmup_fraction=0.0, **changes), data)
    torch.manual_seed(0)
    torch.nn.init.normal_(trainer.weighting.reweighter.body[2].weight, std=0.5)
    trainer.start_epoch(1)
    return trainer, trainer.training_order(1), trainer.validation_pool()


def weights_of(trainer: Trainer, model, rows: np.ndarray, shown: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """(weights, losses) of a batch of training rows by the networks as they are now and a validation gradient."""
    idx = trainer.data.train_idx[rows]
    logits, features = model(normalize(torch.from_numpy(trainer.data.images[idx])))
    labels = torch.from_numpy(trainer.data.labels[idx])
    losses = F.cross_entropy(logits, labels, reduction="none")
    known = record_inputs(trainer.record, torch.from_numpy(rows), labels,
                          trainer.weighting.agreement(shown, logits, features, labels))
    return trainer.weighting.weigh(features, labels, losses, known), losses


def test_a_step_descends_the_weighted_loss_and_teaches_the_reweighter_nothing(lopsided):
    trainer, order, pool = weighing(lopsided)
    model = copy.deepcopy(trainer.model).train()
    trainer.weighting.val_gradient = torch.randn_like(trainer.weighting.val_gradient)
    weights, losses = weights_of(trainer, model, order[16:32], trainer.weighting.val_gradient)
    assert float(weights.detach().std()) > 0.05
    (priors_of(trainer, order[16:32]) * weights.detach() * losses).mean().backward()
    list(trainer.run_steps(1, [1]))
    for ours, naive in zip(trainer.model.parameters(), model.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, naive.grad, rtol=1e-4, atol=1e-6)
    assert all(p.grad is None for p in trainer.weighting.reweighter.parameters()), "it learns from validation alone"


def test_every_qth_step_moves_the_reweighter_down_the_hypergradients_of_both_halves_alone(lopsided, monkeypatch):
    settings = {"every": 2, "val_batch_size": 8, "uniform_pull": 0.5, "heavy_weight": 1.3, "val_loss": "cross_entropy"}
    data = lopsided
    trainer, order, pool = weighing(data, reweighter=settings, val_fraction=0.2)

    def hypergradient_of(images, weights, lr):  # tells by which samples it judges, after which step
        return lr * (1e-2 * torch.linspace(-1, 3, 16) + 1e-3 * images.mean() * torch.arange(16).cos()
                     + 1e-2 * weights.detach())

    seen, peak, average = [], 0.0, torch.zeros_like(trainer.weighting.val_gradient)
    monkeypatch.setitem(HYPERGRADIENT_FUNCTIONS, "last_layer_centred",
                        lambda problem: hypergradient_of(problem.images_V, problem.weights_B, problem.lr))
    monkeypatch.setattr(trainer.weighting.optimizer, "step",
                        lambda: seen.append([p.grad.clone() for p in trainer.weighting.reweighter.parameters()]))
    for step in range(3):
        lr, loss = trainer.classifier.set_learning_rate(step / (trainer.config.epochs * trainer.num_steps)), 0.0
        if step % 2 == 0:
            rows = order[step * 16:(step + 1) * 16]
            idx = routing.stratified_halves(pool, data.labels[pool], 8, stream(0, "validation", 1, step))
            images, labels = normalize(torch.from_numpy(data.images[idx])), torch.from_numpy(data.labels[idx])
            model = copy.deepcopy(trainer.model).train()
            features = model.backbone(images).detach()
            gradients = []
            for half in (slice(0, 4), slice(4, 8)):
                apart = features[half] - features[half].mean(0)
                logits = apart @ model.head.weight.T + model.head(features[half].mean(0)).detach()
                gradients += torch.autograd.grad(F.cross_entropy(logits, labels[half]), model.head.weight)
            fresh = 0.5 * average + 0.25 * gradients[0] + 0.25 * gradients[1]
            taken, _ = weights_of(trainer, copy.deepcopy(trainer.model).train(), rows, fresh)
            priors = priors_of(trainer, rows)
            slopes_of = [hypergradient_of(judges, priors * taken, lr) * priors * 16 / lr
                         for judges in (images[4:], images[:4])]
            peak = max(0.99 * peak, *(float(slopes.square().mean().sqrt()) for slopes in slopes_of))
            for gradient, slopes in zip(gradients, slopes_of, strict=True):
                weights, _ = weights_of(trainer, copy.deepcopy(trainer.model).train(), rows,
                                        0.5 * average + 0.5 * gradient)
                loss = loss + (weights * slopes / peak).mean() / 2 + 0.5 * (weights - 1).square().mean() / 2 \
                    + 0.5 * (weights - 1.3).clamp(min=0).square().mean() / 2
            expected = torch.autograd.grad(loss, list(trainer.weighting.reweighter.parameters()))
            average = fresh
        before = len(seen)
        list(trainer.run_steps(1, [step]))
        assert len(seen) - before == (step % 2 == 0)
        for ours, naive in zip(seen[-1] if step % 2 == 0 else [], expected, strict=False):
            torch.testing.assert_close(ours, naive, rtol=1e-3, atol=1e-6)
    assert float(trainer.weighting.gradient_scale) == pytest.approx(peak), "by sample, whatever the size of the batch"


@pytest.mark.parametrize(("method", "mode", "num_passes"), [
    ("meta_weight_net", "jvp", 1), ("meta_weight_net", "last_layer", 2), ("lrw_random", "jvp", 2), ("erm", "jvp", 1)])
def test_validation_passes_the_classifier_only_where_somebody_looks(data, monkeypatch, method, mode, num_passes):
    """Beside the passes of the hypergradient itself, which a stand-in does without."""
    config = config_of(method=method, warmup_fraction=0.0, reweighter={"every": 1, "hypergradient": mode})
    trainer, passes = Trainer(config, data), []
    monkeypatch.setitem(HYPERGRADIENT_FUNCTIONS, mode, lambda problem: torch.zeros(len(problem.labels_B)))
    trainer.start_epoch(1)
    trainer.model.register_forward_hook(lambda *_: passes.append(1))
    list(trainer.run_steps(1, [0]))
    assert len(passes) == num_passes


def test_the_splitter_scores_all_once_an_epoch_and_not_while_the_run_finishes(data, monkeypatch):
    scored, real = [], SplitterTraining.scores
    monkeypatch.setattr(SplitterTraining, "scores", lambda self, head, record: (
        scored.append(1), real(self, head, record))[1])
    run_epochs(Trainer(config_of(epochs=5, finish_fraction=0.2), data), range(1, 6))
    assert len(scored) == 4


def test_what_was_held_out_is_copied_to_the_cpu_once_until_more_is():
    record = SignalRecord(4, 2, 3, torch.device("cpu"))
    first = record.heldout_predictions()
    assert record.heldout_predictions() is first and not first.is_known_N.any()
    record.observe_heldout(torch.tensor([1]), torch.zeros(1, 2), torch.zeros(1, 3), torch.tensor([0]), epoch=2)
    assert record.heldout_predictions().is_known_N.tolist() == [False, True, False, False]
    record.set_heldout(np.full((4, 2), 0.5), np.array([True, False, False, True]), np.zeros(4, np.int64))
    assert record.heldout_predictions().is_known_N.tolist() == [True, True, False, True]


def test_scores_do_not_depend_on_how_many_are_scored_at_once(data, monkeypatch):
    trainer = run_epochs(Trainer(config_of(guard="off"), data), range(1, 4))
    whole, _ = trainer.splitting.scores(trainer.model.head, trainer.record)
    monkeypatch.setattr("engine.molere.splitter.SCORE_ROWS", 7)
    again, _ = trainer.splitting.scores(trainer.model.head, trainer.record)
    torch.testing.assert_close(again, whole, equal_nan=True)
    assert whole.unique().numel() > 7


@pytest.mark.parametrize(("source", "expected"), [("random", "routed"), ("clean", "clean"), ("learned", "routed")])
def test_validation_batches_hold_the_routed_or_the_clean_alone(data, monkeypatch, source, expected):
    config = config_of(method="lrw_random", validation=source, guard="off", warmup_fraction=0.25)
    trainer, drawn = Trainer(config, data), []
    draw = routing.stratified_halves

    def watching(rows, *rest):
        drawn.append(set(draw(rows, *rest)))
        return draw(rows, *rest)

    monkeypatch.setattr(routing, "stratified_halves", watching)
    for epoch in (1, 2, 3):
        drawn.clear()
        run_epochs(trainer, range(epoch, epoch + 1))
        if epoch == 1:
            assert not drawn, "in warm-up no weight is learned"
            continue
        allowed = data.clean_idx if expected == "clean" else data.train_idx[trainer.epoch_roles.routed]
        at_rest = set(data.train_idx[trainer.epoch_roles.resting])
        judging = [batch for batch in drawn if not batch <= at_rest]
        assert judging and all(batch <= set(allowed) for batch in judging)
        assert (len(judging) < len(drawn)) == (source == "learned"), "who rests judges how free the weights are"


def test_the_splitter_learns_who_the_classifier_gets_wrong(data):
    splitter = {"gap_strength": 0.0, "ratio_strength": 0.0, "balance_strength": 0.0, "lr": 0.01}
    trainer = run_epochs(Trainer(config_of(splitter=splitter, guard="off"), data), range(1, 3))
    labels = trainer.labels[torch.from_numpy(data.train_idx)]
    is_wrong = torch.arange(data.num_train) % 2 == 0
    shown = torch.where(is_wrong, (labels + 1) % 3, labels)
    logits, features = 4.0 * F.one_hot(shown, 3).float(), trainer.record.features_of(slice(None))
    trainer.splitting.observe_heldout(logits, trainer.record.kept(features), labels, torch.arange(data.num_train))
    for step in range(150):
        trainer.splitting.step(trainer.model.head, trainer.record, stream(0, "splitter", 9, step))
    with torch.no_grad():
        p_train = torch.sigmoid(trainer.splitting.splitter(features, torch.softmax(logits, 1), labels))
    assert float(p_train[is_wrong].mean()) < 0.3 < 0.7 < float(p_train[~is_wrong].mean())


@pytest.mark.parametrize("val_loss", ["cross_entropy", "balanced_generalized_cross_entropy"])
def test_the_splitters_losses_are_bounded_whatever_the_weights_learn_from(data, monkeypatch, val_loss):
    trainer = run_epochs(Trainer(config_of(guard="off", reweighter={"val_loss": val_loss}), data), range(1, 3))
    seen = []
    monkeypatch.setattr("engine.molere.splitter.splitter_loss",
                        lambda *args, **terms: seen.append(terms) or splitter_loss(*args, **terms))
    logits = torch.tensor([[3.0, 0, -1], [0, -2, 1]]).repeat(data.num_train // 2, 1)
    labels = torch.arange(len(logits)) % 3
    features = trainer.record.features_of(slice(len(logits)))
    trainer.splitting.observe_heldout(logits, trainer.record.kept(features), labels, torch.arange(len(logits)))
    trainer.splitting.step(trainer.model.head, trainer.record, np.random.default_rng(0))
    drawn = np.random.default_rng(0).integers(0, len(logits), size=len(seen[0]["losses_V"]))
    own = torch.softmax(logits.double(), 1)[drawn, labels[drawn]]
    torch.testing.assert_close(seen[0]["losses_V"].double(), (1 - own ** 0.7) / 0.7, rtol=1e-5, atol=1e-6)


def test_pins_are_certain_and_scored_epochs_leave_warmup_out(data):
    pins = np.zeros(data.num_train, np.int8)
    pins[:2] = [1, -1]
    trainer = run_epochs(Trainer(config_of(guard="off"), dataclasses.replace(data, pins=pins)), range(1, 5))
    assert trainer.record.p_train[:2].tolist() == [1.0, 0.0]
    assert trainer.record.scored_epochs.unique().tolist() == [1], "two of four were warm-up, one the finish"
    assert trainer.record.route_count[:2].tolist() == [0, 1]


def test_a_prediction_does_not_depend_on_who_else_is_predicted_and_leaves_the_classifier_alone(data):
    trainer = run_epochs(Trainer(config_of(method="erm"), data), range(1, 3))
    before = copy.deepcopy(trainer.model.state_dict())
    everybody, _ = trainer.predict(data.train_idx)
    alone, _ = trainer.predict(data.train_idx[:1])
    torch.testing.assert_close(everybody[:1], alone, rtol=1e-4, atol=1e-5)
    assert all(torch.equal(a, b) for a, b in zip(before.values(), trainer.model.state_dict().values(), strict=True))


@pytest.mark.parametrize("mode", ["last_layer", "jvp"])
def test_one_sample_left_over_for_a_batch_does_not_stop_training(data, mode):
    """At 8 pixels a ResNet ends in one position a channel, where one sample has no batch statistics."""
    few, pins = ~(np.arange(data.num_train) < 18), np.zeros(data.num_train, np.int8)
    pins[0], pins[1:18] = -1, 1  # one sample in validation, and of 17 in training one is left over
    config = config_of(method="lrw_random", epochs=1, warmup_fraction=0.0, network="resnet18",
                       reweighter={"every": 1, "hypergradient": mode})
    trainer = run_epochs(Trainer(config, dataclasses.replace(data, pins=pins, excluded=few)), range(1, 2))
    order = trainer.training_order(1)
    assert len(order) == 32 and set(order) == set(range(1, 18))
    assert trainer.record.seen.sum() == 17


def test_class_sizes_are_no_collapse_and_do_not_hide_that_nothing_was_learned(lopsided):
    fixed = {**FAST["reweighter"], "min_weight": 1.0, "max_weight": 1.0}
    few = dataclasses.replace(lopsided, excluded=lopsided.excluded | (np.arange(90) % 30 > 0) & (
        lopsided.train_labels == 0))
    trainer = Trainer(config_of(method="lrw_random", warmup_fraction=0.0, class_balance=1.0, reweighter=fixed), few)
    run_epochs(trainer, range(1, 2))
    line = measure(trainer, 1)
    assert line["effective_sample_frac"] < 0.7 and line["weight_max"] > 3
    assert [event["kind"] for event in line["events"] if "weights" in event["kind"]] == ["weights_constant"]
    trainer.record.weight[trainer.training_order(1)[3:]] *= 1e-3
    assert any(event["kind"] == "weights_collapse" for event in measure(trainer, 1)["events"])


def test_the_splitter_balances_over_the_active_whose_features_are_known_alone(lopsided, monkeypatch):
    trainer, seen = Trainer(config_of(guard="off", warmup_fraction=1.0), lopsided), set()
    run_epochs(trainer, range(1, 2))
    pinned = trainer.splitting.pinned
    monkeypatch.setattr(trainer.splitting, "pinned", lambda logits, rows: seen.update(rows.tolist()) or pinned(
        logits, rows))
    run_epochs(trainer, range(2, 4))
    assert seen == set(np.flatnonzero(trainer.active))


def test_precision_is_the_backbones_and_a_compiled_step_trains_alike(data, monkeypatch):
    """A stand-in compiler that takes the graph apart and runs it as it is: what is tested is the wiring."""
    compiled, real = [], torch.compile
    monkeypatch.setattr(torch, "compile", lambda model, **options: compiled.append(options) or real(
        model, backend="eager", **options))
    trainers = [run_epochs(Trainer(config_of(is_compiled=c, precision=p), data), range(1, 4))
                for c, p in ((False, "auto"), (True, "float32"), (False, "bfloat16"))]
    plain, fast, mixed = trainers
    assert compiled == [{"fullgraph": True}] and [t.model.is_mixed for t in trainers] == [False, False, True]
    torch.testing.assert_close(dict(fast.model.state_dict()), dict(plain.model.state_dict()), rtol=1e-3, atol=1e-4)
    assert not same_parameters(mixed, plain)
