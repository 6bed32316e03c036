"""What is in the queues of the Triage page, made once for as long as nothing changes. Draws nothing.

Kept by the files and the ledger's newest rows; the table is too large to be hashed.
"""

from dataclasses import fields

import numpy as np
import streamlit as st

from curation.audit.reviews.confirming import confirmed_ids
from curation.ledger.newest import Newest
from curation.project import Project
from curation.samples import triage
from curation.samples.frames import SampleTable
from curation.samples.triage import DECIDED, LANES, REST, UNJUDGED, Evidence, Rule
from curation.views import scored
from curation.views.triage.words import Lanes
from curation.views.widgets import state
from engine.contract.live.live_dir import LiveDir
from engine.contract.manifest import MANIFEST_NAME
from engine.contract.run_dir import RunDir
from engine.contract.stamps import Stamp, stamp_of

Key = tuple[str, str, Stamp, Newest]
"""Project, run, their files and the newest verdict: what evidence is made of, without decisions."""
_REVISION_KEY = "triage.chances"


def lanes_cached(project: Project, run: RunDir, table: SampleTable, rule: Rule) -> Lanes:
    """The lanes of a run under a rule and the decisions in force."""
    values = tuple(getattr(rule, field.name) for field in fields(rule))
    return _lanes(_key(project, run), table.revision, values, project, run, table)


def _key(project: Project, run: RunDir) -> Key:
    files = stamp_of(project.path / MANIFEST_NAME, run.signals_path, run.neighbours_path)
    return str(project.path), run.name, files, project.newest.verdicts


@st.cache_resource(max_entries=4, show_spinner=False)
def _lanes(key: Key, revision: str, values: tuple[float, ...], _project: Project, _run: RunDir,
           _table: SampleTable) -> Lanes:
    rule = Rule(**{field.name: value for field, value in zip(fields(Rule), values, strict=True)})
    lane, priority = triage.lanes_of(evidence_cached(_project, _run, _table), rule)
    num_blind = int(((lane == UNJUDGED) & _table.has_ids(scored.blind(_project).ids)).sum())
    queues = tuple(triage.queue(lane, priority, which) for which in range(len(LANES)))
    return Lanes(queues=queues, wrong=tuple(triage.wrong_share(_table, rows) for rows in queues),
                 base=triage.wrong_share(_table, np.arange(len(_table))), num_rest=int((lane == REST).sum()),
                 num_decided=int((lane == DECIDED).sum()), num_blind=num_blind,
                 num_unjudged=int((lane == UNJUDGED).sum()) - num_blind)


def evidence_cached(project: Project, run: RunDir, table: SampleTable) -> Evidence:
    """Evidence of this run under the decisions in force."""
    return _evidence(_key(project, run), table.revision, project, run, table)


@st.cache_resource(max_entries=2, show_spinner=False)
def _evidence(key: Key, revision: str, _project: Project, _run: RunDir, _table: SampleTable) -> Evidence:
    return triage.gather(_table, _neighbours(key[:3], _run), confirmed_ids(_project))


@st.cache_resource(max_entries=1, show_spinner="Reading the neighbours ...")
def _neighbours(key: tuple[str, str, Stamp], _run: RunDir) -> tuple[np.ndarray, np.ndarray] | None:
    return _run.read_neighbours()


def chances(project: Project, run: RunDir, rows: np.ndarray, page: str) -> dict[str, str]:
    """sample_id -> how probably its label is wrong, in words; none before scored.MIN_CALIBRATED labels are known.

    page: names what is on screen; while that is the same the figures do not move with each verdict.
    """
    kept: tuple[str, Newest] | None = st.session_state.get(_REVISION_KEY)
    if kept is None or kept[0] != page:
        kept = st.session_state[_REVISION_KEY] = (page, project.newest.verdicts)
    base = run.base if isinstance(run, LiveDir) else run
    # Evidence is of the run's own files and of all samples, whatever table is on screen.
    return scored.chances(project, base, state.samples_cached(project, base), rows, kept[1])
