"""Heads on frozen features of photos with human label noise: every method beside tuned plain training, and the audit.

    python benchmarks/features_table.py PROJECT --answers audit_answers.csv --work FOLDER [--features lite0]
        [--seeds 5] [--first-seed 90] [--noise given,9,0] [--network mlp] [--epochs 12]

PROJECT has features and known truth in --answers (key,clean_label). For every share of wrong labels a copy of it is
made in --work (given: as it is; 9: labels put right at random until 9% are wrong; 0: all right), and every method
trained on it by every seed; finished runs are kept. Accuracy on the test split, paired by seed with plain training of
chosen regularisation; average precision of the audit's score beside cleanlab's on the same features (AGPL; only where
it is installed). The strongest control, plain training at the weight decay that is best ON TEST, is no fair method but
a bound: it stands in the table so that nothing is claimed against a weak peer. Writes JSON to --out.
"""

import argparse
import json
import os
import platform
import shutil
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from sklearn.metrics import average_precision_score, roc_auc_score

from curation.audit.suspects.scores import scores_of
from curation.project import Project
from curation.samples.frames import SampleTable
from curation.samples.table import sample_table
from engine.contract.config import RunConfig
from engine.contract.feature_dir import FeatureStore
from engine.contract.manifest import MANIFEST_NAME
from engine.contract.methods import METHODS
from engine.contract.run_dir import RunDir
from engine.contract.statistics.intervals import paired_interval
from engine.runs.train import resume, train

REFERENCE = "plain, weight decay chosen"
PLANS: dict[str, list[str]] = {
    "plain, weight decay 0.0005": ["method=erm", "weight_decay=0.0005"],
    REFERENCE: ["method=erm"],
    **{f"plain, weight decay {value:g}": ["method=erm", f"weight_decay={value}"] for value in (0.01, 0.03, 0.1)},
    "linear discriminant": ["method=discriminant"],
    "Meta-Weight-Net": ["method=meta_weight_net"],
    "FSR": ["method=fsr"],
    "MOLERE": ["method=molere"],
}


def variant(project: Path, work: Path, answers: dict[str, str], share: str, rng_seed: int = 5) -> Path:
    """A copy of the project whose train labels are wrong in this share of percent ("given": as they are)."""
    path = work / f"noise-{share}"
    if (path / MANIFEST_NAME).exists():
        return path
    path.mkdir(parents=True, exist_ok=True)
    shutil.copytree(project / "features", path / "features", dirs_exist_ok=True)
    table = pq.read_table(project / MANIFEST_NAME)
    rows = table.select(["sample_id", "given_label", "split"]).to_pandas()
    truth = rows["sample_id"].map(answers)
    wrong = np.flatnonzero((rows["split"] == "train") & truth.notna() & (truth != rows["given_label"]))
    labels = rows["given_label"].to_numpy(dtype=object)
    if share != "given":
        num_left = round(float(share) / 100 * int((rows["split"] == "train").sum()))
        righted = np.random.default_rng(rng_seed).permutation(wrong)[min(num_left, len(wrong)):]
        labels[righted] = truth.to_numpy()[righted]
    at = table.column_names.index("given_label")
    table = table.set_column(at, table.field(at), pa.array(labels, table.field(at).type))
    pq.write_table(table, path / MANIFEST_NAME)
    (path / "project.json").write_text(json.dumps({"name": path.name, "source": "features_table"}))
    return path


def finished(project: Path, name: str, settings: list[str]) -> RunDir:
    """The run `name` of these settings, trained or resumed unless it is done already."""
    run = RunDir.of(project, name)
    return resume(project, name) if run.exists() else train(RunConfig.from_settings(settings), project, name)


def audit_figures(project: Project, run: RunDir, is_wrong: pd.Series) -> tuple[float, float]:
    """Average precision and AUROC of p_wrong, before any verdict and without any known truth: the project's own would
    calibrate it, which no other method here is given."""
    table = SampleTable.of(sample_table(project, run).assign(clean_label=None))
    scores = scores_of(project, [run], table, run.read_neighbours())
    return _figures(scores.p_wrong, is_wrong.reindex(scores.samples["sample_id"].cells.to_list()).to_numpy(dtype=float))


def _figures(score: np.ndarray, is_wrong: np.ndarray) -> tuple[float, float]:
    known = np.isfinite(score) & np.isfinite(is_wrong)
    return (float(average_precision_score(is_wrong[known], score[known])),
            float(roc_auc_score(is_wrong[known], score[known])))


def cleanlab_figures(project: Project, features: str, is_wrong: pd.Series, seed: int) -> dict[str, tuple[float, float]]:
    """What a user of cleanlab does: logistic regression on all features, five folds, by the C that served cleanlab best
    of .003, .01, .03 and .3 on seed 60; {} where it is not installed."""
    try:
        from cleanlab.rank import get_label_quality_scores
    except ImportError:
        return {}
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_predict

    rows = project.manifest()
    rows = rows[(rows["split"] == "train") & rows["given_label"].notna()]
    store = FeatureStore.open(project.path, features)
    x = store.read(store.rows_of(rows["sample_id"])).astype(np.float32)
    codes = pd.Categorical(rows["given_label"], list(project.classes)).codes.astype(int)
    model = LogisticRegression(max_iter=100, C=0.03)
    folds = StratifiedKFold(5, shuffle=True, random_state=seed)
    probs = cross_val_predict(model, x, codes, cv=folds, method="predict_proba")
    truth = is_wrong.reindex(rows["sample_id"]).to_numpy(dtype=float)
    return {f"cleanlab, {name.replace('_', ' ')}": _figures(-get_label_quality_scores(codes, probs, method=name), truth)
            for name in ("self_confidence", "normalized_margin")}


def spread(values: list[float]) -> list[float]:
    """Mean and standard deviation (ddof 1)."""
    return [float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else 0.0]


def table_of(project: Path, args: argparse.Namespace, answers: dict[str, str]) -> list[dict[str, object]]:
    """One row a plan, and cleanlab's, of one copy of the project."""
    opened, seeds = Project.open(project), range(args.first_seed, args.first_seed + args.seeds)
    rows = opened.manifest()
    rows = rows[rows["split"] == "train"]
    is_wrong = (rows["sample_id"].map(answers) != rows["given_label"]).set_axis(rows["sample_id"])
    is_noisy = bool(is_wrong.any())
    accuracy: dict[str, list[float]] = {}
    found: list[dict[str, object]] = []
    for plan, own in PLANS.items():
        network = [] if METHODS[own[0].removeprefix("method=")].is_head_only else [f"network={args.network}"]
        runs = [finished(project, f"{plan.replace(' ', '-').replace(',', '')}-s{seed}",
                         [*own, *network, f"seed={seed}", f"features={args.features}", f"epochs={args.epochs}",
                          "embedding=none", "device=cpu", "num_threads=1"]) for seed in seeds]
        metrics = [run.read_metrics() for run in runs]
        accuracy[plan] = [float(m["test_accuracy"].iloc[-1]) for m in metrics]
        audits = [audit_figures(opened, run, is_wrong) for run in runs] if is_noisy else []
        found.append({"method": plan, "accuracy": spread(accuracy[plan]),
                      "seconds": spread([float(m["seconds"].sum()) for m in metrics]),
                      "average_precision": spread([a[0] for a in audits]) if audits else None,
                      "auroc": spread([a[1] for a in audits]) if audits else None,
                      "chosen": [run.read_config().get("chosen") for run in runs]})
    best = max((plan for plan in PLANS if plan.startswith("plain")), key=lambda plan: np.mean(accuracy[plan]))
    for row in found:
        plan = str(row["method"])
        for name, control in (("to_chosen", REFERENCE), ("to_best_on_test", best)):
            pair = paired_interval(accuracy[control], accuracy[plan])
            row[name] = None if plan == control else [pair.mean, pair.low, pair.high]
    if is_noisy:
        peers = [cleanlab_figures(opened, args.features, is_wrong, seed) for seed in seeds]
        found += [{"method": name, "accuracy": None, "average_precision": spread([p[name][0] for p in peers]),
                   "auroc": spread([p[name][1] for p in peers])} for name in peers[0]]
    return found


def show(share: str, rows: list[dict[str, object]]) -> None:
    """One table, a line a method."""
    def text(value: object, scale: float = 100.0, digits: int = 1) -> str:
        if not isinstance(value, list):
            return "-"
        if len(value) == 3:
            return f"{scale * value[0]:+.1f} ({scale * value[1]:+.1f}, {scale * value[2]:+.1f})"
        return f"{scale * value[0]:.{digits}f} +- {scale * value[1]:.{digits}f}"

    print(f"\nwrong labels: {share}\n{'':30s} {'test accuracy':16s} {'to plain, chosen':22s} "
          f"{'to plain, best on test':24s}{'average precision':18s} {'AUROC':16s} seconds")
    for row in rows:
        print(f"{row['method']!s:30s} {text(row.get('accuracy')):16s} {text(row.get('to_chosen')):22s} "
              f"{text(row.get('to_best_on_test')):24s}{text(row.get('average_precision'), 1.0, 3):18s} "
              f"{text(row.get('auroc'), 1.0, 3):16s} {text(row.get('seconds'), 1.0)}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("project", type=Path)
    parser.add_argument("--answers", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True, help="folder for the copies and their runs")
    parser.add_argument("--features", default="lite0")
    parser.add_argument("--network", default="mlp")
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first-seed", type=int, default=90, help="settings were chosen on seeds below 70")
    parser.add_argument("--noise", default="given,9,0")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".json"))
    args = parser.parse_args()
    answered = pd.read_csv(args.answers, dtype=str)
    classes = Project.open(args.project).classes
    answers = {key: classes[int(label)] if label.isdigit() and label not in classes else label
               for key, label in zip(answered["key"], answered["clean_label"], strict=True)}
    hardware = f"{platform.machine()}, {os.cpu_count()} cores, no GPU; {args.seeds} seeds from {args.first_seed}, " \
               f"{args.epochs} epochs, head {args.network}, one thread"
    print(hardware)
    tables = {}
    for share in args.noise.split(","):
        tables[share] = table_of(variant(args.project, args.work, answers, share), args, answers)
        show(share, tables[share])
    args.out.write_text(json.dumps({"hardware": hardware, "tables": tables}, indent=2))


if __name__ == "__main__":
    main()
