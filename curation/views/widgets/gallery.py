"""The gallery: a grid of samples with keyboard and mouse, as a component of our own (assets/gallery/gallery.js).

Shows one page of rows and reports what the user marked or asked for. Takes no decision and selects nothing.
"""

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypedDict, get_args

import pandas as pd
import streamlit as st

from curation.ledger import people
from curation.project import Project
from curation.views.routes.thumbnails import SIZES, thumbnail_url
from curation.views.widgets.component import component
from curation.views.widgets.palette import ROLE_COLOURS, info_of
from curation.views.widgets.role_words import reason_words

CHANGE_COLUMN = "change"
"""A column of ready-made words, shown without its name."""
SHORT_NAMES = {"label_quality": "quality", "heldout_margin": "held-out"}
"""Names that would push the number out of a card of the usual size."""
Op = Literal["validation", "train", "exclude", "confirm", "relabel", "undo", "redo", "next", "previous", "open"]
OPS: tuple[Op, ...] = get_args(Op)


@dataclass(frozen=True, slots=True)
class Act:
    """What the user asked for with a key, the samples it is about, and for relabel the class (or None)."""

    op: Op
    ids: tuple[str, ...]
    label: str | None = None


class Card(TypedDict):
    """One sample as gallery.js draws it, text as it is: the component never reads it as HTML."""

    id: str
    src: str
    label: str
    suggestion: str | None
    value: str
    role: str
    badges: list[tuple[str, str]]
    """(kind, words)"""
    tip: str
    chance: str | None
    """How probably its label is wrong, shown of the focused one."""


def gallery(project: Project, rows: pd.DataFrame, on_act: Callable[[Act], None], *, key: str, token: str, size: int,
            value_column: str | None, focus: tuple[int, str | None] | None = None, has_previous: bool = False,
            has_next: bool = False, is_compact: bool = False, takes_keys: bool = False,
            chances: Mapping[str, str] | None = None) -> list[str]:
    """Draw `rows` of a sample table (a page of them) and return the ids marked by the user.

    on_act is called before the next page is drawn. token names what is selected: marks last until it changes, over
    pages too. size: width of a card in pixels, at least. focus: takes the keyboard, at that sample, whenever its number
    grows. is_compact: without hint and keys button. takes_keys: keys work on arrival, without
    a click. chances: sample_id -> how probably its label is wrong, in words.
    """
    owner = f"{key}/{project.path}"
    done_key = f"{owner}/acted"

    def acted() -> None:
        for number, act in acts_of(st.session_state[key].get("act")):
            if number > st.session_state.get(done_key, 0):  # else it was sent again before it was seen to be done
                st.session_state[done_key] = number
                on_act(act)

    result = component("gallery")(
        key=key, default={"marked": None}, on_marked_change=lambda: None, on_act_change=acted,
        data={"items": items(project, rows, value_column, size, chances or {}), "size": size,
              "classes": list(project.classes), "token": token, "colours": ROLE_COLOURS, "has_previous": has_previous,
              "has_next": has_next, "focus": list(focus) if focus else None, "is_compact": is_compact,
              "takes_keys": takes_keys, "refusal": people.refusal("reviewer", "deciding"),
              "acted": st.session_state.get(done_key, 0), "owner": owner})
    marked = result.get("marked")
    return [str(i) for i in marked.get("ids", [])] if marked and marked.get("token") == token else []


def acts_of(value: Any) -> list[tuple[int, Act]]:
    """(number, act) of each act in a trigger's value, in order; what is none of ours is left out."""
    sent = value.get("acts") if isinstance(value, dict) else None
    found = [(part.get("number"), act_of(part)) for part in (sent if isinstance(sent, list) else [])
             if isinstance(part, dict)]
    return [(number, act) for number, act in found if act is not None and isinstance(number, int)]


def act_of(value: Any) -> Act | None:
    """One act as an Act; None where the browser sent something else."""
    if not isinstance(value, dict) or value.get("op") not in OPS or not isinstance(value.get("ids"), list):
        return None
    label = value.get("label")
    return Act(op=value["op"], ids=tuple(map(str, value["ids"])), label=None if label is None else str(label))


def items(project: Project, rows: pd.DataFrame, value_column: str | None, size: int,
          chances: Mapping[str, str]) -> list[Card]:
    """What the component draws of each row."""
    picture = picture_size(size)
    return [_item(row, thumbnail_url(project, row["sample_id"], picture), value_column,
                  chances.get(str(row["sample_id"]))) for row in rows.to_dict("records")]


def picture_size(size: int) -> int:
    """The smallest thumbnail that fills a card, which may be half as wide again as asked for."""
    return next((s for s in SIZES if s >= size * 1.25), SIZES[-1])


def _item(row: Mapping[Hashable, object], src: str, value_column: str | None, chance: str | None) -> Card:
    given, current = text_of(row.get("given_label")), text_of(row.get("current_label"))
    suggestion = text_of(row.get("suggested_label"))
    is_relabelled = bool(current) and current != given
    pin, is_excluded = text_of(row.get("pin")), bool(row.get("excluded"))
    badges = [("relabelled", f"now {current}")] if is_relabelled else []
    if pin:
        badges.append((pin, "pinned: val" if pin == "validation" else "pinned: train"))
    if is_excluded:
        badges.append(("excluded", "excluded"))
    role = text_of(row.get("role"))
    tip = [str(row["sample_id"]), f"given: {given or 'none'}"]
    tip += [f"{info_of(name).title.lower()}: {row[name]}" for name in ("suggested_label", "predicted_label", "role")
            if text_of(row.get(name))]
    if words := reason_words(row):
        tip.append(words)
    return Card(
        id=str(row["sample_id"]), src=src, label=given or "no label",
        suggestion=suggestion if suggestion and suggestion != (current or given) else None,
        value=value_words(value_column, row.get(value_column)),
        role="excluded" if is_excluded else role, badges=badges, tip="\n".join(tip), chance=chance)


def telling_column(rows: pd.DataFrame, column: str | None, others: Sequence[str]) -> str | None:
    """The column whose values to show under these cards: `column`, or where it would say the same under every card the
    first of the others, which may lack, that says many things."""
    def num_said(name: str | None) -> int:
        return rows[name].map(lambda value: value_words(name, value)).nunique() if name in rows else 0

    if column is None or len(rows) < 2 or num_said(column) > 1:
        return column
    return next((name for name in others if 4 * num_said(name) >= len(rows) and rows[name].notna().all()), column)


def text_of(value: object) -> str:
    """Text of a cell; "" where there is none."""
    return "" if value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value)) else str(value)


def value_words(column: str | None, value: object) -> str:
    """'margin -0.42', 'no weight', 'group: night'."""
    if column is None:
        return ""
    name = SHORT_NAMES.get(column, column.replace("_", " "))
    if text_of(value) == "":
        return f"no {name}"
    if isinstance(value, float):
        if 0 < value < 0.0005:
            return f"{name} \u2248 0"
        return f"{name} {value:.3g}" if abs(value) >= 10 else f"{name} {value:z.3f}" if abs(value) < 0.1 else \
            f"{name} {value:z.2f}"
    if column == CHANGE_COLUMN:
        return str(value)
    return f"{name} {value}" if isinstance(value, int) else f"{name}: {value}"
