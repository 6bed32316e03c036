"""Facts about columns against plain pandas: kinds, codes and counts, masks, order, bins; what is kept, and how long."""

import gc
import weakref

import numpy as np
import pandas as pd
import polars as pl
import pytest

from curation.samples import columns
from curation.samples.codes import comparable
from curation.samples.columns import Column
from curation.samples.frames import SampleTable


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


def column(cells: pd.Series) -> Column:
    return SampleTable.of(cells.to_frame())[str(cells.name)]


def test_every_column_has_a_kind(frame: pd.DataFrame) -> None:
    assert {name: column(frame[name]).kind for name in frame} == {
        "letter": "choice", "kind": "choice", "number": "number", "whole": "number", "flag": "flag", "maybe": "choice",
        "name": "text", "when": "other", "list": "other"}


@pytest.mark.parametrize("name", ["letter", "kind", "flag", "maybe"])
def test_counts_are_those_of_pandas_within_any_rows(frame: pd.DataFrame, name: str) -> None:
    mask = frame["whole"].to_numpy() < 4
    found, expected = column(frame[name]).codes, frame[name][mask].astype(object).value_counts(dropna=False)
    by_name = dict(zip(found.names, found.counts(mask).tolist(), strict=False))
    assert by_name == {value: num for value, num in expected.items() if not pd.isna(value)}
    assert found.counts(mask)[-1] == frame[name][mask].isna().sum()


def test_codes_stand_among_other_names_and_two_columns_are_compared() -> None:
    first, second = (column(pd.Series(cells, dtype="str", name="x")).codes
                     for cells in (["b", None, "a", "c", None], ["b", "a", "c", "d", None]))
    assert first.into(("c", "b")).tolist() == [1, -1, -1, 0, -1] and first.into(()).tolist() == [-1] * 5
    assert first.into(range(40_000)).dtype == np.int32 and first.at(np.array([3, 0])).codes.tolist() == [2, 1]
    one, other = comparable(first, second)
    assert (one == other).tolist() == [True, False, False, False, True] and one[1] == one[4] == other[4] == -1


def test_names_are_in_natural_order(frame: pd.DataFrame) -> None:
    assert column(frame["letter"]).codes.names == ("9", "10", "a", "b")


@pytest.mark.parametrize("name", ["number", "whole", "letter", "name", "flag"])
@pytest.mark.parametrize("is_descending", [False, True])
def test_order_is_pandas_order_with_nulls_last_and_ties_as_they_lie(frame, name, is_descending) -> None:
    cells = frame[name]
    if name == "letter":  # 9 before 10
        cells = cells.map({"9": 0, "10": 1, "a": 2, "b": 3})
    expected = cells.sort_values(ascending=not is_descending, kind="stable", na_position="last").index
    np.testing.assert_array_equal(column(frame[name]).order(is_descending), expected)


@pytest.mark.parametrize("name", ["number", "whole", "maybe", "letter", "name"])
@pytest.mark.parametrize("is_descending", [False, True])
@pytest.mark.parametrize("share", [0.005, 0.4, 1.0])
def test_a_page_is_cut_from_the_sorted_selection(frame, name, is_descending, share, monkeypatch) -> None:
    mask = np.random.default_rng(1).random(400) < share
    cells = frame[name][mask].map({"9": 0, "10": 1, "a": 2, "b": 3}) if name == "letter" else frame[name][mask]
    expected = cells.sort_values(kind="stable", ascending=not is_descending, na_position="last").index
    for most in (0, 40, 6_000):  # sorted as a whole; from the top as far as that; all from the top
        monkeypatch.setattr(columns, "EARLY", most)
        for start, stop in ((0, 3), (1, 40), (30, 45), (300, 999)):
            np.testing.assert_array_equal(column(frame[name]).sorted_page(mask, is_descending, start, stop),
                                          expected[start:stop])


@pytest.mark.parametrize("text", ["n1", ".JPG", "7.", "*", ""])
def test_contains_is_about_the_text_itself_in_any_case(frame: pd.DataFrame, text: str) -> None:
    for name in ("name", "letter"):
        expected = [isinstance(cell, str) and text.lower() in cell.lower() for cell in frame[name]]
        assert column(frame[name]).contains(text).tolist() == expected


def test_bins_are_those_of_numpy(frame: pd.DataFrame) -> None:
    bins = column(frame["number"]).bins(-1.0, 1.0, 8)
    finite = frame["number"].dropna().to_numpy(np.float64)
    np.testing.assert_array_equal(np.bincount(bins, minlength=9)[:8], np.histogram(finite, 8, (-1.0, 1.0))[0])
    assert (bins == 8).sum() == 400 - ((finite >= -1) & (finite <= 1)).sum()


def test_the_lowest_are_told_and_cells_without_a_value_are_never_among_them() -> None:
    values = np.random.default_rng(0).random(5000)
    values[::3] = np.nan
    found = Column(pl.Series("quality", values)).lowest(100)
    assert found.sum() == 100 and np.isfinite(values[found]).all()
    assert values[found].max() <= np.nanmin(values[~found])
    assert not Column(pl.Series("quality", np.full(9, np.nan))).lowest(100).any()
    assert Column(pl.Series("quality", [0.5, np.nan, 0.1])).lowest(100).tolist() == [True, False, True]


def test_a_number_without_a_value_has_no_text() -> None:
    found = column(pd.Series([1.5, np.nan, 2.0], name="truth"))
    assert found.codes.codes.tolist() == [0, -1, 1] and not found.contains("n").any()
    assert column(pd.Series([np.nan] * 3, name="truth")).codes.names == ()


@pytest.mark.parametrize(("cells", "values", "expected"), [
    (np.array([2 ** 53, 2 ** 53 + 1]), [2 ** 53 + 1], [False, True]),
    (np.array([1, 2], dtype=np.uint8), [300, 1.5, 2.0, -1], [False, True]),
    (np.array([0.1, np.inf], dtype=np.float32), [0.1, 1e300, 10 ** 309], [True, False]),
    (np.array([0.1, np.nan]), ["0.1", float("nan"), None], [False, True]),
])
def test_a_number_is_filtered_by_value_whatever_a_link_brings(cells, values, expected) -> None:
    assert column(pd.Series(cells, name="n")).is_one_of(values).tolist() == expected


@pytest.mark.parametrize("cells", [[{"size": 1}, None], [[1, 2], []], [b"a", None]])
def test_cells_of_other_kinds_are_told_apart_by_their_text(cells) -> None:
    found = column(pd.Series(cells, name="x"))
    assert found.kind == "other" and found.codes.names == tuple(sorted(str(c) for c in cells if c is not None))
    assert found.contains("SIZE").tolist() == ["size" in str(c) for c in cells]


def test_half_a_character_is_in_no_cell(frame: pd.DataFrame) -> None:
    assert not column(frame["name"]).contains("\ud800").any() and not column(frame["name"]).is_one_of(["\ud800"]).any()
    samples = SampleTable.of(pd.DataFrame({"sample_id": ["a", "b"]}))
    assert samples.has_ids(["\ud800", "b"]).tolist() == [False, True]
    assert samples.positions(["\ud800", "b", "c"]).tolist() == [-1, 1, -1] and samples.position("\ud800") is None


def test_cells_that_are_hidden_leave_no_name_behind() -> None:
    found = column(pd.Series(["cat", "zebra", "cat"], name="suggested_label", dtype="str"))
    hidden = found.without(np.array([False, True, False]))
    assert hidden.codes.names == ("cat",) and hidden.codes.codes.tolist() == [0, -1, 0]
    numbers = column(pd.Series([1, 2], name="forgetting")).without(np.array([True, False]))
    assert np.isnan(numbers.numbers).tolist() == [True, False] and numbers.kind == "number"


# -- what is kept


def test_what_is_known_of_a_column_is_worked_out_once(frame: pd.DataFrame) -> None:
    table = SampleTable.of(frame)
    number, letter = table.columns["number"], table.columns["letter"]
    assert number.order(False) is number.order(False) and number.order(False) is not number.order(True)
    assert number.bins(0.0, 1.0, 4) is number.bins(0.0, 1.0, 4) is not number.bins(0.0, 1.0, 5)
    assert letter.codes is letter.codes and number.bounds is number.bounds


def test_a_table_with_more_columns_shares_what_is_known_of_the_others(frame: pd.DataFrame) -> None:
    table = SampleTable.of(frame)
    before = table.columns["number"].order(False)
    added = pl.DataFrame({"new": ["x"] * 400})
    first, second = table.with_columns(added), table.with_columns(added.with_columns(new=pl.lit("y")))
    assert first.columns["number"].order(False) is before is second.columns["number"].order(False)
    assert first.columns["letter"].codes is second.columns["letter"].codes is table.columns["letter"].codes
    assert first.columns["new"].codes.names == ("x",) and second.columns["new"].codes.names == ("y",)
    assert first.frame.columns == [*frame, "new"] == list(first.columns) and "new" not in table.frame
    assert np.shares_memory(first["number"].numbers, table["number"].numbers)
    with pytest.raises(AssertionError, match="a column number already"):
        table.with_columns(pl.DataFrame({"number": np.zeros(400)}))


def test_what_is_known_goes_with_the_tables_that_have_it(frame: pd.DataFrame) -> None:
    table = SampleTable.of(frame)
    later = table.with_columns(pl.DataFrame({"new": np.arange(400.0)}))
    shared, own = (weakref.ref(later.columns[name].order(True)) for name in ("number", "new"))
    del later
    gc.collect()
    assert own() is None and shared() is not None
    del table
    gc.collect()
    assert shared() is None


def test_an_empty_column_is_no_trouble() -> None:
    empty = SampleTable.of(pd.DataFrame({"a": np.empty(0), "b": pd.array([], dtype="str")})).columns
    assert empty["a"].bounds is None and empty["b"].codes.names == ()
    assert empty["b"].codes.counts().tolist() == [0]
    assert empty["b"].order(True).tolist() == [] and empty["b"].contains("x").tolist() == []
