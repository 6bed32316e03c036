"""decisions.parquet: the ledger's state as a file, stamped with the ledger, revision and classes that it is of.

The engine reads the file's DECISION_COLUMNS; who, at and why ride along. The file also names the newest decision's
link in the ledger's chain, and so does every copy of it that a run or study keeps. Does not know when a state is due.
"""

import json
from pathlib import Path
from typing import NotRequired, TypedDict

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curation.ledger.chain import Head
from curation.ledger.replay import FOLD, empty_state
from engine.contract.disk.seals import check_seal
from engine.contract.manifest import LEDGER_KEY
from engine.contract.work_dir import write_atomic

HEAD_KEY = b"whetstone_ledger_head"
"""In the file's metadata: a Witness."""


class Witness(TypedDict):
    """The link of the newest decision in a ledger's chain, so that the file is the same whenever it is made anew."""

    ledger_id: str
    link_id: int
    digest: str


class Stamp(TypedDict):
    """What a state is of."""

    ledger_id: str
    revision: int
    classes: list[str]
    fold: NotRequired[int]
    """curation.ledger.replay.FOLD; absent in files of older code, which are written anew with the next decision."""
    digest: NotRequired[str]
    """Of the newest batch's link in the chain: the same number is of another history where the ledger was put back from
    a copy. Absent before the first batch, and in files of older code."""


def read_snapshot(path: Path) -> tuple[pa.Table, Stamp | None]:
    """State and stamp, from one open file; the empty state and None where there is no file."""
    try:
        check_seal(path)
        table = pq.read_table(path)
    except FileNotFoundError:
        return empty_state(), None
    return table, _stamp_in(table.schema)


def read_stamp(path: Path) -> Stamp | None:
    """The stamp alone; None where the file has none."""
    check_seal(path)
    return _stamp_in(pq.read_schema(path))


def read_witness(path: Path) -> Witness | None:
    """What the file knows of the chain; None of a file of older code."""
    check_seal(path)
    raw = (pq.read_schema(path).metadata or {}).get(HEAD_KEY)
    if raw is None:
        return None
    witness: Witness = json.loads(raw)
    return witness


def is_of(state: pa.Table, written: Stamp | None, stamp: Stamp) -> bool:
    """Whether a state that was `written` under a stamp is of this one. What older code wrote is where no sample is both
    pinned and excluded in it."""
    if written is None or "fold" in written:
        return is_same(written, stamp)
    has_both = pc.any(pc.and_(pc.is_valid(state["pin"]), state["excluded"])).as_py()
    return is_same({**written, "fold": FOLD}, stamp) and not has_both


def is_same(written: Stamp | None, stamp: Stamp) -> bool:
    """Whether two stamps agree; one of older code, or of an older ledger, has no digest to differ by."""
    if written is None:
        return False
    digests = {each["digest"] for each in (written, stamp) if "digest" in each}
    return {**written, "digest": ""} == {**stamp, "digest": ""} and len(digests) < 2


def current_state(path: Path, stamp: Stamp) -> pa.Table | None:
    """The file's state where it is of this stamp; None where it is not, or is damaged."""
    try:
        state, written = read_snapshot(path)
        return state if is_of(state, written, stamp) else None
    except (OSError, ValueError, KeyError, TypeError):  # pyarrow's errors are among them
        return None


def says(path: Path, stamp: Stamp) -> bool:
    """Whether the file is of this stamp; reads no state, save of a file of older code."""
    written = read_stamp(path)
    if written is None or "fold" in written:
        return is_same(written, stamp)
    return is_of(pq.read_table(path, columns=["pin", "excluded"]), written, stamp)


def is_current(path: Path, stamp: Stamp) -> bool:
    """Whether the file says what `stamp` says, or there is neither a file nor a decision."""
    return says(path, stamp) if path.exists() else stamp["revision"] == 0


def write_snapshot(path: Path, state: pa.Table, stamp: Stamp, link: Head | None) -> None:
    """Replace the file. link: of the newest decision, in the transaction that the state is of; None: there is none."""
    metadata = {LEDGER_KEY: json.dumps(stamp).encode()}
    if link is not None:
        witness = Witness(ledger_id=stamp["ledger_id"], link_id=link.link_id, digest=link.digest)
        metadata[HEAD_KEY] = json.dumps(witness).encode()
    table = state.replace_schema_metadata(metadata)
    write_atomic(path, lambda temporary: pq.write_table(table, temporary))


def _stamp_in(schema: pa.Schema) -> Stamp | None:
    raw = (schema.metadata or {}).get(LEDGER_KEY)
    if raw is None:
        return None
    stamp: Stamp = json.loads(raw)
    return stamp
