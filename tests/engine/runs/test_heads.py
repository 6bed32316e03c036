"""Runs on features: heads of every method, the discriminant, and what makes no sense there."""

import dataclasses

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from engine.contract.config import RunConfig
from engine.contract.feature_dir import FeatureError, FeatureStore
from engine.contract.methods import METHODS, TRAINABLE
from engine.contract.run_dir import RunDirError
from engine.contract.settings import ConfigError
from engine.data.dataset import load_for
from engine.runs.train import resume, train
from engine.training import label_head
from tests.engine.runs.interruption import stopped_in_epoch
from tests.fake_features import make_features
from tests.fakes import make_project

FAST = {"features": "own", "epochs": 4, "batch_size": 16, "weight_decay": 0.01, "embedding": "none", "device": "cpu",
        "num_threads": 1}


def config_of(**changes) -> RunConfig:
    return RunConfig.from_dict(FAST | changes)


@pytest.fixture
def project(tmp_path):
    project = make_project(tmp_path / "p", num_train=90, size=8)
    make_features(project)
    return project


@pytest.mark.parametrize("network", ["linear", "mlp"])
@pytest.mark.parametrize("method", TRAINABLE)
def test_every_method_trains_a_head_and_leaves_a_complete_run(project, method, network):
    if METHODS[method].is_head_only and network == "mlp":
        pytest.skip("a discriminant is linear")
    mild = {"error_weight": 2.0}  # a tenth of the labels is wrong, and those are errors of a first training
    run = train(config_of(method=method, network=network, folds=2, controls=mild), project, "first")
    signals, metrics = run.read_signals(), run.read_metrics()
    assert run.read_status()["state"] == "done" and len(signals) == 90
    assert metrics["test_accuracy"].iloc[-1] > 0.6, "each class has a direction of its own"
    assert run.read_neighbours()[0].shape == (90, 15)
    assert np.isfinite(run.open_probabilities("label_head")).all()
    assert set(run.read_predictions()["split"]) == {"clean", "test"}
    assert len(run.read_history(0)) == len(metrics)


def test_a_sample_without_features_is_left_out_and_said(project):
    make_features(project, missing=("train-00004", "test-00001"))
    run = train(config_of(), project, "first")
    signals = run.read_signals().set_index("sample_id")
    assert signals.loc["train-00004", "role_reason"] == "excluded_unreadable"
    assert "test-00001" not in set(run.read_predictions()["sample_id"])
    assert any("train-00004: no features" in line for line in run.log_tail(40))


def test_components_are_of_the_train_split_alone(project):
    data = load_for(config_of(num_components=5), project, no_decisions(), lambda *_: None)
    train_DK = np.asarray(data.images[data.train_idx], dtype=np.float64)
    assert train_DK.shape == (90, 5)
    assert np.abs(train_DK.mean(0)).max() < 2e-3
    raw = FeatureStore.open(project, "own")
    values = raw.read(raw.rows_of(data.sample_ids[data.train_idx])).astype(np.float64)
    expected = np.sort(np.linalg.eigvalsh(np.cov(values.T)))[::-1][:5]
    found = np.cov(train_DK.T)
    assert found == pytest.approx(np.diag(expected / expected.mean()) * 90 / 89, abs=0.01)


def test_features_themselves_are_scaled_where_no_components_are_asked_for(project):
    data = load_for(config_of(num_components=None), project, no_decisions(), lambda *_: None)
    values = np.asarray(data.images[data.train_idx], dtype=np.float64)
    assert values.shape == (90, 12) and values.std(0) == pytest.approx(np.ones(12), abs=0.01)


def test_components_follow_new_features_of_the_same_name_and_damage_is_mended(project):
    config = config_of(num_components=5)
    before = np.array(load_for(config, project, no_decisions(), lambda *_: None).images)
    (path,) = (project / "cache").glob("*/components.npy")
    raw = bytearray(path.read_bytes())
    raw[-3] ^= 1
    path.write_bytes(bytes(raw))
    assert (np.array(load_for(config, project, no_decisions(), lambda *_: None).images) == before).all()
    make_features(project, num_features=7, missing=("train-00001",))
    after = load_for(config_of(num_components=None), project, no_decisions(), lambda *_: None)
    assert after.images.shape == (114, 7) and list(after.unreadable) == ["train-00001"]


def test_components_are_of_the_numbers_not_of_the_list_of_samples_alone(project):
    """Two backbones make the same list of the same pictures; so do features brought anew under an old name."""
    def loaded(name: str) -> np.ndarray:
        return np.array(load_for(config_of(features=name), project, no_decisions(), lambda *_: None).images)

    own = loaded("own")
    make_features(project, "other", spread=0.2)
    assert (loaded("other") != own).any() and (loaded("own") == own).all()
    make_features(project, "own", spread=0.2)
    assert (loaded("own") == loaded("other")).all()


def test_features_that_replace_others_of_their_name_are_others_to_a_run_that_goes_on(project):
    """Their list of samples is the same."""
    with stopped_in_epoch(3):
        train(config_of(), project, "first")
    make_features(project, spread=0.5)
    assert resume(project, "first").read_status()["state"] == "done", "the same numbers again"
    with stopped_in_epoch(3):
        train(config_of(), project, "second")
    make_features(project, spread=0.7)
    with pytest.raises(RunDirError, match="the list of the features own changed since 'second' began"):
        resume(project, "second")


def test_a_head_with_a_splitter_begins_with_what_discriminants_say_that_did_not_see_the_sample(project):
    """After one epoch, in which none but the pinned rest, they are all that is known of the others. The pinned one
    teaches none, and what the head says of it counts as much: the epoch is the last. Classes are unequal, and count by
    their weights."""
    whole = load_for(config_of(), project, no_decisions(), lambda *_: None)
    ids = whole.sample_ids[whole.train_idx]
    out = ids[whole.train_labels == 0][:20].tolist()
    pinned = ids[whole.train_labels == 1][3]
    decisions = pd.DataFrame({"sample_id": [pinned, *out], "pin": ["validation", *[None] * 20],
                              "excluded": [False, *[True] * 20], "label": pd.Series([None] * 21, dtype=object)})
    decisions.to_parquet(project / "own.parquet")
    config = config_of(epochs=1)
    run = train(config, project, "first", decisions=project / "own.parquet")
    data = load_for(config, project, decisions, lambda *_: None)
    signals = run.read_signals()
    is_pinned_N, is_out_N = (ids == pinned), np.isin(ids, out)
    features_ND = torch.from_numpy(np.asarray(data.images[data.train_idx], dtype=np.float32))
    probs_NC = label_head.predict_out_of_fold(features_ND, data, config.seed, ~is_pinned_N & ~is_out_N,
                                              are_components=True).numpy()
    probs_NC /= np.bincount(data.train_labels[~is_out_N])
    own_N = (probs_NC / probs_NC.sum(1, keepdims=True))[np.arange(90), data.train_labels]
    quality_N, is_other_N = signals["label_quality"].to_numpy(), ~is_pinned_N & ~is_out_N
    np.testing.assert_allclose(quality_N[is_other_N], own_N[is_other_N], rtol=1e-4)
    assert np.isnan(quality_N[is_out_N]).all()
    assert signals["heldout_epochs"].tolist() == (1 + is_pinned_N - is_out_N).tolist()
    of_head = np.exp(-signals["loss"].to_numpy()[is_pinned_N])
    assert abs(of_head - own_N[is_pinned_N]) > 0.01
    np.testing.assert_allclose(quality_N[is_pinned_N], (own_N[is_pinned_N] + of_head) / 2, rtol=1e-4)


def test_the_discriminant_is_scikit_learns_and_judges_out_of_fold(project):
    run = train(config_of(method="discriminant", num_components=None), project, "first")
    data = load_for(config_of(num_components=None), project, no_decisions(), lambda *_: None)
    x, y = np.asarray(data.images[data.train_idx], np.float64), data.train_labels
    rng, logs = label_head.stream(0, "heads"), np.zeros((90, 3))
    for _ in range(label_head.NUM_PARTITIONS):
        folds = label_head.routing.rotation_groups(90, label_head.NUM_FOLDS, rng)
        for fold in range(label_head.NUM_FOLDS):
            # Its covariance is the same average over classes, shrunk in the same way.
            peer = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=label_head.COMPONENT_SHRINKAGE)
            peer.fit(x[folds != fold], y[folds != fold])
            logs[folds == fold] += peer.predict_log_proba(x[folds == fold])
    expected = np.exp(logs / label_head.NUM_PARTITIONS)
    expected /= expected.sum(1, keepdims=True)
    sharp = torch.from_numpy(expected)
    expected = label_head.tempered(sharp, label_head.temperature_of(sharp, y, np.ones(90, bool))).double().numpy()
    found = np.asarray(run.open_probabilities(), np.float64)
    assert found == pytest.approx(expected, abs=0.02)
    signals = run.read_signals()
    assert signals["label_quality"].to_numpy() == pytest.approx(expected[np.arange(90), y], abs=0.02)
    assert (signals["heldout_epochs"] == 1).all() and signals["mean_margin"].isna().all()


def test_the_discriminants_final_head_is_the_one_fitted_to_all():
    rng = np.random.default_rng(0)
    x = torch.from_numpy(rng.normal(size=(80, 6)).astype(np.float32)) * torch.arange(1, 7) + 3.0
    y = rng.integers(0, 3, 80)
    x[:, 0] += torch.from_numpy(3.0 * y.astype(np.float32))
    used = np.ones(80, bool)
    weight, bias = label_head.fit(x, y, used, 4, are_components=True)
    folds = np.ones(80, np.int64)
    probs = label_head.out_of_fold_probabilities(torch.cat([x, x]), np.tile(y, 2), np.r_[used, ~used], 4,
                                                 np.r_[folds, np.zeros(80, np.int64)], are_components=True)
    assert torch.softmax(x @ weight.T + bias, 1).numpy() == pytest.approx(probs[80:], abs=1e-4)
    assert (probs[80:, 3] < 1e-6).all(), "a class without samples is never predicted"


def test_siblings_stay_in_one_fold(project):
    table = pq.read_table(project / "manifest.parquet")
    table = table.append_column("sender", [[f"s{i // 7}" if i % 5 else None for i in range(len(table))]])
    pq.write_table(table, project / "manifest.parquet")
    data = load_for(config_of(folds_by="sender"), project, no_decisions(), lambda *_: None)
    folds = label_head.routing.rotation_groups(90, 5, np.random.default_rng(0), data.siblings)
    for number in np.unique(data.siblings):
        assert len(set(folds[data.siblings == number])) == 1
    assert np.bincount(folds, minlength=5).tolist() == [18] * 5
    assert len(np.unique(data.siblings)) == 13 + 18, "who has no sender is by itself"
    with pytest.raises(ValueError, match="folds_by must name a column of the data; there is no 'nothing'"):
        load_for(config_of(folds_by="nothing"), project, no_decisions(), lambda *_: None)


def test_a_head_goes_on_from_its_checkpoint_to_the_same_end(project):
    whole = train(config_of(method="molere"), project, "whole")
    with stopped_in_epoch(3):
        train(config_of(method="molere"), project, "cut")
    cut = resume(project, "cut")
    assert any("going on at epoch 3" in line for line in cut.log_tail(40)), "and not from its start"
    pd.testing.assert_frame_equal(cut.read_signals(), whole.read_signals())
    assert len(cut.read_history(0)) == 4


@pytest.mark.parametrize(("values", "message"), [
    ({"network": "resnet18"}, "on features the network must be auto, linear or mlp; got network=resnet18"),
    ({"augment": "shift"}, "augment is of training on images, features are of the image as it is; got augment=shift"),
    ({"image_size": 32}, "image_size is of training on images, .*; leave one of them out"),
    ({"method": "discriminant", "network": "mlp"}, "method discriminant is a linear head; got network=mlp"),
    ({"features": None, "network": "mlp"}, "a head is trained on features; got network=mlp without any"),
    ({"features": None, "method": "discriminant"}, "a head is trained on features; got method=discriminant"),
])
def test_what_makes_no_sense_on_features_is_refused(values, message):
    with pytest.raises(ConfigError, match=message) as caught:
        config_of(**values)
    assert "\n" not in str(caught.value)


def test_features_that_are_not_there_are_named(project):
    with pytest.raises(FeatureError, match="features must have features.json; .*other has none"):
        train(config_of(features="other"), project, "first")
    (project / "features" / "own" / "samples.parquet").unlink()
    with pytest.raises(FeatureError, match="features 'own' must be finished before they are used"):
        train(config_of(), project, "second")


def test_a_discriminant_takes_one_epoch_whatever_is_asked():
    assert config_of(method="discriminant", epochs=30).epochs == 1
    assert dataclasses.replace(config_of(), method="discriminant").head == "linear"


def no_decisions() -> pd.DataFrame:
    return pd.DataFrame({"sample_id": pd.Series(dtype=str), "pin": pd.Series(dtype=object),
                         "excluded": pd.Series(dtype=bool), "label": pd.Series(dtype=object)})
