"""MOLERE, with the noise guard and without, against plain training on a noisily labelled project.

    python benchmarks/noisy_project.py PROJECT [--seeds 3] [--first-seed 90] [--epochs 12] [--plans erm,molere]
        [--answers audit_answers.csv]

Trains every method on every seed with the same network, epochs and classifier steps (finished runs are kept), then
prints mean and standard deviation over seeds, the paired difference to plain training with its 95% t interval, and
what the guard and the signals are worth against the known truth. Writes JSON to --out.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np

from curation.experiments.compare import paired_difference
from curation.project import Project
from curation.samples.scoring import score_run
from engine.contract.run_dir import RunDir

ROOT = Path(__file__).resolve().parent.parent
PLANS = {"erm": ["method=erm"], "molere": ["method=molere"], "molere-noguard": ["method=molere", "guard=off"]}


def finished(project: Path, name: str, seed: int, epochs: int, settings: list[str]) -> RunDir:
    """The run `name` of these settings, trained or resumed unless it is done already."""
    run = RunDir.of(project, name)
    if not run.exists():
        given = [x for s in [f"seed={seed}", f"epochs={epochs}", *settings] for x in ("--set", s)]
        subprocess.run([sys.executable, "-m", "engine", "train", str(project), "--name", name, *given], cwd=ROOT,
                       check=True)
    elif run.read_status()["state"] != "done":
        subprocess.run([sys.executable, "-m", "engine", "train", str(project), "--resume", name], cwd=ROOT, check=True)
    return run


def spread(values: list[float | None]) -> str:
    """Mean and standard deviation of what there is."""
    known = [v for v in values if v is not None]
    if not known:
        return "-"
    return f"{statistics.mean(known):.3f}" + (f" +- {statistics.stdev(known):.3f}" if len(known) > 1 else "")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("project", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first-seed", type=int, default=90, help="settings were chosen on seeds below 70")
    parser.add_argument("--plans", default=",".join(PLANS))
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--answers", type=Path, help="CSV of key,clean_label that scores every sample")
    parser.add_argument("--set", action="append", default=["embedding=none"], dest="settings")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("noisy_project.json"))
    args = parser.parse_args()

    project = Project.open(args.project)
    runs: dict[str, list[RunDir]] = {plan: [] for plan in args.plans.split(",")}
    for seed in range(args.first_seed, args.first_seed + args.seeds):
        for plan, group in runs.items():
            group.append(finished(args.project, f"{plan}-s{seed}", seed, args.epochs, [*args.settings, *PLANS[plan]]))
    rows: list[dict[str, Any]] = []
    for plan, group in runs.items():
        last = [run.read_metrics().iloc[-1] for run in group]
        scores = [score_run(project, run, args.answers) for run in group]
        pair = paired_difference(runs["erm"], group) if plan != "erm" else None
        rows.append({
            "method": plan, "test_accuracy": [float(m["test_accuracy"]) for m in last],
            "difference": None if pair is None else [pair.mean, pair.low, pair.high],
            "effective_sample_frac": [_number(m["effective_sample_frac"]) for m in last],
            "weight_wrong": [_number(m["weight_mean_wrong"]) for m in last],
            "weight_right": [_number(m["weight_mean_right"]) for m in last],
            "validation_wrong_share": [s.validation_wrong_share for s in scores],
            "coverage": [s.coverage for s in scores], "auroc": [s.auroc for s in scores],
            "average_precision": [s.average_precision for s in scores]})
    hardware = f"{platform.machine()}, {os.cpu_count()} cores; {args.seeds} seeds, {args.epochs} epochs"
    print(f"{args.project.name}: {hardware}; mean and standard deviation over seeds")
    columns = ("test_accuracy", "validation_wrong_share", "coverage", "auroc", "average_precision",
               "effective_sample_frac", "weight_wrong", "weight_right")
    for row in rows:
        print(row["method"])
        for column in columns:
            print(f"    {column:24s} {spread(row[column])}")
        if row["difference"]:
            print("    against erm, paired      {:+.3f} (95% interval {:+.3f} to {:+.3f})".format(*row["difference"]))
    args.out.write_text(json.dumps({"hardware": hardware, "rows": rows}, indent=2))


def _number(value: Any) -> float | None:
    return None if value is None or not np.isfinite(value) else float(value)


if __name__ == "__main__":
    main()
