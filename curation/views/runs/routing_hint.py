"""Where a page would show what a run routed to validation and its method routes nothing: why, and the way to a run
that does."""

import streamlit as st

from curation.jobs.request import config_of
from curation.project import Project
from curation.views.runs.form_keys import fill_in
from curation.views.widgets import state
from engine.contract.errors import UserError
from engine.contract.methods import METHODS
from engine.contract.run_dir import RunDir

ROUTING = ("random", "easy", "hard", "learned")
"""Sources of validation samples that take them out of training."""
METHOD = "molere"


def routes(run: RunDir) -> bool:
    """Whether the run's method moves samples to validation; True of a damaged run: its own page says what is wrong."""
    try:
        return config_of(run).validation_source in ROUTING
    except UserError:
        return True


def routing_hint(project: Project, run: RunDir, key: str = "routing") -> None:
    """Nothing where the run routes; else that it does not, and a button to the newest run that does or to train one.
    key: how its keys begin, where a page draws it twice."""
    if routes(run):
        return
    config = config_of(run)
    with st.container(horizontal=True, vertical_alignment="center", key=f"{key}_hint"):
        other = next((one for one in project.runs() if routes(one) and one.signals_path.exists()), None)
        does = f"; **{state.plain(other.name)}** does" if other is not None else ""
        st.markdown(f"**{state.plain(run.name)}** ({METHODS[config.method].title}) routes nothing to validation{does}.",
                    width="content")
        if other is not None:
            st.button("Show that run", key=f"{key}.show", icon=":material/arrow_forward:",
                      on_click=state.choose, kwargs={"run": other.name})
        else:
            st.button(f"Train {METHODS[METHOD].title}, which routes", key=f"{key}.train",
                      icon=":material/model_training:", on_click=_train, args=(config.features,))


def _train(features: str | None) -> None:
    """The Train page with its form open, on this method and these features."""
    fill_in(METHOD, features)
    state.leave_for("train")
