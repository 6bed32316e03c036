"""A study's report: intervals that scipy agrees with, pairs by seed, names that cannot become markup."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from curation.studies import figures
from curation.studies.page import html_table, report_figures, write_report
from engine.contract.study_dir import Arm, StudyDir
from engine.contract.study_margins import margin_bins, margin_changes
from engine.contract.study_plan import not_controlled
from engine.contract.study_summary import cautions, curve_table, group_table, plain_table, summary, write_tables

EVIL = "</script><img src=x onerror=alert(1)>"


def row(arm: str, seed: int, accuracy: float | None, **more) -> dict:
    base = {"arm": arm, "seed": seed, "state": "done", "error": None, "test_accuracy": accuracy, "seconds": 2.0,
            "ranking_seconds": 0.0, "code_revision": "abc", "device": "cpu", "config": {"validation": None},
            "class_accuracies": {"cat": 0.5, EVIL: 0.25}, "group_accuracies": {},
            "curve": {"churn": [None, 0.5], "validation_loss": [None, 1.0], "rest_loss": [1.0, None]}}
    return base | more


@pytest.fixture
def rows() -> pd.DataFrame:
    erm = [row("erm", s, a) for s, a in enumerate((0.60, 0.62, 0.61, 0.65))]
    better = [row("better", s, a, seconds=3.0, ranking_seconds=1.0, effective_sample_size=0.5 + s / 10)
              for s, a in enumerate((0.70, 0.73, 0.70))]
    failed = [row("better", 3, None, state="failed", error="boom"), row("lone", 0, 0.4)]
    return pd.DataFrame([*erm, *better, *failed])


@pytest.fixture
def study(tmp_path: Path, rows: pd.DataFrame) -> StudyDir:
    """A study directory of those rows, with margins; an error in it is markup."""
    study = StudyDir.of(tmp_path, "made")
    plan = {"name": "made", "project": EVIL, "arms": [Arm(name=n, settings={"method": "erm"}).to_dict()
                                                      for n in ("erm", "better", "lone")],
            "seeds": [0, 1, 2, 3], "settings": {}, "reference": "erm", "versions": {"torch": "0"},
            "code_revision": "abc", "hardware": EVIL, "manifest_digest": "d", "is_tuned_here": True}
    study.write_plan({**plan, "not_controlled": not_controlled(plan)})
    for line in rows.to_dict("records"):
        error = EVIL if line["state"] == "failed" else None
        study.write_row({**line, "error": error}, np.linspace(-0.9, 0.9, 20) + 0.01 * line["seed"])
    return study


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
    assert better["effective_sample_size"] == pytest.approx(0.6)
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


def test_the_page_holds_everything_and_no_markup_of_the_data(study):
    path = write_report(study)
    write_tables(study)
    page = path.read_text()
    assert EVIL not in page and "&lt;/script&gt;&lt;img src=x onerror=alert(1)&gt;" in page
    assert "<img" not in page.split("<h2>Figures</h2>")[0]
    assert page.count("plotly.js v") == 1 and "cdn.plot.ly" not in page.replace("https://cdn.plot.ly/un", "")
    tables = json.loads((study.path / "report.json").read_text())
    assert [line["arm"] for line in tables["summary"]["test_accuracy"]] == ["erm", "better", "lone"]
    assert tables["summary"]["test_accuracy"][2]["low"] is None
    assert tables["failed"] == [{"arm": "better", "seed": 3, "error": EVIL}]
    assert set(report_figures(study)) == {"difference_test_accuracy", "margin_histogram", "margin_bins", "splitter",
                                          "classes"}
    assert plain_table(study).splitlines()[0].split()[:3] == ["arm", "n", "mean"]


def test_the_figure_of_differences_draws_the_table(study):
    figure = report_figures(study)["difference_test_accuracy"]
    mean, dots = figure.data[0], figure.data[1]
    assert mean.y[0] == "better" and mean.x[0] == pytest.approx(0.10)
    assert mean.x[0] + mean.error_x.array[0] == pytest.approx(summary(study.read_rows(), "erm").loc[1, "high"])
    assert list(dots.x) == pytest.approx([0.10, 0.11, 0.09])


def test_what_was_not_controlled_is_told(study, rows):
    plan = study.read_plan()
    lines = "\n".join(cautions(plan, rows))
    assert "Settings were chosen on this project" in lines and "4 seeds" in lines
    assert "4 of 12 planned runs failed or have not ended" in lines
    mixed = pd.concat([rows, pd.DataFrame([row("lone", 1, 0.4, code_revision="def-dirty", device="cuda")])])
    lines = "\n".join(cautions(plan, mixed))
    assert "several code revisions: abc, def-dirty" in lines and "several devices: cpu, cuda" in lines
    assert "changes that no revision holds" in lines


def test_a_table_escapes_heads_and_cells():
    text = html_table(pd.DataFrame({"<b>": ["<i>", None], "n": [0.5, np.nan]}))
    assert "&lt;b&gt;" in text and "&lt;i&gt;" in text and "<td></td><td></td>" in text and "0.5000" in text


def test_the_histogram_puts_every_change_where_it_is():
    values = np.asarray([-1.99, -0.01, 0.01, 1.51, 1.99])
    (line,) = figures.change_histogram({"a": values}, "erm", {"a": "#000000"}).data
    found = {round(x, 3): y for x, y in zip(line.x, line.y, strict=True) if y}
    assert found == {-1.975: 0.2, -0.025: 0.2, 0.025: 0.2, 1.525: 0.2, 1.975: 0.2}, "a margin may change by up to 2"
