"""Pins against the splitter: counted over epochs where they were recorded, from the last epoch's note where not.

In the fake project a class has 20 samples, so with val_fraction 0.1 the splitter wants the two lowest in validation.
"""

from pathlib import Path

import numpy as np
import pytest

from curation.experiments.pin_disagreement import Tension, class_lines, pin_tension
from curation.project import Project
from curation.samples.table import sample_table, samples
from engine.contract.run_dir import RunDir
from tests.fakes import make_project, make_run


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    """Two pins to validation and one to training, over four epochs."""
    project = Project.open(make_project(tmp_path / "p", size=2))
    project.ledger().pin(["train-00001", "train-00002"], "validation", "ada")
    project.ledger().pin(["train-00003"], "train", "ada")
    return make_run(project, "first")


def tension(run: RunDir) -> Tension:
    return pin_tension(run, samples(Project.open(run.path.parents[1]), run))


def record(run: RunDir, wishes: dict[int, list[float]]) -> None:
    """Write the splitter's wish of rows, an entry an epoch; everybody else has 0.7, one of each class 0.5."""
    for epoch in range(4):
        path = run.path / "history" / f"{epoch + 1:04d}.npy"
        records = np.load(path)
        records["p_train"] = 0.7
        records["p_train"][30:33] = 0.5
        for row, values in wishes.items():
            records["p_train"][row] = values[epoch]
        run.write_history(epoch + 1, records)


def test_epochs_against_the_pin_are_counted_and_the_most_disputed_come_first(run: RunDir) -> None:
    nan = float("nan")
    record(run, {1: [0.9, 0.8, 0.2, nan], 2: [0.1, 0.2, 0.3, nan], 3: [0.1, 0.2, 0.3, 0.4]})
    found = tension(run)
    assert not found.is_last_only
    rows = found.rows.set_index("sample_id")
    assert rows.index.tolist() == ["train-00003", "train-00001", "train-00002"]
    assert rows["share_against"].tolist() == [1.0, pytest.approx(2 / 3), 0.0]
    assert rows["num_epochs"].tolist() == [4, 3, 3]
    assert rows.loc["train-00003", "wish"] == pytest.approx(0.4, abs=1e-3)
    assert rows["pin"].tolist() == ["train", "validation", "validation"]


def test_the_only_sample_of_a_class_is_never_wanted_in_validation(tmp_path: Path) -> None:
    project = Project.open(make_project(tmp_path / "p", size=2))
    birds = sample_table(project, None).query("given_label == 'bird'")["sample_id"].tolist()
    project.ledger().relabel(birds[1:], "cat", "ada")
    project.ledger().pin(birds[:1], "train", "ada")
    run = make_run(project, "first")
    record(run, {int(birds[0][-2:]): [0.1, 0.2, 0.3, 0.4]})
    assert tension(run).rows[["sample_id", "num_epochs", "share_against"]].to_numpy().tolist() == [[birds[0], 4, 0.0]]


def test_lines_of_a_sample_are_those_of_the_whole_class() -> None:
    p_train = np.arange(1, 101) / 100
    for step, kept in ((1, p_train), (5, p_train[4::5])):
        assert class_lines(kept, np.zeros(len(kept), dtype=int), 0.1, 1, step) == pytest.approx([0.1])
    few = class_lines(np.array([0.3, 0.6, 0.5]), np.array([0, 2, 2]), 0.1, 4, 1)
    assert few[0] == -np.inf and few[2] == 0.5 and np.isnan(few[[1, 3]]).all()
    assert class_lines(np.array([0.3]), np.array([0]), 0.1, 1, 20) == [0.3], "one of about twenty, of which two go"


def test_a_run_of_older_code_tells_the_last_epoch_alone(run: RunDir) -> None:
    record(run, {1: [0.0] * 4, 2: [0.0] * 4, 3: [1.0] * 4})
    signals = run.read_signals()
    wish = np.full(len(signals), np.nan, dtype=np.float32)
    wish[[1, 3]] = 0.83, 0.91
    run.write_signals(signals.assign(p_train_unpinned=wish))
    found = tension(run)
    assert found.is_last_only
    rows = found.rows.set_index("sample_id")
    assert rows["share_against"].fillna(-1).to_dict() == {"train-00001": 1.0, "train-00003": 0.0, "train-00002": -1.0}
    assert rows.loc["train-00001", "wish"] == pytest.approx(0.83) and rows.loc["train-00002", "num_epochs"] == 0


def test_without_pins_or_signals_there_is_no_tension(tmp_path: Path) -> None:
    project = Project.open(make_project(tmp_path / "p", size=2))
    assert tension(make_run(project, "first")).rows.empty
    project.ledger().pin(["train-00001"], "validation", "ada")
    assert tension(make_run(project, "second", state="queued")).rows.empty
