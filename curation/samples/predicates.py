"""A selection as one predicate: filters, a region of a map, turned over or not. What it leaves of the sample table.

Resolves all but the region, whose coordinates it does not know. Draws nothing.
"""

from collections.abc import Callable, Mapping
from typing import Any, Literal, NotRequired, TypedDict, TypeGuard

import numpy as np

from curation.samples.codes import Cell
from curation.samples.columns import Column, Condition
from curation.samples.frames import SampleTable, matches
from engine.contract.signal_columns import WITHHELD

ListPart = Literal["classes", "roles", "decisions", "flags"]
LISTS: tuple[ListPart, ...] = ("classes", "roles", "decisions", "flags")


class Region(TypedDict):
    """A part of a map, the inside of any of its shapes."""

    lasso: list[list[list[float]]]
    """Polygons, each its corners [x, y]."""
    box: list[list[float]]
    """[x0, x1, y0, y1] each."""
    map: NotRequired[str]
    """Which of a run's maps it is of (curation.views.map.places); the run's own where it is not said."""


class Predicate(TypedDict, total=False):
    """Which samples: those that pass every part. It compares and stores as JSON; a part that says nothing is not there.
    """

    ids: list[str]
    """These samples, at most MAX_IDS."""
    search: str
    """Text in the sample id."""
    classes: list[str]
    """Current labels, any of these; so with the next three."""
    roles: list[str]
    decisions: list[str]
    """Of DECISIONS."""
    flags: list[str]
    """Of FLAGS."""
    columns: dict[str, Condition]
    region: Region
    run: str
    """Whose map the region is of."""
    inverted: bool
    """True: the samples that do not pass."""


DECISIONS: dict[str, dict[str, Condition | Cell]] = {
    "pinned to validation": {"pin": "validation"}, "pinned to training": {"pin": "train"},
    "excluded": {"excluded": True}, "relabelled": {"relabel": {"is_null": False}},
    "undecided": {"pin": {"is_null": True}, "excluded": False, "relabel": {"is_null": True}},
}
FLAGS = ("label in doubt", "withheld by the guard", "in the hard validation set")
ROLE_NAMES = ("train", "validation", "excluded")
MAX_TEXT = 200
MAX_IDS = 10_000
_COLUMN = "column:"


def part_of(column: str) -> str:
    """The part's name of a filter on a column, beside "search" and those of LISTS."""
    return _COLUMN + column


class Passing:
    """Which rows pass each part of a predicate, so that counts of one part can be taken among what the others leave.

    num_failed: (N,) uint16, in how many parts each row fails.
    """

    def __init__(self, masks: Mapping[str, np.ndarray], size: int) -> None:
        self.masks = dict(masks)
        self.num_failed = np.zeros(size, dtype=np.uint16)
        for mask in self.masks.values():
            self.num_failed += ~mask

    def all(self) -> np.ndarray:
        """(N,) bool: rows that pass every part."""
        return np.asarray(self.num_failed == 0)

    def but(self, part: str) -> np.ndarray:
        """(N,) bool: rows that pass every part but this one, whether they pass it or not."""
        if part not in self.masks:
            return self.all()
        return np.asarray(self.num_failed == ~self.masks[part])


def passing(table: SampleTable, chosen: Predicate, inside: np.ndarray | None = None) -> Passing:
    """Rows by part. inside: (N,) bool, the rows of the region, which is a part as well."""
    masks: dict[str, np.ndarray] = {} if inside is None else {"region": inside}
    if text := chosen.get("search"):
        masks["search"] = matches(table, {"sample_id": {"contains": text}})
    if ids := chosen.get("ids"):
        masks["ids"] = table.has_ids(ids)
    if classes := chosen.get("classes"):
        masks["classes"] = matches(table, {"current_label": classes})
    if roles := chosen.get("roles"):
        masks["roles"] = np.logical_or.reduce([role_mask(table, name) for name in roles])
    if decisions := chosen.get("decisions"):
        masks["decisions"] = np.logical_or.reduce([decision_mask(table, name) for name in decisions])
    if flags := chosen.get("flags"):
        masks["flags"] = np.logical_or.reduce([flag_mask(table, name) for name in flags])
    for column, condition in chosen.get("columns", {}).items():
        masks[part_of(column)] = matches(table, {column: condition})
    return Passing(masks, len(table))


def apply(table: SampleTable, chosen: Predicate, inside: np.ndarray | None = None) -> np.ndarray:
    """(N,) bool: rows of the predicate. Raises SelectionError for a column that the table lacks."""
    mask = passing(table, chosen, inside).all()
    return ~mask if chosen.get("inverted") else mask


def decision_mask(table: SampleTable, name: str) -> np.ndarray:
    """(N,) bool, read-only: samples that people decided on so, in force now. name: one of DECISIONS."""
    return table.mask(f"decision {name}", lambda of: matches(of, DECISIONS[name]))


def flag_mask(table: SampleTable, name: str) -> np.ndarray:
    """(N,) bool, read-only. name: one of FLAGS."""
    return table.mask(f"flag {name}", _FLAG_MASKS[name])


def role_mask(table: SampleTable, name: str) -> np.ndarray:
    """(N,) bool, read-only: samples of that role in the run's last epoch. name: one of ROLE_NAMES; the table has roles.
    """
    return table.columns["role"].equals(name)


def is_doubted(table: SampleTable) -> np.ndarray:
    """(N,) bool: held-out predictions suggest a class that is not the current label."""
    if "suggested_label" not in table.columns:
        return np.zeros(len(table), dtype=bool)
    suggested, current = table.columns["suggested_label"].codes, table.columns["current_label"].codes
    same = {name: i for i, name in enumerate(current.names)}
    as_current = np.array([same.get(name, -2) for name in suggested.names] + [-1], dtype=np.int32)
    return np.asarray((suggested.codes >= 0) & (as_current[suggested.codes] != current.codes) & (current.codes >= 0))


def is_withheld(table: SampleTable) -> np.ndarray:
    """(N,) bool: the run's guard kept the sample out of validation."""
    reason = table.columns.get("role_reason")
    return np.zeros(len(table), dtype=bool) if reason is None else reason.is_one_of(list(WITHHELD))


def _is_in_hard_set(table: SampleTable) -> np.ndarray:
    return table["in_validation"].flags.copy()


_FLAG_MASKS = dict(zip(FLAGS, (is_doubted, is_withheld, _is_in_hard_set), strict=True))


# -- predicates from elsewhere


def fitted(value: Any, table: SampleTable, classes: tuple[str, ...], run: str) -> tuple[Predicate, list[str]]:
    """What of a stored predicate applies to this table, and what does not, a phrase each. Anything may arrive.

    run: the run that the table is of; a region of another one's map does not apply.
    """
    value = value if isinstance(value, dict) else {}
    gone: list[str] = []
    found: Predicate = {}
    if isinstance(value.get("search"), str) and value["search"].strip():
        found["search"] = value["search"].strip()[:MAX_TEXT]
    ids = value.get("ids") if isinstance(value.get("ids"), list) else []
    if wanted := [item for item in ids[:MAX_IDS] if isinstance(item, str)]:
        there = set(table.ids(np.flatnonzero(table.has_ids(wanted))))
        found |= {"ids": kept} if (kept := [item for item in wanted if item in there]) else {}
        gone += [f"{len(wanted) - len(kept):,} of its {len(wanted):,} samples are not there"] * (kept != wanted)
    known: dict[ListPart, tuple[str, ...]] = {
        "classes": classes, "roles": ROLE_NAMES if "role" in table.columns else (), "decisions": tuple(DECISIONS),
        "flags": FLAGS}
    for part, word in zip(LISTS, ("class", "role", "decision", "set"), strict=True):
        wanted = value.get(part) if isinstance(value.get(part), list) else []
        gone += [f"the {word} {item} is not there" for item in wanted if item not in known[part]]
        if kept := [item for item in wanted if item in known[part]]:
            found[part] = kept
    columns = value.get("columns") if isinstance(value.get("columns"), dict) else {}
    for column, condition in columns.items():
        if column not in table.columns:
            gone.append(f"the column {column} is not there")
        elif not _is_condition(condition) or not _applies(table.columns[column], condition):
            gone.append(f"the filter of {column} does not fit it")
        elif isinstance(condition, list) and table.columns[column].kind == "choice":
            names = {None, *table.columns[column].codes.names}
            gone += [f"{item} is no value of {column}" for item in condition if item not in names]
            if kept := [item for item in condition if item in names]:
                found.setdefault("columns", {})[column] = kept
        else:
            found.setdefault("columns", {})[column] = condition
    if value.get("region"):
        if run and value.get("run") == run:
            found |= {"region": value["region"], "run": run}
        else:
            gone.append(f"its lasso is of the map of the run {value.get('run') or '(none)'}")
    if value.get("inverted") is True and found:
        found["inverted"] = True
    return found, gone


def _is_condition(value: Any) -> TypeGuard[Condition]:
    """A list of plain values, or a dict of a range's parts."""
    if isinstance(value, list):
        return bool(value) and all(v is None or isinstance(v, (str, bool, int, float)) for v in value)
    if not isinstance(value, dict) or not value:
        return False
    checks: dict[str, Callable[[Any], bool]] = {
        "min": _is_number, "max": _is_number, "is_null": lambda v: isinstance(v, bool),
        "contains": lambda v: isinstance(v, str) and 0 < len(v) <= MAX_TEXT}
    return all(key in checks and checks[key](item) for key, item in value.items())


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 1e300


def _applies(column: Column, condition: Condition) -> bool:
    try:
        matches(SampleTable(column.cells[:1].to_frame()), {column.name: condition})
    except ValueError:
        return False
    return True
