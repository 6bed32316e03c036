"""What an audit's report says of labels, in JSON: types alone, as those of curation.audit.report.document.

Shares lie in [0, 1]; None is not known, or may not be quoted; intervals are of 95%.
"""

from typing import TypedDict

from curation.audit.estimate.goal import Rule


class IntervalPart(TypedDict):
    """An estimate with its interval."""

    share: float
    low: float
    high: float


class EstimatePart(TypedDict):
    """A share of wrong labels; 1 is bad."""

    share: float | None
    low: float | None
    high: float | None
    num_reviews: int
    num_wrong: int
    num_population: int


class ChangePart(TypedDict):
    """curation.audit.estimate.goal.Change."""

    half_width: float
    num_reviews: int


class RatePart(EstimatePart):
    """The overall noise rate; share is None where it may not be quoted yet."""

    half_width: float
    num_early: int
    """Reviews wanted before share is quoted, not low and high alone; 0: it is."""
    target: float
    """Half-width asked for."""
    first_look: int
    """Reviews at which the interval is judged first."""
    planned: int | None
    """Reviews at which the interval is judged next, or was where it was reached; None: it cannot be."""
    further: int | None
    """Reviews until then; 0: it is reached."""
    is_reached: bool
    """The interval was as narrow as was asked at a planned number of reviews."""
    rule: Rule
    """What the audit was begun under."""
    changes: list[ChangePart]
    """Precisions given up for finer ones, oldest first."""
    is_complete: bool
    """Every stratum has the reviews that an interval needs."""
    bounds: list[float]
    """[low, high] that hold whatever the unsure ones are."""
    num_unsure: int
    num_reviewers: int
    num_seen: int
    """Drawn samples that the same person had judged in the ranked queue before."""
    num_stale: int
    """Planned samples that are gone or have another given label by now."""


class ClassPart(EstimatePart):
    """The noise rate of one given class."""

    name: str
    is_shown: bool
    """It has the reviews to be quoted; share, low and high are None where not."""


class StratumPart(TypedDict):
    low: float | None
    """Lowest p_wrong, as high is the highest; None: not scored."""
    high: float | None
    num_population: int
    num_reviews: int
    num_wrong: int


class CellPart(TypedDict):
    """Samples of one given class that truly are one class; share of the given class."""

    num_reviewed: int
    share: float | None
    low: float | None
    high: float | None


class RowPart(TypedDict):
    name: str
    num_population: int
    num_reviews: int
    is_shown: bool
    cells: list[CellPart]


class FlowPart(TypedDict):
    """A cell off the diagonal that may be quoted, as IntervalPart of the given class."""

    given: str
    true: str
    count: float
    """Samples of the population."""
    num_reviewed: int
    share: float
    low: float | None
    high: float | None


class MatrixPart(TypedDict):
    """Given label x true label, from reviews."""

    columns: list[str | None]
    """The classes, then None: none of them; then "wrong, in dispute as what"."""
    rows: list[RowPart]
    flows: list[FlowPart]
    rule: str
    min_cell: int
    min_row: int


class TotalPart(IntervalPart):
    """Samples of two classes that truly are the other one: total, low and high in samples, share of both classes."""

    total: float


class OverlapPart(TypedDict):
    """Two classes mixed up; numbers and share as the model expects."""

    name: str
    classes: list[str]
    num_first: float
    num_second: float
    share: float
    reviewed: TotalPart | None
    """From reviews."""


class GroupPart(TypedDict):
    num: int
    sample_ids: list[str]
    """The first of them."""
    labels: dict[str, int]
    """Labels in force -> samples, most first."""
    is_identical: bool
    """Two of its files have the same bytes."""


class SplitLeaksPart(TypedDict):
    """As curation.audit.suspects.leaks.SplitLeaks."""

    split: str
    num_samples: int
    num_near: int
    num_identical: int


class LeaksPart(TypedDict):
    """Pictures of clean and test that are nearly in training."""

    features: str
    """By which they are near."""
    splits: list[SplitLeaksPart]


class DuplicatesPart(TypedDict):
    num_near: int
    num_pairs: int
    """Of the near ones, those whose labels contradict each other."""
    num_groups: int
    max_distance: float
    groups: list[GroupPart]
    """The largest."""


class SizePart(TypedDict):
    """One class before and after, in samples."""

    name: str
    given: int
    moved_out: int
    moved_in: int
    excluded: int
    current: int


class CorrectionsPart(TypedDict):
    num_changed: int
    num_confirmed: int
    num_excluded: int
    remaining: IntervalPart | None
    """The noise rate of the labels in force."""
    classes: list[SizePart]
