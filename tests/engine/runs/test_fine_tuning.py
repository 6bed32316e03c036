"""Backbones that are trained on, and plain training under what another run learned."""

import warnings

import numpy as np
import pandas as pd
import pytest
import torch

from engine.__main__ import train as train_command
from engine.contract.config import RunConfig
from engine.contract.manifest import DECISIONS_NAME, read_decisions
from engine.contract.run_dir import RunDirError
from engine.contract.settings import ConfigError
from engine.data.backbones.backbone import IMAGENET_MEAN, BackboneError
from engine.data.backbones.opening import open_backbone
from engine.data.dataset import load_for
from engine.runs.given_weights import read_given
from engine.runs.train import resume, train
from engine.training.trainer import Trainer
from tests.engine.runs.interruption import stopped_in_epoch
from tests.fake_features import make_features
from tests.fakes import make_project, write_manifest
from tests.tiny_backbone import ARCHITECTURE, NUM_FEATURES, write_weights

FAST = {"epochs": 3, "batch_size": 16, "embedding": "none", "device": "cpu", "num_threads": 1, "image_size": 32,
        "precision": "float32", "lr": 0.01}


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> str:
    return write_weights(tmp_path_factory.mktemp("weights") / "w.safetensors")


@pytest.fixture
def project(tmp_path):
    project = make_project(tmp_path / "p", num_train=60, size=8)
    make_features(project)
    return project


def config_of(weights: str, **changes) -> RunConfig:
    return RunConfig.from_dict(FAST | {"network": ARCHITECTURE, "weights": weights, "folds": 2} | changes)


def head_config(**changes) -> RunConfig:
    return RunConfig.from_dict({"features": "own", "epochs": 4, "batch_size": 16, "weight_decay": 0.01,
                                "embedding": "none", "device": "cpu", "num_threads": 1} | changes)


def trainer_of(project, config) -> Trainer:
    return Trainer(config, load_for(config, project, read_decisions(project / DECISIONS_NAME), lambda *_: None))


@pytest.mark.parametrize("method", ["molere", "erm", "rho", "fsr"])
def test_every_kind_of_method_fine_tunes_a_backbone(project, weights, method):
    run = train(config_of(weights, method=method), project, "first")
    assert run.read_status()["state"] == "done" and len(run.read_signals()) == 60
    assert len(run.read_predictions()) == 24


@pytest.mark.parametrize("hypergradient", ["jvp", "unroll", "finite_difference"])
def test_whole_network_hypergradients_go_through_a_backbone_frozen_or_not(project, weights, hypergradient):
    config = config_of(weights, method="lrw_random", warmup_fraction=0.0, epochs=2, augment="none",
                       reweighter={"every": 1, "val_batch_size": 8, "hypergradient": hypergradient})
    run = train(config, project, "first")
    assert run.read_status()["state"] == "done"


def test_the_network_begins_with_its_weights_and_is_fed_as_it_was_trained(project, weights):
    trainer, own = trainer_of(project, config_of(weights)), open_backbone(ARCHITECTURE, weights, 32)
    assert trainer.model.head.in_features == NUM_FEATURES
    state = own.module.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in trainer.model.backbone.state_dict().items())
    assert own.mean != IMAGENET_MEAN or own.std != (0.229, 0.224, 0.225)
    pixels = trainer.data.images[:3].astype(np.float64) / 255
    expected = (pixels - np.reshape(own.mean, (3, 1, 1))) / np.reshape(own.std, (3, 1, 1))
    assert trainer.store.batch(np.arange(3)).numpy() == pytest.approx(expected, abs=1e-5)


def test_the_head_trains_first_then_everything(project, weights):
    trainer = trainer_of(project, config_of(weights, method="erm", head_epochs=2))
    before = {name: value.clone() for name, value in trainer.model.state_dict().items()}

    def moved(part: str) -> bool:
        return any(not torch.equal(value, before[name]) for name, value in trainer.model.state_dict().items()
                   if name.startswith(part))

    for epoch in (1, 2):
        trainer.run_epoch(epoch, lambda *_: None)
        assert moved("head") and not moved("backbone"), "neither weights nor running statistics"
    trainer.run_epoch(3, lambda *_: None)
    assert moved("backbone")


def test_from_the_first_epoch_on_everything_trains_where_no_head_epochs_are_asked_for(project, weights):
    trainer = trainer_of(project, config_of(weights, method="erm", head_epochs=0))
    before = [value.clone() for value in trainer.model.backbone.parameters()]
    trainer.run_epoch(1, lambda *_: None)
    assert all(not torch.equal(a, b) for a, b in zip(before, trainer.model.backbone.parameters(), strict=True))


def test_head_epochs_are_of_backbones_alone():
    assert RunConfig(network="small").num_head_epochs == 0 and RunConfig(network="efficientnet_lite0").num_head_epochs
    assert RunConfig.of_run({"network": "resnet18"}).head_epochs == 0


def test_a_fine_tuning_resumes_to_the_same_end(project, weights):
    config = config_of(weights, method="erm", head_epochs=1)
    whole = train(config, project, "whole")
    with stopped_in_epoch(2):
        train(config, project, "cut")
    pd.testing.assert_frame_equal(resume(project, "cut").read_signals(), whole.read_signals())


def test_what_cannot_be_trained_is_refused(project, tmp_path):
    with pytest.raises(BackboneError, match="a backbone must be a name of timm or torchvision, .*; got 'qzxqzx'"):
        train(RunConfig.from_dict(FAST | {"network": "qzxqzx"}), project, "first")
    model = torch.nn.Conv2d(3, 5, 3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(model, (torch.zeros(2, 3, 32, 32),), str(tmp_path / "m.onnx"), dynamo=False,
                          input_names=["x"], dynamic_axes={"x": {0: "n"}})
    with pytest.raises(ConfigError, match="an .onnx file cannot be trained; got network="):
        train(RunConfig.from_dict(FAST | {"network": str(tmp_path / "m.onnx")}), project, "second")


# -- under what another run learned


def test_a_run_under_given_weights_trains_plainly_under_them(project, weights):
    pd.DataFrame({"sample_id": ["train-00001", "train-00002", "train-00003"], "pin": [None, "validation", None],
                  "excluded": [True, False, False], "label": [None, None, "bird"]}).to_parquet(
        project / DECISIONS_NAME, index=False)
    first = train(head_config(), project, "first").read_signals().set_index("sample_id")
    (project / DECISIONS_NAME).unlink()
    run = train(config_of(weights, method="erm"), project, "tuned", weights_from="first")
    document, signals = run.read_config(), run.read_signals().set_index("sample_id")
    assert document["weights_from"]["run"] == "first" and document["num_decisions"] == 3
    assert signals.loc["train-00001", "role_reason"] == "excluded_decision"
    assert signals.loc["train-00002", "role_reason"] == "pinned_validation"
    is_trained = signals["role"] == "train"
    assert is_trained.sum() == 58, "the run finished with all samples but those pinned and excluded"
    ratio = signals["weight"][is_trained] / first["weight"][is_trained]
    assert ratio.to_numpy() == pytest.approx(np.full(58, ratio.iloc[0]), rel=1e-4)
    assert signals["weight"][is_trained].mean() == pytest.approx(1, abs=1e-4) and signals["weight"].std() > 0.01
    assert signals.loc["train-00002", "heldout_epochs"] == 3 and run.read_metrics()["num_routed"].iloc[-1] == 1


def test_who_was_in_validation_to_the_end_rests(project, weights):
    first = train(head_config(finish_fraction=0.0), project, "first").read_signals()
    is_out = (first["role"] == "validation").to_numpy()
    assert 0 < is_out.sum() < 20
    run = train(config_of(weights, method="erm"), project, "tuned", weights_from="first")
    signals = run.read_signals()
    assert (signals["role"] == "validation").tolist() == is_out.tolist()
    assert signals["role_reason"][is_out].tolist() == first["role_reason"][is_out].tolist()
    assert (signals["heldout_epochs"][is_out] == 3).all() and (signals["heldout_epochs"][~is_out] == 0).all()


def test_a_discriminant_gives_its_decisions_and_even_weights(project, weights):
    train(head_config(method="discriminant"), project, "first")
    run = train(config_of(weights, method="erm"), project, "tuned", weights_from="first")
    assert run.read_signals()["weight"].to_numpy() == pytest.approx(np.ones(60))


def test_given_weights_are_kept_and_resumed_whatever_the_other_run_does(project, weights):
    train(head_config(), project, "first")
    config = config_of(weights, method="erm")
    whole = train(config, project, "whole", weights_from="first")
    with stopped_in_epoch(2):
        train(config, project, "cut", weights_from="first")
    (project / "runs" / "first" / "signals.parquet").unlink()
    pd.testing.assert_frame_equal(resume(project, "cut").read_signals(), whole.read_signals())


def test_what_cannot_give_or_take_weights_is_refused(project, weights):
    config = config_of(weights, method="erm")
    with pytest.raises(RunDirError, match="a run must have config.json; .*none has none"):
        train(config, project, "a", weights_from="none")
    train(head_config(), project, "first")
    for method in ("molere", "kfold", "rho", "fsr"):
        with pytest.raises(ConfigError, match=f"weights of another run are for plain training; got method={method}"):
            train(config_of(weights, method=method), project, "b", weights_from="first")
    with pytest.raises(ConfigError, match="--weights-from first brings that run's decisions; got --decisions as well"):
        train_command(project, name="c", weights_from="first", decisions=project / "d.parquet")
    with pytest.raises(ConfigError, match="a resumed run keeps what it began with; got --weights-from"):
        train_command(project, resume="first", weights_from="first")
    rows = pd.read_parquet(project / "manifest.parquet")
    write_manifest(project, rows.iloc[1:], ("cat", "dog", "bird"), root="images")
    with pytest.raises(ConfigError, match="must be of this project's present data; it changed since 'first' began"):
        train(config, project, "d", weights_from="first")


def test_a_run_without_given_weights_reads_none(project, weights):
    config = head_config(method="erm")
    run = train(config, project, "first")
    assert read_given(run, load_for(config, project, read_decisions(run.decisions_path), lambda *_: None)) is None
