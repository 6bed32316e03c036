"""Map and neighbours of a million samples: time, memory, and how true the map is to the features.

    python benchmarks/embed_million.py [--num 1000000] [--dims 128] [--clusters 300] [--compared 50000]

Features are clustered: normal clouds of differing width and size about random centres. Trustworthiness (Venna & Kaski
2001; k = 15, on --sampled random samples) of the map of all, against that of a full UMAP of --compared samples drawn
evenly, on the same samples. Prints a table and writes JSON to --out.
"""

import argparse
import json
import resource
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import torch
from sklearn.manifold import trustworthiness

from benchmarks.epoch_cost import hardware
from engine.runs import embedding


def clustered(num: int, dims: int, num_clusters: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Features (num, dims) float32 and their cluster; sizes fall off as 1 / rank, widths lie in 0.3 to 1.5."""
    rng = np.random.default_rng(seed)
    chances = 1.0 / np.arange(1, num_clusters + 1)
    cluster = rng.choice(num_clusters, num, p=chances / chances.sum())
    centres, widths = rng.standard_normal((num_clusters, dims)), rng.uniform(0.3, 1.5, num_clusters)
    noise = rng.standard_normal((num, dims), dtype=np.float32)
    return (centres[cluster] + widths[cluster, None] * noise).astype(np.float32), cluster


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--num", type=int, default=1_000_000)
    parser.add_argument("--dims", type=int, default=128)
    parser.add_argument("--clusters", type=int, default=300)
    parser.add_argument("--compared", type=int, default=50_000)
    parser.add_argument("--sampled", type=int, default=5_000)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("embed_million.json"))
    args = parser.parse_args()
    features, cluster = clustered(args.num, args.dims, args.clusters, 0)
    stages: list[tuple[str, float]] = []

    def say(message: str) -> None:
        stages.append((message, time.monotonic()))
        print(f"\r{message:70s}", end="", file=sys.stderr, flush=True)

    began = time.monotonic()
    embedding._waited(lambda: embedding.nearest_neighbours(features, embedding.NUM_NEIGHBOURS), "neighbours", say)
    neighbours = time.monotonic() - began
    xy, _ = embedding.project(features, "umap", 0, say)
    seconds, peak = time.monotonic() - began, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20

    rng = np.random.default_rng(1)
    compared = np.sort(rng.choice(args.num, min(args.compared, args.num), replace=False))
    began = time.monotonic()
    full = embedding._fitted(features[compared], 0)
    full_seconds = time.monotonic() - began
    at = rng.choice(len(compared), min(args.sampled, len(compared)), replace=False)
    rows = compared[at]
    ours = trustworthiness(features[rows], xy[rows], n_neighbors=15, metric="cosine")
    theirs = trustworthiness(features[rows], full[at], n_neighbors=15, metric="cosine")
    about = hardware(torch.device("cpu"))
    longest = max(b[1] - a[1] for a, b in zip(stages, stages[1:], strict=False))
    print(f"\n{about}; {args.num:,} x {args.dims}, {len(np.unique(cluster))} clusters")
    print(f"neighbours {neighbours:.0f} s, map {seconds - neighbours:.0f} s, together {seconds / 60:.1f} min; peak "
          f"memory {peak:.1f} GiB, of which features {features.nbytes / 2**30:.2f}; longest silence {longest:.1f} s")
    print(f"trustworthiness on {len(rows):,}: {ours:.3f}; full UMAP of {len(compared):,} ({full_seconds:.0f} s): "
          f"{theirs:.3f}")
    args.out.write_text(json.dumps({
        "hardware": about, "num": args.num, "dims": args.dims, "neighbours_seconds": neighbours,
        "seconds": seconds, "peak_gib": peak, "longest_silence_seconds": longest, "trustworthiness": ours,
        "full_umap": {"num": len(compared), "seconds": full_seconds, "trustworthiness": theirs}}, indent=1))


if __name__ == "__main__":
    main()
