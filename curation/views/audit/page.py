"""The Audit page: find wrong labels, estimate how many there are, and report it so that it can be signed.

Puts the sections together, each a module of its own. Works nothing out.
"""

import importlib

import streamlit as st

from curation.audit.report.caveats import missing_words
from curation.audit.report.rate_words import points
from curation.audit.suspects.evidence import missing_of
from curation.project import Project
from curation.views.audit import at_hand
from curation.views.audit.sections import SECTION_KEY, SECTIONS, go
from curation.views.damaged import show_parts
from curation.views.runs.learned import not_learned
from curation.views.widgets import actions, address, live, state
from curation.views.widgets.layout import next_step, style
from engine.contract.run_dir import RunDir, RunDirError, check_name

_NAME_KEY = "audit.name"
_NEW_KEY = "audit.new_name"


def page() -> None:
    st.title("Audit")
    style()
    st.caption("Which labels are wrong, and how many? Find shows the likeliest first; Estimate draws at random and is "
               "the only source of the noise rate.")
    project = state.need_project()
    run = state.need_run(project)
    now = live.shown(project, run)
    live.strip(project, run, has_queue=False)
    st.fragment(_body)(project, now)
    if project.verdicts().in_force().empty:
        _first_step()
        return
    next_step("see what is decided, and retrain under it.", ("decide", "Decide and retrain", None),
              ("export", "Export corrected labels", None))


def _first_step() -> None:
    """What comes before any verdict: to judge something, in a section of this page."""
    with st.container(border=True, horizontal=True, vertical_alignment="center", key="next_step"):
        st.markdown("**Next:** nothing is judged yet. Judge the likeliest wrong labels, or a random sample.",
                    width="content")
        for number, (section, label) in enumerate((("Find", "Find wrong labels"), ("Estimate", "Measure how many"))):
            st.button(label, key=f"next.{section.lower()}", icon=":material/arrow_forward:",
                      type="secondary" if number else "primary", on_click=go, args=(section,))


def _body(project: Project, run: RunDir) -> None:
    state.guarded(lambda: _draw(project, run))


def _draw(project: Project, run: RunDir) -> None:
    """Everything below the title, redrawn at each answer."""
    actions.take_changed()
    actions.show_notices()
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        section = _section()
        name = _which(project)
    audit = at_hand.audit_of(project, run, name)
    _say_what_is_missing(audit)
    module = importlib.import_module(f"curation.views.audit.{SECTIONS[section]}")
    module.show(audit)


def _say_what_is_missing(audit: at_hand.Audit) -> None:
    """What the figures below go without, on a line each."""
    goal, complaint = at_hand.goal_or_default(audit)
    if complaint:
        st.warning(f"{state.plain(complaint)} Meanwhile this page takes {points(goal.half_width)}.",
                   icon=":material/warning:")
    if said := not_learned(audit.project, audit.run):
        st.warning(said, icon=":material/warning:")
    show_parts(audit.run)
    missing = missing_of(audit.run)
    if missing:
        st.caption(state.plain(missing_words(audit.run.name, missing, audit.run.read_config().get("method", ""))))


def _section() -> str:
    """The section chosen; named in the address, so that a reloaded or copied one opens it. Not bound to it by
    Streamlit, which then refuses to go to another page from here."""
    wanted = address.take(SECTION_KEY)
    if wanted in SECTIONS or st.session_state.get(SECTION_KEY) not in SECTIONS:
        st.session_state[SECTION_KEY] = wanted if wanted in SECTIONS else "Overview"
    section = str(st.segmented_control("Section", list(SECTIONS), required=True, key=SECTION_KEY,
                                       label_visibility="collapsed", persist_state="session"))
    address.put(SECTION_KEY, section)
    return section


def _which(project: Project) -> str:
    """The audit at hand: the one with the newest verdict, unless another was chosen."""
    names = at_hand.names(project)
    chosen = st.session_state.get(f"{_NAME_KEY}/{project.path}")
    if chosen is not None and chosen not in names:
        names = [*names, chosen]
    now = chosen or names[0]
    with st.popover(f"Audit: {state.plain(now)}", icon=":material/folder_open:",
                    help="An audit has verdicts and one random sample of its own; a second round is another audit."):
        key = f"{_NAME_KEY}.pick/{project.path}"
        if st.session_state.get(key) not in names:
            st.session_state[key] = now
        st.selectbox("Audit", names, key=key, on_change=_choose, args=(project, key))
        st.text_input("Begin another", key=_NEW_KEY, max_chars=64, placeholder="letters, digits, - _ .")
        st.button("Begin", key="audit.begin", on_click=_begin, args=(project,))
    return str(now)


def _choose(project: Project, key: str) -> None:
    st.session_state[f"{_NAME_KEY}/{project.path}"] = st.session_state[key]


def _begin(project: Project) -> None:
    try:
        name = check_name("-".join(str(st.session_state.get(_NEW_KEY) or "").split()))
    except RunDirError as error:
        actions.say(str(error), is_error=True)
        return
    st.session_state[f"{_NAME_KEY}/{project.path}"] = name
    st.session_state[f"{_NAME_KEY}.pick/{project.path}"] = name
