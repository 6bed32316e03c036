"""What Explore says of a run above its samples: that it has no results, has not learned, or has no map."""

import streamlit as st

from curation.jobs import run_jobs
from curation.project import Project
from curation.samples.frames import SampleTable
from curation.views.map import places
from curation.views.runs.learned import not_learned
from curation.views.widgets import state
from engine.contract.run_dir import RunDir


def run_notes(project: Project, run: RunDir | None, table: SampleTable) -> None:
    """Draw what is true of it now; nothing of a run that has learned and can be shown on a map."""
    if (run is None or state.is_being_fitted(run)) and state.features_under_way(project):
        state.open_when_there(project)
    if run is None:
        why = ("Its features are being made: map and suspected labels come with them."
               if state.features_under_way(project) else
               "Make features on the Data page, or start a run on the Train page.")
        st.info(f"This project has no run yet, so there is no map and nothing is known of its samples but labels and "
                f"decisions. {why}", icon=":material/info:")
    elif "role" not in table.columns:
        st.info(" ".join(state.without_results(run)), icon=":material/info:")
    elif state.is_being_fitted(run):
        st.info(f"The map of {state.plain(run.name)} is being made; it appears by itself.", icon=":material/info:")
    elif said := not_learned(project, run):
        st.warning(said, icon=":material/warning:")
    elif list(places.choices(project, run)) == [places.COLUMNS]:
        st.info(_without_map(run), icon=":material/info:")


def _without_map(run: RunDir) -> str:
    name = state.plain(run.name)
    if run_jobs.status_of(run).is_active:
        return f"The run {name} has no map yet: it is made when the run ends."
    return (f"The run {name} ended without a map: its setting `embedding` is none, or it did not reach the end. "
            "`python -m engine embed` makes one of its last checkpoint, and features made on the Data page bring one. "
            "Until then the samples lie by two of their columns.")
