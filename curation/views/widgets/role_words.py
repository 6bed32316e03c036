"""Why a sample has its role in a run, in words: role_reason and what belongs to it. Strings out; labels appear as they
are: escape the words where they are shown."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

WORDS = {
    "kept_by_coverage": "kept in training by coverage: too many of its neighbours are in validation",
    "withheld_disputed": "withheld by the guard: held-out predictions confidently say {label}",
    "withheld_unsupported": "withheld by the guard: held-out predictions do not support its label well enough",
    "withheld_unknown": "withheld by the guard: it has no held-out prediction yet",
    "rests": "rests this epoch by rotation, to collect a held-out prediction",
    "routed_random": "routed by a random split",
    "routed_learned": "routed by the splitter: among the lowest p_train of its class{passing}",
    "routed_hard": "routed by rank: among the lowest cross-fitted margins of its class{passing}",
    "routed_easy": "routed by rank: among the highest cross-fitted margins of its class{passing}",
    "pinned_validation": "pinned to validation",
    "pinned_train": "pinned to training",
    "excluded_decision": "excluded by decision",
    "excluded_unlabelled": "no usable label",
    "excluded_unreadable": "its image cannot be read; the run's log says why",
}
"""By engine.contract.signal_columns.RoleReason; of one that only trains there is nothing to say."""


def reason_words(row: Mapping[Any, Any], is_guarded: bool = False) -> str:
    """Of a row of the sample table; "" where there is nothing to say. is_guarded: the run had a noise guard."""
    reason = row.get("role_reason")
    if not isinstance(reason, str) or reason not in WORDS:
        return ""
    words = WORDS[reason].format(label=row.get("suggested_label"),
                                 passing=", of those that the guard lets pass" if is_guarded else "")
    if reason.startswith("pinned") and pd.notna(row.get("p_train_unpinned")):
        words += f"; the splitter alone gives it p_train {row['p_train_unpinned']:.2f}"
    if reason.startswith("routed") and pd.notna(row.get("weight")):
        words += "; at the end of the run it trains as well"
    return words
