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
from curation.terms import define
from curation.views.runs.run_table import (
    NOISE_HELP,
    UNGUARDED_HELP,
    WITHHELD_HELP,
    WRONG_HELP,
    doing_text,
    duration_text,
    job_text,
    state_text,
)
from curation.views.widgets.accuracy import accuracy_help, accuracy_name
from curation.views.widgets.palette import SERIES
from curation.views.widgets.state import plain
from engine.contract.events import EventKind, RunEvent
from engine.contract.run_dir import RunDir
from engine.contract.work_dir import StatusDocument, host

EVENT_WORDS: dict[EventKind, tuple[str, str]] = {
    "empty_validation": ("no sample went to validation, so weights were not updated",
                         "Raise the validation share, or turn the guard off if the labels are known to be good."),
    "one_class": ("all validation samples are of one class",
                  "Raise the validation share, or the splitter's balance strength."),
    "churning": ("{share:.0%} of the routed samples are new since the epoch before",
                 "Raise the splitter's stickiness, so that samples stay in validation longer."),
    "went_back": ("early stopping went back to the classifier of epoch {epoch}, validation accuracy {accuracy:.3f}",
                  ""),
    "never_left_warmup": ("the run never left warm-up, so no weight was learned",
                          "Train for more epochs, or lower the warm-up share."),
    "weights_held": ("weights were held near 1, since all margins lie close together (bimodality {bimodality:.2f}, "
                     "below {threshold}): the classifier cannot tell wrong labels from hard ones yet",
                     "More epochs or a larger network may change that. Until then it is much like plain training."),
    "weights_idle": ("the learned weights hardly acted (freedom {freedom:.2f}): samples at rest did no better under "
                     "them than under equal weights",
                     "Nothing is wrong: on these data the run was close to plain training."),
    "weights_collapse": ("the weights gather on few samples: effective share {effective_sample_frac:.2f}, apart from "
                         "class sizes", "Raise the reweighter's uniform pull or its smallest weight."),
    "weights_constant": ("the learned weights are all the same and change nothing",
                         "Lower the reweighter's uniform pull, or train for more epochs after warm-up."),
}
"""What happened, and what helps."""
CURVES: tuple[tuple[str, str, str, dict[str, str], str, str], ...] = (
    ("Loss", "mean loss", ".3~g", {"train_loss": "training (weighted)", "validation_loss": "validation"},
     "Training falls, then levels off. Validation should fall too; if it rises while training falls, the run overfits.",
     "Validation lies above training where its samples are hard, below it where the guard keeps wrong labels out. It "
     "ends where its samples join training for the last epochs."),
    ("Accuracy on the split clean", "accuracy", ".0%", {"clean_accuracy": "split clean"},
     "Rises, then levels off. Still rising at the end: train longer. Falling late: the run learns wrong labels.", ""),
    ("Validation share", "share", ".0%", {"validation_share": "in validation", "churn": "of those, new"},
     "The share in validation stays near the one you set. The share of newcomers falls as the splitter settles; above "
     "50% it has not decided.", define("validation", "routed")),
    ("Effective share", "share", ".2~f", {"effective_sample_frac": "effective share"},
     "Good between 0.3 and 0.99.", define("effective sample size")),
    ("Freedom of the weights", "freedom", ".2~f", {"weight_freedom": "freedom"},
     "Near 1 where labels are noisy or classes unequal, near 0 where equal weights do as well.", define("freedom")),
    ("Mean weight by truth", "mean weight", ".2~f",
     {"weight_mean_right": "right labels", "weight_mean_wrong": "wrong labels"},
     "Where the truth is known. Wrong labels should drift below right ones.", define("weight")),
    ("Wrong labels in validation", "share wrong", ".0%",
     {"guard_wrong_share": "as routed", "unguarded_wrong_share": "without the guard"},
     "Where the truth is known: the lower, the better. The gap between the lines is what the guard does.",
     define("guard", after=UNGUARDED_HELP)),
)
"""Title, y axis, tick format, metrics with their labels, what a good curve looks like, and what the title means."""
_SILENT_SECONDS = 30.0
MAX_NAMED = 4


# -- state and buttons


def show_state(project: Project, run: RunDir, status: run_jobs.RunStatus) -> None:
    """One card: the run's state in words, its progress, and the button that fits (cancel or resume)."""
    with st.container(border=True):
        with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
            node = status.details.get("host")
            device = f" on {plain(status.device)}" if status.device else ""
            device += f" of {plain(node)}" if device and node not in (None, host()) else ""
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
            st.progress(fraction_done(status.details), text=_progress_text(status))
            st.caption(_pace_text(status.details))
        elif status.state == "failed":
            st.error(f"It failed: {plain(status.error) or 'no reason given; see the log below.'}",
                     icon=":material/error:")
        elif status.state == "interrupted":
            st.warning("Its process ended without a word: the machine restarted, or something stopped it. Resume goes "
                       "on from its last checkpoint.", icon=":material/warning:")


def _where(status: run_jobs.RunStatus) -> str:
    """How far a run came that has stopped; nothing of one that goes on, whose progress is shown, or never began."""
    epoch, num_epochs = status.details.get("epoch"), status.details.get("num_epochs")
    is_trained = epoch and num_epochs and num_epochs > 1  # what is fitted at once has one epoch in name alone
    return f", in epoch {epoch:,} of {num_epochs:,}" if is_trained and not status.is_active else ""


def _act(action: Callable[[Path, str], object], project: Project, run: RunDir) -> None:
    """Cancel or resume from a button; a refusal is shown by the page's notice on the rerun that follows."""
    try:
        action(project.path, run.name)
    except JobError as error:  # it ended between the drawing and the click
        st.toast(plain(error), icon=":material/info:")


def say_queue(status: run_jobs.RunStatus) -> None:
    """What goes first on the device that a run or study waits for."""
    if status.slurm is not None:
        why = f" ({plain(status.why_queued)})" if status.why_queued not in ("", "None") else ""
        st.caption(f"Waits in the cluster's queue as job {plain(status.slurm)}{why}.")
        return
    if not status.ahead:
        st.caption("Starts in a moment.")
        return
    names = [f"{job_text(job)}{' (running)' if job.state == 'running' else ''}" for job in status.ahead[:MAX_NAMED]]
    more = f" and {status.num_ahead - MAX_NAMED} more" if status.num_ahead > MAX_NAMED else ""
    st.caption(f"Waits for its turn on {plain(status.device)}, behind {plain(', '.join(names))}{more}.")


def fraction_done(details: StatusDocument) -> float:
    """Share of all epochs' steps that are behind, 0 to 1."""
    num_epochs, num_steps = details.get("num_epochs") or 0, details.get("num_steps") or 0
    epoch, step = details.get("epoch") or 0, details.get("step") or 0
    if details.get("stage") in ("reporting", "embedding"):
        return 1.0
    if not num_epochs or not epoch:
        return 0.0
    return min(1.0, (epoch - 1 + (step / num_steps if num_steps else 0.0)) / num_epochs)


def _progress_text(status: run_jobs.RunStatus) -> str:
    """doing_text as a line of its own, a training's with its step."""
    details, doing = status.details, doing_text(status)
    if details.get("stage") == "training" and details.get("num_steps"):
        doing += f", step {details.get('step') or 0:,} of {details['num_steps']:,}"
    return plain(doing[0].upper() + doing[1:])


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
        parts.append(f"its process lives but has said nothing for {duration_text(silent)}")
    return ", ".join(parts).capitalize() or "Starting"


# -- figures and warnings


def show_figures(project: Project, metrics: pd.DataFrame, only: Container[str] | None = None) -> None:
    """The last epoch's figures in one row. only: names of those to show; None: all that there are."""
    last = metrics.iloc[-1]
    names = {split: accuracy_name(project, split) for split in ("clean", "test")}
    shown = [
        *((f"{name[0].upper()}{name[1:]}", f"{split}_accuracy", "{:.1%}", accuracy_help(project, split))
          for split, name in names.items()),
        ("In validation", "num_routed", "{:,.0f}", define("validation")),
        ("Effective share", "effective_sample_frac", "{:.2f}", define("effective sample size")),
        ("Freedom", "weight_freedom", "{:.2f}", define("freedom")),
        ("Est. wrong", "label_noise", "{:.1%}", NOISE_HELP),
        ("Coverage", "coverage", "{:.0%}", define("coverage")),
        ("Withheld", "num_withheld", "{:,.0f}", define("guard", after=WITHHELD_HELP)),
        ("Wrong in val.", "guard_wrong_share", "{:.1%}", WRONG_HELP),
        ("Without guard", "unguarded_wrong_share", "{:.1%}", UNGUARDED_HELP),
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
        for title, axis, tick, series, caption, meaning in CURVES:
            present = {c: label for c, label in series.items() if c in metrics and metrics[c].notna().any()}
            if present:
                with grid.cell():
                    st.markdown(f"**{title}**", help=meaning or None)
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
