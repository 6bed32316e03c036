"""Tables in three formats: columns found, kept, renamed; malformed lines, bad bytes, broken images; ids that stay."""

import datetime
import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curation.project import Project
from curation.sources.importing import ImportResult, import_project
from curation.tables.report import SourceError
from engine.contract.manifest import read_info, read_manifest
from tests.picture_files import ODD_NAMES, write_broken, write_image

ROWS = [("a.png", "cat"), ("sub/b.png", "dog"), ("c.png", "cat")]


def write_images(root: Path) -> None:
    for idx, (path, _) in enumerate(ROWS):
        write_image(root / path, seed=idx)


def import_table(table: Path, project: Path, **options: object) -> tuple[ImportResult, pd.DataFrame, pd.DataFrame]:
    result = import_project("table", project, root=table, **options)  # type: ignore[arg-type]
    return result, read_manifest(project), Project.open(project).import_report()


def findings(report: pd.DataFrame) -> set[tuple[object, ...]]:
    return {(file, None if pd.isna(row) else int(row), kind) for file, row, kind
            in report[["file", "row", "kind"]].itertuples(index=False)}


def write_table(path: Path, frame: pd.DataFrame) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".parquet":
        frame.to_parquet(path, index=False)
    elif path.suffix == ".jsonl":
        frame.to_json(path, orient="records", lines=True)
    else:
        frame.to_csv(path, index=False, sep="\t" if path.suffix == ".tsv" else ",")
    return path


@pytest.mark.parametrize("name", ["labels.csv", "labels.tsv", "labels.parquet", "labels.jsonl"])
def test_each_format_gives_the_same_rows_and_keeps_other_columns(tmp_path, name):
    frame = pd.DataFrame({
        "image_path": ["a.png", "sub/b.png", "c.png"], "Label": ["cat", "dog", "cat"],
        "true_label": ["cat", None, "dog"],
        "split": ["train", "TRAIN", "val"], "domain": ["day", "night", None], "score": [0.5, 1.5, None],
        "count": [3, 1, 2], "weight": [1.0, 2.0, 3.0], "note": ["=1+1", "a, \"b\"", "<b>"]})
    write_images(tmp_path / "data")
    _, rows, report = import_table(write_table(tmp_path / "data" / name, frame), tmp_path / "p")
    assert report.empty
    assert rows["sample_id"].tolist() == rows["path"].tolist() == ["a.png", "sub/b.png", "c.png"]
    assert rows["given_label"].tolist() == ["cat", "dog", "cat"]
    assert rows["split"].tolist() == ["train", "train", "clean"]
    assert rows["clean_label"].fillna("").tolist() == ["cat", "", "dog"]
    assert rows["group"].fillna("").tolist() == ["day", "night", ""]
    assert rows["score"].fillna(-1).tolist() == [0.5, 1.5, -1] and rows["count"].tolist() == [3, 1, 2]
    assert rows["source_weight"].tolist() == [1, 2, 3] and rows["note"].tolist() == frame["note"].tolist()
    assert set(rows.columns) == {"sample_id", "path", "given_label", "split", "clean_label", "group", "score", "count",
                                 "source_weight", "note"}
    assert read_info(tmp_path / "p").classes == ("cat", "dog")


def test_named_columns_win_over_usual_names_and_ids_come_from_the_id_column(tmp_path):
    frame = pd.DataFrame({"path": ["x", "y", "z"], "img": [path for path, _ in ROWS], "label": [1, 2, 3],
                          "animal": [label for _, label in ROWS], "key": ["k1", "k2", "k3"]})
    write_images(tmp_path)
    result, rows, report = import_table(write_table(tmp_path / "t.csv", frame), tmp_path / "p", path_column="img",
                                        label_column="animal", id_column="key")
    assert report.empty and rows["sample_id"].tolist() == ["k1", "k2", "k3"]
    assert rows["path"].tolist() == [path for path, _ in ROWS] and rows["given_label"].tolist() == ["cat", "dog", "cat"]
    assert rows["source_path"].tolist() == ["x", "y", "z"]
    assert rows["source_label"].tolist() == [1, 2, 3]
    assert "column 'label' is called 'source_label' here" in result.notes


def test_whole_numbers_are_labels_by_value_and_zeros_in_front_stay(tmp_path):
    write_images(tmp_path)
    paths = [path for path, _ in ROWS]
    frame = pd.DataFrame({"path": paths, "label": [10.0, 2.0, 10.0]})
    _, rows, _ = import_table(write_table(tmp_path / "t.parquet", frame), tmp_path / "p")
    assert read_info(tmp_path / "p").classes == ("2", "10") and rows["given_label"].tolist() == ["10", "2", "10"]
    (tmp_path / "t.csv").write_text("path,label,zip\na.png,007,01\nsub/b.png,None,02\nc.png,NA,3\n")
    _, rows, _ = import_table(tmp_path / "t.csv", tmp_path / "q")
    assert rows["given_label"].tolist() == ["007", "None", "NA"] and rows["zip"].tolist() == ["01", "02", "3"]


def test_each_broken_csv_line_is_one_line_with_its_row(tmp_path):
    write_images(tmp_path)
    (tmp_path / "t.csv").write_bytes(
        b"path,label,split,clean_label,note\n"
        b"a.png,cat,train,,\n"          # 2
        b"\n"                           # 3 blank
        b"a.png,dog,train,,\n"          # 4 duplicate
        b"too,few,train\n"              # 5 short
        b",cat,train,,\n"               # 6 no path
        b"sub/b.png,dog,train,,\xff\n"  # 7 bad bytes in an extra column: kept
        b"c.png, ,train,,\n"            # 8 no label
        b"../out.png,cat,train,,\n"     # 9 leaves root
        b"/etc/passwd,cat,train,,\n"    # 10 leaves root
        b"c.png,\xff\xfe,train,,\xff\n"  # 11 bad bytes in the label: no label left
        b"c.png,cat,future,,\n"         # 12 unknown split
        b"c.png,cat,test,,\"a\nb\"\n"   # 13 good, a line break inside quotes
        b"gone.png,cat,train,,\n")      # 15 missing
    result, rows, report = import_table(tmp_path / "t.csv", tmp_path / "p")
    assert rows[["sample_id", "given_label", "split"]].values.tolist() == [
        ["a.png", "cat", "train"], ["sub/b.png", "dog", "train"], ["c.png", "cat", "test"]]
    assert rows["note"].fillna("").tolist() == ["", "", "a\nb"]
    assert findings(report) == {
        ("t.csv", 4, "duplicate key"), ("t.csv", 5, "short row"), ("too", None, "missing file"),
        ("t.csv", 6, "missing path"),
        ("t.csv", 7, "not UTF-8"), ("t.csv", 8, "missing label"), ("t.csv", 9, "leaves root"),
        ("t.csv", 10, "leaves root"), ("t.csv", 11, "not UTF-8"), ("t.csv", 12, "unknown split"),
        ("gone.png", None, "missing file")}
    assert len(report) == result.num_problems == 11
    assert report.set_index("row").loc[7, "action"] == "kept" and report.set_index("row").loc[11, "action"] == "skipped"
    assert "t.csv, row 15" in report[report["file"] == "gone.png"]["reason"].iloc[0]


def test_each_broken_json_line_is_one_line_with_its_row(tmp_path):
    write_images(tmp_path)
    good = [json.dumps({"path": path, "label": label, "n": idx, "tags": ["x"], "mixed": idx if idx else "text"})
            for idx, (path, label) in enumerate(ROWS)]
    (tmp_path / "t.jsonl").write_bytes("\n".join([
        good[0], "", "{not json", "[1, 2]", good[1], "{}", '{"path": "x.png"}', "12",
        '{"path": "\\ud800.png", "label": "cat"}', good[2]]).encode() + b"\n\xff{}\n" + b"[" * 100_000)
    _, rows, report = import_table(tmp_path / "t.jsonl", tmp_path / "p")
    assert rows["sample_id"].tolist() == [path for path, _ in ROWS]
    assert rows["n"].tolist() == [0, 1, 2] and rows["mixed"].tolist() == ["text", "1", "2"]
    assert rows["tags"].tolist() == ['["x"]'] * 3
    name = "t.jsonl"
    assert findings(report) == {
        (name, 3, "malformed line"), (name, 4, "malformed line"), (name, 6, "malformed line"),
        (name, 7, "missing label"), (name, 8, "malformed line"), (name, 11, "not UTF-8"), (name, 12, "malformed line"),
        ("\\ud800.png", None, "missing file")}
    assert len(report) == 8


@pytest.mark.parametrize("name", ["t.csv", "t.parquet", "t.jsonl"])
def test_each_broken_image_is_one_line_and_the_rest_loads(tmp_path, name):
    root = tmp_path / "data"
    write_images(root)
    broken = write_broken(root / "bad", outside=tmp_path / "secret.png")
    paths = [*(path for path, _ in ROWS), *(f"bad/{file}" for file in broken), "bad/none.png"]
    frame = pd.DataFrame({"path": paths, "label": ["cat", "dog"] * (len(paths) // 2) + ["cat"] * (len(paths) % 2)})
    _, rows, report = import_table(write_table(root / name, frame), tmp_path / "p")
    assert rows["sample_id"].tolist() == [path for path, _ in ROWS]
    expected = {f"bad/{file}": kind for file, kind in broken.items()} | {"bad/none.png": "missing file"}
    assert dict(zip(report["file"], report["kind"], strict=True)) == expected and len(report) == len(expected)


def test_declared_classes_set_the_order_take_numbers_and_refuse_the_rest(tmp_path):
    write_images(tmp_path)
    (tmp_path / "names.txt").write_text("dog\ncat\nowl\n")
    (tmp_path / "t.csv").write_text("path,label,clean_label\na.png,cat,wolf\nsub/b.png,0,dog\nc.png,wolf,\n")
    _, rows, report = import_table(tmp_path / "t.csv", tmp_path / "p", classes=str(tmp_path / "names.txt"))
    assert read_info(tmp_path / "p").classes == ("dog", "cat", "owl")
    assert rows["given_label"].tolist() == ["cat", "dog"] and rows["clean_label"].fillna("").tolist() == ["", "dog"]
    assert findings(report) == {("t.csv", 2, "unknown label"), ("t.csv", 4, "unknown label"),
                                ("names.txt", 3, "empty class")}
    assert report.set_index("row").loc[2, "action"] == "kept" and report.set_index("row").loc[4, "action"] == "skipped"
    assert "'wolf'" in report.set_index("row").loc[4, "reason"]


def test_paths_may_be_absolute_inside_the_image_root_and_ids_stay_when_all_moves(tmp_path):
    root = tmp_path / "images"
    write_images(root)
    table = tmp_path / "tables" / "t.csv"
    frame = pd.DataFrame({"path": [str(root / "a.png"), "./sub/../sub//b.png", "c.png"], "label": ["x", "y", "x"]})
    _, before, report = import_table(write_table(table, frame), tmp_path / "p", image_root=str(root))
    assert report.empty and before["sample_id"].tolist() == [path for path, _ in ROWS]
    moved = Path(shutil.move(root, tmp_path / "moved"))
    frame["path"] = [path for path, _ in ROWS]
    result, after, _ = import_table(write_table(table, frame), tmp_path / "p", image_root=str(moved))
    assert after["sample_id"].tolist() == before["sample_id"].tolist()
    assert (result.num_added, result.num_removed) == (0, 0)


def test_the_same_image_twice_is_no_error_where_ids_differ(tmp_path):
    write_images(tmp_path)
    (tmp_path / "t.csv").write_text("sample_id,path,label\n1,a.png,cat\n2,a.png,dog\n")
    _, rows, report = import_table(tmp_path / "t.csv", tmp_path / "p")
    assert rows["path"].tolist() == ["a.png", "a.png"] and rows["sample_id"].tolist() == ["1", "2"] and report.empty


def test_odd_labels_and_paths_are_kept_as_they_are(tmp_path):
    names = [name.replace("/", "_") for name in ODD_NAMES]
    for idx, name in enumerate(names):
        write_image(tmp_path / f"{name}.png", seed=idx)
    frame = pd.DataFrame({"path": [f"{name}.png" for name in names], "label": list(ODD_NAMES), "=x()": list(ODD_NAMES)})
    for table in ("t.csv", "t.jsonl", "t.parquet"):
        _, rows, report = import_table(write_table(tmp_path / table, frame), tmp_path / "p")
        assert report.empty and rows["given_label"].tolist() == list(ODD_NAMES) == rows["=x()"].tolist()
        assert rows["sample_id"].tolist() == frame["path"].tolist()
        assert read_info(tmp_path / "p").classes == tuple(sorted(ODD_NAMES))


def test_types_that_change_after_the_first_block_do_not_fail_the_file(tmp_path, monkeypatch):
    monkeypatch.setattr("curation.tables.frames._BLOCK_BYTES", 4096)
    monkeypatch.setattr("curation.tables.frames._BATCH_LINES", 100)
    num = 1000
    values = [str(idx) for idx in range(num - 1)] + ["not a number"]
    frame = pd.DataFrame({"path": [f"{idx}.png" for idx in range(num)], "label": ["1", "2"] * (num // 2),
                          "extra": values})
    write_table(tmp_path / "t.csv", frame)
    _, rows, _ = import_table(tmp_path / "t.csv", tmp_path / "p", check="none")
    assert rows["extra"].tolist() == values and rows["given_label"].tolist() == ["1", "2"] * (num // 2)
    objects = [{"path": f"{idx}.png", "label": idx % 2, "extra": idx if idx < 500 else "text"} for idx in range(num)]
    (tmp_path / "t.jsonl").write_text("".join(json.dumps(item) + "\n" for item in objects))
    _, rows, _ = import_table(tmp_path / "t.jsonl", tmp_path / "q", check="none")
    assert rows["extra"].tolist() == [str(idx) for idx in range(500)] + ["text"] * 500


def test_nested_parquet_columns_are_left_out_and_said(tmp_path):
    write_images(tmp_path)
    labels = pa.array([label for _, label in ROWS]).dictionary_encode()
    table = pa.table({"path": [path for path, _ in ROWS], "label": labels, "vector": [[1.0], [2.0], [3.0]],
                      "blob": [b"x"] * 3, "flag": [True, False, None]})
    pq.write_table(table, tmp_path / "t.parquet")
    result, rows, report = import_table(tmp_path / "t.parquet", tmp_path / "p")
    assert report.empty and rows["given_label"].tolist() == ["cat", "dog", "cat"]
    assert not {"vector", "blob"} & set(rows.columns) and "flag" in rows.columns
    assert any("vector, blob" in note for note in result.notes)


@pytest.mark.parametrize(("name", "content", "message"), [
    ("t.xlsx", b"x", "must be one of .csv"),
    ("t.csv", b"", "has no bytes"),
    ("t.csv", b"path,label\n", "needs training samples; none of 0 rows"),
    ("t.csv", b"path,what\na.png,1\n", "needs a column of labels; t.csv has 'path', 'what'"),
    ("t.csv", b"a;b\n1;2\n", "needs a column of image paths; t.csv has 'a', 'b'"),
    ("t.csv", b"path,label,label\na.png,1,2\n", "column names must differ; 'label' repeats"),
    ("t.csv", b"p\xffth,label\na.png,1\n", "text must be UTF-8; the names of columns"),
    ("t.csv", b"path,label\nnone.png,1\n", "needs training samples; none of 1 rows .* missing file: none.png"),
    ("t.parquet", b"PAR1 not really", "must be readable as parquet"),
    ("t.jsonl", b"not json\nneither\n", "needs a column of image paths"),
])
def test_what_cannot_load_is_refused_and_makes_no_project(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(SourceError, match=message) as error:
        import_table(tmp_path / name, tmp_path / "p")
    assert not (tmp_path / "p").exists() and "\n" not in str(error.value)


@pytest.mark.parametrize(("options", "message"), [
    ({"path_column": "nope"}, "named column must be in t.csv; got 'nope'; it has 'path', 'label'"),
    ({"image_root": "/nowhere/at/all"}, "image root must be a folder"),
    ({"classes": "/nowhere/names.txt"}, "must be a text file of one class a line"),
    ({"layout": "class"}, "has no option layout"),
    ({"seed": 1}, "has no option seed"),
    ({"path_column": 3}, "path_column must be of type str"),
])
def test_wrong_options_are_refused(tmp_path, options, message):
    write_images(tmp_path)
    write_table(tmp_path / "t.csv", pd.DataFrame(ROWS, columns=["path", "label"]))
    with pytest.raises(SourceError, match=message):
        import_table(tmp_path / "t.csv", tmp_path / "p", **options)


def test_a_large_table_with_one_bad_byte_far_in_loses_one_value(tmp_path):
    num = 20_000
    lines = [f"{idx}.png,{idx % 3}".encode() for idx in np.arange(num)]
    lines[15_000] += b"\xff"
    (tmp_path / "t.csv").write_bytes(b"path,label\n" + b"\n".join(lines) + b"\n")
    _, rows, report = import_table(tmp_path / "t.csv", tmp_path / "p", check="none")
    assert len(rows) == num - 1 and findings(report) == {("t.csv", 15_002, "not UTF-8")}


def test_every_plain_parquet_type_loads_and_reads_back(tmp_path):
    day = datetime.date(2020, 1, 1)
    plain = {
        "large": pa.array(["a", "b", "a"], pa.large_string()), "view": pa.array(["a", "b", "a"], pa.string_view()),
        "coded": pa.array([1, 2, 1]).dictionary_encode(), "bool": pa.array([True, False, True]),
        "decimal": pa.array([1, 2, 1]).cast(pa.decimal128(21, 2)), "half": pa.array(np.float16([1, 2, 1])),
        "infinite": pa.array([1.0, float("inf"), 1.0]), "date": pa.array([day, None, day]),
        "time": pa.array([datetime.time(1), None, datetime.time(2)]), "null": pa.nulls(3),
        "stamp": pa.array([datetime.datetime(2020, 1, 1), None, None])}
    expected = {"large": ["a", "b", "a"], "view": ["a", "b", "a"], "coded": ["1", "2", "1"], "half": ["1", "2", "1"],
                "bool": ["true", "false", "true"], "decimal": ["1", "2", "1"], "infinite": ["1", "inf", "1"]}
    for name, labels in expected.items():
        table = pa.table({"path": ["a.png", "b.png", "c.png"], "label": plain[name], **plain})
        pq.write_table(table, tmp_path / "t.parquet")
        _, rows, report = import_table(tmp_path / "t.parquet", tmp_path / "p", check="none")
        assert report.empty and rows["given_label"].tolist() == labels
        assert set(plain) <= set(rows.columns) and rows["infinite"].tolist() == [1, float("inf"), 1]
        assert rows["date"].tolist()[0] == "2020-01-01" and rows["decimal"].tolist() == [1, 2, 1]
