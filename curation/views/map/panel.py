"""The map beside its controls: which map, what it is coloured by, the region selected on it and how that is kept.

The map is a component of our own (assets/map/map.js), which fetches what it draws (curation.views.map.layer) and keeps
its zoom. Knows nothing of gallery and decisions.
"""

import hashlib
from collections.abc import Callable
from dataclasses import replace
from typing import Literal, TypedDict

import numpy as np
import streamlit as st

from curation.project import Project
from curation.samples.frames import SampleTable
from curation.samples.predicates import Region, role_mask
from curation.samples.regions import region_mask, region_of
from curation.views.map import places
from curation.views.map.layer import (
    EXCLUDED,
    MARK_COLOURS,
    PINNED_TO_TRAINING,
    PINNED_TO_VALIDATION,
    Layer,
    keep,
    make_layer,
    token_of,
)
from curation.views.sample import dialog
from curation.views.widgets import state
from curation.views.widgets.component import component
from curation.views.widgets.palette import (
    FADED_COLOURS,
    SCALES,
    Colouring,
    Theme,
    colour_columns,
    colouring,
    info_of,
)
from engine.contract.manifest import MANIFEST_NAME
from engine.contract.run_dir import RunDir
from engine.contract.stamps import Stamp, stamp_of

MAP_KEY = "explore.map"
REGION_KEY = "explore.region"
HEIGHT = 540
_MAP_OF_KEY = "explore.map_of"
_NEXT_MAP_KEY = "explore.next_map"
AXES = ("Across", "Up")
_INSIDE_KEY = "explore.inside"
Pick = Callable[[str, str], None]
"""Called with a column and a category's name where somebody clicks on it in the legend."""


# -- the region, kept here for all that set it: a lasso, a saved view, undo


def owner_of(project: Project, run: RunDir | None) -> tuple[str, str]:
    """A region belongs to one run's map: another run's has other coordinates."""
    return str(project.path), run.name if run else ""


def set_region(owner: tuple[str, str], region: Region | None) -> None:
    """Put this region in force, with the map that it is of."""
    st.session_state[REGION_KEY] = {"owner": owner, "region": region}
    if region and region.get("map"):
        st.session_state[_NEXT_MAP_KEY] = region["map"]


def current_region(project: Project, run: RunDir | None) -> Region | None:
    """The region in force on this run's map; one of another run's is let go."""
    held = st.session_state.get(REGION_KEY, {})
    if held.get("owner") != owner_of(project, run):
        st.session_state.pop(REGION_KEY, None)
        return None
    region: Region | None = held["region"]
    return region


def region_rows(project: Project, run: RunDir, table: SampleTable, region: Region) -> np.ndarray:
    """(N,) bool: samples inside the region, on whichever map it was drawn. Read-only: the last one is kept."""
    choice = region.get("map") or places.OWN
    wanted, kept = (_stamp(project, run, choice), len(table), region), st.session_state.get(_INSIDE_KEY)
    if kept is None or kept[0] != wanted:
        mask = region_mask(places.places(project, run, table, choice)[0], region)
        mask.flags.writeable = False
        kept = st.session_state[_INSIDE_KEY] = (wanted, mask)
    return np.asarray(kept[1])


# -- on the page


def map_panel(project: Project, run: RunDir | None, table: SampleTable, mask: np.ndarray,
              on_pick: Pick | None = None) -> Region | None:
    """Draw the map with its controls; the region selected on it, or None. mask: (N,) bool, what the filters leave."""
    if run is None or not places.choices(project, run) or "role" not in table:
        state.empty_state("No map here.", "A map comes with features, and with a run that reaches its end.",
                          link=("data", "Go to Data"))
        return None
    choice, column, is_filtered = _controls(project, run, table)
    region = current_region(project, run)
    shown = region if region and (region.get("map") or places.OWN) == choice else None
    base = _base_layer(project, run, table, choice, column)
    if not np.isfinite(base.xy).all(axis=1).any():
        st.info("This map has no samples. Choose another.", icon=":material/info:")
        return region
    inside = region_rows(project, run, table, region) if region else None
    shown_mask = mask if inside is None or is_filtered else mask & inside  # a lasso fades the others and hides none
    is_narrowed = not shown_mask.all()
    layer = replace(base, selected=shown_mask, is_selected_only=is_filtered) if is_narrowed else base
    if inside is not None:
        layer = replace(layer, inside=inside)
    name = repr((_stamp(project, run, choice), table.revision, choice, column, region,
                 (is_filtered, hashlib.blake2b(np.packbits(shown_mask).tobytes()).hexdigest()) if is_narrowed else ""))
    token, owner = token_of(name), f"{project.path}/{run.name}/{choice}"
    keep(token, layer)

    def acted() -> None:
        events = st.session_state[MAP_KEY]
        if (value := events.get("region")) is not None:
            found = region_of(value)
            if isinstance(value, dict) and value.get("owner") == owner:  # else the page turned to another map meanwhile
                set_region(owner_of(project, run), {**found, "map": choice} if found else None)
        if (value := events.get("open")) is not None:
            dialog.open_sample(str(value.get("id")), [])
        if on_pick and (value := events.get("pick")) is not None:
            on_pick(column, str(value.get("name")))

    component("map")(key=MAP_KEY, on_region_change=acted, on_open_change=acted, on_pick_change=acted,
                     on_lost_change=lambda: None, data={
                     "layer": token, "owner": owner, "extent": list(layer.extent),
                     "region": shown, "height": HEIGHT, "legend": _legend(layer, mask, on_pick is not None),
                     "mark_colours": {bit: colour for _, bit, colour in MARK_COLOURS}, "faded": FADED_COLOURS})
    with st.container(horizontal=True, vertical_alignment="center"):
        st.caption("Near each other means alike in the run's features; the axes have no unit. Zoom in and more of "
                   "the density becomes points. Click a point to open it." if not choice.startswith(places.COLUMNS) else
                   "Each axis runs from its lowest to its highest value. Click a point to open it.", width="stretch")
        if region is not None:
            st.button("Clear lasso", key="explore.clear_region", on_click=set_region,
                      args=(owner_of(project, run), None))
    return region


def _controls(project: Project, run: RunDir, table: SampleTable) -> tuple[str, str, bool]:
    """Widgets; the map's choice (curation.views.map.places), the column of its colours, whether the rest is hidden."""
    maps, columns = places.choices(project, run), colour_columns(table)
    _take_next_map(maps, places.number_columns(table))
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        choice = str(st.selectbox("Map", list(maps), format_func=maps.__getitem__, key=_MAP_OF_KEY, width="stretch",
                                  persist_state="session", label_visibility="collapsed"))
        if choice == places.COLUMNS:
            choice = _two_columns(table)
        # Where nothing is in validation the roles say nothing but who was excluded.
        is_flat = "label_quality" in columns and not role_mask(table, "validation").any()
        first = "label_quality" if is_flat else columns[0]
        column = st.selectbox("Colour by", columns, columns.index(first), key="explore.colour", width="stretch",
                              format_func=lambda name: f"Colour: {info_of(name).title}", persist_state="session",
                              label_visibility="collapsed")
        is_filtered = st.toggle("Filtered only", key="explore.filtered", persist_state="session", width="content",
                                help="Draw only the samples that the filters leave. Off: the others stay, pale.")
    return choice, str(column), bool(is_filtered)


def _take_next_map(maps: dict[str, str], numbers: list[str]) -> None:
    """Turn to the map of a region that code put in force: a widget's value may change only before it is drawn."""
    choice = str(st.session_state.pop(_NEXT_MAP_KEY, ""))
    axes = places.axes_of(choice)
    if axes and set(axes) <= set(numbers):
        st.session_state[_MAP_OF_KEY] = places.COLUMNS
        st.session_state.update(zip(map(_axis_key, AXES), axes, strict=True))
    elif choice in maps:
        st.session_state[_MAP_OF_KEY] = choice
    elif st.session_state.get(_MAP_OF_KEY) not in maps:
        st.session_state[_MAP_OF_KEY] = next(iter(maps))  # said, or the box goes on naming another run's map


def _axis_key(word: str) -> str:
    return f"explore.axis.{word}"


def _two_columns(table: SampleTable) -> str:
    numbers = places.number_columns(table)
    first = [numbers.index(name) if name in numbers else i for i, name in enumerate(("margin", "weight"))]
    x, y = (str(st.selectbox(word, numbers, index=min(at, len(numbers) - 1), width=140, key=_axis_key(word),
                             format_func=lambda name: info_of(name).title, persist_state="session"))
            for word, at in zip(AXES, first, strict=True))
    return places.of_columns(x, y)


def _stamp(project: Project, run: RunDir, choice: str) -> tuple[str, str, Stamp]:
    """What the map `choice` is made of, without decisions."""
    paths = [run.signals_path, run.path / "embedding.parquet", project.path / MANIFEST_NAME]
    if (other := places.source_of(project, choice)) is not None:
        paths.append(other.path / "embedding.parquet")
    return str(project.path), run.name, stamp_of(*paths)


def _base_layer(project: Project, run: RunDir, table: SampleTable, choice: str, column: str) -> Layer:
    return _layer(_stamp(project, run, choice), table.revision, choice, column, project, run, table)


@st.cache_resource(max_entries=6, show_spinner=False)
def _layer(stamp: tuple[str, str, Stamp], revision: str, choice: str, column: str, _project: Project, _run: RunDir,
           _table: SampleTable) -> Layer:
    """What no filter changes."""
    xy, extent = places.places(_project, _run, _table, choice)
    return make_layer(_project, _table, xy, extent, colouring(_table[column]))


class Entry(TypedDict):
    """A line of the legend as map.js draws it."""

    name: str
    count: int
    colour: str
    symbol: Literal["diamond", "square", "cross"] | None
    """Of a mark; None: a dot of the map's colours."""
    can_pick: bool


class Scale(TypedDict):
    """Ends of the colours of numbers in words, and colours from the one to the other."""

    low: str
    high: str
    stops: dict[Theme, list[str]]


class Legend(TypedDict):
    title: str
    scale: Scale | None
    entries: list[Entry]


SYMBOLS: dict[int, Literal["diamond", "square", "cross"]] = {
    PINNED_TO_VALIDATION: "diamond", PINNED_TO_TRAINING: "square", EXCLUDED: "cross"}


def _legend(layer: Layer, mask: np.ndarray, can_pick: bool) -> Legend:
    """Title, categories with how many of them the filters leave, or the scale; and the marks of decisions."""
    colours = layer.colours
    counts = ((name, bit, colour, int(((layer.marks & bit) > 0).sum())) for name, bit, colour in MARK_COLOURS)
    marks = [Entry(name=name, count=count, colour=colour, symbol=SYMBOLS[bit], can_pick=False)
             for name, bit, colour, count in counts if count]
    return Legend(title=colours.title, scale=_scale(colours), entries=[*_categories(colours, mask, can_pick), *marks])


def _categories(colours: Colouring, mask: np.ndarray, can_pick: bool) -> list[Entry]:
    if colours.codes is None:
        return []
    counts = np.bincount(colours.codes[mask], minlength=len(colours.names))
    return [Entry(name=name, count=int(count), colour=colour, symbol=None, can_pick=can_pick)
            for name, colour, count in zip(colours.names, colours.colours, counts, strict=True)]


def _scale(colours: Colouring) -> Scale | None:
    if not colours.is_numeric:
        return None
    return Scale(low=f"{colours.low:.3g}", high=f"{colours.high:.3g}",
                 stops={theme: list(colours.scale(theme)) for theme in SCALES})
