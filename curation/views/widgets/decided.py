"""The ledger's batches, read once for all sessions until it has another newest one. Draws nothing."""

import pandas as pd
import streamlit as st

from curation.ledger.newest import Newest
from curation.project import Project


def batches_cached(project: Project, newest: Newest) -> pd.DataFrame:
    """Ledger.batches() up to this one. Shared by all sessions: read-only."""
    return _batches(str(project.path), newest, project)


@st.cache_resource(max_entries=4, show_spinner=False)
def _batches(path: str, newest: Newest, _project: Project) -> pd.DataFrame:
    rows = _project.ledger().batches()
    return rows[rows["batch_id"] <= newest.number].reset_index(drop=True)
