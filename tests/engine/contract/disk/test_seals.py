"""What was damaged is told from what was written, in every kind of file, with any bit changed; other readers see no
seal."""

import json
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from engine.contract.disk.seals import (
    LENGTH,
    MAGIC,
    SealError,
    check_seal,
    has_seal,
    opened_bytes,
    opened_json,
    opened_lines,
    seal,
    sealed_json,
    sealed_lines,
)
from engine.contract.work_dir import FileError, open_array, write_array, write_atomic


def save(path: Path) -> None:
    with path.open("wb") as file:  # given a name, numpy would add its own ending
        np.save(file, np.arange(50))


@pytest.fixture(params=[".parquet", ".npy", ".pt", ".img"])
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path = tmp_path / f"file{request.param}"
    write = {".parquet": lambda p: pd.DataFrame({"a": np.arange(50), "b": "text"}).to_parquet(p),
             ".npy": save, ".img": lambda p: p.write_bytes(bytes(range(50))),
             ".pt": lambda p: torch.save({"a": torch.arange(50), "b": [1.5]}, p)}[request.param]
    write_atomic(path, write)
    return path


def content(path: Path) -> object:
    if path.suffix == ".parquet":
        return pd.read_parquet(path).to_dict("list")
    if path.suffix == ".npy":
        return np.load(path).tolist(), np.load(path, mmap_mode="r").tolist()
    if path.suffix == ".img":
        return opened_bytes(path.read_bytes())
    state = torch.load(path, weights_only=True)
    return state["a"].tolist(), state["b"]


def test_every_changed_bit_is_told_those_of_the_seal_as_well(path: Path) -> None:
    sound = path.read_bytes()
    assert has_seal(path) and content(path)
    check_seal(path)
    rng = np.random.default_rng(0)
    for at in {*rng.integers(0, len(sound), 150).tolist(), *range(len(sound) - 60, len(sound)), *range(40),
               *range(mark := sound.index(MAGIC), mark + len(MAGIC))}:
        damaged = bytearray(sound)
        damaged[at] ^= 1 << int(rng.integers(8))
        path.unlink()  # another inode: the clock may stand still
        path.write_bytes(damaged)
        try:
            check_seal(path)
            content(path)
        except (ValueError, OSError, RuntimeError, zipfile.BadZipFile):
            continue
        pytest.fail(f"byte {at} of {len(sound)}")


@pytest.mark.parametrize("num", [1, LENGTH, LENGTH + 1, 200])
def test_a_file_cut_short_is_whole_or_refused(path: Path, num: int) -> None:
    whole, sound = content(path), path.read_bytes()
    path.unlink()
    path.write_bytes(sound[:-num])
    try:
        check_seal(path)
        assert content(path) == whole
    except (ValueError, OSError, RuntimeError, EOFError):
        pass


def test_a_copy_of_a_damaged_file_stays_damaged(path: Path) -> None:
    damaged = bytearray(path.read_bytes())
    damaged[len(damaged) // 4] ^= 1
    copy = path.with_name(f"copy{path.suffix}")
    write_atomic(copy, lambda p: p.write_bytes(damaged))
    with pytest.raises(SealError, match="is not as it was written"):
        check_seal(copy)


def test_files_of_older_code_are_read_as_they_are(path: Path) -> None:
    bare = path.with_name(f"bare{path.suffix}")
    write_atomic(bare, save, is_sealed=False)
    check_seal(bare)
    assert not has_seal(bare)


def test_a_damaged_array_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    write_array(path, np.arange(4.0))
    sound = bytearray(path.read_bytes())
    sound[-LENGTH - 3] ^= 4
    path.unlink()
    path.write_bytes(sound)
    with pytest.raises(FileError, match="a.npy must be an array; a.npy is not as it was written; it was damaged"):
        open_array(path)


def test_json_tells_a_changed_value_and_not_how_it_is_laid_out() -> None:
    text = sealed_json({"epochs": 20, "names": ("a", "b"), "rate": 0.1, "of": {1: None}})
    values = {"epochs": 20, "names": ["a", "b"], "rate": 0.1, "of": {"1": None}}
    assert opened_json(json.loads(text)) == values == opened_json(json.loads(" ".join(text.split())))
    with pytest.raises(SealError, match="what it says has changed since it was written"):
        opened_json(json.loads(text.replace("20", "30")))
    assert opened_json({"epochs": 30, "of": "a" * 64}) == {"epochs": 30, "of": "a" * 64}
    with pytest.raises(SealError, match="its sha256 has another name since it was written"):
        opened_json(json.loads(text.replace("sha256", "sha252")))


def test_lines_likewise() -> None:
    text = sealed_lines('{"a": 1}\n{"a": 2}\n')
    assert opened_lines(text) == '{"a": 1}\n{"a": 2}\n' and opened_lines('{"a": 3}\n') == '{"a": 3}\n'
    with pytest.raises(SealError, match="has changed since it was written"):
        opened_lines(text.replace("2", "3", 1))
    with pytest.raises(SealError, match="has changed since it was written"):
        opened_lines(text.replace("sha256", "sha252"))


def test_a_seal_is_put_once(path: Path) -> None:
    sound = path.read_bytes()
    seal(path, path.suffix)
    assert path.read_bytes() == sound
