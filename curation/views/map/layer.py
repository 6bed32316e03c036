"""What a map shows, kept in this process for the browser to ask for: pictures of any view of all samples, over HTTP.

A layer is coordinates, colours and marks of N samples. The page sends the browser a layer's token alone; each zoom
fetches a density raster of all samples in view under at most 5,000 of them as points. Knows no widget.
"""

import hashlib
import json
import math
import secrets
import struct
import threading
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, replace

import anyio.to_thread
import numpy as np
import polars as pl
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from curation.project import Project
from curation.samples.frames import SampleTable
from curation.samples.predicates import decision_mask, role_mask
from curation.views.map import raster
from curation.views.routes.thumbnails import thumbnail_url
from curation.views.widgets.palette import (
    FADED_COLOURS,
    PIN_COLOURS,
    ROLE_COLOURS,
    SCALES,
    Colouring,
    Theme,
    rgb,
    scale_rgb,
)

ROUTE_PATH = "/api/map"
MAX_LAYERS = 32
MAX_SUSPECTED = 1_000
ROWS_AT_ONCE = 262_144
"""A picture is drawn of so many samples at a time: they stay in the processor's cache."""
PINNED_TO_VALIDATION, PINNED_TO_TRAINING, EXCLUDED, FADED = 1, 2, 4, 8
"""Bits of a point's marks. FADED: the filters leave it out."""
_SECRET = secrets.token_hex(16)


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """N samples as a map shows them; arrays are shared between layers and never written."""

    project: Project
    xy: np.ndarray
    """(N, 2) float32; not finite where a sample has no place."""
    colours: Colouring
    marks: np.ndarray
    """(N,) uint8 of the bits above, without FADED."""
    important: tuple[np.ndarray, ...]
    """Masks (N,) bool of samples that are points before others, as the marked are: most suspected, routed."""
    labels: pl.Series
    """(N,) texts: what the browser says of a point."""
    ids: pl.Series
    """(N,) texts."""
    selected: np.ndarray | None = None
    """(N,) bool: what the filters leave; None: all. Others are drawn pale."""
    is_selected_only: bool = False
    """Others are not drawn at all."""
    extent: raster.Extent
    """The box of all places."""
    inside: np.ndarray | None = None
    """(N,) bool: inside the region; points before others."""


def make_layer(project: Project, table: SampleTable, xy: np.ndarray, extent: raster.Extent,
               colours: Colouring) -> Layer:
    """The layer of a sample table before filters. extent: raster.extent_of the places xy."""
    marks = np.zeros(len(table), dtype=np.uint8)
    for bit, name in ((PINNED_TO_VALIDATION, "pinned to validation"), (PINNED_TO_TRAINING, "pinned to training"),
                      (EXCLUDED, "excluded")):
        if "pin" in table:
            marks[decision_mask(table, name)] |= bit
    nobody = np.zeros(len(table), dtype=bool)
    routed = role_mask(table, "validation") if "role" in table else nobody
    suspected = table["label_quality"].lowest(MAX_SUSPECTED) if "label_quality" in table else nobody
    return Layer(project=project, xy=np.ascontiguousarray(xy, dtype=np.float32), colours=colours, marks=marks,
                 important=(suspected, routed), extent=extent, labels=table["current_label"].cells,
                 ids=table["sample_id"].cells)


# -- pictures


def picture(layer: Layer, view: raster.Extent, width: int, height: int, theme: Theme = "light") -> bytes:
    """What the browser draws of a view: little-endian uint32 number of points n and bytes of the PNG (0: none), the
    PNG, then n float32 x, n float32 y, n uint32 rows, 3n uint8 colours, n uint8 marks, rarest and worst points last.

    The raster holds every sample in view, and is left out where all of them are points.
    """
    is_in = _in_view(layer, view)
    num, selected = int(np.count_nonzero(is_in)), layer.selected
    points = _points(layer, is_in, num)
    png = b"" if len(points) == num else raster.png(_raster(layer, is_in, num, view, width, height, theme))
    order = _drawing_order(layer, points)
    marks = layer.marks[order]
    if selected is not None:
        marks = marks | np.where(selected[order], 0, FADED).astype(np.uint8)
    return b"".join((struct.pack("<II", len(order), len(png)), png, layer.xy[order, 0].astype("<f4").tobytes(),
                     layer.xy[order, 1].astype("<f4").tobytes(), order.astype("<u4").tobytes(),
                     _rgb_of(layer.colours, order, theme).round().astype(np.uint8).tobytes(), marks.tobytes()))


def _in_view(layer: Layer, view: raster.Extent) -> np.ndarray:
    """(N,) bool: samples that are drawn in this view."""
    found = np.empty(len(layer.xy), dtype=bool)
    for part in _blocks(layer):
        x, y = layer.xy[part, 0], layer.xy[part, 1]
        found[part] = (x >= view[0]) & (x <= view[1]) & (y >= view[2]) & (y <= view[3])  # False for NaN
    if layer.selected is not None and layer.is_selected_only:
        found &= layer.selected
    return found


def _blocks(layer: Layer) -> Iterator[slice]:
    for start in range(0, len(layer.xy), ROWS_AT_ONCE):
        yield slice(start, start + ROWS_AT_ONCE)


def _points(layer: Layer, is_in: np.ndarray, num: int) -> np.ndarray:
    """Which of the `num` rows in view (N,) bool are points: all while they are few; else the important and the selected
    first, then others by a lot that is the same in every view, so that zooming adds points and takes none away."""
    most = raster.MAX_OVERLAY_POINTS
    if num <= most:
        return np.flatnonzero(is_in)
    others = [mask for mask in (layer.inside, None if layer.is_selected_only else layer.selected) if mask is not None]
    chosen = raster.overlay_rows([mask & is_in for mask in (layer.marks > 0, *layer.important, *others)])
    if len(chosen) == most:
        return chosen
    rows, lots = np.empty(0, dtype=np.int64), np.empty(0, dtype=np.uint32)
    for part in _blocks(layer):
        own = np.flatnonzero(is_in[part]) + part.start
        own_lots = (own.astype(np.uint32) + np.uint32(1)) * np.uint32(2654435761)  # Knuth's multiplicative hash
        first, last = np.searchsorted(chosen, [part.start, part.stop])
        own_lots[np.searchsorted(own, chosen[first:last])] = 0
        rows, lots = np.concatenate([rows, own]), np.concatenate([lots, own_lots])
        if len(rows) > most:
            few = np.argpartition(lots, most - 1)[:most]
            rows, lots = rows[few], lots[few]
    return np.sort(rows)


def _raster(layer: Layer, is_in: np.ndarray, num: int, view: raster.Extent, width: int, height: int,
            theme: Theme) -> np.ndarray:
    """(h, w, 4) uint8; samples that the filters leave out lie pale under the others."""
    columns, lines = raster.grid_of(view, num, max(width, height))
    over, under, pale = raster.Shades(columns, lines), raster.Shades(columns, lines), rgb((FADED_COLOURS[theme],))[0]
    is_split = layer.selected is not None and not layer.is_selected_only
    for part in _blocks(layer):
        rows = np.flatnonzero(is_in[part]) + part.start
        cells = raster.cells_of(layer.xy[rows], view, columns, lines)
        if is_split:
            assert layer.selected is not None, "what is split has what is selected"
            is_selected = layer.selected[rows]
            under.add(cells[~is_selected], pale)
            rows, cells = rows[is_selected], cells[is_selected]
        over.add(cells, _rgb_of(layer.colours, rows, theme))
    if not is_split:
        return over.image()
    front, back = over.image(), under.image()
    back[..., 3] //= 2
    return np.where(front[..., 3:] > 0, front, back)


def _rgb_of(colours: Colouring, rows: np.ndarray, theme: Theme) -> np.ndarray:
    """(n, 3) float32 in 0..255."""
    if colours.values is not None:
        return scale_rgb(colours.values[rows], colours.low, colours.high, colours.scale(theme))
    assert colours.codes is not None, "a colouring has values or codes"
    return np.asarray(rgb(colours.colours)[colours.codes[rows]])


def _drawing_order(layer: Layer, points: np.ndarray) -> np.ndarray:
    """The points so that what matters is on top: selected over faded, bad values over good, rare categories over
    frequent ones."""
    colours = layer.colours
    if colours.values is not None:
        values = colours.values[points]
        key = np.where(np.isnan(values), -np.inf, -values if colours.is_reversed else values)
    else:
        assert colours.codes is not None, "a colouring has values or codes"
        key = -np.asarray(colours.counts)[colours.codes[points]]
    is_selected = np.ones(len(points), dtype=bool) if layer.selected is None else layer.selected[points]
    return np.asarray(points[np.lexsort((key, is_selected))])


# -- layers by token


_layers: OrderedDict[str, Layer] = OrderedDict()
_lock = threading.Lock()


def token_of(name: str) -> str:
    """The token of what `name` describes completely; nobody outside this process can make one up."""
    return hashlib.blake2b(f"{_SECRET}{name}".encode(), digest_size=16).hexdigest()


def keep(token: str, layer: Layer) -> None:
    """Let the browser ask for the layer; those not drawn for longest are let go."""
    kept_layer = replace(layer, selected=_packed(layer.selected), inside=_packed(layer.inside))
    with _lock:
        _layers[token] = kept_layer
        _layers.move_to_end(token)
        while len(_layers) > MAX_LAYERS:
            _layers.popitem(last=False)


def kept(token: str) -> Layer | None:
    with _lock:
        layer = _layers.get(token)
        if layer is None:
            return None
        _layers.move_to_end(token)
    return replace(layer, selected=_unpacked(layer.selected, layer), inside=_unpacked(layer.inside, layer))


def _packed(mask: np.ndarray | None) -> np.ndarray | None:
    """A mask in an eighth of its room: those of many views are kept."""
    return None if mask is None else np.packbits(mask)


def _unpacked(bits: np.ndarray | None, layer: Layer) -> np.ndarray | None:
    return None if bits is None else np.unpackbits(bits, count=len(layer.xy)).view(bool)


def _number(text: str, low: float, high: float) -> float:
    value = float(text)
    if not (math.isfinite(value) and low <= value <= high):
        raise ValueError("out of range")
    return value


def _answer(query: dict[str, str]) -> Response:
    """One picture, or what is said of one point (`row`). Every refusal is a plain 404; a lost layer's is 410."""
    layer = kept(query.get("layer", ""))
    if layer is None:
        return Response("this map is no longer kept", status_code=410, media_type="text/plain")
    headers = {"Cache-Control": "private, max-age=3600"}
    try:
        if "row" in query:
            row = int(_number(query["row"], 0, len(layer.ids) - 1))
            sample_id = str(layer.ids[row])
            said = {"id": sample_id, "label": str(layer.labels[row] or ""), "value": _value_words(layer.colours, row),
                    "src": thumbnail_url(layer.project, sample_id)}
            return Response(json.dumps(said), media_type="application/json", headers=headers)
        x0, x1, y0, y1 = (_number(query[name], -1e30, 1e30) for name in ("x0", "x1", "y0", "y1"))
        width, height = (int(_number(query[name], 1, 2000)) for name in ("w", "h"))
        theme: Theme | None = next((name for name in SCALES if name == query.get("theme", "light")), None)
        if not (x0 < x1 and y0 < y1) or theme is None:
            raise ValueError("an empty view, or a theme there is none of")
    except (KeyError, ValueError, OverflowError, OSError):
        return Response("no such view", status_code=404, media_type="text/plain")
    return Response(picture(layer, (x0, x1, y0, y1), width, height, theme), media_type="application/octet-stream",
                    headers=headers)


def _value_words(colours: Colouring, row: int) -> str:
    """The coloured value of a point, '' where it has none."""
    title = colours.title.partition(":")[0]
    if colours.values is not None:
        value = float(colours.values[row])
        return "" if math.isnan(value) else f"{title}: {value:.3g}"
    assert colours.codes is not None, "a colouring has values or codes"
    return f"{title}: {colours.names[colours.codes[row]]}"


async def serve_map(request: Request) -> Response:
    """GET /api/map?layer=TOKEN&x0=..&x1=..&y0=..&y1=..&w=640&h=540&theme=dark, or &row=17. Works in a thread."""
    return await anyio.to_thread.run_sync(_answer, dict(request.query_params))


ROUTES = [Route(ROUTE_PATH, serve_map, methods=["GET"])]
MARK_COLOURS = (("pinned to validation", PINNED_TO_VALIDATION, PIN_COLOURS["validation"]),
                ("pinned to training", PINNED_TO_TRAINING, PIN_COLOURS["train"]),
                ("excluded by people", EXCLUDED, ROLE_COLOURS["excluded"]))
"""Decisions are marked on the map whatever it is coloured by: name, bit, colour."""
