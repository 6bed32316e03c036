"""Controls that a sceptic would ask for beside MOLERE, each tuned with the same budget, on problems on features.

    python benchmarks/feature_problems.py PROBLEMS ...
    python benchmarks/controls.py PROBLEMS --choose [--only human_noise,rare_subgroup] [--heads linear,mlp]
        [--controls ...]
    python benchmarks/controls.py PROBLEMS [--defaults] [--only ...] [--heads ...] [--seeds 10] [--out controls.json]

--choose: every control takes each of its NUM_TRIED settings on CHOICE_SEEDS, on a project of its own in
PROBLEMS/tuning, whose test split is held-out training data and which holds no sample of the problem's own test split:
a fifth of the training samples under their given labels, or the clean split where the problem is about groups. The
settings of the highest mean go to PROBLEMS/chosen.json. Without --choose: the chosen settings on seeds from 90 on, on
the problem itself, beside plain training with every default, and the oracles, which know what no method does: a bound.
--defaults: the controls as they are, nothing tuned, in a study of their own.
Weight decay is left to the run's own choice, for every method alike; `decay` alone tunes it.
"""

import argparse
import json
import os
import platform
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.feature_problems import FEATURES, GROUP_ORACLE, LABEL_ORACLE, PREFIX, PROBLEMS
from benchmarks.studies import arm_at, show, table_of
from engine.contract.manifest import MANIFEST_NAME, ManifestInfo, manifest_schema, read_info
from engine.contract.settings import Settings, parse_settings
from engine.contract.studies.study_dir import StudyDir
from engine.contract.studies.study_plan import Arm, parse_arm
from engine.contract.work_dir import without_nan
from engine.study.runner import run_study

NUM_TRIED = 4
CHOICE_SEEDS = (60, 61)
FIRST_SEED = 90
HEADS = ("linear", "mlp")
COMMON = f"features={FEATURES} epochs=12 embedding=none device=cpu num_threads=1"
OF_GROUPS = ("rare_subgroup", "clothing")
"""Problems that are judged, and tuned, by their worst group."""
OF_CLASSES = ("imbalance_10", "imbalance_50", "imbalance_200")
"""Problems whose test split has its classes alike, and that are tuned by the mean accuracy of the classes."""
REFERENCE, OURS = "plain", "molere-default"


@dataclass(frozen=True, kw_only=True, slots=True)
class Control:
    """A method with what it is tuned over."""

    fixed: str
    tried: tuple[str, ...]
    """NUM_TRIED settings, the published or default one among them."""


CONTROLS: dict[str, Control] = {
    "decay": Control(fixed="method=erm", tried=(
        "weight_decay=0.003", "weight_decay=0.01", "weight_decay=0.03", "weight_decay=0.1")),
    "smoothing": Control(fixed="method=erm", tried=(
        "label_smoothing=0.05", "label_smoothing=0.1", "label_smoothing=0.2", "label_smoothing=0.4")),
    "mixup": Control(fixed="method=erm", tried=("mixup=0.1", "mixup=0.2", "mixup=0.4", "mixup=1.0")),
    "early": Control(fixed="method=erm validation=random select_best=true", tried=(
        "val_fraction=0.05", "val_fraction=0.1", "val_fraction=0.2", "val_fraction=0.3")),
    "balanced": Control(fixed="method=erm", tried=(
        "class_balance=0.25", "class_balance=0.5", "class_balance=0.75", "class_balance=1")),
    "discriminant": Control(fixed="method=discriminant network=auto", tried=(
        "num_components=64", "num_components=128", "num_components=256", "num_components=512")),
    "exclude": Control(fixed="method=oof_exclude folds=2", tried=(
        "controls.excluded_share=0.1", "controls.excluded_share=0.2", "controls.excluded_share=0.3",
        "controls.excluded_share=0.4")),
    "elr": Control(fixed="method=elr", tried=(
        "controls.elr_strength=1", "controls.elr_strength=3", "controls.elr_strength=3 controls.elr_memory=0.9",
        "controls.elr_strength=7 controls.elr_memory=0.9")),
    "fbr": Control(fixed="method=fbr", tried=(
        "controls.fbr_rate=0.05", "controls.fbr_rate=0.2", "controls.fbr_rate=1",
        "controls.fbr_rate=0.2 controls.fbr_others=9")),
    "jtt": Control(fixed="method=jtt", tried=(
        "controls.first_share=0.1 controls.error_weight=3", "controls.first_share=0.1 controls.error_weight=10",
        "controls.first_share=0.25 controls.error_weight=3", "controls.first_share=0.25 controls.error_weight=10")),
    "cvar": Control(fixed="method=cvar_dro", tried=(
        "controls.worst_share=0.1", "controls.worst_share=0.3", "controls.worst_share=0.5",
        "controls.worst_share=0.8")),
    "mwn": Control(fixed="method=meta_weight_net", tried=(
        "reweighter.lr=0.001", "reweighter.lr=0.005", "reweighter.lr=0.02", "reweighter.lr=0.1")),
    "fsr": Control(fixed="method=fsr reweighter.hypergradient=last_layer", tried=(
        "proxy_fraction=0.01", "proxy_fraction=0.04", "proxy_fraction=0.1", "proxy_fraction=0.3")),
    "molere": Control(fixed="method=molere", tried=(
        "reweighter.uniform_pull=0.005", "reweighter.uniform_pull=0.02", "reweighter.uniform_pull=0.05",
        "reweighter.uniform_pull=0.2")),
}
UNTUNED = (f"{REFERENCE}: method=erm", f"{OURS}: method=molere", "random-split: method=lrw_random")
ORACLES = {LABEL_ORACLE: (f"oracle-weights: method=erm weights_by={LABEL_ORACLE}",
                          "oracle-relabelled: method=erm decisions=oracle_relabelled.parquet"),
           GROUP_ORACLE: (f"oracle-groups: method=erm weights_by={GROUP_ORACLE}",)}
"""Arms by the column that they need."""


def trials(name: str) -> list[Arm]:
    """The arms that a control is chosen from."""
    control = CONTROLS[name]
    return [parse_arm(f"{name}-{number}: {control.fixed} {settings}") for number, settings in enumerate(control.tried)]


def figure_of(problem: str) -> str:
    return "worst_group_accuracy" if problem in OF_GROUPS else "test_accuracy"


def choice_figure(problem: str) -> str:
    """What settings are chosen by, on held-out training data, which has the classes as unequal as they are."""
    return "balanced_accuracy" if problem in OF_CLASSES else figure_of(problem)


def tuning_project(problem: Path, is_of_groups: bool) -> Path:
    """A project to choose settings on, beside the problems: none of its samples is in the problem's test split.

    Its own test split is the problem's clean split where that is about groups and has one, else a fifth of the training
    samples under their given labels.
    """
    path = problem.parent / "tuning" / problem.name
    if (path / MANIFEST_NAME).exists():
        return path
    (path / "features").mkdir(parents=True, exist_ok=True)
    (path / "features" / FEATURES).mkdir(exist_ok=True)
    for file in (problem / "features" / FEATURES).rglob("*"):
        if file.is_file():
            to = path / "features" / FEATURES / file.relative_to(problem / "features" / FEATURES)
            to.parent.mkdir(parents=True, exist_ok=True)
            to.exists() or os.link(file, to)
    rows = pq.read_table(problem / MANIFEST_NAME).to_pandas()
    rows = held_out(rows, is_of_groups)
    info = read_info(problem)
    table = pa.Table.from_pandas(rows, preserve_index=False)
    kept = ManifestInfo(classes=info.classes, root=info.root, source=f"tuning of {problem.name}")
    pq.write_table(table.replace_schema_metadata(manifest_schema(table.schema, kept).metadata), path / MANIFEST_NAME)
    document = json.loads((problem / "project.json").read_text())
    (path / "project.json").write_text(json.dumps(document | {"name": f"tuning of {problem.name}"}))
    return path


def held_out(rows: pd.DataFrame, is_of_groups: bool) -> pd.DataFrame:
    """The rows of a problem without its test split, others in its place."""
    rows = rows[rows["split"] != "test"].reset_index(drop=True)
    is_clean = rows["split"] == "clean"
    if is_of_groups and is_clean.any():
        return rows.assign(split=np.where(is_clean, "test", rows["split"]))
    rows = rows[~is_clean].reset_index(drop=True)
    held = np.random.default_rng(0).permutation(len(rows)) < len(rows) // 5
    return rows.assign(split=np.where(held, "test", "train"))


def chosen_of(rows: pd.DataFrame, figure: str) -> dict[str, str]:
    """{control: its settings of the highest mean figure}; of equal ones the earlier. rows: of a study of trials."""
    means = rows[rows["state"] == "done"].groupby("arm")[figure].mean()
    found = {}
    for name, control in CONTROLS.items():
        scores = [float(means.get(arm.name, np.nan)) for arm in trials(name)]
        if np.isfinite(scores).any():
            found[name] = control.tried[int(np.nanargmax(scores))]
    return found


def common(head: str) -> Settings:
    return parse_settings([*COMMON.split(), f"network={head}"])


def names_of(head: str) -> list[str]:
    """The controls of a head; a discriminant is linear."""
    return [name for name in CONTROLS if head == "linear" or name != "discriminant"]


def choose(problem: Path, name: str, head: str, controls: list[str], workers: int) -> dict[str, str]:
    """Train every trial of these controls that is not there yet, and choose among all that are."""
    project = tuning_project(problem, name in OF_GROUPS)
    arms = [arm for control in names_of(head) if control in controls for arm in trials(control)]
    study = run_study(project, f"choice-{head}", arms, CHOICE_SEEDS, common(head), workers, is_tuned_here=True,
                      say=print)
    return chosen_of(study.read_rows(), choice_figure(name))


def final_arms(project: Path, chosen: dict[str, str]) -> list[Arm]:
    """The arms that are reported: untuned plain training first, the controls as chosen, the oracles that can be.
    chosen: {control: its settings}."""
    columns = pq.read_schema(project / MANIFEST_NAME).names
    texts = [*UNTUNED, *(f"{name}: {CONTROLS[name].fixed} {settings}".strip() for name, settings in chosen.items()),
             *(text for column, arms in ORACLES.items() if column in columns for text in arms)]
    return [arm_at(project, text) for text in texts]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("problems", type=Path)
    parser.add_argument("--choose", action="store_true", help="tune; else report what was chosen")
    parser.add_argument("--only", default="", help="problems, separated by commas; default: all that are there")
    parser.add_argument("--heads", default=",".join(HEADS))
    parser.add_argument("--controls", default=",".join(CONTROLS), help="which to tune, or to show with --defaults")
    parser.add_argument("--defaults", action="store_true", help="report the controls' defaults, not what was chosen")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--first-seed", type=int, default=FIRST_SEED)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".json"))
    args = parser.parse_args()
    path = args.problems / "chosen.json"
    chosen: dict[str, dict[str, dict[str, str]]] = json.loads(path.read_text()) if path.exists() else {}
    names = args.only.split(",") if args.only else [n for n in PROBLEMS if (args.problems / f"{PREFIX}{n}").exists()]
    rows: list[dict[str, Any]] = []
    for name in names:
        problem = args.problems / f"{PREFIX}{name}"
        for head in args.heads.split(","):
            if args.choose:
                chosen.setdefault(name, {})[head] = choose(problem, name, head, args.controls.split(","),
                                                                  args.workers)
                path.write_text(json.dumps(chosen, indent=1))
                continue
            seeds = range(args.first_seed, args.first_seed + args.seeds)
            settings = chosen.get(name, {}).get(head, {})
            study_name = f"controls-{head}"
            if args.defaults:
                settings, study_name = dict.fromkeys(args.controls.split(","), ""), f"defaults-{head}"
            run_study(problem, study_name, final_arms(problem, settings), list(seeds), common(head), args.workers,
                      is_tuned_here=False, say=print)
            study = StudyDir.of(problem, study_name)
            for figure in dict.fromkeys(("test_accuracy", figure_of(name))):
                for reference in (REFERENCE, OURS):
                    found = table_of(study, name, study_name, figure, reference)
                    if found:
                        show(found)
                    rows += found
    if not args.choose:
        hardware = f"{platform.machine()}, {os.cpu_count()} cores, no GPU used"
        figures = without_nan(pd.DataFrame(rows).round(4).to_dict("records"))
        args.out.write_text(json.dumps({"hardware": hardware, "num_tried": NUM_TRIED, "choice_seeds": CHOICE_SEEDS,
                                        "chosen": {} if args.defaults else chosen, "rows": figures},
                                       indent=1, default=str))


if __name__ == "__main__":
    main()
