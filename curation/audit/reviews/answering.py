"""An answer of a reviewer becomes a verdict in the log and, where that settles it, a decision in the ledger.

One way for app and command line. Chooses no sample (curation.audit.reviews.batches) and weighs no verdicts (resolve).
All of it may be done again: what a program that was killed left undone is done then, and what is done already is not
done twice.
"""

from contextlib import suppress

from curation.audit.reviews.batches import Question, Served
from curation.audit.reviews.given_labels import given_rows
from curation.audit.reviews.resolve import apply_verdicts
from curation.ledger.verdicts import Verdict, VerdictError
from curation.project import Project


def answer(project: Project, served: Served, sample_id: str, verdict: str, *, label: str | None = None,
           seconds: float | None = None, key: str | None = None) -> int:
    """Log the reviewer's verdict on a sample of their batch, in place of an earlier one; its id.

    label: the class chosen, with "other"; key: a UUID of this answer, which counts once however often it comes, also
    when it has been taken back since. Raises VerdictError for what cannot be logged: then nothing is.
    """
    question = _question(project, served, sample_id)
    log = project.verdicts()
    (new_id,) = log.add([Verdict(
        audit=served.audit, queue=served.queue, sample_id=sample_id, verdict=verdict, given_label=question.given_label,
        who=served.reviewer, label=label, suggested_label=question.suggested_label,
        previous_label=_current(project, question), purpose=question.purpose, seconds=seconds, run=served.run,
        model=served.model, p_wrong=question.p_wrong, batch=served.number, key=key)])
    _retract(project, served, [earlier for earlier in _own(project, served, sample_id) if earlier < new_id])
    _apply(project, served, sample_id)
    return new_id


def take_back(project: Project, served: Served, sample_id: str, key: str | None = None) -> bool:
    """Retract the reviewer's answer on a sample of their batch; False where there is none in force.

    key: a UUID of this act, which counts once: sent again it leaves an answer in force that was given after it.
    """
    if not any(question.sample_id == sample_id for question in served.questions):
        raise _no_question(sample_id)
    own = _own(project, served, sample_id)
    _retract(project, served, own, key)
    _apply(project, served, sample_id)
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


def _own(project: Project, served: Served, sample_id: str) -> list[int]:
    """Ids of this reviewer's answers in force to this question, oldest first."""
    rows = project.verdicts().in_force(served.audit, sample_id)
    is_own = rows["who"].eq(served.reviewer) & rows["queue"].eq(served.queue)
    is_own &= rows["batch"].eq(served.number).fillna(False).astype(bool)
    return [int(verdict_id) for verdict_id in rows.loc[is_own, "verdict_id"]]


def _retract(project: Project, served: Served, verdict_ids: list[int], key: str | None = None) -> None:
    """Take back verdicts in force, oldest first. The key goes with the newest, the others being left over from before
    it: so the log knows an act that is done, and one that was killed halfway is not."""
    log = project.verdicts()
    for verdict_id in verdict_ids:
        with suppress(VerdictError):  # another session of theirs took it back since it was seen in force
            log.retract(verdict_id, served.reviewer, key=key if verdict_id == verdict_ids[-1] else None)


def _apply(project: Project, served: Served, sample_id: str) -> None:
    """Bring the ledger in line with this sample's verdicts, again where another reviewer's came meanwhile.

    Whoever wrote last looks last: so that nobody's view of the verdicts that has passed is what stays.
    """
    log = project.verdicts()
    seen, num = -1, len(log.rows(sample_id=sample_id))
    while seen != num:
        seen = num
        apply_verdicts(project, [sample_id], log.in_force(sample_id=sample_id), served.reviewer)
        num = len(log.rows(sample_id=sample_id))


def _current(project: Project, question: Question) -> str:
    """The label in force before the answer."""
    state = project.ledger().state()
    labels = state.loc[state["sample_id"] == question.sample_id, "label"].dropna()
    return str(labels.iloc[0]) if len(labels) else question.given_label
