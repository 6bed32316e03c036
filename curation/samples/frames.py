"""The samples of a run as one table of columns, and the rows that a filter leaves. Pure functions on tables.

The table is a Polars frame: few-valued texts are numbered, columns are shared between tables, and what is asked of one
is worked out once. What is shown of it leaves as a small pandas frame. Draws nothing and decides nothing.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

import numpy as np
import pandas as pd
import polars as pl
import polars.selectors as cs

from curation.samples.codes import Cell, choice_of
from curation.samples.columns import Column, Condition, Range
from curation.samples.keys import KEYS
from curation.words import is_whole
from engine.contract.errors import UserError

_MAX_NAMES = 10_000
_SAMPLED = 20_000


class SelectionError(UserError):
    """A filter names no column of the table, or cannot apply to it. One line, ready to show."""


class SampleTable:
    """A table of N samples with what is known of its columns, which lives as long as the table. Read-only.

    frame: the table itself, tidied. columns: its columns by name. revision: names what it is made of where that
    changes while the table's files stay; "" where nothing does.
    """

    def __init__(self, frame: pl.DataFrame, columns: Mapping[str, Column] | None = None, revision: str = "") -> None:
        known = columns or {}
        self.frame = frame
        self.columns = {name: known.get(name) or Column(frame[name]) for name in frame.columns}
        self.revision = revision
        self._masks: dict[str, np.ndarray] = {}

    @classmethod
    def of(cls, frame: pd.DataFrame) -> "SampleTable":
        """Of a pandas frame, whose index is left out."""
        return cls(tidied(pl.from_pandas(frame.reset_index(drop=True))))

    # -- whole columns

    def __len__(self) -> int:
        return self.frame.height

    def __contains__(self, name: str) -> bool:
        return name in self.columns

    def __iter__(self) -> Iterator[str]:
        return iter(self.columns)

    def __getitem__(self, name: str) -> Column:
        return self.columns[name]

    def mask(self, name: str, make: Callable[["SampleTable"], np.ndarray]) -> np.ndarray:
        """(N,) bool, read-only: make(self), worked out when it is first asked for under this name."""
        if name not in self._masks:
            mask = make(self)
            mask.flags.writeable = False
            self._masks[name] = mask
        return self._masks[name]

    # -- single rows

    def rows(self, positions: np.ndarray | Sequence[int], names: Sequence[str] | None = None) -> pd.DataFrame:
        """These rows (n,) of the columns `names`, all where none are named, as pandas has them; the index says where
        they stand in the table."""
        places = np.asarray(positions, dtype=np.int64)
        found = _to_pandas((self.frame if names is None else self.frame.select(cs.by_name(*names)))[places])
        found.index = pd.Index(places)
        return found

    def ids(self, positions: np.ndarray | Sequence[int]) -> list[str]:
        """sample_ids of these rows (n,)."""
        return self.frame["sample_id"][np.asarray(positions, dtype=np.int64)].to_list()

    def position(self, sample_id: str) -> int | None:
        """The row of a sample; None where it is not in the table."""
        return next((int(place) for place in self.positions([sample_id]) if place >= 0), None)

    def positions(self, sample_ids: Collection[str]) -> np.ndarray:
        """(n,) int64: the row of each sample, -1 of those that are not in the table."""
        wanted = pl.Series("sample_id", [name if is_whole(name) else None for name in sample_ids], dtype=pl.String)
        ids = self.frame["sample_id"]
        places = ids.is_in(wanted.unique().drop_nulls().implode()).arg_true().cast(pl.Int64)
        there = pl.DataFrame({"sample_id": ids[places], "place": places})
        found = wanted.to_frame().join(there, on="sample_id", how="left", maintain_order="left")
        return found["place"].fill_null(-1).to_numpy()

    def has_ids(self, sample_ids: Collection[str]) -> np.ndarray:
        """(N,) bool: the samples named."""
        if not len(sample_ids):
            return np.zeros(len(self), dtype=bool)
        wanted = pl.Series(list(filter(is_whole, sample_ids)), dtype=pl.String)
        return self.frame["sample_id"].is_in(wanted.implode()).to_numpy()

    # -- other tables

    def pandas(self, *names: str) -> pd.DataFrame:
        """All rows of these columns, of all where none are named, in pandas; texts as texts. A copy, but of numbers."""
        return _to_pandas(self.frame.select(cs.by_name(*names)) if names else self.frame)

    def with_columns(self, added: pl.DataFrame, revision: str | None = None) -> "SampleTable":
        """The same samples with more columns (N rows); the others are shared, with what is known of them."""
        for name in added.columns:
            assert name not in self.columns, f"the table has a column {name} already"
        return SampleTable(self.frame.hstack(added), self.columns, self.revision if revision is None else revision)

    def with_changed(self, changed: Mapping[str, Column], revision: str | None = None) -> "SampleTable":
        """The same samples with other columns (N rows) in place of some that it has; the others are shared."""
        for name in changed:
            assert name in self.columns, f"the table has no column {name}"
        return SampleTable(self.frame.with_columns([column.cells for column in changed.values()]),
                           {**self.columns, **changed}, self.revision if revision is None else revision)


def tidied(frame: pl.DataFrame) -> pl.DataFrame:
    """The same cells as the table keeps them: texts of few values numbered (Enum) but KEYS, numbers without a value
    NaN."""
    frame = frame.with_columns(cs.by_dtype(pl.Null).cast(pl.String))
    names = [name for name in frame.select(cs.string(include_categorical=True)).columns
             if name not in KEYS and not isinstance(frame.schema[name], pl.Enum) and _may_have_few(frame[name])]
    values = {name: found[0] for name, found in frame.select(
        cs.by_name(name).unique().drop_nulls().head(_MAX_NAMES + 1).cast(pl.String).implode() for name in names
        ).to_dict().items()}
    return frame.with_columns(
        *(cs.by_name(name).cast(choice_of(found) if len(found) <= _MAX_NAMES else pl.String)
          for name, found in values.items()),
        *(cs.by_name(name).cast(pl.Float64).fill_null(float("nan")) for name in frame.select(cs.integer()).columns
          if frame[name].null_count()),
        *(cs.by_name(name).fill_null(float("nan")) for name in frame.select(cs.float()).columns
          if frame[name].null_count()))


def _may_have_few(cells: pl.Series) -> bool:
    """No, where its first cells are nearly all different: then the others need not be looked at."""
    return len(cells) <= 2 * _SAMPLED or cells[:_SAMPLED].n_unique() <= _SAMPLED // 2


def _to_pandas(frame: pl.DataFrame) -> pd.DataFrame:
    found: pd.DataFrame = frame.with_columns(cs.enum().cast(pl.String)).to_pandas(date_as_object=True)
    return found


# -- filters


def matches(table: SampleTable, filters: Mapping[str, Condition | Cell]) -> np.ndarray:
    """Rows (N,) bool that pass every filter: a condition of the column, a value that its cell equals, or None for no
    filter. Raises SelectionError for an unknown column, a condition of unknown parts, or a range of what is no number.
    """
    mask = np.ones(len(table), dtype=bool)
    for name, wanted in filters.items():
        if name not in table.columns:
            raise SelectionError(f"a filter must name a column of the table; got {name!r}; there are "
                                 f"{', '.join(table.columns)}")
        if isinstance(wanted, dict):
            mask &= _in_range(table.columns[name], wanted)
        elif wanted is not None:
            mask &= table.columns[name].is_one_of(wanted if isinstance(wanted, list) else [wanted])
    return mask


def _in_range(column: Column, wanted: Range) -> np.ndarray:
    unknown = set(wanted) - set(Range.__annotations__)
    if unknown:
        raise SelectionError(f"a filter of {column.name} may have min, max, contains and is_null; got "
                             f"{sorted(unknown)[0]!r}; leave it out")
    mask = np.ones(len(column), dtype=bool)
    low, high = wanted.get("min"), wanted.get("max")
    if low is not None or high is not None:
        if column.kind != "number":
            raise SelectionError(f"a range needs a column of numbers; {column.name} has none; filter it by value")
        if low is not None:
            mask &= column.numbers >= low
        if high is not None:
            mask &= column.numbers <= high
    if text := wanted.get("contains"):
        mask &= column.contains(text)
    if (is_null := wanted.get("is_null")) is not None:
        mask &= column.is_null == is_null
    return mask
