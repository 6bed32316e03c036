"""The selection in one line: how many, in words, and what can be done with it: clear, invert, undo, redo, save, open.

Selects nothing itself: the predicate is in curation.views.explore.chosen, what it leaves in
curation.samples.predicates.
"""

from dataclasses import dataclass
from typing import cast

import streamlit as st

from curation.project import Project
from curation.samples import links, saved_views
from curation.samples.frames import SampleTable
from curation.samples.predicates import Predicate, fitted
from curation.samples.regions import region_of
from curation.views.explore import chosen
from curation.views.explore.selection_words import sentence
from curation.views.widgets import actions, address, state
from engine.contract.run_dir import RunDir, RunDirError

URL_NAME = "view"
LINK_NAME = "filters"
_WANTED_KEY = "explore.view_wanted"
_OPEN_KEY = "explore.view_open"
_NAME_KEY = "explore.view_name"
_PICK_KEY = "explore.view_pick"


@dataclass(frozen=True, kw_only=True, slots=True)
class _Opened:
    """A view or link as it was opened."""

    name: str
    """The view's; "" for a link."""
    project: str
    predicate: Predicate
    gone: str
    """What of it did not fit, one line; "" for nothing."""


def selection_bar(project: Project, run: RunDir | None, predicate: Predicate, num: int, num_all: int) -> None:
    """Draw the line for the predicate in force, and keep address and history in step with it."""
    chosen.note(project, run, predicate)
    opened, _ = _still_open(project, predicate)
    address.put(URL_NAME, opened or None)
    address.put(LINK_NAME, links.pack(project, predicate) if predicate and not opened else None)
    st.markdown(f"**{num:,} of {num_all:,} samples**: {state.plain(sentence(predicate))}.", width="content")
    with st.container(horizontal=True, gap="xxsmall", width="content", key="explore.selection_acts"):
        st.button("Clear", key="explore.clear", disabled=not predicate, on_click=_clear, args=(project, run),
                  help="All samples again: no filter, no lasso.")
        st.button("Invert", key="explore.invert", disabled=not predicate, on_click=_invert,
                  args=(project, run, predicate), help="The samples that are not selected, in place of those that are.")
        for by, key, icon, words in ((-1, "explore.back", "undo", "Undo the last change of the selection"),
                                     (1, "explore.forward", "redo", "Redo the change of the selection")):
            st.button("", key=key, icon=f":material/{icon}:", help=words, on_click=chosen.step,
                      args=(project, run, by), disabled=not chosen.can_step(project, run, by))
        with st.popover(f"View: {state.plain(opened)}" if opened else "Views",
                        help="Selections saved under a name"):
            _views(project, run, predicate, opened)


def gone_note(project: Project, predicate: Predicate) -> None:
    """Say what of the view or link that is open was not there; nothing of one that fitted."""
    _, gone = _still_open(project, predicate)
    if gone:
        st.warning(state.plain(gone), icon=":material/filter_alt_off:")


def _views(project: Project, run: RunDir | None, predicate: Predicate, opened: str) -> None:
    """Inside the popover: open, delete, save."""
    names = saved_views.names(project)
    if names:
        name = st.selectbox("Saved views", names, index=names.index(opened) if opened in names else 0, key=_PICK_KEY)
        with st.container(horizontal=True):
            st.button("Open", key="explore.view_do_open", on_click=want, args=(name,))
            st.button("Delete", key="explore.view_do_delete", on_click=_delete, args=(project, name))
    else:
        st.caption("No view is saved yet. A view keeps filters and lasso under a name; its link opens it anywhere.")
    st.text_input("Save this selection as", key=_NAME_KEY, max_chars=64, placeholder="letters, digits, - _ .")
    st.button("Save", key="explore.view_do_save", disabled=not predicate, on_click=_save,
              args=(project, run, predicate))
    if opened:
        st.caption("The address of this page opens this view: copy it from your browser.")


# -- what the buttons do


def _clear(project: Project, run: RunDir | None) -> None:
    chosen.put(project, run, {})
    chosen.hide_all(project)


def _invert(project: Project, run: RunDir | None, predicate: Predicate) -> None:
    turned = predicate.copy()
    if turned.get("inverted"):
        turned.pop("inverted")
    else:
        turned["inverted"] = True
    chosen.put(project, run, turned)


def _save(project: Project, run: RunDir | None, predicate: Predicate) -> None:
    name = "-".join(str(st.session_state.get(_NAME_KEY) or "").split())  # a name is a file's: no spaces
    is_new = name not in saved_views.names(project)
    try:
        saved_views.save(project, name, predicate, run=run.name if run else "", who=state.user_name())
    except RunDirError as error:
        actions.say(str(error), is_error=True)
        return
    _set_open(project, name, predicate, "")
    actions.say(f"Saved the view {name}." if is_new else f"Saved the view {name} in place of the older one.")


def _delete(project: Project, name: str) -> None:
    saved_views.delete(project, name)
    opened: _Opened | None = st.session_state.get(_OPEN_KEY)
    if opened is not None and opened.name == name:
        _let_go()
    actions.say(f"Deleted the view {name}.")


# -- opening: from the list, or by the address


def want(name: str) -> None:
    """Open this view when the page is drawn next."""
    st.session_state[_WANTED_KEY] = name


def is_wanted() -> bool:
    """True where a view waits to be opened."""
    return _WANTED_KEY in st.session_state


def open_wanted(project: Project, run: RunDir | None, table: SampleTable) -> None:
    """Open the view that waits, or what the address that has just arrived selects, if any. A view comes with its own
    run: that may rerun the page. Draws an error where it cannot."""
    linked, view = address.take(LINK_NAME), address.take(URL_NAME)
    if name := view or st.session_state.get(_WANTED_KEY):
        _open_view(project, run, table, name)
    elif linked is not None:
        _open_link(project, run, table, linked)


def _open_view(project: Project, run: RunDir | None, table: SampleTable, name: str) -> None:
    try:
        found = saved_views.load(project, name)
    except (saved_views.ViewError, RunDirError) as error:
        st.session_state.pop(_WANTED_KEY, None)
        _let_go()
        st.warning(state.plain(f"{error}."), icon=":material/bookmark_remove:")
        return
    runs = [other.name for other in project.runs()]
    if found["run"] in runs and (run is None or run.name != found["run"]):
        st.session_state[_WANTED_KEY] = name
        state.choose(run=found["run"])
    st.session_state.pop(_WANTED_KEY, None)
    _put_fitted(project, run, table, found["predicate"], name)


def _open_link(project: Project, run: RunDir | None, table: SampleTable, text: str) -> None:
    """text: of curation.samples.links; "" selects all."""
    try:
        predicate = cast(Predicate, links.unpack(project, text)) if text else Predicate()
    except links.LinkError as error:
        st.warning(state.plain(f"{error}."), icon=":material/link_off:")
        predicate = Predicate()
    _put_fitted(project, run, table, predicate, "")


def _put_fitted(project: Project, run: RunDir | None, table: SampleTable, wanted: Predicate, name: str) -> None:
    """Put in force what of this fits, and keep for the page what does not. name: of the view; "" is a link's."""
    predicate = wanted.copy()
    if region := predicate.pop("region", None):  # neither file nor link is to be trusted with what the map draws
        checked = region_of(region)
        if checked and isinstance(region, dict):
            predicate["region"] = {**checked, "map": str(region.get("map") or "own")}
    predicate, gone = fitted(predicate, table, project.classes, run.name if run else "")
    chosen.put(project, run, predicate)
    chosen.take_moved()
    of = f"Of the view {name}" if name else "Of this link"
    _set_open(project, name, predicate, f"{of}: {'; '.join(gone)}. The rest applies." if gone else "")


def _set_open(project: Project, name: str, predicate: Predicate, gone: str) -> None:
    st.session_state[_OPEN_KEY] = _Opened(name=name, project=str(project.path), predicate=predicate, gone=gone)


def _let_go() -> None:
    st.session_state.pop(_OPEN_KEY, None)


def _still_open(project: Project, predicate: Predicate) -> tuple[str, str]:
    """Name of the view whose selection is in force, "" for none, and what of it or of a link was gone; one whose
    selection was changed is open no more."""
    opened: _Opened | None = st.session_state.get(_OPEN_KEY)
    if opened is None or opened.project != str(project.path) or opened.predicate != predicate:
        _let_go()
        return "", ""
    return opened.name, opened.gone
