"""Metadata as the data sets of WILDS have them: integers for label, split and group, and what each stands for."""

import json
from pathlib import Path

import pandas as pd

from curation.exports.pictures import Pictures
from curation.samples.csv_cells import write_csv

SPLITS = {"train": 0, "val": 1, "test": 2}
"""Of Waterbirds, CelebA and iWildCam."""
FILES = """
metadata.csv: img_id, img_filename (below images/), y (the class's index in the project), split (1: val), group (its
index in wilds.json, -1 where none is known), weight, sample_id

wilds.json: split_dict, and metadata_map: what the numbers of y and group stand for
"""
OPENING = """
```python
import json, pandas as pd
from pathlib import Path
rows, names = pd.read_csv("metadata.csv"), json.loads(Path("wilds.json").read_text("utf-8"))
val = rows[rows["split"] == names["split_dict"]["val"]]
groups = [names["metadata_map"]["group"][code] if code >= 0 else None for code in val["group"]]
```
"""


def write(pictures: Pictures, folder: Path) -> None:
    """Write FILES into `folder`."""
    rows = pictures.rows
    group = rows["group"] if "group" in rows else pd.Series(None, index=rows.index, dtype="str")
    codes, names = pd.factorize(group, sort=True)
    write_csv(pd.DataFrame({"img_id": range(len(rows)), "img_filename": rows["file_name"], "y": rows["label_index"],
                            "split": SPLITS["val"], "group": codes, "weight": rows["weight"],
                            "sample_id": rows["sample_id"]}), folder / "metadata.csv")
    (folder / "wilds.json").write_text(json.dumps(
        {"split_dict": SPLITS, "metadata_map": {"y": list(pictures.folders), "group": [str(one) for one in names]}},
        ensure_ascii=False), encoding="utf-8")
