"""A ledger's batches as this process has read them, each of them once, and what is in force by them. Writes nothing.

A ledger only grows, so what was read stays true and a later read takes up what came since. Whether the rows before are
those that were read is told by the newest one's link in the chain, which all before it go into: a ledger put back from
a copy, or written anew with its links, is read from the start, and so is always one of older code, which has no links.
A row changed beside its link is found by curation.doctor.chain.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import cast

import pandas as pd
import pyarrow as pa
import sqlalchemy as sa

from curation.ledger import tables
from curation.ledger.batch import Batch
from curation.ledger.chain import Head, link_of
from curation.ledger.conflicts import Known
from curation.ledger.replay import COLUMN_OF, FOLD, Timeline, replay, timeline
from curation.ledger.snapshot import Stamp


@dataclass(frozen=True, slots=True)
class History:
    """The batches up to one of them. Shared by all who ask: read-only."""

    rows: pd.DataFrame
    """Oldest first, with tables.BATCH_COLUMNS."""
    line: Timeline
    head: Head | None
    """The newest one's link; None before the first, and of an older ledger."""

    @property
    def number(self) -> int:
        """Of the newest batch, 0 before the first."""
        return int(self.rows["batch_id"].iloc[-1]) if len(self.rows) else 0

    @property
    def num_people(self) -> int:
        """How many have ever decided, audits not counted."""
        return len(set(self.line.who.values()))


@dataclass(slots=True)
class Read:
    """What this process knows of one ledger. What takes the place of another leaves that as it is. To be asked for
    before the database is: in a transaction that began later all of it is there."""

    history: History | None = None
    conflicts: Known | None = None


@lru_cache(maxsize=16)
def read_of(_url: sa.URL) -> Read:
    """Of the ledger in that database: the same one each time."""
    return Read()


def history_of(connection: sa.Connection) -> History:
    """Every batch; only those are read that this process has not read before."""
    read = read_of(connection.engine.url)
    known = read.history
    if known is not None and not is_in(connection, known.number, known.head):
        known = None
    if known is not None and tables.revision_of(connection) == known.number:
        return known
    new = tables.batches_of(connection, known.number if known else 0)
    rows = new if known is None else pd.concat([known.rows, new], ignore_index=True)
    head = link_of(connection, "batch", int(rows["batch_id"].iloc[-1])) if len(rows) else None
    read.history = History(rows, timeline(new, known.line if known else None), head)
    return read.history


def is_in(connection: sa.Connection, number: int, head: Head | None) -> bool:
    """Whether the ledger holds what it held when this was the link of its batch of that number."""
    return head is not None and link_of(connection, "batch", number) == head


# -- in force


def state_of(connection: sa.Connection, classes: tuple[str, ...],
             kinds: tuple[str, ...] = tuple(COLUMN_OF)) -> pa.Table:
    """The state from the first batch on, as far as decisions of these kinds make it. Reads all rows, whatever is
    known."""
    rows = tables.batches_of(connection)
    rows = rows[rows["batch_id"].isin(timeline(rows).active) & rows["kind"].isin(kinds)]
    batch_ids, sample_ids = tables.entries_of(connection, rows["batch_id"].tolist())
    return replay(rows, batch_ids, sample_ids, classes)


def stamp_of_state(connection: sa.Connection, classes: tuple[str, ...], revision: int | None = None) -> Stamp:
    """What decisions.parquet must carry to be up to date; at an earlier revision: then."""
    number = tables.revision_of(connection) if revision is None else revision
    stamp: Stamp = {"ledger_id": tables.ledger_id_of(connection), "revision": number, "classes": list(classes),
                    "fold": FOLD}
    if (link := link_of(connection, "batch", number)) is not None:
        stamp["digest"] = link.digest
    return stamp


def row_of(batches: pd.DataFrame, batch_id: int | None) -> Batch | None:
    """One of the batches; None of None."""
    return None if batch_id is None else cast(Batch, batches[batches["batch_id"] == batch_id].to_dict("records")[0])
