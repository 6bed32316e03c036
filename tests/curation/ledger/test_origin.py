"""What a batch follows from: a column of its own, added to ledgers of older code by whoever writes first."""

import json
import shutil
import sqlite3
import subprocess
import sys
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from curation.ledger.batch import LedgerError
from curation.ledger.journal import JournalError, replay_journal, write_journal
from curation.ledger.ledger import Ledger
from curation.project import Project
from tests import ROOT
from tests.fakes import make_project

ORIGINS = ["person"] * 4 + ["settlement"] + ["person"] * 3 + ["audit"] * 6
"""Of the 14 batches of the archive, oldest first."""


@pytest.fixture
def pets(tmp_path: Path) -> Project:
    """The project of the version before, whose ledger has no column origin."""
    with zipfile.ZipFile(ROOT / "tests" / "before_rooms" / "before_rooms.zip") as archive:
        archive.extractall(tmp_path, [name for name in archive.namelist() if "/pets/" in name and "/runs/" not in name])
    return Project.open(tmp_path / "projects" / "pets")


def rows_of(project: Project) -> tuple[list[str], list[tuple[object, ...]]]:
    """The columns of the table of batches and its rows, as SQLite has them."""
    connection = sqlite3.connect(project.path / "ledger.sqlite")
    try:
        cursor = connection.execute("SELECT * FROM batches ORDER BY batch_id")
        return [column[0] for column in cursor.description], cursor.fetchall()
    finally:
        connection.close()


def test_an_old_ledger_says_its_origins_and_reading_does_not_change_it(pets: Project) -> None:
    ledger, before = pets.ledger(), rows_of(pets)
    assert ledger.batches()["origin"].tolist()[::-1] == ORIGINS
    assert [(row["sample_id"], row["kind"]) for row in ledger.conflicts().to_dict("records")] == [("p001", "pin")]
    assert rows_of(pets) == before and "origin" not in before[0]


def test_the_first_decision_adds_the_column_and_leaves_the_rows(pets: Project) -> None:
    columns, rows = rows_of(pets)
    pets.ledger().pin(["p001"], "train", "eve", view="anywhere", origin="settlement")
    after = rows_of(pets)
    assert after[0] == [*columns, "origin"] and after[1][:-1] == [(*row, None) for row in rows]
    assert pets.ledger().batches()["origin"].tolist()[::-1] == [*ORIGINS, "settlement"]
    assert pets.ledger().conflicts().empty, "the settlement counts, whatever its view is called"
    connection = sqlite3.connect(pets.path / "ledger.sqlite")
    with pytest.raises(sqlite3.IntegrityError, match="append-only"):
        connection.execute("UPDATE batches SET origin = 'person'")
    connection.close()


def test_a_view_of_that_name_makes_no_settlement_and_no_audit_any_more(pets: Project) -> None:
    ledger = pets.ledger()
    ledger.relabel(["p040"], "cat", "ada")
    ledger.relabel(["p040"], "dog", "bob", view="decide: conflicts")
    ledger.relabel(["p041"], "cat", "ada")
    ledger.relabel(["p041"], "dog", "bob", view="audit")
    assert set(ledger.conflicts()["sample_id"]) == {"p001", "p040", "p041"}


def test_older_code_may_go_on_writing_to_a_ledger_with_the_column(pets: Project) -> None:
    pets.ledger().exclude(["p040"], who="ada")
    connection = sqlite3.connect(pets.path / "ledger.sqlite", isolation_level=None)
    connection.execute("INSERT INTO batches (batch_id, kind, value, num_samples, who, at, why, view, run) VALUES "
                       "(16, 'pin', 'train', 1, 'eve', '2026-11-29T00:00:00.000+00:00', '', 'decide: conflicts', '')")
    connection.execute("INSERT INTO entries VALUES (16, 'p001')")
    connection.close()
    ledger = pets.ledger()
    assert ledger.batches()["origin"].tolist()[:2] == ["settlement", "person"] and ledger.conflicts().empty


@pytest.mark.parametrize("url", ["sqlite:///file:{}?mode=ro&uri=true", "sqlite:///file:{}?immutable=1&uri=true"])
def test_an_old_ledger_that_cannot_be_altered_still_reads(pets: Project, url: str) -> None:
    ledger = Ledger(url.format(pets.path / "ledger.sqlite"), pets.decisions_path)
    assert ledger.batches()["origin"].tolist()[::-1] == ORIGINS
    assert len(ledger.conflicts()) == 1 and len(ledger.history_of("p017")) == 3 and len(ledger.state())
    with pytest.raises(LedgerError, match="needs a place that is not read-only; .* is read-only; ask"):
        ledger.pin(["p001"], "train", "eve")


def test_threads_that_decide_at_once_on_an_old_ledger_lose_nothing(pets: Project) -> None:
    with ThreadPoolExecutor(8) as pool:
        numbers = list(pool.map(lambda i: pets.ledger().pin([f"p{i:03d}"], "train", f"person {i}"), range(24)))
    assert sorted(numbers) == list(range(15, 39))
    assert rows_of(pets)[0].count("origin") == 1
    assert pets.ledger().batches()["origin"].tolist()[::-1] == [*ORIGINS, *["person"] * 24]


def test_processes_that_decide_at_once_on_an_old_ledger_lose_nothing(pets: Project) -> None:
    code = ("import sys\nfrom pathlib import Path\nfrom curation.project import Project\n"
            "project, who = Project.open(sys.argv[1]), sys.argv[2]\nprint('ready', flush=True)\n"
            "while not (project.path / 'gun').exists(): pass\n"
            "for i in range(3): project.ledger().relabel(['p040'], 'cat', who, origin='settlement')\n")
    racers = [subprocess.Popen([sys.executable, "-c", code, str(pets.path), f"person {i}"], cwd=ROOT,
                               stdout=subprocess.PIPE) for i in range(4)]
    for racer in racers:
        assert racer.stdout is not None and racer.stdout.readline() == b"ready\n"
    (pets.path / "gun").touch()
    assert [racer.wait(60) for racer in racers] == [0] * 4
    for racer in racers:
        racer.stdout.close()  # type: ignore[union-attr]
    assert pets.ledger().batches()["origin"].tolist()[::-1] == [*ORIGINS, *["settlement"] * 12]


def test_a_process_killed_before_it_commits_leaves_an_old_ledger_as_it_was(pets: Project) -> None:
    code = ("import sys, time\nfrom curation.ledger import engines, layout, tables\n"
            "with tables.transaction(engines.engine_of(sys.argv[1]), is_write=True) as connection:\n"
            "    layout.begin_writing(connection)\n    print('altered', flush=True)\n    time.sleep(60)\n")
    process = subprocess.Popen([sys.executable, "-c", code, str(pets.path / "ledger.sqlite")], cwd=ROOT,
                               stdout=subprocess.PIPE)
    assert process.stdout is not None and process.stdout.readline() == b"altered\n"
    process.kill()
    process.wait(10)
    process.stdout.close()
    assert "origin" not in rows_of(pets)[0]
    assert pets.ledger().pin(["p001"], "train", "eve") == 15


def test_an_origin_must_be_one_of_three(pets: Project) -> None:
    with pytest.raises(LedgerError, match="one of person, settlement, audit; got 'me'"):
        pets.ledger().pin(["p001"], "train", "eve", origin="me")  # type: ignore[arg-type]


# -- journals


def test_a_journal_keeps_origins_and_one_without_them_has_them_from_the_views(tmp_path: Path, pets: Project) -> None:
    path = tmp_path / "journal.jsonl"
    write_journal(pets.ledger(), path)
    head, *lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["origin"] for line in lines] == ORIGINS
    old = [{name: value for name, value in line.items() if name != "origin"} for line in lines]
    path.write_text("".join(json.dumps(line) + "\n" for line in [head, *old]))
    again = copy_without_ledger(pets, tmp_path / "again")
    assert replay_journal(again.ledger(), path).num_batches == 14
    assert again.ledger().batches().equals(pets.ledger().batches())
    assert again.ledger().conflicts().equals(pets.ledger().conflicts())


def test_a_journal_with_an_unknown_origin_is_refused(tmp_path: Path, pets: Project) -> None:
    path = tmp_path / "journal.jsonl"
    write_journal(pets.ledger(), path)
    path.write_text(path.read_text().replace('"settlement"', '"gossip"'))
    again = copy_without_ledger(pets, tmp_path / "again")
    with pytest.raises(JournalError, match="line 6: origin must be one of person, settlement, audit; got 'gossip'"):
        replay_journal(again.ledger(), path)


def copy_without_ledger(project: Project, path: Path) -> Project:
    path.mkdir()
    for name in ("manifest.parquet", "project.json"):
        shutil.copy(project.path / name, path / name)
    return Project.open(path)


@pytest.mark.sqlite
def test_a_new_ledger_has_the_column_from_the_start(tmp_path: Path) -> None:
    project = Project.open(make_project(tmp_path / "p", num_train=12, size=4))
    project.ledger().pin(["train-00000"], "train", "ada")
    assert rows_of(project)[1][0][-1] == "person"
