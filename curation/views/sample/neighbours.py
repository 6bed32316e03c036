"""What lies next to one sample in the run's features: a small gallery and what it says, near-duplicates first.

Decisions go through actions. Reads one row of the neighbours' file.
"""

from collections.abc import Callable

import numpy as np
import pandas as pd
import streamlit as st

from curation.project import Project
from curation.samples.frames import SampleTable
from curation.samples.neighbours import NEAR_ZERO, neighbours_of
from curation.views.widgets import actions, state
from curation.views.widgets.gallery import Act, gallery, text_of
from curation.words import counted
from engine.contract.run_dir import RunDir

_KEY = "sample.neighbours"
MAX_OTHERS = 3
"""So many of the other labels among neighbours are named."""


def show_neighbours(project: Project, run: RunDir, table: SampleTable, idx: int,
                    on_open: Callable[[str], None]) -> None:
    """The neighbours of row idx of the table, nearest first, with words. on_open: called before the next page drawn."""
    st.subheader("Nearest neighbours")
    signal_row = int(table["signal_row"].cells[idx]) if "signal_row" in table else -1
    found = neighbours_of(run, signal_row)
    if found is None:
        st.caption("The run did not know this sample." if signal_row < 0 else
                   "They appear with the map, when the run has ended.")
        return
    near = near_rows(table, found[0], found[1])
    label = text_of(table["current_label"].cells[idx])
    doubles = duplicate_words(near, label)
    if doubles:
        st.warning(state.plain(doubles), icon=":material/content_copy:")
    st.caption(state.plain(f"Nearest first, in the run's features. {neighbour_words(near, label)} Enter opens "
                           "one."))

    def acted(act: Act) -> None:
        if act.op == "open":
            on_open(act.ids[0])
        else:
            actions.carry_out(project, act, view="explore: neighbours of one sample", run=run.name)

    gallery(project, near, acted, key=_KEY, token=table.ids([idx])[0], size=92, value_column="distance",
            is_compact=True)


def near_rows(table: SampleTable, indices: np.ndarray, distances: np.ndarray) -> pd.DataFrame:
    """The table's rows of neighbours (k,), with distance. indices: rows of the run's signals; the table may have gained
    or lost samples since."""
    signal_row = table["signal_row"].cells
    known = indices[indices >= 0]  # -1: the search found fewer
    places = signal_row.is_in(known.tolist()).arg_true().to_numpy()
    row_of = dict(zip(signal_row[places].to_list(), places.tolist(), strict=True))
    is_there = np.array([int(index) in row_of for index in indices], dtype=bool)
    return table.rows([row_of[int(index)] for index in indices[is_there]]).assign(distance=distances[is_there])


def neighbour_words(near: pd.DataFrame, label: str) -> str:
    """'Of 8 neighbours in training 6 carry the label cat, 2 another: dog (2). None is in validation.' Holds labels:
    escape it."""
    parts = []
    for role, place in (("train", "in training"), ("validation", "in validation")):
        labels = near.loc[near["role"].eq(role), "current_label"]
        if labels.empty:
            parts.append(f"None is {place}.")
            continue
        num, same = len(labels), int((labels == label).sum())
        others = labels[labels != label].fillna("none").value_counts()
        told = ", ".join(f"{name} ({count})" for name, count in others.head(MAX_OTHERS).items())
        num_more = len(others) - MAX_OTHERS
        more = f" and {counted(num_more, 'more class', 'more classes')}" if num_more > 0 else ""
        rest = f", {num - same} another: {told}{more}" if len(others) else ""
        parts.append(f"Of {counted(num, 'neighbour')} {place} {same or 'none'} carr{'y' if same > 1 else 'ies'} "
                     f"the label {label}{rest}.")
    return " ".join(parts)


def duplicate_words(near: pd.DataFrame, label: str) -> str:
    """That there are near-duplicates, and which of them carry another label; "" without any. Holds labels and ids."""
    doubles = near[near["distance"] <= NEAR_ZERO]
    if doubles.empty:
        return ""
    num = len(doubles)
    found = f"{counted(num, 'near-duplicate')}: at almost no distance in the run's features."
    other = doubles[doubles["current_label"] != label]
    if other.empty:
        return f"{found} {'All carry' if num > 1 else 'It carries'} the same label."
    told = ", ".join(f"{name} ({text_of(lab) or 'no label'})" for name, lab in
                     zip(other["sample_id"].head(4), other["current_label"].head(4), strict=True))
    more = f" and {len(other) - 4} more" if len(other) > 4 else ""
    return f"{found} Another label: {told}{more}. One of them is probably wrong."
