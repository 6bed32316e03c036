"""The Data and Train pages, the sidebar and the shared helpers, through Streamlit's AppTest on fakes."""

import json
import time
from typing import Any

import pandas as pd
import pytest

from curation.jobs import feature_jobs, queue, run_jobs
from curation.jobs.queue import JobError
from curation.project import Project
from curation.views.data import page as data
from curation.views.runs import form_keys
from curation.views.train import form, progress
from curation.views.train import page as train
from curation.views.widgets import state
from curation.views.widgets.pictures import pictures_html
from engine.contract.config import RunConfig
from engine.contract.method_config import ControlConfig
from engine.contract.methods import METHODS, TRAINABLE
from engine.contract.run_dir import RunDir
from tests import views
from tests.fake_features import make_features
from tests.fakes import make_project, make_run

HOSTILE = ("<img src=x onerror=alert(1)>", "=1+1", "*b* _i_ `c`", "$x$ :red[y] :smile:", "[a](http://evil)")


@pytest.fixture
def submitted(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, RunConfig]]:
    """What was submitted; nothing is started."""
    found: list[tuple[str, RunConfig]] = []
    monkeypatch.setattr(run_jobs, "submit", lambda project, name, config, **_: found.append((name, config)))
    return found


@pytest.fixture(autouse=True)
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Features that were asked for; none are made."""
    found: list[Any] = []
    monkeypatch.setattr(feature_jobs, "submit", lambda *arguments: found.append(arguments))
    return found


# -- sidebar and empty states


def test_without_any_project_the_app_says_how_to_begin(home):
    assert "Create the demo project" in views.texts(views.start(home, "data"))
    assert "There is no project yet." in views.texts(views.start(home, "train"))


def test_one_button_makes_the_demo_project_and_shows_it(home):
    app = views.start(home, "data", timeout=60)
    app.button(key="import.demo").click()
    views.rerun(app)
    assert (home / "demo" / "manifest.parquet").is_file()
    assert app.selectbox(key="project").value == "demo"
    assert "Samples 1,797" in views.texts(app)
    assert "Wrong labels 10.0%" in views.texts(app)


def test_the_newest_run_with_results_is_shown_first_and_the_choice_survives_a_page_switch(home):
    project = make_project(home / "pets")
    make_run(project, "old")
    make_run(project, "done")
    make_run(project, "waiting", state="queued")
    app = views.start(home, "train")
    assert app.selectbox(key="run").value == "done"
    app.selectbox(key="run").set_value("old")
    views.rerun(app)
    views.go(app, "data")
    assert app.selectbox(key="run").value == "old"


def test_a_link_opens_its_project_and_run(home):
    for name in ("birds", "pets"):
        make_run(make_project(home / name), "first")
    make_run(home / "pets", "second")
    app = views.start(home, "data", query={"project": "pets", "run": "first"})
    assert (app.selectbox(key="project").value, app.selectbox(key="run").value) == ("pets", "first")


def test_changing_the_project_changes_the_runs_offered(home):
    make_run(make_project(home / "birds"), "of-birds")
    make_run(make_project(home / "pets"), "of-pets")
    app = views.start(home, "train", project="pets")
    assert app.selectbox(key="run").options == ["of-pets"]
    app.selectbox(key="project").set_value("birds")
    views.rerun(app)
    assert app.selectbox(key="run").value == "of-birds"


def test_a_damaged_project_is_one_line_and_no_traceback(home):
    project = make_project(home / "pets")
    (project / "manifest.parquet").write_bytes(b"no parquet")
    app = views.start(home, "train")
    assert views.texts(app).count("must be a Parquet file") == 2, "once on the page, once in the sidebar"


def test_an_unknown_failure_is_calm_and_goes_to_the_log(home, monkeypatch, caplog):
    make_project(home / "pets")
    monkeypatch.setattr(data, "_overview", lambda *_: 1 / 0)
    with pytest.raises(views.PageFailed, match="ZeroDivisionError"):
        views.start(home, "data")
    assert "ZeroDivisionError" in caplog.text


def test_text_from_data_shows_as_it_is():
    assert state.plain("*b* <i> $x$ a_b") == r"\*b\* \<i\> \$x\$ a\_b"
    assert state.plain(":red[x]") == r"\:red\[x\]"
    assert ":material" not in state.plain(":material/delete:").replace("\\", "")
    assert state.plain("two\nlines") == "two lines"


def test_the_sample_table_is_new_after_a_decision_and_shared_otherwise(home):
    project = Project.open(make_project(home / "pets"))
    run = make_run(project.path, "first")
    before = state.samples_cached(project, run)
    assert state.samples_cached(project, run) is before
    sample_id = before.ids([0])[0]
    project.ledger().pin([sample_id], "validation", who="ada")
    after = state.samples_cached(project, run)
    assert after.revision != before.revision and after["margin"] is before["margin"]
    assert after.rows([0])["pin"].tolist() == ["validation"] and not after["pin"].cells[1:].is_not_null().any()


# -- Data


def test_data_shows_counts_classes_pictures_and_a_clean_report(home):
    make_project(home / "pets")
    shown = views.texts(views.start(home, "data"))
    assert "Samples 84" in shown and "Train 60" in shown and "Wrong labels 10.0%" in shown
    assert "The import found nothing wrong" in shown


def test_class_counts_tell_right_wrong_and_unknown_apart():
    labels = pd.DataFrame({"given_label": pd.Categorical(["a", "a", "b", "b"], ["a", "b", "c"]),
                           "clean_label": pd.Categorical(["a", "b", "b", None], ["a", "b", "c"])})
    counts = data.class_counts(labels)
    assert counts.loc["a", ["given", "known", "wrong", "true"]].tolist() == [2, 2, 1, 1]
    assert counts.loc["b", ["given", "known", "wrong", "true"]].tolist() == [2, 1, 0, 2]
    assert counts.loc["c", "given"] == 0 and pd.isna(counts.loc["c", "wrong_share"])


def test_pictures_are_drawn_evenly_of_the_classes_and_the_same_for_the_same_number(home):
    project = Project.open(make_project(home / "pets", num_train=300))
    labels = data._labels(project)
    chosen = data.pick_samples(labels, None, "train", False, seed=1)
    assert chosen["given_label"].value_counts().tolist() == [10, 10, 10]
    assert chosen["sample_id"].tolist() == data.pick_samples(labels, None, "train", False, 1)["sample_id"].tolist()
    wrong = data.pick_samples(labels, "cat", "train", True, seed=1)
    assert (wrong["given_label"] == "cat").all() and (wrong["clean_label"] != "cat").all() and len(wrong)


def test_hostile_class_names_stay_text(home):
    project = Project.open(make_project(home / "pets", classes=HOSTILE))
    app = views.start(home, "data")
    assert "Classes 5" in views.texts(app)
    shown = pictures_html(project, [("train-00000", name, f"truth: {name}") for name in HOSTILE])
    assert "<img src=x" not in shown and "&lt;img src=x" in shown
    assert shown.count("<img ") == len(HOSTILE)
    for html in app.get("html"):
        assert "<img src=x" not in html.proto.body


def test_the_report_is_counted_filtered_and_downloads_without_formulas(home):
    project = make_project(home / "pets")
    report = pd.DataFrame({"file": ["=cmd()", "b.png"], "row": pd.array([1, None], "Int64"),
                           "sample_id": ["-1", None], "kind": ["missing file", "unknown label"],
                           "reason": ["the file is not there", "@x is no class"], "action": ["skipped", "kept"]})
    report.to_parquet(project / "import_report.parquet", index=False)
    app = views.start(home, "data")
    assert "2 findings" in views.texts(app)
    app.selectbox(key="data.kind").set_value("missing file")
    views.rerun(app)
    assert app.dataframe[-1].value["kind"].tolist() == ["missing file"]
    lines = data._csv(report).decode().splitlines()
    assert lines[1] == "'=cmd(),1,'-1,missing file,the file is not there,skipped"
    assert lines[2].split(",")[4] == "'@x is no class"


# -- Train: the form


def test_the_default_form_asks_for_the_engine_defaults_of_every_method(home, submitted):
    make_project(home / "pets")
    methods = [name for name in TRAINABLE if not METHODS[name].is_head_only]
    app = views.start(home, "train")
    for method in methods:
        app.selectbox(key="new_run.method").set_value(method)
        views.rerun(app)
        app.button(key="new_run.start").click()
        views.rerun(app)
        app.session_state["train.form"] = True  # the form folds itself away once a run has started
        views.rerun(app)
    assert [config for _, config in submitted] == [RunConfig(method=method) for method in methods]


def test_with_features_a_head_on_them_is_the_default_and_the_images_the_other_way(home, submitted):
    make_features(make_project(home / "pets"), "lite0")
    app = views.start(home, "train")
    app.selectbox(key="new_run.network.features").set_value("linear")
    app.selectbox(key="new_run.folds_by").set_value("group")
    views.rerun(app)
    shown = {widget.key for widget in [*app.number_input, *app.text_input, *app.selectbox]}
    assert "new_run.num_components" in shown and not {"new_run.image_size", "new_run.augment"} & shown
    app.button(key="new_run.start").click()
    views.rerun(app)
    app.session_state["train.form"] = True
    views.rerun(app)
    app.selectbox(key="new_run.method").set_value("discriminant")
    views.rerun(app)
    assert "new_run.epochs" not in {widget.key for widget in app.number_input}, "it is fitted at once"
    app.selectbox(key="new_run.method").set_value("molere")
    app.selectbox(key="new_run.features").set_value(form_keys.IMAGES)
    app.selectbox(key="new_run.folds_by").set_value(form.NO_COLUMN)
    views.rerun(app)
    app.selectbox(key="new_run.network.images").set_value("efficientnet_lite0")
    app.button(key="new_run.start").click()
    views.rerun(app)
    assert [config for _, config in submitted] == [
        RunConfig(features="lite0", network="linear", folds_by="group"), RunConfig(network="efficientnet_lite0")]


def test_a_control_shows_its_own_settings_alone_and_columns_may_weigh(home, submitted):
    make_features(make_project(home / "pets"), "lite0")
    app = views.start(home, "train")
    app.selectbox(key="new_run.method").set_value("jtt")
    views.rerun(app)
    shown = {widget.key for widget in app.number_input if ".controls." in str(widget.key)}
    assert shown == {"new_run.controls.first_share", "new_run.controls.error_weight"}
    assert "new_run.weights_by" not in {widget.key for widget in app.selectbox}
    app.number_input(key="new_run.controls.error_weight").set_value(9.0)
    app.button(key="new_run.start").click()
    views.rerun(app)
    app.session_state["train.form"] = True
    views.rerun(app)
    app.selectbox(key="new_run.method").set_value("erm")
    views.rerun(app)
    app.selectbox(key="new_run.weights_by").set_value("group")
    app.number_input(key="new_run.mixup").set_value(0.3)
    app.button(key="new_run.start").click()
    views.rerun(app)
    assert [config for _, config in submitted] == [
        RunConfig(features="lite0", method="jtt", controls=ControlConfig(error_weight=9.0)),
        RunConfig(features="lite0", method="erm", weights_by="group", mixup=0.3)]


def test_a_small_import_begins_its_features_and_the_page_shows_how_far_they_are(home, asked):
    app = views.start(home, "data")
    app.button(key="import.demo").click()
    views.rerun(app)
    assert [(path.name, name, request) for path, name, request in asked] == [
        ("demo", "lite0", feature_jobs.FeatureRequest())]
    app.button(key="features.start").click()
    views.rerun(app)
    assert len(asked) == 2


def test_features_say_what_made_them_and_who_is_without(home):
    project = make_project(home / "pets")
    features = make_features(project, "lite0", missing=("train-00004",))
    features.write_document({"kind": "backbone", "backbone": "*net*", "revision": "1.0", "digest": "0123456789abcdef",
                             "licence": "Apache-2.0", "num_features": 12, "image_size": 224})
    features.write_json(features.path / "request.json", {"backbone": "x", "image_size": None, "is_mirrored": False})
    features.write_status(state="done")
    shown = views.texts(views.start(home, "data"))
    assert r"\*net\*" in shown, "a name is data, not markup"
    shown = shown.replace("\\", "")
    assert "83 of 84 samples have them" in shown and "train-00004" in shown
    assert "224 pixels, 12 numbers an image, revision 1.0, digest 0123456789ab, licence Apache-2.0" in shown


def test_changed_settings_reach_the_engine_and_bad_ones_are_refused(home, submitted):
    make_project(home / "pets")
    app = views.start(home, "train")
    app.number_input(key="new_run.epochs").set_value(3)
    app.number_input(key="new_run.splitter.coverage").set_value(0.25)
    app.toggle(key="new_run.splitter.is_soft").set_value(False)
    app.text_input(key="new_run.rotation_groups").set_value("")
    app.selectbox(key="new_run.reweighter.hypergradient").set_value("jvp")
    app.button(key="new_run.start").click()
    views.rerun(app)
    (_, config), = submitted
    assert (config.epochs, config.splitter.coverage, config.splitter.is_soft) == (3, 0.25, False)
    assert (config.rotation_groups, config.reweighter.hypergradient) == (None, "jvp")
    app.session_state["train.form"] = True
    views.rerun(app)
    app.text_input(key="new_run.rotation_groups").set_value("many")
    app.button(key="new_run.start").click()
    assert "rotation_groups must be of type int; got 'many'" in views.texts(views.rerun(app)).replace("\\", "")
    assert len(submitted) == 1


def test_settings_that_do_nothing_for_a_method_are_not_shown(home):
    make_project(home / "pets")
    app = views.start(home, "train")
    keys = {widget.key for widget in app.number_input}
    assert "new_run.val_fraction" in keys and "new_run.splitter.lr" in keys and "new_run.folds" not in keys
    app.selectbox(key="new_run.method").set_value("erm")
    keys = {widget.key for widget in views.rerun(app).number_input}
    assert "new_run.val_fraction" not in keys and "new_run.splitter.lr" not in keys


def test_repeats_queue_runs_that_differ_by_seed_alone(home, submitted):
    make_project(home / "pets")
    app = views.start(home, "train")
    app.number_input(key="new_run.repeats").set_value(3)
    app.number_input(key="new_run.seed").set_value(5)
    views.rerun(app)
    app.button(key="new_run.start").click()
    views.rerun(app)
    assert [name for name, _ in submitted] == ["molere-s5", "molere-s6", "molere-s7"]
    assert [config for _, config in submitted] == [RunConfig(seed=seed) for seed in (5, 6, 7)]


def test_plain_training_can_go_under_the_weights_of_a_run_that_learned_some(home, monkeypatch):
    asked: list[tuple[str, str, str | None]] = []
    monkeypatch.setattr(run_jobs, "submit", lambda project, name, config, weights_from: asked.append(
        (name, config.method, weights_from)))
    project = make_project(home / "pets")
    make_run(project, "plain", method="erm")
    make_run(project, "learned")
    make_run(project, "going", state="running")
    app = views.start(home, "train")
    app.session_state["train.form"] = True
    key = "new_run.weights_from"
    assert key not in {widget.key for widget in views.rerun(app).selectbox}, "MOLERE learns its own"
    app.selectbox(key="new_run.method").set_value("erm")
    views.rerun(app)
    assert app.selectbox(key=key).options == [form.ALIKE, "those of learned"]
    app.selectbox(key=key).set_value("learned")
    views.rerun(app)
    assert "The run trains under the decisions of learned, not those in force now." in views.texts(app)
    app.button(key="new_run.start").click()
    views.rerun(app)
    app.session_state["train.form"] = True
    views.rerun(app)
    app.selectbox(key="new_run.validation").set_value("random")
    assert key not in {widget.key for widget in views.rerun(app).selectbox}
    app.button(key="new_run.start").click()
    views.rerun(app)
    assert asked == [("erm", "erm", "learned"), ("erm", "erm", None)]


def test_a_run_says_whose_weights_it_trained_under(home):
    project = make_project(home / "pets")
    make_run(project, "learned")
    run = make_run(project, "tuned", method="erm")
    run.write_config(run.read_config() | {"weights_from": {"run": "learned", "signals_digest": "0"}})
    app = views.start(home, "train", project="pets", run="tuned")
    assert "under the sample weights, split and decisions of learned" in views.texts(app)
    assert app.dataframe[0].value["method"].tolist()[0].endswith(", weights of learned")
    shown = views.texts(views.start(home, "decide", project="pets", run="tuned"))
    assert "trained under the weights and decisions of **learned**" in shown


def test_a_free_name_is_suggested_and_a_taken_one_refused(home, submitted):
    project = make_project(home / "pets")
    make_run(project, "molere")
    assert run_jobs.free_name(project / "runs", "molere") == "molere-2"
    with pytest.raises(JobError, match="'molere' exists; choose another name"):
        form.start_runs(Project.open(project), "molere", {"seed": 0})


def test_the_form_says_which_decisions_are_in_force(home):
    project = Project.open(make_project(home / "pets"))
    assert "no decisions are in force" in views.texts(views.start(home, "train"))
    ids = project.manifest()["sample_id"].tolist()
    project.ledger().pin(ids[:3], "validation", who="ada")
    project.ledger().exclude(ids[3:5], who="ada")
    project.ledger().relabel(ids[5:6], "dog", who="ada")
    shown = views.texts(views.start(home, "train"))
    assert "The run trains under the decisions in force: 3 pinned, 2 excluded, 1 relabelled." in shown


# -- Train: watching


def test_a_done_run_shows_its_figures_curves_and_row(home):
    make_run(make_project(home / "pets"), "first")
    app = views.start(home, "train")
    shown = views.texts(app)
    assert "Test accuracy 85.0%" in shown and "Mean weight by truth" in shown and "Loss" in shown
    table = app.dataframe[0].value
    assert table[["name", "state", "epochs"]].iloc[0].tolist() == ["first", "done", "4 / 4"]
    assert table["test_accuracy"].iloc[0] == pytest.approx(85.0)
    assert not [button for button in app.button if button.label in ("Cancel", "Resume")]


def test_a_run_without_weights_or_validation_leaves_those_curves_out(home):
    make_run(make_project(home / "pets"), "plain", method="erm")
    assert "Wrong labels in validation" not in views.texts(views.start(home, "train"))


def test_a_running_run_shows_progress_and_can_be_cancelled(home, monkeypatch):
    project = make_project(home / "pets")
    run = make_run(project, "first", epochs=4, state="running")
    status = run.read_status() | {"stage": "training", "epoch": 2, "step": 5, "num_steps": 10, "num_epochs": 4}
    run.write_status(**status)
    asked: list[str] = []
    monkeypatch.setattr(run_jobs, "cancel", lambda project, name: asked.append(name))
    app = views.start(home, "train")
    shown = views.texts(app)
    assert "about 12 s of training left" in shown and "1,000 samples a second" in shown
    assert app.get("progress")[0].proto.text == "Epoch 2 of 4, step 5 of 10"
    app.button(key="cancel.first").click()
    views.rerun(app)
    assert asked == ["first"]


def test_a_resumed_run_is_drawn_anew_so_that_the_page_ticks(home, monkeypatch):
    project = Project.open(make_project(home / "pets"))
    make_run(project.path, "again", state="running")
    monkeypatch.setattr("streamlit.rerun", lambda: pytest.fail("drawn anew"))
    with pytest.raises(pytest.fail.Exception, match="drawn anew"):
        train._draw_cards(project, {"again": "interrupted"})


def test_a_failed_run_says_why_and_an_interrupted_one_offers_resume(home, monkeypatch):
    project = make_project(home / "pets")
    make_run(project, "broken", state="failed")
    resumed: list[str] = []
    monkeypatch.setattr(run_jobs, "resume", lambda project, name: resumed.append(name))
    app = views.start(home, "train", run="broken")
    assert "It failed: training diverged at step 12" in views.texts(app)
    lost = make_run(project, "lost", state="running")
    lost.write_status(**lost.read_status() | {"pid": 2**22 + 1, "pid_started": 1.0})
    app = views.start(home, "train", run="lost")
    assert "Its process ended" in views.texts(app)
    app.button(key="resume.lost").click()
    views.rerun(app)
    assert resumed == ["lost"]


def test_a_queued_run_says_that_it_waits(home):
    project = make_project(home / "pets")
    run = RunDir.of(project, "waiting")
    run.path.mkdir(parents=True)
    (run.path / "request.json").write_text(json.dumps(RunConfig(device="cpu").to_dict()))
    with queue.database() as database:
        for i, name in enumerate(("other", "waiting")):
            database.execute("INSERT INTO job (id, project, run, device, state, command, submitted) VALUES "
                             "(?, ?, ?, 'cpu', 'queued', '[]', ?)", (i + 1, str(project), name, time.time()))
    run.write_status(state="queued")
    app = views.start(home, "train")
    assert "Waits for its turn on cpu, behind other of pets." in views.texts(app)
    assert app.dataframe[0].value["state"].tolist() == ["queued behind other of pets"]
    said = [text.value for text in app.sidebar.markdown][:-1]
    assert said == [":material/hourglass_empty: **waiting** queued behind other of pets"], "all three say the same"


def test_selecting_a_row_makes_that_run_the_current_one(home):
    project = make_project(home / "pets")
    make_run(project, "old")
    make_run(project, "new")
    app = views.start(home, "train")
    assert "Run new" in views.texts(app)
    views.select(app, "train.runs.2", rows=[1])
    assert app.selectbox(key="run").value == "old"
    assert "Run old" in views.texts(app)
    app.selectbox(key="run").set_value("new")
    assert views.rerun(app).selectbox(key="run").value == "new"


def test_events_of_the_engine_become_warnings_with_advice(home):
    run = make_run(make_project(home / "pets"), "first", epochs=8)
    rows: list[dict[str, Any]] = run.read_metrics().to_dict("records")
    for row in rows[2:5]:
        row["events"] = ["churning: 60% of the routed samples are new since the epoch before"]
    run.write_metrics(rows)
    app = views.start(home, "train")
    assert app.warning[0].value.startswith("Epochs 3-5: 60% of the routed samples are new")
    assert "Raise the splitter's stickiness" in app.warning[0].value


def test_a_damaged_run_does_not_hide_the_others(home):
    project = make_project(home / "pets")
    make_run(project, "good")
    bad = make_run(project, "bad")
    document = bad.read_config() | {"config": {"method": "alchemy"}}
    bad.write_config(document)
    app = views.start(home, "train", run="good")
    assert app.dataframe[0].value["name"].tolist() == ["good"]
    assert "bad" in views.texts(app) and "alchemy" in views.texts(app), "it is named with what is broken"


def test_progress_and_times_in_words():
    assert progress.fraction_done({"epoch": 3, "num_epochs": 4, "step": 5, "num_steps": 10}) == 0.625
    assert progress.fraction_done({"stage": "preparing images", "epoch": 0, "num_epochs": 4}) == 0.0
    assert progress.epoch_ranges([1, 2, 3, 7, 9, 10]) == "1-3, 7, 9-10"
    assert progress.duration_text(125) == "2 min 5 s"
