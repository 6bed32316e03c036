"""The scripted reviewer of benchmarks/closed_loop.py: what it decides, and that the next queue begins without."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks import closed_loop
from curation.project import Project
from curation.samples.table import sample_table
from tests.fakes import make_project, make_run


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project.open(make_project(tmp_path / "p", num_test=60, size=2))


def test_wrong_labels_are_corrected_right_ones_confirmed_and_the_ledger_is_left_empty(project, tmp_path):
    make_run(project, "look")
    table = sample_table(project, project.run("look"))
    truth = closed_loop.truth_of(project, table, None)
    rows = np.array([7, 17, 3, 4])  # every tenth, from 7 on, is wrong
    path, found = closed_loop.decided_by(project, table, truth, rows, "triage", tmp_path / "reviews")
    assert found == {"num_reviews": 4, "num_wrong": 2}
    decided = pd.read_parquet(path).set_index("sample_id")
    assert decided["label"].to_dict() == {table["sample_id"][i]: truth[i] for i in rows}
    assert project.ledger().state().empty and not project.ledger().batches().empty


def test_the_lane_comes_first_and_everybody_once(project):
    run = make_run(project, "look")
    table = sample_table(project, run)
    rows, num = closed_loop.suspects(run, table)
    assert sorted(rows) == list(range(60)) and 0 <= num <= 60
    rest = table["label_quality"].iloc[rows[num:]].dropna()
    assert rest.is_monotonic_increasing


def test_the_truth_may_come_from_answers(project, tmp_path):
    table = sample_table(project, None)
    answers = tmp_path / "answers.csv"
    pd.DataFrame({"key": ["train-00000", "train-00007"], "clean_label": ["cat", "1"]}).to_csv(answers, index=False)
    truth = closed_loop.truth_of(project, table, answers)
    assert (truth[0], truth[7]) == ("cat", "dog") and truth.notna().sum() == 2


def test_the_effect_is_stated_as_compare_states_it(project):
    without = [make_run(project, f"a{seed}", seed=seed) for seed in range(2)]
    project.ledger().relabel(["train-00007"], "dog", "ada")
    found = closed_loop.stated(without, [make_run(project, f"b{seed}", seed=seed) for seed in range(2)])
    assert found["words"][0].startswith("Training under the decisions on 1 sample, rather than under none, shows no")
    assert {row["kind"] for row in found["effects"]} == {"all", "worst"}


def test_the_copy_leaves_decisions_behind_and_takes_back_what_was_cut_short(project):
    project.ledger().exclude(["train-00001"], who="ada")
    make_run(project, "look")
    copy = closed_loop.copy_of(project.path, "look")
    assert copy.path.name == "p-closed-loop" and copy.ledger().batches().empty and copy.run("look").exists()
    copy.ledger().exclude(["train-00002"], who=closed_loop.WHO)
    assert closed_loop.copy_of(project.path, "look").ledger().state().empty
