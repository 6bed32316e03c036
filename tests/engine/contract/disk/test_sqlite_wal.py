"""The write-ahead log where processes open a new database at once."""

import sqlite3
from collections import namedtuple

import psutil
import pytest

from engine.contract.disk import file_systems
from engine.contract.disk.sqlite_wal import use_write_ahead_log


def error_of(code: int) -> sqlite3.OperationalError:
    """As SQLite raises it: its number says what is wrong."""
    error = sqlite3.OperationalError("database is locked" if code == sqlite3.SQLITE_BUSY else "refused")
    error.sqlite_errorcode = code
    return error


class Contended:
    """A connection whose first switches to WAL fail as SQLite's do while another process makes the same switch."""

    def __init__(self, num_failures: int, code: int = sqlite3.SQLITE_BUSY) -> None:
        self.num_failures, self.code, self.said = num_failures, code, []

    def execute(self, statement: str) -> None:
        self.said.append(statement)
        if "WAL" in statement and len(self.said) <= self.num_failures:
            raise error_of(self.code)


def test_a_new_database_uses_the_log(tmp_path):
    connection = sqlite3.connect(tmp_path / "new.sqlite")
    use_write_ahead_log(connection, tmp_path, 1.0)
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert connection.execute("PRAGMA synchronous").fetchone() == (1,)


def test_a_switch_that_another_process_makes_is_waited_for(tmp_path):
    connection = Contended(3)
    use_write_ahead_log(connection, tmp_path, 5.0)
    assert connection.said == ["PRAGMA journal_mode = WAL"] * 4 + ["PRAGMA synchronous = NORMAL"]


def test_a_database_that_stays_locked_is_reported(tmp_path):
    with pytest.raises(sqlite3.OperationalError, match="database is locked"):
        use_write_ahead_log(Contended(10_000), tmp_path, 0.1)


@pytest.mark.parametrize("code", [sqlite3.SQLITE_FULL, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_IOERR,
                                  sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_IOERR_SHMOPEN])
def test_what_no_waiting_mends_is_said_at_once(tmp_path, code):
    connection = Contended(10_000, code)
    with pytest.raises(sqlite3.OperationalError, match="refused"):
        use_write_ahead_log(connection, tmp_path, 5.0)
    assert len(connection.said) == 1


Mount = namedtuple("Mount", "mountpoint fstype")


@pytest.mark.parametrize(("mounts", "is_shared"), [
    ([("/", "ext4")], False), ([("/", "nfs4")], True), ([("/", "ext4"), ("{folder}", "lustre")], True),
    ([("/", "ext4"), ("{folder}", "autofs"), ("{folder}", "nfs4")], True),
    ([("/", "nfs4"), ("{folder}", "xfs")], False), ([("{folder}x", "nfs4"), ("/", "ext4")], False), ([], False),
])
def test_where_machines_share_a_folder_no_log_is_kept_that_they_cannot(tmp_path, monkeypatch, mounts, is_shared):
    folder = tmp_path / "data"
    folder.mkdir()
    monkeypatch.setattr(psutil, "disk_partitions", lambda all: [
        Mount(place.format(folder=folder), kind) for place, kind in mounts])
    file_systems.is_shared.cache_clear()
    connection = sqlite3.connect(folder / "new.sqlite")
    use_write_ahead_log(connection, folder, 1.0)
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("delete" if is_shared else "wal",)
    assert connection.execute("PRAGMA synchronous").fetchone() == (2 if is_shared else 1,)
    file_systems.is_shared.cache_clear()
