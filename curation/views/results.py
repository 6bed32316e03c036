"""What is selected in Explore: count and predicate in words, actions on the marked or on all, sorted pages of pictures.

Gets the selected rows from the page; decides through actions.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd
import streamlit as st

from curation.project import Project
from curation.views import actions, sample, state
from curation.views.gallery import Act, gallery
from curation.views.palette import info_of
from engine.rundir import RunDir

PAGE_SIZE = 60
SORTS = ("margin", "label_quality", "heldout_margin", "weight", "p_train", "loss")
GALLERY_KEY = "explore.gallery"
_PAGE_KEY = "explore.page"
_PAGE_OF_KEY = "explore.page_of"
_ORDER_KEY = "explore.order"
_PENDING_KEY = "explore.pending"
_NUM_DECIDED_KEY = "explore.num_decided"


@dataclass(frozen=True, slots=True)
class Selection:
    """Rows of the sample table that lasso and filters leave, and how they came about in words."""

    rows: np.ndarray
    num_all: int
    words: tuple[str, ...]
    """Phrases joined by "and"; none where everything is selected."""
    token: str
    """Changes with what is selected, not with decisions on it: the page number lives as long."""

    @property
    def is_narrowed(self) -> bool:
        return bool(self.words)

    @property
    def predicate(self) -> str:
        return ", and ".join(self.words) if self.words else "all samples"


def results(project: Project, run: RunDir | None, selection: Selection) -> None:
    """Draw it all. Runs as a fragment: marking and paging redraw this part alone, a decision the whole page."""
    if actions.take_changed():
        st.rerun()  # a decision changes counts and tables outside this fragment
    table = state.sample_table_cached(project, run)
    view = f"explore: {selection.predicate}"

    def decide(op: str, ids: Iterable[str], label: str | None = None) -> None:
        st.session_state.pop(_PENDING_KEY, None)
        if actions.take(project, op, ids, label=label, view=view, run=run.name if run else "",
                        why=str(st.session_state.get("explore.why") or "")):
            st.session_state[_NUM_DECIDED_KEY] = st.session_state.get(_NUM_DECIDED_KEY, 0) + 1

    def acted(act: Act) -> None:
        if act.op == "open":
            sample.open_sample(act.ids[0], st.session_state.get(_ORDER_KEY, []))
        elif act.op in ("next", "previous"):
            st.session_state[_PAGE_KEY] = st.session_state.get(_PAGE_KEY, 1) + (1 if act.op == "next" else -1)
        elif act.op == "undo":
            actions.undo(project)
        else:
            decide(act.op, act.ids, act.label)

    actions.show_notices()
    st.markdown(f"**{len(selection.rows):,} of {selection.num_all:,} samples**: {state.plain(selection.predicate)}.")
    if not len(selection.rows):
        st.info("No sample passes. Widen a filter, or draw the lasso elsewhere.", icon=":material/filter_alt_off:")
        return
    bar = st.container(key="explore_bar")
    column, is_descending, size = _sorting(table)
    shown = _page(table, selection, column, is_descending)
    # A decision lets go of the marks, from a button as from a key: the next one must not fall on these samples again.
    marks_token = f"{selection.token}.{st.session_state.get(_NUM_DECIDED_KEY, 0)}"
    marked = gallery(project, shown.rows, acted, key=GALLERY_KEY, token=marks_token, size=size,
                     value_column=column, focus=st.session_state.get(sample.FOCUS_KEY),
                     has_previous=shown.number > 1, has_next=shown.number < shown.num_pages)
    if shown.num_pages > 1:
        with st.container(horizontal=True, vertical_alignment="center"):
            # A widget for each page: the keys n and p turn pages as well, and a widget's own value cannot be set.
            key = f"explore.pages.{selection.token}.{shown.number}"
            st.pagination(shown.num_pages, default=shown.number, key=key, on_change=_turn, args=(key,))
            st.caption(f"{PAGE_SIZE} a page", width="content")
    with bar:
        _action_bar(project, selection, table, marked, decide)
    sample.show_if_open(project, run, table)


# -- order and pages


def sort_order(values: pd.Series, is_descending: bool) -> np.ndarray:
    """Positions that sort the values; those without one come last either way, ties keep their order."""
    keys = values.to_numpy(dtype=np.float32, na_value=np.nan)
    keys = np.where(np.isnan(keys), np.inf, -keys if is_descending else keys)
    return np.argsort(keys, kind="stable")


def _sorting(table: pd.DataFrame) -> tuple[str | None, bool, int]:
    """Widgets of sort column, direction and picture size; what they say."""
    columns = [name for name in SORTS if name in table and table[name].notna().any()]
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        column, is_descending = None, False
        if columns:
            column = st.selectbox("Sort by", columns, format_func=lambda name: info_of(name).title, key="explore.sort",
                                  width=180, persist_state="session",
                                  help="The value under each picture. Samples without one come last.")
            order = st.segmented_control("First", ("lowest", "highest"), default="lowest",
                                         required=True, key="explore.direction", persist_state="session")
            is_descending = order == "highest"
        size = st.slider("Picture size", 64, 256, 96, step=16, key="explore.size", format="%d px", width=120,
                         persist_state="session")
    return column, is_descending, int(size)


def _turn(key: str) -> None:
    st.session_state[_PAGE_KEY] = st.session_state[key]


@dataclass(frozen=True, slots=True)
class _Page:
    rows: pd.DataFrame
    number: int
    num_pages: int


def _page(table: pd.DataFrame, selection: Selection, column: str | None, is_descending: bool) -> _Page:
    """The rows to show: of the first page when the selection changes, never beyond the last."""
    rows = selection.rows
    if column is not None:
        rows = rows[sort_order(table[column].iloc[rows], is_descending)]
    if st.session_state.get(_PAGE_OF_KEY) != selection.token:
        st.session_state[_PAGE_OF_KEY] = selection.token
        st.session_state[_PAGE_KEY] = 1
    num_pages = -(-len(rows) // PAGE_SIZE)
    number = min(max(1, int(st.session_state.get(_PAGE_KEY) or 1)), num_pages)
    st.session_state[_PAGE_KEY] = number
    shown = table.iloc[rows[(number - 1) * PAGE_SIZE:number * PAGE_SIZE]]
    st.session_state[_ORDER_KEY] = list(shown["sample_id"])
    return _Page(rows=shown, number=number, num_pages=num_pages)


# -- actions


def _action_bar(project: Project, selection: Selection, table: pd.DataFrame, marked: list[str],
                decide: Callable[..., None]) -> None:
    """Buttons for what the keys do, on the marked samples or on the whole selection."""
    targets = (["marked"] if marked else []) + (["selected"] if selection.is_narrowed else [])
    words = {"marked": f"{len(marked):,} marked", "selected": f"all {len(selection.rows):,} selected"}
    ids, what = marked, "marked"
    with st.container(horizontal=True, vertical_alignment="center", gap="small", key="explore_actions"):
        if targets:
            # A widget of its own for each set of choices: a remembered choice must be among those on offer.
            target = st.segmented_control("Decide on", targets, default=targets[0], required=True,
                                          label_visibility="collapsed",
                                          key=f"explore.target.{len(targets)}.{targets[0]}",
                                          format_func=words.__getitem__)
            what = words[str(target)]
            ids = marked if target == "marked" else list(table["sample_id"].iloc[selection.rows])
        for op in ("validation", "train", "exclude"):
            _button(actions.VERBS[op].format(what), op, ids, decide)
        _relabel(project, what, ids, decide)
        _aside(project, what, ids, decide)
    if not targets:
        st.caption("Mark pictures to decide on them, or lasso or filter to decide on many at once.")
    _confirmation(selection.token, decide)


def _button(text: str, op: str, ids: list[str], decide: Callable[..., None], label: str | None = None,
            key: str = "") -> None:
    """A decision button; above CONFIRM_ABOVE samples it asks first."""
    is_many = len(ids) > actions.CONFIRM_ABOVE
    has_key = op in actions.SHORTCUTS and not key
    st.button(text, key=key or f"explore.do.{op}", disabled=not ids, on_click=_ask if is_many else decide,
              args=(op, ids, label), help=f"Key: {actions.SHORTCUTS[op]}" if has_key else None)


def _relabel(project: Project, what: str, ids: list[str], decide: Callable[..., None]) -> None:
    with st.popover(actions.VERBS["relabel"].format(what), disabled=not ids, help="Key: r"):
        label = st.selectbox("New class", project.classes, index=None, placeholder="choose a class",
                             key="explore.relabel.class")
        _button("Relabel", "relabel", ids if label is not None else [], decide, label, key="explore.do.relabel")
        _button("Back to the given label", "relabel", ids, decide, None, key="explore.do.given")


def _aside(project: Project, what: str, ids: list[str], decide: Callable[..., None]) -> None:
    """Less used: taking decisions back, and the reason to be kept with the next ones."""
    with st.popover("More", help="Take decisions back; say why"):
        for op in ("unpin", "include"):
            _button(actions.VERBS[op].format(what), op, ids, decide)
        st.text_input("Why (optional)", key="explore.why", max_chars=500, persist_state="session",
                      placeholder="kept with each decision taken here")
    st.button("Undo", key="explore.undo", icon=":material/undo:", on_click=_undo, args=(project,),
              help="Takes back the newest decision of this project, whoever took it. Key: u")


def _undo(project: Project) -> None:
    actions.undo(project)


def _ask(op: str, ids: list[str], label: str | None) -> None:
    st.session_state[_PENDING_KEY] = (op, ids, label, st.session_state.get(_PAGE_OF_KEY))


def _confirmation(token: str, decide: Callable[..., None]) -> None:
    """Ask before one decision on very many samples; a changed selection takes the question back."""
    op, ids, label, asked_for = st.session_state.get(_PENDING_KEY, ("", [], None, None))
    if not op or asked_for != token:
        st.session_state.pop(_PENDING_KEY, None)
        return
    sentence = actions.VERBS[op].format(actions.samples(len(ids))) + (f" to {state.plain(label)}" if label else "")
    with st.container(border=True, horizontal=True, vertical_alignment="center"):
        st.markdown(f"**{sentence}?** It is one decision and can be undone.", width="content")
        st.button("Yes, do it", key="explore.confirm", type="primary", on_click=decide, args=(op, ids, label))
        st.button("Cancel", key="explore.cancel", on_click=st.session_state.pop, args=(_PENDING_KEY, None))
