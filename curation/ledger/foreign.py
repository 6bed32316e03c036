"""What a SQLite ledger may hold: our tables, indexes and triggers, and nothing else. A trigger or view of somebody
else's would add to what people decide, or hide it. Changes nothing."""

import sqlite3

from curation.ledger.batch import LedgerError

TABLES = ("ledger", "batches", "entries", "verdicts")
INDEXES = ("ix_verdicts_sample_id",)
_REFUSE = "the ledger is append-only"
_TRUSTED = "PRAGMA trusted_schema = OFF"
"""No function or virtual table runs because a schema says so (SQLite's own advice for files of strangers)."""


def append_only(table: str) -> list[str]:
    """The statements that make a table's triggers, which refuse every change of what it holds."""
    return [f"CREATE TRIGGER {table}_no_{act.lower()} BEFORE {act} ON {table} "
            f"BEGIN SELECT RAISE(ABORT, '{_REFUSE}'); END" for act in ("UPDATE", "DELETE")]


def refuse_foreign(connection: sqlite3.Connection) -> None:
    """Raises LedgerError, which names it, for anything in the database that is not ours; looks before anything is
    written."""
    connection.execute(_TRUSTED)
    for kind, name, table, text in connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_master"):
        if not _is_ours(kind, name, table, text or ""):
            file = connection.execute("PRAGMA database_list").fetchone()[2]
            raise LedgerError(f"a ledger holds our own tables, indexes and triggers alone; {file} has the {kind} "
                              f"{str(name)[:60]!r} on {str(table)[:60]}; find out who put it there, and drop it or "
                              "restore the file from a copy")


def _is_ours(kind: str, name: str, table: str, text: str) -> bool:
    """Tables and indexes by name, for older code made them with other columns; triggers to the letter."""
    if kind == "table":
        return name.startswith("sqlite_") or (name in TABLES and text.casefold().startswith("create table "))
    if kind == "index":
        return table in TABLES and (name in INDEXES or (not text and name.startswith("sqlite_autoindex_")))
    return kind == "trigger" and text in _TRIGGERS


_TRIGGERS = {statement for table in TABLES for statement in append_only(table)}
