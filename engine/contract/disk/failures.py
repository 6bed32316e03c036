"""What a disk or a database file refuses (full, read-only, locked, failing), in one line for people.

Judged by the numbers that errors carry, never by their words; knows sqlite3's errors by their number alone.
"""

import errno
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

FULL_BYTES = 2**20
"""A disk with less free space counts as full where what failed does not say why."""
Failure = Literal["full", "read_only", "no_right", "locked", "cannot_open", "failing", "too_many_files", "is_folder"]
_BY_ERRNO: dict[int, Failure] = {
    errno.ENOSPC: "full", errno.EDQUOT: "full", errno.EROFS: "read_only", errno.EACCES: "no_right",
    errno.EPERM: "no_right", errno.EIO: "failing", errno.ESTALE: "failing", errno.EMFILE: "too_many_files",
    errno.ENFILE: "too_many_files", errno.EISDIR: "is_folder", errno.ENOTDIR: "is_folder"}
_BY_SQLITE: dict[int, Failure] = {
    3: "no_right", 5: "locked", 6: "locked", 8: "read_only", 10: "failing", 13: "full", 14: "cannot_open"}
"""Primary result codes (sqlite.org/rescode.html): PERM, BUSY, LOCKED, READONLY, IOERR, FULL, CANTOPEN."""
_WORDS: dict[Failure, tuple[str, str, str]] = {
    "full": ("what is written needs free space", "has none left", "free some, then do it again"),
    "read_only": ("what is written needs a place that is not read-only", "is read-only",
                  "ask for the right to write there, or work on a copy"),
    "no_right": ("files need the right to read and to write them", "denies it",
                 "ask for that right, or work on a copy"),
    "locked": ("a database is written to by one process at a time", "stayed locked by another",
               "end what holds it (a copy, a backup, a stopped program), then do it again"),
    "cannot_open": ("a database's file and folder must be there and writable", "cannot be opened",
                    "check its folder, its rights and free space"),
    "failing": ("a disk must read and write what it is given", "answers with an input/output error",
                "check the disk or the network that it is on; copy the project before you go on"),
    "is_folder": ("a file stands where one belongs, and a folder where that does", "is the other",
                  "move it away, or restore it from a copy"),
    "too_many_files": ("a process may hold so many files open", "needs one more",
                       "start the program anew, or allow more (ulimit -n)"),
}


def failure_of(error: BaseException) -> Failure | None:
    """What was refused where an error, or one that it came from, is a disk's or a database file's; else None."""
    for each in _chain(error):
        code = getattr(each, "sqlite_errorcode", None)
        found = _BY_SQLITE.get(code & 0xFF) if isinstance(code, int) else None
        if isinstance(each, OSError) and each.errno is not None:
            found = _BY_ERRNO.get(each.errno)
        if found is not None:
            return found
    return None


def is_lock(error: BaseException) -> bool:
    """Whether another process holds the database: alone of all refusals this one may pass by waiting."""
    return failure_of(error) == "locked"


def is_full(folder: Path) -> bool:
    """Whether the disk of a folder has less than FULL_BYTES left; False where there is no such folder."""
    try:
        return shutil.disk_usage(folder).free < FULL_BYTES
    except OSError:
        return False


def disk_line(error: BaseException, where: str | Path = "") -> str | None:
    """The rule, what arrived and what to do, in one line; None for what no disk refused. where: the file or the
    database, where the error itself does not name it."""
    failure = failure_of(error)
    if failure is None:
        return None
    named = next((each.filename for each in _chain(error) if isinstance(each, OSError) and each.filename), None)
    if failure in ("failing", "cannot_open") and (named or where) and is_full(Path(str(named or where)).parent):
        failure = "full"  # what SQLite calls an input/output error where its shared memory finds no room
    rule, arrived, to_do = _WORDS[failure]
    place = " ".join(str(named or where or "the disk").split())
    return f"{rule}; {place} {arrived}; {to_do}"


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error and those that it was raised from."""
    seen: set[int] = set()
    each: BaseException | None = error
    while each is not None and id(each) not in seen:
        seen.add(id(each))
        yield each
        each = each.__cause__
