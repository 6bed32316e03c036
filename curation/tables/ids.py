"""Lists of sample ids that people bring: one a line, or the column sample_id of a CSV."""

import codecs
import re
from collections.abc import Collection, Iterable
from pathlib import Path

from curation.tables.csv_table import whole_table
from curation.tables.report import SourceError

ID_COLUMN = "sample_id"
_MARKS = ((codecs.BOM_UTF32_LE, "utf-32"), (codecs.BOM_UTF32_BE, "utf-32"), (codecs.BOM_UTF16_LE, "utf-16"),
          (codecs.BOM_UTF16_BE, "utf-16"))
_NEWLINE = re.compile(r"\r\n|\n|\r")


def read_ids(path: Path) -> list[str]:
    """The ids in a file, as they are written, in its order; blank lines do not count.

    Raises SourceError for a file that cannot be read, a line that is not UTF-8, or a CSV without the column or with a
    row that cannot be read: of a list of what to do, no line may be passed over.
    """
    if path.suffix.lower() in (".csv", ".tsv"):
        table, _ = whole_table(path)
        if ID_COLUMN not in table.column_names:
            raise SourceError(f"a CSV of ids must have the column {ID_COLUMN}; {path.name} has "
                              f"{', '.join(map(repr, table.column_names[:12]))}; name it so")
        return [cell for cell in table[ID_COLUMN].to_pylist() if cell.strip()]
    try:
        raw = path.read_bytes()
        encoding = next((name for mark, name in _MARKS if raw.startswith(mark)), "utf-8-sig")
        return ids_in(raw.decode(encoding))
    except (OSError, UnicodeDecodeError) as error:
        at = f"line {len(_NEWLINE.split(error.object[:error.start].decode('latin-1'))):,} is not UTF-8" \
            if isinstance(error, UnicodeDecodeError) else error.strerror
        raise SourceError(f"a file of ids must be readable text; {path}: {at}; check the file") from error


def ids_in(text: str) -> list[str]:
    """The lines of a text that are not blank."""
    return [line for line in _NEWLINE.split(text) if line.strip()]


def as_known(ids: Iterable[str], known: Collection[str]) -> list[str]:
    """Each id as the project has it: as it is written; else without white space at its ends, or without the apostrophe
    that keeps a spreadsheet from running it (curation.samples.csv_cells). One that is unknown stays as it is."""
    return [next((one for one in (text, text.strip(), text.strip().removeprefix("'")) if one in known), text)
            for text in ids]
