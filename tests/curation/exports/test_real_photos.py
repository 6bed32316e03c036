"""Sets of real photos, where there are some: read by the tools that they are for."""

import csv
import gc
import json
import warnings
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pandas as pd
import pytest
from PIL import Image
from torchvision.datasets import ImageFolder

from curation.exports.digests import verify
from curation.exports.exporting import export
from curation.project import Project
from tests.curation.exports.test_round_trips import expected

Found = dict[str, tuple[int, bytes]]
"""sample_id -> (index of its class, its picture)."""


def by_torchvision(folder: Path) -> Found:
    with open(folder / "classes.csv", encoding="utf-8", newline="") as file:
        index = {row["folder"]: int(row["index"]) for row in csv.DictReader(file)}
    rows = pd.read_csv(folder / "validation/metadata.csv").set_index("file_name")["sample_id"]
    data = ImageFolder(folder / "validation")
    assert all(image.size == (32, 32) for image, _ in data)
    return {rows["/".join(path.split("/")[-2:])]: (index[data.classes[code]], Path(path).read_bytes())
            for path, code in data.samples}


def by_datasets(folder: Path) -> Found:
    datasets = pytest.importorskip("datasets")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # the library leaves metadata.csv open
        data = datasets.load_dataset(str(folder), split="validation", cache_dir=str(folder.parent / "cache"))
        gc.collect()
    assert all(row["image"].size == (32, 32) for row in data)
    raw = data.cast_column("image", datasets.Image(decode=False))
    names = getattr(data.features["label"], "names", None)  # of an image folder the labels are texts
    classes = names or (folder / "classes.txt").read_text().splitlines()
    return {row["sample_id"]: (row["label"] if names else classes.index(row["label"]),
                               row["image"]["bytes"] or Path(row["image"]["path"]).read_bytes()) for row in raw}


def by_pycocotools(folder: Path) -> Found:
    data = pytest.importorskip("pycocotools.coco").COCO(str(folder / "annotations/labels_validation.json"))
    return {one["attributes"]["sample_id"]: (
        one["category_id"] - 1, (folder / "images" / data.imgs[one["image_id"]]["file_name"]).read_bytes())
        for one in data.anns.values()}


def by_mlcroissant(folder: Path) -> Found:
    data = pytest.importorskip("mlcroissant").Dataset(str(folder / "croissant.json"))
    assert data.metadata.ctx.issues.report() == ""
    rows = list(data.records("samples"))
    assert all(row["samples/image"].size == (32, 32) for row in rows)
    return {row["samples/sample_id"].decode(): (
        row["samples/label_index"], (folder / "images" / row["samples/picture"].decode()).read_bytes()) for row in rows}


def by_fiftyone_files(folder: Path) -> Found:
    classes = json.loads((folder / "metadata.json").read_text())["info"]["classes"]["ground_truth"]
    return {one["sample_id"]: (classes.index(one["ground_truth"]["label"]), (folder / one["filepath"]).read_bytes())
            for one in json.loads((folder / "samples.json").read_text())["samples"]}


def by_label_studio_files(folder: Path) -> Found:
    classes = [one.get("value") for one in ElementTree.parse(folder / "label_config.xml").getroot().iter("Choice")]
    return {one["data"]["sample_id"]: (
        classes.index(one["predictions"][0]["result"][0]["value"]["choices"][0]),
        (folder / one["data"]["image"].partition("=")[2].replace("%2C", ",")).read_bytes())
        for one in json.loads((folder / "tasks.json").read_text())}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of rdflib
@pytest.mark.parametrize(("form", "read"), [
    ("imagefolder", by_torchvision), ("imagefolder", by_datasets), ("huggingface", by_datasets),
    ("parquet", by_datasets), ("coco", by_pycocotools), ("coco", by_mlcroissant), ("fiftyone", by_fiftyone_files),
    ("label-studio", by_label_studio_files)])
def test_real_photos_are_read_by_the_tool_that_they_are_for(real_photos: Project, tmp_path: Path, form: str,
                                                            read: Callable[[Path], Found]) -> None:
    export(real_photos, real_photos.run("first"), "hard-validation", form, tmp_path / "out")
    wanted = expected(real_photos)
    codes = wanted["label"].map(real_photos.classes.index)
    found = read(tmp_path / "out")
    assert found == {sample_id: (codes[sample_id], data) for sample_id, data in wanted["bytes"].items()}
    assert verify(tmp_path / "out").empty
    for path in (tmp_path / "out").rglob("*.jpg"):
        with Image.open(path) as image:
            image.load()
