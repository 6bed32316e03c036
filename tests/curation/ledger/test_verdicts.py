"""The log of verdicts: append-only, counted once, taken back once, made in a database that had none before."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from curation.ledger import tables as ledger_tables
from curation.ledger import verdict_tables as tables
from curation.ledger.batch import LedgerError
from curation.ledger.verdict_tables import NewDraw
from curation.ledger.verdicts import VERDICTS, WRONG, Verdict, VerdictError, VerdictLog
from curation.project import Project
from tests.databases import refuses
from tests.fakes import make_project


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project.open(make_project(tmp_path / "p", num_train=20, size=4))


@pytest.fixture
def log(project: Project) -> VerdictLog:
    return project.verdicts()


def verdict(**changes) -> Verdict:
    return replace(Verdict(audit="a", queue="find", sample_id="train-00000", verdict="given", given_label="cat",
                           suggested_label="dog", who="ada"), **changes)


# -- adding


def test_a_verdict_comes_back_as_it_was_given(log: VerdictLog) -> None:
    assert log.revision == 0 and log.in_force().empty
    ids = log.add([verdict(verdict="other", label="bird", previous_label="cat", seconds=2.5, run="first", model="abc",
                           p_wrong=0.25, batch=3, purpose="overlap", key="k1", who="ada\n lovelace"),
                   verdict(sample_id="train-00001", queue="estimate", suggested_label=None, p_wrong=float("nan"))])
    assert ids == [1, 2] and log.revision == 2
    first, second = log.in_force().to_dict("records")
    at = first.pop("at")
    assert first == {
        "verdict_id": 1, "audit": "a", "queue": "find", "purpose": "overlap", "sample_id": "train-00000",
        "verdict": "other", "label": "bird", "given_label": "cat", "suggested_label": "dog", "previous_label": "cat",
        "who": "ada lovelace", "seconds": 2.5, "run": "first", "model": "abc", "p_wrong": 0.25, "batch": 3, "key": "k1",
        "retracts": None, "is_wrong": True}
    assert pd.Timestamp(at).utcoffset() == pd.Timedelta(0) and len(at) == len("2026-11-25T13:00:00.000+00:00")
    assert second["suggested_label"] is None and second["key"] is None
    assert pd.isna(second["p_wrong"]) and pd.isna(second["seconds"]) and second["batch"] is None


@pytest.mark.parametrize(("name", "label", "is_wrong"), [
    ("given", "cat", False), ("suggested", "dog", True), ("both", "cat", False), ("neither", None, True),
    ("unsure", None, None)])
def test_each_verdict_means_its_label_and_says_wrong_or_right(log: VerdictLog, name, label, is_wrong) -> None:
    log.add([verdict(verdict=name)])
    row = log.in_force().iloc[0]
    assert row["label"] == label if label else row["label"] is None
    assert row["is_wrong"] is is_wrong


def test_every_verdict_is_known_to_be_wrong_right_or_neither() -> None:
    assert set(WRONG) == set(VERDICTS)


@pytest.mark.parametrize(("changes", "message"), [
    ({"verdict": "yes"}, "verdict must be one of given, .*; got 'yes'"),
    ({"queue": "all"}, "queue must be one of find, estimate, adjudicate; got 'all'"),
    ({"purpose": "test"}, "purpose must be one of main, .*; got 'test'"),
    ({"sample_id": ""}, "must have a sample_id; got ''"),
    ({"given_label": None}, "must have a given_label; got None"),
    ({"audit": "../x"}, "a name must be 1 to 64 letters"),
    ({"who": " \n"}, "must say who"),
    ({"who": "x" * 3000}, "who may have 2000 characters"),
    ({"verdict": "other"}, "other must mean one of cat, dog, bird; got None"),
    ({"verdict": "other", "label": "horse"}, "other must mean one of cat, dog, bird; got 'horse'"),
    ({"verdict": "other", "label": "cat"}, "another class than the given one; got 'cat'"),
    ({"verdict": "suggested", "suggested_label": None}, "suggested must mean one of cat, dog, bird; got None"),
    ({"verdict": "given", "label": "dog"}, "a label is chosen with the verdict other; got 'dog' with given"),
    ({"verdict": "unsure", "label": "dog"}, "a label is chosen with the verdict other; got 'dog' with unsure"),
    ({"seconds": -1.0}, "seconds must be a number from 0 to inf"),
    ({"seconds": float("inf")}, "seconds must be a number from 0 to inf"),
    ({"p_wrong": 1.5}, "p_wrong must be a number from 0 to 1"),
    ({"batch": -1}, "numbered from 0; got -1"),
])
def test_a_bad_verdict_is_refused_in_one_line_and_the_good_one_beside_it_too(log, changes, message) -> None:
    with pytest.raises(LedgerError, match=message) as caught:
        log.add([verdict(), verdict(**changes)])
    assert "\n" not in str(caught.value)
    assert log.revision == 0


def test_a_verdict_sent_twice_counts_once(log: VerdictLog) -> None:
    assert log.add([verdict(key="x")]) == [1]
    assert log.add([verdict(key="y"), verdict(key="x"), verdict(key="y"), verdict()]) == [2, 1, 2, 3]
    assert log.add([verdict(), verdict()]) == [4, 5]  # without a key there is no telling them apart
    assert list(log.in_force()["verdict_id"]) == [1, 2, 3, 4, 5]


def test_audits_are_kept_apart_and_in_order(log: VerdictLog) -> None:
    log.add([verdict(), verdict(audit="b"), verdict(who="bob")])
    assert list(log.in_force("a")["verdict_id"]) == [1, 3]
    assert list(log.in_force("b")["verdict_id"]) == [2]
    assert log.in_force("c").empty and len(log.in_force()) == 3


def test_the_rows_on_one_sample_are_those_of_all_with_their_retractions(log: VerdictLog) -> None:
    log.add([verdict(), verdict(sample_id="train-00001"), verdict(who="bob", audit="b"), verdict(verdict="neither")])
    log.retract(1, "ada")
    every = log.rows()
    pd.testing.assert_frame_equal(log.rows(sample_id="train-00000"),
                                  every[every["sample_id"] == "train-00000"].reset_index(drop=True))
    assert list(log.in_force(sample_id="train-00000")["verdict_id"]) == [3, 4]
    assert list(log.in_force("a", "train-00000")["verdict_id"]) == [4]
    assert log.in_force(sample_id="train-00002").empty


def test_adding_none_is_no_error(log: VerdictLog) -> None:
    assert log.add([]) == [] and log.revision == 0


# -- taking back


def test_a_verdict_taken_back_is_out_of_force_and_says_who_did_it(log: VerdictLog) -> None:
    log.add([verdict(), verdict(who="bob")])
    assert log.retract(1, "bob") == 3
    assert list(log.in_force()["verdict_id"]) == [2]
    last = log.rows().iloc[-1]
    assert (last["verdict"], last["retracts"], last["who"], last["sample_id"]) == ("retract", 1, "bob", "train-00000")
    assert last["is_wrong"] is None and len(log.rows()) == 3


@pytest.mark.parametrize(("verdict_id", "message"),
                         [(1, "1 is taken back already"), (9, "9 is none"), (2, "2 is none")])
def test_a_verdict_is_taken_back_once_and_a_retraction_never(log: VerdictLog, verdict_id: int, message: str) -> None:
    log.add([verdict()])
    log.retract(1, "ada")
    with pytest.raises(VerdictError, match=message) as caught:
        log.retract(verdict_id, "ada")
    assert "\n" not in str(caught.value) and log.revision == 2


def test_a_retraction_says_who_and_sent_twice_with_its_key_is_one(log: VerdictLog) -> None:
    log.add([verdict()])
    with pytest.raises(LedgerError, match="must say who"):
        log.retract(1, "")
    assert log.retract(1, "ada", key="r") == log.retract(1, "ada", key="r") == 2


# -- the database


@pytest.mark.parametrize("statement", ["UPDATE verdicts SET verdict = 'given'", "DELETE FROM verdicts"])
def test_the_database_refuses_to_change_the_past(project: Project, log: VerdictLog, statement: str) -> None:
    log.add([verdict()])
    refuses(project.database, statement)
    assert len(log.in_force()) == 1


PROGRAM = """
import sys
from curation.project import Project
from curation.ledger.verdicts import Verdict
project = Project.open(sys.argv[1])
project.ledger().pin(["train-00002"], "train", sys.argv[2])
log = project.verdicts()
for i in range(5):
    log.add([Verdict(audit="a", queue="find", sample_id=f"train-{i:05d}", verdict="given", given_label="cat",
                     who=sys.argv[2], key=f"shared-{i}"),
             Verdict(audit="a", queue="find", sample_id=f"train-{i:05d}", verdict="given", given_label="cat",
                     who=sys.argv[2], key=f"{sys.argv[2]}-{i}")])
"""


def test_processes_that_open_it_at_once_make_one_table_and_lose_nothing(project: Project) -> None:
    names = ["ada", "bob", "eve", "kim"]
    running = [subprocess.Popen([sys.executable, "-c", PROGRAM, str(project.path), name], stderr=subprocess.PIPE)
               for name in names]
    errors = [process.communicate(timeout=100)[1] for process in running]
    assert [process.returncode for process in running] == [0] * 4, errors
    frame = project.verdicts().in_force()
    assert list(frame["verdict_id"]) == list(range(1, 26))  # 5 shared keys, 5 of each
    assert sorted(frame["key"]) == sorted([f"{name}-{i}" for name in [*names, "shared"] for i in range(5)])


def test_a_database_that_cannot_be_written_is_reported_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(LedgerError, match="file and folder must be there and writable") as caught:
        VerdictLog(tmp_path / "nowhere" / "ledger.sqlite", ("cat", "dog"))
    assert "\n" not in str(caught.value)
    with pytest.raises(LedgerError, match="SQLite file or a database URL"):
        VerdictLog("nodriver://x", ("cat", "dog"))


def test_statements_compile_for_postgresql() -> None:
    text = str(sa.schema.CreateTable(tables.VERDICT_ROWS).compile(dialect=postgresql.dialect()))
    assert "UNIQUE (key)" in text and "UNIQUE (retracts)" in text


def test_a_thousand_retractions_among_twenty_thousand_verdicts_are_heeded(project: Project, log: VerdictLog) -> None:
    log.add([verdict(sample_id=f"s{i}", key=f"k{i}") for i in range(20_000)])
    with ledger_tables.transaction(log._engine, is_write=True) as connection:  # a thousand retractions in one go
        tables.append(connection, [{**dict.fromkeys(tables.COLUMNS), "verdict_id": 20_001 + i, "verdict": "retract",
                                    "who": "ada", "at": "", "audit": "a", "queue": "find", "purpose": "main",
                                    "sample_id": f"s{i}", "given_label": "cat", "retracts": 1 + i}
                                   for i in range(1000)])
    frame = log.in_force("a")
    assert len(frame) == 19_000 and frame["verdict_id"].iloc[0] == 1001


def test_what_was_let_go_of_and_is_drawn_again_is_noted_again(log: VerdictLog) -> None:
    draw = NewDraw("estimate-1", "ada", ("train-00002",))
    for _ in range(2):
        log.add_draws("a", [draw])
    assert [one.is_released for one in log.draws()] == [False], "noted already"
    log.release_draws([1], "ada")
    log.add_draws("a", [draw])
    assert [one.is_released for one in log.draws()] == [True, False]
