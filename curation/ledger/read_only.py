"""A SQLite file that may only be read, or whose disk is full: a copy of it, in this process's own temporary folder.

SQLite itself cannot look into a database with a write-ahead log where it may not write beside it, and to take it for
one that never changes would leave out what the log holds. A copy is an ordinary database, of older code too, which is
brought up to date there. Copied anew once the file or its log changes; a file that a program on another machine writes
to at that very moment may be caught half-way, as in any copy.
"""

import errno
import os
import shutil
import tempfile
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import sqlalchemy as sa

from engine.contract.disk.failures import disk_line
from engine.contract.stamps import Stamp, stamp_of

LOG_ENDING = "-wal"
ROOM_BYTES = 2**16
"""What SQLite takes on disk merely to open a database with a write-ahead log: 32 KiB that its readers share, and a page
or two."""


class ReadCopy(NamedTuple):
    """path: what to read instead; reason: why nothing can be written, one line."""

    path: Path
    reason: str


def copy_of_read_only(database: str) -> ReadCopy | None:
    """The copy to read instead of a SQLite file (or URL of one) that cannot be written; None of any other database, and
    where there is no room for a copy either."""
    if "://" in database and not database.startswith("sqlite"):
        return None
    path = Path(sa.make_url(database).database or "" if "://" in database else database)
    reason = _refusal(path)
    if not reason:
        return None
    try:
        return ReadCopy(Path(_copied(path, stamp_of(path, _log_of(path))).name) / path.name, reason)
    except OSError:
        return None


def _refusal(path: Path) -> str:
    """Why a file, or something beside it, cannot be written: by its rights, as all of a disk is read-only, or full; ""
    where it can."""
    if not path.parent.is_dir():
        return ""
    if not os.access(path.parent, os.W_OK) or (path.exists() and not os.access(path, os.W_OK)):
        return (f"decisions and answers are written into the project, which is read-only; {path} cannot be written; "
                "ask for the right to write there, or work on a copy of the project")
    is_open = path.with_name(path.name + "-shm").exists()  # by another process: then there is no more to make
    if path.exists() and not is_open and shutil.disk_usage(path.parent).free < ROOM_BYTES:
        return disk_line(OSError(errno.ENOSPC, "", str(path))) or ""
    return ""


@lru_cache(maxsize=16)
def _copied(path: Path, _stamp: Stamp) -> tempfile.TemporaryDirectory[str]:
    """A folder with the copy, which is removed when this process ends or others have taken its place."""
    folder = tempfile.TemporaryDirectory(prefix="whetstone-ledger-")
    for source in (path, _log_of(path)):
        if source.exists():
            shutil.copyfile(source, Path(folder.name) / source.name)
    return folder


def _log_of(path: Path) -> Path:
    return path.with_name(path.name + LOG_ENDING)
