"""The ledger brought in line with what the verdicts of all audits add up to (curation.audit.reviews.consensus).

A label that the audit set goes back when its verdicts no longer carry it. The audit yields to people: what a person
decided elsewhere after the verdict stays. Weighs no verdicts, estimates no rate and asks for none.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import pandas as pd

from curation.audit.reviews.consensus import consensus, on_current_labels
from curation.audit.reviews.given_labels import given_rows
from curation.ledger.ledger import Ledger
from curation.ledger.replay import EXCLUSIONS, timeline
from curation.project import Project

VIEW = "audit"
"""The view of the audit's own batches, as people read it."""
WHY_LABEL = "audit: the given label is wrong"
WHY_GIVEN = "audit: the given label is right"
WHY_EXCLUDED = "audit: no class fits"
WHY_BACK = "audit: its verdicts no longer say so"
KINDS = ("relabel", "exclude")
"""The kinds of decision that an audit takes."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Reconciled:
    """What reconcile did, in samples."""

    num_relabelled: int
    num_excluded: int
    num_taken_back: int
    """Relabels and exclusions set back. A sample may count in two of the three."""
    kept: tuple[str, ...]
    """Samples whose consensus says otherwise but on which a person decided after the verdicts; sorted."""
    batches: tuple[int, ...]
    """The ledger's batches that were made."""


@dataclass(slots=True)
class _Standing:
    """Where the ledger stands on one sample and kind. Values: a class or "excluded"; None: as the data came."""

    value: str | None = None
    """What is in force."""
    at: pd.Timestamp | None = None
    """When a person decided that, outside the audit; None otherwise."""
    outside: str | None = None
    """What would be in force without the audit's decisions."""
    refused: dict[str | None, pd.Timestamp] = field(default_factory=dict)
    """The audit's decisions that a person undid: value -> when."""


@dataclass(frozen=True, slots=True)
class _Consensus:
    """What the reviewers of one sample agree on, since when."""

    is_wrong: bool
    label: str | None
    at: pd.Timestamp


@dataclass(frozen=True, slots=True)
class _Act:
    """One change of the ledger; samples with equal ones share a batch."""

    kind: str
    value: str | None
    why: str


def reconcile(project: Project, ledger: Ledger, sample_ids: Collection[str], verdicts: pd.DataFrame,
              who: str | Mapping[str, str]) -> Reconciled:
    """Bring relabels and exclusions of these samples in line with the consensus; one batch a target, only differences.

    verdicts: in force, of every audit (VerdictLog.in_force()): a sample without any is one whose verdict was taken
    back. Those on a label that the data has corrected since count as none. Agreed that another class is right:
    relabelled. Agreed that none fits: excluded. Agreed that the given one is right: an earlier relabel goes back.
    Disputed, unsure or taken back: the audit's own decision goes back to what stood without it. Never touched: what a
    person decided outside the audit after the verdicts that agree; nor is a decision of the audit repeated that a
    person undid after them; nor a sample that is there no more. Run again it does nothing. who: in whose name, of all
    or of each sample. Raises LedgerError for a bad `who`.
    """
    ids = list({str(sample_id) for sample_id in sample_ids})
    return _reconcile(project, ledger, ids, verdicts, dict.fromkeys(ids, who) if isinstance(who, str) else who)


def reconcile_all(project: Project) -> None:
    """Reconcile all samples that were ever judged: what a program that was killed left undone, each in the name of the
    reviewer who spoke last of it.

    Samples all of whose verdicts are on labels that the data has corrected since are left alone. Reads every verdict:
    for when an audit is opened, not for every answer.
    """
    log, ledger = project.verdicts(), project.ledger()
    has_changed, revision = True, -1
    while has_changed and revision != log.revision:  # who wrote last looks last: answers may have come meanwhile
        rows = log.rows()
        revision = int(rows["verdict_id"].max()) if len(rows) else 0
        rows = on_current_labels(rows, given_rows(project, rows["sample_id"].unique()))
        last = rows.drop_duplicates("sample_id", keep="last")
        who_of = dict(zip(last["sample_id"], last["who"], strict=True))
        has_changed = bool(_reconcile(project, ledger, list(who_of), log.in_force(), who_of).batches)


def label_in_force(ledger: Ledger, sample_id: str, classes: Sequence[str]) -> str | None:
    """The class that decisions give a sample; None: none, so the given label holds."""
    standing = _standing(ledger, [sample_id], classes).get((sample_id, "relabel"))
    return None if standing is None else standing.value


def _reconcile(project: Project, ledger: Ledger, ids: list[str], verdicts: pd.DataFrame,
               who_of: Mapping[str, str]) -> Reconciled:
    """reconcile with a name for each sample."""
    rows = given_rows(project, ids)
    ids, verdicts = sorted(rows["sample_id"]), on_current_labels(verdicts, rows)
    found = _agreed(verdicts, project.classes)
    standing = _standing(ledger, ids, project.classes)
    todo: dict[tuple[_Act, str], list[str]] = {}
    kept = set()
    for sample_id in ids:
        for kind in KINDS:
            act, is_kept = _act(kind, standing.get((sample_id, kind), _Standing()), found.get(sample_id))
            if is_kept:
                kept.add(sample_id)
            elif act is not None:
                todo.setdefault((act, who_of[sample_id]), []).append(sample_id)
    runs = verdicts.drop_duplicates("sample_id", keep="last").set_index("sample_id")["run"]
    batches = [_decide(ledger, act, samples, who, runs) for (act, who), samples in todo.items()]
    num = {why: sum(len(samples) for (act, _), samples in todo.items() if act.why == why)
           for why in (WHY_LABEL, WHY_EXCLUDED, WHY_GIVEN, WHY_BACK)}
    return Reconciled(num_relabelled=num[WHY_LABEL], num_excluded=num[WHY_EXCLUDED],
                   num_taken_back=num[WHY_GIVEN] + num[WHY_BACK], kept=tuple(sorted(kept)), batches=tuple(batches))


def _agreed(verdicts: pd.DataFrame, classes: Sequence[str]) -> dict[str, _Consensus]:
    """The samples on which there is agreement, except on a class that the data has no more."""
    rows = consensus(verdicts)
    rows = rows[rows["state"].eq("agreed") & (rows["label"].isna() | rows["label"].isin(classes))]
    times = pd.to_datetime(rows["at"], utc=True, format="ISO8601")
    return {sample_id: _Consensus(is_wrong, label, at) for sample_id, is_wrong, label, at
            in zip(rows.index, rows["is_wrong"], rows["label"], times, strict=True)}


def _act(kind: str, standing: _Standing, found: _Consensus | None) -> tuple[_Act | None, bool]:
    """(what brings one sample and kind in line, None where it is; whether a person's later word stands against it)."""
    wish = None if found is None else _wish(kind, found)
    act = wish or _Act(kind, standing.outside, WHY_BACK)
    if act.value == standing.value:
        return None, False
    objections = [at for at in (standing.at, standing.refused.get(act.value)) if at is not None]
    is_kept = wish is not None and found is not None and any(at >= found.at for at in objections)
    return act, is_kept


def _wish(kind: str, found: _Consensus) -> _Act | None:
    """What a consensus asks of one kind of decision; None: nothing."""
    is_out = found.is_wrong and found.label is None
    if kind == "exclude":
        return _Act(kind, EXCLUSIONS[0], WHY_EXCLUDED) if is_out else None
    if is_out:
        return None
    return _Act(kind, found.label, WHY_LABEL) if found.is_wrong else _Act(kind, None, WHY_GIVEN)


def _decide(ledger: Ledger, act: _Act, sample_ids: list[str], who: str, runs: pd.Series) -> int:
    """Append one batch; it names the run if the verdicts stand on one alone."""
    names = set(runs.reindex(sample_ids).dropna())
    run = names.pop() if len(names) == 1 else ""
    if act.kind == "exclude":
        return ledger.exclude(sample_ids, act.value is not None, who=who, why=act.why, view=VIEW, run=run,
                              origin="audit")
    return ledger.relabel(sample_ids, act.value, who=who, why=act.why, view=VIEW, run=run, origin="audit")


def _standing(ledger: Ledger, ids: Collection[str], classes: Sequence[str]) -> dict[tuple[str, str], _Standing]:
    """(sample_id, kind) -> where the ledger stands, of those samples that any decision of KINDS touched.

    A label that is no class (any longer) is none, as in curation.ledger.replay; a pin is a word against excluding.
    Reads the batches, of which there are few, and these samples' entries alone: nothing is replayed.
    """
    batches, entries = ledger.decisions_on(ids, (*KINDS, "pin"))
    if not entries:
        return {}
    line = timeline(batches)
    active = set(line.active)
    time_of = dict(zip(batches["batch_id"], pd.to_datetime(batches["at"], utc=True, format="ISO8601"), strict=True))
    columns = ["batch_id", "kind", "value", "origin"]
    rows = {row[0]: row[1:] for row in batches[columns].itertuples(index=False, name=None)}
    found: dict[tuple[str, str], _Standing] = {}
    for batch_id, sample_id in entries:
        kind, value, origin = rows[batch_id]
        if kind == "pin":  # takes the sample back in, as curation.ledger.replay has it
            if batch_id not in active or pd.isna(value):
                continue
            kind = "exclude"
        value = value if value in (EXCLUSIONS[:1] if kind == "exclude" else classes) else None
        standing = found.setdefault((sample_id, kind), _Standing())
        if batch_id not in active:
            if origin == "audit":
                standing.refused[value] = time_of[line.latest_change[batch_id]]
            continue
        standing.value = value
        standing.at = None if origin == "audit" else time_of[batch_id]
        standing.outside = standing.outside if origin == "audit" else value
    return found
