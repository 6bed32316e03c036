"""A person says outside an audit's batches that labels are right: verdicts like any other, which calibrate and count.

They go to the audit at hand, so that it asks about these samples no more. How they are undone, own_acts says.
Draws nothing.
"""

import uuid
from collections.abc import Sequence

from curation.audit.estimate.sampling_plan import list_plans
from curation.audit.reviews.consensus import consensus, on_current_labels
from curation.audit.reviews.given_labels import given_rows
from curation.audit.reviews.reconcile import reconcile
from curation.ledger.batch import LedgerError
from curation.ledger.verdicts import Verdict
from curation.project import Project

FIRST_AUDIT = "audit"
"""Name of the audit where there is none yet."""
CONFIRMED = "confirmed"
"""How the keys of such verdicts begin; the act that several share comes after it."""


def confirm(project: Project, sample_ids: Sequence[str], who: str, run: str = "") -> int:
    """Log that the labels in force of these samples are right; how many. Raises LedgerError, then nothing is logged."""
    rows = given_rows(project, sample_ids)
    known = dict(zip(rows["sample_id"], rows["given_label"], strict=True))
    unknown = [sample_id for sample_id in sample_ids if not isinstance(known.get(sample_id), str)]
    if unknown or not sample_ids:
        raise LedgerError("a label can be called right where there is one; "
                          f"got {unknown[0]!r}, without any; relabel it" if unknown else "got no sample; mark some")
    state = project.ledger().state().set_index("sample_id")["label"].dropna()
    log, act, audit = project.verdicts(), uuid.uuid4().hex, audit_at_hand(project)
    verdicts = []
    for number, sample_id in enumerate(sample_ids):
        given = str(known[sample_id])
        label = str(state.get(sample_id, given))
        verdicts.append(Verdict(
            audit=audit, queue="find", sample_id=sample_id, given_label=given, who=who, run=run,
            verdict="given" if label == given else "other", label=None if label == given else label,
            previous_label=label, key=f"{CONFIRMED}/{act}/{number}"))
    log.add(verdicts)
    reconcile(project, project.ledger(), sample_ids, log.in_force(), who)
    return len(verdicts)


def confirmed_ids(project: Project) -> list[str]:
    """Samples whose given label people agree to be right, in whatever audit or outside of one."""
    verdicts = project.verdicts().in_force()
    found = consensus(on_current_labels(verdicts, given_rows(project, verdicts["sample_id"].unique())))
    return [str(sample_id) for sample_id in found.index[found["is_wrong"].eq(False)]]


def audit_at_hand(project: Project) -> str:
    """The audit of the newest verdict; else one that has a plan; else FIRST_AUDIT."""
    rows = project.verdicts().rows()
    return str(rows["audit"].iloc[-1]) if len(rows) else next(iter(list_plans(project.path)), FIRST_AUDIT)
