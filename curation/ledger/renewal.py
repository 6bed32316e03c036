"""decisions.parquet is brought up to date with the ledger, or made anew where it is damaged or gone."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import cast

import numpy as np
import pyarrow as pa
import sqlalchemy as sa

from curation.ledger import tables
from curation.ledger.batch import Batch, LedgerError
from curation.ledger.chain import link_of
from curation.ledger.history import stamp_of_state, state_of
from curation.ledger.replay import COLUMN_OF, apply_batch, empty_state
from curation.ledger.snapshot import Stamp, is_current, is_same, read_snapshot, write_snapshot
from engine.contract.disk import event_log

MAX_APPLIED = 20
"""Of more decisions at once all are replayed, which then takes less."""
Transaction = Callable[[bool], AbstractContextManager[sa.Connection]]
"""Begins one, which is to write where that is true."""


def renew(path: Path, classes: tuple[str, ...], transaction: Transaction, batch: Batch | None = None,
          sample_ids: np.ndarray | None = None) -> None:
    """Bring decisions.parquet to the newest revision under the write lock; the last of several finds it done.

    The revision is read inside the lock, so an older state can never replace a newer one. Where the file lacks nothing
    but `batch`, or a few decisions more of several who decide at once, they are applied to it; else everything is
    replayed. That a file was damaged or gone is logged.
    """
    if batch is None:  # most often it is up to date, and nothing waits for a writer then
        with transaction(False) as connection:
            if _says(path, stamp_of_state(connection, classes)):
                return
    with transaction(True) as connection:
        stamp = stamp_of_state(connection, classes)
        if _says(path, stamp):
            return
        state, written, damage = _read(path)
        if damage and not stamp["revision"]:
            raise LedgerError(f"{path} must be a table of decisions; {damage}, and the ledger has none to make it of; "
                              "bring back the ledger that it came from, or move the file away")
        if not damage and path.exists() and (written is None or written["ledger_id"] != stamp["ledger_id"]):
            raise LedgerError(f"{path} must come from this ledger; it was written by another; bring that ledger back, "
                              "or move the file away")
        if damage or (batch is None and not path.exists()):
            event_log.event("renewed", kind="damaged" if damage else "missing", project=path.parent,
                            words=f"{path} {damage or 'was missing'}; it was made anew from the ledger")
        if written is not None and written["revision"] == stamp["revision"] and "digest" in written:
            event_log.event("renewed", kind="history", project=path.parent, words=(
                f"{path} was of another history of the ledger, which was put back from a copy or changed; it was made "
                "anew; `python -m curation doctor` says more"))
        before = stamp_of_state(connection, classes, stamp["revision"] - 1)
        is_next = not damage and (is_same(written, before) or (written is None and stamp["revision"] == 1))
        if batch is not None and sample_ids is not None and is_next and batch["batch_id"] == stamp["revision"]:
            state = apply_batch(state, batch, sample_ids, classes)
        else:
            later = None if damage else _caught_up(connection, state, written, stamp, classes)
            state = state_of(connection, classes) if later is None else later
        write_snapshot(path, state, stamp, link_of(connection, "batch", stamp["revision"]))


def _caught_up(connection: sa.Connection, state: pa.Table, written: Stamp | None, stamp: Stamp,
               classes: tuple[str, ...]) -> pa.Table | None:
    """The state after the decisions that came since it was written; None where they are more than MAX_APPLIED, or an
    undo or redo is among them, or it is not of this ledger's past."""
    if written is None or "digest" not in written or not 0 < stamp["revision"] - written["revision"] <= MAX_APPLIED:
        return None
    if not is_same(written, stamp_of_state(connection, classes, written["revision"])):
        return None
    later = tables.batches_of(connection, written["revision"])
    if not later["kind"].isin(list(COLUMN_OF)).all():
        return None
    batch_ids, sample_ids = tables.entries_between(connection, written["revision"], stamp["revision"])
    for batch in cast(list[Batch], later.to_dict("records")):
        state = apply_batch(state, batch, sample_ids[batch_ids == batch["batch_id"]], classes)
    return state


def _says(path: Path, stamp: Stamp) -> bool:
    """snapshot.is_current; a damaged file says nothing."""
    try:
        return is_current(path, stamp)
    except IsADirectoryError:
        raise
    except (ValueError, KeyError, TypeError, OSError):  # pyarrow's errors are among them
        return False


def _read(path: Path) -> tuple[pa.Table, Stamp | None, str]:
    """State, stamp, and what is wrong with the file, "" for nothing."""
    try:
        return *read_snapshot(path), ""
    except IsADirectoryError as error:
        raise LedgerError(f"{path} must be a file; it is a folder; move it away: it is made anew") from error
    except (ValueError, KeyError, TypeError, OSError) as error:
        return empty_state(), None, f"was damaged ({' '.join(str(error).split())[:80]})"
