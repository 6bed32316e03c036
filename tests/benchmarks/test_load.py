"""The counts of the load benchmarks: what is lost, doubled and unsaid."""

import json
from pathlib import Path

import pandas as pd

from benchmarks import ledger_writers, load
from curation.ledger.place import VARIABLE
from curation.project import Project
from tests.fakes import make_project


def test_each_press_is_looked_up_in_the_ledger():
    sent = pd.Timestamp("2026-01-01T00:00:00Z").timestamp()
    presses = [load.Press(f"press {n} of ada", sent, sent + 2 if n != 1 else None) for n in range(4)]
    ledger = pd.DataFrame({"why": ["press 0 of ada", "press 1 of ada", "press 3 of ada", "press 3 of ada", "another"],
                           "at": ["2026-01-01T00:00:01.000000+00:00"] * 5})
    found = load.figures([load.Session("ada", [], presses=presses)], ledger, [(100.0, 10)] * 3, 60.0)
    assert [found[name] for name in ("made", "recorded", "lost", "doubled", "unsaid")] == [4, 3, 1, 1, 1]
    assert found["made_a_minute"] == 4
    assert found["lost_presses"] == ["press 2 of ada"]
    assert found["to_ledger_seconds"] == {"p50": 1.0, "p95": 1.0, "p100": 1.0}
    assert found["to_word_seconds"] == {"p50": 2.0, "p95": 2.0, "p100": 2.0}


def test_a_decision_that_a_writer_was_told_of_must_be_there_once():
    batches = pd.DataFrame({"why": ["0/0", "1/1", "1/1"], "batch_id": [3, 2, 1]})
    found = ledger_writers.figures([[0.1], [0.1, 0.3]], batches)
    assert [found[name] for name in ("decided", "lost", "doubled", "is_one_line")] == [3, 1, 1, True]
    assert found["seconds"] == {"p50": 0.1, "p95": 0.28, "p100": 0.3}


def test_a_copy_is_given_an_empty_database_of_its_own(tmp_path: Path, monkeypatch):
    monkeypatch.setenv(VARIABLE, "")
    pets = make_project(tmp_path / "pets", size=4)
    Project.open(pets).ledger().exclude(["train-00001"], who="ada")
    load.use_database(pets, f"sqlite:///{tmp_path}/elsewhere.sqlite")
    opened = Project.open(pets)
    assert opened.newest.decisions.number == 0 and not list(pets.glob("ledger.sqlite*"))
    assert opened.ledger().exclude(["train-00002"], who="ada") == 1
    assert json.loads((pets / "project.json").read_text())["ledger"].endswith("elsewhere.sqlite")
