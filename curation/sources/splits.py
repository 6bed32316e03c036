"""Holding samples out of training where the data say no split of their own: by class, by group, the same each time.

A sample's place in the draw is a hash of the seed and its id, so the same data give the same split on any machine, in
any order. What a project holds out already stays so when its data are imported again: only samples that are new to it
are drawn then. Draws nothing unless asked.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from curation.samples.split_facts import HELD_OUT
from curation.sources.split_words import fresh_words, kept_words, moved_words, overlap_words
from curation.tables.report import Progress, SourceError

TEST_FRAC, CLEAN_FRAC = 0.2, 0.1
_REPORT_EVERY = 5_000
MAX_GROUP_FRAC, MAX_OWNER_FRAC = 0.05, 0.5
"""A column whose largest value has more of the samples than this is a domain, not a group to keep whole; one that by
its name says who or what samples are of may have a large one among others."""
OWNERS = ("sender", "user", "patient", "subject", "person", "participant", "author", "photographer", "owner", "worker",
          "annotator", "customer", "session", "study", "scan", "visit", "sequence", "video", "clip", "burst", "camera",
          "location", "slide", "plot", "batch")
"""In a column's name: samples of one are alike for a reason that no class has."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Before:
    """The split that a project has, for samples that are imported again."""

    rows: pa.Table
    """sample_id, split: strings."""
    held_out: tuple[str, ...]
    """The splits that an import drew."""
    together: str | None = None
    """The column by which it did."""


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

    @property
    def fracs(self) -> dict[str, float]:
        """Split -> share, of those asked for."""
        asked = zip(HELD_OUT, (self.test_frac, self.clean_frac), strict=True)
        return {name: frac for name, frac in asked if frac}


@dataclass(frozen=True, kw_only=True, slots=True)
class Split:
    """Rows with what is held out."""

    rows: pa.Table
    held_out: tuple[str, ...]
    """The splits that an import drew, this one or one before; the others are the data's own."""
    notes: list[str]
    """What was done, a sentence each."""


def hold_out(rows: pa.Table, asked: HoldOut | None, before: Before | None = None,
             progress: Progress | None = None) -> Split:
    """Some of the samples of split train as test and clean; a split that the data have already is left alone.

    rows: sample_id, given_label, split and the column `together`. asked: None draws nothing. before: what the project
    holds out stays so, and of a split that it has only samples new to it are drawn, so that none that a run trained on
    becomes a test sample; a group goes where it is. Raises SourceError where there is no column `together`.
    """
    if asked and asked.together is not None and asked.together not in rows.column_names:
        raise SourceError(f"samples are kept together by a column of the data; there is no {asked.together!r}; choose "
                          "another one")
    together = asked.together if asked else before.together if before else None
    lost, together = (together, None) if together not in rows.column_names else (None, together)
    split = np.asarray(rows["split"].to_pylist(), dtype=object)
    own = [name for name in HELD_OUT if (split == name).any()]
    was = _splits_before(rows["sample_id"], before)
    fracs = {name: frac for name, frac in asked.fracs.items() if name not in own} if asked else {}
    kept = [name for name in HELD_OUT if before and name not in own and (was == name).any()
            and (name in fracs or name in before.held_out or not own)]
    train = np.flatnonzero(split == "train")
    notes = [f"split {name} is the data's own" for name in own if asked]
    notes += [f"samples of equal {lost} were kept together, which the data no longer have"] if lost is not None else []
    if len(train) and (fracs or kept):
        was_R = was[train]
        draw = _Draw.of(rows.take(pa.array(train)), was_R, kept, together, asked.seed if asked else 0)
        draw.hold_out({name: frac for name, frac in fracs.items() if name in kept}, draw.is_new_R, progress)
        draw.hold_out({name: frac for name, frac in fracs.items() if name not in kept}, ~draw.is_out_R, progress)
        split[train] = draw.split_R
        seed = asked.seed if asked else 0
        notes += [kept_words(name, draw.split_R, was_R, seed if name in fracs else None) if name in kept else
                  fresh_words(name, int((draw.split_R == name).sum()), len(train), seed)
                  for name in HELD_OUT if name in fracs or name in kept]
        notes += [] if together is None else [overlap_words(together, rows[together].to_pandas(), split)]
    notes += moved_words(split, was)
    place = rows.schema.get_field_index("split")
    return Split(rows=rows.set_column(place, "split", pa.array(split.tolist(), pa.string())), notes=notes,
                 held_out=tuple(name for name in HELD_OUT if name in fracs or name in kept))


def _splits_before(sample_ids: pa.ChunkedArray, before: Before | None) -> np.ndarray:
    """(N,) object: the split of each sample in the project, None of one that is new to it."""
    if before is None:
        return np.full(len(sample_ids), None, dtype=object)
    place = pc.index_in(sample_ids, value_set=before.rows["sample_id"])
    return np.asarray(pc.take(before.rows["split"], place).to_pylist(), dtype=object)


@dataclass(kw_only=True, slots=True)
class _Draw:
    """R samples without a split of the data's own, and where they go."""

    class_R: np.ndarray
    """(R,) int64, codes; group_R too: each sample of unknown group is one by itself."""
    group_R: np.ndarray
    order_R: np.ndarray
    """(R,) uint64, the draw."""
    split_R: np.ndarray
    """(R,) object: train, test or clean, as far as it is decided."""
    is_new_R: np.ndarray
    """(R,) bool: not in the project before, nor of a group that was."""

    @classmethod
    def of(cls, rows: pa.Table, was_R: np.ndarray, kept: Sequence[str], together: str | None, seed: int) -> "_Draw":
        """With what is held out already, and new samples of its groups beside it."""
        labels = rows["given_label"].combine_chunks().dictionary_encode()
        group_R = np.arange(rows.num_rows)
        if together is not None:
            column = rows[together].to_pandas()
            group_R = np.where(column.notna().to_numpy(), pd.factorize(column)[0], column.nunique() + group_R)
        split_R = np.full(rows.num_rows, "train", dtype=object)
        is_new_R = np.asarray(pd.isna(was_R))
        is_known_G = np.zeros(group_R.max() + 1, dtype=bool)
        is_known_G[group_R[~is_new_R]] = True
        is_train_G = np.zeros_like(is_known_G)
        is_train_G[group_R[~is_new_R & ~np.isin(was_R, kept)]] = True
        for name in reversed(kept):  # a new sample of a group in several: to training, else to the first of kept
            is_there_G = np.zeros_like(is_known_G)
            is_there_G[group_R[was_R == name]] = True
            split_R[is_new_R & (is_there_G & ~is_train_G)[group_R]] = name
            split_R[was_R == name] = name
        return cls(class_R=np.asarray(labels.indices).astype(np.int64), group_R=group_R, split_R=split_R,
                   order_R=_hashes(rows["sample_id"].to_pandas(), seed), is_new_R=~is_known_G[group_R])

    @property
    def is_out_R(self) -> np.ndarray:
        """(R,) bool: of a group of which something is held out."""
        is_out_G = np.zeros(self.group_R.max() + 1, dtype=bool)
        is_out_G[self.group_R[self.split_R != "train"]] = True
        return np.asarray(is_out_G[self.group_R])

    def hold_out(self, fracs: Mapping[str, float], is_open_R: np.ndarray, progress: Progress | None) -> None:
        """Draw what each class still lacks of its shares of all R samples, among the open ones."""
        rows = np.flatnonzero(is_open_R)
        if not fracs or not len(rows):
            return
        num_classes = int(self.class_R.max()) + 1
        size_C = np.bincount(self.class_R, minlength=num_classes)
        have_SC = [np.bincount(self.class_R[self.split_R == name], minlength=num_classes) for name in fracs]
        out_C = np.bincount(self.class_R[self.split_R != "train"], minlength=num_classes)
        left_C = np.maximum(size_C - 1 - out_C, 0)  # may still be held out
        need_SC = [np.clip(np.rint(frac * size_C).astype(int) - have_C, 0, left_C)
                   for frac, have_C in zip(fracs.values(), have_SC, strict=True)]
        to = _assigned(self.class_R[rows], self.group_R[rows], self.order_R[rows],
                       [need_C.tolist() for need_C in need_SC], left_C.tolist(),
                       progress or (lambda done, total, message: None))
        for number, name in enumerate(fracs, 1):
            self.split_R[rows[to == number]] = name


def _assigned(class_R: np.ndarray, group_R: np.ndarray, order_R: np.ndarray, need_SC: list[list[int]],
              left_C: list[int], progress: Progress) -> np.ndarray:
    """(R,) int64: 0 stays in training, s is held out for need_SC[s - 1]. class_R, group_R: codes (R,) int64; order_R:
    (R,) uint64, the draw. need_SC, left_C: samples of each class that a split lacks, and that may be held out at all;
    both are counted down.

    Groups of several samples go first, large before small, each to where the classes then lack most, none to where it
    is more than all classes together lack; single samples fill what each class still lacks.
    """
    to_R = np.zeros(len(class_R), dtype=np.int64)
    sizes_G = np.bincount(group_R)
    is_single_R = sizes_G[group_R] == 1
    groups = _groups(group_R, order_R, ~is_single_R)
    for done, members in enumerate(groups, 1):  # most are of few samples: numbers, not arrays
        if done % _REPORT_EVERY == 0:
            progress(done, len(groups), "holding groups out")
        counts = Counter(class_R[members].tolist())
        gains = [_gain(need_C, counts) if sum(need_C) >= len(members) else 0 for need_C in need_SC]
        best = gains.index(max(gains))
        if gains[best] > 0 and all(num <= left_C[code] for code, num in counts.items()):
            to_R[members] = best + 1
            for code, num in counts.items():
                need_SC[best][code] -= num
                left_C[code] -= num
    for code in np.unique(class_R).tolist():
        rows = np.flatnonzero((class_R == code) & is_single_R)
        rows = rows[np.argsort(order_R[rows], kind="stable")]
        start = 0
        for number in range(len(need_SC)):
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


def is_owner(name: str) -> bool:
    """Whether a column is called by one of OWNERS, such as sender_id, userId or Patient."""
    words = re.findall(r"[A-Z]?[a-z]+|[A-Z]+", name)
    return any(word.lower().removesuffix("s") in OWNERS for word in words)


def keeps_together(values: pd.Series, name: str = "") -> bool:
    """Whether a column names groups that a split should keep whole: several samples each, none of them large."""
    counts = values.value_counts()
    frac = MAX_OWNER_FRAC if is_owner(name) else MAX_GROUP_FRAC
    return bool(len(counts)) and 1 < counts.iloc[0] <= frac * len(values)
