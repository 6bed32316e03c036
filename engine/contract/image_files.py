"""Opening images that strangers made: regular files of known raster formats, of a bounded number of pixels, and no more
of them in memory at once than a machine can bear. The one door to Pillow's decoders.

Pillow would hand an .eps that is named .jpg to an outside program, wait for ever at a named pipe, and decode as many
large pictures side by side as there are threads.
"""

import os
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

FORMATS = ("JPEG", "PNG", "BMP", "GIF", "WEBP", "TIFF", "PPM", "JPEG2000", "AVIF", "MPO")
"""Raster formats that Pillow decodes by itself."""
MAX_PIXELS = 120_000_000
"""Of one image as it is decoded; a JPEG that is wanted small is decoded at an eighth of its sides at least."""
MAX_PIXELS_AT_ONCE = 2**26
"""In all images that are being decoded in one process; a larger one waits until it is alone."""


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
    """A file to read from. Raises NotAnImageError for a pipe, device or folder, OSError where it cannot be read."""
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
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
            raise NotAnImageError(f"an image must be of a known format ({', '.join(formats())}); this file is of "
                                  "none") from error
        except Image.DecompressionBombError as error:
            raise TooLargeError(f"an image may have {MAX_PIXELS:,} pixels; this one has far more; make it "
                                "smaller") from error
        with image:
            if side is not None:
                image.draft("RGB", (2 * side, 2 * side))
            num = image.width * image.height
            if num > MAX_PIXELS:
                raise TooLargeError(f"an image may have {MAX_PIXELS:,} pixels; this one has {image.width:,} x "
                                    f"{image.height:,}; make it smaller")
            with _decoding.of(num):
                try:
                    yield image
                finally:
                    image.close()  # lets go of its pixels too


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
