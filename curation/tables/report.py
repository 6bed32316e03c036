"""The import report: every finding about the data, one line each, kept in columns so that a million lines stay cheap.

Knows no source format and opens no image.
"""

from collections.abc import Callable
from typing import TypeAlias

import pyarrow as pa
import pyarrow.compute as pc

from engine.contract.errors import UserError

REPORT_SCHEMA = pa.schema([
    ("file", pa.string()), ("row", pa.int64()), ("sample_id", pa.string()), ("kind", pa.string()),
    ("reason", pa.string()), ("action", pa.string()),
])
"""file: the image or list the finding is about; row: its line, null where a file has none; action: skipped (a row or a
picture becomes no sample, an answer is left out), kept, or ignored (what is none, such as a text file among pictures).
"""

Progress = Callable[[int, int, str], None]
"""Called as progress(done, total, message); done and total start anew whenever message changes."""

Column: TypeAlias = pa.Array | pa.ChunkedArray
_FLUSH_EVERY = 10_000


class SourceError(UserError):
    """Nothing can be imported as asked. One line, ready to show, whatever the names in it hold."""

    def __init__(self, text: str) -> None:
        super().__init__(_one_line(text))


class Problems:
    """Collects findings in order."""

    def __init__(self) -> None:
        self._tables: list[pa.Table] = []
        self._pending: list[tuple[str, int | None, str | None, str, str, str]] = []
        self._num_stored = 0

    def __len__(self) -> int:
        return self._num_stored + len(self._pending)

    def add(self, kind: str, reason: str, *, file: str, row: int | None = None, sample_id: str | None = None,
            action: str = "skipped") -> None:
        """One finding. Text that came from outside may hold anything; it is made one line of valid UTF-8."""
        name = None if sample_id is None else as_utf8(sample_id)
        self._pending.append((_one_line(file), row, name, kind, _one_line(reason), action))
        if len(self._pending) >= _FLUSH_EVERY:
            self._flush()

    def add_rows(self, kind: str, reason: str | Column, rows: pa.Table, *, action: str = "skipped") -> None:
        """One finding for each of `rows` (columns file, row, sample_id); reason: one text or a string array."""
        if not rows.num_rows:
            return
        self._flush()
        num = rows.num_rows
        reasons = pa.array([reason] * num, pa.string()) if isinstance(reason, str) else reason
        columns = [rows["file"].cast(pa.string()), rows["row"], rows["sample_id"], pa.array([kind] * num), reasons,
                   pa.array([action] * num)]
        self._tables.append(pa.table(columns, schema=REPORT_SCHEMA))
        self._num_stored += num

    @property
    def num_lost(self) -> int:
        """Findings that cost a row, a picture or an answer."""
        return int(pc.sum(pc.equal(self.table()["action"], "skipped")).as_py() or 0)

    def table(self) -> pa.Table:
        """All findings, REPORT_SCHEMA, oldest first."""
        self._flush()
        return pa.concat_tables(self._tables) if self._tables else REPORT_SCHEMA.empty_table()

    def by_kind(self) -> dict[str, int]:
        """Number of findings of each kind, most frequent first."""
        counts = pc.value_counts(self.table()["kind"]).to_pylist()
        return {c["values"]: c["counts"] for c in sorted(counts, key=lambda c: (-c["counts"], c["values"]))}

    def _flush(self) -> None:
        if self._pending:
            columns = zip(*self._pending, strict=True)
            arrays = [pa.array(column, field.type) for column, field in zip(columns, REPORT_SCHEMA, strict=True)]
            self._tables.append(pa.table(arrays, schema=REPORT_SCHEMA))
            self._num_stored += len(self._pending)
            self._pending = []


def quoted(values: Column) -> Column:
    """A string array with each value in quotes and its line breaks and tabs made visible, to stand inside reasons."""
    for raw, shown in (("\\", "\\\\"), ("\n", "\\n"), ("\r", "\\r"), ("\t", "\\t")):
        values = pc.replace_substring(values, raw, shown)
    return pc.binary_join_element_wise("'", values, "'", "")


def joined(*parts: str | Column) -> Column:
    """String arrays, numbers and texts put together element by element."""
    cast = [part if isinstance(part, str) else part.cast(pa.string()) for part in parts]
    return pc.binary_join_element_wise(*cast, "")


def as_utf8(text: str) -> str:
    """Text that can be written: lone surrogates, which JSON and file names may hold, as escapes."""
    return text.encode("utf-8", "backslashreplace").decode()


def _one_line(text: str) -> str:
    return " ".join(as_utf8(text).split())
