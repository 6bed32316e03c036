"""The sample table as pages may show it: without the model's opinion of samples that are drawn for an estimate and not
judged yet. What is worked out for all samples takes the whole table (state.samples_cached); what names or shows single
ones takes this. Draws nothing.
"""

import streamlit as st

from curation.audit.reviews.blinding import hidden_columns
from curation.project import Project
from curation.samples.columns import Column
from curation.samples.frames import SampleTable
from curation.views import scored
from curation.views.scored import Blind
from curation.views.widgets import state
from engine.contract.run_dir import RunDir
from engine.contract.stamps import Stamp

Key = tuple[str, str | None, Stamp]


def shown_samples(project: Project, run: RunDir | None) -> SampleTable:
    """state.samples_cached with null in place of the model's opinion of the blind samples. Read-only."""
    blind, files = scored.blind(project), state.table_files(project, run)
    whole = state.samples_cached(project, run)
    if not blind.ids:
        return whole
    key = (str(project.path), run.name if run else None, files)
    return _shown(key, whole.revision, blind.token, whole, blind)


@st.cache_resource(max_entries=2, show_spinner=False)
def _shown(key: Key, revision: str, token: str, _whole: SampleTable, _blind: Blind) -> SampleTable:
    return _whole.with_changed(_hidden(key, token, _whole, _blind), f"{revision}.{token}")


@st.cache_resource(max_entries=2, show_spinner=False)
def _hidden(key: Key, token: str, _whole: SampleTable, _blind: Blind) -> dict[str, Column]:
    """No decision changes these columns, so what is found out about them is kept."""
    return hidden_columns(_whole, _blind.ids)
