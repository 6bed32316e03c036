"""A column of a large table with what filters, counts and sorting ask of it again and again, each worked out once.

Knows no project, no widget and no other column.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, TypedDict

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

MAX_CHOICES = 50
"""A text column with more different values than this is searched, not chosen from."""
Kind = Literal["number", "flag", "choice", "text", "other"]
"""How a column can be filtered. flag: true or false; choice: MAX_CHOICES values at most; other: null or not alone."""
Cell = str | bool | int | float | None
"""A value that a filter can name; None stands for null."""


class Range(TypedDict, total=False):
    """What a cell must be, all of it; a part that is not there asks for nothing."""

    min: float
    """Inclusive, as max is; null never passes."""
    max: float
    contains: str
    """Text in the cell's, whatever the case."""
    is_null: bool


Condition = list[Cell] | list[str] | Range
"""A filter of one column: the values that its cells may have (none: no cell passes), or a range. Stores as JSON."""


@dataclass(frozen=True, slots=True)
class Codes:
    """A column as numbers: codes (N,) int32 into names, -1 for null. Names are different and in order."""

    codes: np.ndarray
    names: tuple[Cell, ...]

    def counts(self, mask: np.ndarray | None = None) -> np.ndarray:
        """(len(names) + 1,) int64: rows of each name, the last those without one; of the rows of mask (N,) bool."""
        codes = self.codes if mask is None else self.codes[mask]
        return np.bincount(codes + 1, minlength=len(self.names) + 1)[np.r_[1:len(self.names) + 1, 0]]


@dataclass(frozen=True, slots=True)
class Bounds:
    """Lowest and highest finite value of a column of numbers, and whether all are whole."""

    low: float
    high: float
    is_whole: bool


class Column:
    """N cells and the facts about them, which live as long as it does. The cells must not be changed in place."""

    def __init__(self, cells: pd.Series) -> None:
        self.cells = cells
        self._arrays: dict[Hashable, np.ndarray] = {}

    @property
    def name(self) -> str:
        return str(self.cells.name)

    @cached_property
    def kind(self) -> Kind:
        if pd.api.types.is_bool_dtype(self.cells.dtype):
            return "flag"
        if pd.api.types.is_numeric_dtype(self.cells.dtype):
            return "number"
        cells = _arrow(self.cells)
        if cells is not None and pa.types.is_boolean(cells.type):
            return "choice"
        if cells is None or not _is_text(cells.type):
            return "other"
        # A column of very many values shows it early: no need to number a million of them.
        if len(cells) > 100_000 and pc.count_distinct(cells[:20_000]).as_py() > 20 * MAX_CHOICES:
            return "text"
        return "choice" if len(self.codes.names) <= MAX_CHOICES else "text"

    @cached_property
    def codes(self) -> Codes:
        """Of text or flags. A column whose cells are neither is told apart by their text."""
        cells = _arrow(self.cells)
        if cells is None or not (_is_text(cells.type) or pa.types.is_boolean(cells.type)):
            cells = pa.array(self.cells.astype("str"), from_pandas=True)
        encoded = cells.dictionary_encode()
        encoded = encoded.combine_chunks() if isinstance(encoded, pa.ChunkedArray) else encoded
        if isinstance(encoded, pa.ChunkedArray):  # an empty one stays in chunks
            return Codes(np.empty(0, np.int32), ())
        names = encoded.dictionary.to_pylist()
        order = sorted(range(len(names)), key=lambda i: _natural(names[i]))
        place = np.empty(len(names) + 1, dtype=np.int32)
        place[order], place[-1] = np.arange(len(names), dtype=np.int32), -1
        codes = place[encoded.indices.fill_null(len(names)).to_numpy(zero_copy_only=False)]
        return Codes(codes, tuple(names[i] for i in order))

    @property
    def numbers(self) -> np.ndarray:
        """(N,) float64 or the column's own float type, NaN where it has no value. Read-only use."""
        if isinstance(self.cells.dtype, np.dtype) and self.cells.dtype.kind == "f":
            return self.cells.to_numpy()
        return self.cells.to_numpy(dtype=np.float64, na_value=np.nan)

    @cached_property
    def bounds(self) -> Bounds | None:
        """Of a column of numbers; None where it has no finite value."""
        values = self.numbers
        finite = values[np.isfinite(values)]
        if not len(finite):
            return None
        return Bounds(float(finite.min()), float(finite.max()), bool((finite == np.rint(finite)).all()))

    @cached_property
    def has_nulls(self) -> bool:
        return bool(self.cells.isna().any())

    def bins(self, low: float, high: float, num: int) -> np.ndarray:
        """(N,) uint8: the bin of each number among `num` (254 at most) equal ones from low to high; num where it has no
        value or lies outside."""
        key = ("bins", low, high, num)
        if key not in self._arrays:
            values = self.numbers
            is_in = (values >= low) & (values <= high)
            places = np.where(is_in, (values - low) * (num / (high - low)), num)
            self._arrays[key] = np.where(is_in, np.minimum(places, num - 1), num).astype(np.uint8)
        return self._arrays[key]

    # -- masks

    def is_one_of(self, wanted: Sequence[Cell]) -> np.ndarray:
        """(N,) bool: the cell is one of these; None stands for null."""
        values = [w for w in wanted if w is not None]
        if self.kind == "choice":
            passes = np.array([name in values for name in self.codes.names] + [None in wanted], dtype=bool)
            return np.asarray(passes[self.codes.codes])  # a null's code, -1, is the last place
        mask = _as_mask(self.cells.isin(values))
        return mask | self.cells.isna().to_numpy() if None in wanted else mask

    def contains(self, text: str) -> np.ndarray:
        """(N,) bool: the cell's text has this one in it, whatever the case; null never has."""
        if self.kind == "choice":
            passes = np.array([text.lower() in str(name).lower() for name in self.codes.names] + [False], dtype=bool)
            return np.asarray(passes[self.codes.codes])
        return np.asarray(pc.match_substring(self._lower, text.lower()).fill_null(False), dtype=bool)

    @cached_property
    def _lower(self) -> Any:
        cells = _arrow(self.cells)
        if cells is None or not _is_text(cells.type):
            cells = pa.array(self.cells.astype("str"), from_pandas=True)
        return pc.utf8_lower(cells)

    # -- order

    def order(self, is_descending: bool) -> np.ndarray:
        """(N,) int32: positions that sort the column; cells without a value last either way, ties in their own order.
        """
        key = ("order", is_descending)
        if key not in self._arrays:
            self._arrays[key] = self._order(is_descending)
        return self._arrays[key]

    def _order(self, is_descending: bool) -> np.ndarray:
        if self.kind == "text":
            keys = pc.rank(_arrow(self.cells), sort_keys="ascending", tiebreaker="min").to_numpy().astype(np.int64)
            is_null = self.cells.isna().to_numpy()
        elif self.kind in ("flag", "number"):
            keys = self.numbers
            is_null = np.isnan(keys)
        else:
            keys = self.codes.codes
            is_null = keys < 0
        keys = -keys if is_descending else keys
        last = np.inf if keys.dtype.kind == "f" else np.iinfo(keys.dtype).max
        return np.argsort(np.where(is_null, keys.dtype.type(last), keys), kind="stable").astype(np.int32)

    def sorted_page(self, rows: np.ndarray, is_descending: bool, start: int, stop: int) -> np.ndarray:
        """Positions start to stop of `rows` (n,) when sorted by the column."""
        size = len(self.cells)
        if len(rows) < size // 50:
            return np.asarray(rows[Column(self.cells.iloc[rows]).order(is_descending)][start:stop])
        order = self.order(is_descending)
        if len(rows) < size:
            mask = np.zeros(size, dtype=bool)
            mask[rows] = True
            order = np.asarray(order[mask[order]])
        return np.asarray(order[start:stop])


# -- inside


def _arrow(column: pd.Series) -> Any:
    """The cells as Arrow has them, without a copy where they lie there; None where they are of no type of Arrow's."""
    convert = getattr(column.array, "__arrow_array__", None)
    try:
        cells = convert() if convert is not None else pa.array(column, from_pandas=True)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError):
        return None
    return cells.cast(cells.type.value_type) if pa.types.is_dictionary(cells.type) else cells


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _as_mask(column: pd.Series) -> np.ndarray:
    mask: np.ndarray = column.fillna(False).to_numpy(dtype=bool)
    return mask


def _natural(name: Any) -> tuple[int, float, str]:
    """Sort key: numbers by value, before words by letter."""
    text = str(name)
    return (0, float(text), text) if text.isdecimal() and len(text) < 16 else (1, 0.0, text)
