"""What runs that a page has started are doing, on that page, until the last of them ends."""

from collections import Counter

import streamlit as st

from curation.jobs import run_jobs
from curation.jobs.run_jobs import RunStatus
from curation.project import Project
from curation.views.runs.run_table import doing_text, state_text
from curation.views.widgets import state
from engine.contract.run_dir import RunDir

TICK_SECONDS = 2.0


def remember(key: str, project: Project, names: list[str]) -> None:
    """These runs of the project were started here. key: the page's own."""
    st.session_state[key] = (str(project.path), names)


def show(key: str, project: Project, watch: tuple[str, str], done: tuple[str, str] | None = None) -> None:
    """A line on the runs started under `key` last, looked at every two seconds while one goes on. watch and done:
    (page, label) to link to, the second once a run is done."""
    path, names = st.session_state.get(key, ("", []))
    runs = [RunDir.of(project.path, name) for name in names] if path == str(project.path) else []
    runs = [run for run in runs if run.path.is_dir()]
    if runs:
        is_active = any(run_jobs.status_of(run).is_active for run in runs)
        st.fragment(_draw, run_every=TICK_SECONDS if is_active else None)(runs, is_active, watch, done)


def _draw(runs: list[RunDir], was_active: bool, watch: tuple[str, str], done: tuple[str, str] | None) -> None:
    statuses = [(run.name, run_jobs.status_of(run)) for run in runs]
    if was_active and not any(status.is_active for _, status in statuses):
        st.rerun()  # the page has results to show now, and nothing is left to watch
    with st.container(border=True, horizontal=True, vertical_alignment="center"):
        st.markdown(f"Started {state.plain(words(statuses))}", width="content")
        state.link_to(*watch)
        if done is not None and any(status.state == "done" for _, status in statuses):
            state.link_to(*done)


def words(statuses: list[tuple[str, RunStatus]]) -> str:
    """"first-r2: running, epoch 3 of 12." of one run; of several "4 runs: 1 done, 1 running, 2 queued." """
    if len(statuses) == 1:
        name, status = statuses[0]
        doing = f", {doing_text(status)}" if status.state == "running" else ""
        return f"{name}: {state_text(status)}{doing}."
    found = Counter("queued" if status.state == "queued" else state_text(status) for _, status in statuses)
    return f"{len(statuses)} runs: {', '.join(f'{num} {name}' for name, num in found.items())}."
