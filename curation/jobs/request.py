"""What the app asked the engine to train, as files of the run's folder from which its command line can be made anew.

    request.json            the settings
    request_options.json    what else it was started with: {"warm_start": RUN}; only where there is any
    request.parquet         the decisions to train under; without it those in force when the run begins

Starts nothing: curation.jobs.run_jobs does.
"""

import json
import sys
from pathlib import Path
from typing import Any

import pandas as pd

from engine.contract.config import RunConfig
from engine.contract.manifest import DECISION_COLUMNS
from engine.contract.run_dir import RunDir, RunDirError
from engine.contract.work_dir import write_atomic

REQUEST_NAME = "request.json"
OPTIONS_NAME = "request_options.json"
DECISIONS_NAME = "request.parquet"


def write_request(run: RunDir, config: RunConfig, decisions: pd.DataFrame | None = None,
                  warm_start: str | None = None) -> None:
    """Write what a new run is asked for. decisions: DECISION_COLUMNS, kept as they are now whatever is decided later;
    None: those in force when it begins. warm_start: the run whose classifier it begins with."""
    if decisions is not None:
        rows = decisions[list(DECISION_COLUMNS)].astype({"sample_id": "str", "pin": "str", "excluded": "bool",
                                                         "label": "str"})
        write_atomic(run.path / DECISIONS_NAME, lambda p: rows.to_parquet(p, index=False))
    if warm_start is not None:
        run.write_json(run.path / OPTIONS_NAME, {"warm_start": warm_start})
    write_atomic(run.path / REQUEST_NAME, lambda p: p.write_text(config.to_json()))


def train_command(project: Path, run_name: str) -> list[str]:
    """The engine's command line: resume a run that ever began, else train from the request."""
    run = RunDir.of(project, run_name)
    head = [sys.executable, "-m", "engine", "train", str(project)]
    if run.exists():
        return [*head, "--resume", run_name]
    command = [*head, "--config", str(run.path / REQUEST_NAME), "--name", run_name]
    if (run.path / DECISIONS_NAME).exists():
        command += ["--decisions", str(run.path / DECISIONS_NAME)]
    options = run.read_json(run.path / OPTIONS_NAME) or {}
    return [*command, "--warm-start", options["warm_start"]] if "warm_start" in options else command


def config_of(run: RunDir) -> RunConfig:
    """The run's settings: of its config.json, or of the request while it has not begun. Raises ConfigError."""
    if run.exists():
        values: Any = run.read_config().get("config")
        return RunConfig.of_run(values)
    return RunConfig.from_dict(json.loads((run.path / REQUEST_NAME).read_text()))


def decisions_path_of(run: RunDir) -> Path | None:
    """The file of decisions that a run trains or will train under, which need not exist for one that began under none;
    None where that is not settled yet."""
    if run.exists():
        return run.decisions_path
    asked = run.path / DECISIONS_NAME
    return asked if asked.exists() else None


def warm_start_of(run: RunDir) -> str | None:
    """The run whose classifier this one begins with: it is a preview then. None for a training from the start, and for
    a run whose files are damaged: its own page says so, and lists of runs go on."""
    try:
        if run.exists():
            source = run.read_config().get("warm_start")
            return str(source["run"]) if source else None
        return (run.read_json(run.path / OPTIONS_NAME) or {}).get("warm_start")
    except RunDirError:
        return None
