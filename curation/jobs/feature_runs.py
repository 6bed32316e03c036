"""The run by which labels are judged on features alone, method discriminant: found where it is up to date, else made in
the background."""

import time
from collections.abc import Callable
from pathlib import Path

from curation.jobs import run_jobs
from curation.jobs.queue import JobError
from curation.jobs.request import config_of
from curation.jobs.run_jobs import RunStatus
from engine.contract.config import RunConfig
from engine.contract.errors import UserError
from engine.contract.feature_dir import FeatureDir
from engine.contract.run_dir import RunDir
from engine.contract.run_list import map_run

METHOD = "discriminant"
POLL_SECONDS = 0.5
SAID_SECONDS = 5.0
"""Between two lines about the same stage."""


def begin(project: Path, features: str) -> None:
    """Queue the run that shows a map and judges labels on these features, unless one is there and up to date, and do
    not wait for it. Raises FeatureError where there are no such features, JobError as run_jobs.submit."""
    run, is_there = map_run(Path(project), features)
    if not is_there:
        name = run_jobs.free_name(Path(project) / "runs", run.name)
        run_jobs.submit(Path(project), name, RunConfig(method=METHOD, features=features))


def judged_on(project: Path, features: str, say: Callable[[str], None]) -> RunDir:
    """The run that judges labels on the features `features`, of the data and decisions as they are: the one that is
    there, else a new one, queued with the others and waited for; say hears how it goes.

    Raises FeatureError where there are no such features, JobError where the run fails or is cancelled.
    """
    project = Path(project).resolve()
    FeatureDir.of(project, features).read_samples()
    active = _active(project, features)
    if active is not None:
        say(f"waiting for run {active.name}, which is under way")
        _wait(active, say)
    run, is_there = map_run(project, features)
    if is_there:
        return run
    if run.path.exists():  # asked for before, and stopped before it began
        run_jobs.resume(project, run.name)
    else:
        run_jobs.submit(project, run.name, RunConfig(method=METHOD, features=features))
    say(f"run {run.name}: labels are judged on features {features}, out of fold; nothing is trained")
    _wait(run, say)
    return run


def _active(project: Path, features: str) -> RunDir | None:
    """A queued or running run of that method on those features."""
    for run in run_jobs.run_dirs(project):
        try:
            config = config_of(run)
            if (config.method, config.features) == (METHOD, features) and run_jobs.status_of(run).is_active:
                return run
        except UserError:  # a damaged run; its own page says so
            continue
    return None


def _wait(run: RunDir, say: Callable[[str], None]) -> None:
    """Wait for a run's end. Raises JobError unless it is done."""
    said, at = "", 0.0
    while (status := run_jobs.status_of(run)).is_active:
        stage = _stage(status)
        if stage.partition(",")[0] != said or time.monotonic() - at > SAID_SECONDS:
            said, at = stage.partition(",")[0], time.monotonic()
            say(f"run {run.name}: {stage}")
        time.sleep(POLL_SECONDS)
    if status.state != "done":
        why = f": {status.error}" if status.error else ""
        raise JobError(f"labels are judged by a run that is done; {run.name!r} is {status.state}{why}; mend that and "
                       "try again")


def _stage(status: RunStatus) -> str:
    if status.state == "queued":
        return f"waits for {status.num_ahead} others" if status.num_ahead else "waits for its turn"
    stage, message = str(status.details.get("stage") or "starting"), str(status.details.get("message") or "")
    return f"{stage}, {message}" if message and stage != "starting" else stage
