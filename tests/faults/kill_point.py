"""Kills this very process (SIGKILL) right before its k-th change of a file or a database, counted in the main thread.

Python tells of what it opens to write, renames, removes and makes by audit events, of fsync and of statements by
wrappers. What C++ writes by itself (Parquet, checkpoints) counts by the fsync that follows.
"""

import os
import signal
import sqlite3
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

_CHANGES = ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "os.symlink", "os.truncate", "os.utime")
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_READING = ("SELECT", "PRAGMA", "BEGIN")
_real_connect = sqlite3.connect


class KillPoint:
    """Counts, and at `at` (from 1; None: never) kills."""

    def __init__(self, at: int | None, below: tuple[Path, ...]) -> None:
        """below: changes of files elsewhere do not count."""
        self.at, self.num, self.last, self.below = at, 0, "", tuple(map(str, below))

    def install(self) -> None:
        """From now on, and for good: to be called in a process of its own."""
        sys.addaudithook(self._heard)
        fsync = os.fsync

        def counted_fsync(file: int) -> None:
            self._count(f"fsync {os.readlink(f'/proc/self/fd/{file}')}")
            fsync(file)

        def connect(*arguments: Any, **options: Any) -> sqlite3.Connection:
            connection: sqlite3.Connection = _real_connect(*arguments, **options)
            connection.set_trace_callback(self._stated)
            return connection

        os.fsync = counted_fsync
        sqlite3.connect = sqlite3.dbapi2.connect = connect

    def _heard(self, event: str, arguments: tuple[Any, ...]) -> None:
        is_writing = event == "open" and isinstance(arguments[2], int) and arguments[2] & _WRITING
        if (is_writing or event in _CHANGES) and isinstance(arguments[0], (str, bytes)) \
                and os.fsdecode(arguments[0]).startswith(self.below):
            self._count(f"{event} {os.fsdecode(arguments[0])}")

    def _stated(self, statement: str) -> None:
        if not statement.lstrip().upper().startswith(_READING):
            self._count(f"sqlite {statement[:40]}")

    def _count(self, what: str) -> None:
        if threading.current_thread() is not threading.main_thread():
            return  # the heartbeat goes by the clock
        self.num += 1
        self.last = what
        if self.num == self.at:
            os.kill(os.getpid(), signal.SIGKILL)


def in_child(work: Callable[[], None], log: Path) -> int:
    """Run `work` in a forked process, its output in `log`; the process's exit status, negative for a signal."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            sink = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
            os.dup2(sink, 1)
            os.dup2(sink, 2)
            work()
            status = 0
        except BaseException:  # the child of a fork must not go on in its parent's code
            import traceback

            traceback.print_exc()
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
