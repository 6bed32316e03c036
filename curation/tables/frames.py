"""Tables of any of three formats as text columns: CSV (or TSV), Parquet, JSON Lines.

One malformed line costs that line, never the file. Does not know which column means what.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from curation.tables.csv_table import header_of, read_csv
from curation.tables.lines import decode, read_lines
from curation.tables.report import Problems, Progress, SourceError, as_utf8
from curation.tables.schema_names import categories, class_labels

SUFFIXES = (".csv", ".tsv", ".parquet", ".pq", ".jsonl", ".ndjson")
_BLOCK_BYTES = 4 << 20
_BATCH_LINES = 20_000
_ByColumn: TypeAlias = dict[str, tuple[str, ...]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Frame:
    """A table as read.

    columns: text as strings that hold the file's text as it stands (CSV: every column), in Parquet and JSON Lines
    numbers and booleans as such. rows: (N,) int64 row numbers; of a CSV the line at which it begins, of others
    counted from 1.
    bad_bytes: column -> (N,) bool, where its text was not UTF-8 and is null now; columns without any are left out.
    class_labels: column of class numbers -> the names that the schema has for them, in their order. categories: column
    of names -> all those that the schema has, in their order.
    """

    columns: pa.Table
    rows: np.ndarray
    bad_bytes: dict[str, np.ndarray]
    notes: list[str]
    class_labels: _ByColumn = field(default_factory=dict)
    categories: _ByColumn = field(default_factory=dict)


def read_frame(path: Path, problems: Problems, progress: Progress, encoding: str | None = None) -> Frame:
    """Read a table file; reports malformed lines. encoding: of a CSV (dialect.ENCODINGS), where its first bytes name
    none. Raises SourceError if nothing can be read."""
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise SourceError(f"a table must be one of {', '.join(SUFFIXES)}; got {path.name!r}; convert it")
    if not path.is_file():
        raise SourceError(f"a table must be a file; there is none at {path}; check the path")
    if not path.stat().st_size:
        raise SourceError(f"a table must hold rows; {path.name} has no bytes; check the file")
    numbered: _ByColumn = {}
    named: _ByColumn = {}
    try:
        if suffix in (".csv", ".tsv"):
            frame, rows, notes = read_csv(path, problems, progress, encoding=encoding)
        elif suffix in (".parquet", ".pq"):
            frame, rows, notes, numbered, named = _parquet(path, progress)
        else:
            frame, rows, notes = _json_lines(path, problems, progress)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        short = " ".join(str(error).split())[:200]
        raise SourceError(f"{path.name} must be readable as {suffix[1:]}; {short}; check the file") from error
    _refuse_repeated(frame.column_names, path)
    columns, bad_bytes = _as_text(frame)
    return Frame(columns=columns, rows=rows, bad_bytes=bad_bytes, notes=notes, class_labels=numbered, categories=named)


def _refuse_repeated(names: list[str], path: Path) -> None:
    repeated = next((name for name in names if names.count(name) > 1), None)
    if repeated is not None:
        raise SourceError(f"column names must differ; {repeated!r} repeats in {path.name}; rename one")


def column_names(path: Path) -> list[str]:
    """Names of a table's columns, of JSON Lines those of its first line; reads no more. Raises SourceError where they
    cannot be read."""
    try:
        suffix = path.suffix.lower()
        if suffix in (".parquet", ".pq"):
            return [str(name) for name in pq.read_schema(path).names]
        if suffix in (".jsonl", ".ndjson"):
            with open(path, encoding="utf-8") as file:
                first = json.loads(file.readline(_BLOCK_BYTES))
            return list(first) if isinstance(first, dict) else []
        return header_of(path)
    except SourceError:
        raise
    except (pa.ArrowException, OSError, ValueError) as error:
        short = " ".join(str(error).split())[:200]
        raise SourceError(f"{path.name} must be readable as {path.suffix[1:]}; {short}; check the file") from error


def _as_text(table: pa.Table) -> tuple[pa.Table, dict[str, np.ndarray]]:
    """(binary and string columns as strings, null where the bytes are not UTF-8; where that is, by column)."""
    bad_bytes = {}
    for idx, one in enumerate(table.schema):
        if not (pa.types.is_string(one.type) or pa.types.is_binary(one.type)):
            continue
        text, is_bad = decode(table.column(idx))
        if is_bad.any():
            bad_bytes[one.name] = is_bad
        table = table.set_column(idx, one.name, text)
    return table, bad_bytes


def _parquet(path: Path, progress: Progress) -> tuple[pa.Table, np.ndarray, list[str], _ByColumn, _ByColumn]:
    """(columns of plain values, row numbers, notes, class_labels, categories). Lists of texts or whole numbers are
    their JSON, as in JSON Lines; other nested and binary ones cannot be filtered or coloured by and are left out."""
    schema = pq.read_schema(path)
    _refuse_repeated(schema.names, path)
    kinds = {one.name: pa.string() if is_listing(one.type) else plain_type(one.type) for one in schema}
    left_out = [name for name, kind in kinds.items() if kind is None]
    progress(0, 1, f"reading {path.name}")
    table = pq.read_table(path, columns=[name for name in schema.names if name not in left_out])
    named = categories(table)
    for idx, one in enumerate(table.schema):
        if is_listing(one.type):
            table = table.set_column(idx, one.name, listing_text(table.column(idx)))
        elif one.type != kinds[one.name]:
            table = table.set_column(idx, one.name, table.column(idx).cast(kinds[one.name]))
    progress(1, 1, f"reading {path.name}")
    notes = [f"columns left out, since they hold no plain values: {', '.join(left_out)}"] if left_out else []
    return table, np.arange(1, table.num_rows + 1), notes, class_labels(schema), named


def plain_type(kind: pa.DataType) -> pa.DataType | None:
    """The one of few types that stands for a Parquet type here; None for nested and binary ones."""
    types = pa.types
    if types.is_dictionary(kind):
        return plain_type(kind.value_type)
    if types.is_boolean(kind) or types.is_integer(kind) or types.is_timestamp(kind):
        return kind
    if types.is_floating(kind) or types.is_decimal(kind):
        return pa.float32() if types.is_float16(kind) or types.is_float32(kind) else pa.float64()
    is_text = types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind)
    return pa.string() if is_text or types.is_temporal(kind) or types.is_null(kind) else None


def is_listing(kind: pa.DataType) -> bool:
    """Whether cells are lists of texts or whole numbers, or of structs of such: labels, and who gave them."""
    is_list = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    return is_list and _is_said(kind.value_type)


def _is_said(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        return kind.num_fields > 0 and all(_is_said(field.type) for field in kind)
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_integer(kind))


def listing_text(column: pa.Array | pa.ChunkedArray, names: tuple[str, ...] = ()) -> pa.Array:
    """Lists as their JSON, null where there is none. names: of whole numbers, which then become the name at their
    place, where there is one; -1, which stands for no label, is left out."""
    cells = column.to_pylist()
    if names:
        cells = [cell and [names[one] if one is not None and 0 <= one < len(names) else one for one in cell
                           if one != -1] for cell in cells]
    return pa.array([None if cell is None else _json_text(cell) for cell in cells], pa.string())


def _json_lines(path: Path, problems: Problems, progress: Progress) -> tuple[pa.Table, np.ndarray, list[str]]:
    """Each line an object. Lines are parsed one by one, so that a malformed one is reported and the rest loads."""
    lines = read_lines(path, path.name, problems, progress)
    parts, rows = [], []
    for start in range(0, lines.num_rows, _BATCH_LINES):
        batch = lines.slice(start, _BATCH_LINES)
        objects = list(_objects(batch, path.name, problems))
        names = dict.fromkeys(name for _, values in objects for name in values)
        columns = {as_utf8(name): column_of([values.get(name) for _, values in objects]) for name in names}
        rows += [row for row, _ in objects]
        parts.append(pa.table(columns))
        progress(min(start + _BATCH_LINES, lines.num_rows), lines.num_rows, f"parsing {path.name}")
    parts = [part for part in parts if part.num_columns]
    return concatenated(parts), np.array(rows, dtype=np.int64), []


def _objects(lines: pa.Table, name: str, problems: Problems) -> Iterator[tuple[int, dict[str, object]]]:
    for text, row in zip(lines["text"].to_pylist(), lines["row"].to_pylist(), strict=True):
        try:
            value = json.loads(text)
        except (json.JSONDecodeError, RecursionError, ValueError) as error:
            problems.add("malformed line", f"a line must be a JSON object; {error}", file=name, row=row)
            continue
        if isinstance(value, dict) and value:
            yield row, value
        else:
            problems.add("malformed line", f"a line must be a JSON object with values; got {text[:80]!r}", file=name,
                         row=row)


def column_of(values: list[object]) -> pa.Array:
    """One type where all values share it, else the values' JSON as text."""
    kinds = {type(value) for value in values if value is not None}
    if kinds <= {bool} or kinds <= {int} or kinds <= {int, float} or kinds <= {str}:
        try:
            return pa.array(values)
        except (pa.ArrowException, OverflowError, UnicodeEncodeError):
            pass  # too large or undecodable for that type: kept as text below
    return pa.array([v if v is None else _json_text(v) for v in values], pa.string())


def _json_text(value: object) -> str:
    return as_utf8(value if isinstance(value, str) else json.dumps(value))


def concatenated(parts: list[pa.Table]) -> pa.Table:
    """Parts as one table; a column whose parts differ in type becomes text."""
    if not parts:
        return pa.table({})
    fields: dict[str, set[pa.DataType]] = {}
    for part in parts:
        for one in part.schema:
            if not pa.types.is_null(one.type):
                fields.setdefault(one.name, set()).add(one.type)
    for idx, part in enumerate(parts):
        for place, one in enumerate(part.schema):
            if len(fields.get(one.name, ())) > 1:
                part = part.set_column(place, one.name, part.column(place).cast(pa.string()))
        parts[idx] = part
    return pa.concat_tables(parts, promote_options="default")
