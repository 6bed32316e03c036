"""The noise matrix as a figure: rows the given label, columns the true one, each cell one click. Knows no page.

A heat map cannot be clicked in Streamlit: over each cell lies a transparent square that can.
"""

import html
from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from curation.views.widgets.palette import FEW_TO_MANY, FEWER_TO_MORE, PANEL

MAX_CLASSES = 40
"""Beyond this a heat map is no longer read; the classes with the most errors are shown."""
MAX_TEXT_CLASSES = 16


def shown_classes(errors: np.ndarray) -> np.ndarray:
    """Positions of the classes to show, in their own order: all, or the MAX_CLASSES with the most errors.

    errors: (C, C or more) numbers, the diagonal left out of account, NaN counted as 0.
    """
    num = len(errors)
    if num <= MAX_CLASSES:
        return np.arange(num)
    off = np.abs(np.nan_to_num(errors[:, :num]))
    off = off - np.diag(np.diag(off))
    return np.sort(np.argsort(-(off.sum(0) + off.sum(1)), kind="stable")[:MAX_CLASSES])


def heat_figure(colour: np.ndarray, text: np.ndarray, hover: np.ndarray, rows: Sequence[str], columns: Sequence[str],
                legend: str, *, is_difference: bool = False) -> go.Figure:
    """colour: (R, K) numbers, NaN: blank; text, hover: (R, K) str, ours alone; rows, columns: names as they are.

    Points of the second trace are the cells, row after row: point_index // K is the row.
    """
    limit = float(np.nanmax(np.abs(colour))) if np.isfinite(colour).any() else 0.0
    limit = limit or 1.0
    x, y = np.meshgrid(np.arange(len(columns)), np.arange(len(rows)))
    names = [[html.escape(name) for name in some] for some in (rows, columns)]
    side = _height(len(rows)) / max(len(rows), 1)
    figure = go.Figure([
        go.Heatmap(z=colour, x=list(range(len(columns))), y=list(range(len(rows))), xgap=1, ygap=1, hoverinfo="skip",
                   colorscale=FEWER_TO_MORE if is_difference else FEW_TO_MANY,
                   zmin=-limit if is_difference else 0, zmax=limit,
                   text=text, texttemplate="%{text}" if len(rows) <= MAX_TEXT_CLASSES else "", textfont={"size": 11},
                   colorbar={"title": {"text": html.escape(legend), "side": "right"}, "thickness": 12,
                             "outlinewidth": 0}),
        go.Scatter(x=x.ravel(), y=y.ravel(), mode="markers", showlegend=False,
                   marker={"symbol": "square", "size": max(8, min(34, side * 0.7)), "color": "rgba(0,0,0,0)"},
                   selected={"marker": {"opacity": 1}}, unselected={"marker": {"opacity": 1}},
                   text=[f"given {names[0][i]}<br>truly {names[1][j]}<br>{hover[i, j]}"
                         for i in range(len(rows)) for j in range(len(columns))],
                   hovertemplate="%{text}<extra></extra>")])
    ticks = [[name if len(name) <= 18 else name[:17] + "..." for name in some] for some in (rows, columns)]
    figure.update_layout(
        height=_height(len(rows)), margin={"l": 4, "r": 4, "t": 4, "b": 4}, paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor=PANEL, clickmode="event+select", dragmode=False, hovermode="closest",
        xaxis={**_axis(ticks[1], "true label"), "range": [-0.5, len(columns) - 0.5]},
        yaxis={**_axis(ticks[0], "given label"), "range": [len(rows) - 0.5, -0.5]})
    return figure


def _height(num_rows: int) -> int:
    return max(340, min(760, 130 + 32 * num_rows))


def _axis(names: Sequence[str], title: str) -> dict[str, object]:
    return {"tickvals": list(range(len(names))), "ticktext": [html.escape(name) for name in names], "showgrid": False,
            "zeroline": False, "automargin": True, "title": {"text": title}}


def clicked(event: object, num_columns: int) -> tuple[int, int] | None:
    """(row, column) of the cell clicked last, of the event of st.plotly_chart; None without one."""
    selection = event.get("selection") if hasattr(event, "get") else None  # type: ignore[union-attr]
    points = selection.get("points") if hasattr(selection, "get") else None  # type: ignore[union-attr]
    index = points[-1].get("point_index") if points else None
    return divmod(int(index), num_columns) if isinstance(index, int) else None
