"""The weight decay that a run on features chooses: by held-out given labels, alike for every method, and kept."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from engine.contract.config import RunConfig
from engine.contract.manifest import read_decisions
from engine.data.dataset import Dataset, load_for
from engine.runs import weight_decay
from engine.runs.train import resume, train
from engine.runs.weight_decay import FALLBACK, STRENGTHS, choose_weight_decay, is_chosen_by_run
from tests.fake_features import make_features
from tests.fakes import make_project


def _config(**values: object) -> RunConfig:
    return RunConfig.from_dict({"method": "erm", "features": "own", "network": "linear", "epochs": 2, "device": "cpu",
                                "embedding": "none", "num_threads": 1, "hidden": 8, **values})


@pytest.fixture
def project(tmp_path: Path) -> Path:
    project = make_project(tmp_path / "p", num_train=150)
    make_features(project, num_features=6)
    return project


def _load(project: Path, **values: object) -> Dataset:
    return load_for(_config(**values), project, read_decisions(project / "none.parquet"), lambda *_: None)


@pytest.mark.parametrize("network", ["linear", "mlp"])
def test_noise_asks_for_more_than_what_can_be_learned(project: Path, network: str) -> None:
    data = _load(project)
    config = _config(network=network, epochs=20)
    noise = replace(data, labels=np.random.default_rng(0).integers(0, 3, len(data.labels)))
    learned, guessed = (choose_weight_decay(config, each, lambda *_: None) for each in (data, noise))
    assert learned["weight_decay"] < guessed["weight_decay"] == max(STRENGTHS)
    for chosen in (learned, guessed):
        assert [tried["weight_decay"] for tried in chosen["heldout"]] == list(STRENGTHS)
        best = min(chosen["heldout"], key=lambda tried: tried["cross_entropy"])
        assert chosen["weight_decay"] == best["weight_decay"]
    assert learned["heldout"][0]["accuracy"] > guessed["heldout"][0]["accuracy"]


def test_every_method_chooses_alike_and_neither_test_labels_nor_truth_are_read(project: Path) -> None:
    data = _load(project)
    chosen = choose_weight_decay(_config(), data, lambda *_: None)
    labels = data.labels.copy()
    labels[data.test_idx] = 0
    blind = replace(data, labels=labels, clean_labels=np.full_like(data.clean_labels, -1))
    assert choose_weight_decay(_config(method="molere", guard="off"), blind, lambda *_: None) == chosen
    assert choose_weight_decay(_config(method="meta_weight_net"), data, lambda *_: None) == chosen


def test_samples_out_of_training_have_no_say_and_siblings_stay_together(
        project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = _load(project)
    excluded, pins = np.zeros(150, bool), np.zeros(150, np.int8)
    excluded[:30], pins[30:60] = True, -1
    siblings = np.arange(150) // 5
    seen: list[int] = []

    def spy(config: RunConfig, x: torch.Tensor, labels: np.ndarray, *args: object, **options: object) -> object:
        images = data.images[data.train_idx]
        seen.extend(int(np.flatnonzero((images == row).all(1))[0]) for row in x.numpy())
        return real(config, x, labels, *args, **options)  # type: ignore[arg-type]

    real = weight_decay.train_heads
    monkeypatch.setattr(weight_decay, "train_heads", spy)
    choose_weight_decay(_config(), replace(data, excluded=excluded, pins=pins, siblings=siblings), lambda *_: None)
    assert min(seen) >= 60
    trained = set(seen)
    families = {n // 5 for n in trained}
    assert len(families) < 18 and all(5 * f + i in trained for f in families for i in range(5))


def test_config_json_keeps_the_choice_over_a_resume(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = train(_config(), project, "own")
    chosen = run.read_config()["chosen"]
    assert run.read_config()["config"]["weight_decay"] is None
    assert f"weight decay {chosen['weight_decay']:g}" in run.log_path.read_text()
    fixed = train(_config(weight_decay=chosen["weight_decay"]), project, "fixed")
    assert "chosen" not in fixed.read_config()
    assert fixed.signals_path.read_bytes() == run.signals_path.read_bytes()

    def refuse(*_: object) -> None:
        raise AssertionError("chosen twice")

    monkeypatch.setattr(weight_decay, "choose_weight_decay", refuse)
    for path in run.checkpoint_dir.iterdir():
        path.unlink()
    run.write_status(state="failed", pid=None)
    assert resume(project, "own").read_config()["chosen"] == chosen


def test_it_is_left_alone_where_it_is_given_or_makes_no_sense(project: Path) -> None:
    assert is_chosen_by_run(_config())
    assert not is_chosen_by_run(_config(weight_decay=0.0))
    assert not is_chosen_by_run(_config(method="discriminant"))
    assert not is_chosen_by_run(RunConfig(method="erm"))
    data = _load(project)
    excluded = np.ones(150, bool)
    excluded[3] = False
    assert choose_weight_decay(_config(), replace(data, excluded=excluded), lambda *_: None) == {
        "weight_decay": FALLBACK, "heldout": []}
