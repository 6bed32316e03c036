"""Batches: questions put together with what the reviewer is shown beside them, and what is only recorded.

What goes into a batch, queues and allocation say. Where batches are kept, batch_files says; what of them is answered,
the log of verdicts.
"""

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd

from curation.audit.estimate.allocation import draw
from curation.audit.estimate.sampling_plan import Plan
from curation.audit.reviews import queues
from curation.audit.reviews.consensus import on_current_labels
from curation.audit.reviews.random_queue import random_verdicts
from curation.audit.suspects.scores import Scores
from curation.ledger.verdicts import Purpose, Queue

ESTIMATE_SIZE = 40
NUM_TYPICAL = 4
FILE = ""
"""The reviewer of draws that were written to a file, as it is not known who will answer it. No person is called so."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Question:
    """One item with what is shown and what is only recorded (purpose, p_wrong)."""

    sample_id: str
    purpose: Purpose
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
    queue: Queue
    reviewer: str
    number: int
    """From 1, by queue and reviewer."""
    run: str
    model: str
    """Digest of the run's config.json."""
    mode: queues.Mode | None = None
    """The order of the find queue; None of others."""
    confusion: tuple[str, str] | None = None
    """(given class, suggested class) of that mode."""
    num_calibrated: int = 0
    """Verdicts that p_wrong was calibrated on."""
    doubt: float = 0.0
    """How far off the log-odds of its p_wrong may be, all alike, a standard deviation (Scores.odds_sd), >= 0; 0 of
    older batches."""
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
                run: str, model: str, mode: queues.Mode = "value", confusion: tuple[str, str] | None = None,
                reserved: Sequence[str] = (), ended: Collection[str] = (), size: int = queues.BATCH_SIZE) -> Served:
    """The next batch of the ranked queue. verdicts: in force in this audit; reserved: in others' hands, or drawn: asked
    for neither in its order nor as a hidden check, nor shown as an example, for all of it tells the model's opinion;
    ended: asked for as hidden checks alone, as their turn is over.

    What was judged under another given label than the current one is asked again.
    """
    verdicts = _on_current_labels(scores, verdicts)
    codes = {name: code for code, name in enumerate(scores.classes)}
    given, suggested = (codes.get(name) for name in confusion) if confusion else (None, None)
    order = queues.find_order(scores, verdicts, mode, given=given, suggested=suggested,
                              reserved=[*reserved, *ended])
    checked = verdicts[~verdicts["sample_id"].isin(reserved)]
    batch = queues.find_batch(scores.samples.ids(order[:2 * size]), checked, audit=audit, reviewer=reviewer,
                              number=number, gold_ids=gold_ids[~np.isin(gold_ids, list(reserved))], size=size)
    questions = _questions(scores, batch.items, is_shown=True)
    return Served(audit=audit, queue="find", reviewer=reviewer, number=number, run=run, model=model, mode=mode,
                  confusion=confusion if mode == "confusion" else None, num_calibrated=scores.num_calibrated,
                  doubt=scores.doubt_of(order[:size]), created=time.time(), questions=questions,
                  typical=_typical(scores, questions, reserved))


def estimate_served(plan: Plan, scores: Scores, verdicts: pd.DataFrame, gold_ids: np.ndarray, *, reviewer: str,
                    number: int, run: str, model: str, reserved: Sequence[str] = (),
                    stale: Sequence[str] = (), size: int = ESTIMATE_SIZE, further: int | None = None) -> Served:
    """The next draws of the random queue, without the model's opinion. verdicts: in force in this audit; reserved,
    stale: as curation.audit.estimate.allocation.draw takes them; further: reviews to the next look, beyond which a
    batch does not go; 0 or None: no matter."""
    draws = draw(plan, random_verdicts(verdicts, plan), reserved, min(size, further or size), stale)
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
    labels = plan.labels(draws).set_index("sample_id")["given_label"]
    return Served(audit=plan.audit, queue="estimate", reviewer=FILE, number=number, run=plan.run,
                  model=plan.digests.model, created=time.time(), questions=tuple(
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
    rows = scores.samples.positions([item.sample_id for item in items])
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
    judged = np.flatnonzero(scores.samples.has_ids(verdicts["sample_id"].unique()))
    rows = pd.DataFrame({"sample_id": scores.samples.ids(judged), "given_label": names[scores.given[judged]]})
    return on_current_labels(verdicts, rows)


def without_opinion_on(served: Served, drawn: Collection[str], answered: Collection[str] = ()) -> Served:
    """The batch as it may be shown once these are drawn to be judged blindly: Find asks for none of them any longer,
    save what is answered, and none is an example anywhere."""
    out = set(drawn)
    questions = served.questions if served.queue != "find" else tuple(
        q for q in served.questions if q.sample_id not in out or q.sample_id in answered)
    typical = {name: [i for i in ids if i not in out] for name, ids in served.typical.items()}
    return replace(served, questions=questions, typical=typical)


def _typical(scores: Scores, questions: Sequence[Question], hidden: Collection[str] = ()) -> dict[str, list[str]]:
    """The least probably wrong samples of each class that is asked about, the asked and the hidden ones left out."""
    asked = {q.sample_id for q in questions}
    names = dict.fromkeys(name for q in questions for name in (q.given_label, q.suggested_label) if name)
    is_usable = scores.is_active & np.isfinite(scores.p_wrong)
    is_usable &= ~scores.samples.has_ids(hidden)
    found = {}
    for name in names:
        rows = np.flatnonzero((scores.given == scores.classes.index(name)) & is_usable)
        num = min(len(rows), NUM_TYPICAL + len(asked))
        best = rows[np.argpartition(scores.p_wrong[rows], num - 1)[:num]] if num else rows
        best = best[np.argsort(scores.p_wrong[best], kind="stable")]
        found[name] = [i for i in scores.samples.ids(best) if i not in asked][:NUM_TYPICAL]
    return found
