"""A digest inside each file that we write, so that a damaged one is told from a sound one wherever it is read.

    .parquet   before the footer, where readers of Parquet do not look
    .npy       after the array
    .pt        as the comment of the zip archive
    .img       after the picture
    JSON       the member `sha256` of the object; of JSON lines the last line, which has nothing else

A seal is MAGIC and the SHA-256 of every other byte of the file. Files of older code and of other programs have none and
are read as they are. Where MAGIC itself is damaged the format still tells that something stands in its place: bytes
after the array, a comment of the archive, a gap before the footer. Against damage, not against people: who can write a
file can seal it.
"""

import hashlib
import json
import math
import os
import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow.parquet as pq

MAGIC = b"WHETSEAL"
LENGTH = len(MAGIC) + hashlib.sha256().digest_size
SEALED = (".parquet", ".npy", ".pt", ".img")
JSON_KEY = "sha256"
_LINE, _LINE_END = f'{{"{JSON_KEY}": "', '"}\n'
_LIKE_LINE = re.compile(r'\{"[^"]*": "[0-9a-f]{64}"\}')
_PARQUET_END = 8
"""The footer's length, 4 bytes, and PAR1."""
_ZIP_END, _ZIP_END_BYTES = b"PK\5\6", 22
"""How the end of a zip archive begins, and how long it is without a comment."""
_BLOCK_BYTES = 2**20


class SealError(ValueError):
    """A file is not as it was written."""


def seal(path: Path, kind: str) -> None:
    """Seal a file that nobody reads yet. kind: one of SEALED, as temporary names have other endings. One that has a
    seal keeps it: a copy of a damaged file stays damaged."""
    with open(path, "r+b") as file:
        if _found(file, kind) is not None:
            return
        if kind == ".pt":
            file.seek(-2, os.SEEK_END)  # the length of the archive's comment
            file.write(LENGTH.to_bytes(2, "little"))
        at = _place(file, kind, is_sealed=False)
        file.seek(at)
        rest = file.read()
        digest = _digest(file, at, at)
        file.seek(at)
        file.write(MAGIC + digest + rest)


def check_seal(path: Path) -> None:
    """Raises SealError for a sealed file that is not as it was written, OSError where there is none. Reads all of a
    file, once until it changes."""
    if path.suffix not in SEALED:
        return
    found = path.stat()
    if not _is_sound(path, found.st_mtime_ns, found.st_size, found.st_ino):
        raise SealError(f"{path.name} is not as it was written")


def opened_bytes(content: bytes) -> bytes:
    """What stands before the seal of a picture. Raises SealError if it is not as it was written, or has none."""
    body, mark, digest = content[:-LENGTH], content[-LENGTH:][:len(MAGIC)], content[-LENGTH:][len(MAGIC):]
    if mark != MAGIC or hashlib.sha256(body).digest() != digest:
        raise SealError("it is not as it was written")
    return body


def has_seal(path: Path) -> bool:
    with open(path, "rb") as file:
        return _found(file, path.suffix) is not None


@lru_cache(maxsize=8192)
def _is_sound(path: Path, _mtime_ns: int, _size: int, _inode: int) -> bool:
    with open(path, "rb") as file:
        at = _found(file, path.suffix)
        if at is None:
            return not _lost_its_mark(file, path.suffix)
        file.seek(at + len(MAGIC))
        return file.read(LENGTH - len(MAGIC)) == _digest(file, at, at + LENGTH)


def _found(file: BinaryIO, kind: str) -> int | None:
    """Where the seal begins; None without one."""
    at = _place(file, kind, is_sealed=True)
    if at < 0:
        return None
    file.seek(at)
    return at if file.read(len(MAGIC)) == MAGIC else None


def _lost_its_mark(file: BinaryIO, kind: str) -> bool:
    """Whether a file without MAGIC has something in the place of a seal. False for what cannot be read as its kind:
    its reader says so."""
    try:
        if kind == ".npy":
            return _bytes_after_array(file) > 0
        if kind == ".pt":
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - _ZIP_END_BYTES - LENGTH))
            tail = file.read()
            return tail.startswith(_ZIP_END) and not tail[-_ZIP_END_BYTES:].startswith(_ZIP_END)
        return kind == ".parquet" and _gap_before_footer(file) == LENGTH
    except Exception:  # whatever numpy and pyarrow raise of a damaged header
        return False


def _bytes_after_array(file: BinaryIO) -> int:
    """Negative where the array is cut short."""
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(file)
    return 0 if dtype.hasobject else size - file.tell() - math.prod(shape) * dtype.itemsize


def _gap_before_footer(file: BinaryIO) -> int:
    """Bytes between the last column's end and the footer."""
    footer, end = _place(file, ".parquet", is_sealed=False), 4
    file.seek(0)
    found = pq.read_metadata(file)
    for group in range(found.num_row_groups):
        for number in range(found.num_columns):
            column = found.row_group(group).column(number)
            start = column.data_page_offset
            if column.has_dictionary_page:
                start = min(start, column.dictionary_page_offset)
            end = max(end, start + column.total_compressed_size)
    return footer - end


def _place(file: BinaryIO, kind: str, is_sealed: bool) -> int:
    """Where a seal stands, or would."""
    size = file.seek(0, os.SEEK_END)
    if kind == ".parquet" and size > _PARQUET_END:
        file.seek(-_PARQUET_END, os.SEEK_END)
        size -= _PARQUET_END + int.from_bytes(file.read(4), "little")
    return size - LENGTH if is_sealed else size


def _digest(file: BinaryIO, end: int, begin: int) -> bytes:
    """Of the bytes before `end` and from `begin` on."""
    digest = hashlib.sha256()
    file.seek(0)
    while block := file.read(min(_BLOCK_BYTES, end - file.tell())):
        digest.update(block)
    file.seek(begin)
    while block := file.read(_BLOCK_BYTES):
        digest.update(block)
    return digest.digest()


def sealed_json(values: Mapping[str, object], indent: int | None = 2) -> str:
    """The text of a JSON object with its seal. values: finite, as JSON has them."""
    return json.dumps({**values, JSON_KEY: _json_digest(values)}, indent=indent, allow_nan=False)


def opened_json(values: dict[str, Any]) -> dict[str, Any]:
    """A JSON object without its seal. Raises SealError if it is not as it was written, or if only the seal's name is
    not."""
    if not isinstance(values, dict):
        raise SealError(f"it must hold an object; it holds {type(values).__name__}")
    if JSON_KEY not in values:
        if any(_is_seal_of(values, name) for name in values):
            raise SealError(f"its {JSON_KEY} has another name since it was written")
        return values
    rest = {name: value for name, value in values.items() if name != JSON_KEY}
    if values[JSON_KEY] != _json_digest(rest):
        raise SealError(f"what it says has changed since it was written (its {JSON_KEY})")
    return rest


def _is_seal_of(values: dict[str, Any], name: str) -> bool:
    """Whether a member is the digest of the others."""
    value = values[name]
    return isinstance(value, str) and len(value) == 64 and \
        value == _json_digest({other: values[other] for other in values if other != name})


def sealed_lines(text: str) -> str:
    """Lines of text and their seal, which is one more line."""
    return f"{text}{_LINE}{_text_digest(text)}{_LINE_END}"


def is_sealed_json(path: Path) -> bool:
    """Whether a JSON file has a seal, and so all that was written with it; those of older code and those that people
    have changed have none."""
    try:
        return JSON_KEY in json.loads(path.read_text())
    except (OSError, ValueError, RecursionError, TypeError):
        return False


def opened_lines(text: str, must_have_seal: bool = False) -> str:
    """Lines without their seal. Raises SealError if they are not as they were written."""
    lines, mark, rest = text.partition(_LINE)
    last = text.rstrip("\n").rpartition("\n")[2]
    if rest != _text_digest(lines) + _LINE_END if mark else must_have_seal or _LIKE_LINE.fullmatch(last):
        raise SealError("what it says has changed since it was written")
    return lines


def _text_digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _json_digest(values: Mapping[str, object]) -> str:
    plain = json.loads(json.dumps(values))  # keys become texts, tuples lists
    return hashlib.sha256(json.dumps(plain, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
