"""The log of verdicts: what each reviewer said of each sample, and what was drawn for them to judge blindly,
append-only, in the ledger's database.

A verdict changes no label: curation.audit.reviews says what several of them add up to (consensus) and brings the ledger
in line (reconcile). Taking one back is a row of its own, so that who said what, and who took it back, is never lost.
"""

import math
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar, get_args

import pandas as pd
import sqlalchemy as sa

from curation.ledger import engines, layout, people
from curation.ledger import tables as ledger_tables
from curation.ledger import verdict_tables as tables
from curation.ledger.batch import LedgerError, said
from curation.ledger.verdict_tables import Draw, NewDraw, NewVerdict, VerdictRow
from engine.contract.disk import event_log
from engine.contract.run_dir import RunDirError, check_name

VerdictName = Literal["given", "suggested", "both", "neither", "other", "unsure"]
"""Which class is right: the given one, the suggested one, both, no class at all, another one; or the reviewer cannot
tell."""
Queue = Literal["find", "estimate", "adjudicate"]
"""Ranked by suspicion; drawn at random; settling disputes."""
Purpose = Literal["main", "repeat", "overlap", "gold"]
"""What the queue is for, or one of the hidden checks (curation.audit.reviews.queues)."""
VERDICTS: tuple[VerdictName, ...] = get_args(VerdictName)
QUEUES: tuple[Queue, ...] = get_args(Queue)
PURPOSES: tuple[Purpose, ...] = get_args(Purpose)
Option = TypeVar("Option", bound=str)
WRONG: dict[str, bool | None] = {"given": False, "suggested": True, "both": False, "neither": True, "other": True,
                                 "unsure": None}
"""Whether a verdict says that the given label is wrong; None: it does not say."""
RETRACT = "retract"


class VerdictError(LedgerError):
    """A verdict cannot be taken. One line, ready to show."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """One answer on one sample, as it is given to the log."""

    audit: str
    """Name of the audit."""
    queue: Queue
    sample_id: str
    verdict: VerdictName
    given_label: str
    who: str
    at: str | None = None
    """When it was given, where that was not here and now: ISO 8601 in UTC with milliseconds. None: now."""
    label: str | None = None
    """The class chosen, for "other" alone; the other verdicts have theirs from given_label and suggested_label."""
    suggested_label: str | None = None
    """As it was shown; None: none was."""
    previous_label: str | None = None
    """The current label before."""
    purpose: Purpose = "main"
    seconds: float | None = None
    """Time taken, 0 or more; None: unknown."""
    run: str = ""
    model: str = ""
    """Digest of the run's config.json."""
    p_wrong: float | None = None
    """In [0, 1], as it was then; None: not scored."""
    batch: int | None = None
    """Number of the reviewer's batch, 0 or more."""
    key: str | None = None
    """A sender that may send a verdict twice gives it a key of its own, such as a UUID: it then counts once."""


class VerdictLog:
    """The verdicts of one project. Holds no state of its own: any number of processes may have it open at once."""

    def __init__(self, database: str | Path, classes: Sequence[str]) -> None:
        """database: a file for SQLite, or a SQLAlchemy URL: the ledger's. classes: what a label may be."""
        self.classes = tuple(classes)
        self._engine = engines.engine_of(str(database))
        with ledger_tables.one_line_errors(self._engine):
            layout.create(self._engine, tables.VERDICT_ROWS)

    def add(self, verdicts: Sequence[Verdict]) -> list[int]:
        """Append verdicts, all or none; their ids, in order. Raises VerdictError.

        A verdict whose key is there already is not added again: its id is the old one.
        """
        rows = [checked_row(verdict, self.classes) for verdict in verdicts]
        for who in {row["who"] for row in rows}:
            people.check_author(who, "an answer")
        with self._writing() as connection:
            id_of_key = tables.ids_of_keys(connection, [row["key"] for row in rows if row["key"] is not None])
            next_id, ids = tables.newest_id(connection) + 1, []
            new: list[VerdictRow] = []
            for row in rows:
                verdict_id = next_id + len(new) if row["key"] is None else id_of_key.get(row["key"], next_id + len(new))
                ids.append(verdict_id)
                if verdict_id == next_id + len(new):
                    new.append({**row, "verdict_id": verdict_id})
                    if row["key"] is not None:
                        id_of_key[row["key"]] = verdict_id
            tables.append(connection, new)
        event_log.event("judged", num=len(new))
        return ids

    def retract(self, verdict_id: int, who: str, key: str | None = None) -> int:
        """Take a verdict back; the id of the row that does. Raises VerdictError if there is none or it is taken back.

        The row says who took it back and when; the verdict's own row stays. key: as a Verdict's.
        """
        words = said(who)
        people.check_author(words["who"], "an answer")
        with self._writing() as connection:
            if key is not None and (known := tables.ids_of_keys(connection, [key])):
                return known[key]
            old = tables.row_of(connection, tables.VERDICT_ROWS.c.verdict_id, int(verdict_id))
            if old is None or old["retracts"] is not None:
                raise VerdictError(f"a verdict to take back must be in the log; {verdict_id} is none; see the list")
            if tables.row_of(connection, tables.VERDICT_ROWS.c.retracts, int(verdict_id)):
                raise VerdictError(f"a verdict can be taken back once; {verdict_id} is taken back already; review the "
                                   "sample again instead")
            new_id = tables.newest_id(connection) + 1
            tables.append(connection, [VerdictRow(
                verdict_id=new_id, audit=old["audit"], queue=old["queue"], purpose=old["purpose"],
                sample_id=old["sample_id"], verdict=RETRACT, label=None, given_label=old["given_label"],
                suggested_label=None, previous_label=None, who=words["who"], at=words["at"], seconds=None, run=None,
                model=None, p_wrong=None, batch=None, key=key, retracts=int(verdict_id))])
        return new_id

    @property
    def revision(self) -> int:
        """Id of the newest row; 0 before the first. It only ever grows."""
        with ledger_tables.one_line_errors(self._engine), ledger_tables.transaction(self._engine) as connection:
            return tables.newest_id(connection)

    def revision_of(self, sample_id: str) -> int:
        """Id of the newest row on one sample; 0 where there is none."""
        with ledger_tables.one_line_errors(self._engine), ledger_tables.transaction(self._engine) as connection:
            return tables.newest_id(connection, sample_id)

    def rows(self, audit: str | None = None, sample_id: str | None = None) -> pd.DataFrame:
        """Every row of one audit or of all, on one sample or on all, retractions too, oldest first.

        verdict_id int64, seconds and p_wrong float64 (NaN: unknown), batch and retracts Int64; all else object, None
        where there is none; is_wrong object (True, False, None: unsure or a retraction).
        """
        with ledger_tables.one_line_errors(self._engine), ledger_tables.transaction(self._engine) as connection:
            frame = tables.rows_of(connection, sample_id)
        if audit is not None:
            frame = frame[frame["audit"] == audit].reset_index(drop=True)
        frame["is_wrong"] = pd.Series([WRONG.get(name) for name in frame["verdict"]], dtype=object, index=frame.index)
        return frame

    def in_force(self, audit: str | None = None, sample_id: str | None = None) -> pd.DataFrame:
        """The verdicts of rows() that were not taken back, with the same columns."""
        return in_force_of(self.rows(audit, sample_id))

    # -- what is drawn

    def add_draws(self, audit: str, draws: Sequence[NewDraw]) -> None:
        """Note what a random queue drew, before anybody is asked about it; what is noted already and was not let go of
        is not noted again."""
        people.require("reviewer", "a batch to review")
        with self._writing() as connection:
            known = {(draw.audit, draw.batch, draw.sample_ids) for draw in tables.draws_of(connection)
                     if not draw.is_released}
            for draw in draws:
                if (audit, draw.batch, draw.sample_ids) not in known:
                    words = said(draw.who)
                    tables.append_draw(connection, draw._replace(who=words["who"]), audit=audit, at=words["at"])

    def release_draws(self, draw_ids: Collection[int], who: str) -> None:
        """Let go of draws: what is not judged of them is blind no longer. Those let go of already are passed over."""
        words = said(who)
        people.require("owner", "letting go of drawn samples")
        people.check_author(words["who"], "letting go of drawn samples")
        with self._writing() as connection:
            for draw in tables.draws_of(connection):
                if draw.draw_id in draw_ids and not draw.is_released:
                    tables.append_draw(connection, NewDraw(draw.batch, words["who"], ()), audit=draw.audit,
                                       at=words["at"], releases=draw.draw_id)

    def draws(self) -> list[Draw]:
        """Every draw, oldest first, those let go of too."""
        with ledger_tables.one_line_errors(self._engine), ledger_tables.transaction(self._engine) as connection:
            return tables.draws_of(connection)

    @contextmanager
    def held_open(self) -> Iterator[None]:
        """Keep one connection to the database, the ledger's as well, over several transactions: when its last one
        closes, SQLite folds the write-ahead log into the file."""
        with ledger_tables.one_line_errors(self._engine), self._engine.connect():
            yield

    @contextmanager
    def _writing(self) -> Iterator[sa.Connection]:
        """One transaction that waits for its turn and then is the only writer."""
        engines.refuse_read_only(self._engine)
        with ledger_tables.one_line_errors(self._engine), \
                ledger_tables.transaction(self._engine, is_write=True) as connection:
            layout.begin_writing(connection)
            yield connection


def in_force_of(rows: pd.DataFrame) -> pd.DataFrame:
    """Of rows as VerdictLog.rows has them, the verdicts that were not taken back."""
    is_out = rows["retracts"].notna() | rows["verdict_id"].isin(rows["retracts"].dropna())
    return rows[~is_out].reset_index(drop=True)


def choice(name: str, text: str, options: tuple[Option, ...]) -> Option:
    """The option that came as text. Raises VerdictError where it is none; name: what is chosen."""
    for option in options:
        if option == text:
            return option
    raise VerdictError(f"{name} must be one of {', '.join(options)}; got {text!r}; choose one of them")


def checked_row(verdict: Verdict, classes: tuple[str, ...]) -> NewVerdict:
    """A verdict as a row of the log, its verdict_id still to come. Raises VerdictError for what cannot be one."""
    choice("queue", verdict.queue, QUEUES)
    choice("purpose", verdict.purpose, PURPOSES)
    choice("verdict", verdict.verdict, VERDICTS)
    for name in ("sample_id", "given_label"):
        if not isinstance(getattr(verdict, name), str) or not getattr(verdict, name):
            raise VerdictError(f"a verdict must have a {name}; got {getattr(verdict, name)!r}; say what it is about")
    try:
        check_name(verdict.audit)
    except RunDirError as error:
        raise VerdictError(str(error)) from error
    words = said(verdict.who, run=verdict.run)
    return NewVerdict(
        audit=verdict.audit, queue=verdict.queue, purpose=verdict.purpose, sample_id=verdict.sample_id,
        verdict=verdict.verdict, label=_label(verdict, classes), given_label=verdict.given_label,
        suggested_label=verdict.suggested_label, previous_label=verdict.previous_label, who=words["who"],
        at=verdict.at or words["at"], seconds=_number("seconds", verdict.seconds, math.inf), run=words["run"],
        model=verdict.model, p_wrong=_number("p_wrong", verdict.p_wrong, 1.0), batch=_batch(verdict.batch),
        key=verdict.key, retracts=None)


def _label(verdict: Verdict, classes: tuple[str, ...]) -> str | None:
    """The class that a verdict means. Raises VerdictError where that is no class, or where the fields contradict."""
    meant = {"given": verdict.given_label, "both": verdict.given_label, "suggested": verdict.suggested_label,
             "other": verdict.label}.get(verdict.verdict)
    if verdict.label not in (None, meant):
        raise VerdictError(f"a label is chosen with the verdict other; got {verdict.label!r} with {verdict.verdict}; "
                           "leave it out")
    if verdict.verdict in ("neither", "unsure"):
        return None
    if meant not in classes:
        raise VerdictError(f"the verdict {verdict.verdict} must mean one of {', '.join(classes)}; got {meant!r}; "
                           "choose a class")
    if WRONG[verdict.verdict] and meant == verdict.given_label:
        raise VerdictError(f"the verdict {verdict.verdict} must mean another class than the given one; got {meant!r}; "
                           "say given")
    return meant


def _number(name: str, value: float | None, high: float) -> float | None:
    """The number, NaN as None. Raises VerdictError outside [0, high]."""
    if value is None or math.isnan(value):
        return None
    if not (math.isfinite(value) and 0 <= value <= high):
        raise VerdictError(f"{name} must be a number from 0 to {high:g}, or None; got {value!r}; leave it out")
    return float(value)


def _batch(number: int | None) -> int | None:
    if number is not None and number < 0:
        raise VerdictError(f"a batch must be numbered from 0; got {number}; leave it out")
    return None if number is None else int(number)
