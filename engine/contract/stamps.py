"""What files look like from outside, as a key of caches: equal while they are the same, another once one changes."""

from pathlib import Path
from typing import NamedTuple


class FileState(NamedTuple):
    """One file at one moment. mtime_ns, size (bytes) and inode are 0 where there is no file."""

    path: str
    mtime_ns: int
    size: int
    inode: int


Stamp = tuple[FileState, ...]
"""Hashable; what Streamlit and functools key by."""


def stamp_of(*paths: Path) -> Stamp:
    """The states of these files now, in their order. A file replaced by renaming changes its inode, so a new one of
    the same size within the clock's step is told from the old.

    Raises OSError for a file that is there and cannot be looked at.
    """
    return tuple(map(_state_of, paths))


def _state_of(path: Path) -> FileState:
    try:
        found = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return FileState(str(path), 0, 0, 0)
    return FileState(str(path), found.st_mtime_ns, found.st_size, found.st_ino)
