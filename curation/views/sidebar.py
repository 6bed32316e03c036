"""The sidebar: which project, run and person, and what is being worked on. Draws no page."""

import streamlit as st

from curation.jobs import feature_jobs, run_jobs
from curation.jobs.queue import JobError
from curation.jobs.request import warm_start_of
from curation.jobs.run_jobs import RunStatus
from curation.ledger import people
from curation.project import Project, last_worked_on, list_projects, projects_home
from curation.terms import TERMS, define
from curation.views import scored
from curation.views.runs.run_table import doing_text, state_text
from curation.views.sign_in import sign_out
from curation.views.widgets import address, state
from curation.views.widgets.state import PROJECT_KEY, RUN_KEY, USER_KEY
from curation.words import counted
from engine.contract.run_dir import RunDir

TICK_SECONDS = 2.0
MAX_NAMED = 5
_GONE_KEY = "_address_gone"


def sidebar() -> None:
    """Draw the pickers of project, run and person. main.py calls this once, before the page."""
    paths = list_projects(projects_home())
    names = [path.name for path in paths]
    state.take_next_choice()
    with st.sidebar:
        _take_from_address(PROJECT_KEY, names)
        if names:
            newest = None if st.session_state.get(PROJECT_KEY) in names else last_worked_on(paths)
            st.selectbox("Project", names, names.index(newest.name) if newest else 0, key=PROJECT_KEY,
                         on_change=_forget_gone,
                         help="A data set with its decisions and runs. Add one on the Data page.")
            try:
                project = Project.open(projects_home() / st.session_state[PROJECT_KEY])
                _run_picker(project)
                _work(project)
                _disk(project)
            except ValueError as error:  # not every page comes upon it
                if not state.is_ours(error):
                    raise
                st.caption(f"This project cannot be opened: {state.plain(error)}.")
        if gone := st.session_state.get(_GONE_KEY):
            st.warning(gone, icon=":material/link_off:")
        _name_in_address()
        _who()
        _glossary()


def _who() -> None:
    """Who decides: the person signed in; without a sign-in, the name that was typed."""
    person = people.signed_in()
    if person is None:
        st.text_input("Your name", value=state.login_name(), key=USER_KEY, max_chars=60, persist_state="session",
                      help="Written beside every decision you take, so that others see who decided what.")
        return
    st.caption(f"Signed in as **{state.plain(person.name)}**, {person.role}.")
    sign_out()


def _glossary() -> None:
    """All terms of the field, to read in one place."""
    with st.popover("Glossary", icon=":material/menu_book:", type="tertiary"):
        st.markdown(define(*TERMS))


def _take_from_address(key: str, names: list[str]) -> None:
    """What the address that has just arrived asks for; what is there no more is said instead."""
    wanted = address.take(key)
    if not wanted:
        return
    if key == PROJECT_KEY:
        _forget_gone()
    if wanted in names:
        st.session_state[key] = wanted
        return
    if key == PROJECT_KEY:
        address.take(RUN_KEY)  # without its project a run is not looked for
    instead = "another is shown" if names else "there is no other"
    st.session_state[_GONE_KEY] = f"The link names the {key} {state.plain(wanted)}, which is not here: {instead}."


def _forget_gone() -> None:
    st.session_state.pop(_GONE_KEY, None)


def _name_in_address() -> None:
    """Project and run, also where they are what the app would open by itself (a bound widget leaves those out): that
    changes with each new run, and a reloaded or copied address must not."""
    address.put_all({key: str(name) for key in (PROJECT_KEY, RUN_KEY) if (name := st.session_state.get(key))})


def _run_picker(project: Project) -> None:
    runs = [run.name for run in project.runs()]
    if num := len(run_jobs.damaged_runs(project.path)):
        st.caption(f":material/broken_image: {counted(num, 'run')} cannot be read: the Train page says what to do.")
    if num := len(feature_jobs.damaged_features(project.path)):
        st.caption(f":material/broken_image: {counted(num, 'folder', 'folders')} of features cannot be read: the Data "
                   "page says what to do.")
    _take_from_address(RUN_KEY, runs)
    if not runs:
        st.caption("No run yet. Make features on the Data page, or train.")
        return
    if st.session_state.get(RUN_KEY) not in runs:
        st.session_state.pop(RUN_KEY, None)
    st.selectbox("Run", runs, index=_best_run(project, runs), key=RUN_KEY, on_change=_forget_gone,
                 help="The run that Explore, Triage, Audit, Decide and Export show. New ones come from the Data page "
                      "(features) and the Train page.")


def _best_run(project: Project, names: list[str]) -> int:
    """Position of the newest done run that is no preview; without one, of the newest that has results; else 0."""
    runs = [project.run(name) for name in names]
    is_done = [run.read_status()["state"] == "done" and warm_start_of(run) is None for run in runs]
    has_results = [run.signals_path.exists() for run in runs]
    return next((choices.index(True) for choices in (is_done, has_results) if any(choices)), 0)


def _disk(project: Project) -> None:
    """That nothing can be decided here, or that what was decided is not where trainings read it."""
    ledger = project.ledger()
    if ledger.refusal:
        st.caption(":material/lock: Everything can be looked at, nothing decided or made: "
                   f"{state.plain(ledger.refusal)}.")
    if ledger.snapshot_problem:
        st.warning("Decisions are recorded; the snapshot that trainings read could not be written: "
                   f"{state.plain(ledger.snapshot_problem)}.", icon=":material/hard_drive:")
    for line in scored.blind(project).damage:
        st.warning(f"{state.plain(line[:1].upper() + line[1:])}.", icon=":material/visibility_off:")


# -- what is being worked on


def _work(project: Project) -> None:
    """The state of the run shown where it stopped half-way, and what else of the project works or waits; on every page,
    in the words of the Train page."""
    active, stopped = _active(project), _stopped(project)
    if active or stopped:
        st.fragment(_draw_work, run_every=TICK_SECONDS if active else None)(project, bool(active))


def _draw_work(project: Project, was_active: bool) -> None:
    state.guarded(lambda: _draw_lines(project, was_active))


def _draw_lines(project: Project, was_active: bool) -> None:
    active, stopped = _active(project), _stopped(project)
    if was_active and not active:
        st.rerun()  # nothing is left to do: drawn anew as a part that does not tick
    if stopped is not None:
        st.markdown(f":material/warning: **{state.plain(stopped.name)}** {_words(run_jobs.status_of(stopped))}")
        st.button("Resume", key="sidebar.resume", icon=":material/restart_alt:", on_click=_resume,
                  args=(project, stopped.name), help="Goes on from its last checkpoint.")
    for name, status in active[:MAX_NAMED]:
        far = f": {state.plain(doing_text(status))}" if status.state == "running" and not status.is_cancelling else ""
        icon = "progress_activity" if status.state == "running" else "hourglass_empty"
        st.markdown(f":material/{icon}: **{state.plain(name)}** {_words(status)}{far}")
    if len(active) > MAX_NAMED:
        st.caption(f"and {len(active) - MAX_NAMED:,} more")


def _stopped(project: Project) -> RunDir | None:
    """The run shown, where its process is gone or it failed."""
    run = state.current_run(project)
    return run if run is not None and run_jobs.status_of(run).state in ("interrupted", "failed") else None


def _active(project: Project) -> list[tuple[str, RunStatus]]:
    """Runs, then studies and features, that work or wait, with their states; also those begun on the command line."""
    found = [(run.name, run_jobs.status_of(run)) for run in run_jobs.run_dirs(project.path)]
    found += [(f"{job.kind} {job.run}", run_jobs.status_of(job.run_dir)) for job in run_jobs.jobs(project.path)
              if job.kind != "run"]
    return sorted(((name, status) for name, status in found if status.is_active),
                  key=lambda pair: (pair[1].state != "running", pair[1].num_ahead))


def _words(status: RunStatus) -> str:
    return state.plain(state_text(status))


def _resume(project: Project, name: str) -> None:
    try:
        run_jobs.resume(project.path, name)
    except JobError as error:  # it went on between the drawing and the click
        st.toast(state.plain(error), icon=":material/info:")
