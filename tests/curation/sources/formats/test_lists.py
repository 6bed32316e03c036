"""WebVision's, Food-101N's and plain lists: small files of the same structure."""

from pathlib import Path

import pytest

from curation.sources.importing import import_project
from curation.sources.recognise import recognise
from curation.tables.report import SourceError
from engine.contract.manifest import read_info, read_manifest
from tests.curation.sources.formats.pictures import picture


def listed(project: Path, *columns: str) -> list[list[object]]:
    rows = read_manifest(project)[["path", "given_label", "split", *columns]]
    return rows.astype(object).where(rows.notna(), None).values.tolist()


def test_webvision(tmp_path: Path) -> None:
    data = tmp_path / "d"
    for name in ("google/q0001/a b.jpg", "flickr/q0002/c.jpg", "val_images_256/val1.jpg"):
        picture(data / name)
    (data / "info").mkdir()
    (data / "info/synsets.txt").write_text("n1 tench, Tinca\nn2 crane\nn3 crane\n")
    (data / "info/train_filelist_google.txt").write_text("google/q0001/a b.jpg 1\ngoogle/q0001/gone.jpg 0\nalone\n")
    (data / "info/train_filelist_flickr.txt").write_text("flickr/q0002/c.jpg 0\nflickr/q0002/d.jpg 7\n")
    (data / "info/val_filelist.txt").write_text("val1.jpg 2\n")
    assert recognise(data)[0].source == "lists"
    result = import_project("lists", tmp_path / "p", root=data)
    assert listed(tmp_path / "p") == [
        ["flickr/q0002/c.jpg", "n1 tench, Tinca", "train"], ["google/q0001/a b.jpg", "n2 crane", "train"],
        ["val_images_256/val1.jpg", "n3 crane", "clean"]]
    assert read_info(tmp_path / "p").classes == ("n1 tench, Tinca", "n2 crane", "n3 crane")
    assert result.problem_kinds == {"empty class": 1, "malformed line": 1, "missing file": 1, "unknown label": 1}


def test_food_101n_verified_labels_are_known_truth(tmp_path: Path) -> None:
    data = tmp_path / "d"
    for name in ("pie/a.jpg", "pie/b.jpg", "soup/a.jpg"):
        picture(data / "images" / name)
    (data / "meta").mkdir()
    (data / "meta/imagelist.tsv").write_text("class_name/key\npie/a.jpg\npie/b.jpg\nsoup/a.jpg\nsoup/gone.jpg\n")
    (data / "meta/verified_train.tsv").write_text("class_name/key\tverification_label\npie/a.jpg\t1\npie/b.jpg\t0\n")
    assert recognise(data)[0].source == "lists"
    result = import_project("lists", tmp_path / "p", root=data)
    assert listed(tmp_path / "p", "clean_label", "is_verified_right") == [
        ["images/pie/a.jpg", "pie", "train", "pie", True], ["images/pie/b.jpg", "pie", "train", None, False],
        ["images/soup/a.jpg", "soup", "train", None, None]]
    assert any("2 labels are verified, 1 of them right" in note for note in result.notes)


def test_plain_lists_without_class_names(tmp_path: Path) -> None:
    for name in ("images/1.jpg", "images/2.jpg"):
        picture(tmp_path / name)
    (tmp_path / "train.txt").write_text("1.jpg dog\n2.jpg cat\n")
    (tmp_path / "notes.txt").write_text("made in the train by ada\n")
    import_project("lists", tmp_path / "p", root=tmp_path)
    assert listed(tmp_path / "p") == [["images/1.jpg", "dog", "train"], ["images/2.jpg", "cat", "train"]]
    (tmp_path / "train.txt").unlink()
    with pytest.raises(SourceError, match="in a file called after its split, such as train.txt"):
        import_project("lists", tmp_path / "q", root=tmp_path)
