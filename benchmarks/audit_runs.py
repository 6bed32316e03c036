"""What benchmarks/audit.py looks at: trainings of a project, each done once and kept in it.

    python benchmarks/audit_runs.py PROJECT [--seeds 3] [--first-seed 90] [--fold-seeds 2] [--workers 2]
        [--set epochs=12]...
    python benchmarks/audit_runs.py --flip-back DATA OUT [--share 0.09] [--seed 9]

A seed has four: a MOLERE run, a plain run, and out-of-fold predictions of plain training with K = 5 folds (4 times a
plain run's compute), and with so many epochs fewer that all folds together cost one plain run. --flip-back writes a
copy of a Clothing1M layout (DATA, with audit_answers.csv) in which wrong labels, drawn at random, are put right until
--share of all are wrong; images are hard-linked.
"""

import argparse
import csv
import os
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np

from benchmarks.closed_loop import trained
from curation.project import Project
from engine.contract.config import RunConfig
from engine.contract.manifest import read_decisions
from engine.contract.work_dir import write_array, write_atomic
from engine.data.dataset import load_dataset
from engine.runs.cross_fitting import cross_fitted_probabilities

ROOT = Path(__file__).resolve().parent.parent
NUM_FOLDS = 5
METHODS = ("molere", "erm")
FOLDS = ("kfold", "kfold-equal")


def run_name(method: str, seed: int) -> str:
    return f"audit-{method}-s{seed}"


def folds_path(project: Project, kind: str, seed: int) -> Path:
    """Out-of-fold probabilities (N, C) float32 in the order of the training samples."""
    return project.path / "audit_folds" / f"{kind}-s{seed}.npy"


def fold_settings(kind: str, settings: list[str]) -> list[str]:
    """Settings of the plain training on each fold: as many epochs, or so few that all folds cost one plain run."""
    epochs = RunConfig.from_settings(settings).epochs
    each = epochs if kind == "kfold" else max(1, round(epochs / (NUM_FOLDS - 1)))
    return [*settings, "method=erm", f"folds={NUM_FOLDS}", f"epochs={each}", "embedding=none"]


def fold_job(project: Project, kind: str, seed: int, settings: list[str]) -> None:
    """Train on all folds but one, for each fold, and keep the predictions of those left out, and the seconds."""
    path = folds_path(project, kind, seed)
    config = RunConfig.from_settings([*fold_settings(kind, settings), f"seed={seed}"])
    data = load_dataset(project.path, read_decisions(project.path / "none.parquet"), config.image_size, lambda *_: None)
    if config.num_threads:
        import torch

        torch.set_num_threads(config.num_threads)
    began = time.monotonic()
    probs = cross_fitted_probabilities(config, data, lambda *_: None, keep=path.with_suffix(""))

    write_atomic(path.with_suffix(".seconds"), lambda p: p.write_text(f"{time.monotonic() - began:.1f}"))
    write_array(path, probs)
    shutil.rmtree(path.with_suffix(""), ignore_errors=True)


def train_all(project: Project, seeds: list[int], fold_seeds: list[int], settings: list[str], workers: int) -> None:
    """Everything that is not there yet, `workers` trainings at a time."""
    def one(job: tuple[str, int]) -> None:
        kind, seed = job
        if kind in METHODS:
            trained(project, run_name(kind, seed), [*settings, "embedding=pca", f"method={kind}", f"seed={seed}"])
        elif not folds_path(project, kind, seed).exists():
            subprocess.run([sys.executable, __file__, str(project.path), "--fold-job", kind, "--first-seed", str(seed),
                            *(x for s in settings for x in ("--set", s))], cwd=ROOT, check=True)
        print(f"{time.strftime('%H:%M:%S')} {project.name}: {kind} of seed {seed}", flush=True)

    jobs = [(kind, seed) for seed in seeds for kind in (*METHODS, "kfold-equal")]
    jobs += [("kfold", seed) for seed in fold_seeds]
    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(one, jobs))


def flip_back(source: Path, target: Path, share: float, seed: int) -> float:
    """Write the copy; returns the share of wrong labels it has."""
    with open(source / "audit_answers.csv", newline="") as file:
        truth = {row["key"]: row["clean_label"] for row in csv.DictReader(file)}
    lines = [line.rpartition(" ")[::2] for line in (source / "noisy_label_kv.txt").read_text().splitlines()]
    wrong = np.array([i for i, (key, label) in enumerate(lines) if label != truth[key]])
    put_right = set(np.random.default_rng(seed).permutation(wrong)[round(share * len(lines)):].tolist())
    shutil.copytree(source, target, copy_function=os.link)
    (target / "noisy_label_kv.txt").unlink()  # a hard link to the original
    (target / "noisy_label_kv.txt").write_text("".join(
        f"{key} {truth[key] if i in put_right else label}\n" for i, (key, label) in enumerate(lines)))
    return (len(wrong) - len(put_right)) / len(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("project", type=Path, nargs="?")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first-seed", type=int, default=90)
    parser.add_argument("--fold-seeds", type=int, default=2)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--set", action="append", default=[], dest="settings")
    parser.add_argument("--fold-job", choices=FOLDS)
    parser.add_argument("--flip-back", type=Path, nargs=2, metavar=("DATA", "OUT"))
    parser.add_argument("--share", type=float, default=0.09)
    parser.add_argument("--seed", type=int, default=9)
    args = parser.parse_args()
    if args.flip_back:
        print(f"{flip_back(*args.flip_back, args.share, args.seed):.2%} of the labels in {args.flip_back[1]} are wrong")
        return
    project, settings = Project.open(args.project), ["epochs=12", *args.settings]
    if args.fold_job:
        fold_job(project, args.fold_job, args.first_seed, settings)
        return
    seeds = [args.first_seed + i for i in range(args.seeds)]
    train_all(project, seeds, seeds[:args.fold_seeds], settings, args.workers)


if __name__ == "__main__":
    main()
