"""How many samples the run used where and on how many people decided: counts that filter, once clicked, and let go.

Each count is of the samples that the other filters leave. They show and change the predicate in force
(curation.views.explore.chosen).
"""

import numpy as np
import streamlit as st

from curation.project import Project
from curation.samples.frames import SampleTable
from curation.samples.predicates import (
    DECISIONS,
    FLAGS,
    ROLE_NAMES,
    ListPart,
    Passing,
    Predicate,
    decision_mask,
    flag_mask,
    role_mask,
)
from curation.views.explore import chosen as store
from curation.views.widgets.palette import ROLE_COLOURS

KEY = "explore.count."
WORDS: dict[ListPart, dict[str, str]] = {
    "roles": {"train": "in training", "validation": "in validation", "excluded": "excluded in this run"},
    "flags": {FLAGS[0]: "in doubt", FLAGS[1]: "withheld by the guard", FLAGS[2]: "in the hard set"},
    "decisions": {name: name for name in DECISIONS}}
"""What follows the number."""
TITLES: dict[ListPart, str] = {"roles": "Role", "flags": "Doubt, guard, hard set", "decisions": "Decision"}
MEANINGS: dict[ListPart, str] = {
    "roles": "Where the run's last epoch used them.",
    "flags": "In doubt: held-out predictions name another class. Withheld by the guard: hard enough for validation, "
             "but their labels look wrong. In the hard set: what an export takes now, decisions included.",
    "decisions": "What people decided, in force now."}


def counts(project: Project, table: SampleTable, chosen: Predicate, passing: Passing, has_guard: bool) -> None:
    """Draw them for the predicate `chosen`; passing: what each part of it leaves. What applies to none is not shown.
    has_guard: whether the run is of a kind that withholds samples."""
    masks: dict[ListPart, dict[str, np.ndarray]] = {
        "roles": {name: role_mask(table, name) for name in ROLE_NAMES if "role" in table.columns},
        "flags": {name: flag_mask(table, name) for name in FLAGS if has_guard or name != FLAGS[1]},
        "decisions": {name: decision_mask(table, name) for name in DECISIONS}}
    if masks["decisions"]["undecided"].all():
        del masks["decisions"]["undecided"]
    for part, of_part in masks.items():
        now = chosen.get(part, [])
        left = passing.but(part)
        shown = {name: int(np.count_nonzero(mask & left)) for name, mask in of_part.items()
                 if name in now or mask.any()}
        if now or len(shown) > (part == "roles"):  # all of one role: nothing to tell apart
            _group(project, part, shown, now)


def _group(project: Project, part: ListPart, shown: dict[str, int], now: list[str]) -> None:
    """The counts of a part as buttons. The browser knows one by its words, number included: what is on is sent anew
    each time, and a number from before still means its words."""
    key, names = f"{KEY}{part}", list(shown)
    by_words = {text: name for name, text in WORDS[part].items()}
    st.session_state[key] = [name for name in names if name in now]

    def changed() -> None:
        picked = {by_words.get(str(item).rpartition("** ")[2], item) for item in st.session_state[key]}
        store.change(project, part, [name for name in names if name in picked])

    if part == "roles":
        st.html(_dots(names))
    st.pills(TITLES[part], names, selection_mode="multi", key=key, on_change=changed, label_visibility="collapsed",
             format_func=lambda name: f"**{shown[name]:,}** {WORDS[part][name]}" if name in shown else name,
             help=MEANINGS[part])


def _dots(names: list[str]) -> str:
    """The colours of the roles, before their counts."""
    at = f".st-key-{KEY.replace('.', '-')}roles button"
    return "<style>" + "".join(f"{at}:nth-of-type({i})::before {{ background: {ROLE_COLOURS[name]} }}"
                               for i, name in enumerate(names, 1)) + "</style>"
