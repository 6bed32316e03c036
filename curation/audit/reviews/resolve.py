"""Several verdicts on one sample -> what holds, and the ledger brought in line with it.

What holds is a function of the verdicts in force alone, in whatever steps they came: a label that the audit set goes
back when its verdicts no longer carry it. The audit yields to people: what somebody decided elsewhere after the verdict
stays. Estimates no rate (curation.audit.estimate.noise_rate) and asks nobody (curation.audit.reviews.queues).
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import sqlalchemy as sa

from curation.audit.reviews.given_labels import given_rows
from curation.ledger import tables
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
_NO_CLASS = ""
"""Stands for "no class fits" among outcomes; no class is called so."""
MAX_NAMED = 500
"""Up to so many samples are asked for by name; of more, all entries are read (a million in about a second)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Applied:
    """What apply_verdicts did, in samples."""

    num_relabelled: int
    num_excluded: int
    num_taken_back: int
    """Relabels and exclusions set back. A sample may count in two of the three."""
    kept: tuple[str, ...]
    """Samples whose consensus says otherwise but on which a person decided after the verdicts; sorted."""
    batches: tuple[int, ...]
    """The ledger's batches that were made."""


def of_today(verdicts: pd.DataFrame, rows: pd.DataFrame) -> pd.DataFrame:
    """The verdicts that are about the labels as they are: data imported anew may have corrected them meanwhile.

    verdicts: sample_id and given_label, as it was shown; rows: sample_id, unique, and given_label, as it is (a sample
    table, or the manifest's training rows). What is of another label, or of a sample that is in rows no more, is left
    out. A million rows take a tenth of a second.
    """
    is_judged = rows["sample_id"].isin(verdicts["sample_id"].unique()).to_numpy(dtype=bool)
    found = rows.loc[is_judged, ["sample_id", "given_label"]].astype(object).set_index("sample_id")["given_label"]
    now = verdicts["sample_id"].map(found)
    return verdicts[(now.notna() & now.eq(verdicts["given_label"])).to_numpy(dtype=bool)].reset_index(drop=True)


def consensus(verdicts: pd.DataFrame) -> pd.DataFrame:
    """What several reviewers' verdicts add up to: one row a sample, indexed by sample_id.

    verdicts: rows in force, oldest first (sample_id, who, verdict, label, is_wrong, at); of several by one reviewer the
    last counts. Unsure ones abstain. state: "agreed" where more than half of the others mean the same class (or, for
    neither, no class), "disputed" where no outcome has that, "unsure" where nobody said anything else. is_wrong (True,
    False, None) by the same majority of its own: it may be known while the class is disputed. label: the class meant
    where state is agreed; None for neither, too. num_reviewers: all, unsure ones too. at: time of the newest verdict
    that says what is agreed; where nothing is, of the newest that is not unsure, if there is any.
    """
    last = verdicts.drop_duplicates(["sample_id", "who"], keep="last")
    codes, ids = pd.factorize(last["sample_id"])
    num = np.bincount(codes, minlength=len(ids))
    is_sure = last["is_wrong"].notna().to_numpy()
    outcome = np.where(last["label"].isna(), _NO_CLASS, last["label"]).astype(object)
    num_sure = np.bincount(codes[is_sure], minlength=len(ids))
    label = _majority(codes[is_sure], outcome[is_sure], num_sure)
    is_wrong = _majority(codes[is_sure], last["is_wrong"].to_numpy(dtype=object)[is_sure], num_sure)
    is_agreed = np.array([name is not None for name in label], dtype=bool)
    state = np.where(num_sure == 0, "unsure", np.where(is_agreed, "agreed", "disputed")).astype(object)
    is_heard = np.where(is_agreed[codes], is_sure & (outcome == label[codes]), is_sure | (num_sure == 0)[codes])
    heard = last[is_heard.astype(bool)].drop_duplicates("sample_id", keep="last").set_index("sample_id")
    at = heard["at"].reindex(ids).to_numpy(dtype=object)
    label[label == _NO_CLASS] = None
    columns = {"is_wrong": is_wrong, "label": label, "num_reviewers": num, "state": state, "at": at}
    return pd.DataFrame({name: pd.Series(cells, index=pd.Index(ids, name="sample_id", dtype=object),
                                         dtype="int64" if name == "num_reviewers" else object)
                         for name, cells in columns.items()})


@dataclass(slots=True)
class _Standing:
    """Where the ledger stands on one sample and kind. Values: a class or "excluded"; None: as the data came."""

    value: str | None = None
    """What is in force."""
    at: pd.Timestamp | None = None
    """When a person decided that, outside the audit; None where the audit did, or nobody."""
    outside: str | None = None
    """What would be in force without the audit's decisions."""
    refused: dict[str | None, pd.Timestamp] = field(default_factory=dict)
    """The audit's decisions that somebody undid: value -> when."""


@dataclass(frozen=True, slots=True)
class _Consensus:
    is_wrong: bool
    label: str | None
    at: pd.Timestamp


@dataclass(frozen=True, slots=True)
class _Act:
    """One change of the ledger; samples with equal ones share a batch."""

    kind: str
    value: str | None
    why: str


def apply_verdicts(project: Project, sample_ids: Collection[str], verdicts: pd.DataFrame, who: str) -> Applied:
    """Bring relabels and exclusions of these samples in line with the consensus; one batch a target, only differences.

    verdicts: in force, of every audit (VerdictLog.in_force()): a sample without any is one whose verdict was taken
    back. Those on a label that the data has corrected since count as none. Agreed that another class is right:
    relabelled. Agreed that none fits: excluded. Agreed that the given one is right: an earlier relabel goes back.
    Disputed, unsure or taken back: the audit's own decision goes back to what stood without it. Never touched: what a
    person decided outside the audit after the verdicts that agree; nor is a decision of the audit repeated that
    somebody undid after them; nor a sample that is there no more. Run again it does nothing. Raises LedgerError for a
    bad `who`.
    """
    ids = list({str(sample_id) for sample_id in sample_ids})
    return _bring(project, ids, verdicts, dict.fromkeys(ids, who))


def catch_up(project: Project) -> None:
    """apply_verdicts to all that was ever judged: what a program that was killed left undone, each in the name of
    whoever spoke last of the sample.

    Left alone are those, too, of which all verdicts are on labels that the data has corrected since. Reads every
    verdict: for when an audit is opened, not for every answer.
    """
    log = project.verdicts()
    has_changed, revision = True, -1
    while has_changed and revision != log.revision:  # who wrote last looks last: answers may have come meanwhile
        rows = log.rows()
        revision = int(rows["verdict_id"].max()) if len(rows) else 0
        rows = of_today(rows, given_rows(project, rows["sample_id"].unique()))
        last = rows.drop_duplicates("sample_id", keep="last")
        who_of = dict(zip(last["sample_id"], last["who"], strict=True))
        has_changed = bool(_bring(project, list(who_of), log.in_force(), who_of).batches)


def _bring(project: Project, ids: list[str], verdicts: pd.DataFrame, who_of: Mapping[str, str]) -> Applied:
    """apply_verdicts with a name for each sample."""
    rows = given_rows(project, ids)
    ids, verdicts = sorted(rows["sample_id"]), of_today(verdicts, rows)
    found = _agreed(verdicts, project.classes)
    ledger = project.ledger()
    standing = _standing(project.database, ids, project.classes)
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
    return Applied(num_relabelled=num[WHY_LABEL], num_excluded=num[WHY_EXCLUDED],
                   num_taken_back=num[WHY_GIVEN] + num[WHY_BACK], kept=tuple(sorted(kept)), batches=tuple(batches))


def _agreed(verdicts: pd.DataFrame, classes: Sequence[str]) -> dict[str, _Consensus]:
    """The samples on which there is agreement, but for agreement on a class that the data has no more."""
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


def _standing(database: str, ids: list[str], classes: Sequence[str]) -> dict[tuple[str, str], _Standing]:
    """(sample_id, kind) -> where the ledger stands, of those samples that any decision of KINDS touched.

    A label that is no class (any longer) is none, as in curation.ledger.replay. Reads the batches, of which there are
    few, and these samples' entries alone: nothing is replayed.
    """
    with tables.transaction(tables.engine_of(database)) as connection:
        batches = tables.batches_of(connection)
        entries = _entries(connection, ids, batches.loc[batches["kind"].isin(KINDS), "batch_id"].tolist())
    line = timeline(batches)
    active = set(line.active)
    time_of = dict(zip(batches["batch_id"], pd.to_datetime(batches["at"], utc=True, format="ISO8601"), strict=True))
    columns = ["batch_id", "kind", "value", "origin"]
    rows = {row[0]: row[1:] for row in batches[columns].itertuples(index=False, name=None)}
    found: dict[tuple[str, str], _Standing] = {}
    for batch_id, sample_id in entries:
        kind, value, origin = rows[batch_id]
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


def _entries(connection: sa.Connection, ids: list[str], batch_ids: list[int]) -> list[tuple[int, str]]:
    """(batch_id, sample_id) of every entry of these batches on these samples, oldest first."""
    if len(ids) > MAX_NAMED:
        found, sample_ids = tables.entries_of(connection, batch_ids)
        is_asked = pd.Series(sample_ids, dtype=object).isin(ids).to_numpy()
        return list(zip(found[is_asked].tolist(), sample_ids[is_asked], strict=True))
    query = sa.select(tables.ENTRIES.c.batch_id, tables.ENTRIES.c.sample_id).order_by(tables.ENTRIES.c.batch_id)
    rows = connection.execute(query.where(tables.ENTRIES.c.sample_id.in_(ids)))
    wanted = set(batch_ids)
    return [(int(row[0]), str(row[1])) for row in rows if row[0] in wanted]


def _majority(codes: np.ndarray, outcome: np.ndarray, num: np.ndarray) -> np.ndarray:
    """(S,) object: each sample's outcome with more than half of its num (S,) votes, None where none has.

    codes, outcome: (V,) sample and outcome of each vote.
    """
    winner = np.full(len(num), None, dtype=object)
    votes = pd.Series(1, index=pd.MultiIndex.from_arrays([codes, outcome])).groupby(level=[0, 1]).size()
    samples = votes.index.get_level_values(0).to_numpy(dtype=np.int64)
    has_won = 2 * votes.to_numpy() > num[samples]
    winner[samples[has_won]] = votes.index.get_level_values(1).to_numpy(dtype=object)[has_won]
    return winner
