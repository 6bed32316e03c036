"""What the version before the rooms left on disk (make.py says what) opens."""

import zipfile
from pathlib import Path

import numpy as np
import pytest

from curation.project import Project
from curation.samples import saved_views
from curation.samples.neighbours import neighbours_of
from curation.samples.predicates import apply, fitted
from curation.samples.table import samples
from tests import ROOT


@pytest.fixture(scope="module")
def old_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The archive unpacked: home/ and projects/pets/. Read-only: copy what you change."""
    folder = tmp_path_factory.mktemp("before")
    with zipfile.ZipFile(ROOT / "tests" / "before_rooms" / "before_rooms.zip") as archive:
        archive.extractall(folder)
    return folder


def test_neighbours_of_an_old_run_are_read_whole_and_one_by_one(old_home: Path) -> None:
    run = Project.open(old_home / "projects" / "pets").run("first")
    assert run.neighbours_path.name == "neighbours.npz"
    found = run.read_neighbours()
    assert found is not None and found[0].shape == found[1].shape == (66, 15)
    assert ((found[0] >= 0) & (found[0] < 66) & (found[0] != np.arange(66)[:, None])).all()
    assert (np.diff(found[1].astype(float), axis=1) >= 0).all(), "nearest first"
    one = neighbours_of(run, 65)
    assert one is not None and one[0].tolist() == found[0][65].tolist() and one[2] == 66


def test_a_view_saved_by_the_older_version_selects(old_home: Path) -> None:
    project = Project.open(old_home / "projects" / "pets")
    assert saved_views.names(project) == ["hard-ones"]
    view = saved_views.load(project, "hard-ones")
    assert (view["run"], view["who"]) == ("first", "ada")
    table = samples(project, project.run("first"))
    predicate, gone = fitted(view["predicate"], table, project.classes, "first")
    assert predicate == {"roles": ["validation"], "flags": ["in the hard validation set"]} and not gone
    frame = table.pandas()
    expected = frame["role"].eq("validation") & frame["in_validation"]
    assert apply(table, predicate).tolist() == expected.tolist() and expected.any()
