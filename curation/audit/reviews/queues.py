"""What a reviewer sees next: the ranked queue's order, batches with hidden checks mixed in, and disputes.

Pure functions on scores and verdicts; the random queue's draws come from curation.audit.estimate.allocation. A batch
follows from the audit, the queue, the reviewer, its number and what it was handed, so asking again gives the same
batch. Knowing no truth but which samples have one, it cannot leak into an order.

Hidden checks measure the reviewer, and come on top of a batch:

    overlap  judged by exactly one other reviewer so far: do two agree?
    gold     its true class is known: is the reviewer right?
    repeat   judged by this reviewer a while ago: the same again?
"""

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import pandas as pd

from curation.audit.reviews.consensus import consensus
from curation.audit.reviews.random_queue import random_verdicts
from curation.audit.suspects.scores import Scores
from curation.ledger.verdicts import Purpose, Queue
from engine.contract.errors import UserError

Mode = Literal["value", "balanced", "uncertain", "confusion"]
"""Orders of the ranked queue (find_order)."""
MODES: tuple[Mode, ...] = get_args(Mode)
Check = Literal["overlap", "gold", "repeat"]
BATCH_SIZE = 50
CHECK_SHARE = 0.07
"""Of all items of a batch, on average; at least one where there is any to ask."""
MIN_APART = 15
"""A sample is asked for again after so many other verdicts of the reviewer."""
FIRST_CHECK = 2
"""Position from 0 of the first item that may be a check."""
TURNS: tuple[Check, ...] = ("overlap", "gold", "overlap", "repeat")
"""Kinds of checks, in turn; where one has none left, the next of PREFERENCE that has some."""
PREFERENCE: tuple[Check, ...] = ("overlap", "gold", "repeat")


class ServingError(UserError):
    """A queue cannot be had like this. One line, ready to show."""


@dataclass(frozen=True, slots=True)
class Item:
    """One question. Its purpose is for the log; a browser must not be told."""

    sample_id: str
    queue: Queue
    purpose: Purpose


@dataclass(frozen=True, slots=True)
class Batch:
    """What a reviewer works through, in this order. No items: there is nothing left."""

    audit: str
    queue: Queue
    reviewer: str
    number: int
    items: tuple[Item, ...]

    @property
    def main_ids(self) -> list[str]:
        """sample_ids without the checks, in order: what a promise is about."""
        return [item.sample_id for item in self.items if item.purpose == "main"]


# -- the ranked queue

def find_order(scores: Scores, verdicts: pd.DataFrame, mode: Mode = "value", *, given: int | None = None,
               suggested: int | None = None, reserved: Collection[str] = ()) -> np.ndarray:
    """Rows (M,) int64 of scores, the one to review first first; a million in about half a second.

    value: by p_wrong, highest first, NaN last. uncertain: p_wrong nearest to one half first, NaN last; corrections of
    these help the next training more where many labels are wrong, less where few are (benchmarks/RESULTS.md). balanced:
    the highest of each given class, then the second of each, and so on; NaN last. confusion: by p_wrong among those
    given class `given` and suggested class `suggested` (codes). Left out: inactive samples, those with a verdict in
    force, and `reserved` ids (in others' hands, or drawn). verdicts: in force in this audit. Raises ServingError for
    missing codes.
    """
    if mode == "confusion" and (given is None or suggested is None):
        raise ServingError(f"a confusion is of two classes; got {given!r} and {suggested!r}; name the given class and "
                           "the suggested one")
    is_open = scores.is_active & ~scores.samples.has_ids({*verdicts["sample_id"], *reserved})
    if mode == "confusion":
        is_open &= (scores.given == given) & (scores.suggested == suggested)
    rows = np.flatnonzero(is_open)
    p_wrong = scores.p_wrong[rows]
    rows = rows[np.argsort(np.abs(p_wrong - 0.5) if mode == "uncertain" else -p_wrong, kind="stable")]
    if mode == "balanced":
        turn = pd.Series(scores.given[rows]).groupby(scores.given[rows]).cumcount().to_numpy()
        rows = rows[np.lexsort((turn, np.isnan(scores.p_wrong[rows])))]  # stable: within a turn by p_wrong
    return rows


def mode_named(text: str) -> Mode:
    """An order of the ranked queue that came as text. Raises ServingError for another."""
    for name in MODES:
        if name == text:
            return name
    raise ServingError(f"a queue's mode must be one of {', '.join(MODES)}; got {text!r}; choose one of them")


# -- batches

def find_batch(sample_ids: Sequence[str] | np.ndarray, verdicts: pd.DataFrame, *, audit: str, reviewer: str,
               number: int, gold_ids: Sequence[str] | np.ndarray = (), size: int = BATCH_SIZE) -> Batch:
    """The next items of the ranked queue with hidden checks among them.

    sample_ids: the queue in order (find_order), as far as it is needed. verdicts: in force in this audit, of samples
    that are still there. gold_ids: samples whose true class is known; which class is of no interest here.
    """
    main = [str(sample_id) for sample_id in sample_ids[:size]]
    return _batch("find", main, verdicts, gold_ids, audit, reviewer, number)


def estimate_batch(draws: Sequence[str] | np.ndarray, verdicts: pd.DataFrame, *, audit: str, reviewer: str, number: int,
                   gold_ids: Sequence[str] | np.ndarray = ()) -> Batch:
    """The drawn samples (curation.audit.estimate.allocation.draw), all and in their order, with hidden checks among
    them.

    Only items of purpose main belong to the sample that an estimate stands on; gold ones are no part of the draw.
    """
    return _batch("estimate", [str(sample_id) for sample_id in draws], verdicts, gold_ids, audit, reviewer, number)


def adjudication_rows(verdicts: pd.DataFrame, reviewer: str, audit: str | None = None) -> list[str]:
    """sample_ids in dispute that this reviewer has not judged, the longest in dispute first.

    verdicts: in force, of every audit: a label is one, however many audits ask about it. audit: the one whose random
    queue must be free of disputes by itself as well, for its estimate hears no other; None: each must. What a dispute
    is, curation.audit.reviews.consensus says.
    """
    rows = disputes(verdicts, audit)
    judged = set(verdicts.loc[verdicts["who"] == reviewer, "sample_id"])
    return [str(sample_id) for sample_id in rows if sample_id not in judged]


def disputes(verdicts: pd.DataFrame, audit: str | None = None) -> list[str]:
    """sample_ids in dispute, the longest first; as adjudication_rows."""
    names = verdicts["audit"].unique() if audit is None else [audit]
    random = [random_verdicts(verdicts[verdicts["audit"] == name]) for name in names]
    rows = pd.concat([consensus(verdicts).reset_index(), *random], ignore_index=True)
    rows = rows[rows["state"] == "disputed"].sort_values("at", kind="stable")
    return list(rows["sample_id"].drop_duplicates())


def _batch(queue: Queue, main: list[str], verdicts: pd.DataFrame, gold_ids: Sequence[str] | np.ndarray, audit: str,
           reviewer: str, number: int) -> Batch:
    """`main` in order, checks drawn and spread by a generator of this batch's own."""
    digest = hashlib.sha256("\0".join((audit, queue, reviewer, str(number))).encode()).digest()
    rng = np.random.default_rng(np.frombuffer(digest, dtype=np.uint32))
    num = num_checks(len(main), rng)
    checks = _draw_checks(_pools(queue, main, verdicts, gold_ids, reviewer), num, rng)
    items = [Item(sample_id, queue, "main") for sample_id in main]
    edges = np.linspace(FIRST_CHECK, len(main) + len(checks), len(checks) + 1)
    for start, end, (purpose, sample_id) in zip(np.ceil(edges[:-1]), np.ceil(edges[1:]), checks, strict=True):
        items.insert(int(rng.integers(int(start), max(int(end), int(start) + 1))), Item(sample_id, queue, purpose))
    return Batch(audit=audit, queue=queue, reviewer=reviewer, number=number, items=tuple(items))


def num_checks(num_main: int, rng: np.random.Generator) -> int:
    """Checks to go with num_main items: CHECK_SHARE of all on average, at least 1; 0 with too few items to hide one."""
    if num_main < FIRST_CHECK:
        return 0
    wanted = num_main * CHECK_SHARE / (1 - CHECK_SHARE)
    return max(1, int(wanted + rng.random()))


def _pools(queue: Queue, main: list[str], verdicts: pd.DataFrame, gold_ids: Sequence[str] | np.ndarray,
           reviewer: str) -> dict[Check, np.ndarray]:
    """sample_ids that each kind of check may ask for; overlap and repeat from the same queue, as it shows the same."""
    is_own = verdicts["who"].eq(reviewer).to_numpy(dtype=bool)
    own, judged = verdicts[is_own], set(verdicts.loc[is_own, "sample_id"])
    is_earlier = np.arange(len(own)) < len(own) - MIN_APART
    is_once = ~own["sample_id"].duplicated(keep=False).to_numpy(dtype=bool)
    repeat = own.loc[is_earlier & is_once & own["queue"].eq(queue).to_numpy(dtype=bool), "sample_id"]
    others = verdicts[verdicts["queue"].eq(queue) & ~verdicts["sample_id"].isin(judged)]
    num_people = others.drop_duplicates(["sample_id", "who"])["sample_id"].value_counts(sort=False)
    gold = pd.Series(gold_ids, dtype=object).drop_duplicates()
    pools: dict[Check, pd.Series] = {
             "repeat": repeat, "overlap": num_people[num_people == 1].index.to_series(),
             "gold": gold[~gold.isin(judged)]}
    return {kind: pool[~pool.isin(main)].to_numpy(dtype=object) for kind, pool in pools.items()}


def _draw_checks(pools: dict[Check, np.ndarray], num: int, rng: np.random.Generator) -> list[tuple[Check, str]]:
    """At most num (purpose, sample_id), no sample twice."""
    order = {kind: pool[rng.permutation(len(pool))[:2 * num]].tolist() for kind, pool in sorted(pools.items())}
    checks: list[tuple[Check, str]] = []
    first = int(rng.integers(len(TURNS)))
    for turn in range(num):
        used = {sample_id for _, sample_id in checks}
        for kind in (TURNS[(first + turn) % len(TURNS)], *PREFERENCE):
            left = [sample_id for sample_id in order[kind] if sample_id not in used]
            if left:
                checks.append((kind, left[0]))
                break
    return checks
