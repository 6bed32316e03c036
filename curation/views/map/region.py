"""Regions of a map: lassos and boxes in coordinates, what they hold over the whole table, and how to say it.

A region travels as corners and is resolved here, never as a list of points. Draws nothing.
"""

import math
from typing import Any

import numpy as np

from curation.samples.table import in_box, in_polygon

MAX_PARTS, MAX_CORNERS = 50, 2_000


def region_of(value: Any) -> dict[str, Any] | None:
    """The lassos and boxes of what a browser sent, checked; None where there is none or it is not of this form.

    {"lasso": [[[x, y], ...], ...], "box": [[x0, x1, y0, y1], ...]}: plain lists, so they compare and store as they are.
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
    return {"lasso": lassos, "box": boxes} if is_good else None


def region_mask(xy: np.ndarray, region: dict[str, Any]) -> np.ndarray:
    """(N,) bool: inside any of the region's lassos and boxes. xy: (N, 2); points that are not finite are outside."""
    inside = np.zeros(len(xy), dtype=bool)
    for lasso in region["lasso"]:
        inside |= in_polygon(xy, np.asarray(lasso, dtype=np.float64))
    for x0, x1, y0, y1 in region["box"]:
        inside |= in_box(xy, x0, x1, y0, y1)
    return np.asarray(inside & np.isfinite(xy).all(axis=1))


def region_words(region: dict[str, Any]) -> str:
    """'inside the lasso', 'inside 2 lassos or the box'."""
    parts = [f"the {name}" if len(region[name]) == 1 else f"{len(region[name])} {name}{'es' if name == 'box' else 's'}"
             for name in ("lasso", "box") if region[name]]
    return "inside " + " or ".join(parts)
