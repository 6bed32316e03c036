"""What a scripted reviewer who knows the truth is worth: accuracy gained per 100 reviews, by the order of review.

    python benchmarks/reviewer.py PROJECT [--shares 0.01,0.05,0.1] [--seeds 3] [--first-seed 90] [--workers 2]
        [--set epochs=20]...

The project must know the truth of every training sample (benchmarks/problems.py makes such). One MOLERE run and one
3-fold cross-fitted plain training, of a seed that is not used again, put the samples in four orders:

    triage      mean rank of held-out label quality and AUM of the MOLERE run: what the app shows
    cleanlab    out-of-fold self-confidence, the default order of cleanlab.rank.get_label_quality_scores
    loss        loss at the end of plain training, highest first
    random      at random

The reviewer looks at the first 1, 5 and 10%, corrects what is wrong and knows the rest to be right. Then, against the
same method without decisions: plain training under the corrections, LRW with the reviewed samples as its verified
validation set, and MOLERE under the corrections with the reviewed samples pinned to validation, and without those pins.
Ends in a study of the project called "reviews"; trains every seed and budget of it. Writes JSON to --out.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import pandas as pd
from scipy.stats import rankdata

from engine.contract.config import RunConfig
from engine.contract.manifest import read_decisions
from engine.contract.settings import parse_settings
from engine.contract.statistics.intervals import paired_interval
from engine.contract.studies.study_plan import Arm
from engine.contract.studies.study_summary import values_by_seed
from engine.data.dataset import Dataset, load_dataset
from engine.runs.cross_fitting import cross_fitted_probabilities
from engine.study.runner import run_study
from engine.training.trainer import Trainer

LOOKING_SEED = 1_000_000
STUDY = "reviews"
TRAININGS: dict[str, dict[str, Any]] = {
    "erm": {"method": "erm"},
    "lrw": {"method": "lrw_easy", "val_fraction": 0.001},
    "molere": {"method": "molere"},
}
"""lrw: what nobody reviewed is not verified; a class without a pin gets its one easiest sample, for it needs one."""


def orders(config: RunConfig, data: Dataset) -> dict[str, np.ndarray]:
    """Rows of the train split, most suspect first, by name of the order. Each (N,) int64."""
    def train(method: str) -> Trainer:
        trainer = Trainer(RunConfig.from_dict(config.to_dict() | {"method": method}), data)
        for epoch in range(1, config.epochs + 1):
            trainer.run_epoch(epoch, lambda *_: None)
        return trainer

    rows, labels = np.arange(data.num_train), data.train_labels
    molere, plain = train("molere"), train("erm")
    probs_NC, is_known = molere.record.heldout_predictions()
    quality = np.where(is_known, probs_NC[rows, labels], 0.5)
    mean_margin = (molere.record.margin_sum / molere.record.train_epochs.clamp(min=1)).cpu().numpy()
    crossed = cross_fitted_probabilities(RunConfig.from_dict(config.to_dict() | {"method": "erm", "folds": 3}), data,
                                         lambda *_: None)
    return {"triage": np.argsort(rankdata(quality) + rankdata(mean_margin), kind="stable"),
            "cleanlab": np.argsort(crossed[rows, labels], kind="stable"),
            "loss": np.argsort(-plain.record.loss.cpu().numpy(), kind="stable"),
            "random": np.random.default_rng(LOOKING_SEED).permutation(data.num_train)}


def write_decisions(path: Path, data: Dataset, reviewed: np.ndarray, is_pinned: bool) -> int:
    """decisions.parquet of the reviewer; returns how many labels were wrong. reviewed: rows of the train split."""
    idx = data.train_idx[reviewed]
    is_wrong = data.clean_labels[idx] != data.labels[idx]
    names = np.asarray(data.classes, dtype=object)[data.clean_labels[idx]]
    path.parent.mkdir(parents=True, exist_ok=True)
    pd.DataFrame({"sample_id": data.sample_ids[idx], "pin": "validation" if is_pinned else None, "excluded": False,
                  "label": np.where(is_wrong, names, None)}).to_parquet(path)
    return int(is_wrong.sum())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("project", type=Path)
    parser.add_argument("--shares", default="0.01,0.05,0.1")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first-seed", type=int, default=90, help="settings were chosen on seeds below 70")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--set", action="append", default=[], dest="settings")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("reviewer.json"))
    args = parser.parse_args()

    settings = parse_settings([*args.settings, "embedding=none"])
    config = RunConfig.from_settings([*args.settings, "embedding=none"], seed=LOOKING_SEED)
    data = load_dataset(args.project, read_decisions(args.project / "none.parquet"), config.image_size, lambda *_: None)
    if (data.clean_labels[data.train_idx] < 0).any():
        sys.exit("error: the reviewer must know the truth of every training sample; this project lacks some")
    arms = [Arm(name=name, settings=TRAININGS[name], decisions="none") for name in TRAININGS]
    reviews: list[dict[str, Any]] = []
    for order, rows in orders(config, data).items():
        for share in map(float, args.shares.split(",")):
            num = round(share * data.num_train)
            for training, is_pinned in (("erm", False), ("molere", False), ("molere", True), ("lrw", True)):
                name = f"{training}{'-pinned' if is_pinned else ''}-{order}-{num}"
                path = (args.project / "reviews" / f"{name}.parquet").resolve()
                found = write_decisions(path, data, rows[:num], is_pinned)
                arms.append(Arm(name=name, settings=TRAININGS[training], decisions=str(path)))
                reviews.append({"arm": name, "training": name.rsplit("-", 2)[0], "order": order, "num_reviews": num,
                                "num_wrong": found, "reference": training})
    seeds = [args.first_seed + i for i in range(args.seeds)]
    study = run_study(args.project, STUDY, arms, seeds, settings, args.workers, "erm", is_tuned_here=True, say=print)
    if study.read_status()["state"] != "done":
        sys.exit("stopped before the last run; the same command goes on")
    rows = study.read_rows()
    table = [review | gain(rows, review) for review in reviews]
    without = {name: float(pd.Series(values_by_seed(rows, name, "test_accuracy")).mean()) for name in TRAININGS}
    print("without decisions: " + ", ".join(f"{name} {100 * value:.1f}" for name, value in without.items()))
    print(f"{'training':15s} {'order':9s} reviews wrong  gain (95% interval)          gain per 100 reviews")
    for row in table:
        low, high = (float("nan") if row[k] is None else 100 * row[k] for k in ("low", "high"))
        print(f"{row['training']:15s} {row['order']:9s} {row['num_reviews']:7d} {row['num_wrong']:5d}  "
              f"{100 * row['gain']:+6.2f} ({low:+.2f} to {high:+.2f}) points   {100 * row['per_100_reviews']:+7.2f}")
    args.out.write_text(json.dumps({"project": args.project.name, "seeds": seeds, "settings": settings,
                                    "num_train": data.num_train, "without_decisions": without,
                                    "rows": table}, indent=2))


def gain(rows: pd.DataFrame, review: dict[str, Any]) -> dict[str, Any]:
    """Test accuracy gained over the same method without decisions, paired by seed."""
    before = values_by_seed(rows, review["reference"], "test_accuracy")
    after = values_by_seed(rows, review["arm"], "test_accuracy")
    seeds = sorted(before.keys() & after.keys())
    found = paired_interval([before[s] for s in seeds], [after[s] for s in seeds])
    assert found.mean is not None, f"no finished runs of {review['arm']}"
    return {"gain": found.mean, "low": found.low, "high": found.high,
            "per_100_reviews": 100 * found.mean / max(review["num_reviews"], 1)}


if __name__ == "__main__":
    main()
