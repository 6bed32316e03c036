"""Text files read in columns: lists of one value a line, and bytes turned into text that is known to be UTF-8.

Does not know what the lines mean.
"""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from curation.tables.report import Column, Problems, Progress, SourceError

_NEVER_IN_A_LIST = "\x1f"
_BLOCK_BYTES = 4 << 20


def read_lines(path: Path, name: str, problems: Problems, progress: Progress) -> pa.Table:
    """The lines of a text file, white space at both ends removed, blank ones left out.

    Returns columns text (string), file (`name`, dictionary), row (int64, counted from 1). Reports an empty file and
    each line that is not UTF-8. Reads block by block, so memory holds the text once. Raises SourceError if the file
    cannot be read.
    """
    size = path.stat().st_size
    if not size:
        problems.add("empty list", "the file has no bytes", file=name, action="kept")
        return located(pa.array([], pa.string()), name, np.empty(0, np.int64))
    try:
        # A line that Arrow refuses and that is not UTF-8 either it cannot hand over.
        lines, found = _read(path, size, name, progress, "latin-1" if _has_separator(path) else "utf-8")
    except (pa.ArrowInvalid, OSError) as error:
        short = " ".join(str(error).split())[:160]
        raise SourceError(f"{name} must be a text file of one entry a line; {short}; check the file") from error
    for kind, reason, row in found:
        problems.add(kind, reason, file=name, row=row)
    if not lines.num_rows:
        problems.add("empty list", "the file has no entry", file=name, action="kept")
    return lines


def _read(path: Path, size: int, name: str, progress: Progress,
          encoding: str) -> tuple[pa.Table, list[tuple[str, str, int]]]:
    """(lines as read_lines has them; kind, reason and row of what is wrong). encoding: latin-1 reads any bytes, more
    slowly; they are judged as UTF-8 all the same."""
    malformed: list[pyarrow.csv.InvalidRow] = []
    found: list[tuple[str, str, int]] = []
    parts, num_lines, num_bytes = [], 0, 0
    for batch in _open(path, malformed, encoding):
        block = pa.chunked_array([batch.column(0) if encoding == "utf-8" else _bytes_of_latin(batch.column(0))])
        rows = _line_numbers(np.arange(num_lines + 1, num_lines + 1 + len(block)), malformed)
        num_lines += len(block)
        num_bytes += block.nbytes
        text, is_bad = decode(block)
        found += [("not UTF-8", f"text must be UTF-8; got {block[int(idx)].as_py()[:80]!r}", int(rows[idx]))
                  for idx in np.flatnonzero(is_bad)]
        text = pc.utf8_trim_whitespace(text)
        is_kept = pc.fill_null(pc.greater(pc.utf8_length(text), 0), False)
        parts.append(located(text.filter(is_kept), name, rows[np.asarray(is_kept)]))
        progress(min(num_bytes, size), size, f"reading {name}")
    found += [("malformed line", "a list holds one entry a line; this one has a control character", bad.number)
              for bad in malformed]
    return pa.concat_tables([located(pa.array([], pa.string()), name, np.empty(0, np.int64)), *parts]), found


def _has_separator(path: Path) -> bool:
    with open(path, "rb") as file:
        return any(_NEVER_IN_A_LIST.encode() in block for block in iter(lambda: file.read(_BLOCK_BYTES), b""))


def _bytes_of_latin(values: pa.Array) -> pa.Array:
    """The bytes of the file, of a column that was read as if they were Latin-1."""
    return pa.array([text.decode().encode("latin-1") for text in values.to_pylist()], pa.binary())


def decode(values: Column) -> tuple[Column, np.ndarray]:
    """(text, is_bad): a binary or string column as strings, null where the bytes are not UTF-8, and where that is."""
    chunks, bad = [], []
    for chunk in values.chunks if isinstance(values, pa.ChunkedArray) else [values]:
        raw = chunk.cast(pa.binary())
        try:
            chunks.append(raw.cast(pa.string()))
            bad.append(np.zeros(len(raw), dtype=bool))
        except pa.ArrowInvalid:
            items = raw.to_pylist()
            is_bad = np.array([item is not None and not _is_utf8(item) for item in items], dtype=bool)
            chunks.append(pa.array([None if b else i for i, b in zip(items, is_bad, strict=True)]).cast(pa.string()))
            bad.append(is_bad)
    return pa.chunked_array(chunks, pa.string()), np.concatenate(bad) if bad else np.empty(0, dtype=bool)


def located(text: Column, file: str, rows: np.ndarray) -> pa.Table:
    """Columns text, file, row: values and where they stand, for the report."""
    return pa.table({"text": text, "file": constant(file, len(rows)), "row": pa.array(rows, pa.int64())})


def constant(value: str, num: int) -> pa.Array:
    """`value` repeated, at one byte a row."""
    return pa.DictionaryArray.from_arrays(pa.array(np.zeros(num, np.int8)), pa.array([value]))


def _open(path: Path, malformed: list[pyarrow.csv.InvalidRow], encoding: str) -> pyarrow.csv.CSVStreamingReader:
    """The CSV reader set up for one raw column: no quotes, no escapes, no separator that a list would hold."""
    def skip(row: pyarrow.csv.InvalidRow) -> str:
        malformed.append(row)
        return "skip"

    csv = pyarrow.csv
    return csv.open_csv(
        str(path),
        read_options=csv.ReadOptions(column_names=["line"], use_threads=False, block_size=_BLOCK_BYTES,
                                     encoding=encoding),
        parse_options=csv.ParseOptions(delimiter=_NEVER_IN_A_LIST, quote_char=False, double_quote=False,
                                       escape_char=False, ignore_empty_lines=False, invalid_row_handler=skip),
        convert_options=csv.ConvertOptions(column_types={"line": pa.binary()}))


def _line_numbers(ordinals: np.ndarray, malformed: list[pyarrow.csv.InvalidRow]) -> np.ndarray:
    """Line numbers of the lines that were parsed, given their ordinals: those the parser refused count as well."""
    gaps = np.array([bad.number for bad in malformed], dtype=np.int64)
    return ordinals + np.searchsorted(gaps - np.arange(len(gaps)), ordinals, side="right")


def _is_utf8(raw: bytes) -> bool:
    try:
        raw.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True

