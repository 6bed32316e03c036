"""The batches that reviewers have in hand, kept on disk: whoever comes back goes on where they were.

A batch is written when it is first served and never changed: P/audits/NAME/batches/QUEUE-REVIEWER-NUMBER.json. What of
it is answered, the log of verdicts says. What goes into a batch, queues and allocation say; here
it is put together with what the reviewer is shown. The files are also the record of what the random queue has drawn.
"""

import hashlib
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from curation.audit.estimate import sampling_plan
from curation.audit.estimate.allocation import draw
from curation.audit.estimate.sampling_plan import Plan
from curation.audit.reviews import queues
from curation.audit.reviews.consensus import on_current_labels
from curation.audit.reviews.random_queue import random_verdicts
from curation.audit.suspects.scores import Scores
from engine.contract.errors import UserError
from engine.contract.run_dir import check_name
from engine.contract.work_dir import write_atomic

HELD_SECONDS = 24 * 3600.0
"""So long a batch keeps its samples from others' batches; then whoever has it may be gone."""
UNTOUCHED_SECONDS = 900.0
"""How long a batch that nobody has begun to answer is kept from others."""
ESTIMATE_SIZE = 40
NUM_TYPICAL = 4
GOAL_FILE = "goal.json"
TARGET = 0.015
"""Half-width of the overall interval that an audit asks for unless it says otherwise."""
FILE = ""
"""The reviewer of draws that were written to a file: whoever answers it. No person is called so."""


class BatchError(UserError):
    """A batch cannot be read. One line, ready to show."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Question:
    """One item with what is shown and what is only recorded (purpose, p_wrong)."""

    sample_id: str
    purpose: str
    given_label: str
    suggested_label: str | None = None
    """As shown; None: none is."""
    confidence: float | None = None
    """In [0, 1], of the suggested class if the given one is wrong."""
    p_wrong: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Served:
    """One reviewer's batch of one queue."""

    audit: str
    queue: str
    reviewer: str
    number: int
    """From 1, by queue and reviewer."""
    run: str
    model: str
    """Digest of the run's config.json."""
    mode: str = ""
    """Of the find queue, one of serving.MODES."""
    confusion: tuple[str, str] | None = None
    """(given class, suggested class) of that mode."""
    num_calibrated: int = 0
    """Verdicts that p_wrong was calibrated on."""
    created: float = 0.0
    """Seconds since 1970."""
    questions: tuple[Question, ...] = ()
    typical: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """class -> samples to compare with."""

    @property
    def main_p_wrong(self) -> np.ndarray:
        """(n,) of the items that a promise is about; NaN where unknown."""
        values = [q.p_wrong for q in self.questions if q.purpose == "main"]
        return np.array([np.nan if p is None else p for p in values], dtype=np.float64)

    def own(self, verdicts: pd.DataFrame) -> pd.DataFrame:
        """The verdicts that answer this batch, one row a sample, the newest of each; verdicts: in force."""
        is_own = verdicts["who"].eq(self.reviewer) & verdicts["queue"].eq(self.queue)
        is_own &= verdicts["sample_id"].isin([q.sample_id for q in self.questions])  # numbers may come twice
        is_own &= verdicts["batch"].eq(self.number).fillna(False).astype(bool) & verdicts["audit"].eq(self.audit)
        return verdicts[is_own].drop_duplicates("sample_id", keep="last")

    def is_done(self, verdicts: pd.DataFrame) -> bool:
        """Whether every item has an answer in force."""
        return {q.sample_id for q in self.questions} <= set(self.own(verdicts)["sample_id"])


# -- making one


def find_served(scores: Scores, verdicts: pd.DataFrame, gold_ids: np.ndarray, *, audit: str, reviewer: str, number: int,
                run: str, model: str, mode: str = "value", confusion: tuple[str, str] | None = None,
                reserved: Sequence[str] = (), size: int = queues.BATCH_SIZE) -> Served:
    """The next batch of the ranked queue. verdicts: in force in this audit; reserved: in others' hands, or drawn.

    What was judged under another given label than today's is asked again.
    """
    verdicts = _on_current_labels(scores, verdicts)
    codes = {name: code for code, name in enumerate(scores.classes)}
    given, suggested = (codes.get(name) for name in confusion) if confusion else (None, None)
    order = queues.find_order(scores, verdicts, mode, given=given, suggested=suggested, reserved=reserved)
    batch = queues.find_batch(scores.sample_id[order[:2 * size]], verdicts, audit=audit, reviewer=reviewer,
                               number=number, gold_ids=gold_ids, size=size)
    questions = _questions(scores, batch.items, is_shown=True)
    return Served(audit=audit, queue="find", reviewer=reviewer, number=number, run=run, model=model, mode=mode,
                  confusion=confusion if mode == "confusion" else None, num_calibrated=scores.num_calibrated,
                  created=time.time(), questions=questions, typical=_typical(scores, questions))


def estimate_served(plan: Plan, scores: Scores, verdicts: pd.DataFrame, gold_ids: np.ndarray, *, reviewer: str,
                    number: int, run: str, model: str, reserved: Sequence[str] = (),
                    stale: Sequence[str] = (), size: int = ESTIMATE_SIZE) -> Served:
    """The next draws of the random queue, without the model's opinion. verdicts: in force in this audit; reserved,
    stale: as curation.audit.estimate.allocation.draw takes them."""
    draws = draw(plan, random_verdicts(verdicts, plan), reserved, size, stale)
    batch = queues.estimate_batch(draws, _on_current_labels(scores, verdicts), audit=plan.audit, reviewer=reviewer,
                                   number=number, gold_ids=gold_ids)
    questions = _questions(scores, batch.items, is_shown=False)
    return Served(audit=plan.audit, queue="estimate", reviewer=reviewer, number=number, run=run, model=model,
                  num_calibrated=scores.num_calibrated, created=time.time(), questions=questions,
                  typical=_typical(scores, questions))


def file_served(plan: Plan, verdicts: pd.DataFrame, *, number: int, reserved: Sequence[str] = (),
                stale: Sequence[str] = (), size: int = ESTIMATE_SIZE) -> Served:
    """The next draws of the random queue for a file, without hidden checks; arguments as estimate_served's."""
    draws = draw(plan, random_verdicts(verdicts, plan), reserved, size, stale)
    labels = plan.labels.set_index("sample_id")["given_label"].loc[draws]
    return Served(audit=plan.audit, queue="estimate", reviewer=FILE, number=number, run=plan.run,
                  model=plan.digests.get("run", ""), created=time.time(), questions=tuple(
                      Question(sample_id=i, purpose="main", given_label=str(labels[i])) for i in draws))


def adjudicate_served(scores: Scores, verdicts: pd.DataFrame, *, audit: str, reviewer: str, number: int, run: str,
                      model: str) -> Served:
    """What is in dispute and this reviewer has not judged, without the model's opinion: the sample may be drawn, or
    have been, and then the answer counts in the noise rate. verdicts: in force, of every audit."""
    ids = queues.adjudication_rows(verdicts, reviewer, audit)[:queues.BATCH_SIZE]
    items = [queues.Item(sample_id, "adjudicate", "main") for sample_id in ids]
    questions = _questions(scores, items, is_shown=False)
    return Served(audit=audit, queue="adjudicate", reviewer=reviewer, number=number, run=run, model=model,
                  num_calibrated=scores.num_calibrated, created=time.time(), questions=questions,
                  typical=_typical(scores, questions))


def _questions(scores: Scores, items: Sequence[queues.Item], is_shown: bool) -> tuple[Question, ...]:
    """Items with their labels; those that the scores no longer have, or that have no given label, are left out.

    is_shown: whether the model's opinion is.
    """
    rows = pd.Index(scores.sample_id).get_indexer([item.sample_id for item in items])
    found = []
    for item, row in zip(items, rows.tolist(), strict=True):
        if row < 0 or scores.given[row] < 0:
            continue
        code = int(scores.suggested[row]) if is_shown else -1
        confidence, p_wrong = float(scores.confidence[row]), float(scores.p_wrong[row])
        found.append(Question(
            sample_id=item.sample_id, purpose=item.purpose, given_label=scores.classes[int(scores.given[row])],
            suggested_label=scores.classes[code] if code >= 0 else None,
            confidence=confidence if code >= 0 and np.isfinite(confidence) else None,
            p_wrong=p_wrong if np.isfinite(p_wrong) else None))
    return tuple(found)


def _on_current_labels(scores: Scores, verdicts: pd.DataFrame) -> pd.DataFrame:
    """Those about the labels that the scores are of."""
    names = np.array([*scores.classes, None], dtype=object)
    rows = pd.DataFrame({"sample_id": scores.sample_id, "given_label": names[scores.given]})
    return on_current_labels(verdicts, rows)


def _typical(scores: Scores, questions: Sequence[Question]) -> dict[str, list[str]]:
    """The least probably wrong samples of each class that is asked about, the asked ones left out."""
    asked = {q.sample_id for q in questions}
    names = dict.fromkeys(name for q in questions for name in (q.given_label, q.suggested_label) if name)
    is_usable = scores.is_active & np.isfinite(scores.p_wrong)
    found = {}
    for name in names:
        rows = np.flatnonzero((scores.given == scores.classes.index(name)) & is_usable)
        num = min(len(rows), NUM_TYPICAL + len(asked))
        best = rows[np.argpartition(scores.p_wrong[rows], num - 1)[:num]] if num else rows
        best = best[np.argsort(scores.p_wrong[best], kind="stable")]
        found[name] = [str(i) for i in scores.sample_id[best] if i not in asked][:NUM_TYPICAL]
    return found


# -- on disk


def save(project: Path, served: Served) -> None:
    """Write a batch; one of the same number is replaced, which is for those without an answer."""
    file = _folder(project, served.audit) / f"{_stem(served.queue, served.reviewer)}-{served.number:06d}.json"
    write_atomic(file, lambda path: path.write_text(json.dumps(asdict(served), ensure_ascii=False), encoding="utf-8"))


def newest(project: Path, audit: str, queue: str, reviewer: str) -> Served | None:
    """The reviewer's last batch of a queue, done or not; None before the first. Raises BatchError for a damaged one."""
    files = sorted(_folder(project, audit).glob(f"{_stem(queue, reviewer)}-*.json"))
    return _read(files[-1]) if files else None


def in_hand(project: Path, audit: str, queue: str, reviewer: str, verdicts: pd.DataFrame,
            now: float | None = None) -> list[str]:
    """Samples without an answer in this queue in the last batches of the others, and in all files, if these are not
    older than HELD_SECONDS; a batch that was opened and not answered at all lets go after UNTOUCHED_SECONDS. Checks are
    in nobody's hands."""
    newest_of: dict[str, Path] = {}
    for file in sorted(_folder(project, audit).glob(f"{queue}-*.json")):
        stem = file.name.rpartition("-")[0]
        newest_of[file.name if stem == _stem(queue, FILE) else stem] = file
    newest_of.pop(_stem(queue, reviewer), None)
    answered = set(verdicts.loc[verdicts["queue"].eq(queue), "sample_id"])
    held: set[str] = set()
    for file in newest_of.values():
        age = (time.time() if now is None else now) - file.stat().st_mtime
        asked = _main_ids(iter([file])) if age <= HELD_SECONDS else set()
        if age <= UNTOUCHED_SECONDS or asked & answered or file.name.startswith(_stem(queue, FILE)):
            held |= asked
    return sorted(held - answered)


def drawn(project: Path, audit: str, verdicts: pd.DataFrame) -> set[str]:
    """All that the random queue has ever drawn, answered or not; verdicts: in force in this audit. The ranked queue
    asks for none of it: it would tell the model's opinion of a sample to somebody who is to judge without."""
    is_main = verdicts["queue"].eq("estimate") & verdicts["purpose"].eq("main")
    return _main_ids(_folder(project, audit).glob("estimate-*.json")) | set(verdicts.loc[is_main, "sample_id"])


def _main_ids(files: Iterator[Path]) -> set[str]:
    """What these batches ask for, without checks; a damaged one, which its reviewer is told of, stops nobody else."""
    found: set[str] = set()
    for file in files:
        with suppress(BatchError):
            found |= {q.sample_id for q in _read(file).questions if q.purpose == "main"}
    return found


def _read(file: Path) -> Served:
    try:
        document: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        confusion = document.pop("confusion")
        questions = tuple(Question(**question) for question in document.pop("questions"))
        return Served(**document, questions=questions, confusion=tuple(confusion) if confusion else None)
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise BatchError(f"a batch must be as it was written; {file} cannot be read ({type(error).__name__}); delete "
                         "it: its answers are in the log, and the next batch takes its place") from error


def _folder(project: Path, audit: str) -> Path:
    return sampling_plan.folder(project, check_name(audit)) / "batches"


def _stem(queue: str, reviewer: str) -> str:
    """Of a file's name: people may be called anything."""
    return f"{queue}-{hashlib.sha256(reviewer.encode()).hexdigest()[:16]}"


# -- the precision that an audit asks for


def save_goal(project: Path, audit: str, half_width: float) -> None:
    """half_width: of the overall interval, in (0, 1]."""
    file = sampling_plan.folder(project, audit) / GOAL_FILE
    write_atomic(file, lambda path: path.write_text(json.dumps({"half_width": half_width}), encoding="utf-8"))


def goal_of(project: Path, audit: str, otherwise: float) -> float:
    """The half-width asked for; `otherwise` where nobody asked, or the file says nothing usable."""
    try:
        value = json.loads((sampling_plan.folder(project, audit) / GOAL_FILE).read_text(encoding="utf-8"))["half_width"]
    except (OSError, ValueError, TypeError, KeyError):
        return otherwise
    return float(value) if isinstance(value, int | float) and 0 < value <= 1 else otherwise
