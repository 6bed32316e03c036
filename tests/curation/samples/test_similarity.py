"""Similarity against brute force in float64, over shards and blocks; and what cannot be asked for."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from curation.__main__ import main
from curation.samples import similarity
from curation.samples.similarity import SimilarityError, cosines, direction_of, nearest, similar_to
from engine.contract import feature_dir
from engine.contract.feature_dir import FeatureDir, FeatureStore, write_features
from engine.contract.manifest import read_manifest
from tests.fakes import make_project

N, D = 37, 6


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return make_project(tmp_path / "p", num_train=25, num_clean=6, num_test=6, size=2)


@pytest.fixture
def store(project: Path, monkeypatch: pytest.MonkeyPatch) -> FeatureStore:
    """Features of all but sample 3, in shards of 10 rows and blocks of 4; sample 5 is zeros, 7 is twice sample 6."""
    monkeypatch.setattr(feature_dir, "SHARD_ROWS", 10)
    monkeypatch.setattr(similarity, "ROWS_AT_ONCE", 4)
    values = np.random.default_rng(0).normal(size=(N, D)).astype(np.float16)
    values[5], values[7] = 0, 2 * values[6]
    known = np.arange(N) != 3
    write_features(FeatureDir.of(project, "own"), {"kind": "imported", "num_features": D},
                   read_manifest(project)["sample_id"].tolist(), values, known)
    return FeatureStore.open(project, "own")


def brute_force(store: FeatureStore, query: np.ndarray) -> np.ndarray:
    values = np.concatenate(store.shards).astype(np.float64)
    lengths = np.linalg.norm(values, axis=1)
    return values @ query / np.linalg.norm(query) / np.where(lengths > 0, lengths, 1)


def test_cosines_and_the_nearest_are_those_of_brute_force_in_float64(store: FeatureStore) -> None:
    query = np.random.default_rng(1).normal(size=D)
    expected = brute_force(store, query)
    assert np.allclose(cosines(store, query), expected, atol=1e-6)
    found = nearest(store, query, 9, np.arange(N - 1))
    assert found.at.tolist() == np.argsort(-expected, kind="stable")[:9].tolist()
    assert np.allclose(found.similarity, expected[found.at], atol=1e-6)
    asked = np.where(np.arange(N - 1) % 2 == 0, np.arange(N - 1), -1)
    found = nearest(store, query, 100, asked)
    assert len(found.at) == (asked >= 0).sum() and (asked[found.at] >= 0).all()
    assert (np.diff(found.similarity) <= 0).all()
    shared = nearest(store, query, 3, np.array([7, -1, 20, 7]))
    assert sorted(shared.at.tolist()) == [0, 2, 3], "copies that share a row are found, each by itself"


def test_of_equals_the_first_comes_first(store: FeatureStore) -> None:
    found = nearest(store, np.ones(D), 3, np.array([20, 11, 20, 20]))
    twins = [at for at in found.at.tolist() if at != 1]
    assert twins == sorted(twins) and len(found.at) == 3


def test_the_direction_of_several_is_the_mean_of_their_unit_vectors(store: FeatureStore) -> None:
    rows = np.array([0, 6, 20])
    values = store.read(rows).astype(np.float64)
    expected = (values / np.linalg.norm(values, axis=1, keepdims=True)).mean(0)
    assert np.allclose(direction_of(store, rows), expected, atol=1e-6)
    with pytest.raises(SimilarityError, match="a direction in common; the 1 asked for have none in features 'own'"):
        direction_of(store, np.array([4]))


def test_similar_samples_come_from_every_split_without_those_asked_for(store: FeatureStore, project: Path) -> None:
    rows = read_manifest(project)
    ids = rows["sample_id"].tolist()
    found = similar_to(store, rows, [ids[6]], N)
    assert found["sample_id"].iloc[0] == ids[7] and found["similarity"].iloc[0] == pytest.approx(1.0, abs=1e-6)
    assert set(found["sample_id"]) == {*ids} - {ids[3], ids[6]} and set(found["split"]) == {"train", "clean", "test"}
    with pytest.raises(SimilarityError, match="samples of the project; got 'nobody'"):
        similar_to(store, rows, [ids[0], "nobody"], 5)
    with pytest.raises(SimilarityError, match=f"'{ids[3]}' has none in 'own'"):
        similar_to(store, rows, [ids[3]], 5)


def test_the_command_writes_the_nearest_and_refuses_in_one_line(store: FeatureStore, project: Path, tmp_path: Path,
                                                                capsys) -> None:
    out = tmp_path / "near.csv"
    command = ["similar", str(project), "--features", "own", "--out", str(out)]
    assert main([*command, "--to", "train-00006", "--to", "train-00009", "--top", "8"]) == 0
    assert "8 samples most similar to 2 written" in capsys.readouterr().out
    frame = pd.read_csv(out)
    assert list(frame.columns) == list(similarity.COLUMNS) and len(frame) == 8
    query = direction_of(store, store.rows_of(np.array(["train-00006", "train-00009"], dtype=object)))
    expected = brute_force(store, query)[store.rows_of(frame["sample_id"])]
    assert np.allclose(frame["similarity"], expected, atol=1e-6) and frame["similarity"].is_monotonic_decreasing
    assert frame["path"].str.endswith(".png").all()
    for options, words in ((["--to", "nobody"], "got 'nobody'"), ([], "got neither; give --to or --text"),
                           (["--to", "train-00006", "--top", "0"], "Invalid value for '--top'"),
                           (["--to", "train-00006", "--features", "none"], "features must have features.json")):
        assert main([*command, *options]) == 2
        err = capsys.readouterr().err
        assert words in err and len(err.strip().splitlines()) == 1, err
