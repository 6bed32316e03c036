"""Pieces of a report page: texts made safe, numbers in words, tables, and intervals drawn by hand as SVG.

Every text that comes from data passes through `safe`; nothing here needs a script, a font or a file from elsewhere.
"""

import html
import math
from collections.abc import Sequence
from typing import Any

WIDTH, HEIGHT, EDGE = 250, 24, 15
"""Pixels of one row's drawing, and its margin at both sides."""


def safe(text: object) -> str:
    """A text as HTML that shows it and does nothing else; control characters become spaces."""
    return html.escape("".join(c if c.isprintable() else " " for c in str(text)), quote=True)


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


def plural(number: float, one: str, many: str = "") -> str:
    """"1 review", "500 reviews"."""
    return f"{number:,.0f} {one if number == 1 else many or one + 's'}"


def table(head: Sequence[str], rows: Sequence[Sequence[str]], *, kind: str = "", numbers: Sequence[int] = ()) -> str:
    """A table of cells that are HTML already; its head repeats on every printed page. numbers: columns set right."""
    def cells(tag: str, row: Sequence[str]) -> str:
        return "".join(f"<{tag}{' class=num' if i in numbers else ''}>{cell}</{tag}>" for i, cell in enumerate(row))

    body = "".join(f"<tr>{cells('td', row)}</tr>" for row in rows)
    return f'<table class="{kind}"><thead><tr>{cells("th", head)}</tr></thead><tbody>{body}</tbody></table>'


def scale_of(shares: Sequence[float | None]) -> tuple[float, float]:
    """(end, step) of an axis from 0 that holds these shares, with three to six steps of a round size."""
    most = max([0.01, *(share for share in shares if share is not None)])
    step = next(s for s in (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.25) if most / s <= 5 or s == 0.25)
    return min(1.0, math.ceil(most / step - 1e-9) * step), step


def axis(end: float, step: float) -> str:
    """The head of a column of whiskers: labelled ticks."""
    marks = [step * i for i in range(round(end / step) + 1)]
    return _svg("".join(f'<text x="{_x(m, end):.1f}" y="15" text-anchor="middle" class="tick">{m * 100:g}%</text>'
                        for m in marks), "axis")


def whisker(share: float | None, low: float | None, high: float | None, end: float, step: float,
            mark: float | None = None) -> str:
    """An estimate as a dot on its interval, over faint lines at the axis' ticks; mark: the overall rate, a line."""
    parts = [f'<line x1="{_x(step * i, end):.1f}" x2="{_x(step * i, end):.1f}" y1="0" y2="{HEIGHT}" class="grid"/>'
             for i in range(round(end / step) + 1)]
    if mark is not None:
        parts.append(f'<line x1="{_x(mark, end):.1f}" x2="{_x(mark, end):.1f}" y1="0" y2="{HEIGHT}" class="mark"/>')
    if share is not None and low is not None and high is not None:
        a, b, y = _x(low, end), _x(high, end), HEIGHT / 2
        parts += [f'<path d="M{a:.1f} {y - 4} V{y + 4} M{a:.1f} {y} H{b:.1f} M{b:.1f} {y - 4} V{y + 4}" class="bar"/>',
                  f'<circle cx="{_x(share, end):.1f}" cy="{y}" r="4" class="dot"/>']
    return _svg("".join(parts), f"{percent(share)}, 95% interval {between(low, high)}")


def shade(share: float, is_right: bool) -> str:
    """The background of a cell: the fuller the larger; errors in another colour than what is right."""
    alpha = 0.08 + 0.30 * share if is_right else min(0.85, 0.10 + 2.2 * share)
    return f"rgba({'15,118,110' if is_right else '217,95,2'},{alpha:.2f})"


def definitions(pairs: Sequence[tuple[str, Any]]) -> str:
    """Names with values, one under another; values as text."""
    return "<dl>" + "".join(f"<dt>{safe(name)}</dt><dd>{safe(value)}</dd>" for name, value in pairs) + "</dl>"


def _x(share: float, end: float) -> float:
    return EDGE + (WIDTH - 2 * EDGE) * min(share / end, 1.0)


def _svg(inside: str, label: str) -> str:
    return (f'<svg width="{WIDTH}" height="{HEIGHT}" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
            f'aria-label="{safe(label)}">{inside}</svg>')
