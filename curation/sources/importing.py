"""Importing a project: every source by name, and what an import does whatever the source.

import_project runs a source, screens its rows, looks at the images and writes the project. What is wrong with single
samples goes to the report; what cannot load at all raises SourceError first. Ledger and runs stay as they are.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pyarrow as pa

from curation.ledger import people
from curation.project import REPORT_NAME, Disagreement, HeldOut, ImportDetails
from curation.samples.own_exports import for_training
from curation.sources import clothing1m, demo, imagefolder
from curation.sources.formats import (
    coco,
    croissant,
    cvat,
    datumaro,
    fiftyone,
    huggingface,
    kaggle,
    label_studio,
    lists,
    roboflow,
    torchvision_files,
    wilds,
)
from curation.sources.label_notes import label_notes
from curation.sources.reading import table
from curation.sources.reading.annotators import renamed
from curation.sources.reading.images import CHECKS, check_images, chosen_check
from curation.sources.reading.rows import (
    Loaded,
    class_table,
    disagreement,
    in_split_order,
    labels_seen,
    report_empty_classes,
    screen,
)
from curation.sources.reading.source import Option, OptionValue, Source
from curation.sources.splits import Before, HoldOut, hold_out
from curation.sources.storage import compare_with_manifest, splits_before, write_project
from curation.tables.report import Problems, Progress, SourceError
from curation.words import counted as counted_words
from engine.contract.manifest import SPLITS, ManifestInfo

SOURCES: dict[str, Source] = {
    "demo": Source(
        title="Demo: handwritten digits", load=demo.load, needs_root=False, root_help="",
        help="1,797 real handwritten digits that come with scikit-learn, some training labels made wrong on purpose.",
        options=(
            Option(name="seed", kind=int, default=0, help="Draws the splits and the labels that are made wrong."),
            Option(name="noise", kind=float, default=0.1, help="Share of training labels made wrong (0 to 1)."),
        )),
    "clothing1m": Source(
        title="Clothing1M layout", load=clothing1m.load,
        help="Key lists and label files of text beside a tree of images, as Clothing1M is distributed.",
        root_help="Folder that holds the key lists (or annotations/ with them) and the images."),
    "imagefolder": Source(
        title="Image folders", load=imagefolder.load,
        help="A folder of images for each class, or such folders for each split.",
        root_help="Folder that holds a folder for each class, or one for each split.",
        options=(Option(name="layout", default="auto", choices=imagefolder.LAYOUTS,
                        help="What the folders are. auto: by their names, and metadata.csv or .jsonl beside images; "
                             "class: classes; split: splits of classes."),)),
    "table": table.SOURCE,
    "huggingface": huggingface.SOURCE,
    "coco": coco.SOURCE,
    "labelstudio": label_studio.SOURCE,
    "fiftyone": fiftyone.SOURCE,
    "cvat": cvat.SOURCE,
    "roboflow": roboflow.SOURCE,
    "wilds": wilds.SOURCE,
    "kaggle": kaggle.SOURCE,
    "croissant": croissant.SOURCE,
    "lists": lists.SOURCE,
    "torchvision": torchvision_files.SOURCE,
    "datumaro": datumaro.SOURCE,
}
"""Every source by the name that the command line and the app call it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ImportResult:
    """What an import did."""

    project: Path
    source: str
    num_loaded: int
    num_problems: int
    num_lost: int
    """Of these, rows and pictures that became no sample."""
    splits: dict[str, int]
    """Samples of each split."""
    classes: pd.DataFrame
    """class, train, clean, test, and for training samples of known truth dual and wrong; by given_label."""
    disagreement: Disagreement | None
    """Of wrong labels where truth is known; else None."""
    counts: dict[str, int]
    """What the source's own lists hold, by name."""
    problem_kinds: dict[str, int]
    first_problems: pd.DataFrame
    """The first ten lines of the report: file, row, sample_id, kind, reason, action."""
    report_path: Path
    check: str
    """none, exists or decode: what was done to the images."""
    num_added: int
    num_removed: int
    is_new: bool
    held_out: tuple[str, ...]
    """Splits that an import drew: their labels are as given."""
    notes: list[str]
    seconds: float


def source_options(source: str) -> tuple[Option, ...]:
    """The options of one source, for a form or a command line. Raises SourceError for an unknown source."""
    return _source(source).options


def import_project(source: str, project_dir: str | Path, *, root: str | Path | None = None,
                   progress: Progress | None = None, check: str = "auto", held_out: HoldOut | None = None,
                   **options: OptionValue | None) -> ImportResult:
    """Import a data set into a project folder, new or not.

    check: none; exists (each file is there); decode (each image reads to its end); auto: decode up to 50,000 images,
    none above. held_out: what to hold out of training where the data have no such split; None: nothing more than the
    project holds out already, which stays so. progress is called as progress(done, total, message). options: see
    source_options; None means default.
    Raises SourceError, with the project as it was, where nothing can be loaded.
    """
    people.require("owner", "an import")
    began = time.monotonic()
    show = progress or (lambda done, total, message: None)
    if check not in CHECKS:
        raise SourceError(f"check must be one of {', '.join(CHECKS)}; got {check!r}")
    project = Path(project_dir).absolute()
    if project.exists() and not project.is_dir():
        raise SourceError(f"a project is a folder; {project} is a file; choose another project")
    problems = Problems()
    try:
        loaded, rows = read_source(source, root, project, problems, show, options)
        if loaded.unpack is not None:
            rows, screened = loaded.unpack(rows, problems, show), rows
            loaded.answers = renamed(loaded.answers, screened, rows)
        done_check = chosen_check(check, rows.num_rows)
        rows = check_images(rows, loaded.root, done_check, problems, show)
        before = splits_before(project)
        split = hold_out(rows, held_out, before, show)
        rows = in_split_order(split.rows)
        classes = loaded.classes if loaded.classes is not None else labels_seen(rows)
        counted = class_table(rows, classes)
        refuse_nothing(loaded, counted, problems)
        report_empty_classes(loaded, counted, problems)
        show(0, 1, "writing")
        changed = compare_with_manifest(project, rows, classes)
        result = ImportResult(
            project=project, source=source, num_loaded=rows.num_rows, num_problems=len(problems),
            num_lost=problems.num_lost, splits={name: int(counted[name].sum()) for name in SPLITS}, classes=counted,
            disagreement=disagreement(counted), counts=loaded.counts, problem_kinds=problems.by_kind(),
            first_problems=problems.table().slice(0, 10).to_pandas(), report_path=project / REPORT_NAME,
            check=done_check, num_added=changed.num_added, num_removed=changed.num_removed, is_new=changed.is_new,
            held_out=split.held_out,
            notes=[*loaded.notes, *split.notes, *label_notes(classes, is_declared=loaded.classes is not None),
                   *_notes(done_check, rows, counted), *changed.notes],
            seconds=time.monotonic() - began)
        write_project(project, rows, ManifestInfo(classes=classes, root=str(loaded.root), source=source), problems,
                      _details(result, {k: v for k, v in options.items() if v is not None},
                               _held_out(held_out, before, split.held_out)), loaded.answers)
    except OSError as error:
        where = error.filename or project
        raise SourceError(f"files must be readable and the project writable; {where}: {error.strerror or error}; "
                          "check rights and free space") from error
    show(1, 1, "writing")
    return result


def read_source(source: str, root: str | Path | None, project: Path, problems: Problems, progress: Progress,
                options: Mapping[str, OptionValue | None]) -> tuple[Loaded, pa.Table]:
    """(what a source hands over, its rows that keep the contract); opens no image. Raises SourceError for an unknown
    source or option, or where nothing can be loaded."""
    spec, folder = _checked(source, options), None
    if spec.needs_root:
        folder = _checked_root(spec, source, root)
    elif root is not None:
        raise SourceError(f"source {source} takes no ROOT; got {str(root)!r}; leave it out")
    given = {name: value for name, value in options.items() if value is not None}
    loaded = spec.load(folder, project, problems, progress, **given)
    if (own := for_training(loaded.rows)) is not None:
        loaded.rows = own
        loaded.notes.append("a hard validation set of a project: its samples train again, as they did there")
    return loaded, screen(loaded, problems)


def _held_out(asked: HoldOut | None, before: Before | None, splits: tuple[str, ...]) -> HeldOut | None:
    """None where no split is an import's."""
    if asked is None and not splits:
        return None
    asked = asked or HoldOut(test_frac=0, clean_frac=0, together=before.together if before else None)
    return HeldOut(test_frac=asked.test_frac, clean_frac=asked.clean_frac, together=asked.together, seed=asked.seed,
                   splits=list(splits))


def _details(result: ImportResult, options: dict[str, OptionValue], held_out: HeldOut | None) -> ImportDetails:
    """What project.json keeps of an import, so that the app can show it again."""
    classes = [{str(name): value for name, value in row.items()} for row in result.classes.to_dict("records")]
    return {"options": options, "check": result.check, "counts": result.counts, "splits": result.splits,
            "disagreement": result.disagreement, "problem_kinds": result.problem_kinds, "notes": result.notes,
            "classes": classes, "num_added": result.num_added, "num_removed": result.num_removed,
            "seconds": round(result.seconds, 3), "held_out": held_out}


def _source(source: str) -> Source:
    if source not in SOURCES:
        raise SourceError(f"a source must be one of {', '.join(SOURCES)}; got {source!r}")
    return SOURCES[source]


def _checked(source: str, options: Mapping[str, OptionValue | None]) -> Source:
    """The source, if it takes these options with these values."""
    spec = _source(source)
    known = {option.name: option for option in spec.options}
    for name, value in options.items():
        if value is None:
            continue
        if name not in known:
            takes = ", ".join(known) or "none"
            raise SourceError(f"source {source} has no option {name}; its options: {takes}; leave it out")
        option = known[name]
        fits = isinstance(value, (int, float)) if option.kind is float else isinstance(value, option.kind)
        if not fits or isinstance(value, bool):
            raise SourceError(f"{name} must be of type {option.kind.__name__}; got {value!r}")
        if option.choices and value not in option.choices:
            raise SourceError(f"{name} must be one of {', '.join(option.choices)}; got {value!r}")
    return spec


def _checked_root(spec: Source, source: str, root: str | Path | None) -> Path:
    if root is None or not str(root):
        raise SourceError(f"source {source} needs ROOT: {spec.root_help[0].lower()}{spec.root_help[1:]}")
    path = Path(root).expanduser()
    if not spec.is_root_file and not path.is_dir():
        found = "is a file" if path.exists() else "does not exist"
        raise SourceError(f"ROOT of source {source} must be a folder; {path} {found}; check the path")
    return path


def refuse_nothing(loaded: Loaded, counted: pd.DataFrame, problems: Problems) -> None:
    """Raise SourceError where what is left cannot be trained on: no training row, or one class alone."""
    hint = _most_frequent(problems)
    if not counted["train"].sum():
        num = loaded.rows.num_rows
        raise SourceError(f"a project needs training samples; none of {num:,} rows loads as one; {hint}")
    if len(counted) < 2:
        raise SourceError(f"a project needs at least two classes; got {counted['class'][0]!r} alone; {hint}")


def _most_frequent(problems: Problems) -> str:
    """How many findings of each kind there are, and the first of the most frequent one."""
    kinds = problems.by_kind()
    if not kinds:
        return "check the source"
    most = next(iter(kinds))
    first = next(one for one in problems.table().to_pylist() if one["kind"] == most)
    row = "" if first["row"] is None else f", row {first['row']}"
    each = ", ".join(f"{num:,} {kind}" for kind, num in kinds.items())
    return (f"{counted_words(len(problems), 'finding')} ({each}), the first {most}: {first['file']}{row}: "
            f"{first['reason']}")


def _notes(check: str, rows: pa.Table, counted: pd.DataFrame) -> list[str]:
    """What a person should know although nothing is wrong."""
    notes = []
    if check != "decode":
        how = "not looked at" if check == "none" else "found but not decoded"
        notes.append(f"{rows.num_rows:,} images were {how}: each is checked when it is first decoded")
    for split, use in (("clean", "accuracy while training"), ("test", "a final accuracy")):
        if not counted[split].sum():
            notes.append(f"no sample in split {split}: runs cannot report {use}")
    if len(counted) > 1000 and len(counted) > rows.num_rows / 10:
        notes.append(f"{len(counted):,} classes for {rows.num_rows:,} samples: is it the right label column?")
    return notes
