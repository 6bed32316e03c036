"""COCO's JSON: the label of each picture as one annotation whose box is the whole picture.

A category's id is one more than its class's index: readers take 0 for the background.
"""

import json
from pathlib import Path

import pandas as pd

from curation.exports.pictures import Pictures

FILES = """
annotations/labels_validation.json: every class of the project as a category (id: its index plus 1, as readers take 0
for the background), images, and for each picture one annotation with its category, the whole picture as box, and its
sample_id and weight as attributes
"""
OPENING = """
```python
from pycocotools.coco import COCO
data = COCO("annotations/labels_validation.json")
picture = data.loadImgs(data.getImgIds()[0])[0]     # its file: images/ + picture["file_name"]
data.loadAnns(data.getAnnIds(picture["id"]))[0]["category_id"] - 1   # the class's index
```
"""


def write(pictures: Pictures, folder: Path) -> None:
    """Write FILES into `folder`."""
    images: list[dict[str, object]] = []
    annotations: list[dict[str, object]] = []
    for number, row in enumerate(pictures.rows.to_dict("records"), start=1):
        width, height = int(row["width"]), int(row["height"])
        images.append({"id": number, "file_name": row["file_name"], "width": width, "height": height})
        weight = None if pd.isna(row["weight"]) else float(row["weight"])
        annotations.append({"id": number, "image_id": number, "category_id": int(row["label_index"]) + 1,
                            "bbox": [0, 0, width, height], "area": width * height, "iscrowd": 0, "segmentation": [],
                            "attributes": {"sample_id": row["sample_id"], "weight": weight}})
    categories = [{"id": code, "name": label, "supercategory": ""} for code, label in enumerate(pictures.folders, 1)]
    (folder / "annotations").mkdir()
    (folder / "annotations" / "labels_validation.json").write_text(json.dumps(
        {"info": {"description": "hard validation set"}, "licenses": [], "categories": categories, "images": images,
         "annotations": annotations}, ensure_ascii=False), encoding="utf-8")
