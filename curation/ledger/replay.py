"""Batches of decisions -> what is in force: pure functions over tables. Knows no database and no files.

A batch is one act on many samples: pin (value "validation", "train" or null), exclude ("excluded", "included"),
relabel (a class or null), or undo and redo (value: the id of the batch they touch). What is in force is the replay, in
order of batch_id, of the decision batches that are not undone at the end, whenever the undoing happened.

A pin and an exclusion cannot both hold: to pin a sample takes it back in, to exclude it takes its pin away. Unpinning
brings no exclusion back, nor does taking back in bring a pin.
"""

from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from curation.ledger.batch import Batch
from engine.contract.manifest import DECISION_COLUMNS

COLUMN_OF = {"pin": "pin", "exclude": "excluded", "relabel": "label"}
"""The column of the state that each kind of decision sets."""
EXCLUSIONS = ("excluded", "included")
FOLD = 2
"""Version of what the same batches come to. 1: a pin and an exclusion could hold at once, and the exclusion won."""
STATE_SCHEMA = pa.schema([
    (name, pa.bool_() if name == "excluded" else pa.string()) for name in (*DECISION_COLUMNS, "who", "at", "why")
])
"""The state: one row a decided sample, by sample_id; who, at and why are those of the last decision in force on it."""


@dataclass(slots=True)
class Timeline:
    """Which batches are in force, and what undo and redo would touch next."""

    active: list[int] = field(default_factory=list)
    """Decision batches in force, oldest first."""
    undone: list[tuple[int, str]] = field(default_factory=list)
    """Undone batches and who undid them, most recently undone last; a person's new decision forgets those that they
    undid themselves, as editors do."""
    who: dict[int, str] = field(default_factory=dict)
    """Decision batch -> who took it; not of those that an audit took, which follow from its verdicts: they are undone
    with these."""
    latest_change: dict[int, int] = field(default_factory=dict)
    """Decision batch -> the undo or redo batch that touched it last."""

    def to_undo(self, who: str) -> int | None:
        """The newest decision in force that this person took."""
        return next((batch for batch in reversed(self.active) if self.who.get(batch) == who), None)

    def to_redo(self, who: str) -> int | None:
        """The decision that this person undid last."""
        return next((batch for batch, undid in reversed(self.undone) if undid == who), None)


@dataclass(frozen=True, kw_only=True, slots=True)
class NextRedo:
    """What redo would bring back for a person. Times as batches have them; "" where there is none."""

    batch: Batch | None
    undone: str
    """When they undid it."""
    decided: str
    """When they took their newest decision."""


def timeline(batches: pd.DataFrame, before: Timeline | None = None) -> Timeline:
    """Read the batches (batch_id, kind, value, who, origin; ascending batch_id) once from the first to the last.

    before: where those stand that came earlier; it stays as it is.
    """
    line = Timeline() if before is None else Timeline(list(before.active), list(before.undone), dict(before.who),
                                                      dict(before.latest_change))
    columns = (batches["batch_id"].tolist(), *(batches[name] for name in ("kind", "value", "who", "origin")))
    for batch_id, kind, value, who, origin in zip(*columns, strict=True):
        if kind in COLUMN_OF:
            line.active.append(batch_id)
            if origin == "audit":
                continue
            line.who[batch_id] = who
            line.undone = [(batch, undid) for batch, undid in line.undone if undid != who]
            continue
        target = int(value)
        line.latest_change[target] = batch_id
        if kind == "undo":
            line.active.remove(target)
            line.undone.append((target, who))
        else:
            line.undone = [(batch, undid) for batch, undid in line.undone if batch != target]
            line.active = sorted([*line.active, target])
    return line


def undone_flags(batches: pd.DataFrame, line: Timeline) -> pd.Series:
    """True for decisions that are out of force and for undo and redo batches that a later one has overtaken."""
    in_force = [*line.active, *line.latest_change.values()]
    return pd.Series(~np.isin(batches["batch_id"].to_numpy(), in_force), index=batches.index, dtype=bool)


def replay(batches: pd.DataFrame, batch_ids: np.ndarray, sample_ids: np.ndarray,
           classes: tuple[str, ...]) -> pa.Table:
    """The state after the decision batches `batches` (in force, ascending batch_id).

    batch_ids (E,) ascending and sample_ids (E,): which sample each batch touches. A later batch wins over an earlier
    one, for each column apart, save that of pin and exclusion the later takes the other away. Labels that are no class
    (any longer) and samples left without any decision drop out.
    """
    codes, unique_ids = pd.factorize(sample_ids, sort=True)
    position = np.searchsorted(batches["batch_id"].to_numpy(), batch_ids)
    kinds, values = batches["kind"].to_numpy(dtype=object), batches["value"].to_numpy(dtype=object)
    columns: dict[str, np.ndarray] = {"sample_id": np.asarray(unique_ids, dtype=object)}

    def last_of(is_wanted: np.ndarray) -> np.ndarray:
        """(S,) row of the last of the wanted batches (B,) on each sample; -1 for none."""
        is_hit = is_wanted[position]
        return _last(codes[is_hit], position[is_hit], len(unique_ids))

    at = {kind: last_of(kinds == kind) for kind in COLUMN_OF}
    pinned = last_of((kinds == "pin") & ~pd.isna(values))
    excluded = last_of((kinds == "exclude") & (values == EXCLUSIONS[0]))
    at["pin"], at["exclude"] = (np.where(excluded > at["pin"], -1, at["pin"]),
                                np.where(pinned > at["exclude"], -1, at["exclude"]))
    for kind, column in COLUMN_OF.items():
        columns[column] = _take(values, at[kind])
    last = _last(codes, position, len(unique_ids))
    for column in ("who", "at", "why"):
        columns[column] = _take(batches[column].to_numpy(dtype=object), last)
    columns["excluded"] = columns["excluded"] == EXCLUSIONS[0]
    return _in_force(pa.table(columns, schema=STATE_SCHEMA), classes)


def apply_batch(state: pa.Table, batch: Batch, sample_ids: np.ndarray,
                classes: tuple[str, ...]) -> pa.Table:
    """The state after one more decision batch (kind, value, who, at, why): what replay would give, without the past."""
    ids = pa.array(sample_ids, pa.string())
    is_new = pc.invert(pc.is_in(ids, value_set=state["sample_id"].combine_chunks()))
    new_ids = ids.filter(is_new)
    fresh = pa.table({name: new_ids if name == "sample_id" else pa.array([False] * len(new_ids)) if name == "excluded"
                      else pa.nulls(len(new_ids), pa.string()) for name in STATE_SCHEMA.names}, schema=STATE_SCHEMA)
    rows = pa.concat_tables([state.select(STATE_SCHEMA.names).cast(STATE_SCHEMA), fresh])
    is_hit = pc.is_in(rows["sample_id"], value_set=ids)
    column = COLUMN_OF[batch["kind"]]
    value = pa.scalar(batch["value"] == EXCLUSIONS[0]) if column == "excluded" else batch["value"]
    changes = [(column, value), ("who", batch["who"]), ("at", batch["at"]), ("why", batch["why"])]
    if column == "pin" and batch["value"] is not None:
        changes.append(("excluded", pa.scalar(False)))
    if column == "excluded" and batch["value"] == EXCLUSIONS[0]:
        changes.append(("pin", None))
    for name, now in changes:
        cell = now if isinstance(now, pa.Scalar) else pa.scalar(now, pa.string())
        rows = rows.set_column(rows.column_names.index(name), STATE_SCHEMA.field(name),
                               pc.if_else(is_hit, cell, rows[name]))
    return _in_force(rows.sort_by("sample_id") if len(new_ids) else rows, classes)


def empty_state() -> pa.Table:
    """The state before the first decision."""
    return STATE_SCHEMA.empty_table()


def _last(codes: np.ndarray, position: np.ndarray, num_samples: int) -> np.ndarray:
    """Row of the last batch that touches each sample, -1 for none. Of repeated indices numpy keeps the last."""
    last = np.full(num_samples, -1, dtype=np.int64)
    last[codes] = position
    return last


def _take(values: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """values[positions], None where the position is -1."""
    padded = np.empty(len(values) + 1, dtype=object)  # the last cell stays None, which is where -1 points
    padded[:-1] = values
    taken: np.ndarray = padded[positions]
    return taken


def _in_force(rows: pa.Table, classes: tuple[str, ...]) -> pa.Table:
    """Rows that still decide something, labels that are no class taken away."""
    is_class = pc.is_in(rows["label"], value_set=pa.array(classes, pa.string()))
    label = pc.if_else(is_class, rows["label"], pa.scalar(None, pa.string()))
    rows = rows.set_column(rows.column_names.index("label"), STATE_SCHEMA.field("label"), label)
    return rows.filter(pc.or_(pc.or_(pc.is_valid(rows["pin"]), rows["excluded"]), is_class))
