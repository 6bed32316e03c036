"""The curated hard validation set as an image folder: DIR/validation/CLASS/FILE, for torchvision and Hugging Face.

Image files are copied byte for byte, never linked: what was exported stays as it was when the data changes.
"""

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq

from curation.exports.curated import Curated, curated_validation, describe
from curation.exports.staging import ExportError, ExportResult, Progress, staged
from curation.project import Project
from curation.samples.csv_cells import SafeNames, write_csv
from curation.samples.table import free_names
from engine.contract.image_files import NotAnImageError, open_image
from engine.contract.manifest import MANIFEST_NAME, ManifestError, resolve_image
from engine.contract.run_dir import RunDir

FILES = """
validation/CLASS/FILE: the images, byte for byte; a class without samples has no folder
validation/metadata.csv: file_name and label (Hugging Face's imagefolder), then every signal, decision and origin column
classes.csv: which folder is which class; folder names are made safe, so trust this file and not the name
problems.csv: what could not be exported as it should, one line each (absent where all went well)
"""
FORMAT_SUFFIXES = {"JPEG": (".jpg", ".jpeg"), "MPO": (".jpg", ".jpeg"), "PNG": (".png",), "WEBP": (".webp",),
                   "BMP": (".bmp",), "TIFF": (".tif", ".tiff"), "PPM": (".ppm", ".pgm", ".pbm", ".pnm"),
                   "GIF": (".gif",)}
"""Suffixes a format may keep; a file named otherwise gets the first. torchvision passes over .gif."""
_BATCH_ROWS = 1000


def export_imagefolder(project: Project, run: RunDir, target: Path, progress: Progress) -> ExportResult:
    """Write the image folder into `target`. Raises ExportError, also where not a single image could be copied."""
    curated = curated_validation(project, run)
    folders = _folders(curated)
    with staged(target) as folder:
        file_names, problems = _copy_images(project, curated, folder / "validation", folders, progress)
        if not file_names:
            raise ExportError(f"an image folder needs images; none of {len(curated.frame)} could be copied, first "
                              f"{problems['sample_id'].iloc[0]!r}: {problems['reason'].iloc[0]}; mend the import")
        written = curated.frame[curated.frame["sample_id"].isin(list(file_names))].reset_index(drop=True)
        taken = {"file_name", "label"}
        rows = written.rename(columns=free_names([c for c in written if c in taken], taken))
        rows.insert(0, "file_name", [file_names[i] for i in written["sample_id"]])
        rows.insert(1, "label", written["current_label"])
        write_csv(rows, folder / "validation" / "metadata.csv")
        write_csv(pd.DataFrame({"folder": list(folders.values()), "label": list(folders)}), folder / "classes.csv")
        if len(problems):
            write_csv(problems, folder / "problems.csv")
        class_counts = replace(curated, frame=written).class_counts
        text = describe(project, curated, FILES, class_counts)
        (folder / "README.txt").write_text(text, encoding="utf-8")
    return ExportResult(path=target, num_samples=len(written), problems=problems, class_counts=class_counts)


def _folders(curated: Curated) -> dict[str, str]:
    """Class -> folder name, for the classes that have samples."""
    names = SafeNames()
    return {label: names.of(label, "class") for label, count in curated.class_counts.items() if count}


def _copy_images(project: Project, curated: Curated, target: Path, folders: dict[str, str],
                 progress: Progress) -> tuple[dict[str, str], pd.DataFrame]:
    """Copy every image that can be read. Returns {sample_id: CLASS/FILE} and the problems."""
    labels = dict(zip(curated.frame["sample_id"], curated.frame["current_label"], strict=True))
    names = {folder: SafeNames() for folder in folders.values()}
    file_names: dict[str, str] = {}
    problems: list[tuple[str, str, str]] = []
    for done, (sample_id, path, data) in enumerate(_sources(project, set(labels)), start=1):
        if labels[sample_id] not in folders:
            problems.append((sample_id, path, f"its label {labels[sample_id]!r} is no class of the project"))
            continue
        folder = folders[labels[sample_id]]
        try:
            source = data if data is not None else _file_of(project, path)
            name = names[folder].of(Path(path).stem or sample_id, "image", _suffix(source, path))
            (target / folder).mkdir(parents=True, exist_ok=True)
            if data is not None:
                (target / folder / name).write_bytes(data)
            else:
                shutil.copyfile(str(source), target / folder / name)
        except (ManifestError, OSError, ValueError) as error:
            problems.append((sample_id, path, " ".join(str(error).split())))
            continue
        file_names[sample_id] = f"{folder}/{name}"
        if name.endswith(".gif"):
            problems.append((sample_id, path, "copied, but torchvision's ImageFolder passes over .gif files"))
        progress(done, len(labels))
    return file_names, pd.DataFrame(problems, columns=["sample_id", "file", "reason"])


def _sources(project: Project, wanted: set[str]) -> Iterator[tuple[str, str, bytes | None]]:
    """(sample_id, path or "", encoded image or None) of the samples asked for, in manifest order, a batch at a time."""
    with pq.ParquetFile(project.path / MANIFEST_NAME) as file:
        columns = [c for c in ("sample_id", "path", "image") if c in file.schema_arrow.names]
        for batch in file.iter_batches(batch_size=_BATCH_ROWS, columns=columns):
            ids = batch["sample_id"].to_pylist()
            hits = [i for i, sample_id in enumerate(ids) if sample_id in wanted]
            for row in batch.take(hits).to_pylist() if hits else ():
                image = row.get("image") or {}
                path = row.get("path") or image.get("path") or ""
                yield row["sample_id"], path, image.get("bytes")


def _file_of(project: Project, path: str) -> Path:
    """The image's file, inside the root. Raises ManifestError or OSError."""
    if not path:
        raise ManifestError("a sample needs a path or an image; it has neither; import the data again")
    file = resolve_image(project.root, path)
    if not file.is_file():
        raise ManifestError(f"an image file must exist; {path!r} is not there; put it back or import again")
    return file


def _suffix(source: Path | bytes, path: str) -> str:
    """The suffix of a file that holds an image: its own where that fits the format, else the format's."""
    try:
        with open_image(source) as image:
            suffixes = FORMAT_SUFFIXES.get(image.format or "", (f".{(image.format or 'img').lower()}",))
    except NotAnImageError as error:
        raise ManifestError(f"an image file must hold an image; {path!r} does not; replace it or exclude it") from error
    own = Path(path).suffix.lower()
    return own if own in suffixes else suffixes[0]
