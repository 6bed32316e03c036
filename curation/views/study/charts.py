"""A study as the Study page shows it: its tables and figures, made once for as long as no file of it changes.

Figures are curation.studies.figures', in the page's own dress. Starts nothing and draws nothing.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from curation.studies import figures
from curation.studies.cautions import cautions
from curation.views.study.answer import FIGURE_WORDS, arm_titles
from curation.views.widgets.palette import PAPER
from engine.contract.stamps import Stamp, stamp_of
from engine.contract.studies.study_dir import StudyDir, StudyDocument
from engine.contract.studies.study_margins import margin_bins, margin_changes, read_all_margins
from engine.contract.studies.study_summary import (
    FIGURES,
    curve_table,
    finished,
    group_table,
    not_controlled,
    paired,
    summary,
    values_by_seed,
)

MAX_BARS = 20
MAX_ARMS = 12
"""So many arms are shown unless one asks for others: more make no readable chart."""
MAX_LINES = 5
"""So many arms beside the reference stand in charts with a line or a bar each: those of the highest test accuracy."""
HARD_EDGES = np.array([-1.0, 0.0, 1.0])
"""Margins of samples that the reference predicts wrong, and right."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Shown:
    """All that the page shows of a study. Shared by all sessions: read-only."""

    document: StudyDocument
    rows: pd.DataFrame
    """StudyDir.read_rows: of every arm, shown or not."""
    arms: tuple[str, ...]
    """Names of those shown."""
    reference_name: str
    """The plan's unless another was asked for."""
    reference: str
    """The same by its title, as in `charts`."""
    titles: dict[str, str]
    figures: list[str]
    """Those of engine.contract.studies.study_summary.FIGURES that any finished run has."""
    charts: dict[str, go.Figure]
    """margin_bins, margin_histogram, splitter, group and class, as far as the rows give them."""
    margins: pd.DataFrame
    """study_margins.margin_bins by HARD_EDGES, of the arms in `charts`."""
    num_names: dict[str, int]
    """Groups and classes there are; charts of more than MAX_BARS show those with the lowest accuracy."""
    cautions: list[str]
    num_hidden: int
    """Arms shown that `charts` leave out, having MAX_LINES without them."""


def stamp_of_study(study: StudyDir) -> Stamp:
    """Of every file that the page's tables come from."""
    return stamp_of(study.path / "study.json", *sorted((study.path / "rows").glob("*.json")))


def rows_of(study: StudyDir, stamp: Stamp) -> pd.DataFrame:
    """StudyDir.read_rows as of `stamp`. Read-only. Raises StudyError if a file is damaged."""
    return _rows(str(study.path), stamp, study)


@st.cache_resource(max_entries=4, show_spinner="Reading the study ...")
def _rows(path: str, stamp: Stamp, _study: StudyDir) -> pd.DataFrame:
    return _study.read_rows()


def shown(study: StudyDir, stamp: Stamp, arms: tuple[str, ...], reference: str) -> Shown:
    """The study as of `stamp`: these arms beside `reference`, all by their names. Raises StudyError if one of its files
    is damaged."""
    return _shown(str(study.path), stamp, arms, reference, study)


@st.cache_resource(max_entries=8, show_spinner="Reading the study ...")
def _shown(path: str, stamp: Stamp, arms: tuple[str, ...], reference: str, _study: StudyDir) -> Shown:
    document, all_rows = _study.read_document(), rows_of(_study, stamp)
    titles = arm_titles(document.plan)
    own_rows = all_rows[all_rows["arm"].isin({*arms, reference})]
    rows, name, reference = own_rows.assign(arm=own_rows["arm"].map(titles)), reference, titles[reference]
    colors = figures.arm_colors(list(titles.values()), reference)
    done = finished(rows)
    drawn = {reference, *_highest(rows, [titles[arm] for arm in arms if titles[arm] != reference])}
    charts: dict[str, go.Figure] = {}
    margins = {titles[arm]: by_seed
               for arm, by_seed in read_all_margins(_study, own_rows[rows["arm"].isin(drawn)]).items()}
    changes = margin_changes(margins, reference)
    if changes:
        charts["margin_bins"] = _dress(
            figures.margin_bins_figure(margin_bins(margins, reference), reference, colors)).update_yaxes(
            minallowed=-2, maxallowed=2)  # no margin changes by more; intervals over two seeds reach far beyond
        charts["margin_histogram"] = _dress(figures.change_histogram(changes, reference, colors)).update_xaxes(
            range=[-2, 2])
    done = done[done["arm"].isin(drawn)]
    curves = curve_table(done) if len(done) else pd.DataFrame({"figure": [], "mean": []})
    if (curves.loc[curves["figure"] == "churn", "mean"] > 0).any():
        moving = _of_splitters(curves)
        charts["splitter"] = _dress(figures.splitter_figure(moving, colors), height=420).update_xaxes(
            dtick=max(1, round(moving["epoch"].max() / 12))).update_yaxes(rangemode="tozero")
    num_names = {}
    groups = group_table(done) if len(done) else pd.DataFrame({"kind": []})
    for kind in ("group", "class"):
        part = groups[groups["kind"] == kind]
        if len(part):
            num_names[kind] = part["name"].nunique()
            charts[kind] = _dress(figures.groups_figure(_worst(part), kind, colors), height=300).update_yaxes(
                tickformat=".0%", hoverformat=".1%").update_layout(bargap=0.25)
    return Shown(document=document, rows=all_rows, arms=arms, reference_name=name, reference=reference, titles=titles,
                 charts=charts, margins=margin_bins(margins, reference, HARD_EDGES), num_names=num_names,
                 cautions=cautions(not_controlled(document, all_rows)),
                 figures=[f for f in FIGURES if f in rows and finished(rows)[f].notna().any()],
                 num_hidden=len({*rows["arm"]} - drawn))


def _highest(rows: pd.DataFrame, arms: list[str]) -> list[str]:
    """The MAX_LINES of these arms with the highest mean test accuracy."""
    means = {arm: np.mean(list(values_by_seed(rows, arm, FIGURES[0]).values()) or [-1.0]) for arm in arms}
    return sorted(arms, key=lambda arm: -means[arm])[:MAX_LINES]


def answer(study: StudyDir, stamp: Stamp, arms: tuple[str, ...], reference: str,
           figure: str) -> tuple[pd.DataFrame, pd.DataFrame, go.Figure | None]:
    """engine.contract.studies.study_summary.summary by titles, `against_next` of it, and its chart in points; None
    where no difference is known. Read-only."""
    return _answer(str(study.path), stamp, arms, reference, figure, study)


@st.cache_resource(max_entries=16, show_spinner=False)
def _answer(path: str, stamp: Stamp, arms: tuple[str, ...], reference: str, figure: str,
            _study: StudyDir) -> tuple[pd.DataFrame, pd.DataFrame, go.Figure | None]:
    all_shown = shown(_study, stamp, arms, reference)
    columns = [c for c in all_shown.rows if c not in ("config", "settings", "curve")]
    own = all_shown.rows[all_shown.rows["arm"].isin({*arms, reference})]
    rows = own[columns].assign(arm=own["arm"].map(all_shown.titles))
    table = summary(rows, all_shown.reference, figure).sort_values("difference", ascending=False, kind="stable",
                                                                   na_position="first")
    drawn = _differences(rows, table, all_shown, figure) if table["difference"].notna().any() else None
    return table, against_next(rows, table, figure), drawn


def against_next(rows: pd.DataFrame, table: pd.DataFrame, figure: str) -> pd.DataFrame:
    """The summary of the highest arm against the second highest, in this order; empty for fewer than three arms.

    Of the arms with as many finished runs as any: a mean over fewer seeds is of other seeds.
    """
    complete = table[(table["n"] == table["n"].max()) & table["mean"].notna()]
    names = complete.sort_values("mean", ascending=False, kind="stable")["arm"].head(2).tolist()
    if len(complete) < 3:
        return table.iloc[:0]
    table = summary(rows[rows["arm"].isin(names)], names[1], figure)
    return table.sort_values("arm", key=lambda arms: arms.map(names.index))


def _differences(rows: pd.DataFrame, table: pd.DataFrame, all_shown: Shown, figure: str) -> go.Figure:
    """Paired differences in points."""
    reference = all_shown.reference
    pairs = {arm: [(seed, 100 * a, 100 * b) for seed, a, b in paired(rows, reference, arm, figure)]
             for arm in table["arm"]}
    points = table.assign(**{name: 100 * table[name] for name in ("difference", "low", "high")})
    drawn = figures.differences_figure(points, pairs, reference, figure,
                                        figures.arm_colors(list(all_shown.titles.values()), reference))
    num_arms = int(points["difference"].notna().sum())
    for trace in drawn.data:
        trace.hovertemplate = str(trace.hovertemplate).replace(":.4f", ":+.2f points")
        if trace.error_x.array is None and trace.text is not None:  # single seeds lie on their interval's line
            trace.marker.update(size=9, opacity=0.85, line={"color": PAPER, "width": 1.5})
    title = f"{FIGURE_WORDS[figure]}, points ahead of {reference}"
    return _dress(drawn, height=90 + 44 * num_arms).update_xaxes(
        title_text=title, tickformat="+~g", zeroline=False, minallowed=-100, maxallowed=100).update_yaxes(
        ticks="outside", ticklen=8, tickcolor="rgba(0,0,0,0)")


def _of_splitters(curves: pd.DataFrame) -> pd.DataFrame:
    """The curves of arms whose validation samples change: a fixed split neither learns nor settles."""
    moving = curves[(curves["figure"] == "churn") & (curves["mean"] > 0)]["arm"].unique()
    return curves[curves["arm"].isin(moving)]


def _worst(part: pd.DataFrame) -> pd.DataFrame:
    """The MAX_BARS names with the lowest mean accuracy over all arms, in their own order."""
    lowest = part.groupby("name")["mean"].mean().nsmallest(MAX_BARS, keep="first").index
    return part[part["name"].isin(lowest)]


def _dress(figure: go.Figure, height: int = 340) -> go.Figure:
    """No title of its own (the page has one) and the legend above."""
    figure.update_layout(
        title=None, height=height, showlegend=True, margin={"l": 8, "r": 8, "t": 28, "b": 8},
        legend={"orientation": "h", "y": 1.0, "yanchor": "bottom", "x": 0, "xanchor": "left", "title": None})
    figure.update_xaxes(automargin=True)
    figure.update_yaxes(automargin=True)
    return figure
