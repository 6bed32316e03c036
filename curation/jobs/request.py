"""What the app asked the engine to train: one document in the run's folder, from which its command line is made anew.

    request.json       RunRequest
    request.parquet    the decisions to train under, where the request names them: a table may be too long for JSON

Requests of older code are read as well: request.json held the settings alone, request_options.json the warm start, and
the decisions were whatever lay in request.parquet. Starts nothing: curation.jobs.run_jobs does.
"""

import sys
import time
from dataclasses import asdict, dataclass, fields
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from engine.contract import run_list
from engine.contract.config import RunConfig
from engine.contract.errors import UserError
from engine.contract.manifest import DECISION_COLUMNS
from engine.contract.methods import METHODS, Method
from engine.contract.run_dir import RunDir, RunDirError
from engine.contract.stamps import Stamp, stamp_of
from engine.contract.work_dir import write_atomic

REQUEST_NAME = "request.json"
DECISIONS_NAME = "request.parquet"
_OLD_OPTIONS_NAME = "request_options.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class RunRequest:
    """One run, as it was asked for."""

    config: RunConfig
    created: float
    """When it was asked for, in seconds since the epoch."""
    warm_start: str | None = None
    """The run whose classifier it begins with; None: it is trained from the start."""
    weights_from: str | None = None
    """The run under whose weights, split and decisions it trains plainly; None: it learns its own or has none."""
    decisions: str | None = None
    """Name of a Parquet file of DECISION_COLUMNS beside request.json; None: those in force when the run begins."""


def write_request(run: RunDir, config: RunConfig, decisions: pd.DataFrame | None = None,
                  warm_start: str | None = None, weights_from: str | None = None) -> None:
    """Write what a new run is asked for. decisions: DECISION_COLUMNS, kept as they are now whatever is decided later;
    None: those in force when it begins. warm_start: the run whose classifier it begins with. weights_from: the run
    under whose weights, split and decisions it trains."""
    if decisions is not None:
        rows = decisions[list(DECISION_COLUMNS)].astype({"sample_id": "str", "pin": "str", "excluded": "bool",
                                                         "label": "str"})
        write_atomic(run.path / DECISIONS_NAME, lambda p: rows.to_parquet(p, index=False))
    request = RunRequest(config=config, created=time.time(), warm_start=warm_start,
                         weights_from=weights_from, decisions=None if decisions is None else DECISIONS_NAME)
    run.write_json(run.path / REQUEST_NAME, asdict(request))


def read_request(run: RunDir) -> RunRequest | None:
    """The request of a run; None where nobody asked for it here. Raises RunDirError or ConfigError if it is damaged."""
    path = run.path / REQUEST_NAME
    values: object = run.read_json(path)
    if values is None:
        return None
    if isinstance(values, dict) and "config" not in values:
        return RunRequest(config=RunConfig.from_dict(values), created=path.stat().st_mtime,
                          warm_start=(run.read_json(run.path / _OLD_OPTIONS_NAME) or {}).get("warm_start"),
                          decisions=DECISIONS_NAME if (run.path / DECISIONS_NAME).exists() else None)
    names = [field.name for field in fields(RunRequest)]
    if isinstance(values, dict):
        values = {"weights_from": None} | values  # older code could not ask for it
    if not isinstance(values, dict) or set(values) != set(names) or not isinstance(values["created"], (int, float)) \
            or not all(isinstance(values[name], (str, type(None))) for name in ("warm_start", "weights_from")) \
            or values["decisions"] not in (None, DECISIONS_NAME):
        raise RunDirError(f"{path} must hold {', '.join(names)}; it was damaged from outside; start a new run")
    return RunRequest(**{**values, "config": RunConfig.from_dict(values["config"])})


def damage_of(run: RunDir) -> str:
    """run_list.damage_of, and of a run that has not begun what is broken in its request; one line, "" for a sound run.
    Files are read again only once they change."""
    return run_list.damage_of(run) or (
        "" if run.exists() else _request_damage(run.path, stamp_of(run.path / REQUEST_NAME)))


@lru_cache(maxsize=512)
def _request_damage(path: Path, stamp: Stamp) -> str:
    try:
        _asked(RunDir(path))
    except (UserError, OSError) as error:
        return str(error)
    return ""


def created_of(run: RunDir) -> float:
    """When the run was asked for, here or on the command line, in seconds since the epoch; 0 where that is damaged."""
    path = run.path / REQUEST_NAME
    try:
        if path.exists():
            return float((run.read_json(path) or {}).get("created") or path.stat().st_mtime)
        return float(run.read_config().get("created") or 0.0)
    except (UserError, AttributeError, TypeError, ValueError):  # its own page says so
        return 0.0


def train_command(project: Path, run_name: str) -> list[str]:
    """The engine's command line: resume a run that ever began, else train from the request. Raises as _asked does."""
    run = RunDir.of(project, run_name)
    head = [sys.executable, "-m", "engine", "train", str(project)]
    if run.exists():
        return [*head, "--resume", run_name]
    request, command = _asked(run), [*head, "--config", str(run.path / REQUEST_NAME), "--name", run_name]
    if request.decisions is not None:
        command += ["--decisions", str(run.path / request.decisions)]
    if request.weights_from is not None:
        command += ["--weights-from", request.weights_from]
    return command if request.warm_start is None else [*command, "--warm-start", request.warm_start]


def config_of(run: RunDir) -> RunConfig:
    """The run's settings: of its config.json, or of the request while it has not begun. Raises ConfigError, and
    RunDirError where there is neither."""
    if not run.exists():
        return _asked(run).config
    values: Any = run.read_config().get("config")  # None, or whatever a damaged file holds, is refused as no settings
    return RunConfig.of_run(values)


def method_of(run: RunDir) -> Method:
    """The method of a run; the default's where its files are damaged, of which its own page tells."""
    try:
        return METHODS[config_of(run).method]
    except UserError:
        return METHODS[RunConfig().method]


def decisions_path_of(run: RunDir) -> Path | None:
    """The file of decisions that a run trains or will train under, which need not exist for one that began under none;
    None where that is not settled yet."""
    if run.exists():
        return run.decisions_path
    request = read_request(run)
    return None if request is None or request.decisions is None else run.path / request.decisions


def warm_start_of(run: RunDir) -> str | None:
    """The run whose classifier this one begins with: it is a preview then. None for a training from the start, and for
    a run whose files are damaged: its own page says so, and lists of runs go on."""
    return _source_of(run, "warm_start")


def weights_from_of(run: RunDir) -> str | None:
    """The run under whose weights, split and decisions this one trains. None for a run of its own, and for a damaged
    one, as warm_start_of."""
    return _source_of(run, "weights_from")


def _source_of(run: RunDir, what: Literal["warm_start", "weights_from"]) -> str | None:
    try:
        if run.exists():
            source = run.read_config().get(what)
            return str(source["run"]) if source else None
        request = read_request(run)
        return None if request is None else request.warm_start if what == "warm_start" else request.weights_from
    except UserError:
        return None


def _asked(run: RunDir) -> RunRequest:
    """read_request of a run that must have one. Raises RunDirError where it has none."""
    request = read_request(run)
    if request is None:
        raise RunDirError(f"a run that has not begun must have {REQUEST_NAME}; {run.path} has none; start a new run")
    return request
