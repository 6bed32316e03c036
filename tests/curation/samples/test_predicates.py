"""Predicates: what they leave, counts within what other parts leave, words, fitting to another table, saved views."""

from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pytest

from curation.project import Project
from curation.samples import saved_views
from curation.samples.columns import Column
from curation.samples.frames import SampleTable
from curation.samples.predicates import Passing, apply, fitted, is_doubted, part_of, passing
from curation.views.explore.distributions import condition_of, edges_of, label_counts
from curation.views.explore.selection_words import sentence
from curation.views.widgets.column_filter import range_of
from engine.contract.run_dir import RunDirError
from tests.fakes import make_project

CLASSES = ("cat", "dog", "bird")


@pytest.fixture
def table() -> SampleTable:
    rng = np.random.default_rng(0)
    num = 300

    def names(share_of_null: float) -> pd.Series:
        cells = np.asarray(CLASSES, dtype=object)[rng.integers(0, 3, num)]
        return pd.Series(np.where(rng.random(num) < share_of_null, None, cells), dtype="str")

    return SampleTable.of(pd.DataFrame({
        "sample_id": [f"s{i:03d}" for i in range(num)], "given_label": names(0), "current_label": names(0),
        "suggested_label": names(0.3), "predicted_label": names(0.1), "role": ["train", "validation"] * 150,
        "margin": rng.uniform(-1, 1, num).astype(np.float32), "count": rng.integers(0, 5, num),
        "camera": pd.Series(["left", "right", None] * 100, dtype="str"), "pin": pd.Series([None] * num, dtype="str"),
        "relabel": pd.Series([None] * num, dtype="str"), "excluded": False, "in_validation": False}))


def test_parts_hold_together_and_invert_turns_the_whole_over(table: SampleTable) -> None:
    chosen = {"classes": ["cat", "dog"], "roles": ["train"], "search": "S0", "columns": {
        "margin": {"max": 0.0}, "camera": ["left", None]}}
    inside = np.arange(300) % 7 != 0
    frame = table.pandas()
    expected = (frame["current_label"].isin(["cat", "dog"]) & (frame["role"] == "train") & (frame["margin"] <= 0)
                & frame["sample_id"].str.startswith("s0") & (frame["camera"].isna() | (frame["camera"] == "left"))
                & inside).to_numpy(dtype=bool)
    assert 0 < expected.sum() < 40
    np.testing.assert_array_equal(apply(table, chosen, inside), expected)
    np.testing.assert_array_equal(apply(table, {**chosen, "inverted": True}, inside), ~expected)


def test_counts_of_a_part_are_taken_among_what_the_others_leave(table: SampleTable) -> None:
    frame = table.pandas("current_label", "margin")
    inside, is_cat, is_low = np.arange(300) < 200, (frame["current_label"] == "cat").to_numpy(), frame["margin"] <= 0
    left = passing(table, {"classes": ["cat"], "columns": {"margin": {"max": 0.0}}}, inside)
    np.testing.assert_array_equal(left.but("classes"), is_low & inside)
    np.testing.assert_array_equal(left.but(part_of("margin")), is_cat & inside)
    np.testing.assert_array_equal(left.but("region"), is_cat & is_low)
    np.testing.assert_array_equal(left.but("roles"), left.all())
    assert Passing({}, 3).all().all()


def test_doubt_compares_names_not_codes(table: SampleTable) -> None:
    frame = table.pandas()
    frame = frame.assign(suggested_label=frame["suggested_label"].replace("bird", "emu"))  # no current one, other codes
    expected = [isinstance(s, str) and s != c for s, c in zip(frame["suggested_label"], frame["current_label"],
                                                            strict=True)]
    assert is_doubted(SampleTable.of(frame)).tolist() == expected


# -- words


@pytest.mark.parametrize(("chosen", "words"), [
    ({}, "all samples"),
    ({"region": {"lasso": [[]], "box": []}}, "inside the lasso"),
    ({"classes": ["dress"], "roles": ["validation"], "columns": {"margin": {"max": 0}},
      "region": {"lasso": [[]], "box": []}}, "class = dress and role = validation and margin ≤ 0, inside the lasso"),
    ({"columns": {"price": {"min": 0.5, "max": 1250.0}, "my col": ["a", None]}, "inverted": True},
     "not (price 0.5 to 1,250 and my col = a or no value)"),
    ({"classes": list("abcdef"), "search": "x"}, 'class = a or b or c or 3 more and id contains "x"'),
    ({"columns": {"path": {"contains": "n/", "is_null": False}, "why": {"is_null": True}}},
     'path contains "n/" and path has a value and why has no value'),
    ({"flags": ["label in doubt"], "decisions": ["excluded", "relabelled"]},
     "decision = excluded or relabelled and label in doubt"),
])
def test_a_predicate_in_words(chosen: dict, words: str) -> None:
    assert sentence(chosen) == words


# -- fitted to another table


def test_what_is_gone_is_said_and_the_rest_applies(table: SampleTable) -> None:
    region = {"lasso": [[[0, 0], [1, 0], [0, 1]]], "box": []}
    chosen, gone = fitted({"classes": ["cat", "emu"], "columns": {"lens": ["a"], "margin": {"min": 0.5},
                           "camera": ["left", "top"]}, "region": region, "run": "old"}, table, CLASSES, "new")
    assert chosen == {"classes": ["cat"], "columns": {"margin": {"min": 0.5}, "camera": ["left"]}}
    assert gone == ["the class emu is not there", "the column lens is not there", "top is no value of camera",
                    "its lasso is of the map of the run old"]
    assert fitted({"region": region, "run": "new"}, table, CLASSES, "new") == ({"region": region, "run": "new"}, [])


@pytest.mark.parametrize("value", [
    None, [], "x", {"search": 7, "classes": "cat"}, {"columns": ["margin"]}, {"columns": {"margin": {}}},
    {"columns": {"margin": {"min": "1"}}}, {"columns": {"margin": {"max": float("nan")}}},
    {"columns": {"camera": {"min": 1}}}, {"columns": {"camera": [["x"]]}}, {"columns": {"margin": {"min": True}}},
    {"columns": {"margin": "x"}}, {"columns": {"camera": {"like": "x"}}}, {"inverted": True}, {"classes": [["cat"]]}])
def test_what_is_no_predicate_selects_nothing_and_breaks_nothing(table: SampleTable, value: object) -> None:
    chosen, _ = fitted(value, table, CLASSES, "")
    assert chosen == {} and apply(table, chosen).all()


# -- saved


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project.open(make_project(tmp_path / "p", size=4))


def test_a_view_is_found_again_as_it_was(project: Project) -> None:
    predicate = {"classes": ["cat"], "columns": {"margin": {"min": -0.5}, "camera": [None, "é"]}, "run": "first",
                 "region": {"lasso": [], "box": [[0.0, 1.0, 0.0, 1.0]]}}
    saved_views.save(project, "my.view", predicate, run="first", who="ada")
    saved_views.save(project, "a", {"search": "x"}, run="", who="ada")
    assert saved_views.names(project) == ["a", "my.view"]
    found = saved_views.load(project, "my.view")
    assert (found["predicate"], found["run"], found["who"]) == (predicate, "first", "ada")
    assert saved_views.load(project, "a")["run"] == ""
    saved_views.delete(project, "a")
    saved_views.delete(project, "a")
    assert saved_views.names(project) == ["my.view"]
    assert [path.name for path in saved_views.folder(project).iterdir()] == ["my.view.json"], "nothing is left half"


@pytest.mark.parametrize("name", ["", "../x", "a/b", ".hidden", "x" * 65, "a..b"])
def test_a_name_stays_in_its_folder(project: Project, name: str) -> None:
    for act in (lambda: saved_views.save(project, name, {}, run="", who="ada"), lambda: saved_views.load(project, name),
                lambda: saved_views.delete(project, name)):
        with pytest.raises(RunDirError, match="a name must be"):
            act()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"predicate": 3}'])
def test_a_broken_view_is_one_line(project: Project, text: str) -> None:
    saved_views.folder(project).mkdir()
    (saved_views.folder(project) / "bad.json").write_text(text)
    with pytest.raises(saved_views.ViewError, match="view bad cannot be read"):
        saved_views.load(project, "bad")
    with pytest.raises(saved_views.ViewError, match="no saved view none"):
        saved_views.load(project, "none")


# -- charts' counts


def test_given_against_predicted_is_a_crosstab(table: SampleTable) -> None:
    frame = table.pandas()
    mask = (frame["margin"] < 0.3).to_numpy()
    expected = pd.crosstab(frame["given_label"][mask], frame["predicted_label"][mask]).loc[list(CLASSES), list(CLASSES)]
    np.testing.assert_array_equal(label_counts(table, "predicted_label", CLASSES, mask), expected)


@pytest.mark.parametrize("name", ["margin", "count"])
def test_bars_filter_to_what_they_hold(table: SampleTable, name: str) -> None:
    edges = edges_of(table.columns[name])
    counts = np.histogram(table[name].numbers, edges)[0]
    first, last = (10, 17) if name == "margin" else (1, 3)
    condition = condition_of(edges, first, last)
    assert condition and apply(table, {"columns": {name: condition}}).sum() == counts[first:last + 1].sum() > 0
    assert condition_of(edges, 0, len(edges) - 2) is None
    assert set(condition_of(edges, 0, 1) or {}) == {"max"}


def test_the_slider_reaches_every_value() -> None:
    for values in ([0.003, 0.004], [-5.0, 123456.7], [1e-9, 1.0], [3, 900], [-1.0, 1.0]):
        column = Column(pl.Series("own", values, strict=False))
        low, high, step = range_of(column) or (0, 0, 0)
        assert low <= min(values) and high >= max(values) and 0 < step <= (high - low) / 2
    assert range_of(Column(pl.Series("own", [2.0, 2.0]))) is None
    assert range_of(Column(pl.Series("own", [np.nan]))) is None
