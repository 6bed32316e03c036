"""What we export imports again as the same samples, labels and pictures; what was left out stays out."""

import shutil
from pathlib import Path

import pandas as pd
import pytest

from curation.exports.exporting import export
from curation.exports.pack import FORMS
from curation.project import Project
from curation.sources.importing import import_project
from engine.contract.manifest import read_manifest
from engine.contract.run_dir import RunDir
from tests.curation.exports.conftest import CLASSES
from tests.curation.sources.test_clothing1m import write_images, write_layout
from tests.fakes import make_run


def expected(project: Project) -> pd.DataFrame:
    """sample_id, label in force and the picture's bytes of all that is not left out, by sample_id."""
    rows = project.manifest().set_index("sample_id")
    state = project.ledger().state().set_index("sample_id").reindex(rows.index)
    label = state["label"].where(state["label"].notna(), rows["given_label"])
    found = pd.DataFrame({"label": label, "bytes": [(project.root / path).read_bytes() for path in rows["path"]]})
    return found[~state["excluded"].eq(True)].sort_index()


def imported(project: Project) -> pd.DataFrame:
    rows = project.manifest().set_index("sample_id")
    pictures = [(project.root / path).read_bytes() for path in rows["path"]]
    return pd.DataFrame({"label": rows["given_label"], "bytes": pictures}).sort_index()


@pytest.mark.parametrize(("what", "form", "file", "is_beside"), [
    ("hard-validation", "imagefolder", "validation/metadata.csv", True),
    ("hard-validation", "table", "hard_validation.parquet", False),
    ("hard-validation", "table", "hard_validation.csv", False),
    ("corrected-labels", "table", "corrected_labels.parquet", False),
])
def test_an_export_comes_back_as_it_went(photos: Project, tmp_path: Path, what: str, form: str, file: str,
                                         is_beside: bool) -> None:
    """is_beside: the pictures lie beside the table, else where the project has them."""
    run = None if what == "corrected-labels" else photos.run("first")
    export(photos, run, what, form, tmp_path / "out")
    (tmp_path / "classes.txt").write_text("\n".join(CLASSES))
    result = import_project("table", tmp_path / "back", root=tmp_path / "out" / file,
                            classes=str(tmp_path / ("out" if is_beside else "") / "classes.txt"),
                            image_root=None if is_beside else str(photos.root))
    back = Project.open(tmp_path / "back")
    pd.testing.assert_frame_equal(imported(back), expected(photos), check_names=False, check_dtype=False)
    assert back.classes == CLASSES, "and each class at its own index"
    assert result.problem_kinds == ({"excluded": 3} if what == "corrected-labels" else {})


WAYS = [
    ("parquet", "huggingface", ""), ("imagefolder", "huggingface", ""), ("huggingface", "huggingface", ""),
    ("huggingface", "table", "validation/metadata.parquet"), ("wilds", "table", "images/metadata.csv"),
    ("coco", "coco", ""), ("cvat", "cvat", "annotations.xml"), ("fiftyone", "fiftyone", ""),
    ("coco", "croissant", ""), ("imagefolder", "croissant", ""), ("huggingface", "croissant", ""),
]
"""Every form of a set with pictures, the source that reads it, and where."""


def test_every_form_of_a_set_with_pictures_has_a_way_back() -> None:
    assert {form for form, *_ in WAYS} == {*FORMS, "parquet"} - {"label-studio"}, "whose way back is its answers"


@pytest.mark.parametrize(("form", "source", "root"), WAYS)
def test_a_set_with_pictures_comes_back_as_it_went(photos: Project, tmp_path: Path, form: str, source: str,
                                                   root: str) -> None:
    export(photos, photos.run("first"), "hard-validation", form, tmp_path / "out")
    options = {"classes": str(tmp_path / "out" / "classes.txt")} if source == "table" else {}
    import_project(source, tmp_path / "back", root=tmp_path / "out" / root, **options)
    back, wanted = Project.open(tmp_path / "back"), expected(photos)
    rows = back.manifest()
    held = [one.get("bytes") for one in rows["image"]] if "image" in rows else [None] * len(rows)
    pictures = [data or (back.root / path).read_bytes() for data, path in zip(held, rows["path"], strict=True)]
    assert sorted(zip(rows["given_label"], pictures, strict=True)) == sorted(zip(wanted["label"], wanted["bytes"],
                                                                                 strict=True))
    assert (rows["split"] == "train").all() and set(back.classes) == set(CLASSES)
    is_by_name = source == "huggingface" and form != "parquet"
    assert back.classes == CLASSES or is_by_name, "which reads the names, in their own order"
    assert set(rows["sample_id"]) == set(wanted.index)


@pytest.mark.parametrize(("form", "source", "root"), WAYS)
def test_real_photos_come_back_as_they_went(real_photos: Project, tmp_path: Path, form: str, source: str,
                                            root: str) -> None:
    result = export(real_photos, real_photos.run("first"), "hard-validation", form, tmp_path / "out")
    assert result.num_samples == 57 and len(result.problems) == 0
    options = {"classes": str(tmp_path / "out" / "classes.txt")} if source == "table" else {}
    report = import_project(source, tmp_path / "back", root=tmp_path / "out" / root, **options)
    assert set(report.problem_kinds) <= {"empty class"}
    back = imported(Project.open(tmp_path / "back"))
    pd.testing.assert_frame_equal(back, expected(real_photos), check_names=False, check_dtype=False)


def test_suffixes_stay_and_what_torchvision_passes_over_is_named(photos: Project, tmp_path: Path) -> None:
    result = export(photos, photos.run("first"), "hard-validation", "imagefolder", tmp_path / "out")
    meta = pd.read_csv(tmp_path / "out" / "validation" / "metadata.csv")
    assert [Path(name).suffix for name in meta["file_name"]] == [Path(name).suffix for name in meta["sample_id"]]
    passed_over = meta["sample_id"][meta["file_name"].str.endswith((".jp2", ".avif"))]
    assert sorted(result.problems["sample_id"]) == sorted(passed_over) and len(passed_over) == 4
    assert result.problems["reason"].str.contains("passes over .(?:jp2|avif) files", regex=True).all()


def test_an_export_of_an_export_has_each_column_once(photos: Project, tmp_path: Path) -> None:
    export(photos, photos.run("first"), "hard-validation", "imagefolder", tmp_path / "out")
    import_project("table", tmp_path / "back", root=tmp_path / "out" / "validation" / "metadata.csv")
    back = Project.open(tmp_path / "back")
    back.ledger().pin(back.manifest()["sample_id"].tolist(), "validation", who="ada")
    export(back, make_run(back), "hard-validation", "imagefolder", tmp_path / "again")
    meta = pd.read_csv(tmp_path / "again" / "validation" / "metadata.csv")
    assert meta.columns.is_unique and meta["original_path_data"].str.startswith(("0/", "1/", "2/")).all()


@pytest.fixture
def clothing(tmp_path: Path) -> tuple[Path, Project, RunDir]:
    root = write_layout(tmp_path / "data")
    write_images(root)
    import_project("clothing1m", tmp_path / "p", root=root, check="none")
    project = Project.open(tmp_path / "p")
    return root, project, make_run(project)


def test_a_key_with_a_true_label_that_was_left_out_is_not_in_another_split_after(
        clothing: tuple[Path, Project, RunDir], tmp_path: Path) -> None:
    root, project, _ = clothing
    rows = read_manifest(project.path, columns=("dual_labelled",))
    dual = rows.loc[rows["dual_labelled"].eq(True), "sample_id"].tolist()
    project.ledger().exclude(dual[:1], who="ada")
    export(project, None, "corrected-labels", "clothing1m", tmp_path / "out")
    text = " ".join((tmp_path / "out" / "README.txt").read_text().split())
    annotations = root / "annotations" if (root / "annotations").is_dir() else root
    for name, place in (("all_label_kv.txt", "noisy_label_kv.txt"),
                        ("corrected_train_key_list.txt", "noisy_train_key_list.txt"),
                        ("corrected_clean_train_key_list.txt", "clean_train_key_list.txt")):
        assert name in text and f"in place of {place}" in text
        shutil.copyfile(tmp_path / "out" / name, annotations / place)
    import_project("clothing1m", tmp_path / "back", root=root, check="none")
    back = Project.open(tmp_path / "back").manifest()
    assert dual[0] not in set(back["sample_id"]) and set(dual[1:]) <= set(back["sample_id"])
    assert set(back["sample_id"]) == set(rows["sample_id"]) - {dual[0]}
