"""Names of files and folders while they are written, which say whose they are: what a dead process left is told from
what a living one writes, and removed.

    .NAME.HOST-PID-STARTED-NUMBER.partial

HOST: hex digits of the machine's name, of its start (several machines on one network disk may have one name) and of its
namespace of processes (a container has its own); PID and STARTED (seconds since the machine started, so that a clock
that is set changes nothing) of the process. Of another machine's or user's processes nothing is known here, nor of
those before this machine's start: what they wrote counts as left once all of it is a day old, as do names of older
code, which lack the start. Knows nothing of what is written.
"""

import hashlib
import itertools
import os
import platform
import re
import shutil
import time
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from engine.contract.disk.processes import seconds_from_boot

ENDING = ".partial"
STALE_SECONDS = 24 * 3600.0
_OURS = re.compile(r"\..*\.([0-9a-f]{8})-(\d+)-(\d+)-\d+\.partial", re.DOTALL)
_OLDER = re.compile(r"\.(.*\.)?\d+(-\d+)?\.(tmp|new)", re.DOTALL)
"""Of older code: .NAME.PID-THREAD.tmp of a file, .NAME.PID.tmp of an export, .NAME.PID-THREAD.new of features. Other
programs may name theirs so: these are looked for in a project alone, never where an export or a report goes."""
_MOST_OF_NAME = 120
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_numbers = itertools.count()


def temporary_beside(path: Path) -> Path:
    """A name in the same folder that nothing else has, to be renamed to `path`. What dead processes left in that
    folder is removed when a process first asks for one there."""
    _sweep_once(os.path.abspath(path.parent), os.getpid())
    pid = os.getpid()
    return path.with_name(f".{path.name[:_MOST_OF_NAME]}.{_host()}-{pid}-{_started(pid)}-{next(_numbers)}{ENDING}")


def is_orphan(path: Path) -> bool:
    """Whether a name is that of something being written whose writer is gone."""
    found = _OURS.fullmatch(path.name)
    if not found and not _OLDER.fullmatch(path.name):
        return False
    try:
        seen = path.lstat()
    except OSError:  # it was renamed meanwhile
        return False
    is_known = found and found[1] == _host() and seen.st_uid == getattr(os, "getuid", lambda: seen.st_uid)()
    if found and is_known:
        now = seconds_from_boot(int(found[2]))
        return now is None or abs(now - int(found[3])) > 2.0
    return seen.st_mtime < (stale := time.time() - STALE_SECONDS) and not _has_newer(path, stale)


def _has_newer(folder: Path, than: float) -> bool:
    """Whether anything below a folder was written since: its own time is that of the last name in it."""
    try:
        return any(os.lstat(os.path.join(place, name)).st_mtime >= than
                   for place, folders, files in os.walk(folder) for name in (*folders, *files))
    except OSError:  # it is being written, or renamed
        return True


def orphans(folder: Path) -> list[Path]:
    """Every file and folder in and below `folder` that a dead process was writing, by path. Links are not followed."""
    return sorted(_orphans_in(folder, is_deep=True))


def remove(paths: list[Path]) -> list[Path]:
    """Remove such files and folders; those that are gone. What cannot be removed, or is no orphan, stays."""
    gone = []
    for path in paths:
        if not is_orphan(path):
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            try:
                path.unlink(missing_ok=True)
            except OSError:
                continue
        if not os.path.lexists(path):
            gone.append(path)
    return gone


def _orphans_in(folder: Path, is_deep: bool) -> Iterator[Path]:
    pending = [folder]
    while pending:
        try:
            with os.scandir(pending.pop()) as entries:
                found = list(entries)
        except OSError:
            continue
        for entry in found:
            if entry.name.startswith(".") and is_orphan(Path(entry.path)):
                yield Path(entry.path)
            elif is_deep and entry.is_dir(follow_symlinks=False):
                pending.append(Path(entry.path))


@lru_cache(maxsize=4096)
def _sweep_once(folder: str, pid: int) -> None:
    """pid: a forked process is another."""
    remove([path for path in _orphans_in(Path(folder), is_deep=False) if _OURS.fullmatch(path.name)])


@lru_cache(maxsize=1)
def _host() -> str:
    try:  # outside of containers the namespace has the same number on every Linux
        namespace, start = os.readlink("/proc/self/ns/pid"), _BOOT_ID.read_text().strip()
    except OSError:  # no Linux
        namespace = start = ""
    return hashlib.sha256(f"{platform.node()} {start} {namespace}".encode()).hexdigest()[:8]


@lru_cache(maxsize=4)
def _started(pid: int) -> int:
    return round(seconds_from_boot(pid) or 0.0)
