"""The pictures of a curated set in a folder: FOLDER/CLASS/FILE, copied or linked.

A copy stays as it was when the data changes, and may be upright and without what its file says of places and people; a
link costs no space, changes with the data and says all. Pictures that the manifest holds are always written.
"""

import contextlib
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import pandas as pd
import pyarrow.parquet as pq

from curation.exports.curated import Curated, with_rows
from curation.exports.metadata import Carried, Metadata, said_by, stripped
from curation.exports.staging import ExportError, Progress
from curation.project import Project
from curation.samples.csv_cells import SafeNames
from curation.samples.table import free_names
from engine.contract.manifest import MANIFEST_NAME, ManifestError, file_digest, resolve_image
from engine.contract.pictures.image_files import NotAnImageError, open_image
from engine.contract.pictures.mirror import fetch, mirror_of

Placing = Literal["copy", "hardlink", "symlink"]
"""How a picture comes into an export."""
PLACINGS: tuple[Placing, ...] = get_args(Placing)
OWN_COLUMNS = ("file_name", "label", "label_index", "width", "height", "sha256")
ORIGINALS = {"path": "original_path", "given_label": "original_label"}
"""Columns of the sample table that would be taken for the exported file and its label where a table is read."""
FORMAT_SUFFIXES = {"JPEG": (".jpg", ".jpeg"), "MPO": (".jpg", ".jpeg"), "PNG": (".png",), "WEBP": (".webp",),
                   "BMP": (".bmp",), "TIFF": (".tif", ".tiff"), "PPM": (".ppm", ".pgm", ".pbm", ".pnm"),
                   "GIF": (".gif",), "JPEG2000": (".jp2", ".j2k", ".jpx", ".jpf"), "AVIF": (".avif",)}
"""Suffixes a format may keep; a file named otherwise gets the first."""
TORCHVISION_READS = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")
"""torchvision.datasets.folder.IMG_EXTENSIONS: its ImageFolder passes over any other file without a word."""
_BATCH_ROWS = 1000


@dataclass(frozen=True, kw_only=True, slots=True)
class Pictures:
    """Pictures that lie in an export, and the table about them."""

    curated: Curated
    """The set, less what could not be exported."""
    rows: pd.DataFrame
    """One row a picture: OWN_COLUMNS (file_name: CLASS/FILE below the folder; label: the one in force; label_index: its
    place in the project's classes; width and height in pixels as stored; sha256: of the
    file), then the sample table's columns, ORIGINALS renamed."""
    folders: dict[str, str]
    """Class -> its folder, for every class of the project; only those with samples exist."""
    problems: pd.DataFrame
    """sample_id, file, reason."""
    carried: Carried


@dataclass(frozen=True, kw_only=True, slots=True)
class Picture:
    """A picture as it is exported."""

    suffix: str
    """Its own where that fits the format, else the format's."""
    width: int
    height: int
    data: bytes | None
    """What to write; None: the source as it is."""


def place_pictures(project: Project, curated: Curated, folder: Path, placing: Placing, metadata: Metadata,
                   progress: Progress, passes_over: str = "") -> Pictures:
    """Put every picture that can be read into `folder`. passes_over: the reader that passes over files which are none
    of TORCHVISION_READS, for the problems. Raises ExportError, also where there is not one."""
    names = SafeNames()
    folders = {label: names.of(label, "class") for label in curated.classes}
    carried = Carried(metadata=metadata)
    placed, problems = _place(project, curated, folder, folders, placing, carried, progress, passes_over)
    if placed.empty:
        raise ExportError(f"an export of pictures needs some; none of {len(curated.frame)} could be placed, first "
                          f"{problems['sample_id'].iloc[0]!r}: {problems['reason'].iloc[0]}; mend the import")
    written = with_rows(curated, curated.frame["sample_id"].isin(placed.index))
    return Pictures(curated=written, rows=_rows(written.frame, curated.classes, placed), folders=folders,
                    problems=problems, carried=carried)


def plain_columns(frame: pd.DataFrame) -> pd.DataFrame:
    """The sample table's columns beside OWN_COLUMNS: those of ORIGINALS renamed, without the split, as all were
    training samples, and without current_label, as that is the label."""
    rest = frame.drop(columns=["split", "current_label"])
    taken = {*OWN_COLUMNS, *ORIGINALS.values(), "image"}  # those of an export that was imported
    return rest.rename(columns=free_names([name for name in rest if name in taken], taken)).rename(columns=ORIGINALS)


def _rows(written: pd.DataFrame, classes: tuple[str, ...], placed: pd.DataFrame) -> pd.DataFrame:
    own = placed.reindex(written["sample_id"]).reset_index(drop=True)
    own.insert(1, "label", written["current_label"])
    own.insert(2, "label_index", own["label"].map({name: code for code, name in enumerate(classes)}).astype(int))
    return pd.concat([own, plain_columns(written)], axis=1)


def _place(project: Project, curated: Curated, target: Path, folders: dict[str, str], placing: Placing,
           carried: Carried, progress: Progress, passes_over: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """(file_name, width, height, sha256 by sample_id; problems)."""
    labels = dict(zip(curated.frame["sample_id"], curated.frame["current_label"], strict=True))
    names = {folder: SafeNames() for folder in folders.values()}
    placed: dict[str, tuple[str, int, int, str]] = {}
    problems: list[tuple[str, str, str]] = []
    for done, (sample_id, path, data) in enumerate(sources(project, set(labels)), start=1):
        progress(done, len(labels))
        if labels[sample_id] not in folders:
            problems.append((sample_id, path, f"its label {labels[sample_id]!r} is no class of the project"))
            continue
        folder = folders[labels[sample_id]]
        try:
            source = data if data is not None else file_of(project, path)
            one = picture_of(source, path, carried)
            name = names[folder].of(Path(path).stem or sample_id, "image") + one.suffix  # stems differ: some drop it
            (target / folder).mkdir(parents=True, exist_ok=True)
            _put(source if one.data is None else one.data, target / folder / name, placing)
            placed[sample_id] = (f"{folder}/{name}", one.width, one.height, file_digest(target / folder / name))
        except ExportError:
            raise
        except (ManifestError, OSError, ValueError) as error:
            problems.append((sample_id, path, " ".join(str(error).split())))
            continue
        if passes_over and one.suffix not in TORCHVISION_READS:
            problems.append((sample_id, path, f"in the set, but {passes_over} passes over {one.suffix} files"))
    return (pd.DataFrame.from_dict(placed, orient="index", columns=["file_name", "width", "height", "sha256"]),
            pd.DataFrame(problems, columns=["sample_id", "file", "reason"]))


def _put(source: Path | bytes, place: Path, placing: Placing) -> None:
    """One picture in its place. Raises ExportError where it cannot be linked."""
    if isinstance(source, bytes):
        place.write_bytes(source)
    elif placing == "symlink" and mirror_of(source) is not None:
        raise ExportError(f"a symbolic link needs a picture that stays; {source.name} lies elsewhere and is kept here "
                          "for a while; copy instead")
    elif placing == "copy":
        shutil.copyfile(str(source), place)
    else:
        try:
            (os.link if placing == "hardlink" else os.symlink)(source, place)
        except OSError as error:
            rule = "a hard link needs pictures and export on one disk that has such links" if placing == "hardlink" \
                else "a symbolic link needs a disk that has such links"
            raise ExportError(f"{rule}; {place.parent.parent} has none to {source}: {error.strerror}; copy "
                              "instead") from error


def sources(project: Project, wanted: set[str]) -> Iterator[tuple[str, str, bytes | None]]:
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


def file_of(project: Project, path: str) -> Path:
    """The image's file, inside the root. Raises ManifestError or OSError."""
    if not path:
        raise ManifestError("a sample needs a path or an image; it has neither; import the data again")
    file = resolve_image(project.root, path)
    if (mirror := mirror_of(file)) is not None and not file.is_file():
        with contextlib.suppress(FileNotFoundError):
            fetch(mirror, file)
    if not file.is_file():
        raise ManifestError(f"an image file must exist; {path!r} is not there; put it back or import again")
    return file


def picture_of(source: Path | bytes, path: str, carried: Carried) -> Picture:
    """A picture as it is to be exported, counted in `carried`."""
    data, is_changed, is_turned = (source if isinstance(source, bytes) else None), False, False
    try:
        if carried.metadata == "strip":
            before = source if isinstance(source, bytes) else source.read_bytes()
            data, is_turned = stripped(before)
            is_changed = data != before
        with open_image(source if data is None else data) as image:
            suffixes = FORMAT_SUFFIXES.get(image.format or "", (f".{(image.format or 'img').lower()}",))
            width, height = image.size
            said = said_by(image)
    except NotAnImageError as error:
        raise ManifestError(f"an image file must hold an image; {path!r} does not; replace it or exclude it") from error
    carried.add(said, (width, height), is_changed=is_changed, is_turned=is_turned)
    own = Path(path).suffix.lower()
    return Picture(suffix=own if own in suffixes else suffixes[0], width=width, height=height, data=data)
