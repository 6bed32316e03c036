"""Are the image files there and whole? Stats or decodes them in threads and reports each that is not.

Looks at files and nothing else: labels and splits are screened in rows.py.
"""

import functools
import os
import stat
import struct
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow as pa
from PIL import Image

from curation.tables.report import Problems, Progress
from engine.contract.manifest import ManifestError, resolve_image
from engine.contract.pictures.image_files import NotAnImageError, TooLargeError, open_image
from engine.contract.pictures.mirror import RemoteError, exists, mirror_of

CHECKS = ("auto", "none", "exists", "decode")
AUTO_DECODE_LIMIT = 50_000
"""Largest number of images that the check `auto` decodes."""

IMAGE_SUFFIXES = frozenset((
    ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm", ".pbm",
    ".pnm", ".jp2", ".avif"))

_BATCH = 2048


def chosen_check(check: str, num_images: int) -> str:
    """`auto` made definite: decode up to AUTO_DECODE_LIMIT images, none above."""
    if check != "auto":
        return check
    return "decode" if num_images <= AUTO_DECODE_LIMIT else "none"


def check_images(rows: pa.Table, root: Path, check: str, problems: Problems, progress: Progress) -> pa.Table:
    """The rows whose image passes `check` (none, exists or decode); each other row gives one line in the report.

    exists: a regular file with bytes, inside `root` through links as well. decode: Pillow also reads it whole.
    """
    if check == "none":
        return rows
    root = root.resolve()
    test = functools.partial(_decode if check == "decode" else _stat, root)
    message = "decoding images" if check == "decode" else "looking for images"
    is_good = np.ones(rows.num_rows, dtype=bool)
    with warnings.catch_warnings(), ThreadPoolExecutor(min(16, (os.cpu_count() or 1) + 2)) as pool:
        warnings.simplefilter("ignore")  # Pillow warns of odd metadata; the pixels are what counts here
        for start in range(0, rows.num_rows, _BATCH):
            batch = rows.slice(start, _BATCH)
            for offset, finding in enumerate(pool.map(test, batch["path"].to_pylist())):
                if finding is not None:
                    is_good[start + offset] = False
                    _report(batch.slice(offset, 1), finding, problems)
            progress(start + batch.num_rows, rows.num_rows, message)
    return rows if is_good.all() else rows.filter(pa.array(is_good))


def _report(row: pa.Table, finding: tuple[str, str], problems: Problems) -> None:
    """Names the image file itself; where a list named it, the reason says which line."""
    values = row.select(["path", "file", "row", "sample_id"]).to_pylist()[0]
    listed = f" (listed in {values['file']}, row {values['row']})" if values["row"] is not None else ""
    problems.add(finding[0], finding[1] + listed, file=values["path"], sample_id=values["sample_id"])


def _stat(root: Path, path: str, is_decoded: bool = False) -> tuple[str, str] | None:
    """(kind, reason) of what is wrong with the file, or None. is_decoded: it is to be decoded next, which finds out
    whether a mirror's place has it."""
    try:
        full = resolve_image(root, path)
        if (mirror := mirror_of(full)) is not None:
            return None if is_decoded or exists(mirror, full) else ("missing file", f"no such file in {mirror.url}")
        info = full.stat()
    except ManifestError:
        return "leaves root", f"an image must lie inside {root}, links followed; got {path!r}"
    except (FileNotFoundError, NotADirectoryError):
        return "missing file", f"no such file in {root}"
    except (OSError, ValueError) as error:
        return "unreadable file", _reason(error)
    if not stat.S_ISREG(info.st_mode):
        return "not an image", "not a regular file"
    return None if info.st_size else ("zero-byte file", "the file has no bytes")


def _decode(root: Path, path: str) -> tuple[str, str] | None:
    """As _stat, and the file must decode to its last row."""
    finding = _stat(root, path, is_decoded=True)
    if finding is not None:
        return finding
    try:
        with open_image(resolve_image(root, path)) as image:
            return _load(image)
    except NotAnImageError as error:
        return "not an image", _reason(error)
    except TooLargeError as error:
        return "too large", _reason(error)
    except RemoteError:  # a place that is down says nothing of any picture
        raise
    except FileNotFoundError:
        return "missing file", "no such file where the pictures lie"
    except PermissionError as error:
        return "unreadable file", _reason(error)
    except (OSError, SyntaxError, ValueError, struct.error, zlib.error, EOFError, IndexError) as error:
        return "damaged file", _reason(error)


def _load(image: Image.Image) -> tuple[str, str] | None:
    try:
        image.load()
    except (OSError, SyntaxError, ValueError, struct.error, zlib.error, EOFError, IndexError) as error:
        text = str(error).lower()
        is_short = isinstance(error, EOFError) or any(word in text for word in ("truncated", "not enough", "eof"))
        return ("truncated file" if is_short else "damaged file"), _reason(error)
    if image.mode == "F" and not np.isfinite(np.asarray(image)).any():
        return "damaged file", "none of its values is a number"
    return None


def _reason(error: Exception) -> str:
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return " ".join(text.split())[:200] or type(error).__name__
