"""What routing by the splitter is worth: an arm with a learned split beside one with a fixed random split.

Everything else of the two is alike, save that nothing judges the weights of the random split's arm: none rest there.
Reads rows; imports no torch.
"""

from typing import NamedTuple

import pandas as pd

from engine.contract.config import RunConfig
from engine.contract.methods import METHODS, REWEIGHTED
from engine.contract.statistics.intervals import paired_interval
from engine.contract.studies.study_plan import Arm, StudyPlan
from engine.contract.studies.study_summary import finished, paired

COLUMNS = ("kind", "name", "num_pairs", "random", "difference", "low", "high")


class SplitArms(NamedTuple):
    """Two arms of a plan, by their names."""

    learned: str
    random: str


def split_arms(plan: StudyPlan) -> SplitArms | None:
    """The first two arms that differ in nothing but whether their split is learned or drawn once at random, and learn
    weights on it; None where there are none."""
    ways = [(arm.name, _way(plan, arm)) for arm in plan.arms]
    return next((SplitArms(one, other) for one, (split, rest) in ways for other, (other_split, other_rest) in ways
                 if (split, other_split) == ("learned", "random") and rest == other_rest), None)


def _way(plan: StudyPlan, arm: Arm) -> tuple[str | None, tuple[object, ...]]:
    """Where the validation samples of an arm come from, None unless it learns weights on them, and all else of it."""
    settings = {**plan.settings, **arm.settings}
    method = METHODS.get(str(settings.pop("method", RunConfig().method)))
    split = settings.pop("validation", None) or (method and method.validation)
    if method is None or method.weights not in REWEIGHTED:
        return None, ()
    return str(split), (method.weights, settings, arm.decisions, arm.epochs_factor)


def splitter_worth(rows: pd.DataFrame, arms: SplitArms) -> pd.DataFrame:
    """Test accuracy of the learned split minus the random one's, paired by seed: COLUMNS, a row for all samples, then
    one a group and one a class.

    kind: all, group or class. random: mean of the random split's arm. low, high: 95% t interval over seeds, null below
    two pairs.
    """
    done = finished(rows)
    lines = [_line("all", "all", paired(rows, arms.random, arms.learned, "test_accuracy"))]
    for kind in ("group", "class"):
        by_arm = {arm: done[done["arm"] == arm].set_index("seed")[f"{kind}_accuracies"] for arm in arms}
        seeds = sorted(set(by_arm[arms.learned].index) & set(by_arm[arms.random].index))
        names = dict.fromkeys(name for seed in seeds for name in by_arm[arms.random][seed])
        for name in names:
            pairs = [(seed, by_arm[arms.random][seed].get(name), by_arm[arms.learned][seed].get(name))
                     for seed in seeds]
            lines.append(_line(kind, name, [(s, a, b) for s, a, b in pairs if a is not None and b is not None]))
    table = pd.DataFrame([line for line in lines if line["num_pairs"]], columns=list(COLUMNS))
    return table.astype({name: float for name in COLUMNS[3:]})


def _line(kind: str, name: str, pairs: list[tuple[int, float, float]]) -> dict[str, object]:
    found = paired_interval([a for _, a, _ in pairs], [b for _, _, b in pairs])
    return {"kind": kind, "name": name, "num_pairs": found.num, "difference": found.mean, "low": found.low,
            "high": found.high, "random": sum(a for _, a, _ in pairs) / len(pairs) if pairs else None}
