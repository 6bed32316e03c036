"""What a ledger's database may hold: our tables, indexes and triggers of a layout that we know, and nothing else. A
trigger, rule or view of somebody else's would add to what people decide, or hide it. Changes nothing.
"""

import sqlite3
from collections.abc import Collection
from dataclasses import dataclass

import sqlalchemy as sa

from curation.ledger.batch import LedgerError

_TRUSTED = "PRAGMA trusted_schema = OFF"
"""No function or virtual table runs because a schema says so (SQLite's own advice for files of strangers)."""
MOVED = 1_000_000
"""In place of a layout: the ledger was copied to another database, and is neither read nor written here any more."""
_ON_OURS = ("c.relname IN (SELECT unnest(CAST(:tables AS text[]))) AND c.relnamespace IN "
            "(SELECT oid FROM pg_namespace WHERE nspname = ANY(current_schemas(false)))")
_OF_EXTENSION = ("EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid "
                 "AND d.deptype = 'e')")
_POSTGRESQL = sa.text(f"""
    SELECT CASE c.relkind WHEN 'r' THEN 'table' WHEN 'v' THEN 'view' ELSE 'relation' END AS kind, c.relname AS name,
           c.relname AS table_name, '' AS text
      FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE n.nspname = ANY(current_schemas(false)) AND c.relkind IN ('r', 'p', 'v', 'm', 'f') AND NOT {_OF_EXTENSION}
    UNION ALL
    SELECT 'index', i.relname, c.relname, '' FROM pg_index x JOIN pg_class c ON c.oid = x.indrelid
      JOIN pg_class i ON i.oid = x.indexrelid WHERE {_ON_OURS}
    UNION ALL
    SELECT 'trigger', t.tgname, c.relname, p.prosrc FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
      JOIN pg_proc p ON p.oid = t.tgfoid WHERE NOT t.tgisinternal AND {_ON_OURS}
    UNION ALL
    SELECT 'rule', r.rulename, c.relname, '' FROM pg_rewrite r JOIN pg_class c ON c.oid = r.ev_class
     WHERE c.relkind = 'r' AND {_ON_OURS}
    UNION ALL
    SELECT 'policy', y.polname, c.relname, '' FROM pg_policy y JOIN pg_class c ON c.oid = y.polrelid WHERE {_ON_OURS}
    UNION ALL
    SELECT 'check', k.conname, c.relname, '' FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid
     WHERE k.contype NOT IN ('p', 'u', 'n') AND {_ON_OURS}
    UNION ALL
    SELECT 'heir', h.inhrelid::regclass::text, c.relname, '' FROM pg_inherits h JOIN pg_class c ON c.oid = h.inhparent
     WHERE {_ON_OURS}""")


class MovedError(LedgerError):
    """The ledger was moved to another database."""


@dataclass(frozen=True, slots=True)
class Known:
    """Names of our tables and indexes, the statements of our triggers in SQLite, and in PostgreSQL their names with
    what their function does; the newest layout that we know, and the table that says which one a ledger has."""

    tables: frozenset[str]
    indexes: frozenset[str]
    triggers: frozenset[str]
    guards: frozenset[str]
    guard: str
    layouts: str
    layout: int


def known(tables: Collection[sa.Table], triggers: Collection[str], guards: Collection[str], guard: str, layouts: str,
          layout: int) -> Known:
    keys = {f"{table.name}_pkey" for table in tables} | {
        f"{table.name}_{column.name}_key" for table in tables for column in table.c if column.unique}
    return Known(frozenset(table.name for table in tables),
                 frozenset(str(index.name) for table in tables for index in table.indexes) | keys,
                 frozenset(map(_plain, triggers)), frozenset(guards), _plain(guard), layouts, layout)


def refuse_foreign(connection: sqlite3.Connection, ours: Known) -> None:
    """Raises LedgerError, which names it, for a layout that is newer than ours or anything in the database that is not
    ours; looks before anything is written."""
    connection.execute(_TRUSTED)
    found = connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_master").fetchall()
    if not found:
        return
    file = connection.execute("PRAGMA database_list").fetchone()[2]
    if any(kind == "table" and name == ours.layouts for kind, name, _, _ in found):
        try:
            refuse_newer(connection.execute(f"SELECT max(layout) FROM {ours.layouts}").fetchone()[0], ours.layout, file)
        except sqlite3.Error as error:
            raise LedgerError(_line(file, "table", ours.layouts, ours.layouts)) from error
    for kind, name, table, text in found:
        if not _is_ours(ours, kind, name, table, _plain(text or "")):
            raise LedgerError(_line(file, kind, name, table))


def refuse_foreign_postgresql(connection: sa.Connection, ours: Known) -> None:
    """The same of PostgreSQL: in the schemas of the search path, and on our tables. What belongs to an extension of the
    database is none of ours to judge."""
    found = connection.execute(_POSTGRESQL, {"tables": sorted(ours.tables)}).all()
    name_of_database = str(connection.engine.url.database)
    if any(row.kind == "table" and row.name == ours.layouts for row in found):
        refuse_newer(connection.exec_driver_sql(f"SELECT max(layout) FROM {ours.layouts}").scalar(), ours.layout,
                     name_of_database)
    seen: set[str] = set()  # a table in another schema of the path would stand before ours
    for kind, name, table, text in found:
        is_ours = {"table": name in ours.tables and name not in seen, "index": name in ours.indexes,
                   "trigger": name in ours.guards and _plain(text) == ours.guard}
        if not is_ours.get(kind, False):
            raise LedgerError(_line(name_of_database, kind, name, table))
        seen |= {name} if kind == "table" else set()


def refuse_newer(layout: int | None, known: int, place: str) -> None:
    """Raise LedgerError for a layout that this version does not know, and for that of a ledger that was moved."""
    if layout is not None and layout >= MOVED:
        raise MovedError(f"a ledger is where its project says; the one in {place} was moved to another database; open "
                         "the project anew, which names that")
    if layout is not None and layout > known:
        raise LedgerError(f"a ledger is read by the version that wrote it or a later one; {place} has layout {layout}, "
                          f"this version knows {known}; update Whetstone")


def _line(place: str, kind: str, name: object, table: object) -> str:
    return (f"a ledger holds our own tables, indexes and triggers alone; {place} has the {kind} {str(name)[:60]!r} on "
            f"{str(table)[:60]}; find out who put it there, and drop it or restore the ledger from a copy")


def _is_ours(ours: Known, kind: str, name: str, table: str, text: str) -> bool:
    if kind == "table":
        return name.startswith("sqlite_") or (name in ours.tables and text.startswith("create table "))
    if kind == "index":
        return table in ours.tables and (name in ours.indexes or (not text and name.startswith("sqlite_autoindex_")))
    return kind == "trigger" and text in ours.triggers


def _plain(statement: str) -> str:
    return " ".join(statement.split()).casefold()
