"""Small image files, whole and broken in every way that the import must survive."""

import io
import os
import struct
import zlib
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image

ODD_NAMES = ("=1+1", "<img src=x onerror=alert(1)>", "*b* $x$ [red]", "a, b",
             "\u00e9\u4e2d\U0001f642", "@cmd|' /C calc'!A0")
"""Names that are a formula, HTML, markup, comma-laden or not ASCII. Escaped here, so that this file is ASCII."""


def write_image(path: Path, seed: int = 0, size: int = 16) -> Path:
    """A whole image of random pixels; the suffix chooses the format."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(image_bytes(path.suffix, seed, size))
    return path


def image_bytes(suffix: str = ".png", seed: int = 0, size: int = 16) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, size=(size, size, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format={".jpg": "JPEG"}.get(suffix, "PNG"))
    return buffer.getvalue()


def write_broken(folder: Path, outside: Path) -> dict[str, str]:
    """Broken image files in `folder`; file name -> the kind that the report must give it.

    `outside` becomes a whole image beyond the root, reached from inside by a link.
    """
    folder.mkdir(parents=True, exist_ok=True)
    whole = image_bytes(".png", size=64)
    (folder / "cut.png").write_bytes(whole[:len(whole) // 2])
    jpeg = image_bytes(".jpg", size=64)
    (folder / "cut.jpg").write_bytes(jpeg[:len(jpeg) // 2])
    (folder / "text.jpg").write_text("<html>404 not found</html>")
    (folder / "script.png").write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\nshowpage\n")
    (folder / "zero.png").write_bytes(b"")
    write_image(outside)
    os.symlink(outside, folder / "linked_out.png")
    os.symlink("nothing_there.png", folder / "dangling.png")
    os.mkfifo(folder / "pipe.png")
    return {"cut.png": "truncated file", "cut.jpg": "truncated file", "text.jpg": "not an image",
            "script.png": "not an image", "zero.png": "zero-byte file", "linked_out.png": "leaves root",
            "dangling.png": "missing file", "pipe.png": "not an image"}


def tree_bytes(folder: Path) -> dict[str, bytes]:
    """Every file below a folder and its bytes, to compare before and after."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def black_png(mode: Literal["RGBA", "I;16"], width: int, height: int) -> bytes:
    """A PNG of zeros, written without holding its pixels."""
    row = bytes(1 + width * {"RGBA": 4, "I;16": 2}[mode])
    packer = zlib.compressobj(1)
    body = b"".join([*(packer.compress(row) for _ in range(height)), packer.flush()])
    depth, colour = {"RGBA": (8, 6), "I;16": (16, 0)}[mode]
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", body), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(struct.pack(">I", len(content)) + kind + content
                                           + struct.pack(">I", zlib.crc32(kind + content)) for kind, content in chunks)
