"""Batches of decisions -> what is in force: pure functions over frames. Knows no database and no files.

A batch is one act on many samples: pin (value "validation", "train" or null), exclude ("excluded", "included"),
relabel (a class or null), or undo and redo (value: the id of the batch they touch). What is in force is the replay, in
order of batch_id, of the decision batches that are not undone at the end, whenever the undoing happened.
"""

from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from engine.manifest import DECISION_COLUMNS

COLUMN_OF = {"pin": "pin", "exclude": "excluded", "relabel": "label"}
"""The column of the state that each kind of decision sets."""
PINS = ("validation", "train")
EXCLUSIONS = ("excluded", "included")
STATE_COLUMNS = (*DECISION_COLUMNS, "who", "at", "why")


@dataclass(slots=True)
class Timeline:
    """Which batches are in force, and what undo and redo would touch next."""

    active: list[int] = field(default_factory=list)
    """Decision batches in force, oldest first; undo takes the last."""
    undone: list[int] = field(default_factory=list)
    """Undone batches that redo can bring back, most recently undone last; a new decision clears it, as editors do."""
    latest_change: dict[int, int] = field(default_factory=dict)
    """Decision batch -> the undo or redo batch that touched it last."""

    @property
    def to_undo(self) -> int | None:
        return self.active[-1] if self.active else None

    @property
    def to_redo(self) -> int | None:
        return self.undone[-1] if self.undone else None


def timeline(batches: pd.DataFrame) -> Timeline:
    """Read the batches (batch_id, kind, value; ascending batch_id) once from the first to the last."""
    line = Timeline()
    for batch_id, kind, value in zip(batches["batch_id"].tolist(), batches["kind"], batches["value"], strict=True):
        if kind in COLUMN_OF:
            line.active.append(batch_id)
            line.undone.clear()
            continue
        target = int(value)
        line.latest_change[target] = batch_id
        if kind == "undo":
            line.active.remove(target)
            line.undone.append(target)
        else:
            if target in line.undone:
                line.undone.remove(target)
            line.active = sorted([*line.active, target])
    return line


def undone_flags(batches: pd.DataFrame, line: Timeline) -> pd.Series:
    """True for decisions that are out of force and for undo and redo batches that a later one has overtaken."""
    active = set(line.active)
    return pd.Series([
        batch_id not in active if kind in COLUMN_OF else line.latest_change[int(value)] != batch_id
        for batch_id, kind, value in zip(batches["batch_id"].tolist(), batches["kind"], batches["value"], strict=True)
    ], index=batches.index, dtype=bool)


def replay(batches: pd.DataFrame, batch_ids: np.ndarray, sample_ids: np.ndarray,
           classes: tuple[str, ...]) -> pd.DataFrame:
    """The state after the decision batches `batches` (in force, ascending batch_id), with STATE_COLUMNS by sample_id.

    batch_ids (E,) ascending and sample_ids (E,): which sample each batch touches. A later batch wins over an earlier
    one, for each column apart. Labels that are no class (any longer) and samples left without any decision drop out.
    """
    codes, unique_ids = pd.factorize(sample_ids, sort=True)
    position = np.searchsorted(batches["batch_id"].to_numpy(), batch_ids)
    kinds, values = batches["kind"].to_numpy(dtype=object), batches["value"].to_numpy(dtype=object)
    columns: dict[str, np.ndarray] = {"sample_id": np.asarray(unique_ids, dtype=object)}
    for kind, column in COLUMN_OF.items():
        columns[column] = _take(values, _last(codes, position, len(unique_ids), kinds[position] == kind))
    last = _last(codes, position, len(unique_ids), np.ones(len(codes), dtype=bool))
    for column in ("who", "at", "why"):
        columns[column] = _take(batches[column].to_numpy(dtype=object), last)
    columns["excluded"] = columns["excluded"] == "excluded"
    return _in_force(pd.DataFrame(columns), classes)


def apply_batch(state: pd.DataFrame, batch: dict[str, str | None], sample_ids: np.ndarray,
                classes: tuple[str, ...]) -> pd.DataFrame:
    """The state after one more decision batch (kind, value, who, at, why): what replay would give, without the past."""
    before = pd.Index(state["sample_id"].to_numpy(dtype=object), dtype=object)
    new_ids = pd.Index(sample_ids, dtype=object).difference(before)
    rows = pd.DataFrame({name: state[name].to_numpy(dtype=object) for name in STATE_COLUMNS})
    fresh = pd.DataFrame({name: [None] * len(new_ids) for name in STATE_COLUMNS}, dtype=object)
    fresh["sample_id"], fresh["excluded"] = new_ids.to_numpy(), False
    rows = pd.concat([rows, fresh], ignore_index=True)
    is_hit = rows["sample_id"].isin(sample_ids).to_numpy()
    column = COLUMN_OF[str(batch["kind"])]
    value = batch["value"] == "excluded" if column == "excluded" else batch["value"]
    for name, now in ((column, value), ("who", batch["who"]), ("at", batch["at"]), ("why", batch["why"])):
        cells = rows[name].to_numpy(dtype=object, copy=True)
        cells[is_hit] = now
        rows[name] = cells
    return _in_force(rows.sort_values("sample_id", ignore_index=True), classes)


def empty_state() -> pd.DataFrame:
    """The state before the first decision."""
    return _in_force(pd.DataFrame({name: [] for name in STATE_COLUMNS}, dtype=object), ())


def _last(codes: np.ndarray, position: np.ndarray, num_samples: int, mask: np.ndarray) -> np.ndarray:
    """Row of the last batch that touches each sample, -1 for none. Of repeated indices numpy keeps the last."""
    last = np.full(num_samples, -1, dtype=np.int64)
    last[codes[mask]] = position[mask]
    return last


def _take(values: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """values[positions], None where the position is -1."""
    padded = np.empty(len(values) + 1, dtype=object)  # the last cell stays None, which is where -1 points
    padded[:-1] = values
    taken: np.ndarray = padded[positions]
    return taken


def _in_force(rows: pd.DataFrame, classes: tuple[str, ...]) -> pd.DataFrame:
    """Rows that still decide something, in the dtypes that parquet gives back."""
    is_class = rows["label"].isin(classes).to_numpy()
    label = rows["label"].to_numpy(dtype=object, copy=True)
    label[~is_class] = None
    excluded = rows["excluded"].to_numpy(dtype=bool)
    decides = rows["pin"].notna().to_numpy() | excluded | is_class
    state = {name: pd.array(rows[name].to_numpy(dtype=object)[decides], dtype="str") for name in STATE_COLUMNS
             if name not in ("excluded", "label")}
    state["label"] = pd.array(label[decides], dtype="str")
    return pd.DataFrame({**state, "excluded": excluded[decides]})[list(STATE_COLUMNS)]
