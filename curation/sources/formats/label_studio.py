"""Label Studio's JSON exports: tasks with an image and annotations of type choices, or their short form (JSON-MIN).

Each annotation's author stays, and of the first that chose what most chose the time and the seconds. Of several
annotations of a task all are kept (curation.sources.reading.annotators). A ground truth becomes clean_label. Drafts,
cancelled and empty annotations are counted and left out. Tasks of texts and other types are refused in words.
"""

import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import SplitResult, parse_qs, urlsplit

from curation.sources.formats.gathered import Gathered, Value, plain
from curation.sources.formats.places import data_root, files_below, head, images_below, name_below, ours_of
from curation.sources.reading.images import IMAGE_SUFFIXES
from curation.sources.reading.paths import DIGITS, UPLOADED
from curation.sources.reading.rows import Loaded
from curation.sources.reading.source import Option, Source
from curation.sources.reading.votes import Vote
from curation.tables.json_items import items, listed, number_of
from curation.tables.report import Problems, Progress, SourceError
from curation.words import counted

_TASKS = re.compile(r'^\s*\[\s*\{')
_USUAL_IMAGES = ("image", "img", "image_url", "photo", "picture", "url")
_SHORT = frozenset(("id", "annotation_id", "annotator", "created_at", "updated_at", "lead_time", "agreement", "image",
                    "sample_id", "given_label", "label", "suggested_label", "completed_by"))


@dataclass(slots=True)
class _Seen:
    """What a whole file holds, to be said once."""

    drafts: int = 0
    cancelled: int = 0
    empty: int = 0
    types: Counter[str] = field(default_factory=Counter)
    """Types of results that are no choices."""
    texts: int = 0
    """Tasks whose choices are of something that is no image."""


def load(root: Path, project: Path, problems: Problems, progress: Progress, *, choice: str | None = None) -> Loaded:
    """Rows of every task with an image. Raises SourceError where no task has both an image and a choice."""
    files = ours_of(root, (".json",), is_ours, "Label Studio's JSON is a list of tasks with data and annotations")
    home, gathered, seen = data_root(root), Gathered(problems), _Seen()
    num_labelled = 0
    for path in files:
        file = name_below(path, home)
        names = [name for task, _ in zip(items(path, "item", lambda *step: None), range(2_000), strict=False)
                 if (name := _image(task)) is not None]
        prefix = images_below(home, path, names)
        given = dict[str, str]()
        if not prefix and (below := images_below(home, path, [_given(name) for name in names])):
            prefix, given = below, _given_names(path)
        for row, task in enumerate(items(path, "item", progress), 1):
            name = _image(task)
            if name is None:
                seen.texts += 1
                problems.add("no image", "a task must name an image in its data", file=file, row=row)
                continue
            read = _row(task, choice, seen, gathered, file, row)
            if read is None:
                continue
            ours, extra, votes = read
            ours["path"] = name if "://" in name else prefix + given.get(name, name)
            num_labelled += bool(votes) or ours["given_label"] is not None
            gathered.add(ours, extra, file=file, row=row, votes=votes)
    if not num_labelled:
        kinds = ", ".join(sorted(seen.types))
        why = f"their data name no image ({counted(seen.texts, 'task')})" if seen.texts else \
            f"the results are of type {kinds}" if kinds else "no annotation has a choice"
        raise SourceError(f"Label Studio's tasks must have an image and an annotation of type choices; in "
                          f"{files[0].name} {why}; export a project of image classification")
    return gathered.loaded(home, _notes(seen), annotator="answered_by")


def _notes(seen: _Seen) -> list[str]:
    notes = [f"{counted(num, what)} left out" for num, what in (
        (seen.drafts, "draft"), (seen.cancelled, "cancelled annotation"), (seen.empty, "annotation without choice"))
             if num]
    if seen.types:
        notes.append("results of other types left out: " + ", ".join(f"{num:,} {kind}" for kind, num in
                                                                     sorted(seen.types.items())))
    return notes


def _image(task: object) -> str | None:
    """The image of a task as a path below its media, or its address; None where its data name none."""
    if not isinstance(task, dict):
        return None
    data = task["data"] if isinstance(task.get("data"), dict) else task
    texts = {name: value for name, value in data.items() if isinstance(value, str)}
    usual = [texts[name] for name in _USUAL_IMAGES if name in texts and _is_image(texts[name], is_named=True)]
    found = usual or [text for text in texts.values() if _is_image(text, is_named=False)]
    if not found:
        return None
    parts = _parts(found[0])
    if parts and not parts.scheme and parts.path.rstrip("/").endswith("data/local-files"):
        return (parse_qs(parts.query).get("d") or [""])[0] or None
    return UPLOADED.sub("", found[0])


def _parts(text: str) -> SplitResult | None:
    """The parts of an address; None of what is none, such as http://[."""
    try:
        return urlsplit(text)
    except ValueError:
        return None


def _is_image(text: str, is_named: bool) -> bool:
    """Whether a value names an image; is_named: where its column says so, an address without suffix is one as well."""
    parts = _parts(text) if len(text) < 4_000 else None
    path = "" if parts is None else (parse_qs(parts.query).get("d") or [parts.path])[0]
    has_suffix = Path(path).suffix.lower() in IMAGE_SUFFIXES and "\n" not in text
    return has_suffix or (is_named and ("://" in text or text.startswith("/data/")) and " " not in text)


def _given(name: str) -> str:
    """The name that an uploaded file had before Label Studio put eight digits before it."""
    folder, _, last = name.rpartition("/")
    return (folder + "/" if folder else "") + DIGITS.sub("", last)


def _given_names(path: Path) -> dict[str, str]:
    """Name of an uploaded file -> the one that it had before, where no other one had it."""
    names = {name for task in items(path, "item", lambda *step: None) if (name := _image(task)) is not None}
    num = Counter(map(_given, names))
    return {name: _given(name) for name in names if num[_given(name)] == 1}


def _row(task: object, choice: str | None, seen: _Seen, gathered: Gathered, file: str,
         row: int) -> tuple[dict[str, Value], dict[str, Value], list[Vote]] | None:
    """(columns of ours without the path, what rides along, what each person chose) of one task; None, and a line in the
    report, where all that was said is several choices at once."""
    assert isinstance(task, dict), "a task with an image"
    extra = plain(task["data"]) if isinstance(task.get("data"), dict) else {}
    ours: dict[str, Value] = {"given_label": None}
    if "sample_id" in extra:
        ours["sample_id"] = str(extra.pop("sample_id"))
    if "annotations" not in task and "data" not in task:
        return *_short(task, choice), []
    seen.drafts += len(listed(task.get("drafts")))
    said, votes, has_several = list[dict[str, Value]](), list[Vote](), False
    for one in listed(task.get("annotations")) or listed(task.get("completions")):
        if not isinstance(one, dict):
            continue
        if one.get("was_cancelled") or one.get("skipped"):
            seen.cancelled += 1
            continue
        chosen = _chosen(one, choice, seen)
        if len(chosen) > 1:
            gathered.one_of(chosen, file=file, row=row, path=None)
            has_several = True
            continue
        if not chosen:
            seen.empty += 1
            continue
        if one.get("ground_truth"):
            ours["clean_label"] = chosen[0]
        said.append(_answered(one))
        author = said[-1]["answered_by"]
        votes.append((None if author is None else str(author), chosen[0]))
    if votes:
        most = Counter(label for _, label in votes).most_common(1)[0][0]
        extra |= next(one for one, (_, label) in zip(said, votes, strict=True) if label == most)
    return None if has_several and not votes else (ours, extra, votes)


def _chosen(annotation: dict[str, object], choice: str | None, seen: _Seen) -> list[str]:
    """The choices of one annotation, of the control called `choice` where there is one."""
    found: list[str] = []
    for one in listed(annotation.get("result")):
        if not isinstance(one, dict) or (choice is not None and one.get("from_name") != choice):
            continue
        value = one.get("value")
        if one.get("type") == "choices" and isinstance(value, dict) and isinstance(value.get("choices"), list):
            found += [str(name) for name in value["choices"]]
        else:
            seen.types[str(one.get("type"))] += 1
    return list(dict.fromkeys(found))


def _answered(annotation: dict[str, object]) -> dict[str, Value]:
    """Who answered, when, and in how many seconds."""
    author = annotation.get("completed_by")
    if isinstance(author, dict):
        author = author.get("email") or author.get("id")
    return {"answered_by": None if author is None else str(author),
            "answered_at": str(annotation.get("updated_at") or annotation.get("created_at") or "") or None,
            "answer_seconds": number_of(annotation.get("lead_time"))}


def _short(task: dict[str, object], choice: str | None) -> tuple[dict[str, Value], dict[str, Value]]:
    """A task of JSON-MIN: the label is the text under the control's name, the only column that is none of its own."""
    image = next((name for name, value in task.items() if isinstance(value, str) and _is_image(
        value, is_named=name in _USUAL_IMAGES)), None)
    names = [choice] if choice else ["choice"] if "choice" in task else \
        [name for name, value in task.items() if name not in _SHORT and name != image and isinstance(value, str)]
    label = task.get(names[0]) if len(names) == 1 else None
    author = task.get("annotator")
    said = ("annotator", "created_at", "updated_at", "lead_time", "id", *names)
    extra = plain(task, (*said, image) if image else said)
    ours: dict[str, Value] = {"given_label": label if isinstance(label, str) else None}
    if "sample_id" in extra:
        ours["sample_id"] = str(extra.pop("sample_id"))
    return ours, {**extra, "answered_by": None if author is None else str(author),
                  "answered_at": str(task.get("updated_at") or task.get("created_at") or "") or None,
                  "answer_seconds": number_of(task.get("lead_time"))}


def is_ours(path: Path) -> bool:
    """Whether a file begins as Label Studio's do."""
    text = head(path)
    is_long = '"annotations"' in text and '"data"' in text
    return bool(_TASKS.search(text)) and (is_long or '"annotation_id"' in text or ('"annotator"' in text))


def is_here(place: Path) -> bool:
    """Whether a folder, or a JSON file, is Label Studio's."""
    return any(is_ours(path) for path in files_below(place, (".json",))[:20])


SOURCE = Source(
    title="Label Studio", load=load, is_root_file=True, recognises=is_here,
    help="A JSON export of Label Studio (JSON or JSON-MIN) of image classification, with who answered and when.",
    root_help="The exported JSON file, or the folder with it and the images.",
    options=(Option(name="choice", help="Name of the choices control (from_name) whose answers are the labels. "
                                        "Default: every one."),))
