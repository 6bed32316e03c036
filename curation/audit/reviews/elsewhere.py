"""Answers given in Label Studio (its JSON), FiftyOne (samples.json of a FiftyOneDataset) or CVAT ('CVAT for images'
XML), on samples that an export of ours brought there.

A sample is known by the `sample_id` that the export gave along. Label Studio says who answered and when, CVAT whose
task it was, FiftyOne neither. In these two each picture bears a label that nobody may have looked at: there a label
counts where it differs from the one it was exported with (exported_label; where that is not said, from the one in
force), and a tag where it is a verdict. Logs nothing.
"""

import json
import math
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from xml.etree import ElementTree

from curation.audit.reviews.answers_file import AuditError, samples_named, utc
from curation.ledger.batch import LedgerError
from curation.ledger.verdicts import VERDICTS, Verdict, VerdictName, checked_row
from curation.project import Project
from curation.sources.formats.cvat import has_document_type
from curation.tables.json_items import number_of
from curation.tables.report import as_utf8

SUFFIXES = (".json", ".xml")
"""Of files that are read here; any other is a CSV (curation.audit.reviews.answers_file)."""
TAGS: tuple[VerdictName, ...] = ("given", "both", "neither", "unsure")
"""Verdicts that need no class."""
_KEYS = uuid.UUID("b7a4c2d9-3f0e-4f0b-9a52-0c6a5b2f6a1e")
MAX_BYTES = 2**31
_LABEL = "ground_truth"
"""FiftyOne's usual field of the label, which ours is; without it the first Classification."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """One answer as the other tool has it."""

    place: str
    """Where it stands in the file."""
    sample_id: str | None
    labels: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    who: str | None = None
    at: str | None = None
    """ISO 8601; None: the file does not say."""
    seconds: float | None = None
    is_act: bool = True
    """Whether somebody gave it; else it counts only where it is not the label of `exported`."""
    exported: str | None = None
    """The label that the sample was exported with; None: the file does not say, and it is taken for the one in force.
    """


@dataclass(frozen=True, kw_only=True, slots=True)
class Taken:
    """What a file's answers come to."""

    verdicts: list[Verdict]
    """Oldest first, each with a key of its own, so that reading them again adds nothing."""
    refused: list[str] = field(default_factory=list)
    """A line an answer that names no sample or class of the project, or says nothing that a verdict can."""
    num_unknown: int = 0
    """Of these, those that name no training sample."""
    num_unchanged: int = 0
    """Labels that are those exported, and that nobody is known to have looked at."""


def read_elsewhere(project: Project, path: Path, *, who: str, run: str, audit: str) -> Taken:
    """The answers in a file of another tool. who: where it does not say. Raises AuditError for what is no such file."""
    answers = list(_answers(path))
    table = samples_named(project, (answer.sample_id or "" for answer in answers), "given_label", "current_label")
    found: list[Verdict] = []
    refused: list[str] = []
    num_unchanged = num_unknown = 0
    for answer in answers:
        if answer.sample_id not in table.index:
            refused.append(f"{answer.place}: {answer.sample_id or 'no sample_id'!r} is no training sample here")
            num_unknown += 1
            continue
        given, current = (str(table.at[answer.sample_id, name]) for name in ("given_label", "current_label"))
        if not answer.is_act and not answer.tags and answer.labels in ((), (answer.exported or current,)):
            num_unchanged += 1
            continue
        try:
            verdict, label = _meaning(answer, given, project.classes)
            made = Verdict(audit=audit, queue="find", sample_id=str(answer.sample_id), verdict=verdict, label=label,
                           given_label=given, previous_label=current, who=answer.who or who, run=run,
                           at=utc(answer.at), seconds=answer.seconds)
            checked_row(made, project.classes)
        except (AuditError, LedgerError) as error:
            refused.append(f"{answer.place}: {error}")
            continue
        found.append(_keyed(made))
    return Taken(verdicts=sorted(found, key=lambda one: one.at or ""), refused=refused, num_unknown=num_unknown,
                 num_unchanged=num_unchanged)


def _meaning(answer: Answer, given: str, classes: tuple[str, ...]) -> tuple[VerdictName, str | None]:
    """(verdict, label of the verdict other). Raises AuditError for what is no one class and no tag of TAGS: suggested,
    which is none, must not pass for the label that the picture bears."""
    said = [name for name in dict.fromkeys(answer.tags) if name != "other"]
    known = [name for name in TAGS if name in said]
    if len(said) == len(known) == 1:
        return known[0], None
    if said or len(answer.labels) != 1:
        raise AuditError(f"an answer is one class or one tag of {', '.join(TAGS)}; got "
                         f"{', '.join(map(repr, said or answer.labels)) or 'none'}; answer it anew")
    label = answer.labels[0]
    if label not in classes:
        raise AuditError(f"a label must be one of the {len(classes)} classes; got {label!r}")
    if label == given and answer.tags:
        raise AuditError(f"the tag other goes with another class than the given one; got {label!r}; choose a class")
    return ("given", None) if label == given else ("other", label)


def _keyed(verdict: Verdict) -> Verdict:
    """With a key made of what it says, so that a later export of the same answer is known. Without a time two equal
    answers are one."""
    parts = (verdict.audit, verdict.who, verdict.sample_id, verdict.verdict, verdict.label or "", verdict.at or "")
    return replace(verdict, key=str(uuid.uuid5(_KEYS, "\0".join(parts))))


# -- the formats


def _answers(path: Path) -> Iterator[Answer]:
    """Every answer in a file. Raises AuditError for what is no file of these tools."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise AuditError(f"a file of answers may have {MAX_BYTES:,} bytes; {path} has more; export fewer tasks")
        if path.suffix.lower() == ".xml":
            if has_document_type(path):
                raise AuditError(f"answers in XML have no DOCTYPE; {path} has one; export them from CVAT anew")
            yield from _cvat(ElementTree.fromstring(path.read_bytes()))
            return
        document = json.loads(path.read_bytes())
    except (OSError, ValueError, LookupError, RecursionError, ElementTree.ParseError) as error:
        if isinstance(error, AuditError):
            raise
        short = " ".join(str(error).split())[:120]
        raise AuditError(f"answers must be a file of JSON or XML; {path}: {short}; export them anew") from error
    readers: tuple[tuple[bool, Callable[..., Iterator[Answer]]], ...] = (
        (isinstance(document, list), _label_studio),
        (isinstance(document, dict) and isinstance(document.get("samples"), list), _fiftyone))
    reader = next((reader for fits, reader in readers if fits), None)
    if reader is None:
        raise AuditError(f"answers in JSON are Label Studio's (a list of tasks) or FiftyOne's (samples.json); {path} "
                         "is neither; export as JSON, not JSON-MIN")
    yield from reader(document)


def _label_studio(tasks: list[object]) -> Iterator[Answer]:
    """Annotations of tasks that were not skipped; an annotation without a choice says nothing."""
    for number, task in enumerate(map(_object, tasks), start=1):
        sample_id = _text(_object(task.get("data")).get("sample_id"))
        annotations = task.get("annotations")
        for annotation in map(_object, annotations if isinstance(annotations, list) else []):
            if annotation.get("was_cancelled"):
                continue
            author = annotation.get("completed_by")
            who = _text(_object(author).get("email")) or _text(_object(author).get("username")) or (
                f"label studio user {author}" if isinstance(author, int) else None)
            result = annotation.get("result")
            labels = tuple(str(label) for one in map(_object, result if isinstance(result, list) else [])
                           if one.get("type") == "choices"
                           for label in _list(_object(one.get("value")).get("choices")))
            seconds = number_of(annotation.get("lead_time"))
            yield Answer(place=f"task {task.get('id', number)}", sample_id=sample_id, labels=labels, who=who,
                         at=_text(annotation.get("updated_at")) or _text(annotation.get("created_at")),
                         seconds=seconds if seconds is not None and 0 <= seconds < math.inf else None)


def _fiftyone(document: dict[str, object]) -> Iterator[Answer]:
    """Tags and labels of samples, as `dataset.export(..., dataset_type=fo.types.FiftyOneDataset)` writes them."""
    for number, sample in enumerate(map(_object, _list(document["samples"])), start=1):
        fields = {name: _text(_object(value).get("label")) for name, value in sample.items()
                  if _object(value).get("_cls") == "Classification"}
        labels = [fields[_LABEL]] if _LABEL in fields else list(fields.values())
        changed = _object(sample.get("last_modified_at")).get("$date")
        at = _time_of(changed) if isinstance(changed, int) else _text(changed)
        yield Answer(place=f"sample {number}", sample_id=_text(sample.get("sample_id")), at=at, is_act=False,
                     exported=_text(sample.get("exported_label")),
                     labels=tuple(label for label in labels[:1] if label),
                     tags=tuple(tag for tag in map(str, _list(sample.get("tags"))) if tag in VERDICTS))


def _time_of(milliseconds: int) -> str:
    """Since the epoch, as ISO 8601; of what is no such time, the number."""
    try:
        return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat()
    except (ValueError, OverflowError, OSError):
        return str(milliseconds)


def _cvat(root: ElementTree.Element) -> Iterator[Answer]:
    """Tags of images; a task's assignee, else its owner, answers for all of it."""
    if root.tag != "annotations":
        raise AuditError(f"answers in XML are those of 'CVAT for images'; got <{root.tag}>; export them from CVAT so")
    who = root.findtext(".//task/assignee/username") or root.findtext(".//task/owner/username")
    at = root.findtext(".//task/updated")
    for image in root.iter("image"):
        tags = [tag for tag in image.findall("tag") if tag.get("label")]
        said = {attribute.get("name"): attribute.text for tag in tags[::-1] for attribute in tag.findall("attribute")
                if attribute.text}
        yield Answer(place=f"image {image.get('name')}", sample_id=said.get("sample_id"), who=who, at=at,
                     is_act=False, labels=tuple(str(tag.get("label")) for tag in tags),
                     exported=said.get("exported_label"))


def _object(value: object) -> dict[str, object]:
    return value if isinstance(value, dict) else {}


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else []


def _text(value: object) -> str | None:
    return as_utf8(value) if isinstance(value, str) and value else None
