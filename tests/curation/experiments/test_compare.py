"""Comparing runs: only on data nobody curated, paired by seed, with an interval that scipy agrees with."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from curation.experiments.compare import (
    CompareError,
    accuracy_table,
    cautions,
    decision_differences,
    epoch_figures,
    paired_difference,
    role_flow,
    sample_changes,
    scored_predictions,
    setting_differences,
    worst_groups,
)
from curation.project import Project
from engine.contract.run_dir import RunDir
from engine.contract.statistics.intervals import paired_interval
from tests.fakes import make_project, make_run


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project.open(make_project(tmp_path / "p", num_clean=18, num_test=30, size=2))


def predict(run: RunDir, right: list[bool], groups: list[str | None] | None = None) -> None:
    """Make the run's test predictions right or wrong as given."""
    rows = run.read_predictions()
    assert rows is not None
    rows = rows[rows["split"] == "test"].head(len(right)).reset_index(drop=True)
    rows["prediction"] = np.where(right, rows["label"], "none of them")
    if groups is not None:
        rows["group"] = groups
    run.write_predictions(rows)


def test_accuracy_is_taken_over_the_samples_of_both_runs(project: Project) -> None:
    a, b = make_run(project, "a"), make_run(project, "b")
    predict(a, [True, False, True, False])
    predict(b, [True, True, True])
    table = accuracy_table(a, b)
    assert table[["split", "num_samples"]].values.tolist() == [["test", 3]]
    row = table.iloc[0]
    assert (row["accuracy_a"], row["accuracy_b"]) == (pytest.approx(2 / 3), 1.0)
    assert row["difference"] == pytest.approx(1 / 3) and not row["is_seen"]
    assert any("1 clean or test samples that only one run predicted" in line for line in cautions(a, b))


def test_classes_and_worst_groups(project: Project) -> None:
    a, b = make_run(project, "a"), make_run(project, "b")
    groups = ["day"] * 5 + ["night"] * 5 + ["dusk", None]
    predict(a, [True] * 5 + [True, False, False, False, False] + [False, True], groups)
    predict(b, [True, True, False, False, False] + [True] * 5 + [True, True], groups)
    by_group = accuracy_table(a, b, by="group").set_index("group")
    assert by_group["num_samples"].to_dict() == {"day": 5, "dusk": 1, "night": 5}
    assert by_group.loc["night", "difference"] == pytest.approx(0.8)
    worst = worst_groups(a, b).iloc[0]
    assert (worst["kind"], worst["group_a"], worst["group_b"]) == ("group", "night", "day")
    assert (worst["accuracy_a"], worst["accuracy_b"]) == (pytest.approx(0.2), pytest.approx(0.4))
    by_class = accuracy_table(a, b, by="label")
    assert by_class["num_samples"].tolist() == [4, 4, 4] and by_class["label"].tolist() == ["bird", "cat", "dog"]


def test_without_groups_the_worst_class_stands_in(project: Project) -> None:
    a, b = make_run(project, "a"), make_run(project, "b")
    for run in (a, b):
        predict(run, [True, True, False] * 5, [None] * 15)
    worst = worst_groups(a, b).iloc[0]
    assert (worst["kind"], worst["accuracy_a"], worst["difference"]) == ("label", 0.0, 0.0)


def test_trained_or_decided_samples_are_never_scored(project: Project) -> None:
    project.ledger().pin(["train-00001"], "validation", "ada")
    run = make_run(project)
    rows = run.read_predictions()
    assert rows is not None
    smuggled = rows.iloc[:3].assign(sample_id=["train-00000", "train-00001", "elsewhere"],
                                    split=["test", "clean", "train"])
    run.write_predictions(pd.concat([rows, smuggled], ignore_index=True))
    assert set(scored_predictions(run)["sample_id"]) == set(rows["sample_id"])


def test_a_run_without_predictions_compares_to_nothing_and_says_so(project: Project) -> None:
    a, b = make_run(project, "a"), make_run(project, "b", state="running")
    assert accuracy_table(a, b).empty and worst_groups(a, b).empty and accuracy_table(a, b, by="group").empty
    assert any("b has not ended, so it has no predictions yet" in line for line in cautions(a, b))
    assert sample_changes(a, b)["role_b"].notna().all()
    queued = make_run(project, "queued", state="queued")
    assert epoch_figures(a, queued)["b"].isna().all()


def test_a_clean_split_used_for_validation_is_marked(project: Project) -> None:
    a, b = make_run(project, "a"), make_run(project, "b")
    document = b.read_config()
    document["config"]["validation"] = "clean"
    b.write_config(document)
    seen = accuracy_table(a, b).set_index("split")["is_seen"]
    assert seen["clean"] and not seen["test"]
    assert any("b used the clean split for validation" in line for line in cautions(a, b))
    assert "used the clean split" in paired_difference([a], [b], "clean").note
    assert "used the clean split" not in paired_difference([a], [b], "test").note


def test_changes_of_role_weight_and_margin(project: Project) -> None:
    a = make_run(project, "a")
    first = sample_changes(a, a)
    routed = first.loc[first["role_a"] == "validation", "sample_id"].tolist()
    project.ledger().exclude(routed[:1], who="ada")
    project.ledger().pin(routed[1:2], "train", "ada")
    b = make_run(project, "b")
    changes = sample_changes(a, b).set_index("sample_id")
    assert len(changes) == 60 and not first["role_changed"].any() and (first["weight_change"].dropna() == 0).all()
    assert (changes.loc[routed[0], "role_a"], changes.loc[routed[0], "role_b"]) == ("validation", "excluded")
    assert changes.loc[routed[1], "role_b"] == "train" and changes.loc[routed[:2], "role_changed"].all()
    np.testing.assert_allclose(changes["margin_change"], changes["margin_b"] - changes["margin_a"])
    flow = role_flow(changes.reset_index())
    assert flow.loc["validation", "excluded"] == 1 and flow.to_numpy().sum() == 60
    assert flow.loc["train"].sum() == 60 - len(routed)


def test_what_differs_between_two_runs(project: Project) -> None:
    a = make_run(project, "a")
    project.ledger().relabel(["train-00001"], "bird", "ada")
    b = make_run(project, "b", seed=1)
    c = make_run(project, "c", method="erm", epochs=6)
    assert setting_differences(a, b).values.tolist() == [["seed", "0", "1"]]
    assert setting_differences(b, c)["setting"].tolist() == ["method", "seed", "epochs"]
    decisions = decision_differences(a, b)
    assert decisions["sample_id"].tolist() == ["train-00001"] and decisions["label_b"].tolist() == ["bird"]
    assert decision_differences(b, c).empty and not decisions["excluded_a"].any()
    assert cautions(a, b) == ["The seeds differ, so part of the difference is chance."]
    assert any("More than one thing differs (method, epochs, decisions)" in line for line in cautions(a, c))


def test_last_figures_stand_side_by_side(project: Project) -> None:
    table = epoch_figures(make_run(project, "a"), make_run(project, "b", method="erm")).set_index("figure")
    assert table.loc["num_routed", "a"] > 0 == table.loc["num_routed", "b"]
    assert pd.isna(table.loc["validation_loss", "difference"])
    assert table.loc["train_loss", "difference"] == 0


# -- pairs of seeds


def repeats(project: Project, name: str, rights: list[list[bool]]) -> list[RunDir]:
    runs = [make_run(project, f"{name}{seed}", seed=seed) for seed in range(len(rights))]
    for run, right in zip(runs, rights, strict=True):
        predict(run, right)
    return runs


def test_the_paired_difference_agrees_with_scipy(project: Project) -> None:
    rng = np.random.default_rng(0)
    a = repeats(project, "a", [list(rng.random(20) < 0.6) for _ in range(4)])
    b = repeats(project, "b", [list(rng.random(20) < 0.8) for _ in range(4)])
    found = paired_difference(list(reversed(a)), b)
    expected = stats.ttest_rel(found.values_b, found.values_a)
    interval = expected.confidence_interval(0.95)
    assert found.seeds == (0, 1, 2, 3) and found.num_pairs == 4 and found.note == ""
    assert found.mean == pytest.approx(np.mean(found.values_b) - np.mean(found.values_a)) and found.mean != 0
    assert (found.low, found.high) == (pytest.approx(interval.low), pytest.approx(interval.high))
    direct = paired_interval(found.values_a, found.values_b)
    assert (direct.mean, direct.low, direct.high) == (found.mean, found.low, found.high)


def test_one_pair_gives_a_difference_without_an_interval_and_says_so(project: Project) -> None:
    a, b = make_run(project, "a"), make_run(project, "b")
    predict(a, [True, False])
    predict(b, [True, True])
    found = paired_difference([a], [b])
    assert (found.mean, found.low, found.high, found.num_pairs) == (0.5, None, None, 1)
    assert "one seed gives no interval" in found.note


def test_no_pair_gives_nothing_and_says_so(project: Project) -> None:
    a, b = make_run(project, "a", seed=1), make_run(project, "b", seed=2)
    found = paired_difference([a], [b])
    assert (found.mean, found.low, found.num_pairs) == (None, None, 0)
    assert "no seed has a finished run on both sides" in found.note


def test_of_two_runs_of_one_seed_the_newest_counts(project: Project) -> None:
    old, new, b = make_run(project, "old"), make_run(project, "new"), make_run(project, "b")
    for run, right in ((old, [False, False]), (new, [True, False]), (b, [True, True])):
        predict(run, right)
    found = paired_difference([new, old], [b])
    assert found.values_a == (0.5,) and "newest counts" in found.note


def test_runs_are_compared_on_clean_or_test_alone(project: Project) -> None:
    run = make_run(project)
    with pytest.raises(CompareError, match="one of clean, test; got 'train'"):
        paired_difference([run], [run], "train")
