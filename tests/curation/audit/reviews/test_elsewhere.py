"""Answers given in other tools come back with their author and time, once, and what cannot be taken is said."""

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from curation.__main__ import main
from curation.audit.reviews.answers_file import AuditError
from curation.audit.reviews.elsewhere import read_elsewhere
from curation.exports.exporting import export
from curation.project import Project
from engine.contract.manifest import read_manifest
from tests.fakes import make_project, make_run

IDS = [f"train-{number:05}" for number in range(6)]


@pytest.fixture
def project(tmp_path: Path) -> Project:
    project = Project.open(make_project(tmp_path / "p", size=4))
    project.ledger().pin(IDS, "validation", who="ada")
    make_run(project)
    return project


def exported(project: Project, form: str, target: Path) -> Path:
    export(project, project.run("first"), "hard-validation", form, target)
    return target


def annotated(task: dict[str, Any], choices: list[str], who: object, at: str, **more: Any) -> dict[str, Any]:
    """A task as Label Studio exports it after an answer."""
    result = [{"id": "x", "type": "choices", "from_name": "label", "to_name": "image", "origin": "manual",
               "value": {"choices": choices}}]
    return {**task, "id": 7, "annotations": [{"id": 9, "completed_by": who, "result": result, "was_cancelled": False,
                                              "ground_truth": False, "created_at": at, "updated_at": at,
                                              "lead_time": 2.5, **more}]}


def test_answers_from_label_studio_come_back_with_author_and_time_and_only_once(project: Project, tmp_path: Path,
                                                                                capsys) -> None:
    tasks = json.loads((exported(project, "label-studio", tmp_path / "ls") / "tasks.json").read_text())
    of = {task["data"]["sample_id"]: task for task in tasks}
    given = read_manifest(project.path).set_index("sample_id")["given_label"]
    other = next(label for label in project.classes if label != given[IDS[1]])
    ada, at = {"id": 1, "email": "ada@example.com", "first_name": "A"}, "2026-11-04T18:50:53.017134Z"
    answers = [
        annotated(of[IDS[0]], [given[IDS[0]]], ada, at),
        annotated(of[IDS[1]], [other], 3, "2026-11-05T10:00:00+02:00"),
        annotated(of[IDS[2]], ["a class of theirs"], ada, at),
        annotated({"data": {"sample_id": "gone\x1b"}}, [other], ada, at),
        annotated(of[IDS[3]], ["cat", "dog"], ada, at),
        annotated(of[IDS[4]], ["cat"], ada, at, was_cancelled=True),
        annotated(of[IDS[5]], ["cat"], ada, "yesterday"),
        *tasks[10:]]
    (tmp_path / "export.json").write_text(json.dumps(answers))
    arguments = ["verdicts", str(project.path), "--file", str(tmp_path / "export.json"), "--by", "bob"]
    assert main(arguments) == 3
    out = capsys.readouterr().out
    assert out.count("not taken: task 7: ") == 4 and "\x1b" not in out
    for words in ("'gone", "got 'a class of theirs'", "got 'cat', 'dog'", "got 'yesterday'"):
        assert words in out
    rows = project.verdicts().rows()
    assert rows[["sample_id", "verdict", "label", "who", "at", "seconds"]].values.tolist() == [
        [IDS[0], "given", given[IDS[0]], "ada@example.com", "2026-11-04T18:50:53.017+00:00", 2.5],
        [IDS[1], "other", other, "label studio user 3", "2026-11-05T08:00:00.000+00:00", 2.5]]
    assert project.ledger().state().set_index("sample_id")["label"][IDS[1]] == other
    before = len(project.ledger().batches())
    (tmp_path / "again.json").write_text(json.dumps(answers, indent=1))
    assert main([*arguments[:3], str(tmp_path / "again.json"), "--by", "eve"]) == 3
    assert "(2 known already): 0 labels changed" in capsys.readouterr().out
    assert len(project.verdicts().rows()) == 2 and len(project.ledger().batches()) == before


def test_tags_changed_in_cvat_come_back_and_those_left_alone_do_not(project: Project, tmp_path: Path, capsys) -> None:
    path = exported(project, "cvat", tmp_path / "cvat") / "annotations.xml"
    tree = ElementTree.parse(path)
    task = tree.getroot().find("meta/task")
    ElementTree.SubElement(ElementTree.SubElement(task, "assignee"), "username").text = "carl"
    ElementTree.SubElement(task, "updated").text = "2026-11-06 08:00:00.123456+00:00"
    images = tree.getroot().findall("image")
    tag = images[0].find("tag")
    tag.set("label", other := next(label for label in project.classes if label != tag.get("label")))
    sample_id = tag.find("attribute[@name='sample_id']").text
    images[1].find("tag").remove(images[1].find("tag/attribute[@name='sample_id']"))
    tree.write(path)
    assert main(["verdicts", str(project.path), "--file", str(path)]) == 3
    out = capsys.readouterr().out
    assert f"passed over: {len(images) - 2} labels as they are" in out and "'no sample_id' is no training sample" in out
    assert project.verdicts().rows()[["sample_id", "label", "who", "at"]].values.tolist() == [
        [sample_id, other, "carl", "2026-11-06T08:00:00.123+00:00"]]
    assert main(["verdicts", str(project.path), "--file", str(path)]) == 3
    assert len(project.verdicts().rows()) == 1


def test_a_label_that_was_changed_here_since_the_export_is_no_answer(project: Project, tmp_path: Path) -> None:
    path = exported(project, "cvat", tmp_path / "cvat") / "annotations.xml"
    given = read_manifest(project.path).set_index("sample_id")["given_label"]
    samples = [{"sample_id": one, "exported_label": given[one], "last_modified_at": {"$date": 4102444800000},
                "ground_truth": {"_cls": "Classification", "label": given[one]}} for one in IDS]
    (tmp_path / "samples.json").write_text(json.dumps({"samples": samples}))
    for sample_id in IDS:
        other = next(label for label in project.classes if label != given[sample_id])
        project.ledger().relabel([sample_id], other, who="dora")
    for file in (path, tmp_path / "samples.json"):
        taken = read_elsewhere(project, file, who="fay", run="", audit="audit")
        assert taken.verdicts == [] and taken.refused == [] and taken.num_unchanged >= len(IDS)


def test_tags_and_labels_of_fiftyone_come_back(project: Project, tmp_path: Path) -> None:
    given = read_manifest(project.path).set_index("sample_id")["given_label"]
    other = next(label for label in project.classes if label != given[IDS[1]])

    def sample(sample_id: str, label: str, *tags: str) -> dict[str, Any]:
        return {"filepath": "data/x.png", "tags": list(tags), "sample_id": sample_id, "metadata": None,
                "last_modified_at": {"$date": 1762330000123},
                "ground_truth": {"_id": {"$oid": "0"}, "_cls": "Classification", "tags": [], "label": label}}

    samples = [sample(IDS[0], given[IDS[0]], "validation", "neither"), sample(IDS[1], other),
               sample(IDS[2], given[IDS[2]], "favourite"), sample(IDS[3], given[IDS[3]], "given")]
    (tmp_path / "samples.json").write_text(json.dumps({"samples": samples}))
    taken = read_elsewhere(project, tmp_path / "samples.json", who="fay", run="", audit="audit")
    assert [(one.sample_id, one.verdict, one.label, one.who) for one in taken.verdicts] == [
        (IDS[0], "neither", None, "fay"), (IDS[1], "other", other, "fay"), (IDS[3], "given", None, "fay")]
    assert taken.num_unchanged == 1 and taken.refused == []
    assert {one.at for one in taken.verdicts} == {"2025-11-05T08:06:40.123+00:00"}


def test_what_was_exported_to_fiftyone_comes_back_whichever_field_is_first(project: Project, tmp_path: Path) -> None:
    """FiftyOne writes a sample's fields in the order of its own schema."""
    document = json.loads((exported(project, "fiftyone", tmp_path / "fo") / "samples.json").read_text())
    samples = {one["sample_id"]: one for one in document["samples"]}
    label = samples[IDS[0]]["ground_truth"]["label"]
    other = next(name for name in project.classes if name != label)
    for one in samples.values():
        one["suggested"] = {"_cls": "Classification", "label": other}
    samples[IDS[0]]["ground_truth"] = {"_cls": "Classification", "label": other}
    samples[IDS[1]]["tags"].append("neither")
    (tmp_path / "samples.json").write_text(json.dumps({"samples": [dict(reversed(one.items()))
                                                                   for one in samples.values()]}))
    taken = read_elsewhere(project, tmp_path / "samples.json", who="fay", run="", audit="audit")
    assert [(one.sample_id, one.verdict, one.label) for one in taken.verdicts] == [
        (IDS[0], "other", other), (IDS[1], "neither", None)]
    assert taken.num_unchanged == len(samples) - 2 and taken.refused == []


def test_a_tag_that_is_no_answer_does_not_confirm_the_label(project: Project, tmp_path: Path) -> None:
    given = read_manifest(project.path).set_index("sample_id")["given_label"]
    other = next(label for label in project.classes if label != given[IDS[2]])
    samples = [{"sample_id": sample_id, "tags": tags, "last_modified_at": {"$date": at},
                "ground_truth": {"_cls": "Classification", "label": label}}
               for sample_id, tags, label, at in ((IDS[0], ["suggested"], given[IDS[0]], 1762330000123),
                                                  (IDS[1], ["other"], given[IDS[1]], 1762330000123),
                                                  (IDS[2], ["other"], other, 1762330000123),
                                                  (IDS[3], ["unsure"], given[IDS[3]], 10**18))]
    (tmp_path / "samples.json").write_text(json.dumps({"samples": samples}))
    taken = read_elsewhere(project, tmp_path / "samples.json", who="fay", run="", audit="audit")
    assert [(one.sample_id, one.verdict, one.label) for one in taken.verdicts] == [(IDS[2], "other", other)]
    assert [words in line for words, line in zip(("got 'suggested'", "the tag other", "ISO 8601"), taken.refused,
                                                 strict=True)] == [True] * 3


@pytest.mark.parametrize(("name", "text", "message"), [
    ("a.json", "{}", "is neither; export as JSON, not JSON-MIN"),
    ("a.json", "[" * 100_000, "must be a file of JSON or XML"),
    ("a.xml", "<annotations>", "must be a file of JSON or XML"),
    ("a.xml", "<!DOCTYPE a [<!ENTITY b 'c'>]><annotations/>", "have no DOCTYPE"),
    ("a.xml", "<html/>", "are those of 'CVAT for images'; got <html>"),
])
def test_what_is_no_file_of_these_tools_is_refused(project: Project, tmp_path: Path, name: str, text: str,
                                                   message: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(AuditError, match=message):
        read_elsewhere(project, tmp_path / name, who="ada", run="", audit="audit")


def test_a_task_of_another_shape_costs_a_line_at_most(project: Project, tmp_path: Path) -> None:
    odd = [None, 5, {}, {"annotations": 5}, {"data": [], "annotations": [None, {"result": "x"}]},
           {"data": {"sample_id": IDS[0]},
            "annotations": [{"result": [{"type": "choices", "value": {"choices": "x"}}]}]},
           {"data": {"sample_id": [IDS[0]]}, "annotations": [{"lead_time": "x", "result": []}]}]
    (tmp_path / "odd.json").write_text(json.dumps(odd))
    taken = read_elsewhere(project, tmp_path / "odd.json", who="ada", run="", audit="audit")
    assert taken.verdicts == [] and len(taken.refused) == 4
