"""What speaks against labels by a run and its repeats, how probably they are wrong, and of which that may not be shown,
made once for every page.

Kept by what it is made of, never by a frame; shared by all sessions: read-only. A verdict calibrates anew, it gathers
no evidence. Draws nothing.
"""

import hashlib
from dataclasses import dataclass

import numpy as np
import pandas as pd
import streamlit as st

from curation.audit.reviews.batch_files import estimate_files
from curation.audit.reviews.blinding import blind_damage, blind_ids
from curation.audit.reviews.consensus import consensus, on_current_labels
from curation.audit.reviews.given_labels import given_rows
from curation.audit.reviews.promise import MIN_CALIBRATED
from curation.audit.suspects.evidence import Evidence, gather
from curation.audit.suspects.level import Level
from curation.audit.suspects.scores import Scores, calibrated, dual_labels, first_level
from curation.experiments.repeats import repeats_of
from curation.ledger.newest import Newest
from curation.project import Project
from curation.samples.frames import SampleTable
from engine.contract.manifest import MANIFEST_NAME
from engine.contract.run_dir import PROBABILITIES, RunDir
from engine.contract.stamps import Stamp, stamp_of

Key = tuple[str, str, Stamp]
"""Project, run, and the files of the run and its repeats and the manifest: what evidence is made of."""


def run_key(project: Project, run: RunDir) -> Key:
    files = [project.path / MANIFEST_NAME]
    for each in repeats_of(project.path, run):
        files += [each.signals_path, each.neighbours_path, *map(each.probabilities_path, PROBABILITIES)]
    return str(project.path), run.name, stamp_of(*files)


def scores_cached(project: Project, run: RunDir, table: SampleTable, revision: Newest,
                  decisions: str | None) -> Scores:
    """Scores calibrated on the verdicts of all audits. table: state.samples_cached; revision: the newest verdict.

    decisions: its revision; None: under those that were in force when it was first asked for, which is near enough
    where one asks after each decision (only who is a class's own, and who counts as a neighbour, changes).
    """
    key = run_key(project, run)
    evidence, level = _evidence(key, run, project, table)
    return _scores(key, revision, decisions, evidence, level, table, project)


@st.cache_resource(max_entries=2, show_spinner="Gathering what speaks for and against each label ...")
def _evidence(key: Key, _run: RunDir, _project: Project, _table: SampleTable) -> tuple[Evidence, Level]:
    """Decisions taken later change it by so little (whose neighbours are counted) that they do not make it anew."""
    found = gather(_table, repeats_of(_project.path, _run), _project.classes, _run.read_neighbours())
    return found, first_level(_run, _table, found.given)


@st.cache_resource(max_entries=2, show_spinner="Calibrating on the verdicts ...")
def _scores(key: Key, revision: Newest, decisions: str | None, _evidence: Evidence, _level: Level, _table: SampleTable,
            _project: Project) -> Scores:
    """Of every audit's verdicts: what people know of a label does not depend on why they looked."""
    known = consensus(current_verdicts(_project, revision)).reset_index()
    return calibrated(_evidence, _table, _project.classes, known, _level)


def chances(project: Project, run: RunDir, table: SampleTable, rows: np.ndarray, revision: Newest) -> dict[str, str]:
    """sample_id -> chance_words of these rows of the table, blind ones left out; none before MIN_CALIBRATED labels are
    known: a guess is no probability. revision: the newest verdict."""
    if current_verdicts(project, revision)["sample_id"].nunique() + len(dual_labels(table)) < MIN_CALIBRATED:
        return {}  # no evidence is gathered for nothing: at a million samples that takes seconds
    found = scores_cached(project, run, table, revision, None)
    if found.num_calibrated < MIN_CALIBRATED:
        return {}
    hidden, p_wrong = blind(project).ids, found.p_wrong[rows].tolist()
    return {sample_id: chance_words(p) for sample_id, p in zip(found.samples.ids(rows), p_wrong, strict=True)
            if np.isfinite(p) and sample_id not in hidden}


def chance_words(p: float) -> str:
    """'93%'; no certainty."""
    return "over 99%" if p > 0.99 else "under 1%" if p < 0.01 else f"{p:.0%}"


@dataclass(frozen=True, slots=True)
class Blind:
    """curation.audit.reviews.blinding.blind_ids."""

    ids: frozenset[str]
    token: str
    """Names them; "" of none."""
    damage: tuple[str, ...] = ()
    """curation.audit.reviews.blinding.blind_damage."""


def blind(project: Project) -> Blind:
    """The samples of which no page may show the model's opinion now."""
    files, newest = estimate_files(project.path), project.newest
    if not files and not newest.draws.number:
        return Blind(frozenset(), "")
    return _blind(str(project.path), stamp_of(*files), newest.verdicts, newest.draws, project)


@st.cache_resource(max_entries=4, show_spinner=False)
def _blind(path: str, files: Stamp, revision: Newest, draws: Newest, _project: Project) -> Blind:
    ids = blind_ids(_project, verdicts_of_all(_project, revision))
    return Blind(ids, hashlib.sha256("\0".join(sorted(ids)).encode()).hexdigest()[:16] if ids else "",
                 tuple(blind_damage(_project)))


def verdicts_of_all(project: Project, revision: Newest) -> pd.DataFrame:
    """Those in force of every audit of the project, oldest first, whatever label they were about."""
    return _verdicts_of_all(str(project.path), revision, project)


@st.cache_resource(max_entries=4, show_spinner=False)
def _verdicts_of_all(path: str, revision: Newest, _project: Project) -> pd.DataFrame:
    return _project.verdicts().in_force()


def current_verdicts(project: Project, revision: Newest) -> pd.DataFrame:
    """The same on labels as they are now."""
    return _current_verdicts(str(project.path), revision, stamp_of(project.path / MANIFEST_NAME), project)


@st.cache_resource(max_entries=4, show_spinner=False)
def _current_verdicts(path: str, revision: Newest, stamp: Stamp, _project: Project) -> pd.DataFrame:
    rows = verdicts_of_all(_project, revision)
    return on_current_labels(rows, given_rows(_project, rows["sample_id"].unique()))
