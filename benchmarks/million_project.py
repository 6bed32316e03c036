"""A project of a million samples with a finished run, to try the app at that size: made, not trained.

    python benchmarks/million_project.py FOLDER [--samples 1000000]

14 classes, 38% wrong labels in confused pairs, four clusters a class on the map, signals that fit them (wrong labels
have the lowest margins), predictions, 20 epochs of history, 15 neighbours, two columns as a user may bring them. The
samples share 500 JPEGs of 256 pixels, read as a million files would be. The files are written by the contracts' own
writers.
"""

import argparse
import json
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from engine.contract.config import RunConfig
from engine.contract.manifest import MANIFEST_NAME, ManifestInfo, file_digest, manifest_schema
from engine.contract.metrics import EpochMetrics
from engine.contract.run_dir import HISTORY_DTYPE, PROBABILITIES, RunDir
from engine.contract.signal_columns import ROLES, SIGNAL_COLUMNS
from engine.contract.work_dir import write_atomic

CLASSES = ("T-Shirt", "Shirt", "Knitwear", "Chiffon", "Sweater", "Hoodie", "Windbreaker", "Jacket", "Downcoat", "Suit",
           "Shawl", "Dress", "Vest", "Underwear")
NUM_PICTURES, EPOCHS, NEIGHBOURS, CLUSTERS = 500, 20, 15, 4


def make(folder: Path, num: int, seed: int = 0) -> Path:
    """The project's folder. Takes about a minute and 700 MB for a million."""
    rng, project = np.random.default_rng(seed), Path(folder)
    (project / "images").mkdir(parents=True, exist_ok=True)
    _pictures(project / "images", rng)
    truth = rng.integers(0, len(CLASSES), num)
    given = np.where(rng.random(num) < 0.38, truth ^ 1, truth)  # 0 and 1, 2 and 3, ... are taken for each other
    ids = [f"{i % 10}/{i % 100:02d}/{number}_{i}.jpg" for i, number in enumerate(rng.integers(10**6, 4 * 10**9, num))]
    names = np.asarray(CLASSES, dtype=object)
    rows = pd.DataFrame({
        "sample_id": ids, "path": [f"{i % NUM_PICTURES}.jpg" for i in range(num)], "given_label": names[given],
        "split": "train", "clean_label": np.where(rng.random(num) < 0.025, names[truth], None),
        "camera": np.asarray([f"camera {i}" for i in range(8)], dtype=object)[rng.integers(0, 8, num)],
        "price": rng.gamma(2.0, 30.0, num).round(2)})
    info = ManifestInfo(classes=CLASSES, root="images", source="made")
    table = pa.Table.from_pandas(rows, preserve_index=False)
    whole = table.cast(manifest_schema(table.schema, info))
    write_atomic(project / MANIFEST_NAME, lambda path: pq.write_table(whole, path))
    (project / "project.json").write_text(json.dumps({"name": project.name, "source": "made", "created": time.time()}))
    _run(project, rows, given, truth, rng)
    return project


def _pictures(folder: Path, rng: np.random.Generator) -> None:
    y, x = np.mgrid[:256, :256] / 256
    for i in range(NUM_PICTURES):
        phase, tint = rng.random(3) * 6, rng.random(3) * 120 + 90
        waves = np.stack([np.sin(9 * x * rng.random() + p) * np.cos(7 * y * rng.random() + p) for p in phase], 2)
        Image.fromarray((tint + 60 * waves).clip(0, 255).astype(np.uint8)).save(folder / f"{i}.jpg", quality=88)


def _run(project: Path, rows: pd.DataFrame, given: np.ndarray, truth: np.ndarray, rng: np.random.Generator) -> None:
    num, names = len(rows), np.asarray(CLASSES, dtype=object)
    config, run = RunConfig(method="molere", epochs=EPOCHS), RunDir.of(project, "first")
    run.write_config({"config": config.to_dict(), "name": "first", "method": "molere", "created": time.time(),
                      "project": project.name, "versions": {}, "code_revision": "made", "decisions_digest": "",
                      "manifest_digest": file_digest(project / MANIFEST_NAME), "num_decisions": 0, "hardware": "made"})
    is_wrong = given != truth
    cluster = truth * CLUSTERS + rng.integers(0, CLUSTERS, num)
    margin = np.clip(rng.normal(0.55, 0.25, num) - 1.0 * is_wrong, -1, 1).astype(np.float32)
    quality = np.clip(0.5 + 0.5 * margin + rng.normal(0, 0.08, num), 0, 1).astype(np.float32)
    p_train = np.clip(0.5 + 0.4 * margin + rng.normal(0, 0.05, num), 0, 1).astype(np.float32)
    routed = np.zeros(num, dtype=bool)
    guarded = np.where(is_wrong & (quality < 0.3), 2.0, p_train)
    routed[np.argpartition(guarded, num // 10)[:num // 10]] = True
    role = np.where(routed, ROLES.index("validation"), ROLES.index("train"))
    weight = np.clip(1 + rng.normal(0, 0.25, num) - 0.5 * is_wrong, 0.05, 4).astype(np.float32)
    suggested = np.where(is_wrong & (quality < 0.4), names[truth], None)
    run.write_signals(pd.DataFrame({
        "sample_id": rows["sample_id"], "role": np.asarray(ROLES, dtype=object)[role],
        "role_reason": np.where(routed, "routed_learned", np.where(guarded == 2, "withheld_disputed", "trains")),
        "is_resting": False, "p_train": p_train, "p_train_unpinned": np.float32(np.nan),
        "route_share": np.where(routed, 0.8, 0.1).astype(np.float32), "weight": weight, "margin": margin,
        "heldout_margin": (margin * 0.9).astype(np.float32), "heldout_epochs": np.where(routed, 16, 3).astype(np.int32),
        "mean_margin": (margin * 0.8).astype(np.float32), "label_quality": quality, "suggested_label": suggested,
        "predicted_label": np.where(margin < 0, names[truth], names[given]), "loss": (1 - margin).astype(np.float32),
        "forgetting": rng.poisson(0.6, num).astype(np.int32)})[[*SIGNAL_COLUMNS]])
    _probabilities(run, given, np.where(is_wrong, truth, given ^ 1), quality)
    for epoch in range(1, EPOCHS + 1):
        record = np.zeros(num, dtype=HISTORY_DTYPE)
        drift = rng.normal(0, 0.1, num)
        record["margin"], record["p_train"] = margin + drift, np.clip(p_train + drift, 0, 1)
        record["weight"], record["role"], record["routed"] = weight, role, routed
        run.write_history(epoch, record)
    centres = rng.normal(0, 12, (len(CLASSES) * CLUSTERS, 2))
    xy = (centres[cluster] + rng.normal(0, 1.1, (num, 2))).astype(np.float32)
    order = np.argsort(cluster, kind="stable")
    place = np.empty(num, dtype=np.int64)
    place[order] = np.arange(num)
    steps = np.r_[-(NEIGHBOURS // 2):0, 1:NEIGHBOURS - NEIGHBOURS // 2 + 1]
    neighbours = order[np.clip(place[:, None] + steps, 0, num - 1)].astype(np.int32)
    distances = np.sort(rng.random((num, NEIGHBOURS), dtype=np.float32) * 0.3, axis=1)
    run.write_embedding(rows["sample_id"].to_numpy(), xy, neighbours, distances, xy[:, ::-1] + np.float32(2.0))
    run.write_metrics([_metrics(epoch, num, int(routed.sum())) for epoch in range(1, EPOCHS + 1)])
    run.write_status(state="done", stage="", message="", epoch=EPOCHS, num_epochs=EPOCHS, step=0, num_steps=0,
                     samples_per_second=0.0, eta_seconds=0.0, started=time.time(), heartbeat=time.time(), pid=None,
                     pid_started=None, device="cpu", error="")


def _metrics(epoch: int, num: int, num_routed: int) -> EpochMetrics:
    return EpochMetrics(
        epoch=epoch, seconds=60.0, lr=0.1, train_loss=1 / epoch, validation_loss=None, clean_accuracy=None,
        test_accuracy=None, num_train=num - num_routed, num_validation=num_routed, num_routed=num_routed,
        validation_share=num_routed / num, churn=None, effective_sample_frac=None, label_noise=0.1,
        weight_freedom=None, weight_min=None, weight_max=None, weight_mean_wrong=None, weight_mean_right=None,
        num_withheld=0, guard_wrong_share=None, unguarded_wrong_share=None, coverage=None, events=[])


def _probabilities(run: RunDir, given: np.ndarray, rival: np.ndarray, quality: np.ndarray) -> None:
    """Held-out and cross-fitted ones: the given label's is its quality, of the rest the rival has four fifths."""
    rest = 1 - quality.astype(np.float32)
    probs = np.repeat(rest[:, None] * np.float32(0.2 / (len(CLASSES) - 2)), len(CLASSES), axis=1)
    rows = np.arange(len(given))
    probs[rows, rival], probs[rows, given] = rest * np.float32(0.8), quality
    for name in PROBABILITIES:
        run.write_probabilities(probs, name)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--samples", type=int, default=1_000_000)
    args = parser.parse_args()
    began = time.perf_counter()
    make(args.folder, args.samples)
    print(f"{args.folder}: {args.samples:,} samples in {time.perf_counter() - began:.0f} s")


if __name__ == "__main__":
    main()
