"""The map of a run's samples as a Plotly figure: raw points while there are few, else a raster under important ones.

Builds figures from arrays and reads regions from selection events. Draws nothing on a page; the lasso travels as a
polygon and is resolved over the whole table (curation.selection), never as a list of points.
"""

import html
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from curation.selection import in_box, in_polygon
from curation.views import raster
from curation.views.palette import (
    NO_VALUE_COLOUR,
    PIN_COLOURS,
    ROLE_COLOURS,
    Colouring,
    colouring,
    rgb,
    scale_rgb,
)

MAX_SVG_POINTS = 5_000
MAX_RAW_POINTS = 20_000
HEIGHT = 540
CONFIG = {"scrollZoom": True, "displaylogo": False, "displayModeBar": True,
          "modeBarButtonsToRemove": ["autoScale2d", "hoverClosestCartesian", "hoverCompareCartesian"]}
MARKS = (
    ("pinned to validation", "diamond-open", PIN_COLOURS["validation"]),
    ("pinned to training", "square-open", PIN_COLOURS["train"]),
    ("excluded by people", "x-thin-open", ROLE_COLOURS["excluded"]),
)
"""Decisions are marked on the map whatever it is coloured by."""


@dataclass(frozen=True, slots=True)
class Map:
    """A finished figure and what to say beside it."""

    figure: go.Figure
    colouring: Colouring
    num_points: int
    num_drawn: int
    """Points that are really there; fewer than num_points where a raster stands for the others."""
    marks: tuple[tuple[str, str, int], ...]
    """(name, colour, count) of the decisions marked."""

    @property
    def is_raster(self) -> bool:
        return self.num_drawn < self.num_points


# -- figures


def build(table: pd.DataFrame, column: str, shown: np.ndarray | None = None, region: dict[str, Any] | None = None,
          revision: str = "") -> Map:
    """The map of `table` (x, y and the columns of a sample table) coloured by `column`.

    shown: (N,) bool, rows to draw; all if None. region: drawn as an outline, since a new figure forgets its lasso.
    revision: keeps zoom while it stays the same.
    """
    xy = table[["x", "y"]].to_numpy(dtype=np.float32)
    is_drawn = np.isfinite(xy).all(axis=1) & (True if shown is None else shown)
    rows = np.flatnonzero(is_drawn)
    colours = colouring(table[column])
    extent = raster.extent_of(xy)
    selected = region_mask(xy, region) if region else np.zeros(len(table), dtype=bool)
    is_pickable = len(rows) <= MAX_SVG_POINTS
    figure = _empty_figure(extent, revision, is_pickable)
    drawn = rows
    if len(rows) > MAX_RAW_POINTS:
        _add_raster(figure, xy[rows], _colours_of(colours, rows), extent)
        drawn = rows[raster.overlay_rows([mask[rows] for mask in important(table, selected)])]
    _add_points(figure, table, xy, drawn, colours, num_points=len(rows))
    marks = _add_marks(figure, table, xy, drawn, rows)
    if region:
        _add_outline(figure, region, is_pickable)
    return Map(figure=figure, colouring=colours, num_points=len(rows), num_drawn=len(drawn), marks=marks)


def important(table: pd.DataFrame, selected: np.ndarray) -> list[np.ndarray]:
    """Masks (N,) of the samples that must be real points even where all others are a raster."""
    pins = _column(table, "pin")
    quality = table["label_quality"].to_numpy(np.float32) if "label_quality" in table else np.full(len(table), np.nan)
    return [np.isin(pins, list(PIN_COLOURS)), _flags(table, "excluded"), selected,
            raster.most_suspected(quality), _column(table, "role") == "validation"]


def _column(table: pd.DataFrame, name: str) -> np.ndarray:
    """Text of a column as objects, "" where there is none."""
    if name not in table:
        return np.full(len(table), "", dtype=object)
    return np.asarray(table[name].astype("string").fillna("").to_numpy(dtype=object))


def _flags(table: pd.DataFrame, name: str) -> np.ndarray:
    if name not in table:
        return np.zeros(len(table), dtype=bool)
    return np.asarray(table[name].astype("boolean").fillna(False).to_numpy(dtype=bool))


def _colours_of(colours: Colouring, rows: np.ndarray) -> np.ndarray:
    """(n, 3) colours of some rows, for the raster."""
    if colours.values is not None:
        return scale_rgb(colours.values[rows], colours.low, colours.high, colours.scale)
    assert colours.codes is not None, "a colouring has values or codes"
    return np.asarray(rgb(colours.colours)[colours.codes[rows]])


def _empty_figure(extent: raster.Extent, revision: str, is_pickable: bool) -> go.Figure:
    """Axes of equal scale without clutter, lasso at hand.

    Plotly sends each selected point back at 128 bytes on every later rerun. Where there are many, an empty second
    plot in the same place takes the drag instead: then the polygon alone travels (0.5 kB), and nothing needs redrawing.
    """
    axis = {"visible": False, "domain": [0, 1], "fixedrange": False}
    x, y = {**axis, "range": [extent[0], extent[1]]}, {**axis, "range": [extent[2], extent[3]]}
    figure = go.Figure()
    figure.update_layout(
        height=HEIGHT, margin={"l": 4, "r": 4, "t": 30, "b": 4}, dragmode="lasso", uirevision=revision or "map",
        showlegend=False, modebar={"bgcolor": "rgba(255,255,255,0.85)", "color": "#52625F", "activecolor": "#0F766E"},
        plot_bgcolor="rgba(0,0,0,0)", paper_bgcolor="#FAFBFB", hovermode="closest",
        xaxis=x, yaxis={**y, "scaleanchor": "x", "scaleratio": 1},
        newselection={"line": {"color": "#14201E", "width": 1.5, "dash": "solid"}},
        activeselection={"fillcolor": "rgba(15,118,110,0.10)", "opacity": 1},
    )
    if not is_pickable:
        figure.update_layout(xaxis2={**x, "matches": "x", "anchor": "y2"}, yaxis2={**y, "matches": "y", "anchor": "x2"})
        figure.add_trace(go.Scatter(x=[None], y=[None], xaxis="x2", yaxis="y2", mode="markers", hoverinfo="skip"))
    return figure


def _add_raster(figure: go.Figure, xy: np.ndarray, colours: np.ndarray, extent: raster.Extent) -> None:
    width, height = raster.grid_of(extent, len(xy))
    image = raster.shade(raster.cells_of(xy, extent, width, height), colours, width, height)
    figure.add_layout_image(source=raster.png_uri(image), xref="x", yref="y", x=extent[0], y=extent[3],
                            sizex=extent[1] - extent[0], sizey=extent[3] - extent[2], sizing="stretch", layer="below",
                            opacity=0.9)


def _add_points(figure: go.Figure, table: pd.DataFrame, xy: np.ndarray, rows: np.ndarray, colours: Colouring,
                num_points: int) -> None:
    """Real points; typed arrays alone, and hover text only while there are few."""
    is_svg = len(rows) <= MAX_SVG_POINTS
    kind = go.Scatter if is_svg else go.Scattergl
    size = 8 if num_points <= 500 else 6.5 if num_points <= 2_000 else 5 if num_points <= MAX_SVG_POINTS else 4
    marker: dict[str, Any] = {"size": size, "opacity": 0.85, "line": {"width": 0}}
    has_text = num_points <= MAX_SVG_POINTS
    unselected = {"marker": {"opacity": 0.18}}

    def add(part: np.ndarray, look: dict[str, Any]) -> None:
        if not len(part):
            return
        text = {"hovertext": _hover(table, part), "hoverinfo": "text"} if has_text else {"hoverinfo": "skip"}
        figure.add_trace(kind(x=xy[part, 0], y=xy[part, 1], mode="markers", marker={**marker, **look},
                              unselected=unselected, **text))

    if colours.values is None:
        assert colours.codes is not None, "a colouring has values or codes"
        codes = colours.codes[rows]
        for code in sorted(range(len(colours.names)), key=lambda i: -colours.counts[i]):  # rare ones on top
            add(rows[codes == code], {"color": colours.colours[code]})
        return
    values = colours.values[rows]
    add(rows[np.isnan(values)], {"color": NO_VALUE_COLOUR})
    known = rows[~np.isnan(values)]
    order = known[np.argsort(-colours.values[known] if colours.is_reversed else colours.values[known])]  # bad on top
    add(order, {"color": colours.values[order], "coloraxis": "coloraxis"})
    figure.update_layout(coloraxis={
        "cmin": colours.low, "cmax": colours.high, "colorscale": list(colours.scale),
        "colorbar": {"title": {"text": html.escape(colours.title), "side": "right", "font": {"size": 12}},
                     "thickness": 12, "len": 0.92, "outlinewidth": 0, "tickfont": {"size": 11}}})


def _hover(table: pd.DataFrame, rows: np.ndarray) -> list[str]:
    """Class and id of each row. Plotly reads a little HTML in hover text, so data is escaped."""
    part = table.iloc[rows]
    label = part["current_label"] if "current_label" in part else part["given_label"]
    return [f"{html.escape(str(name))}<br>{html.escape(str(key))}"
            for name, key in zip(label, part["sample_id"], strict=True)]


def _add_marks(figure: go.Figure, table: pd.DataFrame, xy: np.ndarray, drawn: np.ndarray,
               rows: np.ndarray) -> tuple[tuple[str, str, int], ...]:
    """Symbols around decided samples; counts are of all of them, drawn or not."""
    pins = _column(table, "pin")
    masks = {"pinned to validation": pins == "validation", "pinned to training": pins == "train",
             "excluded by people": _flags(table, "excluded")}
    found = []
    for name, symbol, colour in MARKS:
        marked = drawn[masks[name][drawn]]
        if len(marked):
            figure.add_trace(go.Scatter(
                x=xy[marked, 0], y=xy[marked, 1], mode="markers", hoverinfo="skip",
                marker={"symbol": symbol, "size": 13, "color": colour, "line": {"width": 2, "color": colour}},
                unselected={"marker": {"opacity": 0.9}}))
            found.append((name, colour, int(masks[name][rows].sum())))
    return tuple(found)


def _add_outline(figure: go.Figure, region: dict[str, Any], is_pickable: bool) -> None:
    """The region as a selection of Plotly's own, so that the next lasso takes its place."""
    look = {"line": {"color": "#14201E", "width": 1.5, "dash": "solid"},
            "xref": "x" if is_pickable else "x2", "yref": "y" if is_pickable else "y2"}
    for lasso in region["lasso"]:
        points = "L".join(f"{x:.6g},{y:.6g}" for x, y in lasso)
        figure.add_selection(type="path", path=f"M{points}Z", **look)
    for x0, x1, y0, y1 in region["box"]:
        figure.add_selection(type="rect", x0=x0, x1=x1, y0=y0, y1=y1, **look)


# -- regions


def region_of(event: Any) -> dict[str, Any] | None:
    """The lassos and boxes of a selection event, coordinates alone; None where there is none.

    {"lasso": [[[x, y], ...], ...], "box": [[x0, x1, y0, y1], ...]}: plain lists, so they compare and store as they are.
    """
    selection = (event or {}).get("selection") or {}
    lassos = [[[float(x), float(y)] for x, y in zip(part["x"], part["y"], strict=True)]
              for part in selection.get("lasso") or [] if len(part["x"]) >= 3]
    boxes = [[float(min(part["x"])), float(max(part["x"])), float(min(part["y"])), float(max(part["y"]))]
             for part in selection.get("box") or [] if len(part["x"]) >= 2]
    return {"lasso": lassos, "box": boxes} if lassos or boxes else None


def region_mask(xy: np.ndarray, region: dict[str, Any]) -> np.ndarray:
    """(N,) bool: inside any of the region's lassos and boxes. xy: (N, 2); points that are not finite are outside."""
    inside = np.zeros(len(xy), dtype=bool)
    for lasso in region["lasso"]:
        inside |= in_polygon(xy, np.asarray(lasso, dtype=np.float64))
    for x0, x1, y0, y1 in region["box"]:
        inside |= in_box(xy, x0, x1, y0, y1)
    return np.asarray(inside & np.isfinite(xy).all(axis=1))


def region_words(region: dict[str, Any]) -> str:
    """'inside the lasso', 'inside 2 lassos or the box'."""
    parts = [f"the {name}" if len(region[name]) == 1 else f"{len(region[name])} {name}{'es' if name == 'box' else 's'}"
             for name in ("lasso", "box") if region[name]]
    return "inside " + " or ".join(parts)
