"""The Triage page through AppTest on fakes: lanes and counts, decisions that move the queue on, the rule's sliders."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from curation.audit.reviews.consensus import consensus
from curation.audit.suspects.scores import scores_of
from curation.ledger.verdicts import Verdict
from curation.project import Project
from curation.samples.table import sample_table, samples
from curation.samples.triage import LANES, Rule, assign_lanes, queue, wrong_share
from curation.views.scored import chance_words
from curation.views.triage import page
from curation.views.triage.words import TITLES
from curation.views.widgets.gallery import Act
from tests import views
from tests.curation.audit.suspects.test_scores import hide_truth, with_probabilities
from tests.fakes import make_project, make_run

MISLABELED, AMBIGUOUS, OUT_OF_PLACE, HARD = range(4)


@pytest.fixture
def pets(home: Path) -> Project:
    """900 training samples in three classes, one in ten with a wrong label, one finished run called first."""
    path = make_project(home / "pets", num_train=900, size=2)
    make_run(path, "first")
    return Project.open(path)


def queued(project: Project, which: int, rule: Rule | None = None) -> list[str]:
    """Ids of a queue, found directly."""
    run = project.run("first")
    table = samples(project, run)
    return table.ids(queue(*assign_lanes(table, run.read_neighbours(), rule or Rule()), which))


def shown(app: Any) -> list[str]:
    """Ids in the gallery."""
    return [item["id"] for item in gallery(app)["items"]]


def gallery(app: Any) -> dict[str, Any]:
    found = [json.loads(component.proto.json) for component in app.get("bidi_component")]
    return next(data for data in found if "items" in data)


def mark(app: Any, ids: list[str]) -> Any:
    app.session_state[page.GALLERY_KEY] = {"marked": {"token": gallery(app)["token"], "ids": ids}}
    return views.rerun(app)


def press(app: Any, key: str) -> Any:
    app.button(key=key).click()
    return views.rerun(app)


def choose(app: Any, which: int) -> Any:
    app.session_state[page.LANE_KEY] = which
    return views.rerun(app)


def test_each_queue_is_shown_most_certain_first_with_its_size(home: Path, pets: Project) -> None:
    app = views.start(home, "triage")
    for which in (MISLABELED, HARD):
        choose(app, which)
        ids = queued(pets, which)
        assert len(ids) and shown(app) == ids[:60]
        assert f"{len(ids):,} left, 0 decided here" in views.texts(app)
    options = app.get("button_group")[0].proto.options
    assert [option.content for option in options] == [
        f"{TITLES[i]} {len(queued(pets, i)):,}" for i in range(len(LANES))]


def test_the_share_of_wrong_labels_is_said_with_its_interval_and_beside_all(home: Path, pets: Project) -> None:
    said = views.texts(views.start(home, "triage"))
    table = samples(pets, pets.run("first"))
    wrong = wrong_share(table, np.flatnonzero(table.has_ids(queued(pets, MISLABELED))))
    assert wrong is not None
    assert (f"**{wrong.share:.1%}** (95% interval {wrong.low:.1%} to {wrong.high:.1%}; known for {wrong.known:,}), in "
            "all samples 10.0% (known for 900)") in said


def test_a_decision_leaves_the_queue_says_where_it_was_taken_and_comes_back_by_undo(home: Path, pets: Project) -> None:
    app = views.start(home, "triage")
    before = shown(app)
    total = len(queued(pets, MISLABELED))
    mark(app, before[:3])
    press(app, "triage.do.exclude")
    assert not set(before[:3]) & set(shown(app))
    assert shown(app) == queued(pets, MISLABELED)[:60] and gallery(app)["token"].endswith(".1")
    batch = pets.ledger().batches().iloc[0]
    assert (batch["kind"], batch["view"], batch["run"], batch["num_samples"]) == (
        "exclude", "triage: mislabeled", "first", 3)
    assert f"{len(queued(pets, MISLABELED)):,} left, 3 decided here" in views.texts(app)
    assert "3 already decided on" in views.texts(app)
    press(app, "triage.undo")
    assert shown(app) == before and f"{total:,} left, 0 decided here" in views.texts(app)


def test_a_decision_moves_nothing_that_is_on_screen(home: Path, pets: Project) -> None:
    """It changes what the neighbours of others say; a person who works through a page finds it as it was."""
    app = views.start(home, "triage")
    before = shown(app)
    rows = pets.manifest().query("split == 'train'")
    turned = rows[~rows["sample_id"].isin(before)].iloc[::3]
    pets.ledger().relabel(list(turned["sample_id"]), "dog", who="ada")
    assert queued(pets, MISLABELED)[:len(before)] != before, "the newest order is another"
    views.rerun(app)
    assert shown(app)[:len(before)] == before
    mark(app, before[:1])
    press(app, "triage.do.exclude")
    assert shown(app)[:len(before) - 1] == before[1:]
    press(app, "triage.release")
    assert shown(app) == queued(pets, MISLABELED)[:60]


def test_the_chance_that_a_label_is_wrong_is_told_once_fifty_are_known_and_stands_still_on_a_page(
        home: Path, pets: Project) -> None:
    num = sum(pets.manifest()["split"].eq("train"))
    with_probabilities(pets.run("first"), num)
    hide_truth(pets.path, 0)
    app = views.start(home, "triage")
    assert {item["chance"] for item in gallery(app)["items"]} == {None}
    rows = pets.manifest().query("split == 'train'").tail(60)
    for part in (rows.iloc[:49], rows.iloc[49:]):
        assert {item["chance"] for item in gallery(views.start(home, "triage"))["items"]} == {None}, "a guess is none"
        pairs = zip(part["sample_id"], part["given_label"], strict=True)
        pets.verdicts().add([Verdict(audit="audit", queue="find", sample_id=i, verdict="given", given_label=label,
                                     who="ada") for i, label in pairs])
    assert {item["chance"] for item in gallery(views.rerun(app))["items"]} == {None}, "this page was begun before"
    told = {item["id"]: item["chance"] for item in gallery(views.start(home, "triage"))["items"]}
    run = pets.run("first")
    found = scores_of(pets, [run], samples(pets, run), run.read_neighbours(),
                      consensus(pets.verdicts().in_force()).reset_index())
    p_wrong = dict(zip(found.samples["sample_id"].cells, found.p_wrong, strict=True))
    assert told and told == {i: chance_words(float(p_wrong[i])) for i in told}


def test_what_the_gallery_asks_for_is_done(home: Path, pets: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page, "PAGE_SIZE", 20)
    pending: list[Act] = []
    real = page.gallery

    def gallery_with_keys(project: Project, rows: Any, on_act: Any, **options: Any) -> list[str]:
        marked = real(project, rows, on_act, **options)
        if pending:
            on_act(pending.pop())
        return marked

    monkeypatch.setattr(page, "gallery", gallery_with_keys)
    app = views.start(home, "triage")
    ids = queued(pets, MISLABELED)

    def key(op: str, *about: str, label: str | None = None) -> Any:
        pending.append(Act(op, about, label))
        return views.rerun(views.rerun(app))

    assert shown(app) == ids[:20] and gallery(app)["has_next"] and not gallery(app)["has_previous"]
    assert shown(key("next")) == ids[20:40] and gallery(app)["has_previous"]
    assert shown(key("previous")) == ids[:20]
    key("validation", ids[0])
    key("relabel", ids[1], label="dog")
    now = sample_table(pets, pets.run("first")).set_index("sample_id")
    assert now["pin"][ids[0]] == "validation" and now["current_label"][ids[1]] == "dog"
    assert shown(app)[0] not in ids[:2] and set(pets.ledger().batches()["view"]) == {"triage: mislabeled"}
    key("undo")
    assert shown(app)[0] == ids[1]
    key("open", ids[2])
    assert "Nearest neighbours" in views.texts(app) and "of 20 on this page" in views.texts(app)


def test_buttons_turn_pages(home: Path, pets: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page, "PAGE_SIZE", 20)
    app, ids = views.start(home, "triage"), queued(pets, MISLABELED)
    assert shown(press(app, "triage.next")) == ids[20:40]
    assert shown(press(app, "triage.previous")) == ids[:20]
    press(app, "triage.next")
    assert shown(choose(app, HARD)) == queued(pets, HARD)[:20], "another queue starts on its first page"


def test_all_marked_are_relabelled_to_their_suggestions(home: Path, pets: Project) -> None:
    table = sample_table(pets, pets.run("first")).set_index("sample_id")
    app = views.start(home, "triage")
    ids = shown(app)[:12]
    mark(app, ids)
    assert "Relabel 12 to suggestion" in views.texts(app)
    press(app, "triage.do.suggested")
    now = sample_table(pets, pets.run("first")).set_index("sample_id")
    assert list(now["current_label"][ids]) == list(table["suggested_label"][ids])
    assert not set(ids) & set(shown(app))
    assert set(pets.ledger().batches()["view"]) == {"triage: mislabeled"}


def test_only_another_class_than_the_present_one_is_a_suggestion(pets: Project) -> None:
    table = sample_table(pets, pets.run("first"))
    row = table.iloc[:3].assign(suggested_label=["dog", None, "bird"], current_label=["cat", "cat", "bird"])
    ids = list(row["sample_id"])
    assert page.suggestions(row, ids) == {"dog": [ids[0]]}
    assert page.suggestions(row, ids[1:]) == {}


def test_sliders_change_queue_and_counts_and_can_be_put_back(home: Path, pets: Project) -> None:
    app = views.start(home, "triage")
    usual = queued(pets, MISLABELED)
    app.slider(key="triage.rule.lead").set_value(0.9)
    views.rerun(app)
    strict = queued(pets, MISLABELED, Rule(lead=0.9))
    assert 0 < len(strict) < len(usual) and shown(app) == strict[:60]
    assert "by 90% of them or more" in views.texts(app)
    press(app, "triage.reset")
    assert shown(app) == usual[:60]


def test_without_neighbours_or_an_odd_sample_the_page_says_so(home: Path, pets: Project) -> None:
    ids = queued(pets, MISLABELED)
    pets.ledger().exclude(ids, True, who="ada", why="", view="", run="")
    app = views.start(home, "triage")
    assert "Nothing is left in this queue" in views.texts(app)
    assert f"{len(ids)} already decided on" in views.texts(app)
    pets.run("first").neighbours_path.unlink()
    assert "This run has no neighbours yet" in views.texts(views.start(home, "triage"))


def test_a_queue_can_be_of_one_class(home: Path, pets: Project) -> None:
    app = views.start(home, "triage", project="pets", run="first")
    app.multiselect(key="triage.classes").set_value(["cat"])
    views.rerun(app)
    labels = sample_table(pets, pets.run("first")).set_index("sample_id")["current_label"]
    expected = [i for i in queued(pets, MISLABELED) if labels[i] == "cat"]
    assert shown(app) == expected[:60] and expected
    said = app.query_params["classes"]
    said = said if isinstance(said, str) else said[0]
    assert shown(views.start(home, "triage", query={"classes": said})) == expected[:60], "a link keeps the class"
    for other in ("[" * 9000, '{"cat": 1}', '["no such", 3]', ""):
        assert shown(views.start(home, "triage", query={"classes": other})) == queued(pets, MISLABELED)[:60]


def test_queue_and_page_are_in_the_address(home: Path, pets: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page, "PAGE_SIZE", 20)
    app = views.start(home, "triage", query={"lane": "hard-but-right", "page": "2"})
    assert shown(app) == queued(pets, HARD)[20:40] and len(shown(app))
    assert app.query_params["lane"] in ("hard-but-right", ["hard-but-right"])
    choose(app, MISLABELED)
    assert app.query_params["lane"] in ("mislabeled", ["mislabeled"]) and "page" not in app.query_params
    assert shown(app) == queued(pets, MISLABELED)[:20]
    assert shown(views.start(home, "triage", query={"lane": "no such", "page": "x"})) == queued(pets, MISLABELED)[:20]


def test_without_held_out_evidence_the_page_does_not_say_that_nothing_is_left(
        home: Path, pets: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    run = pets.run("first")
    signals = run.read_signals()
    run.write_signals(signals.assign(heldout_margin=np.float32(np.nan), label_quality=np.float32(np.nan)))
    said = views.texts(views.start(home, "triage"))
    assert "There is no evidence to sort by" in said and "Nothing is left" not in said
