"""Which labels are probably wrong, as one call: what the command `audit` and a program of one's own ask alike."""

import pandas as pd

from curation.audit.reviews import batch_files
from curation.audit.reviews.answers_file import score_frame
from curation.audit.reviews.blinding import blind_ids
from curation.audit.reviews.consensus import consensus, on_current_labels
from curation.audit.reviews.known_labels import decided_labels
from curation.audit.reviews.queues import find_order
from curation.audit.suspects.evidence import missing_of
from curation.audit.suspects.matrix import SUSPECT
from curation.audit.suspects.scores import Scores, scores_of
from curation.experiments.repeats import repeats_of
from curation.project import Project
from curation.samples.table import sample_table
from engine.contract.run_dir import RunDir


def scores_by(project: Project, run: str, *, alone: bool = False) -> tuple[Scores, pd.DataFrame]:
    """(scores of all training samples by a run and its repeats, the sample table in the same order).

    alone: leave out runs that differ by their seed alone. Raises ProjectError or RunDirError.
    """
    runs = [project.run(run)] if alone else repeats_of(project.path, project.run(run))
    runs[0].read_signals()  # says so where there are none yet
    table = sample_table(project, runs[0])
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
    reserved = [*batch_files.drawn_by_all(project.path, verdicts.in_force()),
                *decided.loc[decided["is_known"], "sample_id"]]
    order = find_order(scores, on_current_labels(verdicts.in_force(audit), table), reserved=reserved)
    frame = score_frame(scores, table, order)
    return frame.assign(label_quality=table["label_quality"].to_numpy()[order],
                        is_label_issue=frame["p_wrong"].ge(SUSPECT))


def suspected_ids(project: Project, run: RunDir) -> set[str] | None:
    """Training samples whose label in force is the given one and more probably wrong than right, under the verdicts so
    far. None of them found right or given by a person, or drawn for an estimate and not judged yet; None for a run
    without what labels are judged by. Raises ProjectError or RunDirError."""
    if missing_of(run):
        return None
    scores, table = scores_by(project, run.name)
    decided = decided_labels(project)
    told = {*decided.loc[decided["is_known"], "sample_id"], *blind_ids(project, project.verdicts().in_force())}
    return set(table["sample_id"][scores.is_active & (scores.p_wrong >= SUSPECT)]) - told
