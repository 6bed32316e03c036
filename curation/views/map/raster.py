"""The density raster of all points, and which few real points lie over it. Arrays in, arrays out.

numpy and Pillow alone: knows no figure, no widget and no project. Points come in blocks, so that ten million need no
more memory than a few.
"""

import io

import numpy as np
from PIL import Image

MAX_OVERLAY_POINTS = 5_000
Extent = tuple[float, float, float, float]
"""x0, x1, y0, y1 in data coordinates."""


def extent_of(xy: np.ndarray) -> Extent:
    """The box around all finite points with a margin of 4% and no zero side. xy: (N, 2)."""
    is_finite = np.isfinite(xy[:, 0]) & np.isfinite(xy[:, 1])
    finite = xy if is_finite.all() else xy[is_finite]
    if not len(finite):
        return (-1.0, 1.0, -1.0, 1.0)
    (x0, y0), (x1, y1) = finite.min(axis=0).astype(float), finite.max(axis=0).astype(float)
    pad = 0.04 * max(x1 - x0, y1 - y0) or 1.0
    return (x0 - pad, x1 + pad, y0 - pad, y1 + pad)


def grid_of(extent: Extent, num_points: int, most: int = 900) -> tuple[int, int]:
    """Width and height of a raster with square cells: as fine as the points can fill, at most `most` on a side."""
    width, height = extent[1] - extent[0], extent[3] - extent[2]
    side = int(min(np.clip(2 * np.sqrt(max(num_points, 1)), 240, 900), most))
    longest = max(width, height)
    return max(1, round(side * width / longest)), max(1, round(side * height / longest))


def cells_of(xy: np.ndarray, extent: Extent, width: int, height: int) -> np.ndarray:
    """(N,) int64 cell of each point, row-major from the top left; -1 outside the extent or where not finite."""
    x0, x1, y0, y1 = extent
    with np.errstate(invalid="ignore"):
        col = np.floor((xy[:, 0].astype(np.float64) - x0) * (width / (x1 - x0)))
        row = np.floor((y1 - xy[:, 1].astype(np.float64)) * (height / (y1 - y0)))
        # The far edges belong to the last cell, as the extent is closed.
        col, row = np.where(xy[:, 0] == x1, width - 1, col), np.where(xy[:, 1] == y0, height - 1, row)
        is_inside = (col >= 0) & (col < width) & (row >= 0) & (row < height)
    cells = np.where(is_inside, row * width + col, -1)
    return cells.astype(np.int64)


def counts_of(cells: np.ndarray, width: int, height: int) -> np.ndarray:
    """(height, width) int64: points in each cell; row 0 is the top."""
    return np.bincount(cells[cells >= 0], minlength=width * height).reshape(height, width)


class Shades:
    """A raster that points are added to in blocks: each cell gets the mean colour of its points."""

    def __init__(self, width: int, height: int) -> None:
        self._shape = (height, width, 4)
        self._counts = np.zeros(width * height)
        self._sums = np.zeros((3, width * height))

    def add(self, cells: np.ndarray, colours: np.ndarray) -> None:
        """cells: (n,) of cells_of, -1: nowhere. colours: (n, 3) in 0..255, or (3,) of all."""
        inside = cells >= 0
        if not inside.all():
            cells, colours = cells[inside], colours[inside] if colours.ndim == 2 else colours
        size = len(self._counts)
        counts = np.bincount(cells, minlength=size)
        self._counts += counts
        for i, sums in enumerate(self._sums):
            sums += np.bincount(cells, weights=colours[:, i], minlength=size) if colours.ndim == 2 else \
                counts * colours[i]

    def image(self) -> np.ndarray:
        """(height, width, 4) uint8, more opaque the more points: with the logarithm, so that single points stay visible
        beside crowds."""
        counts = self._counts
        opacity = np.where(counts > 0, 120 + 135 * np.log1p(counts) / np.log1p(max(counts.max(initial=0), 1)), 0)
        return np.stack([*(self._sums / np.maximum(counts, 1)), opacity], axis=1).round().astype(np.uint8).reshape(
            self._shape)


def png(rgba: np.ndarray) -> bytes:
    """The image (h, w, 4) uint8, encoded."""
    buffer = io.BytesIO()
    Image.fromarray(rgba).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def overlay_rows(groups: list[np.ndarray], limit: int = MAX_OVERLAY_POINTS) -> np.ndarray:
    """Sorted rows of at most `limit` samples out of masks, each (N,) bool.

    Holds them all if they fit. If not, the smallest masks come first and are held completely as long as they take no
    more than an equal share of the room left; a larger one is thinned evenly. So few pins survive beside a vast lasso.
    """
    taken = np.zeros(len(groups[0]), dtype=bool)
    kept, left = [], limit
    for num_left, mask in zip(range(len(groups), 0, -1), sorted(groups, key=np.count_nonzero), strict=True):
        rows = np.flatnonzero(mask & ~taken)
        taken |= mask
        room = min(len(rows), left // num_left)
        if room < len(rows):
            rows = rows[np.linspace(0, len(rows) - 1, room).astype(np.int64)]
        left -= room
        kept.append(rows)
    return np.sort(np.concatenate(kept))
