"""Encoded images of a manifest -> square RGB pixels. Keeps nothing; who decodes when is the caller's."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image, ImageOps

from engine.contract.feature_dir import Fit
from engine.contract.manifest import ManifestError, resolve_image
from engine.contract.pictures.image_files import open_regular
from engine.contract.pixels import to_rgb_for

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


def encoded_bytes(rows: pd.DataFrame, row: int, root: Path) -> bytes:
    """The whole file of a manifest row's image."""
    source = source_of(rows, row, root)
    if isinstance(source, bytes):
        return source
    with open_regular(source) as file:
        return file.read()


def bytes_digest(encoded: bytes) -> str:
    """What tells one image's file from another: 128 bits of BLAKE2b, in hex."""
    return hashlib.blake2b(encoded, digest_size=16).hexdigest()


def to_square(image: Image.Image, size: int, fit: Fit) -> np.ndarray:
    """(size, size, 3) uint8 of an image opened for that side. fit: crop cuts the middle out, squash keeps all of it and
    not its proportions, pad keeps both and adds grey. Raises what Pillow's codecs raise."""
    rgb, side = to_rgb_for(image, size), (size, size)
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
