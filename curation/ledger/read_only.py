"""A SQLite file that may only be read: a copy of it, in this process's own temporary folder.

SQLite itself cannot look into a database with a write-ahead log where it may not write beside it, and to take it for
one that never changes would leave out what the log holds. A copy is an ordinary database, of older code too, which is
brought up to date there. Copied anew once the file or its log changes; a file that a program on another machine writes
to at that very moment may be caught half-way, as in any copy.
"""

import os
import shutil
import tempfile
from functools import lru_cache
from pathlib import Path

import sqlalchemy as sa

from engine.contract.stamps import Stamp, stamp_of

LOG_ENDING = "-wal"


def copy_of_read_only(database: str) -> Path | None:
    """The copy to read instead of a SQLite file (or URL of one) that cannot be written; None of any other database."""
    if "://" in database and not database.startswith("sqlite"):
        return None
    path = Path(sa.make_url(database).database or "" if "://" in database else database)
    if not is_read_only(path):
        return None
    return Path(_copied(path, stamp_of(path, _log_of(path))).name) / path.name


def is_read_only(path: Path) -> bool:
    """Whether a file cannot be written, or nothing beside it: by its rights, or as all of a disk is read-only."""
    if not path.parent.is_dir():
        return False
    return not os.access(path.parent, os.W_OK) or (path.exists() and not os.access(path, os.W_OK))


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
