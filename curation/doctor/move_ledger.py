"""A project's ledger in another database: copied under the writer's lock, compared row by row, and only then named by
the project. The old one stays as it was, save for a mark that refuses readers and writers: nobody can add to it what
nobody would see.
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

import sqlalchemy as sa

from curation.doctor.chain import read_chain
from curation.ledger import chain, engines, layout, people, tables, verdict_tables
from curation.ledger.batch import LedgerError
from curation.ledger.foreign import MOVED, MovedError
from curation.ledger.place import database_of
from curation.project import LEDGER_NAME, PROJECT_NAME, Project
from engine.contract.work_dir import write_atomic

TABLES = (tables.LEDGER, tables.BATCHES, tables.ENTRIES, verdict_tables.VERDICT_ROWS, verdict_tables.DRAWS, chain.CHAIN,
          layout.LAYOUTS)
MANY = 10_000
"""Rows that are copied at once."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Moved:
    """A table that was copied: its rows, and the SHA-256 of all of them in the order of its key, the same on both
    sides."""

    table: str
    num_rows: int
    digest: str


def move_ledger(project: Project, database: str) -> list[Moved]:
    """Copy the project's ledger into an empty database, compare, and have project.json name it; every table in turn.

    database: a URL as project.json has it, or a file in the project. Nothing where a process that was killed had copied
    all, and only the project had to be told. Raises LedgerError where that database holds a ledger already, is not
    trusted (curation.ledger.place) or does not answer, and where the copies differ; the project then goes on with the
    ledger it has. Who has the project open meanwhile waits, and is then told to open it anew.
    """
    people.require("owner", "moving the ledger")
    goal = database_of(project.path, database, LEDGER_NAME)
    if goal == project.database:
        raise LedgerError(f"a ledger moves to another database; it lies in {_shown(database)} already; name another")
    try:
        project.ledger()
    except MovedError:  # by a process that was killed before the project knew of it
        if _identity(project.database) != _identity(goal):
            raise LedgerError(f"a ledger that was moved goes on where it was moved to; {_shown(database)} holds "
                              "another one; name the database of that move") from None
        _name(project, database)
        return []
    source, target = engines.engine_of(project.database), engines.engine_of(goal)
    engines.refuse_read_only(source)
    with tables.one_line_errors(source), tables.transaction(source, is_write=True) as old:
        layout.begin_writing(old)
        with tables.one_line_errors(target), tables.transaction(target, is_write=True) as new:
            _refuse_full(new, database)
            for meta in (tables.META, verdict_tables.META, chain.META, layout.META):
                meta.create_all(new)
            for table in TABLES:
                for rows in _rows(old, table):
                    new.execute(table.insert(), rows)
            moved = [_compared(table, old, new) for table in TABLES]
        if breaks := read_chain(goal).breaks:
            raise LedgerError(f"a ledger that moves must have a sound chain; {breaks[0][1]} was {breaks[0][0]}; the "
                              "project keeps the ledger it has; run doctor")
        old.execute(layout.LAYOUTS.insert(), {"layout": MOVED, "at": datetime.now(UTC).isoformat(timespec="seconds")})
    _name(project, database)
    return moved


def _identity(database: str) -> tuple[str, int, str]:
    """(id, number of links, digest of the newest) of a ledger, moved or not. Raises LedgerError where there is none."""
    url = database if "://" in database else sa.URL.create("sqlite", database=database)
    engine = sa.create_engine(url, poolclass=sa.pool.NullPool)
    with tables.one_line_errors(engine), engine.connect() as connection:
        head = chain.head_of(connection)
        return (tables.ledger_id_of(connection), *((0, "") if head is None else (head.link_id, head.digest)))


def _name(project: Project, database: str) -> None:
    details = {**project.details, "ledger": database}
    write_atomic(project.path / PROJECT_NAME, lambda p: p.write_text(json.dumps(details)))


def _refuse_full(connection: sa.Connection, database: str) -> None:
    inspector = sa.inspect(connection)
    found = [table.name for table in TABLES if inspector.has_table(table.name)
             and connection.execute(sa.select(table).limit(1)).first() is not None]
    if found:
        raise LedgerError(f"a ledger moves to an empty database; {_shown(database)} has rows in {found[0]}; make a new "
                          "database for it")


def _rows(connection: sa.Connection, table: sa.Table) -> Iterator[list[dict[str, object]]]:
    """All rows of a table in the order of its key, some thousands at a time."""
    columns = list(table.primary_key.columns)
    found = connection.execute(sa.select(table).order_by(*columns), execution_options={"yield_per": MANY})
    for part in found.mappings().partitions():
        yield [dict(row) for row in part]


def _compared(table: sa.Table, old: sa.Connection, new: sa.Connection) -> Moved:
    (num, digest), (num_there, digest_there) = (_digest(connection, table) for connection in (old, new))
    if (num, digest) != (num_there, digest_there):
        raise LedgerError(f"a moved ledger must be the same; of {table.name} {num:,} rows left and {num_there:,} "
                          f"arrived, digests {digest[:12]} and {digest_there[:12]}; the project keeps the ledger it "
                          "has; empty the database and try again")
    return Moved(table=table.name, num_rows=num, digest=digest)


def _digest(connection: sa.Connection, table: sa.Table) -> tuple[int, str]:
    """Number of rows, and the SHA-256 of them as JSON lines, sorted here: databases sort texts each in its own way."""
    lines = sorted(json.dumps([row[column.name] for column in table.c], default=str)
                   for rows in _rows(connection, table) for row in rows)
    return len(lines), hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _shown(database: str) -> str:
    return sa.make_url(database).render_as_string() if "://" in database else database

