"""What every page shares: which project, run and person the sidebar picked, cached tables, error display.

Draws short notices. Draws no page and decides nothing.
"""

import getpass
import re
from collections.abc import Callable
from pathlib import Path

import streamlit as st
from streamlit.navigation.page import StreamlitPage

from curation.jobs import feature_jobs, run_jobs
from curation.jobs.request import damage_of, method_of
from curation.ledger import people
from curation.ledger.newest import Newest
from curation.project import Project, list_projects, projects_home
from curation.samples.frames import SampleTable
from curation.samples.table import run_samples, with_decisions
from curation.views.widgets import decided
from engine.contract.disk import event_log
from engine.contract.disk.failures import disk_line
from engine.contract.errors import UserError
from engine.contract.live.live_dir import LiveDir
from engine.contract.manifest import MANIFEST_NAME
from engine.contract.run_dir import RunDir
from engine.contract.stamps import Stamp, stamp_of

ASSETS = Path(__file__).parents[3] / "assets"
PROJECT_KEY = "project"
RUN_KEY = "run"
USER_KEY = "person"
_NEXT_KEY = "_next_choice"
_LEAVE_KEY = "_leave_for"
_PAGES_KEY = "_pages"


# -- text that came with the data


def plain(text: object) -> str:
    """Text as Streamlit's Markdown shows it unchanged: a class called `*b*`, `$x$` or `:red[x]` is data, not markup."""
    escaped = re.sub(r"([\\`*_{}\[\]()#+\-.!|<>$~&:])", r"\\\1", " ".join(str(text).split()))
    # Icon and emoji names are replaced after Markdown is parsed, where a backslash is gone: break them apart.
    return re.sub(r"\\:(?=[\w/\\+-]+\\:)", "\\:\u200b", escaped)


# -- who, and what is shown


def login_name() -> str:
    """The user of this computer, as the system calls them."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # no such user in this container
        return "me"


def choose(*, project: str | None = None, run: str | None = None) -> None:
    """Make a project or run the current one from now on and rerun. Never returns."""
    st.session_state[_NEXT_KEY] = {PROJECT_KEY: project, RUN_KEY: run}
    st.rerun()


def take_next_choice() -> None:
    """Apply choose(): a widget's value may change only before the widget is drawn."""
    for key, value in st.session_state.pop(_NEXT_KEY, {}).items():
        if value is not None:
            st.session_state[key] = value


# -- what is current


def current_project() -> Project | None:
    """The project picked in the sidebar; None while there is none at all."""
    name = st.session_state.get(PROJECT_KEY)
    paths = {path.name: path for path in list_projects(projects_home())}
    return Project.open(paths[name]) if name in paths else None


def current_run(project: Project) -> RunDir | None:
    """The run picked in the sidebar; None while the project has none that can be read."""
    name = st.session_state.get(RUN_KEY)
    run = RunDir.of(project.path, name) if name else None
    return run if run is not None and run.path.is_dir() and not damage_of(run) else None


def user_name() -> str:
    """Who is deciding: who is signed in; else the name in the sidebar, or the login name where that was emptied."""
    if (person := people.signed_in()) is not None:
        return person.name
    return str(st.session_state.get(USER_KEY) or "").strip() or login_name()


def need_project() -> Project:
    """The current project. Without one: say how to begin, and end the page here."""
    project = current_project()
    if project is None:
        empty_state("There is no project yet.", "Bring data in on the Data page, or create the demo project there.",
                    link=("data", "Go to Data"))
        st.stop()
    return project


def need_run(project: Project) -> RunDir:
    """The current run, if it has signals. Without: say why, and end the page here."""
    run = current_run(project)
    if run is None or not run.signals_path.exists() or is_being_fitted(run):
        if features_under_way(project):
            empty_state("The features of this project are being made.", "This page opens when they are done; the Data "
                        "page shows how far they are.", link=("data", "Go to Data"))
            open_when_there(project)
        elif run is not None:
            empty_state(*without_results(run), link=("train", "Go to Train"))
        else:
            empty_state("This project has no run yet.", "Make features on the Data page: then this page works before "
                        "anything is trained. Or start a training on the Train page.", link=("data", "Go to Data"))
        st.stop()
    return run


def without_results(run: RunDir) -> tuple[str, str]:
    """Of a run without signals: why it has none, and what to do about it. Markdown."""
    status = run_jobs.status_of(run)
    if status.is_active:
        return (f"The run {plain(run.name)} has no results yet; they appear when its first epoch ends.",
                "Watch it on the Train page.")
    how = {"done": "ended", "failed": "failed"}.get(status.state, f"was {status.state}")
    error = f"It failed with: {plain(status.error).rstrip('.')}. " if status.error else ""
    return (f"The run {plain(run.name)} {how} before its first results, so there are none to see.",
            f"{error}The Train page has its log and can resume it; the sidebar has the other runs.")


def features_under_way(project: Project) -> bool:
    return any(map(feature_jobs.is_under_way, feature_jobs.features_of(project.path)))


def is_being_fitted(run: RunDir) -> bool:
    """Whether it is a run without a training whose map is still being made. The process that follows a run live goes
    on, but makes none."""
    is_live = isinstance(run, LiveDir)
    return not is_live and not method_of(run).is_trained and run_jobs.status_of(run).is_active


def open_when_there(project: Project) -> None:
    """Draw the page anew once no features are under way; draws nothing itself."""
    st.fragment(_open_when_there, run_every=2.0)(project)


def _open_when_there(project: Project) -> None:
    if not features_under_way(project):
        st.rerun()


def empty_state(what: str, to_do: str, link: tuple[str, str] | None = None) -> None:
    """Say why there is nothing to see and what to do about it; `link` is (page, label)."""
    with st.container(border=True):
        st.markdown(f"**{what}**")
        st.markdown(to_do)
        if link is not None:
            link_to(*link)


# -- pages


def set_pages(pages: dict[str, StreamlitPage]) -> None:
    """Remember this session's st.Page objects by name, so that a page can link to another."""
    st.session_state[_PAGES_KEY] = pages


def link_to(page: str, label: str) -> None:
    """A link to another page, named as its module is."""
    st.page_link(st.session_state[_PAGES_KEY][page], label=label, icon=":material/arrow_forward:")


def leave_for(page: str, run: str | None = None) -> None:
    """For callbacks: show another page at the next draw, named as its module is, and with it a run. Never returns."""
    st.session_state[_LEAVE_KEY] = page
    if run is not None:
        st.session_state[_NEXT_KEY] = {RUN_KEY: run}
    st.rerun()  # of the whole app: the button may stand in a fragment


def leave() -> None:
    """Go where a callback wants to; main.py calls this before it draws anything of a page."""
    if page := st.session_state.pop(_LEAVE_KEY, None):
        st.switch_page(st.session_state[_PAGES_KEY][page])


# -- tables


def samples_cached(project: Project, run: RunDir | None) -> SampleTable:
    """samples() of a project and run, read once for all sessions. What is made of it is cached by its revision, never
    by the ledger's own, which may be newer by then.

    Cached by what it is made from, never by a table: Streamlit hashes only a sample of a large one, so after one
    relabel it would return yesterday's.
    """
    return _sample_table(str(project.path), run.name if run else None, table_files(project, run),
                         project.newest.decisions, project, run)


def table_files(project: Project, run: RunDir | None) -> Stamp:
    """Of the files that samples_cached comes from."""
    paths = [project.path / MANIFEST_NAME]
    if run is not None:
        paths += [run.signals_path, run.path / "embedding.parquet"]
    return stamp_of(*paths)


@st.cache_resource(max_entries=2, show_spinner=False)
def _sample_table(path: str, run_name: str | None, stamp: Stamp, newest: Newest, _project: Project,
                  _run: RunDir | None) -> SampleTable:
    undecided = _run_samples(path, run_name, stamp, _project, _run)
    return with_decisions(undecided, decided.state_cached(_project, newest), str(newest))


@st.cache_resource(max_entries=2, show_spinner="Reading the samples ...")
def _run_samples(path: str, run_name: str | None, stamp: Stamp, _project: Project,
                 _run: RunDir | None) -> SampleTable:
    """What no decision changes: at ten million samples three seconds, against a fifth for the decisions."""
    return run_samples(_project, _run)


# -- errors


def show_failure(error: Exception) -> bool:
    """Show an exception as one calm notice: our named errors in their own words, others as such and in the log.

    Returns True: nothing more is to be shown (the contract of st.App's on_script_error).
    """
    st.error(plain(failure_words(error)) if is_ours(error) else failure_words(error), icon=":material/error:")
    return True


def failure_words(error: Exception) -> str:
    """What show_failure says. Of what is none of ours the details go into the log."""
    if is_ours(error):
        event_log.event("refused", error=error)
        return str(error if isinstance(error, UserError) else disk_line(error))
    event_log.event("failed", error=error, words="a page failed")
    return ("Something went wrong on this page. Nothing of your work is lost: decisions and runs are on disk. "
            "The details are in the terminal that runs the app. Reload the page to go on.")


def is_ours(error: Exception) -> bool:
    """True for what can be said in one line: errors that engine and curation define, and what a disk refuses."""
    return isinstance(error, UserError) or disk_line(error) is not None


def guarded(draw: Callable[[], None]) -> None:
    """Draw a page; an exception becomes a notice in its place."""
    try:
        draw()
    except Exception as error:
        show_failure(error)
