"""Which chunks of a large array on disk are finished, with their digests: a killed process's successor goes on there.

    journal.jsonl      one JournalEntry a line, the last word on each chunk; a line cut short or changed counts as not
                       written
"""

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TypedDict, cast

import numpy as np

from engine.contract.disk.seals import opened_json, sealed_json
from engine.contract.work_dir import write_atomic


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


def _line(entry: JournalEntry) -> str:
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
        file.write(b"\n" * is_cut + _line(entry).encode() + b"\n")


def write_journal(path: Path, entries: Mapping[int, JournalEntry]) -> None:
    """All lines anew, by first row."""
    lines = "".join(_line(entries[start]) + "\n" for start in sorted(entries))
    write_atomic(path, lambda to: to.write_text(lines))
