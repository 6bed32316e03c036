"""CSV files as columns of raw text, each of the file's lines accounted for.

A quote that is opened and never closed would swallow what follows it, up to the end of the file: such lines are read
one by one instead. A malformed row costs that row.
"""

import codecs
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from curation.tables.dialect import Dialect, dialect_of
from curation.tables.lines import decode
from curation.tables.odd_lines import Found, Lines, report_rows_in_cells
from curation.tables.report import Problems, Progress, SourceError

_BLOCK_BYTES = 4 << 20
_LARGEST_BLOCK = (1 << 31) - 1


@dataclass(frozen=True, slots=True)
class _Refused:
    """A record that has not as many values as there are columns."""

    ordinal: int
    """As pyarrow counts: the header's last line is the one before the first record."""
    text: str


def read_csv(path: Path, problems: Problems, progress: Progress, *, keeps_empty: bool = False,
             encoding: str | None = None) -> tuple[pa.Table, np.ndarray, list[str]]:
    """(columns as binary, (N,) int64 line at which each row begins, notes). Blank lines are left out, and rows whose
    cells are all empty unless keeps_empty. encoding: see dialect_of.

    Raises SourceError where the file has no header that can be read, pa.ArrowException or OSError for the rest.
    """
    dialect = dialect_of(path, encoding)
    num_lines, is_text = _looked_through(path, dialect.encoding)
    table, refused = _parsed(path, dialect, progress, is_text)
    spans, refused_spans = np.ones(table.num_rows, dtype=np.int64), np.ones(len(refused), dtype=np.int64)
    has_long = num_lines != dialect.num_lines + table.num_rows + len(refused)
    if has_long:
        spans += _line_breaks(table)
        refused_spans += np.array([_breaks(one.text) for one in refused], dtype=np.int64)
    rows, refused_rows = _line_numbers(dialect.num_lines, spans, [one.ordinal for one in refused], refused_spans)
    swallowed = [Lines(int(row), int(num)) for row, num in zip(refused_rows, refused_spans, strict=True) if num > 1]
    if has_long:
        if table.num_rows and spans[-1] > 1 and _is_open(path, dialect, last := Lines(int(rows[-1]), int(spans[-1]))):
            swallowed.append(last)
            table, rows, spans = table.slice(0, table.num_rows - 1), rows[:-1], spans[:-1]
        report_rows_in_cells(table, rows, spans, dialect, path, problems)
    found = Found(dialect, path, problems)
    for one, row, num in zip(refused, refused_rows, refused_spans, strict=True):
        if num == 1:
            found.add(one.text, int(row))
    for lines in swallowed:
        found.add_all(_lines(path, dialect, lines), lines)
    table, rows = found.put_into(table, rows)
    if not keeps_empty or table.num_columns == 1:
        is_blank = np.logical_and.reduce([np.asarray(pc.equal(pc.binary_length(c), 0)) for c in table.columns])
        table, rows = table.filter(pa.array(~is_blank)), rows[~is_blank]
    left_out = [name for name in dialect.nameless if not pc.any(pc.greater(pc.binary_length(table[name]), 0)).as_py()]
    return table.drop_columns(left_out), rows, list(dialect.notes)


def read_whole_csv(path: Path) -> pd.DataFrame:
    """whole_table as text in a frame, whose index is the line at which each row begins."""
    table, rows = whole_table(path)
    return pd.DataFrame({name: table[name].to_pylist() for name in table.column_names}, index=rows, dtype=str)


def whole_table(path: Path, *, is_matrix: bool = False) -> tuple[pa.Table, np.ndarray]:
    """(every row of a CSV file as strings, "" where a cell is empty; (N,) int64 line at which each row begins).

    For a file of which no row may be lost: raises SourceError, naming the line, where one cannot be read, is longer
    than its header, or lies in the cell of another, and where the text is not UTF-8. is_matrix: rows go by their order,
    so that one of empty cells counts and one that is too short is refused as well.
    """
    problems = Problems()
    try:
        table, rows, _ = read_csv(path, problems, lambda done, total, message: None, keeps_empty=is_matrix)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise SourceError(f"a CSV must be readable; {path}: {' '.join(str(error).split())[:200]}; check it") from error
    bad = next((one for one in problems.table().to_pylist() if is_matrix or one["kind"] != "short row"), None)
    if bad is not None:
        raise SourceError(f"{path.name} row {bad['row']}: {bad['reason']}; mend it")
    repeated = next((name for name in table.column_names if table.column_names.count(name) > 1), None)
    if repeated is not None:
        raise SourceError(f"column names must differ; {repeated!r} repeats in {path.name}; rename one")
    columns = {name: decode(table[name]) for name in table.column_names}
    for name, (_, is_bad) in columns.items():
        if is_bad.any():
            raise SourceError(f"text must be UTF-8; {path.name} row {rows[is_bad][0]}, column {name!r}, is not; save "
                              "it as UTF-8")
    return pa.table([text for text, _ in columns.values()], names=list(columns)), rows


def header_of(path: Path) -> list[str]:
    """Names of a CSV file's columns; reads no more than its beginning. Raises SourceError or OSError."""
    return list(dialect_of(path).names)


# -- parsing


def _parsed(path: Path, dialect: Dialect, progress: Progress, is_text: bool) -> tuple[pa.Table, list[_Refused]]:
    """Every column as raw bytes: a type guessed from the first block would fail the file at the first odd value.
    is_text: whether all is of the encoding; else bytes are read as letters and turned back, since a refused row that
    is not UTF-8 stops pyarrow."""
    encoding = "latin-1" if not is_text else "utf8" if dialect.encoding.startswith("utf-8") else dialect.encoding
    try:
        table, refused = _parsed_in_blocks(path, dialect, progress, encoding, _BLOCK_BYTES)
    except pa.ArrowInvalid as error:
        if "straddling" not in str(error):
            raise
        block_bytes = min(path.stat().st_size + 1, _LARGEST_BLOCK)
        table, refused = _parsed_in_blocks(path, dialect, progress, encoding, block_bytes)
    if is_text:
        return table, refused
    columns = [pa.array([text.decode().encode("latin-1") for text in column.to_pylist()], pa.binary())
               for column in table.columns]
    as_read = [_Refused(one.ordinal, one.text.encode("latin-1").decode("utf-8", "surrogateescape")) for one in refused]
    return pa.table(columns, names=table.column_names), as_read


def _parsed_in_blocks(path: Path, dialect: Dialect, progress: Progress, encoding: str,
                      block_bytes: int) -> tuple[pa.Table, list[_Refused]]:
    refused: list[_Refused] = []

    def skip(row: pyarrow.csv.InvalidRow) -> str:
        refused.append(_Refused(row.number, row.text))
        return "skip"

    arrow = pyarrow.csv
    read = arrow.ReadOptions(use_threads=False, block_size=block_bytes, column_names=list(dialect.names),
                             skip_rows=dialect.num_lines, encoding=encoding)
    parse = arrow.ParseOptions(delimiter=dialect.separator, newlines_in_values=True, ignore_empty_lines=False,
                               invalid_row_handler=skip)
    convert = arrow.ConvertOptions(column_types=dict.fromkeys(dialect.names, pa.binary()), strings_can_be_null=False,
                                   check_utf8=False)
    size, num_bytes, batches = path.stat().st_size, 0, []
    try:
        with arrow.open_csv(str(path), read_options=read, parse_options=parse, convert_options=convert) as reader:
            schema = reader.schema
            for batch in reader:
                batches.append(batch)
                num_bytes += batch.nbytes
                progress(min(num_bytes, size), size, f"reading {path.name}")
    except pa.ArrowInvalid as error:
        if not any(words in str(error) for words in ("Empty CSV file", "Could not skip initial")):  # a header alone
            raise
        schema = pa.schema([(name, pa.binary()) for name in dialect.names])
    return pa.Table.from_batches(batches, schema), refused


# -- lines


def _looked_through(path: Path, encoding: str) -> tuple[int, bool]:
    """(lines of a file, as \\n, \\r\\n or \\r part them, a last one without an end too; whether all of it is of the
    encoding)."""
    decoder = codecs.getincrementaldecoder(encoding)()
    num, last, is_text = 0, "", True
    with open(path, "rb") as file:
        while block := file.read(_BLOCK_BYTES):
            try:
                text = decoder.decode(block)
            except UnicodeDecodeError:
                if not encoding.startswith("utf-8"):
                    raise
                decoder, is_text = codecs.getincrementaldecoder("latin-1")(), False
                text = decoder.decode(block)
            if text:
                num += _breaks(text) - (last == "\r" and text.startswith("\n"))
                last = text[-1]
    is_cut = encoding.startswith("utf-8") and bool(decoder.getstate()[0])  # the last letter lacks bytes
    return num + (last not in ("\n", "\r", "")), is_text and not is_cut


def _breaks(text: str) -> int:
    return text.count("\n") + (text.count("\r") - text.count("\r\n") if "\r" in text else 0)


def _line_breaks(table: pa.Table) -> np.ndarray:
    """(N,) int64: line breaks in the cells of each row."""
    num = np.zeros(table.num_rows, dtype=np.int64)
    for column in table.columns:
        for part, sign in ((b"\n", 1), (b"\r", 1), (b"\r\n", -1)):
            num += sign * np.asarray(pc.count_substring(column, part), dtype=np.int64)
    return num


def _line_numbers(before: int, spans: np.ndarray, refused: list[int],
                  refused_spans: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(lines at which the rows begin, the same of the refused records), given how many lines each takes."""
    gaps = np.array(refused, dtype=np.int64) - before - 1  # places among all records
    is_refused = np.zeros(len(spans) + len(gaps), dtype=bool)
    is_refused[gaps] = True
    every = np.empty(len(is_refused), dtype=np.int64)
    every[is_refused], every[~is_refused] = refused_spans, spans
    first = before + 1 + np.cumsum(every) - every
    return first[~is_refused], first[is_refused]


def _lines(path: Path, dialect: Dialect, of: Lines) -> list[str]:
    """Those lines of a file as text; bytes that are not UTF-8 as surrogates."""
    with open(path, encoding=dialect.encoding, errors="surrogateescape", newline=None) as file:
        return [line.rstrip("\n") for line in islice(file, of.first - 1, of.first - 1 + of.num)]


def _is_open(path: Path, dialect: Dialect, last: Lines) -> bool:
    """Whether the last record's quote was never closed."""
    return sum(line.count('"') for line in _lines(path, dialect, last)) % 2 == 1
