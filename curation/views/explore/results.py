"""What is selected on Explore, as pictures, as a table or as distributions, under the buttons that decide on it.

Gets the selected rows from the page; decides through actions. The panels draw themselves.
"""

from collections.abc import Callable
from dataclasses import replace

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from curation.project import Project
from curation.samples.frames import SampleTable
from curation.views.explore import chosen
from curation.views.explore.decision_bar import PENDING_KEY, WHY_KEY, decision_bar, go_on_with_marked
from curation.views.explore.distributions import distributions
from curation.views.explore.sample_rows import sample_rows
from curation.views.explore.selected import (
    ORDER_KEY,
    PAGE_OF_KEY,
    Selection,
    blind_note,
    page_of,
    page_turner,
    sort_pickers,
    turn_by,
)
from curation.views.sample import dialog
from curation.views.widgets import actions, likeness
from curation.views.widgets.gallery import Act, gallery, telling_column
from curation.views.widgets.shown import shown_samples
from engine.contract.run_dir import RunDir

PANELS = ("Gallery", "Table", "Distributions")
PAGE_SIZE = 60
SORTS = ("label_quality", "margin", "heldout_margin", "weight", "loss", "p_train")
GALLERY_KEY = "explore.gallery"
_NUM_DECIDED_KEY = "explore.num_decided"


def results(project: Project, run: RunDir | None, selection: Selection) -> None:
    """Draw it all. Runs as a fragment: marking and paging redraw this part alone, what changes more the whole page."""
    if actions.take_changed() or chosen.take_moved() or likeness.is_new():
        st.rerun()  # a decision changes counts and tables outside this fragment, a click in a chart the filters
    pattern = likeness.pattern_of(project)
    table = likeness.with_likeness(project, shown_samples(project, run))
    view = f"explore: {selection.words}"
    if pattern is not None:
        view += f", most like {pattern.words}"
        selection = replace(selection, token=f"{selection.token}.{abs(hash(pattern))}")

    def why() -> str:
        return str(st.session_state.get(WHY_KEY) or "")

    def decide(op: actions.Op, ids: Callable[[], list[str]], label: str | None = None) -> None:
        st.session_state.pop(PENDING_KEY, None)
        if actions.take(project, op, ids(), label=label, view=view, run=run.name if run else "", why=why()):
            st.session_state[_NUM_DECIDED_KEY] = st.session_state.get(_NUM_DECIDED_KEY, 0) + 1

    def acted(act: Act) -> None:
        if act.op == "open":
            dialog.open_sample(act.ids[0], st.session_state.get(ORDER_KEY, []))
        elif act.op in ("next", "previous"):
            turn_by(1 if act.op == "next" else -1)
        else:
            if act.ids:
                go_on_with_marked(selection)
            actions.carry_out(project, act, view=view, run=run.name if run else "", why=why())

    def more_like(ids: list[str]) -> None:
        likeness.ask(project, run, ids)

    actions.show_notices()
    if pattern is not None:
        likeness.pattern_line(project, pattern)
    line = st.container(horizontal=True, vertical_alignment="center", gap="small", key="explore_line")
    panel = line.segmented_control("Show as", PANELS, default=PANELS[0], required=True, key="explore.panel",
                                   label_visibility="collapsed", persist_state="session")
    if not selection.num:
        st.info("No sample passes. Widen a filter, or draw the lasso elsewhere.", icon=":material/filter_alt_off:")
        dialog.show_if_open(project, run, table)
        return
    bar = st.container(key="explore_bar")
    # A decision lets go of the marks: the next one must not fall on these samples again. A key has done so by itself,
    # and who goes on marking must not lose the next marks when the page catches up.
    marks_token = f"{selection.token}.{st.session_state.get(_NUM_DECIDED_KEY, 0)}"
    if panel == "Gallery":
        marked = _gallery(project, run, table, selection, acted, marks_token, line)
    elif panel == "Table":
        marked = sample_rows(project, run, table, selection, marks_token, line)
    else:
        st.session_state[PAGE_OF_KEY] = f"{selection.token}.{panel}"  # what a question before a decision is about
        marked = []
        distributions(project, table, selection)
    with bar:
        decision_bar(project, selection, table, marked, decide, more_like)
    dialog.show_if_open(project, run, table)


def _gallery(project: Project, run: RunDir | None, table: SampleTable, selection: Selection,
             acted: Callable[[Act], None], marks_token: str, line: DeltaGenerator) -> list[str]:
    """Pictures of a page; ids of the marked. line: where what sorts them goes."""
    with line:
        column, is_descending, size = _sorting(table)
    page = page_of(project, run, table, selection, column, is_descending, PAGE_SIZE)
    marked = gallery(project, page.rows, acted, key=GALLERY_KEY, token=marks_token, size=size,
                     value_column=telling_column(page.rows, column, SORTS),
                     focus=st.session_state.get(dialog.FOCUS_KEY),
                     has_previous=page.number > 1, has_next=page.number < page.num_pages)
    page_turner(selection, page)
    blind_note(project, page.rows)
    return marked


def _sorting(table: SampleTable) -> tuple[str | None, bool, int]:
    """Widgets of sort column, direction and picture size; what they say."""
    columns = [name for name in SORTS if name in table and table[name].has_values]
    column, is_descending = None, False
    if likeness.LIKENESS in table:
        column, is_descending = likeness.LIKENESS, True
    elif columns:
        column, is_descending = sort_pickers(columns, "explore.sort", "explore.direction")
    size = st.slider("Picture size", 64, 256, 96, step=16, key="explore.size", format="%d px", width=90,
                     persist_state="session", label_visibility="collapsed")
    return column, is_descending, int(size)
