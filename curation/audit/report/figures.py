"""Numbers of a report in words, and where its drawings have their points. Makes no markup: the templates do."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

WIDTH, HEIGHT, EDGE = 250, 24, 15
"""Pixels of one row's drawing, and its margin at both sides."""


def percent(share: float | None) -> str:
    """"9.1%"; two decimals below one percent, for a rare thing is not nothing; "-" where it is not known.

    >>> percent(0.0912), percent(0.004), percent(0.0), percent(1.0), percent(None)
    ('9.1%', '0.40%', '0%', '100%', '-')
    """
    if share is None:
        return "-"
    points = share * 100
    return f"{points:.0f}%" if points in (0, 100) else f"{points:.2f}%" if points < 1 else f"{points:.1f}%"


def between(low: float | None, high: float | None) -> str:
    """"7.6% to 10.8%"."""
    return "-" if low is None or high is None else f"{percent(low)} to {percent(high)}"


def whole(number: float | None) -> str:
    """"1,296"."""
    return "-" if number is None else f"{number:,.0f}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Axis:
    """From 0 to end in steps of a round size."""

    end: float
    step: float

    @property
    def ticks(self) -> list[tuple[float, str]]:
        """(x in pixels, label) of each."""
        marks = [self.step * i for i in range(round(self.end / self.step) + 1)]
        return [(self.x(mark), f"{mark * 100:g}%") for mark in marks]

    def x(self, share: float) -> float:
        """Pixels from the left."""
        return EDGE + (WIDTH - 2 * EDGE) * min(share / self.end, 1.0)


def axis_of(shares: Sequence[float | None]) -> Axis:
    """An axis that holds these shares, with three to six steps."""
    most = max([0.01, *(share for share in shares if share is not None)])
    step = next(s for s in (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.25) if most / s <= 5 or s == 0.25)
    return Axis(end=min(1.0, math.ceil(most / step - 1e-9) * step), step=step)


@dataclass(frozen=True, kw_only=True, slots=True)
class Whisker:
    """An estimate as a dot on its interval, over faint lines at the axis' ticks; x in pixels."""

    label: str
    grid: list[float]
    mark: float | None
    """The overall rate, a line."""
    ends: tuple[float, float] | None
    """None where nothing is known."""
    dot: float | None
    """None where the estimate is not known, or may not be quoted."""


def whisker(share: float | None, low: float | None, high: float | None, axis: Axis,
            mark: float | None = None) -> Whisker:
    """share with its interval; mark: the overall rate."""
    ends = None if low is None or high is None else (axis.x(low), axis.x(high))
    dot = None if share is None else axis.x(share)
    single = "" if share is None else f"; the best single figure is {percent(share)}"
    return Whisker(label=f"95% interval {between(low, high)}{single}", grid=[x for x, _ in axis.ticks],
                   mark=None if mark is None else axis.x(mark), dot=dot, ends=ends)


def shade(share: float, is_right: bool) -> str:
    """The background of a cell: the fuller the larger; errors in another colour than what is right."""
    alpha = 0.08 + 0.30 * share if is_right else min(0.85, 0.10 + 2.2 * share)
    return f"rgba({'15,118,110' if is_right else '217,95,2'},{alpha:.2f})"
