"""What a study's rows say: means, paired differences with 95% t intervals over seeds, and how far to trust them.

Reads the study directory alone; imports no torch.
"""

import contextlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, TypedDict, cast

import numpy as np
import pandas as pd

from engine.contract.config import RunConfig
from engine.contract.method_config import features_used
from engine.contract.settings import ConfigError
from engine.contract.statistics.intervals import mean_interval, paired_interval
from engine.contract.studies.study_dir import StudyDir, StudyDocument
from engine.contract.studies.study_margins import margin_bins, read_all_margins
from engine.contract.work_dir import without_nan

FIGURES = ("test_accuracy", "balanced_accuracy", "worst_class_accuracy", "worst_group_accuracy")
MEANS = ("effective_sample_frac", "weight_right", "weight_wrong", "guard_wrong_share", "unguarded_wrong_share",
         "coverage", "churn_late", "rest_loss", "routed_loss_then", "label_quality_auroc",
         "label_quality_average_precision", "mean_margin_auroc", "p_train_auroc")
"""Figures of a row whose mean over seeds stands beside the differences."""
Verdict = Literal["reference", "ahead", "behind", "tie", "one seed", "no pairs"]
Records = list[dict[str, object]]
"""A table as JSON has it: an object a row."""


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
        line: dict[str, object] = {
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


def verdict(num_pairs: int, low: float | None, high: float | None) -> Verdict:
    """In plain words what the interval of a difference says."""
    if num_pairs == 0:
        return "no pairs"
    if low is None or high is None:
        return "one seed"
    return "ahead" if low > 0 else "behind" if high < 0 else "tie"


def plain_table(study: StudyDir) -> str:
    """The summary of test accuracy as text of fixed width."""
    table = summary(study.read_rows(), study.read_document().plan.reference)
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


@dataclass(frozen=True, kw_only=True, slots=True)
class NotControlled:
    """What the differences of a study may rest on besides its arms, and what its rows leave open. Values, no words."""

    num_arms: int
    num_seeds: int
    num_planned: int
    num_done: int
    """Runs; pairs without both are left out."""
    is_tuned_here: bool | None
    """Whether settings were chosen on this project; None where that is not known."""
    networks: tuple[str, ...]
    """The setting of any arm."""
    epochs_factors: Mapping[str, float]
    """Of arms with another number of epochs than the plan's."""
    hardware: str
    """That the study last went on with."""
    code_revisions: tuple[str, ...]
    devices: tuple[str, ...]
    """Of the runs that are done."""
    has_uncommitted_code: bool
    """A run was trained by code with changes that no revision holds."""
    is_clean_split_used: bool
    """An arm learned from the clean split."""
    started_from: Mapping[str, str]
    """Of arms that train on images and started from features: which."""


def not_controlled(document: StudyDocument, rows: pd.DataFrame) -> NotControlled:
    """Of a study's document and StudyDir.read_rows."""
    plan, done = document.plan, finished(rows)

    def kinds(column: str) -> tuple[str, ...]:
        return tuple(sorted(set(done[column].dropna()))) if column in done else ()

    networks = {str(arm.settings.get("network", plan.settings.get("network", RunConfig().network)))
                for arm in plan.arms}
    return NotControlled(
        num_arms=len(plan.arms), num_seeds=len(plan.seeds), num_planned=plan.num_runs, num_done=len(done),
        is_tuned_here=document.is_tuned_here, networks=tuple(sorted(networks)), hardware=document.hardware,
        epochs_factors={arm.name: arm.epochs_factor for arm in plan.arms if arm.epochs_factor != 1.0},
        code_revisions=kinds("code_revision"), devices=kinds("device"),
        has_uncommitted_code=any(revision.endswith("-dirty") for revision in kinds("code_revision")),
        is_clean_split_used="config" in done and any(c.get("validation") == "clean" for c in done["config"]),
        started_from=_started_from(done))


def _started_from(done: pd.DataFrame) -> dict[str, str]:
    found: dict[str, str] = {}
    for arm, values in zip(done["arm"], done["config"], strict=True) if "config" in done else ():
        with contextlib.suppress(ConfigError):  # of a row that other code wrote
            config = RunConfig.of_run(values)
            if config.features is None and (used := features_used(config)):
                found[arm] = used
    return found


class ReportTables(TypedDict):
    """report.json."""

    plan: dict[str, object]
    """StudyDocument.to_dict."""
    reference: str
    not_controlled: dict[str, object]
    """NotControlled's fields."""
    summary: dict[str, Records]
    """Figure -> `summary` by it."""
    margin_bins: Records
    curves: Records
    groups: Records
    failed: Records
    """arm, seed and error."""


def report_tables(study: StudyDir) -> ReportTables:
    """All that the report says, as plain JSON values."""
    document, rows = study.read_document(), study.read_rows()
    reference = document.plan.reference
    failed = rows[rows["state"] == "failed"]
    tables: ReportTables = {
        "plan": document.to_dict(), "reference": reference, "not_controlled": asdict(not_controlled(document, rows)),
        "summary": {figure: _records(summary(rows, reference, figure)) for figure in FIGURES},
        "margin_bins": _records(margin_bins(read_all_margins(study, rows), reference)),
        "curves": _records(curve_table(rows)), "groups": _records(group_table(rows)),
        "failed": _records(failed[["arm", "seed", "error"]]) if len(failed) else []}
    return cast(ReportTables, without_nan(tables))


def _records(table: pd.DataFrame) -> Records:
    return cast(Records, table.to_dict("records"))


def write_tables(study: StudyDir) -> Path:
    """report.json: report_tables of the rows that are there. Returns its path."""
    study.write_json(study.tables_path, report_tables(study))
    return study.tables_path
