"""Labels as text; classes that a text file declares, and labels that are their numbers."""

import os
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from curation.tables.lines import read_lines
from curation.tables.report import Column, Problems, Progress, SourceError


def declared_classes(path: str | None, problems: Problems, progress: Progress) -> tuple[str, ...] | None:
    """The declared classes, None where there is no file of them."""
    if path is None:
        return None
    if not os.path.isfile(path):
        raise SourceError(f"classes must be a text file of one class a line; there is none at {path!r}; check the path")
    names = read_lines(Path(path), os.path.basename(path), problems, progress)["text"].to_pylist()
    if len(set(names)) != len(names):
        raise SourceError(f"class names must differ; a name repeats in {path!r}; rename one")
    return tuple(names)


def named_classes(labels: Column, classes: tuple[str, ...]) -> Column:
    """Labels that are no class name but the number of one, as that name."""
    values = pa.array(classes, pa.string())
    numbers = pa.array([str(idx) for idx in range(len(classes))])
    by_number = values.take(whole(pc.index_in(labels, value_set=numbers)))
    is_name = whole(pc.is_in(labels, value_set=values))
    return pc.if_else(is_name, whole(labels), pc.coalesce(by_number, whole(labels)))


def whole(column: Column) -> pa.Array:
    """A column in one piece."""
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column


def text_of(column: Column) -> Column:
    """Any plain column as strings without white space at their ends; null where that leaves nothing."""
    kind = column.type
    if pa.types.is_floating(kind):  # whole numbers with gaps come out of pandas as floats: 3.0 is label 3
        column = pc.if_else(pc.is_nan(column), pa.scalar(None, kind), column)
        is_whole = pc.all(pc.and_(pc.is_finite(column), pc.equal(pc.floor(column), column))).as_py()
        column = column.cast(pa.int64()) if is_whole else column
    text = pc.utf8_trim_whitespace(column.cast(pa.string()))
    return pc.if_else(pc.equal(text, ""), pa.scalar(None, pa.string()), text)
