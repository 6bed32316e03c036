"""Probabilities of a file, checked: which column is which class, and rows that are probabilities at all.

R rows of the file, M samples of the manifest, C classes.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from curation.evidence.array_file import ArrayFile, EvidenceError
from curation.evidence.matching import Match

TOLERANCE = 0.01
"""How far a row's sum may be from 1: probabilities rounded to two or three digits, or kept as half floats."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Columns:
    """Which column of a file is which class."""

    of_class: tuple[int, ...]
    """The column of each class of the project."""
    are_named: bool
    """By the file itself, or a file of names; else they are taken to be in the project's order."""
    left_out: tuple[str, ...] = ()
    """Columns of numbers that are no class."""

    @property
    def is_reordered(self) -> bool:
        """Whether the file has the classes in another order than the project."""
        return list(self.of_class) != sorted(self.of_class)


def columns_of(file: ArrayFile, classes: Sequence[str], classes_file: Path | None = None) -> Columns:
    """The columns of the project's classes. classes_file: names of the columns, one a line, where the file has none.

    Raises EvidenceError where a class has no column, or columns without names are not as many as classes.
    """
    names = file.columns
    if names is not None and classes_file is not None:
        raise EvidenceError(f"columns that have names need no file of names; {file.path} has them; leave it out")
    if names is None and classes_file is not None:
        names = tuple(_read_names(classes_file))
        if len(names) != file.num_columns:
            raise EvidenceError(f"a file of names must have one a column; {classes_file} has {len(names):,}, "
                                f"{file.path} {file.num_columns:,} columns; mend it")
    if names is None:
        if file.num_columns != len(classes):
            raise EvidenceError(f"probabilities must have a column for each of the {len(classes):,} classes; "
                                f"{file.path} has {file.num_columns:,}; the classes are {_listed(classes)}")
        return Columns(of_class=tuple(range(len(classes))), are_named=False)
    missing = [name for name in classes if name not in names]
    if missing:
        raise EvidenceError(f"probabilities must have a column for each of the {len(classes):,} classes; "
                            f"{classes_file or file.path} has none for {_listed(missing)}; its columns are "
                            f"{_listed(names)}")
    return Columns(of_class=tuple(names.index(name) for name in classes), are_named=True,
                   left_out=tuple(name for name in names if name not in set(classes)))


def read_probabilities(file: ArrayFile, found: Match, columns: Columns, num_samples: int,
                       progress: Callable[[int, int, str], None]) -> np.ndarray:
    """(M, C) float32 in the order of the manifest and of the project's classes, rows that sum to 1; NaN rows where
    there is no prediction. Raises EvidenceError at the first row that is none."""
    probs_MC = np.full((num_samples, len(columns.of_class)), np.nan, dtype=np.float32)
    start = 0
    for block in file.blocks():
        at = found.sample_of_row[start:start + len(block)]
        kept = np.flatnonzero(at >= 0)
        values = np.asarray(block[kept][:, list(columns.of_class)], dtype=np.float64)
        is_none = np.asarray(np.isnan(values).all(axis=1))
        _check(file, values, is_none, start + kept)
        with np.errstate(invalid="ignore"):
            probs_MC[at[kept]] = values / values.sum(axis=1, keepdims=True)
        start += len(block)
        progress(start, file.num_rows, "reading predictions")
    if start != file.num_rows:
        raise EvidenceError(f"a file must be whole; {file.path} ended after {start:,} of {file.num_rows:,} rows; write "
                            "it again")
    return probs_MC


def _check(file: ArrayFile, values: np.ndarray, is_none: np.ndarray, rows: np.ndarray) -> None:
    """Refuse the first row (rows: (B,) of the file) of values (B, C) that is neither probabilities nor all NaN."""
    is_odd = ~np.isfinite(values) & ~is_none[:, None]
    if is_odd.any():
        row, column = np.argwhere(is_odd)[0]
        raise EvidenceError(f"probabilities must be finite, or NaN in the whole row for no prediction; "
                            f"{file.place(rows[row])} has {values[row, column]} among others; mend the row")
    is_negative = values < 0
    if is_negative.any():
        row, column = np.argwhere(is_negative)[0]
        raise EvidenceError(f"probabilities must be at least 0; {file.place(rows[row])} has {values[row, column]:.4g}; "
                            f"{_advice(values, is_none)}")
    sums = np.where(is_none, 1.0, values.sum(axis=1))
    off = np.flatnonzero(np.abs(sums - 1.0) > TOLERANCE)
    if len(off):
        raise EvidenceError(f"a row of probabilities must sum to 1 (+-{TOLERANCE:g}); {file.place(rows[off[0]])} sums "
                            f"to {sums[off[0]]:.4g}; {_advice(values, is_none)}")


def _advice(values: np.ndarray, is_none: np.ndarray) -> str:
    """What numbers that are no probabilities look like, and what to do."""
    known = values[~is_none]
    if (known <= 0).all():
        return "these look like logarithms: take exp of them"
    if (known < 0).any():
        return "these look like logits: take the softmax of each row"
    if np.abs(known.sum(axis=1) - 100.0).max() <= 100 * TOLERANCE:
        return "these look like percent: divide by 100"
    return "normalise each row; logits need a softmax"


def _read_names(path: Path) -> list[str]:
    try:
        return [line.rstrip("\r") for line in path.read_text(encoding="utf-8").split("\n") if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise EvidenceError(f"a file of class names must be readable text; {path}: {' '.join(str(error).split())}; "
                            "check the path") from error


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(repr(name) for name in names[:12])
    return shown + (f" and {len(names) - 12:,} more" if len(names) > 12 else "")
