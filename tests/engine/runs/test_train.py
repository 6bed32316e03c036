"""Whole runs: the run directory is contract 2, cancel and kill resume to the same end, bad input is one line."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from engine.contract.config import RunConfig
from engine.contract.manifest import DECISIONS_NAME, ManifestError, read_decisions, read_info, read_manifest
from engine.contract.methods import METHODS, TRAINABLE
from engine.contract.run_dir import RunDir, RunDirError
from engine.contract.settings import ConfigError
from engine.contract.signal_columns import SIGNAL_COLUMNS
from engine.data.dataset import load_dataset, settled
from engine.model.prediction import NonFiniteError
from engine.runs import train as engine_train
from engine.runs.cross_fitting import cross_fitted_probabilities
from engine.runs.train import embed_again, resume, train
from engine.training import checkpoint
from engine.training.trainer import Trainer
from tests import ROOT
from tests.engine.commands import run_engine
from tests.fakes import make_project, write_manifest

FAST = {"epochs": 4, "batch_size": 16, "augment": "shift", "warmup_fraction": 0.3, "rotation_groups": 3,
        "embedding": "pca", "num_threads": 1, "reweighter": {"every": 1, "val_batch_size": 8},
        "splitter": {"every": 1, "num_neighbors": 3}}


def config_of(**changes) -> RunConfig:
    return RunConfig.from_dict({**FAST, **changes})


@pytest.fixture
def project(tmp_path) -> Path:
    return make_project(tmp_path / "fake", num_train=60, size=8)


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> RunDir:
    """What the default settings of these tests come to when nothing interrupts them; for reading."""
    return train(config_of(), make_project(tmp_path_factory.mktemp("whole") / "fake", num_train=60, size=8), "whole")


def decide(project: Path, **columns) -> None:
    pd.DataFrame(columns).to_parquet(project / DECISIONS_NAME, index=False)


@pytest.mark.parametrize("method", [name for name in TRAINABLE if not METHODS[name].is_head_only])
def test_every_method_leaves_a_complete_run_directory(project, method):
    run = train(config_of(method=method, folds=2), project, "first")
    status, metrics, signals = run.read_status(), run.read_metrics(), run.read_signals()
    assert status["state"] == "done" and status["error"] is None and status["epoch"] == 4
    assert tuple(signals.columns) == SIGNAL_COLUMNS and len(signals) == 60
    assert metrics["epoch"].tolist() == [1, 2, 3, 4] and metrics["clean_accuracy"].notna().all()
    assert metrics["test_accuracy"].isna().tolist() == [True, True, True, False], "test is read once, at the end"
    predictions = run.read_predictions()
    assert predictions["split"].value_counts().to_dict() == {"clean": 12, "test": 12}
    right = (predictions["label"] == predictions["prediction"])[predictions["split"] == "test"]
    assert right.mean() == pytest.approx(metrics["test_accuracy"].iloc[-1])
    embedding, neighbours = run.read_embedding(), run.read_neighbours()
    assert embedding["sample_id"].tolist() == signals["sample_id"].tolist()
    assert neighbours[0].shape == (60, 15) and (neighbours[0] != np.arange(60)[:, None]).all()
    history = run.read_history(5)
    assert len(history) == 4 and history["margin"].iloc[-1] == pytest.approx(signals["margin"].iloc[5], abs=2e-3)
    assert history["role"].iloc[-1] == signals["role"].iloc[5]
    assert signals["margin"].between(-1, 1).all()
    if METHODS[method].validation != "none":
        in_training = signals["role"] == "train"
        assert signals.loc[in_training, "weight"].mean() == pytest.approx(1, abs=0.02)
        num_routed = 0 if METHODS[method].validation == "proxy" else 6
        assert (signals["role"] == "validation").sum() == num_routed == metrics["num_routed"].iloc[-1]
    document = run.read_config()
    assert RunConfig.from_dict(document["config"]) == settled(config_of(method=method, folds=2), project)
    assert document["manifest_digest"] and document["versions"]["torch"]
    assert len(checkpoint.checkpoints(run.checkpoint_dir)) == 2


def test_without_a_map_a_run_keeps_the_same_evidence(project):
    bare, mapped = (train(config_of(method="erm", epochs=2, embedding=how), project, how) for how in ("none", "pca"))
    assert bare.read_embedding() is None and mapped.read_embedding() is not None
    for one, other in zip(bare.read_neighbours(), mapped.read_neighbours(), strict=True):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(bare.open_probabilities("label_head"), mapped.open_probabilities("label_head"))


def test_decisions_reach_the_run_and_later_ones_do_not(project):
    decide(project, sample_id=["train-00000", "train-00001", "train-00002", "train-00003", "gone"],
           pin=["validation", "train", None, None, "train"], excluded=[False, False, True, False, False],
           label=[None, None, None, "bird", None])
    run = train(config_of(), project, "first")
    decide(project, sample_id=["train-00005"], pin=[None], excluded=[True], label=[None])
    signals = run.read_signals().set_index("sample_id")
    pinned = signals.loc["train-00000"]
    assert pinned["role"] == "validation" and pinned["p_train"] == 0
    assert pinned["role_reason"] == "pinned_validation" and 0 < pinned["p_train_unpinned"] < 1
    wishes = run.read_history(0)["p_train"]
    assert wishes.iloc[:-1].between(0.001, 0.999).all(), "the history has the splitter's own wish in every epoch"
    assert np.isnan(wishes.iloc[-1]), "but for the epochs in which a run finishes: it is not asked then"
    assert signals.loc["train-00001", "role"] == "train"
    assert signals.loc["train-00002", "role"] == "excluded" and np.isnan(signals.loc["train-00002", "margin"])
    assert signals.loc["train-00005", "role"] != "excluded"
    assert run.read_config()["num_decisions"] == 5


def test_a_relabel_to_an_unknown_class_fails_with_one_line(project):
    decide(project, sample_id=["train-00000"], pin=[None], excluded=[False], label=["cow"])
    with pytest.raises(ManifestError, match="a relabel must name one of the project's classes; got 'cow'"):
        train(config_of(), project, "first")
    status = RunDir.of(project, "first").read_status()
    assert status["state"] == "failed" and "cow" in status["error"]


def cancel_in_epoch(monkeypatch, epoch: int, step: int) -> None:
    """Ask for a cancel as a person would, with the file, at a chosen step; look for it at every step."""
    before = Trainer._step

    def asking(self, at_epoch, at_step, *rest):
        before(self, at_epoch, at_step, *rest)
        if (at_epoch, at_step) == (epoch, step):
            asking.run.request_cancel()
            time.sleep(0.15)

    monkeypatch.setattr(Trainer, "_step", asking)
    return asking


def equal_runs(a: RunDir, b: RunDir) -> None:
    pd.testing.assert_frame_equal(a.read_signals(), b.read_signals(), check_exact=True)
    drop = {"seconds"}
    for x, y in zip(a.read_metrics().to_dict("records"), b.read_metrics().to_dict("records"), strict=True):
        assert json.dumps({k: v for k, v in x.items() if k not in drop}) == \
            json.dumps({k: v for k, v in y.items() if k not in drop})
    for file in sorted((a.path / "history").iterdir()):
        assert file.read_bytes() == (b.path / "history" / file.name).read_bytes()
    pd.testing.assert_frame_equal(a.read_embedding(), b.read_embedding(), check_exact=True)


def test_cancelled_in_mid_epoch_and_resumed_equals_uninterrupted(project, whole, monkeypatch):
    asking = cancel_in_epoch(monkeypatch, epoch=3, step=1)
    asking.run = RunDir.of(project, "cut")
    cut = train(config_of(), project, "cut")
    assert cut.read_status()["state"] == "cancelled" and len(cut.read_metrics()) == 2
    assert checkpoint.checkpoints(cut.checkpoint_dir)[-1].name == "state-00003-0000002.pt"
    assert checkpoint.load_newest(cut.checkpoint_dir, print)["step"] == 2
    monkeypatch.undo()
    assert resume(project, "cut").read_status()["state"] == "done"
    equal_runs(whole, cut)


def test_sigterm_asks_for_a_cancel_and_the_handler_of_before_is_back(project, monkeypatch):
    real, before = Trainer.run_epoch, signal.getsignal(signal.SIGTERM)

    def killed(self, epoch, *rest):
        if epoch == 2:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(0.2)  # a cancel is looked for ten times a second
        real(self, epoch, *rest)

    monkeypatch.setattr(Trainer, "run_epoch", killed)
    run = train(config_of(method="erm"), project, "terminated")
    assert run.read_status()["state"] == "cancelled" and not run.is_cancel_requested()
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_cancel_that_was_left_by_another_of_that_name_does_not_stop_a_new_run(project):
    run = RunDir.of(project, "again")
    run.path.mkdir(parents=True)
    run.request_cancel()
    os.utime(run.path / "cancel", (1e9, 1e9))
    assert train(config_of(method="erm", epochs=1), project, "again").read_status()["state"] == "done"


def test_a_run_cancelled_while_ranking_keeps_its_folds(project, monkeypatch):
    config = config_of(method="lrw_hard", folds=3)
    whole = train(config, project, "whole")
    asking, calls = cancel_in_epoch(monkeypatch, epoch=2, step=0), []
    asking.run = RunDir.of(project, "cut")
    first_init = Trainer.__init__

    def counting(self, *args, **kwargs):
        calls.append(kwargs)
        if len(calls) == 1:
            asking.run = RunDir.of(project, "elsewhere")  # let the first fold pass
            asking.run.path.mkdir(parents=True)
        else:
            asking.run = RunDir.of(project, "cut")
        first_init(self, *args, **kwargs)

    monkeypatch.setattr(Trainer, "__init__", counting)
    cut = train(config, project, "cut")
    assert cut.read_status()["state"] == "cancelled" and (cut.checkpoint_dir / "fold-0.npy").exists()
    monkeypatch.undo()
    resume(project, "cut")
    equal_runs(whole, cut)


@pytest.mark.parametrize("stage", ["write_predictions", "embedding.embed_run"])
def test_stopped_after_training_and_resumed_finishes_and_says_all_epochs_are_done(project, whole, monkeypatch, stage):
    def broken(*_):
        raise OSError("disk full")

    monkeypatch.setattr(f"engine.runs.train.{stage}", broken)
    with pytest.raises(OSError, match="disk full"):
        train(config_of(), project, "cut")
    monkeypatch.undo()
    cut = resume(project, "cut")
    assert cut.read_status()["state"] == "done" and cut.read_status()["epoch"] == 4
    equal_runs(whole, cut)
    pd.testing.assert_frame_equal(whole.read_predictions(), cut.read_predictions(), check_exact=True)


def test_of_two_that_resume_at_once_one_is_refused(project, monkeypatch):
    run, refused = RunDir.of(project, "first"), []
    train_epoch = engine_train._train_epoch

    def second_comes(*args):
        if not refused:
            # It read the status before this process wrote its own, so the lock alone can tell.
            monkeypatch.setattr(RunDir, "read_status", lambda self: {"state": "cancelled"})
            with pytest.raises(RunDirError, match="'first' is being trained by another; cancel it first"):
                resume(project, "first")
            refused.append(True)
            monkeypatch.undo()
        return train_epoch(*args)

    monkeypatch.setattr(engine_train, "_train_epoch", second_comes)
    assert train(config_of(epochs=1), project, "first").read_status()["state"] == "done" and refused
    run.write_status(**run.read_status() | {"state": "cancelled"})
    assert resume(project, "first").read_status()["state"] == "done", "the lock goes with its process"


def test_results_do_not_depend_on_where_the_splits_lie_in_the_manifest(project, tmp_path):
    other = make_project(tmp_path / "other", num_train=60, size=8)
    rows = read_manifest(other)
    is_training = rows["split"] == "train"
    halves = [rows[is_training][:20], rows[~is_training], rows[is_training][20:]]
    write_manifest(other, pd.concat(halves, ignore_index=True), read_info(other).classes, root="images")
    decisions = {"sample_id": ["train-00000", "train-00031"], "pin": ["validation", None], "excluded": [False, True],
                 "label": [None, None]}
    decide(project, **decisions)
    decide(other, **decisions)
    a, b = train(config_of(guard="off"), project, "first"), train(config_of(guard="off"), other, "first")
    pd.testing.assert_frame_equal(a.read_signals(), b.read_signals(), check_exact=True)
    pd.testing.assert_frame_equal(a.read_predictions(), b.read_predictions(), check_exact=True)


def test_a_run_that_never_leaves_warmup_says_so(project):
    metrics = train(config_of(epochs=1), project, "short").read_metrics()
    assert metrics["events"].iloc[0] == [{"kind": "never_left_warmup"}]
    run = train(config_of(epochs=2, warmup_fraction=1.0, rotation_groups=None), project, "random")
    signals = run.read_signals()
    assert (signals.loc[signals["role"] == "validation", "role_reason"] == "routed_random").all()
    assert (signals["role"] == "validation").sum() == 6


@pytest.mark.parametrize("method", ["molere", "lrw_random", "lrw_hard", "rho", "fsr", "kfold"])
def test_two_samples_are_enough_for_every_method_and_one_is_not_for_ranking(tmp_path, method):
    pair = make_project(tmp_path / "pair", num_train=2, num_clean=0, num_test=0, size=8)
    run = train(config_of(method=method, epochs=2), pair, "first")
    assert run.read_status()["state"] == "done" and len(run.read_embedding()) == 2 and run.read_predictions().empty
    decide(pair, sample_id=["train-00000"], pin=[None], excluded=[True], label=[None])
    if method in ("lrw_hard", "rho", "kfold"):
        with pytest.raises(ManifestError, match="leaves none of 1 usable samples"):
            train(config_of(method=method, epochs=2), pair, "second")
    else:
        train(config_of(method=method, epochs=2), pair, "second")


def test_kfold_judges_labels_by_out_of_fold_predictions_alone(project):
    config = config_of(method="kfold", epochs=2, folds=3)
    run = train(config, project, "folds")
    data = load_dataset(project, read_decisions(run.decisions_path), config.image_size, lambda *_: None)
    expected = cross_fitted_probabilities(config, data, lambda *_: None)
    quality = run.read_signals()["label_quality"].to_numpy()
    np.testing.assert_allclose(quality, expected[np.arange(len(quality)), data.train_labels], atol=1e-6)
    assert (run.read_signals()["heldout_epochs"] == 1).all()
    assert np.isfinite(run.open_probabilities("label_head")).all()


@pytest.mark.slow
def test_killed_in_mid_epoch_and_resumed_equals_uninterrupted(project, monkeypatch):
    settings = ["--set", "epochs=16", "--set", "batch_size=8", "--set", "embedding=pca", "--set", "num_threads=1",
                "--set", "checkpoint_seconds=0.2", "--set", "rotation_groups=4"]
    assert run_engine(monkeypatch, "train", str(project), "--name", "whole", *settings) == 0
    process = subprocess.Popen([sys.executable, "-m", "engine", "train", str(project), "--name", "cut", *settings],
                               cwd=ROOT, stdout=subprocess.DEVNULL)
    cut = RunDir.of(project, "cut")
    deadline = time.monotonic() + 60
    while len(cut.read_metrics()) < 5 and time.monotonic() < deadline:
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert cut.read_status()["state"] == "running" and not cut.read_status()["is_alive"]
    assert 5 <= len(cut.read_metrics()) < 16, "it must have been killed while it trained"
    assert run_engine(monkeypatch, "train", str(project), "--resume", "cut") == 0
    equal_runs(RunDir.of(project, "whole"), cut)


def test_a_damaged_newest_checkpoint_falls_back_to_the_one_before(project, whole, monkeypatch):
    asking = cancel_in_epoch(monkeypatch, epoch=4, step=1)
    asking.run = RunDir.of(project, "cut")
    cut = train(config_of(), project, "cut")
    monkeypatch.undo()
    newest = checkpoint.checkpoints(cut.checkpoint_dir)[-1]
    newest.write_bytes(newest.read_bytes()[:1000])
    resume(project, "cut")
    equal_runs(whole, cut)
    assert f"going back to the checkpoint state-00004-0000000.pt, since {newest.name}: cut short" in \
        cut.log_path.read_text()
    for path in checkpoint.checkpoints(cut.checkpoint_dir):
        path.write_bytes(b"junk")
    with pytest.raises(checkpoint.CheckpointError, match="a checkpoint must be readable; state-"):
        checkpoint.load_newest(cut.checkpoint_dir, print)


def test_a_non_finite_loss_ends_in_a_failed_status_with_the_reason(project):
    with pytest.raises(NonFiniteError, match="epoch 1 step"):
        train(config_of(method="erm", lr=100.0, momentum=0.99, epochs=1, batch_size=2, weight_decay=1.0), project,
              "wild")
    status = RunDir.of(project, "wild").read_status()
    assert status["state"] == "failed" and "on samples train-" in status["error"]


def test_names_are_taken_once_and_changed_data_is_not_resumed(project):
    train(config_of(epochs=1, method="erm"), project, "first")
    with pytest.raises(RunDirError, match="'first' exists; choose another or --resume first"):
        train(config_of(epochs=1), project, "first")
    with pytest.raises(RunDirError, match="a name must be 1 to 64 letters"):
        train(config_of(epochs=1), project, "../outside")
    run = RunDir.of(project, "first")
    run.write_status(**run.read_status() | {"state": "cancelled"})
    run.write_config(run.read_config() | {"manifest_digest": "0"})
    with pytest.raises(RunDirError, match="the manifest changed since 'first' began"):
        resume(project, "first")


def test_an_unreadable_image_is_left_out_and_says_so(project):
    (project / "images" / "train" / "00004.png").write_bytes(b"no image")
    run = train(config_of(), project, "first")
    row = run.read_signals().set_index("sample_id").loc["train-00004"]
    assert row["role"] == "excluded" and row["role_reason"] == "excluded_unreadable"
    assert "left out, unreadable: train-00004: unreadable image: an image must be of" in run.log_path.read_text()


def test_a_status_is_never_half_written_and_beats_while_it_trains(project):
    seen, stop, run = [], threading.Event(), RunDir.of(project, "first")

    def watch():
        while not stop.is_set():
            if run.exists():
                seen.append(run.read_status()["state"])

    watcher = threading.Thread(target=watch)
    watcher.start()
    train(config_of(), project, "first")
    stop.set()
    watcher.join()
    assert set(seen) <= {"queued", "running", "done"} and "running" in seen


def test_the_map_can_be_made_again(project):
    run = train(config_of(embedding="none"), project, "first")
    assert run.read_embedding() is None
    embed_again(project, "first", "pca", lambda _: None)
    assert len(run.read_embedding()) == 60
    rows = read_manifest(project)
    write_manifest(project, rows.iloc[::-1].reset_index(drop=True), read_info(project).classes, root="images")
    with pytest.raises(RunDirError, match="the manifest changed since 'first' began; start a new run"):
        embed_again(project, "first", "pca", lambda _: None)


def test_the_command_line_says_what_is_wrong_in_one_line(project, monkeypatch, capsys):
    wrong = subprocess.run([sys.executable, "-m", "engine", "train", str(project), "--name", "x", "--set", "epochs=0"],
                           cwd=ROOT, capture_output=True, text=True)
    assert wrong.returncode == 2 and wrong.stderr.strip() == "error: epochs must lie in [1, 100000]; got 0"
    assert run_engine(monkeypatch, "train", str(project / "nowhere"), "--name", "x") == 2
    assert "a project needs manifest.parquet" in capsys.readouterr().err


def test_a_preview_begins_with_the_classifier_of_another_run_and_says_so(project):
    first = train(config_of(), project, "first")
    weights = checkpoint.load_newest(first.checkpoint_dir, print)["trainer"]["classifier"]["model"]
    still = config_of(epochs=1, lr=1e-8, weight_decay=0.0, seed=5)
    cold, warm = train(still, project, "cold"), train(still, project, "warm", None, "first")

    def moved(run: RunDir) -> float:
        now = checkpoint.load_newest(run.checkpoint_dir, print)["trainer"]["classifier"]["model"]
        return max(float((now[name] - weights[name]).abs().max()) for name in weights if name.endswith("weight"))

    assert moved(warm) < 1e-5 < 1e-2 < moved(cold)
    source = warm.read_config()["warm_start"]
    assert source == {"run": "first", "checkpoint": checkpoint.checkpoints(first.checkpoint_dir)[-1].name}
    assert "warm_start" not in cold.read_config() and any("a preview: begins" in line for line in warm.log_tail(50))


def test_a_preview_needs_a_checkpoint_that_fits(project):
    with pytest.raises(ConfigError, match="'first' has none; choose another run"):
        train(config_of(), project, "look", None, "first")
    train(config_of(epochs=1), project, "first")
    with pytest.raises(ConfigError, match="same network and classes; that of 'first' does not fit"):
        train(config_of(epochs=1, network="tiny"), project, "other", None, "first")
    assert RunDir.of(project, "other").read_status()["state"] == "failed"


def test_held_out_probabilities_are_kept_beside_the_signals(tmp_path):
    run = train(config_of(embedding="none"), make_project(tmp_path / "fake", num_train=60, size=8), "first")
    signals = run.read_signals()
    found = [run.read_probabilities(row) for row in range(len(signals))]
    held_out = (signals["heldout_epochs"] > 0).to_numpy()
    assert [probs is not None for probs in found] == held_out.tolist() and held_out.any()
    classes = list(read_info(tmp_path / "fake").classes)
    rows = read_manifest(tmp_path / "fake").query("split == 'train'")["given_label"].tolist()
    for row in np.flatnonzero(held_out):
        assert found[row].sum() == pytest.approx(1, abs=5e-3)
        assert found[row][classes.index(rows[row])] == pytest.approx(signals["label_quality"][row], abs=1e-3)
    assert run.read_probabilities(len(signals)) is None


def test_a_device_that_this_machine_lacks_is_the_users_error(project, monkeypatch):
    """Exit status 2 and one line, as for any other setting that cannot be had."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ConfigError, match="device must be one this machine has; got cuda"):
        train(RunConfig(method="erm", device="cuda"), project, "lost")
    assert RunDir.of(project, "lost").read_status()["state"] == "failed"


def is_same(a: object, b: object) -> bool:
    if isinstance(a, torch.Tensor):
        return isinstance(b, torch.Tensor) and a.dtype == b.dtype and bool(torch.allclose(a, b, 0, 0, equal_nan=True))
    if isinstance(a, dict):
        return isinstance(b, dict) and list(a) == list(b) and all(is_same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return isinstance(b, list | tuple) and len(a) == len(b) and all(map(is_same, a, b))
    return repr(a) == repr(b)


def test_a_checkpoint_with_a_bit_changed_is_never_gone_on_from(project, whole, monkeypatch):
    """It ends as the whole run did, from the checkpoint before, or is refused."""
    monkeypatch.setattr("engine.runs.train.write_predictions", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        train(config_of(), project, "cut")
    monkeypatch.undo()
    cut, rng = RunDir.of(project, "cut"), np.random.default_rng(0)
    older, newest = checkpoint.checkpoints(cut.checkpoint_dir)
    sound, state = newest.read_bytes(), checkpoint.load(newest)
    for at in rng.integers(0, len(sound), 60):
        newest.unlink()
        newest.write_bytes(sound[:at] + bytes([sound[at] ^ (1 << int(rng.integers(8)))]) + sound[at + 1:])
        try:
            found = checkpoint.load(newest)
        except checkpoint.CheckpointError:
            continue
        assert is_same(found, state), at
    resume(project, "cut")
    equal_runs(whole, cut)
    assert f"going back to the checkpoint {older.name}, since {newest.name}: {newest.name} is not as it was" in \
        cut.log_path.read_text()


@pytest.mark.parametrize("change", ["a missing copy", "another copy"])
def test_a_run_goes_on_under_the_decisions_that_it_began_with_or_not_at_all(project, monkeypatch, change):
    decide(project, sample_id=["train-00000"], pin=["validation"], excluded=[False], label=[None])
    monkeypatch.setattr("engine.runs.train.write_predictions", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        train(config_of(epochs=1), project, "cut")
    run = RunDir.of(project, "cut")
    run.decisions_path.unlink()
    if change == "another copy":
        pd.DataFrame({"sample_id": ["train-00001"], "pin": ["train"], "excluded": [False], "label": [None]}) \
            .to_parquet(run.decisions_path)
    with pytest.raises(RunDirError, match="its copy of the decisions changed since 'cut' began; start a new run"):
        resume(project, "cut")
