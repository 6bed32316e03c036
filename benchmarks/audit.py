"""Audit scores against cleanlab, AUM, loss and neighbours where the truth is known: ranking, reviews, the joint's bias.

    python benchmarks/audit.py PROJECT [--answers audit_answers.csv] [--seeds 3] [--first-seed 90] [--set epochs=12]...

Takes the trainings of benchmarks/audit_runs.py (same options; those that are missing are left out and said so) and
prints, over all samples with a known truth, mean and standard deviation over seeds:

    ranking   AUROC, average precision, precision at 100 to 5,000, training compute in plain runs, and wrong labels
              among the first 1,000 per plain run of compute
    reviews   wrong labels found per 100 reviews: our queue, calibrated every 50 verdicts, cleanlab's order, random; and
              how often the number promised for the next 50 held
    joint     the share of wrong labels that confident learning's joint says; benchmarks/audit_coverage.py has our
              estimate's

cleanlab (AGPL) must be installed for its own rows: pip install cleanlab. Writes JSON to --out.
"""

import argparse
import json
import os
import platform
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import pandas as pd
from sklearn.metrics import average_precision_score, roc_auc_score

from benchmarks.audit_runs import FOLDS, METHODS, folds_path, run_name
from benchmarks.closed_loop import truth_of
from curation.audit.reviews.promise import expected_yield
from curation.audit.suspects.matrix import confident_joint
from curation.audit.suspects.scores import scores_of
from curation.project import Project
from curation.samples.frames import SampleTable
from curation.samples.table import sample_table
from engine.contract.run_dir import RunDir

try:
    from cleanlab.count import estimate_joint
    from cleanlab.rank import get_label_quality_scores
except ImportError:
    sys.exit("error: this benchmark holds us against cleanlab; pip install cleanlab")

FIRST = (100, 500, 1000, 5000)
COMPUTE = {"molere": 1.1, "erm": 1.0, "kfold": 4.0, "kfold-equal": 1.0}
"""In plain runs: MOLERE as benchmarks/epoch_cost.py measures it, K folds of (K - 1) / K of the data."""
BATCH = 50
BUDGETS = (100, 500, 1000, 2000)
WHAT = {"molere": "MOLERE run", "erm": "plain run"}


class Bench:
    """One project with its truth."""

    def __init__(self, project: Project, answers: Path | None) -> None:
        self.project = project
        table = sample_table(project, None)
        truth = truth_of(project, table, answers)
        self.is_known = truth.notna().to_numpy(dtype=bool)
        self.is_wrong = (table["given_label"].to_numpy(dtype=object) != truth.to_numpy(dtype=object)) & self.is_known
        self.given = pd.Categorical(table["given_label"], project.classes).codes
        dual = table["clean_label"].notna().to_numpy(dtype=bool) if "clean_label" in table else ~self.is_known
        self.is_dual = dual if dual.mean() < 0.5 else np.zeros(len(table), dtype=bool)

    def run(self, method: str, seed: int) -> RunDir | None:
        run = RunDir.of(self.project.path, run_name(method, seed))
        return run if run.probabilities_path("label_head").exists() else None

    def table(self, run: RunDir, has_dual: bool = False) -> SampleTable:
        """The sample table; without dual labels the scores are those of a project that has none."""
        table = sample_table(self.project, run)
        return SampleTable.of(table if has_dual or "clean_label" not in table else table.assign(clean_label=None))

    def score(self, runs: list[RunDir], verdicts: pd.DataFrame | None = None, has_dual: bool = False) -> np.ndarray:
        """p_wrong (N,), high is suspect."""
        found = scores_of(self.project, runs, self.table(runs[0], has_dual), runs[0].read_neighbours(), verdicts)
        return found.p_wrong.astype(np.float64)

    def figures(self, score: np.ndarray, among: np.ndarray | None = None) -> dict[str, float]:
        """score (N,): high is suspect; NaN last."""
        rows = np.flatnonzero(self.is_known if among is None else self.is_known & among)
        values = np.where(np.isfinite(score[rows]), score[rows], -np.inf)
        values = np.unique(values, return_inverse=True)[1]
        wrong = self.is_wrong[rows]
        order = np.argsort(-values, kind="stable")
        found = {"auroc": roc_auc_score(wrong, values), "average_precision": average_precision_score(wrong, values)}
        return found | {f"precision_{n}": float(wrong[order[:n]].mean()) for n in FIRST if n <= len(rows)}


# -- ranking


def rankings(bench: Bench, seed: int) -> dict[str, tuple[np.ndarray, float]]:
    """Name -> (score (N,) high is suspect, compute in plain runs) of one seed's trainings, as far as they are there."""
    found: dict[str, tuple[np.ndarray, float]] = {}
    for method in METHODS:
        run = bench.run(method, seed)
        if run is None:
            continue
        signals, cost = bench.table(run), COMPUTE[method]
        found[f"ours, {WHAT[method]}"] = bench.score([run]), cost
        if method == "molere":
            found["label quality (rotation) alone, MOLERE run"] = -signals["label_quality"].numbers, cost
        else:
            quality = scores_of(bench.project, [run], signals, run.read_neighbours())
            found["AUM, plain run"] = -signals["mean_margin"].numbers, cost
            found["loss, plain run"] = signals["loss"].numbers, cost
            found["neighbour disagreement, plain run"] = -quality.columns["neighbour_agreement"].astype(float), cost
    for kind in FOLDS:
        path = folds_path(bench.project, kind, seed)
        if not path.exists():
            continue
        probs, at = np.load(path), "" if kind == "kfold" else ", at one plain run's compute"
        for method in ("self_confidence", "normalized_margin"):
            found[f"cleanlab, 5-fold, {method.replace('_', ' ')}{at}"] = \
                -get_label_quality_scores(bench.given.astype(int), probs, method=method), COMPUTE[kind]
    return found


def ensembles(bench: Bench, seeds: list[int]) -> dict[str, tuple[np.ndarray, float]]:
    """Our score from all seeds of one method together: what K folds' compute buys."""
    found = {}
    for method in METHODS:
        runs = [run for seed in seeds if (run := bench.run(method, seed)) is not None]
        if len(runs) > 1:
            found[f"ours, {len(runs)} {WHAT[method]}s"] = bench.score(runs), COMPUTE[method] * len(runs)
    return found


def ranking_table(bench: Bench, seeds: list[int]) -> list[dict[str, Any]]:
    gathered: dict[str, list[dict[str, float]]] = {}
    for scores in (*(rankings(bench, seed) for seed in seeds), ensembles(bench, seeds)):
        for name, (score, compute) in scores.items():
            gathered.setdefault(name, []).append(bench.figures(score) | {"compute": compute})
    if bench.is_dual.any():
        for method in METHODS:
            runs = [run for seed in seeds if (run := bench.run(method, seed)) is not None]
            for note, has_dual in (("calibrated on dual labels", True), ("the same samples, not calibrated", False)):
                gathered[f"ours, {WHAT[method]}, {note}"] = [
                    bench.figures(bench.score([run], None, has_dual), ~bench.is_dual) | {"compute": COMPUTE[method]}
                    for run in runs]
    rows = [{"ranking": name, "seeds": len(found), **{
        key: (float(np.mean([f[key] for f in found])), float(np.std([f[key] for f in found], ddof=1))
              if len(found) > 1 else None) for key in found[0]}} for name, found in gathered.items() if found]
    return sorted(rows, key=lambda row: -row["average_precision"][0])


# -- reviews


def reviewed(bench: Bench, runs: list[RunDir], num: int) -> tuple[np.ndarray, list[dict[str, float]]]:
    """(order (num,) in which our queue serves samples to a reviewer who knows the truth, promise and yield a batch)."""
    table, neighbours = bench.table(runs[0]), runs[0].read_neighbours()
    order: list[int] = []
    promises, is_open = [], bench.is_known.copy()
    while len(order) < num and is_open.any():
        verdicts = pd.DataFrame({"sample_id": table.ids(order),
                                 "is_wrong": bench.is_wrong[order].astype(object)})
        scores = scores_of(bench.project, runs, table, neighbours, verdicts)
        batch = np.argsort(-np.where(is_open, np.nan_to_num(scores.p_wrong, nan=-1), -2), kind="stable")[:BATCH]
        promised = expected_yield(scores.p_wrong[batch], scores.doubt_of(batch))
        promises.append({"low": promised.low, "high": promised.high, "found": int(bench.is_wrong[batch].sum())})
        is_open[batch] = False
        order += batch.tolist()
    return np.array(order), promises


def review_table(bench: Bench, seeds: list[int]) -> list[dict[str, Any]]:
    queues: dict[str, list[np.ndarray]] = {}
    kept: dict[str, list[bool]] = {}
    most = min(max(BUDGETS), int(bench.is_known.sum()))
    for seed in seeds:
        for method in METHODS:
            if (run := bench.run(method, seed)) is not None:
                name = f"ours, {WHAT[method]}, calibrated every {BATCH}"
                order, promises = reviewed(bench, [run], most)
                queues.setdefault(name, []).append(order)
                kept.setdefault(name, []).extend(p["low"] <= p["found"] <= p["high"] for p in promises)
        for kind in FOLDS:
            if (path := folds_path(bench.project, kind, seed)).exists():
                quality = get_label_quality_scores(bench.given.astype(int), np.load(path))
                order = np.argsort(np.where(bench.is_known, quality, np.inf), kind="stable")[:most]
                queues.setdefault("cleanlab, 5-fold" + (" at one plain run's compute" if kind != "kfold" else ""), []
                                  ).append(order)
        order = np.random.default_rng(seed).permutation(np.flatnonzero(bench.is_known))[:most]
        queues.setdefault("random", []).append(order)
    return [{"queue": name, "seeds": len(orders), "promises_kept": float(np.mean(kept[name])) if name in kept else None,
             "num_promises": len(kept.get(name, [])),
             **{f"per_100_at_{num}": spread([100 * bench.is_wrong[order[:num]].mean() for order in orders])
                for num in BUDGETS if num <= most}} for name, orders in queues.items()]


def spread(values: list[float]) -> tuple[float, float | None]:
    """(mean, standard deviation or None)."""
    return float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else None


# -- the joint


def joint_table(bench: Bench, seeds: list[int]) -> list[dict[str, Any]]:
    """Share of wrong labels that joints say, of the same predictions: cleanlab's and ours."""
    sources: dict[str, Callable[[int], np.ndarray | None]] = {
        "5-fold": lambda seed: np.load(path) if (path := folds_path(bench.project, "kfold", seed)).exists() else None,
        **{f"cross-fitted head, {WHAT[m]}": lambda seed, m=m: np.asarray(
            run.open_probabilities("label_head"), dtype=np.float64) if (run := bench.run(m, seed)) else None
           for m in METHODS}}  # type: ignore[misc]
    rows = []
    for name, read in sources.items():
        found = [probs for seed in seeds if (probs := read(seed)) is not None]
        if found:
            rows.append({"predictions": name, "cleanlab": spread([
                1 - float(np.trace(estimate_joint(bench.given.astype(int), probs / probs.sum(1, keepdims=True))))
                for probs in found]), "ours": spread([
                    1 - float(np.trace(confident_joint(bench.given, probs))) for probs in found])})
    return rows


# -- print


def shown(value: tuple[float, float | None] | None, scale: float = 1.0, digits: int = 3) -> str:
    if value is None:
        return "-"
    mean, sd = value
    return f"{scale * mean:.{digits}f}" + (f" +- {scale * sd:.{digits}f}" if sd is not None else "")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("project", type=Path)
    parser.add_argument("--answers", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first-seed", type=int, default=90, help="the prior was chosen on seeds 70 and 71")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    bench = Bench(Project.open(args.project), args.answers)
    seeds = [args.first_seed + i for i in range(args.seeds)]
    share, hardware = bench.is_wrong.sum() / bench.is_known.sum(), f"{platform.machine()}, {os.cpu_count()} cores"
    print(f"{args.project.name}: {bench.is_known.sum():,} samples with known truth, {share:.1%} wrong; seeds {seeds}; "
          f"{hardware}\n")
    ranking = ranking_table(bench, seeds)
    heads = [f"first {n:,}" for n in FIRST]
    print(f"{'ranking':58s} seeds compute  {'AUROC':15s} {'average prec.':15s} "
          + " ".join(f"{h:>13s}" for h in heads) + "  wrong in 1,000 per plain run")
    for row in ranking:
        at = " ".join(f"{shown(row.get(f'precision_{n}')):>13s}" for n in FIRST)
        each = 1000 * row["precision_1000"][0] / row["compute"][0] if "precision_1000" in row else float("nan")
        print(f"{row['ranking']:58s} {row['seeds']:5d} {row['compute'][0]:7.1f}  {shown(row['auroc']):15s} "
              f"{shown(row['average_precision']):15s} {at}  {each:6.0f}")
    reviews = review_table(bench, seeds)
    heads = [f"{n:,}" for n in BUDGETS]
    print(f"\n{'wrong labels per 100 reviews, after':46s} " + " ".join(f"{h:>13s}" for h in heads) + "  promises kept")
    for row in reviews:
        cells = " ".join(f"{shown(row.get(f'per_100_at_{n}'), digits=1):>13s}" for n in BUDGETS)
        kept = "" if row["promises_kept"] is None else f"  {row['promises_kept']:.0%} of {row['num_promises']}"
        print(f"{row['queue']:46s} {cells}{kept}")
    joint = joint_table(bench, seeds)
    print(f"\nshare of wrong labels by confident learning's joint (truth {share:.1%})")
    for row in joint:
        print(f"  {row['predictions']:36s} cleanlab {shown(row['cleanlab'], 100, 1)}%, ours "
              f"{shown(row['ours'], 100, 1)}%")
    if args.out:
        args.out.write_text(json.dumps({"project": args.project.name, "hardware": hardware, "seeds": seeds,
                                        "share_wrong": share, "ranking": ranking, "reviews": reviews,
                                        "joint": joint}, indent=2))


if __name__ == "__main__":
    main()
