"""Exporting from a project: every export by what it holds and its format, and what all have in common."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from curation.exports.clothing1m import export_label_files, export_validation_list
from curation.exports.corrections import export_corrections
from curation.exports.embedded import export_parquet
from curation.exports.metadata import METADATA, Metadata
from curation.exports.pack import export_pack
from curation.exports.pictures import PLACINGS, Placing
from curation.exports.staging import ExportError, ExportResult, Progress, check_free
from curation.exports.table import export_table
from curation.ledger import people
from curation.project import Project
from engine.contract.inside import inside
from engine.contract.run_dir import RunDir


@dataclass(frozen=True, kw_only=True, slots=True)
class Export:
    """One kind of export: what it holds, in which format, and whether it needs a run."""

    write: Callable[..., ExportResult]
    needs_run: bool
    title: str
    help: str
    has_files: bool = False
    """Whether its pictures are files of their own, which may be linked instead of copied."""
    has_pictures: bool = False


_PACKS = {
    "imagefolder": ("an image folder", "validation/CLASS/FILE with metadata.csv, for torchvision's ImageFolder."),
    "huggingface": ("a Hugging Face folder", "validation/CLASS/FILE with metadata.parquet and typed features."),
    "coco": ("COCO", "images/ and annotations/labels_validation.json."),
    "cvat": ("CVAT", "images/ and annotations.xml, one tag a picture."),
    "label-studio": ("Label Studio tasks", "images/, tasks.json with the model's scores, and the labelling interface."),
    "fiftyone": ("FiftyOne", "data/, samples.json with every column as a field, and labels.json."),
    "wilds": ("WILDS metadata", "images/ and metadata.csv with numbers for label, split and group."),
}
EXPORTS: dict[tuple[str, str], Export] = {
    **{("hard-validation", form): Export(
        write=partial(export_pack, form=form), needs_run=True, has_files=True, has_pictures=True,
        help=help_, title=f"Hard validation set as {title}") for form, (title, help_) in _PACKS.items()},
    ("hard-validation", "parquet"): Export(
        write=export_parquet, needs_run=True, has_pictures=True, title="Hard validation set as Parquet with pictures",
        help="data/*.parquet that hold the pictures, typed for Hugging Face's datasets."),
    ("hard-validation", "table"): Export(
        write=export_table, needs_run=True, title="Hard validation set as a table",
        help="Parquet and CSV with every signal, decision and provenance column."),
    ("hard-validation", "clothing1m"): Export(
        write=export_validation_list, needs_run=True, title="Hard validation set as Clothing1M's files",
        help="curated_val_key_list.txt and its labels as `key label`."),
    ("corrected-labels", "table"): Export(
        write=export_corrections, needs_run=False, title="Corrected labels",
        help="Parquet with the corrected label beside every given one, CSV of the changed ones with who, when and why, "
             "and a copy of the original manifest."),
    ("corrected-labels", "clothing1m"): Export(
        write=export_label_files, needs_run=False, title="Corrected labels as Clothing1M's files",
        help="corrected_label_kv.txt: the labels that people confirmed or changed; all_label_kv.txt and "
             "corrected_train_key_list.txt to train on; the keys left out."),
}
"""(what, format) -> export."""


def formats_of(what: str) -> list[str]:
    """The formats that `what` can be exported in."""
    return [form for kind, form in EXPORTS if kind == what]


def default_target(project: Project, run: RunDir | None, what: str, form: str) -> Path:
    """A free folder under the project's exports/. Raises OutsideError where that is a link out of the project."""
    stem = "-".join([*([run.name] if run else []), what, form])
    number, target = 1, inside(project.path, "exports") / stem
    while target.exists():
        number += 1
        target = target.with_name(f"{stem}-{number}")
    return target


def export(project: Project, run: RunDir | None, what: str, form: str, target: Path | None = None,
           progress: Progress | None = None, placing: Placing = "copy",
           metadata: Metadata | None = None) -> ExportResult:
    """Export `what` as `form` into the folder `target` (default_target where None), which must be new or empty.

    placing: how pictures that are files come there. metadata: what becomes of what their files say; None: it is taken
    out of copies, and stays in links, which are the data's own files. Raises ExportError for an unknown pair, a missing
    run, a target with files in it, pictures that cannot be placed so, or nothing to export.
    """
    people.require("reviewer", "an export")
    kinds = sorted({kind for kind, _ in EXPORTS})
    if what not in kinds:
        raise ExportError(f"an export is one of {', '.join(kinds)}; got {what!r}; choose one of them")
    if (what, form) not in EXPORTS:
        raise ExportError(f"{what} is exported as {', '.join(formats_of(what))}; got {form!r}; choose one of them")
    chosen = EXPORTS[what, form]
    if chosen.needs_run and run is None:
        raise ExportError(f"exporting {what} needs a run; none was given; name one of the project's runs")
    target = Path(target).absolute() if target else default_target(project, run, what, form)
    check_free(target)
    if placing not in PLACINGS:
        raise ExportError(f"pictures are placed by one of {', '.join(PLACINGS)}; got {placing!r}; choose one of them")
    if placing != "copy" and not chosen.has_files:
        raise ExportError(f"only files are linked; {form} has none of its own; leave {placing} out")
    if metadata is not None and metadata not in METADATA:
        raise ExportError(f"metadata are one of {', '.join(METADATA)}; got {metadata!r}; choose one of them")
    if metadata is not None and not chosen.has_pictures:
        raise ExportError(f"only pictures have metadata; {form} has none; leave {metadata} out")
    if metadata == "strip" and placing != "copy":
        raise ExportError(f"a link is the data's own file, with all that it says; got strip and {placing}; copy "
                          "instead")
    options: dict[str, str] = {"placing": placing} if chosen.has_files else {}
    if chosen.has_pictures:
        options["metadata"] = metadata or ("strip" if placing == "copy" else "keep")
    return chosen.write(project, run, target, progress or (lambda done, total: None), **options)
