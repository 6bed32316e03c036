"""Whether decisions.parquet, which trainings read, is the ledger's state of now. Repairs nothing; needs no SQLAlchemy.

A process that dies between a decision's commit and the rewrite of the file leaves it one decision behind, until the
ledger is next opened. Databases elsewhere (PostgreSQL) are not asked: who queues a run there opens the ledger before.
"""

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

import pyarrow.parquet as pq

from engine.contract.disk.seals import check_seal
from engine.contract.inside import is_inside
from engine.contract.manifest import DECISIONS_NAME, LEDGER_KEY, ManifestError, read_info

LEDGER_NAME = "ledger.sqlite"
WAIT_SECONDS = 20.0


def refuse_stale(project: Path) -> None:
    """Raises ManifestError, one line with what to do, where a training would begin under other decisions than those in
    force."""
    if reason := staleness(project):
        raise ManifestError(f"a training begins under the decisions in force; {reason}; bring {DECISIONS_NAME} up to "
                            f"date with `python -m curation decide {project} list`, then do this again")


def staleness(project: Path) -> str:
    """Why decisions.parquet is not what the ledger says; "" where it is, where there is no ledger, or where that is
    no SQLite file of the project."""
    ledger = _ledger(Path(project))
    if ledger is None or not ledger.is_file():
        return ""
    try:
        now = _stamp_of(ledger)
    except sqlite3.OperationalError as error:
        if "no such table" in str(error):  # nobody has decided anything
            return ""
        return f"{ledger} cannot be read: {error}"
    except sqlite3.DatabaseError as error:
        return f"{ledger} cannot be read: {error}"
    path = Path(project) / DECISIONS_NAME
    if now is None or (now[1] == 0 and not path.exists()):
        return ""
    if not path.exists():
        return f"there is no {path}, and the ledger has {now[1]:,} batches"
    try:
        check_seal(path)
        raw = (pq.read_schema(path).metadata or {}).get(LEDGER_KEY)
        stamp = json.loads(raw) if raw is not None else {}
        written = stamp.get("ledger_id"), stamp.get("revision"), stamp.get("digest")
    except (OSError, ValueError, AttributeError) as error:  # pyarrow's errors are among them
        return f"{path} is damaged ({' '.join(str(error).split())[:120]})"
    if raw is None:
        return f"{path} does not come from the ledger" if now[1] else ""
    if written[:2] == now[:2] and None not in (written[2], now[2]) and written[2] != now[2]:  # older code wrote none
        return f"{path} is of another history of {ledger}, which was put back from a copy"
    if written[:2] != now[:2]:
        return f"{path} is of revision {written[1]}, the ledger of {now[1]}" if written[0] == now[0] else \
            f"{path} comes from another ledger than {ledger}"
    return "" if stamp.get("classes") == list(read_info(project).classes) else f"{path} is of other classes"


def is_elsewhere(project: Path) -> bool:
    """Whether the decisions lie in a database that is not asked here."""
    return _ledger(Path(project)) is None


def _ledger(project: Path) -> Path | None:
    """The SQLite file in the project that its decisions lie in; None for any other database."""
    try:
        details = json.loads((project / "project.json").read_text())
        named = details.get("ledger") if isinstance(details, dict) else None
    except (OSError, ValueError, RecursionError):  # opening the project says so
        named = None
    text = str(named or LEDGER_NAME).removeprefix("sqlite:///")
    return project / text if "://" not in text and is_inside(project / text, project) else None


def _stamp_of(ledger: Path) -> tuple[str, int, str | None] | None:
    """(ledger's id, number of its newest batch, digest of that one's link in the chain, None where it has none); None
    before it has an id."""
    address = f"file:{quote(str(ledger.absolute()))}?mode=ro"
    with closing(sqlite3.connect(address, uri=True, timeout=WAIT_SECONDS)) as connection:
        row = connection.execute("SELECT ledger_id, (SELECT max(batch_id) FROM batches) FROM ledger").fetchone()
        has_chain = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'chain'").fetchone()
        link = row and has_chain and connection.execute(
            "SELECT digest FROM chain WHERE kind = 'batch' AND row_id = ? ORDER BY link_id DESC", row[1:]).fetchone()
    return None if row is None else (str(row[0]), int(row[1] or 0), str(link[0]) if link else None)
