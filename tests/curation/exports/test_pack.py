"""Sets with their pictures, each read by the tool that it is for: every class at the project's own index."""

import csv
import json
import os
import re
import runpy
import shutil
from pathlib import Path
from xml.etree import ElementTree

import pandas as pd
import pytest
import yaml
from torchvision.datasets import ImageFolder

from curation.__main__ import main
from curation.exports import embedded, pictures
from curation.exports.digests import SUMS, verify
from curation.exports.exporting import EXPORTS, export
from curation.exports.pack import FORMS
from curation.exports.staging import ExportError
from curation.project import Project
from tests.curation.exports.conftest import CLASSES
from tests.fakes import make_project, make_run


@pytest.fixture(scope="module")
def packs(photos: Project, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with every form of the set with pictures."""
    base = tmp_path_factory.mktemp("packs")
    for form in (*FORMS, "parquet"):
        export(photos, photos.run("first"), "hard-validation", form, base / form)
    return base


@pytest.fixture(scope="module")
def truth(photos: Project) -> dict[str, tuple[int, bytes]]:
    """sample_id -> (the index of its label in force, its picture)."""
    rows = photos.manifest()
    state = photos.ledger().state().set_index("sample_id").fillna("")
    return {row.sample_id: (CLASSES.index(state["label"][row.sample_id] or row.given_label),
                            (photos.root / row.path).read_bytes())
            for row in rows.fillna("").itertuples() if not state["excluded"][row.sample_id]}


def snippet(folder: Path, monkeypatch: pytest.MonkeyPatch, num_blocks: int = 1) -> dict[str, object]:
    """What the first lines of Python in the card leave, run in the folder as a stranger would."""
    code = "".join(re.findall(r"```python\n(.*?)```", (folder / "README.md").read_text(), re.DOTALL)[:num_blocks])
    monkeypatch.chdir(folder)
    (folder.parent / f"{folder.name}.py").write_text(code)
    return runpy.run_path(str(folder.parent / f"{folder.name}.py"))


def metadata(folder: Path, form: str) -> dict[str, dict[str, str]]:
    """file_name -> its row of metadata.csv."""
    with open(folder / FORMS[form].pictures / "metadata.csv", encoding="utf-8", newline="") as file:
        return {row["file_name"]: row for row in csv.DictReader(file)}


def test_torchvision_has_the_projects_indices_by_the_lines_in_the_card(packs, truth, monkeypatch) -> None:
    left = snippet(packs / "imagefolder", monkeypatch, num_blocks=2)
    data = left["data"]
    assert isinstance(data, ImageFolder) and len(left["index"]) == len(data.classes) == len(CLASSES)
    assert data.targets == [code for _, code in data.samples] and data.class_to_idx == left["index"]
    rows = metadata(packs / "imagefolder", "imagefolder")
    for (path, _), (_, target) in zip(data.samples, data, strict=True):
        sample_id = rows["/".join(path.split("/")[-2:])]["sample_id"]
        assert (target, Path(path).read_bytes()) == truth[sample_id]
    assert len(data) == len(truth) - 4, "all but those whose suffix torchvision passes over, which problems.csv names"


@pytest.mark.parametrize("form", ["huggingface", "parquet"])
def test_datasets_reads_pictures_and_class_names(packs: Path, truth, tmp_path: Path, form: str, monkeypatch) -> None:
    datasets = pytest.importorskip("datasets")
    data = datasets.load_dataset(str(packs / form), split="validation", cache_dir=str(tmp_path))
    assert tuple(data.features["label"].names) == CLASSES and "weight" in data.features
    assert data[0]["image"].size == (16, 16)
    raw = data.cast_column("image", datasets.Image(decode=False))
    found = {row["sample_id"]: (row["label"], row["image"]["bytes"] or Path(row["image"]["path"]).read_bytes())
             for row in raw}
    names = pd.read_parquet(next((packs / form).rglob("*.parquet")))
    readable = {i: one for i, one in truth.items() if form == "parquet" or i in found}
    assert found == readable and len(names) == len(truth)
    assert form == "huggingface" or len(found) == len(truth)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path)
    assert snippet(packs / form, monkeypatch)["data"]["sample_id"] == data["sample_id"], "by the lines in the card"


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of rdflib
def test_mlcroissant_finds_no_fault_and_every_picture_beside_its_row(packs: Path, truth) -> None:
    croissant = pytest.importorskip("mlcroissant")
    data = croissant.Dataset(str(packs / "coco" / "croissant.json"))
    assert data.metadata.ctx.issues.report() == ""
    assert [row["classes/name"].decode() if isinstance(row["classes/name"], bytes) else row["classes/name"]
            for row in data.records("classes")] == list(CLASSES)
    rows = list(data.records("samples"))
    assert {row["samples/sample_id"].decode(): row["samples/label_index"] for row in rows} == \
        {sample_id: code for sample_id, (code, _) in truth.items()}
    assert all(row["samples/image"].size == (16, 16) for row in rows)


def test_pycocotools_reads_coco(packs: Path, truth, monkeypatch, capsys) -> None:
    pytest.importorskip("pycocotools")
    data = snippet(packs / "coco", monkeypatch)["data"]
    assert [one["name"] for one in data.loadCats(data.getCatIds())] == list(CLASSES)
    for picture in data.loadImgs(data.getImgIds()):
        one, = data.loadAnns(data.getAnnIds(picture["id"]))
        content = (packs / "coco" / "images" / picture["file_name"]).read_bytes()
        assert (one["category_id"] - 1, content) == truth[one["attributes"]["sample_id"]]
    assert len(data.imgs) == len(truth) and one["bbox"] == [0, 0, 16, 16]


@pytest.mark.parametrize("form", ["coco", "cvat"])
def test_datumaro_reads_coco_and_cvat(packs: Path, truth, form: str) -> None:
    datumaro = pytest.importorskip("datumaro")
    items = list(datumaro.Dataset.import_from(str(packs / form), form))
    labels = {one.annotations[0].attributes["sample_id"]: one.annotations[0].label for one in items}
    assert labels == {sample_id: code for sample_id, (code, _) in truth.items()}


def test_cvat_has_every_class_and_one_tag_a_picture(packs: Path, truth) -> None:
    root = ElementTree.parse(packs / "cvat" / "annotations.xml").getroot()
    assert [one.text for one in root.findall("meta/task/labels/label/name")] == list(CLASSES)
    images = root.findall("image")
    assert {one.find("tag/attribute[@name='sample_id']").text: one.find("tag").get("label") for one in images} == \
        {sample_id: CLASSES[code] for sample_id, (code, _) in truth.items()}
    assert all((packs / "cvat" / "images" / one.get("name")).is_file() for one in images) and root[0].text == "1.1"


def test_label_studio_has_a_task_a_picture_with_a_score_and_an_interface(packs: Path, truth) -> None:
    folder = packs / "label-studio"
    tasks = json.loads((folder / "tasks.json").read_text())
    for task in tasks:
        (prediction,), path = task["predictions"], task["data"]["image"].removeprefix("/data/local-files/?d=")
        code, content = truth[task["data"]["sample_id"]]
        assert prediction["result"][0]["value"] == {"choices": [CLASSES[code]]}
        assert 0 <= prediction.get("score", 0) <= 1
        assert (folder / path).read_bytes() == content
    choices = ElementTree.parse(folder / "label_config.xml").getroot().findall("Choices/Choice")
    assert [one.get("value") for one in choices] == list(CLASSES) and len(tasks) == len(truth)
    assert sum("score" in task["predictions"][0] for task in tasks) > 5, "where there is a held-out prediction"
    interface = pytest.importorskip("label_studio_sdk.label_interface").LabelInterface
    config = interface((folder / "label_config.xml").read_text())
    assert all(config.validate_prediction(task["predictions"][0]) for task in tasks)


def check_fiftyone_dataset(folder: Path, truth) -> None:
    """What FiftyOne's importer of metadata.json without a version asks of a sample, and that each field is of one type,
    as a schema is made of the first value. It cannot be installed here."""
    metadata = json.loads((folder / "metadata.json").read_text())
    assert "version" not in metadata and metadata["media_type"] == "image"
    assert metadata["info"]["classes"]["ground_truth"] == list(CLASSES)
    samples = json.loads((folder / "samples.json").read_text(), parse_constant=pytest.fail)["samples"]
    assert {one["sample_id"]: (CLASSES.index(one["ground_truth"]["label"]), (folder / one["filepath"]).read_bytes())
            for one in samples} == truth
    kinds: dict[str, set[str]] = {}
    for one in samples:
        assert one["tags"] == ["validation"] and one["ground_truth"]["_cls"] == "Classification"
        assert one["metadata"] == {"_cls": "ImageMetadata", "width": 16, "height": 16}
        assert one["exported_label"] == one["ground_truth"]["label"]
        assert one["suggested"] is None or one["suggested"]["label"] in CLASSES
        for name, value in one.items():
            kinds.setdefault(name, set()).update({type(value).__name__} - {"NoneType"})
    assert all(re.fullmatch(r"[A-Za-z]\w*", name) for name in kinds)
    assert not {"id", "created_at", "last_modified_at"} & set(kinds) and {"weight", "original_path"} <= set(kinds)
    assert {name: found for name, found in kinds.items() if len(found) > 1} == {}


def test_fiftyone_and_wilds_have_the_projects_indices(packs: Path, truth, monkeypatch) -> None:
    labels = json.loads((packs / "fiftyone" / "labels.json").read_text())
    rows = metadata(packs / "fiftyone", "fiftyone")
    assert labels["classes"] == list(CLASSES)
    assert {rows[name]["sample_id"]: labels["labels"][name.rpartition(".")[0]] for name in rows} == \
        {sample_id: code for sample_id, (code, _) in truth.items()}
    check_fiftyone_dataset(packs / "fiftyone", truth)
    wilds = pd.read_csv(packs / "wilds" / "metadata.csv")
    names = json.loads((packs / "wilds" / "wilds.json").read_text())
    assert dict(zip(wilds["sample_id"].str.removeprefix("'"), wilds["y"], strict=True)) == \
        {sample_id: code for sample_id, (code, _) in truth.items()}
    assert (wilds["split"] == names["split_dict"]["val"]).all() and names["metadata_map"]["y"] == list(CLASSES)
    assert len(snippet(packs / "wilds", monkeypatch)["val"]) == len(truth)


# -- what all have


@pytest.mark.parametrize("form", [*FORMS, "parquet"])
def test_the_card_says_what_a_stranger_needs_and_the_digests_hold(packs: Path, truth, form: str) -> None:
    text = (packs / form / "README.md").read_text()
    matter = yaml.safe_load(text.split("---")[1])
    assert matter["task_categories"] == ["image-classification"] and matter["size_categories"] == ["n<1K"]
    assert f"{len(truth)} samples of 4 of 4 classes" in text and "| 3 | =bird | 1 | 0 |" in text
    assert "All are 16 x 16 pixels." in text and "| label\\_quality | mean held\\-out probability" in text
    columns = pd.read_parquet(next((packs / form).rglob("*.parquet"))).columns if form in ("huggingface", "parquet") \
        else pd.read_csv(packs / form / FORMS[form].pictures / "metadata.csv").columns
    table = text.split("## Columns of the table")[1].split("##")[0].replace("\\", "")
    assert [name for name in columns if not re.search(rf"(^\| |, ){re.escape(name)}( \||,)", table, re.M)] == []
    assert "| of the data |" not in table, "every column of ours says what it is"
    assert "3 confirmed or changed by a person, of these 3 to another class" in text
    assert "Whether labels are suspected is not known" in text and "accuracy on it is not that on the" in text
    assert verify(packs / form).empty and len((packs / form / SUMS).read_text().splitlines()) >= 2


def test_verify_names_what_is_missing_changed_and_extra(packs: Path, tmp_path: Path, capsys) -> None:
    folder = Path(shutil.copytree(packs / "wilds", tmp_path / "got"))
    assert main(["verify", str(folder)]) == 0 and "all as written" in capsys.readouterr().out
    listed = sorted((folder / "images").rglob("*.jpg"))
    listed[0].unlink()
    listed[1].write_bytes(listed[1].read_bytes() + b"x")
    (folder / "images" / "more\x1b.txt").write_text("x")
    with open(folder / SUMS, "a") as file:
        file.write(f"{'0' * 64}  ../outside\nnonsense\n")
    found = verify(folder)
    lines = len((folder / SUMS).read_text().splitlines())
    assert found.to_dict("list") == {
        "kind": ["malformed line", "malformed line", "missing", "changed", "extra"],
        "file": [f"{SUMS}:{lines - 1}", f"{SUMS}:{lines}", *(one.relative_to(folder).as_posix() for one in listed[:2]),
                 "images/more\x1b.txt"]}
    assert main(["verify", str(folder)]) == 2
    out = capsys.readouterr().out
    assert out.count("\n") == 6 and "\x1b" not in out and "1 missing" in out
    assert main(["verify", str(tmp_path)]) == 2 and "has none that can be read" in capsys.readouterr().err


@pytest.mark.parametrize(("placing", "is_link"), [("hardlink", False), ("symlink", True)])
def test_pictures_can_be_linked(photos: Project, tmp_path: Path, placing: pictures.Placing, is_link: bool) -> None:
    export(photos, photos.run("first"), "hard-validation", "imagefolder", tmp_path / "out", placing=placing)
    rows = metadata(tmp_path / "out", "imagefolder")
    for name, row in rows.items():
        place = tmp_path / "out" / "validation" / name
        assert os.path.samefile(place, photos.root / row["original_path"].removeprefix("'"))
        assert place.is_symlink() == is_link
    assert verify(tmp_path / "out").empty and len(rows) == 15


def test_what_cannot_be_linked_is_said_in_one_line_and_leaves_nothing(photos: Project, tmp_path: Path,
                                                                      monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(source: object, target: object) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(pictures.os, "link", refuse)
    run = photos.run("first")
    with pytest.raises(ExportError, match="on one disk that has such links; .*cross-device link; copy instead"):
        export(photos, run, "hard-validation", "coco", tmp_path / "out", placing="hardlink")
    with pytest.raises(ExportError, match="only files are linked; parquet has none of its own"):
        export(photos, run, "hard-validation", "parquet", tmp_path / "out", placing="symlink")
    with pytest.raises(ExportError, match="one of copy, hardlink, symlink; got 'move'"):
        export(photos, run, "hard-validation", "coco", tmp_path / "out", placing="move")  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("form", ["imagefolder", "parquet"])
def test_an_export_that_is_cancelled_leaves_nothing(photos: Project, tmp_path: Path, form: str) -> None:
    def cancel(done: int, total: int) -> None:
        if done == total // 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export(photos, photos.run("first"), "hard-validation", form, tmp_path / "out", cancel)
    assert list(tmp_path.iterdir()) == []


def test_every_form_is_an_export() -> None:
    assert {form for what, form in EXPORTS if what == "hard-validation"} >= {*FORMS, "parquet"}


def test_parquet_has_all_samples_however_they_fall_into_groups_and_files(photos: Project, truth, tmp_path: Path,
                                                                         monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "GROUP_ROWS", 5)
    monkeypatch.setattr(embedded, "SHARD_ROWS", 10)
    export(photos, photos.run("first"), "hard-validation", "parquet", tmp_path / "out")
    files = sorted((tmp_path / "out" / "data").iterdir())
    assert [one.name for one in files] == [f"validation-0000{i}-of-00002.parquet" for i in (0, 1)]
    rows = pd.concat([pd.read_parquet(one) for one in files])
    assert {row.sample_id: (row.label, row.image["bytes"]) for row in rows.itertuples()} == truth


@pytest.mark.parametrize("form", ["huggingface", "parquet"])
def test_datasets_does_not_take_a_set_for_one_that_it_read_before_from_a_folder_of_that_name(
        photos: Project, tmp_path: Path, form: str) -> None:
    """Its cache knows a local folder by its last name and what its card says, not by its files."""
    datasets = pytest.importorskip("datasets")
    other = Project.open(make_project(tmp_path / "p", size=4))
    other.ledger().pin(["train-00000"], "validation", who="ada")
    sizes = []
    for place, project in (("a", photos), ("b", other)):
        run = project.run("first") if project is photos else make_run(project)
        export(project, run, "hard-validation", form, tmp_path / place / "set")
        data = datasets.load_dataset(str(tmp_path / place / "set"), split="validation",
                                     cache_dir=str(tmp_path / "cache"))
        sizes.append((data[0]["image"].size, tuple(data.features["label"].names)))
    assert sizes == [((16, 16), CLASSES), ((4, 4), ("cat", "dog", "bird"))]
