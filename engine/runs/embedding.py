"""Features of the classifier -> the k-nearest-neighbour graph, out-of-fold predictions, map coordinates (UMAP, PCA).

UMAP is imported only where it is used: a machine without it gets PCA, and the log says so. Above MAX_FITTED samples it
places that many of them, drawn evenly, and the rest is put among its nearest placed neighbours. Drawing sparse regions
more often made maps far less true (benchmarks/LOG.md). N samples, D features, k neighbours.
"""

import importlib.util
import threading
import time
import warnings
from collections.abc import Callable
from typing import TypeVar

import numpy as np
import torch

from engine.contract.methods import METHODS
from engine.contract.run_dir import RunDir
from engine.runtime import distributed
from engine.runtime.rng import stream
from engine.training import label_head
from engine.training.trainer import Trainer

Result = TypeVar("Result")
Neighbours = tuple[np.ndarray, np.ndarray]
"""Rows (N, k) of the nearest others and their cosine distances."""
Say = Callable[[str], None]
"""Shown to people while they wait; may raise to give up."""

NUM_NEIGHBOURS = 15
NUM_UMAP_EPOCHS = 200
"""What umap-learn takes for more than 10,000 samples; of fewer it would take 500, which look the same."""
MAX_EXACT = 40_000
MAX_FITTED = 50_000
NUM_ANCHORS = 5
"""Placed neighbours among which a sample is put that UMAP did not place itself."""
PLACED_AT_ONCE = 20_000


def embed_run(trainer: Trainer, run: RunDir, on_message: Say) -> None:
    """Write what an audit takes as evidence, neighbours.npy and label_head.npy, and unless the config says embedding
    none the map, embedding.parquet: of all training samples, excluded ones too. on_message may raise."""
    data, method = trainer.data, trainer.config.embedding
    _, features = trainer.predict(data.train_idx)  # every rank its part, before anybody may give up
    if not distributed.is_rank_zero():
        return
    features_ND = features.float().cpu().numpy()
    indices, distances = _waited(lambda: nearest_neighbours(features_ND, min(NUM_NEIGHBOURS, len(features_ND) - 1)),
                                 "nearest neighbours", on_message)
    seed = int(stream(trainer.config.seed, "init").integers(2**31))
    if not METHODS[trainer.config.method].is_head_only:  # that method is nothing else, and wrote them
        probs_NC = _waited(lambda: label_head.predict_out_of_fold(
            torch.from_numpy(features_ND), data, trainer.config.seed, trainer.active,
            are_components=trainer.config.head == "linear"),
            "out-of-fold predictions", on_message)
        run.write_probabilities(probs_NC.numpy(), "label_head")
    if method == "none":
        run.write_neighbours(indices, distances)
        return
    xy, used = project(features_ND, method, seed, on_message, (indices, distances))
    if used != method:
        run.log(f"map made by {used}: {method} is not installed or the data is too small for it")
    elif method == "umap" and len(features_ND) > MAX_FITTED:
        run.log(f"map: UMAP placed {MAX_FITTED:,} of {len(features_ND):,} samples, the rest lies among its neighbours")
    run.write_embedding(data.sample_ids[data.train_idx], xy.astype(np.float32), indices, distances,
                        principal_components(features_ND))


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


def project(features_ND: np.ndarray, method: str, seed: int, on_message: Say,
            neighbours: Neighbours | None = None) -> tuple[np.ndarray, str]:
    """Coordinates (N, 2) float32 and the method that made them ("umap" falls back to "pca" where it cannot run).

    neighbours: what nearest_neighbours says of these features, where that is known already. Deterministic under the
    seed, which costs UMAP its parallelism.
    """
    if method == "umap" and len(features_ND) > NUM_NEIGHBOURS + 2 and importlib.util.find_spec("umap"):
        return _umap(features_ND, seed, on_message, neighbours), "umap"
    on_message("PCA")
    return principal_components(features_ND), "pca"


def principal_components(features_ND: np.ndarray) -> np.ndarray:
    """The first two, (N, 2) float32; of more than 20,000 samples their directions come from an even draw."""
    centred = torch.from_numpy(features_ND - features_ND.mean(0))
    _, _, components = torch.linalg.svd(centred[:: max(1, len(centred) // 20_000)], full_matrices=False)
    flat = (centred @ components[:2].T).numpy().astype(np.float32)
    return np.pad(flat, ((0, 0), (0, 2 - flat.shape[1])))


def _umap(features_ND: np.ndarray, seed: int, on_message: Say,
          neighbours: Neighbours | None = None) -> np.ndarray:
    num = len(features_ND)
    if num <= MAX_FITTED:
        return _waited(lambda: _fitted(features_ND, seed, neighbours), "UMAP", on_message)
    chosen = np.sort(np.random.default_rng(seed).choice(num, MAX_FITTED, replace=False))
    placed = _waited(lambda: _fitted(features_ND[chosen], seed),
                     f"UMAP of {MAX_FITTED:,} of {num:,} samples", on_message)
    xy = np.empty((num, 2), dtype=np.float32)
    xy[chosen] = placed
    rest = np.setdiff1d(np.arange(num), chosen, assume_unique=True)
    xy[rest] = _placed_among(features_ND, rest, chosen, placed, on_message)
    return xy


def _fitted(features_MD: np.ndarray, seed: int, neighbours: Neighbours | None = None) -> np.ndarray:
    """UMAP of all rows. It is given their neighbours: to compile a search of its own takes it 40 s."""
    from umap import UMAP

    rows, distances = neighbours or nearest_neighbours(features_MD, NUM_NEIGHBOURS - 1)
    num_others = NUM_NEIGHBOURS - 1  # it counts a sample as its own first neighbour
    known = (np.c_[np.arange(len(rows)), rows[:, :num_others]].astype(np.int32),
             np.c_[np.zeros(len(rows)), distances[:, :num_others]].astype(np.float32))

    with warnings.catch_warnings():
        # UMAP warns that a seed makes it single-threaded, which is the price we chose.
        warnings.simplefilter("ignore")
        return np.asarray(UMAP(n_neighbors=NUM_NEIGHBOURS, metric="cosine", random_state=seed, precomputed_knn=known,
                               n_epochs=NUM_UMAP_EPOCHS).fit_transform(features_MD), dtype=np.float32)


def _placed_among(features_ND: np.ndarray, rest: np.ndarray, chosen: np.ndarray, placed: np.ndarray,
                  on_message: Say) -> np.ndarray:
    """Coordinates of the rows `rest`: means over their nearest of the chosen, the nearer the heavier."""
    from pynndescent import NNDescent

    index = _waited(lambda: NNDescent(features_ND[chosen], metric="cosine", random_state=0), "index", on_message)
    index.prepare()
    parts, began = [], time.monotonic()
    for start in range(0, len(rest), PLACED_AT_ONCE):
        if start:
            left = (time.monotonic() - began) * (len(rest) - start) / start
            on_message(f"placing the rest, {start:,} of {len(rest):,}, about {left:.0f} s left")
        rows, distances = index.query(features_ND[rest[start:start + PLACED_AT_ONCE]], k=NUM_ANCHORS)
        nearness = 1.0 / (distances + 1e-3)
        parts.append((placed[rows] * nearness[..., None]).sum(1) / nearness.sum(1, keepdims=True))
    return np.concatenate(parts)


def _waited(work: Callable[[], Result], stage: str, on_message: Say) -> Result:
    """work()'s result; meanwhile on_message hears once a second how long it has taken. If that raises, the work is left
    to end with the process."""
    results: list[Result] = []
    failures: list[BaseException] = []

    def run() -> None:
        try:
            results.append(work())
        except BaseException as error:
            failures.append(error)

    thread, began = threading.Thread(target=run, daemon=True), time.monotonic()
    on_message(stage)
    thread.start()
    while thread.is_alive():
        thread.join(timeout=1.0)
        on_message(f"{stage}, {time.monotonic() - began:.0f} s")
    if failures:
        raise failures[0]
    return results[0]
