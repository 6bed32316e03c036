"""The fakes keep the contracts that the engine keeps, or tests that stand on them would prove nothing."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from curation.project import Project
from engine.contract.config import RunConfig
from engine.contract.manifest import file_digest, read_info, read_manifest, resolve_image
from engine.contract.methods import METHODS
from engine.contract.signal_columns import ROLES, SIGNAL_COLUMNS
from engine.contract.work_dir import STATES
from tests import ROOT
from tests.fakes import make_project, make_run

METRIC_KEYS = {
    "epoch", "seconds", "lr", "train_loss", "validation_loss", "clean_accuracy", "test_accuracy", "num_train",
    "num_validation", "num_routed", "validation_share", "churn", "effective_sample_frac", "weight_min", "weight_max",
    "label_noise", "weight_freedom",
    "weight_mean_wrong", "weight_mean_right", "num_withheld", "guard_wrong_share", "unguarded_wrong_share", "coverage",
    "events"}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return make_project(tmp_path / "p")


def test_a_project_has_images_splits_and_a_tenth_of_wrong_labels(path: Path) -> None:
    rows = read_manifest(path)
    assert rows["split"].value_counts().to_dict() == {"train": 60, "clean": 12, "test": 12}
    train = rows[rows["split"] == "train"]
    assert (train["given_label"] != train["clean_label"]).mean() == pytest.approx(0.1)
    assert set(rows["group"]) == {"day", "night"} and read_info(path).classes == ("cat", "dog", "bird")
    for file in rows["path"]:
        with Image.open(resolve_image(Project.open(path).root, file)) as image:
            assert image.size == (16, 16)


@pytest.mark.parametrize("method", METHODS)
def test_a_done_run_is_a_whole_run_directory(path: Path, method: str) -> None:
    run = make_run(path, method=method, epochs=3, seed=2)
    train = read_manifest(path).query("split == 'train'")
    signals, metrics, status = run.read_signals(), run.read_metrics(), run.read_status()
    assert tuple(signals.columns) == SIGNAL_COLUMNS and signals["sample_id"].tolist() == train["sample_id"].tolist()
    epochs = RunConfig.from_dict(run.read_config()["config"]).epochs
    assert metrics["epoch"].tolist() == list(range(1, epochs + 1)) and set(metrics.columns) == METRIC_KEYS
    assert (status["state"], status["epoch"], status["is_alive"]) == ("done", epochs, False)
    embedding, neighbours, predictions = run.read_embedding(), run.read_neighbours(), run.read_predictions()
    assert embedding is not None and neighbours is not None and predictions is not None
    assert embedding["sample_id"].tolist() == signals["sample_id"].tolist()
    assert neighbours[0].shape == (60, 10) and not (neighbours[0] == np.arange(60)[:, None]).any()
    assert set(predictions["split"]) == {"clean", "test"} and len(predictions) == 24
    config = RunConfig.from_dict(run.read_config()["config"])
    assert (config.method, config.seed) == (method, 2)
    assert run.read_config()["manifest_digest"] == file_digest(path / "manifest.parquet")
    is_routing = METHODS[method].validation not in ("none", "proxy")
    history = run.read_history(np.arange(60))
    assert history["routed"].any() == is_routing == bool(metrics["num_routed"].gt(0).all())
    assert history["p_train"].notna().any() == (method == "molere")


def test_history_and_signals_tell_one_story(path: Path) -> None:
    run = make_run(path)
    signals, last = run.read_signals(), run.read_history(np.arange(60)).query("epoch == 4")
    np.testing.assert_array_equal(signals["role"], last["role"])
    is_held_out = (last["role"] == "validation").to_numpy()
    assert last["weight"].isna().to_numpy()[is_held_out].all()
    counts = run.read_history(np.arange(60)).groupby("row_idx")["role"].agg(lambda role: (role == "validation").sum())
    np.testing.assert_array_equal(signals["heldout_epochs"], counts)
    assert signals["label_quality"].isna().eq(signals["heldout_epochs"].eq(0)).all()
    assert set(signals["role"]) <= set(ROLES)


@pytest.mark.parametrize("state", STATES)
def test_each_state_leaves_what_the_engine_would_have_left(path: Path, state: str) -> None:
    run = make_run(path, state=state)
    status = run.read_status()
    assert status["state"] == state and status["is_alive"] == (state == "running")
    assert bool(status["error"]) == (state == "failed")
    assert run.signals_path.exists() == (state != "queued") and len(run.read_metrics()) == status["epoch"]
    assert (run.read_embedding() is not None) == (run.read_predictions() is not None) == (state == "done")


def test_decisions_hold_in_a_run_made_under_them(path: Path) -> None:
    ledger = Project.open(path).ledger()
    ledger.pin(["train-00000", "train-00007"], "validation", "ada")
    ledger.pin(["train-00001"], "train", "ada")
    ledger.exclude(["train-00002"], who="ada")
    run = make_run(path)
    rows = run.read_signals().set_index("sample_id")
    last = run.read_history(np.arange(60)).query("epoch == 4").set_index(rows.index)
    assert last.loc[["train-00000", "train-00007"], "routed"].all() and not last.loc["train-00001", "routed"]
    assert rows.loc["train-00002", "role"] == "excluded" and rows.loc["train-00002"].isna()["margin"]
    assert file_digest(run.decisions_path) == file_digest(path / "decisions.parquet")


def test_the_same_seed_gives_the_same_run_and_another_another(path: Path) -> None:
    one, same, other = (make_run(path, f"run{i}", seed=seed).read_signals() for i, seed in enumerate((1, 1, 2)))
    assert one.equals(same) and not one.equals(other)


def test_metric_keys_are_those_of_the_engine() -> None:
    """A key that the engine no longer writes must not live on here."""
    folder = ROOT / "engine"
    source = "".join(path.read_text(encoding="utf-8") for path in folder.rglob("*.py") if path.name != "run_dir.py")
    assert [key for key in sorted(METRIC_KEYS) if f'"{key}"' not in source] == []
