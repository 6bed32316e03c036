"""Tables with a column of zeros and ones for each class."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curation.sources.reading.classes import text_of
from curation.tables.report import Column, Problems

_ON, _OFF = ("1", "1.0", "true"), ("0", "0.0", "false")


def is_one_hot(table: pa.Table, names: list[str]) -> bool:
    """Whether these columns, at least two, hold zeros and ones alone."""
    known = pa.array([*_ON, *_OFF])
    return len(names) > 1 and all(pc.all(pc.is_in(_lower(table[name]), value_set=known)).as_py() is not False
                                  and table[name].null_count < table.num_rows for name in names)


def labels_of(table: pa.Table, names: list[str], file: str, rows: np.ndarray, ids: Column,
              problems: Problems) -> tuple[pa.Array, np.ndarray]:
    """(each row's one class, null where it has none, as text; (N,) bool, which rows stay). Rows of several classes, or
    with other values, are reported and do not stay."""
    num = table.num_rows
    count_N, code_N, is_odd_N = np.zeros(num, np.int64), np.zeros(num, np.int64), np.zeros(num, bool)
    for idx, name in enumerate(names):
        value = _lower(table[name])
        is_on = np.asarray(pc.fill_null(pc.is_in(value, value_set=pa.array(_ON)), False))
        is_known = pc.is_in(value, value_set=pa.array([*_ON, *_OFF]))
        is_odd_N |= np.asarray(pc.and_(pc.is_valid(value), pc.invert(is_known)))
        count_N += is_on
        code_N[is_on] = idx
    for place in np.flatnonzero(is_odd_N):
        problems.add("malformed line", "the columns of classes hold 0 or 1", file=file, row=int(rows[place]),
                     sample_id=ids[int(place)].as_py())
    for place in np.flatnonzero((count_N > 1) & ~is_odd_N):
        found = [name.strip() for name in names if _lower(table[name].slice(int(place), 1))[0].as_py() in _ON]
        problems.add("several labels", f"an image must have one class here; it has {len(found)}: "
                     f"{', '.join(map(repr, found[:5]))}", file=file, row=int(rows[place]),
                     sample_id=ids[int(place)].as_py())
    labels = pa.array(np.array([name.strip() for name in names], dtype=object)[code_N], pa.string(), mask=count_N == 0)
    return labels, (count_N <= 1) & ~is_odd_N


def _lower(column: Column) -> Column:
    return pc.utf8_lower(text_of(column).cast(pa.string()))
