"""The filter of one column, after its kind: choices with counts, a text to contain, a range under a histogram, null.

Shows a condition (curation.samples.frames.matches) and reports the new one. Knows nothing of the other columns.
"""

import math
from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
import streamlit as st

from curation.samples.codes import Cell
from curation.samples.columns import Column, Condition, Range
from curation.samples.predicates import MAX_TEXT
from curation.views.widgets.palette import info_of

NO_VALUE = "(no value)"
NUM_BARS = 40
_NULLS = {"any": None, "has a value": False, "no value": True}
OnChange = Callable[[Condition | None], None]


def column_filter(column: Column, condition: Condition | None, left: np.ndarray, on_change: OnChange) -> None:
    """Draw the filter of a column with the condition in force, or None. left: (N,) bool, what all other filters leave.

    on_change gets the new condition, None for none.
    """
    key, kind = f"explore.on.{column.name}", column.kind
    if kind in ("choice", "flag"):
        _choice(column, condition if isinstance(condition, list) else [], left, on_change, key)
        return
    wanted = condition if isinstance(condition, dict) else Range()
    is_null = wanted.get("is_null")
    if kind == "number" and not is_null:
        _range(column, wanted, left, on_change, key)
    elif kind == "text" and not is_null:
        _contains(column, wanted, on_change, key)
    if column.has_nulls or kind == "other":
        _null(wanted, on_change, f"{key}.null")


def _choice(column: Column, wanted: Sequence[Cell], left: np.ndarray, on_change: OnChange, key: str) -> None:
    found = column.codes
    counts = found.counts(left)
    values: dict[str, Cell] = {str(name): name for name in found.names}
    if counts[-1] or column.has_nulls:
        values[NO_VALUE] = None
    by_name = dict(zip([*map(str, found.names), NO_VALUE], map(int, counts), strict=True))
    choices(info_of(column.name).title, key, list(values),
            [name for name, value in values.items() if value in wanted], by_name,
            lambda picked: on_change([values[name] for name in picked] or None))


def _contains(column: Column, wanted: Range, on_change: OnChange, key: str) -> None:
    value = wanted.get("contains", "")
    if st.session_state.get(key, "") != value:
        st.session_state[key] = value

    def changed() -> None:
        text = str(st.session_state[key] or "").strip()
        on_change(_without(wanted, "contains") | (Range(contains=text) if text else Range()) or None)

    st.text_input(column.name, key=key, placeholder="contains ...", max_chars=MAX_TEXT, on_change=changed,
                  label_visibility="collapsed")


def _null(wanted: Range, on_change: OnChange, key: str) -> None:
    words = {value: name for name, value in _NULLS.items()}
    st.session_state[key] = words[wanted.get("is_null")]

    def changed() -> None:
        value = _NULLS.get(str(st.session_state[key]))
        on_change(Range(is_null=True) if value else
                  _without(wanted, "is_null") | (Range() if value is None else Range(is_null=False)) or None)

    st.segmented_control("Value", list(_NULLS), key=key, on_change=changed, label_visibility="collapsed")


def _range(column: Column, wanted: Range, left: np.ndarray, on_change: OnChange, key: str) -> None:
    """A slider under a histogram of what the other filters leave."""
    ends = range_of(column)
    if ends is None:
        st.caption("One value only, or none.")
        return
    low, high, step = ends
    span = (min(max(wanted.get("min", low), low), high), max(min(wanted.get("max", high), high), low))
    counts = np.bincount(column.bins(low, high, NUM_BARS)[left], minlength=NUM_BARS + 1)[:NUM_BARS]
    st.html(bars(counts, *((end - low) / (high - low) for end in span)))
    key = f"{key}.{low:g}.{high:g}"  # a slider outside its bounds is an error, and another run may have others
    is_whole = isinstance(step, int)
    st.session_state[key] = tuple(int(end) if is_whole else float(end) for end in span)

    def changed() -> None:
        first, last = st.session_state[key]
        new = (Range(min=first) if first > low else Range()) | (Range(max=last) if last < high else Range())
        on_change(_without(wanted, "min", "max") | new or None)

    st.slider(info_of(column.name).title, low, high, step=step, key=key, on_change=changed,
              label_visibility="collapsed")


def range_of(column: Column) -> tuple[float, float, float] | None:
    """Ends and step of the slider of a column of numbers; None where there is nothing to narrow. Whole ones: ints."""
    bounds, info = column.bounds, info_of(column.name)
    if bounds is None:
        return None
    low = bounds.low if info.low is None else min(info.low, bounds.low)
    high = bounds.high if info.high is None else max(info.high, bounds.high)
    if not high > low:
        return None
    if bounds.is_whole and info.low is None and abs(low) < 2**53 > abs(high):
        return int(low), int(high), 1
    digits = 2 - math.floor(math.log10(high - low))
    step, digits = 10.0 ** -digits, max(digits, 0)
    return round(math.floor(low / step) * step, digits), round(math.ceil(high / step) * step, digits), step


def bars(counts: np.ndarray, first: float, last: float) -> str:
    """HTML of a histogram: one bar a count; those between the shares first and last of the width are dark."""
    top, num = max(1, int(counts.max(initial=0))), len(counts)
    parts = []
    for i, count in enumerate(counts.tolist()):
        height = 0 if not count else max(1.0, 30 * count / top)
        colour = "--ws-accent" if first <= (i + 0.5) / num <= last else "--ws-outline"
        parts.append(f'<div style="flex:1;height:{height:.1f}px;background:var({colour})"></div>')
    return (f'<div style="display:flex;align-items:flex-end;gap:1px;height:30px;margin-bottom:9px" '
            f'role="img" title="{int(counts.sum()):,} samples pass the other filters">{"".join(parts)}</div>')


def _without(wanted: Range, *names: Literal["min", "max", "contains", "is_null"]) -> Range:
    rest = wanted.copy()
    for name in names:
        rest.pop(name, None)
    return rest


def choices(title: str, key: str, options: list[str], value: list[str], counts: dict[str, int],
            on_change: Callable[[list[str]], None], width: int | Literal["stretch"] = "stretch",
            placeholder: str = "any") -> None:
    """A multiselect whose options carry their counts, its title left to what is around it. on_change gets the options
    chosen.

    The browser knows an option by its words, counts included, so what is chosen is sent anew each time.
    """
    labels = {name: f"{name} ({counts.get(name, 0):,})" for name in options}
    st.session_state[key] = [name for name in value if name in labels]

    def changed() -> None:
        picked = [item if item in labels else item.rpartition(" (")[0] for item in st.session_state[key]]
        on_change([item for item in picked if item in labels])

    st.multiselect(title, options, key=key, placeholder=placeholder, width=width, on_change=changed,
                   format_func=lambda name: labels.get(name, name), label_visibility="collapsed")
