"""The predicate in force on Explore, in the session: who changes it, steps back and forward through its changes.

One store for filters, map, charts and saved views; widgets show it and change it in their callbacks. Draws nothing.
"""

from dataclasses import dataclass, field
from typing import Literal

import streamlit as st

from curation.project import Project
from curation.samples.columns import Condition
from curation.samples.predicates import ListPart, Predicate
from curation.views.map.panel import current_region, owner_of, set_region
from engine.contract.run_dir import RunDir

_CHOSEN_KEY = "explore.chosen"
_SHOWN_KEY = "explore.shown_columns"
_HISTORY_KEY = "explore.history"
_MOVED_KEY = "explore.moved"
MAX_HISTORY = 50


def stored(project: Project) -> Predicate:
    """The filters in force as they were set, whether they fit the table or not; a region is the map's to keep."""
    found: Predicate = st.session_state.setdefault(_CHOSEN_KEY, {}).get(str(project.path), {})
    return found


def current(project: Project, run: RunDir | None) -> Predicate:
    """The whole predicate in force, region included."""
    region = current_region(project, run)
    if run is None or not region:
        return stored(project)
    return {**stored(project), "region": region, "run": run.name}


def put(project: Project, run: RunDir | None, predicate: Predicate) -> None:
    """Put a predicate in force in place of the one before. A region of another run's map is left out."""
    region = predicate.get("region") if run is not None and predicate.get("run") == run.name else None
    if region != current_region(project, run):
        set_region(owner_of(project, run), region)
    chosen = predicate.copy()
    chosen.pop("region", None)
    chosen.pop("run", None)
    _store(project, chosen)


def settle(project: Project, predicate: Predicate) -> None:
    """Let go of an inversion of nothing, which would turn the next filter over unseen. predicate: what is in force."""
    if not predicate and "inverted" in stored(project):
        rest = stored(project).copy()
        rest.pop("inverted")
        st.session_state[_CHOSEN_KEY][str(project.path)] = rest


def search(project: Project, text: str) -> None:
    """Set the text to be in the sample id; none clears."""
    chosen = stored(project).copy()
    chosen["search"] = text
    if not text:
        chosen.pop("search")
    _store(project, chosen)


def change(project: Project, part: Literal[ListPart, "ids"], values: list[str]) -> None:
    """Set one part of the filters; an empty one clears."""
    chosen = stored(project).copy()
    chosen[part] = values
    if not values:
        chosen.pop(part)
    _store(project, chosen)


def change_column(project: Project, column: str, condition: Condition | None) -> None:
    """Set the filter of one column; one that says nothing clears."""
    chosen = stored(project).copy()
    columns = {name: kept for name, kept in chosen.pop("columns", {}).items() if name != column or condition}
    if condition:
        columns[column] = condition
    if columns:
        chosen["columns"] = columns
    _store(project, chosen)


def _store(project: Project, chosen: Predicate) -> None:
    st.session_state.setdefault(_CHOSEN_KEY, {})[str(project.path)] = chosen
    st.session_state[_MOVED_KEY] = True


def take_moved() -> bool:
    """True once after the predicate was changed, for a fragment that must redraw the page around it."""
    return bool(st.session_state.pop(_MOVED_KEY, False))


# -- columns whose filter is on the page, set or not


def shown_columns(project: Project) -> list[str]:
    """Columns with a filter on the page, in the order in which they came."""
    kept = st.session_state.setdefault(_SHOWN_KEY, {}).setdefault(str(project.path), [])
    kept += [name for name in stored(project).get("columns", {}) if name not in kept]
    return list(kept)


def show_column(project: Project, name: str) -> None:
    if name not in shown_columns(project):
        st.session_state[_SHOWN_KEY][str(project.path)].append(name)


def hide_column(project: Project, name: str) -> None:
    """Take the column's filter off the page and out of force."""
    change_column(project, name, None)
    kept = st.session_state.setdefault(_SHOWN_KEY, {}).setdefault(str(project.path), [])
    if name in kept:
        kept.remove(name)


def hide_all(project: Project) -> None:
    st.session_state.setdefault(_SHOWN_KEY, {})[str(project.path)] = []


# -- back and forward


@dataclass(slots=True)
class _History:
    """Predicates that were in force, the oldest first, and the place of the one that is."""

    past: list[Predicate] = field(default_factory=lambda: [{}])
    at: int = 0


def _history(project: Project, run: RunDir | None) -> _History:
    """Of one run: on another run's map and columns the same steps would say something else."""
    found: _History = st.session_state.setdefault(_HISTORY_KEY, {}).setdefault(owner_of(project, run), _History())
    return found


def note(project: Project, run: RunDir | None, predicate: Predicate) -> None:
    """Remember what is in force; what was undone before is forgotten once something new is."""
    history = _history(project, run)
    if history.past[history.at] == predicate:
        return
    history.past = [*history.past[:history.at + 1], predicate][-MAX_HISTORY:]
    history.at = len(history.past) - 1


def can_step(project: Project, run: RunDir | None, by: int) -> bool:
    history = _history(project, run)
    return 0 <= history.at + by < len(history.past)


def step(project: Project, run: RunDir | None, by: int) -> None:
    """Back (by -1) or forward (+1); nothing where there is no such step."""
    history = _history(project, run)
    if can_step(project, run, by):
        history.at += by
        put(project, run, history.past[history.at])
