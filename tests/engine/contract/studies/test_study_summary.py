"""What a study's rows say: intervals that scipy agrees with, pairs by seed, and what was not controlled, as values."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from engine.contract.studies.study_margins import margin_bins, margin_changes
from engine.contract.studies.study_plan import Arm, StudyPlan
from engine.contract.studies.study_summary import (
    NotControlled,
    curve_table,
    group_table,
    not_controlled,
    plain_table,
    summary,
    write_tables,
)
from tests.fake_studies import EVIL, document_of, row, rows_by_hand, study_by_hand


@pytest.fixture
def rows() -> pd.DataFrame:
    return rows_by_hand()


def test_the_summary_agrees_with_scipy(rows):
    table = summary(rows, "erm").set_index("arm")
    test = stats.ttest_rel([0.70, 0.73, 0.70], [0.60, 0.62, 0.61])
    interval = test.confidence_interval(0.95)
    better = table.loc["better"]
    assert better[["difference", "low", "high"]].tolist() == pytest.approx([0.10, interval.low, interval.high])
    assert (better["n"], better["num_pairs"], better["verdict"]) == (3, 3, "ahead")
    assert better["mean"] == pytest.approx(0.71) and better["sd"] == pytest.approx(np.sqrt(0.0003))
    assert table.loc["erm", "mean"] == pytest.approx(0.62) and table.loc["erm", "n"] == 4
    assert table.loc["erm", "verdict"] == "reference" and np.isnan(table.loc["erm", "difference"])
    assert better["effective_sample_frac"] == pytest.approx(0.6)
    assert better["relative_seconds"] == pytest.approx(4.0 / 2.0), "ranking counts"
    lone = table.loc["lone"]
    assert lone["difference"] == pytest.approx(-0.2) and np.isnan(lone["low"]) and lone["verdict"] == "one seed"


def test_the_sign_of_a_difference_is_arm_minus_reference(rows):
    table = summary(rows, "better").set_index("arm")
    assert table.loc["erm", "difference"] == pytest.approx(-0.10) and table.loc["erm", "verdict"] == "behind"


@pytest.mark.parametrize(("values", "expected"), [((0.5, 0.7, 0.6, 0.6), "tie"), ((0.1, 0.2, 0.1, 0.2), "behind")])
def test_verdicts_follow_the_interval(rows, values, expected):
    more = pd.concat([rows, pd.DataFrame([row("new", s, v + 0.02) for s, v in enumerate(values)])])
    assert summary(more, "erm").set_index("arm").loc["new", "verdict"] == expected


def test_figures_that_no_run_has_are_null(rows):
    table = summary(rows, "erm", "worst_group_accuracy")
    assert table["n"].tolist() == [0, 0, 0] and table["mean"].isna().all()
    assert table["verdict"].tolist() == ["reference", "no pairs", "no pairs"]
    assert summary(pd.DataFrame({"arm": [], "seed": [], "state": []}), "erm").empty


def test_margins_are_binned_by_the_references_other_seeds():
    margins = {"erm": {0: np.array([-0.5, 0.5, 0.5, 1.0]), 1: np.array([-0.6, -0.2, 0.7, 0.9])},
               "arm": {0: np.array([-0.1, 0.6, 0.4, 1.0]), 1: np.array([-0.4, 0.2, 0.7, 0.8]), 2: np.zeros(4)}}
    table = margin_bins(margins, "erm", np.array([-1.0, 0.0, 1.0]))
    # Seed 0 by seed 1's margins: low has changes 0.4, 0.1, high -0.1, 0.
    # Seed 1 by seed 0's: low 0.2, high 0.4, 0, -0.1.
    low, high = [0.25, 0.2], [-0.05, 0.1]
    assert table["mean"].tolist() == pytest.approx([np.mean(low), np.mean(high)])
    assert table["num_samples"].tolist() == [1.5, 2.5] and table["num_seeds"].tolist() == [2, 2]
    expected = stats.t.interval(0.95, 1, np.mean(low), stats.sem(low))
    assert table.loc[0, ["low", "high"]].tolist() == pytest.approx(list(expected))
    changes = margin_changes(margins, "erm")
    assert list(changes) == ["arm"] and changes["arm"] == pytest.approx([0.3, 0.25, -0.05, -0.05])


def test_one_seed_is_binned_by_itself_and_the_last_bin_holds_its_edge():
    margins = {"erm": {0: np.array([1.0, -1.0])}, "arm": {0: np.array([0.8, -0.7])}}
    table = margin_bins(margins, "erm", np.array([-1.0, 0.0, 1.0]))
    assert table["mean"].tolist() == pytest.approx([0.3, -0.2]) and table["low"].isna().all()


def test_a_second_run_of_the_reference_does_not_seem_to_lift_the_low_margins():
    """Binned by their own seed, samples that were low by chance would rise; here nothing changed but the noise."""
    rng = np.random.default_rng(0)
    truth = rng.uniform(-0.5, 0.5, 4000)
    noisy = {arm: {s: truth + rng.normal(0, 0.3, 4000) for s in range(4)} for arm in ("erm", "twin")}
    assert np.abs(margin_bins(noisy, "erm").query("num_samples > 100")["mean"]).max() < 0.06
    alone = {arm: {0: by_seed[0]} for arm, by_seed in noisy.items()}
    assert np.abs(margin_bins(alone, "erm").query("num_samples > 100")["mean"]).max() > 0.2


def test_curves_and_groups_are_means_over_seeds(rows):
    rows.at[4, "curve"] = {"churn": [None, 0.2]}
    curves = curve_table(rows).set_index(["arm", "figure", "epoch"])
    assert curves.loc[("better", "churn", 2), "mean"] == pytest.approx((0.2 + 0.5 + 0.5) / 3)
    assert ("better", "churn", 1) not in curves.index, "warm-up has no churn"
    groups = group_table(rows).set_index(["arm", "kind", "name"])
    assert groups.loc[("erm", "class", "cat"), "mean"] == 0.5 and (groups["num_seeds"] <= 4).all()


def test_the_tables_are_json_of_all_that_the_report_says(tmp_path: Path) -> None:
    study = study_by_hand(tmp_path)
    write_tables(study)
    tables = json.loads((study.path / "report.json").read_text())
    assert [line["arm"] for line in tables["summary"]["test_accuracy"]] == ["erm", "better", "lone"]
    assert tables["summary"]["test_accuracy"][2]["low"] is None
    assert tables["failed"] == [{"arm": "better", "seed": 3, "error": EVIL}]
    assert tables["not_controlled"]["networks"] == ["auto"] and tables["plan"]["seeds"] == [0, 1, 2, 3]
    assert plain_table(study).splitlines()[0].split()[:3] == ["arm", "n", "mean"]


def test_what_was_not_controlled_is_told_in_values(rows: pd.DataFrame) -> None:
    arms = (Arm(name="erm", settings={"network": "small"}), Arm(name="better", epochs_factor=2.0), Arm(name="lone"))
    document = document_of(StudyPlan(arms=arms, seeds=(0, 1, 2, 3), reference="erm", settings={"network": "tiny"}), "s")
    assert not_controlled(document, rows) == NotControlled(
        num_arms=3, num_seeds=4, num_planned=12, num_done=8, is_tuned_here=None, networks=("small", "tiny"),
        epochs_factors={"better": 2.0}, hardware="fake", code_revisions=("abc",), devices=("cpu",),
        has_uncommitted_code=False, is_clean_split_used=False, started_from={})
    other = row("lone", 1, 0.4, code_revision="def-dirty", device="cuda", config={"validation": "clean"})
    found = not_controlled(document, pd.concat([rows, pd.DataFrame([other])]))
    assert found.code_revisions == ("abc", "def-dirty") and found.devices == ("cpu", "cuda")
    assert found.has_uncommitted_code and found.is_clean_split_used and found.num_done == 9
    begun, head = {"splitter": {"features": "lite0"}}, {"features": "lite0", "splitter": {"features": "lite0"}}
    for config, expected in ((begun, {"lone": "lite0"}), ({"method": "erm", **begun}, {}), (head, {}), ({}, {})):
        lone = row("lone", 1, 0.4, config=config)
        assert not_controlled(document, pd.concat([rows, pd.DataFrame([lone])])).started_from == expected


def test_a_study_that_has_no_row_yet_leaves_all_runs_open() -> None:
    document = document_of(StudyPlan(arms=(Arm.of_method("erm"),), seeds=(0,), reference="erm"), "s")
    found = not_controlled(document, pd.DataFrame({"arm": [], "seed": [], "state": []}, dtype=object))
    assert (found.num_done, found.code_revisions, found.networks) == (0, (), ("auto",))
