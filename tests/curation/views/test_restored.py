"""A ledger that is put back from a copy under a running app: every page shows what it holds, not what the one before
held under the same numbers."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from curation.ledger.verdict_tables import NewDraw
from curation.ledger.verdicts import Verdict
from curation.project import Project
from curation.views import scored
from curation.views.widgets import others, state
from curation.views.widgets.conflicts import conflicts_cached
from curation.views.widgets.decided import batches_cached
from tests.fakes import make_project, make_run


@pytest.fixture
def pets(home: Path) -> Project:
    path = make_project(home / "pets")
    make_run(path, "first")
    return Project.open(path)


def act(project: Project, sample_id: str) -> None:
    """Two people decide differently, one of them answers, and one batch is drawn."""
    project.ledger().pin([sample_id], "train", who="ada")
    project.ledger().pin([sample_id], "validation", who="bob")
    project.verdicts().add([Verdict(audit="audit", queue="find", sample_id=sample_id, verdict="given", who="ada",
                                    given_label="cat", at="2026-11-29T10:00:00.000+00:00")])
    project.verdicts().add_draws("audit", [NewDraw("estimate-1", "ada", (sample_id,))])


def shown(project: Project) -> list[set[str]]:
    """The samples of which each thing that is kept speaks."""
    newest, run = project.newest, project.run("first")
    table = state.samples_cached(project, run).pandas()
    history = batches_cached(project, newest.decisions)
    assert len(history) == 2
    return [set(table["sample_id"][table["pin"].notna()]), set(conflicts_cached(project)["sample_id"]),
            set(scored.verdicts_of_all(project, newest.verdicts)["sample_id"]), set(scored.blind(project).ids)]


def test_what_is_kept_is_of_the_ledger_that_is_there(home: Path, pets: Project, tmp_path: Path) -> None:
    pets.ledger(), pets.verdicts()
    copy = shutil.copy(pets.database, tmp_path / "copy")
    act(pets, "train-00001")
    at = list(batches_cached(pets, pets.newest.decisions)["at"])
    assert shown(pets) == [{"train-00001"}] * 4
    Path(pets.database).unlink()
    shutil.copy(copy, pets.database)
    act(pets, "train-00002")
    assert shown(pets) == [{"train-00002"}] * 4
    assert not set(at) & set(batches_cached(pets, pets.newest.decisions)["at"])


def test_a_page_that_is_open_is_drawn_anew_though_the_ledger_has_fewer_decisions(pets: Project, tmp_path: Path,
                                                                                monkeypatch: Any) -> None:
    pets.ledger()
    copy = shutil.copy(pets.database, tmp_path / "copy")
    for _ in range(3):
        pets.ledger().pin(["train-00001"], "train", who="ada")
    rerun: list[bool] = []
    monkeypatch.setattr(others.st, "session_state", {others._SEEN_KEY: (str(pets.path), pets.newest.decisions)})
    monkeypatch.setattr(others.st, "rerun", lambda: rerun.append(True))
    monkeypatch.setattr(others, "PACE", others._Pace())
    others.look(pets)
    assert not rerun
    Path(pets.database).unlink()
    shutil.copy(copy, pets.database)
    others.look(pets)
    assert rerun == [True] and "_notices" not in others.st.session_state
    others.st.session_state[others._SEEN_KEY] = (str(pets.path), pets.newest.decisions)
    pets.ledger().pin(["train-00001"], "train", who="bob")
    others.look(pets)
    assert others.st.session_state["_notices"] == [("bob decided: pin 1 sample to training.", False)]
