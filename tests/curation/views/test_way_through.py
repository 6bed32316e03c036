"""From page to page: each ends in its next step, the app opens what was worked on last, and a stopped run is seen from
everywhere."""

import os
from pathlib import Path

import pytest

from curation.jobs import run_jobs
from curation.jobs.run_jobs import RunStatus
from curation.project import last_worked_on
from curation.views.runs.run_table import doing_text
from engine.contract.manifest import MANIFEST_NAME
from engine.contract.work_dir import StatusDocument
from tests import views
from tests.fakes import make_project, make_run


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("WHETSTONE_PROJECTS", str(tmp_path / "projects"))
    monkeypatch.setenv("WHETSTONE_HOME", str(tmp_path / "home"))
    return tmp_path / "projects"


def test_each_page_ends_in_its_next_step(home: Path) -> None:
    project = make_project(home / "pets")
    make_run(project, "first")
    app = views.start(home, "data")
    for page, steps in (("data", ["explore", "triage"]), ("train", ["triage", "explore"]),
                        ("triage", ["audit", "decide"]), ("audit", ["find", "estimate"]),
                        ("decide", ["compare", "export"])):
        app = views.go(app, page)
        assert [b.key for b in app.button if str(b.key).startswith("next.")] == [f"next.{step}" for step in steps]
    app = views.go(app, "audit")
    app.button(key="next.find").click()
    assert "next.decide" not in [b.key for b in views.rerun(app).button] and app.session_state["section"] == "Find"
    app = views.go(app, "decide")
    app.button(key="next.compare").click()
    assert app.run().title[0].value == "Compare"


def test_without_anything_to_look_at_the_data_page_points_to_what_makes_it(home: Path) -> None:
    make_project(home / "pets")
    app = views.start(home, "data")
    assert [b.key for b in app.button if str(b.key).startswith("next.")] == ["next.train"]


def test_the_app_opens_the_project_that_was_worked_on_last(home: Path) -> None:
    projects = [make_project(home / name) for name in ("ants", "bees", "cats")]
    for project in projects:
        for path in project.iterdir():
            os.utime(path, (1e9, 1e9))
    os.utime(projects[1] / MANIFEST_NAME, (2e9, 2e9))
    assert last_worked_on(projects) == projects[1] and last_worked_on([]) is None
    assert views.start(home, "data").selectbox(key="project").value == "bees"
    make_run(projects[2], "first")
    os.utime(projects[2] / "runs", (3e9, 3e9))
    assert views.start(home, "data").selectbox(key="project").value == "cats"
    assert views.start(home, "data", query={"project": "ants"}).selectbox(key="project").value == "ants"


@pytest.mark.parametrize(("query", "words"), [
    ({"project": "gone", "run": "first"}, "The link names the project gone, which is not here: another is shown."),
    ({"project": "pets", "run": "*gone*"}, r"The link names the run \*gone\*, which is not here: another is shown."),
    ({"project": "pets", "run": "first"}, None), ({}, None)])
def test_a_link_whose_project_or_run_is_gone_says_so_until_another_is_picked(home: Path, query, words) -> None:
    project = make_project(home / "pets")
    make_run(project, "first")
    make_run(project, "second")
    app = views.start(home, "decide", query=query)
    assert [warning.value for warning in app.sidebar.warning] == ([words] if words else [])
    assert [warning.value for warning in views.rerun(app).sidebar.warning] == ([words] if words else [])
    picker = app.selectbox(key="run")
    picker.select(next(name for name in picker.options if name != picker.value))
    assert not views.rerun(app).sidebar.warning


def test_a_link_to_a_project_says_so_too_where_there_is_none(home: Path) -> None:
    app = views.start(home, "data", query={"project": "gone"})
    assert [warning.value for warning in app.sidebar.warning] == [
        "The link names the project gone, which is not here: there is no other."]


def test_an_interrupted_run_is_said_in_the_sidebar_and_at_the_top_of_train_with_resume(
        home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = make_project(home / "pets")
    make_run(project, "fine")
    lost = make_run(project, "lost", state="running")
    lost.write_status(**lost.read_status() | {"pid": 2**22 + 1, "pid_started": 1.0})
    resumed: list[str] = []
    monkeypatch.setattr(run_jobs, "resume", lambda project, name: resumed.append(name))
    app = views.start(home, "decide", run="lost")
    assert [text.value for text in app.sidebar.markdown][:-1] == [":material/warning: **lost** interrupted"]
    app.button(key="sidebar.resume").click()
    views.rerun(app)
    app = views.start(home, "train", run="fine")
    assert "Its process ended" in views.texts(app), "also where another run is in focus"
    app.button(key="resume.lost").click()
    views.rerun(app)
    assert resumed == ["lost", "lost"] and not app.sidebar.markdown[:-1], "the glossary alone"


def test_a_run_that_works_is_said_on_every_page(home: Path) -> None:
    project = make_project(home / "pets")
    make_run(project, "fine")
    make_run(project, "busy", state="running")
    app = views.start(home, "export", run="fine")
    assert [text.value for text in app.sidebar.markdown][:-1] == [
        ":material/progress_activity: **busy** running: epoch 2 of 4"]


@pytest.mark.parametrize(("details", "words"), [
    ({"stage": "computing features", "message": "3,200 of 12,000", "epoch": 1, "num_epochs": 1},
     "computing features, 3,200 of 12,000"),
    ({"stage": "fitting", "message": "", "epoch": 1, "num_epochs": 1}, "fitting the classes"),
    ({"stage": "embedding", "message": "UMAP, 4 s", "epoch": 12, "num_epochs": 12}, "making the map, UMAP, 4 s"),
    ({"stage": "training", "message": "", "epoch": 3, "num_epochs": 12}, "epoch 3 of 12"),
    ({"done": 2, "total": 10}, "2 of 10 runs"), ({}, "starting")])
def test_a_job_says_what_it_does_and_not_an_epoch_that_is_none(details: StatusDocument, words: str) -> None:
    assert doing_text(RunStatus(state="running", details=details)) == words
