"""Encoded images of a manifest -> square RGB pixels. Keeps nothing; who decodes when is the caller's."""

import hashlib
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image, ImageOps

from engine.contract.feature_dir import Fit
from engine.contract.manifest import ManifestError, resolve_image
from engine.contract.pixels import to_rgb

PAD_COLOUR = (127, 127, 127)


def source_of(rows: pd.DataFrame, row: int, root: Path) -> Path | bytes:
    """The file of a manifest row's image, or its bytes. Raises ManifestError where it has neither or leaves root."""
    if "image" in rows and rows["image"].iloc[row] is not None:
        value: Any = rows["image"].iloc[row]
        return bytes(value["bytes"]) if value.get("bytes") else resolve_image(root, value["path"])
    path = rows["path"].iloc[row]
    if not isinstance(path, str):
        raise ManifestError("a sample must have a path or an image; got neither")
    return resolve_image(root, path)


def open_image(rows: pd.DataFrame, row: int, root: Path) -> Image.Image:
    """Open (not decode) the image of a manifest row, from its bytes or its path."""
    source = source_of(rows, row, root)
    return Image.open(BytesIO(source) if isinstance(source, bytes) else source)


def encoded_bytes(rows: pd.DataFrame, row: int, root: Path) -> bytes:
    """The whole file of a manifest row's image."""
    source = source_of(rows, row, root)
    return source if isinstance(source, bytes) else source.read_bytes()


def bytes_digest(encoded: bytes) -> str:
    """What tells one image's file from another: 128 bits of BLAKE2b, in hex."""
    return hashlib.blake2b(encoded, digest_size=16).hexdigest()


def to_square(image: Image.Image, size: int, fit: Fit) -> np.ndarray:
    """(size, size, 3) uint8 of an opened image. fit: crop cuts the middle out, squash keeps all of it and not its
    proportions, pad keeps both and adds grey. Raises what Pillow's codecs raise."""
    image.draft("RGB", (2 * size, 2 * size))  # of a large JPEG no more than twice the side is decoded
    rgb, side = to_rgb(image), (size, size)
    if rgb.size == side:
        return np.asarray(rgb)
    if fit == "squash":
        return np.asarray(rgb.resize(side, Image.Resampling.BICUBIC))
    if fit == "pad":
        return np.asarray(ImageOps.pad(rgb, side, Image.Resampling.BICUBIC, color=PAD_COLOUR))
    return np.asarray(ImageOps.fit(rgb, side, Image.Resampling.BICUBIC))


def reason_of(error: Exception) -> str:
    """Why an image cannot be read, one line."""
    return f"unreadable image: {error}".replace("\n", " ")[:200]
