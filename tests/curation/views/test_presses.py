"""No press is lost: what the script reads of a button, and what becomes of a press that meets another request."""

import ast
from pathlib import Path
from typing import Any

import pytest
from streamlit.proto.WidgetStates_pb2 import WidgetStates
from streamlit.runtime.scriptrunner import RerunData, get_script_run_ctx
from streamlit.runtime.scriptrunner_utils.script_requests import ScriptRequestType

from curation.jobs import feature_jobs, run_jobs, study_jobs
from curation.project import Project
from curation.views import presses
from curation.views.data import import_form
from curation.views.decide import page as decide_page
from tests import ROOT, views
from tests.fakes import make_project, make_run

VIEWS = ROOT / "curation" / "views"


@pytest.fixture
def pets(home: Path) -> Project:
    path = make_project(home / "pets")
    make_run(path, "first")
    Project.open(path).ledger().exclude(["train-00004"], who="bob")
    return Project.open(path)


# -- what the script reads


def read_buttons(source: str) -> list[int]:
    """Lines at which a button has no callback, or its value is used."""
    tree = ast.parse(source)
    alone = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and \
                node.func.attr in ("button", "form_submit_button", "download_button", "chat_input", "menu_button"):
            names = {word.arg for word in node.keywords}
            if id(node) not in alone or "on_click" not in names:
                found.append(node.lineno)
    return found


def test_no_button_is_read_by_its_value():
    found = {path.relative_to(VIEWS).as_posix(): lines for path in sorted(VIEWS.rglob("*.py"))
             if (lines := read_buttons(path.read_text()))}
    assert not found, "give it on_click, or take presses.kept_button where the act needs what the page has read"


def test_that_test_sees_each_way_of_reading_one():
    assert read_buttons("if st.button('a'):\n    pass\npressed = left.form_submit_button('b', on_click=f)\n"
                        "st.button('c')\nst.button('d', on_click=f)") == [1, 3, 4]


# -- what waits together


def request(*pressed: str, **values: str) -> RerunData:
    states = WidgetStates()
    for name in pressed:
        states.widgets.add(id=name, trigger_value=True)
    for name, value in values.items():
        states.widgets.add(id=name, string_value=value)
    return RerunData(widget_states=states)


def taken_of(requests: presses._Requests) -> list[set[str]]:
    """The presses of each draw until none is asked for."""
    found = []
    while (one := requests.on_scriptrunner_ready()).type is ScriptRequestType.RERUN:
        found.append(presses._pressed(one.rerun_data))
    return found


def test_requests_that_wait_together_keep_every_press_once():
    requests = presses._Requests()
    for one in (request("undo"), request(), request("redo", name="ada"), RerunData()):
        assert requests.request_rerun(one)
    assert taken_of(requests) == [{"undo", "redo"}]


def test_two_presses_of_one_button_are_two():
    requests = presses._Requests()
    for one in (request("undo"), request("undo"), request("undo"), request("other")):
        assert requests.request_rerun(one)
    assert taken_of(requests) == [{"undo"}, {"undo"}, {"undo", "other"}]


# -- what meets a press


class Cut:
    """Has another request arrive at each look of a session at its state, until the draw has reached its page."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, num: int = 3) -> None:
        self.left, self.num_cut = num, 0
        look = presses._Requests.on_scriptrunner_yield

        def looked(requests: presses._Requests) -> Any:
            context = get_script_run_ctx(suppress_warning=True)
            if self.left and context is not None:
                requests.request_rerun(RerunData(page_script_hash=context.page_script_hash))
            found = look(requests)
            if found is not None and self.left:
                self.left -= 1
                self.num_cut += 1
            return found

        monkeypatch.setattr(presses._Requests, "on_scriptrunner_yield", looked)


def press(app: Any, key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Press while somebody decides, again and again, before the page is drawn."""
    with monkeypatch.context() as patch:
        cut = Cut(patch)
        app.button(key=key).click()
        views.rerun(app)
    assert cut.num_cut == 3


def test_undo_and_a_list_of_ids_are_decided_once(home, pets, monkeypatch):
    app = views.start(home, "decide", project="pets", run="first")
    app.text_area(key="decide.ids").set_value("train-00001 train-00002")
    app.selectbox(key="decide.op").set_value("Pin to training")
    with monkeypatch.context() as patch:
        cut = Cut(patch)
        next(one for one in app.button if one.label == "Decide").click()
        views.rerun(app)
    assert cut.num_cut == 3
    batches = pets.ledger().batches()
    assert batches["kind"].tolist() == ["pin", "exclude"] and batches["num_samples"].iloc[0] == 2
    press(app, "decide.undo", monkeypatch)
    assert pets.ledger().batches()["kind"].tolist() == ["undo", "pin", "exclude"]


@pytest.mark.parametrize(("mode", "key"), [("One run", "decide.retrain"), ("Measure the effect", "decide.experiment")])
def test_a_training_starts_once(home, pets, monkeypatch, mode, key):
    started: list[str] = []
    monkeypatch.setattr(run_jobs, "submit", lambda project, name, config, **_: started.append(name))
    app = views.start(home, "decide", project="pets", run="first")
    app.button_group(key="decide.mode").set_value(mode)
    views.rerun(app)
    press(app, key, monkeypatch)
    assert started and len(started) == len(set(started)) == (1 if mode == "One run" else len(started))
    before = len(started)
    views.rerun(app)
    assert len(started) == before


def test_an_export_is_written_once(home, pets, monkeypatch):
    pets.ledger().relabel(["train-00000"], "bird", who="ada")
    app = views.start(home, "export", project="pets", run="first")
    app.selectbox(key="export.what").set_value(("corrected-labels", "table"))
    views.rerun(app)
    press(app, "export.write", monkeypatch)
    assert len(list((pets.path / "exports").iterdir())) == 1 and "Written" in views.texts(app)


def test_a_run_and_a_study_start_once(home, pets, monkeypatch):
    runs: list[str] = []
    studies: list[str] = []
    monkeypatch.setattr(run_jobs, "submit", lambda project, name, config, **_: runs.append(name))
    monkeypatch.setattr(study_jobs, "submit", lambda project, new: studies.append(new.name))
    for page, key, form, found in (("train", "new_run.start", "train.form", runs),
                                   ("study", "new_study.start", "study.form", studies)):
        app = views.start(home, page, project="pets", run="first")
        if not any(one.key == key for one in app.button):
            app.session_state[form] = True
            views.rerun(app)
        press(app, key, monkeypatch)
        assert len(found) == 1


def test_a_press_on_its_way_while_the_page_fails_is_carried_out(home, pets, monkeypatch):
    """Fields that were left alone are gone then; their KeyError once lost a press."""
    app = views.start(home, "decide", project="pets", run="first")
    ids, decide = app.text_area(key="decide.ids"), next(one for one in app.button if one.label == "Decide")
    with monkeypatch.context() as patch:
        patch.setattr(decide_page, "_by_id", lambda *_: 1 // 0)
        with pytest.raises(views.PageFailed, match="ZeroDivisionError"):
            views.rerun(app)
    app._run(request(decide.proto.id, **{ids.proto.id: "train-00001"}).widget_states)
    batches = pets.ledger().batches()
    assert batches["kind"].tolist() == ["pin", "exclude"] and batches["num_samples"].iloc[0] == 1


def test_a_quick_preview_starts_once(home, pets, monkeypatch):
    started: list[str] = []
    monkeypatch.setattr(run_jobs, "submit", lambda project, name, config, **_: started.append(name))
    checkpoint = pets.path / "runs" / "first" / "checkpoint" / "state-00004-0000000.pt"
    checkpoint.parent.mkdir(exist_ok=True)
    checkpoint.touch()
    app = views.start(home, "decide", project="pets", run="first")
    app.button_group(key="decide.mode").set_value("Quick preview")
    views.rerun(app)
    press(app, "decide.preview", monkeypatch)
    views.rerun(app)
    assert started == ["preview-first"]


def test_features_are_asked_for_once(home, pets, monkeypatch):
    made: list[str] = []
    monkeypatch.setattr(feature_jobs, "submit", lambda project, name, request: made.append(name))
    app = views.start(home, "data", project="pets", run="first")
    press(app, "features.start", monkeypatch)
    views.rerun(app)
    assert made == ["lite0"]


def test_data_are_looked_at_and_imported_once(home, tmp_path, monkeypatch):
    folder = tmp_path / "data" / "photos"
    make_project(tmp_path / "other", num_train=6)
    for label, number in (("cat", 0), ("dog", 1)):
        (folder / label).mkdir(parents=True)
        (tmp_path / "other" / "images" / "train" / f"0000{number}.png").rename(folder / label / "a.png")
    monkeypatch.setenv("WHETSTONE_ROOTS", str(tmp_path / "data"))
    monkeypatch.setattr(feature_jobs, "submit", lambda *_: None)
    ended: list[Path] = []
    real = import_form.import_project

    def counted(source: str, project: Path, **options: Any) -> Any:
        found = real(source, project, **options)
        ended.append(project)
        return found

    monkeypatch.setattr(import_form, "import_project", counted)
    app = views.start(home, "data", timeout=60)
    app.button(key="import.entry.photos").click()
    views.rerun(app)
    press(app, "import.preview_it", monkeypatch)
    assert "Samples 2" in views.texts(app)
    press(app, "import.start", monkeypatch)
    views.rerun(app)
    assert ended == [home / "photos"] and len(Project.open(home / "photos").manifest()) == 2


def test_a_press_whose_button_is_gone_is_not_dropped_in_silence(home, pets):
    app = views.start(home, "decide", project="pets", run="first")
    app.session_state["_kept_presses"] = {"gone": ("Start it", "")}
    views.rerun(app)
    assert any("before 'Start it' was carried out" in one.value.replace("\\", "") for one in app.toast)
    assert "_kept_presses" not in app.session_state


def test_an_error_in_a_callback_is_one_notice_on_the_page(home, pets, monkeypatch):
    monkeypatch.setattr(decide_page, "split_ids", lambda *_: 1 // 0)
    app = views.start(home, "decide", project="pets", run="first")
    next(one for one in app.button if one.label == "Decide").click()
    with pytest.raises(views.PageFailed, match="ZeroDivisionError"):
        views.rerun(app)
    assert [one.value for one in app.toast if "Something went wrong" in one.value] and not app.exception
    assert app.title[0].value == "Decide"
