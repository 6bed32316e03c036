"""Looking around in allowed folders, and what a place is recognised as, with a preview that writes nothing."""

import json
import os
from pathlib import Path

import pytest
from PIL import Image

from curation.project import imported_from
from curation.sources import roots
from curation.sources.preview import preview
from curation.sources.recognise import recognise
from curation.sources.splits import HoldOut
from curation.tables.report import SourceError
from tests.fakes import make_project


def pictures(folder: Path, num: int = 4) -> Path:
    folder.mkdir(parents=True)
    for idx in range(num):
        Image.new("RGB", (4, 4), (idx, 0, 0)).save(folder / f"{idx}.png")
    return folder


def quiet(*_: object) -> None:
    pass


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for name in ("cat", "dog"):
        pictures(tmp_path / "photos" / name, 10)
    return tmp_path / "photos"


def test_folders_of_classes_are_recognised_also_inside_a_wrapper(photos: Path) -> None:
    assert [(way.source, way.root) for way in recognise(photos)] == [("imagefolder", photos)]
    assert recognise(photos.parent)[0].root == photos


def test_a_table_beside_folders_comes_first_where_its_columns_are_the_usual_ones(photos: Path) -> None:
    (photos / "metadata.csv").write_text("file_name,label,sender\ncat/0.png,cat,ada\n")
    first, second = recognise(photos)
    assert (first.source, first.root, second.source) == ("table", photos / "metadata.csv", "imagefolder")
    assert first.columns == ("file_name", "label", "sender")
    assert first.usual == {"path": "file_name", "given_label": "label"}
    (photos / "metadata.csv").write_text("when,size\n1,2\n")
    assert [way.source for way in recognise(photos)] == ["imagefolder", "table"]


def test_splits_and_clothing1m_are_recognised(tmp_path: Path) -> None:
    pictures(tmp_path / "a" / "train" / "cat"), pictures(tmp_path / "a" / "train" / "dog")
    assert recognise(tmp_path / "a")[0].source == "imagefolder"
    (tmp_path / "b" / "annotations").mkdir(parents=True)
    for name in ("category_names_eng.txt", "noisy_train_key_list.txt", "noisy_label_kv.txt"):
        (tmp_path / "b" / "annotations" / name).write_text("")
    assert [(way.source, way.root) for way in recognise(tmp_path / "b")] == [("clothing1m", tmp_path / "b")]


@pytest.mark.parametrize(("name", "match"), [
    ("empty", "holds nothing that can be read; choose the folder above or below"),
    ("one", "holds 4 images; choose the folder above or below"), ("notes.md", "must be a table .* or a zip")])
def test_what_is_no_data_set_is_refused_in_words_of_a_form(tmp_path: Path, name: str, match: str) -> None:
    (tmp_path / "empty").mkdir()
    pictures(tmp_path / "one")
    (tmp_path / "notes.md").write_text("x")
    with pytest.raises(SourceError, match=match) as caught:
        recognise(tmp_path / name)
    assert "--" not in str(caught.value) and "ROOT" not in str(caught.value)


def test_nothing_outside_of_the_allowed_roots_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inside, outside = pictures(tmp_path / "in" / "cat").parent, pictures(tmp_path / "out" / "dog").parent
    (inside / "link").symlink_to(outside)
    (inside / "own").symlink_to(inside / "cat")
    monkeypatch.setenv("WHETSTONE_ROOTS", f"{inside}:{tmp_path / 'gone'}")
    assert roots.allowed_roots() == [inside] and roots.start() == inside
    assert roots.listing(inside).folders == ("cat", "own"), "a link out is not listed"
    assert roots.allowed(str(inside / "cat")) == inside / "cat"
    for place in (str(outside), str(inside / "link" / "dog"), str(inside / ".." / "out")):
        with pytest.raises(SourceError, match="may import from .*lies outside"):
            roots.allowed(place)
    for place, match in (("cat", "absolute path"), ("", "absolute path"), ("/a\0b", "absolute path"),
                         ("~no.such.user/a", "absolute path"),
                         (str(inside / "none"), "there is none at")):
        with pytest.raises(SourceError, match=match):
            roots.allowed(place)
    monkeypatch.setenv("WHETSTONE_ROOTS", str(tmp_path / "gone"))
    with pytest.raises(SourceError, match="none of them is there"):
        roots.start()


def test_one_begins_to_look_where_one_imported_from_last_or_where_images_are(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WHETSTONE_ROOTS", f"{tmp_path / 'none'}:{tmp_path / 'data'}")
    (tmp_path / "none").mkdir()
    pictures(tmp_path / "data" / "pets" / "cat")
    assert roots.start() == tmp_path / "data", "class folders of a data set in it"
    (tmp_path / "none" / "a" / "b" / "c").mkdir(parents=True)
    assert roots.start() == tmp_path / "data"
    pictures(tmp_path / "data" / "loose")
    last = [tmp_path / "gone", tmp_path, tmp_path / "data" / "pets"]
    assert roots.start(last) == tmp_path / "data" / "pets", "the newest that is there and allowed"
    for number, name in enumerate(("pets", "loose")):
        project = make_project(tmp_path / "projects" / name)
        details = {"root": str(tmp_path / "data" / name), "imported": 10.0 + number}
        (project / "project.json").write_text(json.dumps(details))
    (tmp_path / "projects" / "bad").mkdir()
    (tmp_path / "projects" / "bad" / "manifest.parquet").write_text("")
    (tmp_path / "projects" / "bad" / "project.json").write_text("{")
    assert imported_from(tmp_path / "projects") == [tmp_path / "data" / "loose", tmp_path / "data" / "pets"]


@pytest.mark.parametrize(("name", "is_suggested"), [("sender_id", True), ("userId", True), ("Patient", True),
                                                    ("weather", False)])
def test_who_took_a_picture_is_suggested_to_be_kept_together(tmp_path: Path, name: str, is_suggested: bool) -> None:
    others = [f"c{idx}" for idx in range(13)]
    rows = [f"{idx}.png,{'cat' if idx % 2 else 'dog'},{','.join('ab'[idx % 2] for _ in others)},"
            f"{idx // 10 + 7 if idx < 60 else ''}" for idx in range(80)]
    (tmp_path / "t.csv").write_text(f"path,label,{','.join(others)},{name}\n" + "\n".join(rows))
    found = preview("table", tmp_path / "t.csv", quiet, {}, None)
    assert (found.groups[0] == name and found.is_first_whole) == is_suggested


def test_a_preview_tells_all_and_writes_nothing(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WHETSTONE_PROJECTS", str(tmp_path / "projects"))
    (photos / "notes.md").write_text("x")
    before = sorted(tmp_path.rglob("*"))
    shown = preview("imagefolder", photos, quiet, {}, None)
    assert (shown.num_samples, shown.splits) == (20, {"train": 20, "clean": 0, "test": 0})
    assert shown.own_splits == ("train",) and shown.num_problems == 1
    assert len(shown.pictures) == 12 and {picture.label for picture in shown.pictures} == {"cat", "dog"}
    split = preview("imagefolder", photos, quiet, {}, HoldOut())
    assert split.splits == {"train": 14, "clean": 2, "test": 4}
    assert sorted(tmp_path.rglob("*")) == before


def test_a_preview_names_the_columns_that_keep_samples_together(tmp_path: Path) -> None:
    lines = [f"{idx}.png,{'cat' if idx % 2 else 'dog'},sender {idx // 4},{'day' if idx % 3 else 'night'}\n"
             for idx in range(200)]
    (tmp_path / "t.csv").write_text("path,label,sender,domain\n" + "".join(lines))
    shown = preview("table", tmp_path / "t.csv", quiet, {"group_column": ""}, None)
    assert shown.groups == ("sender", "domain")
    with pytest.raises(SourceError, match="needs a column of labels; .*name the column of labels"):
        preview("table", tmp_path / "t.csv", quiet, {"label_column": ""}, None)


def test_a_folder_that_cannot_be_read_hides_no_other(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pictures(photos / "ant")
    real = roots.os.scandir

    def scandir(path: object) -> object:
        if str(path).endswith("ant"):
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr(roots.os, "scandir", scandir)
    assert recognise(photos)[0].source == "imagefolder"
    with pytest.raises(SourceError, match="must be readable by the user who runs this app; .*Permission denied"):
        roots.listing(photos / "ant")


@pytest.mark.parametrize(("name", "content"), [("list.csv", b""), ("list.parquet", b"junk"), ("list.jsonl", b"{"),
                                               ("list.csv", None)])
def test_a_table_that_cannot_be_read_hides_nothing_beside_it(photos: Path, name: str, content: bytes | None) -> None:
    os.mkfifo(photos / name) if content is None else (photos / name).write_bytes(content)
    assert content is not None or not roots.listing(photos).tables, "to open a pipe would never end"
    assert [way.source for way in recognise(photos)] == ["imagefolder"]
    if content is not None:
        (photos / "alone").mkdir()
        (photos / name).rename(photos / "alone" / name)
        with pytest.raises(SourceError, match=f"{name} (must be readable as|has no line that names its columns)"):
            recognise(photos / "alone")


def test_tables_and_lists_that_are_links_out_of_the_roots_are_not_read(photos: Path, tmp_path: Path,
                                                                       monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "secret.csv").write_text("path,label,password\ncat/0.png,cat,hunter2\n")
    (photos / "own.csv").write_text("path,label\n")
    (photos / "cat" / "list.csv").symlink_to(photos / "own.csv")
    (photos / "list.csv").symlink_to(tmp_path / "secret.csv")
    for name in ("category_names_eng.txt", "noisy_train_key_list.txt", "noisy_label_kv.txt"):
        (tmp_path / name).write_text("")
        (photos / name).symlink_to(tmp_path / name)
    assert "clothing1m" in [way.source for way in recognise(photos)], "the whole machine is allowed"
    monkeypatch.setenv("WHETSTONE_ROOTS", str(photos))
    assert roots.listing(photos).tables == ("own.csv",) and roots.listing(photos / "cat").tables == ("list.csv",)
    assert [way.root for way in recognise(photos)] == [photos / "own.csv", photos]


def test_the_line_of_a_key_list_is_no_group(tmp_path: Path) -> None:
    keys = [f"images/{idx}.jpg" for idx in range(20)]
    texts = {"category_names_eng.txt": ["cat", "dog"], "noisy_train_key_list.txt": keys[:12],
             "noisy_label_kv.txt": [f"{key} {idx % 2}" for idx, key in enumerate(keys)],
             "clean_test_key_list.txt": keys[12:],
             "clean_label_kv.txt": [f"{key} {idx % 2}" for idx, key in enumerate(keys)]}
    for name, lines in texts.items():
        (tmp_path / name).write_text("\n".join(lines) + "\n")
    shown = preview("clothing1m", tmp_path, quiet, {}, None)
    assert shown.num_samples == 20 and "row" not in shown.groups, "lines of two lists have the same numbers"
