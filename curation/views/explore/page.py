"""The Explore page: filters, map and pictures of a run's samples, and decisions on what is selected.

Puts the parts together. The parts draw themselves.
"""

import hashlib
import json

import numpy as np
import streamlit as st

from curation.jobs.request import method_of
from curation.project import Project
from curation.samples.columns import Cell, Column
from curation.samples.predicates import fitted, is_doubted, is_withheld, passing
from curation.samples.table import SampleTable
from curation.views.explore import chosen, filters, selection_bar
from curation.views.explore.results import results
from curation.views.explore.selected import Selection
from curation.views.explore.selection_words import sentence
from curation.views.learned import not_learned
from curation.views.map.panel import map_panel, region_rows
from curation.views.widgets import actions, likeness, live, state
from curation.views.widgets.layout import side_by_side, style
from curation.views.widgets.palette import ROLE_COLOURS
from engine.contract.run_dir import RunDir


def page() -> None:
    st.title("Explore")
    style()
    words = st.empty()
    project = state.need_project()
    base = state.current_run(project)
    run = base and live.shown(project, base)
    is_trained = run is None or method_of(run).is_trained
    words.caption("The training samples as the run in the sidebar saw them. Lowest label quality: probably "
                  "mislabeled. In validation: what the splitter routed there, "
                  "under the noise guard." if is_trained else
                  "The training samples as they lie in the run's features, each label judged without having been seen. "
                  "Lowest label quality: probably mislabeled. Nothing was trained or routed to validation: Train does.")
    table = state.samples_cached(project, run)
    if table.frame.empty:
        state.empty_state("This project has no training samples.", "Explore shows samples of the train split. Look at "
                          "the import report on the Data page.", link=("data", "Go to Data"))
        return
    _summary(project, run, table)
    if base is not None:
        live.strip(project, base)
    selection_bar.open_wanted(project, run, table)
    st.fragment(_body)(project, run)


def _body(project: Project, run: RunDir | None) -> None:
    state.guarded(lambda: _draw_body(project, run))


def _draw_body(project: Project, run: RunDir | None) -> None:
    """Filters, map and results. A lasso or filter redraws these; what happens in the results redraws them alone."""
    if selection_bar.is_wanted():
        st.rerun()  # a view may be of another run, which the whole page shows
    if likeness.take_new():  # all samples are to be ordered, not what a filter left
        chosen.put(project, run, {})
        chosen.hide_all(project)
    chosen.take_moved()
    table = state.samples_cached(project, run)
    predicate, _ = fitted(chosen.current(project, run), table, project.classes, run.name if run else "")
    chosen.settle(project, predicate)
    inside = None
    if predicate.get("region"):
        assert run is not None, "a region is of a run's map"
        inside = region_rows(project, run, table.frame, predicate["region"])
    left_by = passing(table, predicate, inside)
    mask = ~left_by.all() if predicate.get("inverted") else left_by.all()
    filters.filter_bar(project, table, predicate, left_by)
    selection_bar.selection_bar(project, run, predicate, int(np.count_nonzero(mask)), len(mask))
    left, right = side_by_side("explore", [6, 7])
    with left:
        map_panel(project, run, table.frame, mask if predicate.get("inverted") else left_by.but("region"),
                  on_pick=lambda column, name: filters.pick(project, table, column, name))
    token = hashlib.sha256(json.dumps([project.name, run and run.name, predicate], sort_keys=True).encode())
    selection = Selection(mask=mask, rows=np.flatnonzero(mask), words=sentence(predicate), predicate=predicate,
                          token=token.hexdigest()[:16])
    with right:
        st.fragment(_draw_results)(project, run, selection)


def _draw_results(project: Project, run: RunDir | None, selection: Selection) -> None:
    state.guarded(lambda: results(project, run, selection))


# -- on top


def _summary(project: Project, run: RunDir | None, table: SampleTable) -> None:
    """Numbers of the whole project, whatever is selected."""
    actions.show_notices()
    columns, frame = table.columns, table.frame
    pins, items = _counts(columns["pin"]), [_item("", len(frame), "training samples", "all of the train split")]
    if "role" in columns and run is not None and not method_of(run).is_trained:
        items.append(_item("", int(is_doubted(table).sum()), "labels in doubt",
                           "held-out predictions name another class"))
    elif "role" in columns:
        roles = _counts(columns["role"])
        items += [_item("train", roles.get("train", 0), "in training", "trained on in the run's last epoch"),
                  _item("validation", roles.get("validation", 0), "in validation", "routed by the run, or pinned"),
                  _item("excluded", roles.get("excluded", 0), "excluded in this run", "in neither of them"),
                  _item("", int(is_withheld(table).sum()), "withheld by the guard",
                        "hard enough for validation, but their labels look wrong: kept out")]
    decided = [_item("", number, text, "by people, in force now") for number, text in (
        (pins.get("validation", 0), "pinned to validation"),
        (pins.get("train", 0), "pinned to training"),
        (int(frame["excluded"].sum()), "excluded"), (int(frame["relabel"].notna().sum()), "relabelled"))]
    st.html(f'<div class="strip"><div class="part">{"".join(items)}</div>'
            f'<div class="part"><span class="item">Decisions:</span>{"".join(decided)}</div></div>')
    if (run is None or state.is_being_fitted(run)) and state.features_under_way(project):
        state.open_when_there(project)
    if run is None:
        why = ("Its features are being made: map and suspected labels come with them."
               if state.features_under_way(project) else
               "Make features on the Data page, or start a run on the Train page.")
        st.info(f"This project has no run yet, so there is no map and nothing is known of its samples but labels and "
                f"decisions. {why}", icon=":material/info:")
    elif "role" not in columns:
        st.info(f"The run {state.plain(run.name)} has no results yet; they appear when its first epoch ends. Watch it "
                "on the Train page.", icon=":material/info:")
    elif state.is_being_fitted(run):
        st.info(f"The map of {state.plain(run.name)} is being made; it appears by itself.", icon=":material/info:")
    elif said := not_learned(project, run):
        st.warning(said, icon=":material/warning:")
    elif "x" not in columns:
        st.info(f"The run {state.plain(run.name)} has no map (yet): it is made when the run has ended, unless the "
                "setting `embedding` turned it off. Filters and gallery work without it.", icon=":material/info:")


def _counts(column: Column) -> dict[Cell, int]:
    """Rows by value."""
    return dict(zip(column.codes.names, map(int, column.codes.counts()), strict=False))


def _item(role: str, number: int, text: str, meaning: str) -> str:
    """One figure of the strip; our own words alone."""
    dot = f'<span class="dot" style="background:{ROLE_COLOURS[role]}"></span>' if role else ""
    return f'<span class="item" title="{meaning}">{dot}<b>{number:,}</b>{text}</span>'
