"""Another class for one sample, with the keys of the queue, as a component of our own (assets/relabel/relabel.js).

Reports the class that was chosen. Takes no decision.
"""

from collections.abc import Callable
from typing import Any

import streamlit as st

from curation.project import Project
from curation.views.widgets.component import component

OnLabel = Callable[[str, str | None], None]
"""Told of a sample and the class chosen for it; None: back to the given one."""


def relabel(project: Project, sample_id: str, suggestion: str | None, on_label: OnLabel, *, key: str) -> None:
    """Draw it for a sample. suggestion: a class offered by itself; on_label is called before the page is drawn anew."""
    owner = f"{key}/{project.path}"
    done_key = f"{owner}/acted"

    def acted() -> None:
        for number, chosen, label in acts_of(st.session_state[key].get("act"), project.classes):
            if number > st.session_state.get(done_key, 0):  # else it was sent again before it was seen to be done
                st.session_state[done_key] = number
                on_label(chosen, label)

    component("relabel")(
        key=key, on_act_change=acted,
        data={"id": sample_id, "classes": list(project.classes), "suggestion": suggestion,
              "acted": st.session_state.get(done_key, 0), "owner": owner})


def acts_of(value: Any, classes: tuple[str, ...]) -> list[tuple[int, str, str | None]]:
    """(number, sample, class) of each act in a trigger's value, in order; what is none of ours is left out."""
    sent = value.get("acts") if isinstance(value, dict) else None
    found = []
    for part in sent if isinstance(sent, list) else []:
        number, sample_id, label = (part.get(name) for name in ("number", "id", "label")) if isinstance(part, dict) \
            else (None, None, None)
        if isinstance(number, int) and not isinstance(number, bool) and isinstance(sample_id, str) \
                and (label is None or label in classes):
            found.append((number, sample_id, label))
    return found
