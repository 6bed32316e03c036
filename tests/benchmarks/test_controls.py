"""The controls beside MOLERE: one budget of tuning, chosen on what is held out of training and not on test."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks import controls, feature_problems
from engine.contract.manifest import read_manifest
from engine.contract.studies.study_plan import config_of
from tests.fake_features import make_features
from tests.fakes import make_project


def test_every_control_has_the_same_number_of_settings_and_each_is_another() -> None:
    for name, control in controls.CONTROLS.items():
        assert len(set(control.tried)) == len(control.tried) == controls.NUM_TRIED, name
        for head in controls.HEADS:
            if name in controls.names_of(head):
                configs = [config_of(arm, controls.common(head), 60) for arm in controls.trials(name)]
                assert len({str(config) for config in configs}) == controls.NUM_TRIED, "each changes something"
                assert {config.head for config in configs} == {head}
    assert max(controls.CHOICE_SEEDS) < 70 <= controls.FIRST_SEED


@pytest.mark.parametrize("is_of_groups", [False, True])
def test_no_sample_of_the_test_split_takes_part_in_a_choice(tmp_path: Path, is_of_groups: bool) -> None:
    problem = make_project(tmp_path / "features_fake", num_train=90)
    make_features(problem, feature_problems.FEATURES)
    before = read_manifest(problem, ["given_label"]).set_index("sample_id")
    path = controls.tuning_project(problem, is_of_groups)
    rows = read_manifest(path, ["given_label"]).set_index("sample_id")
    of_before = before["split"].reindex(rows.index)
    assert not (of_before == "test").any() and (rows["given_label"] == before["given_label"].reindex(rows.index)).all()
    held = of_before[rows["split"] == "test"]
    assert held.eq("clean").all() if is_of_groups else held.eq("train").all() and len(held) == 18
    assert len(rows) == (102 if is_of_groups else 90)
    assert controls.tuning_project(problem, is_of_groups) == path and (path / "features" / "frozen").is_dir()


def test_the_highest_mean_over_seeds_is_chosen_and_failed_runs_count_for_nothing() -> None:
    rows = pd.DataFrame([
        {"arm": "elr-0", "seed": 60, "state": "done", "test_accuracy": 0.7},
        {"arm": "elr-1", "seed": 60, "state": "done", "test_accuracy": 0.9},
        {"arm": "elr-1", "seed": 61, "state": "done", "test_accuracy": 0.6},
        {"arm": "elr-2", "seed": 60, "state": "done", "test_accuracy": 0.78},
        {"arm": "elr-2", "seed": 61, "state": "done", "test_accuracy": 0.76},
        {"arm": "elr-3", "seed": 60, "state": "failed", "test_accuracy": 1.0},
        {"arm": "jtt-3", "seed": 60, "state": "done", "test_accuracy": np.nan}])
    assert controls.chosen_of(rows, "test_accuracy") == {"elr": controls.CONTROLS["elr"].tried[2]}


def test_oracles_are_reported_where_the_problem_has_their_column(tmp_path: Path) -> None:
    project = make_project(tmp_path / "p", num_train=30)
    arms = controls.final_arms(project, {"elr": controls.CONTROLS["elr"].tried[3]})
    assert [arm.name for arm in arms] == ["plain", "molere-default", "random-split", "elr"]
    assert arms[3].settings["controls.elr_memory"] == 0.9
