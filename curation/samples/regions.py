"""Regions of a map: lassos and boxes in coordinates, what they hold over the whole table, and how to say it.

A region travels as corners and is resolved here, never as a list of points. Knows no map and draws nothing.
"""

import math
from typing import Any

import numpy as np

from curation.samples.predicates import Region
from curation.samples.table import in_box, in_polygon

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
    return np.asarray(inside & np.isfinite(xy).all(axis=1))


def region_words(region: Region) -> str:
    """'inside the lasso', 'inside 2 lassos or the box'."""
    counts = (("lasso", "lassos", len(region["lasso"])), ("box", "boxes", len(region["box"])))
    parts = [f"the {one}" if num == 1 else f"{num} {many}" for one, many, num in counts if num]
    return "inside " + " or ".join(parts)
