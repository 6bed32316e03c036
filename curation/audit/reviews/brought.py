"""What people said elsewhere comes back from a file: what of it is new, then into the log of verdicts and the ledger,
in their names. One way for app and command line.

An answer is known by what it says: the same person, sample and answer. So neither a newer export of the same answers
nor the same file read again adds one, and of a person's answers the newer counts. Reads no format (elsewhere,
answers_file, own_decisions).
"""

from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from curation.audit.reviews import batch_files, elsewhere, own_decisions
from curation.audit.reviews.answers_file import read_answers
from curation.audit.reviews.consensus import on_current_labels
from curation.audit.reviews.elsewhere import Taken, read_elsewhere
from curation.audit.reviews.given_labels import given_rows
from curation.audit.reviews.own_decisions import Decision, FoundDecisions, is_own, read_decisions
from curation.audit.reviews.reconcile import Reconciled, reconcile, reconcile_all
from curation.ledger import people
from curation.ledger.batch import said
from curation.ledger.verdicts import Queue, Verdict, checked_row
from curation.project import Project

SUFFIXES = (*elsewhere.SUFFIXES, *own_decisions.SUFFIXES)
VIEW = "brought back from a file"
NO_CLASS, UNSURE = "no class fits", "can't tell"


@dataclass(frozen=True, kw_only=True, slots=True)
class Brought:
    """What a file says, against what is here."""

    verdicts: list[Verdict]
    """The new ones, oldest first."""
    decisions: list[Decision]
    authors: list[str]
    """Of all that can be taken, the known ones too; sorted."""
    against: dict[tuple[str, str], str]
    """(sample, author) of a new one -> who says otherwise, here or in the file, and what, such as 'bob: cat'."""
    refused: list[str] = field(default_factory=list)
    """A line an answer that cannot be taken."""
    num_unknown: int = 0
    """Of these, those on what is no training sample here."""
    num_same: int = 0
    num_older: int = 0
    """Than what the same person said of the sample since; of a decision, than what anybody decided or undid."""
    num_unchanged: int = 0
    """Labels as they are, that nobody is known to have looked at."""

    @property
    def num_new(self) -> int:
        return len(self.verdicts) + len(self.decisions)

    @property
    def new_authors(self) -> set[str]:
        """Of what is new, as it will be written."""
        return {said(who)["who"] for who in ([one.who for one in self.verdicts] + [one.who for one in self.decisions])}


@dataclass(frozen=True, kw_only=True, slots=True)
class Recorded:
    """What bringing them back did."""

    num_verdicts: int
    num_decisions: int
    labels: Reconciled
    """What the verdicts did to the labels."""


def read_back(project: Project, path: Path, *, who: str, audit: str, run: str = "",
              queue: str | None = None, usual: Queue | None = None) -> Brought:
    """What a file of Label Studio, FiftyOne or CVAT, a CSV of answers or an export of corrected labels brings. Writes
    nothing.

    who: where the file does not say; audit: that verdicts go to; queue: of a CSV that names none; usual: where that is
    not said either. Raises AuditError for what is no such file, and for a CSV with a row that cannot be taken.
    """
    if path.suffix.lower() in elsewhere.SUFFIXES:
        return _news(project, read_elsewhere(project, path, who=who, run=run, audit=audit), is_any_audit=True)
    if is_own(path):
        return _brought_decisions(read_decisions(project, path, who))
    log = project.verdicts()
    drawn = cache(lambda: batch_files.drawn(project.path, audit, log.in_force(audit), log.draws()))
    verdicts = read_answers(project, path, queue=queue, who=who, run=run, audit=audit, drawn=drawn,
                            usual=usual)
    return _news(project, Taken(verdicts=verdicts), is_any_audit=False)


def take(project: Project, brought: Brought) -> Recorded:
    """Record what is new, each in its author's name, and bring the labels in line. Done again it adds nothing. Raises
    LedgerError, RoleError."""
    reconcile_all(project)  # what an earlier program was stopped before
    with people.bringing_back(brought.new_authors):
        labels = _take_verdicts(project, brought.verdicts)
        _take_decisions(project, brought.decisions)
    return Recorded(num_verdicts=len(brought.verdicts), num_decisions=len(brought.decisions), labels=labels)


def says(verdict: Verdict, classes: tuple[str, ...]) -> str:
    """What a verdict means for the sample: a class, NO_CLASS or UNSURE."""
    return _meaning(verdict.verdict, checked_row(verdict, classes)["label"])


def _meaning(verdict: str, label: object) -> str:
    return UNSURE if verdict == "unsure" else NO_CLASS if not isinstance(label, str) else label


# -- verdicts


class _Said(NamedTuple):
    """The newest word of a person on a sample; meaning None: they took back what they had said."""

    at: str
    given: str
    meaning: str | None


def _news(project: Project, taken: Taken, is_any_audit: bool) -> Brought:
    """The verdicts that the log does not know. is_any_audit: whether the same answer in another audit is the same."""
    rows = project.verdicts().rows()
    rows = rows[rows["sample_id"].isin({verdict.sample_id for verdict in taken.verdicts})]
    newest, keys = _newest(rows, is_any_audit), set(rows["key"].dropna())
    new, num = list[Verdict](), Counter[str]()
    for verdict in taken.verdicts:
        question = (verdict.queue, said(verdict.who)["who"], verdict.sample_id, "" if is_any_audit else verdict.audit)
        one = _Said(verdict.at or said(verdict.who)["at"], verdict.given_label, says(verdict, project.classes))
        before = newest.get(question)
        if verdict.key in keys or (before is not None and before[1:] == one[1:]):
            num["same"] += 1
        elif before is not None and before.at > one.at:
            num["older"] += 1
        else:
            new.append(verdict)
            newest[question] = one
    return Brought(verdicts=new, decisions=[], authors=sorted({verdict.who for verdict in taken.verdicts}),
                   against=_against(project, rows, new), refused=taken.refused, num_unknown=taken.num_unknown,
                   num_same=num["same"], num_older=num["older"], num_unchanged=taken.num_unchanged)


def _newest(rows: pd.DataFrame, is_any_audit: bool) -> dict[tuple[str, str, str, str], _Said]:
    """(queue, person, sample, audit or "") -> their newest word. rows: of the log, oldest first."""
    found: dict[tuple[str, str, str, str], _Said] = {}
    who_of = dict(zip(rows["verdict_id"], rows["who"], strict=True))
    for row in rows.to_dict("records"):
        is_back = pd.notna(row["retracts"])
        who = who_of.get(int(row["retracts"]), row["who"]) if is_back else row["who"]
        question = (row["queue"], who, row["sample_id"], "" if is_any_audit else row["audit"])
        found[question] = _Said(row["at"], row["given_label"],
                                None if is_back else _meaning(row["verdict"], row["label"]))
    return found


def _against(project: Project, rows: pd.DataFrame, new: list[Verdict]) -> dict[tuple[str, str], str]:
    """The new verdicts on samples of which another person means another class, by a verdict in force here or in the
    file, or by a decision in force. rows: of the log, on these samples."""
    voices: dict[str, dict[str, str]] = {verdict.sample_id: {} for verdict in new}
    for row in project.ledger().corrections().to_dict("records"):
        if row["sample_id"] in voices:
            voices[row["sample_id"]][row["who"]] = row["label"]
    told = rows[rows["retracts"].isna() & ~rows["verdict_id"].isin(rows["retracts"].dropna())]
    told = on_current_labels(told, given_rows(project, list(voices)))
    for row in told.to_dict("records"):
        if row["sample_id"] in voices:
            voices[row["sample_id"]][row["who"]] = _meaning(row["verdict"], row["label"])
    for verdict in new:
        voices[verdict.sample_id][said(verdict.who)["who"]] = says(verdict, project.classes)
    found = {}
    for verdict in new:
        one = says(verdict, project.classes)
        others = [f"{who}: {other}" for who, other in voices[verdict.sample_id].items()
                  if UNSURE not in (one, other) and other != one and who != said(verdict.who)["who"]]
        if others:
            found[verdict.sample_id, verdict.who] = ", ".join(others)
    return found


def _take_verdicts(project: Project, verdicts: list[Verdict]) -> Reconciled:
    log = project.verdicts()
    log.add(verdicts)
    who_of = {verdict.sample_id: verdict.who for verdict in verdicts}
    return reconcile(project, project.ledger(), list(who_of), log.in_force(), who_of)


# -- decisions


def _brought_decisions(found: FoundDecisions) -> Brought:
    return Brought(verdicts=[], decisions=found.decisions, authors=sorted({one.who for one in found.decisions}),
                   against=found.against, refused=found.refused, num_unknown=found.num_unknown,
                   num_same=found.num_same, num_older=found.num_older, num_unchanged=found.num_unchanged)


def _take_decisions(project: Project, decisions: Collection[Decision]) -> None:
    """One batch for all samples that one person decided alike for one reason."""
    ledger = project.ledger()
    acts: dict[tuple[str | None, str, str], list[str]] = {}
    for one in decisions:
        acts.setdefault((one.label, one.who, one.why), []).append(one.sample_id)
    for (label, who, why), ids in acts.items():
        act: Callable[..., int] = ledger.exclude if label is None else ledger.relabel
        act(ids, *([] if label is None else [label]), who=who, why=why, view=VIEW)
