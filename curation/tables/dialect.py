"""How a CSV file is written, told by its first bytes: encoding, separator, what stands before the header, the header.

Reads no more than the beginning, and takes for certain only what all of it says.
"""

import codecs
import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from curation.tables.report import SourceError
from curation.words import counted

_HEAD_BYTES = 1 << 20
_NUM_LOOKED_AT = 50
_MARKS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF32_LE, "utf-32"), (codecs.BOM_UTF32_BE, "utf-32"),
          (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))
ENCODINGS = ("utf-8", "cp1252", "latin-1", "iso8859-15", "cp1250", "cp1251", "koi8-r", "cp1253", "cp1254", "mac-roman",
             "cp437", "cp850", "shift_jis", "euc-jp", "gb18030", "big5", "euc-kr", "cp949")
"""Python's names of what a file may be said to be in; cp1252 is Western Windows'."""
_SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
csv.field_size_limit((1 << 31) - 1)  # a cell may hold a picture
_NEWLINE = re.compile(r"\r\n|\n|\r")


@dataclass(frozen=True, kw_only=True, slots=True)
class Dialect:
    """What it takes to read a CSV file."""

    encoding: str
    """Python's name: one of ENCODINGS, utf-8-sig, utf-16 or utf-32."""
    separator: str
    num_lines: int
    """Lines up to the end of the header."""
    names: tuple[str, ...]
    """Names of all columns, white space at their ends removed; a nameless one is called unnamed, unnamed_2, ..."""
    nameless: frozenset[str]
    """Those of the names that the file does not have: left out where the column is empty."""
    notes: tuple[str, ...]
    """What is not as usual and was understood, a sentence each."""


def dialect_of(path: Path, encoding: str | None = None) -> Dialect:
    """The dialect of a CSV file with a header. encoding: of ENCODINGS, where the file's first bytes name none. Raises
    SourceError where there is no header, or none of a known encoding; OSError where the file cannot be read."""
    with open(path, "rb") as file:
        head = file.read(_HEAD_BYTES)
    encoding = next((name for mark, name in _MARKS if head.startswith(mark)), encoding or "utf-8")
    decoder = codecs.getincrementaldecoder(encoding)(
        errors="surrogateescape" if encoding.startswith("utf-8") else "strict")
    text = decoder.decode(head, final=len(head) < _HEAD_BYTES)
    lines = _NEWLINE.split(text)
    notes = [] if encoding.startswith("utf-8") else [f"the text is {encoding.upper()}"]
    start, separator = _start(lines, "\t" if path.suffix.lower() == ".tsv" else ",", notes)
    if start == len(lines):
        raise SourceError(f"a table must hold rows; {path.name} has no line that names its columns; check the file")
    reader = csv.reader((line + "\n" for line in lines[start:]), delimiter=separator)
    names = [name.strip() for name in _row(reader)]
    names[:1] = [name.lstrip("#").strip() or name for name in names[:1]]  # a comment that names the columns
    if any("\udc80" <= letter <= "\udcff" for name in names for letter in name):
        raise SourceError(f"text must be UTF-8; the names of columns in {path.name}, row {start + 1}, are not; save it "
                          "as UTF-8 (in a spreadsheet: CSV UTF-8)")
    end = start + reader.line_num
    names += [""] * _num_more(lines[end:end + _NUM_LOOKED_AT], len(names), separator)
    named = _all_named(names)
    return Dialect(encoding=encoding, separator=separator, num_lines=end, names=tuple(named),
                   nameless=frozenset(new for old, new in zip(names, named, strict=True) if not old),
                   notes=tuple(notes))


def _start(lines: list[str], usual: str, notes: list[str]) -> tuple[int, str]:
    """(lines before the header, what separates its names). Comments and a spreadsheet's own `sep=;` stand before."""
    start = 0
    while start < len(lines) and not lines[start].strip():
        start += 1
    if start < len(lines) and (said := re.fullmatch(r'"?sep=(.)"?', lines[start].strip(" "), re.IGNORECASE)):
        return start + 1, said[1]
    after = start
    while after < len(lines) and (lines[after].startswith("#") or not lines[after].strip()):
        after += 1
    if after < len(lines) and after > start:
        after -= _are_names(lines[after - 1], lines[after], usual)
    if after < len(lines) and after > start:
        notes.append(f"{counted(after - start, 'line')} before the names of columns left out as comments")
        start = after
    return start, _separator([line for line in lines[start:start + _NUM_LOOKED_AT] if line.strip()], usual, notes)


def _are_names(comment: str, row: str, separator: str) -> bool:
    """Whether a comment right before the rows names their columns: as many single words as they have values."""
    words = comment.lstrip("#").split(separator)
    return len(words) > 1 and len(words) == len(row.split(separator)) and all(len(word.split()) == 1 for word in words)


def _separator(lines: list[str], usual: str, notes: list[str]) -> str:
    """The usual one, unless the header lacks it and another one parts header and rows alike."""
    if not lines or usual in lines[0]:
        return usual
    for separator, word in _SEPARATORS.items():
        widths = [len(row) for row in csv.reader((line + "\n" for line in lines), delimiter=separator)]
        if widths and widths[0] > 1 and sum(width == widths[0] for width in widths) >= 0.7 * len(widths):
            notes.append(f"values are separated by {word}")
            return separator
    return usual


def _row(reader: Iterator[list[str]]) -> list[str]:
    try:
        return next(reader, [])
    except csv.Error as error:
        raise SourceError(f"the first row must name the columns; {error}; check the file") from error


def _num_more(lines: list[str], num: int, separator: str) -> int:
    """How many separators too many each of these rows ends in, as some programs write them."""
    rows = [row for row in csv.reader((line + "\n" for line in lines if line.strip()), delimiter=separator)]
    more = {len(row) - num for row in rows}
    return more.pop() if len(more) == 1 and all(len(row) > num and not any(row[num:]) for row in rows) else 0


def _all_named(names: list[str]) -> list[str]:
    found: list[str] = []
    for name in names:
        new, count = name or "unnamed", 1
        while not name and (new in names or new in found):
            count += 1
            new = f"unnamed_{count}"
        found.append(new)
    return found
