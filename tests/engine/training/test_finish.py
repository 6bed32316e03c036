"""The end of a run: who was held out trains again under averaged weights, and nothing else moves but the classifier."""

import copy
import dataclasses
import io

import numpy as np
import pandas as pd
import pytest
import torch

from engine.contract.manifest import DECISIONS_NAME, read_decisions
from engine.data.dataset import Dataset, load_dataset
from engine.model.record import SignalRecord
from engine.molere import routing
from engine.molere.freedom import Freedom
from engine.runs.train import train
from engine.training.trainer import Trainer
from tests.engine.training.test_trainer import config_of, priors_of, run_epochs, same_parameters, weights_of
from tests.fakes import make_project

LEARNERS = ("molere", "lrw_random", "lrw_easy", "lrw_hard", "meta_weight_net")
THIRDS = {"epochs": 6, "warmup_fraction": 1 / 3, "finish_fraction": 1 / 3, "val_fraction": 0.2, "guard": "off"}
"""Epochs 1 and 2 are warm-up, 5 and 6 the finish."""
PINNED_OUT, PINNED_IN, EXCLUDED = [0, 1], [2, 3], [4, 5]


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Dataset:
    project = make_project(tmp_path_factory.mktemp("p") / "fake", num_train=90, size=8)
    whole = load_dataset(project, read_decisions(project / "none"), None, lambda *_: None)
    pins, excluded = np.zeros(90, np.int8), np.zeros(90, bool)
    pins[PINNED_OUT], pins[PINNED_IN], excluded[EXCLUDED] = -1, 1, True
    return dataclasses.replace(whole, pins=pins, excluded=excluded)


def trainer_of(data: Dataset, **changes) -> Trainer:
    values = np.random.default_rng(0).random(data.num_train)
    return Trainer(config_of(**{**THIRDS, **changes}), data, ranking=values, irreducible=values)


@pytest.mark.parametrize("method", LEARNERS)
def test_at_the_end_everybody_trains_but_the_pinned_and_the_excluded(data, method):
    trainer, last_routed = trainer_of(data, method=method), None
    for epoch in range(1, 7):
        before = copy.deepcopy(trainer.record.state_dict())
        run_epochs(trainer, range(epoch, epoch + 1))
        trained = (trainer.record.train_epochs - before["train_epochs"]).bool().numpy()
        assert (trainer.epoch_roles.phase == "finish") == (epoch >= 5)
        assert not trained[PINNED_OUT].any() and not trained[EXCLUDED].any() and trained[PINNED_IN].all()
        routed = trainer.epoch_roles.routed
        assert routed[PINNED_OUT].all() and (routed.sum() > 10 or epoch <= 2), "rotation alone while MOLERE warms up"
        if epoch < 5:
            assert not trained[routed].any()
        else:
            assert np.flatnonzero(~trained).tolist() == PINNED_OUT + EXCLUDED
            assert (routed == last_routed).all() and trainer.epoch_roles.num_new == 0
        last_routed = routed


@pytest.mark.parametrize("method", LEARNERS)
def test_at_the_end_only_the_classifier_learns_and_the_record_of_holding_out_stands_still(data, method, monkeypatch):
    trainer = run_epochs(trainer_of(data, method=method), range(1, 5))
    before, drawn = copy.deepcopy(trainer.state_dict()), []
    draw = routing.stratified_halves
    monkeypatch.setattr(routing, "stratified_halves", lambda *args: drawn.append(args) or draw(*args))
    run_epochs(trainer, range(5, 7))
    after = trainer.state_dict()
    assert not drawn, "no validation batch is drawn"
    assert ("splitting" in before) == (method == "molere") and same(before.get("splitting"), after.get("splitting"))
    for name in ("reweighter", "optimizer", "peak"):
        assert same(before["weighting"][name], after["weighting"][name]), name
    assert not same(before["classifier"], after["classifier"])
    for name in ("p_train", "route_count", "scored_epochs", "weight_average"):
        assert same(before["record"][name], after["record"][name]), name
    judged = torch.from_numpy(trainer.epoch_roles.routed & (data.pins == 0))
    for name in ("margin", "loss", "prediction"):
        assert same(before["record"][name][judged], after["record"][name][judged]), f"{name} of the routed is held out"
    free = torch.from_numpy(~trainer.epoch_roles.routed & trainer.active)
    assert not same(before["record"]["margin"][free], after["record"]["margin"][free])
    assert before["record"]["route_count"].sum() > 0 and before["record"]["weight_average"].isfinite().any()
    more = after["record"]["heldout_epochs"] - before["record"]["heldout_epochs"]
    assert more.nonzero().flatten().tolist() == PINNED_OUT and more[PINNED_OUT].tolist() == [2, 2]


def same(a, b) -> bool:
    if isinstance(a, torch.Tensor):
        return torch.equal(a.nan_to_num(-9), b.nan_to_num(-9))
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    return len(a) == len(b) and all(map(same, a, b)) if isinstance(a, (list, tuple)) else a == b


@pytest.mark.parametrize("method", ["molere", "meta_weight_net"])
def test_the_weights_of_the_end_are_the_averages_of_the_epochs_before_and_else_the_reweighters(data, method,
                                                                                              monkeypatch):
    monkeypatch.setattr(Freedom, "judge", lambda *_: None)
    trainer, freedom = trainer_of(data, method=method, reweighter={"every": 1, "val_batch_size": 8}), 1.0
    if method == "molere":  # those of meta_weight_net nothing judges
        freedom = 0.6
        trainer.weights.freedom.value = torch.tensor(freedom)
    naive = np.full(data.num_train, np.nan)
    for epoch in range(1, 5):
        run_epochs(trainer, range(epoch, epoch + 1))
        weight = trainer.record.weight.numpy().copy()
        if epoch > 2:
            naive = np.where(np.isnan(weight), naive, np.where(np.isnan(naive), weight, 0.7 * naive + 0.3 * weight))
    assert np.nanstd(naive) > 0.01 and np.isnan(naive[PINNED_OUT]).all()
    trainer.start_epoch(5)
    order, expected = trainer.training_order(5), np.full(data.num_train, np.nan)
    now_of_unknown: list[float] = []
    for step in range(trainer.num_steps):
        rows = order[step * 16:(step + 1) * 16]
        model = copy.deepcopy(trainer.model).train()
        now, losses = weights_of(trainer, model, rows, trainer.weighting.val_gradient)
        now = priors_of(trainer, rows) * (1 + freedom * (now - 1))
        weights = np.where(np.isnan(naive[rows]), now.detach().numpy(), naive[rows])
        weights = expected[rows] = weights / weights.mean()
        now_of_unknown += now[torch.from_numpy(np.isnan(naive[rows]))].tolist()
        (torch.from_numpy(weights).float() * losses).mean().backward()
        list(trainer.run_steps(5, [step]))
        for ours, own in zip(trainer.model.parameters(), model.parameters(), strict=True):
            torch.testing.assert_close(ours.grad, own.grad, rtol=1e-3, atol=1e-5)
    assert len(now_of_unknown) > 5 and max(abs(weight - 1) for weight in now_of_unknown) > 0.01
    trainer.end_epoch(5)
    np.testing.assert_allclose(trainer.record.weight.numpy(), expected / np.nanmean(expected), rtol=1e-4, atol=1e-6)


def test_a_moving_average_by_hand():
    record, nan = SignalRecord(4, 2, 2, torch.device("cpu")), float("nan")
    for weights in ([1.0, 2.0, nan, nan], [2.0, nan, 0.5, nan], [1.0, 1.0, nan, nan]):
        record.weight = torch.tensor(weights)
        record.average_weights(0.7)
    average = record.weight_average
    assert average[:3].tolist() == pytest.approx([0.7 * (0.7 * 1 + 0.3 * 2) + 0.3 * 1, 0.7 * 2 + 0.3 * 1, 0.5])
    assert average[3].isnan() and record.weight[2].isnan()


def test_restored_in_the_middle_of_the_end_it_goes_on_bit_for_bit(data):
    class Stop(Exception):
        pass

    def stop(step, _):
        if step == 3:
            raise Stop

    whole, cut, restored = (trainer_of(data) for _ in range(3))
    run_epochs(whole, range(1, 7))
    with pytest.raises(Stop):
        run_epochs(cut, range(1, 5)).run_epoch(5, stop)
    buffer = io.BytesIO()
    torch.save(cut.state_dict(), buffer)
    buffer.seek(0)
    restored.load_state_dict(torch.load(buffer, weights_only=True))
    assert restored.epoch_roles.phase == "finish"
    restored.run_epoch(5, lambda *_: None, first_step=3)
    run_epochs(restored, range(6, 7))
    assert same_parameters(whole, restored) and same(whole.record.state_dict(), restored.record.state_dict())
    assert not restored.heldout[whole.epoch_roles.routed & (data.pins == 0)].any()


@pytest.mark.parametrize(("warmup", "finish", "first"), [(0.75, 0.8, 4), (0.5, 1.0, 3), (0.0, 1.0, 2), (1.0, 0.5, 5)])
def test_the_end_comes_after_warmup_and_after_a_first_epoch(data, warmup, finish, first):
    trainer = trainer_of(data, epochs=4, warmup_fraction=warmup, finish_fraction=finish, class_balance=0.0)
    assert trainer.config.first_finish_epoch == first
    for epoch in range(1, 5):
        run_epochs(trainer, range(epoch, epoch + 1))
        current = trainer.epoch_roles
        assert (current.phase == "finish") == (epoch >= first)
        assert current.phase != "finish" or np.flatnonzero(trainer.heldout).tolist() == PINNED_OUT
    weights = trainer.record.weight
    if warmup > 0:
        assert (weights[weights.isfinite()] == 1).all(), "no weight was ever learned: the end is neutral"


@pytest.mark.parametrize("changes", [
    {"method": "erm", "validation": "random"}, {"method": "erm", "validation": "learned"}, {"method": "rho"},
    {"method": "rho", "validation": "random"}, {"method": "fsr"}, {"validation": "clean"}, {"validation": "none"},
    {"finish_fraction": 0.0}, {"select_best": True}])
def test_who_has_no_learned_weights_or_nobody_held_out_never_ends_so(data, changes):
    trainer = trainer_of(data, epochs=4, **changes)
    for epoch in range(1, 5):
        run_epochs(trainer, range(epoch, epoch + 1))
        assert trainer.epoch_roles.phase != "finish"
        assert not trainer.record.seen.numpy()[trainer.epoch_roles.routed].any()


def test_signals_keep_the_split_and_say_since_when_its_samples_train(tmp_path):
    project = make_project(tmp_path / "fake", num_train=60, size=8)
    pd.DataFrame({"sample_id": ["train-00000", "train-00001"], "pin": ["validation", None],
                  "excluded": [False, True], "label": [None, None]}).to_parquet(project / DECISIONS_NAME)
    run = train(config_of(**THIRDS, embedding="none"), project, "first")
    signals, history = run.read_signals().set_index("sample_id"), run.read_history(np.arange(60))
    at = {epoch: rows.set_index(signals.index) for epoch, rows in history.groupby("epoch")}
    routed = (signals["role"] == "validation") & (signals.index != "train-00000")
    assert routed.sum() == 11 and (at[4].loc[routed, "role"] == "validation").all()
    for epoch in (5, 6):
        assert (at[epoch].loc[routed, "role"] == "train").all() and at[epoch].loc[routed, "routed"].all()
        assert at[epoch].loc["train-00000", "role"] == "validation"
        assert at[epoch].loc["train-00001", "role"] == "excluded" == signals.loc["train-00001", "role"]
    assert (signals.loc[routed, "role_reason"] == "routed_learned").all() and not signals["is_resting"].any()
    assert signals.loc["train-00000", "role"] == "validation" and signals.loc[routed, "weight"].notna().all()
    pinned = signals.index == "train-00000"  # whose p_train is the splitter's own wish, unknown once it rests
    np.testing.assert_array_equal(at[6]["p_train"][~pinned], at[4]["p_train"][~pinned])
    assert at[4]["p_train"][pinned].notna().all() and at[6]["p_train"][pinned].isna().all()
    metrics = run.read_metrics()
    assert metrics["num_routed"].tolist()[3:] == [12, 12, 12] and metrics["num_validation"].tolist()[4:] == [1, 1]
    assert metrics["num_train"].tolist()[4:] == [58, 58]
    assert metrics["validation_loss"].notna().tolist() == [True] * 4 + [False] * 2
    assert metrics["churn"].notna().tolist() == [False, False, True, True, False, False]
