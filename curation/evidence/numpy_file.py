"""Arrays of numpy, .npy and .npz, as curation.evidence.array_file has them. Never loads a pickle."""

import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import numpy as np

from curation.evidence.array_file import ID_COLUMN, ArrayFile, EvidenceError, check_numbers, id_texts, rows_at_once


def open_npy(path: Path) -> ArrayFile:
    """A .npy file, mapped into memory."""
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise _unreadable(path, error) from error
    check_numbers(path, array.shape, array.dtype)

    def blocks() -> Iterator[np.ndarray]:
        step = rows_at_once(array.shape[1], array.dtype.itemsize)
        for start in range(0, len(array), step):
            yield array[start:start + step]

    return ArrayFile(path=path, num_rows=array.shape[0], num_columns=array.shape[1], columns=None, sample_ids=None,
                     blocks=blocks)


def open_npz(path: Path, name: str) -> ArrayFile:
    """An .npz file of one array, or of the array `name`, and perhaps sample_id; never unpacked as a whole."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = [member.removesuffix(".npy") for member in archive.namelist()]
            others = [key for key in names if key != ID_COLUMN]
            if name not in names and len(others) != 1:
                raise EvidenceError(f"an .npz must have one array, or {name} (and {ID_COLUMN}); {path} has "
                                    f"{', '.join(map(repr, names)) or 'none'}; rename them")
            ids, key = None, name if name in names else others[0]
            if ID_COLUMN in names:
                with archive.open(f"{ID_COLUMN}.npy") as member:
                    ids = np.lib.format.read_array(member, allow_pickle=False)
            with archive.open(f"{key}.npy") as member:
                shape, is_fortran, dtype = _header(member)
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile) as error:
        raise error if isinstance(error, EvidenceError) else _unreadable(path, error) from error
    check_numbers(path, shape, dtype)
    if is_fortran and shape[0] > 1 < shape[1]:
        raise EvidenceError(f"an .npz must hold rows one after the other; {path} has them in Fortran's order; save "
                            "np.ascontiguousarray of the array")

    def blocks() -> Iterator[np.ndarray]:
        step = rows_at_once(shape[1], dtype.itemsize)
        try:
            with zipfile.ZipFile(path) as archive, archive.open(f"{key}.npy") as member:
                _header(member)
                for start in range(0, shape[0], step):
                    num = min(step, shape[0] - start)
                    raw = member.read(num * shape[1] * dtype.itemsize)
                    yield np.frombuffer(raw, dtype=dtype).reshape(num, shape[1])
        except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
            raise error if isinstance(error, EvidenceError) else _unreadable(path, error) from error

    return ArrayFile(path=path, num_rows=shape[0], num_columns=shape[1], columns=None, blocks=blocks,
                     sample_ids=None if ids is None else id_texts(path, ids, shape[0]))


def _header(member: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Shape, whether columns come one after the other, and dtype; the member is then at its numbers."""
    version = np.lib.format.read_magic(member)
    if version not in ((1, 0), (2, 0)):
        raise ValueError(f"version {version} of the .npy format is for records")
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, is_fortran, dtype = read(member)
    return shape, is_fortran, dtype


def _unreadable(path: Path, error: Exception) -> EvidenceError:
    said = " ".join(str(error).split())
    if "Object arrays" in said or "Python objects" in said:
        said = "it holds Python objects, which are never loaded"
    return EvidenceError(f"a file of numbers must be readable; {path}: {said}; write it again, without objects")
