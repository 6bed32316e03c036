"""Files to review elsewhere: what `audit --out` and `estimate --out` write, and the answers that come back in them.

A file says in its column `queue` which queue its samples come from, and an answer is taken for no other: what was
chosen by suspicion, or seen beside the model's opinion, must not enter a noise rate. Draws nothing, logs nothing.
"""

import uuid
from collections.abc import Callable, Collection, Iterable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd

from curation.audit.reviews.batches import Served
from curation.audit.suspects.scores import Scores
from curation.ledger.verdicts import PURPOSES, QUEUES, VERDICTS, Queue, Verdict, checked_row, choice
from curation.project import Project
from curation.samples.csv_cells import FORMULA_LEADS
from curation.samples.frames import SampleTable
from curation.samples.table import samples
from curation.tables.csv_table import read_whole_csv
from curation.tables.report import SourceError
from engine.contract.errors import UserError
from engine.contract.manifest import file_digest

ANSWER_COLUMNS = ("sample_id", "verdict")
_KEYS = uuid.UUID("5f0c3d1e-6f2b-4c53-9d53-8a0f4f0e7a11")


class AuditError(UserError):
    """Options or a file of answers that cannot be used. One line, ready to show."""


def score_frame(scores: Scores, table: SampleTable, order: np.ndarray) -> pd.DataFrame:
    """Samples of the ranked queue with all that speaks for and against their labels; order: (M,) rows of both."""
    names = np.asarray([*scores.classes, None], dtype=object)
    part = table.rows(order, ["sample_id", *(["path"] if "path" in table else []), "given_label", "current_label"])
    return part.assign(queue="find", suggested_label=names[scores.suggested[order]],
                       confidence=scores.confidence[order], p_wrong=scores.p_wrong[order],
                       **{name: values[order] for name, values in scores.columns.items()}).reset_index(drop=True)


def draw_frame(served: Served, table: SampleTable) -> pd.DataFrame:
    """A batch of the random queue, to be filled in; nothing in it tells what the model thinks."""
    rows = table.positions([q.sample_id for q in served.questions])
    part = table.rows(rows, ["sample_id", *(["path"] if "path" in table else []), "given_label"])
    return part.assign(queue="estimate", verdict="", label="").reset_index(drop=True)


def read_answers(project: Project, path: Path, *, queue: str | None, who: str, run: str, audit: str,
                 drawn: Callable[[], Collection[str]], usual: Queue | None = None) -> list[Verdict]:
    """Verdicts from a CSV, each with a key, so that a file read twice counts once.

    who, queue: where the file does not say; usual: the queue where neither does. Rows of `verdicts --out` that were
    taken back say nothing. drawn: says what the random queue may be asked about
    (curation.audit.reviews.batch_files.drawn), asked where the file has answers to it. Raises AuditError, naming the
    row, and nothing of the file is used, where one cannot be.
    """
    rows = _rows(path)
    table = samples_named(project, rows["sample_id"], "given_label", "current_label", "path")
    model = file_digest(project.run(run).path / "config.json") if run else ""
    digest, answers = file_digest(path), []
    for number, cells in zip(rows.index, rows.to_dict("records"), strict=True):
        row = {str(name): str(cell) for name, cell in cells.items()}
        if not row["verdict"].strip():
            continue
        try:
            sample_id = as_written(row["sample_id"], table.index)
            _check(row, sample_id, table)
            verdict = Verdict(
                audit=audit, queue=_queue(row, queue, usual, sample_id, drawn), sample_id=sample_id,
                verdict=choice("verdict", row["verdict"].strip().lower(), VERDICTS), run=run, model=model,
                who=plain_text(row.get("who", "")) or who, at=utc(row.get("at", "").strip() or None),
                purpose=choice("purpose", row.get("purpose", "").strip() or "main", PURPOSES),
                given_label=str(table.at[sample_id, "given_label"]),
                label=as_written(row.get("label", ""), project.classes) or None,
                suggested_label=as_written(row.get("suggested_label", ""), project.classes) or None,
                previous_label=str(table.at[sample_id, "current_label"]), p_wrong=_p_wrong(row))
            checked_row(verdict, project.classes)
        except ValueError as error:
            raise AuditError(f"{path} row {number}: {error}") from error
        answers.append(_keyed(verdict, digest))
    return answers


def samples_named(project: Project, cells: Iterable[str], *columns: str) -> pd.DataFrame:
    """By sample_id, those of these columns that there are, of the training samples that cells name (as_written)."""
    table = samples(project, None)
    ids = {name for cell in map(str, cells) for name in (cell, cell.removeprefix("'"))}
    names = ["sample_id", *(name for name in columns if name in table)]
    return table.rows(np.flatnonzero(table.has_ids(ids)), names).set_index("sample_id")


def _rows(path: Path) -> pd.DataFrame:
    try:
        rows = read_whole_csv(path)
    except SourceError as error:
        raise AuditError(f"answers must be a CSV of which each row can be read; {error}") from error
    missing = [name for name in ANSWER_COLUMNS if name not in rows]
    if missing:
        raise AuditError(f"answers must have the columns {' and '.join(ANSWER_COLUMNS)}; {path} lacks {missing[0]}; "
                         "rename or add it")
    if {"verdict_id", "retracts"} <= set(rows):
        rows = rows[rows["retracts"].eq("") & ~rows["verdict_id"].isin(rows["retracts"])]
    return rows


def plain_text(cell: str) -> str:
    """A name or a reason as it was before curation.samples.csv_cells.neutral."""
    text = cell.strip()
    return text[1:] if text.startswith("'") and text[1:].startswith(FORMULA_LEADS) else text


def utc(text: str | None) -> str | None:
    """A time as the log has it; without a time zone it is UTC, and one to come, by a clock that is ahead, is now.
    Raises AuditError for what is none."""
    if text is None:
        return None
    try:
        at = datetime.fromisoformat(text.replace("Z", "+00:00"))
        at = at if at.tzinfo else at.replace(tzinfo=UTC)
        return min(at.astimezone(UTC), datetime.now(UTC)).isoformat(timespec="milliseconds")
    except (ValueError, OverflowError) as error:
        raise AuditError(f"a time must be written as ISO 8601; got {text!r}") from error


def as_written(cell: str, known: Collection[str]) -> str:
    """A cell without the apostrophe that curation.samples.csv_cells.neutral gave it, if that makes it a known one."""
    return cell[1:] if cell.startswith("'") and cell not in known and cell[1:] in known else cell


def _check(row: dict[str, str], sample_id: str, table: pd.DataFrame) -> None:
    """That the sample is there, bears the label that was shown and is the picture that was."""
    if sample_id not in table.index:
        raise AuditError(f"an answer is about a training sample; got {sample_id!r}; check the file")
    given, shown = str(table.at[sample_id, "given_label"]), row.get("given_label", "")
    if shown and as_written(shown, [given]) != given:
        raise AuditError(f"an answer is about the given label that was shown; got {shown!r} where the data now have "
                         f"{given!r}; write the file anew and answer this one again")
    picture = str(table.at[sample_id, "path"]) if row.get("path") and "path" in table else ""
    if picture and _name(as_written(row["path"], [picture])) != _name(picture):
        raise AuditError(f"an answer is about the picture that was shown; got {row['path']!r} where sample "
                         f"{sample_id!r} has {picture!r}, as where a spreadsheet changed an id; write the file anew")


def _name(path: str) -> str:
    """Of a file; its folder may have moved."""
    return path.rpartition("/")[2]


def _queue(row: dict[str, str], asked: str | None, usual: Queue | None, sample_id: str,
           drawn: Callable[[], Collection[str]]) -> Queue:
    """The queue of one answer, by its file; asked: by the command."""
    named = row.get("queue", "").strip() or asked or usual
    if named is None or (asked is not None and named != asked):
        raise AuditError(f"an answer is to one queue of {', '.join(QUEUES)}; got {named or 'none'!r}, and "
                         f"{asked or 'none'!r} as --queue; leave out --queue, or give it where the file has no queue")
    queue = choice("queue", named, QUEUES)
    if queue == "estimate" and row.get("suggested_label", "").strip():
        raise AuditError("the random queue is answered without the model's opinion; got a suggested label beside the "
                         "answer; say --queue find")
    if queue == "estimate" and sample_id not in drawn():
        raise AuditError(f"the random queue has answers to its own draws alone; got {sample_id!r}, which it did not "
                         "draw; answer a file of `estimate --out`, or say --queue find")
    return queue


def _p_wrong(row: dict[str, str]) -> float | None:
    """What the model had promised of the sample, of a file of `audit --out`."""
    cell = row.get("p_wrong", "").strip()
    try:
        return float(cell) if cell else None
    except ValueError as error:
        raise AuditError(f"p_wrong is a number from 0 to 1; got {cell!r}; leave it as it was written") from error


def _keyed(verdict: Verdict, digest: str) -> Verdict:
    """With a key of its own in this very file."""
    parts = (verdict.audit, verdict.queue, verdict.who, verdict.sample_id, verdict.verdict, verdict.label or "", digest)
    return replace(verdict, key=str(uuid.uuid5(_KEYS, "\0".join(parts))))
