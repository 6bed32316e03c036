"""Find and Estimate side by side: no sample of the one is asked in the other, and what an empty queue says."""

from pathlib import Path

import pytest

from curation.audit.estimate.sampling_plan import load_plan
from curation.audit.reviews import batches
from curation.ledger import people
from curation.ledger.people import Person
from curation.ledger.verdicts import Verdict
from curation.project import Project
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


def test_a_find_batch_that_is_begun_goes_on_without_what_is_drawn_since(home: Path, pets: Project, monkeypatch) -> None:
    """Else its reviewer sees the model's opinion of what they, or another, are to judge without."""
    ada = Reviewer(home, monkeypatch)
    served = in_hand(pets, "find")
    ada.press("verdict", served.questions[0].sample_id, "given")
    monkeypatch.setitem(batches.estimate_served.__kwdefaults__, "size", 70)
    ada.show("Estimate").button(key="audit.draw").click()
    views.rerun(ada.app)
    drawn = {q.sample_id for q in in_hand(pets, "estimate").questions if q.purpose == "main"}
    asked = [q.sample_id for q in served.questions]
    assert drawn & set(asked[1:]) and set(asked[1:]) - drawn, "the draw meets some of what Find has in hand"
    ada.show("Find")
    assert in_hand(pets, "find") == served, "as it was begun"
    assert [item["key"] for item in ada.data["items"]] == [
        i for number, i in enumerate(asked) if number == 0 or i not in drawn]
    late = next(i for i in asked[1:] if i in drawn)  # answered as the page dropped it
    ada.press("verdict", late, "given")
    assert not ada.app.error and late in set(pets.verdicts().in_force()["sample_id"])
    ada.answer_all()
    assert ada.data["summary"] is not None, "it can be ended"


@pytest.mark.parametrize("queue", ["Find", "Estimate"])
def test_no_example_beside_a_queue_is_drawn(home: Path, pets: Project, monkeypatch, queue: str) -> None:
    """The examples are what the model takes for right."""
    ada = Reviewer(home, monkeypatch, "Estimate")
    ada.app.button(key="audit.draw").click()
    views.rerun(ada.app)
    ada.show(queue)
    examples = {i for ids in in_hand(pets, queue.lower()).typical.values() for i in ids}
    assert examples
    monkeypatch.setitem(batches.estimate_served.__kwdefaults__, "size", 250)
    Reviewer(home, monkeypatch, "Estimate", who="bob")  # a draw as large as can be
    drawn = {q.sample_id for who in ("ada", "bob") for q in in_hand(pets, "estimate", who).questions
             if q.purpose == "main"}
    assert examples & drawn
    again = Reviewer(home, monkeypatch, queue)
    shown = [src for sources in again.data["references"].values() for src in sources]
    assert not [i for i in drawn if any(i in src for src in shown)]


def test_what_is_judged_in_another_audit_or_known_to_all_is_not_asked_again(home, pets, monkeypatch) -> None:
    Reviewer(home, monkeypatch)
    asked = [q for q in in_hand(pets, "find").questions if q.purpose == "main"]
    own, others, agreed, relabelled, last = (q.sample_id for q in asked[:5])
    given = {q.sample_id: q.given_label for q in asked}
    pets.verdicts().add([
        Verdict(audit=audit, queue="find", sample_id=i, verdict=verdict, given_label=given[i], who=who)
        for audit, i, verdict, who in (("second", own, "unsure", "ada"), ("second", others, "unsure", "bob"),
                                       ("second", agreed, "given", "bob"), ("audit", last, "unsure", "bob"))])
    pets.ledger().relabel([relabelled], next(name for name in pets.classes if name != given[relabelled]), "eve")
    ada = Reviewer(home, monkeypatch)
    ada.app.radio(key="audit.find.mode").set_value("balanced")
    views.rerun(ada.app)
    ada.app.button(key="audit.find.begin").click()
    views.rerun(ada.app)
    main = {q.sample_id for q in in_hand(pets, "find").questions if q.purpose == "main"}
    assert in_hand(pets, "find").mode == "balanced" and others in main
    assert not {own, agreed, relabelled, last} & main


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


def test_a_viewer_is_told_why_the_keys_of_the_review_are_off(home: Path, pets: Project, monkeypatch) -> None:
    ada = Reviewer(home, monkeypatch)
    assert ada.data["refusal"] == "" and ada.data["items"]
    monkeypatch.setattr(people, "_identify", lambda: Person("ada", "viewer"))
    views.rerun(ada.app)
    said = "answering is for the role reviewer; ada is viewer; ask an owner"
    assert ada.data["items"] and ada.data["refusal"] == said
