"""The plan of an estimate: who is in the population, in which stratum, and in which random order it is reviewed.

A plan is made once, from the model's p_wrong of that day, and never changed: so no verdict can bend what it is drawn
from. Kept as P/audits/NAME/plan.json and population-DIGEST.parquet, whose digest the plan names. Knows nothing of
verdicts (curation.audit.estimate.allocation) and estimates nothing (curation.audit.estimate.noise_rate).

Strata hold equal shares of sqrt(p (1 - p)) + SPREAD, p by rank: narrow where a label may be either, wide at the ends;
SPREAD keeps the ends in pieces, for p_wrong is a guess before the first verdict. Five strata give intervals 2% wider
than ten, twenty 1% narrower but 40 reviews before any. Samples that cannot be scored have a stratum of their own, the
last one.
"""

import hashlib
import io
import json
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import TypedDict, cast

import numpy as np
import pandas as pd
import polars as pl

from curation.ledger import people
from curation.samples.frames import SampleTable
from engine.contract.disk.seals import opened_json, sealed_json
from engine.contract.errors import UserError
from engine.contract.inside import inside
from engine.contract.manifest import file_digest
from engine.contract.run_dir import check_name
from engine.contract.work_dir import write_atomic

NUM_STRATA = 10
SPREAD = 0.1
"""Against sqrt(p (1 - p)) <= 0.5: what a sample weighs in the cuts however sure the model is of it."""
PLAN_FILE = "plan.json"
POPULATION_COLUMNS = ("sample_id", "given", "p_wrong", "stratum", "place")


class PlanError(UserError):
    """A plan cannot be made or read. One line, ready to show."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PlanDigests:
    """SHA-256 in hex of what a plan stands on; "" where it is not known."""

    manifest: str = ""
    model: str = ""
    """Of the run's config.json."""
    population: str = ""
    """Of the population's file, once it is saved."""


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
    digests: PlanDigests
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

    def labels(self, sample_ids: Collection[str]) -> pd.DataFrame:
        """sample_id and given_label, of these samples, of those in the population: the labels that the estimate is
        about, as they were when it was planned."""
        rows = self.population[self.population["sample_id"].isin(list(sample_ids))]
        names = np.array(self.classes, dtype=object)
        return pd.DataFrame({"sample_id": rows["sample_id"], "given_label": names[rows["given"].to_numpy()]})

    def stale(self, table: SampleTable) -> list[str]:
        """sample_ids of the population that can be asked about no longer: gone, or of another given label by now.

        table: the samples as they are. A million take a tenth of a second.
        """
        codes = table["given_label"].codes.into(self.classes)
        now = pl.DataFrame({"sample_id": table["sample_id"].cells, "now": codes})
        planned = pl.from_pandas(self.population[["sample_id", "given"]]).join(now, on="sample_id", how="left",
                                                                              maintain_order="left")
        is_same = (planned["now"] == planned["given"]).fill_null(False)  # null: gone
        return planned["sample_id"].filter(~is_same).to_list()


def make_plan(*, audit: str, run: str, sample_id: pl.Series | np.ndarray, given: np.ndarray,
              p_wrong: np.ndarray, is_active: np.ndarray, classes: Sequence[str], seed: int, created: float,
              digests: PlanDigests | None = None, num_strata: int = NUM_STRATA) -> Plan:
    """A plan for all active samples with a given label; a million in about a second.

    sample_id, given (codes, -1: none), p_wrong (in [0, 1], NaN: not scored), is_active: all (N,). Raises RunDirError
    for a bad name, PlanError for a population of none or of ids that repeat.
    """
    check_name(audit)
    rows = np.flatnonzero(np.asarray(is_active, dtype=bool) & (np.asarray(given) >= 0))
    if not len(rows):
        raise PlanError("a noise rate is of active samples with a given label; there is none; import or restore some")
    ids = pl.Series(sample_id, dtype=pl.String)[rows]
    p = np.asarray(p_wrong, dtype=np.float32)[rows]
    if not np.all((p >= 0) & (p <= 1) | np.isnan(p)):
        raise PlanError(f"p_wrong must lie in [0, 1] or be NaN; got {np.nanmin(p):g} to {np.nanmax(p):g}; calibrate it")
    rng = np.random.default_rng(seed)
    stratum, edges = cut(p, num_strata)
    codes = np.asarray(given)[rows].astype(np.int32)
    population = pd.DataFrame({"sample_id": ids.to_pandas(), "given": codes, "p_wrong": p, "stratum": stratum,
                               "place": _places(stratum, rng)})
    if ids.n_unique() < len(ids):
        raise PlanError("a sample may be in a population once; some sample_id comes twice; give each its own")
    return Plan(audit=audit, run=run, created=created, seed=seed, classes=tuple(classes), edges=edges,
                digests=digests or PlanDigests(), population=population)


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

class _Document(TypedDict):
    """plan.json."""

    audit: str
    run: str
    created: float
    seed: int
    classes: list[str]
    edges: list[float]
    digests: dict[str, str]
    num_population: int


def folder(project: Path, audit: str) -> Path:
    """Where an audit's files lie. Raises RunDirError for a bad name, OutsideError for a link out of the project."""
    return inside(project, "audits", check_name(audit))


def save_plan(project: Path, plan: Plan) -> None:
    """Write a plan. Raises PlanError if the audit has one: verdicts may stand on it already.

    Of two who plan at once the first to create plan.json wins; the other's population lies unused under its own name.
    """
    people.require("reviewer", "the plan of an estimate")
    path, buffer = folder(project, plan.audit), io.BytesIO()
    plan.population.to_parquet(buffer, index=False)
    digest = hashlib.sha256(buffer.getvalue()).hexdigest()
    document = {**{field.name: getattr(plan, field.name) for field in fields(plan) if field.name != "population"},
                "digests": asdict(replace(plan.digests, population=digest)), "num_population": plan.num_population}
    if not (path / PLAN_FILE).exists():
        write_atomic(_population_file(path, digest), lambda p: p.write_bytes(buffer.getvalue()), is_sealed=False)
    try:
        write_atomic(path / PLAN_FILE, lambda p: p.write_text(sealed_json(document, indent=1), encoding="utf-8"),
                     is_new=True)
    except FileExistsError as error:
        raise PlanError(f"an audit has one plan; {plan.audit} has one already; take another name") from error


def load_plan(project: Path, audit: str) -> Plan | None:
    """The plan of an audit, None where it has none. Raises PlanError, one line, if its files are damaged."""
    path = folder(project, audit)
    if not (path / PLAN_FILE).exists():
        return None
    try:
        document = cast(_Document, opened_json(json.loads((path / PLAN_FILE).read_text(encoding="utf-8"))))
        digests = PlanDigests(**document["digests"])
        file = _population_file(path, digests.population)
        population = pd.read_parquet(file)
        plan = Plan(audit=document["audit"], run=document["run"], created=document["created"], seed=document["seed"],
                    classes=tuple(document["classes"]), edges=tuple(document["edges"]), digests=digests,
                    population=population)
        if file_digest(file) != digests.population or len(population) != document["num_population"] or \
                tuple(population.columns) != POPULATION_COLUMNS:
            raise ValueError("the population is not the plan's")
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        reason = str(error).splitlines()[0][:120] if str(error) else type(error).__name__
        raise PlanError(f"the plan of audit {audit} in {path} cannot be read ({reason}); restore it from a copy, or "
                        "start an audit under another name") from error
    return plan


def _population_file(path: Path, digest: str) -> Path:
    return path / f"population-{digest[:16]}.parquet"


def list_plans(project: Path) -> list[str]:
    """Names of the audits that have a plan, sorted."""
    return sorted(path.parent.name for path in (Path(project) / "audits").glob(f"*/{PLAN_FILE}"))
