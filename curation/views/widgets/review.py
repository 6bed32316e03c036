"""The review: one sample at a time, answered by keyboard, as a component of our own (assets/review/review.js).

Shows a batch of items and reports answers. Knows neither scores nor the log of verdicts, and is told no item's purpose:
what the browser does not have it cannot give away.
"""

import math
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypedDict, get_args

import streamlit as st

from curation.ledger import people
from curation.project import Project
from curation.views.routes.thumbnails import thumbnail_url
from curation.views.widgets.component import component

ANSWERS = ("given", "suggested", "both", "neither", "other", "unsure")
Op = Literal["verdict", "retract", "next"]
OPS: tuple[Op, ...] = get_args(Op)
MAX_SECONDS = 300.0
"""A longer look was a pause."""


@dataclass(frozen=True, slots=True)
class ReviewItem:
    """One question. key: what an answer names it by, unique in its batch; suggestion None: none is shown."""

    key: str
    sample_id: str
    given: str
    suggestion: str | None = None
    confidence: str | None = None
    """In words, below the suggestion."""
    chance: str | None = None
    """How probably the given label is wrong, in words below it."""


@dataclass(frozen=True, slots=True)
class Summary:
    """What is said at the end of a batch; without a button there is no next one."""

    headline: str
    lines: tuple[str, ...] = ()
    button: str | None = None


@dataclass(frozen=True, slots=True)
class Act:
    """What a key asked for, in the batch of that token; the rest for verdict and retract alone."""

    op: Op
    batch: str
    key: str
    """A UUID of this very act."""
    item: str | None = None
    verdict: str | None = None
    label: str | None = None
    seconds: float | None = None
    """From shown to answered, in [0, MAX_SECONDS], without the time in which the page was hidden."""


def review(project: Project, items: Sequence[ReviewItem], on_act: Callable[[Act], None], *, key: str, batch: str,
           answers: Mapping[str, tuple[str, str | None]], references: Mapping[str, Sequence[str]], heading: str,
           last: str | None = None, summary: Summary | None = None, empty: str = "There is nothing to review.") -> None:
    """Draw a batch where it was left: at its first item without an answer.

    on_act is called before the page is drawn anew. batch: token of these very items. answers: item key -> (one of
    ANSWERS, label), those in force; last: key of the newest of them, which undo takes back. references: class -> ids of
    typical samples. summary: once every item has an answer. empty: what is said where there are no items.
    """
    owner = f"{key}/{project.path}"
    done_key = f"{owner}/acted"

    def acted() -> None:
        for number, act in acts_of(st.session_state[key].get("act"), project.classes):
            if number > st.session_state.get(done_key, 0):  # else it was sent again before it was seen to be done
                st.session_state[done_key] = number
                on_act(act)

    component("review")(
        key=key, on_act_change=acted,
        data={"items": [_item(project, item) for item in items], "batch": batch, "heading": heading, "last": last,
              "answers": {name: {"verdict": verdict, "label": label} for name, (verdict, label) in answers.items()},
              "references": {name: [thumbnail_url(project, i, 128) for i in ids] for name, ids in references.items()},
              "classes": list(project.classes), "can_suggest": any(item.suggestion is not None for item in items),
              "summary": summary and {"headline": summary.headline, "lines": list(summary.lines),
                                      "button": summary.button},
              "empty": empty, "refusal": people.refusal("reviewer", "answering"),
              "acted": st.session_state.get(done_key, 0), "owner": owner})


def acts_of(value: Any, classes: Sequence[str]) -> list[tuple[int, Act]]:
    """(number, act) of each act in a trigger's value, in order; what is none of ours is left out."""
    sent = value.get("acts") if isinstance(value, dict) else None
    found = [(part.get("number"), act_of(part, classes)) for part in (sent if isinstance(sent, list) else [])
             if isinstance(part, dict)]
    return [(number, act) for number, act in found
            if act is not None and isinstance(number, int) and not isinstance(number, bool)]


def act_of(value: Mapping[str, Any], classes: Sequence[str]) -> Act | None:
    """One act as an Act; None where the browser sent something else."""
    op, item, label = value.get("op"), value.get("item"), value.get("label")
    try:
        key = str(uuid.UUID(str(value.get("key"))))
    except ValueError:
        return None
    if op not in OPS or not isinstance(value.get("batch"), str):
        return None
    if op == "next":
        return Act(op=op, batch=value["batch"], key=key)
    if not isinstance(item, str):
        return None
    if op == "retract":
        return Act(op=op, batch=value["batch"], key=key, item=item)
    verdict = value.get("verdict")
    if verdict not in ANSWERS or (verdict == "other") != (label in classes):
        return None
    return Act(op=op, batch=value["batch"], key=key, item=item, verdict=verdict, seconds=_seconds(value.get("seconds")),
               label=label if verdict == "other" else None)


def _seconds(value: Any) -> float | None:
    """Seconds in [0, MAX_SECONDS]; None where the browser sent none."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return min(max(float(value), 0.0), MAX_SECONDS)


class _Shown(TypedDict):
    """An item as review.js draws it."""

    key: str
    id: str
    src: str
    hard: str
    """The same in hard pixels, for the zoom."""
    given: str
    suggestion: str | None
    confidence: str | None
    chance: str | None


def _item(project: Project, item: ReviewItem) -> _Shown:
    return _Shown(key=item.key, id=item.sample_id, src=thumbnail_url(project, item.sample_id, 512),
                  hard=thumbnail_url(project, item.sample_id, 512, has_hard_pixels=True), given=item.given,
                  suggestion=item.suggestion, confidence=item.confidence, chance=item.chance)
