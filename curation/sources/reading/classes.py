"""Labels as text; classes that a text file declares, and labels that are their numbers."""

import os
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from curation.samples.own_exports import without_apostrophes
from curation.tables.csv_table import whole_table
from curation.tables.lines import read_lines
from curation.tables.report import Column, Problems, Progress, SourceError

_LARGEST_WHOLE = 2.0**53
"""Whole numbers up to this are exact as floats."""
_MOST = 0.9
"""Of the numbers from 1, so many must be there to say that labels count from it."""


def declared_classes(path: str | None, problems: Problems, progress: Progress) -> tuple[str, ...] | None:
    """The declared classes, None where there is no file of them."""
    if path is None:
        return None
    if not os.path.isfile(path):
        raise SourceError("classes must be a text file of one class a line, or a CSV with the column label; there is "
                          f"none at {path!r}; check the path")
    names = _column_of_names(Path(path)) if path.lower().endswith(".csv") else \
        read_lines(Path(path), os.path.basename(path), problems, progress)["text"].to_pylist()
    if len(set(names)) != len(names):
        raise SourceError(f"class names must differ; a name repeats in {path!r}; rename one")
    return tuple(names)


def _column_of_names(path: Path) -> list[str]:
    """Class names in the order of their rows, as classes.csv in an export of ours has them: a line of a list
    cannot hold every name."""
    table, _ = whole_table(path)
    if "label" not in table.column_names:
        raise SourceError(f"a table of classes must have the column label; {path.name} has "
                          f"{', '.join(map(repr, table.column_names))}; rename one, or write one class a line")
    names: list[str] = pc.utf8_trim_whitespace(without_apostrophes(table["label"])).to_pylist()
    return names


def named_classes(labels: Column, classes: tuple[str, ...]) -> Column:
    """Labels that are no class name but the number of one, as that name."""
    values = pa.array(classes, pa.string())
    numbers = pa.array([str(idx) for idx in range(len(classes))])
    by_number = values.take(whole(pc.index_in(labels, value_set=numbers)))
    is_name = whole(pc.is_in(labels, value_set=values))
    return pc.if_else(is_name, whole(labels), pc.coalesce(by_number, whole(labels)))


def of_numbers(numbers: Column, classes: tuple[str, ...]) -> Column:
    """Class numbers as names; -1, which stands for no label, as null; any other number that is none as its text."""
    text = whole(numbers.cast(pa.string()))
    known = pc.index_in(text, value_set=pa.array([str(idx) for idx in range(len(classes))]))
    missing = pc.if_else(pc.equal(text, "-1"), pa.scalar(None, pa.string()), text)
    return pc.coalesce(pa.array(classes, pa.string()).take(known), missing)


def refuse_from_one(labels: Column, classes: tuple[str, ...]) -> None:
    """Raises SourceError where labels are numbers that run from 1 to the number of classes: counted from 0, each would
    be taken for the class after its own."""
    seen, num = set(pc.unique(labels).to_pylist()) - {None}, len(classes)
    from_one = {str(number) for number in range(1, num + 1)} - set(classes)
    if seen <= from_one and str(num) in seen and len(seen) >= _MOST * num:
        raise SourceError(f"labels that are numbers of classes count from 0; they run from 1 to {num}, so that each "
                          "would be taken for the class after its own; take 1 off each, or write the names")


def whole(column: Column) -> pa.Array:
    """A column in one piece."""
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column


def text_of(column: Column) -> Column:
    """Any plain column as strings without white space at their ends; null where that leaves nothing."""
    kind = column.type
    if pa.types.is_floating(kind):  # whole numbers with gaps come out of pandas as floats: 3.0 is label 3
        column = pc.if_else(pc.is_nan(column), pa.scalar(None, kind), column)
        is_small = pc.less_equal(pc.abs(column), _LARGEST_WHOLE)
        is_whole = pc.all(pc.and_(is_small, pc.equal(pc.floor(column), column))).as_py()
        column = column.cast(pa.int64()) if is_whole else column
    text = pc.utf8_trim_whitespace(column.cast(pa.string()))
    return pc.if_else(pc.equal(text, ""), pa.scalar(None, pa.string()), text)
