"""What several verdicts add up to, and the ledger brought in line: idempotent, and never over a person's head."""

from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from curation.audit.reviews import reconcile as reconciling
from curation.audit.reviews.consensus import consensus, on_current_labels
from curation.audit.reviews.reconcile import VIEW, Reconciled, reconcile, reconcile_all
from curation.ledger import tables
from curation.ledger.batch import LedgerError
from curation.ledger.ledger import Ledger
from curation.ledger.verdicts import WRONG, Verdict, VerdictLog
from curation.project import Project
from engine.contract.manifest import read_info, read_manifest
from tests.fakes import make_project, write_manifest

A, B, C = "train-00000", "train-00003", "train-00006"  # given cat, cat, cat


def frame(*rows: tuple[str, str, str, str | None]) -> pd.DataFrame:
    """Verdicts of (sample, who, verdict, label), oldest first."""
    table = pd.DataFrame(rows, columns=["sample_id", "who", "verdict", "label"], dtype=object)
    table["is_wrong"] = pd.Series([WRONG[v] for v in table["verdict"]], dtype=object)
    table["at"] = [f"2026-01-01T00:00:{i:02d}.000+00:00" for i in range(len(table))]
    return table


def one(*votes: tuple[str, str, str | None]) -> tuple:
    row = consensus(frame(*[("s", *vote) for vote in votes])).loc["s"]
    return row["is_wrong"], row["label"], row["state"], row["num_reviewers"]


# -- consensus


@pytest.mark.parametrize(("votes", "found"), [
    ([("ada", "given", "cat")], (False, "cat", "agreed", 1)),
    ([("ada", "other", "dog")], (True, "dog", "agreed", 1)),
    ([("ada", "neither", None)], (True, None, "agreed", 1)),
    ([("ada", "unsure", None)], (None, None, "unsure", 1)),
    ([("ada", "given", "cat"), ("bob", "both", "cat")], (False, "cat", "agreed", 2)),
    ([("ada", "suggested", "dog"), ("bob", "other", "dog")], (True, "dog", "agreed", 2)),
    ([("ada", "given", "cat"), ("bob", "suggested", "dog")], (None, None, "disputed", 2)),
    ([("ada", "given", "cat"), ("bob", "suggested", "dog"), ("eve", "given", "cat")], (False, "cat", "agreed", 3)),
    ([("ada", "given", "cat"), ("bob", "unsure", None)], (False, "cat", "agreed", 2)),
    ([("ada", "given", "cat"), ("bob", "neither", None), ("eve", "neither", None)], (True, None, "agreed", 3)),
    # wrong for sure, but as what?
    ([("ada", "other", "dog"), ("bob", "other", "bird")], (True, None, "disputed", 2)),
    ([("ada", "other", "dog"), ("bob", "neither", None)], (True, None, "disputed", 2)),
    ([("ada", "given", "cat"), ("bob", "other", "dog"), ("eve", "other", "bird")], (True, None, "disputed", 3)),
    # half is no majority
    ([("a", "given", "cat"), ("b", "given", "cat"), ("c", "other", "dog"), ("d", "other", "bird")],
     (None, None, "disputed", 4)),
    # the last word of each reviewer counts
    ([("ada", "given", "cat"), ("bob", "given", "cat"), ("ada", "other", "dog"), ("bob", "other", "dog")],
     (True, "dog", "agreed", 2)),
    ([("ada", "other", "dog"), ("ada", "other", "dog"), ("bob", "given", "cat")], (None, None, "disputed", 2)),
])
def test_what_verdicts_on_one_sample_add_up_to(votes, found) -> None:
    assert one(*votes) == found


def test_consensus_of_many_is_what_counting_by_hand_gives() -> None:
    rng = np.random.default_rng(0)
    names = ["given", "suggested", "both", "neither", "other", "unsure"]
    label = {"given": "cat", "both": "cat", "suggested": "dog", "other": "bird"}
    rows = [(f"s{rng.integers(80)}", f"r{rng.integers(4)}", str(rng.choice(names, p=[.4, .2, .1, .1, .1, .1])))
            for _ in range(250)]
    verdicts = frame(*[(s, who, name, label.get(name)) for s, who, name in rows]).assign(at="2026-01-01")
    found = consensus(verdicts)
    last = {(s, who): name for s, who, name in rows}
    assert sorted(found.index) == sorted({s for s, _, _ in rows})
    states = Counter()
    for sample_id, row in found.iterrows():
        said = [name for (s, _), name in last.items() if s == sample_id]
        votes = [(WRONG[name], label.get(name)) for name in said if name != "unsure"]
        outcome, num = Counter(votes).most_common(1)[0] if votes else (None, 0)
        wrong, num_wrong = Counter(v[0] for v in votes).most_common(1)[0] if votes else (None, 0)
        assert row["num_reviewers"] == len(said)
        assert row["state"] == ("unsure" if not votes else "agreed" if 2 * num > len(votes) else "disputed")
        assert row["is_wrong"] is (wrong if votes and 2 * num_wrong > len(votes) else None)
        assert row["label"] == (outcome[1] if row["state"] == "agreed" else None)
        states[row["state"]] += 1
    assert min(states[state] for state in ("agreed", "disputed", "unsure")) >= 1, states


@pytest.mark.parametrize(("votes", "second"), [
    ([("ada", "other", "dog"), ("bob", "unsure", None)], 0),
    ([("ada", "other", "dog"), ("bob", "other", "dog"), ("eve", "unsure", None)], 1),
    ([("ada", "other", "dog"), ("bob", "other", "dog"), ("eve", "given", "cat")], 1),
    ([("ada", "neither", None), ("bob", "neither", None), ("eve", "given", "cat"), ("kim", "neither", None)], 3),
    ([("ada", "other", "dog"), ("bob", "given", "cat"), ("eve", "unsure", None)], 1),
    ([("ada", "unsure", None), ("bob", "unsure", None)], 1),
    ([("ada", "other", "dog"), ("bob", "other", "dog"), ("ada", "unsure", None)], 1),
])
def test_what_holds_is_as_old_as_the_newest_verdict_that_says_so(votes, second: int) -> None:
    assert consensus(frame(*[("s", *vote) for vote in votes]))["at"].tolist() == [
        f"2026-01-01T00:00:{second:02d}.000+00:00"]


def test_no_verdicts_add_up_to_nothing() -> None:
    assert consensus(frame()).empty


# -- today's labels


@pytest.mark.parametrize("dtype", [object, "str"])
def test_a_verdict_on_a_label_that_the_data_has_corrected_since_is_left_out(dtype) -> None:
    verdicts = frame(("s1", "ada", "suggested", "dog"), ("s2", "ada", "given", "cat"), ("gone", "ada", "given", "cat"),
                     ("s1", "bob", "given", "dog"), ("s3", "ada", "given", "cat"))
    verdicts["given_label"] = pd.Series(["cat", "cat", "cat", "dog", "cat"], dtype=object)
    rows = pd.DataFrame({"sample_id": ["s3", "s2", "s1", "s0"], "given_label": [None, "cat", "dog", "cat"]},
                        dtype=dtype)
    found = on_current_labels(verdicts, rows)
    assert list(zip(found["sample_id"], found["who"], strict=True)) == [("s2", "ada"), ("s1", "bob")]
    assert list(found.index) == [0, 1] and list(found.columns) == list(verdicts.columns)
    assert on_current_labels(verdicts.iloc[:0], rows).empty and on_current_labels(verdicts, rows.iloc[:0]).empty


# -- apply


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project.open(make_project(tmp_path / "p", num_train=40, size=4))


@pytest.fixture
def log(project: Project) -> VerdictLog:
    return project.verdicts()


def say(log: VerdictLog, sample_id: str, name: str, who: str = "ada", label: str | None = None, run: str = "r") -> int:
    given = {0: "cat", 1: "dog", 2: "bird"}[int(sample_id[-5:]) % 3]
    suggested = {"cat": "dog", "dog": "bird", "bird": "cat"}[given]
    return log.add([Verdict(audit="a", queue="find", sample_id=sample_id, verdict=name, given_label=given, who=who,
                            suggested_label=suggested, label=label, run=run)])[0]


def bring(project: Project, *ids: str, who: str = "ada") -> Reconciled:
    return reconcile(project, project.ledger(), ids, project.verdicts().in_force(), who)


def state(project: Project) -> dict[str, tuple[str | None, bool]]:
    """sample -> (label, is excluded) of those decided."""
    return {row.sample_id: (None if pd.isna(row.label) else row.label, bool(row.excluded))
            for row in project.ledger().state().itertuples()}


def test_verdicts_become_one_batch_a_target_that_says_where_it_comes_from(project, log) -> None:
    for sample_id, name, label in [(A, "suggested", None), (B, "other", "dog"), (C, "other", "bird"),
                                   ("train-00009", "neither", None), ("train-00012", "given", None),
                                   ("train-00015", "both", None), ("train-00018", "unsure", None)]:
        say(log, sample_id, name, label=label)
    done = bring(project, *log.in_force()["sample_id"], who="eve")
    assert state(project) == {A: ("dog", False), B: ("dog", False), C: ("bird", False), "train-00009": (None, True)}
    rows = project.ledger().batches().sort_values("batch_id")
    assert sorted(zip(rows["kind"], rows["value"], rows["num_samples"], strict=True)) == [
        ("exclude", "excluded", 1), ("relabel", "bird", 1), ("relabel", "dog", 2)]
    assert set(rows["who"]) == {"eve"} and set(rows["view"]) == {VIEW} and set(rows["run"]) == {"r"}
    assert rows.set_index("kind").loc["exclude", "why"] == "audit: no class fits"
    assert (done.num_relabelled, done.num_excluded, done.num_taken_back, done.kept) == (3, 1, 0, ())
    assert done.batches == (1, 2, 3)


def test_a_batch_from_two_runs_names_neither(project, log) -> None:
    say(log, A, "suggested", run="first")
    say(log, B, "suggested", run="second")
    bring(project, A, B)
    assert list(project.ledger().batches()["run"]) == [""]


def test_applied_again_it_does_nothing_and_others_are_left_alone(project, log) -> None:
    say(log, A, "suggested")
    say(log, B, "suggested")
    say(log, C, "neither")
    bring(project, A, C)
    again = bring(project, A, C)
    assert again == Reconciled(num_relabelled=0, num_excluded=0, num_taken_back=0, kept=(), batches=())
    assert project.ledger().revision == 2 and B not in state(project)
    assert bring(project).batches == ()


def test_a_verdict_taken_back_takes_the_audits_own_decision_with_it(project, log) -> None:
    first, second = say(log, A, "suggested"), say(log, C, "neither")
    bring(project, A, C)
    log.retract(first, "ada")
    log.retract(second, "ada")
    done = bring(project, A, C)
    assert state(project) == {} and done.num_taken_back == 2
    assert set(project.ledger().batches()["why"].head(2)) == {reconciling.WHY_BACK}


def test_a_verdict_taken_back_leaves_what_others_decided(project, log) -> None:
    number = say(log, A, "suggested")
    project.ledger().relabel([A], "bird", "bob")
    project.ledger().exclude([A], who="bob")
    log.retract(number, "ada")
    assert bring(project, A).batches == () and state(project) == {A: ("bird", True)}


def test_a_verdict_taken_back_brings_back_what_it_had_replaced(project, log) -> None:
    project.ledger().relabel([A], "bird", "bob")
    number = say(log, A, "suggested")
    bring(project, A)
    assert state(project) == {A: ("dog", False)}
    log.retract(number, "ada")
    bring(project, A)
    assert state(project) == {A: ("bird", False)} and bring(project, A).batches == ()


def test_a_dispute_suspends_the_audits_label_until_a_third_decides(project, log) -> None:
    say(log, A, "suggested")
    bring(project, A)
    say(log, A, "given", who="bob")
    bring(project, A)
    assert state(project) == {}
    say(log, A, "other", who="eve", label="dog")
    bring(project, A)
    assert state(project) == {A: ("dog", False)}


def test_the_audits_own_decision_is_no_objection_to_an_older_verdict(project, log) -> None:
    say(log, A, "suggested")
    newer = say(log, A, "other", label="bird")
    bring(project, A)
    log.retract(newer, "ada")
    assert bring(project, A).kept == () and state(project) == {A: ("dog", False)}


def test_where_no_class_fits_a_persons_label_stays_on_the_excluded_sample(project, log) -> None:
    project.ledger().relabel([A], "bird", "bob")
    say(log, A, "neither")
    assert len(bring(project, A).batches) == 1 and state(project) == {A: ("bird", True)}


def test_from_no_class_fits_to_another_class_the_sample_comes_back(project, log) -> None:
    say(log, A, "neither")
    bring(project, A)
    say(log, A, "suggested")
    bring(project, A)
    assert state(project) == {A: ("dog", False)}
    say(log, A, "neither")
    bring(project, A)
    assert state(project) == {A: (None, True)}


def test_what_a_person_decided_before_the_verdict_yields_to_it(project, log) -> None:
    project.ledger().relabel([A, B], "bird", "bob")
    say(log, A, "suggested")
    say(log, B, "given")
    done = bring(project, A, B)
    assert state(project) == {A: ("dog", False)} and done.kept == ()
    assert (done.num_relabelled, done.num_taken_back) == (1, 1)


def test_what_a_person_decided_after_the_verdict_stays_and_is_reported(project, log) -> None:
    for sample_id, name in ((A, "suggested"), (B, "given"), (C, "neither")):
        say(log, sample_id, name)
    project.ledger().relabel([A, B], "bird", "bob")
    project.ledger().exclude([C], False, who="bob")
    done = bring(project, A, B, C)
    assert done.kept == (A, B, C) and done.batches == ()
    assert state(project) == {A: ("bird", False), B: ("bird", False)}
    say(log, A, "suggested", who="eve")  # seen again, after bob
    assert bring(project, A).kept == () and state(project)[A] == ("dog", False)


def test_a_person_who_set_it_back_to_the_given_label_is_heard(project, log) -> None:
    say(log, A, "suggested")
    bring(project, A)
    project.ledger().relabel([A], None, "bob")
    assert bring(project, A).kept == (A,) and state(project) == {}


def test_what_somebody_undid_is_not_done_again_until_a_new_verdict(project, log) -> None:
    say(log, A, "suggested")
    (batch,) = bring(project, A).batches
    project.ledger().undo_batch(batch, "bob")
    done = bring(project, A)
    assert done.kept == (A,) and state(project) == {}
    say(log, A, "suggested")
    assert bring(project, A).kept == () and state(project) == {A: ("dog", False)}


@pytest.mark.parametrize("label", ["bird", "dog"])
def test_a_persons_own_decision_undone_is_no_objection(project, log, label: str) -> None:
    say(log, A, "suggested")
    project.ledger().relabel([A], label, "bob")
    project.ledger().undo("bob")
    assert bring(project, A).kept == () and state(project) == {A: ("dog", False)}


def test_pins_and_their_undoing_are_no_business_of_the_audit(project, log) -> None:
    project.ledger().pin([A], "validation", "bob")
    project.ledger().undo("bob")
    project.ledger().pin([A], "train", "bob")
    say(log, A, "suggested")
    bring(project, A)
    assert state(project) == {A: ("dog", False)} and project.ledger().state()["pin"].tolist() == ["train"]


def test_a_pin_after_the_verdict_is_a_word_against_excluding(project, log) -> None:
    say(log, A, "neither")
    bring(project, A)
    project.ledger().pin([A], "validation", "bob")
    assert bring(project, A).kept == (A,) and state(project) == {A: (None, False)}
    say(log, A, "neither")
    bring(project, A)
    assert state(project) == {A: (None, True)}, "said again after the pin"


def test_an_exclusion_by_a_person_is_never_lifted(project, log) -> None:
    project.ledger().exclude([A], who="bob", why="blurred")
    say(log, A, "given")
    assert bring(project, A).batches == () and state(project) == {A: (None, True)}


def test_many_samples_go_the_way_of_one(project, log, monkeypatch) -> None:
    """Above MAX_NAMED samples the entries are read in one go."""
    ids = [f"train-{i:05d}" for i in range(0, 27, 3)]
    for sample_id in ids:
        say(log, sample_id, "suggested")
    project.ledger().relabel([ids[0]], "bird", "bob")
    monkeypatch.setattr(tables, "MAX_NAMED", 3)
    assert bring(project, *ids).kept == (ids[0],)
    assert bring(project, *ids).batches == ()
    assert state(project) == {ids[0]: ("bird", False), **{sample_id: ("dog", False) for sample_id in ids[1:]}}


def test_nobody_is_refused_in_one_line(project, log) -> None:
    say(log, A, "suggested")
    with pytest.raises(LedgerError, match="must say who"):
        bring(project, A, who="")


@pytest.mark.parametrize("name", ["unsure", "given"])
def test_who_cannot_tell_or_stands_alone_carries_no_old_verdict_over_a_newer_decision(project, log, name) -> None:
    say(log, A, "suggested")
    say(log, A, "suggested", who="bob")
    bring(project, A)
    project.ledger().relabel([A], "bird", "boss")
    say(log, A, name, who="eve")
    assert bring(project, A).kept == (A,) and state(project) == {A: ("bird", False)}


# -- data imported anew


NO_BIRDS = {f"train-{i:05d}": "cat" for i in range(40) if i % 3 == 2} | {A: "cat"}


def import_anew(project: Project, changes: dict[str, str | None], classes: tuple[str, ...] = ("cat", "dog", "bird")
                ) -> Project:
    """The project with other given labels; None: the sample is gone."""
    rows = read_manifest(project.path)
    rows["given_label"] = rows["sample_id"].map(changes).where(rows["sample_id"].isin(changes), rows["given_label"])
    rows = rows[~rows["sample_id"].isin([name for name, label in changes.items() if label is None])]
    info = read_info(project.path)
    write_manifest(project.path, rows.reset_index(drop=True), classes, root=info.root)
    return Project.open(project.path)


def test_a_verdict_on_a_corrected_label_changes_nothing_of_the_new_one(project, log) -> None:
    say(log, A, "suggested")
    say(log, B, "suggested")
    renewed = import_anew(project, {A: "bird"})
    bring(renewed, A, B)
    assert state(renewed) == {B: ("dog", False)}


def test_a_sample_that_is_gone_is_left_alone_with_what_was_decided_of_it(project, log) -> None:
    number = say(log, A, "suggested")
    bring(project, A)
    renewed = import_anew(project, {A: None})
    log.retract(number, "ada")
    assert bring(renewed, A, "never-there").batches == ()
    reconcile_all(renewed)
    assert renewed.ledger().revision == 1


def test_a_class_that_the_data_has_no_more_is_no_label_that_could_be_given(project, log) -> None:
    say(log, A, "other", label="bird")
    renewed = import_anew(project, NO_BIRDS, ("cat", "dog"))
    assert bring(renewed, A).batches == () and state(renewed) == {}


def test_what_is_given_back_is_no_class_that_the_data_has_no_more(project, log) -> None:
    project.ledger().relabel([A], "bird", "bob")
    number = say(log, A, "suggested")
    bring(project, A)
    renewed = import_anew(project, NO_BIRDS, ("cat", "dog"))
    log.retract(number, "ada")
    assert len(bring(renewed, A).batches) == 1 and state(renewed) == {}


# -- catching up


def test_what_a_killed_program_left_undone_is_done_in_the_reviewers_name_and_once(project, log) -> None:
    say(log, A, "suggested")
    say(log, B, "suggested", who="bob")
    first = say(log, C, "neither")
    bring(project, C)
    log.retract(first, "kim")
    reconcile_all(project)
    assert state(project) == {A: ("dog", False), B: ("dog", False)}
    rows = project.ledger().batches().head(3)
    assert set(zip(rows["kind"], rows["who"], strict=True)) == {("relabel", "ada"), ("relabel", "bob"),
                                                               ("exclude", "kim")}
    reconcile_all(project)
    assert project.ledger().revision == 4


def test_an_answer_that_comes_while_one_catches_up_is_heard(project, log, monkeypatch) -> None:
    say(log, A, "suggested")
    real, calls = Ledger.decisions_on, []

    def overtaken(*args):
        """Bob answers, and is done, between the reading of all verdicts and of where the ledger stands."""
        calls.append(1)
        if len(calls) == 1:
            say(log, A, "given", who="bob")
            bring(project, A, who="bob")
        return real(*args)

    monkeypatch.setattr(Ledger, "decisions_on", overtaken)
    reconcile_all(project)
    assert state(project) == {}, "they disagree"


def test_catching_up_leaves_what_people_decided_later_and_labels_that_were_corrected_since(project, log) -> None:
    for sample_id in (A, B, C):
        say(log, sample_id, "suggested")
    bring(project, B, C)
    project.ledger().relabel([A], "bird", "boss")
    project.ledger().relabel([C], None, "boss")
    renewed = import_anew(project, {B: "dog"})
    revision = renewed.ledger().revision
    reconcile_all(renewed)
    assert renewed.ledger().revision == revision
    assert state(renewed) == {A: ("bird", False), B: ("dog", False)}
