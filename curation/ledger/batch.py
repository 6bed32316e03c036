"""One batch as a row of the ledger: who, what, when, why, and what it follows from. Checks texts and nothing else."""

from datetime import UTC, datetime
from typing import Literal, TypedDict, get_args

from engine.contract.errors import UserError

MAX_TEXT = 2000
DecisionKind = Literal["pin", "exclude", "relabel"]
BatchKind = Literal["pin", "exclude", "relabel", "undo", "redo"]
Pin = Literal["validation", "train"]
Origin = Literal["person", "settlement", "audit"]
"""What a batch follows from. person: somebody decided (or undid, or redid). settlement: somebody settled a conflict;
what follows it is judged anew. audit: the verdicts of an audit, which is nobody's stand: where reviewers disagree the
audit itself has them settle it, by verdicts."""
PINS: tuple[Pin, ...] = get_args(Pin)
ORIGINS: tuple[Origin, ...] = get_args(Origin)
_ORIGIN_OF_VIEW: dict[str, Origin] = {"decide: conflicts": "settlement", "audit": "audit"}


class LedgerError(UserError):
    """A decision cannot be taken, or the database does not answer. One line, ready to show."""


class Said(TypedDict):
    """Who acted, when and why, and where from: the texts of a batch, or of a verdict."""

    who: str
    at: str
    """UTC, ISO 8601 with milliseconds."""
    why: str
    view: str
    """The view it was taken in, as people read it."""
    run: str


class NewBatch(Said):
    """A batch that has no number yet."""

    kind: BatchKind
    value: str | None
    """What a decision sets (None: takes back), or the number of the batch that an undo or redo touches."""
    num_samples: int
    origin: Origin


class Batch(NewBatch):
    """A row of the ledger."""

    batch_id: int


def said(who: str, why: str = "", view: str = "", run: str = "") -> Said:
    """These texts, each on one line, said now. Raises LedgerError for no name or a text over MAX_TEXT characters."""
    texts = {"who": who, "why": why, "view": view, "run": run}
    for name, text in texts.items():
        texts[name] = " ".join("".join(c if c.isprintable() else " " for c in str(text)).split())
        if len(texts[name]) > MAX_TEXT:
            raise LedgerError(f"{name} may have {MAX_TEXT} characters; got {len(texts[name])}; shorten it")
    if not texts["who"]:
        raise LedgerError("a decision must say who made it; got no name; give your name")
    at = datetime.now(UTC).isoformat(timespec="milliseconds")
    return Said(who=texts["who"], at=at, why=texts["why"], view=texts["view"], run=texts["run"])


def new_batch(kind: BatchKind, value: str | None, num_samples: int, origin: Origin, words: Said) -> NewBatch:
    """A batch's row, its number still to come. Raises LedgerError for an origin that is none of ORIGINS."""
    if origin not in ORIGINS:
        raise LedgerError(f"an origin must be one of {', '.join(ORIGINS)}; got {origin!r}; choose one of them")
    return NewBatch(kind=kind, value=value, num_samples=num_samples, origin=origin, **words)


def origin_of_view(view: str) -> Origin:
    """The origin of a batch that was written before batches said theirs: it stood in the view."""
    return _ORIGIN_OF_VIEW.get(view, "person")
