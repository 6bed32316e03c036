"""The Explore page through AppTest on fakes: lasso and filters, decisions on what is selected, the sample panel."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from curation.project import Project
from curation.samples import predicates
from curation.samples.frames import SampleTable
from curation.samples.regions import in_polygon
from curation.samples.table import sample_table
from curation.views.explore import results
from curation.views.map import layer as map_layer
from curation.views.map.panel import REGION_KEY
from curation.views.sample import dialog, reasons
from curation.views.widgets import actions, gallery
from tests import ROOT, views
from tests.fakes import make_project, make_run

HOSTILE = ("<img src=x onerror=alert(1)>", "=1+1", "*b* _i_ `c`", "$x$ :red[y] :smile:", "[a](http://evil)")
LASSO = {"xref": "x", "yref": "y", "x": [0.0, 9.0, 9.0, 0.0], "y": [-9.0, -9.0, 9.0, 9.0]}
"""The right half of a fake's map."""


@pytest.fixture
def pets(home: Path) -> Project:
    """60 training samples in three classes, one finished run called first."""
    path = make_project(home / "pets")
    make_run(path, "first")
    return Project.open(path)


def explore(home: Path, **options: Any) -> Any:
    return views.start(home, "explore", **options)


def lasso(app: Any, box: list[list[float]] | None = None) -> Any:
    """As if the user had drawn LASSO, or this box, on the map of the run `first`."""
    corners = [list(corner) for corner in zip(LASSO["x"], LASSO["y"], strict=True)]
    region = {"lasso": [] if box else [corners], "box": box or [], "map": "own"}
    path = str(Path(os.environ["WHETSTONE_PROJECTS"]) / app.session_state["project"])
    app.session_state[REGION_KEY] = {"owner": (path, app.session_state["run"]), "region": region}
    return views.rerun(app)


def add_filter(app: Any, column: str) -> Any:
    app.selectbox(key="explore.add").set_value(column)
    return views.rerun(app)


def press(app: Any, key: str) -> Any:
    app.button(key=key).click()
    return views.rerun(app)


def mark(app: Any, ids: list[str]) -> Any:
    """As if these had been marked in the gallery."""
    token = shown(app)["token"]
    app.session_state[results.GALLERY_KEY] = {"marked": {"token": token, "ids": ids}}
    return views.rerun(app)


def shown(app: Any) -> dict[str, Any]:
    """What the gallery was given to draw."""
    return galleries(app)[0]


def galleries(app: Any) -> list[dict[str, Any]]:
    """What each gallery was given, the page's own first."""
    found = [json.loads(component.proto.json) for component in app.get("bidi_component")]
    return [data for data in found if "items" in data]


def counts(app: Any) -> dict[str, list[str]]:
    """The counts that filter, as they are labelled, a list for each part of the predicate."""
    return {part: [option.content for group in app.get("button_group") if group.key == f"explore.count.{part}"
                   for option in group.proto.options] for part in ("roles", "flags", "decisions")}


def click(app: Any, part: str, name: str) -> Any:
    """On one of the counts of a part: it joins the filter, or leaves it."""
    group = next(group for group in app.get("button_group") if group.key == f"explore.count.{part}")
    now = list(group.value or [])
    group.set_value([item for item in now if item != name] if name in now else [*now, name])
    return views.rerun(app)


def selected_ids(project: Project) -> list[str]:
    """Ids inside LASSO, found directly."""
    table = sample_table(project, project.run("first"))
    corners = np.stack([LASSO["x"], LASSO["y"]], axis=1)
    return list(table["sample_id"][in_polygon(table[["x", "y"]].to_numpy(), corners)])


def page_html(app: Any) -> str:
    return "".join(element.proto.body for element in app.get("html"))


# -- what is selected


def test_without_a_selection_all_samples_are_shown_and_summed_up(home, pets):
    app = explore(home)
    assert "**60 of 60 samples**: all samples." in views.texts(app)
    assert counts(app) == {"roles": ["**54** in training", "**6** in validation"],
                           "flags": counts(app)["flags"], "decisions": []}
    data = shown(app)
    assert len(data["items"]) == 60 and data["items"][0]["src"].startswith("/api/thumbnail?")
    quality = sample_table(pets, pets.run("first")).set_index("sample_id")["label_quality"]
    values = quality[[item["id"] for item in data["items"]]]
    assert values.dropna().is_monotonic_increasing and values.notna().any(), "lowest label quality first"


def test_a_lasso_selects_by_its_coordinates_over_the_whole_table(home, pets):
    ids = selected_ids(pets)
    app = lasso(explore(home))
    assert f"**{len(ids)} of 60 samples**: inside the lasso." in views.texts(app)
    assert {item["id"] for item in shown(app)["items"]} == set(ids)
    table = sample_table(pets, pets.run("first"))
    num = int((table["x"].between(-1, 3) & table["y"].between(-2, 2)).sum())
    lasso(app, box=[[-1.0, 3.0, -2.0, 2.0]])
    assert f"**{num} of 60 samples**: inside the box." in views.texts(app)


def test_filters_and_lasso_both_hold_and_are_said_in_words(home, pets):
    app = lasso(explore(home))
    app.multiselect(key="explore.classes").set_value(["cat"])
    views.rerun(app)
    table = sample_table(pets, None).set_index("sample_id")
    num = int((table.loc[selected_ids(pets), "given_label"] == "cat").sum())
    assert f"**{num} of 60 samples**: class = cat, inside the lasso." in views.texts(app)
    app.text_input(key="explore.search").set_value("no such id")
    views.rerun(app)
    assert "**0 of 60 samples**" in views.texts(app) and "No sample passes" in views.texts(app)
    press(app, "explore.clear")
    assert "**60 of 60 samples**: all samples." in views.texts(app)


def test_every_filter_passes_what_it_says(home, pets):
    ids = list(pets.manifest()["sample_id"][:9])
    ledger = pets.ledger()
    ledger.pin(ids[:2], to="validation", who="ada")
    ledger.pin(ids[2:4], to="train", who="ada")
    ledger.exclude(ids[4:5], who="ada")
    ledger.relabel(ids[5:6], "dog", who="ada")
    table = sample_table(pets, pets.run("first"))

    def found(**chosen: Any) -> set[str]:
        return set(table["sample_id"][predicates.apply(SampleTable.of(table), chosen)])

    assert found(decisions=["pinned to validation", "excluded"]) == {*ids[:2], ids[4]}
    assert found(decisions=["relabelled"]) == {ids[5]}
    assert found(decisions=["undecided"]) == set(table["sample_id"]) - set(ids[:6])
    assert found(roles=["validation"]) == set(table["sample_id"][table["role"] == "validation"])
    assert found(flags=["withheld by the guard"]) == set(
        table["sample_id"][table["role_reason"].str.startswith("withheld")])
    assert found(flags=["in the hard validation set"]) == set(table["sample_id"][table["in_validation"]])
    assert found(columns={"margin": {"max": 0.0}}) == set(table["sample_id"][table["margin"] <= 0])
    assert found(search="00007") == {"train-00007"}
    assert found() == set(table["sample_id"])
    doubted = table["suggested_label"].notna() & (table["suggested_label"] != table["current_label"])
    assert found(flags=["label in doubt"]) == set(table["sample_id"][doubted]) != set()


def test_a_range_filter_is_drawn_and_said_with_its_numbers(home, pets):
    app = add_filter(explore(home), "margin")
    slider = next(s for s in app.slider if s.label == "Margin")
    slider.set_value((-1.0, 0.25))
    views.rerun(app)
    num = int((sample_table(pets, pets.run("first"))["margin"] <= 0.25).sum())
    assert 0 < num < 60 and f"**{num} of 60 samples**: margin ≤ 0.25." in views.texts(app).replace("\\", "")


# -- the region over time


def drawn_map(app: Any) -> dict[str, Any]:
    """What the map was given to draw."""
    found: dict[str, Any] = json.loads(app.get("bidi_component")[0].proto.json)
    return found


def test_a_new_colouring_is_a_new_layer_of_the_same_map_and_keeps_the_selection(home, pets):
    app = lasso(explore(home))
    before = drawn_map(app)
    assert before["region"]["lasso"], "the page says what is selected, the map draws it"
    app.selectbox(key="explore.colour").set_value("margin")
    after = drawn_map(views.rerun(app))
    assert after["layer"] != before["layer"] and after["owner"] == before["owner"], "so the zoom stays"
    assert after["region"] == before["region"] and "inside the lasso" in views.texts(app)


def test_a_lasso_can_be_cleared(home, pets):
    app = press(lasso(explore(home)), "explore.clear_region")
    assert "**60 of 60 samples**" in views.texts(app) and drawn_map(app)["region"] is None


def test_another_run_has_another_map_so_the_lasso_goes(home, pets):
    make_run(pets.path, "second", seed=1)
    app = lasso(explore(home, run="first"))
    app.selectbox(key="run").set_value("second")
    views.rerun(app)
    assert "**60 of 60 samples**" in views.texts(app) and drawn_map(app)["region"] is None


def test_filters_fade_the_others_or_hide_them_and_the_legend_counts_what_is_left(home, pets):
    app = explore(home)
    app.multiselect(key="explore.classes").set_value(["cat"])
    layer = map_layer.kept(drawn_map(views.rerun(app))["layer"])
    is_cat = (sample_table(pets, None)["given_label"] == "cat").to_numpy()
    assert (layer.selected == is_cat).all() and not layer.is_selected_only
    assert sum(entry["count"] for entry in drawn_map(app)["legend"]["entries"]) == is_cat.sum()
    app.toggle(key="explore.filtered").set_value(True)
    assert map_layer.kept(drawn_map(views.rerun(app))["layer"]).is_selected_only


def test_a_decision_is_marked_on_the_map_at_once(home, pets):
    app = lasso(explore(home))
    before = drawn_map(app)["layer"]
    press(app, "explore.do.exclude")
    layer = map_layer.kept(drawn_map(app)["layer"])
    assert drawn_map(app)["layer"] != before
    assert set(np.asarray(layer.ids)[layer.marks == map_layer.EXCLUDED]) == set(selected_ids(pets))


def test_the_map_can_be_another_run_principal_components_or_two_columns(home, pets):
    run = make_run(pets.path, "second", seed=1)
    app = explore(home, run="first")
    app.selectbox(key="explore.map_of").set_value("run:second")
    layer = map_layer.kept(drawn_map(views.rerun(app))["layer"])
    embedding = run.read_embedding().set_index("sample_id").loc[np.asarray(layer.ids)]
    np.testing.assert_allclose(layer.xy, embedding[["x", "y"]].to_numpy(), rtol=1e-6)
    app.selectbox(key="explore.map_of").set_value("columns")
    layer = map_layer.kept(drawn_map(views.rerun(app))["layer"])
    margin = sample_table(pets, pets.run("first"))["margin"].to_numpy()
    assert np.corrcoef(layer.xy[:, 0], margin)[0, 1] > 0.999 and layer.xy.min() == 0 and layer.xy.max() == 1
    assert "Each axis runs from" in views.texts(app)


# -- decisions


def test_the_whole_selection_is_decided_with_who_view_and_run_and_stays_selected(home, pets):
    ids = selected_ids(pets)
    app = lasso(explore(home))
    app.text_input(key="person").set_value("ada")
    views.rerun(app)
    assert f"Pin {len(ids)} to validation" in views.texts(app)
    press(app, "explore.do.validation")
    decided = pets.ledger().state()
    assert set(decided["sample_id"]) == set(ids) and set(decided["pin"]) == {"validation"}
    batch = pets.ledger().batches().iloc[0]
    assert (batch["who"], batch["view"], batch["run"]) == ("ada", "explore: inside the lasso", "first")
    assert counts(app)["decisions"][0] == f"**{len(ids)}** pinned to validation"
    assert f"**{len(ids)} of 60 samples**: inside the lasso." in views.texts(app)
    assert all(["validation", "pinned: val"] in item["badges"] for item in shown(app)["items"])


def test_marked_samples_are_decided_alone(home, pets):
    app = mark(lasso(explore(home)), selected_ids(pets)[:2])
    assert "Exclude 2" in views.texts(app)
    press(app, "explore.do.exclude")
    assert set(pets.ledger().state()["sample_id"]) == set(selected_ids(pets)[:2])


def test_a_button_lets_go_of_the_marks_as_a_key_does(home, pets):
    app = mark(explore(home), ["train-00001", "train-00002"])
    press(app, "explore.do.exclude")
    assert app.button(key="explore.do.exclude").disabled, "the next decision must not fall on these samples again"
    mark(app, ["train-00003"])
    press(app, "explore.do.validation")
    state = pets.ledger().state().set_index("sample_id")
    assert list(state.index[state["pin"].eq("validation")]) == ["train-00003"]


def test_marks_of_another_selection_do_not_count(home, pets):
    app = explore(home)
    assert app.button(key="explore.do.exclude").disabled, "nothing is decided on everything by accident"
    assert "Mark samples to decide on them" in app.button(key="explore.do.exclude").help
    mark(app, ["train-00001"])
    assert "Exclude 1" in views.texts(app)
    lasso(app)
    assert "Exclude 1" not in views.texts(app).splitlines()


def test_relabel_back_and_undo(home, pets):
    app = mark(explore(home), ["train-00000"])
    app.selectbox(key="explore.relabel.class").set_value("bird")
    press(views.rerun(app), "explore.do.relabel")
    assert pets.ledger().state().set_index("sample_id")["label"].to_dict() == {"train-00000": "bird"}
    assert ["relabelled", "now bird"] in next(i for i in shown(app)["items"] if i["id"] == "train-00000")["badges"]
    press(app, "explore.undo")
    assert pets.ledger().state().empty


def test_above_the_limit_a_decision_asks_first(home, pets, monkeypatch):
    monkeypatch.setattr(actions, "CONFIRM_ABOVE", 5)
    app = press(lasso(explore(home)), "explore.do.exclude")
    assert pets.ledger().state().empty
    assert f"**Exclude {len(selected_ids(pets))} samples?**" in views.texts(app)
    press(app, "explore.cancel")
    assert "explore.confirm" not in [b.key for b in app.button]
    press(press(app, "explore.do.exclude"), "explore.confirm")
    assert len(pets.ledger().state()) == len(selected_ids(pets))


def test_a_refused_decision_is_a_notice_and_changes_nothing(home, pets):
    app = mark(explore(home), ["no-such-sample"])
    press(app, "explore.do.exclude")
    assert any("training samples" in toast.value for toast in app.toast)
    assert pets.ledger().state().empty


# -- the gallery


def test_pages_turn_and_start_over_with_a_new_selection(home):
    path = make_project(home / "pets", num_train=130)
    make_run(path, "first")
    app = explore(home)
    first = [item["id"] for item in shown(app)["items"]]
    assert len(first) == 60 and shown(app)["has_next"] and not shown(app)["has_previous"]
    app.session_state["explore.page"] = 3
    views.rerun(app)
    assert len(shown(app)["items"]) == 10 and not shown(app)["has_next"]
    click(app, "roles", "train")
    assert not shown(app)["has_previous"]


@pytest.mark.parametrize("value", [None, "x", {"op": "drop", "ids": ["a"]}, {"op": "train", "ids": "a"}, {"ids": []}])
def test_what_the_browser_should_not_send_is_no_act(value):
    assert gallery.act_of(value) is None


def test_an_act_has_its_ids_and_class_as_text():
    assert gallery.act_of({"op": "relabel", "ids": [1, "b"], "label": 7}) == gallery.Act("relabel", ("1", "b"), "7")
    assert gallery.act_of({"op": "undo", "ids": []}) == gallery.Act("undo", ())


def test_acts_come_numbered_in_order_and_others_things_are_left_out():
    sent = {"acts": [{"number": 3, "op": "undo", "ids": []}, {"number": 4, "op": "rm", "ids": []}, "x",
                     {"number": "5", "op": "undo", "ids": []}, {"number": 6, "op": "train", "ids": ["a"]}]}
    assert gallery.acts_of(sent) == [(3, gallery.Act("undo", ())), (6, gallery.Act("train", ("a",)))]
    for value in (None, {}, {"acts": None}, {"acts": {}}, [sent]):
        assert gallery.acts_of(value) == []


def test_pictures_are_large_enough_and_of_a_size_that_is_served():
    assert [gallery.picture_size(side) for side in (64, 96, 160, 256, 600)] == [128, 128, 256, 512, 512]


def test_values_in_a_few_words():
    assert gallery.value_words("margin", -0.4249) == "margin -0.42"
    assert gallery.value_words("label_quality", 0.004) == "quality 0.004"
    assert gallery.value_words("label_quality", 1e-7) == "quality \u2248 0"
    assert [gallery.value_words("margin", value) for value in (-1e-7, 0.0)] == ["margin 0.000", "margin 0.000"]
    assert gallery.value_words("weight", float("nan")) == "no weight"
    assert gallery.value_words("group", "night") == "group: night"
    assert gallery.value_words("forgetting", 3) == "forgetting 3"
    assert gallery.value_words(None, 1) == ""


@pytest.mark.parametrize(("quality", "shown"), [(0.5, "label_quality"), (1e-6, "weight"), (None, "weight")])
def test_under_each_card_stands_a_value_that_differs(quality, shown):
    rows = pd.DataFrame({"label_quality": np.linspace(0, 1, 8) * (np.nan if quality is None else quality),
                         "margin": -1.0, "p_train": [None, *np.linspace(0, 1, 7)], "weight": np.linspace(0, 1, 8)})
    rows["label_quality"] += 1e-9
    assert gallery.telling_column(rows, "label_quality", results.SORTS) == shown
    assert gallery.telling_column(rows.drop(columns="weight"), "margin", ("margin", "loss")) == "margin"
    assert gallery.telling_column(rows, None, results.SORTS) is None


# -- one sample


def test_the_panel_shows_labels_course_neighbours_reasons_and_history(home, pets):
    pets.ledger().pin(["train-00007"], to="validation", who="ada", why="odd *one*", run="first")
    app = explore(home)
    app.session_state[dialog.OPEN_KEY] = "train-00007"
    app.session_state[dialog.ORDER_KEY] = ["train-00003", "train-00007"]
    views.rerun(app)
    said = views.texts(app)
    assert "Nearest neighbours" in said and "10 of" not in said.split("Nearest first")[0]
    assert "Since this run a person pinned it to validation" in said.replace("\\", "")
    table = app.dataframe[0].value
    assert table["why"].tolist() == ["odd *one*"] and table["what"].tolist() == ["pin 1 sample to validation"]
    assert "Held-out margin" in page_html(app) and "/api/thumbnail?" in page_html(app)
    assert app.button(key="sample.step1").disabled and not app.button(key="sample.step-1").disabled
    press(app, "sample.step-1")
    assert app.session_state[dialog.OPEN_KEY] == "train-00003"


def test_the_panel_decides_on_its_sample(home, pets, monkeypatch):
    monkeypatch.setattr(actions, "show_notices", lambda: None)  # AppTest cannot read a toast beside a dialog
    app = explore(home)
    app.session_state[dialog.OPEN_KEY] = "train-00004"
    press(views.rerun(app), "sample.exclude")
    assert pets.ledger().state().set_index("sample_id")["excluded"].to_dict() == {"train-00004": True}
    press(app, "sample.include")
    assert pets.ledger().state().empty


def test_no_button_of_the_panel_moves_when_a_decision_is_taken(home, pets, monkeypatch):
    """A press that begins on one button and ends on another, which has taken its place meanwhile, is none."""
    monkeypatch.setattr(actions, "show_notices", lambda: None)
    app = explore(home)
    app.session_state[dialog.OPEN_KEY] = "train-00004"
    views.rerun(app)

    def row():
        keys = [str(button.key) for button in app.button]
        return keys[keys.index("sample.confirm"):keys.index("sample.unpin") + 2]

    before = row()
    for pressed, last in (("exclude", "include"), ("include", "exclude"), ("train", "exclude"), ("unpin", "exclude")):
        press(app, f"sample.{pressed}")
        assert row() == [*before[:-1], f"sample.{last}"]
    assert before[-1] == "sample.exclude" and "sample.undo" in before


def test_neighbours_are_found_by_the_runs_rows_when_the_manifest_has_changed(home, pets):
    manifest = pets.manifest()
    run = pets.run("first")
    signals = run.read_signals()
    run.write_signals(signals.iloc[::-1].reset_index(drop=True))  # the run knew another order
    embedding, (indices, dists) = run.read_embedding(), run.read_neighbours()
    last = len(signals) - 1
    run.write_embedding(embedding["sample_id"].to_numpy()[::-1], embedding[["x", "y"]].to_numpy()[::-1],
                        last - indices[::-1], dists[::-1])
    app = explore(home)
    app.session_state[dialog.OPEN_KEY] = "train-00005"
    views.rerun(app)
    near = galleries(app)[1]["items"]
    expected = manifest["sample_id"].iloc[indices[5]].tolist()
    assert [item["id"] for item in near] == expected


def test_a_sample_that_is_gone_closes_the_panel(home, pets):
    app = explore(home)
    app.session_state[dialog.OPEN_KEY] = "gone"
    views.rerun(app)
    assert dialog.OPEN_KEY not in app.session_state


def test_reasons_name_rank_guard_and_a_pin_that_fights_the_splitter():
    table = pd.DataFrame({
        "sample_id": ["a", "b", "c"], "current_label": ["x", "x", "y"], "given_label": ["x", "x", "y"],
        "p_train": [0.9, 0.2, 0.5], "role": ["validation", "train", "train"],
        "role_reason": ["pinned_validation", "withheld_disputed", "trains"],
        "route_share": [1.0, 0.0, np.nan], "label_quality": [0.8, 0.1, np.nan], "heldout_epochs": [3, 4, 0],
        "suggested_label": [None, "y", None], "pin": ["validation", None, None], "excluded": [False, False, True]})
    pinned = reasons.reasons(SampleTable.of(table), 0, 0.1, "validation", False)
    assert pinned[0] == "In validation: pinned to validation."
    assert "place 2 of 2 in its class" in pinned[1]
    assert pinned[-1] == "The splitter disagrees with the pin: left to itself it leans 90% the other way."
    withheld = reasons.reasons(SampleTable.of(table), 1, 0.1, "", False)
    assert withheld[0] == ("In training, not in validation: withheld by the guard: held-out predictions confidently "
                           "say y.")
    assert "held-out predictions name y instead" in " ".join(withheld)
    later = " ".join(reasons.reasons(SampleTable.of(table.assign(role_reason="trains")), 1, 0.1, "", False))
    assert "the next split would have considered" in later
    out = reasons.reasons(SampleTable.of(table), 2, 0.1, "", False)
    assert out[-1] == "Since this run a person excluded it: that takes effect in the next run."
    assert "label quality" not in " ".join(out).lower()


def test_a_routed_sample_far_down_the_splitters_list_is_explained():
    size = 20
    table = pd.DataFrame({
        "sample_id": [f"s{i}" for i in range(size)], "current_label": "x", "given_label": "x",
        "p_train": np.linspace(0.1, 0.9, size), "role": "validation", "role_reason": "routed_learned"})
    passed_over = "Many that the splitter wants more were passed over"
    assert passed_over in " ".join(reasons.reasons(SampleTable.of(table), 15, 0.1, "", False))
    assert passed_over not in " ".join(reasons.reasons(SampleTable.of(table), 1, 0.1, "", False))


# -- names that look like markup


def test_class_names_stay_text_everywhere(home):
    path = make_project(home / "odd", classes=HOSTILE)
    make_run(path, "first")
    app = explore(home)
    app.selectbox(key="explore.colour").set_value("current_label")
    app.multiselect(key="explore.classes").set_value([HOSTILE[0], HOSTILE[3]])
    views.rerun(app)
    app.session_state[dialog.OPEN_KEY] = shown(app)["items"][0]["id"]
    views.rerun(app)
    html = page_html(app)
    assert "<img src=x" not in html
    assert {entry["name"] for entry in drawn_map(app)["legend"]["entries"]} == set(HOSTILE), "text, as it is"
    said = "\n".join(str(m.value) for m in [*app.markdown, *app.caption])
    for name in (HOSTILE[0], HOSTILE[3]):
        assert name not in said, "markdown would interpret it"
    assert "\\$x\\$ \\:red\\[y\\]" in said
    assert {item["label"] for item in shown(app)["items"]} <= set(HOSTILE), "the component gets text as it is"


def test_the_component_never_makes_html_of_data():
    code = (ROOT / "assets" / "gallery" / "gallery.js").read_text()
    for word in ("innerHTML", "insertAdjacentHTML", "outerHTML", "document.write", "eval("):
        assert word not in code


# -- nothing to show yet


def test_without_a_run_labels_and_decisions_can_be_worked_on(home):
    project = Project.open(make_project(home / "pets"))
    app = explore(home)
    said = views.texts(app)
    assert "This project has no run yet" in said and "No map here." in said
    assert "**60 of 60 samples**" in said
    press(mark(app, ["train-00001"]), "explore.do.validation")
    assert list(project.ledger().state()["sample_id"]) == ["train-00001"]


@pytest.mark.parametrize(("state", "has_signals", "says"), [
    ("running", True, "has no map yet: it is made when the run ends"),
    ("running", False, "has no results yet; they appear when its first epoch ends"),
    ("queued", False, "was interrupted before its first results"),  # nothing waits in the queue
    ("failed", False, "failed before its first results"), ("cancelled", False, "was cancelled before its first")])
def test_a_run_without_results_or_map_says_what_is_so(home, state, has_signals, says):
    run = make_run(make_project(home / "pets"), "first", state=state)
    (run.path / "embedding.parquet").unlink(missing_ok=True)
    if not has_signals:
        run.signals_path.unlink(missing_ok=True)
    if state == "failed":
        run.write_status(**run.read_status() | {"error": "the disk is full"})
    said = views.texts(explore(home)).replace("\\", "")
    assert says in said and ("It failed with: the disk is full." in said) == (state == "failed")
    if not has_signals:
        assert says in views.texts(views.start(home, "triage", run="first")).replace("\\", "")


def test_a_run_that_ended_without_a_map_says_how_to_get_one_unless_another_runs_map_is_shown(home):
    path = make_project(home / "pets")
    run = make_run(path, "first")
    (run.path / "embedding.parquet").unlink()
    assert "ended without a map" in views.texts(explore(home))
    make_run(path, "second", seed=1)
    app = explore(home, run="first")
    assert "without a map" not in views.texts(app) and drawn_map(app)["layer"]


def test_without_training_samples_the_page_says_so(home):
    make_project(home / "pets", num_train=0)
    assert "no training samples" in views.texts(explore(home))
