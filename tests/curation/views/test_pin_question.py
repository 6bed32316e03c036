"""Pinning what looks mislabeled asks first and names it; pages repeat it; a label that people found right is silent."""

from pathlib import Path

import pytest

from curation.audit.reviews.confirming import confirm, confirmed_ids
from curation.audit.suspects.evidence import gather as gather_evidence
from curation.audit.suspects.scores import Scores
from curation.ledger.batch import LedgerError
from curation.project import Project
from curation.samples.table import samples
from curation.samples.triage import LANES, Rule, assign_lanes, gather, lanes_of, queue
from curation.views import scored
from curation.views.audit import at_hand
from curation.views.decide import page as decide
from curation.views.scored import scores_cached
from curation.views.widgets import pins, state
from curation.views.widgets.pins import look_words, suspects_among
from engine.contract.run_dir import RunDir
from tests import views
from tests.curation.audit.suspects.test_scores import with_probabilities
from tests.fakes import make_project, make_run


@pytest.fixture
def pets(home: Path) -> Project:
    path = make_project(home / "pets", num_train=300, size=2)
    with_probabilities(make_run(path, "first"), 300)
    return Project.open(path)


def suspects(project: Project) -> list[str]:
    ids = list(project.manifest().query("split == 'train'")["sample_id"])
    return list(suspects_among(project, project.run("first"), ids))


def scores_now(project: Project, run: RunDir) -> Scores:
    return scores_cached(project, run, state.samples_cached(project, run), project.verdicts().revision, None)


def pin_by_id(home: Path, ids: list[str]):
    app = views.start(home, "decide", project="pets", run="first")
    app.text_area(key="decide.ids").set_value("\n".join(ids))
    next(b for b in app.button if b.label == "Decide").click()
    return views.rerun(app)


def test_words_name_one_pair_of_classes_or_the_most_frequent_of_several() -> None:
    assert look_words(dict.fromkeys("abcde", ("6", "4")), 5) == "5 of these 5 look like 4, not 6"
    assert look_words({"a": ("6", "4")}, 3) == "1 of these 3 looks like 4, not 6"
    looks = {"a": ("6", "4"), "b": ("6", "4"), "c": ("7", "1"), "d": ("7", "")}
    assert look_words(looks, 9) == "4 of these 9 look mislabeled: 2 like 4, not 6; 1 like 1, not 7"
    many = {str(i): (str(i), "x") for i in range(5)}
    assert look_words(many, 5).endswith("1 like x, not 2; and 2 more pairs of classes")


def test_pinning_what_looks_mislabeled_asks_first_and_pin_anyway_pins(home: Path, pets: Project) -> None:
    doubtful = suspects(pets)[:2]
    app = pin_by_id(home, doubtful)
    assert pets.ledger().revision == 0, "nothing is pinned before the answer"
    assert any("2 of these 2 look" in warning.value for warning in app.warning)
    app.button(key="pin.anyway").click()
    app = views.rerun(app)
    assert pets.ledger().state()["pin"].tolist() == ["validation"] * 2
    assert any("2 of 2 in this set look mislabeled" in warning.value for warning in app.warning), "Decide repeats it"
    app.button(key="decide.doubt").click()
    looked = views.rerun(app)
    assert looked.title[0].value == "Explore" and "**2 of 300 samples**" in views.texts(looked), "and leads to the two"
    app = views.go(looked, "export")
    assert any("in this set look" in warning.value for warning in app.warning), "and so does Export"


def test_compare_repeats_it_of_a_run_trained_under_such_pins(home: Path, pets: Project) -> None:
    pets.ledger().pin(suspects(pets)[:3], "validation", "ada")
    with_probabilities(make_run(pets.path, "second"), 300)
    said = views.texts(views.start(home, "compare", project="pets", run="second"))
    assert "Pinned to validation in B: 3 of 3 in this set look mislabeled." in said
    assert "Pinned to validation in A" not in said


def test_relabel_then_pin_takes_both_and_the_others_can_be_pinned_alone(home: Path, pets: Project) -> None:
    doubtful = suspects(pets)[:1]
    fine = next(i for i in pets.manifest().query("split == 'train'")["sample_id"] if i not in suspects(pets))
    app = pin_by_id(home, [*doubtful, fine])
    app.button(key="pin.others").click()
    views.rerun(app)
    assert pets.ledger().state()["sample_id"].tolist() == [fine]
    app = pin_by_id(home, doubtful)
    app.button(key="pin.relabel").click()
    views.rerun(app)
    row = pets.ledger().state().set_index("sample_id").loc[doubtful[0]]
    assert row["pin"] == "validation" and isinstance(row["label"], str)
    assert doubtful[0] not in suspects(pets), "relabelled, it is no longer doubted"


def test_no_question_without_doubt_or_for_what_people_found_right(home: Path, pets: Project) -> None:
    doubtful = suspects(pets)[:2]
    confirm(pets, doubtful, "bob", "first")
    pin_by_id(home, doubtful)
    assert pets.ledger().state()["pin"].tolist() == ["validation"] * 2
    assert pins.suspects_among(pets, None, doubtful) == {}


def test_a_label_found_right_ends_its_turn_for_everybody_and_calibrates(home: Path, pets: Project) -> None:
    run = pets.run("first")
    table, near = samples(pets, run), run.read_neighbours()
    first = queue(*assign_lanes(table, near, Rule()), LANES.index("mislabeled"))[:3]
    ids = table.ids(first)
    before = scores_now(pets, run)
    assert confirm(pets, ids, "ada", "first") == 3 and confirmed_ids(pets) == ids
    lane, priority = lanes_of(gather(table, near, confirmed_ids(pets)), Rule())
    assert not set(first) & set(queue(lane, priority, LANES.index("mislabeled")))
    after = scores_now(pets, run)
    assert after.num_calibrated == before.num_calibrated + 3
    assert (after.p_wrong[first] < before.p_wrong[first]).all()
    assert pets.ledger().revision == 0, "it changes no label"


def test_the_runs_repeats_are_asked_too_and_evidence_is_gathered_once_for_all_pages(
        pets: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    with_probabilities(make_run(pets.path, "second", seed=1), 300, seed=1)
    calls = []
    monkeypatch.setattr(scored, "gather", lambda table, runs, *rest: calls.append([run.name for run in runs])
                        or gather_evidence(table, runs, *rest))
    assert suspects(pets)
    assert at_hand.scores_now(at_hand.audit_of(pets, pets.run("first"), "audit")).runs == ("first", "second")
    assert calls == [["first", "second"]]


def test_undo_takes_back_ones_own_confirmation_and_the_sample_returns(home: Path, pets: Project) -> None:
    app = views.start(home, "triage", project="pets", run="first")
    ids = [sample_id for sample_id in suspects(pets)][:1]
    app.session_state["person"] = "ada"
    confirm(pets, ids, "ada", "first")
    app = views.rerun(app)
    app.button(key="triage.undo").click()
    views.rerun(app)
    assert confirmed_ids(pets) == []
    confirm(pets, ids, "bob", "first")
    app = views.rerun(app)
    app.button(key="triage.undo").click()
    views.rerun(app)
    assert confirmed_ids(pets) == ids, "another person's stays"


def test_what_is_no_sample_is_refused_in_one_line(pets: Project) -> None:
    with pytest.raises(LedgerError, match="can be called right where there is one; got 'zebra'"):
        confirm(pets, ["zebra"], "ada")
    assert decide.BY_ID["Pin to validation"] == "validation"
