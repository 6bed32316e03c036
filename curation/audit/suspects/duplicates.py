"""Near-duplicates whose labels contradict each other: at least one of two such labels is wrong.

Nearness is cosine distance between features of the run's classifier: near to the classifier, which need not be near to
the eye. Files of the pairs that are shown can be compared byte for byte. Decides nothing and opens no image.
"""

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from curation.samples.neighbours import NEAR_ZERO
from engine.contract.manifest import ManifestError, resolve_image


@dataclass(frozen=True, slots=True)
class Duplicates:
    """Groups of near-duplicates that hold more than one label, largest first."""

    pairs: np.ndarray
    """(P, 2) int64 rows i < j: near each other and labelled differently; by group, then nearest first."""
    distances: np.ndarray
    """(P,) float32 cosine distances, 0 nearest."""
    group_of_pair: np.ndarray
    """(P,) int64: the pair's group."""
    members: np.ndarray
    """(M,) int64 rows of every group, group after group; samples that agree with most of their group included."""
    group_of_member: np.ndarray
    """(M,) int64 group numbers, ascending from 0."""
    num_near: int
    """Near pairs whatever their labels: what the conflicts are a part of."""

    @property
    def num_groups(self) -> int:
        return int(self.group_of_member[-1]) + 1 if len(self.members) else 0

    def group(self, number: int) -> np.ndarray:
        """Rows of one group, ascending."""
        first, last = np.searchsorted(self.group_of_member, [number, number + 1])
        return self.members[first:last]


def conflicts(indices: np.ndarray, distances: np.ndarray, labels: np.ndarray,
              max_distance: float = NEAR_ZERO) -> Duplicates:
    """Groups of near samples with conflicting labels: a million samples of 15 neighbours in well under a second.

    indices: (N, k) rows, -1 for none; distances: (N, k) cosine distances; labels: (N,) codes of the labels in force in
    the same order, -1 to leave a sample out (excluded, or without a label). A pair counts if either has the other among
    its neighbours at max_distance or less; groups are what such pairs connect.
    """
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    num = len(labels)
    first, second, near = _near_pairs(indices, distances, labels, max_distance)
    _, component = connected_components(coo_matrix((np.ones(len(first), np.int8), (first, second)), shape=(num, num)),
                                        directed=False)
    is_conflict = labels[first] != labels[second]
    has_conflict = np.zeros(num, dtype=bool)
    has_conflict[component[first[is_conflict]]] = True
    number = _by_size(component, has_conflict)
    members = np.flatnonzero(has_conflict[component])
    members = members[np.argsort(number[component[members]], kind="stable")]
    first, second, near = first[is_conflict], second[is_conflict], near[is_conflict]
    group_of_pair = number[component[first]]
    order = np.lexsort((near, group_of_pair))
    return Duplicates(pairs=np.stack([first, second], axis=1)[order], distances=near[order],
                      group_of_pair=group_of_pair[order], members=members, group_of_member=number[component[members]],
                      num_near=len(is_conflict))


def content_ids(root: Path, paths: Sequence[str | None]) -> list[str]:
    """SHA-256 of each image file in hex; "" where it cannot be read or no other file here has its size.

    root: resolved folder that the paths lie in. Only files that share their size with another of `paths` are read, so
    equal non-empty texts mean the same bytes. For the few pairs on show.
    """
    files = [_file_of(root, path) for path in paths]
    sizes = [file.stat().st_size if file is not None else None for file in files]
    num_of_size = Counter(sizes)
    return [_digest(file) if file is not None and num_of_size[size] > 1 else ""
            for file, size in zip(files, sizes, strict=True)]


def in_signal_order(values: np.ndarray, signal_row: np.ndarray, num_rows: int, fill: int = -1) -> np.ndarray:
    """(num_rows,) values of the sample table put in the order of signals.parquet, `fill` where the table has none.

    values: (N,) in the order of the sample table; signal_row: (N,) its column of that name, -1 where the run has none.
    """
    ordered = np.full(num_rows, fill, dtype=np.asarray(values).dtype)
    is_there = signal_row >= 0
    ordered[signal_row[is_there]] = np.asarray(values)[is_there]
    return ordered


def _near_pairs(indices: np.ndarray, distances: np.ndarray, labels: np.ndarray,
                max_distance: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows i < j and distance of each near pair of samples that have labels, once."""
    rows, slots = np.nonzero(np.asarray(distances) <= np.asarray(max_distance, dtype=distances.dtype))
    others = np.asarray(indices)[rows, slots].astype(np.int64)
    near = distances[rows, slots].astype(np.float32)
    first, second = np.minimum(rows, others), np.maximum(rows, others)
    is_pair = (first >= 0) & (first != second)
    is_pair[is_pair] &= (labels[first[is_pair]] >= 0) & (labels[second[is_pair]] >= 0)
    first, second, near = first[is_pair], second[is_pair], near[is_pair]
    order = np.lexsort((near, second, first))
    first, second, near = first[order], second[order], near[order]
    is_new = np.ones(len(first), dtype=bool)
    is_new[1:] = (np.diff(first) != 0) | (np.diff(second) != 0)
    return first[is_new], second[is_new], near[is_new]


def _by_size(component: np.ndarray, is_kept: np.ndarray) -> np.ndarray:
    """(N,) component -> its number among the kept ones, largest first, then by first member; -1 for the others."""
    sizes = np.bincount(component, minlength=len(is_kept))
    kept = np.flatnonzero(is_kept)
    number = np.full(len(is_kept), -1, dtype=np.int64)
    number[kept[np.argsort(-sizes[kept], kind="stable")]] = np.arange(len(kept))
    return number


def _file_of(root: Path, path: str | None) -> Path | None:
    """The image file inside the root; None where there is none."""
    try:
        file = resolve_image(root, path) if path else None
    except (ManifestError, ValueError):
        return None
    return file if file is not None and file.is_file() else None


def _digest(file: Path) -> str:
    try:
        with open(file, "rb") as handle:
            return hashlib.file_digest(handle, "sha256").hexdigest()
    except OSError:
        return ""
