"""What a run is doing and how it went, for the Train page: live state with its buttons, warnings, curves, log.

Reads the run directory and curation.jobs.run_jobs; asks for cancel and resume. Starts nothing new.
"""

import time
from collections.abc import Callable, Container
from itertools import groupby
from pathlib import Path

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from curation.jobs import run_jobs
from curation.jobs.queue import JobError
from curation.project import Project
from curation.views.widgets.palette import SERIES
from curation.views.widgets.run_table import duration_text, job_text, state_text
from curation.views.widgets.state import plain
from engine.contract.events import EventKind, RunEvent
from engine.contract.run_dir import RunDir
from engine.contract.work_dir import StatusDocument

EVENT_WORDS: dict[EventKind, tuple[str, str]] = {
    "empty_validation": ("empty validation: no sample was routed, so weights were not updated",
                         "Raise the validation share, or turn the noise guard off if the labels are known to be good."),
    "one_class": ("one class: all validation samples are of one class",
                  "Raise the validation share, or raise the splitter's balance strength."),
    "churning": ("churning: {share:.0%} of the routed samples are new since the epoch before",
                 "Raise the splitter's hysteresis, so that samples stay in validation longer."),
    "went_back": ("early stopping: went back to the classifier of epoch {epoch}, validation accuracy {accuracy:.3f}",
                  ""),
    "never_left_warmup": ("never left warm-up: no weight was ever learned",
                          "Raise the epochs, or lower the warm-up's share of them."),
    "weights_held": ("weights were held near 1: margins lie in one heap (bimodality {bimodality:.2f}, below "
                     "{threshold}), so the classifier cannot tell wrong labels from hard ones yet",
                     "More epochs or a larger network may change that; until then it trains much like plain training "
                     "does."),
    "weights_collapse": ("weights collapse onto few samples: effective sample share {effective_sample_frac:.2f} apart "
                         "from class sizes", "Raise the reweighter's uniform pull or its smallest weight."),
    "weights_constant": ("learned weights are constant: they change nothing",
                         "Lower the reweighter's uniform pull, or give it more epochs after warm-up."),
}
"""What happened, and what helps."""
CURVES: tuple[tuple[str, str, str, dict[str, str], str], ...] = (
    ("Loss", "mean loss", ".3~g", {"train_loss": "training (weighted)", "validation_loss": "validation"},
     "Training falls and levels off. Validation should fall too; rising while training falls means over-fitting. It "
     "lies above training where its samples are hard, below where the noise guard keeps wrong labels out of it. It "
     "ends where its samples join training for the last epochs."),
    ("Accuracy on the clean split", "accuracy", ".0%", {"clean_accuracy": "clean split"},
     "Rises, then levels off. Still rising at the end: more epochs help. Falling late: the run learns wrong labels."),
    ("Validation share and churn", "share", ".0%", {"validation_share": "in validation", "churn": "churn"},
     "The share in validation stays near the one you set. Churn, the share of it that is new since the epoch before, "
     "falls as the splitter settles; above 50% it is undecided."),
    ("Effective sample share", "share", ".2~f", {"effective_sample_frac": "effective sample share"},
     "Between 0.3 and 0.99 is healthy. At 1 weights are all alike (plain training); near 0 a few samples carry the "
     "training."),
    ("Mean weight by truth", "mean weight", ".2~f",
     {"weight_mean_right": "right labels", "weight_mean_wrong": "wrong labels"},
     "Where the truth is known. Wrong labels should drift below right ones."),
    ("Wrong labels in validation", "share wrong", ".0%",
     {"guard_wrong_share": "as routed", "unguarded_wrong_share": "by lowest score alone"},
     "Where the truth is known. The lower, the better; the gap is the work of guard, coverage and hysteresis: without "
     "them the lowest scores of each class would go in."),
)
"""Title, y axis, tick format, metrics with their labels, and what a good curve looks like."""
_SILENT_SECONDS = 30.0
MAX_NAMED = 4


# -- state and buttons


def show_state(project: Project, run: RunDir, status: run_jobs.RunStatus) -> None:
    """One card: the run's state in words, its progress, and the button that fits (cancel or resume)."""
    with st.container(border=True):
        with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
            device = f" on {plain(status.device)}" if status.device else ""
            st.markdown(f"**{plain(run.name)}** &nbsp; {plain(state_text(status))}{device}{_where(status)}",
                        width="content")
            if status.is_active:
                st.button("Cancel", key=f"cancel.{run.name}", icon=":material/stop:", disabled=status.is_cancelling,
                          on_click=_act, args=(run_jobs.cancel, project, run))
            elif status.can_resume:
                st.button("Resume", key=f"resume.{run.name}", icon=":material/restart_alt:", on_click=_act,
                          args=(run_jobs.resume, project, run))
        if status.state == "queued":
            say_queue(status)
        elif status.state == "running":
            st.progress(fraction_done(status.details), text=_progress_text(status.details))
            st.caption(_pace_text(status.details))
        elif status.state == "failed":
            st.error(f"It failed: {plain(status.error) or 'no reason given; see the log below.'}",
                     icon=":material/error:")
        elif status.state == "interrupted":
            st.warning("Its process is gone without a word: the machine restarted or something killed it. Resume goes "
                       "on from its last checkpoint.", icon=":material/warning:")


def _where(status: run_jobs.RunStatus) -> str:
    """How far a run came that has stopped; nothing of one that goes on, whose progress is shown, or never began."""
    epoch, num_epochs = status.details.get("epoch"), status.details.get("num_epochs")
    return f", in epoch {epoch:,} of {num_epochs:,}" if epoch and num_epochs and not status.is_active else ""


def _act(action: Callable[[Path, str], object], project: Project, run: RunDir) -> None:
    """Cancel or resume from a button; a refusal is shown by the page's notice on the rerun that follows."""
    try:
        action(project.path, run.name)
    except JobError as error:  # it ended between the drawing and the click
        st.toast(plain(error), icon=":material/info:")


def say_queue(status: run_jobs.RunStatus) -> None:
    """What goes first on the device that a run or study waits for."""
    if not status.ahead:
        st.caption("Starts in a moment.")
        return
    names = [f"{job_text(job)}{' (running)' if job.state == 'running' else ''}" for job in status.ahead[:MAX_NAMED]]
    more = f" and {status.num_ahead - MAX_NAMED} more" if status.num_ahead > MAX_NAMED else ""
    st.caption(f"Waits for its turn on {plain(status.device)}, after {plain(', '.join(names))}{more}.")


def fraction_done(details: StatusDocument) -> float:
    """Share of all epochs' steps that are behind, 0 to 1."""
    num_epochs, num_steps = details.get("num_epochs") or 0, details.get("num_steps") or 0
    epoch, step = details.get("epoch") or 0, details.get("step") or 0
    if details.get("stage") in ("reporting", "embedding"):
        return 1.0
    if not num_epochs or not epoch:
        return 0.0
    return min(1.0, (epoch - 1 + (step / num_steps if num_steps else 0.0)) / num_epochs)


def _progress_text(details: StatusDocument) -> str:
    stage, message = str(details.get("stage") or "starting"), str(details.get("message") or "")
    if stage == "training" and details.get("epoch"):
        return (f"Training: epoch {details['epoch']:,} of {details.get('num_epochs') or 0:,}, "
                f"step {details.get('step') or 0:,} of {details.get('num_steps') or 0:,}")
    return plain(stage.capitalize()) + (f": {plain(message)}" if message else "")


def _pace_text(details: StatusDocument) -> str:
    """Throughput, time left and how long ago the engine was last heard of."""
    parts, now = [], time.time()
    if details.get("samples_per_second"):
        parts.append(f"{details['samples_per_second']:,.0f} samples a second")
    if details.get("eta_seconds") and details.get("stage") == "training":
        parts.append(f"about {duration_text(details['eta_seconds'])} of training left")
    if details.get("started"):
        parts.append(f"running for {duration_text(now - details['started'])}")
    silent = now - (details.get("heartbeat") or now)
    if silent > _SILENT_SECONDS:
        parts.append(f"no sign of life for {duration_text(silent)}, though its process lives")
    return ", ".join(parts).capitalize() or "Starting"


# -- figures and warnings


def show_figures(metrics: pd.DataFrame, only: Container[str] | None = None) -> None:
    """The last epoch's figures in one row. only: names of those to show; None: all that there are."""
    last = metrics.iloc[-1]
    shown = [
        ("Clean accuracy", "clean_accuracy", "{:.1%}", "On the clean split, which no method trains on unless you told "
         "it to validate on it."),
        ("Test accuracy", "test_accuracy", "{:.1%}", "On the test split; read once, after the last epoch."),
        ("In validation", "num_routed", "{:,.0f}", "Samples in validation by splitter, ranking, random split or pin."),
        ("Effective share", "effective_sample_frac", "{:.3f}", "Kish's effective sample size of the "
         "weights, over the samples trained on. 1: all weights alike."),
        ("Coverage", "coverage", "{:.0%}", "Share of validation samples with a same-class neighbour left in training."),
        ("Withheld", "num_withheld", "{:,.0f}", "Candidates for validation whose held-out predictions "
         "confidently name another class."),
        ("Wrong in val.", "guard_wrong_share", "{:.1%}", "Share of wrong labels among validation samples, where "
         "the truth is known."),
        ("If unguarded", "unguarded_wrong_share", "{:.1%}",
         "That share had the lowest scores of each class gone in: no guard, no coverage, no hysteresis."),
    ]
    with st.grid(min_column_width=112, gap="small"):
        for label, name, form, text in shown:
            value = last.get(name)
            if value is not None and pd.notna(value) and (only is None or name in only):
                st.metric(label, form.format(value), help=text)


def show_events(metrics: pd.DataFrame) -> None:
    """The engine's events as warnings: what, in which epochs, and what helps."""
    if "events" not in metrics:
        return
    found: dict[EventKind, tuple[list[int], RunEvent]] = {}
    for epoch, events in zip(metrics["epoch"], metrics["events"], strict=True):
        for event in events or []:
            epochs, _ = found.get(event["kind"], ([], event))
            found[event["kind"]] = ([*epochs, int(epoch)], event)
    for kind, (epochs, event) in found.items():
        many = "Epoch" if len(epochs) == 1 else "Epochs"
        words, advice = EVENT_WORDS[kind]
        st.warning(f"{many} {epoch_ranges(epochs)}: {words.format(**event)}. {advice}".rstrip(),
                   icon=":material/warning:")


def epoch_ranges(epochs: list[int]) -> str:
    """Ascending epochs as ranges: 3-7, 9."""
    runs = [[pair[1] for pair in group] for _, group in groupby(enumerate(epochs), lambda pair: pair[1] - pair[0])]
    return ", ".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)


# -- curves


def show_curves(run: RunDir, metrics: pd.DataFrame, num_epochs: int, has_learned: bool = True) -> None:
    """Curves over epochs in a grid, each with what a good one looks like, unless the run has not learned: then what is
    said above them is all there is to say."""
    with st.grid(3, min_column_width=255, gap="medium") as grid:
        for title, axis, tick, series, caption in CURVES:
            present = {c: label for c, label in series.items() if c in metrics and metrics[c].notna().any()}
            if present:
                with grid.cell():
                    st.markdown(f"**{title}**")
                    st.plotly_chart(_curve(metrics, present, axis, tick, num_epochs), key=f"curve.{run.name}.{title}",
                                    config={"displayModeBar": False})
                    if has_learned:
                        st.caption(caption)


def _curve(metrics: pd.DataFrame, series: dict[str, str], axis: str, tick: str, num_epochs: int) -> go.Figure:
    figure = go.Figure()
    for color, (column, label) in zip(SERIES, series.items(), strict=False):
        figure.add_scatter(
            x=metrics["epoch"], y=pd.to_numeric(metrics[column]), name=label, cliponaxis=False,
            mode="lines+markers" if len(metrics) < 40 else "lines", line={"width": 2, "color": color},
            marker={"size": 5}, hovertemplate=f"%{{y:{tick}}}")
    figure.update_layout(
        height=220, margin={"l": 4, "r": 8, "t": 4, "b": 4}, hovermode="x unified", showlegend=len(series) > 1,
        legend={"orientation": "h", "y": 1.0, "yanchor": "bottom", "x": 0, "xanchor": "left", "title": None},
        xaxis={"title": {"text": "epoch", "standoff": 4}, "range": [0.5, max(num_epochs, 2) + 0.5], "tickformat": "d"},
        yaxis={"title": {"text": axis, "standoff": 12}, "tickformat": tick, "nticks": 5, "automargin": True,
               "rangemode": "tozero"})
    if axis == "share of samples":
        figure.update_yaxes(range=[0, 1.02])
    elif axis == "accuracy":  # from zero, the part that matters would be a flat line
        values = metrics[list(series)].astype(float)
        figure.update_yaxes(range=[max(0.0, values.min().min() - 0.05), min(1.0, values.max().max() + 0.05)])
    return figure


def show_log(run: RunDir) -> None:
    """The end of the run's log, folded."""
    with st.expander("Log"):
        lines = run.log_tail(30)
        st.code("\n".join(lines) if lines else "Nothing yet.", language=None)
