"""What a SQLite ledger may hold: our tables, indexes and triggers, and nothing else. A trigger or view of somebody
else's would add to what people decide, or hide it. Changes nothing."""

import sqlite3
from collections.abc import Collection
from dataclasses import dataclass

import sqlalchemy as sa

from curation.ledger.batch import LedgerError

_TRUSTED = "PRAGMA trusted_schema = OFF"
"""No function or virtual table runs because a schema says so (SQLite's own advice for files of strangers)."""


@dataclass(frozen=True, slots=True)
class Known:
    """Names of our tables and indexes, and the statements of our triggers."""

    tables: frozenset[str]
    indexes: frozenset[str]
    triggers: frozenset[str]


def known(tables: Collection[sa.Table], triggers: Collection[str]) -> Known:
    return Known(frozenset(table.name for table in tables),
                 frozenset(str(index.name) for table in tables for index in table.indexes),
                 frozenset(map(_plain, triggers)))


def refuse_foreign(connection: sqlite3.Connection, ours: Known) -> None:
    """Raises LedgerError, which names it, for anything in the database that is not ours; looks before anything is
    written."""
    connection.execute(_TRUSTED)
    for kind, name, table, text in connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_master"):
        if not _is_ours(ours, kind, name, table, _plain(text or "")):
            file = connection.execute("PRAGMA database_list").fetchone()[2]
            raise LedgerError(f"a ledger holds our own tables, indexes and triggers alone; {file} has the {kind} "
                              f"{str(name)[:60]!r} on {str(table)[:60]}; find out who put it there, and drop it or "
                              "restore the file from a copy")


def _is_ours(ours: Known, kind: str, name: str, table: str, text: str) -> bool:
    if kind == "table":
        return name.startswith("sqlite_") or (name in ours.tables and text.startswith("create table "))
    if kind == "index":
        return table in ours.tables and (name in ours.indexes or (not text and name.startswith("sqlite_autoindex_")))
    return kind == "trigger" and text in ours.triggers


def _plain(statement: str) -> str:
    return " ".join(statement.split()).casefold()
