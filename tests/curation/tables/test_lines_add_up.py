"""Every reader of tables and lists, on any bytes: each line of a file is in a row or in the report, or the file is
refused. What is read as rows and then screened adds up too."""

import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from curation.evidence.array_file import EvidenceError
from curation.evidence.opening import open_array_file
from curation.sources.importing import read_source
from curation.tables.csv_table import read_csv, whole_table
from curation.tables.dialect import dialect_of
from curation.tables.frames import read_frame
from curation.tables.ids import as_known, read_ids
from curation.tables.lines import read_lines
from curation.tables.report import Problems, SourceError

SAME = settings(deadline=None, derandomize=True, max_examples=40,
                suppress_health_check=[HealthCheck.function_scoped_fixture])
ODD = [b'"', b",", b";", b"\t", b" ", b"#", b"x", b"1", b"\xc3\xa9", b"\xe9", b"\xff", b"\x00", b"\x1f", b"\xc2\x85",
       b"\xe2\x80\xa8", b"{", b"}", b'{"path": "a", "label": "b"}', b"a.jpg,cat"]
LINES = st.lists(st.lists(st.sampled_from(ODD), max_size=5).map(b"".join), max_size=8)
ENDS = st.sampled_from([b"\n", b"\r\n", b"\r"])


def quiet(done: int, total: int, message: str) -> None:
    """No progress."""


def non_blank(content: bytes) -> set[int]:
    """Lines of a file that hold something, counted from 1; separators and quotes alone hold nothing."""
    return {number for number, line in enumerate(re.split(rb"\r\n|\n|\r", content), 1)
            if line.decode("utf-8", "replace").strip(" \t\0,;|\"\x85\u2028\x1f")}


def told(problems: Problems) -> set[int]:
    return {one["row"] for one in problems.table().to_pylist() if one["action"] == "skipped"}


def in_rows(table: pa.Table, rows: Iterable[int]) -> set[int]:
    """Lines that the rows of a CSV take, those within a cell too."""
    taken = set()
    for row, cells in zip(rows, table.to_pylist(), strict=True):
        breaks = sum(len(re.findall(rb"\r\n|\n|\r", cell)) for cell in cells.values())
        taken |= set(range(int(row), int(row) + breaks + 1))
    return taken


@SAME
@given(LINES, ENDS)
def test_csv(tmp_path: Path, lines: list[bytes], end: bytes) -> None:
    path, problems = tmp_path / "t.csv", Problems()
    path.write_bytes(end.join([b"path,label", *lines]))
    table, rows, _ = read_csv(path, problems, quiet)
    header = set(range(1, dialect_of(path).num_lines + 1))
    assert not non_blank(path.read_bytes()) - header - in_rows(table, rows) - told(problems)
    assert not set(rows) & told(problems) and len(set(rows)) == len(rows)


@SAME
@given(LINES, st.sampled_from([b"\n", b"\r\n"]))
def test_json_lines_and_lists(tmp_path: Path, lines: list[bytes], end: bytes) -> None:
    path, problems = tmp_path / "t.jsonl", Problems()
    path.write_bytes(end.join([b'{"path": "0.jpg"}', *lines]))
    frame = read_frame(path, problems, quiet)
    assert not non_blank(path.read_bytes()) - set(frame.rows) - told(problems)
    problems = Problems()
    listed = read_lines(path, path.name, problems, quiet)["row"].to_pylist()
    assert not non_blank(path.read_bytes()) - set(listed) - told(problems) and len(set(listed)) == len(listed)


@SAME
@given(LINES, ENDS)
def test_a_table_of_which_no_row_may_be_lost_is_whole_or_refused(tmp_path: Path, lines: list[bytes],
                                                                 end: bytes) -> None:
    """Answers, scores, features and predictions."""
    path = tmp_path / "t.csv"
    path.write_bytes(end.join([b"a,b", b"1,2", *lines]))
    try:
        table, rows = whole_table(path)
    except SourceError as error:
        assert "\n" not in str(error)
    else:
        header = set(range(1, dialect_of(path).num_lines + 1))
        as_bytes = pa.table([column.cast(pa.binary()) for column in table.columns], names=table.column_names)
        assert not non_blank(path.read_bytes()) - header - in_rows(as_bytes, rows)
    try:
        file = open_array_file(path, "features")
    except EvidenceError as error:
        assert "\n" not in str(error)
    else:
        assert sum(len(block) for block in file.blocks()) == file.num_rows >= len(non_blank(path.read_bytes())) - 1 - \
            sum(bool(re.search(rb'"', line)) for line in lines)


@SAME
@given(LINES, ENDS)
def test_ids(tmp_path: Path, lines: list[bytes], end: bytes) -> None:
    path = tmp_path / "ids.txt"
    path.write_bytes(end.join(lines))
    try:
        ids = read_ids(path)
    except SourceError as error:
        assert "is not UTF-8" in str(error)
    else:
        assert ids == [line.decode() for line in re.split(rb"\r\n|\n|\r", path.read_bytes()) if line.decode().strip()]


CELLS = st.tuples(st.sampled_from(["a.jpg", "b.jpg", "c.jpg", "../d.jpg", "/e.jpg", "s3://f.jpg", "", " g.jpg "]),
                  st.sampled_from(["cat", "dog", "", "  "]), st.sampled_from(["train", "test", "odd", ""]))


@SAME
@given(st.lists(CELLS, min_size=1, max_size=12))
def test_samples_and_lost_rows_are_all_rows(tmp_path: Path, rows: list[tuple[str, str, str]]) -> None:
    """A row is a sample or is reported as skipped once, not both."""
    path, problems = tmp_path / "t.csv", Problems()
    path.write_text("path,label,split\n" + "".join(",".join(row) + "\n" for row in rows))
    num = sum(any(cell for cell in row) for row in rows)
    if num:
        _, kept = read_source("table", path, tmp_path, problems, quiet, {})
        lost = [one["row"] for one in problems.table().to_pylist() if one["action"] == "skipped"]
        assert kept.num_rows + len(lost) == num and len(set(lost)) == len(lost)
        assert not set(kept["row"].to_pylist()) & set(lost) and problems.num_lost == len(lost)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le-bom"])
def test_ids_of_every_encoding_and_from_a_csv(tmp_path: Path, encoding: str) -> None:
    raw = "caf\xe9/1.jpg\r\n\r\n b.jpg\n=c.jpg\n"
    path = tmp_path / "ids.txt"
    path.write_bytes(b"\xff\xfe" + raw.encode("utf-16-le") if encoding.endswith("bom") else raw.encode(encoding))
    assert as_known(read_ids(path), {"b.jpg", "=c.jpg", "caf\xe9/1.jpg"}) == ["caf\xe9/1.jpg", "b.jpg", "=c.jpg"]
    (tmp_path / "queue.csv").write_text("lane,sample_id\nambiguous,b.jpg\nambiguous,'=c.jpg\n")
    assert as_known(read_ids(tmp_path / "queue.csv"), {"b.jpg", "=c.jpg"}) == ["b.jpg", "=c.jpg"]
    (tmp_path / "other.csv").write_text("id\nb.jpg\n")
    with pytest.raises(SourceError, match="must have the column sample_id; other.csv has 'id'"):
        read_ids(tmp_path / "other.csv")


def test_numbers_of_a_csv_come_whole_or_are_refused_by_their_line(tmp_path: Path) -> None:
    path = tmp_path / "f.csv"
    path.write_text(";sample_id;a;b;word\n0;x;1;0.5;p\n1;y;;nan;q\n2;z;-2e3;.5;r\n")
    file = open_array_file(path, "features")
    assert file.columns == ("a", "b") and file.left_out == ("word",), "pandas' own row numbers are no feature"
    np.testing.assert_array_equal(np.concatenate(list(file.blocks())), [[1, 0.5], [np.nan, np.nan], [-2000, 0.5]])
    path.write_text("a,b\n1,2\n,\n3,4\n")
    assert open_array_file(path, "features").num_rows == 3, "an empty row keeps its place"
    for text, words in (("a,b\n1,2\n3,4x\n5,6\n", "row 3, column 'b' has '4x'"), ("a,b\n1,2\n3\n", "row 3: a row must"),
                        ('a,b\n1,2\n3,"4\n5,6\n', "row 3: a quote is opened"), ("a,b\n1,2,3\n", "row 2: a row must")):
        path.write_text(text)
        with pytest.raises(EvidenceError, match=words):
            open_array_file(path, "features")
