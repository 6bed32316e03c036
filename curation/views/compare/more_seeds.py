"""The way out of "no evidence" on the Compare page: both runs again with more seeds, at a price that is said before."""

import streamlit as st

from curation.experiments import more_seeds
from curation.experiments.more_seeds import MoreSeeds, plan_more_seeds
from curation.jobs import run_jobs
from curation.jobs.request import method_of
from curation.project import Project
from curation.views.widgets import state
from curation.views.widgets.run_table import duration_text
from curation.words import counted
from engine.contract.run_dir import RunDir

_STARTED_KEY = "compare.started"


def offer_seeds(project: Project, a: RunDir, b: RunDir) -> None:
    """A button that trains what is missing for an interval, with its cost; or where else to go."""
    plan = plan_more_seeds(project, a, b)
    if plan is not None:
        with st.container(horizontal=True, vertical_alignment="center"):
            if st.button(f"Train {counted(len(plan.new), 'more run')}", icon=":material/model_training:",
                         key="compare.more_seeds"):
                st.session_state[_STARTED_KEY] = (str(project.path), more_seeds.start(project, plan))
                st.rerun()
            st.caption(cost_words(plan), width="content")
    elif not any(method_of(run).is_trained for run in (a, b)):
        state.link_to("study", "How much a training gains or loses, with an interval: Study")


def cost_words(plan: MoreSeeds) -> str:
    """"for 3 pairs of the same seed, about 12 s in all"."""
    takes = "how long they take is not known yet" if plan.seconds is None else \
        f"about {duration_text(plan.seconds)} in all"
    return (f"for {plan.num_pairs} pairs of the same seed: {takes}. Each trains under the decisions of the run that it "
            "repeats.")


def show_started(project: Project) -> None:
    """How the runs started here are doing, while any of them goes on."""
    path, names = st.session_state.get(_STARTED_KEY, ("", []))
    runs = [RunDir.of(project.path, name) for name in names] if path == str(project.path) else []
    if _num_going(runs):
        st.fragment(_draw, run_every=2.0)(runs)


def _num_going(runs: list[RunDir]) -> int:
    return sum(run.path.is_dir() and run_jobs.status_of(run).is_active for run in runs)


def _draw(runs: list[RunDir]) -> None:
    num = _num_going(runs)
    if not num:
        st.rerun()  # drawn anew with all of them in
    st.info(f"{num:,} of {counted(len(runs), 'run')} for this comparison still to end. Then the page shows the answer.",
            icon=":material/hourglass_empty:")
