"""What a process knows of a ledger: each row read once, and the same as if all were read anew."""

import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import sqlalchemy as sa

from curation.ledger import engines, history, renewal
from curation.ledger.ledger import Ledger
from curation.project import Project
from tests.fakes import make_project

IDS = [f"train-{i:05d}" for i in range(60)]
PEOPLE = ("ada", "bob", "cid")


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project.open(make_project(tmp_path / "p", size=4))


def rows_read(project: Project, act: Callable[[], object]) -> int:
    """How many rows the database gives while `act` runs, whoever asks for them."""
    num = [0]

    def count(_cursor: sqlite3.Cursor, row: tuple[object, ...]) -> tuple[object, ...]:
        num[0] += 1
        return row

    def connected(connection: sqlite3.Connection, _record: object) -> None:
        connection.row_factory = count

    engine = engines.engine_of(project.database)
    sa.event.listen(engine, "connect", connected)
    act()
    sa.event.remove(engine, "connect", connected)
    return num[0]


def page(project: Project) -> list[pd.DataFrame]:
    """What a draw of the Decide page asks of the ledger."""
    ledger = project.ledger()
    undo = [ledger.next_undo(who) for who in PEOPLE]
    assert all(batch is None or batch["who"] == who for batch, who in zip(undo, PEOPLE, strict=True))
    redo = pd.DataFrame({"redo": [repr(ledger.next_redo(who)) for who in PEOPLE]})
    return [ledger.batches(), ledger.conflicts(), ledger.state(), redo]


@pytest.mark.sqlite
def test_a_press_reads_no_more_of_a_long_history_than_of_a_short_one(project: Project) -> None:
    def decide(number: int) -> None:
        project.ledger().exclude(IDS[number % 60:number % 60 + 2], who=PEOPLE[number % 3])

    def press(number: int) -> int:
        return rows_read(project, lambda: (decide(number), page(project)))

    for number in range(6):
        decide(number)
    page(project)
    early = press(6)
    for number in range(7, 36):
        decide(number)
    page(project)
    assert press(36) == early
    assert rows_read(project, lambda: project.ledger().undo("ada")) > 36, "an undo replays"


@pytest.mark.parametrize("seed", range(2))
def test_what_is_known_is_what_a_process_that_begins_would_read(project: Project, seed: int) -> None:
    rng, ledger = np.random.default_rng(seed), project.ledger()
    for _ in range(24):
        ids, who = list(rng.choice(IDS[:8], 3, replace=False)), str(rng.choice(PEOPLE))
        match rng.integers(6):
            case 0:
                ledger.pin(ids, str(rng.choice(["validation", "train"])), who)
            case 1:
                ledger.exclude(ids, bool(rng.integers(2)), who=who)
            case 2 | 3:
                ledger.relabel(ids, str(rng.choice(["cat", "dog"])), who,
                               origin=str(rng.choice(["person", "settlement", "audit"])))
            case 4:
                ledger.undo(who)
            case 5:
                ledger.redo(who)
        if rng.integers(2):  # else several come before it is asked again
            known = page(project)
            history.read_of.cache_clear()
            for ours, anew in zip(known, page(project), strict=True):
                pd.testing.assert_frame_equal(ours, anew)


@pytest.mark.sqlite
def test_a_ledger_put_back_from_a_copy_is_read_anew(project: Project, tmp_path: Path) -> None:
    ledger = project.ledger()
    ledger.relabel(IDS[:1], "cat", "ada")
    copy = shutil.copy(project.database, tmp_path / "copy")
    ledger.relabel(IDS[:1], "dog", "bob")
    first = page(project)
    assert list(first[1]["sample_id"]) == IDS[:1]
    for path in project.path.glob("ledger.sqlite*"):
        path.unlink()
    shutil.copy(copy, project.database)
    assert len(project.ledger().batches()) == 1 and project.ledger().conflicts().empty
    project.ledger().relabel(IDS[1:2], "dog", "bob")
    batches, conflicts, *_ = page(project)
    assert len(batches) == 2 == len(first[0]) and conflicts.empty
    undo = project.ledger().next_undo("bob")
    assert undo is not None and undo["at"] != first[0]["at"][0]


# -- decisions.parquet after several decided at once


def behind(project: Project, monkeypatch: pytest.MonkeyPatch, *acts: Callable[[Ledger], object]) -> list[str]:
    """Decide without the file, then bring it up to date; what was replayed for it."""
    replayed, state_of = list[str](), renewal.state_of

    def told(*args: Any) -> Any:
        replayed.append("all")
        return state_of(*args)

    with monkeypatch.context() as patch:
        patch.setattr(Ledger, "_renew_snapshot", lambda *_, **__: None)
        ledger = project.ledger()
        for act in acts:
            act(ledger)
    monkeypatch.setattr(renewal, "state_of", told)
    project.ledger()
    file = project.decisions_path.read_bytes()
    project.decisions_path.unlink()
    project.ledger()
    assert project.decisions_path.read_bytes() == file, "as a replay makes it"
    return replayed[:-1]


def test_what_several_decided_at_once_is_added_to_the_file(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    project.ledger().pin(IDS[:4], "train", "ada")
    assert behind(project, monkeypatch, lambda ledger: ledger.exclude(IDS[2:6], who="bob"),
                  lambda ledger: ledger.relabel(IDS[1:3], "dog", "cid")) == []


@pytest.mark.sqlite
def test_after_an_undo_or_of_another_history_all_is_replayed(project: Project, tmp_path: Path,
                                                            monkeypatch: pytest.MonkeyPatch) -> None:
    project.ledger().pin(IDS[:4], "train", "ada")
    assert behind(project, monkeypatch, lambda ledger: ledger.exclude(IDS[2:6], who="bob"),
                  lambda ledger: ledger.undo("ada")) == ["all"]
    copy = shutil.copy(project.database, tmp_path / "copy")
    project.ledger().pin(IDS[20:24], "train", "ada")
    for path in project.path.glob("ledger.sqlite*"):
        path.unlink()
    shutil.copy(copy, project.database)
    assert behind(project, monkeypatch, lambda ledger: ledger.exclude(IDS[30:31], who="bob"),
                  lambda ledger: ledger.exclude(IDS[31:32], who="bob")) == ["all"]
    assert not set(IDS[20:24]) & set(project.ledger().state()["sample_id"])
