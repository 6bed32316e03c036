"""What is known of an audit, as its report keeps it in JSON: types alone. What is said there of labels is in parts.

Shares lie in [0, 1]; None is not known, or may not be quoted; intervals are of 95%.
"""

from typing import Literal, TypedDict

from curation.audit.report.parts import (
    ClassPart,
    CorrectionsPart,
    DuplicatesPart,
    LeaksPart,
    MatrixPart,
    OverlapPart,
    RatePart,
    StratumPart,
)
from curation.audit.reviews.promise import Outcome
from curation.audit.suspects.evidence import Missing
from curation.audit.suspects.learning import Fault


class ProjectPart(TypedDict):
    name: str
    source: str
    num_training: int
    classes: list[str]


class AuditPart(TypedDict):
    name: str
    generated: float
    """Seconds since 1970, as planned is."""
    planned: float | None


class PromisePart(TypedDict):
    num_judged: int
    num_wrong: int
    expected: float
    low: int
    high: int
    promised: Outcome


class BatchPart(PromisePart):
    who: str
    batch: int


class FindPart(PromisePart):
    """The ranked queue, in all and by batch."""

    batches: list[BatchPart]


class CountPart(TypedDict):
    """num_right of num answers, with the interval of their share."""

    num: int
    num_right: int
    share: float
    low: float
    high: float


class KappaPart(TypedDict):
    """curation.audit.reviews.agreement.Kappa."""

    num: int
    agreement: float
    kappa: float | None
    low: float | None
    high: float | None


class PairPart(KappaPart):
    """Cohen's kappa of two people on the label; on_wrong: on whether it is wrong."""

    reviewers: list[str]
    on_wrong: KappaPart


class FleissPart(KappaPart):
    num_reviewers: int
    on_wrong: KappaPart


class AgreementPart(TypedDict):
    pairs: list[PairPart]
    fleiss: FleissPart | None
    consistency: dict[str, CountPart]
    """By reviewer: hidden repeats answered as before."""
    gold: dict[str, CountPart]
    """By reviewer: hidden items of known class answered right."""


class OpenPart(TypedDict):
    """Samples that reviews have left open."""

    num_disputed: int
    num_unsure: int


class PeoplePart(OpenPart):
    """How far people agree, and what is open."""

    pairs: list[PairPart]
    fleiss: FleissPart | None


class AnnotatorsPart(TypedDict):
    """curation.audit.reviews.annotators.Annotators."""

    num_answers: int
    num_people: int
    num_samples: int
    num_shared: int
    agreement: float | None
    alpha: float | None


class ReviewerPart(TypedDict):
    name: str
    num_verdicts: int
    median_seconds: float | None
    num_unsure: int
    consistency: CountPart | None
    gold: CountPart | None


class Facts(TypedDict):
    """The state of an audit."""

    format: Literal["whetstone-audit-1"]
    project: ProjectPart
    audit: AuditPart
    rate: RatePart | None
    classes: list[ClassPart]
    strata: list[StratumPart]
    matrix: MatrixPart | None
    overlaps: list[OverlapPart]
    duplicates: DuplicatesPart | None
    leaks: LeaksPart | None
    """None where they have not been looked for."""
    find: FindPart | None
    reviewers: list[ReviewerPart]
    agreement: PeoplePart
    annotators: AnnotatorsPart | None
    """Of the answers that came with the data; None where none did."""
    corrections: CorrectionsPart
    num_calibrated: int
    num_unscored: int
    fault: Fault | None
    """Why the run names no suspects; None: it has learned to tell the classes, or there is none."""
    parts: list[str]
    """How much of the data the run is about, where that is not all, and what is gone from its folder; a line each."""
    missing: list[Missing]
    """Evidence that the run lacks."""
    provenance: dict[str, str]
    """What the figures rest on, by name; digests are SHA-256."""


class Health(Facts):
    """The same with what its report says of method and limits, a paragraph each."""

    method: list[str]
    limits: list[str]
