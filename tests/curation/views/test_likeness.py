"""More like this, through AppTest: from marked samples, from a selection, from one sample; what it orders."""

import json
from typing import Any

import numpy as np
import pytest

from curation.views.explore import results
from curation.views.widgets import state
from engine.contract.feature_dir import FeatureStore
from tests import views
from tests.fake_features import make_features
from tests.fakes import make_project, make_run


@pytest.fixture
def app(home) -> Any:
    """Explore on a project with features, on a run."""
    project = make_project(home / "pets")
    make_run(project, "first")
    make_features(project, "lite0", missing=("train-00005",))
    return views.start(home, "explore")


def shown(app: Any) -> list[dict[str, Any]]:
    found = [json.loads(component.proto.json) for component in app.get("bidi_component")]
    return next(data for data in found if "items" in data)["items"]


def mark(app: Any, ids: list[str]) -> Any:
    found = [json.loads(component.proto.json) for component in app.get("bidi_component")]
    token = next(data for data in found if "items" in data)["token"]
    app.session_state[results.GALLERY_KEY] = {"marked": {"token": token, "ids": ids}}
    return views.rerun(app)


def press(app: Any, key: str) -> Any:
    app.button(key=key).click()
    return views.rerun(app)


def nearest(home: Any, ids: list[str]) -> list[str]:
    """All training samples by brute force, in float64."""
    store = FeatureStore.open(home / "pets", "lite0")
    names = [name for name in store.samples["sample_id"] if name.startswith("train")]
    rows = store.rows_of(np.array(names, dtype=object))
    known = [name for name, row in zip(names, rows, strict=True) if row >= 0]
    values = store.read(rows[rows >= 0]).astype(np.float64)
    values /= np.linalg.norm(values, axis=1, keepdims=True)
    mean = values[[known.index(name) for name in ids]].mean(axis=0)
    order = np.argsort(-(values @ mean), kind="stable")
    return [known[i] for i in order]


def test_marked_samples_order_all_others_by_likeness_until_that_is_let_go(app, home):
    usual = [item["id"] for item in shown(app)]
    app.multiselect(key="explore.classes").set_value(["cat"])
    views.rerun(app)
    mark(app, ["train-00000", "train-00003"])
    press(app, "explore.more_like")
    ids = [item["id"] for item in shown(app)]
    assert ids[:59] == nearest(home, ["train-00000", "train-00003"]) and ids[59] == "train-00005", "without features"
    assert shown(app)[0]["value"].startswith("likeness 0.")
    said = views.texts(app).replace("\\", "")
    assert "Most like **train-00000, train-00003** first." in said and "60 of 60 samples" in said
    press(app, "likeness.stop")
    assert [item["id"] for item in shown(app)] == usual


def test_a_selection_is_a_pattern_as_well_and_the_table_follows(app, home):
    app.text_input(key="explore.search").set_value("train-0001")
    views.rerun(app)
    press(app, "explore.more_like")
    pattern = [f"train-000{i}" for i in range(10, 20)]
    assert [item["id"] for item in shown(app)][:59] == nearest(home, pattern)
    app.session_state["explore.panel"] = "Table"
    views.rerun(app)
    assert app.dataframe[0].value["sample_id"].tolist()[:59] == nearest(home, pattern)


def test_one_sample_up_close_leads_to_explore_by_its_likeness(app, home, monkeypatch):
    gone: list[str] = []
    monkeypatch.setattr(state, "leave_for", gone.append)
    app.session_state["sample.open"] = "train-00007"
    views.rerun(app)
    press(app, "sample.more_like")
    assert gone == ["explore"]
    assert [item["id"] for item in shown(views.rerun(app))][:59] == nearest(home, ["train-00007"])


def test_a_sample_without_features_is_refused_in_one_line_and_changes_nothing(app):
    mark(app, ["train-00005"])
    press(app, "explore.more_like")
    assert "likeness needs features; 'train-00005' has none in 'lite0'" in app.warning[0].value.replace("\\", "")
    assert not [button for button in views.rerun(app).button if button.key == "likeness.stop"]


def test_several_features_are_a_choice(app, home):
    make_features(home / "pets", "other", num_features=3)
    mark(views.rerun(app), ["train-00000"])
    press(app, "explore.more_like")
    assert app.selectbox(key="likeness.features").value == "lite0"
    before = [item["id"] for item in shown(app)]
    app.selectbox(key="likeness.features").set_value("other")
    assert [item["id"] for item in shown(views.rerun(app))] != before


def test_without_features_there_is_no_such_button(home):
    make_run(make_project(home / "pets"), "first")
    assert not [button for button in views.start(home, "explore").button if button.label == "More like these"]
