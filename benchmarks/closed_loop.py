"""What a person's decisions buy: a scripted reviewer works the triage queue, then training with and without, paired.

    python benchmarks/closed_loop.py PROJECT [--run NAME] [--answers audit_answers.csv] [--reviews 500]
        [--queues triage,random] [--methods molere,erm] [--seeds 3] [--first-seed 90] [--workers 1] [--set epochs=12]...

In a copy of the project beside it (PROJECT-closed-loop; the project itself is left alone), on the signals of a MOLERE
run of it (--run; without one such a run is trained first, of a seed that is not used again), the reviewer, who knows
the truth (the column clean_label, or --answers), looks at the first samples of the triage lane "probably mislabeled",
relabels what is wrong and confirms what is right, through the ledger. The same number is then spent on each other
queue: random; loss, the highest of a plain run first; cleanlab, the lowest self-confidence first of a logistic
regression on the same features (AGPL; where it is installed); suspect and uncertain, two orders of the audit's queue.
Each method is trained without decisions and under each queue's, of the same seeds; the effect is stated as the
Compare page states it. Finished runs are kept, so the same command goes on. Writes JSON to --out.
"""

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import pandas as pd

from curation.audit.issues import scores_by
from curation.audit.reviews.queues import Mode, find_order
from curation.experiments import compare, effects
from curation.project import Project
from curation.samples.frames import SampleTable
from curation.samples.scoring import read_answers
from curation.samples.table import sample_table
from curation.samples.triage import LANES, Rule, assign_lanes, queue
from curation.views.compare.effect import answers
from engine.contract.config import RunConfig
from engine.contract.feature_dir import FeatureStore
from engine.contract.run_dir import RunDir
from engine.contract.settings import parse_settings
from engine.data.dataset import settled

ROOT = Path(__file__).resolve().parent.parent
LOOKING_SEED = 1_000_000
WHO = "scripted reviewer"
NO_DECISIONS = "none"
QUEUES = ("triage", "random", "loss", "cleanlab", "suspect", "uncertain")


def copy_of(path: Path, run: str | None, ending: str = "closed-loop") -> Project:
    """The project's copy, made once: data and the run to look at, without its decisions, other runs and studies."""
    target = path.parent / f"{path.name}-{ending}"
    if not target.exists():
        names = ("runs", "studies", "studies_*", "exports", "reviews", "ledger.sqlite*", "decisions.parquet")
        shutil.copytree(path, target, ignore=shutil.ignore_patterns(*names))
    if run is not None and not (target / "runs" / run).exists():
        shutil.copytree(path / "runs" / run, target / "runs" / run, ignore=shutil.ignore_patterns("checkpoint"))
    project = Project.open(target)
    while project.ledger().undo(WHO, "a new review begins without") is not None:  # of one that was cut short
        pass
    return project


def trained(project: Project, name: str, settings: list[str], decisions: Path | None = None) -> RunDir:
    """The run of these settings, trained or resumed unless it is done already."""
    run = RunDir.of(project.path, name)
    if run.exists() and RunConfig.of_run(run.read_config()["config"]).spelled_out() \
            != settled(RunConfig.from_settings(settings), project.path).spelled_out():
        sys.exit(f"error: {run.path} is of other settings; remove {project.path} or give the same settings again")
    command = [sys.executable, "-m", "engine", "train", str(project.path)]
    if run.exists():
        command += ["--resume", name]
    else:
        command += ["--name", name, *(x for s in settings for x in ("--set", s))]
        command += ["--decisions", str(decisions)] if decisions else []
    if not run.exists() or run.read_status()["state"] != "done":
        subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    return run


# -- the queues and the reviewer


def suspects(run: RunDir, table: pd.DataFrame) -> tuple[np.ndarray, int]:
    """Rows of the table as triage queues the probably mislabeled, and how many those are; after them the others by
    label quality, lowest first, so that a short lane does not end the review."""
    lane, priority = assign_lanes(SampleTable.of(table), run.read_neighbours(), Rule())
    first = queue(lane, priority, LANES.index("mislabeled"))
    quality = table["label_quality"].to_numpy(dtype=np.float64)
    rest = np.argsort(np.where(np.isfinite(quality), quality, np.inf), kind="stable")
    return np.concatenate([first, rest[~np.isin(rest, first)]]), len(first)


def by_loss(run: RunDir, table: pd.DataFrame) -> np.ndarray:
    """Rows of the table, the highest loss of this run first; those without one last."""
    loss = table["sample_id"].map(run.read_signals().set_index("sample_id")["loss"]).to_numpy(dtype=np.float64)
    return np.argsort(np.where(np.isfinite(loss), -loss, np.inf), kind="stable")


def by_audit(project: Project, run: RunDir, table: pd.DataFrame, mode: Mode) -> np.ndarray:
    """Rows of the table as the audit's ranked queue has them, before any verdict."""
    scores, _ = scores_by(project, run.name)
    order = find_order(scores, project.verdicts().in_force("closed-loop"), mode)
    return pd.Index(table["sample_id"]).get_indexer(scores.samples.ids(order))


def by_cleanlab(project: Project, features: str, table: pd.DataFrame) -> np.ndarray:
    """Rows of the table as cleanlab has them: logistic regression on all features, five folds, with a C that served it
    best on other seeds of such photos, the lowest self-confidence first. Every sample has a label."""
    from cleanlab.rank import get_label_quality_scores
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_predict

    store = FeatureStore.open(project.path, features)
    x = store.read(store.rows_of(table["sample_id"])).astype(np.float32)
    codes = pd.Categorical(table["given_label"], list(project.classes)).codes.astype(int)
    folds = StratifiedKFold(5, shuffle=True, random_state=LOOKING_SEED)
    probs = cross_val_predict(LogisticRegression(max_iter=100, C=0.03), x, codes, cv=folds, method="predict_proba")
    return np.argsort(get_label_quality_scores(codes, probs, method="self_confidence"), kind="stable")


def order_of(name: str, project: Project, look: RunDir, table: pd.DataFrame, settings: list[str]) -> np.ndarray:
    """Rows of the table as one of QUEUES has them, all but triage's."""
    if name == "loss":
        plain = [*settings, "embedding=none", "method=erm", f"seed={LOOKING_SEED}"]
        return by_loss(trained(project, "look-plain", plain), table)
    if name == "cleanlab":
        return by_cleanlab(project, str(parse_settings(settings)["features"]), table)
    if name == "random":
        return np.random.default_rng(LOOKING_SEED).permutation(len(table))
    return by_audit(project, look, table, "value" if name == "suspect" else "uncertain")


def truth_of(project: Project, table: pd.DataFrame, answers: Path | None) -> pd.Series:
    """The true class of each row of the table; null where nobody knows it."""
    if answers is None:
        return table["clean_label"] if "clean_label" in table else pd.Series(None, index=table.index, dtype=object)
    given = read_answers(answers, project.classes)
    keyed = [table[name].map(given) for name in ("sample_id", "path") if name in table]
    return max(keyed, key=lambda series: int(series.notna().sum()))


def review(project: Project, table: pd.DataFrame, truth: pd.Series, rows: np.ndarray, name: str) -> dict[str, int]:
    """Look at these rows: relabel the wrong, confirm the right. Returns how many of either."""
    ledger, seen, true = project.ledger(), table.iloc[rows], truth.iloc[rows]
    is_wrong = seen["current_label"].ne(true).to_numpy(dtype=bool)
    for mask, why in ((is_wrong, "wrong label"), (~is_wrong, "label confirmed")):
        for label, part in seen[mask].groupby(true[mask], sort=True, observed=True):
            ledger.relabel(part["sample_id"], str(label), WHO, why=why, view=f"closed loop: {name}")
    return {"num_reviews": len(rows), "num_wrong": int(is_wrong.sum())}


def decided_by(project: Project, table: pd.DataFrame, truth: pd.Series, rows: np.ndarray, name: str,
               folder: Path) -> tuple[Path, dict[str, int]]:
    """The decisions after that review, kept as a file, and its counts. The ledger takes them back afterwards."""
    before = project.ledger().revision
    found = review(project, table, truth, rows, name)
    path = folder / f"{name}-{len(rows)}.parquet"
    folder.mkdir(exist_ok=True)
    shutil.copyfile(project.decisions_path, path)
    for batch in range(project.ledger().revision, before, -1):
        project.ledger().undo_batch(batch, WHO, why="the next queue begins without")
    return path, found


# -- what it bought


def stated(without: list[RunDir], under: list[RunDir]) -> dict[str, Any]:
    """The effect of one queue on one method: every figure, and the sentences that Compare says."""
    experiment = effects.experiment_of(without[0], under[0], [*without, *under])
    assert experiment is not None, "runs of one method differ in their decisions alone"
    table = effects.effects(experiment.pairs)
    rows = table[table["kind"].isin(["all", "worst"])].astype(object).where(table.notna(), None)
    return {"words": [f"{said.what} {said.details}" for said in answers(experiment, table)],
            "effects": rows.to_dict("records"), "note": compare.paired_difference(without, under).note}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("project", type=Path)
    parser.add_argument("--run", help="a finished MOLERE run of the project to look at")
    parser.add_argument("--answers", type=Path, help="CSV of key,clean_label")
    parser.add_argument("--reviews", type=int, default=500)
    parser.add_argument("--queues", default="triage,random", help=f"of {', '.join(QUEUES)}")
    parser.add_argument("--methods", default="molere,erm")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first-seed", type=int, default=90)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--set", action="append", default=[], dest="settings")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("closed_loop.json"))
    args = parser.parse_args()
    if unknown := set(args.queues.split(",")) - set(QUEUES):
        parser.error(f"--queues must be of {', '.join(QUEUES)}; got {', '.join(sorted(unknown))}")
    if "cleanlab" in args.queues and parse_settings(args.settings).get("features") is None:
        parser.error("the queue cleanlab needs features; add --set features=NAME")

    project = copy_of(args.project.resolve(), args.run)
    look = project.run(args.run) if args.run else trained(project, "look", [*args.settings, "method=molere",
                                                                            f"seed={LOOKING_SEED}"])
    table = sample_table(project, look)
    truth = truth_of(project, table, args.answers)
    is_known = truth.notna().to_numpy() & ~table["excluded"].to_numpy(dtype=bool)
    if not is_known.any():
        sys.exit("error: the reviewer must know the truth of some training sample; give --answers")
    order, num_in_lane = suspects(look, table)
    print(f"{num_in_lane} of {len(table)} samples are in the lane of the probably mislabeled", flush=True)
    queues = {name: order if name == "triage" else order_of(name, project, look, table, args.settings)
              for name in args.queues.split(",")}
    folder = project.path / "reviews"
    reviewed = {name: decided_by(project, table, truth, rows[is_known[rows]][:args.reviews], name, folder)
                for name, rows in queues.items()}
    nothing = folder / f"{NO_DECISIONS}.parquet"
    pd.read_parquet(next(iter(reviewed.values()))[0]).iloc[:0].to_parquet(nothing)

    arms = {NO_DECISIONS: nothing, **{f"{name}{found['num_reviews']}": path for name, (path, found) in
                                      reviewed.items()}}
    jobs = [(method, arm, seed) for seed in range(args.first_seed, args.first_seed + args.seeds)
            for method in args.methods.split(",") for arm in arms]
    with ThreadPoolExecutor(args.workers) as pool:
        found_runs = pool.map(lambda job: trained(
            project, f"{job[0]}-{job[1]}-s{job[2]}",
            [*args.settings, "embedding=none", f"method={job[0]}", f"seed={job[2]}"], arms[job[1]]), jobs)
        runs = dict(zip(jobs, found_runs, strict=True))

    rows = []
    for method in args.methods.split(","):
        groups = {arm: [run for (of, name, _), run in runs.items() if (of, name) == (method, arm)] for arm in arms}
        for name, (_, found) in reviewed.items():
            row = {"method": method, "queue": name, **found,
                   **stated(groups[NO_DECISIONS], groups[f"{name}{found['num_reviews']}"])}
            rows.append(row)
            print(f"{method}, {name} queue: {found['num_wrong']} of {found['num_reviews']} reviewed were wrong")
            print("".join(f"    {line}\n" for line in row["words"]), end="")
    hardware = f"{platform.machine()}, {os.cpu_count()} cores; {args.seeds} seeds from {args.first_seed}"
    args.out.write_text(json.dumps({"project": args.project.name, "hardware": hardware, "settings": args.settings,
                                    "looked_at": look.name, "num_in_lane": num_in_lane, "rows": rows}, indent=2))


if __name__ == "__main__":
    main()
