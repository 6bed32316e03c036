"""The way out of "no evidence" on the Compare page: both runs again with more seeds, at a price that is said before."""

import streamlit as st

from curation.experiments import more_seeds
from curation.experiments.more_seeds import MoreSeeds, plan_more_seeds
from curation.jobs.request import method_of, warm_start_of, weights_from_of
from curation.project import Project
from curation.views.presses import kept_button, taken
from curation.views.runs import started
from curation.views.runs.run_table import duration_text
from curation.views.widgets import state
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
        _to_decide(project)


def _to_decide(project: Project) -> None:
    """Where pairs of trainings with and without the decisions are started, on a trained run; a Study's arms share the
    decisions."""
    trained = next((run for run in project.runs() if method_of(run).is_trained and run.signals_path.exists()
                    and can_repeat(run)), None)
    if trained is None:
        st.caption("What the decisions do to a training, with an interval, Decide measures on a run that was trained: "
                   "train one first.")
        state.link_to("train", "Go to Train")
        return
    st.button(f"Measure the decisions on {state.plain(trained.name)}, with an interval: Decide", key="compare.decide",
              icon=":material/arrow_forward:", on_click=state.leave_for, args=("decide", trained.name),
              help="Decide trains it with the decisions and without, in pairs of the same seed.")


def can_repeat(run: RunDir) -> bool:
    """Whether Decide can train it again: no preview, and no training under another run's weights."""
    return warm_start_of(run) is None and weights_from_of(run) is None


def cost_words(plan: MoreSeeds) -> str:
    """"for 3 pairs of the same seed, about 12 s in all"."""
    takes = "how long they take is not known yet" if plan.seconds is None else \
        f"about {duration_text(plan.seconds)} in all"
    return (f"for {plan.num_pairs} pairs of the same seed: {takes}. Each trains under the decisions of the run that it "
            "repeats.")
