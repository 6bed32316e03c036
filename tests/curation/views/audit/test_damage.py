"""Damaged files of an audit and evidence that a run lacks: said on the page, which goes on as far as it may."""

from pathlib import Path

import pytest

from curation.audit.estimate.goal import GOAL_FILE
from curation.audit.reviews.batch_files import newest
from curation.ledger.verdicts import VerdictLog
from curation.project import Project
from tests import views
from tests.curation.views.audit.test_page import Reviewer, in_hand


def said(app: object) -> str:
    return views.texts(app).replace("\\", "")


def draw(home: Path, monkeypatch: pytest.MonkeyPatch) -> Reviewer:
    ada = Reviewer(home, monkeypatch, "Estimate")
    ada.app.button(key="audit.draw").click()
    views.rerun(ada.app)
    return ada


def test_a_damaged_goal_is_said_on_every_section_and_no_report_is_made_of_another(home, pets, monkeypatch) -> None:
    ada = draw(home, monkeypatch)
    assert "goal.json" not in said(ada.app)
    (pets.path / "audits" / "audit" / GOAL_FILE).write_text('{"half_width": 15}')
    for section in ("Overview", "Find", "Estimate", "Noise matrix"):
        words = said(ada.show(section))
        assert "goal.json cannot be read (half_width 15)" in words and "takes \u00b11.5 points" in words
    assert "Review drawn samples" in said(ada.show("Overview")), "the rest of it works"
    ada.show("Report")
    assert [error.value for error in ada.app.error] and not ada.app.get("iframe"), "one line in place of a report"
    (pets.path / "audits" / "audit" / GOAL_FILE).unlink()
    assert "goal.json" not in said(ada.show("Report")) and not ada.app.error


def test_find_shows_nothing_while_it_cannot_know_what_was_drawn(home: Path, pets: Project, monkeypatch) -> None:
    draw(home, monkeypatch)
    monkeypatch.setattr(VerdictLog, "draws", lambda log: [])  # of older code: the file alone tells
    drawn = {q.sample_id for q in in_hand(pets, "estimate").questions if q.purpose == "main"}
    (file,) = (pets.path / "audits" / "audit" / "batches").glob("estimate-*.json")
    whole = file.read_text()
    file.write_text(whole[:100])
    bob = Reviewer(home, monkeypatch, "Find", who="bob")
    assert f"{file.name} cannot be read" in said(bob.app) and "restore it from a copy" in said(bob.app)
    assert not bob.app.get("bidi_component") and newest(pets.path, "audit", "find", "bob") is None
    bob.show("Estimate")
    assert in_hand(pets, "estimate", "bob").questions, "the random queue goes on"
    file.write_text(whole)
    bob.show("Find")
    main = {q.sample_id for q in in_hand(pets, "find", "bob").questions if q.purpose == "main"}
    assert main and not main & drawn


def test_what_evidence_a_run_lacks_is_said_in_one_line(home: Path, pets: Project, monkeypatch) -> None:
    ada = Reviewer(home, monkeypatch)
    assert "keeps no" not in said(ada.app)
    run = pets.run("first")
    for file in (run.neighbours_path, run.path / "label_head.npy"):
        file.unlink()
    (line,) = [caption.value for caption in ada.show("Report").caption if "keeps no" in caption.value]
    assert "first keeps no predictions of labels that did not see them and no neighbours" in line.replace("\\", "")
    assert "\n" not in line and "python -m engine embed" in line.replace("\\", "")
