"""The Export page's part on a set's hardness: whether another backbone finds it hard too, asked for, watched, shown.

The score is made by curation.jobs.transfer_jobs; this draws it.
"""

import html
from collections.abc import Sequence

import plotly.graph_objects as go
import streamlit as st

from curation.jobs import transfer_jobs
from curation.jobs.queue import JobError
from curation.jobs.run_jobs import RunStatus
from curation.project import Project
from curation.transfer.asking import ask, how_to_make, others_features
from curation.transfer.words import SCORE_OF_THE_SET, backbones, lines, verdict
from curation.views.presses import kept_button, taken
from curation.views.train.progress import say_queue
from curation.views.widgets import state
from curation.views.widgets.palette import SERIES, SET_BACK
from engine.contract.errors import UserError
from engine.contract.run_dir import RunDir
from engine.contract.transfers.transfer_dir import HARD_VALIDATION, Comparison, Figure, TransferDir, TransferScore

TICK_SECONDS = 2.0
ROW_PIXELS, EDGE_PIXELS = 44, 110
WHAT = ("What one network finds hard, another may find easy. Linear heads on another backbone's features, trained on "
        "neither, are tested on the set and on random training samples of the same classes.")


def transfer_section(project: Project, run: RunDir, scores: Sequence[TransferScore]) -> None:
    """Header, the scores of the set that is previewed, what is under way, and the form to ask for one."""
    st.header("Is it hard for another backbone?")
    st.caption(f"{WHAT} Later exports carry the result.")
    for score in scores:
        _score(score)
    if scores:
        st.caption(SCORE_OF_THE_SET)
    folder = _asked(project, run)
    if folder is not None:
        is_active = transfer_jobs.status_of(folder).is_active
        st.fragment(_live, run_every=TICK_SECONDS if is_active else None)(folder, is_active)
        if is_active:
            return
    _form(project, run)


def _asked(project: Project, run: RunDir) -> TransferDir | None:
    """The score of this run's set that was asked for last, unless another's was since."""
    folder = transfer_jobs.newest(project.path)
    try:
        request = folder.read_request() if folder else None
    except UserError:  # damaged: it is asked for anew
        return None
    return folder if request and (request["set"], request["run"]) == (HARD_VALIDATION, run.name) else None


def _form(project: Project, run: RunDir) -> None:
    names = others_features(project, run)
    if not names:
        st.info(f"This needs features of another backbone: {state.plain(how_to_make(project))}.",
                icon=":material/info:")
        state.link_to("data", "Go to Data")
        return
    with st.container(horizontal=True, vertical_alignment="bottom"):
        features = str(st.selectbox("Features of another backbone", names, key="transfer.features", width=300,
                                    persist_state="session"))
        is_pressed = kept_button("Score the set", icon=":material/compare:", key="transfer.start", is_main=False,
                                 about=(project.path, run.name, features))
    if is_pressed:
        with taken("transfer.start"):
            asked = ask(project, features, run=run.name)
            transfer_jobs.submit(project.path, asked.request, asked.samples)
        st.rerun()


# -- under way


def _live(folder: TransferDir, was_active: bool) -> None:
    state.guarded(lambda: _progress(folder, was_active))


def _progress(folder: TransferDir, was_active: bool) -> None:
    status = transfer_jobs.status_of(folder)
    if status.is_active != was_active:
        st.rerun()  # the score is there, or it is to tick no longer
    if status.is_active:
        with st.container(border=True, horizontal=True, vertical_alignment="center"):
            if status.state == "queued":
                say_queue(status)
            else:
                _bar(status)
            st.button("Cancel", key="cancel.transfer", icon=":material/stop:", disabled=status.is_cancelling,
                      on_click=_cancel, args=(folder,))
    elif status.state == "failed":
        st.error(f"It failed: {state.plain(status.error) or 'no reason given.'}", icon=":material/error:")
    elif status.state in ("cancelled", "interrupted"):
        st.info(f"The last one was {status.state} before its end.", icon=":material/info:")


def _bar(status: RunStatus) -> None:
    details = status.details
    step, total = details.get("step") or 0, details.get("num_steps") or 0
    stage = state.plain(str(details.get("stage") or "starting").capitalize())
    st.progress(min(1.0, step / total) if total else 0.0,
                text=f"{stage}: step {step:,} of {total:,}" if total else stage)


def _cancel(folder: TransferDir) -> None:
    try:
        transfer_jobs.cancel(folder.path.parents[1], folder.name)
    except JobError as error:  # it ended between the drawing and the click
        st.toast(state.plain(error), icon=":material/info:")


# -- the score


def _score(score: TransferScore) -> None:
    """The verdict, a chart of the accuracies, and all of it in words."""
    st.markdown(f"**{verdict(score)}**, {state.plain(score['other']['features'])}.")
    st.plotly_chart(accuracies(score), key=f"transfer.chart.{score['other']['features']}",
                    config={"displayModeBar": False})
    with st.expander("In words"):
        for line in lines(score):
            st.markdown(f"- {state.plain(line)}")


def accuracies(score: TransferScore) -> go.Figure:
    """Accuracy on the set and on random sets by each backbone, of all labels and of those known to be right; the bar at
    the set is the 95% interval of the difference, up to what an accuracy can be."""
    rows: list[tuple[str, Comparison]] = []
    for name, backbone in backbones(score):
        rows.append((name, backbone["all"]))
        if backbone["right"] is not None:
            rows.append((f"{name}: right labels", backbone["right"]))
    names = [html.escape(name) for name, _ in rows]
    found = [side["accuracy"] for _, side in rows]
    figure = go.Figure()
    for name, of_set, of_random in zip(names, (f["of_set"] for f in found), (f["of_random"] for f in found),
                                       strict=True):
        figure.add_trace(go.Scatter(x=[of_set, of_random], y=[name, name], mode="lines", showlegend=False,
                                    line={"color": SET_BACK, "width": 2}, hoverinfo="skip"))
    plus, minus = zip(*(_ends(f) for f in found), strict=True)
    figure.add_trace(go.Scatter(
        x=[f["of_set"] for f in found], y=names, mode="markers", name="the set",
        marker={"size": 11, "color": SERIES[1]},
        error_x={"type": "data", "array": plus, "arrayminus": minus, "symmetric": False},
        hovertemplate="%{x:.1%} of the set<extra></extra>"))
    figure.add_trace(go.Scatter(
        x=[f["of_random"] for f in found], y=names, mode="markers", name="random sets",
        marker={"size": 11, "color": SERIES[0], "symbol": "diamond"},
        hovertemplate="%{x:.1%} of random sets<extra></extra>"))
    figure.update_layout(
        height=EDGE_PIXELS + ROW_PIXELS * len(rows), margin={"l": 0, "r": 0, "t": 30, "b": 0},
        xaxis={"tickformat": ".0%", "title": "accuracy of heads that saw neither"},
        yaxis={"autorange": "reversed", "title": None, "automargin": True},
        legend={"orientation": "h", "y": 1.0, "yanchor": "bottom", "x": 0.0})
    return figure


def _ends(figure: Figure) -> tuple[float, float]:
    """How far the interval reaches up and down from the set's accuracy, within 0 and 1; nowhere without one."""
    low, high = figure["low"], figure["high"]
    if low is None or high is None:
        return 0.0, 0.0
    return (min(high - figure["difference"], 1.0 - figure["of_set"]),
            min(figure["difference"] - low, figure["of_set"]))
