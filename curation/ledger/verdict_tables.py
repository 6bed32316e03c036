"""The tables of verdicts and of draws, and the few statements that run on them, in the ledger's database. Decides
nothing.

Rows are only ever added, as in curation.ledger.tables. curation.ledger.layout makes the tables where a ledger from
before them lacks them.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple, TypedDict, cast

import pandas as pd
import sqlalchemy as sa

from curation.ledger import chain, tables


class NewVerdict(TypedDict):
    """A row of the table that has no number yet; fields as curation.ledger.verdicts.Verdict has them, checked."""

    audit: str
    queue: str
    purpose: str
    sample_id: str
    verdict: str
    label: str | None
    """The class that the verdict means."""
    given_label: str
    suggested_label: str | None
    previous_label: str | None
    who: str
    at: str
    seconds: float | None
    run: str | None
    model: str | None
    p_wrong: float | None
    batch: int | None
    key: str | None
    retracts: int | None
    """verdict_id of the row that this one takes back."""


class VerdictRow(NewVerdict):
    verdict_id: int


META = sa.MetaData()
VERDICT_ROWS = sa.Table(
    "verdicts", META,
    sa.Column("verdict_id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("audit", sa.Text, nullable=False), sa.Column("queue", sa.String(16), nullable=False),
    sa.Column("purpose", sa.String(16), nullable=False), sa.Column("sample_id", sa.Text, nullable=False, index=True),
    sa.Column("verdict", sa.String(16), nullable=False), sa.Column("label", sa.Text),
    sa.Column("given_label", sa.Text, nullable=False), sa.Column("suggested_label", sa.Text),
    sa.Column("previous_label", sa.Text), sa.Column("who", sa.Text, nullable=False),
    sa.Column("at", sa.String(40), nullable=False), sa.Column("seconds", sa.Float), sa.Column("run", sa.Text),
    sa.Column("model", sa.Text), sa.Column("p_wrong", sa.Float), sa.Column("batch", sa.Integer),
    sa.Column("key", sa.Text, unique=True), sa.Column("retracts", sa.Integer, unique=True),
)
"""A row with `retracts` takes that verdict back: once, which `unique` holds whatever a program does."""
COLUMNS = tuple(VERDICT_ROWS.c.keys())
_DTYPES = {"verdict_id": "int64", "seconds": "float64", "p_wrong": "float64", "batch": "Int64", "retracts": "Int64"}

DRAWS = sa.Table(
    "draws", META,
    sa.Column("draw_id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("audit", sa.Text, nullable=False), sa.Column("batch", sa.Text, nullable=False),
    sa.Column("sample_ids", sa.Text, nullable=False), sa.Column("who", sa.Text, nullable=False),
    sa.Column("at", sa.String(40), nullable=False), sa.Column("releases", sa.Integer, unique=True),
)
"""What the random queues drew, a row a batch, so that a lost file of a batch un-blinds nothing. sample_ids: JSON. A row
with `releases` lets go of that draw."""

chain.guard_append_only(VERDICT_ROWS)
chain.guard_append_only(DRAWS)


class NewDraw(NamedTuple):
    """One batch of a random queue."""

    batch: str
    """What its file is called, without the ending (curation.audit.reviews.batch_files)."""
    who: str
    """The reviewer."""
    sample_ids: tuple[str, ...]
    """Without hidden checks."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Draw:
    """A NewDraw, as it was noted."""

    draw_id: int
    audit: str
    batch: str
    who: str
    sample_ids: tuple[str, ...]
    at: str
    """ISO 8601 in UTC with milliseconds."""
    is_released: bool = False


def newest_id(connection: sa.Connection, sample_id: str | None = None) -> int:
    """verdict_id of the newest row, of all or of those on one sample; 0 before the first."""
    query = sa.select(sa.func.max(VERDICT_ROWS.c.verdict_id))
    query = query if sample_id is None else query.where(VERDICT_ROWS.c.sample_id == sample_id)
    return int(connection.execute(query).scalar() or 0)


def ids_of_keys(connection: sa.Connection, keys: list[str]) -> dict[str, int]:
    """key -> verdict_id of those keys that are there."""
    query = sa.select(VERDICT_ROWS.c.key, VERDICT_ROWS.c.verdict_id)
    found: dict[str, int] = {}
    for start in range(0, len(keys), 500):  # SQLite takes a limited number of values
        part = query.where(VERDICT_ROWS.c.key.in_(keys[start:start + 500]))
        found |= {str(row[0]): int(row[1]) for row in connection.execute(part)}
    return found


def row_of(connection: sa.Connection, column: sa.Column, value: int) -> VerdictRow | None:
    """The row with that value in a unique column, None where there is none."""
    row = connection.execute(sa.select(VERDICT_ROWS).where(column == value)).first()
    return None if row is None else cast(VerdictRow, dict(row._mapping))


def append(connection: sa.Connection, rows: list[VerdictRow]) -> None:
    """Add rows and their links in the chain. To be called under the lock, with the ledger's layout of today."""
    if rows:
        connection.execute(VERDICT_ROWS.insert(), [dict(row) for row in rows])
        chain.extend(connection, [chain.Row("verdict", row["verdict_id"], row) for row in rows],
                     tables.ledger_id_of(connection))


def chained_verdicts(connection: sa.Connection) -> Iterator[chain.Row]:
    """Every verdict as its link in the chain is made of it, oldest first."""
    for row in connection.execute(sa.select(VERDICT_ROWS).order_by(VERDICT_ROWS.c.verdict_id)):
        yield chain.Row("verdict", int(row[0]), dict(row._mapping))


def rows_of(connection: sa.Connection, sample_id: str | None = None) -> pd.DataFrame:
    """Every row, or those on one sample, oldest first, with COLUMNS; texts are objects, None where there is none."""
    query = sa.select(VERDICT_ROWS).order_by(VERDICT_ROWS.c.verdict_id)
    if sample_id is None:
        cursor = connection.connection.cursor()  # the driver's own: 20,000 rows in two thirds of SQLAlchemy's time
        cursor.execute(str(query.compile(dialect=connection.dialect)))
        rows = cursor.fetchall()
        cursor.close()
    else:
        rows = list(connection.execute(query.where(VERDICT_ROWS.c.sample_id == sample_id)))
    frame = pd.DataFrame([tuple(row) for row in rows], columns=list(COLUMNS), dtype=object)
    return frame.astype(_DTYPES)


# -- draws


def draws_of(connection: sa.Connection) -> list[Draw]:
    """Every draw, oldest first; none of a ledger of older code."""
    if not sa.inspect(connection).has_table(DRAWS.name):
        return []
    rows = connection.execute(sa.select(DRAWS).order_by(DRAWS.c.draw_id)).all()
    released = {row.releases for row in rows if row.releases is not None}
    return [Draw(draw_id=int(row.draw_id), audit=row.audit, batch=row.batch, who=row.who, at=row.at,
                 sample_ids=tuple(map(str, json.loads(row.sample_ids))), is_released=row.draw_id in released)
            for row in rows if row.releases is None]


def append_draw(connection: sa.Connection, draw: NewDraw, *, audit: str, at: str, releases: int | None = None) -> None:
    """Add a draw, or let go of one, and the row's link in the chain. To be called as append is."""
    newest = connection.execute(sa.select(sa.func.max(DRAWS.c.draw_id))).scalar() or 0
    row = {"draw_id": int(newest) + 1, "audit": audit, "batch": draw.batch, "sample_ids": json.dumps(draw.sample_ids),
           "who": draw.who, "at": at, "releases": releases}
    connection.execute(DRAWS.insert(), row)
    chain.extend(connection, [chain.Row("draw", int(newest) + 1, row)], tables.ledger_id_of(connection))


def chained_draws(connection: sa.Connection) -> Iterator[chain.Row]:
    """As chained_verdicts."""
    for row in connection.execute(sa.select(DRAWS).order_by(DRAWS.c.draw_id)):
        yield chain.Row("draw", int(row[0]), dict(row._mapping))
