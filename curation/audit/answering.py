"""An answer of a reviewer becomes a verdict in the log and, where that settles it, a decision in the ledger.

One way for app and command line. Chooses no sample (curation.audit.batches) and weighs no verdicts (resolve).
"""

from curation.audit.batches import Question, Served
from curation.audit.resolve import apply_verdicts
from curation.audit.verdicts import Verdict, VerdictError
from curation.project import Project


def answer(project: Project, served: Served, sample_id: str, verdict: str, *, label: str | None = None,
           seconds: float | None = None, key: str | None = None) -> int:
    """Log the reviewer's verdict on a sample of their batch, in place of an earlier one; its id.

    label: the class chosen, with "other"; key: a UUID of this answer, which counts once however often it comes. Raises
    VerdictError, or LedgerError where the ledger cannot take what follows from it.
    """
    question = _question(served, sample_id)
    log = project.verdicts()
    (new_id,) = log.add([Verdict(
        audit=served.audit, queue=served.queue, sample_id=sample_id, verdict=verdict, given_label=question.given_label,
        who=served.reviewer, label=label, suggested_label=question.suggested_label,
        previous_label=_current(project, question), purpose=question.purpose, seconds=seconds, run=served.run,
        model=served.model, p_wrong=question.p_wrong, batch=served.number, key=key)])
    _retract_others(project, served, sample_id, keep=new_id)
    _apply(project, served, sample_id)
    return new_id


def take_back(project: Project, served: Served, sample_id: str) -> bool:
    """Retract the reviewer's answer on a sample of their batch; False where there is none in force."""
    _question(served, sample_id)
    is_taken = _retract_others(project, served, sample_id, keep=None)
    _apply(project, served, sample_id)
    return is_taken


def _question(served: Served, sample_id: str) -> Question:
    found = next((q for q in served.questions if q.sample_id == sample_id), None)
    if found is None:
        raise VerdictError(f"an answer must be about a sample of the batch in hand; got {sample_id!r}; load the page "
                           "again")
    return found


def _retract_others(project: Project, served: Served, sample_id: str, keep: int | None) -> bool:
    """Take back this reviewer's other answers to the same question."""
    log = project.verdicts()
    rows = log.in_force(served.audit)
    is_same = rows["sample_id"].eq(sample_id) & rows["who"].eq(served.reviewer) & rows["queue"].eq(served.queue)
    is_same &= rows["batch"].eq(served.number).fillna(False).astype(bool)
    if keep is not None:
        is_same &= rows["verdict_id"] < keep
    for verdict_id in rows.loc[is_same, "verdict_id"].tolist():
        log.retract(verdict_id, served.reviewer)
    return bool(is_same.any())


def _apply(project: Project, served: Served, sample_id: str) -> None:
    apply_verdicts(project, [sample_id], project.verdicts().in_force(), served.reviewer)


def _current(project: Project, question: Question) -> str:
    """The label in force before the answer."""
    state = project.ledger().state()
    labels = state.loc[state["sample_id"] == question.sample_id, "label"].dropna()
    return str(labels.iloc[0]) if len(labels) else question.given_label
