"""Every reader of JSON of other tools, on documents with anything in them: no traceback; each item of a document that
can be parsed is a sample or is reported as lost; a valid one is read whole."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.audit.reviews.answers_file import AuditError
from curation.audit.reviews.elsewhere import read_elsewhere
from curation.project import Project
from curation.sources.recognise import recognise
from tests.curation.cases.anything import NUM, SAME, Document, changed, each_changed, names, read, spliced
from tests.fakes import make_project


def coco(num: int = NUM) -> Document:
    return {"images": [{"id": idx, "file_name": name, "width": 6, "height": 5} for idx, name in enumerate(names(num))],
            "annotations": [{"id": idx, "image_id": idx, "category_id": idx % 2, "bbox": [0, 0, 6, 5],
                             "attributes": {"sample_id": f"s{idx}", "weight": 0.5}} for idx in range(num)],
            "categories": [{"id": 0, "name": "cat"}, {"id": 1, "name": "dog"}]}


def label_studio(num: int = NUM) -> Document:
    return [{"id": idx, "data": {"image": f"/data/upload/1/{idx:08x}-{name}", "shop": "north"}, "drafts": [],
             "annotations": [{"completed_by": {"email": "ada@example.org"}, "lead_time": 1.5, "was_cancelled": False,
                              "created_at": "2026-01-02T03:04:05Z", "result": [
                                  {"type": "choices", "from_name": "kind", "value": {"choices": ["cat"]}}]}]}
            for idx, name in enumerate(names(num))]


def label_studio_short(num: int = NUM) -> Document:
    return [{"id": idx, "image": f"/data/local-files/?d={name}", "choice": "dog", "annotator": 3, "annotation_id": idx,
             "lead_time": 2} for idx, name in enumerate(names(num))]


def fiftyone(num: int = NUM) -> Document:
    return {"name": "d", "samples": [
        {"filepath": name, "tags": ["train", "odd"], "metadata": None, "score": 0.5,
         "ground_truth": {"_cls": "Classification", "label": "cat"},
         "other": {"_cls": "Classification", "label": "dog", "confidence": 0.25}} for name in names(num)]}


def fiftyone_labels(num: int = NUM) -> Document:
    return {"classes": ["cat", "dog"], "labels": {name[:-4]: idx % 2 for idx, name in enumerate(names(num))}}


def datumaro(num: int = NUM) -> Document:
    return {"info": {}, "categories": {"label": {"labels": [{"name": "cat"}, {"name": "dog"}]}}, "items": [
        {"id": name[:-4], "annotations": [{"type": "label", "label_id": idx % 2, "attributes": {"by": "ada"}}],
         "image": {"path": name}} for idx, name in enumerate(names(num))]}


def _list_of(name: str) -> Callable[[Document], int]:
    """How many items a document has under a name."""
    def count(document: Document) -> int:
        found = document.get(name) if isinstance(document, dict) else None
        return len(found) if isinstance(found, list) else 0
    return count


@dataclass(frozen=True, kw_only=True, slots=True)
class Format:
    source: str
    file: str
    make: Callable[..., Document]
    num_items: Callable[[Document], int]
    lists: tuple[str, ...] = ("",)
    """What holds the things of which each may be anything; "" for the document itself."""


FORMATS = {
    "COCO": Format(source="coco", file="labels.json", make=coco, num_items=_list_of("images"),
                   lists=("images", "annotations")),
    "Label Studio": Format(source="labelstudio", file="export.json", make=label_studio,
                           num_items=lambda one: len(one) if isinstance(one, list) else 0),
    "Label Studio, short": Format(source="labelstudio", file="export.json", make=label_studio_short,
                                  num_items=lambda one: len(one) if isinstance(one, list) else 0),
    "FiftyOneDataset": Format(source="fiftyone", file="samples.json", make=fiftyone,
                              num_items=_list_of("samples"), lists=("samples",)),
    "FiftyOne's labels": Format(
        source="fiftyone", file="labels.json", make=fiftyone_labels, lists=("labels",),
        num_items=lambda one: len(one["labels"]) if isinstance(one, dict) and isinstance(one.get("labels"), dict)
        else 0),
    "Datumaro": Format(source="datumaro", file="train.json", make=datumaro, num_items=_list_of("items"),
                       lists=("items",)),
}



@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "d").mkdir()
    return tmp_path / "d"


@pytest.mark.parametrize("name", FORMATS)
def test_a_valid_document_is_read_whole(folder: Path, name: str) -> None:
    (folder / FORMATS[name].file).write_text(json.dumps(FORMATS[name].make()))
    assert recognise(folder)[0].source == FORMATS[name].source
    found = read(FORMATS[name].source, folder)
    assert found is not None and found[0] == set(range(1, NUM + 1)) and not found[1]


@pytest.mark.parametrize(("name", "of"), [(name, of) for name, one in FORMATS.items() for of in one.lists])
def test_each_value_of_an_item_may_be_anything(folder: Path, name: str, of: str) -> None:
    one = FORMATS[name]
    document = each_changed(one.make, of)
    (folder / one.file).write_text(json.dumps(document))
    found = read(one.source, folder)
    assert found is not None, "the others are whole"
    assert not set(range(1, one.num_items(document) + 1)) - found[0] - found[1]


@pytest.mark.parametrize("name", FORMATS)
@SAME
@given(st.data())
def test_each_item_is_a_sample_or_lost(folder: Path, name: str, data: st.DataObject) -> None:
    one = FORMATS[name]
    document = changed(data, one.make())
    (folder / one.file).write_text(json.dumps(document))
    found = read(one.source, folder)
    if found is not None:
        kept, lost, problems = found
        assert not set(range(1, one.num_items(document) + 1)) - kept - lost, problems.table().to_pylist()
        assert kept <= set(range(1, one.num_items(document) + 1))


@pytest.mark.parametrize("name", FORMATS)
@SAME
@given(st.data(), st.booleans())
def test_any_bytes_are_read_or_refused_in_one_line(folder: Path, name: str, data: st.DataObject,
                                                   is_random: bool) -> None:
    one = FORMATS[name]
    content = json.dumps(one.make()).encode()
    (folder / one.file).write_bytes(data.draw(st.binary(max_size=60)) if is_random else spliced(data, content))
    read(one.source, folder)
    read(one.source, folder / one.file)


# -- answers


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return Project.open(make_project(tmp_path_factory.mktemp("answers") / "p", size=4))


def answered(num: int = NUM) -> Document:
    document = label_studio(num)
    for idx, task in enumerate(document):
        task["data"]["sample_id"] = f"train-{idx:05}"
    return document


def tagged(num: int = NUM) -> Document:
    document = fiftyone(num)
    for idx, sample in enumerate(document["samples"]):
        sample |= {"sample_id": f"train-{idx:05}", "tags": ["given"] if idx else [],
                   "last_modified_at": {"$date": 10**12}}
    return document


@pytest.mark.parametrize(("make", "of"), [(answered, ""), (tagged, "samples")])
def test_each_value_of_an_answer_may_be_anything(project: Project, folder: Path, make: Callable[..., Document],
                                                 of: str) -> None:
    (folder / "answers.json").write_text(json.dumps(each_changed(make, of)))
    taken = read_elsewhere(project, folder / "answers.json", who="ada", run="", audit="anything")
    assert taken.verdicts and taken.refused
    project.verdicts().add(taken.verdicts)


@pytest.mark.parametrize("make", [answered, tagged])
@SAME
@given(st.data())
def test_each_answer_is_taken_or_refused(project: Project, folder: Path, make: Callable[..., Document],
                                         data: st.DataObject) -> None:
    document = changed(data, make())
    (folder / "answers.json").write_text(json.dumps(document))
    try:
        taken = read_elsewhere(project, folder / "answers.json", who="ada", run="", audit="audit")
    except AuditError as error:
        assert "\n" not in str(error)
        return
    if isinstance(document, list):
        tasks = [one for one in document if isinstance(one, dict)]
        num = sum(isinstance(one, dict) and not one.get("was_cancelled") for task in tasks
                  for one in (task.get("annotations") if isinstance(task.get("annotations"), list) else ()))
    else:
        num = len(document["samples"])
    assert len(taken.verdicts) + len(taken.refused) + taken.num_unchanged >= num
