"""The effect of decisions over seeds: figures against scipy and by hand, and what may never count."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from curation.experiments import effects
from curation.experiments.compare import paired_difference
from curation.experiments.repeats import same_but_seed
from curation.project import Project
from engine.contract.run_dir import RunDir
from tests.fakes import make_project, make_run


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """Three seeds without decisions and three with a pin."""
    project = Project.open(make_project(tmp_path / "p", num_clean=18, num_test=60, size=2))
    for seed in range(3):
        make_run(project, f"a{seed}", seed=seed)
    project.ledger().pin(["train-00001"], "validation", "ada")
    for seed in range(3):
        make_run(project, f"b{seed}", seed=seed)
    return project


def predict(run: RunDir, rng: np.random.Generator, share: float) -> None:
    """Make that share of the run's predictions right."""
    rows = run.read_predictions()
    assert rows is not None
    rows["prediction"] = np.where(rng.random(len(rows)) < share, rows["label"], "none of them")
    run.write_predictions(rows)


def side(project: Project, name: str) -> list[RunDir]:
    return [project.run(f"{name}{seed}") for seed in range(3)]


def change_config(run: RunDir, **values: object) -> None:
    document = run.read_config()
    document["config"].update(values.pop("config", {}))
    run.write_config(document | values)


def test_an_experiment_is_recognised_by_decisions_alone(project: Project) -> None:
    found = effects.experiment_of(project.run("a0"), project.run("b1"), project.runs())
    assert found is not None and found.seeds == [0, 1, 2] and found.num_decided == (0, 1)
    assert [(a.name, b.name) for _, a, b in found.pairs] == [("a0", "b0"), ("a1", "b1"), ("a2", "b2")]
    assert effects.experiment_of(project.run("a0"), project.run("a1"), project.runs()) is None
    make_run(project, "longer", epochs=5)
    assert effects.experiment_of(project.run("a0"), project.run("longer"), project.runs()) is None


def test_every_figure_agrees_with_a_count_by_hand_and_scipy(project: Project) -> None:
    rng = np.random.default_rng(0)
    for run in side(project, "a"):
        predict(run, rng, 0.5)
    for run in side(project, "b"):
        predict(run, rng, 0.8)
    found = effects.experiment_of(project.run("a0"), project.run("b0"), project.runs())
    assert found is not None
    table = effects.effects(found.pairs).set_index(["split", "kind", "name"])

    def right(run: RunDir, split: str) -> pd.DataFrame:
        rows = run.read_predictions()
        assert rows is not None
        rows = rows[rows["split"] == split]
        return rows.assign(is_right=(rows["label"] == rows["prediction"]).astype(float))

    for key, values in {
        ("test", "all", "all"): lambda rows: rows["is_right"].mean(),
        ("clean", "all", "all"): lambda rows: rows["is_right"].mean(),
        ("test", "label", "cat"): lambda rows: rows.loc[rows["label"] == "cat", "is_right"].mean(),
        ("test", "group", "night"): lambda rows: rows.loc[rows["group"] == "night", "is_right"].mean(),
        ("test", "worst", "group"): lambda rows: min(part["is_right"].mean() for _, part in rows.groupby("group")),
    }.items():
        a, b = ([values(right(run, key[0])) for run in side(project, name)] for name in "ab")
        interval = stats.ttest_rel(b, a).confidence_interval(0.95)
        row = table.loc[key]
        assert row["num_pairs"] == 3
        assert (row["mean_a"], row["mean_b"]) == (pytest.approx(np.mean(a)), pytest.approx(np.mean(b)))
        assert (row["difference"], row["low"], row["high"]) == (
            pytest.approx(np.mean(b) - np.mean(a)), pytest.approx(interval.low), pytest.approx(interval.high)), key
    assert table.loc[("test", "label", "cat"), "num_samples"] == 20


def test_one_seed_has_a_difference_and_no_interval(project: Project) -> None:
    table = effects.effects([(0, project.run("a0"), project.run("b0"))])
    assert table["difference"].notna().all() and table["low"].isna().all() and table["high"].isna().all()
    assert effects.effects([]).empty and tuple(effects.effects([]).columns) == effects.EFFECT_COLUMNS


def test_a_split_used_for_validation_is_in_no_effect_and_stands_apart(project: Project) -> None:
    for run in (*side(project, "a"), *side(project, "b")):
        change_config(run, config={"validation": "clean"})
    pair = [(0, project.run("a0"), project.run("b0"))]
    assert set(effects.effects(pair)["split"]) == {"test"}
    apart = effects.curated_figures(*pair[0][1:]).set_index("name")
    assert apart.loc["clean split, used for validation", "num_a"] == 18


def test_curated_sets_are_counted_for_each_run_alone(project: Project) -> None:
    a, b = project.run("a0"), project.run("b0")
    table = effects.curated_figures(a, b).set_index("name")
    pinned = table.loc["pinned to validation by people"]
    margin = b.read_signals().set_index("sample_id").loc["train-00001", "margin"]
    assert (pinned["num_a"], pinned["num_b"], pinned["share_b"]) == (0, 1, float(margin > 0))
    assert np.isnan(pinned["share_a"])
    assert table.loc["routed or pinned to validation", "num_b"] > 1


def test_a_preview_is_no_repeat_and_in_no_pair(project: Project) -> None:
    change_config(project.run("b1"), warm_start={"run": "a0", "checkpoint": "state-00004-0000000.pt"})
    runs = project.runs()
    assert {run.name for run in same_but_seed(project.run("b0"), runs)} == {"b0", "b2"}
    assert same_but_seed(project.run("b1"), runs) == []
    found = paired_difference(side(project, "a"), side(project, "b"))
    assert found.seeds == (0, 2) and "previews are left out" in found.note
    assert effects.experiment_of(project.run("a0"), project.run("b1"), runs) is None
