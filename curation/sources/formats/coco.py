"""COCO's JSON, for the classes of whole images: categories, images, annotations of an image_id and a category_id.

An annotation without box, or with one of the whole image, says the image's class. Where an image has boxes or outlines
alone, all of one class, that class is taken, and said; several classes are reported. Classes are in the order of
their ids. The split is what the file's name or folder says.
"""

import re
from dataclasses import dataclass, field
from pathlib import Path

from curation.sources.formats.gathered import Gathered, Value, distinct, plain
from curation.sources.formats.places import (
    data_root,
    files_below,
    head,
    images_below,
    name_below,
    ours_of,
    split_of,
    tail,
)
from curation.sources.reading.rows import Loaded
from curation.sources.reading.source import Source
from curation.tables.json_items import items, listed, number_of
from curation.tables.report import Problems, Progress, SourceError

_KEYS = (r'"images"\s*:\s*\[', r'"annotations"\s*:\s*\[', r'"categories"\s*:\s*\[')
_WHOLE = 0.98
"""Share of the image that a box of the whole image covers at least."""


@dataclass(slots=True)
class _Said:
    """What the annotations say about one image."""

    whole: list[int] = field(default_factory=list)
    boxes: list[tuple[int, float]] = field(default_factory=list)
    """(category, area of the box)."""
    attributes: dict[str, Value] = field(default_factory=dict)


def load(root: Path, project: Path, problems: Problems, progress: Progress) -> Loaded:
    """Rows of every file with annotations of classes. Raises SourceError where there is none."""
    files = ours_of(root, (".json",), is_ours, "COCO's JSON has lists called images, annotations and categories")
    home, gathered, notes = data_root(root), Gathered(problems), []
    names: dict[int, str] = {}
    read: list[tuple[Path, dict[str, _Said]]] = []
    for path in files:
        said = _annotations(path, problems, progress)
        if not said:
            notes.append(f"{path.name} has no annotation of a class and is left out")
            continue
        for idx, category in enumerate(items(path, "categories.item", progress), 1):
            values = plain(category)
            number = values.get("id")
            if not isinstance(number, int) or "name" not in values:
                problems.add("malformed line", "a category must have an id and a name", file=path.name, row=idx)
            elif names.setdefault(number, str(values["name"])) != str(values["name"]):
                raise SourceError(f"files of one data set must share their categories; category {number} is "
                                  f"{names[number]!r} and, in {path.name}, {values['name']!r}; import them apart")
        read.append((path, said))
    order = sorted(names)
    classes = dict(zip(order, distinct(names[number] for number in order), strict=True))
    if not classes:
        raise SourceError(f"COCO's JSON must name categories and annotate images with them; {files[0].name} does not; "
                          "check the file")
    for path, said in read:
        _images(path, home, said, classes, gathered, progress)
    notes.insert(0, f"classes: {len(classes)} categories, in the order of their ids")
    return gathered.loaded(home, notes, classes=tuple(classes.values()), classes_file=files[0].name)


def is_ours(path: Path) -> bool:
    """Whether a file begins and ends like COCO's."""
    text = head(path) + tail(path)
    return path.suffix.lower() == ".json" and sum(bool(re.search(key, text)) for key in _KEYS) >= 2 \
        and not text.lstrip().startswith("[")


def _annotations(path: Path, problems: Problems, progress: Progress) -> dict[str, _Said]:
    """Image id -> what is said about it."""
    said: dict[str, _Said] = {}
    for idx, annotation in enumerate(items(path, "annotations.item", progress), 1):
        if not isinstance(annotation, dict) or "category_id" not in annotation:
            continue  # a caption
        category, image = annotation["category_id"], annotation.get("image_id")
        if not isinstance(category, int) or not isinstance(image, int | str):
            problems.add("malformed line", "an annotation must have an image_id and a whole category_id",
                         file=path.name, row=idx)
            continue
        one = said.setdefault(str(image), _Said())
        box = annotation.get("bbox")
        sides = [number_of(side) for side in listed(box)]
        if len(sides) == 4 and sides[2] is not None and sides[3] is not None:
            one.boxes.append((category, sides[2] * sides[3]))
        elif annotation.get("segmentation"):
            one.boxes.append((category, 0.0))
        else:
            one.whole.append(category)
        one.attributes |= plain(annotation.get("attributes"))
    return said


def _images(path: Path, home: Path, said: dict[str, _Said], names: dict[int, str], gathered: Gathered,
            progress: Progress) -> None:
    first = [str(values["file_name"]) for values, _ in zip((plain(one) for one in items(
        path, "images.item", lambda *step: None)), range(2_000), strict=False) if values.get("file_name")]
    file = name_below(path, home)
    prefix, split = images_below(home, path, first), split_of(file)
    for idx, image in enumerate(items(path, "images.item", progress), 1):
        values = plain(image)
        if "id" not in values or not values.get("file_name"):
            gathered.problems.add("malformed line", "an image must have an id and a file_name", file=file, row=idx)
            continue
        name, one = f"{prefix}{values['file_name']}", said.get(str(values["id"]), _Said())
        size = _pixels(values.get("width")) * _pixels(values.get("height"))
        whole = one.whole + [category for category, area in one.boxes if size and area >= _WHOLE * size]
        categories = whole or [category for category, _ in one.boxes]
        label = gathered.one_of((names.get(number, f"category {number}") for number in categories), file=file, row=idx,
                                path=name)
        gathered.num_boxes += bool(label and not whole)
        if len(set(categories)) > 1:
            continue
        ours: dict[str, Value] = {"path": name, "given_label": label, "split": split or "train"}
        extra = dict(one.attributes)
        if "sample_id" in extra:
            ours["sample_id"] = str(extra.pop("sample_id"))
        gathered.add(ours, extra, file=file, row=idx)


def _pixels(value: Value) -> float:
    return number_of(value) or 0.0


def is_here(place: Path) -> bool:
    """Whether a folder, or a JSON file, is COCO's."""
    return any(is_ours(path) for path in files_below(place, (".json",))[:20])


SOURCE = Source(
    title="COCO", load=load, is_root_file=True, recognises=is_here,
    help="COCO's JSON with classes of whole images; of boxes the class where all of an image share one.",
    root_help="Folder of the data set, or one file of annotations.")
