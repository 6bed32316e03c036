"""FiftyOne's two forms of a classification beside the same data/: FiftyOneDataset (metadata.json, samples.json), with
every column as a field, and FiftyOneImageClassificationDataset (labels.json), which has the labels alone.

metadata.json bears no version of FiftyOne: the form that each from 0.8 on reads by the samples' own types, where one of
a later version would be a record of its database, which only FiftyOne itself can write.
"""

import json
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from curation.exports.pictures import Pictures
from curation.samples.table import free_names

LABEL, SUGGESTED = "ground_truth", "suggested"
"""Fields of type Classification: the label in force, and what held-out predictions confidently name instead."""
TAG = "validation"
_OWN = {"id", "filepath", "tags", "metadata", "created_at", "last_modified_at", "media_type", LABEL, SUGGESTED}
"""Fields that FiftyOne, or we, have for something else."""
_LEFT_OUT = ["file_name", "label", "label_index", "width", "height", "suggested_label"]
"""Columns that are said elsewhere in a sample."""
FILES = """
metadata.json, samples.json: FiftyOneDataset: the classes in index order, and each picture with its label
(ground_truth), the class that held-out predictions suggest (suggested) and every column as a field

labels.json: FiftyOneImageClassificationDataset: the same classes, and each picture's index by its path below data/
without suffix
"""
OPENING = """
```python
import fiftyone as fo
data = fo.Dataset.from_dir(dataset_dir=".", dataset_type=fo.types.FiftyOneDataset)
```

Its field sample_id brings tags and changed labels back to their samples: export it from FiftyOne as FiftyOneDataset,
then bring its samples.json back on the page Decide, or by `python -m curation verdicts PROJECT --file samples.json`.
"""


def write(pictures: Pictures, folder: Path) -> None:
    """Write FILES into `folder`."""
    rows, classes = pictures.rows, list(pictures.folders)
    labels = {file_name.rpartition(".")[0]: int(code) for file_name, code in zip(rows["file_name"], rows["label_index"],
                                                                                 strict=True)}
    _write(folder / "labels.json", {"classes": classes, "labels": labels})
    _write(folder / "metadata.json", {
        "name": "hard validation set", "media_type": "image",
        "info": {"classes": {LABEL: classes, SUGGESTED: classes}, "default_classes": classes}})
    fields = rows.drop(columns=[name for name in _LEFT_OUT if name in rows]).assign(exported_label=rows["label"])
    fields = fields.rename(columns=free_names([name for name in fields if name in _OWN], _OWN))
    _write(folder / "samples.json", {"samples": [
        _sample(row, field) for row, field in zip(rows.to_dict("records"), fields.to_dict("records"), strict=True)]})


def _sample(row: dict[Hashable, Any], fields: dict[Hashable, Any]) -> dict[str, object]:
    suggested = row.get("suggested_label")
    return {
        "filepath": f"data/{row['file_name']}", "tags": [TAG],
        "metadata": {"_cls": "ImageMetadata", "width": int(row["width"]), "height": int(row["height"])},
        LABEL: _classification(row["label"]),
        SUGGESTED: _classification(suggested) if isinstance(suggested, str) else None,
        **{_field_name(str(name)): _plain(value) for name, value in fields.items()}}


def _classification(label: str) -> dict[str, object]:
    return {"_cls": "Classification", "tags": [], "label": label}


def _field_name(column: str) -> str:
    """A column's name as FiftyOne takes one: without dots, and none of those that it keeps to itself."""
    return column.replace(".", "_").lstrip("_$") or "field"


def _plain(value: object) -> object:
    """A value as JSON has it; None of what is missing."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if np.isfinite(value) else None
    return None if value is None or value is pd.NA or value is pd.NaT else str(value)


def _write(path: Path, values: dict[str, object]) -> None:
    path.write_text(json.dumps(values, ensure_ascii=False), encoding="utf-8")
