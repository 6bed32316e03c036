"""Files that a command writes where its user says: a new name or a regular file, and never half of one. The one place
that decides what may be written over."""

import os
import stat
from collections.abc import Callable
from pathlib import Path

from engine.contract.errors import UserError
from engine.contract.manifest import MANIFEST_NAME
from engine.contract.work_dir import write_atomic


class OutputError(UserError):
    """A file cannot be written there. One line, ready to show."""


def output_file(path: Path | None) -> Path | None:
    """The path itself, as the callback of a command's option: refused before any work is done or anything reserved.

    Raises OutputError for a folder, a link, a device or a named pipe, a file of a project's own, and a place that
    cannot be written to.
    """
    if path is None:
        return None
    try:
        mode = os.lstat(path).st_mode
    except (FileNotFoundError, NotADirectoryError):
        mode = 0
    except (OSError, ValueError) as error:  # a name too long, or with a NUL
        raise OutputError(f"an output must be a file that can be written; {path}: {error}; choose another") from error
    if mode and not stat.S_ISREG(mode):
        raise OutputError(f"an output is a new file or replaces a regular one; {path} is {_kind(mode)}; name another "
                          "file")
    if mode and (path.parent / MANIFEST_NAME).is_file():
        raise OutputError(f"an output must leave a project's own files alone; {path} is one; choose another place")
    place = next((folder for folder in path.absolute().parents if os.path.lexists(folder)), Path("/"))
    if not (place.is_dir() and os.access(place, os.W_OK | os.X_OK)):
        raise OutputError(f"an output must be a file that can be written; {place} is "
                          f"{'not writable' if place.is_dir() else 'no folder'}; choose another place")
    return path


def write_output(path: Path, write: Callable[[Path], object]) -> None:
    """Call write(temporary path), then put that file in the place of `path`. Raises OutputError."""
    output_file(path)
    try:
        write_atomic(path, write, is_sealed=False)
    except OSError as error:
        raise OutputError(f"an output must be a file that can be written; {path}: {error.strerror or error}; choose "
                          "another place") from error


def _kind(mode: int) -> str:
    kinds = ((stat.S_ISDIR, "a folder"), (stat.S_ISLNK, "a link"), (stat.S_ISFIFO, "a named pipe"))
    return next((words for is_so, words in kinds if is_so(mode)), "a device")
