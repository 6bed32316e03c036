"""What a training on images begins with where the project has features: discriminants that saw no label they judge."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from engine.contract.config import RunConfig
from engine.contract.feature_dir import FeatureDir
from engine.contract.manifest import DECISIONS_NAME, read_decisions, read_manifest
from engine.contract.run_dir import RunDir, RunDirError
from engine.contract.studies.study_plan import parse_arm
from engine.data.dataset import Dataset, load_for, own_features, settled
from engine.runs.train import embed_again, resume, train
from engine.study.runner import run_study
from engine.training import checkpoint
from engine.training.trainer import Trainer
from tests.engine.runs.interruption import stopped_in_epoch
from tests.fake_features import make_features
from tests.fakes import make_project

FAST = {"network": "tiny", "epochs": 4, "batch_size": 16, "embedding": "none", "device": "cpu", "num_threads": 1}


def config_of(**changes: object) -> RunConfig:
    return RunConfig.from_dict(FAST | changes)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return make_project(tmp_path / "p", num_train=200, size=8)


def loaded(project: Path, config: RunConfig) -> Dataset:
    return load_for(config, project, read_decisions(project / DECISIONS_NAME), lambda *_: None)


def begun(project: Path, **changes: object) -> tuple[Trainer, Dataset]:
    config = settled(config_of(**changes), project)
    data = loaded(project, config)
    trainer = Trainer(config, data)
    trainer.start_epoch(1)
    return trainer, data


def test_a_network_of_images_begins_with_what_features_say(project: Path) -> None:
    make_features(project, missing=("train-00004",), spread=0.3)
    trainer, data = begun(project)
    probs_NC, is_known_N = trainer.record.heldout_predictions()
    has_features_N = data.sample_ids[data.train_idx] != "train-00004"
    assert is_known_N.tolist() == has_features_N.tolist(), "a sample without features has no prediction, and trains"
    assert not data.excluded.any()
    truth_N = data.clean_labels[data.train_idx]
    truth_N = np.where(truth_N < 0, data.train_labels, truth_N)
    assert (probs_NC.argmax(1) == truth_N)[is_known_N].mean() > 0.9, "each class has a direction of its own"
    assert trainer.noise.is_fixed and trainer.noise.model is not None
    is_wrong_N = truth_N != data.train_labels
    doubt_N = trainer.noise.model.wrong_probabilities(probs_NC, data.train_labels)
    assert doubt_N[is_wrong_N & is_known_N].mean() > 0.7 > 0.2 > doubt_N[~is_wrong_N & is_known_N].mean()


def test_a_prediction_did_not_see_the_label_of_its_sample(project: Path) -> None:
    make_features(project, spread=0.2)
    trainer, data = begun(project)
    row = int(np.flatnonzero(~data.excluded)[7])
    before = trainer.record.heldout_predictions().probs_NC[row]
    data.labels[data.train_idx[row]] = (data.train_labels[row] + 1) % data.num_classes
    other = Trainer(trainer.config, data)
    other.start_epoch(1)
    # In-sample predictions move by 0.008; what is left is the temperature, which is all labels'.
    assert other.record.heldout_predictions().probs_NC[row] == pytest.approx(before, abs=1e-3)


@pytest.mark.parametrize("changes", [{"splitter": {"features": None}}, {"method": "erm"}, {"method": "lrw_random"}])
def test_without_them_or_without_a_splitter_nothing_is_known_before_an_epoch(project: Path, changes: dict) -> None:
    make_features(project)
    trainer, _ = begun(project, **changes)
    assert not trainer.record.heldout_predictions().is_known_N.any() and not trainer.noise.is_fixed


def test_features_that_know_nothing_of_the_classes_are_no_start(project: Path) -> None:
    folder = make_features(project, spread=100.0)
    trainer, data = begun(project)
    assert data.features is not None and trainer.config.splitter.features == folder.name
    assert not trainer.record.heldout_predictions().is_known_N.any() and not trainer.noise.is_fixed


def test_auto_takes_the_first_that_can_be_read_and_know_the_train_split(project: Path) -> None:
    assert own_features(project) is None
    ids = read_manifest(project)["sample_id"]
    is_train = ids.str.startswith("train")
    make_features(project, "a-few", missing=tuple(ids[is_train][21:]))
    make_features(project, "auto")
    make_features(project, "b-damaged")
    shard = FeatureDir.of(project, "b-damaged").shard_path(0)
    shard.write_bytes(shard.read_bytes()[:-50])
    make_features(project, "b-other")
    (FeatureDir.of(project, "b-other").path / "features.json").write_text("{}")
    make_features(project, "b").path.rename(project / "features" / "Copy of b")
    assert own_features(project) is None, "what cannot be taken ends no training"
    make_features(project, "d")
    make_features(project, "c", missing=tuple(ids[is_train][:15]))
    assert own_features(project) == "c" == settled(config_of(), project).splitter.features
    for unasked in (config_of(method="erm"), config_of(features="d", network="mlp"),
                    config_of(splitter={"features": "d"}), config_of(splitter={"features": None})):
        assert settled(unasked, project) == unasked


def test_a_run_says_which_and_goes_on_from_its_checkpoint_without_them(project: Path) -> None:
    bare = train(config_of(), project, "bare")
    assert bare.read_config()["config"]["splitter"]["features"] is None and not bare.read_config()["features_digest"]
    with stopped_in_epoch(3):
        train(config_of(), project, "cut-bare")
    make_features(project)
    cut_bare = resume(project, "cut-bare")
    assert cut_bare.read_signals().equals(bare.read_signals()), "features made in between change nothing"

    whole = train(config_of(), project, "whole")
    assert whole.read_config()["config"]["splitter"]["features"] == "own" and whole.read_config()["features_digest"]
    assert "starts from features own" in (whole.path / "log.txt").read_text()
    assert not whole.read_signals()["label_quality"].equals(bare.read_signals()["label_quality"])
    for name, epoch in (("cut", 3), ("early", 1)):
        with stopped_in_epoch(epoch):
            train(config_of(), project, name)
    assert checkpoint.checkpoints(RunDir.of(project, "cut").checkpoint_dir)
    assert not checkpoint.checkpoints(RunDir.of(project, "early").checkpoint_dir)
    make_features(project, num_features=20)
    with pytest.raises(RunDirError, match="the list of the features own changed since 'early' began"):
        resume(project, "early")
    assert resume(project, "cut").read_signals().equals(whole.read_signals())
    shutil.rmtree(project / "features")
    embed_again(project, "whole", "pca", lambda _: None)


def test_a_study_starts_from_the_same_features_however_often_it_goes_on(project: Path) -> None:
    arms, common = [parse_arm("plain: method=erm"), parse_arm("molere: method=molere")], dict(FAST)
    make_features(project, "m")
    study = run_study(project, "s", arms, [0], common)
    assert study.read_document().plan.settings["splitter.features"] == "m"
    first = study.read_row("molere", 0)
    assert first is not None and first["config"]["splitter"]["features"] == "m"
    make_features(project, "a")
    again = run_study(project, "s", arms, [0, 1], common)
    assert again.read_row("molere", 0) == first, "a finished run is not repeated"
    assert again.read_row("molere", 1)["config"]["splitter"]["features"] == "m"  # type: ignore[index]

    begun_bare = run_study(project, "older", arms, [0], {**common, "splitter.features": None})
    document = begun_bare.read_document()
    older = {name: value for name, value in document.plan.settings.items() if name != "splitter.features"}
    begun_bare.write_document(replace(document, plan=replace(document.plan, settings=older)))
    row = begun_bare.read_row("molere", 0)
    assert run_study(project, "older", arms, [0], common).read_row("molere", 0) == row, "older code started from none"
