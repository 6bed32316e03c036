"""What people do goes into the log, and nothing that they or their data are called."""

import json
from pathlib import Path

import pandas as pd
import pytest

from curation.__main__ import main
from curation.ledger.verdicts import Verdict
from curation.project import Project
from curation.views.data import page as data
from curation.views.widgets.state import failure_words
from engine.contract.disk import event_log
from engine.contract.manifest import read_manifest
from tests import views
from tests.fakes import make_project, write_manifest

CLASSES = ("Zqlabel", "dog", "bird")
MARK = "Zq"
"""Every label, id, file, folder, person, reason and token below has it."""


@pytest.fixture
def project(home: Path) -> Project:
    path = make_project(home / "Zqproject", classes=CLASSES, num_train=12)
    rows = read_manifest(path)
    rows["sample_id"] = "Zq" + rows["sample_id"]
    rows["path"] = [Path(name).with_name(f"Zq{Path(name).name}").as_posix() for name in rows["path"]]
    write_manifest(path, pd.DataFrame(rows), CLASSES, root="images")
    return Project.open(path)


def test_nothing_that_anything_is_called_stands_in_the_log(project, home, tmp_path, monkeypatch, capsys):
    event_log.begin("app")
    ledger = project.ledger()
    ledger.relabel(["Zqtrain-00001"], "Zqlabel", who="Zqada", why="Zqreason")
    ledger.undo("Zqada")
    project.verdicts().add([Verdict(audit="Zqaudit", queue="find", sample_id="Zqtrain-00002", verdict="given",
                                    given_label="Zqlabel", who="Zqbob", model="Zqmodel")])
    project.decisions_path.write_bytes(b"Zqdamage")
    project.ledger()
    for error in (KeyError("Zqtoken"), PermissionError(13, "denied", str(project.path / "Zqfile.png"))):
        failure_words(error)
    monkeypatch.setattr(data, "_overview", lambda *_: {}["Zqlabel"])
    with pytest.raises(views.PageFailed, match="KeyError"):
        views.start(home, "data", project=project.name)
    said = capsys.readouterr().err.replace(str(project.path), "")
    assert said.count("a page failed") == 2 and MARK not in said.replace('{}["Zqlabel"]', ""), "the app's terminal"
    assert main(["decide", str(project.path), "exclude", "--ids-file", str(tmp_path / "Zqids.txt"), "--by", "Zqcleo",
                 "--why", "Zqwhy"]) == 2
    assert main(["Zqcommand"]) == 2
    text = (tmp_path / "home" / "log.jsonl").read_text()
    told = [(line["program"], line["event"]) for line in map(json.loads, text.splitlines())]
    assert MARK not in text
    assert [event for program, event in told if program == "app"] == [
        "decided", "decided", "judged", "renewed", "failed", "refused", "failed"]
    assert [event for program, event in told if program == "curation"] == ["began", "refused", "ended"] * 2
    assert MARK in capsys.readouterr().err, "a person at a command line is told what it is about"
