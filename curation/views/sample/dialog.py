"""One sample up close, in a dialog: picture, labels, signals, its course over the epochs, neighbours, reasons, history.

Opened from the gallery; decisions go through actions. Reads one row of each file of the run, never whole ones.
"""

import html
from functools import partial
from typing import Literal

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from curation.audit.reviews.blinding import WHY_BLIND
from curation.experiments.repeats import repeats_of
from curation.experiments.stability import over_seeds, stability
from curation.jobs.request import method_of
from curation.project import Project
from curation.samples.frames import SampleTable
from curation.views import scored
from curation.views.routes.thumbnails import thumbnail_url
from curation.views.runs.routing_hint import routes, routing_hint
from curation.views.sample import link, pin_question
from curation.views.sample.facts import answers_on, facts
from curation.views.sample.neighbours import show_neighbours
from curation.views.sample.reasons import reasons, stability_words
from curation.views.sample.relabel import relabel
from curation.views.widgets import actions, likeness, state
from curation.views.widgets.conflicts import conflict_sentences
from curation.views.widgets.gallery import text_of
from curation.views.widgets.palette import INK, ROLE_COLOURS, SERIES, SET_BACK
from curation.views.widgets.pins import pin_words, tension_cached
from curation.views.widgets.shown import shown_samples
from engine.contract.config import RunConfig
from engine.contract.manifest import read_decisions
from engine.contract.run_dir import RunDir

MAX_CLASSES = 6
OPEN_KEY = "sample.open"
ORDER_KEY = "sample.order"
FOCUS_KEY = "sample.focus"
_DRAWN_KEY = "sample.drawn"
"""How often the open panel has been sent to the browser."""


def open_sample(sample_id: str, order: list[str]) -> None:
    """Have the panel shown on the next run; `order`: the ids that Previous and Next step through."""
    st.session_state[OPEN_KEY], st.session_state[ORDER_KEY] = sample_id, order
    st.session_state[_DRAWN_KEY] = 0


def close() -> None:
    """Shut the panel and give the keyboard back to the gallery, at the sample last seen."""
    seen = st.session_state.pop(OPEN_KEY, None)
    st.session_state[FOCUS_KEY] = (st.session_state.get(FOCUS_KEY, (0, None))[0] + 1, seen)


def show_if_open(project: Project, run: RunDir | None, table: SampleTable) -> None:
    """Draw the panel if one is open and its sample is in the table."""
    if (linked := link.arrived(table)) is not None:
        st.session_state[OPEN_KEY], st.session_state[ORDER_KEY] = linked or None, []
    key = st.session_state.get(OPEN_KEY)
    if key is not None and table.position(key) is None:
        close()
        key = None
    link.put(key)
    if key is None:
        if st.session_state.pop(_DRAWN_KEY, 0) > 1:
            st.rerun()  # a panel that is sent while it shuts opens again; only a run of the whole page takes it away
        pin_question.show_as_dialog(project, open_sample)
        return
    st.session_state[_DRAWN_KEY] = st.session_state.get(_DRAWN_KEY, 0) + 1
    st.dialog("Sample", width="large", icon=":material/image_search:", on_dismiss=close)(_panel)(project, run)


def _panel(project: Project, run: RunDir | None) -> None:
    state.guarded(lambda: _draw(project, run))


def _draw(project: Project, run: RunDir | None) -> None:
    link.put(st.session_state.get(OPEN_KEY))
    actions.show_notices()
    pin_question.draw(project, open_sample)
    table = shown_samples(project, run)
    idx = table.position(str(st.session_state.get(OPEN_KEY)))
    if idx is None:
        st.caption("This sample is no longer in the project.")
        return
    row = table.rows([idx]).iloc[0]
    is_hidden = row["sample_id"] in scored.blind(project).ids
    left, right = st.columns([5, 7], gap="medium")
    with left:
        _picture(project, row)
        _steps(row["sample_id"])
        _decisions(project, run, row)
        if not is_hidden:
            _probabilities(project, run, table, idx)
    with right:
        facts(table, idx, answers_on(project.path, str(row["sample_id"])))
        if is_hidden:
            st.info(f"It is {WHY_BLIND}", icon=":material/visibility_off:")
        else:
            _reasons(project, run, table, idx)
            if run is not None and "signal_row" in table and method_of(run).is_trained:
                _course(run, int(row["signal_row"]))
    if run is not None and not is_hidden:
        show_neighbours(project, run, table, idx, partial(st.session_state.__setitem__, OPEN_KEY))
    _history(project, row["sample_id"])


# -- the sample itself


def _picture(project: Project, row: pd.Series) -> None:
    url, name = thumbnail_url(project, row["sample_id"], 512), str(row["sample_id"])
    colour = ROLE_COLOURS.get("excluded" if bool(row.get("excluded")) else text_of(row.get("role")), "var(--ws-line)")
    st.html(f'<div style="border:3px solid {colour};border-radius:8px;background:var(--ws-panel);aspect-ratio:1;'
            f'display:flex"><img src="{html.escape(url)}" alt="{html.escape(name)}" style="width:100%;height:100%;'
            'object-fit:contain"></div>'
            '<div style="font-size:12px;color:var(--ws-soft);margin-top:4px;overflow-wrap:anywhere">'
            f'{html.escape(name)}</div>')


def _steps(sample_id: str) -> None:
    """Previous and next in the order of the gallery."""
    order = st.session_state.get(ORDER_KEY) or []
    place = order.index(sample_id) if sample_id in order else None
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        for label, step, icon, shortcut in (("Previous", -1, ":material/arrow_back:", "Left"),
                                            ("Next", 1, ":material/arrow_forward:", "Right")):
            target = order[place + step] if place is not None and 0 <= place + step < len(order) else None
            st.button(label, key=f"sample.step{step}", icon=icon, shortcut=shortcut, disabled=target is None,
                      on_click=st.session_state.__setitem__, args=(OPEN_KEY, target))
        if place is not None:
            st.caption(f"{place + 1:,} of {len(order):,} on this page", width="content")


def _decisions(project: Project, run: RunDir | None, row: pd.Series) -> None:
    """Buttons for this one sample. A decision in force can be taken back here as well. None moves when one is taken: a
    press that begins on one button and ends on another is none."""
    ids = [row["sample_id"]]

    def take(op: actions.Op, sample_ids: list[str], label: str | None = None) -> None:
        actions.take(project, op, sample_ids, label=label, view="explore: one sample", run=run.name if run else "")

    def button(label: str, op: actions.Op, shortcut: str | None = None, disabled: bool = False,
               width: Literal["content"] | int = "content") -> None:
        st.button(label, key=f"sample.{op}", shortcut=shortcut, on_click=take, args=(op, ids), disabled=disabled,
                  width=width)

    pin, is_excluded = text_of(row.get("pin")), bool(row.get("excluded"))
    with st.container(horizontal=True, gap="small"):
        button("The label is right", "confirm", "L")
        st.button("Undo", key="sample.undo", shortcut="U", on_click=actions.undo, args=(project,),
                  help=actions.undo_words(project))
        if likeness.can_ask(project):
            st.button("More like this", key="sample.more_like", icon=":material/image_search:", on_click=_more_like,
                      args=(project, run, ids), help="Explore, with all samples, those most like this one first.")
        button("Pin to validation", "validation", "V", disabled=pin == "validation")
        button("Pin to training", "train", "T", disabled=pin == "train")
        button("Unpin", "unpin", disabled=not pin)
        if is_excluded:
            button("Include again", "include", width=130)
        else:
            button("Exclude", "exclude", "X", width=130)
    suggested = text_of(row.get("suggested_label"))
    is_other = suggested in project.classes and suggested != text_of(row.get("current_label"))
    relabel(project, ids[0], suggested if is_other else None,
            lambda sample_id, label: take("relabel", [sample_id], label), key="sample.relabel")


def _more_like(project: Project, run: RunDir | None, ids: list[str]) -> None:
    likeness.ask(project, run, ids)
    close()
    state.leave_for("explore")


def _probabilities(project: Project, run: RunDir | None, table: SampleTable, idx: int) -> None:
    """The likeliest classes by held-out predictions, as bars; nothing where the run keeps none of the sample."""
    row = int(table["signal_row"].cells[idx]) if run is not None and "signal_row" in table else -1
    probs_C = run.read_probabilities(row) if run is not None and row >= 0 else None
    if probs_C is None or len(probs_C) != len(project.classes):
        return
    current = text_of(table["current_label"].cells[idx])
    order = np.argsort(-probs_C, kind="stable")[:MAX_CLASSES]
    cells = "".join(
        f'<tr class="{"current" if name == current else ""}"><th scope="row">{html.escape(name)}</th><td class="bar">'
        f'<div style="width:{max(1, round(100 * share))}%"></div></td><td class="num">{share:.1%}</td></tr>'
        for name, share in ((project.classes[i], float(probs_C[i])) for i in order))
    caption = "Held-out probabilities, the current label in bold"
    st.html(f'<table class="ws-facts"><caption>{caption}</caption>{cells}</table>')


def _reasons(project: Project, run: RunDir | None, table: SampleTable, idx: int) -> None:
    is_trained = run is None or routes(run)  # of one that routes nothing there is no why
    st.subheader("Why it is, or is not, in validation" if is_trained else "What is said of its label")
    if run is None or "role" not in table:
        st.caption("No run has looked at it yet.")
        return
    routing_hint(project, run, "sample.routing")
    sample_id = table.ids([idx])[0]
    then = read_decisions(run.decisions_path).loc[lambda rows: rows["sample_id"] == sample_id]
    pin_then = text_of(then["pin"].iloc[0]) if len(then) else ""
    is_out_then = bool(then["excluded"].iloc[0]) if len(then) else False
    config = RunConfig.of_run(run.read_config()["config"])
    found = reasons(table, idx, config.val_fraction, pin_then, is_out_then, config.guard != "off", is_trained)
    row = int(table["signal_row"].cells[idx])
    if row >= 0 and not is_out_then and not pin_then and is_trained:  # where a pin holds, nothing was routed
        found += stability_words(stability(run, row), over_seeds(repeats_of(project.path, run)[1:], row))
    if pin_then:
        found += pin_words(tension_cached(project, run), sample_id)
    for i, sentence in enumerate(found):
        st.markdown(f"**{state.plain(sentence)}**" if i == 0 else state.plain(sentence))


# -- its course over the epochs


def _course(run: RunDir, signal_row: int) -> None:
    st.subheader("Over the epochs")
    history = run.read_history(signal_row) if signal_row >= 0 else pd.DataFrame()
    if history.empty:
        st.caption("No epoch of it has been recorded.")
        return
    st.plotly_chart(course_figure(history), key="sample.course", config={"displayModeBar": False})
    st.html('<div style="font-size:12px;color:var(--ws-soft)">Band: '
            + " ".join(f'<span style="display:inline-block;width:10px;height:10px;background:{colour};opacity:.6">'
                       f'</span> {name}&ensp;' for name, colour in ROLE_COLOURS.items())
            + "A ring marks an epoch in which it was held out of training, in validation or at rest.</div>")


def sides(history: pd.DataFrame) -> list[str]:
    """The role in each epoch as it is meant everywhere: one that only rested from training was not in validation."""
    is_resting = history["role"].eq("validation") & ~history["routed"].astype(bool)
    return [str(role) for role in history["role"].mask(is_resting, "train")]


def course_figure(history: pd.DataFrame) -> go.Figure:
    """Margin and p_train on the left axis, weight on the right; the role as a band behind, rings where held out."""
    figure = go.Figure()
    epochs = history["epoch"].to_numpy()
    for epoch, role in zip(epochs, sides(history), strict=True):
        figure.add_vrect(x0=epoch - 0.5, x1=epoch + 0.5, fillcolor=ROLE_COLOURS[role], opacity=0.28, line_width=0,
                         layer="below")
    looks = (("margin", "margin (low is bad)", INK, "solid", "y"),
             ("p_train", "p_train (low: wanted in validation)", SERIES[2], "dash", "y"),
             ("weight", "weight (right axis)", SERIES[0], "dot", "y2"))
    for name, title, colour, dash, axis in looks:
        values = history[name].to_numpy(dtype=np.float32)
        if np.isfinite(values).any():
            figure.add_trace(go.Scatter(x=epochs, y=values, name=title, yaxis=axis, mode="lines+markers",
                                        line={"color": colour, "width": 2, "dash": dash}, marker={"size": 5},
                                        hovertemplate="epoch %{x}: %{y:.2f}<extra></extra>"))
    held = history["role"] == "validation"
    figure.add_trace(go.Scatter(x=epochs[held], y=history["margin"].to_numpy(dtype=np.float32)[held], mode="markers",
                                marker={"symbol": "circle-open", "size": 11, "color": ROLE_COLOURS["validation"],
                                        "line": {"width": 2}}, name="held out", hoverinfo="skip"))
    figure.update_layout(
        height=280, margin={"l": 52, "r": 48, "t": 4, "b": 40},
        legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0, "font": {"size": 11}},
        xaxis={"title": {"text": "epoch", "font": {"size": 12}}, "dtick": max(1, len(epochs) // 10),
               "range": [epochs[0] - 0.5, epochs[-1] + 0.5], "showgrid": False},
        yaxis={"title": {"text": "margin, p_train", "font": {"size": 12}}, "range": [-1.05, 1.05],
               "zerolinecolor": SET_BACK},
        yaxis2={"title": {"text": "weight", "font": {"size": 12}}, "overlaying": "y", "side": "right",
                "rangemode": "tozero", "showgrid": False, "tickmode": "auto", "nticks": 5})
    return figure


# -- around it


def _history(project: Project, sample_id: str) -> None:
    st.subheader("Decisions on it")
    ledger = project.ledger()
    batches, disputed = ledger.history_of(sample_id), ledger.conflicts(sample_id)
    for sentence in conflict_sentences(disputed):
        st.warning(state.plain(f"Conflict: {sentence}"), icon=":material/group:")
    if batches.empty:
        st.caption("None yet.")
        return
    shown = pd.DataFrame({
        "when": pd.to_datetime(batches["at"]), "who": batches["who"],
        "what": [actions.batch_words(k, v, n) for k, v, n in
                 zip(batches["kind"], batches["value"], batches["num_samples"], strict=True)],
        "conflict": batches["batch_id"].isin([*disputed["first_batch"], *disputed["second_batch"]]),
        "why": batches["why"], "in": batches["view"], "run": batches["run"], "undone": batches["is_undone"]})
    when = st.column_config.DatetimeColumn(format="YYYY-MM-DD HH:mm")
    st.dataframe(shown, hide_index=True, column_config={"when": when})
