"""The samples nearest to a picture, or to several, by the cosine of their features: exact, over a whole store.

Reads the store block by block, so a million samples need a block and one number each in memory. A query is a vector in
the features' own space: the mean direction of pictures, or that of a text by the backbone's text tower, which the
engine is asked for in a process of its own. Decides nothing.
"""

import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from engine.contract.errors import UserError
from engine.contract.feature_dir import FeatureStore

ROWS_AT_ONCE = 8_192
COLUMNS = ("sample_id", "path", "split", "given_label", "similarity")
Progress = Callable[[int, int, str], None]
_CODE_ROOT = Path(__file__).parents[2]


class SimilarityError(UserError):
    """No similarity can be asked for. One line, ready to show."""


@dataclass(frozen=True, slots=True)
class Nearest:
    """The k candidates nearest to a query, nearest first; of equals the first."""

    at: np.ndarray
    """(k,) int64 positions among the candidates."""
    similarity: np.ndarray
    """(k,) float32 cosines in [-1, 1]; a row of zeros has 0."""


def nearest(store: FeatureStore, query_D: np.ndarray, k: int, rows_N: np.ndarray,
            progress: Progress | None = None) -> Nearest:
    """The k candidates nearest to a query, fewer where there are fewer.

    query_D: (D,) float, of any length but 0. rows_N: (N,) int64 row of each candidate in the store, -1: not to be
    found; copies of one picture may share a row.
    """
    asked = np.flatnonzero(rows_N >= 0)
    found = cosines(store, query_D, progress)[rows_N[asked]]
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
    candidates = row_of_sample.copy() if is_asked is None else np.where(is_asked, row_of_sample, -1)
    candidates[at] = -1
    return _found(store, manifest, direction_of(store, row_of_sample[at]), k, candidates, progress)


def similar_to_text(store: FeatureStore, manifest: pd.DataFrame, project: Path, text: str, k: int,
                    progress: Progress | None = None) -> pd.DataFrame:
    """The k samples most similar to what a text says: COLUMNS, most similar first. manifest as in similar_to.

    Raises SimilarityError where the features' backbone reads no texts, or is not to be had. Cosines of a picture with a
    text are low, .2 to .4 of a good match: their order counts.
    """
    query_D = text_direction(project, store.folder.name, text)
    return _found(store, manifest, query_D, k, store.rows_of(manifest["sample_id"]), progress)


def text_direction(project: Path, features: str, text: str) -> np.ndarray:
    """(D,) float32 of a text in the space of a project's features (engine.runs.text_query). Raises SimilarityError."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "text.npy"
        command = [sys.executable, "-m", "engine.runs.text_query", str(Path(project).resolve()), features, text,
                   str(out)]
        done = subprocess.run(command, cwd=_CODE_ROOT, capture_output=True, text=True, stdin=subprocess.DEVNULL)
        if done.returncode:
            lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
            raise SimilarityError((lines or ["no reason was given"])[-1].removeprefix("error: "))
        query_D: np.ndarray = np.load(out, allow_pickle=False)
    return query_D


def _found(store: FeatureStore, manifest: pd.DataFrame, query_D: np.ndarray, k: int, candidates: np.ndarray,
           progress: Progress | None) -> pd.DataFrame:
    found = nearest(store, query_D, k, candidates, progress)
    rows = manifest.iloc[found.at]
    path = rows["path"] if "path" in rows else pd.Series("", index=rows.index)
    return pd.DataFrame({**{name: rows[name] if name != "path" else path for name in COLUMNS[:-1]},
                         "similarity": found.similarity}).reset_index(drop=True)
