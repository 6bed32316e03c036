"""Find and Estimate side by side: no sample of the one is asked in the other, and what an empty queue says."""

from pathlib import Path

from curation.audit.estimate.sampling_plan import load_plan
from curation.audit.reviews import batches
from curation.project import Project
from curation.views.audit import find
from tests import views
from tests.curation.views.audit.test_page import Reviewer, in_hand


def test_the_ranked_queue_asks_for_nothing_that_is_drawn(home: Path, pets: Project, monkeypatch) -> None:
    ada = Reviewer(home, monkeypatch)
    begun = {q.sample_id for q in in_hand(pets, "find").questions}
    ada.show("Estimate").button(key="audit.draw").click()
    views.rerun(ada.app)
    # a second batch, as large as can be, so that the draw meets what Find has in hand
    monkeypatch.setitem(batches.estimate_served.__kwdefaults__, "size", 250)
    bob = Reviewer(home, monkeypatch, "Estimate", who="bob")
    drawn = {q.sample_id for who in ("ada", "bob") for q in in_hand(pets, "estimate", who).questions
             if q.purpose == "main"}
    assert len(drawn) == 30 + 249, "no further than to the first look"
    assert begun & drawn and bob.data["items"]
    again = Reviewer(home, monkeypatch)
    main = {q.sample_id for q in in_hand(pets, "find").questions if q.purpose == "main"}
    assert main and not main & drawn, "an untouched batch is drawn anew"
    assert {item["key"] for item in again.data["items"]} >= main


def test_a_find_batch_that_is_begun_is_kept(home: Path, pets: Project, monkeypatch) -> None:
    ada = Reviewer(home, monkeypatch)
    served = in_hand(pets, "find")
    ada.press("verdict", served.questions[0].sample_id, "given")
    monkeypatch.setattr(find.batch_files, "drawn", lambda *_: {q.sample_id for q in served.questions})
    ada.show("Find")
    assert in_hand(pets, "find") == served


def test_an_empty_random_queue_says_why(home: Path, pets: Project, monkeypatch) -> None:
    monkeypatch.setitem(batches.estimate_served.__kwdefaults__, "size", 300)
    ada = Reviewer(home, monkeypatch, "Estimate")
    ada.app.select_slider(key="audit.goal").set_value(0.5)
    views.rerun(ada.app)
    ada.app.button(key="audit.draw").click()
    views.rerun(ada.app)
    plan = load_plan(pets.path, "audit")
    assert plan is not None and len(ada.data["items"]) >= 300
    bob = Reviewer(home, monkeypatch, "Estimate", who="bob")
    assert "300 in others' hands" in bob.data["empty"] and "known exactly" not in bob.data["empty"]
