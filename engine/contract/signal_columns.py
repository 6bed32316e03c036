"""Every column of signals.parquet: its type and range, which end is bad, and whether it was held out.

The one place that defines them; who writes, reads, shows or filters them asks here. Imports no torch.
"""

from dataclasses import dataclass
from typing import Literal, get_args

Role = Literal["train", "validation", "excluded"]
ROLES: tuple[Role, ...] = get_args(Role)
"""Role names; a history record holds the position in this tuple."""

RoleReason = Literal[
    "trains",
    "kept_by_coverage",
    "withheld_disputed",
    "withheld_unsupported",
    "withheld_unknown",
    "rests",
    "routed_random",
    "routed_learned",
    "routed_easy",
    "routed_hard",
    "pinned_validation",
    "pinned_train",
    "excluded_decision",
    "excluded_unlabelled",
    "excluded_unreadable",
]
"""Why a sample has its role:

    trains                  among the others of its class
    kept_by_coverage        passed over: too many of its neighbours are in validation
    withheld_disputed       by the guard: held-out predictions confidently name suggested_label
    withheld_unsupported    by the guard: held-out predictions do not support its label
    withheld_unknown        by the guard: it has no held-out prediction yet
    rests                   out of training this epoch by rotation, to collect a held-out prediction
    routed_*                to validation: at random, by the splitter, or as the easiest or hardest by cross-fitted
    margin pinned_*                by a person
    excluded_*              by a person's decision, for want of a label that is a class, or of a readable image
"""
ROLE_REASONS: tuple[RoleReason, ...] = get_args(RoleReason)
WITHHELD: tuple[RoleReason, ...] = ("withheld_disputed", "withheld_unsupported", "withheld_unknown")

Kind = Literal["text", "flag", "number", "count"]


@dataclass(frozen=True, kw_only=True, slots=True)
class SignalColumn:
    """One column of signals.parquet."""

    kind: Kind
    """text: string; flag: bool, never null; number: float32, null where it is not known; count: integer, never null."""
    meaning: str
    low: float | None = None
    high: float | None = None
    """Smallest and largest value, inclusive; None: unbounded."""
    bad_end: Literal["low", "high"] | None = None
    """Which end speaks against the sample or its label; None: neither."""
    is_heldout: bool = False
    """From predictions of those that did not train on the sample then: in epochs in which it was held out, and by
    cross-fitting before them."""
    choices: tuple[str, ...] = ()
    """All values of a text that is one of a few."""
    is_nullable: bool = False
    """May be null; of excluded samples every number is."""


COLUMNS: dict[str, SignalColumn] = {
    "sample_id": SignalColumn(kind="text", meaning="the manifest's"),
    "role": SignalColumn(kind="text", choices=ROLES, meaning="where the run has the sample in its last epoch; "
                         "validation: routed there, pinned there or at rest"),
    "role_reason": SignalColumn(kind="text", choices=ROLE_REASONS, meaning="why it has that role"),
    "is_resting": SignalColumn(kind="flag", meaning="in validation by rotation alone, for this epoch"),
    "p_train": SignalColumn(kind="number", low=0.0, high=1.0, bad_end="low", is_nullable=True,
                            meaning="the splitter's probability of training; of a pinned sample the pin, 0 or 1"),
    "p_train_unpinned": SignalColumn(kind="number", low=0.0, high=1.0, bad_end="low", is_nullable=True,
                                     meaning="of a pinned sample: p_train as the splitter alone has it"),
    "route_share": SignalColumn(kind="number", low=0.0, high=1.0, bad_end="high", is_nullable=True,
                                meaning="share of the scored epochs in which it was routed to validation"),
    "weight": SignalColumn(kind="number", low=0.0, is_nullable=True,
                           meaning="in this epoch's training, mean 1 over the samples trained on"),
    "margin": SignalColumn(kind="number", low=-1.0, high=1.0, bad_end="low", is_nullable=True,
                           meaning="last known p_y - max_{j != y} p_j; below 0 another class is preferred"),
    "heldout_margin": SignalColumn(kind="number", low=-1.0, high=1.0, bad_end="low", is_heldout=True,
                                   is_nullable=True, meaning="mean margin held out, later epochs and cross-fitting "
                                                             "counting more"),
    "heldout_epochs": SignalColumn(kind="count", low=0, is_heldout=True,
                                   meaning="epochs in which it was held out; cross-fitting before them counts as one"),
    "mean_margin": SignalColumn(kind="number", low=-1.0, high=1.0, bad_end="low", is_nullable=True,
                                meaning="mean over the epochs it trained in of its margin, of softmax outputs. Not the "
                                "AUM of Pleiss et al. 2020, which averages margins of logits"),
    "label_quality": SignalColumn(kind="number", low=0.0, high=1.0, bad_end="low", is_heldout=True, is_nullable=True,
                                  meaning="mean held-out probability of the label, later epochs and cross-fitting "
                                          "counting more"),
    "suggested_label": SignalColumn(kind="text", is_heldout=True, is_nullable=True,
                                    meaning="the other class that held-out predictions confidently name"),
    "predicted_label": SignalColumn(kind="text", is_nullable=True, meaning="last prediction"),
    "loss": SignalColumn(kind="number", low=0.0, bad_end="high", is_nullable=True, meaning="last known cross-entropy"),
    "forgetting": SignalColumn(kind="count", low=0, bad_end="high",
                               meaning="times it was predicted wrong after right, from epoch to epoch of training"),
}
"""By name, in the order of the file."""
SIGNAL_COLUMNS = tuple(COLUMNS)
