"""What a SQLite ledger may hold: our tables, indexes and triggers, and nothing else. A trigger or view of somebody
else's would add to what people decide, or hide it. Changes nothing."""

import sqlite3
from collections.abc import Callable

import sqlalchemy as sa

from curation.ledger.batch import LedgerError

_TRUSTED = "PRAGMA trusted_schema = OFF"
"""No function or virtual table runs because a schema says so (SQLite's own advice for files of strangers)."""
_tables: set[str] = set()
_indexes: set[str] = set()
_triggers: set[str] = set()


def know(table: sa.Table) -> None:
    """Count a table and its indexes among ours."""
    _tables.add(table.name)
    _indexes.update(str(index.name) for index in table.indexes)


def know_trigger(statement: str) -> None:
    """Count a trigger, as it is made, among ours."""
    _triggers.add(_plain(statement))


def refuse_foreign(connection: sqlite3.Connection) -> None:
    """Raises LedgerError, which names it, for anything in the database that is not ours; looks before anything is
    written."""
    connection.execute(_TRUSTED)
    for kind, name, table, text in connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_master"):
        if kind not in _IS_OURS or not _IS_OURS[kind](name, table, text or ""):
            file = connection.execute("PRAGMA database_list").fetchone()[2]
            raise LedgerError(f"a ledger holds our own tables, indexes and triggers alone; {file} has the {kind} "
                              f"{str(name)[:60]!r} on {str(table)[:60]}; find out who put it there, and drop it or "
                              "restore the file from a copy")


def _is_our_table(name: str, _table: str, text: str) -> bool:
    return name.startswith("sqlite_") or (name in _tables and _plain(text).startswith("create table "))


def _is_our_index(name: str, table: str, text: str) -> bool:
    return table in _tables and (name in _indexes or (not text and name.startswith("sqlite_autoindex_")))


def _is_our_trigger(_name: str, _table: str, text: str) -> bool:
    return _plain(text) in _triggers


_IS_OURS: dict[str, Callable[[str, str, str], bool]] = {
    "table": _is_our_table, "index": _is_our_index, "trigger": _is_our_trigger}


def _plain(statement: str) -> str:
    return " ".join(statement.split()).casefold()
