"""Tables of numbers, Parquet and CSV, as curation.evidence.array_file has them: a column a number, or one of lists.

A CSV is held in memory; what is larger belongs into Parquet.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curation.evidence.array_file import ID_COLUMN, ArrayFile, EvidenceError, id_texts, rows_at_once
from curation.tables.csv_table import whole_table
from curation.tables.report import SourceError

_INDEX = re.compile(r"__index_level_.*|unnamed(_\d+)?|Unnamed: \d+")
"""How pandas calls the row numbers that it writes beside the columns, and how a column without a name is called."""
_EMPTY = pa.array(["", "NA", "N/A", "#N/A", "null", "NULL", "None", "nan", "NaN", "NAN"])
_NUMBER = r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$"


def open_parquet(path: Path) -> ArrayFile:
    """A Parquet file with one column of lists, or columns of numbers, and perhaps sample_id."""
    try:
        file = pq.ParquetFile(path)
        schema = file.schema_arrow
        names = _names(path, schema.names)
        lists = [name for name in names if _is_list(schema.field(name).type)]
        if len(lists) > 1:
            raise EvidenceError(f"a table must have one column of lists; {path} has {', '.join(map(repr, lists))}; "
                                "remove the others")
        numbers = lists or [name for name in names if name != ID_COLUMN and _is_number(schema.field(name).type)]
        ids = file.read([ID_COLUMN])[ID_COLUMN] if ID_COLUMN in names else None
        width = _list_width(file, path, lists[0]) if lists else len(numbers)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise error if isinstance(error, EvidenceError) else _unreadable(path, error) from error

    def blocks() -> Iterator[np.ndarray]:
        start = 0
        try:
            with pq.ParquetFile(path) as again:
                for batch in again.iter_batches(rows_at_once(width), columns=numbers):
                    yield _list_rows(path, batch.column(0), width, start) if lists else _matrix(batch)
                    start += batch.num_rows
        except (pa.ArrowException, OSError) as error:
            raise _unreadable(path, error) from error

    num_rows = file.metadata.num_rows
    file.close()
    return ArrayFile(
        path=path, num_rows=num_rows, num_columns=width, columns=None if lists else tuple(numbers),
        sample_ids=None if ids is None else id_texts(path, _objects(ids), num_rows), blocks=blocks,
        left_out=tuple(name for name in names if name not in (*numbers, ID_COLUMN)))


def open_csv(path: Path) -> ArrayFile:
    """A CSV with a line of names, columns of numbers and perhaps sample_id; an empty cell is NaN.

    Raises EvidenceError, naming the line, where a row or a number among numbers cannot be read: rows go by their order.
    """
    try:
        table, lines = whole_table(path, is_matrix=True)
    except SourceError as error:
        raise EvidenceError(str(error)) from error
    names = _names(path, table.column_names)
    found = {name: _numbers(path, name, table[name], lines) for name in names if name != ID_COLUMN}
    numbers = {name: column for name, column in found.items() if column is not None}

    def blocks() -> Iterator[np.ndarray]:
        step = rows_at_once(len(numbers), 8)
        for start in range(0, len(lines), step):
            yield np.column_stack([column[start:start + step] for column in numbers.values()])

    ids = None
    if ID_COLUMN in names:
        ids = _objects(pc.if_else(pc.equal(table[ID_COLUMN], ""), pa.scalar(None, pa.string()), table[ID_COLUMN]))
    return ArrayFile(path=path, num_rows=len(lines), num_columns=len(numbers), columns=tuple(numbers),
                     sample_ids=None if ids is None else id_texts(path, ids, len(lines)), blocks=blocks,
                     left_out=tuple(name for name in names if name not in numbers and name != ID_COLUMN))


def _numbers(path: Path, name: str, column: pa.ChunkedArray, lines: np.ndarray) -> np.ndarray | None:
    """(N,) float64 of a column of text, NaN where it is empty; None where most of it is no number."""
    text = pc.utf8_trim_whitespace(column)
    text = pc.if_else(pc.is_in(text, value_set=_EMPTY), pa.scalar(None, pa.string()), text)
    try:
        return np.asarray(text.cast(pa.float64()).to_numpy())
    except pa.ArrowInvalid:
        is_other = np.asarray(pc.fill_null(pc.invert(pc.match_substring_regex(text, _NUMBER)), False))
    first = int(is_other.argmax())
    if 2 * is_other.sum() >= len(text) - text.null_count or not is_other[first]:
        return None
    raise EvidenceError(f"a column of numbers must hold numbers alone; {path.name} row {lines[first]:,}, column "
                        f"{name!r} has {text[first].as_py()[:80]!r}; mend it, or take the column out")


def _names(path: Path, names: list[str]) -> list[str]:
    """Columns of the data, each once."""
    repeated = next((name for name in names if names.count(name) > 1), None)
    if repeated is not None:
        raise EvidenceError(f"a table's columns must have different names; {path} has {repeated!r} twice; rename one")
    return [name for name in names if not _INDEX.fullmatch(name)]


def _is_list(kind: pa.DataType) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def _is_number(kind: pa.DataType) -> bool:
    """A column that was empty so far may turn out to be one."""
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_null(kind))


def _list_width(file: pq.ParquetFile, path: Path, name: str) -> int:
    """Numbers in the first row's list."""
    batch = next(file.iter_batches(1, columns=[name]), None)
    if batch is None or not batch.num_rows:
        return 0
    first = batch.column(0)
    if not _is_number(first.type.value_type):
        raise EvidenceError(f"lists must hold real numbers; column {name!r} of {path} holds {first.type.value_type}; "
                            "convert it")
    return int(pc.list_value_length(first)[0].as_py() or 0)


def _list_rows(path: Path, column: pa.Array, width: int, start: int) -> np.ndarray:
    """(B, width) of a column of lists; a null in a list is NaN."""
    lengths = pc.list_value_length(column).fill_null(0).to_numpy(zero_copy_only=False)
    odd = np.flatnonzero(lengths != width)
    if len(odd):
        raise EvidenceError(f"all lists must be of one length; row {start + odd[0]:,} (counted from 0) of {path} has "
                            f"{lengths[odd[0]]:,} numbers, the first row {width:,}; mend or remove it")
    return np.asarray(column.flatten().to_numpy(zero_copy_only=False)).reshape(len(column), width)


def _matrix(batch: pa.RecordBatch) -> np.ndarray:
    """(B, D) of columns of numbers; null is NaN."""
    kinds = {field.type for field in batch.schema}
    dtype = np.float32 if kinds <= {pa.float16(), pa.float32()} else np.float64
    found = np.empty((batch.num_rows, batch.num_columns), dtype=dtype)
    for at, column in enumerate(batch.columns):
        found[:, at] = column.cast(pa.float64()).to_numpy(zero_copy_only=False) if pa.types.is_null(column.type) else \
            column.to_numpy(zero_copy_only=False)
    return found


def _objects(column: pa.ChunkedArray) -> np.ndarray:
    found = np.empty(len(column), dtype=object)
    found[:] = column.to_pylist()
    return found


def _unreadable(path: Path, error: Exception) -> EvidenceError:
    return EvidenceError(f"a table must be readable; {path}: {' '.join(str(error).split())[:300]}; write it again")
