"""The ledger: every decision on samples, append-only, in SQLite or PostgreSQL. Who, when, why; undo; exact replay.

Undo and redo are batches like any other, so they survive a restart and can themselves be undone. The history is one
line for all who work on a project, yet undo takes back a person's own newest decision in force; another person's is
undone by its number alone. decisions.parquet, what the engine reads, is the state at the newest revision. Does not know
what a decision does to a run.
"""

from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import numpy as np
import pandas as pd
import sqlalchemy as sa

from curation.ledger import engines, layout, people, tables
from curation.ledger.batch import PINS, Batch, BatchKind, DecisionKind, LedgerError, Origin, Pin, Said, new_batch, said
from curation.ledger.conflicts import Entries, Known, conflicts_after, no_conflicts
from curation.ledger.history import History, history_of, is_in, read_of, row_of, stamp_of_state, state_of
from curation.ledger.renewal import renew
from curation.ledger.replay import COLUMN_OF, EXCLUSIONS, NextRedo, Timeline, undone_flags
from curation.ledger.sample_ids import training_ids
from curation.ledger.snapshot import current_state
from engine.contract.disk import event_log
from engine.contract.disk.failures import disk_line
from engine.contract.manifest import ManifestError, read_info


class Ledger:
    """The decisions of one project. Holds no state of its own: any number of processes may have it open at once."""

    def __init__(self, database: str | Path, decisions_path: Path) -> None:
        """database: a file for SQLite, or a SQLAlchemy URL. decisions_path lies in the project folder."""
        self.decisions_path = Path(decisions_path)
        self.project = self.decisions_path.parent
        self.snapshot_problem = ""
        """Why decisions.parquet could not be brought up to date; "" where it is. What was decided is in force all the
        same, save that a training would begin under the decisions of before."""
        self._engine = engines.engine_of(str(database))
        with tables.one_line_errors(self._engine):
            layout.create(self._engine, tables.LEDGER)
        self._renew_snapshot()

    # -- decide

    # who, why, view, run: texts for people (curation.ledger.batch.said); origin: what the decision follows from.

    def pin(self, ids: Iterable[str], to: Pin | None, who: str, why: str = "", view: str = "", run: str = "", *,
            origin: Origin = "person") -> int:
        """Hold samples in validation or training; to=None lets go. Returns the batch. Raises LedgerError."""
        if to not in (*PINS, None):
            raise LedgerError(f"a pin must be to one of {', '.join(PINS)} or None; got {to!r}")
        return self._decide("pin", to, ids, origin, said(who, why, view, run))

    def exclude(self, ids: Iterable[str], is_excluded: bool = True, who: str = "", why: str = "", view: str = "",
                run: str = "", *, origin: Origin = "person") -> int:
        """Leave samples out of everything, or take them back. Returns the batch. Raises LedgerError."""
        value = EXCLUSIONS[0] if is_excluded else EXCLUSIONS[1]
        return self._decide("exclude", value, ids, origin, said(who, why, view, run))

    def relabel(self, ids: Iterable[str], label: str | None, who: str, why: str = "", view: str = "",
                run: str = "", *, origin: Origin = "person") -> int:
        """Give samples another class; None goes back to given_label. Returns the batch. Raises LedgerError."""
        if label is not None and label not in self.classes:
            raise LedgerError(f"a label must be one of {', '.join(self.classes)}; got {label!r}; choose one of them")
        return self._decide("relabel", label, ids, origin, said(who, why, view, run))

    def undo(self, who: str, why: str = "") -> int | None:
        """Take back this person's own newest decision in force, none that an audit took. Returns its batch, or None."""
        return self._change(who, why, lambda line: ("undo", line.to_undo(said(who)["who"])))

    def redo(self, who: str, why: str = "") -> int | None:
        """Bring back what this person undid last, unless they decided anew since. Returns its batch, or None."""
        return self._change(who, why, lambda line: ("redo", line.to_redo(said(who)["who"])))

    def next_undo(self, who: str) -> Batch | None:
        """The decision that undo would take back for this person."""
        known = self._history()
        return row_of(known.rows, known.line.to_undo(said(who)["who"]))

    def next_redo(self, who: str) -> NextRedo:
        """The decision that redo would bring back for this person, and what it depends on."""
        known, name = self._history(), said(who)["who"]
        rows, line = known.rows, known.line
        target, own = line.to_redo(name), [taken for taken, whose in line.who.items() if whose == name]
        at = rows.set_index("batch_id")["at"]
        return NextRedo(batch=row_of(rows, target), undone="" if target is None else at[line.latest_change[target]],
                        decided=at[own[-1]] if own else "")

    def undo_batch(self, batch_id: int, who: str, why: str = "") -> int:
        """Undo one batch wherever it lies in the history, where undoing an undo redoes; the decision batch touched.
        Raises LedgerError for no such batch, for one that is undone already, for another's of one who may not."""
        rows = self._history().rows.set_index("batch_id")
        if batch_id not in rows.index:
            raise LedgerError(f"a batch must be one of the ledger's {len(rows)}; got {batch_id}; see the list")
        kind, value = rows.loc[batch_id, "kind"], rows.loc[batch_id, "value"]
        people.require("reviewer" if rows.loc[batch_id, "who"] == said(who)["who"] else "owner", "undoing this batch")

        def choose(line: Timeline) -> tuple[BatchKind, int]:
            target = int(batch_id) if kind in COLUMN_OF else int(str(value))
            if not (target in line.active if kind in COLUMN_OF else line.latest_change[target] == batch_id):
                raise LedgerError(f"a batch can be undone while it is in force; batch {batch_id} is undone already; "
                                  "redo it or choose another")
            return ("redo" if kind == "undo" else "undo"), target

        done = self._change(who, why, choose)
        assert done is not None, "undo_batch always has a target"
        return done

    # -- look

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names that a relabel may give, as the manifest has them now."""
        try:
            return read_info(self.project).classes
        except ManifestError as error:
            raise LedgerError(str(error)) from error

    @property
    def revision(self) -> int:
        """Number of the newest batch; 0 before the first. It only ever grows."""
        with self._transaction() as connection:
            return tables.revision_of(connection)

    def state(self) -> pd.DataFrame:
        """What is in force: one row a decided sample with DECISION_COLUMNS, and who, at, why of the last decision.

        Comes from decisions.parquet where that is up to date (it is, save between a commit and its rewrite).
        """
        with self._transaction() as connection:
            kept = current_state(self.decisions_path, stamp_of_state(connection, self.classes))
            table = state_of(connection, self.classes) if kept is None else kept
        frame: pd.DataFrame = table.to_pandas()
        return frame

    def batches(self) -> pd.DataFrame:
        """Every batch, newest first: batch_id, kind, value, num_samples, who, at, why, view, run, origin,
        is_undone.

        value: what a pin, exclude or relabel set (None: taken back); of an undo or redo, the batch it touched.
        """
        known = self._history()
        rows = known.rows.assign(is_undone=undone_flags(known.rows, known.line))
        return rows.iloc[::-1].reset_index(drop=True)

    def history_of(self, sample_id: str) -> pd.DataFrame:
        """The batches that touched one sample, undo and redo of them included, newest first, as batches() has them."""
        query = sa.select(tables.ENTRIES.c.batch_id).where(tables.ENTRIES.c.sample_id == str(sample_id))
        with self._transaction() as connection:
            touched = [int(row[0]) for row in connection.execute(query)]
        rows = self.batches()
        is_decision = rows["kind"].isin(list(COLUMN_OF))
        targets = pd.to_numeric(rows["value"].mask(is_decision), errors="coerce").where(~is_decision, rows["batch_id"])
        return rows[targets.isin(touched)].reset_index(drop=True)

    def decisions_on(self, sample_ids: Collection[str], kinds: Collection[str]) -> tuple[pd.DataFrame,
                                                                                         list[tuple[int, str]]]:
        """(every batch, oldest first, with BATCH_COLUMNS; batch_id and sample_id of each entry, oldest first, that a
        decision of these kinds has on these samples, undone ones as well). No batch where there is no such entry."""
        with self._transaction() as connection:
            entries = tables.entries_on(connection, sample_ids, kinds)
            batches = history_of(connection).rows if entries else pd.DataFrame(columns=list(tables.BATCH_COLUMNS))
            return batches, entries

    def conflicts(self, sample_id: str | None = None) -> pd.DataFrame:
        """Where two people decided differently and it was not settled (curation.ledger.conflicts): one row a
        sample and kind, of one sample or of all."""
        classes, read = self.classes, read_of(self._engine.url)
        known = read.conflicts
        with self._transaction() as connection:
            now = history_of(connection)
            if now.num_people < 2:  # one person cannot disagree: spare reading the entries
                return no_conflicts()
            if known is not None and not (known.classes == classes and is_in(connection, known.number, known.head)):
                known = None
            new = Entries.of(*tables.entries_between(connection, known.number if known else 0, now.number))
        entries = known.entries.followed_by(new) if known else new
        found = conflicts_after(known, now.rows, now.line, entries, self.state)
        read.conflicts = Known(now.number, now.head, classes, entries, found)
        return found if sample_id is None else found[found["sample_id"] == sample_id].reset_index(drop=True)

    def corrections(self) -> pd.DataFrame:
        """The relabels in force: sample_id, label, and who, at, why of the relabel itself, whatever came after it."""
        with self._transaction() as connection:
            frame: pd.DataFrame = state_of(connection, self.classes, kinds=("relabel",)).to_pandas()
        return frame[["sample_id", "label", "who", "at", "why"]]

    # -- move between ledgers

    def journal(self) -> Iterator[tuple[Batch, list[str]]]:
        """Every batch, oldest first, with its sample ids: all there is in the ledger."""
        for batch in cast(list[Batch], self._history().rows.to_dict("records")):
            with self._transaction() as connection:
                entries = sa.select(tables.ENTRIES.c.sample_id).where(tables.ENTRIES.c.batch_id == batch["batch_id"])
                ids = [str(row[0]) for row in connection.execute(entries.order_by(tables.ENTRIES.c.sample_id))]
            yield batch, ids

    def restore(self, journal: Iterable[tuple[Batch, list[str]]]) -> None:
        """Append a checked journal as it is, in one transaction. Raises LedgerError unless the ledger is empty."""
        with self._transaction(is_write=True) as connection:
            num_batches = tables.revision_of(connection)
            if num_batches:
                raise LedgerError(f"a journal is replayed onto an empty ledger; this one has {num_batches} batches; "
                                  "import the data into a new project first")
            for batch, ids in journal:
                tables.append(connection, batch, np.asarray(ids, dtype=object))
        self._renew_snapshot(is_recorded=True)

    # -- how

    def _decide(self, kind: DecisionKind, value: str | None, ids: Iterable[str], origin: Origin, words: Said) -> int:
        """Check the ids, append one batch, bring the snapshot up to date."""
        assert self.classes, "a manifest without classes cannot be written"  # and reports a missing manifest
        sample_ids = training_ids(self.project, ids)
        people.check_author(words["who"], "a decision", is_signed=origin == "audit")
        new = new_batch(kind, value, len(sample_ids), origin, words)
        with self._transaction(is_write=True) as connection:
            batch: Batch = {**new, "batch_id": tables.revision_of(connection) + 1}
            tables.append(connection, batch, sample_ids)
        event_log.event("decided", kind=kind, num=len(sample_ids), project=self.project)
        self._renew_snapshot(batch, sample_ids, is_recorded=True)
        return batch["batch_id"]

    def _change(self, who: str, why: str, choose: Callable[[Timeline], tuple[BatchKind, int | None]]) -> int | None:
        """Append the undo or redo that `choose` picks from the timeline as it is inside the transaction."""
        people.check_author(said(who)["who"], "a decision")
        with self._transaction(is_write=True) as connection:
            known = history_of(connection)
            kind, target = choose(known.line)
            if target is None:
                return None
            num_samples = int(known.rows.set_index("batch_id")["num_samples"][target])
            new = new_batch(kind, str(target), num_samples, "person", said(who, why))
            batch: Batch = {**new, "batch_id": tables.revision_of(connection) + 1}
            tables.append(connection, batch, np.empty(0, dtype=object))
        event_log.event("decided", kind=kind, num=num_samples, project=self.project)
        self._renew_snapshot(is_recorded=True)
        return target

    def _history(self) -> History:
        with self._transaction() as connection:
            return history_of(connection)

    @property
    def refusal(self) -> str:
        """Why nothing can be decided, one line: the project may only be read, or its disk is full; "" where it can."""
        return engines.refusal_of(self._engine)

    def _renew_snapshot(self, batch: Batch | None = None, sample_ids: np.ndarray | None = None,
                        is_recorded: bool = False) -> None:
        """renewal.renew. What the disk refuses is kept as snapshot_problem; so is all that fails once a decision is
        recorded, which nobody should then take for refused."""
        self.snapshot_problem = ""
        if self.refusal:
            return
        try:
            renew(self.decisions_path, self.classes, self._transaction, batch, sample_ids)
        except (LedgerError, OSError) as error:
            line = disk_line(error, self.decisions_path)
            if line is None and not is_recorded:
                raise
            self.snapshot_problem = line or str(error)

    @contextmanager
    def _transaction(self, is_write: bool = False) -> Iterator[sa.Connection]:
        """One transaction; a write one waits for, and then is, the only writer, of tables as they are today."""
        if is_write:
            engines.refuse_read_only(self._engine)
        with tables.one_line_errors(self._engine), tables.transaction(self._engine, is_write) as connection:
            if is_write:
                layout.begin_writing(connection)
            yield connection
