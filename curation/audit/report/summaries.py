"""Pieces of an audit's health, each a function of results to a part of curation.audit.report.document. Puts them in
words nowhere. Works on small tables, except for class counts.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np
import pandas as pd
import polars as pl

from curation.audit.estimate.allocation import known
from curation.audit.estimate.goal import Goal
from curation.audit.estimate.looks import Progress
from curation.audit.estimate.noise_rate import NoiseRate, Rate
from curation.audit.estimate.reviewed_matrix import MIN_CELL, MIN_ROW, ReviewedMatrix
from curation.audit.estimate.sampling_plan import Plan
from curation.audit.report.document import (
    AgreementPart,
    AnnotatorsPart,
    BatchPart,
    CountPart,
    FindPart,
    KappaPart,
    OpenPart,
    PromisePart,
    ReviewerPart,
)
from curation.audit.report.parts import (
    CellPart,
    ChangePart,
    ClassPart,
    CorrectionsPart,
    DuplicatesPart,
    FlowPart,
    GroupPart,
    IntervalPart,
    MatrixPart,
    OverlapPart,
    RatePart,
    RowPart,
    SizePart,
    StratumPart,
    TotalPart,
)
from curation.audit.reviews.agreement import Kappa, Share, consistency, gold_accuracy, group_agreement, pair_agreements
from curation.audit.reviews.annotators import Annotators
from curation.audit.reviews.consensus import consensus
from curation.audit.reviews.promise import Doubts, Promise, promises
from curation.audit.reviews.queues import disputes
from curation.audit.suspects.duplicates import Duplicates
from curation.audit.suspects.matrix import Overlap

MIN_CLASS = MIN_ROW
"""Reviews from which a class's noise rate is quoted."""
MAX_GROUPS, MAX_IDS = 50, 6
UNDECIDED = "wrong, in dispute as what"
RULE = (f"Quoted are cells on {MIN_CELL} or more reviews, by weight, in rows of {MIN_ROW} or more. A cell that only "
        "just has as many tends to be overstated.")


def rate_part(rate: NoiseRate, found: Progress, goal: Goal, *, num_reviewers: int, num_seen: int,
              num_stale: int) -> RatePart:
    """The overall noise rate. num_seen: num_seen_before's; num_stale: of Plan.stale."""
    overall = rate.overall
    return RatePart(
        share=rate.quoted, low=overall.low, high=overall.high, half_width=overall.half_width, num_early=rate.num_early,
        num_reviews=overall.num_reviews, num_wrong=overall.num_wrong, num_population=overall.num_population,
        num_reviewers=num_reviewers, num_unsure=rate.num_unsure, num_seen=num_seen, num_stale=num_stale,
        bounds=list(rate.bounds), is_complete=rate.is_complete, target=goal.half_width, first_look=goal.first_look,
        planned=found.planned, further=found.further, is_reached=found.is_reached, rule=goal.rule, changes=[
            ChangePart(half_width=change.half_width, num_reviews=change.num_reviews) for change in goal.changes])


def classes_part(rates: Sequence[Rate], names: Sequence[str]) -> list[ClassPart]:
    """A noise rate a class; not quoted below MIN_CLASS reviews."""
    return [ClassPart(name=name, num_population=rate.num_population, num_reviews=rate.num_reviews,
                      num_wrong=rate.num_wrong, is_shown=is_shown, share=rate.share if is_shown else None,
                      low=rate.low if is_shown else None, high=rate.high if is_shown else None)
            for name, rate in zip(names, rates, strict=True) for is_shown in [rate.num_reviews >= MIN_CLASS]]


def strata_part(plan: Plan, verdicts: pd.DataFrame) -> list[StratumPart]:
    """A row a stratum. verdicts: random_verdicts."""
    rows, wrong, _ = known(plan, verdicts)
    stratum = plan.population["stratum"].to_numpy(dtype=np.int64)[rows]
    taken, found = (np.bincount(stratum[mask], minlength=plan.num_strata) for mask in (slice(None), wrong > 0))
    lows: list[float | None] = [*plan.edges, *[None] * (plan.num_strata - len(plan.edges))]
    highs: list[float | None] = [*plan.edges[1:], 1.0, *[None] * (plan.num_strata - len(plan.edges))]
    return [StratumPart(low=low, high=high, num_population=int(size), num_reviews=int(num), num_wrong=int(wrong))
            for low, high, size, num, wrong in zip(lows, highs, plan.sizes, taken, found, strict=False)]


def matrix_part(found: ReviewedMatrix, names: Sequence[str]) -> MatrixPart:
    """Rows of cells, and the cells off the diagonal that may be quoted; names: the plan's classes."""
    columns = [*names, None, UNDECIDED]
    rows: list[RowPart] = []
    flows: list[FlowPart] = []
    for given, name in enumerate(names):
        cells = [CellPart(num_reviewed=int(found.num_reviewed[given, true]), share=_number(found.rate[given, true]),
                          low=_number(found.low[given, true]), high=_number(found.high[given, true]))
                 for true in range(len(columns))]
        num_population = int(found.num_population[given])
        rows.append(RowPart(name=name, num_population=num_population, num_reviews=int(found.num_reviewed[given].sum()),
                            is_shown=bool(found.is_row_shown[given]), cells=cells))
        flows += [FlowPart(given=name, true=columns[true] or "no class fits", count=share * num_population, share=share,
                           num_reviewed=cell["num_reviewed"], low=cell["low"], high=cell["high"])
                  for true, cell in enumerate(cells) if true != given and (share := cell["share"]) is not None]
    return MatrixPart(columns=columns, rows=rows, flows=flows, rule=RULE, min_cell=MIN_CELL, min_row=MIN_ROW)


def overlaps_part(pairs: Sequence[Overlap], names: Sequence[str], found: ReviewedMatrix | None,
                  planned: Sequence[str]) -> list[OverlapPart]:
    """Pairs of classes by the model (codes in names), each with its reviewed total where there is one (in planned)."""
    totals = {frozenset((planned[a], planned[b])): TotalPart(
        total=total.total, low=total.low, high=total.high, share=total.total / total.num_population)
        for (a, b), total in (found.pairs if found else {}).items()}
    return [OverlapPart(name=pair.name, classes=[names[pair.first], names[pair.second]], num_first=pair.num_first,
                        num_second=pair.num_second, share=pair.share,
                        reviewed=totals.get(frozenset((names[pair.first], names[pair.second])))) for pair in pairs]


def find_part(verdicts: pd.DataFrame, num_dual: int = 0, doubts: Doubts = MappingProxyType({})) -> FindPart | None:
    """The ranked queue's promise and what came of it, in all and by reviewer and batch; None where none was made.
    Arguments as curation.audit.reviews.promise.promises takes them."""
    total, each = promises(verdicts, num_dual, doubts)
    if not total.num_judged:
        return None
    batches: list[BatchPart] = [{"who": who, "batch": batch, **_promise(found)} for who, batch, found in each]
    return {**_promise(total), "batches": batches}


def _promise(found: Promise) -> PromisePart:
    return PromisePart(num_judged=found.num_judged, num_wrong=found.num_found, expected=found.expected, low=found.low,
                       high=found.high, promised=found.outcome)


def agreement_part(verdicts: pd.DataFrame, truth: Mapping[str, str] | pd.Series | None = None) -> AgreementPart:
    """How far reviewers agree (curation.audit.reviews.agreement); arguments as there. No gold without truth."""
    group = group_agreement(verdicts)
    return AgreementPart(
        pairs=[{**_kappa(pair.on_label), "reviewers": list(pair.reviewers), "on_wrong": _kappa(pair.on_wrong)}
               for pair in pair_agreements(verdicts)],
        fleiss=None if group is None else {**_kappa(group.on_label), "num_reviewers": group.num_reviewers,
                                           "on_wrong": _kappa(group.on_wrong)},
        consistency={who: _count(share) for who, share in consistency(verdicts).items()},
        gold={} if truth is None else {who: _count(share) for who, share in gold_accuracy(verdicts, truth).items()})


def _kappa(found: Kappa) -> KappaPart:
    return KappaPart(num=found.num, agreement=found.agreement, kappa=found.kappa, low=found.low, high=found.high)


def _count(found: Share) -> CountPart:
    return CountPart(num=found.num, num_right=found.num_right, share=found.share, low=found.low, high=found.high)


def annotators_part(found: Annotators | None) -> AnnotatorsPart | None:
    return None if found is None else AnnotatorsPart(
        num_answers=found.num_answers, num_people=found.num_people, num_samples=found.num_samples,
        num_shared=found.num_shared, agreement=found.agreement, alpha=found.alpha)


def reviewers_part(verdicts: pd.DataFrame, agreement: AgreementPart) -> list[ReviewerPart]:
    """A row a person, most verdicts first."""
    people = [ReviewerPart(name=str(name), num_verdicts=len(rows), median_seconds=_number(rows["seconds"].median()),
                           num_unsure=int(rows["verdict"].eq("unsure").sum()),
                           consistency=agreement["consistency"].get(str(name)), gold=agreement["gold"].get(str(name)))
              for name, rows in verdicts.groupby("who")]
    return sorted(people, key=lambda person: (-person["num_verdicts"], person["name"]))


def open_part(verdicts: pd.DataFrame, audit: str) -> OpenPart:
    """Disputes (curation.audit.reviews.queues.disputes), and unsure samples of this audit. verdicts: in force, of every
    audit, on labels as they are."""
    state = consensus(verdicts[verdicts["audit"].eq(audit)])["state"]
    return OpenPart(num_disputed=len(disputes(verdicts, audit)), num_unsure=int(state.eq("unsure").sum()))


def corrections_part(rows: pd.DataFrame, names: Sequence[str], overall: Rate | None,
                     in_population: np.ndarray) -> CorrectionsPart:
    """What was changed, confirmed and left out, and the noise rate that remains.

    rows: curation.audit.reviews.known_labels.with_labels; in_population: (N,) bool, what the rate is about. remaining:
    the estimated wrong labels less those corrected or left out as fitting no class, others left out taken as wrong as
    the average, over the samples still in; None without an estimate.
    """
    changed, excluded = rows["is_changed"] & ~rows["is_excluded"], rows["is_excluded"]
    confirmed = rows["is_known"] & ~changed
    is_none, counted = rows["verdict"].eq("neither"), pd.Series(in_population, index=rows.index)
    given, moved_out, moved_in, left_out, current = (rows.loc[mask, column].value_counts() for column, mask in (
        ("given_label", slice(None)), ("given_label", changed), ("corrected_label", changed), ("given_label", excluded),
        ("corrected_label", ~excluded)))
    remaining = None
    if overall is not None and overall.share is not None and overall.low is not None and overall.high is not None:
        num_fixed = int((counted & (changed | (excluded & is_none))).sum())
        num_gone, num_others = int((counted & excluded).sum()), int((counted & excluded & ~is_none).sum())
        num_left, gone = max(1, overall.num_population - num_gone), num_fixed + overall.share * num_others
        share, low, high = (float(np.clip((value * overall.num_population - gone) / num_left, 0, 1))
                            for value in (overall.share, overall.low, overall.high))
        remaining = IntervalPart(share=share, low=low, high=high)
    return CorrectionsPart(
        num_changed=int(changed.sum()), num_confirmed=int(confirmed.sum()), num_excluded=int(excluded.sum()),
        remaining=remaining, classes=[SizePart(
            name=name, given=_count_of(given, name), moved_out=_count_of(moved_out, name),
            moved_in=_count_of(moved_in, name), excluded=_count_of(left_out, name), current=_count_of(current, name))
            for name in names])


def duplicates_part(found: Duplicates, sample_id: pl.Series, labels: np.ndarray, names: Sequence[str],
                    content: Mapping[str, str], max_distance: float) -> DuplicatesPart:
    """The largest groups. sample_id, labels: in the order of found's rows; content: sample_id -> digest, "" unknown."""
    groups: list[GroupPart] = []
    for number in range(min(found.num_groups, MAX_GROUPS)):
        rows = found.group(number)
        counts = np.bincount(labels[rows], minlength=len(names))
        digests = [content.get(i, "") for i in sample_id[rows]]
        labels_of = {names[code]: int(counts[code]) for code in np.argsort(-counts, kind="stable") if counts[code]}
        groups.append(GroupPart(num=len(rows), sample_ids=sample_id[rows[:MAX_IDS]].to_list(), labels=labels_of,
                                is_identical=any(d and digests.count(d) > 1 for d in digests)))
    return DuplicatesPart(num_near=found.num_near, num_pairs=len(found.pairs), num_groups=found.num_groups,
                          max_distance=max_distance, groups=groups)


def _count_of(counts: pd.Series, name: str) -> int:
    return int(counts.get(name, 0))


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
