"""The Decide page through AppTest on fakes: what is in force, the list, undo and redo, decisions by id, retraining."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from curation.jobs import run_jobs
from curation.ledger.ledger import Ledger
from curation.project import Project
from curation.views.decide import page, retrain
from curation.views.widgets import conflicts
from engine.contract.config import RunConfig
from tests import views
from tests.fakes import make_project, make_run

HOSTILE = ("<img src=x onerror=alert(1)>", "=1+1", "*b* _i_ `c`", "$x$ :red[y] :smile:")


@pytest.fixture
def pets(home: Path) -> Project:
    """A project with one finished run; then three pins, two exclusions and a relabel by two people."""
    path = make_project(home / "pets")
    make_run(path, "first")
    project = Project.open(path)
    ledger = project.ledger()
    ledger.pin(["train-00001", "train-00002", "train-00003"], to="validation", who="ada", why="night *shots*",
               view="explore: inside the lasso", run="first")
    ledger.exclude(["train-00004", "train-00005"], who="bob")
    ledger.relabel(["train-00007"], "bird", who="ada")
    return project


@pytest.fixture
def submitted(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Path, str, RunConfig]]:
    found: list[tuple[Path, str, RunConfig]] = []
    monkeypatch.setattr(run_jobs, "submit", lambda project, name, config: found.append((project, name, config)))
    return found


def press(app: Any, key: str) -> Any:
    app.button(key=key).click()
    return views.rerun(app)


def one_run(app: Any) -> Any:
    app.button_group(key=retrain.MODE_KEY).set_value("One run")
    return views.rerun(app)


def listed(app: Any) -> pd.DataFrame:
    """The list of all decisions: the last table of the page."""
    frame: pd.DataFrame = app.dataframe[-1].value
    return frame


def in_gallery(app: Any) -> set[str]:
    return {item["id"] for item in json.loads(app.get("bidi_component")[0].proto.json)["items"]}


# -- the list


def test_every_decision_is_listed_with_who_what_why_and_view(home, pets):
    rows = listed(views.start(home, "decide"))
    assert rows["what"].tolist() == ["relabel 1 sample to bird", "exclude 2 samples", "pin 3 samples to validation"]
    assert rows["who"].tolist() == ["ada", "bob", "ada"]
    last = rows.iloc[-1]
    assert (last["why"], last["view"], last["run"]) == ("night *shots*", "explore: inside the lasso", "first")
    assert rows["when"].notna().all() and not rows["undone"].any()


def test_undo_and_redo_walk_the_history_and_are_listed_themselves(home, pets):
    app = press(views.start(home, "decide"), "decide.undo")
    assert any("nothing of yours to undo" in toast.value for toast in app.toast), "all of it is ada's and bob's"
    assert pets.ledger().revision == 3
    app.text_input(key="person").set_value("ada")
    app = press(app, "decide.undo")
    assert pets.ledger().state()["label"].isna().all()
    assert listed(app)["what"].iloc[0] == "undo decision 3 (1 sample)"
    assert any("relabel 1 sample to bird" in toast.value for toast in app.toast)
    press(app, "decide.redo")
    assert pets.ledger().state()["label"].dropna().tolist() == ["bird"]
    press(app, "decide.redo")
    assert any("nothing of yours to redo" in toast.value for toast in app.toast)


def test_one_decision_is_undone_alone_wherever_it_lies(home, pets):
    app = views.select(views.start(home, "decide"), page.BATCHES_KEY, rows=[2])
    press(app, "decide.undo_batch")
    state = pets.ledger().state()
    assert state["pin"].isna().all() and state["excluded"].sum() == 2 and state["label"].notna().sum() == 1
    views.select(app, page.BATCHES_KEY, rows=[3])
    assert app.button(key="decide.undo_batch").disabled, "it is undone already"


def test_no_more_than_a_page_of_decisions_is_sent_and_older_ones_are_on_the_next(home, pets, monkeypatch):
    monkeypatch.setattr(page, "BATCHES_A_PAGE", 2)
    app = views.start(home, "decide")
    assert listed(app)["no."].tolist() == [3, 2] and "3 of 3 decisions" in views.texts(app)
    app.session_state["decide.batches.page.2"] = 2
    assert listed(views.rerun(app))["no."].tolist() == [1]
    press(views.select(app, f"{page.BATCHES_KEY}.2", rows=[0]), "decide.undo_batch")
    assert pets.ledger().state()["pin"].isna().all()


def test_the_list_is_filtered_by_kind_person_and_words(pets):
    batches = pets.ledger().batches()

    def kinds(*args: Any) -> list[str]:
        return list(page.filtered(batches, *args)["kind"])

    assert kinds([], [], "") == ["relabel", "exclude", "pin"]
    assert kinds(["pin", "exclude"], [], "") == ["exclude", "pin"]
    assert kinds([], ["bob"], "") == ["exclude"]
    assert kinds([], [], "NIGHT *") == ["pin"]
    assert kinds(["exclude"], ["ada"], "") == []


# -- in force


def test_what_is_in_force_is_shown_kind_by_kind(home, pets):
    app = views.start(home, "decide")
    assert in_gallery(app) == {"train-00001", "train-00002", "train-00003"}
    app.button_group[0].set_value("excluded")
    views.rerun(app)
    assert in_gallery(app) == {"train-00004", "train-00005"}


def test_a_kind_can_be_taken_back_as_a_whole(home, pets):
    app = views.start(home, "decide")
    left = {"relabelled": 5, "excluded": 3, "pinned to validation": 0}
    for kind, num_left in left.items():
        app.button_group[0].set_value(kind)
        press(views.rerun(app), "decide.take_back")
        assert len(pets.ledger().state()) == num_left, "that kind is gone and the others stay"


def test_without_decisions_the_page_says_where_to_take_them(home):
    make_project(home / "pets")
    said = views.texts(views.start(home, "decide"))
    assert "No decision is in force." in said and "None yet." in said and "there is none yet" in said


def test_pins_that_the_splitter_disputes_come_first_with_how_often(home, pets):
    assert "is not known yet" in views.texts(views.start(home, "decide")), "the run trained before these pins"
    run = make_run(pets.path, "second")
    for epoch in range(1, 5):
        records = np.load(run.path / "history" / f"{epoch:04d}.npy")
        records["p_train"] = 0.7
        records["p_train"][30:33] = 0.5
        records["p_train"][[1, 2, 3]] = [0.1, 0.9, 0.9 if epoch < 4 else 0.2]
        run.write_history(epoch, records)
    app = views.start(home, "decide", run="second")
    said = views.texts(app).replace("\\", "")
    assert ("In second the splitter alone wanted 2 of these 3 (67%) in training in most epochs; the average sample in "
            "58% of the epochs.") in said
    items = json.loads(app.get("bidi_component")[0].proto.json)["items"]
    assert [(item["id"], item["value"]) for item in items] == [
        ("train-00002", "against it 100%"), ("train-00003", "against it 75%"), ("train-00001", "against it 0%")]


# -- conflicts


@pytest.fixture
def dispute(pets: Project) -> Project:
    """Two samples that eve labels otherwise than ada, and one of ada's pins that she excludes."""
    ledger = pets.ledger()
    ledger.relabel(["train-00008"], "bird", who="ada")
    ledger.relabel(["train-00007", "train-00008"], "cat", who="eve")
    ledger.exclude(["train-00001"], who="eve")
    return pets


def conflict_rows(app: Any) -> pd.DataFrame:
    frame: pd.DataFrame = next(t.value for t in app.dataframe if "1st: who" in t.value)
    return frame.set_index("sample")


def test_people_who_agree_have_no_conflicts(home, pets):
    assert "no two people have decided differently" in views.texts(views.start(home, "decide"))


def test_a_conflict_shows_who_said_what_and_what_is_in_force(home, dispute):
    app = views.start(home, "decide")
    assert any("On 3 samples two people decided differently" in warning.value for warning in app.warning)
    rows = conflict_rows(app)
    assert rows.loc["train-00007", ["1st: who", "1st: said", "2nd: who", "2nd: said", "in force"]].tolist() == [
        "ada", "relabel to bird", "eve", "relabel to cat", "relabel to cat"]
    assert rows.loc["train-00001", ["1st: said", "2nd: said", "in force"]].tolist() == [
        "pin to validation", "exclude", "exclude"]


def test_all_conflicts_are_settled_at_once_for_the_later_or_the_earlier(home, dispute):
    app = press(views.start(home, "decide"), "decide.settle.first")
    state = dispute.ledger().state().set_index("sample_id")
    assert state.loc[["train-00007", "train-00008"], "label"].tolist() == ["bird", "bird"]
    assert not state.loc["train-00001", "excluded"] and state.loc["train-00001", "pin"] == "validation"
    assert dispute.ledger().conflicts().empty and "no two people have decided differently" in views.texts(app)
    assert set(dispute.ledger().batches()["view"].head(2)) == {"decide: conflicts"}


def test_one_selected_conflict_is_kept_or_undone_alone(home, dispute):
    app = views.start(home, "decide")
    at = conflict_rows(app).index.get_loc("train-00008")
    key = f"{conflicts.TABLE_KEY}.0"
    press(views.select(app, key, rows=[at]), "decide.settle.second")
    assert set(dispute.ledger().conflicts()["sample_id"]) == {"train-00001", "train-00007"}
    assert dispute.ledger().state().set_index("sample_id").loc["train-00008", "label"] == "cat"
    at = conflict_rows(app).index.get_loc("train-00001")
    press(views.select(app, f"{conflicts.TABLE_KEY}.1", rows=[at]), "decide.settle.undo.second")
    assert set(dispute.ledger().conflicts()["sample_id"]) == {"train-00007"}
    assert not dispute.ledger().state().set_index("sample_id").loc["train-00001", "excluded"]


def test_what_each_side_said_goes_by_plain_words():
    assert [conflicts.words_of(*pair) for pair in (
        ("pin", "train"), ("pin", None), ("exclude", "included"), ("relabel", None), ("relabel", "excluded"))] == [
        "pin to training", "unpin", "include again", "back to the given label", "relabel to excluded"]


# -- by id


def test_ids_are_decided_from_a_list(home, pets):
    app = views.start(home, "decide")
    app.text_area(key="decide.ids").set_value("train-00010, train-00011\ntrain-00012\n")
    app.selectbox(key="decide.op").set_value("Pin to training")
    app.text_input(key="decide.why").set_value("from the audit")
    app.button(key="decide.by_ids").click()
    views.rerun(app)
    state = pets.ledger().state().set_index("sample_id")
    assert set(state.index[state["pin"] == "train"]) == {"train-00010", "train-00011", "train-00012"}
    assert listed(app)["view"].iloc[0] == "decide: by id list" and listed(app)["why"].iloc[0] == "from the audit"


def test_an_unknown_id_is_named_and_nothing_is_decided(home, pets):
    before = pets.ledger().revision
    app = views.start(home, "decide")
    app.text_area(key="decide.ids").set_value("train-00010 nobody")
    app.button(key="decide.by_ids").click()
    views.rerun(app)
    assert any("nobody" in toast.value for toast in app.toast)
    assert pets.ledger().revision == before


def test_a_press_and_its_draw_open_the_ledger_a_few_times(home, pets, monkeypatch):
    """Each opening takes 5 ms, in which other people's presses wait."""
    app = views.start(home, "decide", project="pets", run="first")
    app.text_area(key="decide.ids").set_value("train-00006")
    app.selectbox(key="decide.op").set_value("Exclude")
    opened, begin = list[int](), Ledger.__init__
    monkeypatch.setattr(Ledger, "__init__", lambda self, *where: (opened.append(1), begin(self, *where))[1])
    press(app, "decide.by_ids")
    assert len(opened) <= 7, "12 where it is opened to ask for its revision"
    assert pets.ledger().state()["excluded"].sum() == 3


def test_an_id_may_hold_commas_and_spaces():
    known = {"0/00/1,2.jpg", "my cat.png", "a", "b"}
    text = "0/00/1,2.jpg\nmy cat.png\na, b a\n\n"
    assert page.split_ids(text, known.intersection) == ["0/00/1,2.jpg", "my cat.png", "a", "b"]


# -- retrain


def test_retrain_says_what_changed_and_starts_the_same_settings_under_a_new_name(home, pets, submitted):
    app = views.start(home, "decide")
    said = views.texts(app)
    assert "- 3 more pinned to validation\n- 2 more excluded\n- 1 more relabelled" in said
    press(one_run(app), "decide.retrain")
    (project, name, config), = submitted
    assert (project, name) == (pets.path, "first-r2")
    assert config == RunConfig.from_dict(pets.run("first").read_config()["config"])
    assert app.session_state[retrain.TRAIN_FOCUS_KEY] == "first-r2"


def test_a_retrain_that_started_is_linked(home, pets):
    make_run(pets.path, "first-r2", state="queued")
    app = views.start(home, "decide", run="first")
    app.session_state["decide.started"] = (str(pets.path), ["first-r2"])
    assert "Started first-r2" in views.texts(views.rerun(app)).replace("\\", "")


def test_what_was_started_is_said_as_it_is_now(home, pets):
    runs = [make_run(pets.path, name, state="queued") for name in ("a", "b")]
    app = views.start(home, "decide", run="first")
    app.session_state["decide.started"] = (str(pets.path), ["a"])
    make_run(pets.path, "a", state="running")
    assert "Started a: running, epoch 2 of 4." in views.texts(views.rerun(app)).replace("\\", "")
    make_run(pets.path, "a")
    app.session_state["decide.started"] = (str(pets.path), [run.name for run in runs])
    make_run(pets.path, "b", state="running")
    assert "Started 2 runs: 1 done, 1 running." in views.texts(views.rerun(app)).replace("\\", "")


def test_a_name_that_is_taken_is_refused_in_one_line(home, pets):
    app = one_run(views.start(home, "decide"))
    field = next(t for t in app.text_input if t.label == "Name of the new run")
    field.set_value("first")
    press(views.rerun(app), "decide.retrain")
    assert any("must be new" in error.value for error in app.error)


def test_without_changes_retraining_is_said_to_repeat(home):
    make_run(make_project(home / "pets"), "first")
    assert "no decision has changed" in views.texts(views.start(home, "decide"))


def test_an_experiment_says_its_cost_and_starts_what_is_missing(home, pets, monkeypatch):
    asked: list[tuple[str, int, int]] = []
    monkeypatch.setattr(run_jobs, "submit", lambda project, name, config, decisions: asked.append(
        (name, config.seed, len(decisions))))
    app = views.start(home, "decide")
    said = views.texts(app)
    assert "5 new runs, about" in said and "each, as the run before took" in said
    assert "1 of 6 is there already" in said and "without, seed 0" in said
    app.number_input(key="decide.seeds").set_value(1)
    views.rerun(app)
    assert app.button(key="decide.experiment").label == "Start 1 run"
    press(app, "decide.experiment")
    assert asked == [("first-e1-s0-with", 0, 6)], "under the six decided samples"


def test_an_experiment_that_is_complete_leads_to_its_effect(home, pets):
    make_run(pets.path, "second")
    app = views.start(home, "decide", run="first")
    app.number_input(key="decide.seeds").set_value(1)
    said = views.texts(views.rerun(app))
    assert "No new run; 2 of 2 are there already" in said and "Show the effect on Compare" in said


def test_a_preview_starts_short_and_is_called_one(home, pets, monkeypatch):
    asked: list[tuple[str, int, str]] = []
    monkeypatch.setattr(run_jobs, "submit", lambda project, name, config, warm_start: asked.append(
        (name, config.epochs, warm_start)))
    app = views.start(home, "decide")
    app.button_group(key=retrain.MODE_KEY).set_value("Quick preview")
    assert "Not possible: the run has no checkpoint to begin from." in views.texts(views.rerun(app))
    folder = pets.run("first").checkpoint_dir
    folder.mkdir()
    (folder / "state-00005-0000000.pt").touch()
    assert "counts in no effect and no interval" in views.texts(views.rerun(app))
    press(app, "decide.preview")
    assert asked == [("preview-first", 3, "first")]


def decisions(**rows: tuple[str | None, bool, str | None]) -> pd.DataFrame:
    """decisions.parquet of keyword rows: id=(pin, excluded, label)."""
    cells = [(key, *values) for key, values in rows.items()]
    frame = pd.DataFrame(cells, columns=["sample_id", "pin", "excluded", "label"])
    return frame.astype({"sample_id": "str", "pin": "str", "excluded": "bool", "label": "str"})


def test_changes_count_both_ways():
    then = decisions(a=("validation", False, None), b=(None, True, None), c=(None, False, "x"))
    now = decisions(a=("train", False, None), b=(None, True, None), c=(None, False, "y"), d=(None, True, None))
    assert retrain.changes(then, now) == [
        "1 no longer pinned to validation", "1 more pinned to training", "1 more excluded",
        "1 relabelled to another class than before"]
    assert retrain.changes(now, now) == []
    assert retrain.changes(decisions(), decisions()) == []


def test_names_count_on(home):
    project = Project.open(make_project(home / "pets"))
    assert retrain.free_name(project, "first") == "first-r2"
    for name in ("first-r2", "first-r3"):
        make_run(project.path, name, state="queued")
    assert retrain.free_name(project, "first") == "first-r4"
    assert retrain.free_name(project, "first-r2") == "first-r4"
    assert retrain.free_name(project, "x-red") == "x-red-r2"
    assert len(retrain.free_name(project, "n" * 64)) <= 64


# -- names that look like markup


def test_labels_names_and_reasons_stay_text(home):
    path = make_project(home / "odd", classes=HOSTILE)
    make_run(path, "first")
    ledger = Project.open(path).ledger()
    ledger.relabel(["train-00001"], HOSTILE[0], who="<b>eve</b>", why="$y$", run="first")
    ledger.relabel(["train-00002"], HOSTILE[3], who="*bob*")
    app = views.start(home, "decide")
    assert HOSTILE[0] in listed(app)["what"].iloc[1], "a table cell interprets nothing"
    said = "\n".join(str(m.value) for m in [*app.markdown, *app.caption, *app.success, *app.error])
    assert not any(name in said for name in (*HOSTILE, "<b>eve</b>", "*bob*"))
    press(app, "decide.undo")
    assert all(HOSTILE[3] not in toast.value for toast in app.toast)
