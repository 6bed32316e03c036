"""The ledger on PostgreSQL: what is foreign in it is refused, and a server that is cut off loses nothing it took."""

import json
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from curation.__main__ import main
from curation.doctor.chain import read_chain
from curation.ledger.batch import LedgerError
from curation.ledger.ledger import Ledger
from curation.ledger.verdicts import Verdict, VerdictLog
from curation.project import Project
from tests.clusters import Cluster, cluster
from tests.fakes import make_project

CLASSES = ("cat", "dog", "bird")
FOREIGN = [
    ("trigger", "CREATE FUNCTION more() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN INSERT INTO entries VALUES "
     "(NEW.batch_id, ''train-00009''); RETURN NEW; END'; CREATE TRIGGER twelve AFTER INSERT ON batches FOR EACH ROW "
     "EXECUTE FUNCTION more()", "DROP FUNCTION more CASCADE"),
    ("trigger", "CREATE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'; DROP TRIGGER "
     "batches_no_change ON batches; CREATE TRIGGER batches_no_change BEFORE INSERT ON batches FOR EACH ROW EXECUTE "
     "FUNCTION nothing()", "DROP FUNCTION nothing CASCADE; CREATE TRIGGER batches_no_change BEFORE UPDATE OR "
     "DELETE OR TRUNCATE ON batches FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"),
    ("rule", "CREATE RULE hide AS ON INSERT TO entries DO INSTEAD NOTHING", "DROP RULE hide ON entries"),
    ("view", "CREATE VIEW more AS SELECT * FROM batches", "DROP VIEW more"),
    ("relation", "CREATE MATERIALIZED VIEW more AS SELECT * FROM batches", "DROP MATERIALIZED VIEW more"),
    ("table", "CREATE TABLE note (text TEXT)", "DROP TABLE note"),
    ("table", "CREATE SCHEMA ada; CREATE TABLE ada.batches (LIKE public.batches)", "DROP SCHEMA ada CASCADE"),
    ("heir", "CREATE SCHEMA aside; CREATE TABLE aside.more () INHERITS (batches)", "DROP SCHEMA aside CASCADE"),
    ("index", "CREATE UNIQUE INDEX one_a_person ON batches (who)", "DROP INDEX one_a_person"),
    ("check", "ALTER TABLE batches ADD CONSTRAINT calls CHECK (length(who) > 0)",
     "ALTER TABLE batches DROP CONSTRAINT calls"),
    ("policy", "CREATE POLICY half ON entries USING (batch_id > 1)", "DROP POLICY half ON entries"),
]


@pytest.fixture(scope="module")
def server() -> Iterator[Cluster]:
    with cluster() as running:
        yield running


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project.open(make_project(tmp_path / "pets", num_train=60, num_clean=1, num_test=1, size=4))


def execute(url: str, *statements: str) -> None:
    engine = sa.create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)
    engine.dispose()


def test_anything_foreign_is_refused_in_one_line_and_left_alone(server: Cluster, project: Project) -> None:
    url = server.make("foreign")
    ledger, log = Ledger(url, project.decisions_path), VerdictLog(url, CLASSES)
    assert ledger.pin(["train-00001"], "train", "ada") == 1
    acts = (lambda: ledger.pin(["train-00002"], "train", "ada"), lambda: Ledger(url, project.decisions_path),
            lambda: log.rows(), lambda: ledger.state())
    for name, make, drop in FOREIGN:
        execute(url, make)
        for act in acts:
            with pytest.raises(LedgerError, match=f"a ledger holds our own tables, .* has the {name} '") as caught:
                act()
            assert "\n" not in str(caught.value)
        execute(url, drop)
        assert ledger.revision == 1 and len(ledger.history_of("train-00009")) == 0
    execute(url, "CREATE EXTENSION pg_freespacemap")  # what belongs to an extension is the database's own
    assert ledger.pin(["train-00002"], "train", "ada") == 2


def test_a_newer_layout_is_refused_in_one_line(server: Cluster, project: Project) -> None:
    url = server.make("newer")
    ledger = Ledger(url, project.decisions_path)
    execute(url, "INSERT INTO layouts VALUES (9, '')", "CREATE TABLE of_later (x int)")
    with pytest.raises(LedgerError, match="has layout 9, this version knows 3; update Whetstone"):
        ledger.pin(["train-00001"], "train", "ada")


def test_a_changed_row_is_found_by_its_chain(server: Cluster, project: Project) -> None:
    url = server.make("chained")
    ledger, log = Ledger(url, project.decisions_path), VerdictLog(url, CLASSES)
    for number in range(4):
        ledger.pin([f"train-{number:05d}", "train-00031"], "train", "Ada \u00e9\U0001f600", why="b a \u00c5")
    log.add([Verdict(audit="a", queue="find", sample_id="train-00001", verdict="given", given_label="cat", who="ada",
                     seconds=0.1 + 0.2, p_wrong=1e-17)])
    ledger.undo("Ada \u00e9\U0001f600")
    found = read_chain(url)
    assert len(found.digests) == 6 and found.breaks == ()
    execute(url, "ALTER TABLE batches DISABLE TRIGGER ALL", "UPDATE batches SET who = 'eve' WHERE batch_id = 2",
            "ALTER TABLE batches ENABLE TRIGGER ALL", "ALTER TABLE verdicts DISABLE TRIGGER ALL",
            "UPDATE verdicts SET p_wrong = 2e-17", "ALTER TABLE verdicts ENABLE TRIGGER ALL")
    assert read_chain(url).breaks == (("rewritten", "batch 2"), ("rewritten", "verdict 1"))


# -- cut off


class Writers:
    """Four who decide without pause, each with a snapshot of their own, from the beginning of a block to its end."""

    def __init__(self, url: str, project: Project, folder: Path) -> None:
        self.url, self.project, self.folder = url, project, folder
        self.taken: list[str] = []
        self.refused: list[tuple[str, str]] = []
        self._is_over = threading.Event()
        self._threads = [threading.Thread(target=self._write, args=(number,)) for number in range(4)]
        Ledger(url, project.decisions_path).pin(["train-00000"], "train", "ada")

    def __enter__(self) -> "Writers":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        for thread in self._threads:
            thread.join(60)

    def _write(self, number: int) -> None:
        folder = self.folder / f"writer{number}"
        folder.mkdir()
        shutil.copy(self.project.path / "manifest.parquet", folder)
        ids = [f"train-{i:05d}" for i in range(60)]
        for count in range(10_000):
            if self._is_over.is_set():
                return
            act = f"{number}/{count}"
            try:
                ledger = Ledger(self.url, folder / "decisions.parquet")
                ledger.exclude(ids[count % 60:][:2], bool(count % 2), "ada", act)
                self.taken.append(act)
            except LedgerError as error:
                self.refused.append((act, str(error)))
                time.sleep(0.05)

    def wait(self, is_so: Callable[[], bool]) -> None:
        until = time.monotonic() + 60
        while not is_so() and time.monotonic() < until:
            time.sleep(0.01)

    def check(self, num_refused: int) -> None:
        """Every act that was acknowledged is there once, none twice, and each refusal is one line."""
        ledger = Ledger(self.url, self.project.decisions_path)
        counts = ledger.batches()["why"].value_counts()
        assert len(self.taken) > 16 and [act for act in self.taken if counts.get(act) != 1] == []
        assert counts.drop("").max() == 1, "none is there twice, acknowledged or not"
        assert len(self.refused) >= num_refused
        assert all("\n" not in said and len(said) < 600 for _, said in self.refused)
        found = read_chain(self.url)
        assert found.breaks == () and len(found.digests) == ledger.revision == len(ledger.batches())


def test_a_server_cut_off_while_many_write_loses_and_doubles_nothing(server: Cluster, project: Project,
                                                                     tmp_path: Path) -> None:
    with Writers(server.make("cut_off"), project, tmp_path) as writers:
        for at in (8, 16):
            writers.wait(lambda at=at: len(writers.taken) >= at)
            num_refused = len(writers.refused)
            server.cut_off()
            writers.wait(lambda num=num_refused: len(writers.refused) > num)
            server.start()
        enough = len(writers.taken) + 4
        writers.wait(lambda: len(writers.taken) >= enough)
    writers.check(num_refused=2)


@pytest.mark.parametrize("end", ["terminate", "kill"])
def test_a_connection_that_ends_in_the_middle_of_a_write_loses_and_doubles_nothing(
        server: Cluster, project: Project, tmp_path: Path, end: str) -> None:
    """By the database's administrator, who ends that one alone; or by the kernel for want of memory, upon which
    PostgreSQL ends all the others too and recovers."""
    num_struck = 0
    with Writers(server.make(f"ends_by_{end}"), project, tmp_path) as writers:
        for strike in range(60):  # one that is ended by word may have committed before it hears it
            writers.wait(lambda at=6 * strike: len(writers.taken) > at)
            num_struck += server.strike(f"ends_by_{end}", end)
            if num_struck >= 2 and writers.refused:
                break
        enough = len(writers.taken) + 8
        writers.wait(lambda: len(writers.taken) >= enough)
    writers.check(num_refused=1)
    assert num_struck >= 2 and any("broke off" in said for _, said in writers.refused)


def test_a_command_says_in_one_line_that_the_server_is_gone(server: Cluster, project: Project,
                                                            monkeypatch: pytest.MonkeyPatch,
                                                            capsys: pytest.CaptureFixture[str]) -> None:
    url = server.make("gone")
    monkeypatch.setenv("WHETSTONE_LEDGERS", url)
    (project.path / "project.json").write_text(json.dumps({"ledger": url}))
    decide = ["decide", str(project.path), "exclude", "--id", "train-00001", "--by", "ada"]
    assert main(decide) == 0
    server.cut_off()
    capsys.readouterr()
    try:
        for command in (decide, ["decide", str(project.path), "list"], ["doctor", str(project.path)]):
            assert main(command) == 2
            said = capsys.readouterr()
            assert "the ledger must be a database that answers" in said.out + said.err
            assert said.err.count("\n") <= 1 and "Traceback" not in said.err
    finally:
        server.start()
    assert main(decide) == 0 and Project.open(project.path).ledger().revision == 2
