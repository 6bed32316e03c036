"""Which labels are probably wrong, as one call: what the command `audit` and a program of one's own ask alike.

The names are those that users of cleanlab know; what is behind them is ours (curation.audit.suspects).
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import polars as pl

from curation.audit.reviews import batch_files
from curation.audit.reviews.answers_file import score_frame
from curation.audit.reviews.blinding import blind_ids
from curation.audit.reviews.consensus import consensus, on_current_labels
from curation.audit.reviews.known_labels import decided_labels
from curation.audit.reviews.queues import find_order
from curation.audit.suspects.evidence import missing_of
from curation.audit.suspects.matrix import SUSPECT, model_matrix, overlaps
from curation.audit.suspects.scores import Scores, scores_of
from curation.experiments.repeats import repeats_of
from curation.project import Project
from curation.samples.frames import SampleTable
from curation.samples.table import samples
from engine.contract.run_dir import RunDir


def scores_by(project: Project, run: str, *, alone: bool = False) -> tuple[Scores, SampleTable]:
    """(scores of all training samples by a run and its repeats, the sample table in the same order).

    alone: leave out runs that differ by their seed alone. Raises ProjectError or RunDirError.
    """
    runs = [project.run(run)] if alone else repeats_of(project.path, project.run(run))
    runs[0].read_signals()  # says so where there are none yet
    table = samples(project, runs[0])
    judged = consensus(on_current_labels(project.verdicts().in_force(), table)).reset_index()
    return scores_of(project, runs, table, runs[0].read_neighbours(), judged), table


def find_label_issues(project: Project, run: str, audit: str = "audit") -> pd.DataFrame:
    """One row a sample that nobody has judged, the most probably wrong label first.

    Columns: sample_id, given_label, current_label, suggested_label, p_wrong in [0, 1] (high is bad; NaN unknown),
    is_label_issue (bool: p_wrong of at least a half), label_quality in [0, 1] (low is bad) and the evidence. Samples
    drawn for an estimate are left out: they stay blind until judged. run: a run of any method, or imported predictions.
    """
    scores, table = scores_by(project, run)
    verdicts = project.verdicts()
    decided = decided_labels(project)
    reserved = [*batch_files.drawn_by_all(project.path, verdicts.in_force(), verdicts.draws()),
                *decided.loc[decided["is_known"], "sample_id"]]
    order = find_order(scores, on_current_labels(verdicts.in_force(audit), table), reserved=reserved)
    frame = score_frame(scores, table, order)
    return frame.assign(label_quality=table["label_quality"].numbers[order],
                        is_label_issue=frame["p_wrong"].ge(SUSPECT))


def suspected_ids(project: Project, run: RunDir) -> pl.Series | None:
    """(S,) texts: training samples whose label in force is the given one and more probably wrong than right, under the
    verdicts so far. None of them found right or given by a person, or drawn for an estimate and not judged yet; None
    for a run without what labels are judged by. Raises ProjectError or RunDirError."""
    if missing_of(run):
        return None
    scores, table = scores_by(project, run.name)
    decided = decided_labels(project)
    told = {*decided.loc[decided["is_known"], "sample_id"], *blind_ids(project, project.verdicts().in_force())}
    is_suspected = scores.is_active & (scores.p_wrong >= SUSPECT) & ~table.has_ids(told)
    return table["sample_id"].cells.filter(pl.Series(is_suspected))


def get_label_quality_scores(project: Project, run: str) -> pd.Series:
    """label_quality of every training sample by sample_id, float64 in [0, 1], low is bad: the mean held-out probability
    of the given label, NaN where no held-out prediction is known. run: as find_label_issues.

    Samples drawn for an estimate are among them: who reviews these should not look.
    """
    table = samples(project, project.run(run)).pandas("sample_id", "label_quality")
    return table.set_index("sample_id")["label_quality"].astype("float64")


@dataclass(frozen=True, kw_only=True, slots=True)
class HealthSummary:
    """What the model expects of the given labels: a guess, to find the way by. How many are wrong only an estimate can
    tell (`estimate`)."""

    overall_label_health_score: float
    """Expected share of right labels, in [0, 1], 0 bad; NaN where no sample has a p_wrong."""
    classes_by_label_quality: pd.DataFrame
    """A row a class, the worst first: class_name, num_samples, label_issues (p_wrong of at least a half), label_noise
    (expected share of its labels that are wrong), label_quality_score (the rest); NaN where nothing is known."""
    overlapping_classes: pd.DataFrame
    """Pairs of classes most mixed up, most first: class_name_a, class_name_b, num_overlapping_examples (expected),
    share of the samples of both."""


def health_summary(project: Project, run: str) -> HealthSummary:
    """The labels' health by a run of any method, or by imported predictions. Raises as scores_by."""
    scores, _ = scores_by(project, run)
    num_classes = len(scores.classes)
    found = model_matrix(scores.given, scores.p_wrong, scores.suggested, scores.confidence, num_classes,
                         is_active=scores.is_active)
    num_right, num_all = np.diag(found.expected), found.expected.sum(axis=1) + found.elsewhere
    with np.errstate(invalid="ignore"):
        quality = num_right / num_all
    is_in = scores.is_active & (scores.given >= 0)
    is_issue = is_in & (scores.p_wrong >= SUSPECT)
    classes = pd.DataFrame({
        "class_name": scores.classes, "num_samples": np.bincount(scores.given[is_in], minlength=num_classes),
        "label_issues": np.bincount(scores.given[is_issue], minlength=num_classes),
        "label_noise": 1 - quality, "label_quality_score": quality})
    mixed = [(scores.classes[one.first], scores.classes[one.second], one.num_first + one.num_second, one.share)
             for one in overlaps(found.expected, scores.classes)]
    return HealthSummary(
        overall_label_health_score=float(num_right.sum() / num_all.sum()) if num_all.sum() else float("nan"),
        classes_by_label_quality=classes.sort_values("label_quality_score", kind="stable", ignore_index=True),
        overlapping_classes=pd.DataFrame(mixed, columns=["class_name_a", "class_name_b", "num_overlapping_examples",
                                                         "share"]))
