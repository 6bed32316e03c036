"""The made project of a million samples keeps to the contracts, at a size of a second."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks import audit_million, million_project
from curation.project import Project
from curation.samples.table import sample_table
from engine.contract.run_list import damage_of
from engine.contract.signal_columns import COLUMNS


def test_it_opens_and_its_columns_are_in_their_ranges(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(million_project, "NUM_PICTURES", 3)
    path = million_project.make(tmp_path / "million", 900)
    project = Project.open(path)
    run = project.run("first")
    assert not damage_of(run)
    assert len(sample_table(project, run)) == 900
    signals = run.read_signals()
    for name, column in COLUMNS.items():
        if column.kind in ("number", "count"):
            values = signals[name].dropna().to_numpy(dtype=np.float64)
            assert column.low is None or (values >= column.low).all(), name
            assert column.high is None or (values <= column.high).all(), name
    seconds = audit_million.measure(path, "first")
    assert "noise matrix" in seconds
