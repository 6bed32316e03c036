"""How far a ledger has come, without opening it."""

import shutil
from pathlib import Path

import pytest

from curation.ledger.batch import LedgerError
from curation.ledger.ledger import Ledger
from curation.ledger.newest import newest_rows
from curation.ledger.verdict_tables import NewDraw
from curation.ledger.verdicts import Verdict
from curation.project import Project
from engine.contract.integrity.decisions import staleness
from tests.curation.ledger.old_ledgers import make_old_ledger
from tests.fakes import make_project


@pytest.fixture
def pets(tmp_path: Path) -> Project:
    return Project.open(make_project(tmp_path / "pets", size=4))


def verdict(sample_id: str) -> Verdict:
    """All on one day: the time of an answer is its sender's."""
    return Verdict(audit="a", queue="find", sample_id=sample_id, verdict="given", given_label="cat", who="ada",
                   at="2026-11-29T10:00:00.000+00:00")


def numbers(project: Project) -> list[int]:
    return [newest.number for newest in project.newest]


@pytest.mark.sqlite
def test_the_newest_rows_of_a_project_open_the_ledger_only_where_it_has_to_be_made(pets: Project, monkeypatch) -> None:
    with pytest.raises(LedgerError, match="no such table"):
        newest_rows(pets.database)
    assert numbers(pets) == [0, 0, 0]
    pets.ledger().exclude(["train-00001"], who="ada")
    pets.ledger().undo(who="ada")
    pets.verdicts().add([verdict("train-00001")])
    pets.verdicts().add_draws("a", [NewDraw("estimate-1", "ada", ("train-00002",))])
    monkeypatch.setattr(Ledger, "__init__", lambda *_: pytest.fail("opened"))
    assert numbers(pets) == [2, 1, 1]


@pytest.mark.sqlite
def test_those_of_an_older_ledger_are_told_apart_by_its_id(pets: Project) -> None:
    make_old_ledger(Path(pets.database), "index")
    found = newest_rows(pets.database)
    assert [newest.number for newest in found] == [3, 2, 0]
    assert {newest.digest for newest in found} == {"0123456789abcdef0123456789abcdef"}


def put_back(project: Project, copy: Path) -> None:
    for path in project.path.glob("ledger.sqlite*"):
        path.unlink()
    shutil.copy(copy, project.database)


@pytest.mark.sqlite
def test_a_ledger_put_back_from_a_copy_has_other_newest_rows_though_they_are_as_many(pets: Project,
                                                                                    tmp_path: Path) -> None:
    def act(sample_id: str) -> None:
        pets.ledger().exclude([sample_id], who="ada")
        pets.verdicts().add([verdict(sample_id), verdict("train-00009")])  # the newest is as the other's
        pets.verdicts().add_draws("a", [NewDraw("estimate-1", "ada", (sample_id,))])

    act("train-00001")
    copy = Path(shutil.copy(pets.database, tmp_path / "copy"))
    act("train-00002")
    first, newer = pets.newest, Path(shutil.copy(pets.database, tmp_path / "newer"))
    put_back(pets, copy)
    act("train-00003")
    second = pets.newest
    assert numbers(pets) == [2, 4, 2] == [newest.number for newest in first]
    assert all(a != b for a, b in zip(first, second, strict=True))

    assert staleness(pets.path) == ""
    put_back(pets, newer)
    assert "another history" in staleness(pets.path) and pets.newest == first
    assert sorted(pets.ledger().state()["sample_id"]) == ["train-00001", "train-00002"]
    assert staleness(pets.path) == "", "what trainings read was made anew"


def test_what_trainings_read_is_the_same_file_whenever_it_is_made_anew(pets: Project) -> None:
    """Its digest stands in runs and exports."""
    pets.ledger().exclude(["train-00001"], who="ada")
    before = pets.decisions_path.read_bytes()
    pets.verdicts().add([verdict("train-00001")])
    pets.verdicts().add_draws("a", [NewDraw("estimate-1", "ada", ("train-00002",))])
    pets.decisions_path.write_bytes(before[:100])
    pets.ledger()
    assert pets.decisions_path.read_bytes() == before


@pytest.mark.sqlite
def test_what_is_wrong_with_a_ledger_is_said_as_opening_it_says_it(pets: Project) -> None:
    (pets.path / "ledger.sqlite").write_bytes(b"no database" * 1000)
    with pytest.raises(LedgerError) as opening:
        pets.ledger()
    with pytest.raises(LedgerError) as asking:
        assert pets.newest
    assert str(asking.value) == str(opening.value)
