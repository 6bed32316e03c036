"""SQLite's write-ahead log, switched on however many processes open a new database at once. Knows no table."""

import sqlite3
import time
from pathlib import Path

from engine.contract.disk.failures import is_lock
from engine.contract.disk.file_systems import is_shared

PAUSE_SECONDS = 0.02


def use_write_ahead_log(connection: sqlite3.Connection, folder: Path, timeout_seconds: float) -> None:
    """Switch the database, which lies in this folder, to WAL, with the durability that goes with it; on a file system
    that several machines share to a rollback journal: the index of the log is memory that no two machines share.

    Tried again until timeout_seconds are over while another process holds a lock: unlike other statements this one does
    not wait for it but fails with "database is locked" at once, seen in 1 of 1,800 first openings by six threads. What
    no waiting mends, such as a full disk, is raised at once. Raises sqlite3.OperationalError.
    """
    is_here = not is_shared(folder)
    deadline = time.monotonic() + timeout_seconds
    while True:
        try:
            connection.execute(f"PRAGMA journal_mode = {'WAL' if is_here else 'DELETE'}")
            break
        except sqlite3.OperationalError as error:
            if not is_lock(error) or time.monotonic() > deadline:
                raise
            time.sleep(PAUSE_SECONDS)
    if is_here:
        connection.execute("PRAGMA synchronous = NORMAL")
