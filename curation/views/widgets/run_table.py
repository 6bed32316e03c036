"""The table of a project's runs on the Train page: one row a run, with what it was and how it came out."""

import time
from datetime import datetime
from pathlib import Path

import pandas as pd
import streamlit as st

from curation.jobs import run_jobs
from curation.jobs.queue import Job
from curation.jobs.request import config_of, warm_start_of, weights_from_of
from engine.contract.methods import METHODS
from engine.contract.run_dir import RunDir
from engine.contract.run_document import RunDocument

COLUMNS = {
    "name": st.column_config.TextColumn("Run", pinned=True, width=150),
    "state": st.column_config.TextColumn("State", width=120),
    "method": st.column_config.TextColumn("Method", width=150),
    "data": st.column_config.TextColumn("On", width=90, help="The features that a head was trained on, or the images."),
    "seed": st.column_config.NumberColumn("Seed", format="%d", width=52),
    "epochs": st.column_config.TextColumn("Epochs", width=66, help="Finished, of all."),
    "clean_accuracy": st.column_config.NumberColumn(
        "Clean acc.", format="%.1f%%", help="Accuracy on the clean split after the last epoch."),
    "test_accuracy": st.column_config.NumberColumn(
        "Test acc.", format="%.1f%%", help="Accuracy on the test split, read once, after the last epoch."),
    "effective_sample_frac": st.column_config.NumberColumn(
        "Effective share", format="%.3f", help="Kish's effective sample size of the weights, over the samples in "
        "training. 1: all weights alike. Below 0.3: a few samples carry the training."),
    "coverage": st.column_config.NumberColumn(
        "Coverage", format="%.1f%%", help="Share of validation samples with a same-class neighbour left in training. "
        "Low: training lacks what it is tested on."),
    "num_withheld": st.column_config.NumberColumn(
        "Withheld", format="localized", help="Samples that the noise guard kept out of validation in the last epoch."),
    "guard_wrong_share": st.column_config.NumberColumn(
        "Wrong in val.", format="%.1f%%", help="Share of wrong labels among the validation samples, where the true "
        "labels are known."),
    "unguarded_wrong_share": st.column_config.NumberColumn(
        "If unguarded", format="%.1f%%",
        help="That share had the lowest scores of each class gone in: no guard, no coverage, no hysteresis."),
    "num_decisions": st.column_config.NumberColumn(
        "Decisions", format="localized", help="Samples pinned, excluded or relabelled that the run trained under."),
    "started": st.column_config.DatetimeColumn("Started", format="MMM D, HH:mm"),
    "duration": st.column_config.TextColumn("Duration"),
}
_LAST_METRICS = ("clean_accuracy", "test_accuracy", "effective_sample_frac", "coverage", "num_withheld",
                 "guard_wrong_share", "unguarded_wrong_share")
_SHARES = ("clean_accuracy", "test_accuracy", "coverage", "guard_wrong_share", "unguarded_wrong_share")


def runs_frame(runs: list[RunDir]) -> pd.DataFrame:
    """One row a run in the given order, with the COLUMNS (shares in percent); missing where it has none yet."""
    frame = pd.DataFrame([_row(run) for run in runs], columns=list(COLUMNS))
    for name in (*_LAST_METRICS, "seed", "num_decisions"):
        frame[name] = pd.to_numeric(frame[name])
    frame[list(_SHARES)] *= 100.0
    return frame


def _row(run: RunDir) -> dict[str, object]:
    status = run_jobs.status_of(run)
    try:
        document = run.read_config() if run.exists() else RunDocument(config={})
        config, metrics = config_of(run), run.read_metrics()
    except ValueError as error:  # one damaged run must not hide the others
        return {"name": run.name, "state": f"unreadable: {error}"}
    method, given = METHODS[config.method], weights_from_of(run)
    row: dict[str, object] = {
        "name": run.name, "state": state_text(status), "seed": config.seed,
        "method": "".join(("Preview: " if warm_start_of(run) else "", method.title,
                           f", weights of {given}" if given else "")),
        "data": config.features or "images",
        "epochs": f"{len(metrics)} / {config.epochs}" if method.is_trained else None,
        "num_decisions": document.get("num_decisions"),
    }
    if len(metrics):
        last = metrics.iloc[-1]
        row |= {name: last[name] for name in _LAST_METRICS
                if name in last and (method.is_trained or name.endswith("_accuracy"))}
    started = float(status.details.get("started") or document.get("created") or 0)
    if started:
        row["started"] = pd.Timestamp(datetime.fromtimestamp(started))
        end = time.time() if status.state == "running" else status.details.get("heartbeat")
        row["duration"] = duration_text(end - started) if end and status.state != "queued" else ""
    return row


def state_text(status: run_jobs.RunStatus) -> str:
    """A run's state in a few words, the same on its card, in the table and in the sidebar; plain text, not Markdown."""
    if status.is_active and status.is_cancelling:
        return "stopping"
    if status.state == "queued" and status.ahead:
        first, num_more = status.ahead[0], status.num_ahead - 1
        return f"queued behind {job_text(first)}" + (f" and {num_more} more" if num_more else "")
    return status.state


def job_text(job: Job) -> str:
    """What works on a device, as other projects see it too; plain text, not Markdown."""
    kind = "" if job.kind == "run" else f"{job.kind} "
    return f"{kind}{job.run} of {Path(job.project).name}"


def duration_text(seconds: float | None) -> str:
    """A length of time as a person says it: 42 s, 3 min 5 s, 2 h 10 min."""
    if seconds is None or seconds < 0:
        return ""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
