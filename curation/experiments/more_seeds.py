"""What it takes to know whether one run is better than another: both again with more seeds, paired by seed.

Plans which runs that takes and what they cost, and starts them through curation.jobs.run_jobs. Compares nothing.
"""

import dataclasses
import re
from dataclasses import dataclass

from curation.experiments.planning import existing_runs, run_seconds
from curation.experiments.repeats import experiment_key
from curation.jobs import run_jobs
from curation.jobs.request import config_of, method_of, weights_from_of
from curation.project import Project
from engine.contract.manifest import MANIFEST_NAME, file_digest, read_decisions
from engine.contract.run_dir import RunDir

STEPS = (3, 5, 10)
"""Pairs of one seed to have next: three give an interval that means something."""


@dataclass(frozen=True, kw_only=True, slots=True)
class MoreSeeds:
    """The runs that bring two sides to so many pairs of one seed."""

    num_pairs: int
    new: list[tuple[RunDir, int]]
    """(the run to repeat, the seed) of each."""
    seconds: float | None
    """Of all new runs one after another; None where a side has not finished an epoch."""


def plan_more_seeds(project: Project, a: RunDir, b: RunDir) -> MoreSeeds | None:
    """The next step up from the pairs there are; None where more seeds would tell nothing or cannot be trained.

    That is so of two runs that differ by their seed alone, of a preview or imported predictions, of two runs whose
    result no seed changes, of a run under another run's weights, on data that have been imported again since, while
    such a run works or waits already, and above the last of STEPS. Decisions are each side's own, whatever is decided
    now.
    """
    sides = (a, b)
    if experiment_key(a) == experiment_key(b):
        return None
    if any(experiment_key(run) is None or weights_from_of(run) is not None for run in sides) or \
            not any(method_of(run).is_trained for run in sides):
        return None
    digest = file_digest(project.path / MANIFEST_NAME)
    if any(run.read_config().get("manifest_digest") != digest for run in sides):
        return None
    known = existing_runs(run_jobs.run_dirs(project.path), digest)
    found = [{seed: state for (key, seed), (_, state) in known.items() if key == experiment_key(run)} for run in sides]
    if any(state != "done" for own in found for state in own.values()):
        return None
    there = [set(own) for own in found]
    wanted = next((step for step in STEPS if step > len(there[0] & there[1])), None)
    if wanted is None:
        return None
    either = sorted(there[0] | there[1], key=lambda seed: (seed not in there[0] & there[1], seed))
    fresh = (seed for seed in range(wanted + len(either)) if seed not in either)
    seeds = [*either, *fresh][:wanted]
    new = [(run, seed) for seed in seeds for run, own in zip(sides, there, strict=True) if seed not in own]
    seconds = [run_seconds(run) for run, _ in new]
    told = [value for value in seconds if value is not None]
    return MoreSeeds(num_pairs=wanted, new=new, seconds=sum(told) if len(told) == len(new) else None)


def start(project: Project, plan: MoreSeeds) -> list[str]:
    """Queue the new runs, each under the decisions of the run it repeats; their names. Raises JobError."""
    names = []
    for run, seed in plan.new:
        stem = re.sub(r"-s[0-9]{1,10}$", "", run.name)[:44]
        name = run_jobs.free_name(project.path / "runs", f"{stem}-s{seed}")
        run_jobs.submit(project.path, name, dataclasses.replace(config_of(run), seed=seed),
                        decisions=read_decisions(run.decisions_path))
        names.append(name)
    return names
