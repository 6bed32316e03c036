"""Regions of a map: lassos and boxes in coordinates, what they hold over the whole table, and how to say it.

A region travels as corners and is resolved here, never as a list of points. Knows no map and draws nothing.
"""

import math
from typing import Any

import numpy as np

from curation.samples.frames import SelectionError
from curation.samples.predicates import Region

MAX_PARTS, MAX_CORNERS = 50, 2_000


def region_of(value: Any) -> Region | None:
    """The lassos and boxes of what a browser sent, checked; None where there is none or it is not of this form.

    Which map it is of is for the caller to say.
    """
    try:
        lassos = [[[float(x), float(y)] for x, y in part] for part in value["lasso"][:MAX_PARTS]
                  if 3 <= len(part) <= MAX_CORNERS]
        boxes = [[min(x0, x1), max(x0, x1), min(y0, y1), max(y0, y1)]
                 for x0, x1, y0, y1 in (map(float, part) for part in value["box"][:MAX_PARTS])]
    except (TypeError, ValueError, KeyError, OverflowError):
        return None
    numbers = [n for part in lassos for corner in part for n in corner] + [n for part in boxes for n in part]
    is_good = (lassos or boxes) and all(map(math.isfinite, numbers))
    return Region(lasso=lassos, box=boxes) if is_good else None


def region_mask(xy: np.ndarray, region: Region) -> np.ndarray:
    """(N,) bool: inside any of the region's lassos and boxes. xy: (N, 2); points that are not finite are outside."""
    inside = np.zeros(len(xy), dtype=bool)
    for lasso in region["lasso"]:
        inside |= in_polygon(xy, np.asarray(lasso, dtype=np.float64))
    for x0, x1, y0, y1 in region["box"]:
        inside |= in_box(xy, x0, x1, y0, y1)
    return inside


def region_words(region: Region) -> str:
    """'inside the lasso', 'inside 2 lassos or the box'."""
    counts = (("lasso", "lassos", len(region["lasso"])), ("box", "boxes", len(region["box"])))
    parts = [f"the {one}" if num == 1 else f"{num} {many}" for one, many, num in counts if num]
    return "inside " + " or ".join(parts)


# -- shapes


def in_box(xy: np.ndarray, x0: float, x1: float, y0: float, y1: float) -> np.ndarray:
    """(N,) bool: points (N, 2) in the closed box, corners in any order. A point with a NaN is never inside."""
    x, y = np.asarray(xy)[:, 0], np.asarray(xy)[:, 1]
    return (x >= min(x0, x1)) & (x <= max(x0, x1)) & (y >= min(y0, y1)) & (y <= max(y0, y1))


def in_polygon(xy: np.ndarray, polygon: np.ndarray) -> np.ndarray:
    """(N,) bool: points (N, 2) inside polygon (M, 2) by the even-odd rule, closed by itself, of either orientation.

    A point with a NaN is never inside, nor is any point of fewer than three corners. Sorts the candidates by y once, so
    an edge looks only at points between its ends: a million points and 200 corners take about 0.3 s.
    Raises SelectionError for a corner that is not finite.
    """
    points, corners = np.asarray(xy), np.asarray(polygon, dtype=np.float64).reshape(-1, 2)
    if not np.isfinite(corners).all():
        raise SelectionError(f"a lasso's corners must be finite numbers; got {polygon!r}; draw it again")
    inside = np.zeros(len(points), dtype=bool)
    if len(corners) < 3:
        return inside
    (x0, y0), (x1, y1) = corners.min(axis=0), corners.max(axis=0)
    candidates = np.flatnonzero(in_box(points, x0, x1, y0, y1))
    candidates = candidates[np.argsort(points[candidates, 1])]
    x, y = points[candidates, 0].astype(np.float64), points[candidates, 1].astype(np.float64)
    is_odd = np.zeros(len(candidates), dtype=bool)
    for (ax, ay), (bx, by) in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        if ay == by:
            continue
        low, high = np.searchsorted(y, [min(ay, by), max(ay, by)])
        is_odd[low:high] ^= x[low:high] < (bx - ax) * (y[low:high] - ay) / (by - ay) + ax
    inside[candidates] = is_odd
    return inside
