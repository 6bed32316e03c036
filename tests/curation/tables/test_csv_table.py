"""CSV files of every kind: nothing that stands in a line is lost without a word."""

import codecs
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from curation.tables.csv_table import header_of, read_csv, read_whole_csv
from curation.tables.frames import read_frame
from curation.tables.report import Problems, SourceError

HEADER = "path,label,note"


def read(folder: Path, content: bytes | str, name: str = "t.csv") -> tuple[list[dict[str, str]], list[int], list, list]:
    """(rows as dictionaries, their lines, findings as (row, kind, action), notes)."""
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    problems = Problems()
    table, rows, notes = read_csv(path, problems, lambda *_: None)
    cells = [{key: value.decode("utf-8", "replace") for key, value in row.items()} for row in table.to_pylist()]
    found = [(one["row"], one["kind"], one["action"]) for one in problems.table().to_pylist()]
    assert header_of(path)[:len(table.column_names)] == table.column_names or "unnamed" in header_of(path)
    return cells, list(rows), found, notes


# -- properties

PIECES = st.text(['"', ",", ";", "\t", " ", "#", "x", "é", "\ud800"], max_size=8)


SAME = settings(deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
"""The same examples on every machine."""


@settings(SAME, max_examples=150)
@given(st.lists(st.tuples(PIECES, PIECES), max_size=8), st.sampled_from(["\n", "\r\n"]), st.booleans())
def test_each_line_is_in_a_row_or_in_the_report(tmp_path: Path, lines: list[tuple[str, str]], end: str,
                                                has_end: bool) -> None:
    """Whatever its lines hold: a quote that is never closed, bytes that are not UTF-8, too few values or too many."""
    text = end.join([HEADER, *(f"{before}<{i}>{after}" for i, (before, after) in enumerate(lines))]) + end * has_end
    cells, rows, found, _ = read(tmp_path, text.encode("utf-8", "surrogatepass"))
    shown = " ".join(cell for row in cells for cell in row.values())
    told = {row for row, _, action in found if action == "skipped"}
    lost = [i for i in range(len(lines)) if f"<{i}>" not in shown and i + 2 not in told]
    assert not lost and len(set(rows)) == len(rows) and sorted(rows) == rows
    assert all(f"<{row - 2}>" in "".join(values.values()) for row, values in zip(rows, cells, strict=True))


@settings(SAME, max_examples=60)
@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused_in_one_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "t.csv").write_bytes(content)
    try:
        read_frame(tmp_path / "t.csv", Problems(), lambda *_: None)
    except SourceError as error:
        assert "\n" not in str(error)


# -- kinds that people bring

ROWS = [{"path": f"{i}.jpg", "label": label} for i, label in enumerate(["cat", "dog", "bird"])]


def body(separator: str = ",", end: str = "\n", head: tuple[str, str] = ("path", "label"), tail: str = "") -> str:
    return end.join([separator.join(head), *(separator.join(row.values()) + tail for row in ROWS)]) + end


@pytest.mark.parametrize(("content", "note"), [
    (body(), ""),
    (body(end="\r\n"), ""),
    (body(end="\r"), ""),
    (codecs.BOM_UTF8 + body().encode(), ""),
    (body("\t", "\r\n").encode("utf-16"), "UTF-16"),
    (body(";"), "semicolons"),
    ("sep=;\r\n" + body(";", "\r\n"), ""),
    (body("\t"), "tabs"),
    (body("|"), "bars"),
    (body(", ").replace(", cat", ",cat").replace(", dog", ",dog").replace(", bird", ",bird"), ""),
    ("# made by a tool\n" + body(), "1 line before the names of columns"),
    ("# made by a tool\n# on a day, by a person\n\n" + body(), "3 lines before the names of columns"),
    ("\n\n" + body(), ""),
    ("#" + body(), ""),
    ("# made by a tool\n# " + body(), "1 line before the names of columns"),
    (body(tail=","), ""),
    (body(tail=",,"), ""),
    (body(head=("path", "label,,")).replace("jpg,cat", "jpg,cat,,").replace("jpg,dog", "jpg,dog,,").replace(
        "jpg,bird", "jpg,bird,,"), ""),
])
def test_what_is_certain_is_understood(tmp_path: Path, content: bytes | str, note: str) -> None:
    cells, _, found, notes = read(tmp_path, content)
    assert cells == ROWS and not found
    assert note in "".join(notes) and bool(note) == bool(notes)


def test_a_quote_that_is_never_closed_costs_its_own_row(tmp_path: Path) -> None:
    lines = [f"{i}.jpg,cat,note {i}" for i in range(100_000)]
    lines[5] = lines[5].replace("note", '"note')
    cells, rows, found, _ = read(tmp_path, "\n".join([HEADER, *lines]) + "\n")
    assert len(cells) == 99_999 and rows[4:6] == [6, 8] and found == [(7, "open quote", "skipped")]
    cells, rows, found, _ = read(tmp_path, 'path,label\n0.jpg,cat\n1.jpg,"dog\n2.jpg,bird\n3.jpg,cat')
    assert [row["path"] for row in cells] == ["0.jpg", "2.jpg", "3.jpg"], "in the last column too"
    assert rows == [2, 4, 5] and found == [(3, "open quote", "skipped")]


def test_rows_within_one_cell_are_told_and_a_long_text_is_not(tmp_path: Path) -> None:
    text = '\n0.jpg,cat,"open\n1.jpg,dog,fine\n2.jpg,dog,shut"\n3.jpg,dog,fine\n'
    cells, rows, found, _ = read(tmp_path, HEADER + text)
    assert [row["path"] for row in cells] == ["0.jpg", "3.jpg"] and rows == [2, 5]
    assert found == [(2, "rows in one cell", "kept"), *((row, "rows in one cell", "skipped") for row in (3, 4))]
    cells, rows, found, _ = read(tmp_path, HEADER + '\n0.jpg,cat,"a text\nof two lines"\n3.jpg,dog,fine\n4.jpg\n')
    assert cells[0]["note"] == "a text\nof two lines" and rows == [2, 4, 5]
    assert found == [(5, "short row", "kept")], "lines are the file's own"


def test_a_long_text_before_the_last_column_is_no_row(tmp_path: Path) -> None:
    text = 'path,note,label\n0.jpg,"one, two\nthree, four, five\nend",cat\n1.jpg,"a\nb, c",cat\n'
    cells, rows, found, _ = read(tmp_path, text)
    assert len(cells) == 2 and rows == [2, 5] and found == [(2, "rows in one cell", "kept")]
    cells, rows, found, _ = read(tmp_path, text.replace("three, four, five", "2.jpg, four, five"))
    assert found == [(2, "rows in one cell", "kept"), (3, "rows in one cell", "skipped")]


def test_a_row_of_two_lines_with_a_value_too_many_makes_no_row_of_its_halves(tmp_path: Path) -> None:
    cells, rows, found, _ = read(tmp_path, 'path,label\n0.jpg,"cat\ndog",x\n1.jpg,bird\n')
    assert [row["path"] for row in cells] == ["1.jpg"] and rows == [4]
    assert found == [(2, "malformed line", "skipped"), (3, "malformed line", "skipped")]


def test_a_row_that_is_not_utf8_and_has_a_value_too_many_costs_itself(tmp_path: Path) -> None:
    content = b"path,label\n0.jpg,cat\n1.jpg,\xe9clair, cr\xe8me\n2.jpg,caf\xe9\n3.jpg,na\xc3\xafve\n"
    path = tmp_path / "t.csv"
    path.write_bytes(content)
    problems = Problems()
    table, rows, _ = read_csv(path, problems, lambda *_: None)
    assert table["label"].to_pylist() == [b"cat", b"caf\xe9", "naïve".encode()] and list(rows) == [2, 4, 5]
    assert [(one["row"], one["kind"]) for one in problems.table().to_pylist()] == [(3, "malformed line")]


@pytest.mark.parametrize(("content", "message"), [
    (b"path,cat\xe9gorie\n0.jpg,cat\n", "names of columns in t.csv, row 1, are not; save it as UTF-8"),
    (b"\n\n", "no line that names its columns"),
])
def test_a_header_that_cannot_be_read_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(SourceError, match=message):
        read(tmp_path, content)


@pytest.mark.parametrize(("content", "message"), [
    (body() + "4.jpg,ant,more\n", r"t.csv row 5: a row must have 2 values; got 3"),
    (body() + '4.jpg,"ant\n5.jpg,bee\n', "t.csv row 5: a quote is opened here and takes in"),
    (HEADER + '\n0.jpg,cat,"open\n1.jpg,dog,fine\n2.jpg,dog,shut"\n', "t.csv row 2: lines 2 to 4 are one row"),
    (b"path,label\n0.jpg,cat\n1.jpg,\xe9\n", "t.csv row 3, column 'label', is not"),
    (b"", "has no line that names its columns")])
def test_a_file_of_which_no_row_may_be_lost_is_refused_by_its_line(tmp_path: Path, content: bytes | str,
                                                                   message: str) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(SourceError, match=message) as error:
        read_whole_csv(path)
    assert "\n" not in str(error.value)
    path.write_text(body(";") + "4.jpg\n")
    found = read_whole_csv(path)
    assert found.loc[5].tolist() == ["4.jpg", ""] and found.index.tolist() == [2, 3, 4, 5]
