"""Lines of a CSV that its quotes put where they do not belong: rows read one by one, rows that lie in another's cell.

Knows how a file is written, not what its columns mean.
"""

import csv
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curation.tables.dialect import Dialect
from curation.tables.report import Problems

_BREAK = re.compile(r"\r\n|\n|\r")
_SUFFIX = re.compile(r"\.[A-Za-z0-9]{2,5}$")


@dataclass(frozen=True, slots=True)
class Lines:
    """Lines of the file that one record takes, counted from 1."""

    first: int
    num: int


def report_rows_in_cells(table: pa.Table, rows: np.ndarray, spans: np.ndarray, dialect: Dialect, path: Path,
                         problems: Problems) -> None:
    """Says which cells hold lines that look like rows: more likely a stray quote than a long text. A line with a value
    that other rows have in the same column is a lost row.

    table: columns of bytes. rows, spans: (N,) the line at which each row begins, and how many it takes.
    """
    inner: list[tuple[int, int, str]] = []
    num = len(dialect.names)
    for place in np.flatnonzero(spans > 1).tolist():
        row = int(rows[place])
        for column in table.columns:
            for line in _BREAK.split(column[place].as_py().decode("utf-8", "replace"))[1:]:
                row += 1
                inner.append((place, row, line))
    values = [values_of(line, dialect) for *_, line in inner]
    is_lost = _are_rows([one if min(2, num) <= len(one) <= num else [] for one in values], table)
    suspects = {place for (place, _, line), lost in zip(inner, is_lost, strict=True)
                if lost or line.count(dialect.separator) >= max(1, num - 1)}
    said = set[int]()
    for (place, row, line), lost in zip(inner, is_lost, strict=True):
        first = int(rows[place])
        if place in suspects and place not in said:
            said.add(place)
            problems.add("rows in one cell", f"lines {first:,} to {first + int(spans[place]) - 1:,} are one row, since "
                         "a quote is opened in the first and closed in the last; take the quote out if they are "
                         "several", file=path.name, row=first, action="kept")
        if lost:
            problems.add("rows in one cell", f"this line looks like a row and lies in a cell of the row of line "
                         f"{first:,}: {line[:80]!r}", file=path.name, row=row)


def _are_rows(lines: list[list[str]], table: pa.Table) -> list[bool]:
    """Whether each line has a value that stands in the same column elsewhere, or one that ends as a file's name there
    does. lines: the values of each, as many as there are columns at most."""
    found = [False] * len(lines)
    for idx, column in enumerate(table.columns if any(lines) else ()):
        cells = [values[idx].strip() if idx < len(values) else "" for values in lines]
        raw = pa.array([cell.encode("utf-8", "surrogateescape") for cell in cells], pa.binary())
        is_same = pc.is_in(raw, value_set=column.combine_chunks()).to_pylist()
        ends = [match[0] if (match := _SUFFIX.search(cell)) else "" for cell in cells]
        known = {end for end in set(ends) - {""} if pc.any(pc.ends_with(column, end.encode())).as_py()}
        found = [was or bool(cell) and (same or end in known)
                 for was, cell, same, end in zip(found, cells, is_same, ends, strict=True)]
    return found


def values_of(line: str, dialect: Dialect) -> list[str]:
    return next(csv.reader([line], delimiter=dialect.separator), [])


class Found:
    """Rows from lines that are read one by one."""

    def __init__(self, dialect: Dialect, path: Path, problems: Problems) -> None:
        self._dialect, self._path, self._problems = dialect, path, problems
        self._values: list[list[str]] = []
        self._rows: list[int] = []

    def add(self, line: str, row: int) -> None:
        """The row that a line is. One with too few values has none in its last columns, as spreadsheets write it."""
        values, num = values_of(line, self._dialect), len(self._dialect.names)
        said = f"a row must have {num} values; got {len(values)}: {line[:80]!r}"
        if len(values) > num:
            self._problems.add("malformed line", said, file=self._path.name, row=row)
        elif values:
            self._values.append(values + [""] * (num - len(values)))
            self._rows.append(row)
            if len(values) < num:
                self._problems.add("short row", f"{said}; the last columns are empty", file=self._path.name, row=row,
                                   action="kept")

    def add_all(self, lines: list[str], of: Lines) -> None:
        """The rows in a record of several lines: a stray quote in the first takes in the others."""
        num = len(self._dialect.names)
        is_closed = sum(line.count('"') for line in lines) % 2 == 0
        if is_closed and not any(len(values_of(line, self._dialect)) == num for line in lines[1:-1]):
            self._problems.add("malformed line", f"a row must have {num} values; lines {of.first:,} to "
                               f"{of.first + of.num - 1:,}, one row by their quotes, have more or fewer: "
                               f"{lines[0][:80]!r}", file=self._path.name, row=of.first)
            for row in range(of.first + 1, of.first + of.num):
                self._problems.add("malformed line", f"it belongs to the row that begins in line {of.first:,}",
                                   file=self._path.name, row=row)
            return
        self._problems.add("open quote", f"a quote is opened here and takes in the {of.num - 1:,} lines after it, "
                           f"which were read one by one: {lines[0][:80]!r}", file=self._path.name, row=of.first)
        for row, line in enumerate(lines[1:], of.first + 1):
            self.add(line, row)

    def put_into(self, table: pa.Table, rows: np.ndarray) -> tuple[pa.Table, np.ndarray]:
        """The table with them, in the file's order."""
        if not self._rows:
            return table, rows
        columns = [pa.array([cell.encode("utf-8", "surrogateescape") for cell in cells], pa.binary())
                   for cells in zip(*self._values, strict=True)]
        every = np.concatenate([rows, np.array(self._rows, dtype=np.int64)])
        order = np.argsort(every, kind="stable")
        whole = pa.concat_tables([table, pa.table(columns, names=table.column_names)])
        return whole.take(pa.array(order)), every[order]
