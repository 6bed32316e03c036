"""Processes that share a run's or a study's folder: who lives, who may work in it, who asked it to stop.

Knows no format of any file.
"""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

import psutil


def process_start(pid: int) -> float | None:
    """Start time of a live process in seconds since the epoch; None if there is none or it is a zombie."""
    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else process.create_time()
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return None


def is_same_process(pid: int | None, started: float | None) -> bool:
    """True if process `pid` lives and is the one that started at `started` (a pid alone may have been reused)."""
    if pid is None or started is None:
        return False
    now = process_start(int(pid))
    return now is not None and abs(now - float(started)) < 2.0


def drop_old_cancel(folder: Path) -> None:
    """Forget a request to cancel that is older than this process. A later one was made while it started: it holds."""
    request = folder / "cancel"
    with contextlib.suppress(FileNotFoundError):
        if request.stat().st_mtime < psutil.Process().create_time() - 1.0:  # start times are known to a second
            request.unlink()


@contextlib.contextmanager
def alone_in(folder: Path, refusal: Exception) -> Iterator[None]:
    """Lock a folder, so that of processes that start at once only one works in it; a killed one lets go of it. Raises
    `refusal` where another process holds it."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise refusal from None
        yield
    finally:
        os.close(handle)
