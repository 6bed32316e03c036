"""Small, full and read-only disks, by mounts; where these are not allowed a test skips and says so.

chmod is no substitute: tests often run as root, whom it does not bind.
"""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest


def _mount(*arguments: str) -> None:
    try:
        done = subprocess.run(["mount", *arguments], capture_output=True, text=True, timeout=20)
    except FileNotFoundError:
        pytest.skip("needs mount, which this system has not")
    if done.returncode:
        pytest.skip(f"needs the right to mount: {done.stderr.strip()}")


@contextmanager
def small_disk(folder: Path, num_kilobytes: int) -> Iterator[Path]:
    """An empty disk of that size at a new folder."""
    folder.mkdir()
    _mount("-t", "tmpfs", "-o", f"size={num_kilobytes}k", "tmpfs", str(folder))
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@contextmanager
def read_only(folder: Path) -> Iterator[Path]:
    """The folder itself, which nobody can write into meanwhile."""
    _mount("--bind", str(folder), str(folder))
    try:
        _mount("-o", "remount,ro,bind", str(folder))
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(disk: Path, free_bytes: int = 0) -> Path:
    """Leave so many bytes free; the file that takes the rest."""
    filler = disk / "filler"
    with open(filler, "wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(4096))
    if free_bytes:
        os.truncate(filler, max(0, filler.stat().st_size - free_bytes))
    return filler
