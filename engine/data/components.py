"""Principal components of features: what a head sees. Fitted on the train split alone, kept in the project's cache.

Knows no labels and no decisions, so that one set of components serves every run on the same data. M rows of the
manifest, D features, K components.
"""

import hashlib
from functools import lru_cache
from pathlib import Path

import numpy as np

from engine.contract.disk.processes import LOCK_NAME, in_turn
from engine.contract.feature_dir import FeatureError, FeatureStore
from engine.contract.inside import inside
from engine.contract.manifest import MANIFEST_NAME, file_digest
from engine.contract.stamps import Stamp, stamp_of
from engine.contract.work_dir import write_array, write_atomic
from engine.data.image_cache import Progress

MAX_FITTED = 50_000
"""Rows of the train split, evenly drawn, that components are fitted on; of more, the covariance hardly changes."""
ROWS_AT_ONCE = 16_384
LARGEST = 1e3
"""Scaled values beyond this are clipped: one damaged feature must not carry a whole class away."""


def open_components(project: Path, name: str, sample_ids: np.ndarray, train_idx: np.ndarray,
                    num_components: int | None, progress: Progress) -> tuple[np.ndarray, dict[int, str]]:
    """(M, K) float16 components of the features `name`, memory-mapped, of mean variance 1 over the train split, and
    {row: reason} of samples without features, whose values are 0.

    The components keep their lengths: scaled to variance 1 each, the small ones are noise that a head learns by heart
    (MOLERE 73.2 against 75.9% at 40% noise, benchmarks/LOG.md). sample_ids: (M,) of the manifest; train_idx: rows of
    its train split. num_components None: the features themselves, each of variance 1. Raises FeatureError where the
    features are not finished or say nothing of the train split.
    """
    store = FeatureStore.open(project, name)
    rows = store.rows_of(sample_ids)
    bad = _reasons(store, sample_ids, rows)
    known = train_idx[rows[train_idx] >= 0]
    if not len(known):
        raise FeatureError(f"features must be of this project's samples; {name!r} has none of its {len(train_idx)} of "
                           "split train; make them anew")
    kept = num_components if num_components is not None and num_components < store.num_features else None
    shards = [store.folder.shard_path(number) for number in range(len(store.shards))]
    folder = inside(project, "cache", "-".join((
        file_digest(Path(project) / MANIFEST_NAME)[:16], file_digest(store.folder.samples_path)[:16],
        _values_digest(stamp_of(*shards))[:16], str(kept))))
    path, digest_path, num = folder / "components.npy", folder / "digest.txt", len(sample_ids)
    with in_turn(folder / LOCK_NAME, lambda: progress(0, num)):
        if not path.exists() or not digest_path.exists() or _digest(path) != digest_path.read_text():
            write_array(path, _projected(store, rows, known, kept, progress))
            text = _digest(path)
            write_atomic(digest_path, lambda p: p.write_text(text))
    return np.load(path, mmap_mode="c", allow_pickle=False), bad  # torch takes no array that is read-only


@lru_cache(maxsize=16)
def _values_digest(shards: Stamp) -> str:
    """Of all numbers: the list of samples is the same whichever network looked at them."""
    return hashlib.sha256("".join(file_digest(Path(shard.path)) for shard in shards).encode()).hexdigest()


def _projected(store: FeatureStore, rows: np.ndarray, known: np.ndarray, num_components: int | None,
               progress: Progress) -> np.ndarray:
    """(M, K) float16."""
    from sklearn.decomposition import PCA  # here: a second of a process's start, and most find the components made
    from sklearn.preprocessing import StandardScaler

    fitted = rows[known[np.unique(np.linspace(0, len(known) - 1, min(len(known), MAX_FITTED)).astype(np.int64))]]
    sample = store.read(fitted).astype(np.float32)
    if num_components is None:
        model = StandardScaler()
    else:
        num = min(num_components, len(sample) - 1) if len(sample) > 2 else 1
        model = PCA(num, svd_solver="covariance_eigh")
    model.fit(sample)
    scale = float(np.sqrt(model.transform(sample).var(0).mean())) or 1.0
    num_kept = model.transform(sample[:1]).shape[1]
    found = np.zeros((len(rows), num_kept), dtype=np.float16)
    for start in range(0, len(rows), ROWS_AT_ONCE):
        at = start + np.flatnonzero(rows[start:start + ROWS_AT_ONCE] >= 0)
        if len(at):
            values = model.transform(store.read(rows[at]).astype(np.float32))
            found[at] = np.clip(np.nan_to_num(values / scale), -LARGEST, LARGEST)
        progress(min(start + ROWS_AT_ONCE, len(rows)), len(rows))
    return found


def _reasons(store: FeatureStore, sample_ids: np.ndarray, rows: np.ndarray) -> dict[int, str]:
    """{row of the manifest: why it has no features}."""
    lost = np.flatnonzero(rows < 0)
    said = dict(zip(store.samples["sample_id"], store.samples["reason"], strict=True)) if len(lost) else {}
    return {int(row): str(said.get(sample_ids[row]) or f"no features in {store.folder.name}") for row in lost}


def _digest(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "blake2b").hexdigest()
