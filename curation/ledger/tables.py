"""The ledger's tables and the few statements that run on them, for SQLite and PostgreSQL alike. Decides nothing.

Rows are only ever added: no function here updates or deletes one, and triggers refuse it to everybody else.
"""

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import pandas as pd
import sqlalchemy as sa

from curation.ledger import chain
from curation.ledger.batch import Batch, LedgerError, origin_of_view
from curation.ledger.chain import guard_append_only
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
"""origin is null in rows of older code, and the column may be absent from a ledger that has not been written to since:
batches_of says what those rows are, curation.ledger.layout adds it."""
ENTRIES = sa.Table(  # clustered on its key: without a rowid a million entries take half the room
    "entries", META,
    sa.Column("batch_id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("sample_id", sa.Text, primary_key=True), sqlite_with_rowid=False,
)
MAX_NAMED = 500
"""Up to so many samples are asked for by name; of more, all entries are read (a million in about a second)."""
BATCH_COLUMNS = tuple(BATCHES.c.keys())

guard_append_only(BATCHES)
guard_append_only(ENTRIES)


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
        if line is None and error.connection_invalidated:
            line = (f"the ledger must be a database that answers; {engine.url} broke off: {said}; see whether the act "
                    "was recorded before you do it again")
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


def batches_of(connection: sa.Connection, after: int = 0) -> pd.DataFrame:
    """Every batch after that number, oldest first, with BATCH_COLUMNS; value is None where the batch takes something
    back."""
    rows = [(*row, origin or origin_of_view(row[BATCH_COLUMNS.index("view")]))
            for *row, origin in raw_batches(connection, after)]
    frame = pd.DataFrame(rows, columns=list(BATCH_COLUMNS), dtype=object)
    return frame.astype({"batch_id": "int64", "num_samples": "int64"})


def raw_batches(connection: sa.Connection, after: int = 0) -> Sequence[sa.Row]:
    """Every batch after that number as its row stands in the database, oldest first, with BATCH_COLUMNS."""
    *columns, origin = BATCHES.c
    query = sa.select(*columns, origin if _has_origin(connection) else sa.null().label(origin.name))
    return connection.execute(query.where(BATCHES.c.batch_id > after).order_by(BATCHES.c.batch_id)).all()


def chained_batches(connection: sa.Connection) -> Iterator[chain.Row]:
    """Every batch as its link in the chain is made of it, oldest first."""
    rows = raw_batches(connection)
    batch_ids, sample_ids = entries_of(connection, [int(row[0]) for row in rows])
    ends = np.searchsorted(batch_ids, [row[0] for row in rows], side="right")
    begins = np.searchsorted(batch_ids, [row[0] for row in rows])
    for row, begin, end in zip(rows, begins, ends, strict=True):
        yield chain.Row("batch", int(row[0]), dict(row._mapping), sample_ids[begin:end].tolist())


def entries_of(connection: sa.Connection, batch_ids: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """(batch_ids (E,) ascending, sample_ids (E,)) of the batches asked for."""
    if not batch_ids:
        return np.empty(0, dtype=np.int64), np.empty(0, dtype=object)
    found, sample_ids = entries_between(connection, 0, max(batch_ids))
    is_wanted = np.isin(found, np.asarray(batch_ids, dtype=np.int64))
    return found[is_wanted], sample_ids[is_wanted]


def entries_between(connection: sa.Connection, after: int, up_to: int) -> tuple[np.ndarray, np.ndarray]:
    """(batch_ids (E,) ascending, sample_ids (E,)) of the batches with a number above `after`, to `up_to` inclusive."""
    query = sa.select(ENTRIES).where(ENTRIES.c.batch_id > after, ENTRIES.c.batch_id <= up_to)
    query = query.order_by(ENTRIES.c.batch_id, ENTRIES.c.sample_id)
    cursor = connection.connection.cursor()  # the driver's own: SQLAlchemy's rows double the time at a million
    cursor.execute(str(query.compile(dialect=connection.dialect, compile_kwargs={"literal_binds": True})))
    rows = cursor.fetchall()
    cursor.close()
    found = np.fromiter((row[0] for row in rows), dtype=np.int64, count=len(rows))
    return found, np.fromiter((row[1] for row in rows), dtype=object, count=len(rows))


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
    """Add one batch, its link in the chain and its entries. To be called under the lock, with the ledger's layout of
    today.

    Goes to the driver with plain tuples: a million entries in 2.2 s, where SQLAlchemy's own executemany took 5.1 s.
    """
    connection.execute(BATCHES.insert(), dict(batch))
    row = chain.Row("batch", batch["batch_id"], batch, sample_ids.tolist())
    chain.extend(connection, [row], ledger_id_of(connection))
    if not len(sample_ids):
        return
    statement = str(ENTRIES.insert().compile(dialect=connection.dialect))
    batch_id = batch["batch_id"]
    if connection.dialect.positional:
        connection.exec_driver_sql(statement, [(batch_id, sample_id) for sample_id in sample_ids])
    else:
        connection.exec_driver_sql(statement, [{"batch_id": batch_id, "sample_id": s} for s in sample_ids])
