"""What a study's rows say: means, paired differences with 95% t intervals over seeds, and how far to trust them.

Reads the study directory alone; imports no torch.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from engine.contract.intervals import mean_interval, paired_interval
from engine.contract.study_dir import StudyDir
from engine.contract.study_margins import margin_bins, read_all_margins
from engine.contract.work_dir import without_nan

FIGURES = ("test_accuracy", "balanced_accuracy", "worst_class_accuracy", "worst_group_accuracy")
MEANS = ("effective_sample_size", "weight_right", "weight_wrong", "guard_wrong_share", "unguarded_wrong_share",
         "coverage", "churn_late", "rest_loss", "routed_loss_then", "label_quality_auroc",
         "label_quality_average_precision", "aum_auroc", "p_train_auroc")
"""Figures of a row whose mean over seeds stands beside the differences."""


def finished(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of runs that are done."""
    return rows[rows["state"] == "done"]


def values_by_seed(rows: pd.DataFrame, arm: str, figure: str) -> dict[int, float]:
    """The figure of an arm's finished runs by seed; runs without it are left out."""
    if figure not in rows:
        return {}
    own = finished(rows)
    values = pd.to_numeric(own.loc[own["arm"] == arm].set_index("seed")[figure]).dropna()
    return {int(seed): float(value) for seed, value in zip(values.index.to_numpy(), values, strict=True)}


def paired(rows: pd.DataFrame, reference: str, arm: str, figure: str) -> list[tuple[int, float, float]]:
    """(seed, reference's figure, arm's figure) of every seed that both have, in order."""
    left, right = values_by_seed(rows, reference, figure), values_by_seed(rows, arm, figure)
    return [(seed, left[seed], right[seed]) for seed in sorted(set(left) & set(right))]


def summary(rows: pd.DataFrame, reference: str, figure: str = "test_accuracy") -> pd.DataFrame:
    """One row an arm, in the rows' order: arm, n, mean, sd, num_pairs, difference, low, high, verdict, MEANS and
    relative_seconds.

    difference: arm minus reference, mean over the seeds that both have; low, high: its 95% t interval, null below two
    pairs. sd has n - 1 below the line. relative_seconds: training with ranking, ratio of sums over common seeds.
    """
    lines = []
    for arm in rows["arm"].unique():
        values = list(values_by_seed(rows, arm, figure).values())
        pairs = paired(rows, reference, arm, figure)
        is_reference = arm == reference
        found = paired_interval([p[1] for p in pairs], [p[2] for p in pairs])
        line: dict[str, Any] = {
            "arm": arm, "n": len(values), "mean": mean_interval(values).mean,
            "sd": float(np.std(values, ddof=1)) if len(values) > 1 else None, "num_pairs": len(pairs),
            **{k: None if is_reference else v for k, v in (("difference", found.mean), ("low", found.low),
                                                           ("high", found.high))},
            "verdict": "reference" if is_reference else verdict(found.num, found.low, found.high)}
        line |= {name: mean_interval(list(values_by_seed(rows, arm, name).values())).mean for name in MEANS}
        seconds = paired(_with_total(rows), reference, arm, "total_seconds")
        line["relative_seconds"] = sum(s[2] for s in seconds) / sum(s[1] for s in seconds) if seconds else None
        lines.append(line)
    columns = ["arm", "n", "mean", "sd", "num_pairs", "difference", "low", "high", "verdict", *MEANS,
               "relative_seconds"]
    table = pd.DataFrame(lines, columns=columns)
    return table.astype({c: float for c in columns if c not in ("arm", "n", "num_pairs", "verdict")})


def _with_total(rows: pd.DataFrame) -> pd.DataFrame:
    if "seconds" not in rows:
        return rows
    ranking = pd.to_numeric(rows["ranking_seconds"]).fillna(0.0) if "ranking_seconds" in rows else 0.0
    return rows.assign(total_seconds=pd.to_numeric(rows["seconds"]) + ranking)


def verdict(num_pairs: int, low: float | None, high: float | None) -> str:
    """In plain words what the interval of a difference says."""
    if num_pairs == 0:
        return "no pairs"
    if low is None or high is None:
        return "one seed"
    return "ahead" if low > 0 else "behind" if high < 0 else "tie"


def plain_table(study: StudyDir) -> str:
    """The summary of test accuracy as text of fixed width."""
    table = summary(study.read_rows(), study.read_plan()["reference"])
    if table.empty:
        return "no run has ended yet"
    columns = ["arm", "n", "mean", "sd", "difference", "low", "high", "verdict", "relative_seconds"]
    return str(table[columns].to_string(index=False, na_rep="", float_format=lambda v: f"{v:.4f}"))


def curve_table(rows: pd.DataFrame) -> pd.DataFrame:
    """Figures by epoch: arm, figure, epoch (from 1), mean over seeds, num_seeds; epochs without a value left out."""
    lines = [{"arm": row["arm"], "figure": figure, "epoch": epoch, "value": value}
             for row in finished(rows).to_dict("records") for figure, values in row["curve"].items()
             for epoch, value in enumerate(values, start=1) if value is not None]
    table = pd.DataFrame(lines, columns=["arm", "figure", "epoch", "value"])
    grouped = table.groupby(["arm", "figure", "epoch"], sort=False)["value"]
    return grouped.agg(mean="mean", num_seeds="size").reset_index()


def group_table(rows: pd.DataFrame) -> pd.DataFrame:
    """Test accuracy by class and by group: arm, kind (class or group), name, mean over seeds, sd, num_seeds."""
    lines = [{"arm": row["arm"], "kind": kind, "name": name, "value": value}
             for row in finished(rows).to_dict("records") for kind in ("group", "class")
             for name, value in row[f"{kind}_accuracies"].items()]
    table = pd.DataFrame(lines, columns=["arm", "kind", "name", "value"])
    grouped = table.groupby(["arm", "kind", "name"], sort=False)["value"]
    return grouped.agg(mean="mean", sd="std", num_seeds="size").reset_index()


def cautions(plan: dict[str, Any], rows: pd.DataFrame) -> list[str]:
    """What was not controlled, and what these rows themselves leave open."""
    lines = list(plan["not_controlled"])
    num_planned = len(plan["arms"]) * len(plan["seeds"])
    done = finished(rows)
    if len(done) < num_planned:
        lines.append(f"{num_planned - len(done)} of {num_planned} planned runs failed or have not ended; pairs without "
                     "both runs are left out.")
    for column, what in (("code_revision", "code revisions"), ("device", "devices")):
        kinds = sorted(set(done[column].dropna())) if column in done else []
        if len(kinds) > 1:
            lines.append(f"The runs were trained at several {what}: {', '.join(kinds)}.")
    if any(str(revision).endswith("-dirty") for revision in done.get("code_revision", [])):
        lines.append("Some runs were trained by code with changes that no revision holds.")
    if "config" in done and any(c.get("validation") == "clean" for c in done["config"]):
        lines.append("An arm learned from the clean split: its clean accuracy is no untouched figure.")
    return lines


def report_tables(study: StudyDir) -> dict[str, Any]:
    """All that the report says, as plain JSON values."""
    plan, rows = study.read_plan(), study.read_rows()
    reference = plan["reference"]
    failed = rows[rows["state"] == "failed"]
    tables: dict[str, Any] = without_nan({
        "plan": plan, "reference": reference, "cautions": cautions(plan, rows),
        "summary": {figure: summary(rows, reference, figure).to_dict("records") for figure in FIGURES},
        "margin_bins": margin_bins(read_all_margins(study, rows), reference).to_dict("records"),
        "curves": curve_table(rows).to_dict("records"), "groups": group_table(rows).to_dict("records"),
        "failed": failed[["arm", "seed", "error"]].to_dict("records") if len(failed) else [],
    })
    return tables


def write_tables(study: StudyDir) -> Path:
    """report.json: report_tables of the rows that are there. Returns its path."""
    study.write_json(study.tables_path, report_tables(study))
    return study.tables_path
