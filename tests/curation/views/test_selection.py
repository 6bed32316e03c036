"""The selection on the Explore page: filters of any column with counts, undo, saved views, address, table, charts."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from curation.project import Project
from curation.samples import links, saved_views
from curation.samples.table import sample_table
from curation.views.explore import page as explore_page
from curation.views.sample import dialog
from curation.views.widgets import actions
from engine.contract.manifest import read_manifest
from tests import views
from tests.curation.views.test_explore import add_filter, click, counts, drawn_map, explore, lasso, press, selected_ids
from tests.fakes import make_project, make_run, write_manifest


@pytest.fixture
def pets(home: Path) -> Project:
    """60 training samples, a run called first; columns of the user's own: camera, price, note (60 values), flag."""
    path = make_project(home / "pets")
    rows = read_manifest(path)
    rng = np.random.default_rng(0)
    rows["camera"] = np.array(["left", "right", "*b*", None], dtype=object)[rng.integers(0, 4, len(rows))]
    rows["price"] = np.where(rng.random(len(rows)) < 0.2, np.nan, rng.uniform(0, 500, len(rows)).round(2))
    rows["note"] = [f"Note {i} $x$" for i in range(len(rows))]
    rows["flag"] = rng.random(len(rows)) < 0.5
    write_manifest(path, rows, ("cat", "dog", "bird"), "images")
    make_run(path, "first")
    return Project.open(path)


def table_of(project: Project) -> pd.DataFrame:
    return sample_table(project, project.run("first"))


def says(app: Any) -> str:
    """The line of the selection, its escapes taken away."""
    return next(str(m.value) for m in app.markdown if " samples**: " in str(m.value)).replace("\\", "")


def options(app: Any, key: str) -> list[str]:
    return list(app.multiselect(key=key).options)


def choose(app: Any, key: str, value: list[str]) -> Any:
    app.multiselect(key=key).set_value(value)
    return views.rerun(app)


def choose_one(app: Any, key: str, value: str) -> Any:
    """One of a segmented control."""
    next(group for group in app.get("button_group") if group.key == key).set_value(value)
    return views.rerun(app)


# -- filters of any column


def test_every_column_is_on_offer_ours_first_and_what_has_a_filter_is_not(home, pets):
    app = explore(home)
    offered = app.selectbox(key="explore.add").options
    assert offered.index("Margin") < offered.index("camera") < offered.index("path")
    missing = set(table_of(pets)) - {"sample_id", "current_label", "role", "split", "signal_row"}
    assert len(offered) == len(missing), "each column"
    assert "camera" not in add_filter(app, "camera").selectbox(key="explore.add").options


def test_a_choice_carries_counts_of_what_the_other_filters_and_the_lasso_leave(home, pets):
    app = add_filter(explore(home), "camera")
    table = table_of(pets)
    counts = table["camera"].value_counts()
    assert options(app, "explore.on.camera") == [*(f"{name} ({counts[name]})" for name in ("*b*", "left", "right")),
                                                 f"(no value) ({table['camera'].isna().sum()})"]
    choose(app, "explore.on.camera", ["left", "(no value)"])
    passes = table["camera"].isna() | (table["camera"] == "left")
    assert says(app) == f"**{passes.sum()} of 60 samples**: camera = left or no value."
    by_class = table["current_label"][passes].value_counts()
    assert options(app, "explore.classes") == [f"{name} ({by_class.get(name, 0)})" for name in pets.classes]
    lasso(app)
    is_inside = table["sample_id"].isin(selected_ids(pets))
    inside = table["camera"][is_inside].value_counts()
    assert options(app, "explore.on.camera")[1] == f"left ({inside['left']})", "not narrowed by itself"
    choose(app, "explore.classes", ["cat"])
    left = (table["camera"][is_inside & (table["current_label"] == "cat")] == "left").sum()
    assert options(app, "explore.on.camera")[1] == f"left ({left})"
    assert app.multiselect(key="explore.on.camera").value == ["left", "(no value)"], "new counts keep what was chosen"


def test_numbers_flags_texts_and_nulls(home, pets):
    table, app = table_of(pets), add_filter(add_filter(add_filter(explore(home), "price"), "note"), "flag")
    slider = next(s for s in app.slider if s.label == "price")
    assert slider.min <= table["price"].min() and slider.max >= table["price"].max()
    slider.set_value((100.0, 300.0))
    views.rerun(app)
    is_priced = table["price"].between(100, 300)
    assert says(app).startswith(f"**{is_priced.sum()} of 60 samples**: price 100 to 300")
    choose(app, "explore.on.flag", ["True"])
    assert says(app).startswith(f"**{(is_priced & table['flag']).sum()} of 60")
    app.text_input(key="explore.on.note").set_value("note 1")
    views.rerun(app)
    found = is_priced & table["flag"] & table["note"].str.startswith("Note 1")
    assert says(app).startswith(f"**{found.sum()} of 60") and 'note contains "note 1"' in says(app)
    press(app, "explore.clear")
    app = add_filter(app, "price")
    choose_one(app, "explore.on.price.null", "no value")
    assert says(app) == f"**{table['price'].isna().sum()} of 60 samples**: price has no value."
    assert not any(s.label == "price" for s in app.slider)
    choose_one(app, "explore.on.price.null", "has a value")
    assert says(app) == f"**{table['price'].notna().sum()} of 60 samples**: price has a value."
    choose_one(app, "explore.on.price.null", "any")
    assert says(app) == "**60 of 60 samples**: all samples."


def test_taking_a_filter_away_lets_its_samples_back(home, pets):
    app = choose(add_filter(explore(home), "camera"), "explore.on.camera", ["left"])
    press(app, "explore.remove.camera")
    assert says(app) == "**60 of 60 samples**: all samples."
    assert not any(m.key == "explore.on.camera" for m in app.multiselect)


@pytest.mark.parametrize(("column", "names", "words"), [
    ("camera", ["left", "none"], "camera = left or no value"), ("current_label", ["dog"], "class = dog"),
    ("role", ["train", "train"], "all samples"), ("camera", ["3 other"], "all samples"),
    ("flag", ["True"], "flag = True")])
def test_a_category_picked_in_the_legend_joins_the_filter_or_leaves_it(home, pets, monkeypatch, column, names, words):
    app, to_pick = explore(home), list(names)
    draw = explore_page.map_panel

    def pick_one(*args: Any, on_pick: Any, **options: Any) -> Any:
        if to_pick:
            on_pick(column, to_pick.pop(0))
        return draw(*args, on_pick=on_pick, **options)

    monkeypatch.setattr(explore_page, "map_panel", pick_one)
    for _ in range(3):
        views.rerun(app)
    assert says(app).endswith(f"samples**: {words}.")


def test_counts_filter_when_clicked_and_let_go_when_clicked_again(home, pets):
    pets.ledger().exclude(["train-00001", "train-00002"], who="ada")
    app, table = explore(home), table_of(pets)
    assert counts(app)["decisions"] == ["**2** excluded", "**58** undecided"]
    num = (table["role"] == "validation").sum()
    assert says(click(app, "roles", "validation")) == f"**{num} of 60 samples**: role = validation."
    cats = table["current_label"] == "cat"
    choose(app, "explore.classes", ["cat"])
    by_role = table["role"][cats].value_counts()
    assert counts(app)["roles"] == [f"**{by_role[name]}** in {words}" for name, words in
                                    (("train", "training"), ("validation", "validation"))], "under the class alone"
    is_decided = table["sample_id"].isin(["train-00001", "train-00002"])
    undecided = (cats & (table["role"] == "validation") & ~is_decided).sum()
    assert counts(app)["decisions"][1] == f"**{undecided}** undecided"
    click(app, "roles", "train")
    assert says(app) == f"**{cats.sum()} of 60 samples**: class = cat and role = train or validation."
    click(click(app, "roles", "train"), "roles", "validation")
    assert says(click(app, "flags", "withheld by the guard")).endswith("class = cat and withheld by the guard.")
    assert says(click(app, "flags", "withheld by the guard")) == f"**{cats.sum()} of 60 samples**: class = cat."


def test_filters_outlive_another_page(home, pets):
    app = choose(add_filter(explore(home), "camera"), "explore.on.camera", ["left"])
    before = says(choose(app, "explore.classes", ["dog"]))
    views.go(app, "decide")
    assert says(views.go(app, "explore")) == before
    assert app.multiselect(key="explore.classes").value == ["dog"]


# -- the selection as one thing


def test_invert_is_the_rest_and_again_the_same(home, pets):
    app = press(choose(lasso(explore(home)), "explore.classes", ["cat"]), "explore.invert")
    num = (table_of(pets).set_index("sample_id").loc[selected_ids(pets), "current_label"] == "cat").sum()
    assert says(app) == f"**{60 - num} of 60 samples**: not (class = cat, inside the lasso)."
    press(app, "explore.invert")
    assert says(app) == f"**{num} of 60 samples**: class = cat, inside the lasso."


def test_undo_and_redo_go_through_filters_lasso_and_clear(home, pets):
    app = explore(home)
    assert app.button(key="explore.back").disabled and app.button(key="explore.forward").disabled
    said = [says(app), says(choose(app, "explore.classes", ["cat"])), says(lasso(app)),
            says(press(app, "explore.invert")), says(press(app, "explore.clear"))]
    assert len(set(said)) == 4 and said[0] == said[4] and drawn_map(app)["region"] is None
    assert [says(press(app, "explore.back")) for _ in range(4)] == said[3::-1]
    assert app.button(key="explore.back").disabled
    assert [says(press(app, "explore.forward")) for _ in range(2)] == said[1:3]
    assert drawn_map(app)["region"]["lasso"] and app.multiselect(key="explore.classes").value == ["cat"]
    choose(app, "explore.classes", ["dog"])
    assert app.button(key="explore.forward").disabled, "what was undone is gone once something new is chosen"


# -- saved views


def save(app: Any, name: str) -> Any:
    app.text_input(key="explore.view_name").set_value(name)
    return press(views.rerun(app), "explore.view_do_save")


def test_a_view_is_saved_opened_by_its_address_and_let_go_by_a_change(home, pets):
    app = save(choose(lasso(add_filter(explore(home), "camera")), "explore.on.camera", ["left"]), "mine")
    said = says(app)
    assert app.query_params["view"] in ("mine", ["mine"])
    document = json.loads((pets.path / "views" / "mine.json").read_text())
    assert document["run"] == "first" and document["predicate"]["columns"] == {"camera": ["left"]}
    fresh = explore(home, query={"view": "mine"})
    assert says(fresh) == said and drawn_map(fresh)["region"]["lasso"]
    choose(fresh, "explore.classes", ["cat"])
    assert "view" not in fresh.query_params
    press(fresh, "explore.view_do_open")
    assert says(fresh) == said and fresh.query_params["view"] in ("mine", ["mine"])
    press(fresh, "explore.view_do_delete")
    assert saved_views.names(pets) == [] and "view" not in fresh.query_params and says(fresh) == said


def test_a_view_brings_its_run(home, pets):
    make_run(pets.path, "second", seed=1)
    app = save(lasso(explore(home, run="first")), "mine")
    fresh = explore(home, run="second", query={"view": "mine"})
    assert fresh.session_state["run"] == "first" and says(fresh) == says(app)


def test_a_view_says_in_one_line_what_is_gone_and_applies_the_rest(home, pets):
    saved_views.save(pets, "old", {"classes": ["cat", "emu"], "columns": {"lens": ["*a*"], "camera": ["left"]},
                                   "run": "gone", "region": {"lasso": [], "box": [[0, 1, 0, 1]]}},
                     run="gone", who="ada")
    app = explore(home, query={"view": "old"})
    table = table_of(pets)
    num = ((table["current_label"] == "cat") & (table["camera"] == "left")).sum()
    assert says(app) == f"**{num} of 60 samples**: class = cat and camera = left."
    assert [w.value.replace("\\", "") for w in app.warning] == [
        "Of the view old: the class emu is not there; the column lens is not there; its lasso is of the map of the run "
        "gone. The rest applies."]


def test_a_link_brings_filters_lasso_and_sample_and_says_in_one_line_what_is_gone(home, pets):
    app = choose(lasso(explore(home)), "explore.classes", ["cat"])
    app.session_state[dialog.OPEN_KEY] = "train-00003"
    query = {key: str(value[0] if isinstance(value, list) else value)
             for key, value in views.rerun(app).query_params.items()}
    assert set(query) == {"project", "run", "filters", "sample"}
    fresh = explore(home, query=query)
    assert says(fresh) == says(app) and drawn_map(fresh)["region"] == drawn_map(app)["region"] and not fresh.warning
    assert fresh.session_state[dialog.OPEN_KEY] == "train-00003"
    press(fresh, "explore.clear")
    assert "filters" not in fresh.query_params and says(views.rerun(fresh)) == "**60 of 60 samples**: all samples."

    old = links.pack(pets, {"classes": ["cat"], "columns": {"lens": ["*a*"]}})
    fresh = explore(home, query=query | {"filters": old, "sample": "gone*"})
    assert says(fresh) == "**20 of 60 samples**: class = cat."
    assert [w.value.replace("\\", "") for w in fresh.warning] == [
        "Of this link: the column lens is not there. The rest applies."]
    assert any("The link names the sample gone" in toast.value for toast in fresh.toast)
    assert fresh.session_state[dialog.OPEN_KEY] is None
    fresh = explore(home, query=query | {"filters": "none"})
    assert "cannot be read" in fresh.warning[0].value and says(fresh) == "**60 of 60 samples**: all samples."


@pytest.mark.parametrize(("name", "message"), [("none", "no saved view none"), ("../p", "a name must be")])
def test_an_address_with_no_view_is_one_line(home, pets, name, message):
    app = explore(home, query={"view": name})
    assert message in app.warning[0].value.replace("\\", "") and says(app) == "**60 of 60 samples**: all samples."
    assert "view" not in app.query_params and not views.rerun(app).warning


def test_a_bad_name_is_refused_in_one_line(home, pets):
    app = save(choose(explore(home), "explore.classes", ["cat"]), "a/b")
    assert any("a name must be" in toast.value for toast in app.toast) and saved_views.names(pets) == []


# -- the table


def panel(app: Any, name: str) -> Any:
    app.session_state["explore.panel"] = name
    return views.rerun(app)


def test_the_table_sorts_the_whole_selection_and_pages_it(home):
    path = make_project(home / "pets", num_train=130)
    project = Project.open(path)
    table = sample_table(project, make_run(path, "first"))
    app = panel(explore(home), "Table")
    by_margin = table.sort_values("margin", kind="stable")["sample_id"].tolist()
    assert app.dataframe[0].value["sample_id"].tolist() == by_margin[:100]
    assert list(app.dataframe[0].value)[1:4] == ["sample_id", "given_label", "suggested_label"]
    app.selectbox(key="explore.row_sort").set_value("sample_id")
    app.session_state["explore.row_direction"] = "highest"
    app.session_state["explore.page"] = 2
    assert views.rerun(app).dataframe[0].value["sample_id"].tolist() == sorted(table["sample_id"])[::-1][100:]


def test_marked_rows_are_decided_alone_and_the_marks_let_go(home, pets):
    app = panel(choose(explore(home), "explore.classes", ["cat"]), "Table")
    ids = app.dataframe[0].value["sample_id"].tolist()
    views.select(app, row_key(app), rows=[0, 2])
    assert "Exclude 2" in views.texts(app)
    press(app, "explore.do.exclude")
    assert set(pets.ledger().state()["sample_id"]) == {ids[0], ids[2]}
    assert app.button(key="explore.do.exclude").disabled, "a second click does not fall on the whole selection"
    choices = app.segmented_control(key="explore.target.2.marked")
    assert choices.value == "marked" and "20 selected" in str(choices.options)
    choices.set_value("selected")
    assert f"Exclude {len(ids)}" in views.texts(views.rerun(app))


def row_key(app: Any) -> str:
    """The key of the table of rows, as its element id ends in it."""
    found = app.dataframe[0].proto.id
    return found[found.index("explore.rows."):]


@pytest.mark.parametrize("name", ["Table", "Distributions"])
def test_the_whole_selection_can_be_decided_from_every_panel_after_a_question(home, pets, monkeypatch, name):
    monkeypatch.setattr(actions, "CONFIRM_ABOVE", 5)
    app = panel(choose(explore(home), "explore.classes", ["cat"]), name)
    press(app, "explore.do.validation")
    assert pets.ledger().state().empty
    press(app, "explore.confirm")
    table = table_of(pets)
    assert set(pets.ledger().state()["sample_id"]) == set(table["sample_id"][table["current_label"] == "cat"])


# -- distributions


def click_chart(app: Any, start: str, *places: int) -> Any:
    found = next(c.proto.id for c in app.get("plotly_chart") if start in c.proto.id)
    return views.select(app, found[found.index(start):], points=[{"point_index": i} for i in places])


def test_bars_dragged_over_filter_their_column(home, pets):
    app = click_chart(panel(explore(home), "Distributions"), "explore.bars.margin", *range(10, 20))
    num = table_of(pets)["margin"].between(-0.5, 0).sum()
    assert 0 < num < 60 and says(app) == f"**{num} of 60 samples**: margin -0.5 to 0."
    assert says(press(app, "explore.back")) == "**60 of 60 samples**: all samples."


def test_a_cell_of_the_matrix_filters_both_labels(home, pets):
    table, app = table_of(pets), panel(explore(home), "Distributions")
    cells = pd.crosstab(table["given_label"], table["predicted_label"]).reindex(
        index=pets.classes, columns=pets.classes, fill_value=0).to_numpy()
    row, column = np.unravel_index(np.argmax(cells - np.diag(np.diag(cells)) * 2), cells.shape)
    click_chart(app, "explore.matrix.predicted_label", int(row * 3 + column))
    assert says(app) == (f"**{cells[row, column]} of 60 samples**: given label = {pets.classes[row]} and predicted "
                         f"label = {pets.classes[column]}.")


def test_a_class_bar_filters_the_class_and_charts_stay_small(home, pets):
    app = panel(explore(home), "Distributions")
    assert all(len(c.proto.spec) < 40_000 for c in app.get("plotly_chart"))
    most = table_of(pets)["current_label"].value_counts()
    click_chart(app, "explore.class_bars", 0)
    assert says(app).startswith(f"**{most.iloc[0]} of 60 samples**: class = ")


def test_an_inversion_of_nothing_does_not_turn_the_next_filter_over(home, pets):
    app = press(choose(explore(home), "explore.classes", ["cat"]), "explore.invert")
    assert "not (class = cat)" in says(app)
    choose(app, "explore.classes", [])
    assert says(app) == "**60 of 60 samples**: all samples."
    choose(app, "explore.classes", ["cat"])
    num = (table_of(pets)["current_label"] == "cat").sum()
    assert says(app) == f"**{num} of 60 samples**: class = cat."


def test_a_question_is_taken_back_when_somebody_decides_meanwhile(home, pets, monkeypatch):
    monkeypatch.setattr(actions, "CONFIRM_ABOVE", 5)
    app = press(choose(explore(home), "explore.classes", ["cat"]), "explore.do.exclude")
    assert app.button(key="explore.confirm")
    pets.ledger().pin(["train-00001"], "validation", who="bea")
    assert "explore.confirm" not in {button.key for button in views.rerun(app).button}
    assert not pets.ledger().state()["excluded"].any()


def test_selection_steps_are_each_runs_own(home, pets):
    make_run(pets.path, "second", seed=1)
    app = choose(lasso(explore(home, run="first")), "explore.classes", ["cat"])
    app.selectbox(key="run").set_value("second")
    views.rerun(app)
    assert says(app).endswith("class = cat.")
    press(app, "explore.back")
    assert says(app) == "**60 of 60 samples**: all samples." and app.button(key="explore.back").disabled
    press(app, "explore.forward")
    assert says(app).endswith("class = cat.")


def test_the_marked_can_become_the_selection_and_be_saved(home, pets):
    app = panel(choose(explore(home), "explore.classes", ["cat"]), "Table")
    ids = app.dataframe[0].value["sample_id"].tolist()
    views.select(app, row_key(app), rows=[0, 2])
    press(app, "explore.keep_marked")
    assert says(app) == "**2 of 60 samples**: class = cat and among 2 chosen ones."
    save(app, " the two ")
    fresh = explore(home, query={"view": "the-two"})
    assert says(fresh) == says(app)
    assert set(panel(fresh, "Table").dataframe[0].value["sample_id"]) == {ids[0], ids[2]}


def test_chosen_samples_that_are_gone_are_counted(home, pets):
    saved_views.save(pets, "ids", {"ids": ["train-00001", "gone", 7]}, run="first", who="ada")
    app = explore(home, query={"view": "ids"})
    assert says(app) == "**1 of 60 samples**: among 1 chosen ones."
    assert "1 of its 2 samples are not there" in app.warning[0].value.replace("\\", "")
