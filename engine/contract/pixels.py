"""Any image as RGB, the same for training and for people's eyes. numpy and Pillow; knows no file and no size."""

import numpy as np
from PIL import Image

GROUND = (226, 232, 230)
"""What shows through transparency, an RGB colour: a plain conversion would show whatever colour lies under it."""
DEEP_MODES = ("I;16", "I;16B", "I;16L", "I", "F")
"""Grey of more than 8 bits."""


def to_rgb(image: Image.Image) -> Image.Image:
    """The image (H, W) in mode RGB, 8 bits a channel.

    Deep grey is stretched from its lowest and highest value to 0 and 255 where any value exceeds 255 (a plain
    conversion would clip those to white), and clipped to 0..255 otherwise. Transparency lies over GROUND. The
    orientation that EXIF gives is left aside. Raises what Pillow's codecs raise for an image that cannot be decoded.
    """
    if image.mode in DEEP_MODES:
        values = np.asarray(image, dtype=np.float64)
        low, high = float(values.min()), float(values.max())
        if high > 255 and high > low:
            values = (values - low) * (255.0 / (high - low))
        return Image.fromarray(values.clip(0, 255).astype(np.uint8)).convert("RGB")
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        pixels = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", pixels.size, (*GROUND, 255)), pixels).convert("RGB")
    return image.convert("RGB")
