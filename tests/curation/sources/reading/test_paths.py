"""Paths as other machines write them; names of classes that are odd; values that must stay as they were written."""

import unicodedata
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curation.sources.importing import import_project
from curation.sources.label_notes import label_notes
from curation.sources.reading.paths import found_paths
from curation.tables.report import SourceError
from tests.picture_files import write_image

PATHS = [f"photos/day {day}/{i}.jpg" for day in (1, 2) for i in range(3)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for i, path in enumerate(PATHS):
        write_image(tmp_path / "data" / path, seed=i)
    return tmp_path / "data"


def read(paths: list[str | None], folder: Path) -> tuple[list[str | None], str]:
    found, notes = found_paths(pa.array(paths, pa.string()), folder)
    return found.to_pylist(), "".join(notes)


@pytest.mark.parametrize(("lead", "words"), [
    ("", ""), ("C:\\Users\\ada\\", "begin with 'C:/Users/ada/'"), ("/mnt/old/", "begin with '/mnt/old/'"),
    ("data/", "begin with 'data/'"), ("s3://bucket/", "begin with 's3://bucket/'"),
    ("https://example.org/a/", "begin with 'https://example.org/a/'")])
def test_a_folder_that_is_not_here_is_left_out_where_the_rest_is(folder: Path, lead: str, words: str) -> None:
    found, note = read([None, *(lead + path for path in PATHS)], folder)
    assert found == [None, *PATHS] and words in note and bool(note) == bool(words)


def test_other_ways_to_write_a_path(folder: Path) -> None:
    assert read([path.replace("/", "\\") for path in PATHS], folder) == (
        PATHS, "paths are written with backslashes (6 of 6 looked at are there)")
    assert read([(folder / path).as_uri() for path in PATHS], folder)[0] == PATHS, "as file: addresses"
    assert read([path.removesuffix(".jpg") for path in PATHS], folder) == (
        PATHS, "paths lack the suffix of the image (6 of 6 looked at are there)")


def test_names_alone_are_found_where_they_are_the_only_ones(folder: Path) -> None:
    assert read(["0.jpg", "1.jpg"], folder) == (["0.jpg", "1.jpg"], ""), "two folders have them"
    for i in range(4):
        write_image(folder / "more" / f"only {i}.png")
    names = [f"only {i}.png" for i in range(4)]
    assert read(names, folder)[0] == [f"more/{name}" for name in names]


def test_what_is_here_stays_as_it_is_written(folder: Path) -> None:
    write_image(folder / "odd\\name.jpg")
    assert read(["odd\\name.jpg", *PATHS], folder) == (["odd\\name.jpg", *PATHS], "")
    assert read(["gone/a.jpg", "gone/b.jpg"], folder) == (["gone/a.jpg", "gone/b.jpg"], "")
    nested = [f"x/{path}" for path in PATHS] + ["photos/day 1/0.jpg"]
    assert read(nested, folder)[0][-1] == "photos/day 1/0.jpg"


@pytest.mark.parametrize("path", ["a\0b/c", "file://[", "file:///%00/x", "/data/local-files/?d=%00", "x" * 5000])
def test_what_is_no_path_stays_as_it_is(folder: Path, path: str) -> None:
    assert read([path] * 3, folder) == ([path] * 3, "")


def test_a_name_that_is_missing_is_no_picture_of_that_name_elsewhere(folder: Path) -> None:
    for i in range(20):
        write_image(folder / f"{i}.png" if i < 17 else folder / "thumbs" / f"{i}.png")
    names = [f"{i}.png" for i in range(20)]
    assert read(names, folder) == (names, "")


def test_a_remote_image_is_said_to_be_one(folder: Path, tmp_path: Path) -> None:
    table = folder / "t.csv"
    table.write_text("path,label\n" + "".join(f"{path},{'ab'[i % 2]}\n" for i, path in enumerate(PATHS))
                     + "https://example.org/cats/1.jpg,a\n")
    result = import_project("table", tmp_path / "p", root=table)
    first = result.first_problems.iloc[0]
    assert result.num_loaded == 6 and (first["kind"], first["row"]) == ("remote image", 8)
    assert "'https://example.org/cats/1.jpg'; download it" in first["reason"]


def test_a_refusal_counts_its_findings_and_shows_the_most_frequent(folder: Path, tmp_path: Path) -> None:
    (folder / "t.csv").write_text("path,label\n,a\n" + "".join(f"gone {i}.jpg,a\n" for i in range(3)))
    with pytest.raises(SourceError, match=r"4 findings \(3 missing file, 1 missing path\)") as error:
        import_project("table", tmp_path / "p", root=folder / "t.csv")
    assert f"the first missing file: gone 0.jpg: no such file in {folder} (listed in t.csv, row 3)" in str(error.value)


def test_a_header_that_is_a_sample_is_said_to_be_one(folder: Path, tmp_path: Path) -> None:
    (folder / "t.csv").write_text("".join(f"{path},a\n" for path in PATHS))
    with pytest.raises(SourceError, match="t.csv begins with a sample: 'photos/day 1/0.jpg', 'a'"):
        import_project("table", tmp_path / "p", root=folder / "t.csv")


@pytest.mark.parametrize(("classes", "words"), [
    (["cat", "dog"], []),
    (["Cat", "cat", "dog "], ["differ by case, spaces, zeros or Unicode form alone (1 group): 'Cat' and 'cat'"]),
    ([unicodedata.normalize("NFC", "café"), unicodedata.normalize("NFD", "café")], [r"'cafe\u0301'"]),
    (["cat", "dog", "cat|dog"], ["look like lists of classes (1), such as 'cat|dog'"]),
    (['["cat"]', "dog"], ["look like lists of classes (1)"]),
    (["Shirt, blue", "Shirt"], []), (["cat;dog", "dog;owl", "owl;cat"], ["look like lists of classes (3)"]),
    (["1", "2", "3"], ["numbers, 1 to 3, which run from 1"]), (["0.0", "1.0"], ["numbers, 0 to 1; their names"]),
    (["7", "007", "x"], ["'7' and '007'"]),
])
def test_odd_names_of_classes_are_said(classes: list[str], words: list[str]) -> None:
    notes = label_notes(classes)
    assert len(notes) == len(words) and all(word in note for word, note in zip(words, notes, strict=True))


def test_extra_columns_keep_what_was_written(folder: Path, tmp_path: Path) -> None:
    extra = {"photo": "12345678901234567890", "hash": "1e5", "phone": "+4930", "post": "012", "huge": "1e400",
             "mixed": "7.50"}
    numbers = {"price": "12.50", "count": "3", "share": "0.1", "score": "4.5000e-02"}
    names = [*extra, *numbers, "version"]
    lines = ["path,label," + ",".join(names)]
    for i, path in enumerate(PATHS):
        cells = [*extra.values(), *numbers.values(), ["1.10", "1.9"][i % 2]]
        lines.append(",".join([path, "ab"[i % 2], *cells]))
    lines[-1] = lines[-1].replace(",7.50", ",1")
    (folder / "t.csv").write_text("\n".join(lines) + "\n")
    import_project("table", tmp_path / "p", root=folder / "t.csv")
    kept = pq.read_table(tmp_path / "p" / "manifest.parquet").select(names)
    for name, value in {**extra, "version": "1.10"}.items():
        assert kept[name][0].as_py() == value, name
    assert [kept[name][0].as_py() for name in numbers] == [12.5, 3, 0.1, 0.045]


def test_a_missing_picture_is_not_another_one_of_its_name_outside_of_its_folder(tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    for number in range(20):
        (tmp_path / f"{number}.jpg").write_bytes(b"another")
        if number < 17:
            (tmp_path / "train" / f"{number}.jpg").write_bytes(b"it")
    written = [f"train/{number}.jpg" for number in range(20)]
    assert found_paths(pa.array(written), tmp_path)[0].to_pylist() == written
