"""The noise matrix as a way in: which given labels stand for which classes, and from each cell to its samples.

Three views that are never mixed: what the model suspects (to find the way by), what reviews of the random sample say
(with intervals, thin cells not shown), and what decisions changed.
"""

import numpy as np
import pandas as pd
import streamlit as st

from curation.audit.estimate.reviewed_matrix import ReviewedMatrix, reviewed_matrix
from curation.audit.report.figures import percent
from curation.audit.report.summaries import RULE, UNDECIDED
from curation.audit.reviews.blinding import blind_words
from curation.audit.reviews.consensus import consensus
from curation.audit.reviews.promise import MIN_CALIBRATED
from curation.audit.reviews.random_queue import random_verdicts
from curation.audit.suspects.matrix import SUSPECT, ModelMatrix, before_and_after, overlaps
from curation.audit.suspects.scores import Scores
from curation.samples.predicates import MAX_IDS
from curation.views import scored
from curation.views.audit import at_hand, find, sections
from curation.views.audit.at_hand import Audit
from curation.views.audit.heat import clicked, heat_figure, shown_classes
from curation.views.explore.linking import show_in_explore
from curation.views.scored import chance_words
from curation.views.widgets import state
from curation.views.widgets.layout import side_by_side, table_height
from curation.views.widgets.pictures import show_pictures
from curation.words import counted

MODEL, REVIEWED, CHANGE = "What the model suspects", "What reviews say", "Before and after decisions"
NO_CLASS = "no class fits"
MAX_PICTURES = 12
MAX_GROUPS = 6
_CHART_KEY = "audit.heat"
_GIVEN_KEY, _TRUE_KEY = "audit.cell.given", "audit.cell.true"


def show(at: Audit) -> None:
    found = at_hand.scores_now(at)
    view = st.segmented_control("View", [MODEL, REVIEWED, CHANGE], default=MODEL, required=True,
                                key="audit.matrix.view", label_visibility="collapsed", persist_state="session")
    left, right = side_by_side("audit_matrix", [7, 5])
    with left:
        _heat(at, found, str(view))
    with right:
        _cell(at, found)
    _overlaps(at, found)
    _duplicates(at)


# -- the heat map


def _heat(at: Audit, found: Scores, view: str) -> None:
    classes = at.project.classes
    if view == REVIEWED:
        reviewed = _reviewed(at)
        if reviewed is None or not reviewed.is_row_shown.any():
            st.info("No class has enough reviews of the random sample yet. Review some in Estimate.",
                    icon=":material/info:")
            return
        st.caption("**Measured** on the random sample: share of each given class; the diagonal is right. "
                   f"{RULE} A dot: seen, on too few.")
        cells, planned = reviewed_cells(reviewed), plan_classes(at)
        columns = [*planned, NO_CLASS, UNDECIDED] if (reviewed.num_reviewed[:, -1] > 0).any() else [*planned, NO_CLASS]
        colour, text, hover = (part[:, :len(columns)] for part in cells)
        _chart((colour, text, hover), planned, columns, "percent of the given class")
    elif view == CHANGE:
        st.caption("**A guess:** expected wrong labels under the labels in force less those under the given ones. "
                   "Blue: fewer. What a person settled or changed counts as right.")
        before, after = _model_both(at, found)
        _chart(change_cells(before, after), classes, classes, "expected wrong labels, change", is_difference=True)
    else:
        st.caption("**A guess, to find the way by; not a noise rate.** How many samples of each given class the model "
                   "expects to be truly of another.")
        _chart(model_cells(at_hand.model_of(at)), classes, classes, "samples, by the model")


Cells = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Colours (NaN: blank), texts and hover texts of the cells."""


def model_cells(model: ModelMatrix) -> Cells:
    colour = _without_diagonal(model.expected)
    text = np.where(np.isnan(colour) | (model.expected < 0.5), "", _short(model.expected, "%.0f"))
    hover = np.array([[f"about {expected:,.0f} samples, {suspected:,} suspected" for expected, suspected in
                       zip(*rows, strict=True)] for rows in zip(model.expected, model.suspected, strict=True)])
    return colour, text, hover


def reviewed_cells(found: ReviewedMatrix) -> Cells:
    """Rates in percent; cells that may not be quoted are blank, with a dot where something was seen."""
    share = 100 * found.rate
    colour = share.copy()
    rows = np.arange(len(share))
    colour[rows, rows] = np.nan
    seen = np.where(found.num_reviewed > 0, "\u00b7", "")
    text = np.where(found.is_shown, np.char.mod("%.1f", np.nan_to_num(share)), seen)
    hover = np.full(share.shape, "not seen", dtype=object)
    for given, true in np.argwhere(found.num_reviewed > 0):
        hover[given, true] = f"{found.num_reviewed[given, true]:,} reviewed: too few to be quoted"
        if found.is_shown[given, true]:
            hover[given, true] = (
                f"{percent(found.rate[given, true])} (95% interval {percent(found.low[given, true])} to "
                f"{percent(found.high[given, true])}), about {found.count[given, true]:,.0f} samples, "
                f"{found.num_reviewed[given, true]:,} reviewed")
    return colour, text, hover


def change_cells(before: ModelMatrix, after: ModelMatrix) -> Cells:
    change = after.expected - before.expected
    colour = _without_diagonal(change)
    text = np.where(np.isnan(colour) | (np.abs(change) < 0.5), "", _short(change, "%+.0f"))
    hover = np.array([[f"{a:z,.1f} before, {b:z,.1f} after" for a, b in zip(*rows, strict=True)]
                      for rows in zip(before.expected, after.expected, strict=True)])
    return colour, text, hover


def _short(values: np.ndarray, form: str) -> np.ndarray:
    """'812', '21.8k': what fits into a cell."""
    return np.where(np.abs(values) < 10_000, np.char.mod(form, values),
                    np.char.mod(f"{form[:-2]}1fk", values / 1000))


def _without_diagonal(values: np.ndarray) -> np.ndarray:
    colour = np.array(values, dtype=np.float64)
    np.fill_diagonal(colour, np.nan)
    return colour


def _chart(cells: Cells, rows: tuple[str, ...], columns: tuple[str, ...] | list[str], legend: str,
           is_difference: bool = False) -> None:
    kept = shown_classes(cells[0])
    across = np.r_[kept, np.arange(len(rows), len(columns))].astype(int)
    colour, text, hover = (part[np.ix_(kept, across)] for part in cells)
    names = [rows[i] for i in kept], [columns[i] for i in across]
    figure = heat_figure(colour, text, hover, *names, legend, is_difference=is_difference)

    def picked() -> None:
        cell = clicked(st.session_state.get(key), len(across))
        if cell is not None:
            st.session_state[_GIVEN_KEY] = names[0][cell[0]]
            st.session_state[_TRUE_KEY] = names[1][cell[1]]

    key = f"{_CHART_KEY}.{legend}"
    st.plotly_chart(figure, key=key, on_select=picked, selection_mode="points",
                    config={"displayModeBar": False})
    if len(kept) < len(rows):
        st.caption(f"The {len(kept)} of {len(rows)} classes with the most errors.")


def _model_both(at: Audit, found: Scores) -> tuple[ModelMatrix, ModelMatrix]:
    settled = consensus(at_hand.current_verdicts(at))
    ids = settled.index[settled["is_wrong"].eq(False)]
    is_settled = found.samples.has_ids(ids)
    return before_and_after(found.given, found.current, found.p_wrong, found.suggested, found.confidence,
                            found.is_active, is_settled, len(found.classes))


def _reviewed(at: Audit) -> ReviewedMatrix | None:
    plan = at_hand.plan_of(at)
    answered = random_verdicts(at.verdicts, plan) if plan is not None else None
    return reviewed_matrix(plan, answered) if plan is not None and answered is not None and len(answered) else None


def plan_classes(at: Audit) -> tuple[str, ...]:
    """The classes when the estimate was planned, which its figures are of; the current ones before there is a plan."""
    plan = at_hand.plan_of(at)
    return at.project.classes if plan is None else plan.classes


# -- one cell


def _cell(at: Audit, found: Scores) -> None:
    """The cell clicked, or chosen by name: its pictures and where they can be worked on."""
    classes = list(at.project.classes)
    st.header("From a cell to its samples")
    if st.session_state.get(_GIVEN_KEY) not in classes or st.session_state.get(_TRUE_KEY) not in [*classes, NO_CLASS]:
        st.session_state[_GIVEN_KEY], st.session_state[_TRUE_KEY] = _worst(at_hand.model_of(at), classes)
    with st.container(horizontal=True, gap="small"):
        given = str(st.selectbox("Given label", classes, key=_GIVEN_KEY, width=180))
        true = str(st.selectbox("True label", [*classes, NO_CLASS], key=_TRUE_KEY, width=180))
    _reviewed_ones(at, given, true)
    if true == NO_CLASS or given == true:
        st.caption("The model suspects none of that. Click another cell." if given != true else
                   "These are labelled right. Click a cell off the diagonal.")
        return
    cell, blind = (classes.index(given), classes.index(true)), scored.blind(at.project).ids
    rows = at_hand.rows_of_cell(found, *cell, SUSPECT, blind)
    every = at_hand.rows_of_cell(found, *cell, 0.0, blind)
    num_any = len(every)
    num_blind = len(at_hand.rows_of_cell(found, *cell, 0.0)) - num_any
    st.markdown(f"**{len(rows):,} suspected**: the model takes the label for wrong, and {state.plain(true)} is the "
                f"likeliest other class. It is that of {num_any - len(rows):,} more given {state.plain(given)}, whose "
                f"label the model takes for right. {blind_words(num_blind)}")
    rows = rows if len(rows) else every
    with st.container(horizontal=True, gap="small"):
        st.button("Gallery and map in Explore", key="audit.cell.explore", icon=":material/scatter_plot:",
                  disabled=not len(rows), on_click=show_in_explore,
                  args=(at.project, at.run, found.samples.ids(rows[:MAX_IDS])))
        st.button("Review them in Find", key="audit.cell.find", icon=":material/fact_check:", type="primary",
                  disabled=not len(rows), on_click=_review, args=(at, given, true))
    is_calibrated = found.num_calibrated >= MIN_CALIBRATED
    first = rows[:MAX_PICTURES]
    show_pictures(at.project, [(sample_id, f"wrong: {chance_words(p)}" if is_calibrated else "", "") for sample_id, p in
                               zip(found.samples.ids(first), found.p_wrong[first].tolist(), strict=True)])
    if len(rows) > MAX_PICTURES:
        st.caption(f"The {MAX_PICTURES} most suspected"
                   + (", each with the model's probability that its label is wrong." if is_calibrated else
                      f". Probabilities are shown once {MIN_CALIBRATED} labels are judged.")
                   + (f" Explore takes the first {MAX_IDS:,}." if len(rows) > MAX_IDS else ""))


def _reviewed_ones(at: Audit, given: str, true: str) -> None:
    """Samples that people put into this cell, whichever queue they came from."""
    verdicts = at_hand.current_verdicts(at)
    found = consensus(verdicts)
    wrong = found["is_wrong"].eq(given != true) & found["state"].eq("agreed")
    wrong &= found["label"].isna() if true == NO_CLASS else found["label"].eq(true)
    labels = verdicts.drop_duplicates("sample_id").set_index("sample_id")["given_label"]
    ids = [str(i) for i in found.index[wrong] if labels[i] == given]
    if not ids:
        st.caption("No sample is reviewed as such yet.")
        return
    st.button(f"{len(ids):,} reviewed as such, in Explore", key="audit.cell.reviewed", type="tertiary",
              icon=":material/scatter_plot:", on_click=show_in_explore, args=(at.project, at.run, ids))


def _worst(model: ModelMatrix, classes: list[str]) -> tuple[str, str]:
    """The cell with the most errors by the model."""
    off = np.nan_to_num(_without_diagonal(model.expected))
    given, true = np.unravel_index(int(off.argmax()), off.shape)
    return classes[given], classes[true]


def _review(at: Audit, given: str, true: str) -> None:
    find.want(at, "confusion", (given, true))
    sections.go("Find")


# -- below


def _overlaps(at: Audit, found: Scores) -> None:
    """Classes that stand for each other."""
    st.header("Classes mixed up")
    reviewed = _reviewed(at)
    planned = plan_classes(at)
    totals = {} if reviewed is None else {
        frozenset((planned[a], planned[b])): total for (a, b), total in reviewed.pairs.items()}
    pairs = overlaps(at_hand.model_of(at).expected, found.classes)
    if not pairs:
        st.caption("The model expects no two classes to be mixed up.")
        return
    rows = pd.DataFrame([{
        "classes": pair.name.replace("<->", "\u2194"), "by the model": round(pair.num_first + pair.num_second),
        "percent of both": 100 * pair.share,
        "measured": "" if total is None else f"{total.total:,.0f} ({total.low:,.0f} to {total.high:,.0f})"}
        for pair in pairs
        for total in [totals.get(frozenset((found.classes[pair.first], found.classes[pair.second])))]])
    st.dataframe(rows, hide_index=True, height=table_height(len(rows)),
                 column_config={"percent of both": st.column_config.NumberColumn(format="%.1f")})
    st.caption("By the model: samples given one class that it takes for the other, both ways; a guess. Measured: "
               "estimated from the random sample, with its 95% interval, where enough were reviewed.")


def _duplicates(at: Audit) -> None:
    """Near-duplicates of which at least one must be wrong, group by group."""
    st.header("Near-duplicates with contradicting labels")
    near = at_hand.duplicates_of(at)
    if near is None:
        st.caption("This run keeps no neighbours.")
        return
    found, table_row = near
    if not found.num_groups:
        st.caption("None.")
        return
    table, num = at.table, found.num_groups
    st.caption(f"{counted(num, 'group')}, near in the run's features, which need not look alike. Where they do, at "
               "least one label of each group is wrong.")
    ids: list[str] = []
    for number in range(min(num, MAX_GROUPS)):
        rows = table_row[found.group(number)]
        rows = rows[rows >= 0]
        ids += table.ids(rows)
        st.markdown(f"**Group {number + 1}**, {len(rows):,} samples")
        show_pictures(at.project, [(str(row.sample_id), str(row.current_label), "") for row in
                                   table.rows(rows[:12], ["sample_id", "current_label"]).itertuples()])
    st.button(f"These {len(ids):,} in Explore", key="audit.duplicates.explore", icon=":material/scatter_plot:",
              on_click=show_in_explore, args=(at.project, at.run, ids))
