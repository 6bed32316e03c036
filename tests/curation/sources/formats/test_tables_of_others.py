"""Roboflow's one-hot CSV, Kaggle's ids without suffix, WILDS' metadata: small files of the same structure."""

from pathlib import Path

import pytest

from curation.project import Project
from curation.sources.importing import import_project
from curation.sources.recognise import recognise
from curation.tables.report import SourceError
from engine.contract.manifest import read_info, read_manifest
from tests.curation.sources.formats.pictures import picture


def listed(project: Path, *columns: str) -> list[list[object]]:
    rows = read_manifest(project)[["path", "given_label", "split", *columns]]
    return rows.astype(object).where(rows.notna(), None).values.tolist()


def test_roboflow_columns_are_classes_in_their_order(tmp_path: Path) -> None:
    for name in ("train/a.png", "train/b.png", "valid/a.png"):
        picture(tmp_path / "d" / name)
    (tmp_path / "d/train/_classes.csv").write_text(
        "filename, zebra, ant, old cat\na.png, 0, 1, 0\nb.png,1,0,0\nc.png,1,1,0\nd.png,0,0,0\ne.png,0,x,1\n")
    (tmp_path / "d/valid/_classes.csv").write_text("filename, zebra, ant, old cat\na.png,0,0,1\ngone.png,1,0,0\n")
    assert recognise(tmp_path / "d")[0].source == "roboflow"
    result = import_project("roboflow", tmp_path / "p", root=tmp_path / "d")
    assert listed(tmp_path / "p") == [["train/a.png", "ant", "train"], ["train/b.png", "zebra", "train"],
                                      ["valid/a.png", "old cat", "clean"]]
    assert read_info(tmp_path / "p").classes == ("zebra", "ant", "old cat")
    report = Project.open(tmp_path / "p").import_report()
    found = report[report["file"].str.endswith(".csv")].set_index("kind")[["file", "row"]]
    assert found.drop("empty class").T.to_dict("list") == {
        "malformed line": ["train/_classes.csv", 6], "several labels": ["train/_classes.csv", 4],
        "missing label": ["train/_classes.csv", 5]}
    assert result.problem_kinds["missing file"] == 1


def test_roboflow_splits_of_other_classes_are_refused(tmp_path: Path) -> None:
    for split, names in (("train", "a,b"), ("valid", "a,c")):
        (tmp_path / split).mkdir()
        (tmp_path / split / "_classes.csv").write_text(f"filename,{names}\nx.png,1,0\n")
    with pytest.raises(SourceError, match="splits of one data set must share their classes"):
        import_project("roboflow", tmp_path / "p", root=tmp_path)


def test_kaggle_ids_without_suffix_in_a_folder_of_their_own(tmp_path: Path) -> None:
    for name in ("train_images/007.jpg", "train_images/8.jpg", "test_images/9.jpg"):
        picture(tmp_path / "d" / name)
    (tmp_path / "d/train.csv").write_text("id_code,diagnosis,site\n007,2,x\n8,0,y\nnone,1,z\n")
    (tmp_path / "d/test.csv").write_text("id_code\n9\n")
    (tmp_path / "d/sample_submission.csv").write_text("id_code,diagnosis\n9,0\n")
    assert recognise(tmp_path / "d")[0].source == "kaggle"
    result = import_project("kaggle", tmp_path / "p", root=tmp_path / "d")
    assert listed(tmp_path / "p", "site") == [["train_images/007.jpg", "2", "train", "x"],
                                              ["train_images/8.jpg", "0", "train", "y"]]
    assert result.problem_kinds == {"missing file": 1}


def test_kaggle_one_column_a_class(tmp_path: Path) -> None:
    for name in ("images/a.jpg", "images/b.jpg"):
        picture(tmp_path / name)
    (tmp_path / "train.csv").write_text("image_id,zebra,ant\na,0,1\nb,1,0\nc,1,1\n")
    result = import_project("kaggle", tmp_path / "p", root=tmp_path / "train.csv")
    assert listed(tmp_path / "p") == [["images/a.jpg", "ant", "train"], ["images/b.jpg", "zebra", "train"]]
    assert read_info(tmp_path / "p").classes == ("zebra", "ant") and result.problem_kinds == {"several labels": 1}
    (tmp_path / "train.csv").write_text("image_id,zebra,ant\na,0,some\nb,1,0\n")
    with pytest.raises(SourceError, match="needs one column of them, or columns of 0 and 1; train.csv has"):
        import_project("kaggle", tmp_path / "q", root=tmp_path / "train.csv")


def test_wilds_domain_is_the_group_and_splits_are_numbers(tmp_path: Path) -> None:
    for name in ("1.Bird/a.png", "1.Bird/b.png", "2.Bird/c.png", "2.Bird/d.png"):
        picture(tmp_path / "d" / name)
    (tmp_path / "d/metadata.csv").write_text(
        "img_id,img_filename,y,split,place,place_filename\n1,1.Bird/a.png,0,0,1,/data/x.jpg\n2,1.Bird/b.png,1,0,0,/x\n"
        "3,2.Bird/c.png,1,1,1,/x\n4,2.Bird/d.png,0,2,0,/x\n5,2.Bird/d.png,0,9,0,/x\n")
    assert recognise(tmp_path / "d")[0].source == "wilds"
    result = import_project("wilds", tmp_path / "p", root=tmp_path / "d")
    assert listed(tmp_path / "p", "group") == [
        ["1.Bird/a.png", "0", "train", "1"], ["1.Bird/b.png", "1", "train", "0"], ["2.Bird/c.png", "1", "clean", "1"],
        ["2.Bird/d.png", "0", "test", "0"]]
    assert result.problem_kinds == {"unknown split": 1}


def test_camelyon_and_names_of_splits(tmp_path: Path) -> None:
    (tmp_path / "c").mkdir()
    (tmp_path / "c/metadata.csv").write_text(
        ",patient,node,x_coord,y_coord,tumor,slide,center,split\n0,004,4,3328,21792,1,0,0,0\n1,10,1,1,2,0,0,2,0\n"
        "2,20,0,1,2,1,0,1,0\n3,4,4,5,6,0,0,4,1\n")
    import_project("wilds", tmp_path / "p", root=tmp_path / "c", check="none")
    name = "patches/patient_004_node_4/patch_patient_004_node_4_x_3328_y_21792.png"
    assert listed(tmp_path / "p", "group")[0] == [name, "1", "train", "0"]
    assert read_manifest(tmp_path / "p")["split"].tolist() == ["train", "clean", "clean", "test"]
    (tmp_path / "w").mkdir()
    (tmp_path / "w/metadata.csv").write_text("filename,y,split,location_remapped\na.jpg,3,train,1\nb.jpg,4,id_val,2\n"
                                             "c.jpg,4,train,2\nd.jpg,4,id_test,2\n")
    import_project("wilds", tmp_path / "q", root=tmp_path / "w", check="none")
    assert [row[2] for row in listed(tmp_path / "q")] == ["train", "train", "clean", "test"]
