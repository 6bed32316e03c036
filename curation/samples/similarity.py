"""The samples nearest to a picture, or to several, by the cosine of their features: exact, over a whole store.

Reads the store block by block, so a million samples need a block and one number each in memory. A query is a vector in
the features' own space: the mean direction of pictures, or that of a text by a backbone's text tower, which no command
asks for yet. Decides nothing.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from engine.contract.errors import UserError
from engine.contract.feature_dir import FeatureStore

ROWS_AT_ONCE = 8_192
COLUMNS = ("sample_id", "path", "split", "given_label", "similarity")
Progress = Callable[[int, int, str], None]


class SimilarityError(UserError):
    """No similarity can be asked for. One line, ready to show."""


@dataclass(frozen=True, slots=True)
class Nearest:
    """The k rows of a store nearest to a query, nearest first; of equals the lower row."""

    rows: np.ndarray
    """(k,) int64."""
    similarity: np.ndarray
    """(k,) float32 cosines in [-1, 1]; a row of zeros has 0."""


def nearest(store: FeatureStore, query_D: np.ndarray, k: int, is_asked_R: np.ndarray | None = None,
            progress: Progress | None = None) -> Nearest:
    """The k rows nearest to a query, fewer where fewer are asked for.

    query_D: (D,) float, of any length but 0. is_asked_R: (R,) bool over the store's rows; None: all of them.
    """
    similarity_R = cosines(store, query_D, progress)
    asked = np.arange(len(similarity_R)) if is_asked_R is None else np.flatnonzero(is_asked_R)
    found = similarity_R[asked]
    if k < len(found):
        least = np.partition(found, len(found) - k)[len(found) - k]
        asked, found = asked[found >= least], found[found >= least]
    order = np.lexsort((asked, -found))[:k]
    return Nearest(asked[order], found[order])


def cosines(store: FeatureStore, query_D: np.ndarray, progress: Progress | None = None) -> np.ndarray:
    """(R,) float32 cosine of every row of the store with a query (D,), in [-1, 1]."""
    unit_D = np.asarray(query_D, dtype=np.float32) / max(float(np.linalg.norm(query_D)), 1e-30)
    num_rows, done = sum(map(len, store.shards)), 0
    found = np.empty(num_rows, dtype=np.float32)
    for shard in store.shards:
        for start in range(0, len(shard), ROWS_AT_ONCE):
            block = shard[start:start + ROWS_AT_ONCE].astype(np.float32)
            lengths = np.sqrt(np.einsum("rd,rd->r", block, block))
            found[done:done + len(block)] = block @ unit_D / np.maximum(lengths, 1e-30)
            done += len(block)
            if progress is not None:
                progress(done, num_rows, "comparing")
    return np.clip(found, -1.0, 1.0)


def direction_of(store: FeatureStore, rows: np.ndarray) -> np.ndarray:
    """(D,) float32: the mean of the rows' unit vectors, which points at what they have in common. rows: (n,) int64, at
    least one. Raises SimilarityError where they cancel out, or are all zeros."""
    values = store.read(rows).astype(np.float32)
    lengths = np.linalg.norm(values, axis=1, keepdims=True)
    mean: np.ndarray = (values / np.maximum(lengths, 1e-30)).mean(axis=0)
    if float(np.linalg.norm(mean)) < 1e-6:
        raise SimilarityError(f"pictures must have a direction in common; the {len(rows):,} asked for have none in "
                              f"features {store.folder.name!r}; ask for one of them")
    return mean


def similar_to(store: FeatureStore, manifest: pd.DataFrame, sample_ids: Sequence[str], k: int,
               is_asked: np.ndarray | None = None, progress: Progress | None = None) -> pd.DataFrame:
    """The k samples most similar to these: COLUMNS, most similar first; these themselves left out.

    manifest: sample_id, split, given_label and perhaps path, N rows; is_asked: (N,) bool, which of them may be found;
    None: all. Raises SimilarityError for an id that is no sample's, or one without features.
    """
    at = pd.Index(manifest["sample_id"]).get_indexer(pd.Index(list(dict.fromkeys(sample_ids)), dtype=object))
    if not len(at) or (at < 0).any():
        unknown = next((i for i, n in zip(dict.fromkeys(sample_ids), at, strict=True) if n < 0), "none")
        raise SimilarityError(f"similarity is to samples of the project; got {unknown!r}; give sample ids as the "
                              "manifest has them")
    row_of_sample = store.rows_of(manifest["sample_id"])
    lacking = at[row_of_sample[at] < 0]
    if len(lacking):
        raise SimilarityError(f"similarity needs features; {manifest['sample_id'].iloc[lacking[0]]!r} has none in "
                              f"{store.folder.name!r}; choose another sample or other features")
    may_be = row_of_sample >= 0
    may_be[at] = False
    if is_asked is not None:
        may_be &= is_asked
    sample_of_row = np.full(sum(map(len, store.shards)), -1, dtype=np.int64)
    sample_of_row[row_of_sample[may_be]] = np.flatnonzero(may_be)
    found = nearest(store, direction_of(store, row_of_sample[at]), k, sample_of_row >= 0, progress)
    rows = manifest.iloc[sample_of_row[found.rows]]
    path = rows["path"] if "path" in rows else pd.Series("", index=rows.index)
    return pd.DataFrame({**{name: rows[name] if name != "path" else path for name in COLUMNS[:-1]},
                         "similarity": found.similarity}).reset_index(drop=True)
