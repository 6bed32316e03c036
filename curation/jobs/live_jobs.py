"""The live loop in the background: a process a run that follows decisions, outside of the queue of trainings.

It must not wait behind an hour's training, and lets one go first by its priority. It is started when a page looks and
it is not there, and ends by itself some minutes after the last look.
"""

import sys
import time
from pathlib import Path
from typing import Literal, NamedTuple

from curation.jobs.run_jobs import OUTPUT_NAME, last_words, start_detached
from curation.ledger import people
from engine.contract.disk.failures import disk_line
from engine.contract.disk.processes import process_start
from engine.contract.errors import UserError
from engine.contract.live.live_dir import LiveDir
from engine.contract.methods import TRAINABLE
from engine.contract.run_dir import RunDir
from engine.contract.work_dir import host

RETRY_SECONDS = 30.0
"""What failed is not tried again sooner."""
Following = Literal["starting", "working", "waiting", "failed", "stopped"]


class LiveStatus(NamedTuple):
    """What the process of a live folder does now. error: why it failed, or why it cannot heed the last decisions; one
    line."""

    state: Following
    error: str = ""


def can_follow(run: RunDir) -> bool:
    """Whether it is a finished run on features, which alone are quick enough, of a method of ours."""
    try:
        config = run.read_config()["config"]
        return bool(config.get("features")) and config.get("method") in TRAINABLE and \
            run.read_status()["state"] == "done"
    except (UserError, KeyError, AttributeError):  # damaged, or of older code: its own page says so
        return False


def look(project: Path, name: str, command: list[str] | None = None) -> LiveStatus:
    """Say that somebody looks at a run's live folder, and start its process where none is there.

    `command` replaces the engine's (tests). What was killed starts again at once, what failed after RETRY_SECONDS. Who
    may only look sees what others have followed, and keeps no process busy.
    """
    live = LiveDir.of(project, name)
    if reason := people.refusal("reviewer", "following a run live"):
        status = status_of(live)
        return LiveStatus("failed", reason) if status.state in ("stopped", "failed") else status
    try:
        live.touch_reader()
    except OSError as error:  # a project that may only be read, a full disk
        return LiveStatus("failed", disk_line(error, live.path) or str(error))
    status = status_of(live)
    if status.state == "stopped" or (status.state == "failed" and _age(live) > RETRY_SECONDS):
        live.clear_cancel()
        pid = start_detached(command or [sys.executable, "-m", "engine", "live", str(Path(project).resolve()), "--run",
                                         name], live.path / OUTPUT_NAME)
        live.write_status(state="queued", heartbeat=time.time(), pid=pid, pid_started=process_start(pid), host=host())
        return LiveStatus("starting")
    return status


def stop(project: Path, name: str) -> None:
    """Ask the process to end; where somebody else looks, it starts again. Nothing for who may only look."""
    live = LiveDir.of(project, name)
    if people.may("reviewer") and live.path.is_dir() and status_of(live).state in ("starting", "working", "waiting"):
        live.request_cancel()


def status_of(live: LiveDir) -> LiveStatus:
    """What is being done about a live folder; a damaged status is none."""
    try:
        status = live.read_status()
    except UserError:
        return LiveStatus("stopped")
    if status["is_alive"] and status["state"] == "running":
        said = str(status.get("message") or "")
        return LiveStatus("waiting", said) if status.get("stage") == "waiting" else LiveStatus("working")
    if status["is_alive"] and status["state"] == "queued":
        return LiveStatus("starting")
    if status["state"] == "failed":
        return LiveStatus("failed", str(status.get("error") or ""))
    if status["state"] == "queued" and status.get("pid"):  # it ended before it had a status
        return LiveStatus("failed", last_words(live))
    return LiveStatus("stopped")


def _age(live: LiveDir) -> float:
    """Seconds since its status was last written."""
    return time.time() - float(live.read_status().get("heartbeat") or 0.0)
