"""Features in the app through AppTest: the Data page's section, and pages that stand on a run that nobody trained."""

from pathlib import Path
from typing import Any

import pytest

from curation.jobs import feature_jobs, run_jobs
from curation.jobs.feature_jobs import FeatureRequest
from curation.jobs.queue import JobError
from curation.views.widgets import state
from engine.contract.config import RunConfig
from engine.contract.feature_dir import FeatureDir, FeatureDocument
from engine.contract.pixels import VERSION
from tests import views
from tests.curation.views.test_explore import counts
from tests.fake_features import make_features
from tests.fakes import make_project, make_run

MADE: FeatureDocument = {
    "kind": "backbone", "backbone": "efficientnet_lite0", "revision": "0.1.0", "digest": "0123456789abcdef",
    "licence": "Apache-2.0", "num_features": 12, "image_size": 224, "is_mirrored": False,
    "pixels": VERSION}


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """What was asked of feature_jobs; nothing is started."""
    found: list[tuple[Any, ...]] = []
    for verb in ("submit", "resume", "cancel"):
        monkeypatch.setattr(feature_jobs, verb, lambda project, *args, verb=verb: found.append((verb, *args)))
    return found


def made(project: Path, name: str = "lite0", **options: Any) -> FeatureDir:
    """Features of a backbone, as the engine leaves them behind."""
    folder = make_features(project, name, **options)
    folder.write_document(MADE)
    return folder


def press(app: Any, key: str) -> Any:
    app.button(key=key).click()
    return views.rerun(app)


# -- the Data page


def test_features_are_asked_for_with_what_the_form_says(home, asked):
    make_project(home / "pets")
    app = views.start(home, "data")
    press(app, "features.start")
    app.selectbox(key="features.backbone").set_value("convnext_tiny.fb_in22k")
    app.number_input(key="features.size").set_value(96)
    app.toggle(key="features.mirror").set_value(True)
    views.rerun(app)
    press(app, "features.start")
    assert asked == [
        ("submit", "lite0", FeatureRequest()),
        ("submit", "convnext-tiny", FeatureRequest(backbone="convnext_tiny.fb_in22k", image_size=96,
                                                   is_mirrored=True))]


def test_features_of_pixels_that_are_decoded_otherwise_say_so_and_can_be_made_anew(home, asked):
    folder = made(make_project(home / "pets"))
    app = views.start(home, "data")
    assert not app.warning
    folder.write_document({**MADE, "pixels": VERSION - 1})
    views.rerun(app)
    assert "Made when pictures were decoded otherwise" in app.warning[0].value
    press(app, "features.renew.lite0")
    assert asked == [("resume", "lite0")]
    assert "features lite0, outdated" in views.start(home, "train").selectbox(key="new_run.features").options


def test_a_refusal_is_one_line(home, monkeypatch):
    make_project(home / "pets")

    def refuse(*_: Any) -> None:
        raise JobError("features are made once at a time; 'lite0' is running")

    monkeypatch.setattr(feature_jobs, "submit", refuse)
    app = press(views.start(home, "data"), "features.start")
    assert "features are made once at a time" in app.error[0].value


def test_while_they_are_made_there_is_progress_and_a_way_to_stop_and_go_on(home, asked):
    project = make_project(home / "pets")
    folder = FeatureDir.of(project, "lite0")
    folder.path.mkdir(parents=True)
    folder.write_json(folder.path / "request.json", {"backbone": "x", "image_size": None, "is_mirrored": False})
    status = make_run(home / "pets", "other", state="running").read_status()
    status |= {"stage": "embedding images", "step": 30, "num_steps": 60, "samples_per_second": 80.0, "eta_seconds": 95}
    folder.write_status(**status)
    app = views.start(home, "data")
    assert app.get("progress")[0].proto.text == \
        "Embedding images: 30 of 60, 80 images a second, about 1 min 35 s left"
    press(app, "features.cancel.lite0")
    folder.write_status(**{**status, "state": "cancelled"})
    press(views.start(home, "data"), "features.resume.lite0")
    assert asked == [("cancel", "lite0"), ("resume", "lite0")]
    folder.write_status(**{**status, "state": "failed", "error": "no network named x"})
    assert "It failed: no network named x" in views.texts(views.start(home, "data"))


def test_samples_that_came_since_are_counted_and_can_be_added(home, asked):
    project = make_project(home / "pets")
    folder = made(project)
    samples = folder.read_samples()
    folder.write_samples(samples.iloc[:-5])
    app = views.start(home, "data")
    assert "5 samples added since: not on the map and not judged yet." in views.texts(app)
    press(app, "features.add.lite0")
    assert asked == [("resume", "lite0")]


def test_from_features_links_lead_to_the_pages_on_their_run(home, monkeypatch):
    project = make_project(home / "pets")
    made(project, "own")
    make_run(project, "own", method="discriminant")
    make_run(project, "later")
    gone: list[tuple[str, str]] = []
    monkeypatch.setattr(state, "leave_for", lambda page, run: gone.append((page, run)))
    app = views.start(home, "data")
    assert app.selectbox(key="run").value == "later"
    for page in ("explore", "triage", "audit", "train"):
        press(app, f"features.go.own.{page}")
    assert gone == [("explore", "own"), ("triage", "own"), ("audit", "own"), ("train", "own")]


def test_features_without_a_run_offer_to_make_one(home, monkeypatch):
    found: list[tuple[str, RunConfig]] = []
    monkeypatch.setattr(run_jobs, "submit", lambda project, name, config: found.append((name, config)))
    project = make_project(home / "pets")
    make_features(project, "own")
    app = views.start(home, "data")
    assert "**own** &nbsp; imported" in views.texts(app)
    press(app, "features.go.own.run")
    assert found == [("own", RunConfig(method="discriminant", features="own"))]


def test_without_a_run_pages_say_where_it_comes_from(home):
    project = make_project(home / "pets")
    for page in ("triage", "audit"):
        assert "Make features on the Data page: then this page works" in views.texts(views.start(home, page))
    folder = FeatureDir.of(project, "lite0")
    folder.path.mkdir(parents=True)
    folder.write_json(folder.path / "request.json", {"backbone": "x", "image_size": None, "is_mirrored": False})
    status = make_run(make_project(home / "zoo"), "other", state="running").read_status()
    folder.write_status(**status)
    for page in ("triage", "audit", "explore"):
        assert "eatures of this project are being made" in views.texts(views.start(home, page, project="pets")) or \
            "Its features are being made" in views.texts(views.start(home, page, project="pets"))


# -- pages on a run that nobody trained


def test_train_shows_no_curves_and_no_roles_of_a_run_that_was_not_trained(home):
    make_run(make_project(home / "pets"), "lite0", method="discriminant")
    app = views.start(home, "train")
    shown = views.texts(app)
    assert "Linear discriminant on features own, done. No training:" in shown and "Test accuracy 85.0%" in shown
    assert "epochs, seed" not in shown and "Withheld" not in shown and not app.get("plotly_chart")
    table = app.dataframe[0].value
    assert table["data"].tolist() == ["own"] and table[["epochs", "num_withheld"]].isna().all(axis=None)


def test_explore_tells_of_labels_in_doubt_where_nothing_was_routed(home):
    run = make_run(make_project(home / "pets"), "lite0", method="discriminant")
    app = views.start(home, "explore")
    found = counts(app)
    assert not found["roles"] and "in doubt" in found["flags"][0] and "withheld" not in str(found["flags"])
    assert "Nothing was trained" in app.title[0].proto.help
    assert app.selectbox(key="explore.colour").value == "label_quality", "roles are all alike"
    signals = run.read_signals()
    run.write_signals(signals.assign(role=signals["role"].where(signals.index > 0, "excluded")))
    assert views.start(home, "explore").selectbox(key="explore.colour").value == "label_quality", "but for one"


def test_a_sample_of_such_a_run_has_no_course_and_no_reason_for_its_role(home):
    run = make_run(make_project(home / "pets"), "lite0", method="discriminant")
    signals = run.read_signals()
    run.write_signals(signals.assign(label_quality=0.25, heldout_epochs=1))
    app = views.start(home, "explore")
    app.session_state["sample.open"] = "train-00000"
    shown = views.texts(views.rerun(app)).replace("\\", "")
    assert "What is said of its label" in shown and "Over the epochs" not in shown
    assert "Label quality 0.25 from predictions that did not see it (0 bad, 1 good)" in shown
    assert "its class sends to validation" not in shown


def test_decide_offers_one_run_where_seeds_make_no_difference(home):
    make_run(make_project(home / "pets"), "lite0", method="discriminant")
    app = views.start(home, "decide")
    shown = views.texts(app)
    assert "(Linear discriminant, nothing is trained)" in shown and "No seed changes this run." in shown
    assert app.button(key="decide.retrain") and "decide.mode" not in app.session_state


def test_the_rule_of_triage_names_no_training_where_there_was_none(home):
    make_run(make_project(home / "pets"), "lite0", method="discriminant")
    app = views.start(home, "triage")
    app.session_state["triage.lane"] = 3
    assert "learned in training" not in views.texts(views.rerun(app))


def test_compare_asks_for_no_roles_weights_or_epochs_of_a_run_that_was_not_trained(home):
    project = make_project(home / "pets")
    make_run(project, "lite0", method="discriminant")
    make_run(project, "head", seed=1)
    app = views.start(home, "compare")
    shown = views.texts(app)
    assert "Nothing to compare: only runs that were trained have epochs." in shown and "Test accuracy, A to B" in shown
    assert "role changed" not in shown
