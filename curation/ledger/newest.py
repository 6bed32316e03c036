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


def newest_rows(database: str) -> NewestRows:
    """Of the ledger in a SQLite file or at a database URL, in one transaction. Raises LedgerError, also where its
    tables have not been made yet."""
    engine = engines.engine_of(database)
    with tables.one_line_errors(engine), tables.transaction(engine) as connection:
        ledger_id, there = tables.ledger_id_of(connection), sa.inspect(connection).get_table_names()
        return NewestRows(*(_newest(connection, kind, column, ledger_id, there) for kind, column in _ROWS))


def _newest(connection: sa.Connection, kind: chain.RowKind, column: sa.Column, ledger_id: str,
            there: list[str]) -> Newest:
    number = connection.execute(sa.select(sa.func.max(column))).scalar() if column.table.name in there else None
    if number is None:
        return Newest(0, ledger_id)
    return Newest(int(number), chain.link_of(connection, kind, int(number)) or ledger_id)
