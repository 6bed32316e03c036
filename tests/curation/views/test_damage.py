"""A run, a study, features, a view, a batch or a thumbnail damaged from outside harms itself alone: each page draws,
the sound ones work, and the damaged one is named with what to do."""

import json
from pathlib import Path

import pytest

from curation.audit.reviews import batch_files
from curation.audit.reviews.batches import Question, Served
from curation.jobs import feature_jobs, run_jobs, study_jobs
from curation.project import Project
from curation.samples import saved_views
from curation.views.routes.thumbnails import thumbnail
from curation.views.widgets import state
from engine.contract.disk.seals import opened_lines
from engine.contract.feature_dir import FeatureDir
from engine.contract.run_dir import RunDirError
from tests import views
from tests.fake_studies import make_study
from tests.fakes import make_project, make_run

TRUNCATED, EMPTY, WRONG = '{"state": "do', "", "[1, 2]"
ODD_PREDICATE = json.dumps({"predicate": {"region": [1], "columns": {"margin": {"a": []}}, "classes": [[]],
                                          "ids": 3}})
BAD = pytest.mark.parametrize("text", [TRUNCATED, EMPTY, WRONG, "null", "{}"])


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("WHETSTONE_PROJECTS", str(tmp_path / "projects"))
    monkeypatch.setenv("WHETSTONE_HOME", str(tmp_path / "home"))
    return tmp_path / "projects"


@pytest.fixture
def pets(home: Path) -> Path:
    """A project of two sound runs, and a third that a test damages."""
    project = make_project(home / "pets")
    for name in ("first", "second", "third"):
        make_run(project, name)
    return project


@pytest.mark.parametrize(("file", "text"), [
    *[("status.json", text) for text in (TRUNCATED, EMPTY, WRONG, "{}", '{"state": "gone"}', '{"state": "done", '
                                         '"started": "now"}')],
    *[("config.json", text) for text in (TRUNCATED, EMPTY, WRONG, "{}", '{"config": 3}',
                                         '{"config": {"epochs": "x"}}')],
    *[("metrics.jsonl", text) for text in (TRUNCATED, "[1]\n", '{"epoch": "one"}', '{"epoch": 1, "events": 3}')],
])
def test_a_damaged_run_is_named_and_left_out_and_the_others_are_there(pets: Path, file: str, text: str) -> None:
    (pets / "runs" / "third" / file).write_text(text)
    project = Project.open(pets)
    assert {run.name for run in project.runs()} == {"first", "second"}
    assert {run.name for run in run_jobs.run_dirs(pets)} == {"first", "second"}
    (damaged,) = run_jobs.damaged_runs(pets)
    assert damaged.name == "third" and "\n" not in damaged.line
    assert file in damaged.line and any(word in damaged.line for word in ("delete it", "restore it", "move"))


def test_no_page_falls_with_a_damaged_run(home: Path, pets: Path) -> None:
    (pets / "runs" / "third" / "status.json").write_text(TRUNCATED)
    app = views.start(home, "train", run="third")
    assert "One run cannot be read" in views.texts(app) and "delete it, and resume" in views.texts(app)
    assert app.dataframe[0].value["name"].tolist() == ["second", "first"]
    for page in ("train", "compare", "export", "decide"):
        app = views.go(app, page)
        assert not app.error
        assert sorted(app.sidebar.selectbox[1].options) == ["first", "second"], "the run picker stays"
        assert "1 run cannot be read" in app.sidebar.caption[0].value


def test_a_run_whose_status_was_deleted_as_advised_can_be_used_again(pets: Path) -> None:
    status = pets / "runs" / "third" / "status.json"
    status.write_text(TRUNCATED)
    assert run_jobs.damaged_runs(pets)
    status.unlink()
    assert not run_jobs.damaged_runs(pets)
    assert run_jobs.status_of(Project.open(pets).run("third")).can_resume


@pytest.mark.parametrize("name", ["signals", "predictions", "embedding"])
def test_a_cut_table_of_a_run_is_told_in_one_line(pets: Path, name: str) -> None:
    run = Project.open(pets).run("third")
    path = run.path / f"{name}.parquet"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(RunDirError, match="must be Parquet; .*restore it from a copy") as caught:
        getattr(run, f"read_{name}")()
    assert "\n" not in str(caught.value)


@BAD
@pytest.mark.parametrize("file", ["study.json", "status.json", "rows/erm-s0.json"])
def test_a_damaged_study_is_named_and_the_other_one_shown(home: Path, file: str, text: str) -> None:
    project = make_project(home / "pets")
    make_study(project, "sound")
    (make_study(project, "bad").path / file).write_text(text)
    assert [study.name for study in study_jobs.studies(project)] == ["sound"]
    (damaged,) = study_jobs.damaged_studies(project)
    assert damaged.name == "bad" and "\n" not in damaged.line and Path(file).name in damaged.line
    assert study_jobs.epoch_seconds(project), "the sound one is measured by"


def test_the_study_page_shows_the_sound_one_and_names_the_damaged(home: Path) -> None:
    project = make_project(home / "pets")
    make_study(project, "sound")
    (make_study(project, "bad").path / "study.json").write_text(EMPTY)
    app = views.start(home, "study")
    assert not app.error and "One study cannot be read" in views.texts(app)
    assert app.main.selectbox[0].options == ["sound"]


@BAD
@pytest.mark.parametrize("file", ["features.json", "status.json", "request.json"])
def test_damaged_features_are_named_and_left_out(pets: Path, file: str, text: str) -> None:
    folder = FeatureDir.of(pets, "bad")
    folder.path.mkdir(parents=True)
    folder.write_json(folder.path / "features.json", {"backbone": "x", "num_features": 3})
    (folder.path / file).write_text('{"num_features": "x"}' if (file, text) == ("features.json", "{}") else text)
    assert feature_jobs.features_of(pets) == [] and feature_jobs.damaged_features(pets)[0].name == "bad"


def test_the_data_page_names_damaged_features(home: Path, pets: Path) -> None:
    folder = FeatureDir.of(pets, "bad")
    folder.path.mkdir(parents=True)
    (folder.path / "features.json").write_text(TRUNCATED)
    app = views.start(home, "data")
    assert not app.error and "One folder of features cannot be read" in views.texts(app)


def test_a_damaged_view_is_told_when_opened_and_the_others_open(home: Path, pets: Path) -> None:
    saved_views.save(Project.open(pets), "sound", {"search": "train-00001"}, run="first", who="ada")
    app = views.start(home, "explore", run="first")
    for text in (TRUNCATED, EMPTY, WRONG, '{"predicate": 3}', ODD_PREDICATE):
        (pets / "views" / "bad.json").write_text(text)
        app.session_state["explore.view_wanted"] = "bad"
        app = views.rerun(app)
        assert not app.error
        assert [w for w in app.warning if "bad" in w.value] or text == ODD_PREDICATE
    app.session_state["explore.view_wanted"] = "sound"
    app = views.rerun(app)
    assert not app.error and "1 of 60 samples" in views.texts(app)


@pytest.mark.parametrize("text", [TRUNCATED, WRONG])
def test_a_damaged_batch_leaves_the_overview(home: Path, pets: Path, text: str,
                                             monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state, "user_name", lambda: "ada")
    served = Served(audit="audit", queue="find", reviewer="ada", number=1, run="first", model="m",
                    questions=(Question(sample_id="train-00001", purpose="main", given_label="cat"),))
    batch_files.save(Project.open(pets), served)
    (file,) = (pets / "audits" / "audit" / "batches").glob("*.json")
    file.write_text(text)
    app = views.start(home, "audit", run="first")
    said = "".join(warning.value for warning in app.warning).replace("\\", "")
    assert not app.error and "delete it: its answers are in the log" in said
    assert "What to do next" in [s.value for s in app.header]


def test_a_cut_thumbnail_is_made_anew(pets: Path) -> None:
    whole, _ = thumbnail(pets, "train-00001", 64)
    (kept,) = (pets / "thumbnails").rglob("*.img")
    for cut in (whole[:40], b""):
        kept.write_bytes(cut)
        assert thumbnail(pets, "train-00001", 64)[0] == whole


def test_metrics_are_read_as_they_were_written(pets: Path) -> None:
    run = Project.open(pets).run("first")
    lines = [json.loads(line) for line in opened_lines((run.path / "metrics.jsonl").read_text()).splitlines()]
    assert run.read_metrics()["epoch"].tolist() == [line["epoch"] for line in lines]


def test_a_damaged_plan_of_one_audit_leaves_the_others(home: Path, pets: Path) -> None:
    plan = pets / "audits" / "broken" / "plan.json"
    plan.parent.mkdir(parents=True)
    plan.write_text(TRUNCATED)
    app = views.start(home, "audit", run="first")
    assert "the plan of audit broken" in app.error[0].value.replace("\\", "")
    app.text_input(key="audit.new_name").set_value("sound")
    app.button(key="audit.begin").click()
    app = views.rerun(app)
    assert not app.error and "What to do next" in [s.value for s in app.header]
