"""What we export comes back: each picture under its corrected label, each class under its own name."""

from pathlib import Path

import pandas as pd
import pytest

from curation.exit_status import DONE, LOST
from curation.exports.exporting import export
from curation.project import Project
from curation.sources.importing import import_project
from tests.curation.cases.bring import bring, command
from tests.fakes import make_run
from tests.picture_files import write_image

NAMES = ("two  spaces", "two spaces", "no\u00a0break", "tab\tname", "semi;colon", "a|b", "x, y", 'say "hi"',
         "<b>&amp;</b>", "=1+1", "caf\u00e9", "cafe\u0301", "line\nbreak", "line\u2028part", "007", "['a', 'b']")
"""Escaped where letters cannot be told apart."""


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Two pictures in each of the classes, all of them chosen."""
    home = tmp_path_factory.mktemp("odd")
    rows = [{"path": f"{code}_{idx}.png", "label": name} for code, name in enumerate(NAMES) for idx in range(2)]
    for number, row in enumerate(rows):
        write_image(home / "data" / row["path"], seed=number, size=4)
    frame = pd.DataFrame(rows).assign(label=lambda one: pd.Categorical(one["label"], categories=list(NAMES)))
    frame.to_parquet(home / "data" / "t.parquet")
    import_project("table", home / "p", root=home / "data" / "t.parquet")
    project = Project.open(home / "p")
    make_run(project)
    project.ledger().pin(project.manifest()["sample_id"].tolist(), "validation", who="ada")
    return project


@pytest.mark.parametrize(("form", "source", "root"), [
    ("imagefolder", "table", "validation/metadata.csv"), ("imagefolder", "imagefolder", ""),
    ("huggingface", "table", "validation/metadata.parquet"), ("huggingface", "huggingface", ""),
    ("parquet", "huggingface", ""), ("coco", "coco", ""), ("cvat", "cvat", ""), ("fiftyone", "fiftyone", ""),
    ("wilds", "table", "images/metadata.csv"), ("table", "table", "hard_validation.csv"),
    ("table", "table", "hard_validation.parquet")])
def test_every_class_keeps_its_name(odd: Project, tmp_path: Path, form: str, source: str, root: str) -> None:
    export(odd, odd.run("first"), "hard-validation", form, tmp_path / "out")
    options: list[object] = ["--image-root", odd.root] if form == "table" else []
    if (tmp_path / "out" / "classes.csv").exists() and source == "table":
        options += ["--classes", tmp_path / "out" / "classes.csv"]
    found = bring(source, tmp_path / "out" / root, tmp_path / "p", *options)
    assert found.status == DONE, found.said
    shown = {odd.root / path: label for path, label in odd.manifest()[["path", "given_label"]].itertuples(index=False)}
    wanted = sorted((label, path.read_bytes()) for path, label in shown.items())
    back = Project.open(tmp_path / "p")
    pictures = [(one or {}).get("bytes") for one in found.rows["image"]] if "image" in found.rows else \
        [None] * len(found.rows)
    assert sorted((label, data or (back.root / path).read_bytes()) for label, path, data in zip(
        found.rows["given_label"], found.rows["path"], pictures, strict=True)) == wanted
    assert set(back.classes) == set(NAMES)


def test_files_of_one_name_in_many_folders(tmp_path: Path) -> None:
    """IMG_0001 in every class and in folders below it; one picture was of another class."""
    for code, name in enumerate(("cat", "dog", "bird")):
        for number, folder in enumerate(("", "phone", "scan")):
            for idx in range(4):
                write_image(tmp_path / "data" / name / folder / f"IMG_{idx:04}.png",
                            seed=100 * code + 10 * number + idx, size=4)
    bring("imagefolder", tmp_path / "data", tmp_path / "p")
    project = Project.open(tmp_path / "p")
    make_run(project)
    ids = project.manifest()["sample_id"].tolist()
    project.ledger().pin(ids, "validation", who="ada")
    relabelled = ["cat/IMG_0000.png", "cat/phone/IMG_0000.png"]
    project.ledger().relabel(relabelled, "dog", who="ada")
    status, _ = command("export", project.path, "--run", "first", "--format", "imagefolder", "--out", tmp_path / "out")
    found = bring("table", tmp_path / "out" / "validation" / "metadata.csv", tmp_path / "back")
    rows = found.rows.set_index("sample_id")
    assert status == found.status == DONE and sorted(rows.index) == sorted(ids)
    for sample_id in ids:
        assert (tmp_path / "out" / "validation" / rows.at[sample_id, "path"]).read_bytes() == \
            (tmp_path / "data" / sample_id).read_bytes()
        label = "dog" if sample_id in relabelled else sample_id.split("/")[0]
        assert rows.at[sample_id, "given_label"] == label


# -- Clothing1M


CLOTHES = ("T-Shirt", "Shirt", "Knitwear", "Chiffon")


def clothing(root: Path) -> None:
    """Clothing1M as people have it: byte order marks, \\r\\n, a line without label, a label one too high, a tab, a key
    twice with two labels, a key in two lists, blank lines, images gone and cut, commas and spaces in keys."""
    lists = root / "annotations"
    lists.mkdir(parents=True)
    (lists / "category_names_eng.txt").write_bytes(("\ufeff" + "\r\n".join(CLOTHES) + "\r\n").encode())
    keys = [f"images/{idx % 3}/{idx:02},{9 * idx}.jpg" for idx in range(24)]
    for idx, key in enumerate(keys):
        write_image(root / key, seed=idx, size=4)
    noisy = [f"{key} {idx % 4}" for idx, key in enumerate(keys)]
    clean = [f"{key} {idx % 4}" for idx, key in enumerate(keys) if idx % 4 == 0]
    held = {"clean_val_key_list.txt": [], "clean_test_key_list.txt": []}  # type: dict[str, list[str]]
    for idx in range(8):
        key = f"images/v/{idx},1.jpg"
        write_image(root / key, seed=50 + idx, size=4)
        list(held.values())[idx % 2].append(key)
        clean.append(f"{key} {idx % 4}")
    spaced = "images/sp ace/my photo, 1.jpg"
    write_image(root / spaced, seed=90, size=4)
    noisy[5] = keys[5]
    noisy[6] = f"{keys[6]} 4"
    noisy[7] = f"{keys[7]}\t3"
    noisy += [f"{spaced} 1", f"{keys[9]} 3"]
    listed = [*keys[:3], "", *keys[3:], spaced, keys[8]]
    held["clean_val_key_list.txt"].append(keys[10])
    clean.append(f"{keys[10]} 2")
    (root / keys[11]).unlink()
    (root / keys[13]).write_bytes((root / keys[13]).read_bytes()[:200])
    for name, lines in {"noisy_train_key_list.txt": listed, "noisy_label_kv.txt": noisy, "clean_label_kv.txt": clean,
                        "clean_train_key_list.txt": [key for idx, key in enumerate(keys) if idx % 4 == 0],
                        "noisy_train.txt": noisy, **held}.items():
        mark = "\ufeff" if name.startswith("noisy") else ""
        (lists / name).write_bytes((mark + "\r\n".join(lines) + "\r\n").encode())


def test_clothing1m_as_people_have_it(tmp_path: Path) -> None:
    clothing(tmp_path / "data")
    found = bring("clothing1m", tmp_path / "data", tmp_path / "p")
    report = Project.open(tmp_path / "p").import_report()
    rows = found.rows.set_index("sample_id")
    where = {(row.kind, row.file, None if pd.isna(row.row) else int(row.row)) for row in report.itertuples()
             if row.kind != "empty class"}
    assert found.status == LOST and where == {
        ("malformed line", "noisy_label_kv.txt", 6), ("missing label", "noisy_train_key_list.txt", 7),
        ("unknown label", "noisy_label_kv.txt", 7), ("duplicate key", "noisy_label_kv.txt", 26),
        ("duplicate key", "noisy_train_key_list.txt", 27), ("duplicate key", "noisy_train_key_list.txt", 12),
        ("missing file", "images/2/11,99.jpg", None), ("damaged file", "images/1/13,117.jpg", None)}
    assert rows["split"].value_counts().to_dict() == {"train": 20, "clean": 5, "test": 4}
    assert rows.at["images/1/07,63.jpg", "given_label"] == CLOTHES[3], "after a tab"
    assert rows.at["images/sp ace/my photo, 1.jpg", "given_label"] == CLOTHES[1]
    assert rows.at["images/1/10,90.jpg", "split"] == "clean", "a key of two lists trains nothing"


def test_clothing1m_whose_labels_count_from_one_is_refused(tmp_path: Path) -> None:
    clothing(tmp_path / "data")
    path = tmp_path / "data" / "annotations" / "noisy_label_kv.txt"
    lines = [f"images/{idx % 3}/{idx:02},{9 * idx}.jpg {1 + idx % 4}" for idx in range(24)]
    path.write_text("\n".join(lines) + "\n")
    assert "they run from 1 to 4" in bring("clothing1m", tmp_path / "data", tmp_path / "p").said
