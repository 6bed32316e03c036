"""Every study that the defaults and the tables of RESULTS.md rest on, on the problems of benchmarks/problems.py.

    python benchmarks/problems.py PROBLEMS --data DATA
    python benchmarks/studies.py PROBLEMS [--only digits_rare_subgroup,...] [--workers 2] [--first-seed 90] [--summary]

Each study lies in its problem's folder (studies/NAME) and goes on where it was stopped; --summary only reads what is
there. Prints one table a study and writes the figures to --out. Hyperparameters of MOLERE were chosen on some of these
problems (benchmarks/LOG.md says which), and no other method's were tuned: read the tables so.
"""

import argparse
import json
import os
import platform
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import pandas as pd

from benchmarks.problems import PROBLEMS
from engine.contract.settings import parse_settings
from engine.contract.studies.study_dir import StudyDir
from engine.contract.studies.study_plan import Arm, parse_arm
from engine.contract.studies.study_summary import summary
from engine.contract.work_dir import without_nan
from engine.study.runner import run_study

COMMON = "network=tiny batch_size=32 embedding=none"
REGIMES = {
    ("digits", "memorise"): "augment=none epochs=20", ("digits", "early"): "augment=shift epochs=8",
    ("photos", "memorise"): "augment=none epochs=15 image_size=16",
    ("photos", "early"): "augment=shift_flip epochs=10 image_size=16",
}
FSR = "fsr: method=fsr reweighter.hypergradient=last_layer"
KEY = ("erm: method=erm", "molere: method=molere", "mwn: method=meta_weight_net",
       "erm-early: method=erm validation=random select_best=true", "no-guard: method=molere guard=off")
CLASS_SIZES = ("erm-classes: method=erm class_balance=0.5", "no-classes: method=molere class_balance=0")
"""The controls of class_balance, where classes differ in size."""
UNGUIDED = ("lrw-random: method=lrw_random",
            "unit-weights: method=molere reweighter.min_weight=1 reweighter.max_weight=1")
FULL = (*KEY, *UNGUIDED, "lrw-hard: method=lrw_hard", "lrw-easy: method=lrw_easy", FSR,
        "no-coverage: method=molere splitter.coverage=1", "erm-part: method=erm validation=random",
        "erm-compute: method=erm epochs_factor=1.3", "rho: method=rho")
PAPER_MWN = ("mwn-paper: method=meta_weight_net reweighter.every=1 reweighter.lr=0.001 reweighter.uniform_pull=0 "
             "reweighter.heavy_weight=100 reweighter.hypergradient=jvp reweighter.val_loss=cross_entropy "
             "warmup_fraction=0 finish_fraction=0 class_balance=0")
ABLATIONS = (
    "molere: method=molere", "inputs-features: method=molere reweighter.inputs=features",
    "inputs-loss-label: method=molere reweighter.inputs=features_label_loss",
    "inputs-record: method=molere reweighter.inputs=record",
    "narrow: method=molere reweighter.min_weight=0.3 reweighter.max_weight=1.7",
    "gce: method=molere reweighter.val_loss=generalized_cross_entropy",
    "cross-entropy: method=molere reweighter.val_loss=cross_entropy", "no-finish: method=molere finish_fraction=0",
    "uncentred: method=molere reweighter.hypergradient=last_layer",
    "guard-confident: method=molere guard=confident", "no-rotation: method=molere rotation_groups=null",
    "delta-05: method=molere val_fraction=0.05", "delta-30: method=molere val_fraction=0.3",
    "fd: method=molere reweighter.hypergradient=finite_difference", "pull-0: method=molere reweighter.uniform_pull=0",
    "pull-10: method=molere reweighter.uniform_pull=0.1", "heavy-100: method=molere reweighter.heavy_weight=100",
    "heavy-2: method=molere reweighter.heavy_weight=2", "val-16: method=molere reweighter.val_batch_size=16",
    "val-128: method=molere reweighter.val_batch_size=128", "every-2: method=molere reweighter.every=2",
    "splitter-1: method=molere splitter.every=1", "warmup-25: method=molere warmup_fraction=0.25",
    "warmup-05: method=molere warmup_fraction=0.05")


def studies(problem: str) -> dict[str, tuple[str, tuple[str, ...]]]:
    """{study: (regime, arms)} of a problem."""
    is_noisy = problem.endswith("_noise")
    arms = FULL
    if is_noisy:
        arms += tuple(f"oracle-{kind}: method=erm decisions=oracle_{kind}.parquet"
                      for kind in ("relabelled", "excluded"))
        arms += (PAPER_MWN, "clean-split: method=molere validation=clean")
    else:
        arms += (PAPER_MWN,)
    if "imbalance" in problem:
        arms += CLASS_SIZES
    if problem in ("digits_spurious_colour", "digits_rare_subgroup", "photos_rare_subgroup"):
        arms += ("natural-hard: method=molere validation=clean",)
    found = {"memorise": ("memorise", arms)}
    if problem in EARLY:
        found["early"] = ("early", (*KEY, FSR, *UNGUIDED))
    if problem == "photos_human_noise":
        found["ten-seeds"] = ("memorise", KEY[:2])
    if problem == "digits_instance_noise":
        found["ablations"] = ("memorise", ABLATIONS)
    return found


ALL = ("digits_symmetric_noise", "digits_rare_subgroup", "digits_instance_noise", "digits_clean_labels",
       "digits_spurious_colour", "digits_imbalance_10", "digits_pair_noise", "digits_imbalance_50",
       "photos_human_noise", "photos_clean_labels", "digits_imbalance_200", "photos_imbalance_50",
       "photos_rare_subgroup")
NUM_SEEDS = {"digits_rare_subgroup": 10, "digits_imbalance_50": 10, "digits_spurious_colour": 10}
"""Where seeds differ so much that three tell nothing."""
EARLY = ("digits_symmetric_noise", "digits_instance_noise", "digits_clean_labels", "digits_rare_subgroup",
         "digits_spurious_colour", "digits_imbalance_50", "photos_human_noise", "photos_clean_labels",
         "photos_imbalance_50", "photos_rare_subgroup")
FIGURES = {"rare_subgroup": "worst_group_accuracy", "spurious_colour": "worst_group_accuracy"}


def figures_of(problem: str) -> tuple[str, ...]:
    """Test accuracy, and worst-group accuracy where the problem is about groups."""
    return ("test_accuracy", *(figure for name, figure in FIGURES.items() if problem.endswith(name)))


def arm_at(project: Path, text: str) -> Arm:
    """An arm whose decisions lie in the project's folder."""
    arm = parse_arm(text)
    if arm.decisions not in (None, "none"):
        return Arm(name=arm.name, settings=arm.settings, decisions=str((project / str(arm.decisions)).resolve()))
    return arm


def table_of(study: StudyDir, problem: str, name: str, figure: str, reference: str = "") -> list[dict[str, Any]]:
    """The study's summary, one row an arm, with where it comes from. reference: an arm; default: the plan's."""
    reference = reference or study.read_document().plan.reference
    table = summary(study.read_rows(), reference, figure).dropna(subset=["mean"])
    records = json.loads(table.to_json(orient="records"))
    return [{"problem": problem, "study": name, "figure": figure, "reference": reference, **r} for r in records]


def show(rows: list[dict[str, Any]]) -> None:
    first = rows[0]
    print(f"\n{first['problem']}, {first['study']}: {first['figure']}, difference to {first['reference']}")
    for row in rows:
        gap = "" if row["low"] is None else \
            f"{100 * row['difference']:+6.1f} ({100 * row['low']:+.1f} to {100 * row['high']:+.1f})"
        def share(key: str, row: dict[str, Any] = row) -> str:
            return "    -" if row[key] is None else f"{row[key]:5.2f}"
        print(f"  {row['arm']:18s} n={row['n']} {100 * row['mean']:5.1f} +- {100 * (row['sd'] or 0):4.1f}  {gap:26s}"
              f" ess {share('effective_sample_frac')}  w right/wrong {share('weight_right')}/{share('weight_wrong')}"
              f"  wrong in validation {share('guard_wrong_share')}  cost {share('relative_seconds')}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("problems", type=Path)
    parser.add_argument("--only", default=",".join(ALL))
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--first-seed", type=int, default=90, help="settings were chosen on seeds below 70")
    parser.add_argument("--summary", action="store_true", help="train nothing")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("studies.json"))
    args = parser.parse_args()
    rows: list[dict[str, Any]] = []
    for problem in args.only.split(","):
        project = args.problems / problem
        for name, (regime, arms) in studies(problem).items():
            if not args.summary:
                settings = parse_settings(f"{COMMON} {REGIMES[PROBLEMS[problem][0], regime]}".split())
                num = 10 if name == "ten-seeds" else NUM_SEEDS.get(problem, 3) if name == "memorise" else 3
                seeds = list(range(args.first_seed, args.first_seed + num))
                run_study(project, name, [arm_at(project, a) for a in arms], seeds, settings, args.workers,
                          is_tuned_here=True, say=print)
            study = StudyDir.of(project, name)
            if not study.exists() or study.read_rows().empty:
                continue
            for figure in figures_of(problem):
                found = table_of(study, problem, name, figure)
                if found:  # empty where no run has this figure
                    show(found)
                rows += found
    hardware = f"{platform.machine()}, {os.cpu_count()} cores, no GPU used"
    figures = without_nan(pd.DataFrame(rows).round(4).to_dict("records"))
    args.out.write_text(json.dumps({"hardware": hardware, "rows": figures}, indent=1, default=str))


if __name__ == "__main__":
    main()
