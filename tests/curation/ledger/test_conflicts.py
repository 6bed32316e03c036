"""Conflicts between people: against an oracle that walks the decisions one by one, and every way to end one."""

from pathlib import Path

import numpy as np
import pytest

from curation.ledger.conflicts import CONFLICT_COLUMNS, PIN_OR_EXCLUDE
from curation.ledger.ledger import Ledger
from curation.project import Project
from tests.fakes import make_project

IDS = [f"train-{i:05d}" for i in range(60)]


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Project.open(make_project(tmp_path / "p", size=4)).ledger()


def told(ledger: Ledger, sample_id: str | None = None) -> set[tuple[object, ...]]:
    rows = ledger.conflicts(sample_id)
    assert tuple(rows.columns) == CONFLICT_COLUMNS
    return {(r.sample_id, r.kind, r.first_who, r.first_value, r.second_who, r.second_value, r.in_force)
            for r in rows.itertuples()}


def test_another_label_another_pin_and_a_pin_against_an_exclusion_are_conflicts(ledger: Ledger) -> None:
    ledger.relabel(IDS[:3], "cat", "ada")
    ledger.relabel(IDS[1:4], "dog", "bob")
    ledger.pin(IDS[10:12], "validation", "ada")
    ledger.pin(IDS[11:13], "train", "bob")
    ledger.exclude(IDS[10:11], who="bob")
    ledger.exclude(IDS[20:21], who="ada")
    ledger.exclude(IDS[20:21], is_excluded=False, who="bob")
    assert told(ledger) == {
        (IDS[1], "relabel", "ada", "cat", "bob", "dog", "dog"), (IDS[2], "relabel", "ada", "cat", "bob", "dog", "dog"),
        (IDS[11], "pin", "ada", "validation", "bob", "train", "train"),
        (IDS[10], PIN_OR_EXCLUDE, "ada", "validation", "bob", "excluded", "excluded"),
        (IDS[20], "exclude", "ada", "excluded", "bob", "included", "included")}
    assert told(ledger, IDS[2]) == {row for row in told(ledger) if row[0] == IDS[2]}
    assert ledger.conflicts()["second_batch"].is_monotonic_decreasing, "the newest first"
    assert told(ledger, IDS[50]) == set()


def test_what_an_audit_decided_is_nobodys_stand(ledger: Ledger) -> None:
    ledger.relabel(IDS[:1], "cat", "ada")
    ledger.relabel(IDS[:2], None, "bob", origin="audit")
    ledger.relabel(IDS[1:2], "dog", "cid", origin="audit")
    assert told(ledger) == set()
    ledger.relabel(IDS[:1], "dog", "cid")
    assert told(ledger) == {(IDS[0], "relabel", "ada", "cat", "cid", "dog", "dog")}


def test_a_person_may_change_their_mind_and_two_may_agree(ledger: Ledger) -> None:
    ledger.relabel(IDS[:2], "cat", "ada")
    ledger.relabel(IDS[:2], "dog", "ada")
    assert told(ledger) == set()
    ledger.relabel(IDS[:1], "dog", "bob")
    assert told(ledger) == set()
    ledger.pin(IDS[5], "validation", "ada")
    ledger.exclude(IDS[5], who="ada")
    assert told(ledger) == set(), "one person's own two decisions"


def test_taking_back_what_another_decided_is_a_conflict(ledger: Ledger) -> None:
    ledger.pin(IDS[:1], "validation", "ada")
    ledger.pin(IDS[:1], None, "bob")
    assert told(ledger) == {(IDS[0], "pin", "ada", "validation", "bob", None, None)}
    assert ledger.state().empty, "no sign of it in what is in force: without conflicts it would be lost"


def test_giving_in_undoing_either_and_settling_each_end_it(ledger: Ledger) -> None:
    def disagree(sample: str) -> tuple[int, int]:
        return ledger.relabel([sample], "cat", "ada"), ledger.relabel([sample], "dog", "bob")

    for sample in IDS[:4]:
        first, second = disagree(sample)
        assert {row[0] for row in told(ledger)} == {sample}
        if sample == IDS[0]:
            ledger.relabel([sample], "dog", "ada")
        elif sample == IDS[1]:
            ledger.undo_batch(first, "eve")
        elif sample == IDS[2]:
            ledger.undo_batch(second, "eve")
        else:
            ledger.relabel([sample], "bird", "eve", origin="settlement")
        assert told(ledger) == set()
    ledger.relabel([IDS[3]], "cat", "ada")
    assert told(ledger) == {(IDS[3], "relabel", "eve", "bird", "ada", "cat", "cat")}, "a settlement can be disputed"


def test_an_undo_that_is_redone_brings_the_conflict_back(ledger: Ledger) -> None:
    ledger.pin(IDS[:1], "train", "ada")
    ledger.pin(IDS[:1], "validation", "bob")
    before = told(ledger)
    ledger.undo("bob")
    assert told(ledger) == set()
    ledger.redo("bob")
    assert told(ledger) == before != set()


def test_a_pin_and_an_exclusion_are_settled_by_taking_one_back_or_by_saying_so(ledger: Ledger) -> None:
    ledger.pin(IDS[:3], "train", "ada")
    ledger.exclude(IDS[:3], who="bob")
    assert len(told(ledger)) == 3
    ledger.pin(IDS[:1], None, "eve", origin="settlement")
    ledger.exclude(IDS[1:2], is_excluded=False, who="eve", origin="settlement")
    ledger.exclude(IDS[2:3], who="eve", origin="settlement")
    assert told(ledger) == set()


def test_in_force_is_what_the_state_says_whatever_came_last(ledger: Ledger) -> None:
    ledger.exclude(IDS[:2], who="bob")
    ledger.pin(IDS[:2], "validation", "ada")
    ledger.exclude(IDS[2:3], who="ada")
    ledger.exclude(IDS[2:3], False, who="bob")
    ledger.pin(IDS[2:3], "train", "eve")
    ledger.pin(IDS[1:2], "train", "eve")
    assert told(ledger) >= {
        (IDS[0], PIN_OR_EXCLUDE, "bob", "excluded", "ada", "validation", "validation"),
        (IDS[1], "pin", "ada", "validation", "eve", "train", "train"),
        (IDS[2], "exclude", "ada", "excluded", "bob", "included", "train")}
    state = ledger.state().set_index("sample_id")
    assert not state["excluded"].any() and list(state["pin"]) == ["validation", "train", "train"]


def test_random_histories_agree_with_an_oracle(ledger: Ledger) -> None:
    rng = np.random.default_rng(0)
    people, classes = ("ada", "bob", "eve"), ("cat", "dog", None)
    stands: dict[str, dict[str, object]] = {}
    for _ in range(60):
        who, label = people[rng.integers(3)], classes[rng.integers(3)]
        ids = [IDS[i] for i in np.unique(rng.integers(0, 12, size=4))]
        is_settling = rng.random() < 0.15
        ledger.relabel(ids, label, who, origin="settlement" if is_settling else "person")
        for sample in ids:
            people_of = stands.setdefault(sample, {})
            if is_settling:
                people_of.clear()
            people_of.pop(who, None)
            people_of[who] = label  # a dict keeps the order: the last is who decided last
    expected = set()
    for sample, people_of in stands.items():
        *others, (last, now) = people_of.items()
        differing = [(who, label) for who, label in others if label != now]
        if differing:
            expected.add((sample, "relabel", *differing[-1], last, now, now))
    assert told(ledger) == expected and len(expected) > 3
