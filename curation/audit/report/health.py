"""Everything about an audit in one document: what its page shows and what its report prints.

Puts together what the other modules work out and names what it all rests on. Draws nothing and decides nothing.
"""

import hashlib
import platform
import time
from dataclasses import asdict
from importlib.metadata import version

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from curation.audit.estimate.goal import TARGET, Goal, new_goal
from curation.audit.estimate.looks import progress
from curation.audit.estimate.noise_rate import estimate
from curation.audit.estimate.reviewed_matrix import reviewed_matrix
from curation.audit.estimate.sampling_plan import Plan
from curation.audit.report import summaries
from curation.audit.report.caveats import limits_of, method_of
from curation.audit.report.document import AgreementPart, AuditPart, Facts, Health, PeoplePart, ProjectPart
from curation.audit.report.parts import DuplicatesPart, LeaksPart, SplitLeaksPart
from curation.audit.reviews import batch_files
from curation.audit.reviews.annotators import annotators_of
from curation.audit.reviews.blinding import blind_ids
from curation.audit.reviews.consensus import on_current_labels
from curation.audit.reviews.known_labels import decided_labels, training_rows, with_labels
from curation.audit.reviews.random_queue import num_seen_before, random_verdicts
from curation.audit.suspects.duplicates import conflicts, content_ids, in_signal_order
from curation.audit.suspects.evidence import missing_of
from curation.audit.suspects.leaks import leaks_of
from curation.audit.suspects.matrix import model_matrix, overlaps
from curation.audit.suspects.scores import Scores
from curation.lacking import lacking
from curation.project import Project
from curation.samples.frames import SampleTable
from curation.samples.neighbours import NEAR_ZERO
from curation.samples.taking_part import part_lines
from engine.contract.manifest import MANIFEST_NAME, file_digest
from engine.contract.run_dir import RunDir

_PACKAGES = ("numpy", "scipy", "pandas", "pyarrow", "scikit-learn", "statsmodels")


def health(project: Project, run: RunDir | None, scores: Scores, plan: Plan | None, verdicts: pd.DataFrame, *,
           audit: str, goal: Goal | None = None, agreement: AgreementPart | None = None,
           neighbours: tuple[np.ndarray, np.ndarray] | None = None, generated: float | None = None) -> Health:
    """The state of an audit.

    verdicts: of this audit, in force, oldest first (VerdictLog.in_force); plan: None before the random queue has one;
    goal: TARGET's without one; agreement: summaries.agreement_part; neighbours: of
    the run (RunDir.read_neighbours); generated: seconds since 1970, now by default.
    """
    random, goal = random_verdicts(verdicts, plan), goal or new_goal(TARGET)
    rows = with_labels(training_rows(project), decided_labels(project))
    names = plan.classes if plan is not None else scores.classes
    num_stale = len(plan.stale(SampleTable.of(rows[["sample_id", "given_label"]]))) if plan is not None else 0
    found = reviewed_matrix(plan, random) if plan is not None and len(random) else None
    model = model_matrix(scores.given, scores.p_wrong, scores.suggested, scores.confidence, len(scores.classes),
                         is_active=scores.is_active)
    noise = estimate(plan, random) if plan is not None else None
    is_random = verdicts["queue"].eq("estimate") & verdicts["purpose"].eq("main")
    rate = None if plan is None or noise is None else summaries.rate_part(
        noise, progress(plan, random, goal), goal, num_stale=num_stale,
        num_seen=num_seen_before(verdicts), num_reviewers=int(verdicts.loc[is_random, "who"].nunique()))
    agreement = agreement or AgreementPart(pairs=[], fleiss=None, consistency={}, gold={})
    state = summaries.open_part(on_current_labels(project.verdicts().in_force(), rows), audit)
    facts: Facts = {
        "format": "whetstone-audit-1",
        "project": ProjectPart(name=project.name, source=project.info.source, num_training=len(rows),
                               classes=list(scores.classes)),
        "audit": AuditPart(name=audit, generated=time.time() if generated is None else generated,
                           planned=plan.created if plan is not None else None),
        "rate": rate,
        "classes": summaries.classes_part(noise.per_class, names) if noise is not None else [],
        "strata": summaries.strata_part(plan, random) if plan is not None else [],
        "matrix": summaries.matrix_part(found, names) if found is not None else None,
        "overlaps": summaries.overlaps_part(overlaps(model.expected, scores.classes), scores.classes, found,
                                            names),
        "duplicates": _duplicates(project, run, scores, rows, neighbours),
        "leaks": _leaks(project),
        "find": summaries.find_part(verdicts, scores.num_dual, batch_files.doubts(project.path, audit)),
        "reviewers": summaries.reviewers_part(verdicts, agreement),
        "agreement": PeoplePart(pairs=agreement["pairs"], fleiss=agreement["fleiss"],
                                num_disputed=state["num_disputed"], num_unsure=state["num_unsure"]),
        "annotators": summaries.annotators_part(annotators_of(project.path)),
        "corrections": summaries.corrections_part(
            rows, scores.classes, noise.overall if noise and not noise.num_early and not num_stale else None,
            _in_population(rows, plan)),
        "num_calibrated": scores.num_calibrated,
        "num_unscored": int((scores.is_active & np.isnan(scores.p_wrong)).sum()),
        "fault": scores.learning.fault if scores.learning is not None else None,
        "parts": [*(part_lines(run) if run is not None else []), *lacking(project)],
        "missing": missing_of(run) if run is not None else [],
        "provenance": _provenance(project, run, plan, verdicts),
    }
    return {**facts, "method": method_of(facts), "limits": limits_of(facts, scores.learning)}


def _in_population(rows: pd.DataFrame, plan: Plan | None) -> np.ndarray:
    """(N,) bool: the rows whose samples the plan is about."""
    if plan is None:
        return np.zeros(len(rows), dtype=bool)
    ids, population = (pa.array(frame["sample_id"], pa.large_string()) for frame in (rows, plan.population))
    is_in: np.ndarray = pc.is_in(ids, value_set=population).to_numpy(zero_copy_only=False)
    return is_in


def _duplicates(project: Project, run: RunDir | None, scores: Scores, rows: pd.DataFrame,
                neighbours: tuple[np.ndarray, np.ndarray] | None) -> DuplicatesPart | None:
    """Near-duplicates with contradicting labels in force, blind samples left out; None without neighbours."""
    if run is None or neighbours is None:
        return None
    ids = pl.from_pandas(run.read_signals()["sample_id"])
    rows_of = pl.DataFrame({"sample_id": ids, "row": pl.int_range(len(ids), eager=True)})
    signal_row = scores.samples.frame.join(rows_of, on="sample_id", how="left", maintain_order="left")["row"]
    is_shown = scores.is_active & ~scores.samples.has_ids(blind_ids(project, project.verdicts().in_force()))
    labels = in_signal_order(np.where(is_shown, scores.current, -1), signal_row.fill_null(-1).to_numpy(), len(ids))
    found = conflicts(*neighbours, labels)
    shown = ids[found.members[found.group_of_member < summaries.MAX_GROUPS]]
    paths = rows.loc[rows["sample_id"].isin(shown.to_list()), ["sample_id", "path"]].dropna()
    content = dict(zip(paths["sample_id"], content_ids(project.root, paths["path"].tolist()), strict=True))
    return summaries.duplicates_part(found, ids, labels, scores.classes, content, NEAR_ZERO)


def _leaks(project: Project) -> LeaksPart | None:
    """What is kept of pictures outside training that are nearly in it."""
    found = leaks_of(project)
    return None if found is None else LeaksPart(
        features=found.features, splits=[SplitLeaksPart(
            split=one.split, num_samples=one.num_samples, num_near=one.num_near, num_identical=one.num_identical)
            for one in found.splits])


def _provenance(project: Project, run: RunDir | None, plan: Plan | None, verdicts: pd.DataFrame) -> dict[str, str]:
    """What the figures rest on, by name; digests are SHA-256."""
    facts = {"manifest": file_digest(project.path / MANIFEST_NAME), "decisions": file_digest(project.decisions_path),
             "verdicts": _digest_of(verdicts), "number of verdicts": f"{len(verdicts):,}"}
    if run is not None:
        config = run.read_config()
        facts |= {"model": file_digest(run.path / "config.json"), "run": run.name,
                  "method": str(config["config"]["method"]), "run's seed": str(config["config"]["seed"]),
                  "run's code": str(config.get("code_revision", ""))}
    if plan is not None:
        facts |= {f"plan's {name}": digest for name, digest in asdict(plan.digests).items()}
        facts |= {"plan's seed": str(plan.seed), "plan's run": plan.run, "plan's samples": f"{plan.num_population:,}"}
    facts["software"] = ", ".join([f"Python {platform.python_version()}",
                                   *(f"{name} {version(name)}" for name in _PACKAGES)])
    return {name: value for name, value in facts.items() if value}


def _digest_of(verdicts: pd.DataFrame) -> str:
    """SHA-256 of the verdicts in force, whatever order their columns are in."""
    text = verdicts[sorted(verdicts.columns)].to_json(orient="records", double_precision=15)
    return hashlib.sha256((text or "").encode()).hexdigest()
