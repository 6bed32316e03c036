"""What is in force, from the ledger's tables. Writes nothing."""

from typing import cast

import pandas as pd
import pyarrow as pa
import sqlalchemy as sa

from curation.ledger import tables
from curation.ledger.batch import Batch
from curation.ledger.chain import link_of
from curation.ledger.replay import COLUMN_OF, FOLD, replay, timeline
from curation.ledger.snapshot import Stamp


def state_of(connection: sa.Connection, classes: tuple[str, ...],
             kinds: tuple[str, ...] = tuple(COLUMN_OF)) -> pa.Table:
    """The state from the first batch on, as far as decisions of these kinds make it."""
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
