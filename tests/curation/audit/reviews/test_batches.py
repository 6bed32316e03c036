"""Batches on disk and answers to them: what is shown, what is recorded, and that a reviewer finds it again."""

import os
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from curation.audit.opening import plan_of
from curation.audit.reviews import batch_files, batches
from curation.audit.reviews.answering import answer, take_back
from curation.audit.reviews.batch_files import BatchError, in_hand, newest
from curation.audit.reviews.batches import Served, adjudicate_served, estimate_served, find_served
from curation.audit.reviews.queues import find_order
from curation.audit.suspects.scores import Scores, scores_of
from curation.ledger.verdicts import Verdict, VerdictError
from curation.project import Project
from curation.samples.table import sample_table, samples
from engine.contract.manifest import file_digest, read_info, read_manifest
from engine.contract.run_dir import RunDir
from tests.curation.audit.suspects.test_scores import hide_truth, with_probabilities
from tests.fakes import make_project, make_run, write_manifest

NUM = 300
ADA = {"reviewer": "ada", "run": "first", "model": "m"}
NONE = np.empty(0, dtype=object)


@pytest.fixture
def pets(tmp_path: Path) -> Project:
    """300 training samples, a tenth wrong, the truth known of the first 30, and a run with probabilities."""
    path = make_project(tmp_path / "pets", num_train=NUM, size=2)
    make_run(path, "first")
    with_probabilities(RunDir.of(path, "first"), NUM)
    hide_truth(path, 30)
    return Project.open(path)


def scores(project: Project) -> Scores:
    run = project.run("first")
    return scores_of(project, [run], samples(project, run), run.read_neighbours())


def find(project: Project, number: int = 1, **options) -> Served:
    verdicts = project.verdicts().in_force("audit")
    return find_served(scores(project), verdicts, options.pop("gold", NONE), audit="audit", number=number,
                       **{**ADA, "size": 20, **options})


def labels(project: Project) -> pd.Series:
    return sample_table(project, None).set_index("sample_id")["current_label"]


# -- what is in a batch


def test_what_is_reserved_is_no_hidden_check_either(pets: Project) -> None:
    """Checks of Find are shown with the model's opinion: what the random queue drew may not be one."""
    ids = scores(pets).samples.frame["sample_id"].to_numpy()
    gold = np.asarray(ids[-30:], dtype=object)
    for number in range(1, 9):
        checks = {q.sample_id for q in find(pets, number, gold=gold).questions if q.purpose == "gold"}
        assert checks, "there are checks to begin with"
        served = find(pets, number, gold=gold, reserved=[str(name) for name in gold])
        assert not {q.sample_id for q in served.questions} & set(gold)
        one = next(iter(checks))
        assert one not in {q.sample_id for q in find(pets, number, gold=gold, reserved=[one]).questions}


def test_the_ranked_queue_comes_in_order_with_what_is_shown_and_what_is_recorded(pets: Project) -> None:
    found, served = scores(pets), find(pets)
    expected = find_order(found, pets.verdicts().in_force())[:20]
    assert [q.sample_id for q in served.questions] == found.samples.ids(expected)
    for question, row in zip(served.questions, expected, strict=True):
        assert question.given_label == found.classes[found.given[row]] != question.suggested_label
        assert question.suggested_label == found.classes[found.suggested[row]]
        assert question.confidence == pytest.approx(found.confidence[row])
        assert question.p_wrong == pytest.approx(found.p_wrong[row]) and question.purpose == "main"
    np.testing.assert_allclose(served.main_p_wrong, found.p_wrong[expected])


def test_examples_to_compare_with_are_the_least_suspect_of_their_class_and_none_is_asked(pets: Project) -> None:
    found, served = scores(pets), find(pets, size=280)
    asked = {q.sample_id for q in served.questions}
    for name, ids in served.typical.items():
        rest = [i for i in np.flatnonzero(found.given == found.classes.index(name))
                if found.samples.ids([i])[0] not in asked and np.isfinite(found.p_wrong[i])]
        best = sorted(rest, key=lambda i: found.p_wrong[i])[:4]
        assert ids == found.samples.ids(best)
    assert set(find(pets).typical) == {"cat", "dog", "bird"}


def test_what_was_judged_under_another_label_is_asked_again(pets: Project) -> None:
    first = find(pets, size=2)
    for question in first.questions:
        answer(pets, first, question.sample_id, "given")
    ids = [q.sample_id for q in first.questions]
    rows, info = read_manifest(pets.path), read_info(pets.path)
    rows.loc[rows["sample_id"] == ids[0], "given_label"] = first.questions[0].suggested_label
    write_manifest(pets.path, rows, info.classes, root=info.root)
    asked = {q.sample_id: q.given_label for q in find(pets, number=2, size=300).questions}
    assert asked[ids[0]] == first.questions[0].suggested_label and ids[1] not in asked


def test_a_confusion_holds_that_pair_alone(pets: Project) -> None:
    served = find(pets, mode="confusion", confusion=("cat", "dog"))
    assert served.questions and {(q.given_label, q.suggested_label) for q in served.questions} == {("cat", "dog")}
    assert served.confusion == ("cat", "dog")


def test_checks_of_known_truth_are_among_them_and_no_part_of_the_promise(pets: Project) -> None:
    gold = np.array([f"train-{i:05d}" for i in range(30)], dtype=object)
    served = find(pets, gold=gold)
    checks = [q for q in served.questions if q.purpose != "main"]
    assert checks and {q.purpose for q in checks} == {"gold"} and {q.sample_id for q in checks} <= set(gold)
    assert len(served.main_p_wrong) == 20


def test_a_drawn_sample_is_asked_without_the_models_opinion(pets: Project) -> None:
    plan = plan_of(pets, scores(pets), "audit", seed=3)
    served = estimate_served(plan, scores(pets), pets.verdicts().in_force("audit"), NONE, number=1, **ADA)
    assert len(served.questions) == batches.ESTIMATE_SIZE
    assert {(q.suggested_label, q.confidence) for q in served.questions} == {(None, None)}
    assert set(served.typical) == {q.given_label for q in served.questions}
    answer(pets, served, served.questions[0].sample_id, "given")
    again = estimate_served(plan, scores(pets), pets.verdicts().in_force("audit"), NONE, number=2, **ADA)
    assert served.questions[0].sample_id not in {q.sample_id for q in again.questions}


def test_a_dispute_goes_to_a_third_without_the_models_opinion(pets: Project) -> None:
    """A sample of the ranked queue may be drawn later: what settled it would then count in the noise rate."""
    plan = plan_of(pets, scores(pets), "audit", seed=3)
    shown, hidden = find(pets), estimate_served(plan, scores(pets), pets.verdicts().in_force(), NONE, number=1, **ADA)
    ranked, drawn = shown.questions[0].sample_id, hidden.questions[0].sample_id
    assert ranked != drawn
    for who, verdict in (("ada", "given"), ("bob", "neither")):
        for served, sample_id in ((shown, ranked), (hidden, drawn)):
            own = Served(**{**{f: getattr(served, f) for f in Served.__dataclass_fields__}, "reviewer": who})
            answer(pets, own, sample_id, verdict)
    verdicts = pets.verdicts().in_force("audit")
    third = adjudicate_served(scores(pets), verdicts, audit="audit", number=1, **{**ADA, "reviewer": "eve"})
    assert {q.sample_id: q.suggested_label is not None for q in third.questions} == {ranked: False, drawn: False}
    assert not adjudicate_served(scores(pets), verdicts, audit="audit", number=1, **ADA).questions


# -- on disk


def test_a_batch_is_found_again_as_it_was_and_is_done_when_all_is_answered(pets: Project) -> None:
    assert newest(pets.path, "audit", "find", "ada") is None
    served = find(pets, mode="confusion", confusion=("cat", "dog"), size=3)
    batch_files.save(pets, served)
    assert newest(pets.path, "audit", "find", "ada") == served
    assert served.doubt > 0 and batch_files.doubts(pets.path, "audit") == {("ada", served.number): served.doubt}
    assert newest(pets.path, "audit", "find", "bob") is None and newest(pets.path, "audit", "estimate", "ada") is None
    for number, question in enumerate(served.questions):
        assert not served.is_done(pets.verdicts().in_force())
        answer(pets, served, question.sample_id, "given")
        assert len(served.own(pets.verdicts().in_force())) == number + 1
    assert served.is_done(pets.verdicts().in_force())
    for number in (2, 11):
        batch_files.save(pets, find(pets, number=number))
    assert newest(pets.path, "audit", "find", "ada").number == 11  # type: ignore[union-attr]


def test_what_is_drawn_is_out_of_the_ranked_queue_for_everybody(pets: Project) -> None:
    plan, verdicts = plan_of(pets, scores(pets), "audit", seed=3), pets.verdicts().in_force("audit")
    served = estimate_served(plan, scores(pets), verdicts, np.array(["train-00000"], dtype=object), number=1, **ADA)
    batch_files.save(pets, served)
    drawn = {q.sample_id for q in served.questions if q.purpose == "main"}
    assert batch_files.drawn(pets.path, "audit", verdicts, []) == drawn, "in the reviewer's hands; no hidden checks"
    assert not drawn & {q.sample_id for q in find(pets, size=300, reserved=sorted(drawn)).questions}
    (file,) = (pets.path / "audits" / "audit" / "batches").glob("estimate-*.json")
    answer(pets, served, served.questions[0].sample_id, "given")
    file.unlink()
    verdicts, kept = pets.verdicts().in_force("audit"), {served.questions[0].sample_id} & drawn
    assert batch_files.drawn(pets.path, "audit", verdicts, []) == kept, "verdicts tell as well"
    assert batch_files.drawn(pets.path, "audit", verdicts, pets.verdicts().draws()) == drawn, "and the log tells all"


@pytest.mark.parametrize("text", ["", "null", '{"questions": []}'])
def test_where_a_draw_cannot_be_read_what_was_drawn_is_known_from_the_log_alone(pets: Project, text: str) -> None:
    """Else the ranked queue would show the model's opinion of it."""
    plan, verdicts = plan_of(pets, scores(pets), "audit", seed=3), pets.verdicts().in_force("audit")
    batch_files.save(pets, estimate_served(plan, scores(pets), verdicts, NONE, number=1, **ADA))
    (file,) = (pets.path / "audits" / "audit" / "batches").glob("estimate-*.json")
    whole = file.read_text()
    file.write_text(text)
    with pytest.raises(BatchError, match=f"{file.name} cannot be read .* restore it from a copy") as caught:
        batch_files.drawn(pets.path, "audit", verdicts, [])
    assert "\n" not in str(caught.value)
    (draw,) = pets.verdicts().draws()
    assert batch_files.drawn(pets.path, "audit", verdicts, [draw]) == set(draw.sample_ids)
    assert in_hand(pets.path, "audit", "estimate", "bob", verdicts) == [], "a damaged batch stops no other Estimate"
    assert [len(batch_files.unreadable_draws(pets.path, known)) for known in ([draw], [])] == [0, 1]
    file.write_text(whole)
    assert set(draw.sample_ids) == batch_files.drawn(pets.path, "audit", verdicts, []), "as the file has it"
    assert len(batch_files.drawn(pets.path, "audit", verdicts, pets.verdicts().draws())) == batches.ESTIMATE_SIZE


def test_a_file_of_draws_names_the_model_of_its_plan(pets: Project) -> None:
    plan = plan_of(pets, scores(pets), "audit", seed=3)
    served = batches.file_served(plan, pets.verdicts().in_force("audit"), number=1, size=3)
    assert served.model == file_digest(pets.run("first").path / "config.json")
    batch_files.save(pets, served)
    assert newest(pets.path, "audit", "estimate", batches.FILE) == served


def test_a_damaged_batch_of_another_person_stops_nobody(pets: Project) -> None:
    for reviewer in ("bob", "eve"):
        batch_files.save(pets, find(pets, reviewer=reviewer, size=3))
    bob, _ = sorted((pets.path / "audits" / "audit" / "batches").glob("*.json"))
    bob.write_text("null")
    held = in_hand(pets.path, "audit", "find", "ada", pets.verdicts().in_force("audit"))
    assert len(held) == 3


def test_draws_for_a_file_stay_in_hand_however_many_files_there_are(pets: Project) -> None:
    plan, verdicts = plan_of(pets, scores(pets), "audit", seed=3), pets.verdicts().in_force("audit")
    for number in (1, 2):
        held = in_hand(pets.path, "audit", "estimate", batches.FILE, verdicts)
        served = batches.file_served(plan, verdicts, number=number, reserved=held, size=30)
        assert {q.purpose for q in served.questions} == {"main"} and not {q.sample_id for q in served.questions} & {
            *held}
        batch_files.save(pets, served)
    assert len(in_hand(pets.path, "audit", "estimate", "ada", verdicts)) == 60
    pets.verdicts().add([Verdict(audit="audit", queue="estimate", sample_id=q.sample_id, verdict="given", who="bob",
                                 given_label=q.given_label) for q in served.questions[:10]])
    left = in_hand(pets.path, "audit", "estimate", "ada", pets.verdicts().in_force("audit"))
    assert len(left) == 50, "whoever answers"


def test_answers_to_other_items_under_the_same_number_are_no_answers_to_a_batch(pets: Project) -> None:
    served = find(pets, size=3)
    other = Served(**{**{f: getattr(served, f) for f in Served.__dataclass_fields__}, "questions": tuple(
        q for q in find(pets, size=40).questions[30:33])})
    answer(pets, other, other.questions[0].sample_id, "given")
    assert served.own(pets.verdicts().in_force("audit")).empty


def test_samples_that_left_the_data_are_not_drawn(pets: Project) -> None:
    plan, verdicts = plan_of(pets, scores(pets), "audit", seed=3), pets.verdicts().in_force("audit")
    first = estimate_served(plan, scores(pets), verdicts, NONE, number=1, **ADA)
    gone = {q.sample_id for q in first.questions}
    rows, info = read_manifest(pets.path), read_info(pets.path)
    write_manifest(pets.path, rows[~rows["sample_id"].isin(gone)].reset_index(drop=True), info.classes, root=info.root)
    stale = plan.stale(samples(pets, None))
    assert set(stale) == gone
    again = estimate_served(plan, scores(pets), verdicts, NONE, number=2, stale=stale, **ADA)
    assert len(again.questions) == batches.ESTIMATE_SIZE and not {q.sample_id for q in again.questions} & gone


def test_what_others_have_in_hand_is_kept_from_a_batch_for_a_day(pets: Project) -> None:
    served = find(pets)
    batch_files.save(pets, served)
    answer(pets, served, served.questions[0].sample_id, "given")
    verdicts = pets.verdicts().in_force("audit")
    assert in_hand(pets.path, "audit", "find", "ada", verdicts) == []
    held = in_hand(pets.path, "audit", "find", "bob", verdicts)
    assert held == sorted(q.sample_id for q in served.questions[1:])
    assert not set(held) & {q.sample_id for q in find(pets, reviewer="bob", reserved=held).questions}
    (file,) = (pets.path / "audits" / "audit" / "batches").glob("find-*.json")
    os.utime(file, (0, 0))
    assert in_hand(pets.path, "audit", "find", "bob", verdicts) == []


def test_a_batch_that_was_only_opened_is_let_go_after_a_quarter_of_an_hour(pets: Project) -> None:
    served = find(pets)
    batch_files.save(pets, served)
    soon, later, none = time.time() + 600, time.time() + 1200, pets.verdicts().in_force("audit")
    held = sorted(q.sample_id for q in served.questions)
    assert in_hand(pets.path, "audit", "find", "bob", none, now=soon) == held
    assert in_hand(pets.path, "audit", "find", "bob", none, now=later) == []
    answer(pets, served, held[0], "given")
    assert in_hand(pets.path, "audit", "find", "bob", pets.verdicts().in_force("audit"), now=later) == held[1:]


@pytest.mark.parametrize("text", ["", "null", "[]", "{}", '{"confusion": null, "questions": [{"x": 1}]}'])
def test_a_damaged_batch_is_told_in_one_line(pets: Project, text: str) -> None:
    batch_files.save(pets, find(pets))
    (file,) = (pets.path / "audits" / "audit" / "batches").glob("*.json")
    file.write_text(text)
    with pytest.raises(BatchError, match="cannot be read .* delete it"):
        newest(pets.path, "audit", "find", "ada")


# -- answers


def test_an_answer_is_logged_with_what_was_shown_and_changes_the_label(pets: Project) -> None:
    served = find(pets)
    question = served.questions[0]
    answer(pets, served, question.sample_id, "suggested", seconds=3.5, key="k")
    (row,) = pets.verdicts().in_force("audit").to_dict("records")
    expected = {"queue": "find", "purpose": "main", "verdict": "suggested", "label": question.suggested_label,
                "given_label": question.given_label, "suggested_label": question.suggested_label, "who": "ada",
                "previous_label": question.given_label, "seconds": 3.5, "run": "first", "model": "m", "batch": 1,
                "p_wrong": question.p_wrong, "is_wrong": True}
    assert {name: row[name] for name in expected} == expected
    assert labels(pets)[question.sample_id] == question.suggested_label
    assert pets.ledger().batches()["view"].tolist() == ["audit"]


def test_a_new_answer_takes_the_place_of_the_old_and_undo_goes_back_step_by_step(pets: Project) -> None:
    served = find(pets)
    question, log = served.questions[0], pets.verdicts()
    answer(pets, served, question.sample_id, "suggested", key="first")
    answer(pets, served, question.sample_id, "given", key="second")
    (row,) = log.in_force("audit").to_dict("records")
    assert (row["verdict"], row["previous_label"]) == ("given", question.suggested_label)
    assert labels(pets)[question.sample_id] == question.given_label
    answer(pets, served, question.sample_id, "neither")
    assert set(pets.ledger().state().query("excluded")["sample_id"]) == {question.sample_id}
    for before in (["given"], ["suggested"], []):
        assert take_back(pets, served, question.sample_id)
        assert log.in_force("audit")["verdict"].tolist() == before and not pets.ledger().state()["excluded"].any()
    assert not take_back(pets, served, question.sample_id)
    assert log.rows("audit")["key"].dropna().isin(["first", "second"]).sum() == 2, "nothing is lost"


def test_an_answer_that_comes_twice_counts_once(pets: Project) -> None:
    served = find(pets)
    ids = [answer(pets, served, served.questions[0].sample_id, "suggested", key="k") for _ in range(3)]
    assert len(set(ids)) == 1 and len(pets.verdicts().rows()) == 1


def test_the_same_sample_in_another_batch_is_another_question(pets: Project) -> None:
    first = find(pets)
    sample_id = first.questions[0].sample_id
    answer(pets, first, sample_id, "given")
    second = Served(**{**{f: getattr(first, f) for f in Served.__dataclass_fields__}, "number": 2})
    answer(pets, second, sample_id, "suggested")
    verdicts = pets.verdicts().in_force("audit")
    assert verdicts["batch"].tolist() == [1, 2] and len(first.own(verdicts)) == len(second.own(verdicts)) == 1


def test_only_samples_of_the_batch_can_be_answered(pets: Project) -> None:
    served = find(pets, size=5)
    with pytest.raises(VerdictError, match="sample of the batch in hand; got 'train-99999'"):
        answer(pets, served, "train-99999", "given")
    with pytest.raises(VerdictError, match="sample of the batch in hand"):
        take_back(pets, served, "train-99999")
