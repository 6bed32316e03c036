"""What a study found, in sentences and tables for the Study page. Figures come from
engine.contract.studies.study_summary.

Draws nothing.
"""

import io
import json
from collections.abc import Hashable
from pathlib import PurePath
from typing import Any

import pandas as pd
import streamlit as st

from curation.samples.csv_cells import write_csv
from curation.studies.page import settings_text
from curation.terms import define
from curation.views.runs.run_table import WRONG_HELP
from curation.words import counted, signed
from engine.contract.config import RunConfig
from engine.contract.methods import METHODS
from engine.contract.settings import Settings
from engine.contract.studies.study_plan import Arm, StudyPlan
from engine.contract.studies.study_summary import FIGURES

FIGURE_WORDS = {"test_accuracy": "test accuracy", "balanced_accuracy": "balanced accuracy",
                "worst_class_accuracy": "worst class", "worst_group_accuracy": "worst group"}
FIGURE_HELP = {
    "test_accuracy": "Share of test samples predicted right.",
    "balanced_accuracy": "The mean of each class's recall, so that small classes count as much as large ones.",
    "worst_class_accuracy": "Accuracy on the class that a run does worst on.",
    "worst_group_accuracy": "Accuracy on the group that a run does worst on, among those with five test samples or "
                            "more.",
}
_number = st.column_config.NumberColumn
SUMMARY_COLUMNS = {
    "arm": st.column_config.TextColumn("Arm", pinned=True, width=140),
    "mean": _number("Mean", format="%.1f%%", width=72),
    "difference": _number("Diff.", format="%+.1f", width=64,
                          help="Arm minus reference in points, mean over the seeds that both have."),
    "interval": st.column_config.TextColumn(
        "95% interval", width=130,
        help="Of that difference: the paired t interval over seeds. It is not corrected for the number of arms."),
    "verdict": st.column_config.TextColumn(
        "Verdict", width=84, help="Ahead or behind: the interval lies on one side of 0. Unclear: it includes 0, so the "
                            "two may be alike, or too few seeds were trained to tell."),
    "runs": _number("Runs", format="%d", width=56, help="Finished runs, one a seed."),
    "sd": _number("SD", format="%.1f", width=56, help="Standard deviation over seeds, in points."),
    "time": _number("Time", format="%.2f\u00d7", width=64, help="Training time relative to the reference's, over the "
                    "seeds that both have. A first, cross-fitted training counts as well."),
    "sample": _number("Effective share", format="%.2f", width=112, help=define("effective sample size")),
    "wrong": _number("Wrong in val.", format="%.0f%%", width=98, help=WRONG_HELP),
    "right_weight": _number("Weight, right", format="%.2f", width=96,
                            help=define("weight", after="Mean of right labels, where the truth is known.")),
    "wrong_weight": _number("Weight, wrong", format="%.2f", width=100,
                            help=define("weight", after="Mean of wrong labels, where the truth is known.")),
    "auroc": _number("AUROC", format="%.2f", width=72, help=define(
        "label quality", after="How well label quality tells wrong labels from right ones: 0.5 is chance, 1 perfect.")),
}
ROW_COLUMNS = {
    "arm": st.column_config.TextColumn("arm", pinned=True),
    **{name: _number(words, format="%.1f%%") for name, words in FIGURE_WORDS.items()},
    "worst_group": st.column_config.TextColumn("name of the worst group"), "seconds": _number("seconds", format="%.1f"),
    "ranking_seconds": _number("ranking (s)", format="%.1f"), "code_revision": st.column_config.TextColumn("code"),
}
FAILED_COLUMNS = {"arm": st.column_config.TextColumn(width="small"), "seed": _number(format="%d", width="small"),
                  "error": st.column_config.TextColumn(width="large")}
ARMS_COLUMNS = {"arm": st.column_config.TextColumn("Arm", pinned=True, width=150),
                "method": st.column_config.TextColumn("Method", width=180),
                "own_settings": st.column_config.TextColumn("Settings beyond the method's own", width=480),
                "decisions": st.column_config.TextColumn("Decisions", help="Instead of the project's.")}
MARGIN_COLUMNS = {"arm": st.column_config.TextColumn("Arm", pinned=True, width=150),
                  "hard": st.column_config.TextColumn("Hard samples", width=180),
                  "easy": st.column_config.TextColumn("Easy samples", width=180)}
WORTH_COLUMNS = {
    "of": st.column_config.TextColumn("Of", pinned=True, width=180),
    "random": _number("Random", format="%.1f%%", width=80, help="The random split's accuracy, mean over seeds."),
    "difference": _number("Diff.", format="%+.1f", width=64, help="Learned split minus random split, in points."),
    "interval": st.column_config.TextColumn("95% interval", width=130, help="Of that difference over seeds. By chance, "
                                            "about one in twenty excludes 0.")}
WORTH_HELP = "Both arms learn weights on their validation samples. In the learned split's arm samples rest by turns, " \
    "and what is predicted of them, or by features before it begins, tells the reweighter and judges how far weights " \
    "act; the other arm has none of it."
assert set(FIGURE_WORDS) == set(FIGURES) == set(FIGURE_HELP), "words for every figure"


def arm_titles(plan: StudyPlan) -> dict[str, str]:
    """arm -> what the page calls it: the method's own short title where the arm is that method and nothing else."""
    titles = {}
    for arm in plan.arms:
        is_plain = arm.settings == {"method": arm.name} and arm.name in METHODS
        titles[arm.name] = METHODS[arm.name].title.partition(" (")[0] if is_plain else arm.name
    values = list(titles.values())
    return {name: title if values.count(title) == 1 else name for name, title in titles.items()}


# -- sentences


def answers(table: pd.DataFrame, reference: str) -> list[tuple[str, str]]:
    """(what is found, how sure it is) for each arm but the reference, in plain text.

    table: engine.contract.studies.study_summary.summary, arms by the names to be shown.
    """
    return [_answer(line, reference) for line in table.to_dict("records") if line["arm"] != reference]


def _answer(line: dict[Hashable, Any], reference: str) -> tuple[str, str]:
    arm, verdict, seeds = line["arm"], line["verdict"], f"{line['num_pairs']} seeds"
    if verdict == "no pairs":
        return f"{arm} cannot be compared with {reference} yet:", "no seed has a finished run of both."
    points, low, high = (100 * line[name] for name in ("difference", "low", "high"))
    if verdict == "one seed":
        where = "above" if points > 0 else "below" if points < 0 else "from"
        return (f"{arm} is {abs(points):.1f} points {where} {reference} on one seed,",
                "which is no evidence: one seed has no interval, and another alone can move this by a point or more.")
    if verdict == "tie":
        return (f"{arm} and {reference} cannot be told apart:", f"{signed(points)} points (95% interval {signed(low)} "
                f"to {signed(high)}, {seeds}); "
                + ("two seeds are too few to tell." if line["num_pairs"] == 2 else "chance alone may explain it."))
    small, large = sorted((abs(low), abs(high)))
    which = "ahead of" if verdict == "ahead" else "behind"
    return (f"{arm} is {which} {reference} by {abs(points):.1f} points",
            f"(95% interval {small:.1f} to {large:.1f}, {seeds}).")


def leader(table: pd.DataFrame, against_next: pd.DataFrame, reference: str, figure: str) -> tuple[str, str] | None:
    """(which arm is the best, if one is clear of the next, and how sure that is), in plain text; None for fewer than
    three arms, of which `answers` says it all.

    table: as for `answers`; against_next: study_charts.against_next of it.
    """
    if against_next.empty:
        return None
    first, num_runs = against_next.iloc[0], int(table["n"].max())
    num_arms = int((table["n"] == num_runs).sum())
    words = FIGURE_WORDS[figure] + " accuracy" * ("accuracy" not in FIGURE_WORDS[figure])
    highest = (f"{first['arm']} has the highest {words}, {100 * first['mean']:.1f}%, of the {num_arms} "
               f"arms shown that have {counted(num_runs, 'run')}.")
    following = str(against_next.iloc[1]["arm"])
    next_to_it = f"{following} is next, see below." if reference in (first["arm"], following) else \
        f"Against the next: {' '.join(_answer(first.to_dict(), following))}"
    if first["verdict"] == "ahead":
        return highest, next_to_it
    return "No arm is clearly the best.", f"{highest} {next_to_it}"


def warnings(table: pd.DataFrame, is_tuned_here: bool | None) -> str:
    """What to hold against the sentences of `leader` and `answers`; "" where nothing is."""
    num = int(table["difference"].notna().sum())
    lines = []
    if num > 1:
        lines.append(f"These are {num} comparisons and their intervals are not corrected for that: by chance some may "
                     "look clear, and the best of many looks better than it is.")
    if is_tuned_here:
        lines.append("Settings were chosen on this project, which flatters the arm they were chosen for.")
    return " ".join(lines)


def worth_words(table: pd.DataFrame, learned: str, random: str) -> tuple[str, str]:
    """(what the splitter is worth, how sure that is), in plain text. table: splitter_worth; learned, random: the arms'
    names to be shown."""
    whole = table[table["kind"] == "all"]
    if whole.empty:
        return ("What the splitter is worth is not known yet:",
                f"no seed has a finished run of both {learned} and {random}.")
    line = whole.iloc[0]
    points, seeds = signed(100 * line["difference"]), counted(int(line["num_pairs"]), "seed")
    if pd.isna(line["low"]):
        return (f"Training with the splitter changes test accuracy by {points} points,",
                "on one seed, which is no evidence.")
    low, high = signed(100 * line["low"]), signed(100 * line["high"])
    is_clear = line["low"] > 0 or line["high"] < 0
    return (f"Training with the splitter changes test accuracy by {points} points",
            f"(95% interval {low} to {high}, {seeds}): {learned} beside {random}, whose split is drawn once at random."
            + ("" if is_clear else " Chance alone may explain it."))


# -- tables


def worth_frame(table: pd.DataFrame) -> pd.DataFrame:
    """splitter_worth by group and class for the page: shares in percent, differences in points."""
    part = table[table["kind"] != "all"]
    interval = [f"{signed(100 * low)} to {signed(100 * high)}" if pd.notna(low) else None
                for low, high in zip(part["low"], part["high"], strict=True)]
    return pd.DataFrame({"of": part["kind"] + " " + part["name"], "random": 100 * part["random"],
                         "difference": 100 * part["difference"], "interval": interval})


def arms_frame(plan: StudyPlan) -> pd.DataFrame:
    """What each arm is: its method and what it sets beside that; columns that say nothing left out."""
    titles = arm_titles(plan)
    lines = []
    for arm in plan.arms:
        own = {name: value for name, value in _own(arm).items() if name != "method"}
        method = str(arm.settings.get("method", RunConfig().method))
        lines.append({"arm": titles[arm.name], "method": METHODS[method].title if method in METHODS else method,
                      "own_settings": settings_text(own) or None,
                      "decisions": PurePath(arm.decisions).name if arm.decisions else None})
    return pd.DataFrame(lines).dropna(axis=1, how="all")


def margin_frame(bins: pd.DataFrame) -> pd.DataFrame:
    """Mean change of margin with its interval, of samples hard and easy for the reference; bins: margin_bins by
    HARD_EDGES."""
    text = [signed(mean, 2) + (f" ({signed(low, 2)} to {signed(high, 2)})" if pd.notna(low) else "")
            for mean, low, high in bins[["mean", "low", "high"]].itertuples(index=False)]
    side = bins["bin_low"].map(lambda low: "hard" if low < 0 else "easy")
    frame = bins.assign(text=text, side=side).pivot(index="arm", columns="side", values="text")
    return frame.reindex(index=bins["arm"].unique(), columns=["hard", "easy"]).rename_axis(columns=None).reset_index()


def summary_frame(table: pd.DataFrame) -> pd.DataFrame:
    """The summary for the page: shares in percent, differences in points, the interval as text; columns without any
    figure left out."""
    interval = [f"{signed(100 * low)} to {signed(100 * high)}" if pd.notna(low) and pd.notna(high) else None
                for low, high in zip(table["low"], table["high"], strict=True)]
    frame = pd.DataFrame({
        "arm": table["arm"], "mean": 100 * table["mean"], "difference": 100 * table["difference"],
        "interval": interval, "verdict": table["verdict"].replace("tie", "unclear"), "runs": table["n"],
        "sd": 100 * table["sd"], "time": table["relative_seconds"], "sample": table["effective_sample_frac"],
        "wrong": 100 * table["guard_wrong_share"], "right_weight": table["weight_right"],
        "wrong_weight": table["weight_wrong"], "auroc": table["label_quality_auroc"]})
    return frame.dropna(axis=1, how="all")


def rows_frame(rows: pd.DataFrame, common: Settings) -> pd.DataFrame:
    """One line a run: its figures in percent, its time and the settings that are not the defaults.

    common: the plan's settings for all arms; a row's own go over them.
    """
    found = pd.DataFrame({name: rows[name] for name in ("arm", "seed", "state")})
    for name in FIGURES:
        if name in rows:
            found[name] = 100 * pd.to_numeric(rows[name])
    for name in ("worst_group", "epochs", "seconds", "ranking_seconds", "device", "code_revision"):
        if name in rows:
            found[name] = rows[name]
    arms = [Arm.of_dict(values) for values in rows["settings"]]
    found["settings"] = [settings_text({**common, **_own(arm)}) for arm in arms]
    found["decisions"] = [arm.decisions or "the project's" for arm in arms]
    return found.dropna(axis=1, how="all")


def _own(arm: Arm) -> Settings:
    return {**arm.settings, **({} if arm.epochs_factor == 1.0 else {"epochs_factor": arm.epochs_factor})}


def rows_csv(rows: pd.DataFrame) -> bytes:
    """Every row with all that it holds, objects as JSON, as CSV that a spreadsheet cannot run."""
    text = rows.map(lambda value: json.dumps(value) if isinstance(value, (dict, list)) else value)
    target = io.StringIO()
    write_csv(text, target)
    return target.getvalue().encode("utf-8")
