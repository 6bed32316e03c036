"""Connections to the database of decisions and verdicts. What is read there is the tables' own business."""

import sqlite3
import threading
from functools import lru_cache
from pathlib import Path

import sqlalchemy as sa

from curation.ledger import chain, layout, tables, verdict_tables
from curation.ledger.batch import LedgerError
from curation.ledger.foreign import known, refuse_foreign, refuse_foreign_postgresql
from curation.ledger.read_only import copy_of_read_only
from engine.contract.disk.sqlite_wal import use_write_ahead_log

LOCK_SECONDS = 20.0
"""How long one process waits for another to let go of the database; a million decisions hold it for about five."""
_one_at_a_time = threading.Lock()
_READ_ONLY = "whetstone_read_only"
"""Execution option of an engine on a copy: why the database itself cannot be written."""
_GUARDED = (tables.BATCHES, tables.ENTRIES, verdict_tables.VERDICT_ROWS, verdict_tables.DRAWS,
            chain.CHAIN, layout.LAYOUTS)
_OURS = known([tables.LEDGER, *_GUARDED], [guard for table in _GUARDED for guard in chain.sqlite_guards(table.name)],
              [f"{table.name}_no_change" for table in _GUARDED], chain.POSTGRESQL_GUARD, layout.LAYOUTS.name,
              layout.LAYOUT)


def engine_of(database: str) -> sa.Engine:
    """An engine on a SQLite file, or on a database URL. Connects to nothing yet.

    Connections to SQLite are not pooled: a pooled one would go on writing to a file that was replaced. Of a file that
    may only be read: an engine on a copy of it as it is now (curation.ledger.read_only), for refusal_of to tell.
    Raises LedgerError for a URL that is none, or whose driver is not installed.
    """
    try:
        if (copy := copy_of_read_only(database)) is not None:
            return _engine_of(str(copy.path)).execution_options(**{_READ_ONLY: copy.reason})
        with _one_at_a_time:  # sessions that open a project at once share an engine and its connections
            return _engine_of(database)
    except (ModuleNotFoundError, sa.exc.ArgumentError) as error:
        raise LedgerError(f"a ledger is a SQLite file or a database URL whose driver is installed; {error}; install "
                          "the driver (for PostgreSQL: pip install psycopg) or mend the URL") from error


def refusal_of(engine: sa.Engine) -> str:
    """Why nothing can be added, one line; "" where it can."""
    return str(engine.get_execution_options().get(_READ_ONLY, ""))


def refuse_read_only(engine: sa.Engine) -> None:
    """Raise LedgerError where nothing can be added."""
    if refusal := refusal_of(engine):
        raise LedgerError(refusal)


@lru_cache(maxsize=16)  # an engine remembers the statements that it has compiled
def _engine_of(database: str) -> sa.Engine:
    if "://" in database and not database.startswith("sqlite"):
        return _other_engine_of(database)
    url = database if "://" in database else sa.URL.create("sqlite", database=database)
    engine = sa.create_engine(url, poolclass=sa.pool.NullPool, connect_args={"timeout": LOCK_SECONDS})

    @sa.event.listens_for(engine, "connect")
    def _prepare(connection: sqlite3.Connection, _record: object) -> None:
        connection.isolation_level = None  # transactions are begun below, by us
        refuse_foreign(connection, _OURS)
        use_write_ahead_log(connection, Path(engine.url.database or ".").parent, LOCK_SECONDS)

    @sa.event.listens_for(engine, "begin")
    def _begin(connection: sa.Connection) -> None:
        is_write = connection.get_execution_options().get("is_write")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if is_write else "BEGIN")  # a late upgrade cannot wait its turn

    return engine


def _other_engine_of(database: str) -> sa.Engine:
    engine = sa.create_engine(database, pool_pre_ping=True)
    if engine.dialect.name == "postgresql":
        @sa.event.listens_for(engine, "begin")
        def _begin(connection: sa.Connection) -> None:
            refuse_foreign_postgresql(connection, _OURS)

    return engine
