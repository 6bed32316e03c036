"""An answer of a reviewer becomes a verdict in the log and, where that settles it, a decision in the ledger.

One way for app and command line. Chooses no sample (curation.audit.reviews.batches) and weighs no verdicts (consensus).
All of it may be done again: what a program that was killed left undone is done then, and what is done already is not
done twice. Log and ledger are opened once an act, and the verdicts on its one sample are read, no others.
"""

from contextlib import suppress

import pandas as pd

from curation.audit.reviews.batches import Question, Served
from curation.audit.reviews.given_labels import given_rows
from curation.audit.reviews.own_acts import restore_replaced
from curation.audit.reviews.reconcile import label_in_force, reconcile
from curation.ledger.ledger import Ledger
from curation.ledger.verdicts import Verdict, VerdictError, VerdictLog, VerdictName, in_force_of
from curation.project import Project


def answer(project: Project, served: Served, sample_id: str, verdict: VerdictName, *, label: str | None = None,
           seconds: float | None = None, key: str | None = None) -> int:
    """Log the reviewer's verdict on a sample of their batch, in place of an earlier one; its id.

    label: the class chosen, with "other"; key: a UUID of this answer, which counts once however often it comes, also
    when it has been taken back since. Raises VerdictError for what cannot be logged: then nothing is.
    """
    question = _question(project, served, sample_id)
    log = project.verdicts()
    with log.held_open():
        ledger = project.ledger()
        (new_id,) = log.add([Verdict(
            audit=served.audit, queue=served.queue, sample_id=sample_id, verdict=verdict, who=served.reviewer,
            given_label=question.given_label, label=label, suggested_label=question.suggested_label,
            previous_label=label_in_force(ledger, sample_id, project.classes) or question.given_label,
            purpose=question.purpose, seconds=seconds, run=served.run, model=served.model, p_wrong=question.p_wrong,
            batch=served.number, key=key)])
        rows = log.rows(sample_id=sample_id)
        if earlier := [verdict_id for verdict_id in _own(rows, served) if verdict_id < new_id]:
            _retract(log, served, earlier)
            rows = log.rows(sample_id=sample_id)
        _reconcile(project, log, ledger, served, sample_id, rows)
    return new_id


def take_back(project: Project, served: Served, sample_id: str, key: str | None = None) -> bool:
    """Retract the reviewer's answer on a sample of their batch, so that the one before it holds again, if there is one;
    False where there is none in force.

    key: a UUID of this act, which counts once: sent again it leaves an answer in force that was given after it.
    """
    if not any(question.sample_id == sample_id for question in served.questions):
        raise _no_question(sample_id)
    log = project.verdicts()
    with log.held_open():
        ledger, rows = project.ledger(), log.rows(sample_id=sample_id)
        if own := _own(rows, served):
            _retract(log, served, own, key)
            restore_replaced(log, sample_id, own)
            rows = log.rows(sample_id=sample_id)
        _reconcile(project, log, ledger, served, sample_id, rows)
    return bool(own)


def _question(project: Project, served: Served, sample_id: str) -> Question:
    """What was asked, if the label that it was about is still the given one."""
    found = next((q for q in served.questions if q.sample_id == sample_id), None)
    if found is None:
        raise _no_question(sample_id)
    rows = given_rows(project, [sample_id])
    if rows.empty or rows["given_label"].iloc[0] != found.given_label:
        now = "is no training sample any longer" if rows.empty else f"is given {rows['given_label'].iloc[0]!r} now"
        raise VerdictError(f"an answer must be about data as it is; {sample_id!r}, shown as given "
                           f"{found.given_label!r}, {now}: it was imported anew; load the page again")
    return found


def _no_question(sample_id: str) -> VerdictError:
    return VerdictError(f"an answer must be about a sample of the batch in hand; got {sample_id!r}; load the page "
                        "again")


def _own(rows: pd.DataFrame, served: Served) -> list[int]:
    """Ids of this reviewer's answers in force to this question, oldest first. rows: all on its sample."""
    said = in_force_of(rows)
    is_own = said["audit"].eq(served.audit) & said["who"].eq(served.reviewer) & said["queue"].eq(served.queue)
    is_own &= said["batch"].eq(served.number).fillna(False).astype(bool)
    return [int(verdict_id) for verdict_id in said.loc[is_own, "verdict_id"]]


def _retract(log: VerdictLog, served: Served, verdict_ids: list[int], key: str | None = None) -> None:
    """Take back verdicts in force, oldest first. The key goes with the newest, the others being left over from before
    it: so the log knows an act that is done, and one that was killed halfway is not."""
    for verdict_id in verdict_ids:
        with suppress(VerdictError):  # another session of theirs took it back since it was seen in force
            log.retract(verdict_id, served.reviewer, key=key if verdict_id == verdict_ids[-1] else None)


def _reconcile(project: Project, log: VerdictLog, ledger: Ledger, served: Served, sample_id: str,
               rows: pd.DataFrame) -> None:
    """Bring the ledger in line with this sample's verdicts, again where another reviewer's came meanwhile: the one who
    wrote last looks last, so that no outdated view of the verdicts stays.

    rows: all on the sample, as they were read last.
    """
    while True:
        reconcile(project, ledger, [sample_id], in_force_of(rows), served.reviewer)
        if log.revision_of(sample_id) == (rows["verdict_id"].iloc[-1] if len(rows) else 0):
            return
        rows = log.rows(sample_id=sample_id)
