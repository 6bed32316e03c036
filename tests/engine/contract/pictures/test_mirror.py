"""Files that lie elsewhere: fetched once, kept within a bound, tried again, and never on a stranger's word."""

import json
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import fsspec
import numpy as np
import pytest

from engine.contract.pictures import mirror as module
from engine.contract.pictures.image_files import open_image, open_regular
from engine.contract.pictures.mirror import (
    MIRROR_NAME,
    RemoteError,
    exists,
    fetch,
    is_address,
    make_mirror,
    mirror_of,
    patience,
)
from tests.fakes import make_project


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Somewhere with ten files of 1,000 bytes."""
    monkeypatch.setenv("WHETSTONE_HOME", str(tmp_path / "state"))
    system = fsspec.filesystem("memory")
    for number in range(10):
        system.pipe_file(f"/photos/{number % 2}/{number}.bin", bytes([number]) * 1000)
    yield "memory://photos"
    system.rm("/photos", recursive=True)


def size_of(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*.bin"))


def test_a_file_is_fetched_when_it_is_read_and_then_it_is_here(place: str, tmp_path: Path,
                                                               monkeypatch: pytest.MonkeyPatch) -> None:
    folder = make_mirror(tmp_path / "mirror", place + "/", 10**6).folder
    with open_regular(folder / "1" / "3.bin") as file:
        assert file.read() == b"\3" * 1000
    assert (folder / "1" / "3.bin").read_bytes() == b"\3" * 1000
    monkeypatch.setattr(module, "_system_of", None)
    with open_regular(folder / "1" / "3.bin") as file:
        assert file.read(2) == b"\3\3"
    assert mirror_of(tmp_path / "other" / "file") is None


def test_what_was_read_longest_ago_goes_first_and_the_bound_holds(place: str, tmp_path: Path) -> None:
    mirror = make_mirror(tmp_path / "mirror", place, 4_000)
    for number in (0, 1, 2, 3):
        open_regular(mirror.folder / f"{number % 2}/{number}.bin").close()
        module.os.utime(mirror.folder / f"{number % 2}/{number}.bin", (1_000 + number, 1_000 + number))
    open_regular(mirror.folder / "0/0.bin").close()  # read again: it stays
    open_regular(mirror.folder / "0/4.bin").close()
    kept = sorted(file.name for file in mirror.folder.rglob("*.bin"))
    assert kept == ["0.bin", "3.bin", "4.bin"] and size_of(mirror.folder) <= 0.9 * 4_000
    for number in range(10):
        open_regular(mirror.folder / f"{number % 2}/{number}.bin").close()
        assert size_of(mirror.folder) <= 4_000


def test_readers_get_their_bytes_whatever_others_throw_out(place: str, tmp_path: Path) -> None:
    mirror, wrong = make_mirror(tmp_path / "mirror", place, 1_500), []

    def read() -> None:
        rng = np.random.default_rng(threading.get_ident())
        for number in rng.integers(0, 10, 60):
            with open_regular(mirror.folder / f"{number % 2}/{number}.bin") as file:
                if file.read() != bytes([number]) * 1000:
                    wrong.append(number)

    threads = [threading.Thread(target=read) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong and not list(mirror.folder.rglob("*.tmp"))


def test_what_is_not_there_is_a_missing_file_and_no_path_leaves_the_place(place: str, tmp_path: Path) -> None:
    mirror = make_mirror(tmp_path / "mirror", place + "/1", 10**6)
    with pytest.raises(FileNotFoundError):
        open_regular(mirror.folder / "none.bin")
    with pytest.raises(FileNotFoundError):
        fetch(mirror, mirror.folder / ".." / "mirror" / ".." / "0" / "0.bin")
    assert exists(mirror, mirror.folder / "3.bin") and not exists(mirror, mirror.folder / "0.bin")


def test_a_place_that_is_away_for_a_while_is_waited_for(place: str, tmp_path: Path,
                                                        monkeypatch: pytest.MonkeyPatch) -> None:
    mirror, usual, tries = make_mirror(tmp_path / "mirror", place, 10**6), module._system_of, []

    def away(address: str) -> object:
        tries.append(address)
        if len(tries) < 4:
            raise ConnectionError("refused")
        return usual(address)

    monkeypatch.setattr(module, "_system_of", away)
    monkeypatch.setattr(module, "FIRST_PAUSE_SECONDS", 0.01)
    assert fetch(mirror, mirror.folder / "0/2.bin") == b"\2" * 1000 and len(tries) == 4
    tries.clear()
    monkeypatch.setattr(module, "_system_of", lambda address: (_ for _ in ()).throw(ConnectionError("refused")))
    with patience(0.2), pytest.raises(RemoteError, match="must be reached where it lies; .*4.bin: refused"):
        fetch(mirror, mirror.folder / "0/4.bin")


def test_a_strangers_project_has_this_machine_ask_nobody(place: str, tmp_path: Path,
                                                         monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "brought"
    folder.mkdir()
    (folder / MIRROR_NAME).write_text(json.dumps({"url": place, "max_bytes": 10**6}))
    with pytest.raises(RemoteError, match="imported from; these lie in memory://photos; set WHETSTONE_REMOTES to it"):
        open_regular(folder / "0" / "0.bin")
    monkeypatch.setenv("WHETSTONE_REMOTES", "memory://photos/1 memory://phot")
    with pytest.raises(RemoteError):
        open_regular(folder / "0" / "0.bin")
    monkeypatch.setenv("WHETSTONE_REMOTES", "memory://photos")
    open_regular(folder / "0" / "0.bin").close()


def test_a_damaged_mirror_is_said_in_a_line(tmp_path: Path) -> None:
    (tmp_path / MIRROR_NAME).write_text("{")
    module._found.cache_clear()
    with pytest.raises(RemoteError, match="must say where pictures lie; .*import the data again"):
        open_regular(tmp_path / "a.png")
    module._found.cache_clear()


def test_an_image_of_a_mirror_decodes_as_one_here(place: str, tmp_path: Path) -> None:
    project = make_project(tmp_path / "pets", num_train=6)
    system = fsspec.filesystem("memory")
    for file in sorted((project / "images" / "train").glob("*.png")):
        system.pipe_file(f"/photos/train/{file.name}", file.read_bytes())
    folder = make_mirror(tmp_path / "mirror", place, 10**6).folder
    for file in sorted((project / "images" / "train").glob("*.png")):
        with open_image(file) as here, open_image(folder / "train" / file.name) as there:
            np.testing.assert_array_equal(np.asarray(here), np.asarray(there))
    shutil.rmtree(folder / "train")
    with open_image(folder / "train" / "00000.png") as again:
        assert again.size == (16, 16)


def test_what_is_an_address() -> None:
    assert is_address("s3://bucket/photos") and is_address("https://somewhere/photos") and is_address("gs://a")
    assert not is_address("/data/photos") and not is_address("photos") and not is_address("file:///photos")


def test_reading_is_noted_seldom(place: str, tmp_path: Path) -> None:
    folder = make_mirror(tmp_path / "mirror", place, 10**6).folder
    open_regular(folder / "0/0.bin").close()
    module.os.utime(folder / "0/0.bin", (1_000, 1_000))
    open_regular(folder / "0/0.bin").close()
    assert time.time() - (folder / "0/0.bin").stat().st_mtime < 10
