"""The Audit page through AppTest on fakes, and what its review component may and may not be told."""

import json
import re
import uuid
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from curation.audit.estimate import noise_rate
from curation.audit.estimate.noise_rate import Rate
from curation.audit.estimate.sampling_plan import load_plan
from curation.audit.report.figures import percent
from curation.audit.report.rate_words import UNTIL_THEN
from curation.audit.reviews.batch_files import newest
from curation.audit.reviews.batches import Served
from curation.audit.reviews.random_queue import random_verdicts
from curation.ledger.verdicts import Verdict
from curation.project import Project
from curation.views import scored
from curation.views.audit import at_hand, find, matrix, overview, people
from curation.views.audit import review as audit_review
from curation.views.audit.heat import clicked, shown_classes
from curation.views.explore import chosen
from curation.views.scored import chance_words
from curation.views.widgets.review import Act, acts_of
from tests import views
from tests.curation.audit.reviews.test_reconcile import import_anew
from tests.fakes import make_project

CLASSES = ("cat", "dog", "bird")
KEY = str(uuid.UUID(int=7))


# -- acts


def act(**changed: Any) -> dict[str, Any]:
    return {"number": 1, "batch": "b", "key": KEY, "op": "verdict", "item": "3", "verdict": "given", "label": None,
            "seconds": 2.5} | changed


def test_acts_of_the_browser_are_read_in_order_with_their_numbers() -> None:
    sent = {"acts": [act(), act(number=2, op="retract"), act(number=3, op="next"),
                     act(number=4, verdict="other", label="bird")]}
    assert acts_of(sent, CLASSES) == [
        (1, Act(op="verdict", batch="b", key=KEY, item="3", verdict="given", seconds=2.5)),
        (2, Act(op="retract", batch="b", key=KEY, item="3")), (3, Act(op="next", batch="b", key=KEY)),
        (4, Act(op="verdict", batch="b", key=KEY, item="3", verdict="other", label="bird", seconds=2.5))]


@pytest.mark.parametrize("changed", [
    {"op": "drop"}, {"key": "no uuid"}, {"key": None}, {"batch": 3}, {"item": None}, {"verdict": "wrong"},
    {"verdict": "other", "label": "horse"}, {"verdict": "other"}, {"label": "dog"}, {"number": "1"}, {"number": True}])
def test_what_the_component_never_sends_is_left_out(changed: dict[str, Any]) -> None:
    assert acts_of({"acts": [act(**changed)]}, CLASSES) == []
    assert len(acts_of({"acts": [act(**changed), act()]}, CLASSES)) == 1


@pytest.mark.parametrize("value", [None, [], {}, {"acts": None}, {"acts": ["x", 3]}])
def test_a_trigger_that_holds_no_acts_is_none(value: Any) -> None:
    assert acts_of(value, CLASSES) == []


@pytest.mark.parametrize(("sent", "kept"), [(-1, 0.0), (1e9, 300.0), (float("nan"), None), ("2", None), (True, None)])
def test_seconds_lie_between_nothing_and_five_minutes(sent: Any, kept: float | None) -> None:
    ((_, found),) = acts_of({"acts": [act(seconds=sent)]}, CLASSES)
    assert found.seconds == kept


# -- the page


class Reviewer:
    """Somebody at the page: a session of the app, and keys pressed in the review component."""

    def __init__(self, home: Path, monkeypatch: pytest.MonkeyPatch, section: str = "Find", who: str = "ada") -> None:
        self.pending: list[Act] = []
        real = audit_review.review

        def review_with_keys(project: Project, items: Any, on_act: Any, **options: Any) -> None:
            real(project, items, on_act, **options)
            while self.pending:
                on_act(self.pending.pop(0))

        monkeypatch.setattr(audit_review, "review", review_with_keys)
        self.app = views.start(home, "audit", project="pets", run="first")
        self.app.text_input(key="person").set_value(who)
        self.show(section)

    def show(self, section: str) -> Any:
        self.app.session_state["section"] = section
        return views.rerun(self.app)

    @property
    def data(self) -> dict[str, Any]:
        """What the component was told."""
        found = [json.loads(component.proto.json) for component in self.app.get("bidi_component")]
        return next(data for data in found if "can_suggest" in data)

    def press(self, op: str, item: str | None = None, verdict: str | None = None, label: str | None = None) -> None:
        self.send(Act(op=op, batch=self.data["batch"], key=str(uuid.uuid4()), item=item, verdict=verdict, label=label,
                      seconds=1.0 if op == "verdict" else None))

    def answer_all(self, verdict: str = "given") -> None:
        """Quicker than the page is drawn: all that is still open in one message."""
        data = self.data
        self.send(*(Act(op="verdict", batch=data["batch"], key=str(uuid.uuid4()), item=item["key"], verdict=verdict,
                        seconds=1.0) for item in data["items"] if item["key"] not in data["answers"]))

    def send(self, *acts: Act) -> None:
        self.pending += acts
        views.rerun(views.rerun(self.app))


def htmls(app: Any) -> str:
    return "".join(element.proto.body for element in app.get("html"))


def in_hand(project: Project, queue: str, who: str = "ada") -> Served:
    served = newest(project.path, "audit", queue, who)
    assert served is not None
    return served


def test_the_ranked_queue_shows_what_a_reviewer_needs_and_hides_what_tells(home, pets, monkeypatch) -> None:
    ada, served = Reviewer(home, monkeypatch), in_hand(pets, "find")
    assert [item["key"] for item in ada.data["items"]] == [q.sample_id for q in served.questions]
    for item, question in zip(ada.data["items"], served.questions, strict=True):
        assert set(item) == {"key", "id", "src", "hard", "given", "suggestion", "confidence", "chance"}
        assert (item["given"], item["suggestion"]) == (question.given_label, question.suggested_label)
    assert {q.purpose for q in served.questions} == {"main", "gold"}, "there are checks, and nothing says which"
    assert not any(word in json.dumps(ada.data) for word in ("gold", "purpose", "p_wrong", "repeat", "overlap"))
    assert {len(found) for found in ada.data["references"].values()} == {4}


def test_in_the_random_queue_nothing_of_the_models_opinion_reaches_the_browser(home, pets, monkeypatch) -> None:
    ada = Reviewer(home, monkeypatch, "Estimate")
    assert "Takes **249 reviews** or more" in views.texts(ada.app) and load_plan(pets.path, "audit") is None
    ada.app.button(key="audit.draw").click()
    views.rerun(ada.app)
    plan = load_plan(pets.path, "audit")
    assert plan is not None and plan.num_population == 300
    assert {(item["suggestion"], item["confidence"]) for item in ada.data["items"]} == {(None, None)}
    assert not ada.data["can_suggest"] and "p_wrong" not in json.dumps(ada.data)
    assert set(ada.data["references"]) <= {item["given"] for item in ada.data["items"]}
    p_wrong = plan.population.set_index("sample_id")["p_wrong"][[i["key"] for i in ada.data["items"]]].to_numpy()
    assert abs(np.corrcoef(np.arange(len(p_wrong)), p_wrong)[0, 1]) < 0.5, "the order is mixed"


def test_answers_are_logged_at_once_and_found_again_by_a_new_session(home, pets, monkeypatch) -> None:
    ada = Reviewer(home, monkeypatch)
    first, second, third = (item["key"] for item in ada.data["items"][:3])
    ada.press("verdict", first, "suggested")
    ada.press("verdict", second, "other", label="bird" if ada.data["items"][1]["given"] != "bird" else "cat")
    ada.press("verdict", third, "neither")
    ada.press("retract", third)
    rows = pets.verdicts().in_force("audit").set_index("sample_id")
    assert rows["verdict"].to_dict() == {first: "suggested", second: "other"} and set(rows["seconds"]) == {1.0}
    before = ada.data
    again = Reviewer(home, monkeypatch)
    assert again.data["items"] == before["items"] and again.data["batch"] == before["batch"]
    assert set(again.data["answers"]) == {first, second} and again.data["last"] == second
    bob = Reviewer(home, monkeypatch, who="bob")
    assert not {item["key"] for item in bob.data["items"]} & {item["key"] for item in before["items"][2:]}
    assert bob.data["answers"] == {}


def test_no_answer_makes_the_probabilities_anew_but_each_batch_does(home, pets, monkeypatch) -> None:
    ada = Reviewer(home, monkeypatch)
    calls: list[int] = []
    real = scored.calibrated
    monkeypatch.setattr(scored, "calibrated", lambda *args, **kw: calls.append(1) or real(*args, **kw))
    for item in ada.data["items"][:3]:
        ada.press("verdict", item["key"], "suggested")
    ada.answer_all("suggested")
    assert not calls
    ada.press("next")
    assert calls == [1]


def test_nothing_is_promised_before_enough_labels_are_judged(home, pets, monkeypatch) -> None:
    said = views.texts(Reviewer(home, monkeypatch).app)
    assert "is promised once 50 labels are judged: 20 more" in said and "are wrong**" not in said


def test_a_batch_ends_with_what_came_of_its_promise_and_the_next_begins(home, pets, monkeypatch) -> None:
    monkeypatch.setattr(find.promise, "MIN_CALIBRATED", 0)
    ada, served = Reviewer(home, monkeypatch), in_hand(pets, "find")
    promised = find.promise.expected_yield(served.main_p_wrong, served.doubt)
    assert f"**About {promised.expected:.0f} of these 12 are wrong** ({promised.low} to {promised.high})" in \
        views.texts(ada.app)
    assert ada.data["summary"] is None
    ada.answer_all("suggested")
    summary = ada.data["summary"]
    assert summary["headline"] == "12 of these 12 were wrong." and summary["button"] == "Next batch"
    assert f"({promised.low} to {promised.high})" in summary["lines"][0] and "hidden check" in summary["lines"][1]
    ada.press("next")
    assert ada.data["summary"] is None and in_hand(pets, "find").number == 2
    assert "Calibrated on" in views.texts(ada.app)
    assert not {i["key"] for i in ada.data["items"]} & {q.sample_id for q in served.questions if q.purpose == "main"}


@pytest.mark.parametrize("least", [0, 10_000])
def test_a_label_is_called_probably_wrong_beside_a_suggestion_alone_and_once_enough_is_known(home, pets, monkeypatch,
                                                                                            least: int) -> None:
    monkeypatch.setattr(audit_review.promise, "MIN_CALIBRATED", least)
    ada = Reviewer(home, monkeypatch)
    assert {item["chance"] for item in ada.data["items"]} == {None}, "it would tell the check of a known truth"
    monkeypatch.setattr(at_hand, "gold_ids", lambda audit: np.empty(0, dtype=object))
    ada = Reviewer(home, monkeypatch, who="bob")
    said = {item["key"]: item["chance"] for item in ada.data["items"]}
    asked = {q.sample_id: q.p_wrong for q in in_hand(pets, "find", "bob").questions}
    assert said == {i: f"wrong: {chance_words(p)}" if least == 0 else None for i, p in asked.items()}
    ada.show("Estimate").button(key="audit.draw").click()
    views.rerun(ada.app)
    assert {item["chance"] for item in ada.data["items"]} == {None}


def test_another_order_replaces_an_untouched_batch_and_follows_one_that_is_begun(home, pets, monkeypatch) -> None:
    ada = Reviewer(home, monkeypatch)

    def order(mode: str, **pair: str) -> Served:
        ada.app.radio(key="audit.find.mode").set_value(mode)
        views.rerun(ada.app)
        for key, value in pair.items():
            ada.app.selectbox(key=f"audit.find.{key.replace('__', '.')}").set_value(value)
            views.rerun(ada.app)
        ada.app.button(key="audit.find.begin").click()
        views.rerun(ada.app)
        return in_hand(pets, "find")

    served = order("confusion", given="dog", other__dog="cat")
    assert (served.number, served.mode, served.confusion) == (1, "confusion", ("dog", "cat"))
    assert {(i["given"], i["suggestion"]) for i in ada.data["items"] if i["key"] in
            {q.sample_id for q in served.questions if q.purpose == "main"}} == {("dog", "cat")}
    ada.press("verdict", ada.data["items"][0]["key"], "given")
    served = order("balanced")
    assert (served.number, served.mode) == (2, "balanced")


def test_the_overview_says_the_measured_rate_and_never_the_models_guess(home, pets, monkeypatch) -> None:
    ada = Reviewer(home, monkeypatch, "Overview")
    assert "not known yet" in htmls(ada.app)
    (known,) = [line for line in views.texts(ada.app).splitlines() if "%" in line]
    assert known.startswith("Of the 30 samples whose true label came with the data")
    ada.show("Estimate").button(key="audit.draw").click()
    views.rerun(ada.app)
    ada.answer_all("given")
    assert "%" not in views.texts(ada.app), "the rate is not told while one reviews"
    assert not any("%" in line for line in [ada.data["summary"]["headline"], *ada.data["summary"]["lines"]])
    plan = load_plan(pets.path, "audit")
    assert plan is not None
    found = noise_rate.estimate(plan, random_verdicts(pets.verdicts().in_force("audit"))).overall
    ada.show("Overview")
    assert found.high is not None and f"% to {found.high:.1%} of 300 given labels are wrong" in htmls(ada.app)
    said = views.texts(ada.app)
    assert "95% interval from 30 reviews of samples drawn at random; too early for a single figure: 20 more." in said
    assert "without strata" not in said and percent(found.share) not in said and "You can stop" not in said
    assert "more reviews until it is judged whether" in said and UNTIL_THEN in said


def test_the_overview_says_how_far_the_people_agree_whose_answers_came_with_the_data(home, pets, monkeypatch) -> None:
    answers = pets.path / "answers.parquet"
    pd.DataFrame({"sample_id": ["a", "a"], "annotator": ["1", "2"], "label": ["x", "y"]}).to_parquet(answers)
    ada = Reviewer(home, monkeypatch, "Overview")
    assert "2 answers of 2 people on 1 sample came with the data; two on the same sample agree 0% of the time" in \
        views.texts(ada.app)
    answers.write_bytes(b"no table")
    views.rerun(ada.app)
    (said,) = [warning.value for warning in ada.app.warning if "answers" in warning.value]
    assert said.endswith("import the data again")


def test_what_is_to_go_falls_with_each_verdict_of_a_batch_and_not_with_one_that_cannot_tell(
        home, pets, monkeypatch) -> None:
    ada = Reviewer(home, monkeypatch, "Estimate")
    ada.app.button(key="audit.draw").click()
    views.rerun(ada.app)
    main = [q.sample_id for q in in_hand(pets, "estimate").questions if q.purpose == "main"]

    def to_go() -> int:
        (found,) = re.findall(r"(\d+) more reviews until it is judged", views.texts(ada.app))
        return int(found)

    first = to_go()
    for number, verdict in enumerate(("given", "unsure", "neither")):
        ada.press("verdict", main[number], verdict)
        assert to_go() == first - (number + 1 - (number > 0))
    again = Reviewer(home, monkeypatch, "Estimate")
    again.press("verdict", main[3], "given")
    ada = again
    assert to_go() == first - 3
    ada.press("retract", main[3])
    assert to_go() == first - 2


def test_a_cell_of_the_matrix_leads_to_its_samples_and_its_queue(home, pets, monkeypatch) -> None:
    ada = Reviewer(home, monkeypatch, "Noise matrix")
    assert "not a noise rate" in views.texts(ada.app)
    views.select(ada.app, "audit.heat.samples, by the model", points=[{"point_index": 1 * 3 + 2}])
    ada.app.session_state[matrix._GIVEN_KEY] = "dog"
    ada.app.session_state[matrix._TRUE_KEY] = "bird"
    views.rerun(ada.app)
    assert "suspected**: the model takes the label for wrong, and bird" in views.texts(ada.app)
    ada.app.button(key="audit.cell.find").click()
    views.rerun(ada.app)
    served = in_hand(pets, "find")
    assert (served.mode, served.confusion) == ("confusion", ("dog", "bird")) and ada.data["items"]


def test_the_samples_of_a_cell_become_the_selection(home, pets, monkeypatch) -> None:
    ada = Reviewer(home, monkeypatch, "Noise matrix")
    put: list[Any] = []
    monkeypatch.setattr(chosen, "put", lambda project, run, predicate: put.append(predicate))
    ada.app.button(key="audit.cell.explore").click()
    views.rerun(ada.app)
    assert ada.app.title[0].value == "Explore" and put[0]["ids"] and set(put[0]) == {"ids"}


def test_every_view_of_the_matrix_is_drawn_and_says_what_it_is(home, pets, monkeypatch) -> None:
    ada = Reviewer(home, monkeypatch, "Noise matrix")

    def view(name: str) -> str:
        ada.app.session_state["audit.matrix.view"] = name
        return views.texts(views.rerun(ada.app)) + "".join(str(i.value) for i in ada.app.info)

    assert "No class has enough reviews" in view(matrix.REVIEWED)
    assert "**A guess:** expected wrong labels" in view(matrix.CHANGE)
    ada.show("Estimate").button(key="audit.draw").click()
    views.rerun(ada.app)
    for _ in range(2):
        ada.answer_all("given")
        ada.press("next")
    ada.show("Noise matrix")
    assert "**Measured** on the random sample" in view(matrix.REVIEWED)


def test_a_click_on_a_cell_is_its_row_and_column() -> None:
    assert clicked({"selection": {"points": [{"point_index": 7}]}}, 3) == (2, 1)
    for nothing in (None, {}, {"selection": {}}, {"selection": {"points": []}}, {"selection": {"points": [{}]}}):
        assert clicked(nothing, 3) is None
    errors = np.zeros((50, 50))
    errors[3, 45] = 9
    assert {3, 45} <= set(shown_classes(errors)) and len(shown_classes(errors)) == 40


def test_disagreements_wait_for_a_third_person(home, pets, monkeypatch) -> None:
    ada = Reviewer(home, monkeypatch)
    sample_id = in_hand(pets, "find").questions[0].sample_id
    ada.press("verdict", sample_id, "given")
    served = in_hand(pets, "find")
    bob = Served(**{**{f: getattr(served, f) for f in Served.__dataclass_fields__}, "reviewer": "bob"})
    from curation.audit.reviews.answering import answer
    answer(pets, bob, sample_id, "neither")
    ada.show("Reviewers")
    assert "1 sample in dispute" in views.texts(ada.app) and ada.app.button(key="audit.settle").disabled
    eve = Reviewer(home, monkeypatch, "Reviewers", who="eve")
    eve.app.button(key="audit.settle").click()
    views.rerun(eve.app)
    assert [item["key"] for item in eve.data["items"]] == [sample_id]
    eve.press("verdict", sample_id, "neither")
    assert sample_id in set(pets.ledger().state().query("excluded")["sample_id"])
    eve.press("next")
    assert "None is open" in views.texts(eve.app)


def test_two_audits_disagree_in_sight_of_both(home, pets, monkeypatch) -> None:
    from curation.audit.reviews.answering import answer
    ada = Reviewer(home, monkeypatch)
    served = in_hand(pets, "find")
    fields = {f: getattr(served, f) for f in Served.__dataclass_fields__}
    first, second = (q.sample_id for q in served.questions[:2])
    ada.press("verdict", first, "given")
    answer(pets, Served(**{**fields, "reviewer": "bob", "audit": "second"}), first, "neither")
    assert "1 sample in dispute" in views.texts(ada.show("Reviewers"))
    eve = Reviewer(home, monkeypatch, "Reviewers", who="eve")
    eve.app.selectbox(key=f"audit.name.pick/{pets.path}").set_value("audit")
    views.rerun(eve.app).button(key="audit.settle").click()
    views.rerun(eve.app)
    assert [item["key"] for item in eve.data["items"]] == [first]


def test_a_dispute_of_the_random_queue_alone_is_told_for_what_it_is() -> None:
    settled = pd.DataFrame({"state": ["agreed", "disputed"]}, index=["s1", "s2"])
    assert people.dispute_words(["s2"], settled).endswith("until another person makes a majority.")
    both = people.dispute_words(["s1", "s2"], settled)
    assert "2 samples in dispute" in both and "No label is changed" in both and "For 1 of them" in both
    assert "No label is changed" not in people.dispute_words(["s1"], settled)


def test_a_killed_answer_is_made_good_when_the_audit_is_opened_and_only_then(home, pets, monkeypatch) -> None:
    ada = Reviewer(home, monkeypatch)
    question = in_hand(pets, "find").questions[0]
    calls, real = [], at_hand.reconcile_all
    monkeypatch.setattr(at_hand, "reconcile_all", lambda project: calls.append(1) or real(project))
    pets.verdicts().add([Verdict(audit="audit", queue="find", sample_id=question.sample_id, verdict="neither",
                                 given_label=question.given_label, who="bob")])
    ada.press("verdict", ada.data["items"][1]["key"], "given")
    assert not calls and pets.ledger().revision == 0
    Reviewer(home, monkeypatch)
    assert calls == [1] and set(pets.ledger().state().query("excluded")["sample_id"]) == {question.sample_id}
    assert pets.ledger().batches()["who"].tolist() == ["bob"]


def test_a_killed_answer_is_made_good_at_the_latest_with_the_next_batch(home, pets, monkeypatch) -> None:
    ada, served = Reviewer(home, monkeypatch), in_hand(pets, "find")
    ada.answer_all()
    question = served.questions[0]
    for who in ("bob", "eve"):
        pets.verdicts().add([Verdict(audit="audit", queue="find", sample_id=question.sample_id, verdict="neither",
                                     given_label=question.given_label, who=who)])
    views.rerun(ada.app)
    assert pets.ledger().revision == 0
    ada.press("next")
    assert set(pets.ledger().state().query("excluded")["sample_id"]) == {question.sample_id}


def test_a_batch_goes_on_without_what_data_imported_anew_has_lost_or_corrected(home, pets, monkeypatch) -> None:
    ada = Reviewer(home, monkeypatch)
    items = [item["key"] for item in ada.data["items"]]
    ada.press("verdict", items[0], "given")
    import_anew(pets, {items[0]: None, items[1]: None,
                       items[2]: next(name for name in CLASSES if name != ada.data["items"][2]["given"])})
    views.rerun(ada.app)
    assert [item["key"] for item in ada.data["items"]] == [items[0], *items[3:]]
    ada.answer_all()
    assert ada.data["summary"] is not None


def test_an_undo_sent_again_leaves_the_answer_that_came_after_it(home, pets, monkeypatch) -> None:
    ada = Reviewer(home, monkeypatch)
    first = ada.data["items"][0]["key"]
    ada.press("verdict", first, "suggested")
    acts = [Act(op="retract", batch=ada.data["batch"], key=KEY, item=first),
            Act(op="verdict", batch=ada.data["batch"], key=str(uuid.UUID(int=8)), item=first, verdict="given")]
    for _ in range(2):
        ada.pending += acts
        views.rerun(views.rerun(ada.app))
    assert pets.verdicts().in_force("audit")["verdict"].tolist() == ["given"]


def test_the_report_says_what_is_missing_and_can_be_taken_away(home, pets, monkeypatch) -> None:
    ada = Reviewer(home, monkeypatch, "Report")
    assert "No random sample is drawn yet" in views.texts(ada.app)
    labels = [button.proto.label for button in ada.app.get("download_button")]
    assert labels == ["Download HTML", "Download JSON"]
    ada.show("Estimate").button(key="audit.draw").click()
    views.rerun(ada.app)
    ada.answer_all("given")
    said = views.texts(ada.show("Report"))
    assert "One person reviewed the whole random sample" in said and "is not reached" in said


def test_a_second_audit_has_its_own_verdicts_and_sample(home, pets, monkeypatch) -> None:
    ada = Reviewer(home, monkeypatch)
    ada.press("verdict", ada.data["items"][0]["key"], "given")
    ada.app.text_input(key="audit.new_name").set_value("second round")
    ada.app.button(key="audit.begin").click()
    views.rerun(ada.app)
    assert ada.data["batch"].startswith("second-round/find/1") and ada.data["answers"] == {}
    ada.app.text_input(key="audit.new_name").set_value("a/b")
    ada.app.button(key="audit.begin").click()
    assert ada.data["batch"].startswith("second-round/") and views.rerun(ada.app).toast


def test_without_a_run_or_with_a_damaged_batch_the_page_says_so(home, pets, monkeypatch) -> None:
    Reviewer(home, monkeypatch)
    (file,) = (pets.path / "audits" / "audit" / "batches").glob("*.json")
    file.write_text("?")
    app = views.start(home, "audit", project="pets", run="first", query={"section": "Find"})
    app.text_input(key="person").set_value("ada")
    assert "delete it" in views.texts(views.rerun(app)).replace("\\", "")
    make_project(home / "bare", num_train=6)
    assert "has no run yet" in views.texts(views.start(home, "audit", project="bare"))


def test_near_duplicates_with_contradicting_labels_are_shown_group_by_group(home, pets, monkeypatch) -> None:
    assert "None." in views.texts(Reviewer(home, monkeypatch, "Noise matrix").app)
    run = pets.run("first")
    near, embedding = run.read_neighbours(), run.read_embedding()
    assert near is not None and embedding is not None
    indices, distances = (np.array(part) for part in near)
    indices[0, 0], distances[0, 0] = 1, 0.0  # a cat and a dog
    run.write_embedding(embedding["sample_id"].to_numpy(), embedding[["x", "y"]].to_numpy(np.float32), indices,
                        distances)
    ada = Reviewer(home, monkeypatch, "Noise matrix")
    assert "1 group, near in the run's features" in views.texts(ada.app)
    shown = [text for text in htmls(ada.app).split("<figure") if "train-00000" in text or "train-00001" in text]
    assert any("cat" in text for text in shown) and any("dog" in text for text in shown)


def test_cells_say_counts_briefly_and_blank_what_may_not_be_quoted() -> None:
    expected = np.array([[900.0, 21801.0, 0.3], [811.6, 9.0, 4.0], [0.0, 1.0, 7.0]])
    model = matrix.ModelMatrix(expected=expected, elsewhere=np.zeros(3), suspected=expected.astype(int),
                                     num_unscored=np.zeros(3, dtype=int))
    colour, text, hover = matrix.model_cells(model)
    assert text.tolist() == [["", "21.8k", ""], ["812", "", "4"], ["", "1", ""]]
    assert np.isnan(np.diag(colour)).all() and colour[0, 1] == 21801 and "21,801 suspected" in hover[0, 1]
    after = matrix.ModelMatrix(expected=expected - [[0, 12000, 0], [0, 0, 0], [0, 0, 0]],
                                     elsewhere=np.zeros(3), suspected=model.suspected, num_unscored=model.num_unscored)
    assert matrix.change_cells(model, after)[1][0].tolist() == ["", "-12.0k", ""]

    rate = np.array([[0.8, 0.2, np.nan], [np.nan, 0.9, np.nan]])
    reviewed = matrix.ReviewedMatrix(
        num_reviewed=np.array([[40, 10, 1], [0, 12, 2]]), num_population=np.array([1000, 500]), rate=rate,
        low=rate - 0.1, high=rate + 0.1, is_row_shown=np.array([True, True]), pairs={})
    colour, text, hover = matrix.reviewed_cells(reviewed)
    assert text.tolist() == [["80.0", "20.0", "\u00b7"], ["", "90.0", "\u00b7"]]
    assert np.isnan(colour[[0, 0, 1, 1, 1], [0, 2, 0, 1, 2]]).all() and colour[0, 1] == pytest.approx(20)
    assert hover[0, 1] == "20.0% (95% interval 10.0% to 30.0%), about 200 samples, 10 reviewed"
    assert hover[0, 2] == "1 reviewed: too few to be quoted" and hover[1, 0] == "not seen"


@pytest.mark.parametrize("overall", [None, 0.09])
def test_the_chart_of_classes_is_read_as_it_is_drawn(overall: float | None) -> None:
    rate = Rate(num_population=100, num_reviews=40, num_wrong=4, share=0.1, low=0.04, high=0.2)
    figure = overview.whiskers([("cat", rate), ("dog", rate)], overall)
    words = overview.whisker_words(2, 1, overall is not None)
    assert (len(figure.layout.shapes) == 1) == ("line: all classes" in words) == (overall is not None)
    assert words.endswith("1 class with fewer than 10 reviews not shown.")
    assert "line" not in overview.whisker_words(0, 3, True)
