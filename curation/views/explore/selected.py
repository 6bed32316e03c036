"""What is selected on Explore, as the panels beside the map get it, and sorted pages of it. Draws the page turner."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import streamlit as st

from curation.audit.reviews.blinding import blind_words, is_blind
from curation.project import Project
from curation.samples import held_order
from curation.samples.frames import SampleTable
from curation.samples.predicates import Predicate
from curation.views import scored
from curation.views.widgets import live
from curation.views.widgets.palette import info_of
from engine.contract.run_dir import RunDir

PAGE_KEY = "explore.page"
PAGE_OF_KEY = "explore.page_of"
ORDER_KEY = "explore.order"


@dataclass(frozen=True, slots=True)
class Selection:
    """Rows of the sample table that the predicate leaves, and how they came about in words."""

    mask: np.ndarray
    """(N,) bool over the whole table."""
    num: int
    """How many they are."""
    words: str
    predicate: Predicate
    token: str
    """Changes with what is selected, not with decisions on it: the page number lives as long."""

    @property
    def is_narrowed(self) -> bool:
        return bool(self.predicate)

    def ids(self, table: SampleTable) -> list[str]:
        """Sample ids of the whole selection; a million take half a second, so ask only when they are needed."""
        return table.ids(np.flatnonzero(self.mask))


@dataclass(frozen=True, slots=True)
class Page:
    rows: pd.DataFrame
    number: int
    num_pages: int
    size: int


def page_of(project: Project, run: RunDir | None, table: SampleTable, selection: Selection, column: str | None,
            is_descending: bool, size: int) -> Page:
    """The rows to show: of the first page when the selection changes, never beyond the last. Where the run's signals
    change, what is on the page stays there until it is turned; what is decided on goes as the filters say."""
    of = f"{selection.token}.{size}"
    if st.session_state.get(PAGE_OF_KEY) != of:
        st.session_state[PAGE_OF_KEY] = of
        st.session_state[PAGE_KEY] = 1
    num_pages = max(1, -(-selection.num // size))
    number = min(max(1, int(st.session_state.get(PAGE_KEY) or 1)), num_pages)
    st.session_state[PAGE_KEY] = number
    start, stop, pool, first = (number - 1) * size, number * size, selection.mask, np.empty(0, dtype=np.int64)
    if run is not None:
        held = live.held(project, run, "explore", f"{of}.{column}.{is_descending}.{number}")
        if held.is_held:
            first = held_order.front(held, selection.mask | table["decided_by"].is_null)
            pool, stop = pool.copy(), max(start, stop - len(first))
            pool[first] = False
    rows = np.flatnonzero(pool)[start:stop] if column is None else \
        table[column].sorted_page(pool, is_descending, start, stop)
    rows = np.concatenate([first, rows]) if len(first) else rows
    if run is not None:
        live.seen("explore", rows)
    shown = table.rows(rows)
    st.session_state[ORDER_KEY] = list(shown["sample_id"])
    return Page(rows=shown, number=number, num_pages=num_pages, size=size)


def sort_pickers(columns: list[str], key: str, direction_key: str, first: int = 0) -> tuple[str, bool]:
    """Widgets of the column to sort the whole selection by and of the direction; what they say. Samples without a value
    come last. first: the place among the columns of the one at the start."""
    column = st.selectbox("Sort by", columns, first, key=key, width=170, persist_state="session",
                          label_visibility="collapsed",
                          format_func=lambda name: f"By {'id' if name == 'sample_id' else info_of(name).title.lower()}")
    order = st.segmented_control("First", ("lowest", "highest"), default="lowest", required=True, key=direction_key,
                                 label_visibility="collapsed", persist_state="session")
    return str(column), order == "highest"


def page_turner(selection: Selection, page: Page) -> None:
    if page.num_pages == 1:
        return
    with st.container(horizontal=True, vertical_alignment="center"):
        # A widget for each page: the keys n and p turn pages as well, and a widget's own value cannot be set.
        key = f"explore.pages.{selection.token}.{page.size}.{page.number}"
        st.pagination(page.num_pages, default=page.number, key=key, on_change=_turn, args=(key,))
        st.caption(f"{page.size} a page", width="content")


def blind_note(project: Project, rows: pd.DataFrame) -> None:
    """Why nothing is said of some samples of the page."""
    if said := blind_words(int(is_blind(rows, scored.blind(project).ids).sum())):
        st.caption(said)


def turn_by(by: int) -> None:
    st.session_state[PAGE_KEY] = st.session_state.get(PAGE_KEY, 1) + by


def _turn(key: str) -> None:
    st.session_state[PAGE_KEY] = st.session_state[key]
