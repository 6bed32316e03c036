"""Opening images that strangers made: regular files of known raster formats, of a bounded number of pixels, and no more
of them in memory at once than a machine can bear. The one door to Pillow's decoders.

Pillow would hand an .eps that is named .jpg to an outside program, wait for ever at a named pipe, and decode as many
large pictures side by side as there are threads. What a picture will cost is known before it is decoded, from its
format and its number of pixels, so that no process has to stand by to be killed: at the budgets below the dearest took
5 s and 0.7 GB (measured 2026-11-29). A codec that crashes takes its program along.
"""

import os
import re
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

from PIL import Image, UnidentifiedImageError, _imaging

from engine.contract.errors import UserError
from engine.contract.pictures.mirror import fetch, mark_read, mirror_of

FORMATS = ("JPEG", "PNG", "BMP", "GIF", "WEBP", "TIFF", "PPM", "JPEG2000", "AVIF", "MPO")
"""Raster formats that Pillow decodes by itself."""
MAX_PIXELS = 120_000_000
"""Of one image as it is decoded; a JPEG that is wanted small is decoded at an eighth of its sides at least. Pixels that
cost more than four bytes and a few nanoseconds count as several (_WEIGHTS)."""
MAX_PIXELS_AT_ONCE = 2**26
"""In all images that are being decoded in one process; a larger one waits until it is alone."""
MAX_SCANNED = 2**32
"""Pixels times scans of a progressive JPEG: each scan goes over all of them, and takes less than a hundred bytes. Usual
ones have about ten scans."""
_WEIGHTS = {"WEBP": 3, "AVIF": 3, "JPEG2000": 4}
"""Formats that their libraries decode whole, at 11 to 24 bytes a pixel."""
_SLOW = {"ppm_plain": 30, "bmp_rle": 8}
"""Decoders that Pillow has in Python: up to 1.1 microseconds a pixel."""
_SIGNS = {"HEIC": rb"....ftyp(hei|hev|mif1|msf1)", "AVIF": rb"....ftypavi", "JPEG2000": rb"\0\0\0\x0cjP  |\xffO\xffQ",
          "JPEG XL": rb"\0\0\0\x0cJXL |\xff\x0a", "JPEG": rb"\xff\xd8\xff", "PNG": rb"\x89PNG", "GIF": rb"GIF8",
          "WEBP": rb"RIFF....WEBP", "TIFF": rb"II[*+]\0|MM\0[*+]", "BMP": rb"BM", "PSD": rb"8BPS", "PDF": rb"%PDF",
          "HTML or XML": rb"\s*<[!?a-zA-Z]", "OpenEXR": rb"v/1\x01", "NumPy": rb"\x93NUMPY", "ZIP": rb"PK\x03\x04"}
"""How files of these kinds begin."""
_PROGRESSIVE = 2
"""Of a progressive JPEG all coefficients are kept, however small the picture is wanted."""


_imaging.set_block_size(2**26)
"""Of Pillow's memory, in bytes: blocks above 32 MiB go back to the system, smaller ones stay with the thread."""


class ImageError(UserError):
    """A file is no image that may be decoded. One line."""


class NotAnImageError(ImageError):
    """No regular file, or none of FORMATS."""


class TooLargeError(ImageError):
    """More pixels than MAX_PIXELS."""


@cache
def formats() -> tuple[str, ...]:
    """Those of FORMATS that this Pillow was built with."""
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


def open_regular(path: Path) -> BinaryIO:
    """A file to read from, of a mirror fetched where it is not here. Raises NotAnImageError for a pipe, device or
    folder, OSError where it cannot be read, RemoteError as engine.contract.pictures.mirror.fetch."""
    mirror = mirror_of(path)
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    except FileNotFoundError:
        if mirror is None:
            raise
        return BytesIO(fetch(mirror, path))
    if mirror is not None:
        mark_read(path)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise NotAnImageError("an image must be a regular file; this is none")
    return os.fdopen(descriptor, "rb")


@contextmanager
def open_image(source: Path | bytes, side: int | None = None) -> Iterator[Image.Image]:
    """An image of a file or of its bytes, opened and not yet decoded; closed at the end of the block, within which its
    pixels count as being in memory.

    side: pixels of the square that it is to fill; a JPEG is then decoded at the least of its own scales that keeps both
    sides at twice that or more. None: at full size. Raises NotAnImageError, TooLargeError, OSError and what Pillow's
    codecs raise.
    """
    with BytesIO(source) if isinstance(source, bytes) else open_regular(source) as file:
        try:
            image = Image.open(file, formats=formats())
        except UnidentifiedImageError as error:
            raise NotAnImageError(f"an image must be of a known format ({', '.join(formats())}); this file is "
                                  f"{_what_it_is(file)}") from error
        except Image.DecompressionBombError as error:
            raise TooLargeError(f"an image may have {MAX_PIXELS:,} pixels; this one has far more; make it "
                                "smaller") from error
        with image:
            is_progressive = "progressive" in image.info
            whole = image.width * image.height
            if side is not None:
                image.draft("RGB", (2 * side, 2 * side))
            weight = _PROGRESSIVE if is_progressive else _weight(image)
            num = (whole if is_progressive else image.width * image.height) * weight
            if num > MAX_PIXELS:
                raise TooLargeError(f"an image may have {MAX_PIXELS // weight:,} pixels"
                                    f"{f' in the format {image.format}' if weight > 1 else ''}; this one has "
                                    f"{image.width:,} x {image.height:,}; make it smaller")
            if is_progressive and whole * (num_scans := _num_scans(file)) > MAX_SCANNED:
                raise TooLargeError(f"a progressive JPEG may have {MAX_SCANNED:,} pixels times scans; this one has "
                                    f"{whole:,} pixels in {num_scans:,} scans; save it anew")
            with _decoding.of(num):
                try:
                    yield image
                finally:
                    image.close()  # lets go of its pixels too


def _what_it_is(file: BinaryIO) -> str:
    """In words, what a file is that Pillow takes for no image."""
    file.seek(0)
    head = file.read(64)
    name = next((name for name, pattern in _SIGNS.items() if re.match(pattern, head, re.DOTALL)), None)
    if name is None:
        return "of none"
    if name not in FORMATS:
        return f"{name}; convert it to PNG or JPEG"
    if name not in formats():
        return f"{name}, which this machine's Pillow was built without; convert it to PNG or JPEG"
    return f"{name} of a kind that Pillow cannot read, or damaged at its beginning; convert it to PNG or JPEG"


def _weight(image: Image.Image) -> int:
    """How many pixels one of this image counts for."""
    tiles = getattr(image, "tile", None)  # of a file that is not yet decoded
    coder = str(tiles[0][0]) if tiles else ""
    return _SLOW.get(coder, _WEIGHTS.get(str(image.format), 1))


def _num_scans(file: BinaryIO) -> int:
    """Of a JPEG: how often its marker of a scan is in the file, whose position stays. Coded pixels never hold it."""
    at, last, num = file.tell(), b"", 0
    file.seek(0)
    while chunk := file.read(2**20):
        num += (last + chunk).count(b"\xff\xda")
        last = chunk[-1:] if chunk.endswith(b"\xff") else b""
    file.seek(at)
    return num


class _Budget:
    """Lets threads in until what they hold reaches the whole; who wants more than the whole comes in alone."""

    def __init__(self, whole: int) -> None:
        self.whole, self.held, self.changed = whole, 0, threading.Condition()

    @contextmanager
    def of(self, num: int) -> Iterator[None]:
        share = min(num, self.whole)
        with self.changed:
            self.changed.wait_for(lambda: self.held + share <= self.whole)
            self.held += share
        try:
            yield
        finally:
            with self.changed:
                self.held -= share
                self.changed.notify_all()


_decoding = _Budget(MAX_PIXELS_AT_ONCE)
