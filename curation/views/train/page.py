"""The Train page: start a run, watch it, and see how every run of the project came out."""

from typing import Any

import pandas as pd
import streamlit as st

from curation.jobs import run_jobs
from curation.jobs.request import config_of, weights_from_of
from curation.jobs.run_jobs import RunState
from curation.project import Project
from curation.views.damaged import show_damaged, show_parts
from curation.views.runs.form_keys import FORM_KEY
from curation.views.runs.learned import not_learned
from curation.views.runs.routing_hint import routes, routing_hint
from curation.views.runs.run_table import NAMES, columns_of, runs_frame, state_text
from curation.views.train import progress
from curation.views.train.form import new_run_form
from curation.views.widgets import state
from curation.views.widgets.accuracy import leak_line
from curation.views.widgets.layout import next_step
from engine.contract.config import RunConfig
from engine.contract.methods import METHODS
from engine.contract.run_dir import RunDir

FOCUS_KEY = "train.focus"
STARTED_KEY = "train.started"
TABLE_KEY = "train.runs"
SELECTED_KEY = "train.selected"
ACCURACIES = ("clean_accuracy", "test_accuracy")
TICK_SECONDS = 2.0
MAX_INTERRUPTED = 3


def page() -> None:
    st.title("Train")
    project = state.need_project()
    runs = run_jobs.run_dirs(project.path)
    st.caption("Runs train in the background: you can close this page, or the app, and come back.")
    _cards(project, runs)
    if st.session_state.pop(STARTED_KEY, False):
        st.session_state[FORM_KEY] = False  # out of the way: what was started is now the thing to see
    form = st.expander("New run", expanded=not runs, icon=":material/add:", key=FORM_KEY, on_change="rerun")
    if form.open:
        with form:
            new_run_form(project, _on_started)
    if runs:
        _watch(project, runs)
        st.header("All runs")
        _runs_table(project, runs)
    else:
        state.empty_state("No run yet.", "Start one above. Its settings suit most data sets as they are.")
    _next(project)
    show_damaged(run_jobs.damaged_runs(project.path), "run", "runs")


def _next(project: Project) -> None:
    """Where the runs can be looked at, once there is something to see."""
    current = state.current_run(project)
    if current is not None and current.signals_path.exists():
        routing_hint(project, current)
    runs = [run for run in project.runs() if run.signals_path.exists()]
    if len(runs) > 1:
        next_step("see which run is better, or work on what they doubt.", ("compare", "Compare runs", None),
                  ("triage", "Start triage", None))
    elif runs:
        found = "routed to validation and which labels it doubts" if routes(runs[0]) else "doubts"
        next_step(f"look at what it {found}.", ("triage", "Start triage", None), ("explore", "Explore the map", None))


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


def _cards(project: Project, runs: list[RunDir]) -> None:
    """At the top: what runs, waits or was interrupted, redrawn every two seconds while something is active."""
    states = _states(runs)
    if states:
        st.fragment(_live_cards, run_every=TICK_SECONDS if _is_active(states) else None)(project, states)


def _live_cards(project: Project, drawn: dict[str, RunState]) -> None:
    state.guarded(lambda: _draw_cards(project, drawn))


def _draw_cards(project: Project, drawn: dict[str, RunState]) -> None:
    """drawn: the states that the rest of the page shows; once one of them is another the whole page is drawn anew, so
    that card, table and sidebar never say two things."""
    runs = run_jobs.run_dirs(project.path)
    statuses = {run.name: run_jobs.status_of(run) for run in runs}
    states = {name: status.state for name, status in statuses.items()}
    if states != drawn:
        if _is_active(drawn) and not _is_active(states) and runs:
            _finish(_focused(project, runs))
        st.rerun()
    focused = _focused(project, runs).name
    num_interrupted = 0
    for run in runs:
        status = statuses[run.name]
        num_interrupted += status.state == "interrupted"
        if status.is_active or run.name == focused and status.can_resume or \
                status.state == "interrupted" and num_interrupted <= MAX_INTERRUPTED:
            progress.show_state(project, run, status)


def _states(runs: list[RunDir]) -> dict[str, RunState]:
    return {run.name: run_jobs.status_of(run).state for run in runs}


def _is_active(states: dict[str, RunState]) -> bool:
    return any(value in ("queued", "running") for value in states.values())


def _watch(project: Project, runs: list[RunDir]) -> None:
    """The run in focus, redrawn as the cards are."""
    st.fragment(_live, run_every=TICK_SECONDS if _is_active(_states(runs)) else None)(project)


def _live(project: Project) -> None:
    state.guarded(lambda: _draw_live(project))


def _draw_live(project: Project) -> None:
    focused = _focused(project, run_jobs.run_dirs(project.path))
    _show_run(project, focused, run_jobs.status_of(focused))


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
    show_parts(run)
    if metrics.empty:
        st.caption("Curves appear when the first epoch ends." if status.is_active else
                   "The run ended before its first epoch did, so there are no curves.")
    else:
        config = config_of(run)
        if not METHODS[config.method].is_trained:
            _show_untrained(project, config, status, metrics)
            progress.show_log(run)
            return
        is_early = config.validation_source == "learned" and len(metrics) <= config.warmup_epochs
        note = " Warm-up: nothing is routed to validation yet." if is_early else ""
        st.caption(f"{METHODS[config.method].title}, {state.plain(state_text(status))}, {len(metrics):,} of "
                   f"{config.epochs:,} epochs, seed {config.seed}{_given(run)}.{note}")
        said = not_learned(project, run) if status.state == "done" and run.neighbours_path.exists() else ""
        if said:
            st.warning(said, icon=":material/warning:")
        progress.show_figures(project, metrics)
        _leaks(project, metrics)
        progress.show_events(metrics)
        progress.show_curves(run, metrics, config.epochs, has_learned=not said)
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
    st.caption(f"{method.title}{on}, {state.plain(state_text(status))}. {method.help}")
    progress.show_figures(project, metrics, ACCURACIES)
    _leaks(project, metrics)


# -- all runs


def _runs_table(project: Project, runs: list[RunDir]) -> None:
    """The table; a newly selected row becomes the current run."""
    frame = runs_frame(runs)
    shown = [name for name in NAMES if frame[name].notna().any()]
    event: Any = st.dataframe(frame, column_config=columns_of(project), column_order=shown, hide_index=True,
                              key=f"{TABLE_KEY}.{len(runs)}",  # a selection is a position: it must not outlive the rows
                              on_select="rerun", selection_mode="single-row", placeholder="")
    st.caption("Select a run to see its curves here and its samples on Explore, Triage, Audit, Decide and Export. "
               "Figures are those of its last finished epoch. Columns without any figure are left out.")
    rows = event["selection"]["rows"]
    name = runs[rows[0]].name if rows and rows[0] < len(runs) else None
    if name == st.session_state.get(SELECTED_KEY):
        return
    st.session_state[SELECTED_KEY] = name
    if name is not None:
        st.session_state[FOCUS_KEY] = name
        state.choose(run=name if runs[rows[0]].exists() else None)
