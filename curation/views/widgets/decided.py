"""The ledger's batches, read once a revision for all sessions. Draws nothing."""

import pandas as pd
import streamlit as st

from curation.project import Project


def batches_cached(project: Project, revision: int) -> pd.DataFrame:
    """Ledger.batches() up to a revision that the ledger has reached. Shared by all sessions: read-only."""
    return _batches(str(project.path), revision, project)


@st.cache_resource(max_entries=4, show_spinner=False)
def _batches(path: str, revision: int, _project: Project) -> pd.DataFrame:
    rows = _project.ledger().batches()
    return rows[rows["batch_id"] <= revision].reset_index(drop=True)
