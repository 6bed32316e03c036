"""Filters of the sample table: the widgets, with how many samples each choice would leave.

They show and change the predicate in force (curation.views.explore.chosen); curation.samples.predicates applies it.
Knows nothing of map and gallery.
"""

from typing import TypeVar

import numpy as np
import streamlit as st

from curation.project import Project
from curation.samples.columns import Cell
from curation.samples.predicates import (
    DECISIONS,
    FLAGS,
    MAX_TEXT,
    ListPart,
    Passing,
    Predicate,
    decision_mask,
    flag_mask,
    part_of,
)
from curation.samples.table import SampleTable
from curation.views.explore import chosen as store
from curation.views.widgets import state
from curation.views.widgets.column_filter import choices, column_filter
from curation.views.widgets.palette import COLUMNS, help_of, info_of

FLAGS_TITLE = "Doubt, guard, hard set"
_PART_OF: dict[str, ListPart] = {"current_label": "classes", "role": "roles"}
"""Columns with a filter of their own."""
T = TypeVar("T")
_QUICK = ("sample_id", "current_label", "role", "split", "signal_row")
"""Columns with a filter of their own, or without a use for one."""


def filter_bar(project: Project, table: SampleTable, chosen: Predicate, passing: Passing) -> None:
    """Draw the filters of the predicate `chosen`; passing: what each part of it leaves."""
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small", key="explore.bar"):
        _search(project, chosen)
        classes = table.columns["current_label"].codes
        _choices(project, "classes", "Class", list(project.classes), chosen,
                 _by_name(classes.names, classes.counts(passing.but("classes"))),
                 help="Current label: given, or what a person made it. In brackets: samples that the other filters and "
                      "the lasso leave.")
        if "role" in table.columns:
            roles = table.columns["role"].codes
            _choices(project, "roles", "Role", ["train", "validation", "excluded"], chosen,
                     _by_name(roles.names, roles.counts(passing.but("roles"))), help=help_of("role"))
        left = passing.but("decisions")
        _choices(project, "decisions", "Decision", list(DECISIONS), chosen,
                 {name: int((decision_mask(table, name) & left).sum()) for name in DECISIONS},
                 help="What people decided, in force now.")
        _adder(project, table)
    shown = [name for name in store.shown_columns(project) if name in table.columns or name == store.FLAGS_CELL]
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


def title_of(name: str) -> str:
    return FLAGS_TITLE if name == store.FLAGS_CELL else info_of(name).title


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
    st.text_input("Sample id", key=key, placeholder="contains ...", max_chars=MAX_TEXT, width=150,
                  on_change=lambda: store.search(project, str(st.session_state[key] or "").strip()))


def _choices(project: Project, part: ListPart, title: str, options: list[str], chosen: Predicate,
             counts: dict[str, int], help: str, width: int = 190) -> None:
    choices(title, f"explore.{part}", options, chosen.get(part, []), counts,
            lambda value: store.change(project, part, value), help=help, width=width)


def _by_name(names: tuple[Cell, ...], counts: np.ndarray) -> dict[str, int]:
    return {str(name): int(count) for name, count in zip(names, counts[:-1], strict=True)}


def _adder(project: Project, table: SampleTable) -> None:
    key, shown = "explore.add", store.shown_columns(project)
    options = [name for name in (store.FLAGS_CELL, *filter_columns(table)) if name not in shown]

    def added() -> None:
        name = st.session_state[key]
        if name is not None:
            store.show_column(project, name)
        st.session_state[key] = None

    st.selectbox("Add filter", options, index=None, key=key, placeholder="any column", width=190,
                 format_func=title_of, on_change=added,
                 help="Every column of the samples, your own included: choose one and its filter appears below.")


def _cell(project: Project, table: SampleTable, chosen: Predicate, passing: Passing, name: str) -> None:
    """One added filter, with a button that takes it away."""
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.caption(f"**{state.plain(title_of(name))}**", width="stretch",
                   help=None if name == store.FLAGS_CELL else help_of(name))
        st.button("", key=f"explore.remove.{name}", icon=":material/close:", type="tertiary",
                  help="Remove this filter", on_click=store.hide_column, args=(project, name))
    if name == store.FLAGS_CELL:
        left = passing.but("flags")
        choices(FLAGS_TITLE, "explore.flags", list(FLAGS), chosen.get("flags", []),
                {flag: int((flag_mask(table, flag) & left).sum()) for flag in FLAGS},
                lambda value: store.change(project, "flags", value), is_titled=False)
        return
    column_filter(table.columns[name], chosen.get("columns", {}).get(name), passing.but(part_of(name)),
                  lambda condition: store.change_column(project, name, condition))
