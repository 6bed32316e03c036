"""Ledgers of older layouts are read as they are and brought up to date by the first act; newer ones are refused."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa

from curation.__main__ import main
from curation.doctor.chain import read_chain
from curation.ledger import chain, engines, layout, tables, verdict_tables
from curation.ledger.batch import LedgerError
from curation.ledger.verdicts import Verdict
from curation.project import Project
from tests.curation.ledger.old_ledgers import AGES, CHAINED, Age, make_old_ledger
from tests.fakes import make_project

pytestmark = pytest.mark.sqlite  # ledgers of older code are kept as files of SQLite


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project.open(make_project(tmp_path / "pets", num_train=12, num_clean=1, num_test=1, size=4))


def schema_and_rows(project: Project) -> tuple[list[str], list[tuple[object, ...]]]:
    """Names of all that the database has, and the rows of older code."""
    with closing(sqlite3.connect(project.database)) as connection:
        names = [row[0] for row in connection.execute("SELECT name FROM sqlite_master ORDER BY name")]
        rows = [row for table in ("ledger", "entries", "verdicts") if table in names
                for row in sorted(connection.execute(f"SELECT * FROM {table}"))]
        return names, rows + connection.execute("SELECT batch_id, kind, value, num_samples, who, at, why, view, run "
                                                "FROM batches ORDER BY 1").fetchall()


def verdict() -> Verdict:
    return Verdict(audit="spring", queue="find", sample_id="train-00004", verdict="given", given_label="cat", who="ada")


@pytest.mark.parametrize("act", ["decide", "answer"])
@pytest.mark.parametrize("age", AGES)
def test_an_older_ledger_is_brought_up_to_date_by_the_first_act_and_keeps_its_rows(
        project: Project, age: Age, act: str, caplog: pytest.LogCaptureFixture) -> None:
    make_old_ledger(Path(project.database), age)
    before = schema_and_rows(project)
    num_before, num_late = 3 if age == "decisions" else 5, 3 if age == "decisions" else 0 if age in CHAINED else 5
    found = read_chain(project.database)
    assert (found.num_bare, len(found.digests), found.breaks) == (num_late, num_before - num_late, ())
    state = project.ledger().state()  # of no snapshot: it is made, which writes to the ledger
    assert list(zip(state["sample_id"], state["label"], strict=True)) == [("train-00003", "dog")]
    said = [record.getMessage() for record in caplog.records if "layout" in record.getMessage()]
    got = f", and its {num_before} entries so far got a digest" if num_late else ""
    assert len(said) == 1 and said[0].endswith(f"brought to layout {layout.LAYOUT}{got}")
    if act == "decide":
        assert project.ledger().pin(["train-00004"], "train", "eve") == 4
    else:
        assert project.verdicts().add([verdict()]) == [num_before - 2]
    after = schema_and_rows(project)
    assert set(before[0]) < set(after[0]) and set(before[1]) <= set(after[1])
    found = read_chain(project.database)
    assert (len(found.digests), found.num_late, found.breaks) == (num_before + 1, num_late, ())
    assert len([r for r in caplog.records if "layout" in r.getMessage()]) == 1, "once"
    fresh = Project.open(make_project(project.path.parent / "fresh", num_train=1, num_clean=1, num_test=1, size=4))
    fresh.verdicts()
    assert after[0] == schema_and_rows(fresh)[0], "tables, indexes and triggers are those of a new ledger"


def test_reading_an_older_ledger_does_not_change_it(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    make_old_ledger(Path(project.database), "index")
    project.ledger()  # writes the snapshot, and the layout with it
    snapshot = project.decisions_path.read_bytes()
    Path(project.database).unlink()
    make_old_ledger(Path(project.database), "index")
    before = schema_and_rows(project)
    assert len(project.ledger().batches()) == 3 and len(project.verdicts().rows()) == 2
    assert schema_and_rows(project) == before and project.decisions_path.read_bytes() == snapshot
    assert main(["doctor", str(project.path)]) == 2, "the snapshot knows a chain, and this ledger has none"
    said = capsys.readouterr().out
    assert "note: ledger ledger.sqlite: 5 entries of older code without a digest" in said
    assert "broken: ledger ledger.sqlite: its newest entries were cut off, or it is an older copy: so says dec" in said


def test_what_fails_half_way_leaves_the_older_layout(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    make_old_ledger(Path(project.database), "decisions")
    before = schema_and_rows(project)

    def fail(*_: object, **__: object) -> None:
        raise LedgerError("half-way")

    with monkeypatch.context() as context:
        context.setattr(chain, "extend", fail)
        with pytest.raises(LedgerError, match="half-way"):
            project.ledger()
    assert schema_and_rows(project) == before
    assert project.ledger().pin(["train-00004"], "train", "eve") == 4 and read_chain(project.database).breaks == ()


def test_a_newer_ledger_is_refused_in_one_line_whatever_else_it_holds(project: Project,
                                                                      capsys: pytest.CaptureFixture[str]) -> None:
    project.ledger().pin(["train-00001"], "train", "ada")
    with closing(sqlite3.connect(project.database)) as connection:
        connection.executescript("INSERT INTO layouts VALUES (9, ''); CREATE TABLE of_later (x)")
    for command in (["decide", str(project.path), "list"], ["doctor", str(project.path)]):
        assert main(command) == 2
        said = capsys.readouterr()
        assert f"has layout 9, this version knows {layout.LAYOUT}; update Whetstone" in said.out + said.err
        assert said.err.count("\n") <= 1


def test_a_table_of_layouts_that_is_none_is_foreign(project: Project) -> None:
    with closing(sqlite3.connect(project.database)) as connection:
        connection.execute("CREATE TABLE layouts (x)")
    with pytest.raises(LedgerError, match="has the table 'layouts'"):
        project.ledger()


def test_every_table_that_the_ledger_makes_is_guarded_and_known() -> None:
    made = {table.name for meta in (tables.META, verdict_tables.META, chain.META, layout.META)
            for table in meta.tables.values()}
    assert made == engines._OURS.tables
    assert {f"{name}_no_change" for name in engines._OURS.tables - {"ledger"}} == engines._OURS.guards
    assert isinstance(layout.LAYOUTS, sa.Table)
