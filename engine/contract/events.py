"""What a user should know of an epoch, as facts: metrics.jsonl's events. Views put them in words."""

from typing import Literal, NotRequired, TypedDict, get_args

EventKind = Literal["empty_validation", "one_class", "churning", "went_back", "never_left_warmup", "weights_held",
                    "weights_idle", "weights_collapse", "weights_constant"]
"""
    empty_validation    no sample was routed, so weights were not updated
    one_class           all validation samples are of one class
    churning            more than half of the routed samples are new; share: how many
    went_back           early stopping took the classifier of `epoch`, of validation accuracy `accuracy`
    never_left_warmup   the run ended before a weight was learned
    weights_held        of older code: near 1, since margins lie in one heap; their bimodality is below `threshold`
    weights_idle        they hardly acted, since samples at rest did no better under them; freedom: how far they did
    weights_collapse    onto a few samples: effective_sample_frac, apart from class sizes
    weights_constant    learned weights change nothing
"""
EVENT_KINDS: tuple[EventKind, ...] = get_args(EventKind)


class RunEvent(TypedDict):
    """One event; which parameters it has, its kind says."""

    kind: EventKind
    share: NotRequired[float]
    epoch: NotRequired[int]
    accuracy: NotRequired[float]
    bimodality: NotRequired[float]
    threshold: NotRequired[float]
    freedom: NotRequired[float]
    effective_sample_frac: NotRequired[float]
