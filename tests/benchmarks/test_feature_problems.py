"""Problems on features: shares of wrong labels, class sizes and groups by exact counts."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks import feature_problems as problems
from benchmarks.problems import SUBGROUPS
from curation.project import Project

NAMES = sorted(name for names in SUBGROUPS["photos"].values() for name in names)


@pytest.fixture
def source(tmp_path: Path) -> problems.Source:
    """100 training and 10 test photos a class; two in five training labels are wrong."""
    (tmp_path / "features" / "net").mkdir(parents=True)
    (tmp_path / "features" / "net" / "features.json").write_text("{}")
    rows = pd.DataFrame({"clean_label": np.repeat(NAMES, 110), "split": (["train"] * 100 + ["test"] * 10) * 10})
    rows = rows.assign(sample_id=[f"s{i}" for i in range(len(rows))], path="none.png", group=None,
                       given_label=rows["clean_label"])
    wrong = rows.index[(rows["split"] == "train") & (rows.index % 5 < 2)]
    rows.loc[wrong, "given_label"] = [NAMES[(NAMES.index(name) + 1) % 10] for name in rows.loc[wrong, "clean_label"]]
    made = object.__new__(problems.Source)
    made.path, made.root, made.rows = tmp_path, tmp_path, rows
    return made


def wrong_share(rows: pd.DataFrame) -> float:
    train = rows[rows["split"] == "train"]
    return float((train["given_label"] != train["clean_label"]).mean())


def test_labels_are_put_right_until_the_share_is_left(source: problems.Source) -> None:
    assert wrong_share(source.rows) == pytest.approx(0.4)
    nine = problems.PROBLEMS["human_noise_9"][1](source)
    assert wrong_share(nine) == pytest.approx(0.09) and len(nine) == len(source.rows)
    assert wrong_share(problems.PROBLEMS["true_labels"][1](source)) == 0.0


@pytest.mark.parametrize("name", ["symmetric_noise", "pair_noise"])
def test_noise_is_drawn_on_the_true_labels_of_training_alone(source: problems.Source, name: str) -> None:
    rows = problems.PROBLEMS[name][1](source)
    assert wrong_share(rows) == pytest.approx(0.4)
    test = rows[rows["split"] == "test"]
    assert len(test) == 100 and (test["given_label"] == test["clean_label"]).all()


def test_the_smallest_class_is_the_factor_smaller_than_the_largest(source: problems.Source) -> None:
    sizes = problems.PROBLEMS["imbalance_10"][1](source).query("split == 'train'")["given_label"].value_counts()
    assert sizes.max() == 100 and sizes.min() == 10 and len(sizes) == 10


def test_rare_subgroups_are_rare_in_training_alone(source: problems.Source) -> None:
    rows = problems.PROBLEMS["rare_subgroup"][1](source)
    sizes = rows.groupby(["split", "group"]).size()
    rare = {names[-1] for names in SUBGROUPS["photos"].values()}
    assert all(sizes["train", name] == (5 if name in rare else 100) for name in NAMES)
    assert all(sizes["test", name] == 10 for name in NAMES) and rows["given_label"].nunique() == 5


def test_a_validation_set_of_other_senders_shares_none_with_training_or_test(source: problems.Source) -> None:
    source.rows["sender_id"] = [f"s{i % 37 if split == 'train' else 90 + i % 3}" for i, split in
                                enumerate(source.rows["split"])]
    rows = problems.PROBLEMS["clothing_senders"][1](source)
    of = {split: set(part["sender_id"]) for split, part in rows.groupby("split")}
    assert not of["clean"] & of["train"] and not of["clean"] & of["test"] and len(rows) == len(source.rows)
    clean = rows[rows["split"] == "clean"]
    assert 70 <= len(clean) <= 100, "at most a tenth of 1,000, in whole senders"
    assert (clean["clean_label"] == clean["given_label"]).all()
    assert rows["clean_label"][rows["split"] != "clean"].isna().all()


def test_oracles_weigh_right_labels_and_groups_alike(source: problems.Source) -> None:
    noisy = problems.with_oracles(source.rows)
    train = noisy["split"] == "train"
    is_wrong = noisy["given_label"] != noisy["clean_label"]
    assert (noisy.loc[train, problems.LABEL_ORACLE] == np.where(is_wrong[train], 0.0, 1.0)).all()
    assert noisy[problems.LABEL_ORACLE][~train].isna().all() and noisy[problems.GROUP_ORACLE].isna().all()
    rare = problems.with_oracles(problems.PROBLEMS["rare_subgroup"][1](source)).query("split == 'train'")
    totals = rare.groupby("group")[problems.GROUP_ORACLE].sum()
    assert np.ptp(totals) < 1e-9 and totals.sum() == pytest.approx(len(rare))
    assert rare[problems.LABEL_ORACLE].isna().all(), "no label is wrong there"


def test_a_problem_is_a_project_with_the_features_and_its_oracles(source: problems.Source, tmp_path: Path) -> None:
    path = problems.write_project(source, source.rows, "net", "features_given", tmp_path / "out")
    project = Project.open(path)
    assert len(project.manifest()) == 1100 and (path / "features" / problems.FEATURES / "features.json").exists()
    excluded = pd.read_parquet(path / "oracle_excluded.parquet")
    assert len(excluded) == 400 and excluded["excluded"].all()
