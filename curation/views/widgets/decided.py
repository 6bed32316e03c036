"""The ledger's batches and what is in force, read once for all sessions until it has another newest one. Draws nothing.
"""

import pandas as pd
import streamlit as st

from curation.ledger.newest import Newest
from curation.project import Project
from engine.contract.manifest import MANIFEST_NAME
from engine.contract.stamps import Stamp, stamp_of


def batches_cached(project: Project, newest: Newest) -> pd.DataFrame:
    """Ledger.batches() up to this one. Shared by all sessions: read-only."""
    return _batches(str(project.path), newest, project)


@st.cache_resource(max_entries=4, show_spinner=False)
def _batches(path: str, newest: Newest, _project: Project) -> pd.DataFrame:
    rows = _project.ledger().batches()
    return rows[rows["batch_id"] <= newest.number].reset_index(drop=True)


def state_cached(project: Project, newest: Newest) -> pd.DataFrame:
    """Ledger.state() after this one, or one that came while it was read. Shared by all sessions: read-only."""
    return _state(stamp_of(project.path / MANIFEST_NAME), newest, project)


@st.cache_resource(max_entries=4, show_spinner=False)
def _state(manifest: Stamp, newest: Newest, _project: Project) -> pd.DataFrame:
    return _project.ledger().state()
