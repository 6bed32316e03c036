"""The map beside its controls: what it is coloured by, what is drawn, the region selected on it and how that is kept.

Draws on the page; figures come from curation.views.map. Knows nothing of filters and gallery.
"""

import hashlib
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from curation.project import Project
from curation.views import state
from curation.views.legend import legend
from curation.views.map import CONFIG, Map, build, region_of
from curation.views.palette import colour_columns, info_of
from engine.rundir import RunDir

MAP_KEY = "explore.map"
_REGION_KEY = "explore.region"
_SEEN_KEY = "explore.seen"
_DRAWN_KEY = "explore.drawn"
_COUNT_KEY = "explore.count"


def map_panel(project: Project, run: RunDir | None, table: pd.DataFrame, mask: np.ndarray) -> dict[str, Any] | None:
    """The map with its controls; the region selected on it, or None."""
    owner = (str(project.path), run.name if run else "")
    if run is None or "x" not in table or not table["x"].notna().any():
        state.empty_state("No map here.", "The map of the classifier's features appears when a run has ended.",
                          link=("train", "Go to Train"))
        return None
    columns = colour_columns(table)
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        column = st.selectbox("Colour by", columns, format_func=lambda name: info_of(name).title, key="explore.colour",
                              width=170, persist_state="session")
        is_filtered = st.toggle("Filtered only", key="explore.filtered", persist_state="session",
                                help="Draw only the samples that the filters leave. Off: the map stays as it is while "
                                     "you filter.")
        redraw = st.empty()
    _forget_foreign_region(owner)
    drawn = _drawn_map(project, run, table, str(column), mask if is_filtered else None)
    event = st.plotly_chart(drawn.figure, key=MAP_KEY, on_select="rerun", selection_mode=("box", "lasso"), theme=None,
                            config=CONFIG, alt="Map of the samples: near each other means alike to the classifier")
    region = _take_region(event, owner)
    _beside_map(project, drawn, region, redraw)
    return region


def _drawn_map(project: Project, run: RunDir, table: pd.DataFrame, column: str, shown: np.ndarray | None) -> Map:
    """The figure as last drawn, unless what it shows changed. Decisions alone do not redraw it: a new figure would lose
    the zoom in the middle of the work, so their marks wait for the button, or for the next change of colour."""
    stamps = tuple(p.stat().st_mtime_ns for p in (run.signals_path, run.path / "embedding.parquet"))
    digest = "" if shown is None else hashlib.sha256(np.packbits(shown).tobytes()).hexdigest()
    wanted = (str(project.path), run.name, stamps, column, digest)
    kept = st.session_state.get(_DRAWN_KEY)
    if kept is None or kept[0] != wanted:
        region = st.session_state.get(_REGION_KEY, {}).get("region")
        # The number makes each figure a new one: an equal one would come back with the lasso it had.
        number = st.session_state[_COUNT_KEY] = st.session_state.get(_COUNT_KEY, 0) + 1
        built = build(table, column, shown, region, revision=f"{project.path}/{run.name}/{number}")
        kept = (wanted, project.ledger().revision, built)
        st.session_state[_DRAWN_KEY] = kept
    drawn: Map = kept[2]
    return drawn


def _beside_map(project: Project, drawn: Map, region: dict[str, Any] | None, redraw: Any) -> None:
    """Legend, how much is drawn, and buttons to redraw and to let go of the region."""
    legend(drawn)
    num_newer = project.ledger().revision - st.session_state[_DRAWN_KEY][1]
    redraw.button(f"Redraw ({num_newer:,})" if num_newer else "Redraw", key="explore.redraw", disabled=not num_newer,
                  on_click=st.session_state.pop, args=(_DRAWN_KEY, None), icon=":material/refresh:",
                  help="Mark decisions that are newer than the drawing. Zoom starts over; the selection stays.")
    with st.container(horizontal=True, vertical_alignment="center"):
        if drawn.is_raster:
            st.caption(f"{drawn.num_points:,} samples as density (stronger: more), {drawn.num_drawn:,} of them as "
                       "points: pinned, excluded, selected, most suspected and routed ones. A lasso selects among all.",
                       width="content")
        else:
            st.caption(f"{drawn.num_points:,} samples. Near each other means alike to the classifier; the axes have no "
                       "unit. Draw a lasso, or a box from the tool bar; scroll to zoom.", width="content")
        if region is not None:
            st.button("Clear lasso", key="explore.clear_region", on_click=_clear_region)


# -- the region


def _forget_foreign_region(owner: tuple[str, str]) -> None:
    """A region belongs to one run's map: another map has other coordinates."""
    if st.session_state.get(_REGION_KEY, {}).get("owner", owner) != owner:
        st.session_state.pop(_REGION_KEY)
        st.session_state.pop(_SEEN_KEY, None)


def _take_region(event: Any, owner: tuple[str, str]) -> dict[str, Any] | None:
    """The region in force. A new figure starts with an empty event, which must not clear what was selected before it;
    an event emptied on the same figure (double click) does."""
    figure_id = st.session_state[_COUNT_KEY]
    now = region_of(event)
    seen_figure, seen = st.session_state.get(_SEEN_KEY, (None, None))
    if now is not None and now != seen:
        st.session_state[_REGION_KEY] = {"owner": owner, "region": now}
    elif now is None and seen is not None and seen_figure == figure_id:
        st.session_state.pop(_REGION_KEY, None)
    st.session_state[_SEEN_KEY] = (figure_id, now)
    region: dict[str, Any] | None = st.session_state.get(_REGION_KEY, {}).get("region")
    return region


def _clear_region() -> None:
    """Let go of the region; the figure is drawn anew, since a page cannot clear Plotly's lasso."""
    for key in (_REGION_KEY, _DRAWN_KEY):
        st.session_state.pop(key, None)
