"""Filters of the sample table: the widgets, what they mean as a predicate, and the predicate in words.

Widgets make a plain dict; curation.selection applies it. Knows nothing of map and gallery.
"""

from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from curation.selection import matches
from curation.views.palette import info_of
from curation.views.reasons import is_withheld

RANGES = ("margin", "heldout_margin", "label_quality", "p_train", "weight")
DECISIONS: dict[str, dict[str, Any]] = {
    "pinned to validation": {"pin": "validation"}, "pinned to training": {"pin": "train"},
    "excluded": {"excluded": True}, "relabelled": {"relabel": {"is_null": False}},
    "undecided": {"pin": {"is_null": True}, "excluded": False, "relabel": {"is_null": True}},
}
FLAGS = ("label in doubt", "withheld by the guard", "in the hard validation set")
_KEYS = ("search", "classes", "roles", "decisions", "flags")


def filter_bar(table: pd.DataFrame, classes: tuple[str, ...], prefix: str) -> dict[str, Any]:
    """Draw the filters and return what is set: {} where nothing is."""
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small", key=f"{prefix}.bar"):
        chosen: dict[str, Any] = {
            "search": (st.text_input("Sample id", key=f"{prefix}.search", placeholder="contains ...", max_chars=200,
                                     width=150, persist_state="session") or "").strip(),
            "classes": st.multiselect("Class", classes, key=f"{prefix}.classes", placeholder="any", width=190,
                                      persist_state="session", help="Current label: given, or what a person made it."),
        }
        if "role" in table:
            chosen["roles"] = st.multiselect("Role", ("train", "validation", "excluded"), key=f"{prefix}.roles",
                                             placeholder="any", width=190, persist_state="session",
                                             help="Where the run used the sample.")
        chosen["decisions"] = st.multiselect("Decision", list(DECISIONS), key=f"{prefix}.decisions",
                                             placeholder="any", width=190, persist_state="session",
                                             help="What people decided, in force now.")
        with st.popover("More filters", key=f"{prefix}.more"):
            chosen["flags"] = st.multiselect("Only samples", FLAGS, key=f"{prefix}.flags", placeholder="any",
                                             persist_state="session",
                                             help="In doubt: held-out predictions name another class.")
            chosen["ranges"] = {name: span for name in RANGES if name in table
                                for span in [_range(table[name], f"{prefix}.range")] if span}
        chosen = {name: value for name, value in chosen.items() if value}
        st.button("Clear", key=f"{prefix}.clear", on_click=_clear, args=(prefix,), disabled=not chosen,
                  help="Clear all filters; a lasso stays.")
    return chosen


def _range(column: pd.Series, prefix: str) -> tuple[float, float] | None:
    """A slider over the column; None while it covers everything."""
    values = column.to_numpy(np.float32)
    info, finite = info_of(str(column.name)), values[np.isfinite(values)]
    if not len(finite):
        return None
    low = info.low if info.low is not None else float(np.floor(finite.min() * 100) / 100)
    high = info.high if info.high is not None else float(np.ceil(finite.max() * 100) / 100)
    if not high > low:
        return None
    # The bounds are part of the key: another run may have others, and a slider outside its bounds is an error.
    span = st.slider(info.title, low, high, (low, high), step=0.01, key=f"{prefix}.{column.name}.{low:g}.{high:g}",
                     help=f"{info.meaning[:1].upper()}{info.meaning[1:]}. A narrowed range leaves out samples without "
                          "a value.")
    return None if span == (low, high) else span


def _clear(prefix: str) -> None:
    for key in list(st.session_state):
        name = str(key)
        if name.startswith(f"{prefix}.range."):
            del st.session_state[key]
        elif name in [f"{prefix}.{k}" for k in _KEYS]:
            st.session_state[key] = "" if name.endswith("search") else []


def apply(table: pd.DataFrame, chosen: dict[str, Any]) -> np.ndarray:
    """(N,) bool: rows that pass all that is chosen; within one filter any of its values will do."""
    filters: dict[str, Any] = {"current_label": chosen.get("classes"), "role": chosen.get("roles"),
                               "sample_id": {"contains": chosen["search"]} if chosen.get("search") else None}
    filters |= {name: {"min": low, "max": high} for name, (low, high) in chosen.get("ranges", {}).items()}
    mask = matches(table, {name: value for name, value in filters.items() if value})
    if chosen.get("decisions"):
        mask &= np.any([matches(table, DECISIONS[name]) for name in chosen["decisions"]], axis=0)
    if chosen.get("flags"):
        mask &= np.any([_flag(table, name) for name in chosen["flags"]], axis=0)
    return mask


def _flag(table: pd.DataFrame, name: str) -> np.ndarray:
    if name == FLAGS[0]:
        return is_doubted(table)
    return is_withheld(table) if name == FLAGS[1] else table["in_validation"].to_numpy(dtype=bool)


def is_doubted(table: pd.DataFrame) -> np.ndarray:
    """(N,) bool: held-out predictions suggest a class that is not the current label."""
    if "suggested_label" not in table:
        return np.zeros(len(table), dtype=bool)
    suggested = table["suggested_label"]
    differs = suggested.astype("string") != table["current_label"].astype("string")
    return np.asarray(suggested.notna() & differs.fillna(False), dtype=bool)


def words(chosen: dict[str, Any]) -> list[str]:
    """What is chosen, a phrase a filter. Holds labels and what was typed, so whoever shows it escapes it."""
    found = []
    if "classes" in chosen:
        found.append("class " + " or ".join(chosen["classes"]))
    if "roles" in chosen:
        found.append("role " + " or ".join(chosen["roles"]))
    found += [" or ".join(chosen[name]) for name in ("decisions", "flags") if name in chosen]
    found += [f"{info_of(name).title.split(' (')[0].lower()} {low:.2f} to {high:.2f}"
              for name, (low, high) in chosen.get("ranges", {}).items()]
    if "search" in chosen:
        found.append(f'id contains "{chosen["search"]}"')
    return found
