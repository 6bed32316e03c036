"""A ledger as a text file, one batch a line (JSONL), and back: decisions outlive their project folder.

    {"format": "whetstone journal", "version": 1, "classes": [...]}
    {"batch_id": 1, "kind": "pin", "value": "validation", "num_samples": 2, "who": "ada", "at": "2026-11-23T06:...",
     "why": "", "view": "", "run": "", "origin": "person", "sample_ids": ["...", "..."]}

Sample ids hold over re-imports, so a journal can be replayed onto a project imported anew. Journals of older code have
no origin.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import cast

import pandas as pd

from curation.ledger import people
from curation.ledger.batch import ORIGINS, PINS, Batch, origin_of_view
from curation.ledger.ledger import Ledger
from curation.ledger.replay import COLUMN_OF, EXCLUSIONS
from curation.ledger.tables import BATCH_COLUMNS
from curation.output_file import write_output
from engine.contract.errors import UserError
from engine.contract.manifest import read_manifest

FORMAT, VERSION = "whetstone journal", 1


class JournalError(UserError):
    """A line of a journal cannot be replayed. One line, ready to show."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Replayed:
    """What a replay did. Vanished ids stay in the ledger and count again when the samples come back."""

    num_batches: int
    num_decisions: int
    vanished: pd.DataFrame
    """One row a decision that has no effect now: batch_id, kind, value, sample_id, reason."""


def write_journal(ledger: Ledger, path: Path) -> int:
    """Write every batch to `path`, oldest first. Returns how many."""
    num_batches = 0

    def write(temporary: Path) -> None:
        nonlocal num_batches
        with open(temporary, "w", encoding="utf-8") as file:
            file.write(json.dumps({"format": FORMAT, "version": VERSION, "classes": list(ledger.classes)}) + "\n")
            for batch, sample_ids in ledger.journal():
                file.write(json.dumps({**batch, "sample_ids": sample_ids}) + "\n")
                num_batches += 1

    write_output(path, write)
    return num_batches


def replay_journal(ledger: Ledger, path: Path) -> Replayed:
    """Replay a journal onto an empty ledger: all of it or, if a line is wrong, nothing.

    Raises JournalError naming the line, LedgerError if the ledger has decisions already.
    """
    people.require("owner", "a replay of decisions")
    known = set(read_manifest(ledger.project, columns=()).query("split == 'train'")["sample_id"])
    classes, lost, num_decisions = set(ledger.classes), [], 0

    def checked() -> Iterator[tuple[Batch, list[str]]]:
        nonlocal num_decisions
        for batch, sample_ids in _read(path):
            num_decisions += len(sample_ids)
            is_unknown_label = batch["kind"] == "relabel" and batch["value"] not in (None, *classes)
            for sample_id in sample_ids:
                if sample_id not in known or is_unknown_label:
                    reason = "no such class now" if is_unknown_label else "no such training sample now"
                    lost.append((batch["batch_id"], batch["kind"], batch["value"], sample_id, reason))
            yield batch, sample_ids

    ledger.restore(checked())
    vanished = pd.DataFrame(lost, columns=["batch_id", "kind", "value", "sample_id", "reason"])
    return Replayed(num_batches=ledger.revision, num_decisions=num_decisions, vanished=vanished)


def _read(path: Path) -> Iterator[tuple[Batch, list[str]]]:
    """Each batch of a journal, checked, with its sample ids."""
    try:
        file = open(path, encoding="utf-8")
    except OSError as error:
        raise JournalError(f"a journal must be a readable file; {path}: {error.strerror}; check the path") from error
    in_force: list[bool | None] = []
    number = 0
    with file:
        try:
            for number, line in enumerate(file, start=1):
                row = json.loads(line)
                if number > 1:
                    yield _checked(row, in_force)
                elif not isinstance(row, dict) or (row.get("format"), row.get("version")) != (FORMAT, VERSION):
                    raise ValueError(f"the first line must say {FORMAT!r}, version {VERSION}")
        except ValueError as error:  # of JSON, of UTF-8 and of the checks
            raise JournalError(f"a journal holds one batch a line as `decide dump` writes it; {path} line "
                               f"{number or 1}: {error}; mend that line or dump again") from error
    if not number:
        raise JournalError(f"a journal holds one batch a line as `decide dump` writes it; {path} is empty; dump again")


def _checked(row: object, in_force: list[bool | None]) -> tuple[Batch, list[str]]:
    """One line as (batch, sample ids). `in_force` gathers whether each batch's decision counts; None: no decision."""
    found = row if isinstance(row, dict) else {}
    if isinstance(found.get("view"), str):
        found = {"origin": origin_of_view(found["view"]), **found}
    missing = [name for name in (*BATCH_COLUMNS, "sample_ids") if name not in found]
    if missing:
        raise ValueError(f"{missing[0]} is missing")
    batch, sample_ids = {name: found[name] for name in BATCH_COLUMNS}, found["sample_ids"]
    kind, value, number = batch["kind"], batch["value"], len(in_force) + 1
    if batch["batch_id"] != number:
        raise ValueError(f"batch_id must be {number}; got {batch['batch_id']!r}")
    texts = [batch[name] for name in ("who", "at", "why", "view", "run")]
    if not all(isinstance(text, str) for text in texts) or not isinstance(batch["num_samples"], int):
        raise ValueError("who, at, why, view and run must be texts and num_samples a whole number")
    if batch["origin"] not in ORIGINS:
        raise ValueError(f"origin must be one of {', '.join(ORIGINS)}; got {batch['origin']!r}")
    datetime.fromisoformat(batch["at"])
    if not isinstance(sample_ids, list) or not all(isinstance(i, str) for i in sample_ids) \
            or len(set(sample_ids)) != len(sample_ids):
        raise ValueError("sample_ids must be a list of distinct texts")
    if kind in ("undo", "redo"):
        target = int(value) if isinstance(value, str) and value.isdecimal() else 0
        if not 0 < target < number or in_force[target - 1] is not (kind == "undo"):
            raise ValueError(f"{kind} must name a decision that is {'in force' if kind == 'undo' else 'undone'}; "
                             f"got {value!r}")
        in_force[target - 1] = kind == "redo"
    elif not _is_decision(kind, value):
        raise ValueError(f"kind and value must be those of a decision; got {kind!r}, {value!r}")
    in_force.append(True if kind in COLUMN_OF else None)
    return cast(Batch, batch), sample_ids


def _is_decision(kind: object, value: object) -> bool:
    """True for a kind and a value that the ledger itself could have written."""
    if kind == "relabel":
        return value is None or isinstance(value, str)
    return value in ((*PINS, None) if kind == "pin" else EXCLUSIONS if kind == "exclude" else ())
