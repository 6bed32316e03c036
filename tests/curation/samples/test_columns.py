"""Facts about columns against plain pandas: kinds, codes and counts, masks, order, bins; what is kept, and how long."""

import gc

import numpy as np
import pandas as pd
import pytest

from curation.samples import columns


@pytest.fixture
def frame() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    letters = np.array(["b", "a", "10", "9", None], dtype=object)[rng.integers(0, 5, 400)]
    numbers = np.where(rng.random(400) < 0.2, np.nan, rng.normal(size=400)).astype(np.float32)
    return pd.DataFrame({
        "letter": pd.array(letters, dtype="str"), "kind": pd.Categorical(letters), "number": numbers,
        "whole": rng.integers(0, 9, 400), "flag": rng.random(400) < 0.5,
        "maybe": np.array([True, False, None], dtype=object)[rng.integers(0, 3, 400)],
        "name": pd.array([None if i % 50 == 0 else f"N{i}.jpg" for i in range(400)], dtype="str"),
        "when": pd.date_range("2026-01-01", periods=400), "list": [[1, 2]] * 400})


def test_every_column_has_a_kind(frame: pd.DataFrame) -> None:
    assert {name: columns.kind_of(frame[name]) for name in frame} == {
        "letter": "choice", "kind": "choice", "number": "number", "whole": "number", "flag": "flag", "maybe": "choice",
        "name": "text", "when": "other", "list": "other"}


@pytest.mark.parametrize("name", ["letter", "kind", "flag", "maybe"])
def test_counts_are_those_of_pandas_within_any_rows(frame: pd.DataFrame, name: str) -> None:
    mask = frame["whole"].to_numpy() < 4
    found, expected = columns.codes_of(frame[name]), frame[name][mask].astype(object).value_counts(dropna=False)
    by_name = dict(zip(found.names, found.counts(mask).tolist(), strict=False))
    assert by_name == {value: num for value, num in expected.items() if not pd.isna(value)}
    assert found.counts(mask)[-1] == frame[name][mask].isna().sum()


def test_names_are_in_natural_order(frame: pd.DataFrame) -> None:
    assert columns.codes_of(frame["letter"]).names == ("9", "10", "a", "b")


@pytest.mark.parametrize("name", ["number", "whole", "letter", "name", "flag"])
@pytest.mark.parametrize("is_descending", [False, True])
def test_order_is_pandas_order_with_nulls_last_and_ties_as_they_lie(frame, name, is_descending) -> None:
    column = frame[name]
    if name == "letter":  # 9 before 10
        column = column.map({"9": 0, "10": 1, "a": 2, "b": 3})
    expected = column.sort_values(ascending=not is_descending, kind="stable", na_position="last").index
    np.testing.assert_array_equal(columns.order_of(frame[name], is_descending), expected)


@pytest.mark.parametrize("share", [0.005, 0.4, 1.0])
def test_a_page_is_cut_from_the_sorted_selection(frame: pd.DataFrame, share: float) -> None:
    rows = np.flatnonzero(np.random.default_rng(1).random(400) < share)
    expected = frame["number"].iloc[rows].sort_values(kind="stable", ascending=False).index[1:3]
    np.testing.assert_array_equal(columns.sorted_page(rows, 400, frame["number"], True, 1, 3), expected)


@pytest.mark.parametrize("text", ["n1", ".JPG", "7.", "*", ""])
def test_contains_is_about_the_text_itself_in_any_case(frame: pd.DataFrame, text: str) -> None:
    for name in ("name", "letter"):
        expected = [isinstance(cell, str) and text.lower() in cell.lower() for cell in frame[name]]
        assert columns.contains(frame[name], text).tolist() == expected


def test_bins_are_those_of_numpy(frame: pd.DataFrame) -> None:
    bins = columns.bins_of(frame["number"], -1.0, 1.0, 8)
    finite = frame["number"].dropna().to_numpy(np.float64)
    np.testing.assert_array_equal(np.bincount(bins, minlength=9)[:8], np.histogram(finite, 8, (-1.0, 1.0))[0])
    assert (bins == 8).sum() == 400 - ((finite >= -1) & (finite <= 1)).sum()


def test_a_fact_is_kept_with_the_cells_and_not_with_the_frame(frame: pd.DataFrame) -> None:
    order, codes = columns.order_of(frame["number"], False), columns.codes_of(frame["letter"])
    later = frame.copy(deep=False)
    later["letter"] = later["letter"].where(later.index > 0, "new")
    assert columns.order_of(later["number"], False) is order
    assert "new" in columns.codes_of(later["letter"]).names and "new" not in codes.names
    del frame, later
    gc.collect()


def test_facts_go_when_their_cells_go() -> None:
    frame = pd.DataFrame({"a": np.random.default_rng(2).normal(size=50), "b": pd.array(["x"] * 50, dtype="str")})
    columns.order_of(frame["a"], True), columns.codes_of(frame["b"])
    before = len(columns._kept)
    del frame
    gc.collect()
    assert len(columns._kept) < before


def test_an_empty_column_is_no_trouble() -> None:
    empty = pd.DataFrame({"a": np.empty(0), "b": pd.array([], dtype="str")})
    assert columns.bounds_of(empty["a"]) is None and columns.codes_of(empty["b"]).names == ()
    assert columns.codes_of(empty["b"]).counts().tolist() == [0]
    assert columns.order_of(empty["b"], True).tolist() == [] and columns.contains(empty["b"], "x").tolist() == []
