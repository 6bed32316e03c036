"""Overview of an audit: the answer in one sentence, what to do next, and each class's noise rate."""

import html
from pathlib import Path

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from curation.audit.report.document import AnnotatorsPart
from curation.audit.report.figures import between, percent
from curation.audit.report.rate_words import annotator_words
from curation.audit.report.summaries import MIN_CLASS, annotators_part
from curation.audit.reviews import batch_files
from curation.audit.reviews.annotators import annotators_of, lost_answers
from curation.audit.reviews.promise import promise_kept
from curation.ledger.verdicts import Queue
from curation.project import ANSWERS_NAME
from curation.samples.codes import comparable
from curation.samples.frames import SampleTable
from curation.samples.triage import wrong_share
from curation.views.audit import at_hand, sections
from curation.views.audit.at_hand import Audit, Standing
from curation.views.audit.words import goal_words, rate_basis, rate_headline, until_then
from curation.views.widgets import state
from curation.views.widgets.layout import side_by_side, table_height
from curation.views.widgets.palette import SERIES, SET_BACK
from curation.words import counted
from engine.contract.stamps import Stamp, stamp_of

MAX_BARS = 40
QUEUE_SECTIONS: tuple[tuple[Queue, str], ...] = (("find", "Find"), ("estimate", "Estimate"))
"""The queues that are gone on with, and their sections."""


def show(at: Audit) -> None:
    found = at_hand.standing_of(at)
    _answer(at, found)
    people, lost = _annotators(stamp_of(at.project.path / ANSWERS_NAME), at.project.path)
    if people is not None:
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            st.caption(annotator_words(people), width="content")
            st.button("Who disagrees, on what", key="audit.came.open", type="tertiary", icon=":material/group:",
                      on_click=sections.go, args=("Reviewers",))
    for line in lost:
        st.warning(state.plain(line), icon=":material/broken_image:")
    _figures(at, found)
    left, right = side_by_side("audit", [1, 1])
    with left:
        _next(at, found)
    with right:
        _classes(at, found)


def _answer(at: Audit, found: Standing | None) -> None:
    """The rate, measured; or that it is not known, and why no model's guess stands in its place."""
    if found is None or not found.rate.overall.num_reviews:
        _headline("How many labels are wrong is not known yet")
        st.markdown("Only a random sample, reviewed without the model's opinion, can tell. What the model suspects is "
                    "a way to find wrong labels, not a measure of how many there are.")
        if said := known_words(at.table):
            st.caption(said)
        return
    _headline(rate_headline(found))
    st.markdown(f"{rate_basis(found)} **{goal_words(found)}** {until_then(found)}")


def known_words(table: SampleTable) -> str:
    """What is known besides, where true labels came with the data; "" where none did."""
    if "clean_label" not in table:
        return ""
    known = wrong_share(table, np.arange(len(table)))
    if known is None:
        return ""
    if known.known == len(table):
        return (f"The data bring the true label of all {known.known:,} samples, by which {known.share:.1%} are wrong "
                "(Data). An audit finds out without it.")
    return (f"Of the {known.known:,} samples whose true label came with the data {known.share:.1%} are labelled "
            f"wrong (Data). Whether the other {len(table) - known.known:,} are like these is not known.")


@st.cache_resource(max_entries=4, show_spinner=False)
def _annotators(stamp: Stamp, _path: Path) -> tuple[AnnotatorsPart | None, list[str]]:
    """(how far the people agree whose answers came with the data, why that is not known). stamp: of their file."""
    return annotators_part(annotators_of(_path)), lost_answers(_path)


def _headline(words: str) -> None:
    """Our own words and numbers alone."""
    st.html(f'<h2 style="font-size:1.6rem;line-height:1.25;font-weight:680;letter-spacing:-0.015em;margin:0;padding:0">'
            f"{words}</h2>")


def _figures(at: Audit, found: Standing | None) -> None:
    verdicts = at.verdicts
    table = at.table
    is_out = table["excluded"].flags
    label, given = comparable(table["current_label"].codes, table["given_label"].codes)
    is_changed = (label != given) & ~is_out
    total = promise_kept(verdicts[verdicts["queue"].eq("find")])
    with st.container(horizontal=True, gap="medium"):
        st.metric("Verdicts", f"{len(verdicts):,}", width="content",
                  help="In force in this audit, hidden checks included.")
        st.metric("Reviewers", f"{verdicts['who'].nunique():,}", width="content")
        st.metric("Random reviews", f"{found.rate.overall.num_reviews if found else 0:,}", width="content",
                  help="Drawn samples judged right or wrong: what the noise rate stands on.")
        st.metric("Found in the ranked queue", width="content",
                  value=f"{total.num_found:,} of {total.num_judged:,}" if total.num_judged else "none judged",
                  help="Wrong labels among those judged in Find. Chosen by suspicion, so no rate of the whole.")
        st.metric("Labels changed", f"{is_changed.sum():,}", width="content",
                  help="Labels in force that are not the given ones, in the project: from here and from elsewhere.")
        st.metric("Left out", f"{is_out.sum():,}", width="content",
                  help="Excluded samples, for whatever reason.")


# -- what to do


def _next(at: Audit, found: Standing | None) -> None:
    st.header("What to do next")
    who, verdicts = state.user_name(), at.verdicts
    st.caption(f"You review as **{state.plain(who)}**, the name in the sidebar: your batches are kept under it.")
    num_disputed = len(at_hand.to_settle(at))
    begun = []
    for queue, section in QUEUE_SECTIONS:
        try:
            served = batch_files.newest(at.project.path, at.name, queue, who)
        except batch_files.BatchError as error:  # of one queue; the other and all figures stand
            st.warning(state.plain(error), icon=":material/broken_image:")
            continue
        if served is not None and not served.is_done(verdicts) and not served.own(verdicts).empty:
            num = len(served.own(verdicts))
            _step(f"Go on with {section}", section,
                  f"Batch {served.number}: {num} of {len(served.questions)} answered.", is_main=True)
            begun.append(section)
    if found is None:
        _step("Draw the random sample", "Estimate", "Then the noise rate can be measured.")
    elif not found.progress.is_reached and "Estimate" not in begun:
        _step("Review drawn samples", "Estimate", goal_words(found))
    if num_disputed:
        _step(f"Settle {counted(num_disputed, 'disagreement')}", "Reviewers",
              "Two people mean different classes; your answer decides.")
    if "Find" not in begun:
        _step("Find wrong labels", "Find", "The likeliest first; what you say corrects the label.")
    _step("See what is mixed up", "Noise matrix", "From each cell to its samples.")
    if found is not None and found.progress.is_reached:
        _step("Read the report", "Report", "The precision asked for is reached.", is_main=True)


def _step(words: str, section: str, why: str, is_main: bool = False) -> None:
    left, right = st.columns([5, 6], vertical_alignment="center", gap="small")
    left.button(words, key=f"audit.next.{section}.{is_main}", on_click=sections.go, args=(section,), width="stretch",
                icon=":material/arrow_forward:", type="primary" if is_main else "secondary")
    right.caption(why)


# -- by class


def _classes(at: Audit, found: Standing | None) -> None:
    st.header("Noise rate of each class")
    if found is None or not found.rate.overall.num_reviews:
        st.caption("Measured as soon as drawn samples are reviewed.")
        return
    planned = at_hand.plan_of(at)
    assert planned is not None, "a rate has a plan"
    rates = list(zip(planned.classes, found.rate.per_class, strict=True))
    shown = [(name, rate) for name, rate in rates if rate.num_reviews >= MIN_CLASS and rate.share is not None]
    num_thin = len(rates) - len(shown)
    if shown:
        st.plotly_chart(whiskers(shown[:MAX_BARS], found.rate.quoted), key="audit.classes",
                        config={"displayModeBar": False})
    st.caption(whisker_words(len(shown), num_thin, found.rate.quoted is not None))
    with st.expander("As a table"):
        rows = pd.DataFrame([{
            "class": name, "samples": rate.num_population, "reviewed": rate.num_reviews, "found wrong": rate.num_wrong,
            "95% interval": between(rate.low, rate.high) if (name, rate) in shown else "too few reviewed",
            "best single figure": percent(rate.share) if (name, rate) in shown else ""} for name, rate in rates])
        st.dataframe(rows, hide_index=True, height=table_height(len(rows)))


def whisker_words(num_shown: int, num_thin: int, has_line: bool) -> str:
    """How the chart is read. num_thin: classes left out of it; has_line: whether the overall rate is drawn."""
    parts = []
    if num_shown:
        line = "; line: all classes" if has_line else ""
        parts.append(f"Dot: estimate; bar: 95% interval{line}. One interval in twenty misses the truth.")
    if num_shown > MAX_BARS:
        parts.append(f"The first {MAX_BARS} of {num_shown:,} classes.")
    if num_thin:
        parts.append(f"{counted(num_thin, 'class', 'classes')} with fewer than {MIN_CLASS} reviews not shown.")
    return " ".join(parts)


def whiskers(rates: list, overall: float | None) -> go.Figure:
    """(name, Rate) with a share -> dots with intervals, the highest on top; overall: a line, None: none."""
    rates = sorted(rates, key=lambda row: row[1].share)
    names = [html.escape(name if len(name) <= 24 else name[:23] + "...") for name, _ in rates]
    share, low, high = ([100 * getattr(rate, part) for _, rate in rates] for part in ("share", "low", "high"))
    figure = go.Figure(go.Scatter(
        x=share, y=list(range(len(rates))), mode="markers", cliponaxis=False, marker={"size": 9, "color": SERIES[0]},
        error_x={"type": "data", "symmetric": False, "array": [h - s for h, s in zip(high, share, strict=True)],
                 "arrayminus": [s - lo for s, lo in zip(share, low, strict=True)], "color": SERIES[0], "thickness": 2},
        customdata=[[name, rate.num_reviews, lo, hi] for (_, rate), name, lo, hi in
                    zip(rates, names, low, high, strict=True)],
        hovertemplate="%{customdata[0]}: %{customdata[2]:.1f} to %{customdata[3]:.1f}%<br>best single figure "
                      "%{x:.1f}%, %{customdata[1]} reviews<extra></extra>"))
    if overall is not None:
        figure.add_vline(x=100 * overall, line={"color": SET_BACK, "dash": "dash", "width": 1.5})
    figure.update_layout(
        height=90 + 26 * len(rates), margin={"l": 4, "r": 12, "t": 4, "b": 40}, showlegend=False,
        xaxis={"title": {"text": "wrong labels, percent"}, "rangemode": "tozero", "showgrid": True, "zeroline": False},
        yaxis={"tickvals": list(range(len(rates))), "ticktext": names, "automargin": True,
               "range": [-0.6, len(rates) - 0.4], "zeroline": False})
    return figure
