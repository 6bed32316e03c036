"""Who is in training and who in validation, by scores: pins, quotas, coverage, rotation.

The noise guard is engine.molere.guard. Decides roles from arrays; trains nothing. N samples of the train split, C
classes, D features, k neighbours.
"""

import heapq
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from engine.contract.statistics.quota import class_quota


@dataclass(frozen=True, kw_only=True, slots=True)
class Routing:
    """Who is routed to validation, and what guard and coverage did. All (N,) bool."""

    routed: np.ndarray
    unguarded: np.ndarray
    """Who would have been routed had guard and coverage been off: the lowest scores of each class."""
    withheld: np.ndarray
    """Of those, the ones the guard withheld."""
    kept_by_coverage: np.ndarray
    """Passed over because too many of their neighbours are in validation."""


def rotation_groups(num_samples: int, num_groups: int, rng: np.random.Generator,
                    siblings_N: np.ndarray | None = None) -> np.ndarray:
    """A random group 0..num_groups-1 for each sample, (N,) int64; group sizes differ by at most one.

    siblings_N: (N,) int64, samples of equal number go to one group; the largest first, each to the group that is the
    smallest so far.
    """
    groups = np.empty(num_samples, dtype=np.int64)
    if siblings_N is not None:
        sizes = np.bincount(siblings_N)
        drawn = rng.permutation(np.flatnonzero(sizes))
        filled = [(0, group) for group in range(num_groups)]
        group_of = np.zeros(len(sizes), dtype=np.int64)
        for number in drawn[np.argsort(-sizes[drawn], kind="stable")]:
            size, group = heapq.heappop(filled)
            group_of[number] = group
            heapq.heappush(filled, (size + int(sizes[number]), group))
        return np.asarray(group_of[siblings_N])
    groups[rng.permutation(num_samples)] = np.arange(num_samples) % num_groups
    return groups


def class_weights(labels: np.ndarray, num_classes: int, exponent: float) -> np.ndarray:
    """Weight of each class, (C,) float32: its size ** -exponent, scaled to mean 1 over the samples; 1 of empty classes.

    exponent 0 weighs samples alike, 1 classes alike, 0.5 in between.
    """
    sizes_C = np.bincount(labels, minlength=num_classes).astype(np.float64)
    raw_C = np.maximum(sizes_C, 1.0) ** -exponent
    scaled_C = raw_C * max(sizes_C.sum(), 1.0) / max((raw_C * sizes_C).sum(), 1e-12)
    return np.where(sizes_C > 0, scaled_C, 1.0).astype(np.float32)


CANDIDATES = 2
"""Times its quota: so many of the hardest of a class are looked at by coverage first. Where it passes over so many that
these do not fill the quota, four times as many are."""
MANY_ROWS = 20_000
"""Of more rows than this a stratified draw looks at some of each class alone."""
MAX_COMPARED = 20_000
"""Members of a class, evenly drawn, among which neighbours are looked for."""
MAX_COMPARED_OF_HEADS = 2_000
"""The same on features, where an epoch of a million samples takes seconds and to compare with 20,000 took twenty."""


def candidates(keys_N: np.ndarray, labels_N: np.ndarray, is_active_N: np.ndarray, is_free_N: np.ndarray,
               fraction: float, times: int) -> np.ndarray:
    """Who may come to be routed, (N,) bool: of the free of each class those with the lowest keys, `times` the class's
    quota. Not the samples without a finite key."""
    found = np.zeros(len(keys_N), dtype=bool)
    for c in np.unique(labels_N[is_active_N]):
        members = is_active_N & (labels_N == c)
        rows = np.flatnonzero(members & is_free_N & np.isfinite(keys_N))
        num = times * class_quota(int(members.sum()), fraction)
        found[rows[np.argsort(keys_N[rows], kind="stable")[:num]]] = True
    return found


def same_class_neighbours(features_of: Callable[[np.ndarray], np.ndarray], labels_N: np.ndarray,
                          is_member_N: np.ndarray, num_neighbors: int, is_asked_N: np.ndarray | None = None,
                          max_compared: int | None = None) -> np.ndarray:
    """Rows of the nearest same-class members by cosine similarity, (N, k) int64, -1 where there are none, of each
    member asked for (default: all).

    features_of: rows (R,) -> theirs (R, D). In blocks. Exact up to max_compared (MAX_COMPARED) members a class; above
    that among so many of them.
    """
    neighbours = np.full((len(labels_N), num_neighbors), -1, dtype=np.int64)
    is_asked_N = is_member_N if is_asked_N is None else is_asked_N & is_member_N
    for c in np.unique(labels_N[is_asked_N]):
        rows = np.flatnonzero(is_member_N & (labels_N == c))
        rows = rows[::-(-len(rows) // (max_compared or MAX_COMPARED))]
        asked = np.flatnonzero(is_asked_N & (labels_N == c))
        k = min(num_neighbors, len(rows) - 1)
        if k < 1:
            continue
        features_RD = features_of(rows).astype(np.float32)
        centre = features_RD.mean(0)
        unit = _directions(features_RD, centre)
        for start in range(0, len(asked), 1024):
            block = asked[start:start + 1024]
            similarity = _directions(features_of(block), centre) @ unit.T
            similarity[block[:, None] == rows[None, :]] = -np.inf
            # torch's selection: numpy's takes four to nine times as long.
            neighbours[block, :k] = rows[torch.from_numpy(similarity).topk(k, dim=1, sorted=False).indices.numpy()]
    return neighbours


def _directions(features_MD: np.ndarray, centre_D: np.ndarray) -> np.ndarray:
    apart: np.ndarray = features_MD.astype(np.float32) - centre_D
    apart /= np.maximum(np.linalg.norm(apart, axis=1, keepdims=True), 1e-12)
    return apart


def route(scores_N: np.ndarray, labels_N: np.ndarray, is_active_N: np.ndarray, pins_N: np.ndarray, *,
          fraction: float, is_eligible_N: np.ndarray | None = None, neighbours_Nk: np.ndarray | None = None,
          coverage: float = 1.0) -> Routing:
    """Per class, the `fraction` with the lowest score, under pins, guard and coverage.

    scores_N: float, low goes to validation first (p_train, or a margin). is_active_N: not excluded. pins_N: 1 to
    training, -1 to validation, 0 free. is_eligible_N: passed the guard (pins to validation need not).
    coverage: largest share of a routed sample's neighbours_Nk that may be routed as well; 1 turns it off; without
    neighbours it admits nobody. Active samples with a non-finite score are never routed.
    """
    num = len(scores_N)
    eligible = np.ones(num, dtype=bool) if is_eligible_N is None else is_eligible_N
    routed = is_active_N & (pins_N == -1)
    unguarded = routed.copy()
    kept = np.zeros(num, dtype=bool)
    cover = _Coverage(neighbours_Nk, routed, coverage) if neighbours_Nk is not None and coverage < 1.0 else None
    for c in np.unique(labels_N[is_active_N]):
        members = is_active_N & (labels_N == c)
        quota = class_quota(int(members.sum()), fraction) - int((members & routed).sum())
        free = np.flatnonzero(members & (pins_N == 0) & np.isfinite(scores_N))
        ordered = free[np.argsort(scores_N[free], kind="stable")]
        unguarded[ordered[:max(quota, 0)]] = True
        for row in ordered[eligible[ordered]]:
            if quota <= 0:
                break
            if cover is not None and not cover.admits(row):
                kept[row] = True
                continue
            if cover is not None:
                cover.admit(row)
            routed[row] = True
            quota -= 1
    return Routing(routed=routed, unguarded=unguarded, withheld=unguarded & ~eligible & ~routed, kept_by_coverage=kept)


class _Coverage:
    """Counts, for every sample, how many of its neighbours are routed; admits a row only if no routed sample,
    the row included, would then have more than its allowed share of neighbours routed."""

    def __init__(self, neighbours_Nk: np.ndarray, routed: np.ndarray, share: float) -> None:
        num = len(neighbours_Nk)
        self.routed = routed.copy()
        self.limits = np.floor(share * (neighbours_Nk >= 0).sum(1)).astype(np.int64)
        self.is_alone: np.ndarray = np.all(neighbours_Nk < 0, axis=1)
        sources, places = np.nonzero(neighbours_Nk >= 0)
        targets = neighbours_Nk[sources, places]
        order = np.argsort(targets, kind="stable")
        self.sources = sources[order]
        self.starts: np.ndarray = np.searchsorted(targets[order], np.arange(num + 1))
        self.counts = np.bincount(sources[routed[targets]], minlength=num)

    def _of(self, row: int) -> np.ndarray:
        """Samples that have `row` among their neighbours."""
        return self.sources[self.starts[row]:self.starts[row + 1]]

    def admits(self, row: int) -> bool:
        if self.is_alone[row] or self.counts[row] > self.limits[row]:
            return False
        near = self._of(row)
        near = near[self.routed[near]]
        return not len(near) or bool(np.all(self.counts[near] + 1 <= self.limits[near]))

    def admit(self, row: int) -> None:
        self.routed[row] = True
        self.counts[self._of(row)] += 1


def covered_share(routed_N: np.ndarray, is_active_N: np.ndarray, neighbours_Nk: np.ndarray) -> float | None:
    """Share of routed samples with a same-class neighbour (of their k) left in training; None if none is routed."""
    rows = np.flatnonzero(routed_N)
    if not len(rows):
        return None
    near = neighbours_Nk[rows]
    in_training = (near >= 0) & (is_active_N & ~routed_N)[np.maximum(near, 0)]
    return float(in_training.any(1).mean())


def stratified_draw(rows: np.ndarray, labels: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
    """`size` of `rows` (all of them if fewer), as evenly over the classes present as their sizes allow.

    labels: of `rows`. Without repetition; the remainder goes to random classes. Shuffled.
    """
    if len(rows) <= size:
        return rng.permutation(rows)
    shuffled = rng.permutation(len(rows))
    # Position of each sample within its own class under the shuffle; then take the lowest positions over all classes.
    within = np.empty(len(rows), dtype=np.int64)
    by_class = shuffled[np.argsort(labels[shuffled], kind="stable")]
    counts = np.bincount(labels)
    within[by_class] = np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)
    order = np.lexsort((rng.random(len(rows)), within))
    return rows[order[:size]]


def _some_of_each_class(labels: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
    """Positions of a random `size` of each class, or of all it has; each class's in ascending order of the class."""
    short = labels.astype(np.uint16) if labels.max() < 2**16 else labels  # a radix sort
    by_class = np.argsort(short, kind="stable")
    counts = np.bincount(labels)
    return np.concatenate([
        by_class[start:start + num] if num <= size else by_class[start + rng.choice(num, size, replace=False)]
        for start, num in zip(np.cumsum(counts) - counts, counts, strict=True)])


def stratified_halves(rows: np.ndarray, labels: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
    """Two stratified draws of size // 2, one behind the other, without a common sample but of classes that have one
    alone; of fewer than `size` rows, two halves of them; of fewer than 4, all of them twice and none alone, since one
    sample has no batch statistics.

    Two draws rather than every other sample of one: there a class with more in one half has fewer in the other, so
    that what one half says of the classes is the opposite of what the other does (benchmarks/LOG.md). labels: of rows.
    Of many rows `size` of each class are drawn first: no class gives more, so the draw is the same in distribution.
    """
    if len(rows) > MANY_ROWS:
        some = _some_of_each_class(labels, size, rng)
        rows, labels = rows[some], labels[some]
    if len(rows) < 4:
        return np.tile(rows, 4 if len(rows) == 1 else 2)
    half = min(size, len(rows)) // 2
    positions = np.arange(len(rows))
    first = stratified_draw(positions, labels, half, rng)
    is_left = np.bincount(labels)[labels] == 1
    is_left |= ~np.isin(positions, first)
    left = positions[is_left]
    drawn: np.ndarray = rows[np.concatenate([first, stratified_draw(left, labels[left], half, rng)])]
    return drawn
