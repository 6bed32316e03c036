"""The plan of an estimate: who is in the population, in which stratum, and in which random order it is reviewed.

A plan is made once, from the model's p_wrong of that day, and never changed: so no verdict can bend what it is drawn
from. Kept as P/audits/NAME/plan.json and population.parquet. Knows nothing of verdicts (curation.audit.drawing) and
estimates nothing (curation.audit.noise_rate).

Strata hold equal shares of sqrt(p (1 - p)) + SPREAD, p by rank: narrow where a label may be either, wide at the ends;
SPREAD keeps the ends in pieces, for p_wrong is a guess before the first verdict. Five strata give intervals 2% wider
than ten, twenty 1% narrower but 40 reviews before any. Samples that cannot be scored have a stratum of their own, the
last one.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from engine.rundir import check_name, write_atomic

NUM_STRATA = 10
SPREAD = 0.1
"""Against sqrt(p (1 - p)) <= 0.5: what a sample weighs in the cuts however sure the model is of it."""
PLAN_FILE, POPULATION_FILE = "plan.json", "population.parquet"
POPULATION_COLUMNS = ("sample_id", "given", "p_wrong", "stratum", "place")


class PlanError(ValueError):
    """A plan cannot be made or read. One line, ready to show."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Plan:
    """One estimate's frozen population. N samples, C classes, H strata."""

    audit: str
    run: str
    """The run whose p_wrong this is."""
    created: float
    """Seconds since 1970, UTC."""
    seed: int
    classes: tuple[str, ...]
    edges: tuple[float, ...]
    """Lowest p_wrong of each scored stratum, ascending."""
    digests: dict[str, str]
    """What else it stands on, by name: of the manifest, the decisions, the run's config."""
    population: pd.DataFrame
    """(N,) sample_id str; given int32 code of given_label; p_wrong float32 in [0, 1], NaN: not scored; stratum int16
    from 0, by rising p_wrong, the unscored last; place int32 from 0: its turn within its stratum."""

    @property
    def num_population(self) -> int:
        return len(self.population)

    @property
    def num_strata(self) -> int:
        return int(self.population["stratum"].max()) + 1

    @property
    def sizes(self) -> np.ndarray:
        """(H,) samples in each stratum, all 1 or more."""
        return np.bincount(self.population["stratum"])


def make_plan(*, audit: str, run: str, sample_id: np.ndarray, given: np.ndarray, p_wrong: np.ndarray,
              is_active: np.ndarray, classes: Sequence[str], seed: int, created: float,
              digests: Mapping[str, str] | None = None, num_strata: int = NUM_STRATA) -> Plan:
    """A plan for all active samples with a given label; a million in about a second.

    sample_id, given (codes, -1: none), p_wrong (in [0, 1], NaN: not scored), is_active: all (N,). Raises RunDirError
    for a bad name, PlanError for a population of none or of ids that repeat.
    """
    check_name(audit)
    rows = np.flatnonzero(np.asarray(is_active, dtype=bool) & (np.asarray(given) >= 0))
    if not len(rows):
        raise PlanError("a noise rate is of active samples with a given label; there is none; import or restore some")
    ids = np.asarray(sample_id, dtype=object)[rows]
    p = np.asarray(p_wrong, dtype=np.float32)[rows]
    if not np.all((p >= 0) & (p <= 1) | np.isnan(p)):
        raise PlanError(f"p_wrong must lie in [0, 1] or be NaN; got {np.nanmin(p):g} to {np.nanmax(p):g}; calibrate it")
    rng = np.random.default_rng(seed)
    stratum, edges = cut(p, num_strata)
    population = pd.DataFrame({"sample_id": ids, "given": np.asarray(given)[rows].astype(np.int32), "p_wrong": p,
                               "stratum": stratum, "place": _places(stratum, rng)})
    if not population["sample_id"].is_unique:
        raise PlanError("a sample may be in a population once; some sample_id comes twice; give each its own")
    return Plan(audit=audit, run=run, created=created, seed=seed, classes=tuple(classes), edges=edges,
                digests=dict(digests or {}), population=population)


def cut(p_wrong: np.ndarray, num_strata: int = NUM_STRATA) -> tuple[np.ndarray, tuple[float, ...]]:
    """(stratum (N,) int16, lowest p_wrong of each scored stratum); equal p_wrong share a stratum, none is empty."""
    scored = np.flatnonzero(~np.isnan(p_wrong))
    value, position, count = np.unique(p_wrong[scored].astype(np.float64), return_inverse=True, return_counts=True)
    measure = count * (np.sqrt(value * (1 - value)) + SPREAD)
    middle = np.cumsum(measure) - measure / 2
    bin_of = (num_strata * middle / measure.sum()).astype(np.int64) if len(value) else position
    _, first, rank = np.unique(bin_of, return_index=True, return_inverse=True)
    stratum = np.full(len(p_wrong), len(first), dtype=np.int16)
    stratum[scored] = rank[position]
    return stratum, tuple(float(edge) for edge in value[first])


def _places(stratum: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(N,) int32: a random order within each stratum."""
    shuffled = rng.permutation(len(stratum))
    by_stratum = shuffled[np.argsort(stratum[shuffled], kind="stable")]
    sizes = np.bincount(stratum)
    place = np.empty(len(stratum), dtype=np.int32)
    place[by_stratum] = np.arange(len(stratum)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return place


# -- on disk

def folder(project: Path, audit: str) -> Path:
    """Where an audit's files lie. Raises RunDirError for a bad name."""
    return Path(project) / "audits" / check_name(audit)


def save_plan(project: Path, plan: Plan) -> None:
    """Write a plan. Raises PlanError if the audit has one: verdicts may stand on it already."""
    path = folder(project, plan.audit)
    if (path / PLAN_FILE).exists():
        raise PlanError(f"an audit has one plan; {plan.audit} has one already; take another name")
    document = {**{field.name: getattr(plan, field.name) for field in fields(plan) if field.name != "population"},
                "num_population": plan.num_population}
    write_atomic(path / POPULATION_FILE, lambda p: plan.population.to_parquet(p, index=False))
    write_atomic(path / PLAN_FILE, lambda p: p.write_text(json.dumps(document, indent=1), encoding="utf-8"))


def load_plan(project: Path, audit: str) -> Plan | None:
    """The plan of an audit, None where it has none. Raises PlanError, one line, if its files are damaged."""
    path = folder(project, audit)
    if not (path / PLAN_FILE).exists():
        return None
    try:
        document: dict[str, Any] = json.loads((path / PLAN_FILE).read_text(encoding="utf-8"))
        population = pd.read_parquet(path / POPULATION_FILE)
        num_population = document.pop("num_population")
        plan = Plan(**{**document, "classes": tuple(document["classes"]), "edges": tuple(document["edges"])},
                    population=population)
        if tuple(population.columns) != POPULATION_COLUMNS or len(population) != num_population:
            raise ValueError("the population is not the plan's")
    except (OSError, ValueError, TypeError, KeyError) as error:  # pyarrow's errors are ValueErrors
        reason = str(error).splitlines()[0][:120] if str(error) else type(error).__name__
        raise PlanError(f"the plan of audit {audit} in {path} cannot be read ({reason}); restore it from a copy, or "
                        "start an audit under another name") from error
    return plan


def list_plans(project: Path) -> list[str]:
    """Names of the audits that have a plan, sorted."""
    return sorted(path.parent.name for path in (Path(project) / "audits").glob(f"*/{PLAN_FILE}"))
