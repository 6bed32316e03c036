"""Which pictures are nearly the same, by features: exact nearest neighbours of some among others, in whitened features.

Features of a network have much in common whatever they show, and lie closer in some data than in others. So cosines are
taken of the 256 principal components of the others, each scaled to variance 1, and a pair counts as near where it is
much closer than what is usual around the asked picture, or nearly equal. Looked at by eye, with efficientnet_lite0 at
224 pixels: of 4,000 test against 12,000 training pictures of CIFAR-10N, 11 pairs are within MAX_RATIO, all of them the
same picture cropped or recoloured (to .40: 21, two wrong; by the cosine of the features themselves the second pair is
wrong already); of 5,398 photos of clothes about 25, each of one session of one person, two thirds the same garment.
More are missed than found: CIFAR's are 60 at least. Opens no image. Q asked, N others, D features, K components.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from engine.contract.feature_dir import FeatureStore

MAX_RATIO = 0.35
"""Of the distance to the NUM_NEIGHBOURS-th nearest: at most so near is a near-duplicate."""
MAX_DISTANCE = 0.02
"""So near it is one whatever lies around it, as in a heap of copies."""
EQUAL = 1e-4
"""The same features, rounded: all that counts where there are fewer than MIN_COMPONENTS, in which much is near."""
NUM_NEIGHBOURS = 10
NUM_COMPONENTS = 256
MIN_COMPONENTS = 16
MIN_PER_COMPONENT = 20
"""Others for each component beyond MIN_COMPONENTS: of fewer, whitening makes all equally far."""
MAX_FITTED = 50_000
ROWS_AT_ONCE = 8_192
Progress = Callable[[int, int, str], None]


@dataclass(frozen=True, slots=True)
class NearPairs:
    """Near-duplicates of asked rows among others, by asked row, then nearest first."""

    asked: np.ndarray
    """(P,) int64 positions among the asked."""
    other: np.ndarray
    """(P,) int64 positions among the others."""
    distance: np.ndarray
    """(P,) float32 cosine distance of the whitened components, 0 the same."""


def near_pairs(store: FeatureStore, asked_Q: np.ndarray, other_N: np.ndarray, progress: Progress) -> NearPairs:
    """Pairs of an asked row and one of its NUM_NEIGHBOURS nearest others that are near-duplicates.

    asked_Q, other_N: rows of the store, int64. Reads the others once, block by block; progress(done, N, message) may
    raise to give up. Exact: 24,000 asked among a million others are 12 Tflop.
    """
    if not len(asked_Q) or not len(other_N):
        nothing = np.empty(0, dtype=np.int64)
        return NearPairs(nothing, nothing, np.empty(0, dtype=np.float32))
    whiten = _Whitening(store, other_N)
    asked_QK = np.concatenate([whiten.unit(store.read(part)) for part in _parts(asked_Q)])
    best = np.full((len(asked_Q), NUM_NEIGHBOURS), -np.inf, dtype=np.float32)
    at = np.full((len(asked_Q), NUM_NEIGHBOURS), -1, dtype=np.int64)
    done = 0
    for part in _parts(other_N):
        other_BK = whiten.unit(store.read(part))
        for start in range(0, len(asked_Q), ROWS_AT_ONCE // 4):
            rows = slice(start, start + ROWS_AT_ONCE // 4)
            _keep_nearest(asked_QK[rows] @ other_BK.T, done, best[rows], at[rows])
        done += len(part)
        progress(done, len(other_N), "looking for near-duplicates")
    distance = np.clip(1.0 - best, 0.0, 2.0)
    is_usual = np.isfinite(best[:, -1])  # there are that many others
    usual = np.where(is_usual, MAX_RATIO * distance[:, -1], 0.0)
    limit = np.maximum(MAX_DISTANCE, usual) if asked_QK.shape[1] >= MIN_COMPONENTS else np.full(len(usual), EQUAL)
    asked, slot = np.nonzero((distance <= limit[:, None]) & (at >= 0))
    return NearPairs(asked, at[asked, slot], distance[asked, slot].astype(np.float32))


def _parts(rows: np.ndarray) -> list[np.ndarray]:
    return [rows[start:start + ROWS_AT_ONCE] for start in range(0, len(rows), ROWS_AT_ONCE)]


def _keep_nearest(similarity_QB: np.ndarray, first: int, best: np.ndarray, at: np.ndarray) -> None:
    """Take a block's columns, numbered from `first`, into the nearest so far (Q, k), nearest first, in place."""
    num = min(best.shape[1], similarity_QB.shape[1])
    rows = np.flatnonzero(similarity_QB.max(axis=1) > best[:, -1])  # most blocks bring most rows nothing new
    block = similarity_QB[rows]
    columns = np.argpartition(-block, num - 1, axis=1)[:, :num]
    values = np.concatenate([best[rows], np.take_along_axis(block, columns, axis=1)], axis=1)
    places = np.concatenate([at[rows], columns + first], axis=1)
    order = np.argsort(-values, axis=1, kind="stable")[:, :best.shape[1]]
    best[rows] = np.take_along_axis(values, order, axis=1)
    at[rows] = np.take_along_axis(places, order, axis=1)


class _Whitening:
    """Features -> unit vectors of their whitened principal components, fitted on rows evenly drawn."""

    def __init__(self, store: FeatureStore, rows_N: np.ndarray) -> None:
        drawn = rows_N[np.unique(np.linspace(0, len(rows_N) - 1, min(len(rows_N), MAX_FITTED)).astype(np.int64))]
        total_D = np.zeros(store.num_features)
        moments_DD = np.zeros((store.num_features, store.num_features))
        for part in _parts(drawn):
            values = store.read(part).astype(np.float32)
            total_D += values.sum(axis=0, dtype=np.float64)
            moments_DD += values.T @ values
        self.mean_D = (total_D / len(drawn)).astype(np.float32)
        covariance_DD = moments_DD / len(drawn) - np.outer(self.mean_D, self.mean_D)
        variances, directions = np.linalg.eigh(covariance_DD)
        num = min(NUM_COMPONENTS, store.num_features, max(MIN_COMPONENTS, len(drawn) // MIN_PER_COMPONENT))
        kept = np.maximum(variances[-num:], 1e-6 * max(float(variances[-1]), 1e-12))
        self.directions_DK = (directions[:, -num:] / np.sqrt(kept)).astype(np.float32)

    def unit(self, values_BD: np.ndarray) -> np.ndarray:
        """(B, K) float32 of length 1."""
        found: np.ndarray = (values_BD.astype(np.float32) - self.mean_D) @ self.directions_DK
        found /= np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-12)
        return found
