"""Texts and flags as numbers into names. Knows no table."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

_MAX_SHORT = np.iinfo(np.int16).max
Cell = str | bool | int | float | None
"""A value that a filter can name; None stands for null."""


@dataclass(frozen=True, slots=True)
class Codes:
    """A column as numbers: codes (N,) int8, int16 or int32 into names, -1 for null. Names are different and in order.
    """

    codes: np.ndarray
    names: tuple[Cell, ...]

    def counts(self, mask: np.ndarray | None = None) -> np.ndarray:
        """(len(names) + 1,) int64: rows of each name, the last those without one; of the rows of mask (N,) bool."""
        codes = self.codes if mask is None else self.codes[mask]
        return np.bincount(codes + 1, minlength=len(self.names) + 1)[np.r_[1:len(self.names) + 1, 0]]

    def into(self, names: Sequence[Cell]) -> np.ndarray:
        """(N,) int16 or int32 positions of the cells among other names, -1 for null and for what is none of them."""
        place = {name: i for i, name in enumerate(names)}
        kind = np.int16 if len(names) <= _MAX_SHORT else np.int32
        places = np.array([*(place.get(name, -1) for name in self.names), -1], dtype=kind)
        return np.asarray(places[self.codes])

    def at(self, rows: np.ndarray) -> "Codes":
        """Of these rows (n,) alone."""
        return Codes(self.codes[rows], self.names)


def comparable(first: Codes, second: Codes) -> tuple[np.ndarray, np.ndarray]:
    """(N,) int16 or int32 codes of each, -1 for null; equal codes are equal cells."""
    names = tuple(dict.fromkeys([*first.names, *second.names]))
    return first.into(names), second.into(names)


def choice_of(names: pl.Series) -> pl.Enum:
    """The kind of a column that has these different texts, which stand in natural order."""
    return pl.Enum(sorted(names.to_list(), key=natural))


def with_names_there(cells: pl.Series) -> pl.Series:
    """An Enum of those names alone that some cell has."""
    names = cells.unique().drop_nulls().cast(pl.String)
    assert isinstance(cells.dtype, pl.Enum)
    return cells if len(names) == len(cells.dtype.categories) else cells.cast(choice_of(names))


def codes_of(cells: pl.Series) -> np.ndarray:
    """(N,) codes of an Enum, -1 for null, of a kind that holds one more than all."""
    assert isinstance(cells.dtype, pl.Enum)
    num = len(cells.dtype.categories)
    kind = pl.Int8 if num < 127 else pl.Int16 if num < _MAX_SHORT else pl.Int32
    return cells.to_physical().cast(kind).fill_null(-1).to_numpy()


def natural(name: Any) -> tuple[int, float, str]:
    """Sort key of names: numbers by value, before words by letter."""
    text = str(name)
    return (0, float(text), text) if text.isdecimal() and len(text) < 16 else (1, 0.0, text)
