"""Opening a project folder: what it names, what it refuses in one line, and what counts as a project."""

from pathlib import Path

import pandas as pd
import pytest

from curation.project import REPORT_COLUMNS, Project, ProjectError, list_projects, projects_home
from engine.contract.manifest import read_manifest
from tests.fakes import make_project, make_run, write_manifest


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return make_project(tmp_path / "home" / "demo", size=2)


def test_an_open_project_names_its_parts(path: Path) -> None:
    project = Project.open(str(path))
    assert (project.name, project.classes, project.info.source) == ("demo", ("cat", "dog", "bird"), "fake")
    assert project.root == path / "images" and project.details["source"] == "fake"
    assert len(project.manifest()) == 84 and project.runs() == []
    make_run(path, "a")
    make_run(path, "b")
    assert [run.name for run in project.runs()] == ["b", "a"] and project.run("a").read_status()["state"] == "done"
    assert not (path / "ledger.sqlite").exists()
    assert project.ledger().revision == 0 and (path / "ledger.sqlite").exists()


def test_an_absolute_image_root_is_kept(path: Path, tmp_path: Path) -> None:
    write_manifest(path, read_manifest(path), ("cat",), str(tmp_path))
    assert Project.open(path).root == tmp_path


def test_the_import_report_is_empty_or_what_import_wrote(path: Path) -> None:
    report = Project.open(path).import_report()
    assert report.empty and tuple(report.columns) == REPORT_COLUMNS
    pd.DataFrame([("a.png", 3, None, "missing file", "it is not there", "skipped")], columns=list(REPORT_COLUMNS)
                 ).to_parquet(path / "import_report.parquet")
    assert Project.open(path).import_report()["reason"].tolist() == ["it is not there"]


def test_a_project_without_project_json_still_opens(path: Path) -> None:
    (path / "project.json").unlink()
    assert Project.open(path).details == {} and Project.open(path).ledger().revision == 0


def test_the_ledger_may_live_elsewhere(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WHETSTONE_LEDGERS", f"sqlite:///{tmp_path}/elsewhere.sqlite")
    (path / "project.json").write_text(f'{{"ledger": "sqlite:///{tmp_path}/elsewhere.sqlite"}}')
    project = Project.open(path)
    project.ledger().pin(["train-00001"], "train", "ada")
    assert (tmp_path / "elsewhere.sqlite").exists() and not (path / "ledger.sqlite").exists()
    assert project.decisions_path.exists() and len(project.ledger().state()) == 1


def test_what_is_no_project_is_refused_in_one_line(path: Path, tmp_path: Path) -> None:
    cases = {tmp_path / "nowhere": "a project is a folder; there is none at .*nowhere",
             tmp_path: "a project needs manifest.parquet"}
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "manifest.parquet").write_bytes(b"no parquet")
    cases[tmp_path / "bad"] = "must be a Parquet file"
    for folder, message in cases.items():
        with pytest.raises(ProjectError, match=message) as caught:
            Project.open(folder)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("text", "message"), [("{", "must be JSON"), ("[]", "must hold a JSON object; got list"),
                                               ("\udcff", "must be JSON")])
def test_a_damaged_project_json_is_reported(path: Path, text: str, message: str) -> None:
    (path / "project.json").write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(ProjectError, match=message):
        Project.open(path)


@pytest.mark.parametrize("name", ["absent", "../..", "", "a/b"])
def test_a_run_that_is_none_is_refused(path: Path, name: str) -> None:
    make_run(path, "first")
    with pytest.raises(ProjectError, match="got "):
        Project.open(path).run(name)


def test_a_manifest_that_breaks_the_contract_is_refused(path: Path) -> None:
    rows = read_manifest(path)
    write_manifest(path, pd.concat([rows, rows.iloc[:1]]), ("cat", "dog", "bird"), "images")
    with pytest.raises(ProjectError, match="sample_id must be unique"):
        Project.open(path).manifest()


def test_projects_are_the_folders_with_a_manifest(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = path.parent
    make_project(home / "alpha", num_train=2, num_clean=0, num_test=0, size=2)
    (home / "empty").mkdir()
    (home / "file").write_text("")
    assert [p.name for p in list_projects(home)] == ["alpha", "demo"]
    assert list_projects(home / "nowhere") == []
    monkeypatch.setenv("WHETSTONE_PROJECTS", str(home))
    assert projects_home() == home
    monkeypatch.delenv("WHETSTONE_PROJECTS")
    monkeypatch.chdir(home)
    assert projects_home() == home / "projects"
