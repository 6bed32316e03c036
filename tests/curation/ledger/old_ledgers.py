"""Ledgers in SQLite as older code left them, made by the statements of their time: the columns that git history shows.

    decisions  2026-11-23  ledger, batches, entries
    verdicts   2026-11-25  and verdicts
    index      2026-11-25  and an index on the samples of verdicts
    origin     2026-11-28  and the column origin of batches
    chain      2026-11-28  and chain, layouts: layout 2
"""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Literal, get_args

Age = Literal["decisions", "verdicts", "index", "origin", "chain"]
AGES: tuple[Age, ...] = get_args(Age)
CHAINED: tuple[Age, ...] = ("chain",)
_GUARDS = """
CREATE TRIGGER {0}_no_update BEFORE UPDATE ON {0} BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
CREATE TRIGGER {0}_no_delete BEFORE DELETE ON {0} BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
"""
_DECISIONS = """
CREATE TABLE ledger (ledger_id VARCHAR(32) NOT NULL, PRIMARY KEY (ledger_id));
CREATE TABLE batches (batch_id INTEGER NOT NULL, kind VARCHAR(16) NOT NULL, value TEXT, num_samples INTEGER NOT NULL,
  who TEXT NOT NULL, at VARCHAR(40) NOT NULL, why TEXT NOT NULL, view TEXT NOT NULL, run TEXT NOT NULL{origin},
  PRIMARY KEY (batch_id));
CREATE TABLE entries (batch_id INTEGER NOT NULL, sample_id TEXT NOT NULL, PRIMARY KEY (batch_id, sample_id))
  WITHOUT ROWID;
INSERT INTO ledger VALUES ('0123456789abcdef0123456789abcdef');
"""
_VERDICTS = """
CREATE TABLE verdicts (verdict_id INTEGER NOT NULL, audit TEXT NOT NULL, queue VARCHAR(16) NOT NULL,
  purpose VARCHAR(16) NOT NULL, sample_id TEXT NOT NULL, verdict VARCHAR(16) NOT NULL, label TEXT,
  given_label TEXT NOT NULL, suggested_label TEXT, previous_label TEXT, who TEXT NOT NULL, at VARCHAR(40) NOT NULL,
  seconds FLOAT, run TEXT, model TEXT, p_wrong FLOAT, batch INTEGER, key TEXT, retracts INTEGER,
  PRIMARY KEY (verdict_id), UNIQUE (key), UNIQUE (retracts));
"""
_CHAIN = """
CREATE TABLE chain (link_id INTEGER NOT NULL, kind VARCHAR(16) NOT NULL, row_id INTEGER NOT NULL,
  is_late BOOLEAN NOT NULL, digest VARCHAR(64) NOT NULL, PRIMARY KEY (link_id));
CREATE TABLE layouts (layout INTEGER NOT NULL, at VARCHAR(40) NOT NULL, PRIMARY KEY (layout));
INSERT INTO layouts VALUES (2, '2026-11-28T06:00:00.000+00:00');
"""
DIGESTS = ("f6ccd963e6c8e76ce72d0b14647eeb8f752678973763e858f211caa56a9cd769",
           "c8d520131a3c3a216a7f6f436e139154023b9e602e049c73f4d1b9bb4c3f4752",
           "60a5a55467e14a4a396adeb0ec61e151c1f8cb9a3272754addac43e770d86756",
           "b599609d775ea2e14c0ef4b9ade977409e3b55c340ad0df3eea796cb867f1381",
           "2c55bb9b5760e272a0a088a2d39acff607a3e74500eb3647084ae2a4b6a13d64")
"""The links that the code of that day made of these rows."""
_AT = "2026-11-23T06:00:00.000+00:00"


def make_old_ledger(path: Path, age: Age) -> None:
    """A ledger of that age with three batches (a pin of two samples, a relabel, an undo of the pin) and, where it has
    the table, two verdicts."""
    with closing(sqlite3.connect(path)) as connection:
        has_origin = age in ("origin", "chain")
        script = _DECISIONS.format(origin=", origin VARCHAR(16)" if has_origin else "")
        for table in ("batches", "entries"):
            script += _GUARDS.format(table)
        if age != "decisions":
            script += _VERDICTS + _GUARDS.format("verdicts")
        if age in ("index", "origin", "chain"):
            script += "CREATE INDEX ix_verdicts_sample_id ON verdicts (sample_id);"
        connection.executescript(script)
        rows = [(1, "pin", "validation", 2, "ada", _AT, "hard", "audit", ""),
                (2, "relabel", "dog", 1, "bob", _AT, "", "", "first"), (3, "undo", "1", 2, "ada", _AT, "", "", "")]
        marks = ",".join("?" * (10 if has_origin else 9))
        connection.executemany(f"INSERT INTO batches VALUES ({marks})",
                               [(*row, "person") if has_origin else row for row in rows])
        connection.executemany("INSERT INTO entries VALUES (?, ?)",
                               [(1, "train-00002"), (1, "train-00001"), (2, "train-00003")])
        if age != "decisions":
            connection.executemany(f"INSERT INTO verdicts VALUES ({','.join('?' * 19)})", [
                (number, "spring", "find", "main", f"train-{number:05d}", "given", "cat", "cat", "dog", None, "ada",
                 _AT, 1.5, "first", "", 0.25, 1, f"key {number}", None) for number in (1, 2)])
        if age == "chain":
            connection.executescript(_CHAIN + _GUARDS.format("chain") + _GUARDS.format("layouts"))
            rows = [("batch", 1), ("batch", 2), ("batch", 3), ("verdict", 1), ("verdict", 2)]
            connection.executemany("INSERT INTO chain VALUES (?, ?, ?, 0, ?)", [
                (link_id, *row, digest) for link_id, (row, digest) in enumerate(zip(rows, DIGESTS, strict=True), 1)])
        connection.commit()
