"""The neighbours of one sample, read alone: of a million samples' 90 MB no more than one row is touched."""

import struct
import zipfile
from typing import BinaryIO

import numpy as np

from engine.contract.run_dir import RunDir

NEAR_ZERO = 1e-3
"""Cosine distance up to which two samples are near-duplicates to the classifier; half floats are exact enough there."""


def neighbours_of(run: RunDir, row: int) -> tuple[np.ndarray, np.ndarray, int] | None:
    """(indices (k,) into signals.parquet's rows, cosine distances (k,) float64, N) of one row of the run's signals,
    nearest first; None until they are made, or where the run did not know the sample (row < 0)."""
    path = run.path / "neighbours.npz"
    if row < 0 or not path.exists():
        return None
    with zipfile.ZipFile(path) as archive, open(path, "rb") as file:
        found = [_row(file, archive, f"{name}.npy", row) for name in ("indices", "distances")]
    return found[0][0], found[1][0].astype(np.float64), found[0][1]


def _row(file: BinaryIO, archive: zipfile.ZipFile, name: str, row: int) -> tuple[np.ndarray, int]:
    """Row `row` of a two-dimensional array in the archive, and how many rows there are."""
    info = archive.getinfo(name)
    if info.compress_type != zipfile.ZIP_STORED:  # of other makers: read it whole
        with archive.open(info) as member:
            array: np.ndarray = np.lib.format.read_array(member, allow_pickle=False)
        return array[row], len(array)
    file.seek(info.header_offset)
    header = file.read(30)  # the local header: its last two numbers are the lengths of name and extra field
    name_size, extra_size = struct.unpack("<HH", header[26:30])
    file.seek(info.header_offset + 30 + name_size + extra_size)
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    (num, size), is_fortran, dtype = read(file)
    if is_fortran:
        raise ValueError(f"{name} must be stored row by row")
    file.seek(row * size * dtype.itemsize, 1)
    return np.frombuffer(file.read(size * dtype.itemsize), dtype=dtype), num
