"""The form of a new study on the Study page: which methods, how often, and what that will cost.

Plans and submits through curation.jobs.study_jobs. Knows no training and shows no results.
"""

import json
import os
from collections.abc import Callable
from dataclasses import replace

import streamlit as st

from curation.jobs import run_jobs, study_jobs
from curation.jobs.study_jobs import Cost, NewStudy
from curation.project import Project
from curation.views.presses import kept_button, taken
from curation.views.runs.place import show_place
from curation.views.runs.run_table import duration_text
from curation.views.train.form import decisions_in_force, features_picker
from curation.views.widgets import state
from curation.words import counted
from engine.contract.cluster.place import SLURM, place_of
from engine.contract.config import RunConfig
from engine.contract.methods import METHODS, TRAINABLE
from engine.contract.stamps import Stamp, stamp_of
from engine.contract.studies.study_plan import StudyPlan

KEY = "new_study."
FIRST_METHODS = ("erm", "molere")
TUNED = {"not known": None, "yes": True, "no": False}
ARMS_HELP = ("One a line, as on the command line: a name, a colon, and settings that replace the common ones. "
             "`decisions=none` trains without the project's decisions, `epochs_factor=1.2` longer.")


def new_study_form(project: Project, on_started: Callable[[str], None]) -> None:
    """Draw the form; after a start call on_started(name) and rerun the app."""
    st.fragment(_draw)(project, on_started)


def _draw(project: Project, on_started: Callable[[str], None]) -> None:
    state.guarded(lambda: _form(project, on_started))


def _form(project: Project, on_started: Callable[[str], None]) -> None:
    features = features_picker(project, KEY)
    known = [name for name in TRAINABLE if features is not None or not METHODS[name].is_head_only]
    methods = st.multiselect("Methods", known, [m for m in FIRST_METHODS if m in known], key=KEY + "methods",
                             format_func=lambda m: METHODS[m].title, persist_state="session",
                             help="Each is trained once for every seed. The Train page explains them.")
    with st.grid(min_column_width=150):
        reference = st.selectbox("Compare with", methods, key=KEY + "reference", format_func=_short_title,
                                 disabled=not methods, help="The reference: every other arm is compared with it.")
        num_seeds = st.number_input("Seeds", 1, 50, 5, key=KEY + "seeds", persist_state="session",
                                    help="Runs of every arm, with seeds from 0. Two give an interval, five or more "
                                         "a useful one.")
        epochs = st.number_input("Epochs", 1, 10_000, RunConfig().epochs, key=KEY + "epochs", persist_state="session")
        num_workers = st.number_input("At once", 1, max(1, os.cpu_count() or 1), 1, key=KEY + "workers",
                                      persist_state="session", help="Runs trained at the same time. On a CPU each has "
                                      "one thread; on a GPU they share its memory.")
        tuned = st.selectbox("Tuned here", list(TUNED), key=KEY + "tuned", persist_state="session",
                             help="Whether settings were chosen by figures of this project, which flatters the method "
                                  "they were chosen for. The report says so.")
    with st.expander("Settings and more arms"):
        settings = st.text_area("Settings of all arms", key=KEY + "settings", placeholder="network=resnet18\nlr=0.1",
                                persist_state="session",
                                help="One name=value a line. `python -m engine settings` lists them all.")
        arms = st.text_area("More arms", key=KEY + "arms", help=ARMS_HELP, persist_state="session",
                            placeholder="unguarded: method=molere guard=off\nslow: method=molere lr=0.01")
    show_place(project, KEY)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        free = run_jobs.free_name(project.path / "studies", "study")
        name = st.text_input("Name", free, max_chars=60, width=240, key=f"{KEY}name.{free}",
                             help="Letters, digits, '-', '_' and '.'. A free name is suggested.")
        is_pressed = kept_button("Start study", icon=":material/play_arrow:", key=KEY + "start", about=project.path,
                                 disabled=not methods and not arms.strip())
    st.caption(decisions_in_force(project, "Its runs train"))
    if not methods and not arms.strip():
        st.caption("Pick a method or write an arm of your own.")
        return
    if features is not None and "features=" not in settings:
        settings = f"features={json.dumps(features)}\n{settings}"
    with taken(KEY + "start"):
        new = study_jobs.plan_study(name.strip(), methods, int(num_seeds), int(epochs), arm_lines=arms,
                                    setting_lines=settings, reference=reference or None, num_workers=int(num_workers),
                                    is_tuned_here=TUNED[str(tuned)])
        if is_pressed:
            study_jobs.submit(project.path, new)
            on_started(new.name)
    if is_pressed:
        st.rerun()
    place = place_of(project.path)
    at_once = place.runs_at_once if place.where == SLURM else new.num_workers
    st.caption(cost_text(new.plan, _cost(project, replace(new, num_workers=at_once))))


def _cost(project: Project, new: NewStudy) -> Cost:
    """The cost by what has been measured so far; read again once a run or a study of the project ends."""
    runs = project.path.glob("runs/*/status.json")
    rows = project.path.glob("studies/*/rows/*.json")
    return study_jobs.cost_of(new, _measured(str(project.path), stamp_of(*sorted(runs), *sorted(rows)), project))


@st.cache_data(max_entries=4, show_spinner=False)
def _measured(path: str, stamp: Stamp, _project: Project) -> dict[str, list[float]]:
    return study_jobs.epoch_seconds(_project.path)


def cost_text(plan: StudyPlan, cost: Cost) -> str:
    """How many runs a plan is and about how long they take, with what that rests on."""
    size = (f"{counted(cost.num_runs, 'run')}: {counted(len(plan.arms), 'arm')}, {counted(len(plan.seeds), 'seed')}.")
    if cost.seconds is None:
        return f"{size} How long they take is not known: no run of this project that trains in epochs has finished yet."
    return (f"{size} About {duration_text(cost.seconds)} of training, by what an epoch took in this project's "
            f"{counted(cost.num_measured, 'finished run')}. Another network, image size or device changes that.")


def _short_title(method: str) -> str:
    return METHODS[method].title.partition(" (")[0]
