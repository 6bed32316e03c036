"""An order that may change while somebody works through it: what has been shown keeps its place, what is behind moves.

Pure functions on rows of a sample table; holds nothing itself.
"""

from collections.abc import Hashable
from dataclasses import dataclass, field, replace

import numpy as np


@dataclass(frozen=True, slots=True)
class Held:
    """What is remembered between two looks at a queue."""

    token: str = ""
    """Which queue it is: another begins anew."""
    stamp: tuple[Hashable, ...] = ()
    """What the order comes from."""
    seen: tuple[int, ...] = field(default=(), repr=False)
    """Rows that were shown, in the order they were."""
    is_held: bool = False
    """Whether the order has changed since, so that the seen go first in theirs."""


def looked(held: Held | None, token: str, stamp: tuple[Hashable, ...]) -> Held:
    """What is remembered once the queue of this token is looked at again, made of what the stamp says."""
    if held is None or held.token != token:
        return Held(token, stamp)
    return held if held.stamp == stamp else replace(held, stamp=stamp, is_held=bool(held.seen))


def front(held: Held, is_open: np.ndarray) -> np.ndarray:
    """Rows that keep their place before all others: once held, the seen ones that are still open by is_open (N,) over
    the table."""
    rows = np.asarray(held.seen if held.is_held else (), dtype=np.int64)
    return np.asarray(rows[is_open[rows]])


def ordered(held: Held, rows: np.ndarray, is_open: np.ndarray) -> np.ndarray:
    """The queue `rows` (n,) as it is to be shown: the front, then the others in theirs."""
    first = front(held, is_open)
    return np.concatenate([first, rows[~np.isin(rows, first)]]) if len(first) else rows


def shown(held: Held, rows: np.ndarray) -> Held:
    """What is remembered after these rows were shown. One that was decided on and left keeps its place, to which it
    comes back by undo."""
    known = set(held.seen)
    new = tuple(int(row) for row in rows if int(row) not in known)
    return replace(held, seen=held.seen + new) if new else held
