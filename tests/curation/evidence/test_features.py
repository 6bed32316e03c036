"""Features that people bring: every format and order, and one line for what is wrong, with the project untouched."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from curation.__main__ import main
from curation.evidence.array_file import EvidenceError
from curation.evidence.features import import_features
from curation.project import Project
from engine.contract import feature_dir
from engine.contract.feature_dir import FeatureDir, FeatureStore, list_features, write_features
from engine.contract.manifest import read_manifest
from tests.fakes import make_project

D = 5


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """12 training samples, 3 clean, 3 test."""
    return Project.open(make_project(tmp_path / "p", num_train=12, num_clean=3, num_test=3, size=2))


@pytest.fixture
def values() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(18, D)).astype(np.float32)


def ids_of(project: Project) -> list[str]:
    return read_manifest(project.path)["sample_id"].tolist()


def written(path: Path, ids: list[str] | None, values: np.ndarray) -> Path:
    """A file of these features, by its ending."""
    if path.suffix == ".npy":
        np.save(path, values)
    elif path.suffix == ".npz":
        np.savez(path, features=values, **({} if ids is None else {"sample_id": np.array(ids)}))
    else:
        frame = pd.DataFrame(values, columns=[f"f{i}" for i in range(values.shape[1])])
        if path.stem == "lists":
            frame = pd.DataFrame({"embedding": list(values)})
        if ids is not None:
            frame.insert(0, "sample_id", ids)
        frame.to_parquet(path) if path.suffix == ".parquet" else frame.to_csv(path, index=False)
    return path


def read(project: Project, name: str, ids: list[str]) -> np.ndarray:
    store = FeatureStore.open(project.path, name)
    return store.read(store.rows_of(np.array(ids, dtype=object))).astype(np.float32)


@pytest.mark.parametrize("file", ["a.npz", "a.parquet", "lists.parquet", "a.csv"])
def test_rows_go_to_their_samples_by_id_in_whatever_order(project: Project, values, tmp_path: Path, file: str) -> None:
    ids, order = ids_of(project), np.random.default_rng(1).permutation(18)
    done = import_features(project, written(tmp_path / file, [ids[i] for i in order], values[order]), "dino")
    assert (done.match.order, done.match.num_missing, done.file.num_columns) == ("sample_id", 0, D)
    assert np.allclose(read(project, "dino", ids), values, atol=2e-3)
    document = FeatureDir.of(project.path, "dino").read_document()
    assert document["kind"] == "imported" and document["backbone"] == file and len(document["digest"]) == 64
    assert FeatureDir.of(project.path, "dino").read_status()["state"] == "done"


@pytest.mark.parametrize("file", ["a.npy", "a.npz", "lists.parquet"])
@pytest.mark.parametrize(("num", "order"), [(18, "all"), (12, "train")])
def test_without_ids_the_count_says_which_samples_are_meant(project: Project, values, tmp_path: Path, file: str,
                                                            num: int, order: str) -> None:
    done = import_features(project, written(tmp_path / file, None, values[:num]), "dino")
    assert (done.match.order, done.match.num_missing) == (order, 18 - num)
    assert np.allclose(read(project, "dino", ids_of(project)[:num]), values[:num], atol=2e-3)
    samples = FeatureStore.open(project.path, "dino").samples
    assert (samples["row"] < 0).sum() == 18 - num
    assert set(samples.loc[samples["row"] < 0, "reason"]) == ({f"no features in {file}"} if num < 18 else set())


def test_a_compressed_npz_and_a_small_block_are_read_whole(project: Project, values, tmp_path: Path,
                                                           monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("curation.evidence.array_file.BLOCK_BYTES", 7 * D * 4)
    monkeypatch.setattr(feature_dir, "SHARD_ROWS", 4)
    np.savez_compressed(tmp_path / "a.npz", anything=values)
    import_features(project, tmp_path / "a.npz", "dino")
    assert np.allclose(read(project, "dino", ids_of(project)), values, atol=2e-3)
    assert [len(shard) for shard in FeatureStore.open(project.path, "dino").shards] == [4, 4, 4, 4, 2]


def test_unknown_ids_are_counted_and_the_rest_loads(project: Project, values, tmp_path: Path, capsys) -> None:
    ids = ["nobody-1", *ids_of(project)[:10], "nobody-2"]
    file = written(tmp_path / "a.parquet", ids, values[:12])
    assert main(["features", str(project.path), "--file", str(file), "--name", "dino"]) == 3
    out = capsys.readouterr().out
    assert "features dino: 10 samples of 5 numbers from a.parquet" in out and "matched by sample_id" in out
    assert "2 rows are of no sample of this project and were left out, first 'nobody-1'" in out
    assert "8 of 18 samples have no features in the file" in out
    assert np.allclose(read(project, "dino", ids[1:11]), values[1:11], atol=2e-3)


def test_numbers_beyond_half_floats_are_clipped_and_said(project: Project, values, tmp_path: Path, capsys) -> None:
    values[3, 2] = 1e6
    file = written(tmp_path / "a.npy", None, values)
    assert main(["features", str(project.path), "--file", str(file), "--name", "dino"]) == 0
    assert "1 numbers beyond the range of half floats" in capsys.readouterr().out
    assert read(project, "dino", ids_of(project)).max() == 65_504


def spoilt(values: np.ndarray, row: int, column: int, value: float) -> np.ndarray:
    found = values.copy()
    found[row, column] = value
    return found


@pytest.mark.parametrize(("write", "words"), [
    (lambda p, v, ids: written(p / "a.npy", None, v[:7]), "18 in all or 12 of split train; .*a.npy has 7; add"),
    (lambda p, v, ids: written(p / "a.npy", None, v[:, 0]), r"two axes; .*a.npy has shape \(18,\)"),
    (lambda p, v, ids: written(p / "a.npy", None, v.astype(complex)), "real numbers; .*a.npy has dtype complex"),
    (lambda p, v, ids: written(p / "a.npy", None, v.astype(object)), "Python objects, which are never loaded"),
    (lambda p, v, ids: written(p / "a.npy", None, spoilt(v, 4, 2, np.nan)),
     r"must be finite; row 4 \(counted from 0\) of .*a.npy has nan in column 2"),
    (lambda p, v, ids: written(p / "a.parquet", ids, spoilt(v, 4, 2, np.inf)),
     r"row 4 \(counted from 0, sample_id 'train-00004'\) of .*a.parquet has inf in column 2"),
    (lambda p, v, ids: written(p / "a.parquet", [*ids[:-1], ids[2]], v),
     "must be unique; row 17 .*'train-00002'.* repeats row 2; remove one of them"),
    (lambda p, v, ids: written(p / "a.parquet", [f"x{i}" for i in ids], v), "none of the 18 ids .* is, first 'xtrain-"),
    (lambda p, v, ids: written(p / "a.parquet", [*ids[:-1], None], v), "must have a sample_id; row 17"),
    (lambda p, v, ids: written(p / "a.txt", ids, v), "must end in .npy, .npz, .parquet, .csv; got 'a.txt'"),
    (lambda p, v, ids: p / "none.npy", "must be there; .*none.npy is none"),
    (lambda p, v, ids: written(p / "a.npy", None, v[:0]), "must have rows of numbers; .*a.npy has 0 rows of 5"),
])
def test_what_is_wrong_is_one_line_and_the_project_stays(project: Project, values, tmp_path: Path, write,
                                                         words: str) -> None:
    file = write(tmp_path, values, ids_of(project))
    with pytest.raises(EvidenceError, match=words) as caught:
        import_features(project, file, "dino")
    assert "\n" not in str(caught.value)
    assert not (project.path / "features").exists() or not list((project.path / "features").iterdir())


def test_damaged_files_and_odd_tables_are_one_line(project: Project, values, tmp_path: Path) -> None:
    ids = ids_of(project)
    whole = written(tmp_path / "whole.npz", None, values).read_bytes()
    (tmp_path / "cut.npz").write_bytes(whole[:-30])
    (tmp_path / "no.parquet").write_bytes(b"PAR1 no")
    (tmp_path / "no.npy").write_bytes(b"no")
    np.savez(tmp_path / "two.npz", a=values, b=values)
    np.savez(tmp_path / "fortran.npz", np.asfortranarray(values))
    np.savez(tmp_path / "short.npz", features=values, sample_id=np.array(ids[:3]))
    pd.DataFrame({"sample_id": ids, "a": list(values), "b": list(values)}).to_parquet(tmp_path / "lists.parquet")
    pd.DataFrame({"sample_id": ids, "a": [*values[:-1], values[0, :2]]}).to_parquet(tmp_path / "ragged.parquet")
    pd.DataFrame({"sample_id": ids, "a": [["x"]] * 18}).to_parquet(tmp_path / "texts.parquet")
    (tmp_path / "twice.csv").write_text("sample_id,a,a\nx,1,2\n")
    (tmp_path / "late.csv").write_text("sample_id,a\n" + "x,1\n" * 3 + "y\n")
    for name, words in (("cut.npz", "must be readable"), ("no.parquet", "must be readable"),
                        ("no.npy", "must be readable"), ("two.npz", "one array, or features .*'a', 'b'"),
                        ("fortran.npz", "Fortran's order"), ("short.npz", r"one a row; .* has \(3,\) of them for 18"),
                        ("lists.parquet", "one column of lists; .* has 'a', 'b'"),
                        ("ragged.parquet", r"of one length; row 17 \(counted from 0\) of .* has 2 numbers"),
                        ("texts.parquet", "must hold real numbers; column 'a'"), ("twice.csv", "'a' repeats in"),
                        ("late.csv", "late.csv row 5: a row must have 2 values; got 1")):
        with pytest.raises(EvidenceError, match=words):
            import_features(project, tmp_path / name, "dino")
    assert list_features(project.path) == []


def test_a_name_is_replaced_only_when_told_and_never_that_of_made_features(project: Project, values, tmp_path: Path,
                                                                           capsys) -> None:
    file, ids = written(tmp_path / "a.npy", None, values), ids_of(project)
    command = ["features", str(project.path), "--file", str(file), "--name", "dino"]
    assert main(command) == 0
    np.save(file, values + 1)
    assert main(command) == 2 and "(--replace)" in capsys.readouterr().err
    assert main([*command, "--replace"]) == 0
    assert np.allclose(read(project, "dino", ids), values + 1, atol=4e-3)
    np.save(file, spoilt(values, 0, 0, np.nan))
    assert main([*command, "--replace"]) == 2 and "must be finite" in capsys.readouterr().err
    assert np.allclose(read(project, "dino", ids), values + 1, atol=4e-3), "a bad file leaves the old ones as they were"
    write_features(FeatureDir.of(project.path, "lite0"), {"kind": "backbone", "num_features": D}, ids, values,
                   np.ones(18, dtype=bool))
    assert main([*command[:-1], "lite0", "--replace"]) == 2
    assert "of features that are made here" in capsys.readouterr().err
    assert main([*command[:-1], "../out"]) == 2 and "a name must be" in capsys.readouterr().err
