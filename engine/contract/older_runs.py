"""Runs that older versions wrote, read as if today's had: the only place that reads their prose.

Before signals.parquet had role_reason, p_train_unpinned and is_resting, its column `why` said it in sentences;
mean_margin was called aum; events of metrics.jsonl were sentences, and effective_sample_frac was called a size.
"""

import re

import numpy as np
import pandas as pd

from engine.contract.events import EventKind, RunEvent
from engine.contract.signal_columns import SIGNAL_COLUMNS, RoleReason

_REASONS: tuple[tuple[str, RoleReason], ...] = (
    ("kept in training by coverage", "kept_by_coverage"),
    ("withheld by the guard: held-out predictions confidently say", "withheld_disputed"),
    ("withheld by the guard: held-out predictions do not support", "withheld_unsupported"),
    ("withheld by the guard", "withheld_unknown"),
    ("rests this epoch", "rests"),
    ("routed by the splitter", "routed_learned"),
    ("routed by rank: among the lowest", "routed_hard"),
    ("routed by rank: among the highest", "routed_easy"),
    ("routed by a random split", "routed_random"),
    ("pinned to validation", "pinned_validation"),
    ("pinned to training", "pinned_train"),
    ("excluded by", "excluded_decision"),
    ("no usable label", "excluded_unlabelled"),
)
"""How a sentence begins -> the reason; of an excluded sample any other sentence is about its image."""
_WISH = r"gives it p_train ([0-9.]+)"
_EVENTS: tuple[tuple[str, EventKind], ...] = (
    ("empty validation", "empty_validation"), ("one class", "one_class"), ("churning", "churning"),
    ("early stopping", "went_back"), ("never left warm-up", "never_left_warmup"),
    ("weights were held near 1", "weights_held"), ("weights collapse", "weights_collapse"),
    ("learned weights are constant", "weights_constant"),
)
_NUMBERS = {"churning": r"(?P<share>\d+)%",
            "went_back": r"epoch (?P<epoch>\d+), validation accuracy (?P<accuracy>[\d.]+)",
            "weights_held": r"bimodality (?P<bimodality>[\d.]+), below (?P<threshold>[\d.]+)",
            "weights_collapse": r"size (?P<effective_sample_frac>[\d.]+)"}


FORMER_METRICS = {"effective_sample_size": "effective_sample_frac"}
"""What older code called figures of metrics.jsonl."""
ADDED_METRICS: dict[str, float | None] = {"label_noise": None, "weight_freedom": None}
"""Figures that the first lines of metrics.jsonl did not have, as not known."""


def is_older(signals: pd.DataFrame) -> bool:
    return "why" in signals


def upgraded(signals: pd.DataFrame, routed_N: np.ndarray | None) -> pd.DataFrame:
    """An older signals.parquet with today's SIGNAL_COLUMNS. routed_N: (N,) bool, who was routed in the last epoch by
    its history; None where there is none: then nobody is known to rest."""
    why = signals["why"].fillna("").astype(object)
    is_out = signals["role"].eq("excluded").to_numpy(dtype=bool)
    reason = np.where(is_out, "excluded_unreadable", "trains").astype(object)
    for start, name in reversed(_REASONS):
        reason[why.str.startswith(start).to_numpy(dtype=bool)] = name
    is_validation = signals["role"].eq("validation").to_numpy(dtype=bool)
    is_resting = is_validation & ~routed_N if routed_N is not None and len(routed_N) == len(signals) else \
        np.zeros(len(signals), dtype=bool)
    reason[is_resting] = "rests"
    wish = pd.to_numeric(why.str.extract(_WISH, expand=False), errors="coerce").astype(np.float32)
    frame = signals.rename(columns={"aum": "mean_margin"}).assign(
        role_reason=pd.array(reason, dtype="string"), is_resting=is_resting, p_train_unpinned=wish)
    return frame[list(SIGNAL_COLUMNS)]


def event_of(said: RunEvent | str) -> RunEvent | None:
    """An event, from the sentence that older code wrote; None for one that no version wrote."""
    if not isinstance(said, str):
        return said
    kind = next((name for start, name in _EVENTS if said.startswith(start)), None)
    if kind is None:
        return None
    event = RunEvent(kind=kind)
    found = re.search(_NUMBERS[kind], said) if kind in _NUMBERS else None
    for name, text in (found.groupdict() if found else {}).items():
        value = float(text.rstrip(".,"))
        event[name] = int(value) if name == "epoch" else value / 100 if name == "share" else value  # type: ignore[literal-required]
    return event
