"""Any image as RGB, the same for training and for people's eyes. numpy and Pillow; knows no file and no size."""

from collections.abc import Iterable

import numpy as np
from PIL import Image

GROUND = (226, 232, 230)
"""What shows through transparency, an RGB colour: a plain conversion would show whatever colour lies under it."""
DEEP_MODES = ("I;16", "I;16B", "I;16L", "I", "F")
"""Grey of more than 8 bits."""


LARGE = 2**24
"""Pixels above which an image is taken to RGB in strips, reduced at once: as a whole that takes 12 bytes a pixel."""
_STRIP = 2**21


def to_rgb(image: Image.Image) -> Image.Image:
    """The image (H, W) in mode RGB, 8 bits a channel.

    Deep grey is stretched from its lowest and highest value to 0 and 255 where any value exceeds 255 (a plain
    conversion would clip those to white), and clipped to 0..255 otherwise. Transparency lies over GROUND. The
    orientation that EXIF gives is left aside. Raises what Pillow's codecs raise for an image that cannot be decoded.
    """
    return _rgb(image, _extremes([image]))


def to_rgb_for(image: Image.Image, side: int) -> Image.Image:
    """As to_rgb; a LARGE image is reduced by the greatest whole factor that keeps its shorter side at twice `side`."""
    factor = min(image.size) // (2 * side) if image.width * image.height > LARGE else 1
    if factor < 2:
        return to_rgb(image)
    rows = factor * max(1, _STRIP // (image.width * factor))
    boxes = [(0, top, image.width, min(image.height, top + rows)) for top in range(0, image.height, rows)]
    extremes = _extremes(image.crop(box) for box in boxes)
    reduced = Image.new("RGB", (-(-image.width // factor), -(-image.height // factor)))
    for box in boxes:
        reduced.paste(_rgb(image.crop(box), extremes).reduce(factor), (0, box[1] // factor))
    return reduced


def _extremes(parts: Iterable[Image.Image]) -> tuple[float, float]:
    """The lowest and highest value of a deep grey image; (0, 255) of any other."""
    found = [(float(values.min()), float(values.max())) for part in parts if part.mode in DEEP_MODES
             for values in [np.asarray(part)]]
    return (min(low for low, _ in found), max(high for _, high in found)) if found else (0.0, 255.0)


def _rgb(image: Image.Image, extremes: tuple[float, float]) -> Image.Image:
    if image.mode in DEEP_MODES:
        values, (low, high) = np.asarray(image, dtype=np.float64), extremes
        if high > 255 and high > low:
            values = (values - low) * (255.0 / (high - low))
        return Image.fromarray(values.clip(0, 255).astype(np.uint8)).convert("RGB")
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        pixels = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", pixels.size, (*GROUND, 255)), pixels).convert("RGB")
    return image.convert("RGB")
