"""Tables as people hand them over, each with what must come of it: all samples, some with a line, or a refusal that
names what to change."""

import codecs
import unicodedata
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from curation.exit_status import DONE, LOST, REFUSED
from tests.curation.cases.bring import bring
from tests.picture_files import write_image

PATHS = [f"images/im{idx}.png" for idx in range(12)]
LABELS = ["cat", "dog", "bird"] * 4
ROWS = list(zip(PATHS, LABELS, strict=True))
_ACCENTED = {"cat": "câlin", "dog": "éléphant", "bird": "oiseau"}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder called data with the images."""
    folder = tmp_path_factory.mktemp("tables") / "data"
    for idx, path in enumerate(PATHS):
        write_image(folder / path, seed=idx, size=4)
    return folder


def body(separator: str = ",", end: str = "\n", head: str = "path,label", rows: list[tuple[str, ...]] = ROWS) -> str:
    return end.join([head.replace(",", separator), *(separator.join(row) for row in rows)]) + end


def with_paths(change: Callable[[str], str]) -> str:
    return body(rows=[(change(path), label) for path, label in ROWS])


def labelled(label: Callable[[int, str], str]) -> str:
    return body(rows=[(path, label(idx, name)) for idx, (path, name) in enumerate(ROWS)])


def third(head: str, value: Callable[[int], str]) -> str:
    """The table with a third column."""
    return body(head=head, rows=[(*row, value(idx)) for idx, row in enumerate(ROWS)])


LOADS: dict[str, tuple[str | bytes, str]] = {
    "as usual": (body(), ""), "a byte order mark": (codecs.BOM_UTF8 + body().encode(), ""),
    "semicolons": (codecs.BOM_UTF8 + body(";", "\r\n").encode(), "values are separated by semicolons"),
    "a line sep=;": ("sep=;\r\n" + body(";", "\r\n"), ""), "tabs": (body("\t"), "values are separated by tabs"),
    "UTF-16": (body("\t", "\r\n").encode("utf-16"), "the text is UTF-16"), "old Mac's lines": (body(end="\r"), ""),
    "spaces after commas": (body(", "), ""), "a comment": ("# by a tool\n" + body(), "1 line before the names"),
    "capitals in the header": (body(head="Image_Path,LABEL"), ""),
    "commas at the ends": ("path,label\n" + "".join(f"{path},{label},\n" for path, label in ROWS), ""),
    "blank columns": (body(head="path,label,,", rows=[(*row, "", "") for row in ROWS]), ""),
    "an inch sign": (third("path,label,note", lambda idx: '5" pipe' if idx == 2 else "fine"), ""),
    "short rows": (third("path,label,group", lambda idx: "g").replace(",g\n", "\n", 5), "the last columns are empty"),
    "a long cell": (third("path,label,note", lambda idx: "A" * (5 << 20) if idx == 3 else "A"), ""),
    "a text of lines": (third("path,label,note", lambda idx: '"one, two\nthree, four, five"'), ""),
    "backslashes": (with_paths(lambda path: path.replace("/", "\\")), "written with backslashes"),
    "another machine's folder": (with_paths(lambda path: "C:\\Users\\me\\" + path.replace("/", "\\")),
                                 "paths begin with 'C:/Users/me/', which is not here"),
    "web addresses of what is here": (with_paths(lambda path: f"https://bucket.example/{path}"),
                                      "paths begin with 'https://bucket.example/'"),
    "cloud addresses of what is here": (with_paths(lambda path: f"s3://bucket/{path}"), "'s3://bucket/'"),
    "file: addresses": (with_paths(lambda path: f"file://{{root}}/{path}"), "file: addresses"),
    "no folder": (with_paths(lambda path: path[7:]), "named without their folder"),
    "the root's own name": (with_paths(lambda path: f"data/{path}"), "paths begin with 'data/'"),
    "ids without suffix": (body(head="id,breed", rows=[(path[:-4], label) for path, label in ROWS]),
                           "path from 'id', given_label from 'breed'"),
    "Label Studio, uploaded": (body(head="annotation_id,annotator,choice,id,image,lead_time", rows=[
        (str(idx), "1", label, str(idx), f"/data/upload/1/{idx:08x}-{path[7:]}", "1.5")
        for idx, (path, label) in enumerate(ROWS)]), "Label Studio's addresses of uploaded files"),
    "Label Studio, local": (body(head="annotator,choice,id,image", rows=[
        ("1", label, "7", f"/data/local-files/?d={path.replace('/', '%2F')}") for path, label in ROWS]),
                            "Label Studio's addresses of local files"),
    "WILDS": (body(head="img_id,img_filename,y,split,place", rows=[
        (str(idx), path, str(idx % 2), "000012"[idx % 6], "1") for idx, path in enumerate(PATHS)]),
              "split by number: 0 train, 1 clean, 2 test"),
    "a blank split": (third("path,label,split", lambda idx: "" if idx % 4 else "test"),
                      "9 rows without a split taken as train"),
    "labels NA, None, true": (labelled(lambda idx, name: ["NA", "None", "true"][idx % 3]), ""),
    "labels with signs": (labelled(lambda idx, name: ["\U0001f431", "\U0001f436/puppy", '"=bird; ""big"""'][idx % 3]),
                          ""),
    "labels as floats": (labelled(lambda idx, name: f"{idx % 3}.0"), "classes are numbers, 0 to 2; their names"),
    "labels from 1": (labelled(lambda idx, name: f"{1 + idx % 3}"), "classes are numbers, 1 to 3, which run from 1"),
    "labels with zeros": (labelled(lambda idx, name: ["007", "7", "0x7"][idx % 3]), "'007' and '7'"),
    "labels of other case": (labelled(lambda idx, name: name.upper() if idx > 5 else name), "'CAT' and 'cat'"),
    "labels of other form": (labelled(lambda idx, name: unicodedata.normalize("NFD" if idx % 2 else "NFC", "café")),
                             r"'cafe\u0301' and 'café'"),
    "labels with commas": (labelled(lambda idx, name: f'"{name},{LABELS[idx + 1]}"' if idx == 1 else name),
                           "look like lists of classes (1), such as 'dog,bird'"),
    "labels with bars": (labelled(lambda idx, name: f"{name}|{(LABELS * 2)[idx + 1]}"),
                         "look like lists of classes (3)"),
    "labels as JSON": (labelled(lambda idx, name: f'"[""{name}""]"'), "look like lists of classes (3)"),
    "labels as Python": (labelled(lambda idx, name: f"\"['{name}', 'x']\""), "look like lists of classes (3)"),
}
"""Kind -> file, what is said. All twelve samples, exit status 0."""

LOSES: dict[str, tuple[str | bytes, int, int, str]] = {
    "a quote left open": (third("path,label,note", lambda idx: '"open' if idx == 2 else "fine"), 11, 1, "open quote"),
    "a quote closed rows later": (third("path,label,note", lambda idx: {2: '"open', 7: 'shut"'}.get(idx, "fine")), 7, 5,
                                  "lines 4 to 9 are one row"),
    "a quote closed rows later, before the last column": (
        body(head="note,path,label", rows=[({2: '"open', 7: 'shut"'}.get(idx, "fine"), *row)
                                           for idx, row in enumerate(ROWS)]), 7, 4, "lines 4 to 9"),
    "a value too many": (body().replace("dog", "dog, big", 1), 11, 1, "malformed line"),
    "a value too many, not UTF-8": (body().replace("dog", "éclair, crème", 1).encode("latin-1"), 11, 1,
                                    "malformed line"),
    "a row that is not UTF-8": (body().encode().replace(b"bird", b"b\xe9rd", 1), 11, 1,
                                "save the table as UTF-8, or name its encoding"),
    "half a line": (body(rows=ROWS[:-1]) + "images/im1", 11, 1, "missing label"),
    "blank labels": (labelled(lambda idx, name: ["0.0", "1.0", ""][idx % 3]), 8, 4, "missing label"),
    "an image twice": (body(rows=[*ROWS, (PATHS[0], "dog")]), 12, 1, "already in"),
    "a NUL": (body().replace("im3", "im\x003"), 11, 1, "a path has no NUL character"),
    "unknown splits": (third("path,label,split", lambda idx: ["train", "TRAIN ", "id_val", "val", "id_test", "new"]
                             [idx % 6]), 10, 2, "split must be one of"),
    "half of it remote": (body(rows=[(f"gs://bucket/{path}" if idx % 2 else path, label)
                                     for idx, (path, label) in enumerate(ROWS)]), 6, 6, "remote image"),
}
"""Kind -> file, samples, findings that cost a row, what is said; exit status 3."""

REFUSED_WITH: dict[str, tuple[str | bytes, str]] = {
    "no header": (body(head="images/im99.png,cat"), "put a row such as path,label before it"),
    "Latin-1": (labelled(lambda idx, name: _ACCENTED[name]).encode("latin-1"),
                "8 not UTF-8), the first not UTF-8: labels.csv, row 2: text must be UTF-8; the bytes of column 'label' "
                "are not; save the table as UTF-8, or name its encoding"),
    "a Latin-1 header": (body(head="path,catégorie").encode("latin-1"), "save it as UTF-8"),
    "a header alone": ("path,label\n", "none of 0 rows"),
    "a column twice": (body(head="path,label,label", rows=[(*row, "x") for row in ROWS]),
                       "'label' repeats in labels.csv"),
    "a column a class": (body(head="image,cat,dog,bird", rows=[
        (path, *(str(int(label == name)) for name in LABELS[:3])) for path, label in ROWS]),
                         "import it as source kaggle"),
    "images that are not here": (with_paths(lambda path: path.replace("im", "far")),
                                 "no such file in {root} (listed in"),
    "remote images": (with_paths(lambda path: path.replace("images/im", "s3://bucket/far")),
                      "got 's3://bucket/far0.png'"),
    "ids of nothing": (body(head="id,breed", rows=[(f"{idx}", label) for idx, label in enumerate(LABELS)]),
                       "needs a column of image paths; labels.csv has 'id', 'breed'"),
    "two uploads of one name": (body(head="image,choice", rows=[
        (f"/data/upload/1/{idx:08x}-im{idx // 2}.png", label) for idx, label in enumerate(LABELS)]), "leaves root"),
    "folds by number": (third("path,label,split", lambda idx: str(idx % 4)), "or each of 0, 1 and 2; got '0'"),
}
"""Kind -> file, what is said; exit status 2."""


def written(content: str | bytes, home: Path) -> Path:
    table = home / "labels.csv"
    table.write_bytes(content if isinstance(content, bytes) else content.replace("{root}", str(home)).encode())
    return table


@pytest.mark.parametrize("kind", LOADS)
def test_what_is_certain_loads(home: Path, tmp_path: Path, kind: str) -> None:
    content, said = LOADS[kind]
    found = bring("table", written(content, home), tmp_path / "p")
    assert (found.status, len(found.rows)) == (DONE, 12) and said in found.said, found.said
    assert sorted(found.rows["path"]) == sorted(PATHS), "each with its own picture"


@pytest.mark.parametrize("kind", LOSES)
def test_what_is_lost_is_said(home: Path, tmp_path: Path, kind: str) -> None:
    content, num, lost, said = LOSES[kind]
    found = bring("table", written(content, home), tmp_path / "p")
    assert (found.status, len(found.rows), found.lost) == (LOST, num, lost) and said in found.said, found.said
    assert dict(zip(found.rows["path"], found.rows["given_label"], strict=True)).items() <= dict(ROWS).items() \
        or kind == "blank labels"


@pytest.mark.parametrize("kind", REFUSED_WITH)
def test_what_cannot_be_read_is_refused_with_its_cause(home: Path, tmp_path: Path, kind: str) -> None:
    content, said = REFUSED_WITH[kind]
    found = bring("table", written(content, home), tmp_path / "p")
    assert found.status == REFUSED and said.replace("{root}", str(home)) in found.said, found.said


def test_a_named_encoding_is_read_and_a_wrong_one_refused(home: Path, tmp_path: Path) -> None:
    table = written(labelled(lambda idx, name: _ACCENTED[name]).encode("cp1252"), home)
    found = bring("table", table, tmp_path / "p", "--encoding", "cp1252")
    assert found.status == DONE and found.rows["given_label"].tolist() == [_ACCENTED[name] for name in LABELS]
    assert "can't decode" in bring("table", table, tmp_path / "q", "--encoding", "euc-jp").said
    assert "encoding must be one of utf-8, cp1252" in bring("table", table, tmp_path / "q", "--encoding", "rot13").said
    written(body(head="path,catégorie").encode("latin-1"), home)
    found = bring("table", table, tmp_path / "r", "--encoding", "latin-1", "--label-column", "catégorie")
    assert found.status == DONE and found.rows["given_label"].tolist() == LABELS


def test_blank_splits_beside_named_ones(home: Path, tmp_path: Path) -> None:
    table = written(third("path,label,split", lambda idx: "" if idx % 4 else "test"), home)
    found = bring("table", table, tmp_path / "p")
    assert found.rows.set_index("path")["split"].loc[PATHS].tolist() == ["test", "train", "train", "train"] * 3


def test_a_stray_quote_early_in_a_long_table(home: Path, tmp_path: Path) -> None:
    lines = [f"{PATHS[idx % 12]},{LABELS[idx % 12]},n{idx},{'x' * 20}" for idx in range(20_000)]
    lines[5] = lines[5].replace(",n5,", ',"n5,')
    found = bring("table", written("path,label,id,note\n" + "\n".join(lines) + "\n", home), tmp_path / "p",
                  "--id-column", "id", "--check", "none")
    assert (found.status, len(found.rows), found.lost) == (LOST, 19_999, 1)
    assert "a quote is opened here and takes in the 19,994 lines after it, which were read one by one" in found.said


def test_names_in_another_unicode_form_than_their_files(home: Path, tmp_path: Path) -> None:
    names = [unicodedata.normalize("NFD", f"photos/caf\u00e9 {idx}/na\u00efve.png") for idx in range(3)]
    for idx, name in enumerate(names):
        write_image(home / unicodedata.normalize("NFC", name), seed=20 + idx, size=4)
    rows = [*ROWS, *zip(names, LABELS[:3], strict=True)]
    found = bring("table", written(body(rows=rows), home), tmp_path / "p")
    assert (found.status, len(found.rows)) == (DONE, 15)
    assert "3 paths written in another Unicode form than the file's name" in found.said


def test_declared_classes_that_count_from_one_are_refused(home: Path, tmp_path: Path) -> None:
    names = tmp_path / "names.txt"
    names.write_text("cat\ndog\nbird\n")
    for first, status in ((0, DONE), (1, REFUSED)):
        table = written(labelled(lambda idx, name, first=first: str(first + idx % 3)), home)  # type: ignore[misc]
        found = bring("table", table, tmp_path / str(first), "--classes", names)
        assert found.status == status
    assert "they run from 1 to 3, so that each would be taken for the class after its own" in found.said


def test_extra_columns_stay_as_they_were_written(home: Path, tmp_path: Path) -> None:
    extra = {"photo": lambda idx: str(12345678901234567890 + idx), "hash": lambda idx: ["1e5", "22e3", "7e1"][idx % 3],
             "version": lambda idx: ["1.10", "1.1", "2.0"][idx % 3], "phone": lambda idx: f"+49{idx}",
             "post": lambda idx: f"0{idx}", "big": lambda idx: str(9007199254740993 + idx), "sci": lambda idx: "1e400",
             "mixed": lambda idx: ["1", "2.50", ""][idx % 3]}
    table = body(head=",".join(["path,label", *extra]), rows=[
        (*row, *(value(idx) for value in extra.values())) for idx, row in enumerate(ROWS)])
    found = bring("table", written(table, home), tmp_path / "p")
    for name, value in extra.items():
        kept = found.rows.set_index("path")[name].loc[PATHS]
        assert [None if pd.isna(one) else str(one) for one in kept] == [value(idx) or None for idx in range(12)], name
