"""The Train page: start a run, watch it, and see how every run of the project came out."""

from typing import Any

import pandas as pd
import streamlit as st

from curation.jobs import run_jobs
from curation.jobs.request import config_of, weights_from_of
from curation.project import Project
from curation.views.train import progress
from curation.views.train.form import new_run_form
from curation.views.widgets import state
from curation.views.widgets.leaks import leak_line
from curation.views.widgets.run_table import COLUMNS, runs_frame, state_text
from engine.contract.config import RunConfig
from engine.contract.methods import METHODS
from engine.contract.run_dir import RunDir

FOCUS_KEY = "train.focus"
FORM_KEY = "train.form"
STARTED_KEY = "train.started"
TABLE_KEY = "train.runs"
SELECTED_KEY = "train.selected"
ACCURACIES = ("clean_accuracy", "test_accuracy")
TICK_SECONDS = 2.0


def page() -> None:
    st.title("Train")
    project = state.need_project()
    runs = run_jobs.run_dirs(project.path)
    st.caption("Runs train in the background: you may close this page, or the app, and come back.")
    if st.session_state.pop(STARTED_KEY, False):
        st.session_state[FORM_KEY] = False  # out of the way: what was started is now the thing to see
    form = st.expander("New run", expanded=not runs, icon=":material/add:", key=FORM_KEY, on_change="rerun")
    if form.open:
        with form:
            new_run_form(project, _on_started)
    if not runs:
        state.empty_state("No run yet.", "Start one above. The settings shown first are sensible for most data sets.")
        return
    _watch(project, runs)
    st.header("All runs")
    _runs_table(runs)


def _on_started(name: str) -> None:
    st.session_state[FOCUS_KEY] = name
    st.session_state[STARTED_KEY] = True


def _focused(project: Project, runs: list[RunDir]) -> RunDir:
    """The run whose curves are shown: the one started or clicked here last, else the sidebar's, else the newest."""
    names = {run.name: run for run in runs}
    current = state.current_run(project)
    for name in (st.session_state.get(FOCUS_KEY), current.name if current else None):
        if name in names:
            return names[name]
    return runs[0]


# -- what is going on


def _watch(project: Project, runs: list[RunDir]) -> None:
    """The live part: redrawn every two seconds while something is active, never when nothing is."""
    is_active = any(run_jobs.status_of(run).is_active for run in runs)
    st.fragment(_live, run_every=TICK_SECONDS if is_active else None)(project, is_active)


def _live(project: Project, was_active: bool) -> None:
    state.guarded(lambda: _draw_live(project, was_active))


def _draw_live(project: Project, was_active: bool) -> None:
    runs = run_jobs.run_dirs(project.path)
    statuses = {run.name: run_jobs.status_of(run) for run in runs}
    focused = _focused(project, runs)
    is_active = any(status.is_active for status in statuses.values())
    if was_active and not is_active:
        _finish(focused)
    if is_active and not was_active:
        st.rerun()  # resumed from this fragment, which does not tick: draw it anew as one that does
    for run in reversed(runs):
        status = statuses[run.name]
        is_in_trouble = run.name == focused.name and status.can_resume
        if status.is_active or is_in_trouble:
            progress.show_state(project, run, status)
    _show_run(project, focused, statuses[focused.name])


def _finish(run: RunDir) -> None:
    """The last active run ended: show the one in focus everywhere, and rerun the app without the ticking."""
    has_results = run.signals_path.exists()
    if not has_results:
        st.session_state.pop(FOCUS_KEY, None)
    state.choose(run=run.name if has_results else None)


def _show_run(project: Project, run: RunDir, status: run_jobs.RunStatus) -> None:
    """Figures, warnings, curves and log of one run, or why there are none yet."""
    metrics = run.read_metrics()
    st.header(f"Run {state.plain(run.name)}")
    if metrics.empty:
        st.caption("Curves appear when the first epoch ends." if status.is_active else
                   "It ended before its first epoch did, so there are no curves.")
    else:
        config = config_of(run)
        if not METHODS[config.method].is_trained:
            _show_untrained(project, config, status, metrics)
            progress.show_log(run)
            return
        is_early = config.validation_source == "learned" and len(metrics) <= config.warmup_epochs
        note = " Warm-up: nothing is routed to validation yet." if is_early else ""
        st.caption(f"{METHODS[config.method].title}, {state_text(status)}, {len(metrics):,} of {config.epochs:,} "
                   f"epochs, seed {config.seed}{_given(run)}.{note}")
        progress.show_figures(metrics)
        _leaks(project, metrics)
        progress.show_events(metrics)
        progress.show_curves(run, metrics, config.epochs)
    progress.show_log(run)


def _given(run: RunDir) -> str:
    """Under which other run's weights it trains."""
    source = weights_from_of(run)
    return f", under the sample weights, split and decisions of {state.plain(source)}" if source else ""


def _leaks(project: Project, metrics: pd.DataFrame) -> None:
    """What the accuracy on test is worth, once it is there."""
    last = metrics.iloc[-1]
    if any(pd.notna(last.get(name)) for name in ACCURACIES):
        leak_line(project)


def _show_untrained(project: Project, config: RunConfig, status: run_jobs.RunStatus, metrics: pd.DataFrame) -> None:
    """Of a run without epochs: what it is, and accuracy where it has one."""
    method = METHODS[config.method]
    on = f" on features {state.plain(config.features)}" if config.features else ""
    st.caption(f"{method.title}{on}, {state_text(status)}. {method.help}")
    progress.show_figures(metrics, ACCURACIES)
    _leaks(project, metrics)


# -- all runs


def _runs_table(runs: list[RunDir]) -> None:
    """The table; a newly selected row becomes the current run."""
    frame = runs_frame(runs)
    shown = [name for name in COLUMNS if frame[name].notna().any()]
    event: Any = st.dataframe(frame, column_config=COLUMNS, column_order=shown, hide_index=True,
                              key=f"{TABLE_KEY}.{len(runs)}",  # a selection is a position: it must not outlive the rows
                              on_select="rerun", selection_mode="single-row", placeholder="")
    st.caption("Select a run to see its curves here and its samples on Explore, Decide and Export. Figures are of its "
               "last finished epoch. Columns without any figure are left out.")
    rows = event["selection"]["rows"]
    name = runs[rows[0]].name if rows and rows[0] < len(runs) else None
    if name == st.session_state.get(SELECTED_KEY):
        return
    st.session_state[SELECTED_KEY] = name
    if name is not None:
        st.session_state[FOCUS_KEY] = name
        state.choose(run=name if runs[rows[0]].exists() else None)
