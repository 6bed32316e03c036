"""COCO's JSON: classes of whole images, beside pycocotools' reading of the same file."""

import json
from pathlib import Path

import pytest

from curation.project import Project
from curation.sources.importing import import_project
from curation.sources.recognise import recognise
from curation.tables.report import SourceError
from engine.contract.manifest import read_info, read_manifest
from tests.curation.sources.formats.pictures import picture

CATEGORIES = [{"id": 7, "name": "ant"}, {"id": 3, "name": "zebra"}, {"id": 5, "name": "never"}]


def coco(path: Path, labels: list[list[dict[str, object]]], images: Path | None, **more: object) -> Path:
    """A file of annotations; labels: of each image the annotations without their image."""
    path.parent.mkdir(parents=True, exist_ok=True)
    listed = [{"id": 10 + idx, "file_name": f"{idx}.png", "width": 6, "height": 5} for idx in range(len(labels))]
    annotations = [{"image_id": 10 + idx, "id": 100 * idx + n, **one}
                   for idx, ones in enumerate(labels) for n, one in enumerate(ones)]
    for idx in range(len(labels) if images else 0):
        picture(images / f"{idx}.png", idx)  # type: ignore[operator]
    path.write_text(json.dumps({"info": {}, "categories": CATEGORIES, "images": listed, "annotations": annotations,
                                **more}))
    return path


def test_labels_of_whole_images_by_split_in_the_order_of_ids(tmp_path: Path) -> None:
    data = tmp_path / "d"
    coco(data / "annotations/labels_train.json", [[{"category_id": 3, "attributes": {"by": "ada"}}],
                                                  [{"category_id": 7}]], data / "images/train")
    coco(data / "annotations/labels_val.json", [[{"category_id": 7, "bbox": [0, 0, 6, 5]}]], data / "images/val")
    assert recognise(data)[0].source == "coco"
    result = import_project("coco", tmp_path / "p", root=data)
    rows = read_manifest(tmp_path / "p")
    assert read_info(tmp_path / "p").classes == ("zebra", "never", "ant")
    assert rows[["path", "given_label", "split"]].values.tolist() == [
        ["images/train/0.png", "zebra", "train"], ["images/train/1.png", "ant", "train"],
        ["images/val/0.png", "ant", "clean"]]
    assert rows["by"].fillna("").tolist() == ["ada", "", ""] and not any("boxes" in note for note in result.notes)


def test_the_same_as_pycocotools_reads(tmp_path: Path) -> None:
    tools = pytest.importorskip("pycocotools.coco")
    file = coco(tmp_path / "a.json", [[{"category_id": number}] for number in (3, 7, 7, 3)], tmp_path)
    import_project("coco", tmp_path / "p", root=file)
    theirs = tools.COCO(str(file))
    expected = {}
    for one in theirs.loadImgs(theirs.getImgIds()):
        category = theirs.loadAnns(theirs.getAnnIds(one["id"]))[0]["category_id"]
        expected[one["file_name"]] = theirs.loadCats(category)[0]["name"]
    assert read_manifest(tmp_path / "p").set_index("path")["given_label"].to_dict() == expected


def test_boxes_of_one_class_are_a_label_and_of_several_a_line(tmp_path: Path) -> None:
    box = {"bbox": [0, 0, 2, 2]}
    coco(tmp_path / "train/_annotations.coco.json", [
        [{"category_id": 3, **box}, {"category_id": 3, **box}], [{"category_id": 3, **box}, {"category_id": 7, **box}],
        [{"category_id": 7}], [], [{"category_id": "x"}], [{"category_id": 99}]], tmp_path / "train")
    result = import_project("coco", tmp_path / "p", root=tmp_path)
    assert read_manifest(tmp_path / "p")["path"].tolist() == ["train/0.png", "train/2.png"]
    assert result.problem_kinds == {"missing label": 2, "empty class": 1, "malformed line": 1, "several labels": 1,
                                    "unknown label": 1}
    assert any("of 1 image the label is the one class of boxes or outlines" in note for note in result.notes)
    report = Project.open(tmp_path / "p").import_report()
    assert report.loc[report["kind"] == "several labels", ["file", "row"]].values.tolist() == [
        ["train/_annotations.coco.json", 2]]


@pytest.mark.parametrize(("text", "match"), [
    ('{"images": [{"id": 1, "file_name": "a.png"}], "annotations": [], "categories": []}', "must name categories"),
    ('{"images": [{"id": 1, "file_name": "a.png"}], "annotations": [{"image', "must be a whole JSON file"),
    ('{"some": "thing"}', "COCO's JSON has lists called images"), ("\x00\xff", "COCO's JSON has lists")])
def test_what_is_none_is_refused_in_one_line(tmp_path: Path, text: str, match: str) -> None:
    (tmp_path / "a.json").write_text(text, encoding="latin-1")
    with pytest.raises(SourceError, match=match) as caught:
        import_project("coco", tmp_path / "p", root=tmp_path)
    assert "\n" not in str(caught.value) and not (tmp_path / "p").exists()


def test_no_path_leaves_the_data_set(tmp_path: Path) -> None:
    data = tmp_path / "d"
    file = coco(data / "a.json", [[{"category_id": 3}], [{"category_id": 7}], [{"category_id": 7}]], data)
    text = json.loads(file.read_text())
    text["images"][2]["file_name"] = "../../secret.png"
    file.write_text(json.dumps(text))
    picture(tmp_path / "secret.png")
    result = import_project("coco", tmp_path / "p", root=file)
    assert result.num_loaded == 2 and result.problem_kinds.get("leaves root") == 1


def test_a_pack_of_one_split_can_be_opened(tmp_path: Path) -> None:
    coco(tmp_path / "annotations/labels_validation.json", [[{"category_id": 3, "attributes": {"sample_id": "one"}}],
                                                           [{"category_id": 7, "attributes": {"sample_id": "two"}}]],
         tmp_path / "images")
    result = import_project("coco", tmp_path / "p", root=tmp_path)
    assert read_manifest(tmp_path / "p")["sample_id"].tolist() == ["one", "two"] and result.splits["train"] == 2
    assert any("the only split is called clean: its samples are taken as train" in note for note in result.notes)
