"""The curated hard validation set with its pictures, for one tool or another: what all of these have in common.

    FOLDER/CLASS/FILE      the pictures; FOLDER is named as the tool expects it
    FOLDER/metadata.csv    one row a picture: its label, weight, signals, decisions and origin
    classes.csv  classes.txt  problems.csv  croissant.json  README.md  SHA256SUMS

and the tool's own files beside them. How each is made: its own module.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pandas as pd
import pyarrow.parquet as pq

from curation.exports import coco, croissant, cvat, fiftyone, label_studio, wilds
from curation.exports.card import card
from curation.exports.curated import curated_validation, name_line
from curation.exports.digests import write_digests
from curation.exports.embedded import value_table, with_features
from curation.exports.metadata import Metadata
from curation.exports.pictures import Pictures, Placing, place_pictures
from curation.exports.staging import ExportResult, Progress, staged
from curation.project import Project
from curation.samples.csv_cells import write_csv
from curation.transfer.beside import write_beside
from engine.contract.run_dir import RunDir

FILES = """
{pictures}/CLASS/FILE: the pictures; a class without samples has no folder

{pictures}/{metadata}: one row a picture: file_name, its label, weight and every other column of signals, decisions and
origin

classes.csv: every class of the project, its index there, its folder; folder names are made safe, so trust this file

classes.txt: the classes, one a line, in index order

croissant.json: what is in the files above, as Croissant 1.1

problems.csv: each sample that had a problem, one line each (absent where all went well)
"""
BACK = """
As a project of Whetstone: `python -m curation import table {pictures}/{metadata} --classes classes.csv --project NEW`
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Form:
    """What one tool wants of a pack."""

    pictures: str
    """Name of the pictures' folder."""
    metadata: Literal["metadata.csv", "metadata.parquet"] = "metadata.csv"
    files: str = ""
    """The tool's own files, a line each."""
    opening: str
    """How to open it, Markdown."""
    passes_over: str = ""
    """The reader that passes over files which are none of TORCHVISION_READS."""
    write: Callable[[Pictures, Path], None] | None = None
    """write(pictures, folder): the tool's own files."""


_TORCHVISION = """
With torchvision. ImageFolder numbers the folders that exist; these lines give each class its index in the project:

```python
import csv
from torchvision.datasets import ImageFolder
with open("classes.csv", encoding="utf-8", newline="") as file:
    index = {row["folder"]: int(row["index"]) for row in csv.DictReader(file)}
data = ImageFolder("validation")
data.samples = data.imgs = [(path, index[data.classes[code]]) for path, code in data.samples]
data.targets, data.classes, data.class_to_idx = [code for _, code in data.samples], list(index), index
len(index)   # outputs that a network needs: classes without samples here count
```

Anything else about a picture, by its place in the folder:

```python
with open("validation/metadata.csv", encoding="utf-8", newline="") as file:
    rows = {row["file_name"]: row for row in csv.DictReader(file)}
rows["/".join(data.samples[0][0].replace("\\\\", "/").split("/")[-2:])]["label_quality"]
```
"""
_LOADED = """
```python
from pathlib import Path
from datasets import load_dataset
data = load_dataset(str(Path().resolve()), split="validation")   # a whole path: it takes no "."
"""
_DATASETS = f"""{_LOADED}data[0]["image"], data[0]["label"], data[0]["label_index"]   # the class's name and its index
```
"""
_TYPED = f"""{_LOADED}data[0]["image"], data[0]["label"], data.features["label"].names   # index, and classes by index
```
"""
FORMS: dict[str, Form] = {
    "imagefolder": Form(pictures="validation", passes_over="torchvision's ImageFolder",
                        opening=_TORCHVISION + "\nWith Hugging Face datasets:\n" + _DATASETS),
    "huggingface": Form(pictures="validation", metadata="metadata.parquet", opening=_TYPED),
    "coco": Form(pictures="images", files=coco.FILES, opening=coco.OPENING, write=coco.write),
    "cvat": Form(pictures="images", files=cvat.FILES, opening=cvat.OPENING, write=cvat.write),
    "label-studio": Form(pictures="images", files=label_studio.FILES, opening=label_studio.OPENING,
                         write=label_studio.write),
    "fiftyone": Form(pictures="data", files=fiftyone.FILES, opening=fiftyone.OPENING, write=fiftyone.write),
    "wilds": Form(pictures="images", files=wilds.FILES, opening=wilds.OPENING, write=wilds.write),
}
"""By the name of the export format."""


def export_pack(project: Project, run: RunDir, target: Path, progress: Progress, *, form: str,
                placing: Placing = "copy", metadata: Metadata = "strip") -> ExportResult:
    """Write the pack of FORMS[form] into `target`. Raises ExportError, also where not one picture could be placed."""
    chosen = FORMS[form]
    curated = curated_validation(project, run)
    with staged(target) as folder:
        pictures = place_pictures(project, curated, folder / chosen.pictures, placing, metadata, progress,
                                  chosen.passes_over)
        rows = _write_metadata(pictures, folder / chosen.pictures / chosen.metadata)
        _write_classes(folder, pictures)
        if chosen.write is not None:
            chosen.write(pictures, folder)
        croissant.write(project, pictures, rows, folder, f"{chosen.pictures}/{chosen.metadata}",
                        codes="label_index" if "label_index" in rows else "label")
        names = {"pictures": chosen.pictures, "metadata": chosen.metadata}
        files = FILES.format(**names) + write_beside(curated.transfer, folder) + chosen.files
        text = card(project, pictures.curated, files=files,
                    opening=chosen.opening + BACK.format(**names), patterns=f"{chosen.pictures}/**",
                    num_problems=len(pictures.problems), carried=pictures.carried, columns=map(str, rows))
        (folder / "README.md").write_text(text, encoding="utf-8")
        digests = {f"{chosen.pictures}/{name}": digest for name, digest in zip(
            pictures.rows["file_name"], pictures.rows["sha256"], strict=True)}
        write_digests(folder, digests)
    return ExportResult(path=target, num_samples=len(pictures.rows), problems=pictures.problems,
                        class_counts=pictures.curated.class_counts, carried=pictures.carried)


def _write_metadata(pictures: Pictures, path: Path) -> pd.DataFrame:
    """The table as written. As Parquet typed for `datasets`: label is the index, a ClassLabel, and current_label the
    name, by which a table of ours is imported."""
    if path.suffix == ".csv":
        write_csv(pictures.rows, path)
        return pictures.rows
    rows = pictures.rows.rename(columns={"label": "current_label", "label_index": "label"})
    table = value_table(rows)
    pq.write_table(table.cast(with_features(table.schema, pictures.curated.classes)), path)
    return rows


def _write_classes(folder: Path, pictures: Pictures) -> None:
    """classes.csv, classes.txt and, where there are some, problems.csv."""
    counts = pictures.curated.class_counts
    write_csv(pd.DataFrame({"index": range(len(counts)), "label": list(counts), "samples": list(counts.values()),
                            "folder": [pictures.folders[label] for label in counts]}), folder / "classes.csv")
    (folder / "classes.txt").write_text("".join(f"{name_line(name)}\n" for name in counts), encoding="utf-8")
    if len(pictures.problems):
        write_csv(pictures.problems, folder / "problems.csv")
