"""What an audit asks for and how it goes about it, kept in P/audits/NAME/goal.json: the precision, and the looks.

The precision is half the width of the overall 95% interval. It may be changed freely before the first answer, and be
made finer after it, which only moves the end further away. To make it coarser in sight of the interval would be to
stop because the interval is narrow, which a 95% interval does not stand (curation.audit.estimate.looks).
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypedDict, cast, get_args

import numpy as np

from curation.audit.estimate.sampling_plan import folder
from curation.ledger import people
from engine.contract.disk.seals import opened_json, sealed_json
from engine.contract.errors import UserError
from engine.contract.statistics.intervals import Z
from engine.contract.work_dir import write_atomic

GOAL_FILE = "goal.json"
TARGET = 0.015
"""Half-width, in (0, 1], that is asked for unless the audit says otherwise."""
MIN_REVIEWS = 50
"""Answers below which no single figure is quoted, an interval alone."""
MIN_LOOK = 150
"""Answers below which no interval is judged: about fifteen in each stratum. At 121, +-3 points held in 93.4% of audits
where 9% are wrong (500 simulated; benchmarks/stopping.py)."""

Rule = Literal["looks", "until narrow"]
"""When the interval is judged: at planned numbers of answers; or, in audits begun by older versions, at any time."""


class GoalError(UserError):
    """What precision an audit asks for cannot be read, or not be changed so. One line, ready to show."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """A precision given up for a finer one."""

    half_width: float
    """The one before."""
    num_reviews: int
    """Answers there were."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Goal:
    """The precision asked for, and the plan it is reached under."""

    half_width: float
    """In (0, 1]."""
    first_look: int
    """Answers at which the interval is judged first."""
    rule: Rule = "looks"
    """What the audit was begun under; it is judged at planned numbers either way."""
    changes: tuple[Change, ...] = ()


class _Document(TypedDict, total=False):
    """goal.json. Older code wrote half_width alone."""

    half_width: float
    first_look: int
    rule: str
    changes: list[dict[str, float]]


def first_look(half_width: float) -> int:
    """Answers at which an interval of this half-width is judged first: twice what simple random reviews without one
    error among them take by Wilson's interval, z^2 (1 / half_width - 2); at least MIN_LOOK."""
    return max(MIN_LOOK, int(np.ceil(Z ** 2 * (1 / half_width - 2))))


def new_goal(half_width: float, changes: tuple[Change, ...] = (), rule: Rule = "looks") -> Goal:
    """half_width: in (0, 1]."""
    return Goal(half_width=half_width, first_look=first_look(half_width), rule=rule, changes=changes)


def save_goal(project: Path, audit: str, goal: Goal) -> None:
    """Write it in the place of what there is."""
    people.require("reviewer", "the precision of an estimate")
    document = {"half_width": goal.half_width, "first_look": goal.first_look, "rule": goal.rule, "changes": [
        {"half_width": change.half_width, "num_reviews": change.num_reviews} for change in goal.changes]}
    write_atomic(folder(project, audit) / GOAL_FILE,
                 lambda path: path.write_text(sealed_json(document, indent=None), encoding="utf-8"))


def change_goal(project: Path, audit: str, half_width: float, num_reviews: int) -> Goal:
    """Ask for another precision, in sight of num_reviews answers, and keep it.

    A damaged one is replaced. Raises GoalError for a coarser one after the first answer.
    """
    try:
        now = goal_of(project, audit)
    except GoalError:  # what was asked for is lost, and with it whether this is coarser
        goal = new_goal(half_width, rule="until narrow")
        save_goal(project, audit, goal)
        return goal
    if half_width == now.half_width:
        return now
    if half_width > now.half_width and num_reviews:
        raise GoalError("after the first review a precision may only be made finer, or one would stop where the "
                        f"interval happens to be narrow; got \u00b1{100 * half_width:g} points in the place of "
                        f"\u00b1{100 * now.half_width:g} after {num_reviews:,} reviews; go on, or begin another audit")
    changed = Change(half_width=now.half_width, num_reviews=num_reviews)
    goal = new_goal(half_width, (*now.changes, changed), now.rule) if num_reviews else new_goal(half_width)
    save_goal(project, audit, goal)
    return goal


def goal_of(project: Path, audit: str) -> Goal:
    """What the audit asks for; TARGET where there is no file. Raises GoalError for a damaged one."""
    file = folder(project, audit) / GOAL_FILE
    try:
        return _read(cast(_Document, opened_json(json.loads(file.read_text(encoding="utf-8")))))
    except FileNotFoundError:
        return new_goal(TARGET, rule="until narrow")
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        reason = " ".join(str(error).split())[:80] or type(error).__name__
        raise GoalError(f"the precision asked for must be a half_width above 0 and at most 1; {file} cannot be read "
                        f"({reason}); write it again, or delete it to ask for {100 * TARGET:g} points") from error


def _read(document: _Document) -> Goal:
    half_width = float(document["half_width"])
    if not 0 < half_width <= 1:
        raise ValueError(f"half_width {half_width:g}")
    rule = document.get("rule", "until narrow")
    if rule not in get_args(Rule):
        raise ValueError(f"rule {rule}")
    look = int(document.get("first_look", first_look(half_width)))
    if look < MIN_REVIEWS:
        raise ValueError(f"first_look {look}")
    changes = tuple(Change(half_width=float(one["half_width"]), num_reviews=int(one["num_reviews"]))
                    for one in document.get("changes", []))
    return Goal(half_width=half_width, first_look=look, rule=cast(Rule, rule), changes=changes)
