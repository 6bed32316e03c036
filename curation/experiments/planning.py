"""Retraining as an experiment: the same settings with the decisions in force and with none, paired by seed.

Plans which runs that takes, which of them exist already, and what the rest will cost; starts the rest through
curation.jobs.run_jobs. A plan only reads the runs of the project. Compares nothing:
curation.experiments.effects does.
"""

import dataclasses
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import pandas as pd

from curation.experiments import repeats
from curation.jobs import request, run_jobs
from engine.contract.config import RunConfig
from engine.contract.errors import UserError
from engine.contract.manifest import DECISION_COLUMNS, read_decisions
from engine.contract.run_dir import RunDir

Side = Literal["without", "with"]
PlannedState = Literal["new", "done", "running", "queued"]
SIDES: tuple[Side, ...] = get_args(Side)
"""Of each seed the run without decisions goes first, so that a pair is complete as soon as it can be."""
MAX_SEEDS = 10
PREVIEW_EPOCHS = 3
PREVIEW_LR_SHARE = 0.2
"""A preview goes on from a trained classifier: at the full learning rate it would first unlearn most of it."""


class ExperimentError(UserError):
    """An experiment cannot be planned. One line, ready to show."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PlannedRun:
    """One run of an experiment."""

    name: str
    seed: int
    side: Side
    state: PlannedState
    """new, or what an existing run that is taken instead does: done, running or queued."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ExperimentPlan:
    """The 2 k runs of an experiment, and what is known of their cost."""

    config: RunConfig
    runs: list[PlannedRun]
    seconds: float | None
    """Of one run, as the run it takes its settings from took; None where that has not finished an epoch."""

    @property
    def new(self) -> list[PlannedRun]:
        return [run for run in self.runs if run.state == "new"]

    def num(self, *states: PlannedState) -> int:
        return sum(run.state in states for run in self.runs)


def plan_experiment(project: Path, base: RunDir, num_seeds: int, decisions: pd.DataFrame,
                    manifest_digest: str) -> ExperimentPlan:
    """With and without `decisions` (DECISION_COLUMNS) by the settings of `base`, of num_seeds seeds from its own on, or
    from the lowest of the runs that can be taken.

    A run of the same settings, seed, manifest and decisions that is done, running or queued is taken as it is.
    Raises ExperimentError for no decisions, a number of seeds outside 1 to MAX_SEEDS, or a base that is a preview
    or trains under another run's weights.
    """
    if not 1 <= num_seeds <= MAX_SEEDS:
        raise ExperimentError(f"an experiment has 1 to {MAX_SEEDS} seeds; got {num_seeds}; choose fewer or more")
    if decisions.empty:
        raise ExperimentError("an experiment compares training with decisions and without; none is in force; decide "
                              "on samples first")
    if (source := request.warm_start_of(base)) is not None:
        raise ExperimentError(f"an experiment takes its settings from a full run; {base.name} is a preview of "
                              f"{source}; choose {source}")
    if (source := request.weights_from_of(base)) is not None:
        raise ExperimentError(f"an experiment trains under the decisions in force; {base.name} trains under the "
                              f"weights and decisions of {source}; choose {source}")
    config = request.config_of(base)
    wanted = {"without": decisions.iloc[:0], "with": decisions}
    keys = {side: repeats.key_of(config, manifest_digest, repeats.digest_of(rows)) for side, rows in wanted.items()}
    there = existing_runs(run_jobs.run_dirs(project), manifest_digest)
    stem, runs = free_stem(project, base.name), []
    first = min([config.seed, *(seed for key, seed in there if key in keys.values())])
    for seed in range(first, first + num_seeds):
        for side in SIDES:
            name, state = there.get((keys[side], seed), (f"{stem}-s{seed}-{side}", "new"))
            runs.append(PlannedRun(name=name, seed=seed, side=side, state=state))
    return ExperimentPlan(config=config, runs=runs, seconds=run_seconds(base))


def existing_runs(runs: Sequence[RunDir], manifest_digest: str) -> dict[tuple[object, int], tuple[str, PlannedState]]:
    """(key, seed) -> (name, state) of the runs that may be taken: of several a finished one, of those the newest.
    manifest_digest: of the data as they are, which a run that has not begun yet will train on."""
    found: dict[tuple[object, int], tuple[str, PlannedState]] = {}
    for run in reversed(runs):  # they come newest first
        try:
            decisions, config = request.decisions_path_of(run), request.config_of(run)
            digest = run.read_config().get("manifest_digest") if run.exists() else manifest_digest
        except ValueError:  # a damaged run is none to build on; its own page says what is wrong
            continue
        state = run_jobs.status_of(run).state
        is_own = request.warm_start_of(run) is None and request.weights_from_of(run) is None
        if decisions is None or not is_own or state not in ("done", "running", "queued"):
            continue
        key = (repeats.key_of(config, digest, repeats.digest_of_decisions(decisions)), config.seed)
        if key not in found or found[key][1] != "done" or state == "done":
            found[key] = (run.name, state)
    return found


def start(project: Path, plan: ExperimentPlan, decisions: pd.DataFrame) -> list[str]:
    """Queue the new runs of a plan; their names. Each keeps the decisions as they are now. Raises JobError."""
    for run in plan.new:
        rows = decisions if run.side == "with" else decisions.iloc[:0]
        run_jobs.submit(project, run.name, dataclasses.replace(plan.config, seed=run.seed),
                    decisions=rows[list(DECISION_COLUMNS)])
    return [run.name for run in plan.new]


def preview_config(config: RunConfig, num_samples: int) -> RunConfig:
    """The settings of a preview of a run of this config on so many samples: a few epochs, with no map."""
    return dataclasses.replace(config, epochs=min(PREVIEW_EPOCHS, config.epochs),
                               lr=config.peak_lr(num_samples) * PREVIEW_LR_SHARE, embedding="none")


def num_usable(run: RunDir, decisions: pd.DataFrame) -> int:
    """Samples that a training like this run's can use under `decisions` (DECISION_COLUMNS), held out of training now
    and then or not: what the engine settles batches and learning rate by. 0 before the run's first epoch ends."""
    metrics = run.read_metrics()
    if metrics.empty:
        return 0
    then, now = (int(rows["excluded"].sum()) for rows in (read_decisions(run.decisions_path), decisions))
    return int(metrics["num_train"].iloc[-1] + metrics["num_validation"].iloc[-1]) + then - now


def run_seconds(run: RunDir) -> float | None:
    """How long a run took, its map included where it is done; of one that is not, its epochs so far made whole."""
    metrics, status = run.read_metrics(), run.read_status()
    if metrics.empty:
        return None
    training = float(metrics["seconds"].mean()) * request.config_of(run).epochs
    wall = float(status.get("heartbeat") or 0.0) - float(status.get("started") or 0.0)
    return max(training, wall) if status["state"] == "done" and status.get("started") else training


def free_stem(project: Path, name: str) -> str:
    """'first-e1', 'first-e2', ...: the first that begins the name of no run. A run of an earlier experiment gives the
    stem of the run that that one was of."""
    stem = re.sub(r"-e[0-9]{1,4}-s[0-9]{1,10}-(with|without)$", "", name)[:36]
    folder, number = Path(project) / "runs", 1
    taken = [path.name for path in folder.iterdir()] if folder.is_dir() else []
    while any(other.startswith(f"{stem}-e{number}-") for other in taken):
        number += 1
    return f"{stem}-e{number}"
