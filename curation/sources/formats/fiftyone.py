"""What FiftyOne exports of a classification: FiftyOneImageClassificationDataset and FiftyOneDataset.

    labels.json {"classes": [...], "labels": {NAME: INDEX}}, data/NAME.jpg     FiftyOneImageClassificationDataset
    samples.json {"samples": [...]}, metadata.json, data/                      FiftyOneDataset, of any version

Of a FiftyOneDataset the label is the field label_field, by default ground_truth or the only Classification; other
Classifications, tags and plain fields ride along, and a tag that is a split's name is the split. What several people
said is a field Classifications, each with its annotator or not, or several fields Classification (answers_field).
"""

import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from curation.sources.formats.gathered import Gathered, Value, distinct, plain
from curation.sources.formats.places import data_root, files_below, head, images_below, name_below, ours_of, split_of
from curation.sources.reading.answer_columns import ANNOTATOR_NAMES, VOTES_NAMES
from curation.sources.reading.images import IMAGE_SUFFIXES
from curation.sources.reading.rows import SPLIT_NAMES, Loaded
from curation.sources.reading.source import Option, Source
from curation.sources.reading.votes import Vote
from curation.tables.json_items import items, listed, pairs
from curation.tables.report import Problems, Progress, SourceError
from curation.words import counted

_SAMPLES, _LABELS = re.compile(r'"samples"\s*:\s*\['), re.compile(r'"labels"\s*:\s*\{')
_USUAL = ("ground_truth", "label", "labels", "classification")


def load(root: Path, project: Path, problems: Problems, progress: Progress, *,
         label_field: str | None = None, answers_field: str | None = None) -> Loaded:
    """Rows of samples.json or of every labels.json. Raises SourceError where there is neither, or no label in them."""
    files = ours_of(root, ("samples.json", "labels.json"), is_ours, "FiftyOne writes samples.json or labels.json")
    whole = [path for path in files if path.name.lower() == "samples.json"]
    if whole:
        return _samples(whole, data_root(root), problems, progress, label_field, answers_field)
    if label_field is not None or answers_field is not None:
        raise SourceError(f"fields are of samples.json; {files[0].name} has one label alone; leave them out")
    return _labels(files, data_root(root), problems, progress)


def is_ours(path: Path) -> bool:
    """Whether a file begins as FiftyOne's do."""
    name = path.name.lower()
    return (name == "samples.json" and bool(_SAMPLES.search(head(path)))) or \
        (name == "labels.json" and bool(_LABELS.search(head(path, 1 << 22))))


def is_here(place: Path) -> bool:
    """Whether a folder holds what FiftyOne exports."""
    return any(is_ours(path) for path in files_below(place, ("samples.json", "labels.json"))[:20])


def _labels(files: list[Path], home: Path, problems: Problems, progress: Progress) -> Loaded:
    """Of labels.json: a class index, a name or null for each image, by its path below data/ without suffix."""
    gathered, names = Gathered(problems), dict[str, None]()
    for path in files:
        classes = distinct(str(one) for one in items(path, "classes.item", progress))
        names |= dict.fromkeys(classes)
        file, stems = name_below(path, home), _with_suffix(path.parent / "data")
        below = path.parent.resolve().relative_to(home).as_posix()
        prefix = "data/" if below == "." else f"{below}/data/"
        for row, (name, said) in enumerate(pairs(path, "labels", progress), 1):
            found = [_label(one, classes) for one in (said if isinstance(said, list) else [said]) if one is not None]
            label = gathered.one_of(found, file=file, row=row, path=name)
            if len(set(found)) > 1:
                continue
            gathered.add({"path": prefix + stems.get(name, name), "given_label": label,
                          "split": split_of(below) or "train"}, {}, file=file, row=row)
    notes = [f"classes: {counted(len(names), 'name')} of labels.json, in their order"] if names else []
    return gathered.loaded(home, notes, classes=tuple(names) or None, classes_file=files[0].name)


def _label(said: object, classes: tuple[str, ...]) -> str:
    if isinstance(said, dict):
        said = said.get("label")
    if isinstance(said, int) and not isinstance(said, bool) and 0 <= said < len(classes):
        return classes[said]
    return str(said)


def _with_suffix(folder: Path) -> dict[str, str]:
    """Path below a folder without suffix -> with it, of every image there."""
    found = files_below(folder, tuple(IMAGE_SUFFIXES), depth=3, most=None) if folder.is_dir() else []
    return {path.relative_to(folder).with_suffix("").as_posix(): path.relative_to(folder).as_posix() for path in found}


def _samples(files: list[Path], home: Path, problems: Problems, progress: Progress, field: str | None,
             answers_field: str | None) -> Loaded:
    """Of samples.json: every sample's fields."""
    gathered, notes = Gathered(problems), list[str]()
    several = [name.strip() for name in (answers_field or "").split(",") if name.strip()] or \
        _answer_fields(files[0], progress)
    field = field or _label_field(files[0], progress, several)
    for path in files:
        names = [str(values["filepath"]) for values in _first(path) if values.get("filepath")]
        prefix = images_below(home, path, names)
        for row, sample in enumerate(items(path, "samples.item", progress), 1):
            ours, extra = _row(sample, field, prefix)
            gathered.add(ours, extra, file=name_below(path, home), row=row, votes=_votes(sample, several))
    declared = (_classes(path.parent / "metadata.json", field or several[0], progress) for path in files)
    classes = next((found for found in declared if found), None)
    notes.append((f"label from the field {field}" if field else f"label from the answers in {', '.join(several)}")
                 + (f", classes: {len(classes)} of metadata.json" if classes else ""))
    return gathered.loaded(home, notes, classes=classes, classes_file="metadata.json")


def _first(path: Path, num: int = 2_000) -> list[dict[str, Value]]:
    return [plain(one) for one, _ in zip(items(path, "samples.item", lambda *step: None), range(num), strict=False)]


def _answer_fields(path: Path, progress: Progress) -> list[str]:
    """The field of the first samples that is called as answers are, and is of type Classifications; [] without one."""
    for sample in _heads(path, progress):
        for name, value in sample.items():
            if name.lower() in VOTES_NAMES and isinstance(value, dict) and value.get("_cls") == "Classifications":
                return [name]
    return []


def _votes(sample: object, fields: list[str]) -> list[Vote]:
    """What each person said of a sample: the one that a classification names as its annotator, else, of several fields,
    the one that its field is called after."""
    found: list[Vote] = []
    for name in fields:
        value = sample.get(name) if isinstance(sample, dict) else None
        several = value.get("classifications") if isinstance(value, dict) else None
        for one in several if isinstance(several, list) else [value]:
            if isinstance(one, dict) and one.get("label") is not None:
                who = next((str(one[key]) for key in ANNOTATOR_NAMES if one.get(key) is not None), None)
                found.append((who or (name if len(fields) > 1 else None), str(one["label"])))
    return found


def _heads(path: Path, progress: Progress) -> Iterator[dict[str, object]]:
    """The first samples."""
    yield from (one for one in islice(items(path, "samples.item", progress), 2_000) if isinstance(one, dict))


def _label_field(path: Path, progress: Progress, several: list[str]) -> str | None:
    """The Classification of the first samples that is meant; None where there are answers instead. Raises SourceError
    where there is none, or several."""
    found, others = dict[str, None](), set[str]()
    for sample in _heads(path, progress):
        for name, value in sample.items():
            if isinstance(value, dict) and value.get("_cls") and name not in several:
                if value["_cls"] == "Classification":
                    found[name] = None
                else:
                    others.add(str(value["_cls"]))
    usual = [name for name in _USUAL if name in found] or (list(found) if len(found) == 1 else [])
    if not usual and several:
        return None
    if not usual:
        have = f"it has {', '.join(found)}; name one as label_field" if found else \
            f"it has {', '.join(sorted(others)) or 'no labels'}; choose another format"
        raise SourceError(f"a label is a field of type Classification in {path.name}; {have}")
    return usual[0]


def _row(sample: object, field: str | None, prefix: str) -> tuple[dict[str, Value], dict[str, Value]]:
    values = sample if isinstance(sample, dict) else {}
    extra: dict[str, Value] = plain(values, ("filepath", "id", "_cls", "_media_type", "_rand", "_dataset_id"))
    tags = [str(tag) for tag in listed(values.get("tags"))]
    split = next((SPLIT_NAMES[tag.lower()] for tag in tags if tag.lower() in SPLIT_NAMES), "train")
    if others := [tag for tag in tags if tag.lower() not in SPLIT_NAMES]:
        extra["tags"] = ", ".join(others)
    for name, value in values.items():
        if isinstance(value, dict) and value.get("_cls") == "Classification" and name != field:
            extra[name] = str(value["label"]) if value.get("label") is not None else None
            if isinstance(value.get("confidence"), int | float):
                extra[f"{name}_confidence"] = value["confidence"]
    label = values.get(field) if field is not None else None
    said = label.get("label") if isinstance(label, dict) else None
    path = values.get("filepath")
    ours: dict[str, Value] = {"path": prefix + str(path) if path else None, "split": split,
                              "given_label": None if said is None else str(said)}
    if "sample_id" in extra:
        ours["sample_id"] = str(extra.pop("sample_id"))
    return ours, extra


def _classes(path: Path, field: str, progress: Progress) -> tuple[str, ...] | None:
    """The names that metadata.json declares for a field, else by default; None where it declares none."""
    if not path.is_file():
        return None
    for place in (f"classes.{field}", "default_classes", f"info.classes.{field}", "info.default_classes"):
        if names := distinct(str(one) for one in items(path, f"{place}.item", progress)):
            return names
    return None


SOURCE = Source(
    title="FiftyOne", load=load, is_root_file=True, recognises=is_here,
    help="A classification that FiftyOne exported: FiftyOneImageClassificationDataset or FiftyOneDataset.",
    root_help="Folder of the export, or its labels.json or samples.json.",
    options=(Option(name="label_field", help="Field of the label in samples.json. Default: ground_truth, or the only "
                                             "Classification."),
             Option(name="answers_field", help="Field of several people's answers (Classifications) in samples.json, "
                                               "or a field for each person, with commas between. Default: answers "
                                               "or another usual name.")))
