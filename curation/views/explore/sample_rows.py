"""The selection as a table: sorted and paged here, whatever its size; marked rows are what the decisions are about.

Shows one page of rows and returns the marked ids. Takes no decision and selects nothing.
"""

import pandas as pd
import streamlit as st
from streamlit.delta_generator import DeltaGenerator
from streamlit.elements.lib.column_types import ColumnConfig

from curation.project import Project
from curation.samples.frames import SampleTable
from curation.views.explore.selected import ORDER_KEY, Selection, blind_note, page_of, page_turner, sort_pickers
from curation.views.routes.thumbnails import SIZES, thumbnail_url
from curation.views.sample import dialog
from curation.views.widgets.likeness import LIKENESS
from curation.views.widgets.palette import COLUMNS, help_of, info_of
from engine.contract.run_dir import RunDir

PAGE_SIZE = 100
FIRST = (LIKENESS, "given_label", "suggested_label", "margin", "label_quality", "role", "predicted_label", "weight",
         "heldout_margin", "p_train", "loss", "pin", "excluded", "relabel")
LAST = ("role_reason", "path", "x", "y", "decided_by", "decided_at", "decided_why")
SHORT_TITLES = {"suggested_label": "Suggested", "predicted_label": "Predicted", "label_quality": "Quality",
                "heldout_margin": "Held-out", "p_train": "p_train", "given_label": "Given label"}
_LEFT_OUT = ("sample_id", "split", "signal_row", "current_label")
_PICTURE = "_picture"
_MARKS_KEY = "explore.row_marks"


def sample_rows(project: Project, run: RunDir | None, table: SampleTable, selection: Selection,
                token: str, line: DeltaGenerator) -> list[str]:
    """Draw a page of the selection; ids marked on this page and on others, until the token changes. line: where what
    sorts them goes."""
    columns = row_columns(table)
    with line:
        column, is_descending = (LIKENESS, True) if LIKENESS in columns else _sorting(columns)
    page = page_of(project, run, table, selection, column, is_descending, PAGE_SIZE)
    ids = page.rows["sample_id"].tolist()
    kept = st.session_state.get(_MARKS_KEY, {})
    before: list[str] = kept["ids"] if kept.get("token") == token else []
    shown = page.rows[["sample_id", *columns]].reset_index(drop=True)
    shown.insert(0, _PICTURE, [thumbnail_url(project, sample_id, SIZES[0]) for sample_id in ids])
    event = st.dataframe(
        shown, hide_index=True, height=560, row_height=44, on_select="rerun", selection_mode="multi-row",
        key=f"explore.rows.{token}.{column}.{is_descending}.{page.number}",
        selection_default={"selection": {"rows": [i for i, name in enumerate(ids) if name in set(before)],
                                         "columns": [], "cells": []}},
        column_config=_config(shown, columns))
    rows = [i for i in event["selection"]["rows"] if i < len(ids)]
    here = set(ids)
    marked = [name for name in before if name not in here] + [ids[i] for i in rows]
    st.session_state[_MARKS_KEY] = {"token": token, "ids": marked}
    with st.container(horizontal=True, vertical_alignment="center"):
        page_turner(selection, page)
        st.button("Open the marked sample", key="explore.open_row", disabled=len(marked) != 1, on_click=_open,
                  args=(marked,), help="Mark one row to see its picture, course and neighbours.")
    blind_note(project, page.rows)
    return marked


def row_columns(table: SampleTable) -> list[str]:
    """Columns to show beside the id, those that matter first; those without any value are left out."""
    names = [name for name in table.columns if name not in _LEFT_OUT]
    first = [name for name in FIRST if name in names]
    ours = [name for name in COLUMNS if name in names and name not in first and name not in LAST]
    own = [name for name in names if name not in first and name not in ours and name not in LAST]
    ordered = [*first, *ours, *own, *(name for name in LAST if name in names)]
    return [name for name in ordered if table[name].has_values]


def _sorting(columns: list[str]) -> tuple[str, bool]:
    options = ["sample_id", *columns]
    return sort_pickers(options, "explore.row_sort", "explore.row_direction",
                        options.index("margin") if "margin" in options else 0)


def _config(shown: pd.DataFrame, columns: list[str]) -> dict[str, ColumnConfig]:
    """Titles and widths; numbers with three digits."""
    found: dict[str, ColumnConfig] = {
        _PICTURE: st.column_config.ImageColumn("", width=56, pinned=True),
        "sample_id": st.column_config.TextColumn("Sample id", width=120)}
    for name in columns:
        title, meaning = SHORT_TITLES.get(name, info_of(name).title.split(" (")[0]), help_of(name)
        found[name] = st.column_config.NumberColumn(title, help=meaning, format="%.3f", width=75) \
            if shown[name].dtype.kind == "f" else st.column_config.Column(title, help=meaning, width=100)
    return found


def _open(marked: list[str]) -> None:
    dialog.open_sample(marked[0], st.session_state.get(ORDER_KEY, []))
