"""The effect of decisions on the Compare page: in words first, then every figure with its interval.

Figures come from curation.experiments.effects; this module words them and draws the tables. Sentences hold names of
the data: escape them where they are shown.
"""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from curation.experiments import effects
from curation.experiments.effects import Experiment
from curation.jobs.request import method_of, warm_start_of
from curation.project import Project
from curation.views.compare.more_seeds import offer_seeds
from curation.views.widgets import state
from curation.views.widgets.accuracy import NOTHING_HELD_OUT, accuracy_name, facts_of
from curation.views.widgets.layout import table_height
from curation.words import counted, signed
from engine.contract.run_dir import RunDir
from engine.contract.stamps import Stamp, stamp_of

SPLITS = {"test": "test accuracy", "clean": "clean accuracy"}
KINDS = {"label": "class", "group": "group"}
MAX_NAMED = 6


def experiment_of(project: Project, a: RunDir, b: RunDir) -> tuple[Experiment, pd.DataFrame] | None:
    """The experiment of two runs with its effects; None where they are none. Kept until a run of the project ends."""
    runs = project.runs()
    files = [path for run in runs for path in (run.path / "config.json", run.path / "predictions.parquet")]
    return _found(str(project.path), a.name, b.name, stamp_of(*files), project, a, b)


@st.cache_resource(max_entries=8, show_spinner="Reading the predictions of every pair ...")
def _found(path: str, name_a: str, name_b: str, stamp: Stamp, _project: Project, _a: RunDir, _b: RunDir
           ) -> tuple[Experiment, pd.DataFrame] | None:
    found = effects.experiment_of(_a, _b, _project.runs())
    return None if found is None else (found, effects.effects(found.pairs))


def show_effect(project: Project, a: RunDir, b: RunDir) -> bool:
    """Draw the effect of what A and B were decided differently; False where they are no experiment."""
    found = experiment_of(project, a, b)
    if found is None:
        return False
    experiment, table = found
    with st.container(border=True):
        st.caption(state.plain(_sides_words(experiment)))
        names = {split: accuracy_name(project, split) for split in SPLITS}
        said = answers(experiment, table, names) if facts_of(project).can_measure else [
            Answer("No effect can be measured here.", NOTHING_HELD_OUT, False)]
        for i, answer in enumerate(said):
            what, details = state.plain(answer.what), state.plain(answer.details)
            st.markdown(f"#### {what}\n{details}" if i == 0 else
                        f"- **{what}** {details}" if answer.is_clear else f"- {what} {details}")
        st.caption(_basis(experiment))
        if facts_of(project).can_measure and not (len(table) and _is_clear(table[table["kind"] == "all"]).all()):
            offer_seeds(project, a, b)
        if len(table):
            with st.expander("Every figure with its interval"):
                _figures(table)
    return True


@dataclass(frozen=True, slots=True)
class Answer:
    """A sentence on one figure. Figures of a change stand in `what`, which is emphasised, where it is clear alone."""

    what: str
    details: str
    is_clear: bool


def answers(experiment: Experiment, table: pd.DataFrame, names: Mapping[str, str] = SPLITS) -> list[Answer]:
    """Test accuracy first, then clean, the worst group or class, and classes that moved. names: of each split's."""
    sides = _sides(experiment)
    if table.empty:
        return [Answer("No effect can be told yet.", "Both runs of a pair must have ended, and have predicted test or "
                       "clean samples that neither was trained or validated on.", False)]
    found: list[Answer] = []
    if is_fixed(experiment):
        rows = table[table["kind"] == "all"].sort_values("split", ascending=False)
        return [_fixed_answer(row, sides, names[row["split"]]) for row in rows.to_dict("records")]
    for split in (name for name in SPLITS if name in set(table["split"])):
        rows = table[table["split"] == split]
        for row in rows[rows["kind"] == "all"].to_dict("records"):
            subject = sides if not found else "It"
            found.append(_answer(row, f"{subject} changes {names[split]}",
                                 f"{subject} shows no clear effect on {names[split]}"))
        for row in rows[rows["kind"] == "worst"].to_dict("records"):
            what = KINDS[str(row["name"])]
            found.append(_answer(row, f"The worst {what} on {split} changes",
                                 f"The worst {what} on {split} shows no clear change"))
        moved = _moved(rows)
        if moved:
            found.append(Answer("Clear of chance, one by one:", moved, True))
    return found


def is_fixed(experiment: Experiment) -> bool:
    """Whether the runs' method predicts the same whatever the seed."""
    runs = [run for _, *pair in experiment.pairs for run in pair]
    return bool(runs) and not any(method_of(run).is_trained for run in runs)


def _fixed_answer(row: dict[Hashable, Any], sides: str, name: str) -> Answer:
    """Of a method whose predictions no seed changes: what differs is the decisions' doing, on these samples."""
    return Answer(f"{sides} changes {name} by {points(row['difference'])} points, {row['mean_a']:.1%} to "
                  f"{row['mean_b']:.1%}.",
                  f"This method is not trained: every seed gives the same, so the difference is due to the decisions. "
                  f"It is of {counted(int(row['num_samples']), 'sample')} and has no interval: on other samples, or in "
                  "a training, it may be another.", False)


def _answer(row: dict[Hashable, Any], clear: str, unclear: str) -> Answer:
    """clear, unclear: what to say where the interval leaves out 0, and where it does not."""
    change = f"{points(row['difference'])} points, {row['mean_a']:.1%} to {row['mean_b']:.1%}."
    if _is_clear(row):
        return Answer(f"{clear}: {change}", how_sure(row), True)
    return Answer(f"{unclear}.", f"{change} {how_sure(row)}", False)


def _sides_words(experiment: Experiment) -> str:
    """Which runs stand behind the figures: repeats of the two that are chosen."""
    if len(experiment.pairs) < 2:
        return "The effect, from the one pair of runs with the same seed:"
    a = ", ".join(run.name for _, run, _ in experiment.pairs)
    b = ", ".join(run.name for _, _, run in experiment.pairs)
    return (f"The effect over {len(experiment.pairs)} seeds: A is {a}; B is {b}. The runs chosen above are one pair of "
            "these.")


def how_sure(row: dict[Hashable, Any]) -> str:
    """The interval in words, or that there is none."""
    num = int(row["num_pairs"])
    if num < 2 or np.isnan(row["low"]):
        return ("One seed, so no interval: another seed alone can move it by a point or more. This is no evidence "
                "yet.")
    if row["low"] <= 0 <= row["high"]:
        verdict = "chance alone may explain it" + ("; two seeds tell little" if num == 2 else "")
    elif _is_clear(row):
        verdict = "more than chance explains"
    else:
        verdict = (f"no verdict, since the seeds agree to within one of {int(row['num_samples']):,} samples, which may "
                   "be luck")
    low, high = max(row["low"], -1.0), min(row["high"], 1.0)  # no share changes by more than all of it
    return f"95% interval {points(low)} to {points(high)} over {num} seeds: {verdict}."


def _is_clear(rows: Any) -> Any:
    """Whether an interval leaves out 0 and is to be believed: of rows or one row of effects. On few samples differences
    come in steps, and seeds that happen to agree on one make an interval of no width."""
    return ((rows["low"] > 0) | (rows["high"] < 0)) & (rows["high"] - rows["low"] >= 1 / rows["num_samples"])


def points(value: float) -> str:
    return signed(value * 100)


def _sides(experiment: Experiment) -> str:
    """What B has over A, as the subject of a sentence."""
    before, after = experiment.num_decided
    doing = "Fitting" if is_fixed(experiment) else "Training"  # a method in closed form is not trained
    if not before:
        return f"{doing} under the decisions on {counted(after, 'sample')}, rather than under none,"
    if not after:
        return f"{doing} under no decisions, rather than under those on {counted(before, 'sample')},"
    return f"{doing} under B's decisions ({after:,} samples), rather than under A's ({before:,}),"


def _moved(rows: pd.DataFrame) -> str:
    """Classes and groups that moved by more than chance explains, those that moved most first."""
    rows = rows[rows["kind"].isin(list(KINDS)) & _is_clear(rows)]
    rows = rows.iloc[(-rows["difference"].abs()).argsort(kind="stable")]
    told = [f"{KINDS[row['kind']]} {row['name']} {points(row['difference'])} ({points(row['low'])} to "
            f"{points(row['high'])})" for row in rows.head(MAX_NAMED).to_dict("records")]
    more = f"; {len(rows) - MAX_NAMED} more below" if len(rows) > MAX_NAMED else ""
    return "; ".join(told) + more + ". Of many classes one in twenty would do so by chance." if told else ""


def _basis(experiment: Experiment) -> str:
    """What the figures rest on."""
    seeds = ", ".join(str(seed) for seed in experiment.seeds) or "none yet"
    return (f"B minus A, over pairs of runs with the same seed (seeds {seeds}), on samples of the test and clean "
            "splits that no run trained on or used for validation and that no decision is about. Sets that a person or "
            "the splitter chose are shown apart, below.")


def _figures(table: pd.DataFrame) -> None:
    percent = {name: st.column_config.NumberColumn(title, format="percent") for name, title in
               (("mean_a", "A"), ("mean_b", "B"))}
    number = {name: st.column_config.NumberColumn(title, format="%+.1f") for name, title in
              (("difference", "points"), ("low", "from"), ("high", "to"))}
    order = {"all": 0, "worst": 1, "group": 2, "label": 3}
    rows = table.assign(rank=table["kind"].map(order)).sort_values(["split", "rank", "difference"],
                                                                   ascending=[False, True, True], kind="stable")
    words = {"all": "accuracy", "worst": "worst", **KINDS}
    names = rows["name"].mask(rows["kind"] == "all", "").mask(rows["kind"] == "worst", rows["name"].map(KINDS))
    shown = rows.assign(kind=rows["kind"].map(words), name=names,
                        **{name: (rows[name] * 100).round(2) for name in number})
    columns = ["split", "kind", "name", "num_samples", "mean_a", "mean_b", "difference", "low", "high", "num_pairs"]
    st.dataframe(shown[columns], hide_index=True, height=table_height(len(shown)), placeholder="", column_config={
        **percent, **number, "kind": "figure", "name": "of", "num_samples": "samples", "num_pairs": "pairs"})
    st.caption("From and to: the 95% t interval of the mean difference over seeds, in points. It is not corrected for "
               "the number of figures.")


def show_curated(a: RunDir, b: RunDir) -> None:
    """Sets that somebody chose, apart from every figure of quality."""
    table = effects.curated_figures(a, b)
    table = table[(table["num_a"] > 0) | (table["num_b"] > 0)]
    if table.empty:
        st.caption("Neither run has samples in validation, routed or pinned.")
        return
    st.warning("People or the splitter chose these sets, for each run anew. Their figures say how they were chosen, "
               "not which run is better.", icon=":material/filter_alt:")
    percent = {f"share_{side}": st.column_config.NumberColumn(f"{side.upper()} predicted right", format="percent")
               for side in "ab"}
    shown = table.assign(name=table["name"].str.capitalize())
    st.dataframe(shown[["name", "num_a", "share_a", "num_b", "share_b"]], hide_index=True, width="content",
                 placeholder="", column_config={"name": "set", "num_a": "A samples", "num_b": "B samples", **percent})


def title_of(run: RunDir) -> str:
    """A run's name in a list; a preview says that it is one."""
    source = warm_start_of(run)
    return run.name if source is None else f"{run.name} (preview of {source})"
