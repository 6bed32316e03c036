"""The live strip and the pages under it, through AppTest; the engine's part is done by hand, a step at a time."""

from pathlib import Path
from typing import Any

import pytest

from curation.audit.reviews import batch_files, batches
from curation.jobs.live_jobs import LiveStatus
from curation.project import Project
from curation.samples.table import samples
from curation.samples.triage import Rule, assign_lanes, queue
from curation.views import scored
from curation.views.explore import results
from curation.views.triage import page
from curation.views.widgets import live
from engine.contract.config import RunConfig
from engine.contract.live.live_dir import LiveDir, LiveEffect, LiveState
from engine.runs.live.follow import Follower
from engine.runs.status import Status
from engine.runs.train import train
from tests import views
from tests.curation.views.audit.test_page import Reviewer
from tests.curation.views.test_triage import gallery, press, shown
from tests.fake_features import make_features
from tests.fakes import make_project, make_run

CONFIG = RunConfig.from_dict({"method": "discriminant", "features": "own", "embedding": "none", "device": "cpu",
                              "num_threads": 1})
ALL = {"triage.rule.lead": 0.0, "triage.rule.doubt": 0.0}


@pytest.fixture
def pets(home: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """300 training samples whose features say little, so that many are in doubt; a finished run called first."""
    path = make_project(home / "pets", num_train=300, num_test=30, size=2)
    make_features(path, spread=0.6)
    train(CONFIG, path, "first")
    monkeypatch.setattr(page, "PAGE_SIZE", 10)
    monkeypatch.setattr(results, "PAGE_SIZE", 10)
    return Project.open(path)


def follower(project: Project) -> Follower:
    folder = LiveDir.of(project.path, "first")
    folder.touch_reader()
    return Follower(project.path, folder, CONFIG, Status(folder, 1))


def finish(engine: Follower) -> None:
    while engine.step():
        pass


def line(app: Any) -> str:
    """The strip's line."""
    return next(str(element.proto.body) for element in app.get("html") if 'class="live"' in str(element.proto.body))


def triage(home: Path, **query: Any) -> Any:
    app = views.start(home, "triage", project="pets", run="first", timeout=60)
    for key, value in ALL.items():
        app.slider(key=key).set_value(value)
    return views.rerun(app)


def turn_many(project: Project, but: list[str]) -> None:
    """Relabel a third of the samples not named, so that the judgement of the others changes."""
    rows = project.manifest().query("split == 'train'")
    for label, part in rows[~rows["sample_id"].isin(but)].iloc[::3].groupby("given_label"):
        classes = list(project.classes)
        project.ledger().relabel(list(part["sample_id"]), classes[(classes.index(label) + 1) % len(classes)], who="ada",
                                 why="", view="", run="")


def test_what_is_on_screen_keeps_its_place_and_the_queue_behind_it_is_renewed(home: Path, pets: Project) -> None:
    app = triage(home)
    before = shown(app)
    assert len(before) == 10 and "starting" in line(app)
    turn_many(pets, before)
    engine = follower(pets)
    finish(engine)
    app = views.rerun(app)
    assert shown(app) == before, "nothing jumps under the hand"
    assert 'data-done="judged measured trained"' in line(app) and "effect so far" in line(app)
    pets.ledger().exclude(before[:2], who="me", why="", view="", run="")
    app = views.rerun(app)
    assert shown(app)[:8] == before[2:], "who is decided on leaves, the others keep their order"
    press(views.rerun(app), "live.release")
    assert shown(views.rerun(app)) == newest_queue(pets), "until one asks for the newest order"


def newest_queue(project: Project) -> list[str]:
    """The first of the queue by the live folder's signals, found directly."""
    folder = LiveDir.of(project.path, "first")
    table = samples(project, folder)
    rows = queue(*assign_lanes(table, folder.read_neighbours(), Rule(lead=0.0, doubt=0.0)), 0)
    return table.ids(rows[:10])


def test_the_margins_shown_are_those_of_the_new_labels(home: Path, pets: Project) -> None:
    app = triage(home)
    ids = shown(app)
    turn_many(pets, ids)
    finish(follower(pets))
    app = views.rerun(app)
    margins = LiveDir.of(pets.path, "first").read_signals().set_index("sample_id")["heldout_margin"]
    before = pets.run("first").read_signals().set_index("sample_id")["heldout_margin"]
    cards = {item["id"]: item["value"] for item in gallery(app)["items"]}
    assert [cards[i].split(",")[0] for i in ids] == [f"{margins[i]:.2f}" for i in ids]
    assert any(f"{margins[i]:.2f}" != f"{before[i]:.2f}" for i in ids)


def test_explore_waits_for_no_map_of_the_process_that_follows(home: Path, pets: Project) -> None:
    finish(follower(pets))
    words = views.texts(views.start(home, "explore", project="pets", run="first", timeout=60))
    assert "is being made" not in words and "has no map" in words


def test_explore_keeps_its_page_while_the_signals_it_is_sorted_by_change(home: Path, pets: Project) -> None:
    app = views.start(home, "explore", project="pets", run="first", timeout=60)
    before = shown(app)
    turn_many(pets, before)
    finish(follower(pets))
    app = views.rerun(app)
    assert shown(app) == before
    press(views.rerun(app), "live.release")
    app = views.rerun(app)
    quality = LiveDir.of(pets.path, "first").read_signals().set_index("sample_id")["label_quality"]
    assert shown(app) == list(quality.sort_values(kind="stable").index[:10])


def test_the_batch_in_hand_stays_and_the_next_one_is_of_the_new_labels(home: Path, pets: Project,
                                                                         monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(batches.find_served.__kwdefaults__, "size", 6)
    read: list[Path] = []
    real = scored.gather
    monkeypatch.setattr(scored, "gather", lambda table, runs, *more: read.append(runs[0].path) or real(
        table, runs, *more))
    ada = Reviewer(home, monkeypatch)
    asked = [item["key"] for item in ada.data["items"]]
    ada.press("verdict", asked[0], "neither")
    engine = follower(pets)
    turn_many(pets, asked)
    finish(engine)
    views.rerun(ada.app)
    assert [item["key"] for item in ada.data["items"]] == asked and list(ada.data["answers"]) == asked[:1]
    ada.answer_all("neither")
    finish(engine)
    ada.press("next")
    served = batch_files.newest(pets.path, "audit", "find", "ada")
    assert served is not None and served.number == 2 and served.run == "first"
    assert read == [pets.path / "runs" / "first", pets.path / "live" / "first"]


def test_following_another_run_lets_the_first_one_go(home: Path, pets: Project) -> None:
    train(CONFIG, pets.path, "second")
    folder = LiveDir.of(pets.path, "first")
    app = views.start(home, "triage", project="pets", run="first", timeout=60)
    assert not folder.is_cancel_requested()
    app.selectbox(key="run").set_value("second")
    views.rerun(app)
    assert folder.is_cancel_requested() and not LiveDir.of(pets.path, "second").is_cancel_requested()


def test_the_switch_off_shows_the_run_itself_and_starts_nothing(home: Path, pets: Project) -> None:
    turn_many(pets, [])
    finish(follower(pets))
    app = views.start(home, "audit", project="pets", run="first", timeout=60)
    assert "decisions" in line(app)
    app.toggle(key=live.SWITCH_KEY).set_value(False)
    views.rerun(app)
    assert "off: what you see is of the decisions that the run was trained under" in line(app)
    folder = LiveDir.of(pets.path, "first")
    (folder.path / "reader").unlink()
    app = views.go(app, "triage")
    margins = pets.run("first").read_signals().set_index("sample_id")["heldout_margin"]
    for item in gallery(app)["items"]:
        assert item["value"].split(",")[0] == f"{margins[item['id']]:.2f}"
    assert not (folder.path / "reader").exists(), "nobody looks"


def test_a_damaged_live_folder_leaves_the_page_on_the_run_itself(home: Path, pets: Project) -> None:
    finish(follower(pets))
    folder = LiveDir.of(pets.path, "first")
    folder.signals_path.write_bytes(b"x")
    app = triage(home)
    margins = pets.run("first").read_signals().set_index("sample_id")["heldout_margin"]
    assert [item["value"].split(",")[0] for item in gallery(app)["items"]] == [f"{margins[i]:.2f}" for i in shown(app)]


def test_a_run_on_images_has_no_strip(home: Path) -> None:
    path = make_project(home / "pets", num_train=60, size=2)
    make_run(path, "first")
    app = views.start(home, "triage", project="pets", run="first")
    assert not [e for e in app.get("html") if 'class="live"' in str(e.proto.body)]
    assert not (path / "live").exists()


def state_of(**changes: Any) -> LiveState:
    return LiveState(**{"manifest": [], "files": {}, "decisions_digest": "a", "num_decided": 1, "decided": 90.0,
                        "judged": 98.0, "trained_digest": None, "trained": None, "learns_weights": False, **changes})


EFFECT = LiveEffect(decisions_digest="a", num_seeds=10, scored_on="test", num_scored=4000, without=0.7, gain=-0.004,
                    low=-0.007, high=-0.001, measured=99.0, seconds=5.0)

GAINED = "effect so far \u22120.4 points (\u22120.7 to \u22120.1)"


@pytest.mark.parametrize(("status", "state", "effect", "expected"), [
    (LiveStatus("failed", "no features"), state_of(), None, "stopped: no features"),
    (LiveStatus("starting"), None, None, "starting: reading the features takes some seconds"),
    (LiveStatus("working"), state_of(decisions_digest="b"), EFFECT, "judging all samples anew ..."),
    (LiveStatus("waiting", "undo exclusions"), state_of(decisions_digest="b"), EFFECT, "undo exclusions"),
    (LiveStatus("waiting"), state_of(num_decided=0), None, "nothing is decided yet"),
    (LiveStatus("waiting"), state_of(num_decided=0, learns_weights=True), None,
     "nothing is decided yet; what you see is judged by heads on the features, not by the run itself (turn Live off "
     "for that)"),
    (LiveStatus("working"), state_of(learns_weights=True), None,
     "effect so far not measured yet; renewed 2 s ago, of 1 decision; weights are being learned anew"),
    (LiveStatus("waiting"), state_of(), {**EFFECT, "gain": None, "num_scored": 12},
     "effect not measured; renewed 2 s ago, of 1 decision; too few to score: 12 test pictures"),
    (LiveStatus("waiting"), state_of(num_decided=1200), EFFECT,
     f"{GAINED}; renewed 2 s ago, of 1,200 decisions; accuracy of 10 paired seeds on 4,000 test pictures"),
    (LiveStatus("working"), state_of(judged=-200.0), {**EFFECT, "decisions_digest": "b", "scored_on": "held_out"},
     f"{GAINED}; renewed 5 min ago, of 1 decision; accuracy of 10 paired seeds on 4,000 training pictures that no "
     "decision is about, held out, before the last decisions"),
])
def test_the_line_says_how_new_it_is_and_what_the_decisions_did(status: LiveStatus, state: LiveState | None,
                                                                 effect: LiveEffect | None, expected: str) -> None:
    assert live.words(status, state, effect, "a", 100.0) == expected


def test_labels_and_errors_in_the_line_are_text_and_no_markup() -> None:
    assert "<b>" not in live._line('<b>"x"</b>') and "&lt;b&gt;" in live._line("<b>")


