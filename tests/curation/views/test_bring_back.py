"""Decide's way back for what people said elsewhere, through AppTest: a file, what it would bring, recorded once."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from curation.ledger import people
from curation.ledger.people import Person
from curation.project import Project
from tests import views
from tests.curation.audit.reviews.test_brought import AT, IDS, tasks
from tests.fakes import make_project

HOSTILE = "<img src=x onerror=alert(1)> *b* $x$"


@pytest.fixture
def pets(home: Path) -> Project:
    return Project.open(make_project(home / "pets", size=2))


@pytest.fixture
def signed_in() -> Iterator[Any]:
    yield lambda name, role: people.identify_by(lambda: Person(name, role))
    people.identify_by(lambda: None)


def opened(home: Path) -> Any:
    app = views.start(home, "decide")
    app.session_state["decide.bring.open"] = True
    return views.rerun(app)


def dropped(app: Any, name: str, content: bytes) -> Any:
    app.file_uploader(key="decide.bring.file").upload(name, content, "application/octet-stream")
    return views.rerun(app)


def metrics(app: Any) -> dict[str, str]:
    return {one.label: one.value for one in app.metric}


def other(project: Project, sample_id: str) -> str:
    given = project.manifest().set_index("sample_id")["given_label"][sample_id]
    return next(name for name in project.classes if name != given)


def test_a_file_is_previewed_then_recorded_once_in_its_authors_names(home: Path, pets: Project,
                                                                    tmp_path: Path) -> None:
    answers = [(name, other(pets, name), f"{HOSTILE} {name[-1]}", AT) for name in IDS[:3]]
    answers += [(IDS[0], "cat" if other(pets, IDS[0]) != "cat" else "dog", "eve", AT), ("gone", "cat", "eve", AT),
                (IDS[4], HOSTILE, "eve", AT)]
    content = tasks(tmp_path / "a.json", answers).read_bytes()
    app = dropped(opened(home), "../../a.json", content)
    shown = metrics(app)
    assert [shown[name] for name in ("New", "Known already", "Against another's word", "Unknown samples",
                                     "Cannot be taken")] == ["4", "0", "2", "1", "1"]
    assert pets.verdicts().rows().empty, "nothing is recorded by looking"
    rows = app.dataframe[0].value
    assert rows["who"].tolist().count("eve") == 1 and HOSTILE in rows["who"][0] and "eve: " in rows["otherwise"][0]
    assert app.button(key="decide.bring.take").label == "Record 4 answers"
    app.button(key="decide.bring.take").click()
    app = views.rerun(app)
    assert any("4 answers recorded" in toast.value for toast in app.toast)
    assert sorted(pets.verdicts().rows()["who"])[-1] == "eve" and len(pets.verdicts().rows()) == 4
    assert pets.ledger().batches()["who"].str.startswith("<img").all(), "labels that follow bear the answers' authors"
    assert metrics(app)["New"] == "0" and metrics(app)["Known already"] == "4"
    assert not [button for button in app.button if button.key == "decide.bring.take"]
    app = dropped(opened(home), "b.json", content + b"\n")
    assert metrics(app)["Known already"] == "4" and len(pets.verdicts().rows()) == 4


@pytest.mark.parametrize(("name", "content", "says"), [
    ("a.json", b"{", "answers must be a file of JSON or XML; a.json"),
    ("a.json", json.dumps({"x": 1}).encode(), "is neither; export as JSON, not JSON-MIN"),
    ("a.xml", b"<html/>", "are those of 'CVAT for images'"),
    ("a.parquet", b"PAR1", "must be a whole CSV or Parquet file; a.parquet"),
    ("a.csv", b"sample_id,verdict\nnone,given\n", "a.csv row 2: an answer is about a training sample; got 'none'")])
def test_what_is_no_such_file_is_one_line_and_records_nothing(home: Path, pets: Project, name: str, content: bytes,
                                                              says: str) -> None:
    app = dropped(opened(home), name, content)
    message = app.error[0].value.replace("\\", "")
    assert says in message and "\n" not in message and "/tmp" not in message
    assert pets.verdicts().rows().empty and not [one for one in app.button if one.key == "decide.bring.take"]


def test_who_answered_is_the_name_that_is_typed_where_the_file_does_not_say(home: Path, pets: Project) -> None:
    app = opened(home)
    app.text_input(key="decide.bring.who").set_value("olga")
    app = dropped(app, "a.csv", f"sample_id,verdict\n{IDS[0]},unsure\n".encode())
    app.button(key="decide.bring.take").click()
    views.rerun(app)
    assert pets.verdicts().rows()["who"].tolist() == ["olga"]


def test_what_others_said_is_an_owners_to_bring_back(home: Path, pets: Project, tmp_path: Path, signed_in) -> None:
    content = tasks(tmp_path / "a.json", [(IDS[0], other(pets, IDS[0]), "bob", AT)]).read_bytes()
    signed_in("ada", "reviewer")
    app = dropped(opened(home), "a.json", content)
    assert app.button(key="decide.bring.take").disabled
    assert any("is for the role owner; ada is reviewer" in one.value.replace("\\", "") for one in app.info)
    signed_in("olga", "owner")
    app = views.rerun(app)
    app.button(key="decide.bring.take").click()
    views.rerun(app)
    assert pets.verdicts().rows()["who"].tolist() == ["bob"]
