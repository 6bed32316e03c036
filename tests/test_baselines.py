"""The baselines and controls: early stopping, RHO-loss and Fast Sample Reweighting, against values worked out here."""

import copy
import dataclasses

import numpy as np
import pandas as pd
import pytest
import torch
from typer.testing import CliRunner

from engine.__main__ import app
from engine.best import BestEpoch
from engine.config import ConfigError, RunConfig
from engine.data import Dataset, load_dataset
from engine.manifest import DECISIONS_NAME, ManifestError, read_decisions
from engine.rundir import RunDir
from engine.train import train
from engine.trainer import Trainer
from tests.fakes import make_project
from tests.test_trainer import config_of, run_epochs, same_parameters

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
    assert metrics["events"].iloc[-1] == ["early stopping: went back to the classifier of epoch 1, validation accuracy "
                                          "1.000"]


def test_plain_training_on_the_training_part_alone(data):
    trainer = run_epochs(Trainer(config_of(method="erm", validation="random"), data), range(1, 3))
    routed = trainer.epoch_roles.routed
    assert routed.sum() == 9 and not trainer.record.tensors["seen"].numpy()[routed].any()
    assert set(np.flatnonzero(~routed)) == set(trainer._order(2))
    assert (trainer.record.tensors["weight"][torch.from_numpy(~routed)] == 1).all()


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
    assert run.decisions_path.read_bytes() == given.read_bytes()


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
    assert done.exit_code == 0 and RunDir.of(project, "first").decisions_path.read_bytes() == file.read_bytes()
    refused = CliRunner().invoke(app, ["train", str(project), "--resume", "first", "--decisions", str(file)])
    assert str(refused.exception) == "a resumed run keeps the decisions it began with; got --decisions; leave it out"
