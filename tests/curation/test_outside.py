"""A project from anybody: whatever it says and links to, nothing is read or written outside of it, and one line says
why not."""

import json
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from curation.__main__ import main
from curation.exports.exporting import default_target
from curation.jobs.run_jobs import damaged_runs, resume, run_dirs
from curation.ledger.batch import LedgerError
from curation.ledger.place import database_of
from curation.output_file import OutputError, output_file
from curation.project import Project
from curation.samples import saved_views
from curation.views.routes.thumbnails import thumbnail
from engine.contract.inside import OutsideError
from engine.contract.run_dir import RunDir
from tests.fakes import make_project, make_run


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project.open(make_project(tmp_path / "home" / "pets", num_train=30, size=4))


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    return folder


def point_ledger(project: Project, text: str) -> Project:
    (project.path / "project.json").write_text(json.dumps({**project.details, "ledger": text}))
    return Project.open(project.path)


# -- the ledger


@pytest.mark.parametrize("text", [
    "{elsewhere}/notes.sqlite", "../../elsewhere/notes.sqlite", "sqlite:///{elsewhere}/notes.sqlite", "link.sqlite",
    "sqlite:///file:{elsewhere}/notes.sqlite?uri=true", "postgresql://ada:secret@evil.example/x", "x://", "sqlite://"])
def test_project_json_cannot_send_the_ledger_elsewhere(project: Project, elsewhere: Path, text: str,
                                                       capsys: pytest.CaptureFixture[str]) -> None:
    (project.path / "link.sqlite").symlink_to(elsewhere / "notes.sqlite")
    with sqlite3.connect(elsewhere / "notes.sqlite") as notes:
        notes.execute("CREATE TABLE note (text TEXT)")
    before = (elsewhere / "notes.sqlite").read_bytes()
    point_ledger(project, text.format(elsewhere=elsewhere))
    assert main(["decide", str(project.path), "list"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: a ledger lies in its project, or is one that you name yourself in WHETSTONE_LEDGERS")
    assert said.count("\n") == 1 and "secret" not in said
    assert (elsewhere / "notes.sqlite").read_bytes() == before and sorted(os.listdir(elsewhere)) == ["notes.sqlite"]


def test_the_projects_own_ledger_may_not_be_a_link_out(project: Project, elsewhere: Path) -> None:
    (project.path / "ledger.sqlite").symlink_to(elsewhere / "new.sqlite")
    with pytest.raises(LedgerError, match="a ledger lies in its project"):
        project.ledger()
    assert not os.listdir(elsewhere)


def test_a_file_in_the_project_and_a_database_that_one_named_are_used(
        project: Project, elsewhere: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(elsewhere)
    for text in ("own.sqlite", "sqlite:///own.sqlite"):  # in the project, wherever the process is
        assert point_ledger(project, text).ledger().revision == 0
    assert (project.path / "own.sqlite").is_file() and not os.listdir(elsewhere)
    named = f"sqlite:///{elsewhere}/shared.sqlite"
    monkeypatch.setenv("WHETSTONE_LEDGERS", f"postgresql://other/x {named}")
    assert point_ledger(project, named).ledger().revision == 0
    assert (elsewhere / "shared.sqlite").is_file()


def test_a_ledger_that_one_named_may_have_spaces_in_its_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    named = str(tmp_path / "my ledgers" / "l.sqlite")
    monkeypatch.setenv("WHETSTONE_LEDGERS", named)
    assert database_of(tmp_path / "project", named, "ledger.sqlite") == named


def test_a_name_that_no_file_can_have_is_outside(tmp_path: Path) -> None:
    with pytest.raises(LedgerError, match="a ledger lies in its project"):
        database_of(tmp_path, "a\0b", "ledger.sqlite")


@pytest.mark.parametrize("statement", [
    "CREATE TRIGGER twelve AFTER INSERT ON batches BEGIN INSERT INTO entries VALUES (1, 'train-00009'); END",
    "CREATE TRIGGER batches_no_drop BEFORE UPDATE ON batches BEGIN SELECT RAISE(IGNORE); END",
    "CREATE VIEW more AS SELECT * FROM batches", "CREATE TABLE note (text TEXT)",
    "CREATE UNIQUE INDEX one_a_person ON batches (who)"])
def test_a_ledger_with_anything_foreign_in_it_is_refused_and_left_alone(project: Project, statement: str) -> None:
    assert project.ledger().pin(["train-00001"], "train", "ada") == 1 and project.verdicts().revision == 0
    ledger = project.ledger()
    with sqlite3.connect(project.database) as connection:
        connection.execute(statement)
    connection.close()
    for act in (project.ledger, project.verdicts, lambda: ledger.pin(["train-00002"], "train", "ada")):
        with pytest.raises(LedgerError, match="a ledger holds our own tables, indexes and triggers alone; .*ledger"):
            act()
    name = statement.removeprefix("CREATE UNIQUE ").removeprefix("CREATE ").split()[:2]
    with sqlite3.connect(project.database) as connection:
        connection.execute(f"DROP {' '.join(name)}")
        assert connection.execute("SELECT count(*) FROM entries").fetchone() == (1,)
    connection.close()
    assert project.ledger().revision == 1


# -- links


def test_a_run_that_leads_out_is_named_and_not_followed(project: Project, elsewhere: Path) -> None:
    for name in ("first", "second", "third"):
        make_run(project.path, name)
    second, third = project.path / "runs" / "second", project.path / "runs" / "third"
    os.rename(second, elsewhere / "second")
    second.symlink_to(elsewhere / "second")
    (elsewhere / "profile").write_text("mine\n")
    (third / "output.txt").symlink_to(elsewhere / "profile")
    assert [run.name for run in run_dirs(project.path)] == ["first"] == [run.name for run in project.runs()]
    assert [(bad.name, "a link that leads out" in bad.line) for bad in damaged_runs(project.path)] == [
        ("second", True), ("third", True)]
    for name in ("second", "third"):
        for act in (project.run, lambda name: RunDir.of(project.path, name), lambda name: resume(project.path, name)):
            with pytest.raises(OutsideError, match="what a project holds must lie in it; .*remove the link"):
                act(name)
    assert (elsewhere / "profile").read_text() == "mine\n"


def test_folders_of_a_project_that_lead_out_are_not_written_to(project: Project, elsewhere: Path,
                                                               capsys: pytest.CaptureFixture[str]) -> None:
    make_run(project.path, "first")
    for name in ("exports", "thumbnails", "views", "audits", "live"):
        (project.path / name).symlink_to(elsewhere)
    assert project.links_out == ["live", "audits", "views", "thumbnails", "exports"]
    acts: list[Callable[[], object]] = [
        lambda: default_target(project, None, "corrected-labels", "table"),
        lambda: saved_views.save(project, "mine", {}, run="", who="ada")]
    for act in acts:
        with pytest.raises(OutsideError, match="a link that leads out"):
            act()
    assert main(["export", str(project.path), "--run", "first"]) == 2
    assert main(["estimate", str(project.path), "--run", "first"]) == 2
    assert capsys.readouterr().err.count("a link that leads out") == 2
    assert thumbnail(project.path, "train-00001", 64)[0], "it is shown, and kept nowhere"
    assert not os.listdir(elsewhere)


def test_a_project_that_is_reached_through_a_link_works(project: Project, tmp_path: Path) -> None:
    make_run(project.path, "first")
    link = tmp_path / "scratch"
    link.symlink_to(tmp_path / "home")
    opened = Project.open(link / "pets")
    assert [run.name for run in opened.runs()] == ["first"] and not opened.links_out
    assert opened.ledger().pin(["train-00001"], "train", "ada") == 1
    assert RunDir.of(link / "pets", "first").exists()
    assert main(["export", str(link / "pets"), "--run", "first"]) == 0


# -- outputs


@pytest.mark.parametrize(("name", "words"), [
    ("folder", "is a folder"), ("pipe", "is a named pipe"), ("/dev/null", "is a device"), ("link", "is a link"),
    ("/dev/stdout", "is a link"), ("file/x.csv", "is no folder"),
    ("home/pets/manifest.parquet", "a project's own files"), ("a\0b", "a file that can be written"),
    ("x" * 300, "a file that can be written")])
def test_an_output_is_a_new_name_or_a_regular_file(project: Project, tmp_path: Path, name: str, words: str) -> None:
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "file").write_text("old")
    (tmp_path / "link").symlink_to(tmp_path / "file")
    with pytest.raises(OutputError, match=words) as caught:
        output_file(tmp_path / name)
    assert "\n" not in str(caught.value)
    for fine in ("file", "new.csv", "new/folders/new.csv", "home/pets/suspects.csv"):
        assert output_file(tmp_path / fine) == tmp_path / fine


def test_a_folder_as_output_reserves_no_sample(project: Project, tmp_path: Path,
                                               capsys: pytest.CaptureFixture[str]) -> None:
    make_run(project.path, "first")
    estimate = ["estimate", str(project.path), "--run", "first", "--draw", "5"]
    assert main([*estimate, "--out", str(tmp_path)]) == 2
    assert capsys.readouterr().err.startswith("error: an output is a new file or replaces a regular one")
    assert not (project.path / "audits").exists()
    assert main([*estimate, "--out", str(tmp_path / "sample.csv")]) == 0
    assert len(list((project.path / "audits" / "audit" / "batches").iterdir())) == 1


def test_every_option_that_names_an_output_goes_through_the_one_check() -> None:
    from typer.main import get_command

    from curation.__main__ import app

    commands = get_command(app).commands  # type: ignore[attr-defined]
    outs = {name: option for name, command in commands.items() for option in command.params if option.name == "out"}
    assert set(outs) - {"export"} == {"audit", "estimate", "verdicts", "report", "triage", "similar", "leaks",
                                        "transfer"}
    for name in set(outs) - {"export"}:  # an export is a folder: curation.exports.staging.check_free
        with pytest.raises(OutputError, match="is a device"):
            outs[name].callback(None, outs[name], Path("/dev/null"))
