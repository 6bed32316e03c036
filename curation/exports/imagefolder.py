"""The curated hard validation set as an image folder: DIR/validation/CLASS/FILE, for torchvision and Hugging Face."""

from pathlib import Path

import pandas as pd

from curation.exports.curated import curated_validation, describe, plain
from curation.exports.pictures import PICTURES, Pictures, Placing, place_pictures
from curation.exports.staging import ExportResult, Progress, staged
from curation.project import Project
from curation.samples.csv_cells import write_csv
from engine.contract.run_dir import RunDir

FILES = """
validation/CLASS/FILE: the images, byte for byte; a class without samples has no folder
validation/metadata.csv: file_name and label (Hugging Face's imagefolder), then every signal, decision and origin column
classes.csv: every class of the project, its index there and its folder; trust this file and not a folder's name
classes.txt: the classes, one a line, in index order
problems.csv: what could not be exported as it should, one line each (absent where all went well)

To have it as a project: python -m curation import table validation/metadata.csv --classes classes.txt --project NEW
"""


def export_imagefolder(project: Project, run: RunDir, target: Path, progress: Progress,
                       placing: Placing = "copy") -> ExportResult:
    """Write the image folder into `target`. Raises ExportError, also where not a single image could be placed."""
    curated = curated_validation(project, run)
    with staged(target) as folder:
        pictures = place_pictures(project, curated, folder, placing, progress)
        write_csv(pictures.rows, folder / PICTURES / "metadata.csv")
        _write_classes(folder, pictures)
        counts = pictures.curated.class_counts
        (folder / "README.txt").write_text(describe(project, pictures.curated, FILES, counts), encoding="utf-8")
    return ExportResult(path=target, num_samples=len(pictures.rows), problems=pictures.problems, class_counts=counts)


def _write_classes(folder: Path, pictures: Pictures) -> None:
    """classes.csv, classes.txt and, where there are some, problems.csv."""
    labels = list(pictures.folders)
    write_csv(pd.DataFrame({"index": range(len(labels)), "label": labels, "folder": list(pictures.folders.values()),
                            "samples": [pictures.curated.class_counts[label] for label in labels]}),
              folder / "classes.csv")
    (folder / "classes.txt").write_text("".join(f"{plain(name)}\n" for name in labels), encoding="utf-8")
    if len(pictures.problems):
        write_csv(pictures.problems, folder / "problems.csv")
