"""Where samples lie on a map: this run's map, its principal components, another run's map, or two columns of numbers.

Reads coordinates; draws nothing and selects nothing.
"""

import json

import numpy as np
import pandas as pd
import streamlit as st

from curation.project import Project
from curation.views.widgets.palette import is_numeric
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


def number_columns(table: pd.DataFrame) -> list[str]:
    """Columns that can be an axis."""
    return [str(name) for name in table if name not in _NOT_PLACES and is_numeric(table[name])
            and table[name].notna().any()]


def of_columns(x: str, y: str) -> str:
    """The choice that is two columns of numbers."""
    return f"{COLUMNS}:{json.dumps([x, y])}"


def axes_of(choice: str) -> list[str]:
    """The columns of such a choice; none of any other."""
    kind, _, rest = choice.partition(":")
    return [str(name) for name in json.loads(rest)] if kind == COLUMNS and rest else []


def places(project: Project, run: RunDir, table: pd.DataFrame, choice: str) -> np.ndarray:
    """(N, 2) float32 in the order of `table`, NaN where a sample has no place. choice: one of `choices`, or
    of_columns. All NaN where the choice is not there (any more)."""
    nowhere = np.full((len(table), 2), np.nan, dtype=np.float32)
    if choice.startswith(f"{COLUMNS}:"):
        names = axes_of(choice)
        is_there = len(names) == 2 and set(names) <= set(number_columns(table))
        return np.stack([_scaled(table[name].to_numpy(np.float32, na_value=np.nan)) for name in names],
                        axis=1) if is_there else nowhere
    if choice == OWN:
        return table[["x", "y"]].to_numpy(dtype=np.float32) if "x" in table else nowhere
    source = run if choice == PCA else source_of(project, choice)
    if source is None or not _has_map(source):
        return nowhere
    stamp = stamp_of(source.path / "embedding.parquet", project.path / MANIFEST_NAME)
    found = _joined(stamp, choice == PCA, len(table), source, table["sample_id"])
    return nowhere if found is None else found


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


@st.cache_resource(max_entries=4, show_spinner="Reading the map ...")
def _joined(stamp: Stamp, is_pca: bool, num: int, _run: RunDir, _ids: pd.Series) -> np.ndarray | None:
    """The run's coordinates in the order of the table's ids; None where it keeps none of that kind."""
    embedding, names = _run.read_embedding(), ["pca_x", "pca_y"] if is_pca else ["x", "y"]
    if embedding is None or not set(names) <= set(embedding):
        return None
    rows = pd.Index(embedding["sample_id"]).get_indexer(pd.Index(_ids))
    xy = embedding[names].to_numpy(dtype=np.float32)
    return np.where((rows >= 0)[:, None], xy[np.maximum(rows, 0)], np.float32(np.nan)).astype(np.float32)
