"""Samples drawn for an estimate stay blind until they are judged: what is shown of one may not tell the model's opinion
of its label, wherever a reviewer may come across it. Which they are, and a table without that opinion.
"""

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import pandas as pd

from curation.audit.estimate.sampling_plan import PlanError, load_plan
from curation.audit.reviews.batch_files import (
    BatchError,
    audits_with_draws,
    drawn,
    lost_draws,
    unreadable_draws,
)
from curation.audit.reviews.random_queue import random_verdicts
from curation.ledger.verdict_tables import Draw
from curation.project import Project
from curation.samples.columns import Column
from curation.samples.frames import SampleTable

OPINION = ("role_reason", "p_train", "p_train_unpinned", "route_share", "weight", "margin", "heldout_margin",
           "mean_margin", "label_quality", "suggested_label", "predicted_label", "loss", "forgetting")
"""Columns of a sample table that tell what a run thinks of a sample's label. Its role does not: hard is not wrong."""
WHY_BLIND = "drawn for an estimate: the model's opinion shows once it is judged."


def blind_ids(project: Project, verdicts: pd.DataFrame) -> frozenset[str]:
    """sample_ids that a random queue has drawn and that are not settled in it: without an answer, or in dispute, which
    a further person is to settle as blindly. verdicts: in force, of every audit.

    Where a batch of older code, which the log knows nothing of, cannot be read any sample of its plan may have been
    drawn in it, so all of them count until they are settled (blind_damage says so); without the plan all samples.
    """
    found: set[str] = set()
    draws = project.verdicts().draws()
    for audit in audits_with_draws(project.path, draws):
        own = verdicts[verdicts["audit"].eq(audit)]
        try:
            asked = drawn(project.path, audit, own, draws)
        except BatchError:
            asked = _may_be_drawn(project, audit)
        found |= asked - _settled(own)
    return frozenset(found)


def _settled(own: pd.DataFrame) -> set[str]:
    """own: verdicts in force of one audit."""
    settled = random_verdicts(own)
    return set(settled.loc[settled["state"].ne("disputed"), "sample_id"])


def _may_be_drawn(project: Project, audit: str) -> set[str]:
    try:
        plan = load_plan(project.path, audit)
    except PlanError:
        plan = None
    return set(map(str, (project.manifest() if plan is None else plan.population)["sample_id"]))


def blind_damage(project: Project) -> list[str]:
    """Why samples are blind that may never have been drawn, and what to do, a line for each batch that cannot be read.
    """
    return [f"{line}; until then the model's opinion of every sample that may have been drawn is hidden"
            for line in unreadable_draws(project.path, project.verdicts().draws())]


@dataclass(frozen=True, kw_only=True, slots=True)
class LostDraw:
    """A batch of a random queue whose file is lost or damaged, and that is known from the log."""

    draw: Draw
    num_lost: int
    """Samples that no batch asks for any longer."""
    num_blind: int
    """Of these, without an answer that settles them."""


def lost_batches(project: Project) -> list[LostDraw]:
    """In the order in which they were drawn."""
    log = project.verdicts()
    verdicts = log.in_force()
    return [LostDraw(draw=draw, num_lost=len(lost),
                     num_blind=len(lost - _settled(verdicts[verdicts["audit"].eq(draw.audit)])))
            for draw, lost in lost_draws(project.path, log.draws())]


def release_lost(project: Project, audit: str, who: str) -> int:
    """Let go of an audit's draws whose file is lost; how many samples are blind no longer, save where another draw has
    them. Raises LedgerError."""
    lost = [each for each in lost_batches(project) if each.draw.audit == audit]
    project.verdicts().release_draws({each.draw.draw_id for each in lost}, who)
    return sum(each.num_blind for each in lost)


def is_blind(rows: pd.DataFrame, blind: Collection[str]) -> np.ndarray:
    """(n,) bool: those of these samples. rows: sample_id."""
    if not blind:
        return np.zeros(len(rows), dtype=bool)
    found: np.ndarray = rows["sample_id"].isin(list(blind)).to_numpy(dtype=bool)
    return found


def hidden_columns(table: SampleTable, blind: Collection[str]) -> dict[str, Column]:
    """The columns of OPINION in the table, null for these samples; none where it has none of them."""
    rows = table.has_ids(blind)
    return {name: table[name].without(rows) for name in OPINION if name in table} if rows.any() else {}


def without_opinion(table: SampleTable, blind: Collection[str]) -> SampleTable:
    """The table with hidden_columns in place of its own."""
    return table.with_changed(hidden_columns(table, blind))


def blind_words(num: int) -> str:
    """'2 are drawn for an estimate: the model's opinion shows once they are judged.', or "" of none.

    >>> blind_words(1)
    "1 is drawn for an estimate: the model's opinion shows once it is judged."
    """
    if not num:
        return ""
    return f"1 is {WHY_BLIND}" if num == 1 else \
        f"{num:,} are drawn for an estimate: the model's opinion shows once they are judged."
