"""FiftyOne's FiftyOneImageClassificationDataset: data/ and labels.json."""

import json
from pathlib import Path

from curation.exports.pictures import Pictures

FILES = """
labels.json: FiftyOneImageClassificationDataset: the project's classes in index order, and each picture's index by its
path below data/ without suffix
"""
OPENING = """
```python
import csv, fiftyone as fo
data = fo.Dataset.from_dir(dataset_dir="FOLDER", dataset_type=fo.types.FiftyOneImageClassificationDataset)
with open("data/metadata.csv", encoding="utf-8", newline="") as file:
    rows = {row["file_name"]: row for row in csv.DictReader(file)}
for sample in data.iter_samples(autosave=True):      # so that tags find their sample again
    sample["sample_id"] = rows["/".join(sample.filepath.split("/")[-2:])]["sample_id"]
```
"""


def write(pictures: Pictures, folder: Path) -> None:
    """Write FILES into `folder`."""
    rows = pictures.rows
    labels = {file_name.rpartition(".")[0]: int(code) for file_name, code in zip(rows["file_name"], rows["label_index"],
                                                                                 strict=True)}
    (folder / "labels.json").write_text(json.dumps({"classes": list(pictures.folders), "labels": labels},
                                                   ensure_ascii=False), encoding="utf-8")
