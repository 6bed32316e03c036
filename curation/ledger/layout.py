"""The layout of the ledger's tables, by number: made new, or brought up to date from any that older code left.

    1  ledger, batches, entries; later verdicts, an index on their samples, and the column origin of batches
    2  chain, layouts
    3  draws, and an index on the rows that the links of the chain are of

A ledger of an older layout is read as it is. The first act that writes to it brings it up to date in its own
transaction, under the writer's lock: all of it or nothing, once, said in one line of the log. Tables, a column and an
index are added and no row is changed, so that there is nothing to keep a copy of. A newer layout is refused on opening
(curation.ledger.foreign).
"""

import uuid
from datetime import UTC, datetime

import sqlalchemy as sa

from curation.ledger import chain, tables, verdict_tables
from curation.ledger.foreign import refuse_newer
from engine.contract.disk import event_log

LAYOUT = 3
CHAINED = 2
"""The first layout with a chain."""
_MAKING = 0x77686574
"""The key of PostgreSQL's advisory lock under which the tables are made."""
META = sa.MetaData()
LAYOUTS = sa.Table("layouts", META, sa.Column("layout", sa.Integer, primary_key=True, autoincrement=False),
                   sa.Column("at", sa.String(40), nullable=False))
"""One row for each layout that a ledger was brought to, and when; absent from those of layout 1."""

chain.guard_append_only(LAYOUTS)


def create(engine: sa.Engine, needed: sa.Table) -> None:
    """Make a new ledger, or in an older one the table that is needed, where that is not there yet. Another process that
    does so at once is waited for."""
    with tables.transaction(engine) as connection:
        if sa.inspect(connection).has_table(needed.name) and connection.execute(sa.select(tables.LEDGER)).first():
            return
    with tables.transaction(engine, is_write=True) as connection:
        if connection.dialect.name == "postgresql":  # which has no row to lock yet, and makes no table twice
            connection.execute(sa.text("SELECT pg_advisory_xact_lock(:key)"), {"key": _MAKING})
        tables.META.create_all(connection)
        if connection.execute(sa.select(tables.LEDGER)).first() is None:
            connection.execute(tables.LEDGER.insert(), {"ledger_id": uuid.uuid4().hex})
        begin_writing(connection)


def begin_writing(connection: sa.Connection) -> None:
    """Wait to be the only writer until the transaction ends, of a ledger with the layout of today."""
    ledger_id = tables.lock(connection)
    before = layout_of(connection)
    if before == LAYOUT:
        return
    refuse_newer(before, LAYOUT, str(connection.engine.url.database))  # it came while this writer waited for the lock
    tables.add_origin(connection)
    verdict_tables.META.create_all(connection)
    chain.META.create_all(connection)
    META.create_all(connection)
    for index in (*verdict_tables.VERDICT_ROWS.indexes, *chain.CHAIN.indexes):
        index.create(connection, checkfirst=True)
    if before < CHAINED:
        chain.extend(connection, tables.chained_batches(connection), ledger_id, is_late=True)
        chain.extend(connection, verdict_tables.chained_verdicts(connection), ledger_id, is_late=True)
    connection.execute(LAYOUTS.insert(), {"layout": LAYOUT, "at": datetime.now(UTC).isoformat(timespec="milliseconds")})
    if (head := chain.head_of(connection)) is not None:
        got = f", and its {head.link_id} entries so far got a digest" if before < CHAINED else ""
        event_log.event("renewed", kind="layout", num=head.link_id, words=(
            f"{connection.engine.url} was of an older layout; it was brought to layout {LAYOUT}{got}"))


def layout_of(connection: sa.Connection) -> int:
    """The layout of a ledger's tables."""
    if not sa.inspect(connection).has_table(LAYOUTS.name):
        return 1
    return int(connection.execute(sa.select(sa.func.max(LAYOUTS.c.layout))).scalar() or 1)
