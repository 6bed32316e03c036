"""What an audit begins with: the population of its estimate, and which runs judge."""

from pathlib import Path

import numpy as np
import pandas as pd

from curation.audit.opening import plan_of
from curation.audit.reviews.reconcile import reconcile
from curation.audit.suspects.scores import scores_of
from curation.ledger.verdicts import Verdict
from curation.project import Project
from curation.samples.table import sample_table, samples
from tests.curation.audit.suspects.test_scores import with_probabilities
from tests.fakes import make_project, make_run


def test_what_an_audit_left_out_stays_in_the_population_and_what_people_left_out_does_not(tmp_path: Path) -> None:
    project = Project.open(make_project(tmp_path / "p", num_train=60, size=2))
    run, log = make_run(project.path, "first"), project.verdicts()
    with_probabilities(run, 60)
    given = sample_table(project, None).set_index("sample_id")["given_label"]
    run.write_probabilities(0.1 + 0.7 * np.eye(3)[pd.Categorical(given, project.classes).codes], "label_head")
    log.add([Verdict(audit="a", queue="find", sample_id=f"train-{i:05d}", verdict="neither", who="ada",
                     given_label=given[f"train-{i:05d}"]) for i in (3, 7)])
    reconcile(project, project.ledger(), ["train-00003", "train-00007"], log.in_force(), "ada")
    project.ledger().exclude(["train-00009"], who="bob")
    table = sample_table(project, run)
    assert list(table["sample_id"][table["excluded"]]) == ["train-00003", "train-00007", "train-00009"]
    plan = plan_of(project, scores_of(project, [run], samples(project, run), None), "a", seed=0)
    assert set(table["sample_id"]) - set(plan.population["sample_id"]) == {"train-00009"}
    assert np.isfinite(plan.population.set_index("sample_id").loc["train-00003", "p_wrong"])
