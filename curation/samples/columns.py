"""Facts about the columns of a large table that filters, counts and sorting ask for again and again, kept meanwhile.

A fact is kept with the memory that the column's cells lie in, not with the frame: a new frame that shares the cells
(one decision later, say) finds it again, and it goes when the cells go. Cells must not be changed in place. Knows no
project and no widget.
"""

import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

MAX_CHOICES = 50
"""A text column with more different values than this is searched, not chosen from."""
_MAX_KEPT = 96
_kept: "OrderedDict[Hashable, Any]" = OrderedDict()
_lock = threading.RLock()
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Codes:
    """A column as numbers: codes (N,) int32 into names, -1 for null. Names are different and in order."""

    codes: np.ndarray
    names: tuple[Any, ...]

    def counts(self, mask: np.ndarray | None = None) -> np.ndarray:
        """(len(names) + 1,) int64: rows of each name, the last those without one; of the rows of mask (N,) bool."""
        codes = self.codes if mask is None else self.codes[mask]
        return np.bincount(codes + 1, minlength=len(self.names) + 1)[np.r_[1:len(self.names) + 1, 0]]


@dataclass(frozen=True, slots=True)
class Bounds:
    """Lowest and highest finite value of a column of numbers, whether all are whole, and whether some are null."""

    low: float
    high: float
    is_whole: bool
    has_nulls: bool


def kind_of(column: pd.Series) -> str:
    """A column's kind, which says how it can be filtered.

    "number", "flag" (true or false), "choice" (MAX_CHOICES values at most), "text", or "other": null or not alone.
    """
    if pd.api.types.is_bool_dtype(column.dtype):
        return "flag"
    if pd.api.types.is_numeric_dtype(column.dtype):
        return "number"
    return _keep(column, "kind", lambda: _kind_of_text(column))


def _kind_of_text(column: pd.Series) -> str:
    cells = _arrow(column)
    if cells is None:
        return "other"
    if pa.types.is_boolean(cells.type):
        return "choice"
    if not _is_text(cells.type):
        return "other"
    # A column of very many values shows it early: no need to number a million of them.
    if len(cells) > 100_000 and pc.count_distinct(cells[:20_000]).as_py() > 20 * MAX_CHOICES:
        return "text"
    return "choice" if len(codes_of(column).names) <= MAX_CHOICES else "text"


def codes_of(column: pd.Series) -> Codes:
    """Codes of a column of text or flags. A column whose cells are neither is told apart by their text."""
    return _keep(column, "codes", lambda: _codes(column))


def _codes(column: pd.Series) -> Codes:
    cells = _arrow(column)
    if cells is None or not (_is_text(cells.type) or pa.types.is_boolean(cells.type)):
        cells = pa.array(column.astype("str"), from_pandas=True)
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


def numbers_of(column: pd.Series) -> np.ndarray:
    """(N,) float64 or the column's own float type, NaN where it has no value. Read-only use."""
    if isinstance(column.dtype, np.dtype) and column.dtype.kind == "f":
        return column.to_numpy()
    return _keep(column, "numbers", lambda: column.to_numpy(dtype=np.float64, na_value=np.nan))


def bounds_of(column: pd.Series) -> Bounds | None:
    """Bounds of a column of numbers; None where it has no finite value."""
    return _keep(column, "bounds", lambda: _bounds(column))


def _bounds(column: pd.Series) -> Bounds | None:
    values = numbers_of(column)
    finite = values[np.isfinite(values)]
    if not len(finite):
        return None
    return Bounds(float(finite.min()), float(finite.max()), bool((finite == np.rint(finite)).all()),
                  bool(np.isnan(values).any()))


def has_nulls(column: pd.Series) -> bool:
    return _keep(column, "nulls", lambda: bool(column.isna().any()))


def bins_of(column: pd.Series, low: float, high: float, num: int) -> np.ndarray:
    """(N,) uint8: the bin of each number among `num` (254 at most) equal ones from low to high; num where it has no
    value or lies outside."""
    return _keep(column, ("bins", low, high, num), lambda: _bins(numbers_of(column), low, high, num))


def _bins(values: np.ndarray, low: float, high: float, num: int) -> np.ndarray:
    is_in = (values >= low) & (values <= high)
    places = np.where(is_in, (values - low) * (num / (high - low)), num)
    return np.where(is_in, np.minimum(places, num - 1), num).astype(np.uint8)


# -- masks


def is_one_of(column: pd.Series, wanted: list[Any]) -> np.ndarray:
    """(N,) bool: the cell is one of these; None stands for null."""
    values = [w for w in wanted if w is not None]
    if kind_of(column) == "choice":
        found = codes_of(column)
        passes = np.array([name in values for name in found.names] + [None in wanted], dtype=bool)
        return np.asarray(passes[found.codes])  # a null's code, -1, is the last place
    mask = _as_mask(column.isin(values))
    return mask | column.isna().to_numpy() if None in wanted else mask


def contains(column: pd.Series, text: str) -> np.ndarray:
    """(N,) bool: the cell's text has this one in it, whatever the case; null never has."""
    if kind_of(column) == "choice":
        found = codes_of(column)
        passes = np.array([text.lower() in str(name).lower() for name in found.names] + [False], dtype=bool)
        return np.asarray(passes[found.codes])
    lower = _keep(column, "lower", lambda: _lower(column))
    return np.asarray(pc.match_substring(lower, text.lower()).fill_null(False).to_numpy(zero_copy_only=False)
                      if isinstance(lower, pa.Array) else
                      pc.match_substring(lower, text.lower()).fill_null(False).to_numpy()).astype(bool, copy=False)


def starts_with(column: pd.Series, text: str) -> np.ndarray:
    """(N,) bool: the cell's text starts so; null never does."""
    cells = _arrow(column)
    if cells is None or not _is_text(cells.type):
        return _as_mask(column.astype("str").str.startswith(text))
    return _keep(column, ("starts", text), lambda: np.asarray(
        pc.starts_with(cells, text).fill_null(False).to_numpy(**_copying(cells))).astype(bool))


def _lower(column: pd.Series) -> Any:
    cells = _arrow(column)
    if cells is None or not _is_text(cells.type):
        cells = pa.array(column.astype("str"), from_pandas=True)
    return pc.utf8_lower(cells)


# -- order


def order_of(column: pd.Series, is_descending: bool) -> np.ndarray:
    """(N,) int32: positions that sort the column; cells without a value last either way, ties in their own order."""
    return _keep(column, ("order", is_descending), lambda: _order(column, is_descending))


def _order(column: pd.Series, is_descending: bool) -> np.ndarray:
    kind = kind_of(column)
    if kind == "text":
        cells = _arrow(column)
        ranks = pc.rank(cells, sort_keys="ascending", tiebreaker="min")
        keys = ranks.to_numpy().astype(np.int64)
        is_null = column.isna().to_numpy()
    elif kind in ("flag", "number"):
        keys = numbers_of(column)
        is_null = np.isnan(keys)
    else:
        keys = codes_of(column).codes
        is_null = keys < 0
    keys = -keys if is_descending else keys
    last = np.inf if keys.dtype.kind == "f" else np.iinfo(keys.dtype).max
    return np.argsort(np.where(is_null, keys.dtype.type(last), keys), kind="stable").astype(np.int32)


def sorted_page(rows: np.ndarray, size: int, column: pd.Series, is_descending: bool, start: int, stop: int
                ) -> np.ndarray:
    """Positions start to stop of `rows` (n,) when sorted by the column of `size` cells."""
    if len(rows) < size // 50:
        return np.asarray(rows[_order(column.iloc[rows], is_descending)][start:stop])
    order = order_of(column, is_descending)
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


def _copying(cells: Any) -> dict[str, bool]:
    return {"zero_copy_only": False} if isinstance(cells, pa.Array) else {}


def _as_mask(column: pd.Series) -> np.ndarray:
    mask: np.ndarray = column.fillna(False).to_numpy(dtype=bool)
    return mask


def _natural(name: Any) -> tuple[int, float, str]:
    """Sort key: numbers by value, before words by letter."""
    text = str(name)
    return (0, float(text), text) if text.isdecimal() and len(text) < 16 else (1, 0.0, text)


def _owner(column: pd.Series) -> tuple[Any, Hashable]:
    """What holds the cells, and a name of the cells within it."""
    cells = getattr(column.array, "_pa_array", None)
    if cells is not None:
        return cells, (id(cells), len(cells))
    values = column.to_numpy() if isinstance(column.dtype, np.dtype) else None
    if values is None:
        return column.array, id(column.array)
    owner = values
    while isinstance(owner.base, np.ndarray):
        owner = owner.base
    return owner, (id(owner), values.__array_interface__["data"][0], values.shape, values.strides, str(values.dtype))


def _keep(column: pd.Series, what: Hashable, make: Callable[[], T]) -> T:
    """make(), or what it returned for the same cells before."""
    owner, name = _owner(column)
    key = (name, what)
    with _lock:
        if key in _kept:
            _kept.move_to_end(key)
            value: T = _kept[key]
            return value
    value = make()
    if len(column) and not isinstance(owner, pd.api.extensions.ExtensionArray):
        with _lock:
            if key not in _kept:
                weakref.finalize(owner, _kept.pop, key, None).atexit = False
            _kept[key] = value
            while len(_kept) > _MAX_KEPT:
                _kept.popitem(last=False)
    return value
