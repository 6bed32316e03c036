"""The splitter's worth: which arms tell it, and the figure with scipy's interval."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from engine.contract.studies.splitter_worth import SplitArms, split_arms, splitter_worth
from engine.contract.studies.study_plan import Arm, StudyPlan
from tests.fake_studies import row

MOLERE, RANDOM = Arm.of_method("molere"), Arm.of_method("lrw_random")


def plan_of(*arms: Arm, **settings: object) -> StudyPlan:
    return StudyPlan(arms=arms, seeds=(0,), reference=arms[0].name, settings=settings)


@pytest.mark.parametrize(("arms", "expected"), [
    ((Arm.of_method("erm"), RANDOM, MOLERE), SplitArms("molere", "lrw_random")),
    ((Arm(name="mine"), RANDOM), SplitArms("mine", "lrw_random")),
    ((MOLERE, Arm(name="drawn", settings={"method": "molere", "validation": "random"})), SplitArms("molere", "drawn")),
    ((Arm(name="a", settings={"method": "molere", "val_fraction": 0.2}), MOLERE, RANDOM),
     SplitArms("molere", "lrw_random")),
    ((Arm(name="a", settings={"method": "molere", "val_fraction": 0.1, "guard": "off"}), RANDOM),
     SplitArms("a", "lrw_random")),
    ((MOLERE, Arm(name="other", settings={"method": "lrw_random", "val_fraction": 0.2})), None),
    ((MOLERE, Arm(name="other", settings={"method": "lrw_random", "nonsense": 1})), None),
    ((MOLERE, Arm(name="other", settings={"method": "lrw_random"}, decisions="none")), None),
    ((MOLERE, Arm(name="other", settings={"method": "lrw_random"}, epochs_factor=1.5)), None),
    ((MOLERE, Arm.of_method("erm")), None), ((MOLERE, Arm.of_method("lrw_easy")), None),
    ((MOLERE, Arm.of_method("meta_weight_net")), None)])
def test_arms_that_differ_in_their_split_alone(arms, expected):
    assert split_arms(plan_of(*arms, epochs=4)) == expected


def test_a_split_that_all_arms_take_is_no_difference():
    assert split_arms(plan_of(MOLERE, RANDOM, validation="clean")) is None


def test_the_difference_is_the_learned_split_minus_the_random_one():
    rows = pd.DataFrame([
        *(row("m", s, a, class_accuracies={"cat": a, "dog": 0.5}, group_accuracies={"x": a - 0.1})
          for s, a in enumerate((0.70, 0.73, 0.70))),
        *(row("r", s, a, class_accuracies={"cat": a, "dog": 0.5}, group_accuracies={"x": a - 0.3} if s else {})
          for s, a in enumerate((0.60, 0.62, 0.61, 0.65))),
        row("m", 3, None, state="failed", class_accuracies={}, group_accuracies={})])
    table = splitter_worth(rows, SplitArms("m", "r")).set_index(["kind", "name"])
    interval = stats.ttest_rel([0.70, 0.73, 0.70], [0.60, 0.62, 0.61]).confidence_interval(0.95)
    for key in (("all", "all"), ("class", "cat")):
        assert table.loc[key, ["difference", "low", "high"]].tolist() == pytest.approx(
            [0.10, interval.low, interval.high])
        assert table.loc[key, "random"] == pytest.approx(0.61) and table.loc[key, "num_pairs"] == 3
    assert table.loc[("class", "dog"), "difference"] == 0
    assert table.loc[("group", "x"), "num_pairs"] == 2, "a seed that has the group in both"
    assert table.loc[("group", "x"), "difference"] == pytest.approx((0.11 + 0.09) / 2 + 0.2)
    assert list(table.index) == [("all", "all"), ("group", "x"), ("class", "cat"), ("class", "dog")]


def test_without_a_pair_there_is_nothing_and_one_pair_has_no_interval():
    failed = pd.DataFrame([{"arm": "m", "seed": 0, "state": "failed"}])
    assert splitter_worth(failed, SplitArms("m", "r")).empty, "rows of failures have no figures at all"
    rows = pd.DataFrame([row("m", 0, 0.5), row("r", 1, 0.4)])
    assert splitter_worth(rows, SplitArms("m", "r")).empty
    table = splitter_worth(pd.concat([rows, pd.DataFrame([row("r", 0, 0.4)])]), SplitArms("m", "r"))
    assert table["difference"].iloc[0] == pytest.approx(0.1) and np.isnan(table["low"].iloc[0])
