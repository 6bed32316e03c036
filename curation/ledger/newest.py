"""How far a ledger has come, without opening it as Ledger does: that makes its tables and looks after its snapshot."""

from typing import NamedTuple

import sqlalchemy as sa

from curation.ledger import chain, engines, tables, verdict_tables


class Newest(NamedTuple):
    """The newest row of a kind. What is kept by a number alone is of another history once the ledger's file is put back
    from a copy, or comes from another machine; equal values of this are of the same rows up to there."""

    number: int
    """Its id, 0 before the first."""
    digest: str
    """Of its link in the chain, which all rows before it go into; of an older ledger, which has none, the ledger's
    id."""

    def __str__(self) -> str:
        return f"{self.number}.{self.digest[:16]}"


class NewestRows(NamedTuple):
    """What pages keep what they make of a ledger by."""

    decisions: Newest
    verdicts: Newest
    draws: Newest


_ROWS: tuple[tuple[chain.RowKind, sa.Column], ...] = (
    ("batch", tables.BATCHES.c.batch_id), ("verdict", verdict_tables.VERDICT_ROWS.c.verdict_id),
    ("draw", verdict_tables.DRAWS.c.draw_id))


def _link_of_newest(kind: chain.RowKind, column: sa.Column) -> sa.ScalarSelect[str]:
    links = chain.CHAIN.c
    row_id = sa.select(sa.func.max(column)).scalar_subquery()
    return sa.select(links.digest).where(links.kind == kind, links.row_id == row_id).limit(1).scalar_subquery()


_ALL = str(sa.select(tables.LEDGER.c.ledger_id, *(
    part for kind, column in _ROWS
    for part in (sa.select(sa.func.max(column)).scalar_subquery(), _link_of_newest(kind, column))
)).compile(compile_kwargs={"literal_binds": True}))
"""One statement, put together once: what SQLAlchemy does for each takes longer than what it asks."""


def newest_rows(database: str) -> NewestRows:
    """Of the ledger in a SQLite file or at a database URL. Raises LedgerError, also where its tables have not been made
    yet."""
    engine = engines.engine_of(database)
    with tables.one_line_errors(engine):
        try:
            with tables.transaction(engine) as connection:
                ledger_id, *found = connection.exec_driver_sql(_ALL).one()
        except (sa.exc.OperationalError, sa.exc.ProgrammingError):  # of an older layout: a table is not there yet
            with tables.transaction(engine) as connection:
                ledger_id, found = tables.ledger_id_of(connection), _of_older(connection)
    return NewestRows(*(Newest(int(number or 0), str(digest or ledger_id))
                        for number, digest in zip(found[::2], found[1::2], strict=True)))


def _of_older(connection: sa.Connection) -> list[int | str | None]:
    """Number and digest of each, by what there is."""
    there, found = sa.inspect(connection).get_table_names(), list[int | str | None]()
    for kind, column in _ROWS:
        number = connection.execute(sa.select(sa.func.max(column))).scalar() if column.table.name in there else None
        link = None if number is None else chain.link_of(connection, kind, number)
        found += [number, link and link.digest]
    return found
