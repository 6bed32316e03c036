"""What the Audit page's sections share: the audit at hand, and its tables, made once for as long as nothing changes.

Everything large is kept by what it is made of, never by a frame. An answer changes the verdicts alone: neither evidence
nor probabilities are worked out anew for it. Draws nothing.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd
import streamlit as st

from curation.audit.estimate import noise_rate, sampling_plan
from curation.audit.estimate.goal import TARGET, Goal, GoalError, goal_of, new_goal
from curation.audit.estimate.looks import Progress, progress
from curation.audit.reviews import batch_files, queues
from curation.audit.reviews.known_labels import decided_labels
from curation.audit.reviews.random_queue import random_verdicts
from curation.audit.reviews.reconcile import reconcile_all
from curation.audit.suspects import duplicates, scores
from curation.audit.suspects.matrix import ModelMatrix, model_matrix
from curation.audit.suspects.scores import Scores
from curation.ledger.newest import Newest
from curation.project import Project
from curation.samples.frames import SampleTable
from curation.views import scored
from curation.views.scored import Key
from curation.views.widgets import state
from engine.contract.manifest import MANIFEST_NAME
from engine.contract.run_dir import RunDir
from engine.contract.stamps import Stamp, stamp_of

DEFAULT_NAME = "audit"
MAX_GOLD = 20_000
_CAUGHT_UP_KEY = "audit.caught_up"


@dataclass(frozen=True, slots=True)
class Audit:
    """One audit of one run of a project, as it is when the page is drawn."""

    project: Project
    run: RunDir
    name: str
    verdicts: pd.DataFrame
    """Those in force of this audit, oldest first, whatever label they were about. Read-only."""
    revision: Newest
    """The newest verdict that they are of."""
    draws: Newest
    """The newest draw of the random queues."""

    @property
    def path(self) -> str:
        return str(self.project.path)

    @property
    def table(self) -> SampleTable:
        """state.samples_cached. Not needed for an answer, which is why it is not read before."""
        return state.samples_cached(self.project, self.run)


def audit_of(project: Project, run: RunDir, name: str) -> Audit:
    """The audit as it is now; opened for the first time in a session, labels are brought in line with its verdicts."""
    reconcile_once(project, "opened")
    newest = project.newest
    return Audit(project=project, run=run, name=name, revision=newest.verdicts, draws=newest.draws,
                 verdicts=_verdicts(str(project.path), name, newest.verdicts, project))


def reconcile_once(project: Project, occasion: str) -> None:
    """Once a session and occasion, do what a process left undone that was killed between an answer and its label."""
    past: set[str] = st.session_state.setdefault(f"{_CAUGHT_UP_KEY}/{project.path}", set())
    if occasion not in past:
        past.add(occasion)
        reconcile_all(project)


@st.cache_resource(max_entries=8, show_spinner=False)
def _verdicts(path: str, name: str, revision: Newest, _project: Project) -> pd.DataFrame:
    rows = scored.verdicts_of_all(_project, revision)
    return rows[rows["audit"] == name].reset_index(drop=True)


def names(project: Project) -> list[str]:
    """Audits of the project, the one with the newest verdict first; DEFAULT_NAME where there is none."""
    rows = scored.verdicts_of_all(project, project.newest.verdicts)
    said = list(dict.fromkeys(reversed(rows["audit"].tolist())))
    found = [*said, *(name for name in sampling_plan.list_plans(project.path) if name not in said)]
    return found or [DEFAULT_NAME]


def current_verdicts_of_all(audit: Audit) -> pd.DataFrame:
    """Verdicts in force of every audit of the project on labels as they are now, oldest first. Read-only."""
    return scored.current_verdicts(audit.project, audit.revision)


def current_verdicts(audit: Audit) -> pd.DataFrame:
    """current_verdicts_of_all of this audit alone: what is to be judged again is not in it."""
    rows = current_verdicts_of_all(audit)
    return rows[rows["audit"] == audit.name].reset_index(drop=True)


def disputes_of(audit: Audit) -> list[str]:
    """sample_ids on which people disagree, in whatever audits, or within this one's random queue."""
    return queues.disputes(current_verdicts_of_all(audit), audit.name)


def to_settle(audit: Audit) -> list[str]:
    """Those of disputes_of that the person at the page has not judged."""
    return queues.adjudication_rows(current_verdicts_of_all(audit), state.user_name(), audit.name)


def drawn(audit: Audit) -> set[str]:
    """What the random queues of all audits have drawn so far: nothing shown may tell the model's opinion of it. Raises
    BatchError where that cannot be known."""
    files = batch_files.estimate_files(audit.project.path)
    return _drawn(audit.path, stamp_of(*files), audit.revision, audit.draws, audit.project)


@st.cache_resource(max_entries=4, show_spinner=False)
def _drawn(path: str, files: Stamp, revision: Newest, draws: Newest, _project: Project) -> set[str]:
    known = _project.verdicts().draws()
    return batch_files.drawn_by_all(_project.path, scored.verdicts_of_all(_project, revision), known)


def ended(audit: Audit) -> set[str]:
    """Samples that Find asks this person about no longer: judged by them in whatever audit, or known to all."""
    decided, said = decided_labels(audit.project), current_verdicts_of_all(audit)
    own = said.loc[said["who"].eq(state.user_name()), "sample_id"]
    return {*own, *decided.loc[decided["is_known"] | decided["is_excluded"], "sample_id"]}


def plan_of(audit: Audit) -> sampling_plan.Plan | None:
    """The plan of the audit's estimate. Read-only."""
    file = sampling_plan.folder(audit.project.path, audit.name) / sampling_plan.PLAN_FILE
    return _plan(stamp_of(file), audit.project, audit.name) if file.exists() else None


@st.cache_resource(max_entries=3, show_spinner="Reading the plan ...")
def _plan(stamp: Stamp, _project: Project, name: str) -> sampling_plan.Plan | None:
    return sampling_plan.load_plan(_project.path, name)


# -- scores


def scores_now(audit: Audit) -> Scores:
    """Scores calibrated on all verdicts, under the decisions in force: of each batch, not of each answer. Read-only."""
    table = audit.table
    return scored.scores_cached(audit.project, audit.run, table, audit.revision, table.revision)


def num_dual(audit: Audit) -> int:
    """Labels whose truth is known besides the verdicts."""
    return _num_dual(audit.path, stamp_of(audit.project.path / MANIFEST_NAME), audit)


@st.cache_data(max_entries=8, show_spinner=False)
def _num_dual(path: str, stamp: Stamp, _audit: Audit) -> int:
    return len(scores.dual_labels(_audit.table))


def model_of(audit: Audit) -> ModelMatrix:
    """What the model expects of given and true labels. Read-only."""
    key = scored.run_key(audit.project, audit.run)
    return _model(key, audit.revision, audit.table.revision, scores_now(audit))


@st.cache_resource(max_entries=3, show_spinner=False)
def _model(key: Key, revision: Newest, decisions: str, _scores: Scores) -> ModelMatrix:
    return model_matrix(_scores.given, _scores.p_wrong, _scores.suggested, _scores.confidence, len(_scores.classes),
                        is_active=_scores.is_active)


def gold_ids(audit: Audit) -> np.ndarray:
    """(G,) ids of samples whose true class is known beside the given one, of MAX_GOLD at most, evenly drawn."""
    table = audit.table
    if "clean_label" not in table:
        return np.empty(0, dtype=object)
    rows = np.flatnonzero(~table["clean_label"].is_null & ~table["given_label"].is_null)
    return np.array(table.ids(rows[:: max(1, -(-len(rows) // MAX_GOLD))]), dtype=object)


def rows_of_cell(found: Scores, given: int, true: int, least: float, blind: Collection[str] = ()) -> np.ndarray:
    """Rows given one class whose likeliest other is the other one, p_wrong at least `least`, most certain first; blind
    ones left out."""
    is_in = (found.given == given) & (found.suggested == true) & found.is_active & (found.p_wrong >= least)
    rows = np.flatnonzero(is_in)
    rows = rows[~found.samples.has_ids(blind)[rows]] if blind else rows
    return rows[np.argsort(-found.p_wrong[rows], kind="stable")]


# -- the estimate


@dataclass(frozen=True, slots=True)
class Standing:
    """What the random queue says so far."""

    rate: noise_rate.NoiseRate
    goal: Goal
    progress: Progress


class GoalRead(NamedTuple):
    """What an audit asks for."""

    goal: Goal
    complaint: str
    """Why it is not what was asked for but the default; "" where it is."""


def goal_or_default(audit: Audit) -> GoalRead:
    """What was asked for; the default, and why, where that cannot be read."""
    try:
        return GoalRead(goal_of(audit.project.path, audit.name), "")
    except GoalError as error:
        return GoalRead(new_goal(TARGET), str(error))


def standing_of(audit: Audit) -> Standing | None:
    """None before there is a plan."""
    plan = plan_of(audit)
    if plan is None:
        return None
    goal = goal_or_default(audit).goal
    return _standing(audit.path, audit.name, plan.created, audit.revision, goal, plan, audit.verdicts)


@st.cache_resource(max_entries=4, show_spinner="Estimating ...")
def _standing(path: str, name: str, created: float, revision: Newest, goal: Goal, _plan: sampling_plan.Plan,
              _verdicts: pd.DataFrame) -> Standing:
    answered = random_verdicts(_verdicts, _plan)
    return Standing(rate=noise_rate.estimate(_plan, answered), goal=goal, progress=progress(_plan, answered, goal))


# -- near-duplicates


def duplicates_of(audit: Audit) -> tuple[duplicates.Duplicates, np.ndarray] | None:
    """(conflicts among the labels in force, blind samples left out; (M,) row of the sample table of each signal row);
    None without neighbours. Read-only."""
    if not audit.run.neighbours_path.exists():
        return None
    return _duplicates(scored.run_key(audit.project, audit.run), audit.table.revision,
                       scored.blind(audit.project).token, audit)


@st.cache_resource(max_entries=2, show_spinner="Looking for near-duplicates ...")
def _duplicates(key: Key, decisions: str, blind: str, _audit: Audit
                ) -> tuple[duplicates.Duplicates, np.ndarray] | None:
    near, table = _audit.run.read_neighbours(), _audit.table
    if near is None:
        return None
    rows = table.frame["signal_row"].to_numpy()
    codes = table["current_label"].codes.into(_audit.project.classes)
    is_out = table["excluded"].flags | table.has_ids(scored.blind(_audit.project).ids)
    labels = np.where(is_out, -1, codes)
    found = duplicates.conflicts(*near, duplicates.in_signal_order(labels, rows, len(near[0])))
    return found, duplicates.in_signal_order(np.arange(len(rows)), rows, len(near[0]))
