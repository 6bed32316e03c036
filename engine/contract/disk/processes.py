"""Processes that share a run's or a study's folder: who lives, who may work in it, who asked it to stop.

Knows no format of any file.
"""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
from filelock import FileLock, Timeout

LOCK_NAME = ".lock"
"""An empty file in a folder that is worked in. It stays when the work is done: what is locked is the open file, so that
a process lets go of it however it ends, killed too."""


def process_start(pid: int) -> float | None:
    """Start time of a live process in seconds since the epoch; None if there is none or it is a zombie."""
    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else process.create_time()
    except (psutil.NoSuchProcess, psutil.AccessDenied, ValueError, OverflowError):  # the last two: no pid at all
        return None


def seconds_from_boot(pid: int) -> float | None:
    """When a live process started, in seconds since the machine did; None as in process_start. Unlike that it stays
    when the clock is set."""
    start = process_start(pid)
    return None if start is None else start - psutil.boot_time()


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
    """Lock a folder, so that of processes that start at once only one works in it. Raises `refusal` where another
    holds it."""
    lock = FileLock(folder / LOCK_NAME)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise refusal from None
    try:
        yield
    finally:
        lock.release()


@contextlib.contextmanager
def in_turn(path: Path, waiting: Callable[[], object], every_seconds: float = 1.0) -> Iterator[None]:
    """Hold the lock file `path`, made with its folder, as soon as nobody else does; `waiting` is called every so often
    until then, and may raise to give up."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path)
    while not lock.is_locked:
        try:
            lock.acquire(timeout=every_seconds)
        except Timeout:
            waiting()
    try:
        yield
    finally:
        lock.release()
