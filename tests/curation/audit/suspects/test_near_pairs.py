"""Near-duplicates by whitened features: planted ones are found, whatever the scale, and the nearest are the nearest."""

from pathlib import Path

import numpy as np
import pytest

from curation.audit.suspects import near_pairs as near
from curation.audit.suspects.near_pairs import near_pairs
from engine.contract.feature_dir import FeatureDir, FeatureStore, write_features

N, Q, D = 600, 40, 24


def store_of(path: Path, values: np.ndarray, name: str = "own") -> FeatureStore:
    folder = FeatureDir.of(path, name)
    write_features(folder, {"kind": "imported", "num_features": values.shape[1]}, [f"s{i}" for i in range(len(values))],
                   values, np.ones(len(values), dtype=bool))
    return FeatureStore(folder)


@pytest.fixture
def values() -> np.ndarray:
    """N others, then Q asked: 0 to 4 are an other with a little noise, the rest like the others. All share a large
    part, and the axes differ in scale."""
    rng = np.random.default_rng(0)
    found = rng.normal(size=(N + Q, D))
    found[N:N + 5] = found[100:105] + 0.05 * rng.normal(size=(5, D))
    return 20.0 + found * np.geomspace(0.2, 5, D)


def quiet(*_: object) -> None:
    pass


def test_planted_pairs_are_found_and_no_others(tmp_path: Path, values: np.ndarray,
                                               monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(near, "ROWS_AT_ONCE", 64)
    said: list[tuple[int, int]] = []
    found = near_pairs(store_of(tmp_path, values), np.arange(N, N + Q), np.arange(N),
                       lambda done, total, message: said.append((done, total)))
    assert found.asked.tolist() == [0, 1, 2, 3, 4] and found.other.tolist() == [100, 101, 102, 103, 104]
    assert (found.distance < 0.1).all() and said[0] == (64, N) and said[-1] == (N, N)


def test_the_nearest_are_those_of_brute_force_whatever_the_blocks(tmp_path: Path, values: np.ndarray,
                                                                  monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(near, "MAX_DISTANCE", 2.0)
    store = store_of(tmp_path, values)
    found = {}
    for size in (48, 8192):
        monkeypatch.setattr(near, "ROWS_AT_ONCE", size)
        found[size] = near_pairs(store, np.arange(N, N + Q), np.arange(N), quiet)
    kept = store.read(np.arange(N + Q)).astype(np.float64)
    centred = kept - kept[:N].mean(0)
    _, lengths, axes = np.linalg.svd(centred[:N] / N**0.5, full_matrices=False)
    unit = centred @ axes.T / lengths
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    distance = 1 - unit[N:] @ unit[:N].T
    for one in found.values():
        assert np.bincount(one.asked).tolist() == [near.NUM_NEIGHBOURS] * Q
        mine = one.distance.reshape(Q, -1)
        assert np.allclose(mine, np.sort(distance, axis=1)[:, :near.NUM_NEIGHBOURS], atol=1e-3)
        assert np.allclose(distance[one.asked, one.other], one.distance, atol=1e-3)


def test_a_heap_of_copies_is_found_and_a_closer_one_among_the_far(tmp_path: Path, values: np.ndarray) -> None:
    values[200:230] = values[N + 10] + 0.01 * np.random.default_rng(1).normal(size=(30, D))
    found = near_pairs(store_of(tmp_path, values), np.arange(N + 10, N + 11), np.arange(N), quiet)
    assert len(found.asked) == near.NUM_NEIGHBOURS and ((found.other >= 200) & (found.other < 230)).all()
    values[N + 20] = values[300] + 0.45 * np.random.default_rng(2).normal(size=D) * np.geomspace(0.2, 5, D)
    found = near_pairs(store_of(tmp_path, values, "far"), np.arange(N + 20, N + 21), np.arange(N), quiet)
    assert found.other.tolist() == [300]


def test_few_and_none_are_no_trouble(tmp_path: Path, values: np.ndarray) -> None:
    store = store_of(tmp_path, values)
    assert len(near_pairs(store, np.arange(N, N + 5), np.empty(0, dtype=np.int64), quiet).asked) == 0
    assert len(near_pairs(store, np.empty(0, dtype=np.int64), np.arange(5), quiet).asked) == 0
    few = near_pairs(store, np.array([N + 1, 3]), np.arange(3, 6), quiet)
    assert (1, 0) in zip(few.asked.tolist(), few.other.tolist(), strict=True), "the very same row"
    flat = store_of(tmp_path, values[:, :3], "flat")
    assert len(near_pairs(flat, np.arange(N, N + Q), np.arange(N), quiet).asked) == 0, "in three numbers much is near"
    same = near_pairs(flat, np.array([50]), np.arange(N), quiet)
    assert same.other.tolist() == [50]
