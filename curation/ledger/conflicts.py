"""Where two people decided differently about one sample: a pure function over the ledger's batches and entries.

What counts is where people stand: the last decision in force of each person on a sample, a kind at a time. Two stands
that differ are a conflict, no matter which came last and won; so are a pin of one person and an exclusion of another,
of which the later holds.
It ends when a person takes over the other's decision, when one of the two is undone, or when somebody settles it: a
decision of origin settlement makes all earlier ones on that sample and kind history. A sample's conflicts change with
a batch that touches it and with no other. Knows no database.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from curation.ledger.chain import Head
from curation.ledger.replay import COLUMN_OF, EXCLUSIONS, Timeline

PIN_OR_EXCLUDE = "pin or exclude"
KINDS = (*COLUMN_OF, PIN_OR_EXCLUDE)
CONFLICT_COLUMNS = ("sample_id", "kind", "first_who", "first_value", "first_at", "first_batch", "second_who",
                    "second_value", "second_at", "second_batch", "in_force")


@dataclass(frozen=True, slots=True)
class Entries:
    """Which sample each batch touches: batch_ids (E,) int64, ascending; sample_ids (E,) texts."""

    batch_ids: np.ndarray
    sample_ids: pa.LargeStringArray

    @classmethod
    def of(cls, batch_ids: np.ndarray, sample_ids: np.ndarray) -> "Entries":
        """sample_ids: (E,) of str objects."""
        return cls(batch_ids, pa.array(sample_ids, pa.large_string()))

    def followed_by(self, later: "Entries") -> "Entries":
        return Entries(np.concatenate([self.batch_ids, later.batch_ids]),
                       pa.concat_arrays([self.sample_ids, later.sample_ids]))

    def where(self, mask: np.ndarray) -> "Entries":
        """Those of mask (E,) bool."""
        return Entries(self.batch_ids[mask], self.sample_ids.filter(pa.array(mask)))

    def on_samples_of(self, batch_ids: list[int]) -> "Entries":
        """Those on any sample that one of these batches touches."""
        touched = self.where(np.isin(self.batch_ids, batch_ids)).sample_ids
        return self.where(pc.is_in(self.sample_ids, value_set=touched).to_numpy(zero_copy_only=False))


@dataclass(frozen=True, slots=True)
class Known:
    """The conflicts after one of the batches, and what they come from. Read-only."""

    number: int
    head: Head | None
    """Of that batch, and its link in the chain."""
    classes: tuple[str, ...]
    entries: Entries
    found: pd.DataFrame


def conflicts_after(known: Known | None, batches: pd.DataFrame, line: Timeline, entries: Entries,
                    state: Callable[[], pd.DataFrame]) -> pd.DataFrame:
    """As conflicts(), of all batches (with BATCH_COLUMNS, oldest first) and their entries. known: those of an earlier
    batch, of which only what the later ones touch is looked at anew."""
    if known is not None:
        later = batches[batches["batch_id"] > known.number]
        if later.empty:
            return known.found
        is_decision = later["kind"].isin(list(COLUMN_OF))
        entries = entries.on_samples_of([*later["batch_id"], *later["value"][~is_decision].astype(int)])
    rows = batches[np.isin(batches["batch_id"], entries.batch_ids)]
    rows = rows[np.isin(rows["batch_id"], line.active) & rows["origin"].ne("audit")].reset_index(drop=True)
    stands = entries.where(np.isin(entries.batch_ids, rows["batch_id"]))
    found = conflicts(rows, stands.batch_ids, stands.sample_ids.to_numpy(zero_copy_only=False), state)
    if known is None or known.found.empty:
        return found
    is_same = ~pc.is_in(pa.array(known.found["sample_id"], pa.large_string()), value_set=entries.sample_ids
                        ).to_numpy(zero_copy_only=False)
    return _newest_first(pd.concat([known.found[is_same], found], ignore_index=True)) if is_same.any() else found


def conflicts(batches: pd.DataFrame, batch_ids: np.ndarray, sample_ids: np.ndarray,
              state: Callable[[], pd.DataFrame]) -> pd.DataFrame:
    """One row a sample and kind that people disagree on: CONFLICT_COLUMNS, the newest second decision first.

    batches: decision batches in force (batch_id, kind, value, who, at, origin), ascending batch_id. batch_ids (E,)
    ascending and sample_ids (E,): which sample each touches. state: reads what is in force (sample_id, pin, excluded,
    label); asked only where people disagree.
    second: the decision that came last; first: the newest of another person that it differs from. Values are a pin's
    side, excluded or included, a class, or None: taken back. in_force: what holds now of either kind, which is another
    value yet where a pin or an exclusion came after both, or where an audit decided.
    """
    codes, ids = pd.factorize(sample_ids)
    position = np.searchsorted(batches["batch_id"].to_numpy(), batch_ids)
    kinds = batches["kind"].to_numpy(dtype=object)
    people = pd.factorize(batches["who"])[0]
    values = pd.factorize(batches["value"].fillna("").astype(str))[0]  # no pin, exclusion or class is ""
    settles = batches["origin"].eq("settlement").to_numpy(dtype=bool)
    found = []
    for kind in COLUMN_OF:
        is_kind = (kinds == kind)[position]
        found.append((kind, *_differing(codes[is_kind], position[is_kind], people, values, settles, len(ids))))
    found.append((PIN_OR_EXCLUDE, *_pin_and_exclusion(codes, position, batches, people, settles, len(ids))))
    found = [one for one in found if len(one[1])]
    if not found:
        return no_conflicts()
    now = state()
    parts = [_frame(kind, samples, first, second, ids, batches, now) for kind, samples, first, second in found]
    return _newest_first(pd.concat(parts, ignore_index=True))


def no_conflicts() -> pd.DataFrame:
    """Where people agree."""
    return _typed({name: [] for name in CONFLICT_COLUMNS})


def _newest_first(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.sort_values(["second_batch", "sample_id"], ascending=[False, True], kind="stable", ignore_index=True)


def _differing(codes: np.ndarray, position: np.ndarray, people: np.ndarray, values: np.ndarray, settles: np.ndarray,
               num_samples: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(samples (M,), first (M,), second (M,)) of one kind: codes of the samples in conflict and rows of the batches.

    codes, position (E,) of the entries of that kind, ascending by position.
    """
    settled = np.full(num_samples, -1)
    is_settling = settles[position]
    settled[codes[is_settling]] = position[is_settling]
    is_open = position >= settled[codes]
    codes, position = codes[is_open], position[is_open]
    # Where people stand: each person's last decision on each sample. Of repeated keys the last is kept.
    stand = ~pd.Series(codes * (int(people.max(initial=0)) + 1) + people[position]).duplicated(keep="last").to_numpy()
    codes, position = codes[stand], position[stand]
    second = np.full(num_samples, -1)
    second[codes] = position
    differs = values[position] != values[second[codes]]
    first = np.full(num_samples, -1)
    first[codes[differs]] = position[differs]
    samples = np.flatnonzero(first >= 0)
    return samples, first[samples], second[samples]


def _pin_and_exclusion(codes: np.ndarray, position: np.ndarray, batches: pd.DataFrame, people: np.ndarray,
                       settles: np.ndarray, num_samples: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The same of samples that one person has pinned and another has excluded, neither of which was taken back.

    Settling takes one of the two back, or decides the one or the other as a settlement.
    """
    kinds, values = batches["kind"].to_numpy(dtype=object), batches["value"].to_numpy(dtype=object)
    last = {}
    for kind in ("pin", "exclude"):
        is_kind = (kinds == kind)[position]
        last[kind] = np.full(num_samples, -1)
        last[kind][codes[is_kind]] = position[is_kind]
    samples = np.flatnonzero((last["pin"] >= 0) & (last["exclude"] >= 0))
    pin, exclude = last["pin"][samples], last["exclude"][samples]
    is_pinned = ~pd.isna(values[pin])
    is_excluded = values[exclude] == EXCLUSIONS[0]
    newer = np.maximum(pin, exclude)
    is_conflict = is_pinned & is_excluded & (people[pin] != people[exclude]) & ~settles[newer]
    return samples[is_conflict], np.minimum(pin, exclude)[is_conflict], newer[is_conflict]


def _frame(kind: str, samples: np.ndarray, first: np.ndarray, second: np.ndarray, ids: np.ndarray,
           batches: pd.DataFrame, state: pd.DataFrame) -> pd.DataFrame:
    names = np.asarray(ids, dtype=object)[samples]
    columns = {"sample_id": names, "kind": np.full(len(samples), kind, dtype=object)}
    for side, rows in (("first", first), ("second", second)):
        for column, name in (("who", "who"), ("value", "value"), ("at", "at"), ("batch_id", "batch")):
            columns[f"{side}_{name}"] = batches[column].to_numpy(dtype=None if name == "batch" else object)[rows]
    columns["in_force"] = _in_force(kind, state[state["sample_id"].isin(names)].set_index("sample_id").reindex(names))
    return _typed(columns)


def _typed(columns: Mapping[str, np.ndarray | list[object]]) -> pd.DataFrame:
    return pd.DataFrame({name: pd.Series(columns[name], dtype="int64" if name.endswith("_batch") else object)
                         for name in CONFLICT_COLUMNS})


def _in_force(kind: str, now: pd.DataFrame) -> np.ndarray:
    """(M,) object: what holds of one kind. now: (M rows) pin, excluded, label in force, null where nothing is."""
    if kind == "relabel":
        values = now["label"].to_numpy(dtype=object, copy=True)
    else:
        values = now["pin"].to_numpy(dtype=object, copy=True)
        if kind == "exclude":
            values[pd.isna(values)] = EXCLUSIONS[1]
        values[now["excluded"].eq(True).to_numpy(dtype=bool)] = EXCLUSIONS[0]
    values[pd.isna(values)] = None
    found: np.ndarray = values
    return found
