"""The table of a project's runs on the Train page: one row a run, with what it was and how it came out."""

import time
from datetime import datetime
from pathlib import Path
from typing import cast

import pandas as pd
import streamlit as st
from streamlit.elements.lib.column_types import ColumnConfig

from curation.jobs import run_jobs
from curation.jobs.queue import Job
from curation.jobs.request import config_of, warm_start_of, weights_from_of
from curation.project import Project
from curation.terms import define
from curation.views.widgets.accuracy import accuracy_help, accuracy_name
from curation.words import counted
from engine.contract.methods import METHODS
from engine.contract.run_dir import RunDir
from engine.contract.run_document import RunDocument
from engine.contract.studies.study_dir import StudyStatus

NAMES = ("name", "state", "method", "data", "seed", "epochs", "clean_accuracy", "test_accuracy",
         "effective_sample_frac", "coverage", "num_withheld", "guard_wrong_share", "unguarded_wrong_share",
         "num_decisions", "started", "duration")
"""Columns, in order."""
WITHHELD_HELP = "Samples that the guard kept out of validation in the last epoch."
WRONG_HELP = "Share of wrong labels among the samples in validation. Counted where the truth is known."
NOISE_HELP = "How many given labels are wrong, as the run estimates it from held-out predictions. An audit counts them."
UNGUARDED_HELP = ("What that share would be without guard and coverage: had the lowest scores of each class simply "
                  "gone into validation.")
_LAST_METRICS = ("clean_accuracy", "test_accuracy", "effective_sample_frac", "coverage", "num_withheld",
                 "guard_wrong_share", "unguarded_wrong_share")
_SHARES = ("clean_accuracy", "test_accuracy", "coverage", "guard_wrong_share", "unguarded_wrong_share")


def columns_of(project: Project) -> dict[str, ColumnConfig]:
    """How the table of the project's runs is shown: every one of NAMES."""
    text, number = st.column_config.TextColumn, st.column_config.NumberColumn
    return {
        "name": text("Run", pinned=True, width=150), "state": text("State", width=120),
        "method": text("Method", width=150),
        "data": text("On", width=90, help="The features that a head was trained on, or the images."),
        "seed": number("Seed", format="%d", width=52),
        "epochs": text("Epochs", width=66, help="Finished, of all."),
        "clean_accuracy": number(f"{accuracy_name(project, 'clean').split()[0].capitalize()} acc.", format="%.1f%%",
                                 help=accuracy_help(project, "clean")),
        "test_accuracy": number("Test acc.", format="%.1f%%", help=accuracy_help(project, "test")),
        "effective_sample_frac": number("Effective share", format="%.2f", help=define("effective sample size")),
        "coverage": number("Coverage", format="%.1f%%", help=define("coverage")),
        "num_withheld": number("Withheld", format="localized", help=define("guard", after=WITHHELD_HELP)),
        "guard_wrong_share": number("Wrong in val.", format="%.1f%%", help=WRONG_HELP),
        "unguarded_wrong_share": number("Without guard", format="%.1f%%", help=UNGUARDED_HELP),
        "num_decisions": number("Decisions", format="localized",
                                help="Samples pinned, excluded or relabelled when the run began."),
        "started": st.column_config.DatetimeColumn("Started", format="MMM D, HH:mm"), "duration": text("Duration")}


def runs_frame(runs: list[RunDir]) -> pd.DataFrame:
    """One row a run in the given order, with NAMES (shares in percent); missing where it has none yet."""
    frame = pd.DataFrame([_row(run) for run in runs], columns=list(NAMES))
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


STAGE_WORDS = {"ranking samples": "cross-fitting", "fitting": "fitting the classes", "reporting": "predicting",
               "embedding": "making the map"}
"""Stages of engine.contract.work_dir.StatusDocument whose names say too little; the others stand as they are."""


def doing_text(status: run_jobs.RunStatus) -> str:
    """What a running job is at: "epoch 3 of 12", "computing features, 3,200 of 12,000", "2 of 10 runs"; plain text, and
    "" where it says nothing of itself."""
    details = status.details
    study = cast(StudyStatus, details)
    if study.get("total"):
        return f"{study.get('done') or 0:,} of {counted(study['total'], 'run')}"
    stage, message = str(details.get("stage") or "starting"), str(details.get("message") or "")
    if stage == "training" and details.get("epoch"):
        return f"epoch {details['epoch']:,} of {details.get('num_epochs') or 0:,}"
    words = STAGE_WORDS.get(stage, stage)
    return f"{words}, {message}" if message else words


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
