"""Transfer scores in the background: queued with the runs, made by `python -m engine transfer`.

A score's folder has the status and cancel files of a run's, so curation.jobs.run_jobs starts, watches and stops it.
"""

import sys
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd

from curation.jobs import run_jobs
from curation.jobs.queue import JobError
from curation.jobs.run_jobs import RunStatus
from engine.contract.run_dir import RunDir
from engine.contract.transfers.transfer_dir import FOLDER, TransferDir, TransferRequest, TransferScore, transfers_of

POLL_SECONDS = 0.5


def submit(project: Path, request: TransferRequest, samples: pd.DataFrame,
           command: list[str] | None = None) -> TransferDir:
    """Queue a score and start its process; its folder. samples: SAMPLE_COLUMNS. `command` replaces the engine's
    (tests). Raises JobError."""
    project = Path(project).resolve()
    stem = f"{request['run'] or request['set']}-{request['features']}"[:56]
    folder = TransferDir.of(project, run_jobs.free_name(project / FOLDER, stem))
    run_jobs.claim(folder.path, "transfer score")
    folder.write_request(request, samples)
    command = command or [sys.executable, "-m", "engine", "transfer", str(project), "--name", folder.name]
    run_jobs.enqueue(project, "transfer", RunDir(folder.path), "cpu", command)
    return folder


def cancel(project: Path, name: str) -> None:
    """Ask a queued or running score to stop. Raises JobError if it is neither."""
    run_jobs.cancel_in(RunDir(TransferDir.of(Path(project).resolve(), name).path))


def status_of(folder: TransferDir) -> RunStatus:
    """What is being done about a score, in a run's words."""
    return run_jobs.status_of(RunDir(folder.path))


def newest(project: Path) -> TransferDir | None:
    """The score that was asked for last; None before the first."""
    return next(iter(transfers_of(project)), None)


def waited_for(folder: TransferDir, progress: Callable[[int, int, str], None]) -> TransferScore:
    """The score, once it is made; an interrupt cancels it. progress: told the steps done, all steps and the stage.
    Raises JobError where it fails or is cancelled."""
    try:
        while (status := status_of(folder)).is_active:
            details = status.details
            if details.get("num_steps"):
                progress(int(details.get("step") or 0), int(details["num_steps"] or 0), str(details.get("stage") or ""))
            time.sleep(POLL_SECONDS)
    except KeyboardInterrupt:
        cancel(folder.path.parents[1], folder.name)
        raise
    if status.state != "done":
        why = f": {status.error}" if status.error else ""
        raise JobError(f"a transfer score is one that was made; {folder.name!r} is {status.state}{why}; mend that and "
                       "try again")
    return folder.read_score()
