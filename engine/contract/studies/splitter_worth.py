"""What routing by the splitter is worth: an arm with a learned split beside one with a fixed random split.

All settings of the two are alike. Samples of the learned split's arm rest by turns besides: their predictions tell the
reweighter and judge how far its weights act; where there are features, its training starts from them. Reads rows;
imports no torch.
"""

from typing import NamedTuple

import pandas as pd

from engine.contract.methods import REWEIGHTED
from engine.contract.settings import ConfigError
from engine.contract.statistics.intervals import paired_interval
from engine.contract.studies.study_plan import Arm, StudyError, StudyPlan, config_of
from engine.contract.studies.study_summary import finished, paired

OF_SPLITS = ("method", "validation", "guard", "guard_largest", "rotation_groups", "splitter")
"""Settings that say how samples are split, or that a random split ignores."""
COLUMNS = ("kind", "name", "num_pairs", "random", "difference", "low", "high")


class SplitArms(NamedTuple):
    """Two arms of a plan, by their names."""

    learned: str
    random: str


def split_arms(plan: StudyPlan) -> SplitArms | None:
    """The first two arms that differ in nothing but whether their split is learned or drawn once at random, and learn
    weights on it; None where there are none."""
    ways = [(arm.name, _split_and_rest(plan, arm)) for arm in plan.arms]
    return next((SplitArms(one, other) for one, (split, rest) in ways for other, (other_split, other_rest) in ways
                 if (split, other_split) == ("learned", "random") and rest == other_rest), None)


def _split_and_rest(plan: StudyPlan, arm: Arm) -> tuple[str | None, dict[str, object]]:
    """Where the validation samples of an arm come from, None unless it learns weights on them, and all else of it."""
    try:
        config = config_of(arm, plan.settings, 0).spelled_out()
    except (ConfigError, StudyError):  # of a plan that older code made
        return None, {}
    if config.weight_source not in REWEIGHTED:
        return None, {}
    rest = {name: value for name, value in config.to_dict().items() if name not in OF_SPLITS}
    return config.validation_source, rest | {"weights": config.weight_source, "decisions": arm.decisions}


def splitter_worth(rows: pd.DataFrame, arms: SplitArms) -> pd.DataFrame:
    """Test accuracy of the learned split minus the random one's, paired by seed: COLUMNS, a row for all samples, then
    one a group and one a class.

    kind: all, group or class. random: mean of the random split's arm. low, high: 95% t interval over seeds, null below
    two pairs.
    """
    done = finished(rows)
    lines = [_line("all", "all", paired(rows, arms.random, arms.learned, "test_accuracy"))]
    for kind in ("group", "class") if len(done) else ():
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
