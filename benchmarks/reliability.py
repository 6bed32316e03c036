"""Of labels that the audit calls wrong with so much probability, how many are: before any verdict and after some.

    python benchmarks/reliability.py PROJECT --answers audit_answers.csv [--runs A,B] [--after 0,50,200]

PROJECT has runs, and known truth in --answers (key,clean_label); the scores are given none of it but the verdicts of a
reviewer who is always right and takes the ranked queue as the app serves it, 50 at a time. By tenths of p_wrong: its
mean, the share that is wrong, and the miss, the mean distance of the two. For each batch the promise (as the app makes
it from 50 verdicts on) and what was found. --runs: all that are done, by default. Writes JSON to --out.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import TypedDict

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import pandas as pd

from curation.audit.reviews.promise import MIN_CALIBRATED, expected_yield
from curation.audit.reviews.queues import BATCH_SIZE
from curation.audit.suspects.evidence import gather
from curation.audit.suspects.scores import calibrated, first_level
from curation.project import Project
from curation.samples.frames import SampleTable
from curation.samples.table import sample_table
from engine.contract.run_dir import RunDir
from engine.contract.run_list import list_runs

NUM_PARTS = 10


class Reliability(TypedDict):
    run: str
    verdicts: int
    """That the scores were calibrated on."""
    promised: list[float]
    """Mean p_wrong by tenths, lowest first."""
    wrong: list[float]
    """Share of wrong labels in the same."""
    miss: float
    """Mean distance of the two."""


class Kept(TypedDict):
    run: str
    verdicts: int
    """Before the batch."""
    expected: float
    low: int
    high: int
    found: int


def reliability_of(run: str, num: int, p_wrong: np.ndarray, is_wrong: np.ndarray) -> Reliability:
    """p_wrong, is_wrong: (n,), of all whose truth is known."""
    order = np.argsort(p_wrong, kind="stable")
    parts = np.array_split(order, NUM_PARTS)
    promised, wrong = ([float(values[part].mean()) for part in parts] for values in (p_wrong, is_wrong))
    return {"run": run, "verdicts": num, "promised": promised, "wrong": wrong,
            "miss": float(np.mean(np.abs(np.subtract(promised, wrong))))}


def reviewed(project: Project, run: RunDir, truth: dict[str, str], after: list[int]
             ) -> tuple[list[Reliability], list[Kept]]:
    """What one run's scores promise as verdicts come in."""
    frame = sample_table(project, run).assign(clean_label=None)
    table, known = SampleTable.of(frame), frame["sample_id"].map(truth)
    is_wrong, is_known = (known != frame["given_label"]).to_numpy(dtype=bool), known.notna().to_numpy(dtype=bool)
    evidence = gather(table, [run], project.classes, run.read_neighbours())
    level, ids = first_level(run, table, evidence.given), frame["sample_id"].to_numpy()
    seen = np.empty(0, dtype=np.int64)
    tables: list[Reliability] = []
    kept: list[Kept] = []
    for num in range(0, max(after) + 1, BATCH_SIZE):
        verdicts = pd.DataFrame({"sample_id": ids[seen], "is_wrong": is_wrong[seen].astype(object)})
        scores = calibrated(evidence, table, project.classes, verdicts, level)
        if num in after:
            rows = np.flatnonzero(is_known & np.isfinite(scores.p_wrong))
            tables.append(reliability_of(run.name, num, scores.p_wrong[rows].astype(np.float64), is_wrong[rows]))
        is_open = is_known & np.isfinite(scores.p_wrong)
        is_open[seen] = False
        batch = np.argsort(-np.where(is_open, scores.p_wrong, -1.0), kind="stable")[:min(BATCH_SIZE, is_open.sum())]
        promised = expected_yield(scores.p_wrong[batch], scores.doubt_of(batch))
        kept.append({"run": run.name, "verdicts": num, "expected": promised.expected, "low": promised.low,
                     "high": promised.high, "found": int(is_wrong[batch].sum())})
        seen = np.r_[seen, batch]
    return tables, kept


def show(tables: list[Reliability], kept: list[Kept], after: list[int]) -> None:
    """Means over runs."""
    for num in after:
        rows = [row for row in tables if row["verdicts"] == num]
        promised, wrong = (np.mean([row[name] for row in rows], axis=0) for name in ("promised", "wrong"))
        misses = [row["miss"] for row in rows]
        print(f"after {num} verdicts ({len(rows)} runs): miss {100 * np.mean(misses):.1f} points, at most "
              f"{100 * max(misses):.1f}")
        print("  p_wrong by tenths " + " ".join(f"{100 * p:4.0f}" for p in promised))
        print("  of these wrong    " + " ".join(f"{100 * p:4.0f}" for p in wrong))
    for num in range(0, max(after) + 1, BATCH_SIZE):
        rows_kept = [row for row in kept if row["verdicts"] == num]
        expected, low, high, found = (np.mean([float(row[name]) for row in rows_kept])  # type: ignore[literal-required]
                                      for name in ("expected", "low", "high", "found"))
        num_kept = sum(row["low"] <= row["found"] <= row["high"] for row in rows_kept)
        hidden = " (not shown in the app)" if num < MIN_CALIBRATED else ""
        print(f"  batch after {num:3d}: {expected:.0f} ({low:.0f} to {high:.0f}), found {found:.0f}; "
              f"kept {num_kept} of {len(rows_kept)}{hidden}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("project", type=Path)
    parser.add_argument("--answers", type=Path, required=True)
    parser.add_argument("--runs", default="", help="names, or how they begin")
    parser.add_argument("--after", default="0,50,200")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    project, after = Project.open(args.project), [int(num) for num in args.after.split(",")]
    answered = pd.read_csv(args.answers, dtype=str)
    truth = {key: project.classes[int(label)] if label.isdigit() and label not in project.classes else label
             for key, label in zip(answered["key"], answered["clean_label"], strict=True)}
    named = tuple(args.runs.split(","))
    runs = [run for run in list_runs(args.project) if run.name.startswith(named) and run.signals_path.exists()]
    each = [reviewed(project, run, truth, after) for run in runs]
    tables, kept = ([row for part in parts for row in part] for parts in zip(*each, strict=True))
    show(tables, kept, after)
    if args.out:
        args.out.write_text(json.dumps({"tables": tables, "batches": kept}, indent=2))


if __name__ == "__main__":
    main()
