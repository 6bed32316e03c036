"""A file of numbers, one row a sample, that is read block by block: what its readers have in common.

Knows no project. R rows, D columns.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from engine.contract.errors import UserError

BLOCK_BYTES = 64 * 2**20
"""Of a block of numbers in memory, about."""
ID_COLUMN = "sample_id"


class EvidenceError(UserError):
    """A file of features or predictions cannot be used. One line, ready to show."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ArrayFile:
    """One opened file: what it holds, and how to read it again and again."""

    path: Path
    num_rows: int
    num_columns: int
    columns: tuple[str, ...] | None
    """Names of the D columns of a table; None where they have none."""
    sample_ids: np.ndarray | None
    """(R,) object of str; None where the file has none: then its rows are in the order of the project's samples."""
    left_out: tuple[str, ...] = ()
    """Columns of a table that are no numbers."""
    blocks: Callable[[], Iterator[np.ndarray]]
    """A new walk over the rows in the order of the file: (B, D) of a real type, not checked for NaN. May raise
    EvidenceError for what shows on reading alone."""

    def place(self, row: int) -> str:
        """A row in words, for an error."""
        name = "" if self.sample_ids is None else f", {ID_COLUMN} {self.sample_ids[row]!r}"
        return f"row {row:,} (counted from 0{name}) of {self.path}"


def rows_at_once(num_columns: int, item_bytes: int = 4) -> int:
    """Rows of a block of BLOCK_BYTES."""
    return max(1, BLOCK_BYTES // max(1, item_bytes * num_columns))


def id_texts(path: Path, ids: np.ndarray, num_rows: int) -> np.ndarray:
    """(R,) object of str. Raises EvidenceError where they are not one a row, or one is missing."""
    if ids.shape != (num_rows,):
        raise EvidenceError(f"{ID_COLUMN} must be one a row; {path} has {ids.shape} of them for {num_rows:,} rows; "
                            "check what wrote it")
    values = [value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else value
              for value in ids.tolist()]
    missing = next((row for row, value in enumerate(values) if value is None or value != value), None)
    if missing is not None:
        raise EvidenceError(f"every row must have a {ID_COLUMN}; row {missing:,} (counted from 0) of {path} has none; "
                            "mend or remove it")
    return np.array([str(value) for value in values], dtype=object)


def check_numbers(path: Path, shape: tuple[int, ...], dtype: np.dtype) -> None:
    """Raise EvidenceError unless an array is rows x real numbers."""
    if len(shape) != 2:
        raise EvidenceError(f"an array must be rows x numbers, of two axes; {path} has shape {shape}; reshape it")
    if dtype.kind not in "fiu":
        raise EvidenceError(f"an array must hold real numbers; {path} has dtype {dtype}; convert it")
