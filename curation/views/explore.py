"""The Explore page: map, filters and gallery of a run's samples, and decisions on what is selected.

Puts the parts together and keeps the region drawn on the map. The parts draw themselves.
"""

import hashlib
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from curation.project import Project
from curation.views import actions, filters, state
from curation.views.layout import side_by_side, style
from curation.views.legend import legend
from curation.views.map import CONFIG, Map, build, region_mask, region_of, region_words
from curation.views.palette import ROLE_COLOURS, colour_columns, info_of
from curation.views.reasons import is_withheld
from curation.views.results import Selection, results
from engine.rundir import RunDir

MAP_KEY = "explore.map"
_REGION_KEY = "explore.region"
_SEEN_KEY = "explore.seen"
_DRAWN_KEY = "explore.drawn"
_COUNT_KEY = "explore.count"


def page() -> None:
    st.title("Explore")
    style()
    st.caption("The training samples as the run in the sidebar saw them. Lowest label quality: probably mislabeled. In "
               "validation: the hardest that the run's noise guard let through.")
    project = state.need_project()
    run = state.current_run(project)
    table = state.sample_table_cached(project, run)
    if table.empty:
        state.empty_state("This project has no training samples.", "Explore shows samples of the train split. Look at "
                          "the import report on the Data page.", link=("data", "Go to Data"))
        return
    _summary(project, run, table)
    st.fragment(_body)(project, run)


def _body(project: Project, run: RunDir | None) -> None:
    state.guarded(lambda: _draw_body(project, run))


def _draw_body(project: Project, run: RunDir | None) -> None:
    """Filters, map and gallery. A lasso or filter redraws these; what happens in the gallery redraws it alone."""
    table = state.sample_table_cached(project, run)
    chosen = filters.filter_bar(table, project.classes, "explore")
    mask = filters.apply(table, chosen)
    left, right = side_by_side("explore", [6, 7])
    with left:
        region = _map_part(project, run, table, mask)
    phrases = filters.words(chosen)
    if region is not None:
        mask &= region_mask(table[["x", "y"]].to_numpy(dtype=np.float64), region)
        phrases = [region_words(region), *phrases]
    token = hashlib.sha256(repr((project.name, run and run.name, region, chosen)).encode()).hexdigest()[:16]
    selection = Selection(rows=np.flatnonzero(mask), num_all=len(table), words=tuple(phrases), token=token)
    with right:
        st.fragment(_draw_results)(project, run, selection)


def _draw_results(project: Project, run: RunDir | None, selection: Selection) -> None:
    state.guarded(lambda: results(project, run, selection))


# -- on top


def _summary(project: Project, run: RunDir | None, table: pd.DataFrame) -> None:
    """Numbers of the whole project, whatever is selected."""
    actions.show_notices()
    pins, items = table["pin"].astype("string"), [_item("", len(table), "training samples", "all of the train split")]
    if "role" in table:
        roles = table["role"].astype("string").value_counts()
        items += [_item("train", int(roles.get("train", 0)), "in training", "trained on in the run's last epoch"),
                  _item("validation", int(roles.get("validation", 0)), "in validation", "routed by the run, or pinned"),
                  _item("excluded", int(roles.get("excluded", 0)), "excluded in this run", "in neither of them"),
                  _item("", int(is_withheld(table).sum()), "withheld by the guard",
                        "hard enough for validation, but their labels look wrong: kept out")]
    decided = [_item("", number, text, "by people, in force now") for number, text in (
        (int((pins == "validation").sum()), "pinned to validation"),
        (int((pins == "train").sum()), "pinned to training"),
        (int(table["excluded"].sum()), "excluded"), (int(table["relabel"].notna().sum()), "relabelled"))]
    st.html(f'<div class="strip"><div class="part">{"".join(items)}</div>'
            f'<div class="part"><span class="item">Decisions:</span>{"".join(decided)}</div></div>')
    if run is None:
        st.info("This project has no run yet, so there is no map and nothing is known of its samples but labels and "
                "decisions. Start a run on the Train page.", icon=":material/info:")
    elif "role" not in table:
        st.info(f"The run {state.plain(run.name)} has no results yet; they appear when its first epoch ends. Watch it "
                "on the Train page.", icon=":material/info:")
    elif "x" not in table:
        st.info(f"The run {state.plain(run.name)} has no map (yet): it is made when the run has ended, unless the "
                "setting `embedding` turned it off. Filters and gallery work without it.", icon=":material/info:")


def _item(role: str, number: int, text: str, meaning: str) -> str:
    """One figure of the strip; our own words alone."""
    dot = f'<span class="dot" style="background:{ROLE_COLOURS[role]}"></span>' if role else ""
    return f'<span class="item" title="{meaning}">{dot}<b>{number:,}</b>{text}</span>'


# -- the map


def _map_part(project: Project, run: RunDir | None, table: pd.DataFrame, mask: np.ndarray) -> dict[str, Any] | None:
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
