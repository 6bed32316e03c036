"""A column of a large table with what filters, counts and sorting ask of it again and again, each worked out once.

Knows no project, no widget and no other column.
"""

import contextlib
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, TypedDict, TypeVar, cast

import numpy as np
import polars as pl

from curation.samples.codes import Cell, Codes, choice_of, codes_of, with_names_there
from curation.words import is_whole

MAX_CHOICES = 50
"""A text column with more different values than this is searched, not chosen from."""
EARLY = 6_000
"""Up to so many rows from the top are found without sorting all."""
Kind = Literal["number", "flag", "choice", "text", "other"]
"""How a column can be filtered. flag: true or false; choice: MAX_CHOICES values at most; other: null or not alone."""
T = TypeVar("T")


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
class Bounds:
    """Lowest and highest finite value of a column of numbers, and whether all are whole."""

    low: float
    high: float
    is_whole: bool


class Column:
    """N cells and the facts about them, which live as long as it does."""

    def __init__(self, cells: pl.Series) -> None:
        self.cells = cells
        self._kept: dict[Hashable, Any] = {}

    def __len__(self) -> int:
        return len(self.cells)

    @property
    def name(self) -> str:
        return self.cells.name

    def kept(self, key: Hashable, make: Callable[[], T]) -> T:
        """make(), worked out when it is first asked for under this key. Read-only."""
        if key not in self._kept:
            found = make()
            if isinstance(found, np.ndarray):
                found.flags.writeable = False
            self._kept[key] = found
        return cast(T, self._kept[key])

    @cached_property
    def kind(self) -> Kind:
        dtype = self.cells.dtype
        if dtype == pl.Boolean:
            return "choice" if self.cells.null_count() else "flag"
        if dtype.is_numeric():
            return "number"
        if isinstance(dtype, pl.Enum):
            return "choice" if len(dtype.categories) <= MAX_CHOICES else "text"
        if dtype != pl.String:
            return "other"
        # A column of very many values shows it early: no need to number a million of them.
        if len(self.cells) > 100_000 and self.cells[:20_000].n_unique() > 20 * MAX_CHOICES:
            return "text"
        return "choice" if len(self.codes.names) <= MAX_CHOICES else "text"

    @cached_property
    def codes(self) -> Codes:
        """Of text or flags. A column whose cells are neither is told apart by their text."""
        cells = self.cells
        if cells.dtype == pl.Boolean:
            names = tuple(sorted(cells.unique().drop_nulls().to_list()))
            first = int(names[0]) if names else 0
            return Codes((cells.cast(pl.Int8) - first).fill_null(-1).to_numpy(), names)
        if not _is_text(cells.dtype):
            cells = _as_text(cells)
        if cells.dtype == pl.String:
            cells = cells.cast(choice_of(cells.unique().drop_nulls()))
        assert isinstance(cells.dtype, pl.Enum)
        return Codes(codes_of(cells), tuple(cells.dtype.categories.to_list()))

    @property
    def numbers(self) -> np.ndarray:
        """(N,) float64 or the column's own float type, NaN where it has no value. Read-only use."""
        if self.cells.dtype.is_float():
            return self.cells.to_numpy()
        return self.cells.cast(pl.Float64).fill_null(float("nan")).to_numpy()

    @property
    def flags(self) -> np.ndarray:
        """(N,) bool of true and false, null counted as false. Read-only use."""
        return self.cells.fill_null(False).to_numpy()

    @property
    def is_null(self) -> np.ndarray:
        """(N,) bool: no value, NaN among numbers."""
        if self.cells.dtype.is_float():
            return np.asarray(np.isnan(self.cells.to_numpy()))
        return self.cells.is_null().to_numpy()

    def without(self, rows: np.ndarray) -> "Column":
        """The same cells, with no value in these rows (N,) bool."""
        if self.cells.dtype.is_numeric():
            return Column(pl.Series(self.name, np.where(rows, self.numbers.dtype.type(np.nan), self.numbers)))
        left = pl.select(pl.when(~pl.Series(rows)).then(self.cells).alias(self.name)).to_series()
        return Column(with_names_there(left) if isinstance(left.dtype, pl.Enum) else left)

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
        return bool(self.is_null.any())

    @cached_property
    def has_values(self) -> bool:
        return self.cells.null_count() < len(self.cells) and not self.is_null.all()

    def bins(self, low: float, high: float, num: int) -> np.ndarray:
        """(N,) uint8: the bin of each number among `num` (254 at most) equal ones from low to high; num where it has no
        value or lies outside."""
        return self.kept(("bins", low, high, num), lambda: self._bins(low, high, num))

    def _bins(self, low: float, high: float, num: int) -> np.ndarray:
        values = self.numbers
        is_in = (values >= low) & (values <= high)
        places = np.where(is_in, (values - low) * (num / (high - low)), num)
        return np.where(is_in, np.minimum(places, num - 1), num).astype(np.uint8)

    # -- masks

    def lowest(self, num: int) -> np.ndarray:
        """(N,) bool, read-only: the `num` cells with the lowest numbers; those without one are never among them."""
        return self.kept(("lowest", num), lambda: self._lowest(num))

    def _lowest(self, num: int) -> np.ndarray:
        values, mask = self.numbers, np.zeros(len(self.cells), dtype=bool)
        num = min(num, len(values) - int(np.count_nonzero(np.isnan(values))))
        if num:
            mask[np.argpartition(values, num - 1)[:num]] = True  # NaN sorts last
        return mask

    def is_one_of(self, wanted: Sequence[Cell]) -> np.ndarray:
        """(N,) bool: the cell is one of these; None stands for null."""
        values = [w for w in wanted if w is not None]
        if self.cells.dtype == pl.Boolean:
            flags, has_none = self.flags, self.is_null
            return np.asarray(flags & (True in values) | ~flags & ~has_none & (False in values)
                              | has_none & (None in wanted))
        if isinstance(self.cells.dtype, pl.Enum):
            codes = self.cells.to_physical()
            those = [code for code, name in enumerate(self.cells.dtype.categories) if name in values]
            found = codes == those[0] if len(those) == 1 else codes.is_in(pl.Series(those, dtype=codes.dtype).implode())
            return np.asarray(found.fill_null(None in wanted).to_numpy())
        if self.kind == "number":
            mask = _is_number_of(self.cells.to_numpy() if self.cells.dtype.is_integer() else self.numbers, values)
        else:
            cells = self.cells if self.cells.dtype == pl.String else _as_text(self.cells)
            texts = pl.Series(filter(is_whole, map(str, values)), dtype=pl.String)
            mask = cells.is_in(texts.implode()).fill_null(False).to_numpy()
        return mask | self.is_null if None in wanted else mask

    def equals(self, name: str) -> np.ndarray:
        """(N,) bool, read-only: the cell is this text; worked out once."""
        return self.kept(("equals", name), lambda: self.is_one_of([name]))

    def contains(self, text: str) -> np.ndarray:
        """(N,) bool: the cell's text has this one in it, whatever the case; null never has."""
        if isinstance(self.cells.dtype, pl.Enum):
            passes = np.array([text.lower() in str(name).lower() for name in self.codes.names] + [False], dtype=bool)
            return np.asarray(passes[self.codes.codes])
        if not is_whole(text):
            return np.zeros(len(self.cells), dtype=bool)
        cells = self.cells if self.cells.dtype == pl.String else _as_text(self.cells)
        return cells.str.contains(f"(?i){pl.escape_regex(text)}").fill_null(False).to_numpy()

    # -- order

    def order(self, is_descending: bool) -> np.ndarray:
        """(N,) uint32: positions that sort the column; cells without a value last either way, ties in their own order.
        """
        return self.kept(("order", is_descending), lambda: self._keys.arg_sort(
            descending=is_descending, nulls_last=True).to_numpy().copy())

    @property
    def _keys(self) -> pl.Series:
        """What the cells are sorted by, null where they have no value: names as their codes stand."""
        cells = self.cells.alias("key")
        if cells.dtype.is_float():
            return cells.fill_nan(None)
        if isinstance(cells.dtype, pl.Enum):
            return cells.to_physical()
        if cells.dtype == pl.Boolean or self.kind in ("number", "text"):
            return cells
        return pl.Series("key", self.codes.codes).replace(-1, None)

    def sorted_page(self, mask: np.ndarray, is_descending: bool, start: int, stop: int) -> np.ndarray:
        """Positions start to stop of the rows of mask (N,) bool, when sorted by the column."""
        num, size = int(np.count_nonzero(mask)), len(self.cells)
        if num < size // 50:
            rows = np.flatnonzero(mask)
            return np.asarray(rows[Column(self.cells[rows]).order(is_descending)][start:stop])
        if stop <= EARLY and ("order", is_descending) not in self._kept:
            return self._first(mask, is_descending, stop)[start:]
        order = self.order(is_descending)
        return np.asarray((order if num == size else order[mask[order]])[start:stop])

    def _first(self, mask: np.ndarray, is_descending: bool, num: int) -> np.ndarray:
        """The first `num` positions: of millions, a tenth of the time that sorting them takes."""
        frame = pl.DataFrame({"key": self._keys, "is_in": mask}).with_row_index("row").lazy().filter("is_in")
        known = frame.filter(pl.col("key").is_not_null()).bottom_k(
            num, by=["key", "row"], reverse=[is_descending, False]).sort(
            ["key", "row"], descending=[is_descending, False]).select("row").collect()["row"].to_numpy()
        if len(known) >= num:
            return known
        without = frame.filter(pl.col("key").is_null()).select("row").head(num - len(known)).collect()["row"]
        return np.concatenate([known, without.to_numpy()])


# -- inside


def _is_text(dtype: pl.DataType) -> bool:
    return dtype == pl.String or isinstance(dtype, pl.Enum)


def _as_text(cells: pl.Series) -> pl.Series:
    """The cells' text; what has no value has none."""
    if cells.dtype.is_float():
        cells = cells.fill_nan(None)
    if not cells.dtype.is_nested() and cells.dtype not in (pl.Binary, pl.Object):
        return cells.cast(pl.String)
    return pl.Series(cells.name, [None if cell is None else str(cell) for cell in cells.to_list()], pl.String)


def _is_number_of(numbers: np.ndarray, values: Sequence[Cell]) -> np.ndarray:
    """(N,) bool: the number is one of these values, those of its kind and range."""
    found = np.zeros(len(numbers), dtype=bool)
    for value in values:
        if isinstance(value, (int, float)):
            with contextlib.suppress(OverflowError, ValueError), np.errstate(over="ignore"):
                cell = numbers.dtype.type(value)
                if np.isfinite(cell) and cell == value:
                    found |= numbers == cell
    return found
