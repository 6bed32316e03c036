"""What holds the ledger's past: triggers that refuse to change it, and a chain of digests that tells where one did.

Every batch, verdict and draw has a link: the SHA-256 over the digest of the link before it and all that the row says,
a batch's samples included. It is made in the transaction that writes the row, under the writer's lock, so that there
is one chain however many write at once. A row that was rewritten, removed or put in between is found by
curation.doctor.chain.

A chain alone cannot tell that its newest rows were cut off together with their links, nor that somebody computed all
links anew from a change on: who can write the database can do both. Both are found as long as one file knows better:
decisions.parquet, and the copy of it that every run and study keeps, name the newest decision's link of their time
(curation.ledger.snapshot). Who can write all of these can rewrite all of them; against that, keep the digest that
`doctor` prints somewhere else.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, NamedTuple

import sqlalchemy as sa

RowKind = Literal["batch", "verdict", "draw"]
META = sa.MetaData()
CHAIN = sa.Table(
    "chain", META,
    sa.Column("link_id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("kind", sa.String(16), nullable=False), sa.Column("row_id", sa.Integer, nullable=False),
    sa.Column("is_late", sa.Boolean, nullable=False), sa.Column("digest", sa.String(64), nullable=False),
    sa.Index("ix_chain_row", "kind", "row_id"),
)
"""One row a batch, verdict or draw, numbered from 1 in the order in which they were written. is_late: the row is of
older code, and its link was made when the ledger was brought up to date: what happened to it before is not known."""
_REFUSE = "the ledger is append-only"
POSTGRESQL_GUARD = f"BEGIN RAISE EXCEPTION '{_REFUSE}'; END"
"""The body of the function that the triggers in PostgreSQL call."""


class Row(NamedTuple):
    """A row of the ledger, as the database has it."""

    kind: RowKind
    row_id: int
    values: Mapping[str, object]
    sample_ids: Sequence[str] = ()
    """Of a batch: the samples that it touches, in any order."""


class Head(NamedTuple):
    """A link that others follow on."""

    link_id: int
    digest: str
    """In hex; before the first link the ledger's id, which the first one so depends on."""


def extend(connection: sa.Connection, rows: Iterable[Row], ledger_id: str, is_late: bool = False) -> None:
    """Add a link for each row. To be called in the transaction that writes them, under the writer's lock."""
    head, links = head_of(connection) or Head(0, ledger_id), []
    for row in rows:
        head = Head(head.link_id + 1, digest_of(row, head, is_late))
        links.append({"link_id": head.link_id, "kind": row.kind, "row_id": row.row_id, "is_late": is_late,
                      "digest": head.digest})
    if links:
        connection.execute(CHAIN.insert(), links)


def head_of(connection: sa.Connection) -> Head | None:
    """The newest link; None before the first. The table must be there."""
    query = sa.select(CHAIN.c.link_id, CHAIN.c.digest).order_by(CHAIN.c.link_id.desc()).limit(1)
    found = connection.execute(query).first()
    return None if found is None else Head(int(found[0]), str(found[1]))


def link_of(connection: sa.Connection, kind: RowKind, row_id: int) -> Head | None:
    """A row's link; None of an older ledger without links, and of a row without one."""
    if not sa.inspect(connection).has_table(CHAIN.name):
        return None
    query = sa.select(CHAIN.c.link_id, CHAIN.c.digest).where(CHAIN.c.kind == kind, CHAIN.c.row_id == row_id)
    found = connection.execute(query.order_by(CHAIN.c.link_id.desc()).limit(1)).first()
    return None if found is None else Head(int(found[0]), str(found[1]))


def digest_of(row: Row, before: Head, is_late: bool) -> str:
    """The digest of the link that follows `before`, in hex.

    Of JSON with sorted keys and samples and without nulls, so that neither the order in which a database gives them nor
    a column that a later version adds changes it; -0.0 is 0.0, as SQLite keeps it.
    """
    values = {name: value + 0.0 if isinstance(value, float) else value
              for name, value in row.values.items() if value is not None}
    text = json.dumps([before.digest, before.link_id + 1, row.kind, row.row_id, is_late, values,
                       sorted(row.sample_ids)], sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


# -- triggers


def guard_append_only(table: sa.Table) -> None:
    """Have triggers refuse every change of what the table holds, from the moment that it is made."""
    for statement in sqlite_guards(table.name):
        _guard(table, "sqlite", statement)
    _guard(table, "postgresql", "CREATE OR REPLACE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS "
                                f"$${POSTGRESQL_GUARD}$$")
    _guard(table, "postgresql", f"CREATE TRIGGER {table.name}_no_change BEFORE UPDATE OR DELETE OR TRUNCATE ON "
                                f"{table.name} FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()")


def sqlite_guards(name: str) -> list[str]:
    """The statements that make the triggers of a table in SQLite."""
    return [f"CREATE TRIGGER {name}_no_{act.lower()} BEFORE {act} ON {name} BEGIN SELECT RAISE(ABORT, '{_REFUSE}'); END"
            for act in ("UPDATE", "DELETE")]


def _guard(table: sa.Table, dialect: str, statement: str) -> None:
    """Run `statement` once the table is made, on that database alone."""
    ddl: sa.schema.ExecutableDDLElement = sa.DDL(statement)  # type: ignore[no-untyped-call]
    sa.event.listen(table, "after_create", ddl.execute_if(dialect=dialect))


guard_append_only(CHAIN)
