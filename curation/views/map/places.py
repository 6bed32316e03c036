"""Where samples lie on a map: this run's map, its principal components, another run's map, or two columns of numbers.

Reads coordinates; draws nothing and selects nothing.
"""

import json

import numpy as np
import streamlit as st

from curation.project import Project
from curation.samples.frames import SampleTable
from curation.samples.table import map_beside
from curation.views.map.raster import Extent, extent_of
from engine.contract.manifest import MANIFEST_NAME
from engine.contract.run_dir import RunDir
from engine.contract.stamps import Stamp, stamp_of

OWN, PCA, COLUMNS = "own", "pca", "columns"
RUN_PREFIX = "run:"
_NOT_PLACES = ("x", "y", "signal_row")


def choices(project: Project, run: RunDir) -> dict[str, str]:
    """{choice: words} of the maps that can be shown; its own first."""
    found = {OWN: "This run", PCA: "This run, principal components"} if _has_map(run) else {}
    others = [other for other in project.runs() if other.name != run.name and _has_map(other)]
    return found | {RUN_PREFIX + other.name: f"Run {other.name}" for other in others} | {COLUMNS: "Two columns"}


def number_columns(table: SampleTable) -> list[str]:
    """Columns that can be an axis."""
    return [name for name, column in table.columns.items()
            if name not in _NOT_PLACES and column.kind == "number" and column.has_values]


def of_columns(x: str, y: str) -> str:
    """The choice that is two columns of numbers."""
    return f"{COLUMNS}:{json.dumps([x, y])}"


def axes_of(choice: str) -> list[str]:
    """The columns of such a choice; none of any other."""
    kind, _, rest = choice.partition(":")
    return [str(name) for name in json.loads(rest)] if kind == COLUMNS and rest else []


def places(project: Project, run: RunDir, table: SampleTable, choice: str) -> tuple[np.ndarray, Extent]:
    """(N, 2) float32 in the order of `table`, NaN where a sample has no place, and extent_of it. choice: one of
    `choices`, or of_columns. All NaN where the choice is not there (any more). Shared by all sessions: read-only."""
    files = [project.path / MANIFEST_NAME, run.signals_path, run.path / "embedding.parquet"]
    if (other := source_of(project, choice)) is not None:
        files.append(other.path / "embedding.parquet")
    return _places(str(run.path), stamp_of(*files), choice, table.revision if axes_of(choice) else "", project, run,
                   table)


@st.cache_resource(max_entries=4, show_spinner="Reading the map ...")
def _places(path: str, stamp: Stamp, choice: str, revision: str, _project: Project, _run: RunDir,
            _table: SampleTable) -> tuple[np.ndarray, Extent]:
    """Of columns as they are under a revision; the others do not change with it."""
    found: np.ndarray | None = None
    if names := axes_of(choice):
        if len(names) == 2 and set(names) <= set(number_columns(_table)):
            found = np.stack([_scaled(_table[name].numbers.astype(np.float32)) for name in names], axis=1)
    elif choice == OWN:
        if "x" in _table:
            found = np.stack([_table[name].numbers for name in ("x", "y")], axis=1, dtype=np.float32)
    else:
        source = _run if choice == PCA else source_of(_project, choice)
        if source is not None and _has_map(source):
            found = map_beside(_table, source, ("pca_x", "pca_y") if choice == PCA else ("x", "y"))
    found = np.full((len(_table), 2), np.nan, dtype=np.float32) if found is None else found
    found.flags.writeable = False
    return found, extent_of(found)


def source_of(project: Project, choice: str) -> RunDir | None:
    """The other run whose map is chosen; None where it is another kind of map, or the run is gone."""
    return next((run for run in project.runs() if RUN_PREFIX + run.name == choice), None) \
        if choice.startswith(RUN_PREFIX) else None


def _scaled(values: np.ndarray) -> np.ndarray:
    """Onto [0, 1], so that neither axis is a line."""
    finite = values[np.isfinite(values)]
    low, high = (float(finite.min()), float(finite.max())) if len(finite) else (0.0, 1.0)
    scaled: np.ndarray = (values - low) / ((high - low) or 1.0)
    return scaled.astype(np.float32)


def _has_map(run: RunDir) -> bool:
    return (run.path / "embedding.parquet").exists()
