"""Filters of the sample table: the widgets, with how many samples each choice would leave.

They show and change the predicate in force (curation.views.explore.chosen); curation.samples.predicates applies it.
Knows nothing of map and gallery.
"""

from typing import TypeVar

import streamlit as st

from curation.project import Project
from curation.samples.codes import Cell
from curation.samples.frames import SampleTable
from curation.samples.predicates import MAX_TEXT, ListPart, Passing, Predicate, part_of
from curation.views.explore import chosen as store
from curation.views.widgets import state
from curation.views.widgets.column_filter import choices, column_filter
from curation.views.widgets.palette import COLUMNS, help_of, info_of

_PART_OF: dict[str, ListPart] = {"current_label": "classes", "role": "roles"}
"""Columns with a filter of their own."""
T = TypeVar("T")
_QUICK = ("sample_id", "current_label", "role", "split", "signal_row")
"""Columns with a filter of their own, or without a use for one."""


def filter_bar(project: Project, table: SampleTable, chosen: Predicate, passing: Passing) -> None:
    """Draw the filters that every table has; passing: what each part of the predicate `chosen` leaves."""
    _search(project, chosen)
    classes = table.columns["current_label"].codes
    left = dict(zip(map(str, classes.names), map(int, classes.counts(passing.but("classes"))), strict=False))
    choices("Class", "explore.classes", list(project.classes), chosen.get("classes", []), left,
            lambda value: store.change(project, "classes", value), width=135, placeholder="Class: any")
    _adder(project, table)


def column_filters(project: Project, table: SampleTable, chosen: Predicate, passing: Passing) -> None:
    """Draw the filters that were added, each of a column."""
    shown = [name for name in store.shown_columns(project) if name in table.columns]
    if shown:
        with st.container(horizontal=True, vertical_alignment="top", gap="small", key="explore.columns"):
            for name in shown:
                with st.container(width=250, gap=None, key=f"explore.cell.{name}"):
                    _cell(project, table, chosen, passing, name)


def filter_columns(table: SampleTable) -> list[str]:
    """Columns that "Add filter" offers: what the run says, then the data's own, then the rest."""
    late = ("path", "x", "y", "is_resting", "relabel", "decided_by", "decided_at", "decided_why", "clean_label")
    names = [name for name in table.columns if name not in _QUICK]
    ours = [name for name in COLUMNS if name in names and name not in late]
    own = [name for name in names if name not in ours and name not in late]
    return [*ours, *own, *(name for name in late if name in names)]


def pick(project: Project, table: SampleTable, column: str, name: str) -> None:
    """A category was chosen elsewhere, in a legend say: it joins the filter of its column, or leaves it."""
    chosen, part = store.stored(project), _PART_OF.get(column)
    if part is not None:
        store.change(project, part, _toggled(chosen.get(part, []), name))
        return
    known: dict[str, Cell] = {**{str(item): item for item in table.columns[column].codes.names}, "none": None}
    now = chosen.get("columns", {}).get(column, [])
    if name in known:
        store.change_column(project, column, _toggled(list(now) if isinstance(now, list) else [], known[name]))


def _toggled(names: list[T], name: T) -> list[T]:
    return [item for item in names if item != name] if name in names else [*names, name]


# -- parts


def _search(project: Project, chosen: Predicate) -> None:
    key, value = "explore.search", chosen.get("search", "")
    if st.session_state.get(key, "") != value:
        st.session_state[key] = value
    st.text_input("Sample id", key=key, placeholder="Sample id ...", max_chars=MAX_TEXT, width=110,
                  label_visibility="collapsed",
                  on_change=lambda: store.search(project, str(st.session_state[key] or "").strip()))


def _adder(project: Project, table: SampleTable) -> None:
    key, shown = "explore.add", store.shown_columns(project)
    options = [name for name in filter_columns(table) if name not in shown]

    def added() -> None:
        name = st.session_state[key]
        if name is not None:
            store.show_column(project, name)
        st.session_state[key] = None

    st.selectbox("Add filter", options, index=None, key=key, placeholder="Add a filter", width=122,
                 format_func=lambda name: info_of(name).title, on_change=added, label_visibility="collapsed")


def _cell(project: Project, table: SampleTable, chosen: Predicate, passing: Passing, name: str) -> None:
    """One added filter, with a button that takes it away."""
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.caption(f"**{state.plain(info_of(name).title)}**", width="stretch", help=help_of(name))
        st.button("", key=f"explore.remove.{name}", icon=":material/close:", type="tertiary",
                  help="Remove this filter", on_click=store.hide_column, args=(project, name))
    column_filter(table.columns[name], chosen.get("columns", {}).get(name), passing.but(part_of(name)),
                  lambda condition: store.change_column(project, name, condition))
