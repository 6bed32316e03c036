"""The selection as distributions: a histogram of any number, class counts, given against predicted. A click filters.

Counts in Python and sends bars, not samples. Draws figures; changes the predicate in force, decides nothing.
"""

import html

import numpy as np
import plotly.graph_objects as go
import streamlit as st

from curation.project import Project
from curation.samples.codes import Cell
from curation.samples.columns import Column, Range
from curation.samples.frames import SampleTable
from curation.views.explore import chosen
from curation.views.explore.selected import Selection
from curation.views.widgets.column_filter import range_of
from curation.views.widgets.confusion import heat_map, shown_classes
from curation.views.widgets.palette import SERIES, SET_BACK, info_of

MAX_BARS = 40
AGAINST = {"predicted_label": "predicted", "suggested_label": "suggested"}
_NOT_NUMBERS = ("x", "y", "signal_row")
_NUM_CLICKS_KEY = "explore.num_clicks"


def distributions(project: Project, table: SampleTable, selection: Selection) -> None:
    """Draw them. A click on a class or cell, or a box over bars, sets filters and draws the page anew."""
    how = "To filter, drag over bars of the histogram, or click a class or a cell."
    st.caption(f"Teal: the selected. Grey: all samples. Each in percent of its own number. {how}"
               if selection.is_narrowed else how)
    # A chart of its own for each selection and click: what was clicked must not be found again after an undo.
    key = f"{selection.token}.{st.session_state.get(_NUM_CLICKS_KEY, 0)}"
    _histogram(project, table, selection, key)
    st.markdown("**Classes**")
    _classes(project, table, selection, key)
    _confusion(project, table, selection, key)


def number_columns(table: SampleTable) -> list[str]:
    return [name for name, column in table.columns.items()
            if name not in _NOT_NUMBERS and column.kind == "number" and range_of(column) is not None]


# -- histogram


def edges_of(column: Column) -> np.ndarray:
    """(B + 1,) edges of the bars over a column of numbers; whole numbers get bars of a whole number each."""
    ends = range_of(column)
    assert ends is not None, "there is nothing to draw of this column"
    low, high, step = ends
    if isinstance(step, int):
        width = -(-(int(high) - int(low) + 1) // MAX_BARS)
        num = -(-(int(high) - int(low) + 1) // width)
        return low - 0.5 + width * np.arange(num + 1)
    return np.linspace(low, high, MAX_BARS + 1)


def _histogram(project: Project, table: SampleTable, selection: Selection, key: str) -> None:
    names = number_columns(table)
    if not names:
        return
    name = str(st.selectbox("Histogram of", names, index=names.index("margin") if "margin" in names else 0,
                            key="explore.histogram", format_func=lambda name: info_of(name).title, width=260,
                            persist_state="session"))
    edges = edges_of(table.columns[name])
    num = len(edges) - 1
    bins = table.columns[name].bins(float(edges[0]), float(edges[-1]), num)
    of_all, of_selected = (np.bincount(cells, minlength=num + 1)[:num] for cells in (bins, bins[selection.mask]))
    figure = _bars([(edges[i] + edges[i + 1]) / 2 for i in range(num)], of_all, of_selected, selection.is_narrowed)
    figure.update_layout(height=210, xaxis={"title": {"text": html.escape(info_of(name).title)}},
                         yaxis={"title": {"text": "% of samples"}})
    event = st.plotly_chart(figure, key=f"explore.bars.{name}.{key}", on_select="rerun",
                            selection_mode="box", config={"displayModeBar": False})
    places = [int(point["point_index"]) for point in event["selection"]["points"]]
    places = [i for i in places if 0 <= i < num]
    if places:
        chosen.change_column(project, name, condition_of(edges, min(places), max(places)))
        _clicked()


def condition_of(edges: np.ndarray, first: int, last: int) -> Range | None:
    """The filter of a run of bars; None where they are all of them."""
    low, high = float(edges[first]), float(edges[last + 1])
    is_whole = float(edges[0]) % 1 == 0.5 and float(edges[-1]) % 1 == 0.5
    if is_whole:
        low, high = low + 0.5, high - 0.5
    condition = Range()
    if first > 0:
        condition["min"] = float(f"{low:.6g}")
    if last < len(edges) - 2:
        condition["max"] = float(f"{high:.6g}")
    return condition or None


# -- classes


def _classes(project: Project, table: SampleTable, selection: Selection, key: str) -> None:
    found = table.columns["current_label"].codes
    of_all, of_selected = found.counts()[:-1], found.counts(selection.mask)[:-1]
    shown = np.argsort(-of_selected, kind="stable")[:MAX_BARS]
    names = [str(found.names[i]) for i in shown]
    figure = _bars(list(range(len(names))), of_all[shown], of_selected[shown], selection.is_narrowed,
                   (len(table), selection.num))
    figure.update_layout(height=230, xaxis={"tickvals": list(range(len(names))), "tickangle": -40,
                                            "ticktext": [_short(name) for name in names]},
                         yaxis={"title": {"text": "% of samples"}}, dragmode=False)
    event = st.plotly_chart(figure, key=f"explore.class_bars.{key}", on_select="rerun",
                            selection_mode="points", config={"displayModeBar": False})
    places = sorted({int(point["point_index"]) for point in event["selection"]["points"]})
    if picked := [names[i] for i in places if 0 <= i < len(names) and names[i] in project.classes]:
        chosen.change(project, "classes", picked)
        _clicked()


# -- given against predicted


def label_counts(table: SampleTable, against: str, classes: tuple[str, ...], mask: np.ndarray) -> np.ndarray:
    """(C, C) int64 over the rows of mask (N,) bool: rows the given label, columns the label that `against` names."""
    rows, columns = (_class_codes(table.columns[name], classes)[mask] for name in ("given_label", against))
    is_known = (rows >= 0) & (columns >= 0)
    flat = rows[is_known].astype(np.int64) * len(classes) + columns[is_known]
    return np.bincount(flat, minlength=len(classes) ** 2).reshape(len(classes), len(classes))


def _class_codes(column: Column, classes: tuple[str, ...]) -> np.ndarray:
    place: dict[Cell, int] = {name: i for i, name in enumerate(classes)}
    places = np.array([*(place.get(name, -1) for name in column.codes.names), -1], dtype=np.int32)
    return np.asarray(places[column.codes.codes])


def _confusion(project: Project, table: SampleTable, selection: Selection, key: str) -> None:
    names = [name for name in AGAINST if name in table.columns]
    if not names:
        return
    against = str(st.segmented_control("Given label against", names, default=names[0], required=True,
                                       format_func=AGAINST.__getitem__, key="explore.against",
                                       persist_state="session",
                                       help="Predicted: what the classifier said last. Suggested: the class that "
                                            "held-out predictions name."))
    counts = label_counts(table, against, project.classes, selection.mask)
    kept = shown_classes(counts, counts)
    classes = tuple(project.classes[i] for i in kept)
    figure = heat_map(counts[np.ix_(kept, kept)], classes, is_difference=False)
    size = len(classes)
    # A heat map reports no click; points over its cells do.
    figure.add_scatter(x=np.tile(np.arange(size), size), y=np.repeat(np.arange(size), size), mode="markers",
                       marker={"symbol": "square", "size": 22, "opacity": 0}, showlegend=False,
                       selected={"marker": {"opacity": 0}}, unselected={"marker": {"opacity": 0}},
                       customdata=None, hoverinfo="none")
    figure.update_traces(colorbar={"title": {"text": ""}, "thickness": 10}, selector={"type": "heatmap"})
    figure.update_layout(xaxis={"title": {"text": AGAINST[against]}, "range": [-0.5, size - 0.5]},
                         yaxis={"title": {"text": "given"}, "autorange": None, "range": [size - 0.5, -0.5]},
                         dragmode=False)
    event = st.plotly_chart(figure, key=f"explore.matrix.{against}.{key}", on_select="rerun",
                            selection_mode="points", config={"displayModeBar": False})
    places = [int(point["point_index"]) for point in event["selection"]["points"]]
    if places and 0 <= places[0] < size * size:
        row, column = divmod(places[0], size)
        chosen.change_column(project, "given_label", [classes[row]])
        chosen.change_column(project, against, [classes[column]])
        _clicked()


# -- shared


def _clicked() -> None:
    st.session_state[_NUM_CLICKS_KEY] = st.session_state.get(_NUM_CLICKS_KEY, 0) + 1
    st.rerun()


def _bars(x: list[float], of_all: np.ndarray, of_selected: np.ndarray, is_narrowed: bool,
          totals: tuple[int, int] | None = None) -> go.Figure:
    """Two sets of bars over the same places: all grey and wide, the selected teal before them, each in percent."""
    figure = go.Figure()
    sets = [("all", of_all, SET_BACK), ("selected", of_selected, SERIES[0])]
    for i, (name, counts, colour) in enumerate(sets if is_narrowed else [("samples", of_all, SERIES[0])]):
        total = max(1, int(totals[i] if totals else counts.sum()))
        figure.add_bar(x=x, y=100 * counts / total, marker={"color": colour}, name=name, showlegend=False,
                       text=[f"{count:,}" for count in counts.tolist()], textposition="none",
                       hovertemplate=f"%{{text}} {name}<extra></extra>")
    figure.update_layout(barmode="overlay", bargap=0.08, margin={"l": 4, "r": 4, "t": 4, "b": 4},
                         paper_bgcolor="rgba(0,0,0,0)", plot_bgcolor="rgba(0,0,0,0)", dragmode="select",
                         selectdirection="h", xaxis={"automargin": True}, yaxis={"automargin": True})
    return figure


def _short(name: str) -> str:
    return html.escape(name if len(name) <= 14 else name[:13] + "...")
