"""What a study is doing, for the Study page: state, progress, cancel and resume, redrawn while it is active.

Asks curation.jobs.study_jobs; starts no new study and shows no result.
"""

from collections.abc import Callable
from pathlib import Path
from typing import cast

import streamlit as st

from curation.jobs import study_jobs
from curation.jobs.queue import JobError
from curation.jobs.run_jobs import RunStatus
from curation.project import Project
from curation.views.runs.run_table import duration_text, state_text
from curation.views.study import answer, charts
from curation.views.train import progress as run_progress
from curation.views.widgets import state
from curation.words import counted
from engine.contract.stamps import Stamp
from engine.contract.studies.study_dir import StudyDir, StudyStatus
from engine.contract.studies.study_plan import StudyError

TICK_SECONDS = 2.0
MAX_NAMED = 8


def watch(project: Project, study: StudyDir, stamp: Stamp) -> None:
    """The live part: redrawn every two seconds while the study is active, never when it is not."""
    is_active = study_jobs.status_of(study).is_active
    st.fragment(_live, run_every=TICK_SECONDS if is_active else None)(project, study, is_active, stamp)


def _live(project: Project, study: StudyDir, was_active: bool, stamp: Stamp) -> None:
    state.guarded(lambda: _draw_live(project, study, was_active, stamp))


def _draw_live(project: Project, study: StudyDir, was_active: bool, stamp: Stamp) -> None:
    status = study_jobs.status_of(study)
    if status.is_active != was_active or was_active and charts.stamp_of_study(study) != stamp:
        st.rerun()  # it was resumed and is to tick from now on, or it ended, or another run of it did
    with st.container(border=True):
        _state_line(project, study, status)
        _progress(project, study, status)


def _state_line(project: Project, study: StudyDir, status: RunStatus) -> None:
    """Name, state, size and the button that fits."""
    plan = study_jobs.asked_plan(study)
    num_done = _num_done(study)
    titles = answer.arm_titles(plan)
    with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
        words = (f"**{state.plain(study.name)}** &nbsp; {state.plain(state_text(status))}, "
                 f"{num_done:,} of {counted(plan.num_runs, 'run')}: "
                 f"{state.plain(_arms_text(list(titles.values())))}; {_seeds_text(plan.seeds)}.")
        st.markdown(words, width="stretch")
        if status.is_active:
            st.button("Cancel", key="study.cancel", icon=":material/stop:", disabled=status.is_cancelling,
                      on_click=_act, args=(study_jobs.cancel, project, study))
        elif num_done < plan.num_runs:
            st.button("Try again" if status.state == "done" else "Resume", key="study.resume",
                      icon=":material/restart_alt:", on_click=_act, args=(study_jobs.resume, project, study),
                      help="Trains what is missing or failed. Finished runs are kept, unless decisions, data or "
                           "settings have changed since: then they are trained anew.")


def _num_done(study: StudyDir) -> int:
    if not study.exists():
        return 0
    return int((charts.rows_of(study, charts.stamp_of_study(study))["state"] == "done").sum())


def _arms_text(titles: list[str]) -> str:
    num_more = len(titles) - MAX_NAMED
    return ", ".join(titles[:MAX_NAMED]) + (f" and {num_more:,} more" if num_more > 0 else "")


def _seeds_text(seeds: tuple[int, ...]) -> str:
    """seed 0; seeds 0 to 4; seeds 0, 3, 7"""
    if len(seeds) == 1:
        return f"seed {seeds[0]}"
    is_range = len(seeds) > 2 and list(seeds) == list(range(seeds[0], seeds[-1] + 1))
    return f"seeds {seeds[0]} to {seeds[-1]}" if is_range else f"seeds {', '.join(map(str, seeds))}"


def _progress(project: Project, study: StudyDir, status: RunStatus) -> None:
    """What is being trained, or why nothing is."""
    details = cast(StudyStatus, status.details)
    if status.state == "queued":
        run_progress.say_queue(status)
    elif status.state == "running":
        num_failed, total, eta = details.get("failed", 0), details.get("total", 0), details.get("eta_seconds")
        ended = details.get("done", 0) + num_failed
        failed = f", {num_failed:,} failed" if num_failed else ""
        left = f", about {duration_text(eta)} left" if eta else ""
        st.progress(min(1.0, ended / total) if total else 0.0,
                    text=f"{ended:,} of {counted(total, 'run')} ended{failed}{left}" if total else "Starting")
        titles = answer.arm_titles(study_jobs.asked_plan(study))
        for run in details.get("running", []):
            arm = titles.get(run["arm"], run["arm"])
            st.caption(state.plain(f"{arm}, seed {run['seed']}: {run['message']}"))
    elif status.state == "failed":
        st.error(f"It failed: {state.plain(status.error) or 'no reason given.'}", icon=":material/error:")
    elif status.state == "interrupted":
        st.warning("Its process ended without a word: the machine restarted, or something stopped it. Resume trains "
                   "what is missing.", icon=":material/warning:")


def _act(action: Callable[[Path, str], object], project: Project, study: StudyDir) -> None:
    """Cancel or resume from a button."""
    try:
        action(project.path, study.name)
    except (JobError, StudyError) as error:  # it ended between the drawing and the click, or its files are damaged
        st.toast(state.plain(error), icon=":material/info:")
