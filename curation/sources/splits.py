"""Holding samples out of training where the data say no split of their own: by class, by group, the same each time.

A sample's place in the draw is a hash of the seed and its id, so the same data give the same split on any machine, in
any order, and data that grow keep nearly all of it. Draws nothing unless asked.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from curation.project import HeldOut
from curation.sources.report import Progress, SourceError

HELD_OUT = ("test", "clean")
TEST_FRAC, CLEAN_FRAC = 0.2, 0.1
_REPORT_EVERY = 5_000
MAX_GROUP_FRAC = 0.05
"""A column whose largest value has more of the samples than this is a domain, not a group to keep whole."""


@dataclass(frozen=True, kw_only=True, slots=True)
class HoldOut:
    """What to hold out of the training samples."""

    test_frac: float = TEST_FRAC
    """In [0, 1), of each class; 0: none. clean_frac as well; both together below 1."""
    clean_frac: float = CLEAN_FRAC
    together: str | None = None
    """Column whose equal values (a patient, a sender) stay in one split; None: each sample by itself."""
    seed: int = 0

    def __post_init__(self) -> None:
        if not (0 <= self.test_frac < 1 and 0 <= self.clean_frac < 1 and self.test_frac + self.clean_frac < 1):
            raise SourceError("the shares held out must lie in [0, 1) and leave some to train on; got "
                              f"{self.test_frac:g} for test and {self.clean_frac:g} for clean; make them smaller")

    def to_dict(self) -> HeldOut:
        return HeldOut(test_frac=self.test_frac, clean_frac=self.clean_frac, together=self.together, seed=self.seed)


def hold_out(rows: pa.Table, asked: HoldOut, progress: Progress | None = None) -> tuple[pa.Table, list[str]]:
    """(rows with some of split train as test and clean, what was done in words, a sentence each). A split that the data
    have already is left alone.

    rows: sample_id, given_label, split and the column `together`. Raises SourceError where there is no such column.
    """
    if asked.together is not None and asked.together not in rows.column_names:
        raise SourceError(f"samples are kept together by a column of the data; there is no {asked.together!r}; choose "
                          "another one")
    split = np.asarray(rows["split"].to_pylist(), dtype=object)
    there = [name for name in HELD_OUT if (split == name).any()]
    fracs = {name: frac for name, frac in zip(HELD_OUT, (asked.test_frac, asked.clean_frac), strict=True)
             if frac and name not in there}
    notes = [f"split {name} is the data's own" for name in there]
    train = np.flatnonzero(split == "train")
    if not fracs or not len(train):
        return rows, notes
    labels = pc.take(rows["given_label"], pa.array(train)).combine_chunks().dictionary_encode()
    class_R = np.asarray(labels.indices)
    order_R = _hashes(pc.take(rows["sample_id"], pa.array(train)).to_pandas(), asked.seed)
    group_R = np.arange(len(train))
    if asked.together is not None:
        column = pc.take(rows[asked.together], pa.array(train)).to_pandas()
        known = column.notna().to_numpy()
        group_R = np.where(known, pd.factorize(column)[0], column.nunique() + group_R)  # an unknown one is by itself
    to_R = _assigned(class_R, group_R, order_R, list(fracs.values()), progress or (lambda done, total, message: None))
    for number, name in enumerate(fracs, 1):
        split[train[to_R == number]] = name
    notes += [_words(name, int((to_R == number).sum()), len(train), asked) for number, name in enumerate(fracs, 1)]
    place = rows.schema.get_field_index("split")
    return rows.set_column(place, "split", pa.array(split.tolist(), pa.string())), notes


def _words(name: str, num: int, total: int, asked: HoldOut) -> str:
    by = f" and so that no {asked.together} is in two splits" if asked.together else ""
    return (f"split {name}: {num:,} of {total:,} samples ({num / total:.1%}) held out by this import, at random "
            f"by class{by} (seed {asked.seed}); their labels are as given")


def _assigned(class_R: np.ndarray, group_R: np.ndarray, order_R: np.ndarray, fracs: list[float],
              progress: Progress) -> np.ndarray:
    """(R,) int64: 0 stays in training, s is held out for fracs[s - 1]. class_R, group_R: codes (R,) int64; order_R:
    (R,) uint64, the draw.

    Groups of several samples go first, large before small, each to where the classes then lack most; single samples
    fill what each class still lacks. A class keeps one sample in training at least.
    """
    num_classes = int(class_R.max()) + 1
    size_C = np.bincount(class_R, minlength=num_classes)
    left_C = np.maximum(size_C - 1, 0).tolist()  # may still be held out
    need_SC = [np.minimum(np.rint(frac * size_C), left_C).astype(int).tolist() for frac in fracs]
    to_R = np.zeros(len(class_R), dtype=np.int64)
    sizes_G = np.bincount(group_R)
    is_single_R = sizes_G[group_R] == 1
    groups = _groups(group_R, order_R, ~is_single_R)
    for done, members in enumerate(groups, 1):  # most are of few samples: numbers, not arrays
        if done % _REPORT_EVERY == 0:
            progress(done, len(groups), "holding groups out")
        counts = Counter(class_R[members].tolist())
        gains = [_gain(need_C, counts) for need_C in need_SC]
        best = gains.index(max(gains))
        if gains[best] > 0 and all(num <= left_C[code] for code, num in counts.items()):
            to_R[members] = best + 1
            for code, num in counts.items():
                need_SC[best][code] -= num
                left_C[code] -= num
    for code in range(num_classes):
        rows = np.flatnonzero((class_R == code) & is_single_R)
        rows = rows[np.argsort(order_R[rows], kind="stable")]
        start = 0
        for number in range(len(fracs)):
            take = max(0, min(need_SC[number][code], left_C[code], len(rows) - start))
            to_R[rows[start:start + take]] = number + 1
            left_C[code] -= take
            start += take
    return to_R


def _gain(need_C: list[int], counts: Mapping[int, int]) -> int:
    """By how much the squared lack of all classes falls if a group of these counts, by class, is held out."""
    return sum(num * (2 * need_C[code] - num) for code, num in counts.items())


def _groups(group_R: np.ndarray, order_R: np.ndarray, is_member_R: np.ndarray) -> list[np.ndarray]:
    """Rows of each group of several samples, the largest group first, equals as drawn."""
    rows = np.flatnonzero(is_member_R)
    if not len(rows):
        return []
    rows = rows[np.lexsort((order_R[rows], group_R[rows]))]
    parts = np.split(rows, np.flatnonzero(np.diff(group_R[rows])) + 1)
    return sorted(parts, key=lambda part: (-len(part), int(order_R[part[0]])))


def _hashes(sample_ids: pd.Series, seed: int) -> np.ndarray:
    """(R,) uint64, the same for the same seed and id everywhere."""
    values = np.asarray(sample_ids, dtype=object)
    return np.asarray(pd.util.hash_array(values, hash_key=f"{seed % 10**16:016d}", categorize=False))


def keeps_together(values: pd.Series) -> bool:
    """Whether a column names groups that a split should keep whole: several samples each, none of them large."""
    counts = values.value_counts()
    return bool(len(counts)) and 1 < counts.iloc[0] <= MAX_GROUP_FRAC * len(values)
