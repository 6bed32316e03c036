"""One sample's neighbours, read alone, are those of the whole file."""

from pathlib import Path

import numpy as np
import pytest

from curation.samples.neighbours import neighbours_of
from tests.fakes import make_project, make_run


@pytest.mark.parametrize("save", ["as written", "by an older version", "compressed"])
def test_one_row_is_that_of_the_whole_file(tmp_path: Path, save: str) -> None:
    run = make_run(make_project(tmp_path / "p", size=2), "first")
    indices, distances = run.read_neighbours()
    if save != "as written":
        write = np.savez if save == "by an older version" else np.savez_compressed
        write(run.path / "neighbours.npz", indices=indices, distances=distances)
        run.neighbours_path.unlink()
        assert run.neighbours_path.suffix == ".npz"
        assert all((old == new).all() for old, new in zip(run.read_neighbours(), (indices, distances), strict=True))
    for row in (0, 17, 59):
        found = neighbours_of(run, row)
        assert found is not None
        assert (found[0] == indices[row]).all() and (found[1] == distances[row].astype(float)).all()
        assert found[2] == 60
    assert neighbours_of(run, -1) is None


def test_one_row_is_read_from_the_disk_and_not_the_file(tmp_path: Path) -> None:
    run = make_run(make_project(tmp_path / "p", size=2), "first")
    records = run.open_neighbours()
    assert isinstance(records, np.memmap) and records[7].nbytes == 10 * (4 + 2)


def test_there_are_none_before_the_map(tmp_path: Path) -> None:
    assert neighbours_of(make_run(make_project(tmp_path / "p", size=2), "first", state="failed"), 0) is None
