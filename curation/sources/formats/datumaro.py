"""Datumaro's own JSON: categories.label.labels, and items with annotations of type label.

A file is a subset, named after it; images lie in images/SUBSET or images. Class order is that of the categories.
Attributes of a label ride along. Other annotations are no labels of whole images.
"""

import re
from pathlib import Path

from curation.sources.formats.gathered import Gathered, Value, distinct, plain
from curation.sources.formats.places import data_root, files_below, head, images_below, name_below, ours_of, split_of
from curation.sources.reading.rows import Loaded
from curation.sources.reading.source import Source
from curation.tables.json_items import items, listed
from curation.tables.report import Problems, Progress, SourceError
from curation.words import counted

_KEY = re.compile(r'"categories"\s*:\s*\{\s*"')


def load(root: Path, project: Path, problems: Problems, progress: Progress) -> Loaded:
    """Rows of every item with one label. Raises SourceError where there is none, or files differ in their labels."""
    files = ours_of(root, (".json",), is_ours, "Datumaro's JSON has categories and items")
    home, gathered, classes, num_labelled, num_other = data_root(root), Gathered(problems), None, 0, 0
    for path in files:
        names = distinct(str(plain(one).get("name", "")) for one in items(
            path, "categories.label.labels.item", progress))
        if classes not in (None, names):
            raise SourceError(f"subsets of one data set must share their labels; {path.name} and {files[0].name} "
                              "differ; import them apart")
        classes, paths = names, [_path_of(one) for one in items(path, "items.item", lambda *step: None)]
        file, prefix = name_below(path, home), images_below(home, path, [one for one in paths if one][:2_000])
        for row, item in enumerate(items(path, "items.item", progress), 1):
            found, others, attributes = _labels(item, names)
            num_labelled += bool(found)
            num_other += others
            name = paths[row - 1]
            label = gathered.one_of(found, file=file, row=row, path=name)
            if len(set(found)) > 1:
                continue
            ours: dict[str, Value] = {"path": f"{prefix}{name}" if name else None, "given_label": label,
                                      "split": split_of(file) or "train"}
            if "sample_id" in attributes:
                ours["sample_id"] = str(attributes.pop("sample_id"))
            gathered.add(ours, attributes, file=file, row=row)
    if not num_labelled or classes is None:
        raise SourceError(f"an item of Datumaro's JSON must have an annotation of type label; {files[0].name} has none"
                          f"{f', and {num_other:,} others' if num_other else ''}; choose another format")
    notes = [f"classes: {counted(len(classes), 'label')} of the categories, in their order"]
    if num_other:
        notes.append(f"{counted(num_other, 'annotation')} of other types left out")
    return gathered.loaded(home, notes, classes=classes, classes_file=files[0].name)


def _path_of(item: object) -> str | None:
    """The image of an item; its id where none is named."""
    if not isinstance(item, dict):
        return None
    path = plain(item.get("image")).get("path") or item.get("id")
    return str(path) if path else None


def _labels(item: object, names: tuple[str, ...]) -> tuple[list[str], int, dict[str, Value]]:
    """(an item's labels, how many annotations are none, the labels' attributes)."""
    found: list[str] = []
    others, attributes = 0, dict[str, Value]()
    for one in listed(item.get("annotations")) if isinstance(item, dict) else ():
        number = one.get("label_id") if isinstance(one, dict) and one.get("type") == "label" else None
        if not isinstance(one, dict) or number is None:
            others += 1
        else:
            is_known = isinstance(number, int) and 0 <= number < len(names)
            found.append(names[number] if is_known else f"label {number}")
            attributes |= plain(one.get("attributes"))
    return found, others, attributes


def is_ours(path: Path) -> bool:
    """Whether a file begins as Datumaro's do."""
    return path.suffix.lower() == ".json" and bool(_KEY.search(head(path)))


def is_here(place: Path) -> bool:
    """Whether a folder, or a JSON file, is Datumaro's."""
    return any(is_ours(path) for path in files_below(place, (".json",))[:20])


SOURCE = Source(
    title="Datumaro", load=load, is_root_file=True, recognises=is_here,
    help="Datumaro's own JSON: items with annotations of type label.",
    root_help="Folder of the data set, or one JSON file.")
