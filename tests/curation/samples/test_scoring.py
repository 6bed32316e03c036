"""Scoring against the truth: by hand-made cases, with the number of samples behind each figure."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from curation.project import Project
from curation.samples.scoring import ScoringError, score_run
from engine.contract.manifest import read_manifest
from engine.contract.run_dir import RunDir, RunDirError
from tests.fakes import make_project, make_run, write_manifest

CLASSES = ("cat", "dog", "bird")


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project.open(make_project(tmp_path / "p", size=2))


def set_signals(run: RunDir, **columns: object) -> None:
    signals = run.read_signals()
    for name, values in columns.items():
        signals[name] = values
    run.write_signals(signals)


def test_a_perfect_quality_scores_one_and_its_reverse_zero(project: Project) -> None:
    run, rows = make_run(project), read_manifest(project.path).query("split == 'train'")
    is_right = rows["given_label"].eq(rows["clean_label"]).to_numpy(dtype=float)
    set_signals(run, label_quality=is_right)
    score = score_run(project, run)
    assert (score.num_active, score.num_known, score.num_scored, score.num_scored_wrong) == (60, 60, 60, 6)
    assert (score.auroc, score.average_precision, score.wrong_share) == (1.0, 1.0, pytest.approx(0.1))
    set_signals(run, label_quality=1 - is_right)
    assert score_run(project, run).auroc == 0.0


def test_wrong_share_in_validation_counts_routed_samples_alone(project: Project) -> None:
    rows = read_manifest(project.path).query("split == 'train'")
    wrong = rows.loc[rows["given_label"] != rows["clean_label"], "sample_id"].tolist()
    project.ledger().pin(wrong[:2], "validation", "ada")
    run = make_run(project)
    score = score_run(project, run)
    num_withheld = int(run.read_signals()["role_reason"].eq("withheld_disputed").sum())
    assert score.num_validation == score.num_validation_known > 2
    assert score.validation_wrong_share == pytest.approx(2 / score.num_validation)
    assert score.num_withheld_known == num_withheld > 0 and score.withheld_wrong_share == 1.0
    assert score.unguarded_wrong_share == 0.6 and score.coverage == 1.0


def test_samples_never_held_out_and_excluded_ones_are_not_scored(project: Project) -> None:
    project.ledger().exclude(["train-00007"], who="ada")
    run = make_run(project)
    quality = np.linspace(0, 1, 60)
    quality[:20] = np.nan
    set_signals(run, label_quality=quality)
    score = score_run(project, run)
    assert (score.num_active, score.num_known, score.num_scored) == (59, 59, 40)
    assert score.wrong_share == pytest.approx(5 / 59)


def test_a_label_is_judged_as_the_run_was_trained_on_it(project: Project) -> None:
    truth = read_manifest(project.path).set_index("sample_id")["clean_label"]
    project.ledger().relabel(["train-00007"], truth["train-00007"], "ada")  # corrects a wrong label
    before = make_run(project, "before")
    project.ledger().undo("ada")
    after = make_run(project, "after")
    assert score_run(project, before).wrong_share == pytest.approx(5 / 60)
    assert score_run(project, after).wrong_share == pytest.approx(6 / 60)


def test_without_truth_nothing_is_claimed(project: Project) -> None:
    rows = read_manifest(project.path)
    rows.loc[rows["split"] == "train", "clean_label"] = None
    run = make_run(project)
    write_manifest(project.path, rows, CLASSES, "images")
    score = score_run(project, run)
    assert (score.num_known, score.num_scored, score.auroc, score.average_precision) == (0, 0, None, None)
    assert score.wrong_share is None and score.validation_wrong_share is None and score.num_validation > 0
    write_manifest(project.path, rows.drop(columns="clean_label"), CLASSES, "images")
    assert score_run(project, run).num_known == 0


def test_one_class_of_labels_has_no_ranking(project: Project) -> None:
    rows = read_manifest(project.path).assign(given_label=lambda r: r["clean_label"])
    write_manifest(project.path, rows, CLASSES, "images")
    score = score_run(project, make_run(project))
    assert (score.wrong_share, score.auroc, score.average_precision) == (0.0, None, None) and score.num_scored > 0


def test_plain_training_has_no_validation_to_score(project: Project) -> None:
    score = score_run(project, make_run(project, method="erm"))
    assert (score.num_validation, score.validation_wrong_share, score.coverage) == (0, None, None)


# -- answers


@pytest.mark.parametrize(("key", "by_position"), [("sample_id", True), ("path", False)])
def test_answers_stand_in_for_the_manifest(project: Project, tmp_path: Path, key: str, by_position: bool) -> None:
    rows = read_manifest(project.path).query("split == 'train'")
    run = make_run(project)
    expected = score_run(project, run)
    hidden = read_manifest(project.path).assign(clean_label=None)
    write_manifest(project.path, hidden, CLASSES, "images")
    labels = rows["clean_label"].map(CLASSES.index) if by_position else rows["clean_label"]
    answers = pd.DataFrame({"key": [*rows[key].iloc[:50], "a, stranger"],
                            "clean_label": [*labels.iloc[:50], labels.iloc[0]]})
    answers.to_csv(tmp_path / "answers.csv", index=False)
    score = score_run(project, run, tmp_path / "answers.csv")
    assert (score.num_known, score.num_unmatched, score.wrong_share) == (50, 1, pytest.approx(5 / 50))
    assert score.num_validation == expected.num_validation and score.unguarded_wrong_share is None


@pytest.mark.parametrize(("text", "message"), [
    ("", "has no line that names its columns"),
    ("id,label\na,cat\n", "must have the columns key and clean_label; .* has id, label"),
    ("key,clean_label\na,cat\na,dog\n", "has 'a' twice"),
    ("key,clean_label\ntrain-00000,horse\n", "row 2 says 'horse'; the classes are cat, dog, bird"),
    ("key,clean_label\ntrain-00000,3\n", "row 2 says '3'"),
    ("key,clean_label\nstranger,cat\n", "a training sample's sample_id or path; none of 1 .* is, first 'stranger'"),
])
def test_wrong_answers_are_refused_in_one_line(project: Project, tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "answers.csv").write_text(text)
    with pytest.raises(ScoringError, match=message) as caught:
        score_run(project, make_run(project), tmp_path / "answers.csv")
    assert "\n" not in str(caught.value)


def test_a_missing_answers_file_and_a_run_without_signals_are_refused(project: Project, tmp_path: Path) -> None:
    with pytest.raises(ScoringError, match="a CSV must be readable; .*No such file"):
        score_run(project, make_run(project), tmp_path / "none.csv")
    with pytest.raises(RunDirError, match="queued has no signals yet"):
        score_run(project, make_run(project, "queued", state="queued"))
