"""Pins against the splitter: counted over epochs where they were recorded, from the last epoch's note where not.

In the fake project a class has 20 samples, so with val_fraction 0.1 the splitter wants the two lowest in validation.
"""

from pathlib import Path

import numpy as np
import pytest

from curation.experiments.pin_disagreement import Tension, pin_tension
from curation.project import Project
from curation.samples.table import sample_table
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
    return pin_tension(run, sample_table(Project.open(run.path.parents[1]), run))


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
