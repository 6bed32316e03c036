"""Rewrites the journal of a large array whole (engine.contract.disk.journal reads it and adds to it)."""

from collections.abc import Mapping
from pathlib import Path

from engine.contract.disk.journal import JournalEntry, line_of
from engine.contract.work_dir import write_atomic


def write_journal(path: Path, entries: Mapping[int, JournalEntry]) -> None:
    """All lines anew, by first row."""
    lines = "".join(line_of(entries[start]) + "\n" for start in sorted(entries))
    write_atomic(path, lambda to: to.write_text(lines))
