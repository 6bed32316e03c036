"""What a person did last, as one act to be undone and redone as a whole: a decision, or answers.

The labels that an answer sets or takes back follow from the verdicts (reconcile) and are no acts of their own. So a
decision is undone in the ledger; an answer in the log, and then labels are brought in line with what is left. Touches
this person's own acts alone. Of the two records the times say which act is newer. Draws nothing.
"""

from collections.abc import Hashable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, cast

import pandas as pd

from curation.audit.reviews.confirming import CONFIRMED
from curation.audit.reviews.reconcile import reconcile
from curation.ledger.batch import Batch, said
from curation.ledger.verdict_tables import VerdictRow
from curation.ledger.verdicts import PURPOSES, QUEUES, VERDICTS, Verdict, VerdictError, VerdictLog, choice, in_force_of
from curation.project import Project

REDONE = "redo/"
"""How the key of an answer begins that stands in the place of one taken back; the row that took it back follows."""


@dataclass(frozen=True, slots=True)
class OwnAct:
    """A decision or, where there is none, answers."""

    at: str
    """When it was done; of one to redo, when it was undone."""
    batch: Batch | None
    answers: pd.DataFrame
    """Rows of the log: the verdicts of one act, oldest first."""

    @property
    def is_confirmation(self) -> bool:
        """Whether its answers were given outside an audit's batches."""
        return len(self.answers) > 0 and bool(self.answers["act"].str.startswith(CONFIRMED).all())


def to_undo(project: Project, who: str) -> OwnAct | None:
    """This person's newest act in force, None where they have none. Raises LedgerError for a name that is none."""
    who = said(who)["who"]
    batch, log = project.ledger().next_undo(who), project.verdicts()
    if not log.revision:  # no audit yet, as most often: what follows takes a while over no rows, too
        return None if batch is None else OwnAct(batch["at"], batch, pd.DataFrame())
    rows = _answers(log.rows(), who)
    found = _last(rows[rows["taken_back"].isna()], "root")
    if found.empty and batch is None:
        return None
    at = str(found["first_at"].iloc[-1]) if len(found) else ""
    if batch is not None and batch["at"] > at:
        return OwnAct(batch["at"], batch, found.iloc[:0])
    return OwnAct(at, None, found)


def to_redo(project: Project, who: str) -> OwnAct | None:
    """The act that this person undid last, None where there is none or they did another since. Raises LedgerError."""
    who = said(who)["who"]
    redo, rows = project.ledger().next_redo(who), _answers(project.verdicts().rows(), who)
    is_new = ~rows["key"].fillna("").str.startswith(REDONE)
    newest = str(rows.loc[is_new, "at"].max()) if is_new.any() else ""
    back = rows[rows["taken_back"].notna() & ~rows["is_redone"] & ~rows["is_replaced"]]
    found = _last(back, "taken_back")
    at = str(found["taken_back_at"].iloc[-1]) if len(found) else ""
    if at < max(newest, redo.decided):  # they did something anew since
        found, at = found.iloc[:0], ""
    if redo.batch is not None and redo.undone > max(at, newest):
        return OwnAct(redo.undone, redo.batch, found.iloc[:0])
    return OwnAct(at, None, found) if len(found) else None


def undo(project: Project, who: str, why: str = "") -> OwnAct | None:
    """Take back this person's newest act; what it was. Raises LedgerError."""
    act = to_undo(project, who)
    if act is None:
        return None
    if act.batch is not None:
        project.ledger().undo(who, why)
        return act
    log = project.verdicts()
    for verdict_id in act.answers["verdict_id"]:
        with suppress(VerdictError):  # another session of theirs took it back meanwhile
            log.retract(int(verdict_id), who)
    for sample_id, rows in act.answers.groupby("sample_id"):
        restore_replaced(log, str(sample_id), list(rows["verdict_id"]))
    _reconcile(project, act, who)
    return act


def redo(project: Project, who: str, why: str = "") -> OwnAct | None:
    """Bring back the act that this person undid last; what it was. Raises LedgerError."""
    act = to_redo(project, who)
    if act is None:
        return None
    if act.batch is not None:
        project.ledger().redo(who, why)
        return act
    log = project.verdicts()
    for new_id in log.add([_again(cast(VerdictRow, row), int(row["taken_back"]))
                           for row in act.answers.to_dict("records")]):
        _replace_earlier(log, new_id)
    _reconcile(project, act, who)
    return act


# -- answers that stand in the place of another


def restore_replaced(log: VerdictLog, sample_id: str, taken_back: Sequence[int]) -> None:
    """Bring back what these verdicts on a sample, taken back by now, had replaced: their reviewer's answer to the same
    question before. Nothing where there was none, or it is back already."""
    rows = log.rows(sample_id=sample_id)
    told = _answers(rows, str(rows.loc[rows["verdict_id"].isin(taken_back), "who"].iloc[0])) if taken_back else rows
    for row in told[told["verdict_id"].isin(taken_back) & told["taken_back"].notna()].to_dict("records"):
        same = told[_is_same_question(told, row)]
        was = same[(same["verdict_id"] < row["root"]) & (same["taken_back"] > row["root"])].tail(1)
        now = same[same["root"].isin(was["root"])].tail(1)  # the same answer as it was brought back last
        if len(now) and pd.notna(now["taken_back"].iloc[0]):
            log.add([_again(cast(VerdictRow, now.to_dict("records")[0]), int(now["taken_back"].iloc[0]))])


def _replace_earlier(log: VerdictLog, new_id: int) -> None:
    """Take back what is in force of the same reviewer's answers to the same question from before a verdict."""
    rows = log.rows()
    new = rows[rows["verdict_id"].eq(new_id)].to_dict("records")[0]
    if pd.isna(new["batch"]):
        return
    told = in_force_of(rows)
    old = told[_is_same_question(told, new) & told["who"].eq(new["who"]) & told["verdict_id"].lt(new_id)]
    for verdict_id in old["verdict_id"]:
        with suppress(VerdictError):
            log.retract(int(verdict_id), str(new["who"]))


def _is_same_question(rows: pd.DataFrame, row: dict[Hashable, Any]) -> pd.Series:
    """Rows on the same sample of the same batch; none where it was asked outside of one."""
    is_same = rows["batch"].eq(row["batch"]).fillna(False).astype(bool)
    for name in ("audit", "queue", "sample_id"):
        is_same &= rows[name].eq(row[name])
    return is_same


def _reconcile(project: Project, act: OwnAct, who: str) -> None:
    reconcile(project, project.ledger(), list(act.answers["sample_id"].unique()), project.verdicts().in_force(), who)


def _answers(rows: pd.DataFrame, who: str) -> pd.DataFrame:
    """This person's verdicts with their act, `root` and `first_at` (number and time of the verdict that each stands in
    the place of, its own where it was not redone), `taken_back` and `taken_back_at` (row that did; missing where in
    force), is_redone, and is_replaced: another answer of theirs to the same question came before it was taken back."""
    own = rows[rows["who"].eq(who)]
    found, back = own[own["retracts"].isna()].copy(), own[own["retracts"].notna()]
    retracted = dict(zip(back["verdict_id"], back["retracts"].astype("int64"), strict=True))
    keys, root = found["key"].fillna("").astype(str), dict[int, int]()
    for verdict_id, key in zip(found["verdict_id"], keys, strict=True):  # oldest first: what it stands for is known
        root[verdict_id] = root[retracted[int(key.removeprefix(REDONE))]] if key.startswith(REDONE) else verdict_id
    found["root"] = found["verdict_id"].map(root)
    first = found.set_index("verdict_id")
    found["first_at"] = found["root"].map(first["at"])
    key_of_root = found["root"].map(first["key"]).fillna("").astype(str)
    act = key_of_root.str.rpartition("/")[0] if len(found) else key_of_root
    found["act"] = act.where(key_of_root.str.startswith(CONFIRMED), found["root"].astype(str))
    by = back.assign(of=back["retracts"].astype("int64")).set_index("of")
    found["taken_back"] = found["verdict_id"].map(by["verdict_id"])
    found["taken_back_at"] = found["verdict_id"].map(by["at"])
    known = set(keys)
    found["is_redone"] = pd.Series([pd.notna(row) and f"{REDONE}{int(row)}" in known for row in found["taken_back"]],
                                   index=found.index, dtype=bool)
    question = [found[name].astype(str) for name in ("audit", "queue", "batch", "sample_id")]
    later = found.groupby(question)["verdict_id"].shift(-1)
    found["is_replaced"] = later.lt(found["taken_back"]) & found["batch"].notna()
    return found


def _last(rows: pd.DataFrame, by: str) -> pd.DataFrame:
    """The rows of the act that has the greatest number in the column `by`."""
    if rows.empty:
        return rows
    return rows[rows["act"].eq(rows["act"].iloc[int(rows[by].astype("int64").argmax())])]


def _again(row: VerdictRow, taken_back: int) -> Verdict:
    """The verdict of a row that was taken back, once more; its key counts once for that taking back."""
    return Verdict(
        audit=row["audit"], queue=choice("queue", row["queue"], QUEUES), sample_id=row["sample_id"],
        verdict=choice("verdict", row["verdict"], VERDICTS), given_label=row["given_label"], who=row["who"],
        label=row["label"] if row["verdict"] == "other" else None, suggested_label=row["suggested_label"],
        previous_label=row["previous_label"], purpose=choice("purpose", row["purpose"], PURPOSES),
        seconds=row["seconds"], run=row["run"] or "", model=row["model"] or "", p_wrong=row["p_wrong"],
        batch=None if pd.isna(row["batch"]) else int(row["batch"]), key=f"{REDONE}{taken_back}")
