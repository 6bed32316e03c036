"""Folders as people have them: splits without classes, any name, Clothing1M as folders, tiny sets."""

import os
import unicodedata
from pathlib import Path

import pytest

from curation.exit_status import DONE, LOST, REFUSED
from curation.project import Project
from tests.curation.cases.bring import bring, command
from tests.fakes import make_run
from tests.picture_files import write_image


def fill(root: Path, **classes: int) -> Path:
    for name, num in classes.items():
        for idx in range(num):
            write_image(root / name / f"{idx}.png", seed=idx, size=4)
    return root


@pytest.mark.parametrize("names", [("train", "test"), ("Train", "VALID"), ("training_set", "test_set"),
                                   ("noisy_train", "clean_test"), ("dev", "holdout")])
def test_folders_called_as_splits_are_no_classes(tmp_path: Path, names: tuple[str, str]) -> None:
    found = bring("imagefolder", fill(tmp_path / "data", **{names[0]: 3, names[1]: 2}), tmp_path / "p")
    assert found.status == REFUSED and "folders called as splits must hold a folder for each class" in found.said
    assert all(name in found.said for name in names)


def test_images_beside_the_classes_of_a_split_are_reported(tmp_path: Path) -> None:
    for name in ("train", "test"):
        fill(fill(tmp_path / "data", **{name: 2}) / name, a=2, b=2)
    found = bring("imagefolder", tmp_path / "data", tmp_path / "p")
    assert (found.status, found.lost) == (LOST, 4) and set(found.rows["given_label"]) == {"a", "b"}


def test_clothing1m_as_folders_of_classes(tmp_path: Path) -> None:
    for split, num in (("noisy_train", 8), ("clean_train", 3), ("clean_val", 3), ("clean_test", 3)):
        fill(tmp_path / "data" / split, **{str(code): num for code in range(3)})
    found = bring("imagefolder", tmp_path / "data", tmp_path / "p")
    assert found.status == DONE and set(found.rows["given_label"]) == {"0", "1", "2"}
    assert found.rows["split"].value_counts().to_dict() == {"train": 24, "clean": 18, "test": 9}


NAMES = (unicodedata.normalize("NFC", "café"), unicodedata.normalize("NFD", "café"), "Cat", "cat",
         "\U0001f436 & \U0001f431", "L" * 200, "con", "#hash", "a%20b", "x, y", 'say "hi"',
         "<b>bold<b>", "\u0939\u093f", "=1+1", "-neg", "True",
         "NA", "007", "a'b", "tab\tname", "two  spaces", "no\u00a0break")


def test_folders_of_any_name_are_classes_as_they_are_called(tmp_path: Path) -> None:
    root = fill(tmp_path / "data", **dict.fromkeys(NAMES, 1), **{"dog ": 1})
    for name in ("Thumbs.db", "desktop.ini", ".DS_Store", "._0.png"):
        (root / "cat" / name).write_bytes(b"junk")
    for name in (".ipynb_checkpoints/0-checkpoint.png", "x.png/in.png", "n" * 240 + ".png", "q?a#b%41&c.png",
                 "new\nline.png"):
        write_image(root / "cat" / name, size=4)
    latin = os.fsencode(root) + b"/d\xe9cor"
    os.mkdir(latin)
    with open(latin + b"/0.png", "wb") as file:
        file.write((root / "cat" / "0.png").read_bytes())
    found = bring("imagefolder", root, tmp_path / "p")
    assert set(found.rows["given_label"]) == {*NAMES, "dog"} and len(found.rows) == len(NAMES) + 5
    assert found.status == LOST and found.lost == 1 and "a file name must be UTF-8" in found.said
    assert "(2 groups): 'Cat' and 'cat'; 'cafe\\u0301' and 'café'" in found.said
    assert "hidden files left out" in found.said
    fill(root, dog=1)
    assert "differ by spaces at their ends alone are one class: 'dog', 'dog '" in bring(
        "imagefolder", root, tmp_path / "q").said


@pytest.mark.parametrize("classes", [{"a": 1, "b": 1}, {"a": 3, "b": 1}, {f"c{code:02}": 1 for code in range(30)},
                                     {"big": 40, **{f"c{code}": 1 for code in range(4)}}])
def test_tiny_sets_come_whole(tmp_path: Path, classes: dict[str, int]) -> None:
    found = bring("imagefolder", fill(tmp_path / "data", **classes), tmp_path / "p")
    assert found.status == DONE and found.rows["given_label"].value_counts().to_dict() == classes


def test_absent_and_rare_classes_are_named(tmp_path: Path) -> None:
    """Many classes of one to three images, some in test alone, one declared and nowhere, one whose image is broken."""
    lines = ["path,label,split"]
    for code in range(60):
        for idx in range(1 if code % 3 else 3):
            write_image(tmp_path / "data" / f"{code}_{idx}.png", size=4)
            lines.append(f"{code}_{idx}.png,species {code:02},{'train' if code < 55 else 'test'}")
    (tmp_path / "data" / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0JFIF")
    (tmp_path / "data" / "t.csv").write_text("\n".join([*lines, "broken.jpg,species 99,train"]) + "\n")
    names = [f"species {code:02}" for code in (*range(60), 99)] + ["never seen"]
    (tmp_path / "names.txt").write_text("\n".join(names) + "\n")
    found = bring("table", tmp_path / "data" / "t.csv", tmp_path / "p", "--classes", tmp_path / "names.txt")
    project = Project.open(tmp_path / "p")
    report = project.import_report()
    empty = report[report["kind"] == "empty class"]["reason"]
    assert project.classes == tuple(names) and found.lost == 1
    assert len(empty) == 7 and {text.split("'")[1] for text in empty} == {*names[55:60], "species 99", "never seen"}


def test_images_that_vanish_after_the_import_are_named_where_they_are_used(tmp_path: Path) -> None:
    root = fill(tmp_path / "data", a=4, b=4, c=4)
    bring("imagefolder", root, tmp_path / "p")
    project = Project.open(tmp_path / "p")
    project.ledger().pin(project.manifest()["sample_id"].tolist(), "validation", who="ada")
    make_run(project)
    (root / "a" / "0.png").unlink()
    (root / "b" / "1.png").write_bytes(b"not a picture")
    (root / "c" / "2.png").write_bytes(b"")
    status, said = command("export", project.path, "--run", "first", "--format", "imagefolder",
                           "--out", tmp_path / "out")
    assert status == LOST and "9 samples exported" in said and "3 problems" in said
    assert all(name in (tmp_path / "out" / "problems.csv").read_text() for name in ("a/0.png", "b/1.png", "c/2.png"))
