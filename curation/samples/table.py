"""One table a run to look at and choose from, and what chooses: filters, boxes and lassos. Pure functions on frames.

Selections are predicates resolved here on the whole table, so a lasso over a million points costs no transfer. Draws
nothing and decides nothing.
"""

from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curation.project import Project, ProjectError
from curation.samples.columns import Cell, Column, Condition, Range
from engine.contract.errors import UserError
from engine.contract.manifest import MANIFEST_NAME, REQUIRED_COLUMNS, ManifestError, read_manifest
from engine.contract.run_dir import RunDir
from engine.contract.signal_columns import SIGNAL_COLUMNS

DECISION_FIELDS = {"pin": "pin", "excluded": "excluded", "label": "relabel", "who": "decided_by", "at": "decided_at",
                   "why": "decided_why"}
"""Columns of the ledger's state -> their names in the sample table."""
OWN_COLUMNS = (*REQUIRED_COLUMNS, "path", "clean_label", "group")
ADDED_COLUMNS = (*SIGNAL_COLUMNS[1:], "signal_row", "x", "y", *DECISION_FIELDS.values(), "current_label",
                 "in_validation")


class SelectionError(UserError):
    """A filter names no column of the table, or cannot apply to it. One line, ready to show."""


class SampleTable:
    """A table of N samples with what is known of its columns, which lives as long as the table. Read-only.

    frame: the table itself. columns: its columns by name.
    """

    def __init__(self, frame: pd.DataFrame, columns: Mapping[str, Column] | None = None) -> None:
        known = columns or {}
        self.frame = frame
        self.columns = {str(name): known.get(str(name)) or Column(frame[name]) for name in frame}
        self._masks: dict[str, np.ndarray] = {}

    def mask(self, name: str, make: Callable[["SampleTable"], np.ndarray]) -> np.ndarray:
        """(N,) bool, read-only: make(self), worked out when it is first asked for under this name."""
        if name not in self._masks:
            mask = make(self)
            mask.flags.writeable = False
            self._masks[name] = mask
        return self._masks[name]

    def with_columns(self, added: pd.DataFrame) -> "SampleTable":
        """The same samples with more columns (N rows); the others are shared, with what is known of them."""
        frame = self.frame.copy(deep=False)
        for name in added:
            assert name not in frame, f"the table has a column {name} already"
            frame[name] = added[name]
        return SampleTable(frame, self.columns)

    def with_changed(self, changed: Mapping[str, Column]) -> "SampleTable":
        """The same samples with other columns (N rows) in place of some that it has; the others are shared."""
        frame = self.frame.copy(deep=False)
        for name, column in changed.items():
            assert name in frame, f"the table has no column {name}"
            frame[name] = column.cells
        return SampleTable(frame, {**self.columns, **changed})


def sample_table(project: Project, run: RunDir | None) -> pd.DataFrame:
    """One row a training sample in manifest order: manifest, signals, map and present decisions, joined on sample_id.

    Always there: the manifest's columns (but `image`), pin, excluded, relabel, decided_by, decided_at, decided_why,
    current_label (relabel, else given_label) and in_validation. With signals: SIGNAL_COLUMNS, signal_row (the sample's
    row in signals.parquet, history and neighbours; -1 where the run did not know it). With a map: x, y.
    `role` is validation only for samples routed or pinned there; those that merely rested from training in the last
    epoch, to collect a held-out prediction, have role train and is_resting. in_validation is what an export takes: role
    validation or pinned to it now, and neither excluded nor pinned to training now. A column of the manifest whose
    name is taken here gets the suffix _data. Samples that only the run or only the manifest knows have nulls, or drop.
    """
    table = run_table(project, run)
    return pd.concat([table, decision_columns(table, project.ledger().state())], axis=1)


def run_table(project: Project, run: RunDir | None) -> pd.DataFrame:
    """sample_table without decisions: the slow part, which no decision changes."""
    table = _training_rows(project)
    return in_one_piece(_with_signals(table, run) if run is not None and run.signals_path.exists() else table)


def in_one_piece(table: pd.DataFrame) -> pd.DataFrame:
    """The same table; texts that came from a file in chunks in one each. Of 60 rows Arrow takes the texts of a chunked
    column of a million in one to three milliseconds, of one in a tenth of that."""
    cells = {name: pa.array(table[name]) for name in table if table[name].dtype == "str"}
    return table.assign(**{str(name): pd.array(text.combine_chunks(), dtype="str") for name, text in cells.items()
                           if isinstance(text, pa.ChunkedArray)})


def decision_columns(table: pd.DataFrame, state: pd.DataFrame) -> pd.DataFrame:
    """What the decisions in force (Ledger.state) add to run_table (N rows): DECISION_FIELDS' names, current_label,
    in_validation."""
    ids = pa.array(table["sample_id"], pa.large_string())
    decided = pc.index_in(ids, value_set=pa.array(state["sample_id"], pa.large_string()))  # null: undecided
    added = pd.DataFrame(index=table.index)
    for column, name in DECISION_FIELDS.items():
        if column == "excluded":
            cells = pa.array(state[column], pa.bool_()).take(decided)
            added[name] = cells.fill_null(False).to_numpy(zero_copy_only=False)
        else:
            cells = pa.array(state[column], pa.large_string(), from_pandas=True).take(decided)
            added[name] = pd.array(cells, dtype="str")
    relabelled, given = (pa.array(column, pa.large_string()) for column in (added["relabel"], table["given_label"]))
    added["current_label"] = pd.array(pc.coalesce(relabelled, given), dtype="str")
    is_pinned, is_kept = added["pin"].eq("validation"), added["pin"].eq("train")
    is_routed = table["role"].eq("validation") if "role" in table else pd.Series(False, index=table.index)
    added["in_validation"] = _as_mask((is_routed | is_pinned) & ~is_kept & ~added["excluded"])
    return added


# -- filters


def matches(table: SampleTable, filters: Mapping[str, Condition | Cell]) -> np.ndarray:
    """Rows (N,) bool that pass every filter: a condition of the column, a value that its cell equals, or None for no
    filter. Raises SelectionError for an unknown column, a condition of unknown parts, or a range of what is no number.
    """
    mask = np.ones(len(table.frame), dtype=bool)
    for name, wanted in filters.items():
        if name not in table.columns:
            raise SelectionError(f"a filter must name a column of the table; got {name!r}; there are "
                                 f"{', '.join(table.columns)}")
        if isinstance(wanted, dict):
            mask &= _in_range(table.columns[name], wanted)
        elif wanted is not None:
            mask &= table.columns[name].is_one_of(wanted if isinstance(wanted, list) else [wanted])
    return mask


def _in_range(column: Column, wanted: Range) -> np.ndarray:
    unknown = set(wanted) - set(Range.__annotations__)
    if unknown:
        raise SelectionError(f"a filter of {column.name} may have min, max, contains and is_null; got "
                             f"{sorted(unknown)[0]!r}; leave it out")
    mask = np.ones(len(column.cells), dtype=bool)
    low, high = wanted.get("min"), wanted.get("max")
    if low is not None or high is not None:
        if column.kind != "number":
            raise SelectionError(f"a range needs a column of numbers; {column.name} has {column.cells.dtype}; filter "
                                 "it by value")
        if low is not None:
            mask &= column.numbers >= low
        if high is not None:
            mask &= column.numbers <= high
    if text := wanted.get("contains"):
        mask &= column.contains(text)
    if (is_null := wanted.get("is_null")) is not None:
        mask &= column.cells.isna().to_numpy() == is_null
    return mask


# -- shapes


def in_box(xy: np.ndarray, x0: float, x1: float, y0: float, y1: float) -> np.ndarray:
    """(N,) bool: points (N, 2) in the closed box, corners in any order. A point with a NaN is never inside."""
    x, y = np.asarray(xy)[:, 0], np.asarray(xy)[:, 1]
    return (x >= min(x0, x1)) & (x <= max(x0, x1)) & (y >= min(y0, y1)) & (y <= max(y0, y1))


def in_polygon(xy: np.ndarray, polygon: np.ndarray) -> np.ndarray:
    """(N,) bool: points (N, 2) inside polygon (M, 2) by the even-odd rule, closed by itself, of either orientation.

    A point with a NaN is never inside, nor is any point of fewer than three corners. Sorts the candidates by y once, so
    an edge looks only at points between its ends: a million points and 200 corners take about 0.3 s.
    Raises SelectionError for a corner that is not finite.
    """
    points, corners = np.asarray(xy, dtype=np.float64), np.asarray(polygon, dtype=np.float64).reshape(-1, 2)
    if not np.isfinite(corners).all():
        raise SelectionError(f"a lasso's corners must be finite numbers; got {polygon!r}; draw it again")
    inside = np.zeros(len(points), dtype=bool)
    if len(corners) < 3:
        return inside
    (x0, y0), (x1, y1) = corners.min(axis=0), corners.max(axis=0)
    candidates = np.flatnonzero(in_box(points, x0, x1, y0, y1))
    candidates = candidates[np.argsort(points[candidates, 1])]
    x, y = points[candidates, 0], points[candidates, 1]
    is_odd = np.zeros(len(candidates), dtype=bool)
    for (ax, ay), (bx, by) in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        if ay == by:
            continue
        low, high = np.searchsorted(y, [min(ay, by), max(ay, by)])
        is_odd[low:high] ^= x[low:high] < (bx - ax) * (y[low:high] - ay) / (by - ay) + ax
    inside[candidates] = is_odd
    return inside


# -- inside


def _training_rows(project: Project) -> pd.DataFrame:
    """The manifest's train rows without image bytes, clashing columns of the data renamed."""
    try:
        names = [name for name in pq.read_schema(project.path / MANIFEST_NAME).names if name != "image"]
        rows = read_manifest(project.path, columns=names)
    except ManifestError as error:
        raise ProjectError(str(error)) from error
    rows = rows[rows["split"] == "train"].reset_index(drop=True)
    return rows.rename(columns=free_names([n for n in names if n not in OWN_COLUMNS], {*OWN_COLUMNS, *ADDED_COLUMNS}))


def free_names(names: list[str], taken: set[str]) -> dict[str, str]:
    """{name: NAME_data} for those of `names` that are taken, with as many _data as it takes to be free."""
    new_names: dict[str, str] = {}
    for name in names:
        new = name
        while new in taken or (new != name and (new in names or new in new_names.values())):
            new += "_data"
        if new != name:
            new_names[name] = new
    return new_names


def routed_signals(run: RunDir) -> pd.DataFrame:
    """signals.parquet with role validation only for samples routed or pinned there.

    Raises RunDirError before the first epoch ends.
    """
    signals = run.read_signals()
    texts = [name for name in signals if pd.api.types.is_string_dtype(signals[name].dtype)]
    signals = signals.astype(dict.fromkeys(texts, "str"))  # one kind of null, no matter what wrote the file
    signals.loc[signals["is_resting"], "role"] = "train"
    return signals


def _with_signals(table: pd.DataFrame, run: RunDir) -> pd.DataFrame:
    """The table with signals, rows of signals.parquet and map beside it."""
    signals = routed_signals(run)
    embedding = run.read_embedding()
    if embedding is not None:
        if not _is_same_order(embedding["sample_id"], signals["sample_id"]):
            embedding = embedding.set_index("sample_id").reindex(signals["sample_id"]).reset_index()
        signals = signals.assign(x=embedding["x"].to_numpy(), y=embedding["y"].to_numpy())
    signals["signal_row"] = np.arange(len(signals))
    if not _is_same_order(signals["sample_id"], table["sample_id"]):
        signals = signals.set_index("sample_id").reindex(table["sample_id"]).reset_index()
        signals["signal_row"] = signals["signal_row"].fillna(-1).astype(np.int64)
        signals["is_resting"] = signals["is_resting"].eq(True)
    return pd.concat([table, signals.drop(columns="sample_id")], axis=1)


def _is_same_order(left: pd.Series, right: pd.Series) -> bool:
    return len(left) == len(right) and bool((left.to_numpy(dtype=object) == right.to_numpy(dtype=object)).all())


def _as_mask(column: pd.Series) -> np.ndarray:
    """A column of booleans, nulls counted as False."""
    mask: np.ndarray = column.fillna(False).to_numpy(dtype=bool)
    return mask
