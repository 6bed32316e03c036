"""FiftyOne, CVAT and Datumaro: small exports of the same structure as theirs."""

import json
from pathlib import Path

import pytest

from curation.sources.importing import import_project
from curation.sources.recognise import recognise
from curation.tables.report import SourceError
from engine.contract.manifest import read_info, read_manifest
from tests.curation.sources.formats.pictures import picture

CLASSES = ["zebra", "ant", "never"]


def listed(project: Path, *columns: str) -> list[list[object]]:
    rows = read_manifest(project)[["path", "given_label", "split", *columns]]
    return rows.astype(object).where(rows.notna(), None).values.tolist()


def test_fiftyone_image_classification_dataset(tmp_path: Path) -> None:
    for name in ("a.b.png", "sub/c.png", "d.png"):
        picture(tmp_path / "d/data" / name)
    (tmp_path / "d/labels.json").write_text(json.dumps(
        {"classes": CLASSES, "labels": {"a.b": 1, "sub/c": 0, "d": None, "gone": 1, "e": [0, 1], "f": 9}}))
    assert recognise(tmp_path / "d")[0].source == "fiftyone"
    result = import_project("fiftyone", tmp_path / "p", root=tmp_path / "d")
    assert listed(tmp_path / "p") == [["data/a.b.png", "ant", "train"], ["data/sub/c.png", "zebra", "train"]]
    assert read_info(tmp_path / "p").classes == tuple(CLASSES)
    assert result.problem_kinds == {"empty class": 1, "missing file": 1, "missing label": 1, "several labels": 1,
                                    "unknown label": 1}


def test_fiftyone_dataset_keeps_fields_tags_and_predictions(tmp_path: Path) -> None:
    def sample(name: str, label: str | None, tags: list[str], **more: object) -> dict[str, object]:
        truth = None if label is None else {"_id": {"$oid": "0"}, "_cls": "Classification", "label": label}
        return {"_id": {"$oid": "1"}, "filepath": f"data/{name}", "tags": tags, "metadata": None, "ground_truth": truth,
                "predictions": {"_cls": "Classification", "label": CLASSES[len(tags) > 1], "confidence": 0.75}, **more}

    for name in ("a.png", "b.png", "c.png"):
        picture(tmp_path / "d/data" / name)
    (tmp_path / "d/samples.json").write_text(json.dumps({"samples": [
        sample("a.png", "ant", ["train", "odd"], uniqueness=0.5), sample("b.png", "zebra", ["Validation"]),
        sample("c.png", None, []), sample("../x.png", "ant", [])]}))
    (tmp_path / "d/metadata.json").write_text(json.dumps({"classes": {"ground_truth": CLASSES}, "default_classes": []}))
    assert recognise(tmp_path / "d")[0].source == "fiftyone"
    result = import_project("fiftyone", tmp_path / "p", root=tmp_path / "d")
    assert listed(tmp_path / "p", "tags", "predictions_confidence") == [
        ["data/a.png", "ant", "train", "odd", 0.75], ["data/b.png", "zebra", "clean", None, 0.75]]
    assert read_info(tmp_path / "p").classes == tuple(CLASSES) and result.problem_kinds["missing label"] == 1
    import_project("fiftyone", tmp_path / "q", root=tmp_path / "d", label_field="predictions", check="none")
    assert [row[1] for row in listed(tmp_path / "q")] == ["ant", "zebra", "zebra", "zebra"]


def test_fiftyone_without_a_classification_is_refused(tmp_path: Path) -> None:
    sample = {"filepath": "a.png", "boxes": {"_cls": "Detections", "detections": []}}
    (tmp_path / "samples.json").write_text(json.dumps({"samples": [sample]}))
    with pytest.raises(SourceError, match="field of type Classification in samples.json; it has Detections"):
        import_project("fiftyone", tmp_path / "p", root=tmp_path)


def cvat(path: Path, images: str) -> Path:
    labels = "".join(f"<label><name>{name}</name><attributes/></label>" for name in CLASSES)
    path.write_text(f'<?xml version="1.0" encoding="utf-8"?>\n<annotations><version>1.1</version><meta><task><labels>'
                    f'{labels}</labels></task></meta>{images}</annotations>', encoding="utf-8")
    return path


def test_cvat_tags_are_labels_and_boxes_are_not(tmp_path: Path) -> None:
    for name in ("s/a.png", "s/b.png", "s/c.png", "s/d.png", "s/e.png"):
        picture(tmp_path / "d/images" / name)
    cvat(tmp_path / "d/annotations.xml", """
      <image id="0" name="s/a.png" subset="Train"><tag label="ant"><attribute name="by">ada</attribute></tag></image>
      <image id="1" name="s/b.png" subset="Test"><box label="ant" xtl="0"/><tag label="zebra"/></image>
      <image id="2" name="s/c.png" subset="Train"><tag label="ant"/><tag label="zebra"/></image>
      <image id="3" name="s/d.png"><tag label="zebra"/></image>
      <image id="4" name="s/e.png"><box label="ant"/></image><image id="5"><tag label="ant"/></image>
      <image id="6" name="s/a.png"><tag label="lion"/></image>""")
    assert recognise(tmp_path / "d")[0].source == "cvat"
    result = import_project("cvat", tmp_path / "p", root=tmp_path / "d")
    assert listed(tmp_path / "p", "by") == [
        ["images/s/a.png", "ant", "train", "ada"], ["images/s/d.png", "zebra", "train", None],
        ["images/s/b.png", "zebra", "test", None]]
    assert read_info(tmp_path / "p").classes == tuple(CLASSES)
    assert result.problem_kinds == {"empty class": 1, "missing label": 1, "missing path": 1, "several labels": 1,
                                    "unknown label": 1}


@pytest.mark.parametrize(("text", "match"), [
    ('<annotations><version>1.1</version><image name="a.png"><box label="x"/></image></annotations>',
     "has none, and boxes or outlines in 1 image; tag the images"),
    ('<annotations><version>1.1</version><image name="a.png"><tag label="x"/>', "must be whole XML"),
    ('<!DOCTYPE a [<!ENTITY b "c">]><annotations><version>1</version></annotations>', "declares one")])
def test_cvat_refusals(tmp_path: Path, text: str, match: str) -> None:
    (tmp_path / "a.xml").write_text(text)
    with pytest.raises(SourceError, match=match) as caught:
        import_project("cvat", tmp_path / "p", root=tmp_path)
    assert "\n" not in str(caught.value)


def datumaro(path: Path, items: list[dict[str, object]], names: list[str] = CLASSES) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"dm_format_version": "1.0", "infos": {}, "categories": {"label": {
        "labels": [{"name": name, "parent": "", "attributes": []} for name in names]}}, "items": items}))


def test_datumaro_labels_by_subset(tmp_path: Path) -> None:
    def item(name: str, *annotations: dict[str, object]) -> dict[str, object]:
        return {"id": name, "annotations": list(annotations), "image": {"path": f"{name}.png", "size": [5, 6]}}

    for name in ("train/0.png", "train/1.png", "train/2.png", "test/0.png"):
        picture(tmp_path / "d/images" / name)
    label = {"type": "label", "label_id": 1, "attributes": {"by": "ada", "odd": [1]}}
    datumaro(tmp_path / "d/annotations/train.json", [
        item("0", label), item("1", {"type": "label", "label_id": 0}, {"type": "bbox", "label_id": 2}),
        item("2", {"type": "bbox", "label_id": 2}), item("3", label, {"type": "label", "label_id": 0})])
    datumaro(tmp_path / "d/annotations/test.json", [item("0", {"type": "label", "label_id": 0})])
    assert recognise(tmp_path / "d")[0].source == "datumaro"
    result = import_project("datumaro", tmp_path / "p", root=tmp_path / "d")
    assert listed(tmp_path / "p", "by") == [
        ["images/train/0.png", "ant", "train", "ada"], ["images/train/1.png", "zebra", "train", None],
        ["images/test/0.png", "zebra", "test", None]]
    assert read_info(tmp_path / "p").classes == tuple(CLASSES)
    assert result.problem_kinds == {"empty class": 1, "missing label": 1, "several labels": 1}
    datumaro(tmp_path / "d/annotations/val.json", [item("0", label)], names=["ant", "zebra"])
    with pytest.raises(SourceError, match="must share their labels"):
        import_project("datumaro", tmp_path / "p", root=tmp_path / "d")
