"""The ledger's chain of digests: whatever is changed behind its back is found, and named by entry."""

import shutil
import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import pytest

from curation.__main__ import main
from curation.doctor.chain import Chain, read_chain
from curation.ledger.chain import Head, Row, digest_of
from curation.ledger.verdict_tables import NewDraw
from curation.ledger.verdicts import Verdict
from curation.project import Project
from tests.databases import IS_POSTGRESQL, tamper_postgresql
from tests.fakes import make_project

DROP = "".join(f"DROP TRIGGER {table}_no_{act};" for table in ("batches", "entries", "verdicts", "draws", "chain")
               for act in ("update", "delete"))


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """Five batches, two verdicts and a draw: links 1 to 8, of which the sixth is the draw's."""
    opened = Project.open(make_project(tmp_path / "pets", num_train=24, num_clean=1, num_test=1, size=4))
    ledger, log = opened.ledger(), opened.verdicts()
    ledger.pin(["train-00001", "train-00002"], "train", "ada")
    ledger.relabel(["train-00003"], "dog", "Åsa \U0001f600", why="it is a dog")
    log.add([Verdict(audit="a", queue="find", sample_id=f"train-{i:05d}", verdict="given", given_label="cat", who="ada",
                     seconds=0.1 + 0.2, p_wrong=-0.0) for i in (1, 2)])
    ledger.exclude(["train-00004", "train-00005"], who="ada")
    log.add_draws("a", [NewDraw("estimate-1", "ada", ())])
    ledger.undo("ada")
    ledger.pin(["train-00006"], "validation", "bob")
    return opened


def tamper(project: Project, script: str) -> None:
    """What somebody with the file and without our code would do."""
    if IS_POSTGRESQL:
        tamper_postgresql(project.database, script)
        return
    with closing(sqlite3.connect(project.database)) as connection:
        guards = connection.execute("SELECT tbl_name, sql FROM sqlite_master WHERE type = 'trigger'").fetchall()
        connection.executescript(DROP + script)
        tables = {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        for table, guard in guards:
            if table in tables and table != "layouts":
                connection.execute(guard)
        connection.commit()


@pytest.mark.parametrize(("script", "breaks"), [
    ("UPDATE batches SET who = 'eve' WHERE batch_id = 2", [("rewritten", "batch 2")]),
    ("UPDATE batches SET at = '2020' WHERE batch_id = 5", [("rewritten", "batch 5")]),
    ("UPDATE batches SET origin = NULL WHERE batch_id = 1", [("rewritten", "batch 1")]),
    ("UPDATE entries SET sample_id = 'train-00009' WHERE batch_id = 3 AND sample_id = 'train-00005'",
     [("rewritten", "batch 3")]),
    ("INSERT INTO entries VALUES (3, 'train-00009')", [("rewritten", "batch 3")]),
    ("DELETE FROM entries WHERE sample_id = 'train-00006'", [("rewritten", "batch 5")]),
    ("UPDATE verdicts SET verdict = 'neither' WHERE verdict_id = 1", [("rewritten", "verdict 1")]),
    ("UPDATE draws SET audit = 'b'", [("rewritten", "draw 1")]),
    ("DELETE FROM draws", [("removed", "draw 1")]),
    ("UPDATE verdicts SET seconds = 0.3 WHERE verdict_id = 2", [("rewritten", "verdict 2")]),
    ("DELETE FROM batches WHERE batch_id = 4", [("removed", "batch 4")]),
    ("DELETE FROM verdicts", [("removed", "verdict 1"), ("removed", "verdict 2")]),
    ("INSERT INTO batches VALUES (6, 'pin', 'train', 0, 'eve', '', '', '', '', 'person')", [("put_in", "batch 6")]),
    ("DELETE FROM batches WHERE batch_id = 2; DELETE FROM chain WHERE row_id = 2 AND kind = 'batch'",
     [("cut_out", "number 2, before verdict 1")]),
    ("UPDATE chain SET digest = 'x' WHERE link_id = 3", [("rewritten", "verdict 1"), ("rewritten", "verdict 2")]),
    ("UPDATE chain SET is_late = {true} WHERE link_id = 3", [("rewritten", "verdict 1")]),
    ("UPDATE ledger SET ledger_id = 'another'", [("rewritten", "batch 1")]),
    ("DELETE FROM chain", [("put_in", name) for name in (*(f"batch {i}" for i in range(1, 6)), "verdict 1",
                                                         "verdict 2", "draw 1")]),
])
def test_whatever_is_changed_is_found_and_named(project: Project, script: str, breaks: list[tuple[str, str]],
                                                capsys: pytest.CaptureFixture[str]) -> None:
    assert read_chain(project.database).breaks == () and main(["doctor", str(project.path)]) == 0
    tamper(project, script.format(true="true" if IS_POSTGRESQL else "1"))
    assert list(read_chain(project.database).breaks) == breaks
    capsys.readouterr()
    assert main(["doctor", str(project.path)]) == 2
    assert f"first {breaks[0][1]}; compare with a copy of the ledger" in capsys.readouterr().out


CUT_TAIL = """DELETE FROM entries WHERE batch_id = 5; DELETE FROM batches WHERE batch_id = 5;
              DELETE FROM chain WHERE link_id = 8;"""


def keep_copy(project: Project) -> None:
    (project.path / "runs" / "first").mkdir(parents=True)
    shutil.copy(project.decisions_path, project.path / "runs" / "first" / "decisions.parquet")


def test_a_tail_cut_off_is_found_by_what_a_run_kept(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    keep_copy(project)
    tamper(project, CUT_TAIL)
    project.ledger()  # brings decisions.parquet to the ledger of now
    assert read_chain(project.database).breaks == ()
    assert main(["doctor", str(project.path)]) == 2
    said = capsys.readouterr().out
    assert "its newest entries were cut off, or it is an older copy: so says runs/first/decisions.parquet" in said


@pytest.mark.sqlite
def test_a_chain_made_anew_is_found_by_what_a_run_kept(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    keep_copy(project)
    with closing(sqlite3.connect(project.database)) as connection:
        ledger_id = connection.execute("SELECT ledger_id FROM ledger").fetchone()[0]
    tamper(project, "UPDATE batches SET who = 'eve' WHERE batch_id = 2; DROP TABLE chain; DROP TABLE layouts; "
                    "DROP TABLE draws;")
    project.ledger().pin(["train-00007"], "train", "eve")  # digests for all, as of older code
    assert read_chain(project.database).breaks == () and read_chain(project.database).ledger_id == ledger_id
    assert main(["doctor", str(project.path)]) == 2
    said = capsys.readouterr().out
    assert "its entries were written anew, digests and all: so says runs/first/decisions.parquet" in said


def test_a_decision_taken_while_doctor_looks_is_not_cut_off(project: Project, monkeypatch: pytest.MonkeyPatch,
                                                            capsys: pytest.CaptureFixture[str]) -> None:
    def read(database: str) -> Chain:
        found = read_chain(database)
        project.ledger().pin(["train-00007"], "train", "eve")
        return found

    monkeypatch.setattr("curation.doctor.checks.read_chain", read)
    assert main(["doctor", str(project.path)]) == 0 and "cut off" not in capsys.readouterr().out


def test_twenty_writers_make_one_chain(project: Project) -> None:
    def write(number: int) -> None:
        project.ledger().pin([f"train-{number:05d}"], "train", f"person {number}")
        project.verdicts().add([Verdict(audit="a", queue="find", sample_id=f"train-{number:05d}", verdict="given",
                                        given_label="cat", who=f"person {number}")])

    writers = [threading.Thread(target=write, args=(number,)) for number in range(20)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    found = read_chain(project.database)
    assert found.breaks == () and list(found.digests) == list(range(1, 49))


def test_a_digest_does_not_hang_on_what_databases_change() -> None:
    before = Head(3, "before")
    row = Row("verdict", 4, {"a": 1, "b": None, "c": 0.0}, ["é", "z", "b"])
    same = Row("verdict", 4, {"c": -0.0, "a": 1}, ["z", "b", "é"])
    assert digest_of(row, before, False) == digest_of(same, before, False)
    others = [digest_of(row, Head(4, "before"), False), digest_of(row, Head(3, "x"), False),
              digest_of(row, before, True), digest_of(row._replace(kind="batch"), before, False),
              digest_of(row._replace(sample_ids=["é", "zb"]), before, False)]
    assert len({digest_of(row, before, False), *others}) == 6
