"""The ledger's tables and the few statements that run on them, for SQLite and PostgreSQL alike. Decides nothing.

Rows are only ever added: no function here updates or deletes one, and triggers refuse it to everybody else.
"""

import sqlite3
import uuid
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from functools import lru_cache

import numpy as np
import pandas as pd
import sqlalchemy as sa

from curation.ledger.batch import Batch, LedgerError, origin_of_view
from curation.ledger.foreign import append_only, refuse_foreign
from curation.ledger.read_only import copy_of_read_only
from curation.ledger.sqlite_wal import use_write_ahead_log
from engine.contract.disk.failures import disk_line

META = sa.MetaData()
LEDGER = sa.Table("ledger", META, sa.Column("ledger_id", sa.String(32), primary_key=True))
"""One row: the ledger's identity, and the row that a writer locks where the database has row locks."""
BATCHES = sa.Table(
    "batches", META,
    sa.Column("batch_id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("kind", sa.String(16), nullable=False), sa.Column("value", sa.Text),
    sa.Column("num_samples", sa.Integer, nullable=False), sa.Column("who", sa.Text, nullable=False),
    sa.Column("at", sa.String(40), nullable=False), sa.Column("why", sa.Text, nullable=False),
    sa.Column("view", sa.Text, nullable=False), sa.Column("run", sa.Text, nullable=False),
    sa.Column("origin", sa.String(16)),
)
"""origin is null in rows of older code, and the column may be absent from a ledger that nobody has written to since:
batches_of says what those rows are, add_origin adds it."""
ENTRIES = sa.Table(  # clustered on its key: without a rowid a million entries take half the room
    "entries", META,
    sa.Column("batch_id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("sample_id", sa.Text, primary_key=True), sqlite_with_rowid=False,
)
MAX_NAMED = 500
"""Up to so many samples are asked for by name; of more, all entries are read (a million in about a second)."""
LOCK_SECONDS = 20.0
"""How long one process waits for another to let go of the database; a million decisions hold it for about five."""
BATCH_COLUMNS = tuple(BATCHES.c.keys())

_REFUSE = "the ledger is append-only"
_READ_ONLY = "whetstone_read_only"
"""Execution option of an engine on a copy: the database that may only be read."""


def _guard(table: sa.Table, dialect: str, statement: str) -> None:
    """Run `statement` once the table is made, on that database alone."""
    ddl: sa.schema.ExecutableDDLElement = sa.DDL(statement)  # type: ignore[no-untyped-call]
    sa.event.listen(table, "after_create", ddl.execute_if(dialect=dialect))


def guard_append_only(table: sa.Table) -> None:
    """Have triggers refuse every change of what the table holds, from the moment that it is made."""
    for statement in append_only(table.name):
        _guard(table, "sqlite", statement)
    _guard(table, "postgresql", "CREATE OR REPLACE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS "
                                f"'BEGIN RAISE EXCEPTION ''{_REFUSE}''; END'")
    _guard(table, "postgresql", f"CREATE TRIGGER {table.name}_no_change BEFORE UPDATE OR DELETE OR TRUNCATE ON "
                                f"{table.name} FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()")


guard_append_only(BATCHES)
guard_append_only(ENTRIES)


def engine_of(database: str) -> sa.Engine:
    """An engine on a SQLite file, or on a database URL. Connects to nothing yet.

    Connections to SQLite are not pooled: a pooled one would go on writing to a file that was replaced. Of a file that
    may only be read: an engine on a copy of it as it is now (curation.ledger.read_only), for is_read_only to tell.
    Raises LedgerError for a URL that is none, or whose driver is not installed.
    """
    try:
        if (copy := copy_of_read_only(database)) is not None:
            return _engine_of(str(copy)).execution_options(**{_READ_ONLY: database})
        return _engine_of(database)
    except (ModuleNotFoundError, sa.exc.ArgumentError) as error:
        raise LedgerError(f"a ledger is a SQLite file or a database URL whose driver is installed; {error}; install "
                          "the driver (for PostgreSQL: pip install psycopg) or mend the URL") from error


def is_read_only(engine: sa.Engine) -> bool:
    return _READ_ONLY in engine.get_execution_options()


def refuse_read_only(engine: sa.Engine) -> None:
    """Raise LedgerError where nothing can be added."""
    if is_read_only(engine):
        database = engine.get_execution_options()[_READ_ONLY]
        raise LedgerError(f"decisions and answers are written into the project, which is read-only; {database} cannot "
                          "be written; ask for the right to write there, or work on a copy of the project")


@lru_cache(maxsize=16)  # an engine remembers the statements that it has compiled
def _engine_of(database: str) -> sa.Engine:
    if "://" in database and not database.startswith("sqlite"):
        return sa.create_engine(database, pool_pre_ping=True)
    url = database if "://" in database else sa.URL.create("sqlite", database=database)
    engine = sa.create_engine(url, poolclass=sa.pool.NullPool, connect_args={"timeout": LOCK_SECONDS})

    @sa.event.listens_for(engine, "connect")
    def _prepare(connection: sqlite3.Connection, _record: object) -> None:
        connection.isolation_level = None  # transactions are begun below, by us
        refuse_foreign(connection)
        use_write_ahead_log(connection, LOCK_SECONDS)

    @sa.event.listens_for(engine, "begin")
    def _begin(connection: sa.Connection) -> None:
        is_write = connection.get_execution_options().get("is_write")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if is_write else "BEGIN")  # a late upgrade cannot wait its turn

    return engine


def create(engine: sa.Engine) -> None:
    """Make the tables and the ledger's identity where there are none."""
    with transaction(engine) as connection:
        if sa.inspect(connection).has_table(LEDGER.name) and connection.execute(sa.select(LEDGER)).first():
            return
    with transaction(engine, is_write=True) as connection:
        META.create_all(connection)
        if connection.execute(sa.select(LEDGER)).first() is None:
            connection.execute(LEDGER.insert(), {"ledger_id": uuid.uuid4().hex})


@contextmanager
def transaction(engine: sa.Engine, is_write: bool = False) -> Iterator[sa.Connection]:
    """One transaction, rolled back on an exception. is_write: SQLite takes its write lock at the start."""
    with engine.execution_options(is_write=is_write).begin() as connection:
        yield connection


@contextmanager
def one_line_errors(engine: sa.Engine) -> Iterator[None]:
    """What the database says against a statement, as a LedgerError of one line."""
    try:
        yield
    except sa.exc.DBAPIError as error:
        said = " ".join(str(error.orig).split())
        line = disk_line(error.orig, str(engine.url.database)) if error.orig is not None else None
        raise LedgerError(line or f"the ledger must be a database that answers; {engine.url} said: {said}; check that "
                          "it exists and can be written") from error


def lock(connection: sa.Connection) -> str:
    """Be the only writer until the transaction ends (SQLite's write lock does that by itself); the ledger's id."""
    ledger_id: str = connection.execute(sa.select(LEDGER.c.ledger_id).with_for_update()).scalar_one()
    return ledger_id


def ledger_id_of(connection: sa.Connection) -> str:
    ledger_id: str = connection.execute(sa.select(LEDGER.c.ledger_id)).scalar_one()
    return ledger_id


def revision_of(connection: sa.Connection) -> int:
    """Number of the newest batch, 0 before the first."""
    return int(connection.execute(sa.select(sa.func.max(BATCHES.c.batch_id))).scalar() or 0)


def add_origin(connection: sa.Connection) -> None:
    """Add the column origin to a ledger of older code; no row of it changes. To be called under the lock."""
    if not _has_origin(connection):
        kind = BATCHES.c.origin.type.compile(dialect=connection.dialect)
        connection.exec_driver_sql(f"ALTER TABLE {BATCHES.name} ADD COLUMN {BATCHES.c.origin.name} {kind}")


def _has_origin(connection: sa.Connection) -> bool:
    return any(column["name"] == BATCHES.c.origin.name for column in sa.inspect(connection).get_columns(BATCHES.name))


def batches_of(connection: sa.Connection) -> pd.DataFrame:
    """Every batch, oldest first, with BATCH_COLUMNS; value is None where the batch takes something back."""
    *columns, origin = BATCHES.c
    query = sa.select(*columns, origin if _has_origin(connection) else sa.null().label(origin.name))
    rows = [(*row, origin or origin_of_view(row[BATCH_COLUMNS.index("view")]))
            for *row, origin in connection.execute(query.order_by(BATCHES.c.batch_id))]
    frame = pd.DataFrame(rows, columns=list(BATCH_COLUMNS), dtype=object)
    return frame.astype({"batch_id": "int64", "num_samples": "int64"})


def entries_of(connection: sa.Connection, batch_ids: list[int],
               sample_id: str | None = None) -> tuple[np.ndarray, np.ndarray]:
    """(batch_ids (E,) ascending, sample_ids (E,)) of the batches asked for, of one sample or of all."""
    if not batch_ids:
        return np.empty(0, dtype=np.int64), np.empty(0, dtype=object)
    query = sa.select(ENTRIES).order_by(ENTRIES.c.batch_id, ENTRIES.c.sample_id)
    if sample_id is not None:
        rows = connection.execute(query.where(ENTRIES.c.sample_id == sample_id)).all()
    else:
        cursor = connection.connection.cursor()  # the driver's own: SQLAlchemy's rows double the time at a million
        cursor.execute(str(query.compile(dialect=connection.dialect)))
        rows = cursor.fetchall()
        cursor.close()
    found = np.fromiter((row[0] for row in rows), dtype=np.int64, count=len(rows))
    sample_ids = np.fromiter((row[1] for row in rows), dtype=object, count=len(rows))
    is_wanted = np.isin(found, np.asarray(batch_ids, dtype=np.int64))
    return found[is_wanted], sample_ids[is_wanted]


def entries_on(connection: sa.Connection, sample_ids: Collection[str], kinds: Collection[str]) -> list[tuple[int, str]]:
    """(batch_id, sample_id) of every entry that batches of these kinds have on these samples, oldest first."""
    batch_ids = sa.select(BATCHES.c.batch_id).where(BATCHES.c.kind.in_(kinds))
    if len(sample_ids) > MAX_NAMED:
        found, touched = entries_of(connection, list(connection.execute(batch_ids).scalars()))
        is_asked = pd.Series(touched, dtype=object).isin(list(sample_ids)).to_numpy()
        return list(zip(found[is_asked].tolist(), touched[is_asked], strict=True))
    query = sa.select(ENTRIES.c.batch_id, ENTRIES.c.sample_id).order_by(ENTRIES.c.batch_id)
    rows = connection.execute(query.where(ENTRIES.c.batch_id.in_(batch_ids), ENTRIES.c.sample_id.in_(sample_ids)))
    return [(int(row[0]), str(row[1])) for row in rows]


def append(connection: sa.Connection, batch: Batch, sample_ids: np.ndarray) -> None:
    """Add one batch and its entries.

    Goes to the driver with plain tuples: a million entries in 2.2 s, where SQLAlchemy's own executemany took 5.1 s.
    """
    connection.execute(BATCHES.insert(), dict(batch))
    if not len(sample_ids):
        return
    statement = str(ENTRIES.insert().compile(dialect=connection.dialect))
    batch_id = batch["batch_id"]
    if connection.dialect.positional:
        connection.exec_driver_sql(statement, [(batch_id, sample_id) for sample_id in sample_ids])
    else:
        connection.exec_driver_sql(statement, [{"batch_id": batch_id, "sample_id": s} for s in sample_ids])
