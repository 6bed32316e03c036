"""Any image as RGB, upright, the same for training and for people's eyes. numpy and Pillow; knows no file."""

from collections.abc import Iterable

import numpy as np
from PIL import ExifTags, Image

GROUND = (226, 232, 230)
"""What shows through transparency, an RGB colour: a plain conversion would show whatever colour lies under it."""
DEEP_MODES = ("I;16", "I;16B", "I;16L", "I", "F")
"""Grey of more than 8 bits."""
VERSION = 2
"""Of what is kept of pixels on disk: 1 left the orientation aside and clipped floats to 0..255."""
_TURNS = {2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
          5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_270, 7: Image.Transpose.TRANSVERSE,
          8: Image.Transpose.ROTATE_90}
"""What undoes each orientation of EXIF; 1 is upright."""
_DARK = 16.0
"""Floats of which none is above this are no bytes."""

LARGE = 2**24
"""Pixels above which an image is taken to RGB in strips, reduced at once: as a whole that takes 12 bytes a pixel."""
_STRIP = 2**21


def to_rgb(image: Image.Image) -> Image.Image:
    """The image in mode RGB, 8 bits a channel, (H, W) or, where EXIF says that the camera was turned, (W, H).

    Of deep grey a range becomes 0 to 255 and the rest is clipped. Of whole numbers the range is that from the lowest to
    the highest where any exceeds 255 (a plain conversion would clip those to white), else 0 to 255. Of floats it is 0
    to 1 or -1 to 1 where all lie in it, 0 to 255 where that is what they are, else the lowest to the highest; one that
    is not finite becomes black or white. Transparency lies over GROUND. Raises what Pillow's codecs raise for an image
    that cannot be decoded.
    """
    image.load()
    return upright(_rgb(image, _range([image])), image)


def to_rgb_for(image: Image.Image, side: int) -> Image.Image:
    """As to_rgb; a LARGE image is reduced by the greatest whole factor that keeps its shorter side at twice `side`."""
    image.load()  # a TIFF turns itself upright
    factor = min(image.size) // (2 * side) if image.width * image.height > LARGE else 1
    if factor < 2:
        return to_rgb(image)
    rows = factor * max(1, _STRIP // (image.width * factor))
    boxes = [(0, top, image.width, min(image.height, top + rows)) for top in range(0, image.height, rows)]
    values = _range(image.crop(box) for box in boxes)
    reduced = Image.new("RGB", (-(-image.width // factor), -(-image.height // factor)))
    for box in boxes:
        reduced.paste(_rgb(image.crop(box), values).reduce(factor), (0, box[1] // factor))
    return upright(reduced, image)


def upright(pixels: Image.Image, image: Image.Image) -> Image.Image:
    """`pixels` of a decoded image turned as its orientation says."""
    turn = _TURNS.get(orientation(image))
    return pixels if turn is None else pixels.transpose(turn)


def orientation(image: Image.Image) -> int:
    """How the camera was held, 1 to 8 as EXIF counts; 1, upright, where it says nothing that can be read."""
    try:
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # Pillow raises whatever odd bytes lead it to; the pixels are what counts
        return 1


def _range(parts: Iterable[Image.Image]) -> tuple[float, float]:
    """The values of deep grey that become 0 and 255; those themselves of any other image."""
    lows, highs, is_float = [], [], False
    for part in parts:
        if part.mode in DEEP_MODES:
            values = np.asarray(part)
            values = values[np.isfinite(values)]
            is_float = part.mode == "F"
            if values.size:
                lows.append(float(values.min()))
                highs.append(float(values.max()))
    if not lows or (low := min(lows)) == (high := max(highs)):
        return (0.0, 1.0) if is_float and lows and 0 < low <= 1 else (0.0, 255.0)
    if not is_float:
        return (low, high) if high > 255 else (0.0, 255.0)
    if -1 <= low and high <= 1:
        return (0.0 if low >= 0 else -1.0), 1.0
    return (0.0, 255.0) if -_DARK <= low and _DARK < high <= 255 else (low, high)


def _rgb(image: Image.Image, black_and_white: tuple[float, float]) -> Image.Image:
    """Not yet upright. black_and_white: as _range has it."""
    if image.mode in DEEP_MODES:
        low, high = black_and_white
        values = np.nan_to_num(np.asarray(image, dtype=np.float64), nan=low, posinf=high, neginf=low)
        values = (values - low) * (255.0 / (high - low))
        return Image.fromarray(values.clip(0, 255).astype(np.uint8)).convert("RGB")
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        pixels = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", pixels.size, (*GROUND, 255)), pixels).convert("RGB")
    return image.convert("RGB")
