"""The ledger: append-only, exact undo, several writers, a snapshot that only moves forward, a journal that replays."""

import json
import sqlite3
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from curation.ledger import renewal, tables
from curation.ledger.batch import LedgerError
from curation.ledger.journal import JournalError, replay_journal, write_journal
from curation.ledger.ledger import Ledger
from curation.project import Project
from engine.contract.manifest import read_decisions, read_manifest
from tests.databases import refuses
from tests.fakes import make_project, write_manifest

IDS = [f"train-{i:05d}" for i in range(60)]
CLASSES = ("cat", "dog", "bird")


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project.open(make_project(tmp_path / "p", size=4))


@pytest.fixture
def ledger(project: Project) -> Ledger:
    return project.ledger()


def as_records(state: pd.DataFrame) -> dict[str, dict[str, object]]:
    """A state by sample id, nulls as None."""
    return {row["sample_id"]: {k: None if pd.isna(v) else v for k, v in row.items()}
            for row in state.to_dict("records")}


def naive_state(decisions: list[tuple[str, str | None, list[str], str, str]]) -> dict[str, dict[str, object]]:
    """An oracle of its own: one decision after the other, one sample after the other."""
    state: dict[str, dict[str, object]] = {}
    for kind, value, ids, who, why in decisions:
        for sample_id in ids:
            row = state.setdefault(sample_id, {"sample_id": sample_id, "pin": None, "excluded": False, "label": None})
            if kind == "pin":
                row["pin"], row["excluded"] = value, row["excluded"] and value is None
            elif kind == "exclude":
                row["excluded"] = value == "excluded"
                row["pin"] = None if row["excluded"] else row["pin"]
            else:
                row["label"] = value
            row["who"], row["why"] = who, why
    return {k: v for k, v in state.items() if v["pin"] or v["excluded"] or v["label"]}


def without_time(state: pd.DataFrame) -> dict[str, dict[str, object]]:
    records = as_records(state)
    for row in records.values():
        row.pop("at")
    return records


# -- deciding


def test_a_decision_shows_in_state_and_in_the_file_the_engine_reads(project: Project, ledger: Ledger) -> None:
    ledger.pin(IDS[:2], "validation", "ada", why="blurred")
    ledger.exclude(IDS[2:3], who="bob")
    ledger.relabel([IDS[0]], "bird", "bob", why="a bird")

    state = as_records(ledger.state())
    assert set(state) == set(IDS[:3])
    assert (state[IDS[0]]["pin"], state[IDS[0]]["label"], state[IDS[0]]["who"]) == ("validation", "bird", "bob")
    assert (state[IDS[1]]["pin"], state[IDS[1]]["why"]) == ("validation", "blurred")
    assert state[IDS[2]]["excluded"] is True and state[IDS[2]]["pin"] is None
    decisions = read_decisions(project.decisions_path).set_index("sample_id")
    assert decisions.loc[IDS[0], "label"] == "bird" and bool(decisions.loc[IDS[2], "excluded"])
    assert decisions.loc[[IDS[1]], "label"].isna().all()


def test_taking_back_every_field_leaves_the_sample_undecided(ledger: Ledger) -> None:
    ledger.pin(IDS[:1], "train", "ada")
    ledger.pin(IDS[:1], None, "ada")
    ledger.exclude(IDS[:1], who="ada")
    ledger.exclude(IDS[:1], False, who="ada")
    assert ledger.state().empty and ledger.revision == 4


def test_batches_are_newest_first_and_say_who_when_and_why(ledger: Ledger) -> None:
    ledger.pin(IDS[:5], "validation", "ada", why="two\nlines", view="explore", run="first")
    ledger.undo_batch(1, "bob")
    rows = ledger.batches()
    assert list(rows["batch_id"]) == [2, 1] and list(rows["kind"]) == ["undo", "pin"]
    assert list(rows["is_undone"]) == [False, True]
    pin = rows.iloc[1]
    assert (pin["who"], pin["why"], pin["view"], pin["run"], pin["num_samples"]) == (
        "ada", "two lines", "explore", "first", 5)
    assert pd.Timestamp(pin["at"]).tzinfo is not None and pin["at"].endswith("+00:00")
    assert rows.iloc[0]["value"] == "1"


def test_history_of_a_sample_has_its_own_batches_and_their_undo_alone(ledger: Ledger) -> None:
    ledger.pin(IDS[:2], "validation", "ada")
    ledger.pin(IDS[1:3], "train", "ada")
    ledger.undo("ada")
    assert list(ledger.history_of(IDS[0])["batch_id"]) == [1]
    assert list(ledger.history_of(IDS[2])["kind"]) == ["undo", "pin"]
    assert ledger.history_of("nobody").empty


@pytest.mark.parametrize(("act", "message"), [
    (lambda ledger: ledger.pin([], "train", "ada"), "at least one sample"),
    (lambda ledger: ledger.pin(IDS[:1], "test", "ada"), "must be to one of validation, train or None; got 'test'"),
    (lambda ledger: ledger.pin([IDS[0], "zebra"], "train", "ada"), "1 of 2 are none, first 'zebra' .not in the man"),
    (lambda ledger: ledger.pin(["test-00000"], "train", "ada"), "first 'test-00000' .of another split"),
    (lambda ledger: ledger.relabel(IDS[:1], "horse", "ada"), "one of cat, dog, bird; got 'horse'"),
    (lambda ledger: ledger.exclude(IDS[:1]), "must say who"),
    (lambda ledger: ledger.pin(IDS[:1], "train", "ada", why="x" * 3000), "why may have 2000 characters; got 3000"),
    (lambda ledger: ledger.undo_batch(7, "ada"), "one of the ledger's 0; got 7"),
])
def test_a_wrong_decision_is_refused_in_one_line_and_changes_nothing(ledger: Ledger, act, message: str) -> None:
    with pytest.raises(LedgerError, match=message) as caught:
        act(ledger)
    assert "\n" not in str(caught.value)
    assert ledger.revision == 0 and ledger.batches().empty


@pytest.mark.parametrize("statement", ["UPDATE batches SET why = 'x'", "DELETE FROM batches",
                                       "UPDATE entries SET sample_id = 'x'", "DELETE FROM entries"])
def test_the_database_refuses_to_change_the_past(project: Project, ledger: Ledger, statement: str) -> None:
    ledger.pin(IDS[:2], "train", "ada")
    refuses(project.database, statement)


# -- undo and redo


def test_undo_and_redo_survive_a_restart_and_a_new_decision_clears_redo(project: Project) -> None:
    first = project.ledger().pin(IDS[:2], "validation", "ada")
    second = project.ledger().relabel(IDS[:1], "dog", "ada")
    assert project.ledger().undo("ada") == second
    assert project.ledger().undo("ada") == first
    assert project.ledger().undo("ada") is None
    assert project.ledger().redo("ada") == first
    project.ledger().exclude(IDS[5:6], who="ada")
    assert project.ledger().redo("ada") is None
    assert set(as_records(project.ledger().state())) == {IDS[0], IDS[1], IDS[5]}


def test_undoing_an_undo_is_redo_and_a_batch_is_undone_once(ledger: Ledger) -> None:
    pin = ledger.pin(IDS[:2], "validation", "ada")
    ledger.exclude(IDS[3:4], who="ada")
    before = as_records(ledger.state())
    assert ledger.undo_batch(pin, "bob") == pin
    assert set(as_records(ledger.state())) == {IDS[3]}
    with pytest.raises(LedgerError, match="batch 1 is undone already"):
        ledger.undo_batch(pin, "bob")
    undo = int(ledger.batches()["batch_id"].iloc[0])
    assert ledger.undo_batch(undo, "bob") == pin
    assert as_records(ledger.state()) == before
    with pytest.raises(LedgerError, match="batch 3 is undone already"):
        ledger.undo_batch(undo, "bob")
    assert list(ledger.batches()["kind"]) == ["redo", "undo", "exclude", "pin"]


def test_undo_takes_the_newest_decision_even_after_an_older_one_came_back(ledger: Ledger) -> None:
    first, second = ledger.pin(IDS[:1], "train", "ada"), ledger.pin(IDS[1:2], "train", "ada")
    assert ledger.undo_batch(first, "ada") == first and ledger.redo("ada") == first
    assert ledger.undo("ada") == second and ledger.redo("ada") == second
    assert ledger.undo("ada") == second and ledger.undo("ada") == first


def test_undo_takes_back_ones_own_last_act_and_never_anothers(ledger: Ledger) -> None:
    own = ledger.pin(IDS[:2], "validation", "ada")
    others = ledger.relabel(IDS[:1], "dog", "bob")
    found = ledger.next_undo(" ada ")
    assert found is not None and found["batch_id"] == own
    assert ledger.undo("ada") == own, "bob's decision is newer, and not hers"
    assert set(as_records(ledger.state())) == {IDS[0]} and ledger.undo("ada") is None
    assert ledger.redo("bob") is None, "she undid it, not he"
    ledger.exclude(IDS[9:10], who="bob")
    assert ledger.redo("ada") == own, "another's new decision forgets nothing of hers"
    assert ledger.undo("cid") is None and ledger.next_undo("cid") is None
    assert ledger.undo_batch(others, "ada") == others and ledger.redo("ada") == others, "by its number anyone's"


def test_a_pin_and_an_exclusion_replace_each_other(project: Project, ledger: Ledger) -> None:
    ledger.pin(IDS[:2], "validation", "ada")
    ledger.exclude(IDS[:1], who="ada")
    state = as_records(ledger.state())
    assert (state[IDS[0]]["pin"], state[IDS[0]]["excluded"]) == (None, True)
    ledger.pin(IDS[:1], "train", "ada")
    state = as_records(ledger.state())
    assert (state[IDS[0]]["pin"], state[IDS[0]]["excluded"]) == ("train", False)
    ledger.pin(IDS[:1], None, "ada")
    assert set(as_records(ledger.state())) == {IDS[1]}, "unpinning brings no exclusion back"
    ledger.exclude(IDS[1:2], who="ada")
    ledger.exclude(IDS[1:2], False, who="ada")
    assert ledger.state().empty, "nor does taking back in bring a pin"
    assert [ledger.undo("ada"), ledger.undo("ada")] == [6, 5]
    assert as_records(ledger.state())[IDS[1]]["pin"] == "validation", "undo does"


def test_an_older_file_of_a_sample_both_pinned_and_excluded_resolves_to_the_last(project: Project,
                                                                                 ledger: Ledger) -> None:
    ledger.pin(IDS[:1], "validation", "ada")
    ledger.exclude(IDS[1:2], who="ada")
    ledger.exclude(IDS[:1], who="ada")
    table = pq.read_table(project.decisions_path)
    stamp = json.loads(table.schema.metadata[b"whetstone_ledger"])
    del stamp["fold"]
    both = pa.array(["validation" if i == IDS[0] else None for i in table["sample_id"].to_pylist()], pa.string())
    table = table.set_column(table.column_names.index("pin"), "pin", both)
    pq.write_table(table.replace_schema_metadata({b"whetstone_ledger": json.dumps(stamp)}), project.decisions_path)

    assert as_records(project.ledger().state())[IDS[0]]["pin"] is None
    assert read_decisions(project.decisions_path)["pin"].isna().all(), "what the engine reads as well"


def random_decision(rng: np.random.Generator, step: int) -> tuple[str, str | None, list[str], str, str]:
    kind = str(rng.choice(["pin", "exclude", "relabel"]))
    values: list[str | None] = {"pin": ["validation", "train", None], "exclude": ["excluded", "included"],
                                "relabel": [*CLASSES, None]}[kind]
    ids = sorted(rng.choice(IDS[:12], size=rng.integers(1, 6), replace=False).tolist())
    return kind, values[rng.integers(len(values))], ids, str(rng.choice(["ada", "bob"])), f"step {step}"


def take(ledger: Ledger, decision: tuple[str, str | None, list[str], str, str]) -> int:
    kind, value, ids, who, why = decision
    if kind == "exclude":
        return ledger.exclude(ids, value == "excluded", who, why)
    return (ledger.pin if kind == "pin" else ledger.relabel)(ids, value, who, why)


@pytest.mark.parametrize("seed", range(2))
def test_random_histories_undo_exactly(tmp_path: Path, seed: int) -> None:
    """Against two oracles: an editor that keeps whole states on stacks, and a naive replay of what is in force."""
    rng = np.random.default_rng(seed)
    project = Project.open(make_project(tmp_path / "p", num_train=12, num_clean=0, num_test=0, size=2))
    ledger = project.ledger()
    done: list[tuple[int, tuple]] = []
    undone: list[tuple[int, tuple]] = []
    states = [as_records(ledger.state())]  # states[i]: after the first i of `done`
    redo_states: list[dict] = []
    for step in range(30):
        choice = rng.random()
        if choice < 0.42:
            decision = (*random_decision(rng, step)[:3], "ada", f"step {step}")
            done.append((take(ledger, decision), decision))
            states.append(as_records(ledger.state()))
            undone, redo_states = [], []
        elif choice < 0.72:
            assert ledger.undo("ada") == (done[-1][0] if done else None)
            if done:
                undone.append(done.pop())
                redo_states.append(states.pop())
        else:
            assert ledger.redo("ada") == (undone[-1][0] if undone else None)
            if undone:
                done.append(undone.pop())
                states.append(redo_states.pop())
        assert as_records(ledger.state()) == states[-1], f"step {step}"
        assert without_time(ledger.state()) == naive_state([decision for _, decision in done]), f"step {step}"
        if step % 10 == 0:
            ledger = project.ledger()
    assert ledger.revision >= 15


def test_undoing_any_batch_equals_a_naive_replay_without_it(tmp_path: Path) -> None:
    rng = np.random.default_rng(100)
    ledger = Project.open(make_project(tmp_path / "p", num_train=12, num_clean=0, num_test=0, size=2)).ledger()
    taken: dict[int, tuple] = {}
    in_force: set[int] = set()
    for step in range(25):
        if not in_force or rng.random() < 0.6:
            decision = random_decision(rng, step)
            batch_id = take(ledger, decision)
            taken[batch_id] = decision
            in_force.add(batch_id)
        else:
            batch_id = int(rng.choice(sorted(in_force)))
            assert ledger.undo_batch(batch_id, "ada") == batch_id
            in_force.remove(batch_id)
            if rng.random() < 0.4:
                assert ledger.redo("ada") == batch_id
                in_force.add(batch_id)
        assert without_time(ledger.state()) == naive_state([taken[i] for i in sorted(in_force)])


# -- several processes, one snapshot

WORKER = """
import sys
from curation.project import Project
ledger = Project.open(sys.argv[1]).ledger()
for i in range(8):
    ledger.pin([f"train-{int(sys.argv[2]) * 8 + i:05d}"], "validation", "worker " + sys.argv[2])
"""


def test_processes_deciding_at_once_lose_nothing(project: Project) -> None:
    workers = [subprocess.Popen([sys.executable, "-c", WORKER, str(project.path), str(i)]) for i in range(2)]
    assert [worker.wait(timeout=60) for worker in workers] == [0, 0]
    ledger = project.ledger()
    assert ledger.revision == 16 and list(ledger.batches()["batch_id"]) == list(range(16, 0, -1))
    assert list(read_decisions(project.decisions_path)["sample_id"]) == IDS[:16]
    assert ledger.batches()["who"].value_counts().to_dict() == {f"worker {i}": 8 for i in range(2)}


def test_an_older_state_never_replaces_a_newer_snapshot(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """A slow process appends batch 1; before it writes the snapshot, another appends batch 2 and writes."""
    slow, fast = project.ledger(), project.ledger()
    original, is_current = Ledger._renew_snapshot, renewal.is_current
    looks = iter([False])  # slow looks before fast has written, then waits for the lock
    monkeypatch.setattr(renewal, "is_current",
                        lambda path, stamp: is_current(path, stamp) and next(looks, True))

    def late(self: Ledger, batch: dict | None = None, sample_ids: np.ndarray | None = None,
             is_recorded: bool = False) -> None:
        if self is slow:
            fast.pin(IDS[1:2], "train", "fast")
        original(self, batch, sample_ids, is_recorded)

    monkeypatch.setattr(Ledger, "_renew_snapshot", late)
    slow.pin(IDS[:1], "validation", "slow")
    assert list(read_decisions(project.decisions_path)["sample_id"]) == IDS[:2]
    stamp = json.loads(pq.read_schema(project.decisions_path).metadata[b"whetstone_ledger"])
    assert stamp["revision"] == slow.revision == 2, "the file says which revision it is"
    assert set(as_records(slow.state())) == set(IDS[:2])


def test_a_snapshot_lost_between_commit_and_rewrite_is_made_up_on_opening(project: Project, ledger: Ledger,
                                                                          monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as crash:
        crash.setattr(Ledger, "_renew_snapshot", lambda *args, **named: None)
        ledger.pin(IDS[:3], "validation", "ada")
    assert not project.decisions_path.exists()
    assert list(ledger.state()["sample_id"]) == IDS[:3]
    project.ledger()
    assert list(read_decisions(project.decisions_path)["sample_id"]) == IDS[:3]


@pytest.mark.parametrize("damage", ["gone", "empty", "a bit", "text", "half"])
def test_a_damaged_snapshot_is_made_anew_with_one_line(project: Project, ledger: Ledger, damage: str,
                                                       caplog: pytest.LogCaptureFixture) -> None:
    ledger.pin(IDS[:3], "validation", "ada")
    whole, sound = as_records(ledger.state()), project.decisions_path.read_bytes()
    project.decisions_path.unlink()
    if damage != "gone":
        project.decisions_path.write_bytes({
            "empty": b"", "a bit": sound[:60] + bytes([sound[60] ^ 1]) + sound[61:], "text": b"not a table",
            "half": sound[:len(sound) // 2]}[damage])
    assert as_records(ledger.state()) == whole, "what is in force is the ledger's"
    assert as_records(project.ledger().state()) == whole and project.decisions_path.read_bytes() == sound
    assert len(caplog.messages) == 1 and "\n" not in caplog.text.strip()
    assert f"was {'missing' if damage == 'gone' else 'damaged'}" in caplog.text
    assert "it was made anew from the ledger" in caplog.text
    project.ledger()
    assert len(caplog.messages) == 1


@pytest.mark.sqlite
def test_a_damaged_snapshot_is_not_replaced_by_an_empty_ledger(project: Project, ledger: Ledger) -> None:
    ledger.pin(IDS[:3], "validation", "ada")
    for file in project.path.glob("ledger.sqlite*"):
        file.unlink()
    project.decisions_path.write_bytes(b"damaged")
    with pytest.raises(LedgerError, match="the ledger has none to make it of; bring back the ledger"):
        project.ledger()
    assert project.decisions_path.read_bytes() == b"damaged"


@pytest.mark.sqlite
def test_decisions_of_another_ledger_are_not_overwritten(project: Project, ledger: Ledger) -> None:
    ledger.pin(IDS[:3], "validation", "ada")
    for file in project.path.glob("ledger.sqlite*"):
        file.unlink()
    with pytest.raises(LedgerError, match="written by another; bring that ledger back, or move the file away"):
        project.ledger()
    assert len(read_decisions(project.decisions_path)) == 3


def test_what_is_recorded_is_never_reported_as_refused(project: Project, ledger: Ledger,
                                                       monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(*_: object) -> None:
        raise LedgerError("the database is gone")

    with monkeypatch.context() as context:
        context.setattr("curation.ledger.ledger.renew", gone)
        assert ledger.pin(IDS[:1], "train", "ada") == 1 and ledger.snapshot_problem == "the database is gone"
        assert ledger.undo("ada") == 1 and ledger.snapshot_problem == "the database is gone"
        with pytest.raises(LedgerError, match="the database is gone"):
            project.ledger()
    assert project.ledger().revision == 2 and project.ledger().snapshot_problem == ""


@pytest.mark.sqlite
def test_a_damaged_ledger_is_reported_in_one_line(project: Project) -> None:
    (project.path / "ledger.sqlite").write_bytes(b"this is no database, not at all" * 100)
    with pytest.raises(LedgerError, match="a database that answers; .*file is not a database") as caught:
        project.ledger()
    assert "\n" not in str(caught.value)


def test_a_label_that_is_no_class_any_longer_is_out_of_force_until_it_comes_back(project: Project,
                                                                                 ledger: Ledger) -> None:
    ledger.relabel(IDS[:1], "bird", "ada")
    rows = read_manifest(project.path)
    write_manifest(project.path, rows, ("cat", "dog"), "images")
    assert project.ledger().state().empty and read_decisions(project.decisions_path).empty
    write_manifest(project.path, rows, CLASSES, "images")
    assert list(read_decisions(project.decisions_path)["sample_id"]) == []
    assert list(project.ledger().state()["label"]) == ["bird"]
    assert list(read_decisions(project.decisions_path)["label"]) == ["bird"]


# -- databases


def test_thirty_thousand_ids_take_one_quick_batch(tmp_path: Path) -> None:
    ids = [f"s{i:06d}" for i in range(30_000)]
    rows = pd.DataFrame({"sample_id": ids, "path": "a.png", "given_label": "cat", "split": "train"})
    write_manifest(tmp_path, rows, CLASSES, ".")
    ledger = Ledger(tmp_path / "ledger.sqlite", tmp_path / "decisions.parquet")
    ledger.pin(ids, "validation", "ada")
    ledger.exclude(ids[::2], who="ada")
    state = ledger.state()
    assert len(state) == 30_000 and int(state["excluded"].sum()) == 15_000
    assert ledger.undo("ada") == 2 and not ledger.state()["excluded"].any()


@pytest.mark.sqlite
def test_statements_compile_for_postgresql_and_sqlite_has_its_settings(project: Project, ledger: Ledger) -> None:
    for table in tables.META.sorted_tables:
        assert "ROWID" not in str(sa.schema.CreateTable(table).compile(dialect=postgresql.dialect()))
    assert "WITHOUT ROWID" in str(sa.schema.CreateTable(tables.ENTRIES).compile(dialect=sqlite.dialect()))
    lock = sa.select(tables.LEDGER).with_for_update()
    assert "FOR UPDATE" in str(lock.compile(dialect=postgresql.dialect()))
    ledger.pin(IDS[:1], "train", "ada")
    with sqlite3.connect(project.path / "ledger.sqlite") as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    connection.close()


def test_a_database_without_its_driver_is_refused_in_one_line(project: Project) -> None:
    with pytest.raises(LedgerError, match="whose driver is installed"):
        Ledger("nosuchdatabase://host/name", project.decisions_path)


# -- the journal


def test_a_journal_replays_onto_a_reimported_project_and_reports_what_vanished(tmp_path: Path, project: Project,
                                                                               ledger: Ledger) -> None:
    ledger.pin([IDS[0], IDS[59]], "validation", "ada", why="=1+1")
    ledger.relabel(IDS[:1], "bird", "bob")
    ledger.undo("bob")
    ledger.redo("bob")
    assert write_journal(ledger, tmp_path / "journal.jsonl") == 4

    again = Project.open(make_project(tmp_path / "again", num_train=50, size=4))
    report = replay_journal(again.ledger(), tmp_path / "journal.jsonl")
    assert (report.num_batches, report.num_decisions) == (4, 3)
    assert report.vanished[["sample_id", "kind", "reason"]].values.tolist() == [
        [IDS[59], "pin", "no such training sample now"]]
    assert as_records(again.ledger().state()) == as_records(ledger.state())
    pd.testing.assert_frame_equal(again.ledger().batches(), ledger.batches())
    with pytest.raises(LedgerError, match="onto an empty ledger; this one has 4 batches"):
        replay_journal(again.ledger(), tmp_path / "journal.jsonl")


def journal_lines(*changes: dict[str, object]) -> list[str]:
    """A good header and one line a change, each over a good pin of one sample."""
    good = {"kind": "pin", "value": "train", "num_samples": 1, "who": "ada", "at": "2026-11-23T06:00:00.000+00:00",
            "why": "", "view": "", "run": "", "sample_ids": [IDS[0]]}
    lines = [json.dumps({"format": "whetstone journal", "version": 1, "classes": []})]
    return lines + [json.dumps({"batch_id": i, **good, **change}) for i, change in enumerate(changes, start=1)]


@pytest.mark.parametrize(("lines", "message"), [
    ([], "is empty"),
    (['{"format": "other"}'], "line 1: the first line must say 'whetstone journal', version 1"),
    (journal_lines({}, {})[:2] + ["{"], "line 3: Expecting property name"),
    (journal_lines({}, {"batch_id": 7}), "line 3: batch_id must be 2; got 7"),
    (journal_lines({"kind": "drop"}), "kind and value must be those of a decision; got 'drop', 'train'"),
    (journal_lines({"value": "test"}), "got 'pin', 'test'"),
    (journal_lines({}, {"kind": "undo", "value": "2"}), "undo must name a decision that is in force; got '2'"),
    (journal_lines({}, {"kind": "redo", "value": "1"}), "redo must name a decision that is undone; got '1'"),
    (journal_lines({"sample_ids": ["a", "a"]}), "distinct"),
    (journal_lines({"who": None}), "must be texts"),
    (journal_lines({"at": "yesterday"}), "Invalid isoformat string: 'yesterday'"),
])
def test_a_wrong_journal_is_refused_whole(tmp_path: Path, ledger: Ledger, lines: list[str], message: str) -> None:
    path = tmp_path / "journal.jsonl"
    path.write_text("".join(line + "\n" for line in lines))
    with pytest.raises(JournalError, match=message):
        replay_journal(ledger, path)
    assert ledger.revision == 0
