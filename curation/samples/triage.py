"""Which samples deserve a look, and why: four lanes from held-out predictions, neighbours and training dynamics.

Pure functions on arrays. gather() turns a sample table and the neighbours into Evidence, lanes_of() applies a Rule of
few thresholds to it. Never looks at clean_label, except to score lanes in wrong_share(). Draws and decides nothing.
"""

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import pandas as pd

from curation.samples.codes import comparable
from curation.samples.frames import SampleTable
from engine.contract.errors import UserError
from engine.contract.statistics.intervals import wilson_interval

LANES = ("mislabeled", "ambiguous", "out-of-place", "hard-but-right")
"""A sample's lane is its position here. Where several would fit, the first in ORDER that fits has it."""
ORDER = (0, 2, 1, 3)
REST, DECIDED, UNJUDGED = -1, -2, -3
"""No lane: fits none; a person has decided on it; no held-out prediction or no neighbour, or excluded."""
_ROWS_AT_ONCE = 16_384
_TINY = 1e-6  # shares are float32, and differences of them a little off


class TriageError(UserError):
    """A rule or a lane is out of range. One line, ready to show."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Rule:
    """The thresholds, all shares in [0, 1]."""

    lead: float = 0.3
    """Probably mislabeled: the suggested class is ahead of the label by at least this share of the neighbours (and
    held-out predictions confidently name it)."""
    doubt: float = 0.1
    """Probably mislabeled: held-out margin at most minus this."""
    torn: float = 0.2
    """Ambiguous: this share of each class, those with held-out margins nearest to 0 (and mixed neighbours)."""
    mixed: float = 0.6
    """Neighbours are mixed where the most frequent class among them has less than this share."""
    odd: float = 0.1
    """Out of place: this share of each class, the least confidently predicted (and far away or among mixed ones)."""
    far: float = 0.1
    """Far away: this share of each class, those with the greatest mean distance to their neighbours."""
    hard: float = 0.2
    """Hard but right: this share of each class's supported samples, those with the lowest held-out margins."""
    support: float = 0.6
    """The neighbours support a label that at least this share of them has."""

    def __post_init__(self) -> None:
        for name in self.__slots__:
            value = getattr(self, name)
            if not 0 <= value <= 1:
                raise TriageError(f"{name} of a triage rule must be a share from 0 to 1; got {value!r}; change it")


@dataclass(frozen=True, slots=True)
class Evidence:
    """What lanes are made of, (N,) each in the table's order; NaN where unknown."""

    label: np.ndarray
    """int16 or int32 code of the current label; -1 without one."""
    margin: np.ndarray
    """Held-out margin in [-1, 1], low bad."""
    confidence: np.ndarray
    """Held-out probability of the label or of its strongest rival, whichever is greater, in [0, 1]."""
    is_disputed: np.ndarray
    """bool: held-out predictions confidently suggest another class."""
    agreement: np.ndarray
    """Share of the neighbours whose current label is the same."""
    rival: np.ndarray
    """Share of the neighbours with the suggested label; 0 where there is none."""
    top: np.ndarray
    """Share of the most frequent class among the neighbours."""
    distance: np.ndarray
    """Mean distance to the neighbours."""
    is_steady: np.ndarray
    """bool: undisputed and right held out, learned in training (mean margin above 0), and with a weight not
    below its class's median; a label of fewer neighbours than another class is none."""
    is_judged: np.ndarray
    """bool: there are held-out predictions, neighbours and a label."""
    is_open: np.ndarray
    """bool: judged, undecided and not excluded, so it may be queued."""
    is_decided: np.ndarray
    """bool: a person's decision on it is in force, or they found its label right."""


def assign_lanes(table: SampleTable, neighbours: tuple[np.ndarray, np.ndarray] | None,
                 rule: Rule) -> tuple[np.ndarray, np.ndarray]:
    """Lane and priority of every row of a sample table (curation.samples.table): see lanes_of.

    neighbours: RunDir.read_neighbours; without them nothing is judged.
    """
    return lanes_of(gather(table, neighbours), rule)


# -- evidence


def gather(table: SampleTable, neighbours: tuple[np.ndarray, np.ndarray] | None,
           confirmed: Collection[str] = ()) -> Evidence:
    """Evidence of a sample table (N rows) with the signals and decisions of a run, and that run's neighbours.

    confirmed: sample_ids whose labels people found right; that is a decision as well.
    """
    label, suggestion = _codes(table)
    num = len(table)
    signal_row = table.frame["signal_row"].to_numpy() if "signal_row" in table else np.full(num, -1, dtype=np.int32)
    excluded = table["excluded"].flags
    shares = np.full((4, num), np.nan, dtype=np.float32)
    if neighbours is not None:
        code_of = np.full(len(neighbours[0]), -1, dtype=label.dtype)
        is_counted = (signal_row >= 0) & ~excluded  # an excluded sample's label speaks for nobody
        code_of[signal_row[is_counted]] = label[is_counted]
        shares = neighbour_shares(code_of, neighbours, signal_row, label, suggestion)
    agreement, rival, top, distance = shares
    quality, margin = _numbers(table, "label_quality"), _numbers(table, "heldout_margin")
    is_disputed = (suggestion >= 0) & (suggestion != label)
    is_decided = ~table["decided_by"].is_null | table.has_ids(confirmed)
    is_judged = np.isfinite(margin) & np.isfinite(quality) & np.isfinite(agreement) & (label >= 0)
    weight = _numbers(table, "weight")
    # Those held out in the last epoch have no weight then: it speaks neither for nor against them.
    is_light = weight < class_quantiles(weight, label, 0.5)[label]
    is_steady = ~is_disputed & (_numbers(table, "mean_margin") > 0) & ~is_light & (margin > 0) & (agreement >= top)
    return Evidence(label=label, margin=margin, confidence=np.maximum(quality, quality - margin),
                    is_disputed=is_disputed, agreement=agreement, rival=rival, top=top, distance=distance,
                    is_steady=is_steady, is_judged=is_judged, is_open=is_judged & ~is_decided & ~excluded,
                    is_decided=is_decided)


def neighbour_shares(code_of: np.ndarray, neighbours: tuple[np.ndarray, np.ndarray], signal_row: np.ndarray,
                     label: np.ndarray, suggestion: np.ndarray) -> np.ndarray:
    """(4, N) float32: share of a row's neighbours with its label, with its suggestion, with their most frequent class,
    and mean distance to them. NaN where no neighbour is known, or the run does not know the sample.

    code_of: (M,) class code of each row of the run's signals, -1: not to be counted. neighbours: (M, k) each.
    signal_row, label, suggestion: (N,) of the table.
    """
    shares = np.full((4, len(signal_row)), np.nan, dtype=np.float32)
    rows = np.flatnonzero(signal_row >= 0)
    for start in range(0, len(rows), _ROWS_AT_ONCE):  # blocks stay in the processor's cache
        part = rows[start:start + _ROWS_AT_ONCE]
        source = signal_row[part]
        near = np.ascontiguousarray(code_of[neighbours[0][source]].T)  # (k, n)
        counted = _count(near >= 0)
        most = np.zeros(len(part), dtype=np.uint8)
        for codes in near:
            np.maximum(most, _count(near == codes) * (codes >= 0), out=most)
        with np.errstate(invalid="ignore", divide="ignore"):
            for i, codes in enumerate((label[part], suggestion[part])):
                shares[i, part] = _count(near == codes) * (codes >= 0) / counted.astype(np.float32)
            shares[2, part] = most / counted.astype(np.float32)
        shares[3, part] = np.where(counted > 0, neighbours[1][source].astype(np.float32).mean(axis=1), np.nan)
    return shares


def _count(flags: np.ndarray) -> np.ndarray:
    """(n,) uint8: how many of (k, n) flags are set; k is 15."""
    total: np.ndarray = np.add.reduce(flags.view(np.uint8), axis=0, dtype=np.uint8)
    return total


def class_quantiles(values: np.ndarray, label: np.ndarray, share: float) -> np.ndarray:
    """(C + 1,) quantile of the finite values (N,) of each class code in label (N,); NaN for an empty class and, last,
    for code -1."""
    is_used = np.isfinite(values) & (label >= 0)
    order = np.argsort(label[is_used], kind="stable")  # a radix sort for int16
    codes, sorted_values = label[is_used][order], values[is_used][order]
    num = int(label.max(initial=-1)) + 1
    ends = np.searchsorted(codes, np.arange(num + 1))
    found = np.full(num + 1, np.nan)
    for code in range(num):
        members = sorted_values[ends[code]:ends[code + 1]]
        if len(members):
            found[code] = np.quantile(members.astype(np.float64), share)
    return found


def _codes(table: SampleTable) -> tuple[np.ndarray, np.ndarray]:
    """(N,) integer codes of current and suggested label, -1 where there is none; equal codes are equal classes."""
    label = table["current_label"].codes
    if "suggested_label" not in table:
        return label.codes, np.full_like(label.codes, -1)
    return comparable(label, table["suggested_label"].codes)


def _numbers(table: SampleTable, name: str) -> np.ndarray:
    """(N,) float, NaN where the column is absent or has no value."""
    return table[name].numbers if name in table else np.full(len(table), np.nan, dtype=np.float32)


# -- lanes


def lanes_of(evidence: Evidence, rule: Rule) -> tuple[np.ndarray, np.ndarray]:
    """(lane (N,) int8, priority (N,) float32). lane: position in LANES, else REST, DECIDED or UNJUDGED.

    priority orders a lane, greatest first; -inf outside the lanes. Probably mislabeled: how far the rival is ahead,
    summed over held-out predictions and neighbours. Ambiguous: nearness of the held-out margin to 0. Out of place: low
    confidence plus distance. Hard but right: share of neighbours with the label, the lower margin first among equals.
    """
    e = evidence
    # Quantiles are of all that are judged, so that deciding on the hardest does not bring up the next hardest, and are
    # passed strictly: where all are equal none stands out.
    judged = np.flatnonzero(e.is_judged)
    label = e.label[judged]
    margin, confidence, top = e.margin[judged], e.confidence[judged], e.top[judged]
    agreement, distance = e.agreement[judged], e.distance[judged]
    is_mixed, is_disputed = top < rule.mixed, e.is_disputed[judged]
    is_unsure = confidence < class_quantiles(confidence, label, rule.odd)[label]
    is_far = distance > class_quantiles(distance, label, 1 - rule.far)[label]
    is_supported = ~is_disputed & ((agreement >= rule.support) | e.is_steady[judged])
    lowest = class_quantiles(np.where(is_supported, margin, np.nan), label, rule.hard)[label]
    lead = e.rival[judged] - agreement
    is_torn = np.abs(margin) < class_quantiles(np.abs(margin), label, rule.torn)[label]
    fits = (is_disputed & (margin <= -rule.doubt) & (lead > max(rule.lead - _TINY, 0.0)), is_torn & is_mixed,
            is_unsure & (is_far | is_mixed), is_supported & (margin < lowest))
    ranks = (lead - margin, -np.abs(margin), _scaled(distance) - confidence,
             agreement - 0.01 * margin)
    lane = np.full(len(e.label), UNJUDGED, dtype=np.int8)
    lane[judged] = np.select([fits[i] for i in ORDER], ORDER, REST)
    lane[~e.is_open] = np.where(e.is_decided[~e.is_open], DECIDED, UNJUDGED)
    priority = np.full(len(e.label), -np.inf, dtype=np.float32)
    priority[judged] = np.select([lane[judged] == i for i in range(len(LANES))], ranks, -np.inf)
    return lane, priority


def queue(lane: np.ndarray, priority: np.ndarray, which: int) -> np.ndarray:
    """Rows of one lane, greatest priority first; ties in the table's order."""
    rows = np.flatnonzero(lane == which)
    return rows[np.argsort(-priority[rows], kind="stable")]


def lane_frame(table: SampleTable, evidence: Evidence, lane: np.ndarray, priority: np.ndarray,
               which: int) -> pd.DataFrame:
    """The queue of one lane as a table: sample_id, lane, priority, labels and what speaks for and against them."""
    rows = queue(lane, priority, which)
    names = ("sample_id", "given_label", "current_label", "suggested_label")
    frame = table.rows(rows, [name for name in names if name in table]).reset_index(drop=True)
    frame.insert(1, "lane", LANES[which])
    frame.insert(2, "priority", priority[rows])
    return frame.assign(heldout_margin=evidence.margin[rows], neighbour_agreement=evidence.agreement[rows],
                        neighbour_distance=evidence.distance[rows])


def _scaled(values: np.ndarray) -> np.ndarray:
    """Values over their 99th percentile, at most 1."""
    most = np.quantile(values, 0.99) if len(values) else 1.0
    return np.minimum(values / max(float(most), 1e-9), 1.0)


# -- scoring


@dataclass(frozen=True, slots=True)
class WrongShare:
    """Share of wrong given labels among the `known` samples whose clean label is known, with its 95% interval."""

    wrong: int
    known: int
    low: float
    high: float

    @property
    def share(self) -> float:
        return self.wrong / self.known


def wrong_share(table: SampleTable, rows: np.ndarray) -> WrongShare | None:
    """How often the given label of these rows differs from clean_label, with Wilson's interval; None if none is known.

    For scoring alone.
    """
    if "clean_label" not in table:
        return None
    clean, given = comparable(table["clean_label"].codes.at(rows), table["given_label"].codes.at(rows))
    is_known = (clean >= 0) & (given >= 0)
    if not (known := int(is_known.sum())):
        return None
    wrong = int((is_known & (clean != given)).sum())
    low, high = wilson_interval(wrong / known, known)
    return WrongShare(wrong=wrong, known=known, low=float(low), high=float(high))
