"""Undo and redo take a person's own last act as a whole: a decision, or answers with all that these brought about."""

import uuid
from pathlib import Path

import numpy as np
import pytest

from curation.audit.reviews import own_acts
from curation.audit.reviews.answering import answer, take_back
from curation.audit.reviews.batches import Question, Served
from curation.audit.reviews.confirming import confirm, confirmed_ids
from curation.project import Project
from tests.fakes import make_project

A, B, C = "train-00000", "train-00003", "train-00006"  # given cat


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project.open(make_project(tmp_path / "p", num_train=12, num_clean=0, num_test=0, size=2))


def say(project: Project, sample_id: str, verdict: str, who: str) -> int:
    questions = tuple(Question(sample_id=i, purpose="main", given_label="cat", suggested_label="dog")
                      for i in (A, B, C))
    served = Served(audit="audit", queue="find", reviewer=who, number=1, run="r", model="m", questions=questions)
    return answer(project, served, sample_id, verdict)


def state(project: Project) -> dict[str, tuple[str | None, bool, str | None]]:
    """sample -> (pin, excluded, label) in force."""
    rows = project.ledger().state().astype(object)
    rows = rows.where(rows.notna(), None)
    return {row["sample_id"]: (row["pin"], row["excluded"], row["label"]) for row in rows.to_dict("records")}


def said(project: Project) -> set[tuple[str, str, str]]:
    rows = project.verdicts().in_force()
    return set(zip(rows["who"], rows["sample_id"], rows["verdict"], strict=True))


def test_a_confirm_that_lifts_an_exclusion_is_undone_with_it_and_redone(project: Project) -> None:
    say(project, A, "neither", "ada")
    assert state(project) == {A: (None, True, None)}
    project.ledger().pin([B], "train", "bob")
    confirm(project, [A], "bob")
    assert A not in state(project), "the two disagree, so the audit's exclusion goes back, by bob's hand"
    undone = own_acts.undo(project, "bob")
    assert undone is not None and undone.is_confirmation and undone.answers["sample_id"].tolist() == [A]
    assert state(project)[A] == (None, True, None) and said(project) == {("ada", A, "neither")}
    redone = own_acts.redo(project, "bob")
    assert redone is not None and A not in state(project) and ("bob", A, "given") in said(project)
    assert own_acts.redo(project, "bob") is None
    for expected in ({A: (None, True, None), B: ("train", False, None)}, {A: (None, True, None)}):
        assert own_acts.undo(project, "bob") is not None and state(project) == expected
    assert own_acts.undo(project, "bob") is None, "what is left is ada's, or followed from what she said"
    assert own_acts.to_undo(project, "ada") is not None


def test_an_answer_is_taken_back_with_the_label_that_it_set(project: Project) -> None:
    say(project, A, "suggested", "ada")
    assert state(project) == {A: (None, False, "dog")}
    assert project.ledger().next_undo("ada") is None, "the relabel follows from the answer"
    assert own_acts.undo(project, "ada") is not None and state(project) == {} and said(project) == set()
    assert own_acts.redo(project, "ada") is not None and state(project) == {A: (None, False, "dog")}


def test_an_act_that_another_tab_takes_back_meanwhile_is_undone_to_its_end(
        project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    confirm(project, [A, B, C], "ada")
    seen = own_acts.to_undo(project, "ada")
    assert seen is not None and len(seen.answers) == 3
    project.verdicts().retract(int(seen.answers["verdict_id"].iloc[1]), "ada")
    monkeypatch.setattr(own_acts, "to_undo", lambda *_: seen)
    own_acts.undo(project, "ada")
    assert said(project) == set() and confirmed_ids(project) == []


def test_an_answer_that_another_has_replaced_does_not_come_back_by_redo(project: Project) -> None:
    say(project, A, "given", "ada")
    say(project, A, "suggested", "ada")
    assert own_acts.undo(project, "ada") is not None and said(project) == {("ada", A, "given")}
    assert own_acts.redo(project, "ada") is not None and said(project) == {("ada", A, "suggested")}
    assert own_acts.redo(project, "ada") is None


def test_undoing_an_answer_brings_back_the_one_that_it_had_replaced_step_by_step(project: Project) -> None:
    for verdict in ("neither", "given", "suggested"):
        say(project, A, verdict, "ada")
    assert said(project) == {("ada", A, "suggested")} and state(project) == {A: (None, False, "dog")}
    own_acts.undo(project, "ada")
    assert said(project) == {("ada", A, "given")} and state(project) == {}
    own_acts.undo(project, "ada")
    assert said(project) == {("ada", A, "neither")} and state(project) == {A: (None, True, None)}
    own_acts.redo(project, "ada")
    assert said(project) == {("ada", A, "given")}
    own_acts.redo(project, "ada")
    assert said(project) == {("ada", A, "suggested")} and own_acts.redo(project, "ada") is None
    for expected in ({("ada", A, "given")}, {("ada", A, "neither")}, set()):
        own_acts.undo(project, "ada")
        assert said(project) == expected
    assert own_acts.undo(project, "ada") is None and state(project) == {}


def test_an_answer_taken_back_in_its_batch_leaves_the_one_before_in_force(project: Project) -> None:
    say(project, A, "neither", "ada")
    say(project, A, "given", "ada")
    questions = (Question(sample_id=A, purpose="main", given_label="cat", suggested_label="dog"),)
    served = Served(audit="audit", queue="find", reviewer="ada", number=1, run="r", model="m", questions=questions)
    key = str(uuid.uuid4())
    for _ in range(2):  # the act came twice
        take_back(project, served, A, key=key)
        assert said(project) == {("ada", A, "neither")}
    take_back(project, served, A, key=str(uuid.uuid4()))
    assert said(project) == set()


def test_a_new_act_of_either_kind_forgets_what_was_undone(project: Project) -> None:
    confirm(project, [A, B], "ada")
    own_acts.undo(project, "ada")
    project.ledger().pin([C], "train", "bob")
    assert own_acts.to_redo(project, "ada") is not None, "another's decision forgets nothing of hers"
    project.ledger().pin([C], "train", "ada")
    assert own_acts.to_redo(project, "ada") is None
    own_acts.undo(project, "ada")
    confirm(project, [C], "ada")
    assert own_acts.to_redo(project, "ada") is None


def test_two_people_acting_at_random_each_step_back_and_forth_through_their_own_acts(project: Project) -> None:
    """Against stacks kept by hand: what undo and redo touch, and that the other's acts stand."""
    rng = np.random.default_rng(0)
    done: dict[str, list[frozenset]] = {"ada": [], "bob": []}
    undone: dict[str, list[frozenset]] = {"ada": [], "bob": []}

    def own(who: str) -> list[tuple]:
        rows = project.ledger().batches()
        rows = rows[rows["who"].eq(who) & rows["kind"].eq("pin") & ~rows["is_undone"]]
        return [("pin", batch_id) for batch_id in rows["batch_id"]] + \
            sorted(("said", i, v) for name, i, v in said(project) if name == who)

    for _ in range(24):
        who = str(rng.choice(["ada", "bob"]))
        other, before = ("bob" if who == "ada" else "ada"), (own("ada"), own("bob"))
        kind = rng.choice(["pin", "confirm", "undo", "redo"], p=[0.2, 0.25, 0.35, 0.2])
        if kind in ("pin", "confirm"):
            if kind == "pin":
                project.ledger().pin([str(rng.choice([A, B, C]))], "train", who)
            else:
                left = [i for i in (A, B, C) if (who, i, "given") not in said(project)]
                if not left:
                    continue
                confirm(project, left[:1], who)
            done[who].append(frozenset(own(who)) - frozenset(before[who == "bob"]))
            undone[who] = []
        else:
            act = own_acts.undo(project, who) if kind == "undo" else own_acts.redo(project, who)
            source, target = (done, undone) if kind == "undo" else (undone, done)
            assert (act is not None) == bool(source[who])
            if act is not None:
                target[who].append(source[who].pop())
        assert frozenset(own(who)) == frozenset().union(*done[who])
        assert own(other) == before[other == "bob"]


def test_undoing_a_confirm_brings_back_what_it_had_confirmed_for_nobody_else(project: Project) -> None:
    for who in ("ada", "bob"):
        confirm(project, [A], who)
    own_acts.undo(project, "bob")
    assert said(project) == {("ada", A, "given")} and confirmed_ids(project) == [A]
