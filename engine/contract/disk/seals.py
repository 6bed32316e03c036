"""A digest inside each file that we write, so that a damaged one is told from a sound one wherever it is read.

    .parquet   before the footer, where readers of Parquet do not look
    .npy       after the array
    .pt        as the comment of the zip archive
    JSON       the member `sha256` of the object; of JSON lines the last line, which has nothing else

A seal is MAGIC and the SHA-256 of every other byte of the file. Files of older code and of other programs have none and
are read as they are. Against damage, not against people: who can write a file can seal it.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO

MAGIC = b"WHETSEAL"
LENGTH = len(MAGIC) + hashlib.sha256().digest_size
SEALED = (".parquet", ".npy", ".pt")
JSON_KEY = "sha256"
_LINE, _LINE_END = f'{{"{JSON_KEY}": "', '"}\n'
_PARQUET_END = 8
"""The footer's length, 4 bytes, and PAR1."""
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


def has_seal(path: Path) -> bool:
    with open(path, "rb") as file:
        return _found(file, path.suffix) is not None


@lru_cache(maxsize=8192)
def _is_sound(path: Path, _mtime_ns: int, _size: int, _inode: int) -> bool:
    with open(path, "rb") as file:
        at = _found(file, path.suffix)
        if at is None:
            return True
        file.seek(at + len(MAGIC))
        return file.read(LENGTH - len(MAGIC)) == _digest(file, at, at + LENGTH)


def _found(file: BinaryIO, kind: str) -> int | None:
    """Where the seal begins; None without one."""
    at = _place(file, kind, is_sealed=True)
    if at < 0:
        return None
    file.seek(at)
    return at if file.read(len(MAGIC)) == MAGIC else None


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
    """A JSON object without its seal. Raises SealError if it is not as it was written."""
    if JSON_KEY not in values:
        return values
    rest = {name: value for name, value in values.items() if name != JSON_KEY}
    if values[JSON_KEY] != _json_digest(rest):
        raise SealError(f"what it says has changed since it was written (its {JSON_KEY})")
    return rest


def sealed_lines(text: str) -> str:
    """Lines of text and their seal, which is one more line."""
    return f"{text}{_LINE}{_text_digest(text)}{_LINE_END}"


def opened_lines(text: str) -> str:
    """Lines without their seal. Raises SealError if they are not as they were written."""
    lines, mark, rest = text.partition(_LINE)
    if mark and rest != _text_digest(lines) + _LINE_END:
        raise SealError("what it says has changed since it was written")
    return lines


def _text_digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _json_digest(values: Mapping[str, object]) -> str:
    plain = json.loads(json.dumps(values))  # keys become texts, tuples lists
    return hashlib.sha256(json.dumps(plain, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
