"""The batches that reviewers have in hand, on disk: a reviewer who comes back goes on where they were.

A batch is written when it is first served and never changed: P/audits/NAME/batches/QUEUE-REVIEWER-NUMBER.json. What of
it is answered, the log of verdicts says. What the random queue has drawn, the log knows as well, from before a file is
written: what is drawn stays so though its file is lost.
"""

import hashlib
import json
import time
from collections.abc import Collection, Iterable
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import NotRequired, TypedDict, cast

import pandas as pd

from curation.audit.estimate import sampling_plan
from curation.audit.reviews.batches import FILE, Question, Served
from curation.audit.reviews.promise import Doubts
from curation.audit.reviews.queues import mode_named
from curation.ledger import people
from curation.ledger.verdict_tables import Draw, NewDraw
from curation.ledger.verdicts import PURPOSES, QUEUES, Queue, choice
from curation.project import Project
from engine.contract.disk.seals import opened_json, sealed_json
from engine.contract.errors import UserError
from engine.contract.inside import inside
from engine.contract.run_dir import check_name
from engine.contract.work_dir import write_atomic

HELD_SECONDS = 24 * 3600.0
"""So long a batch keeps its samples from others' batches; then the reviewer may be gone."""
UNTOUCHED_SECONDS = 900.0
"""How long a batch that has no answer yet is kept from others."""


class BatchError(UserError):
    """A batch cannot be read. One line, ready to show."""


class _Asked(TypedDict):
    """A Question, as a file has it."""

    sample_id: str
    purpose: str
    given_label: str
    suggested_label: str | None
    confidence: float | None
    p_wrong: float | None


class _Document(TypedDict):
    """A Served, as a file has it. Older code wrote "" for no mode, and no doubt."""

    audit: str
    queue: str
    reviewer: str
    number: int
    run: str
    model: str
    mode: str | None
    confusion: list[str] | None
    num_calibrated: int
    doubt: NotRequired[float]
    created: float
    questions: list[_Asked]
    typical: dict[str, list[str]]


def save(project: Project, served: Served) -> None:
    """Write a batch; one of the same number is replaced, which is for those without an answer. Of the random queue the
    log is told first what is drawn, also by older code. Raises LedgerError where it cannot be."""
    people.require("reviewer", "a batch to review")
    file = _folder(project.path, served.audit) / f"{_stem(served.queue, served.reviewer)}-{served.number:06d}.json"
    if served.queue == "estimate":
        log, draws = project.verdicts(), [_draw_of(file, served)]
        known = _known(log.draws(), served.audit)
        for other in estimate_files(project.path, served.audit):
            with suppress(BatchError):
                draws += [] if other.stem in known or other == file else [_draw_of(other, _read(other))]
        log.add_draws(served.audit, draws)
    write_atomic(file, lambda path: path.write_text(sealed_json(asdict(served), indent=None), encoding="utf-8"))


def newest(project: Path, audit: str, queue: Queue, reviewer: str) -> Served | None:
    """The reviewer's last batch of a queue, done or not; None before the first. Raises BatchError for a damaged one."""
    files = sorted(_folder(project, audit).glob(f"{_stem(queue, reviewer)}-*.json"))
    return _read(files[-1]) if files else None


def in_hand(project: Path, audit: str, queue: Queue, reviewer: str, verdicts: pd.DataFrame,
            now: float | None = None) -> list[str]:
    """Samples without an answer in this queue in the last batches of the others, and in all files, if these are not
    older than HELD_SECONDS; a batch that was opened and not answered at all lets go after UNTOUCHED_SECONDS. Checks are
    in no one's hands, and a damaged batch, which its own reviewer is told of, holds nothing."""
    newest_of: dict[str, Path] = {}
    for file in sorted(_folder(project, audit).glob(f"{queue}-*.json")):
        stem = file.name.rpartition("-")[0]
        newest_of[file.name if stem == _stem(queue, FILE) else stem] = file
    newest_of.pop(_stem(queue, reviewer), None)
    answered = set(verdicts.loc[verdicts["queue"].eq(queue), "sample_id"])
    held: set[str] = set()
    for file in newest_of.values():
        age = (time.time() if now is None else now) - file.stat().st_mtime
        asked: set[str] = set()
        if age <= HELD_SECONDS:
            with suppress(BatchError):
                asked = _main_ids([_read(file)])
        if age <= UNTOUCHED_SECONDS or asked & answered or file.name.startswith(_stem(queue, FILE)):
            held |= asked
    return sorted(held - answered)


def estimate_files(project: Path, audit: str = "*") -> list[Path]:
    """The batches of the random queue, of all audits or of one."""
    return sorted((project / "audits").glob(f"{audit if audit == '*' else check_name(audit)}/batches/estimate-*.json"))


def drawn(project: Path, audit: str, verdicts: pd.DataFrame, draws: Collection[Draw]) -> set[str]:
    """All that the random queue has ever drawn and not let go of, answered or not; verdicts: in force in this audit;
    draws: those that the log knows. The ranked queue asks for none of it: it would tell the model's opinion of a sample
    to a reviewer who is to judge without.

    Raises BatchError where a batch is damaged that the log knows nothing of: any sample might have been drawn in it.
    """
    is_main = verdicts["queue"].eq("estimate") & verdicts["purpose"].eq("main")
    noted = {sample_id for draw in draws if draw.audit == audit and not draw.is_released
             for sample_id in draw.sample_ids}
    return _main_ids(_batches(project, audit, _known(draws, audit))) | set(verdicts.loc[is_main, "sample_id"]) | noted


def drawn_by_all(project: Path, verdicts: pd.DataFrame, draws: Collection[Draw]) -> set[str]:
    """The same of every audit; verdicts: in force, of all."""
    return {sample_id for name in audits_with_draws(project, draws)
            for sample_id in drawn(project, name, verdicts[verdicts["audit"].eq(name)], draws)}


def audits_with_draws(project: Path, draws: Iterable[Draw]) -> list[str]:
    """Names of the audits that have a plan, or batches of the random queue whose plan is gone; sorted."""
    found = (path.parents[1].name for path in estimate_files(project))
    return sorted({*sampling_plan.list_plans(project), *found, *(draw.audit for draw in draws)})


def unreadable_draws(project: Path, draws: Collection[Draw]) -> list[str]:
    """What is wrong with the random queue's batches that cannot be read and that the log does not know, and what to do,
    a line each."""
    lines = []
    for file in estimate_files(project):
        if file.stem not in _known(draws, file.parents[1].name):
            try:
                _read(file)
            except BatchError as error:
                lines.append(str(error))
    return lines


def lost_draws(project: Path, draws: Collection[Draw]) -> list[tuple[Draw, set[str]]]:
    """The draws in force of which samples are in no batch that can be read, with these samples."""
    asked = {audit: _main_ids(_batches(project, audit, None)) for audit in {draw.audit for draw in draws}}
    left = [(draw, set(draw.sample_ids) - asked[draw.audit]) for draw in draws if not draw.is_released]
    return [(draw, sample_ids) for draw, sample_ids in left if sample_ids]


def file_of(draw: Draw) -> str:
    """Where the file of a draw's batch lies in the project."""
    return f"audits/{draw.audit}/batches/{draw.batch}.json"


def doubts(project: Path, audit: str) -> Doubts:
    """Served.doubt of every batch of the ranked queue, by reviewer and number; a damaged one has none."""
    found: dict[tuple[str, int], float] = {}
    for file in _folder(project, audit).glob("find-*.json"):
        with suppress(BatchError):
            served = _read(file)
            found[served.reviewer, served.number] = served.doubt
    return found


def _main_ids(batches: Iterable[Served]) -> set[str]:
    """What these ask for, without hidden checks."""
    return {q.sample_id for served in batches for q in served.questions if q.purpose == "main"}


def _draw_of(file: Path, served: Served) -> NewDraw:
    return NewDraw(file.stem, served.reviewer or "a file", tuple(sorted(_main_ids([served]))))


def _known(draws: Iterable[Draw], audit: str) -> set[str]:
    """The batches of an audit that the log knows."""
    return {draw.batch for draw in draws if draw.audit == audit}


def _batches(project: Path, audit: str, known: Collection[str] | None) -> list[Served]:
    """The random queue's. Raises BatchError for a damaged one that is none of these; None: for none."""
    found = []
    for file in estimate_files(project, audit):
        try:
            found.append(_read(file))
        except BatchError:
            if known is not None and file.stem not in known:
                raise
    return found


def _read(file: Path) -> Served:
    try:
        return _served(cast(_Document, opened_json(json.loads(file.read_text(encoding="utf-8")))))
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        todo = "delete it: its answers are in the log, and the next batch takes its place"
        if file.name.startswith("estimate-"):
            todo = ("restore it from a copy, since Find may show nothing that was drawn; without a copy delete it and "
                    "open Estimate before Find, so that the same samples are drawn again")
        raise BatchError(f"a batch must be as it was written; {file} cannot be read ({type(error).__name__}); "
                         f"{todo}") from error


def _served(document: _Document) -> Served:
    confusion, mode = document["confusion"], document["mode"]
    return Served(
        audit=document["audit"], queue=choice("queue", document["queue"], QUEUES), reviewer=document["reviewer"],
        number=document["number"], run=document["run"], model=document["model"],
        mode=mode_named(mode) if mode else None, confusion=(confusion[0], confusion[1]) if confusion else None,
        num_calibrated=document["num_calibrated"], doubt=document.get("doubt", 0.0),
        created=document["created"],
        questions=tuple(_question(asked) for asked in document["questions"]), typical=document["typical"])


def _question(asked: _Asked) -> Question:
    return Question(sample_id=asked["sample_id"], purpose=choice("purpose", asked["purpose"], PURPOSES),
                    given_label=asked["given_label"], suggested_label=asked["suggested_label"],
                    confidence=asked["confidence"], p_wrong=asked["p_wrong"])


def _folder(project: Path, audit: str) -> Path:
    return inside(project, "audits", check_name(audit), "batches")


def _stem(queue: Queue, reviewer: str) -> str:
    """Of a file's name: people may be called anything."""
    return f"{queue}-{hashlib.sha256(reviewer.encode()).hexdigest()[:16]}"
