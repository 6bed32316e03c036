"""The way out of "no evidence" on the Compare page: both runs again with more seeds, at a price that is said before."""

import streamlit as st

from curation.experiments import more_seeds
from curation.experiments.more_seeds import MoreSeeds, plan_more_seeds
from curation.jobs.request import method_of
from curation.project import Project
from curation.views.presses import kept_button, taken
from curation.views.train import started
from curation.views.widgets import state
from curation.views.widgets.run_table import duration_text
from curation.words import counted
from engine.contract.run_dir import RunDir

STARTED_KEY = "compare.started"


def offer_seeds(project: Project, a: RunDir, b: RunDir) -> None:
    """A button that trains what is missing for an interval, with its cost; or where else to go."""
    plan = plan_more_seeds(project, a, b)
    if plan is not None:
        with st.container(horizontal=True, vertical_alignment="center"):
            if kept_button(f"Train {counted(len(plan.new), 'more run')}", icon=":material/model_training:",
                           key="compare.more_seeds", about=(a.path, b.path), is_main=False):
                with taken("compare.more_seeds"):
                    started.remember(STARTED_KEY, project, more_seeds.start(project, plan))
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
