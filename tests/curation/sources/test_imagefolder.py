"""Image folders: both layouts, broken files, links, odd names, ids that stay."""

import os
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from curation.project import Project
from curation.sources.importing import ImportResult, import_project
from curation.tables.report import SourceError
from engine.contract.manifest import read_info, read_manifest
from tests.picture_files import ODD_NAMES, write_broken, write_image


def import_folder(root: Path, project: Path, **options: object) -> tuple[ImportResult, pd.DataFrame, pd.DataFrame]:
    result = import_project("imagefolder", project, root=root, **options)  # type: ignore[arg-type]
    return result, read_manifest(project), Project.open(project).import_report()


def write_classes(root: Path, names: tuple[str, ...] = ("cat", "dog"), num: int = 2) -> Path:
    for name in names:
        for idx in range(num):
            write_image(root / name / f"{idx}.png", seed=idx)
    return root


def test_class_folders_become_train_rows_whose_ids_are_relative_paths(tmp_path):
    root = write_classes(tmp_path / "data")
    write_image(root / "cat" / "deep" / "er" / "x.jpg")
    result, rows, report = import_folder(root, tmp_path / "p")
    assert rows["sample_id"].tolist() == ["cat/0.png", "cat/1.png", "cat/deep/er/x.jpg", "dog/0.png", "dog/1.png"]
    assert (rows["path"] == rows["sample_id"]).all()
    assert rows["given_label"].tolist() == ["cat", "cat", "cat", "dog", "dog"]
    assert set(rows["split"]) == {"train"} and rows["clean_label"].isna().all() and rows["group"].isna().all()
    assert read_info(tmp_path / "p").classes == ("cat", "dog")
    assert read_info(tmp_path / "p").root == str(root)
    assert report.empty and result.num_problems == 0 and result.is_new and result.num_added == 5
    assert "1 image of 1 folder inside class folders counted as their class's, such as 'cat/deep/er'" in result.notes
    assert result.disagreement is None


@pytest.mark.parametrize("names", [
    ("train", "val", "test"), ("Train", "validation", "TEST"), ("training", "clean", "testing"),
    ("train_set", "dev", "holdout"), ("noisy_train", "clean_val", "clean_test")])
def test_split_folders_become_our_splits_with_train_first(tmp_path, names):
    for split in names:
        write_classes(tmp_path / "data" / split)
    result, rows, report = import_folder(tmp_path / "data", tmp_path / "p")
    assert result.splits == {"train": 4, "clean": 4, "test": 4}
    assert rows["split"].tolist() == ["train"] * 4 + ["clean"] * 4 + ["test"] * 4
    assert rows["sample_id"].iloc[0] == f"{names[0]}/cat/0.png"
    assert report.empty


def test_what_is_called_as_splits_and_has_no_classes_is_refused(tmp_path):
    write_classes(tmp_path / "data", ("train", "test"))
    with pytest.raises(SourceError, match="a folder for each class; test, train in .*/data hold images alone"):
        import_folder(tmp_path / "data", tmp_path / "p")
    assert len(import_folder(tmp_path / "data", tmp_path / "p", layout="class")[1]) == 4


def test_metadata_beside_images_is_read_and_images_without_a_row_are_lost(tmp_path):
    write_classes(tmp_path / "data", ("train", "test"), num=3)
    (tmp_path / "data" / "train" / "metadata.csv").write_text("file_name,label,site\n0.png,cat,a\n1.png,dog,b\n")
    (tmp_path / "data" / "test" / "metadata.jsonl").write_text('{"file_name": "0.png", "label": "cat"}\n')
    result, rows, report = import_folder(tmp_path / "data", tmp_path / "p")
    assert rows[["path", "given_label", "split"]].values.tolist() == [
        ["train/0.png", "cat", "train"], ["train/1.png", "dog", "train"], ["test/0.png", "cat", "test"]]
    lost = report[report["kind"] == "no row"]["file"].tolist()
    assert sorted(lost) == ["test/1.png", "test/2.png", "train/2.png"] and result.num_lost == 3


def test_trusted_samples_beside_noisy_ones_are_no_noisy_ones(tmp_path):
    for name in ("noisy_train", "clean_train", "clean_val", "clean_test"):
        write_classes(tmp_path / "data" / name)
    result, rows, _ = import_folder(tmp_path / "data", tmp_path / "p")
    assert result.splits == {"train": 4, "clean": 8, "test": 4} and set(rows["given_label"]) == {"cat", "dog"}


def test_splits_inside_classes_and_a_wrapper_around_all(tmp_path):
    for name in ("cat", "dog"):
        write_classes(tmp_path / "data" / "archive" / "photos" / name, ("train", "val", "test"))
    (tmp_path / "data" / "__MACOSX" / "cat").mkdir(parents=True)
    result, rows, report = import_folder(tmp_path / "data", tmp_path / "p")
    assert result.splits == {"train": 4, "clean": 4, "test": 4} and set(rows["given_label"]) == {"cat", "dog"}
    assert "everything lies in the folder 'archive/photos': its folders were read" in result.notes and report.empty
    assert rows["sample_id"].iloc[0] == "archive/photos/cat/train/0.png"


def test_another_projects_pictures_are_no_data(tmp_path):
    root = write_classes(tmp_path / "data")
    import_folder(root, root / "old")
    write_image(root / "old" / "thumbnails" / "aa" / "t.png")
    result, rows, report = import_folder(root, tmp_path / "p")
    assert sorted(set(rows["given_label"])) == ["cat", "dog"] and result.num_lost == 0
    assert report[["file", "kind", "action"]].values.tolist() == [["old", "a project", "ignored"]]
    with pytest.raises(SourceError, match="is a project; choose the folder of the images"):
        import_folder(root / "old", tmp_path / "q")


def test_pictures_of_formats_that_are_not_read_are_lost_and_other_files_are_not(tmp_path):
    root = write_classes(tmp_path / "data")
    for name in ("phone.heic", "notes.txt", "LICENSE"):
        (root / "cat" / name).write_bytes(b"x")
    (root / "cat" / "noext").write_bytes((root / "cat" / "0.png").read_bytes())
    result, _, report = import_folder(root, tmp_path / "p")
    assert report.set_index("file")[["kind", "action"]].T.to_dict("list") == {
        "cat/phone.heic": ["unread format", "skipped"], "cat/noext": ["not an image", "skipped"],
        "cat/notes.txt": ["not an image", "ignored"], "cat/LICENSE": ["not an image", "ignored"]}
    assert result.num_lost == 2


def test_a_class_called_train_is_a_class_where_it_holds_images(tmp_path):
    write_classes(tmp_path / "data", ("car", "train", "test"))
    _, rows, _ = import_folder(tmp_path / "data", tmp_path / "p")
    assert sorted(set(rows["given_label"])) == ["car", "test", "train"] and set(rows["split"]) == {"train"}


def test_layout_option_overrides_the_guess(tmp_path):
    write_classes(tmp_path / "data" / "train")
    _, rows, _ = import_folder(tmp_path / "data", tmp_path / "p")
    assert sorted(set(rows["given_label"])) == ["cat", "dog"]
    write_image(tmp_path / "data" / "plane" / "1.png")
    _, rows, _ = import_folder(tmp_path / "data", tmp_path / "q", layout="class")
    assert sorted(set(rows["given_label"])) == ["plane", "train"]


def test_each_broken_file_costs_one_line_and_the_rest_loads(tmp_path):
    root = write_classes(tmp_path / "data")
    broken = write_broken(root / "cat", outside=tmp_path / "secret.png")
    (root / "cat" / "notes.txt").write_text("no image")
    (root / "cat" / ".DS_Store").write_text("hidden")
    write_image(root / "stray.png")
    (root / "nothing").mkdir()
    os.symlink(tmp_path, root / "dog" / "way_out", target_is_directory=True)
    result, rows, report = import_folder(root, tmp_path / "p")
    assert rows["sample_id"].tolist() == ["cat/0.png", "cat/1.png", "dog/0.png", "dog/1.png"]
    expected = {f"cat/{name}": kind for name, kind in broken.items()} | {
        "cat/notes.txt": "not an image", "stray.png": "no class folder", "nothing": "empty class",
        "dog/way_out": "leaves root"}
    assert dict(zip(report["file"], report["kind"], strict=True)) == expected
    assert len(report) == len(expected) == result.num_problems
    is_junk = report["file"].isin(["cat/notes.txt"])
    assert (report["action"] == is_junk.map({True: "ignored", False: "skipped"})).all()
    assert (report["reason"].str.len() > 5).all() and result.num_lost == len(report) - 1
    assert not report["reason"].str.contains("\n").any()
    assert read_info(tmp_path / "p").classes == ("cat", "dog")
    assert any("1 hidden file" in note for note in result.notes)
    assert "1 link to folders left out: links are not followed" in result.notes


def test_a_picture_of_no_number_is_damaged(tmp_path):
    root = write_classes(tmp_path / "data")
    Image.fromarray(np.full((4, 4), np.nan, dtype=np.float32)).save(root / "cat" / "nan.tif")
    Image.fromarray(np.eye(4, dtype=np.float32)).save(root / "cat" / "unit.tif")
    _, rows, report = import_folder(root, tmp_path / "p")
    assert "cat/unit.tif" in rows["sample_id"].tolist()
    assert report[["file", "kind", "reason"]].values.tolist() == [
        ["cat/nan.tif", "damaged file", "none of its values is a number"]]


def test_a_link_that_leads_round_in_a_circle_costs_one_line_wherever_it_lies(tmp_path):
    root = write_classes(tmp_path / "data")
    for place in (root, root / "cat"):
        os.symlink("round", place / "about")
        os.symlink("about", place / "round")
    os.symlink(".", root / "dog" / "self", target_is_directory=True)
    result, rows, report = import_folder(root, tmp_path / "p")
    assert rows["sample_id"].tolist() == ["cat/0.png", "cat/1.png", "dog/0.png", "dog/1.png"]
    assert dict(zip(report["file"], report["kind"], strict=True)) == {
        "about": "unreadable", "round": "unreadable", "cat/about": "unreadable", "cat/round": "unreadable",
        "dog/self": "leaves root"}


@pytest.mark.parametrize("name", ["train", "secret"])
def test_what_lies_behind_a_link_is_neither_read_nor_named_and_decides_nothing(tmp_path, name):
    write_classes(tmp_path / "out", ("owl", "elk"))
    root = write_classes(tmp_path / "data")
    os.symlink(tmp_path / "out", root / name, target_is_directory=True)
    os.symlink(tmp_path / "out" / "owl", root / "dog" / "way_out", target_is_directory=True)
    result, rows, report = import_folder(root, tmp_path / "p")
    assert rows["sample_id"].tolist() == ["cat/0.png", "cat/1.png", "dog/0.png", "dog/1.png"]
    assert set(report["file"]) == {"dog/way_out", name} and set(report["kind"]) == {"leaves root"}
    assert "2 links to folders left out: links are not followed" in result.notes


def test_a_class_whose_images_are_all_broken_is_left_out_and_said(tmp_path):
    root = write_classes(tmp_path / "data", ("cat", "dog", "owl"))
    for path in (root / "owl").iterdir():
        path.write_bytes(b"")
    _, _, report = import_folder(root, tmp_path / "p")
    assert read_info(tmp_path / "p").classes == ("cat", "dog")
    assert report[report["kind"] == "empty class"]["file"].tolist() == ["owl"]


def test_a_class_seen_only_in_test_is_kept_and_said(tmp_path):
    write_classes(tmp_path / "data" / "train")
    write_classes(tmp_path / "data" / "test", ("cat", "owl"))
    _, _, report = import_folder(tmp_path / "data", tmp_path / "p")
    assert read_info(tmp_path / "p").classes == ("cat", "dog", "owl")
    assert report["kind"].tolist() == ["empty class"] and report["action"].tolist() == ["kept"]
    assert "'owl'" in report["reason"][0]


def test_an_unknown_split_folder_is_one_line(tmp_path):
    write_classes(tmp_path / "data" / "train")
    write_classes(tmp_path / "data" / "extra")
    result, _, report = import_folder(tmp_path / "data", tmp_path / "p")
    assert result.splits == {"train": 4, "clean": 0, "test": 0}
    assert report[["file", "kind"]].values.tolist() == [["extra", "unknown split"]]


def test_odd_class_and_file_names_are_kept_as_they_are(tmp_path):
    for idx, name in enumerate(ODD_NAMES):
        safe = name.replace("/", "_")
        write_image(tmp_path / "data" / safe / f"{safe}.png", seed=idx)
    _, rows, report = import_folder(tmp_path / "data", tmp_path / "p")
    expected = sorted(name.replace("/", "_") for name in ODD_NAMES)
    assert read_info(tmp_path / "p").classes == tuple(expected)
    assert rows["given_label"].tolist() == expected
    assert rows["sample_id"].tolist() == [f"{name}/{name}.png" for name in expected]
    assert report.empty


def test_a_name_that_is_not_utf8_is_one_line(tmp_path):
    root = write_classes(tmp_path / "data")
    shutil.copy(root / "cat" / "0.png", os.fsencode(root / "cat") + b"/bad\xff.png")
    _, rows, report = import_folder(root, tmp_path / "p")
    assert len(rows) == 4
    assert report["kind"].tolist() == ["not UTF-8"] and "udcff" in report["file"][0]


def test_ids_stay_when_the_root_moves_and_images_change(tmp_path):
    root = write_classes(tmp_path / "data")
    _, before, _ = import_folder(root, tmp_path / "p")
    moved = shutil.move(root, tmp_path / "elsewhere" / "data")
    write_image(Path(moved) / "cat" / "0.png", seed=99)
    write_image(Path(moved) / "cat" / "new.png")
    (Path(moved) / "dog" / "1.png").unlink()
    result, after, _ = import_folder(Path(moved), tmp_path / "p")
    assert set(before["sample_id"]) - set(after["sample_id"]) == {"dog/1.png"}
    assert set(after["sample_id"]) - set(before["sample_id"]) == {"cat/new.png"}
    assert (result.num_added, result.num_removed, result.is_new) == (1, 1, False)
    assert read_info(tmp_path / "p").root == str(moved)


@pytest.mark.parametrize(("make", "message"), [
    (lambda root: None, "must be a folder; .* does not exist"),
    (lambda root: root.write_text("x"), "must be a folder; .* is a file"),
    (lambda root: root.mkdir(), "has no class folder"),
    (lambda root: write_image(root / "flat.png"), "has no class folder"),
    (lambda root: (root / "cat").mkdir(parents=True), "needs training samples; none of 0 rows"),
    (lambda root: write_image(root / "cat" / "1.png"), "at least two classes; got 'cat' alone"),
    (lambda root: write_image(root / "val" / "cat" / "1.png"), "at least two classes"),
])
def test_what_cannot_load_is_refused_and_makes_no_project(tmp_path, make, message):
    make(tmp_path / "data")
    with pytest.raises(SourceError, match=message):
        import_project("imagefolder", tmp_path / "p", root=tmp_path / "data")
    assert not (tmp_path / "p").exists()


def test_a_project_inside_its_own_image_folder_is_not_taken_for_a_class(tmp_path):
    root = write_classes(tmp_path / "data")
    for _ in range(2):
        result, rows, report = import_folder(root, root / "p")
        write_image(root / "p" / "thumbnails" / "t.png")
        assert sorted(set(rows["given_label"])) == ["cat", "dog"] and report.empty and result.num_removed == 0
    with pytest.raises(SourceError, match="must not be the image folder itself"):
        import_project("imagefolder", root, root=root)
