"""A ledger moves to PostgreSQL and back: every row and the chain, nothing lost by who works on it meanwhile."""

import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
import sqlalchemy as sa

from curation.__main__ import main
from curation.doctor import move_ledger as module
from curation.doctor.chain import read_chain
from curation.doctor.move_ledger import move_ledger
from curation.ledger import engines, layout
from curation.ledger.batch import LedgerError
from curation.ledger.foreign import MovedError
from curation.ledger.ledger import Ledger
from curation.ledger.verdicts import Verdict
from curation.project import Project
from tests.clusters import Cluster, cluster
from tests.fakes import make_project

pytestmark = pytest.mark.sqlite


@pytest.fixture(scope="module")
def server() -> Iterator[Cluster]:
    with cluster() as running:
        yield running


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """One with decisions, an undo, verdicts and one that was taken back."""
    opened = Project.open(make_project(tmp_path / "pets", size=4))
    ledger, verdicts = opened.ledger(), opened.verdicts()
    ledger.pin(["train-00001", "train-00002"], "validation", "ada", "naïve \N{SNOWMAN}")
    ledger.exclude(["train-00003"], who="bob")
    ledger.relabel(["train-00004"], "dog", "ada")
    ledger.undo("ada")
    answer = Verdict(sample_id="train-00005", given_label="bird", verdict="given", audit="first", queue="estimate",
                     who="ada")
    verdicts.add([answer])
    verdicts.retract(1, "ada")
    return opened


@pytest.fixture
def goal(server: Cluster, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> str:
    """The URL of an empty database that this user trusts."""
    url = server.create(f"goal_{abs(hash(request.node.name))}")
    monkeypatch.setenv("WHETSTONE_LEDGERS", url)
    return url


def test_all_of_it_arrives_and_the_project_goes_on_there(project: Project, goal: str,
                                                         capsys: pytest.CaptureFixture[str]) -> None:
    before, chain = project.ledger().state(), read_chain(project.database)
    batches, verdicts = project.ledger().batches(), project.verdicts().rows()
    assert main(["move-ledger", str(project.path), "--to", goal]) == 0
    said = capsys.readouterr().out
    assert "batches: 4 rows, the same on both sides" in said and "the project names the new database" in said
    moved = Project.open(project.path)
    assert moved.database == goal and moved.details["name"] == project.details["name"]
    assert read_chain(goal) == chain and not chain.breaks and len(chain.digests) == 6
    pd.testing.assert_frame_equal(moved.ledger().state(), before)
    pd.testing.assert_frame_equal(moved.ledger().batches(), batches)
    pd.testing.assert_frame_equal(moved.verdicts().rows(), verdicts)
    assert moved.ledger().exclude(["train-00009"], who="ada") == 5
    assert not read_chain(goal).breaks


def test_and_back_again(project: Project, goal: str) -> None:
    state, digests = project.ledger().state(), read_chain(project.database).digests
    move_ledger(project, goal)
    move_ledger(Project.open(project.path), "second.sqlite")
    back = Project.open(project.path)
    assert back.database == str(project.path / "second.sqlite") and read_chain(back.database).digests == digests
    pd.testing.assert_frame_equal(back.ledger().state(), state)


def test_the_old_one_refuses_who_had_it_open_and_who_waited_for_it(project: Project, goal: str,
                                                                   monkeypatch: pytest.MonkeyPatch) -> None:
    """A writer that waits for the lock gets it once all was copied: what it wrote then, nobody would see."""
    had_it, said = project.ledger(), []
    usual = module._compared

    def compared(table: sa.Table, old: sa.Connection, new: sa.Connection) -> object:
        if table is module.TABLES[0]:
            waiting.start()
            waiting.join(0.5)
            assert waiting.is_alive(), "it waits"
        return usual(table, old, new)

    def write() -> None:
        try:
            had_it.exclude(["train-00008"], who="late")
        except LedgerError as error:
            said.append(error)

    waiting = threading.Thread(target=write)
    monkeypatch.setattr(module, "_compared", compared)
    move_ledger(project, goal)
    waiting.join()
    assert len(said) == 1 and "was moved to another database" in str(said[0])
    with pytest.raises(MovedError, match="open the project anew"):
        had_it.state()
    with pytest.raises(MovedError):
        Ledger(project.database, project.path / "decisions.parquet")
    assert len(Project.open(project.path).ledger().batches()) == 4


def test_a_database_that_holds_one_is_refused_and_nothing_changes(project: Project, goal: str, tmp_path: Path) -> None:
    other = Project.open(make_project(tmp_path / "other", size=4))
    other.ledger().exclude(["train-00001"], who="eve")
    move_ledger(other, goal)
    with pytest.raises(LedgerError, match="moves to an empty database; .* has rows in ledger"):
        move_ledger(project, goal)
    assert project.ledger().exclude(["train-00009"], who="ada") == 5
    assert "ledger" not in json.loads((project.path / "project.json").read_text())


def test_copies_that_differ_are_found_and_the_project_keeps_what_it_has(project: Project, goal: str,
                                                                        monkeypatch: pytest.MonkeyPatch) -> None:
    usual = module._rows

    def rows(connection: sa.Connection, table: sa.Table) -> Iterator[list[dict[str, object]]]:
        for part in usual(connection, table):
            yield part[:-1] if connection.dialect.name == "sqlite" and table.name == "entries" and not left.pop() \
                else part

    left = [True, False]
    monkeypatch.setattr(module, "_rows", rows)
    with pytest.raises(LedgerError, match="must be the same; of entries 4 rows left and 3 arrived"):
        move_ledger(project, goal)
    assert project.ledger().exclude(["train-00009"], who="ada") == 5
    with engines.engine_of(goal).connect() as connection:
        assert not sa.inspect(connection).has_table("batches"), "the copy was rolled back"


def test_a_move_that_was_killed_before_the_project_knew_is_ended_by_the_next(project: Project, goal: str,
                                                                            monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_name", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        move_ledger(project, goal)
    monkeypatch.undo()
    monkeypatch.setenv("WHETSTONE_LEDGERS", goal)
    stopped = Project.open(project.path)
    other = Project.open(make_project(project.path.parent / "other", size=4))
    other.ledger().exclude(["train-00001"], who="eve")
    monkeypatch.setenv("WHETSTONE_LEDGERS", f"{goal} {other.database}")
    with pytest.raises(LedgerError, match="holds another one; name the database of that move"):
        move_ledger(stopped, other.database)
    assert move_ledger(stopped, goal) == []
    assert len(Project.open(project.path).ledger().batches()) == 4


def test_processes_that_open_an_empty_database_at_once_make_one_ledger(server: Cluster, tmp_path: Path) -> None:
    project = Project.open(make_project(tmp_path / "pets", size=4))
    url, made, barrier = server.create("at_once"), [], threading.Barrier(8)

    def begin() -> None:
        barrier.wait()
        try:
            made.append(Ledger(url, project.path / "decisions.parquet"))
        except LedgerError as error:
            made.append(error)

    threads = [threading.Thread(target=begin) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [one for one in made if not isinstance(one, Ledger)] == []
    with engines.engine_of(url).connect() as connection:
        assert connection.execute(sa.select(sa.func.count()).select_from(layout.LAYOUTS)).scalar() == 1
