"""Which chunks of a large array on disk are finished, with their digests: a killed process's successor goes on there.

    journal.jsonl      one JournalEntry a line, the last word on each chunk; a line cut short or changed counts as not
                       written
"""

import hashlib
import json
import os
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import TypedDict, cast

import numpy as np

from engine.contract.disk.seals import opened_json, sealed_json


class JournalEntry(TypedDict):
    """A chunk that is finished."""

    start: int
    """Its first row."""
    digest: str
    """Of its bytes (rows_digest)."""
    bad: dict[str, str]
    """Row -> why it has no values."""


def rows_digest(rows: np.ndarray) -> str:
    return hashlib.blake2b(rows.tobytes(), digest_size=16).hexdigest()


def line_of(entry: JournalEntry) -> str:
    return sealed_json(cast(Mapping[str, object], entry), indent=None)


def read_journal(path: Path) -> dict[int, JournalEntry]:
    """first row -> entry of finished chunks; {} where there is no file."""
    entries: dict[int, JournalEntry] = {}
    try:
        lines = path.read_text(errors="replace").splitlines()
    except FileNotFoundError:
        return entries
    for line in lines:
        try:
            entry = opened_json(json.loads(line))
            entries[entry["start"]] = cast(JournalEntry, entry)
        except (ValueError, KeyError, TypeError, RecursionError):
            continue
    return entries


def append_entry(path: Path, entry: JournalEntry) -> None:
    """One line at the end, in one write, so that lines of several processes do not mix. A line before it that was cut
    short is ended first."""
    with open(path, "ab+", buffering=0) as file:
        size = file.seek(0, os.SEEK_END)
        is_cut = size > 0 and os.pread(file.fileno(), 1, size - 1) != b"\n"
        file.write(b"\n" * is_cut + line_of(entry).encode() + b"\n")


def damaged_chunk(journal: Path, shard: Path, first: int, num_chunk: int, used: frozenset[int]) -> int | None:
    """First row of a chunk that is not as it was written, or of which the journal does not say so; None where all are
    or where there is no journal. Reads all of a shard, once until it changes.

    first: row of the array that the shard begins with; num_chunk: rows a chunk; used: first rows of the chunks that
    must be there. Raises OSError, ValueError, EOFError for a shard that is no array.
    """
    return _damaged_chunk(journal, shard, _look(journal), _look(shard), first, num_chunk, used)


def _look(path: Path) -> tuple[int, int, int]:
    try:
        found = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return 0, 0, 0
    return found.st_mtime_ns, found.st_size, found.st_ino


@lru_cache(maxsize=1024)
def _damaged_chunk(journal: Path, shard: Path, _journal_look: tuple[int, int, int], _shard_look: tuple[int, int, int],
                   first: int, num_chunk: int, used: frozenset[int]) -> int | None:
    if not journal.exists():
        return None
    entries, rows = read_journal(journal), np.load(shard, mmap_mode="r", allow_pickle=False)
    for start in sorted({*(start for start in entries if first <= start < first + len(rows)), *used}):
        at = start - first
        if start not in entries or rows_digest(rows[at:at + num_chunk]) != entries[start]["digest"]:
            return start
    return None
