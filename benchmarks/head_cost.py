"""What heads on features cost: MOLERE and ten paired seeds against one plain head, and runs on a million samples.

    python benchmarks/head_cost.py [--samples 12000] [--components 256] [--epochs 12] [--pairs 5]
        [--networks linear,mlp] [--million FOLDER] [--rows 1000000] [--threads 1]

Features are Gaussian clusters of 10 classes (14 of the million) with 40% of the labels wrong, and no photos
are needed; times hardly depend on the values. A plain and a MOLERE training and the ten pairs (20 heads: ten seeds, two
label sets each) are timed in turn in one process, in CPU seconds, which a busy machine disturbs less than the clock.
--million makes a project of so many --rows under FOLDER (500 MB) and times `engine train` on it, a process each, with
its peak memory. Prints a table and writes JSON to --out.
"""

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import pandas as pd
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from engine.contract.config import RunConfig
from engine.contract.feature_dir import FeatureDir, write_features
from engine.contract.manifest import MANIFEST_NAME, ManifestInfo, manifest_schema
from engine.contract.run_dir import RunDir
from engine.data.dataset import Dataset
from engine.runtime.allocator import keep_freed_memory
from engine.training.head_batch import train_heads
from engine.training.trainer import Trainer

NUM_PAIRS = 10
WRONG = 0.4
BLOCK = 65_536
MILLION_EPOCHS = 10


def clusters(num: int, num_features: int, num_classes: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features (num, num_features) float16, made in blocks, given labels (num,) of which WRONG are drawn anew, and true
    ones."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(0.0, 2.5 / num_features**0.5, (num_classes, num_features)).astype(np.float32)
    truth = rng.integers(0, num_classes, num)
    values = np.empty((num, num_features), dtype=np.float16)
    for start in range(0, num, BLOCK):
        part = truth[start:start + BLOCK]
        values[start:start + BLOCK] = centres[part] * 2 + rng.normal(size=(len(part), num_features)).astype(np.float32)
    return values, np.where(rng.random(num) < WRONG, rng.integers(0, num_classes, num), truth), truth


def dataset(num: int, num_features: int, num_classes: int) -> Dataset:
    values, given, _ = clusters(num, num_features, num_classes)
    return Dataset(classes=tuple(map(str, range(num_classes))), images=values, labels=given,
                   clean_labels=np.full(num, -1), train_idx=np.arange(num), clean_idx=np.empty(0, np.int64),
                   test_idx=np.empty(0, np.int64), pins=np.zeros(num, np.int8), excluded=np.zeros(num, bool),
                   exclusions=np.full(num, "", dtype=object), unreadable={},
                   sample_ids=np.arange(num).astype(str), groups=None)


def make_million(project: Path, num: int, num_features: int) -> None:
    """A project of features alone: its images exist nowhere."""
    if (project / MANIFEST_NAME).exists():
        return
    project.mkdir(parents=True, exist_ok=True)
    values, given, truth = clusters(num, num_features, 14)
    names = np.asarray([f"class {c}" for c in range(14)], dtype=object)
    ids = [f"{i:07d}" for i in range(num)]
    split = np.where(np.arange(num) % 100 == 0, "test", "train")
    rows = pd.DataFrame({"sample_id": ids, "path": [f"{i}.jpg" for i in ids], "split": split,
                         "given_label": names[np.where(split == "test", truth, given)], "clean_label": names[truth]})
    info = ManifestInfo(classes=tuple(names), root="images", source="made")
    table = pa.Table.from_pandas(rows, preserve_index=False)
    pq.write_table(table.cast(manifest_schema(table.schema, info)), project / MANIFEST_NAME)
    (project / "project.json").write_text(json.dumps({"name": project.name, "source": "made", "created": time.time()}))
    write_features(FeatureDir.of(project, "made"), {"kind": "imported", "num_features": num_features}, ids, values,
                   np.ones(num, dtype=bool))


def time_in_turn(data: Dataset, network: str, epochs: int, pairs: int) -> dict[str, float]:
    """Median CPU seconds of a plain and a MOLERE training, of one head of a batch and of ten pairs."""
    x = torch.from_numpy(data.images)
    other = np.where(np.arange(data.num_train) % 20 == 0, (data.train_labels + 1) % data.num_classes, data.train_labels)

    def config(method: str) -> RunConfig:
        return RunConfig(method=method, features="made", network=network, epochs=epochs, weight_decay=0.02,
                         embedding="none", device="cpu")

    def trained(method: str) -> None:
        trainer = Trainer(config(method), data)
        for epoch in range(1, epochs + 1):
            trainer.run_epoch(epoch, lambda *_: None)

    def heads(num_seeds: int, labels: list[np.ndarray]) -> None:
        seeds = [seed for seed in range(num_seeds) for _ in labels]
        train_heads(config("erm"), x, np.stack(labels * num_seeds), data.num_classes, seeds=seeds,
                    weight_decays=[0.02] * len(seeds))

    works: dict[str, Callable[[], None]] = {
        "plain": lambda: trained("erm"), "molere": lambda: trained("molere"),
        "one_head": lambda: heads(1, [data.train_labels]),
        "ten_pairs": lambda: heads(NUM_PAIRS, [data.train_labels, other])}
    seconds: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(pairs):
        for name, work in works.items():
            began = time.process_time()
            work()
            seconds[name].append(time.process_time() - began)
    return {name: statistics.median(values) for name, values in seconds.items()}


def time_million(project: Path, method: str, network: str, num_threads: int) -> dict[str, float]:
    """Wall and CPU seconds and peak memory (bytes) of `engine train` until the map and the neighbours begin, which cost
    every method the same, and seconds and accuracy by its own metrics."""
    name = f"{method}-{network}-{time.time():.0f}"
    began = time.monotonic()
    settings = ["features=made", f"network={network}", f"epochs={MILLION_EPOCHS}", "embedding=none",
                f"num_threads={num_threads}", "device=cpu"]
    words = [word for setting in settings for word in ("--set", setting)]
    child = psutil.Popen([sys.executable, "-m", "engine", "train", str(project), "--method", method, "--name", name,
                          *words], stdout=subprocess.DEVNULL, cwd=Path(__file__).resolve().parent.parent,
                         env=os.environ | {"OMP_NUM_THREADS": str(num_threads)})
    run, peak, cpu = RunDir.of(project, name), 0.0, 0.0
    while child.poll() is None:
        stage = run.read_status().get("stage")
        if stage == "embedding":
            break
        with contextlib.suppress(psutil.NoSuchProcess):
            peak, times = max(peak, float(child.memory_info().rss)), child.cpu_times()
            cpu = times.user + times.system
        time.sleep(0.1)
    seconds = time.monotonic() - began
    child.terminate()
    child.wait()
    metrics = run.read_metrics()
    return {"seconds": seconds, "cpu_seconds": cpu, "training_seconds": float(metrics["seconds"].sum()),
            "peak_bytes": peak, "test_accuracy": float(metrics["test_accuracy"].iloc[-1])}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=12_000)
    parser.add_argument("--components", type=int, default=256)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--networks", default="linear,mlp")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--million", type=Path)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--methods", default="erm,molere")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("head_cost.json"))
    args = parser.parse_args()
    keep_freed_memory()
    found: dict[str, dict[str, float]] = {}
    if args.pairs:
        torch.set_num_threads(args.threads)
        data = dataset(args.samples, args.components, 10)
        print(f"{args.samples:,} x {args.components}, {args.epochs} epochs, {args.threads} threads, load "
              f"{os.getloadavg()[0]:.1f}")
        print(f"{'network':8s} {'plain s':>8s} {'MOLERE':>8s} {'one head':>9s} {'ten pairs':>10s}   times plain")
        for network in args.networks.split(","):
            s = found[network] = time_in_turn(data, network, args.epochs, args.pairs)
            print(f"{network:8s} {s['plain']:8.2f} {s['molere']:8.2f} {s['one_head']:9.2f} {s['ten_pairs']:10.2f}   "
                  f"MOLERE {s['molere'] / s['plain']:.2f}, ten pairs {s['ten_pairs'] / s['plain']:.2f}", flush=True)
    if args.million:
        make_million(args.million, args.rows, args.components)
        for network in args.networks.split(","):
            for method in args.methods.split(","):
                m = found[f"million {method} {network}"] = time_million(
                    args.million, method, network, args.threads)
                print(f"{args.rows:,} {method} {network}: {m['training_seconds']:.0f} s of training, "
                      f"{m['seconds']:.0f} s in all, {m['cpu_seconds']:.0f} CPU s, "
                      f"peak {m['peak_bytes'] / 2**30:.2f} GiB, test accuracy "
                      f"{m['test_accuracy']:.3f}, load {os.getloadavg()[0]:.1f}", flush=True)
    args.out.write_text(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
