"""Facts about columns against plain pandas: kinds, codes and counts, masks, order, bins; what is kept, and how long."""

import gc
import weakref

import numpy as np
import pandas as pd
import pytest

from curation.samples.columns import Column
from curation.samples.table import SampleTable


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
    assert {name: Column(frame[name]).kind for name in frame} == {
        "letter": "choice", "kind": "choice", "number": "number", "whole": "number", "flag": "flag", "maybe": "choice",
        "name": "text", "when": "other", "list": "other"}


@pytest.mark.parametrize("name", ["letter", "kind", "flag", "maybe"])
def test_counts_are_those_of_pandas_within_any_rows(frame: pd.DataFrame, name: str) -> None:
    mask = frame["whole"].to_numpy() < 4
    found, expected = Column(frame[name]).codes, frame[name][mask].astype(object).value_counts(dropna=False)
    by_name = dict(zip(found.names, found.counts(mask).tolist(), strict=False))
    assert by_name == {value: num for value, num in expected.items() if not pd.isna(value)}
    assert found.counts(mask)[-1] == frame[name][mask].isna().sum()


def test_names_are_in_natural_order(frame: pd.DataFrame) -> None:
    assert Column(frame["letter"]).codes.names == ("9", "10", "a", "b")


@pytest.mark.parametrize("name", ["number", "whole", "letter", "name", "flag"])
@pytest.mark.parametrize("is_descending", [False, True])
def test_order_is_pandas_order_with_nulls_last_and_ties_as_they_lie(frame, name, is_descending) -> None:
    column = frame[name]
    if name == "letter":  # 9 before 10
        column = column.map({"9": 0, "10": 1, "a": 2, "b": 3})
    expected = column.sort_values(ascending=not is_descending, kind="stable", na_position="last").index
    np.testing.assert_array_equal(Column(frame[name]).order(is_descending), expected)


@pytest.mark.parametrize("share", [0.005, 0.4, 1.0])
def test_a_page_is_cut_from_the_sorted_selection(frame: pd.DataFrame, share: float) -> None:
    rows = np.flatnonzero(np.random.default_rng(1).random(400) < share)
    expected = frame["number"].iloc[rows].sort_values(kind="stable", ascending=False).index[1:3]
    np.testing.assert_array_equal(Column(frame["number"]).sorted_page(rows, True, 1, 3), expected)


@pytest.mark.parametrize("text", ["n1", ".JPG", "7.", "*", ""])
def test_contains_is_about_the_text_itself_in_any_case(frame: pd.DataFrame, text: str) -> None:
    for name in ("name", "letter"):
        expected = [isinstance(cell, str) and text.lower() in cell.lower() for cell in frame[name]]
        assert Column(frame[name]).contains(text).tolist() == expected


def test_bins_are_those_of_numpy(frame: pd.DataFrame) -> None:
    bins = Column(frame["number"]).bins(-1.0, 1.0, 8)
    finite = frame["number"].dropna().to_numpy(np.float64)
    np.testing.assert_array_equal(np.bincount(bins, minlength=9)[:8], np.histogram(finite, 8, (-1.0, 1.0))[0])
    assert (bins == 8).sum() == 400 - ((finite >= -1) & (finite <= 1)).sum()


# -- what is kept


def test_what_is_known_of_a_column_is_worked_out_once(frame: pd.DataFrame) -> None:
    table = SampleTable(frame)
    number, letter = table.columns["number"], table.columns["letter"]
    assert number.order(False) is number.order(False) and number.order(False) is not number.order(True)
    assert number.bins(0.0, 1.0, 4) is number.bins(0.0, 1.0, 4) is not number.bins(0.0, 1.0, 5)
    assert letter.codes is letter.codes and number.bounds is number.bounds


def test_a_table_with_more_columns_shares_what_is_known_of_the_others(frame: pd.DataFrame) -> None:
    table = SampleTable(frame)
    before = table.columns["number"].order(False)
    added = pd.DataFrame({"new": pd.array(["x"] * 400, dtype="str")})
    first, second = table.with_columns(added), table.with_columns(added.assign(new="y"))
    assert first.columns["number"].order(False) is before is second.columns["number"].order(False)
    assert first.columns["letter"].codes is second.columns["letter"].codes is table.columns["letter"].codes
    assert first.columns["new"].codes.names == ("x",) and second.columns["new"].codes.names == ("y",)
    assert list(first.frame) == [*frame, "new"] == list(first.columns) and "new" not in table.frame
    assert np.shares_memory(first.frame["number"].to_numpy(), frame["number"].to_numpy())
    with pytest.raises(AssertionError, match="a column number already"):
        table.with_columns(pd.DataFrame({"number": np.zeros(400)}))


def test_what_is_known_goes_with_the_tables_that_have_it(frame: pd.DataFrame) -> None:
    table = SampleTable(frame)
    later = table.with_columns(pd.DataFrame({"new": np.arange(400.0)}))
    shared, own = (weakref.ref(later.columns[name].order(True)) for name in ("number", "new"))
    del later
    gc.collect()
    assert own() is None and shared() is not None
    del table
    gc.collect()
    assert shared() is None


def test_an_empty_column_is_no_trouble() -> None:
    empty = SampleTable(pd.DataFrame({"a": np.empty(0), "b": pd.array([], dtype="str")})).columns
    assert empty["a"].bounds is None and empty["b"].codes.names == ()
    assert empty["b"].codes.counts().tolist() == [0]
    assert empty["b"].order(True).tolist() == [] and empty["b"].contains("x").tolist() == []
