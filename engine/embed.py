"""Features of the classifier -> map coordinates (UMAP or PCA) and the k-nearest-neighbour graph.

UMAP is imported only where it is used: a machine without it gets PCA, and the log says so.
"""

import warnings
from collections.abc import Callable

import numpy as np
import torch

from engine import ranks
from engine.rundir import RunDir
from engine.streams import stream
from engine.trainer import Trainer

NUM_NEIGHBOURS = 15
MAX_EXACT = 40_000
MAX_FITTED = 50_000
"""Samples that UMAP itself places; the rest is put at the mean of its nearest placed neighbours."""


def embed_run(trainer: Trainer, run: RunDir, on_message: Callable[[str], None]) -> None:
    """Write embedding.parquet and neighbours.npz of all training samples, excluded ones too. on_message may raise."""
    data, method = trainer.data, trainer.config.embedding
    if method == "none":
        return
    on_message("features")
    _, features = trainer.predict(data.train_idx)
    if not ranks.is_first():
        return
    features_ND = features.float().cpu().numpy()
    on_message("nearest neighbours")
    indices, distances = nearest_neighbours(features_ND, min(NUM_NEIGHBOURS, len(features_ND) - 1))
    on_message("UMAP" if method == "umap" else "PCA")
    xy, used = project(features_ND, method, int(stream(trainer.config.seed, "init").integers(2**31)))
    if used != method:
        run.log(f"map made by {used}: {method} is not installed or the data is too small for it")
    run.write_embedding(data.sample_ids[data.train_idx], xy.astype(np.float32), indices, distances)


def nearest_neighbours(features_ND: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows (N, k) of the nearest others by cosine, nearest first, and their distances in [0, 2].

    Exact in blocks up to 40,000 samples; above that approximate, by pynndescent (it comes with umap-learn).
    """
    if len(features_ND) > MAX_EXACT:
        from pynndescent import NNDescent

        graph = NNDescent(features_ND, metric="cosine", n_neighbors=k + 1, random_state=0)
        rows, distances = graph.neighbor_graph
        is_other = rows != np.arange(len(rows))[:, None]
        is_other[is_other.all(1), -1] = False
        return rows[is_other].reshape(-1, k), distances[is_other].reshape(-1, k)
    unit = torch.nn.functional.normalize(torch.from_numpy(features_ND), dim=1)
    indices, similarities = [], []
    for start in range(0, len(unit), 2048):
        block = unit[start:start + 2048] @ unit.T
        block[torch.arange(len(block)), torch.arange(start, start + len(block))] = -2.0
        top = block.topk(k, dim=1)
        indices.append(top.indices)
        similarities.append(top.values)
    return torch.cat(indices).numpy(), (1.0 - torch.cat(similarities)).clamp(min=0.0).numpy()


def project(features_ND: np.ndarray, method: str, seed: int) -> tuple[np.ndarray, str]:
    """Coordinates (N, 2) float32 and the method that made them ("umap" falls back to "pca" where it cannot run).

    Deterministic under the seed, which costs UMAP its parallelism.
    """
    if method == "umap" and len(features_ND) > NUM_NEIGHBOURS + 2:
        try:
            import umap
        except ImportError:
            method = "pca"
        else:
            return _umap(umap, features_ND, seed), "umap"
    centred = torch.from_numpy(features_ND - features_ND.mean(0))
    _, _, components = torch.linalg.svd(centred[:: max(1, len(centred) // 20_000)], full_matrices=False)
    flat = (centred @ components[:2].T).numpy()
    return np.pad(flat, ((0, 0), (0, 2 - flat.shape[1]))), "pca"


def _umap(umap: object, features_ND: np.ndarray, seed: int) -> np.ndarray:
    num, rng = len(features_ND), np.random.default_rng(seed)
    chosen = np.sort(rng.choice(num, MAX_FITTED, replace=False)) if num > MAX_FITTED else np.arange(num)
    with warnings.catch_warnings():
        # UMAP warns that a seed makes it single-threaded, which is the price we chose.
        warnings.simplefilter("ignore")
        fitted = umap.UMAP(n_neighbors=NUM_NEIGHBOURS, metric="cosine", random_state=seed).fit_transform(  # type: ignore[attr-defined]
            features_ND[chosen])
    if num <= MAX_FITTED:
        return np.asarray(fitted, dtype=np.float32)
    placed = torch.nn.functional.normalize(torch.from_numpy(features_ND[chosen]), dim=1)
    xy = np.empty((num, 2), dtype=np.float32)
    for start in range(0, num, 2048):
        block = torch.nn.functional.normalize(torch.from_numpy(features_ND[start:start + 2048]), dim=1)
        top = (block @ placed.T).topk(5, dim=1)
        xy[start:start + 2048] = fitted[top.indices.numpy()].mean(1)
    xy[chosen] = fitted
    return xy
