"""The Explore page: filters, map and pictures of a run's samples, and decisions on what is selected.

Puts the parts together. The parts draw themselves.
"""

import hashlib
import json

import numpy as np
import streamlit as st

from curation.jobs.request import method_of
from curation.project import Project
from curation.samples.predicates import fitted, passing
from curation.views.explore import chosen, filters, selection_bar
from curation.views.explore.counts import counts
from curation.views.explore.results import results
from curation.views.explore.run_notes import run_notes
from curation.views.explore.selected import Selection
from curation.views.explore.selection_words import sentence
from curation.views.map.panel import map_panel, region_rows
from curation.views.runs.routing_hint import routing_hint
from curation.views.widgets import actions, likeness, live, state
from curation.views.widgets.layout import side_by_side, style
from curation.views.widgets.shown import shown_samples
from engine.contract.run_dir import RunDir


def page() -> None:
    style()
    project = state.current_project()
    if project is None:
        st.title("Explore")
        project = state.need_project()
    base = state.current_run(project)
    run = base and live.shown(project, base)
    table = shown_samples(project, run)
    if not len(table):
        st.title("Explore")
        state.empty_state("This project has no training samples.", "Explore shows samples of the train split. Look at "
                          "the import report on the Data page.", link=("data", "Go to Data"))
        return
    selection_bar.open_wanted(project, run, table)
    st.fragment(_body)(project, base, run)


def _body(project: Project, base: RunDir | None, run: RunDir | None) -> None:
    state.guarded(lambda: _draw_body(project, base, run))


def _draw_body(project: Project, base: RunDir | None, run: RunDir | None) -> None:
    """All of the page. A lasso or filter redraws this; what happens in the results redraws them alone."""
    if selection_bar.is_wanted():
        st.rerun()  # a view may be of another run, which the whole page shows
    if likeness.take_new():  # all samples are to be ordered, not what a filter left
        chosen.put(project, run, {})
        chosen.hide_all(project)
    chosen.take_moved()
    actions.show_notices()
    table = shown_samples(project, run)
    predicate, _ = fitted(chosen.current(project, run), table, project.classes, run.name if run else "")
    chosen.settle(project, predicate)
    inside = None
    if predicate.get("region"):
        assert run is not None, "a region is of a run's map"
        inside = region_rows(project, run, table, predicate["region"])
    left_by = passing(table, predicate, inside)
    mask = ~left_by.all() if predicate.get("inverted") else left_by.all()
    with st.container(gap="small", key="explore_head"):
        with st.container(horizontal=True, vertical_alignment="center", gap="small", key="explore_counts"):
            is_trained = run is None or method_of(run).is_trained
            st.title("Explore", width="content", help=_meaning(is_trained))
            counts(project, table, predicate, left_by, is_trained)
        with st.container(horizontal=True, vertical_alignment="center", gap="small", key="explore_filters"):
            filters.filter_bar(project, table, predicate, left_by)
            selection_bar.selection_bar(project, run, predicate, int(np.count_nonzero(mask)), len(mask))
        filters.column_filters(project, table, predicate, left_by)
        selection_bar.gone_note(project, predicate)
        run_notes(project, run, table)
        if base is not None:
            live.strip(project, base)
    left, right = side_by_side("explore", [5, 8])
    with left:
        if base is not None and base.signals_path.exists():
            routing_hint(project, base)
        map_panel(project, run, table, mask if predicate.get("inverted") else left_by.but("region"),
                  on_pick=lambda column, name: filters.pick(project, table, column, name))
    token = hashlib.sha256(json.dumps([project.name, run and run.name, predicate], sort_keys=True).encode())
    selection = Selection(mask=mask, num=int(np.count_nonzero(mask)), words=sentence(predicate), predicate=predicate,
                          token=token.hexdigest()[:16])
    with right:
        st.fragment(_draw_results)(project, run, selection)


def _draw_results(project: Project, run: RunDir | None, selection: Selection) -> None:
    state.guarded(lambda: results(project, run, selection))


def _meaning(is_trained: bool) -> str:
    """What the page shows, for its title."""
    if is_trained:
        return ("The training samples as the run in the sidebar saw them. Lowest label quality: probably mislabeled. "
                "In validation: what the splitter routed there, under the noise guard.")
    return ("The training samples as they lie in the run's features, each label judged without having been seen. "
            "Lowest label quality: probably mislabeled. Nothing was trained or routed to validation: Train does.")
