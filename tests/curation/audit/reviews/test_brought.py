"""What people said elsewhere comes back once, in their names, and the newer word counts."""

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pandas as pd
import pytest

from curation.__main__ import main
from curation.audit.reviews.answers_file import AuditError
from curation.audit.reviews.brought import NO_CLASS, Brought, read_back, says, take
from curation.audit.reviews.reconcile import reconcile_all
from curation.exports.exporting import export
from curation.ledger import people
from curation.ledger.people import Person, RoleError
from curation.ledger.verdicts import Verdict
from curation.project import Project
from engine.contract.manifest import read_manifest
from tests.fakes import make_project

IDS = [f"train-{number:05}" for number in range(6)]
AT = "2026-11-04T18:50:53.000+00:00"


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project.open(make_project(tmp_path / "p", size=2))


@pytest.fixture
def other(project: Project) -> Callable[[str], str]:
    """A class that a sample is not given."""
    given = read_manifest(project.path).set_index("sample_id")["given_label"]
    return lambda sample_id: next(name for name in project.classes if name != given[sample_id])


def cvat(path: Path, tags: dict[str, tuple[str, str]], updated: str, user: str = "carl") -> Path:
    """A task as CVAT writes it: sample -> (label, label that it was exported with)."""
    images = "".join(
        f'<image name="{name}.png"><tag label="{label}"><attribute name="sample_id">{name}</attribute>'
        f'<attribute name="exported_label">{before}</attribute></tag></image>'
        for name, (label, before) in tags.items())
    path.write_text(f"<annotations><meta><task><assignee><username>{user}</username></assignee><updated>{updated}"
                    f"</updated></task></meta>{images}</annotations>")
    return path


def tasks(path: Path, answers: list[tuple[str, str, str, str]]) -> Path:
    """Label Studio's JSON: (sample, label, person, when)."""
    path.write_text(json.dumps([{"data": {"sample_id": sample_id}, "annotations": [{
        "completed_by": {"email": who}, "updated_at": at,
        "result": [{"type": "choices", "value": {"choices": [label]}}]}]} for sample_id, label, who, at in answers]))
    return path


def counts(found: Brought) -> tuple[int, int, int, int]:
    return found.num_new, found.num_same, found.num_older, len(found.against)


def back(project: Project, path: Path, who: str = "fay") -> Brought:
    return read_back(project, path, who=who, audit="audit")


def test_a_newer_export_of_the_same_answers_adds_none(project: Project, tmp_path: Path, other) -> None:
    """Another person says otherwise, so that the label in force stays another one than CVAT's."""
    first = other(IDS[0])
    given = read_manifest(project.path).set_index("sample_id")["given_label"][IDS[0]]
    take(project, back(project, tasks(tmp_path / "a.json", [(IDS[0], given, "ada", AT)])))
    for day in ("04", "05"):
        path = cvat(tmp_path / f"{day}.xml", {IDS[0]: (first, "before")}, f"2026-11-{day}T08:00:00+00:00")
        done = take(project, back(project, path))
        assert done.num_verdicts == (day == "04")
    assert len(project.verdicts().rows()) == 2 and project.ledger().batches().empty
    assert read_back(project, path, who="fay", audit="second").num_same == 1, "an audit begun since changes nothing"
    path = cvat(tmp_path / "06.xml", {IDS[0]: (given, "before")}, "2026-11-06T08:00:00+00:00")
    assert counts(back(project, path)) == (1, 0, 0, 0), "who changed it back means what is in force"


def test_of_a_persons_answers_the_newer_counts_in_whatever_order_they_come(project: Project, tmp_path: Path,
                                                                          other) -> None:
    newer = tasks(tmp_path / "new.json", [(IDS[0], other(IDS[0]), "ada", "2026-11-05T08:00:00Z")])
    given = read_manifest(project.path).set_index("sample_id")["given_label"]
    older = tasks(tmp_path / "old.json", [(IDS[0], given[IDS[0]], "ada", "2026-11-04T08:00:00Z")])
    take(project, back(project, newer))
    assert counts(back(project, older)) == (0, 0, 1, 0)
    both = tasks(tmp_path / "both.json", [(IDS[1], other(IDS[1]), "ada", "2026-11-05T08:00:00Z"),
                                          (IDS[1], given[IDS[1]], "ada", "2026-11-04T08:00:00Z")])
    take(project, back(project, both))
    assert project.ledger().state().set_index("sample_id")["label"][IDS[1]] == other(IDS[1])


def test_an_answer_that_was_taken_back_since_does_not_return(project: Project, tmp_path: Path, other) -> None:
    day = cvat(tmp_path / "a.xml", {IDS[0]: (other(IDS[0]), "before")}, "2026-11-04T08:00:00+00:00")
    take(project, back(project, day))
    project.verdicts().retract(1, "carl")
    reconcile_all(project)
    later = cvat(tmp_path / "b.xml", {IDS[0]: (other(IDS[0]), "before")}, "2026-11-05T08:00:00+00:00")
    assert counts(back(project, later)) == (0, 0, 1, 0)


def test_a_clock_that_is_ahead_does_not_silence_a_person_for_good(project: Project, tmp_path: Path, other) -> None:
    path = tasks(tmp_path / "a.json", [(IDS[0], other(IDS[0]), "ada", "2999-01-01T00:00:00Z")])
    take(project, back(project, path))
    assert project.verdicts().rows()["at"][0] < "2999"
    assert counts(back(project, path)) == (0, 1, 0, 0)
    given = read_manifest(project.path).set_index("sample_id")["given_label"][IDS[0]]
    again = tasks(tmp_path / "b.json", [(IDS[0], given, "ada", "2999-01-01T00:00:01Z")])
    assert counts(back(project, again)) == (1, 0, 0, 0)


def test_who_says_otherwise_is_told_and_decisions_bear_the_answers_author(project: Project, tmp_path: Path,
                                                                        other) -> None:
    given = read_manifest(project.path).set_index("sample_id")["given_label"]
    third = next(name for name in project.classes if name not in (given[IDS[1]], other(IDS[1])))
    project.ledger().relabel([IDS[1]], third, who="dora")
    take(project, back(project, tasks(tmp_path / "a.json", [(IDS[0], given[IDS[0]], "ada", AT)])))
    found = back(project, tasks(tmp_path / "b.json", [
        (IDS[0], other(IDS[0]), "bob", AT), (IDS[1], other(IDS[1]), "bob", AT), (IDS[2], other(IDS[2]), "bob", AT),
        (IDS[3], other(IDS[3]), "bob", AT), (IDS[3], given[IDS[3]], "eve", AT), ("gone", "cat", "bob", AT)]))
    assert (found.num_new, found.num_unknown, len(found.refused)) == (5, 1, 1)
    assert found.against == {
        (IDS[0], "bob"): f"ada: {given[IDS[0]]}", (IDS[1], "bob"): f"dora: {third}",
        (IDS[3], "bob"): f"eve: {given[IDS[3]]}", (IDS[3], "eve"): f"bob: {other(IDS[3])}"}
    done = take(project, found)
    assert done.labels.num_relabelled == 1, "the others are in dispute, or somebody decided later"
    batches = project.ledger().batches()
    assert (batches["who"][0], batches["value"][0]) == ("bob", other(IDS[2]))


def test_a_file_read_again_records_what_a_killed_program_left(project: Project, tmp_path: Path, other) -> None:
    path = tasks(tmp_path / "a.json", [(name, other(name), "ada", AT) for name in IDS[:2]])
    project.verdicts().add(back(project, path).verdicts[:1])  # killed between the log and the labels
    assert take(project, back(project, path)).num_verdicts == 1
    state = project.ledger().state().set_index("sample_id")["label"]
    assert [state[name] for name in IDS[:2]] == [other(name) for name in IDS[:2]]


def test_the_logs_own_table_comes_back_with_authors_without_what_was_taken_back(project: Project, tmp_path: Path, other,
                                                                              capsys) -> None:
    log = project.verdicts()
    first = Verdict(audit="audit", queue="find", sample_id=IDS[0], verdict="other", label=other(IDS[0]), who="=ada",
                    given_label=read_manifest(project.path).set_index("sample_id")["given_label"][IDS[0]], at=AT,
                    purpose="repeat")
    log.add([first, replace(first, who="bob", verdict="neither", label=None), replace(first, who="eve")])
    log.retract(3, "eve")
    assert main(["verdicts", str(project.path), "--out", str(tmp_path / "log.csv")]) == 0
    assert counts(back(project, tmp_path / "log.csv")) == (0, 2, 0, 0)
    fresh = Project.open(make_project(tmp_path / "q", size=2))
    found = back(fresh, tmp_path / "log.csv")
    assert [(one.who, one.at, one.purpose, says(one, fresh.classes)) for one in found.verdicts] == [
        ("=ada", AT, "repeat", other(IDS[0])), ("bob", AT, "repeat", NO_CLASS)]
    assert found.against == {(IDS[0], "=ada"): f"bob: {NO_CLASS}", (IDS[0], "bob"): f"=ada: {other(IDS[0])}"}
    capsys.readouterr()
    assert main(["verdicts", str(fresh.path), "--file", str(tmp_path / "log.csv")]) == 0
    assert main(["verdicts", str(fresh.path), "--file", str(tmp_path / "log.csv")]) == 0
    assert "2 verdicts by =ada, bob (2 known already)" in capsys.readouterr().out
    assert len(fresh.verdicts().rows()) == 2


@pytest.fixture
def corrected(project: Project, tmp_path: Path, other) -> Path:
    """An export of corrected labels: two relabels by ada, one by bob who also left one out."""
    ledger = project.ledger()
    ledger.relabel([IDS[0]], other(IDS[0]), who="ada", why="=seen twice")
    ledger.relabel([IDS[1]], other(IDS[1]), who="bob")
    ledger.exclude([IDS[2]], who="bob", why="blurred")
    export(project, None, "corrected-labels", "table", tmp_path / "out")
    return tmp_path / "out"


@pytest.mark.parametrize("name", ["corrected_labels.csv", "corrected_labels.parquet"])
def test_corrected_labels_of_another_project_come_back_as_decisions_of_their_authors(
        project: Project, corrected: Path, tmp_path: Path, other, name: str, capsys) -> None:
    assert counts(back(project, corrected / name)) == (0, 2 + name.endswith("parquet"), 0, 0)
    fresh = Project.open(make_project(tmp_path / "q", size=2))
    fresh.ledger().relabel([IDS[1]], next(one for one in fresh.classes if one != other(IDS[1])), who="dora")
    found = back(fresh, corrected / name)
    assert found.num_older == 1, "dora decided after bob"
    assert main(["verdicts", str(fresh.path), "--file", str(corrected / name)]) == 0
    assert "1 taken" in capsys.readouterr().out or name.endswith("parquet")
    batches = fresh.ledger().batches()
    relabel = batches[(batches["kind"] == "relabel") & (batches["who"] == "ada")].iloc[0]
    assert (relabel["value"], relabel["why"], relabel["num_samples"]) == (other(IDS[0]), "=seen twice", 1)
    state = fresh.ledger().state().set_index("sample_id")
    assert state["excluded"].to_dict().get(IDS[2], False) == name.endswith("parquet")
    before = len(batches)
    assert main(["verdicts", str(fresh.path), "--file", str(corrected / name)]) == 0
    assert len(fresh.ledger().batches()) == before


def test_of_a_sample_both_relabelled_and_left_out_the_relabel_comes_back_in_its_authors_name(
        project: Project, tmp_path: Path, other) -> None:
    project.ledger().exclude([IDS[0]], who="bob", why="blurred")
    project.ledger().relabel([IDS[0]], other(IDS[0]), who="ada", why="seen twice")
    export(project, None, "corrected-labels", "table", tmp_path / "out")
    fresh = Project.open(make_project(tmp_path / "q", size=2))
    found = back(fresh, tmp_path / "out/corrected_labels.parquet")
    assert [(one.label, one.who, one.why) for one in found.decisions] == [
        (other(IDS[0]), "ada", "seen twice"), (None, "fay", "")], "the file does not say who left it out"
    take(fresh, found)
    assert back(fresh, tmp_path / "out/corrected_labels.parquet").num_same == 2


def test_decisions_that_were_undone_since_do_not_return(project: Project, corrected: Path) -> None:
    for who in ("ada", "bob", "bob"):
        project.ledger().undo(who)
    found = back(project, corrected / "corrected_labels.parquet")
    assert counts(found) == (0, 0, 3, 0)


def test_of_two_rows_on_one_sample_the_first_counts_at_every_reading(project: Project, corrected: Path,
                                                                     tmp_path: Path) -> None:
    rows = pd.read_csv(corrected / "corrected_labels.csv", dtype=str, keep_default_na=False)
    relabelled = rows[rows["corrected_label"].ne(rows["given_label"]) & rows["corrected_label"].ne("")].head(1)
    (sample_id,), (label,) = relabelled["sample_id"], relabelled["corrected_label"]
    third = next(name for name in project.classes if name not in (label, relabelled["given_label"].iloc[0]))
    twice = tmp_path / "twice.csv"
    pd.concat([relabelled, relabelled.assign(corrected_label=third)]).drop(columns="at", errors="ignore").to_csv(
        twice, index=False)
    fresh = Project.open(make_project(tmp_path / "q", size=2))
    for num_new in (1, 0):
        found = read_back(fresh, twice, who="me", audit="audit")
        assert found.num_new == num_new and len(found.refused) == 1
        assert f"{sample_id!r} is decided in row" in found.refused[0]
        take(fresh, found)
    assert fresh.ledger().corrections().set_index("sample_id").at[sample_id, "label"] == label


def test_corrected_labels_of_other_data_are_refused_line_by_line(project: Project, corrected: Path, tmp_path: Path,
                                                                 other) -> None:
    rows = pd.read_csv(corrected / "corrected_labels.csv")
    rows.loc[len(rows)] = ["gone", "cat", "dog", "ada", AT, ""]
    rows.loc[len(rows)] = [IDS[3], "no such class", other(IDS[3]), "ada", AT, ""]
    rows.loc[len(rows)] = [IDS[4], read_manifest(project.path)["given_label"][4], "no class of ours", "ada", AT, ""]
    rows.loc[len(rows)] = [IDS[5], read_manifest(project.path)["given_label"][5], other(IDS[5]), "ada", "soon", ""]
    rows.to_csv(tmp_path / "odd.csv", index=False)
    found = back(project, tmp_path / "odd.csv")
    assert counts(found) == (0, 2, 0, 0) and found.num_unknown == 1
    for words, line in zip(("'gone' is no training sample", "'no such class' where the data now have",
                            "got 'no class of ours'", "ISO 8601; got 'soon'"), found.refused, strict=True):
        assert words in line and "\n" not in line


@pytest.mark.parametrize(("name", "content", "message"), [
    ("a.parquet", b"no parquet", "must be a whole CSV or Parquet file"),
    ("a.csv", b"x,y\n1,2\n", "must have the columns sample_id and verdict"),
    ("a.csv", b"", "must be a CSV of which each row can be read"),
    ("a.xml", '<?xml version="1.0" encoding="utf-16"?><!DOCTYPE a [<!ENTITY b "c">]><annotations/>'.encode("utf-16"),
     "have no DOCTYPE"),
    ("a.xml", b'<?xml version="1.0" encoding="nonsense"?><annotations/>', "must be a file of JSON or XML")])
def test_what_is_no_such_file_is_refused_in_one_line(project: Project, tmp_path: Path, name: str, content: bytes,
                                                     message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(AuditError, match=message) as caught:
        back(project, tmp_path / name)
    assert "\n" not in str(caught.value)


@pytest.fixture
def sign_in() -> Iterator[Callable[[str, people.Role], None]]:
    yield lambda name, role: people.identify_by(lambda: Person(name, role))
    people.identify_by(lambda: None)


def test_others_words_are_brought_back_by_an_owner_ones_own_by_a_reviewer(project: Project, corrected: Path,
                                                                        tmp_path: Path, other, sign_in) -> None:
    fresh = Project.open(make_project(tmp_path / "q", size=2))
    own = tasks(tmp_path / "own.json", [(IDS[0], other(IDS[0]), "ada", AT)])
    both = tasks(tmp_path / "both.json", [(IDS[3], other(IDS[3]), "bob", AT), (IDS[4], other(IDS[4]), "ada", AT)])
    sign_in("ada", "reviewer")
    assert take(fresh, back(fresh, own)).num_verdicts == 1
    for path in (both, corrected / "corrected_labels.csv"):
        with pytest.raises(RoleError, match="bringing back what other people said is for the role owner; ada is rev"):
            take(fresh, back(fresh, path))
    assert len(fresh.verdicts().rows()) == 1
    sign_in("olga", "owner")
    assert take(fresh, back(fresh, both)).num_verdicts == 2
    assert take(fresh, back(fresh, corrected / "corrected_labels.csv")).num_decisions == 1
    with pytest.raises(RoleError, match="by who is signed in; got another name"):
        fresh.verdicts().add(back(fresh, tasks(own, [(IDS[5], other(IDS[5]), "bob", AT)])).verdicts)


@pytest.mark.sqlite
def test_an_export_to_cvat_and_back_through_a_copy_of_the_project(project: Project, tmp_path: Path, other) -> None:
    """What is exported, changed there and brought back is the same in every copy of the project."""
    path = cvat(tmp_path / "a.xml", {name: (other(name), "before") for name in IDS[:3]}, AT)
    shutil.copytree(project.path, tmp_path / "copy")
    tree = ElementTree.parse(path)
    assert len(tree.getroot().findall("image")) == 3
    for one in (project, Project.open(tmp_path / "copy")):
        assert take(one, back(one, path)).labels.num_relabelled == 3
