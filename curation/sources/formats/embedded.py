"""Pictures that lie inside a data set's own files, written as files into the project's images folder.

A file is named after its bytes (SHA-256), so that an import that was stopped goes on where it was, equal pictures take
their place once, and pictures of one name stay apart. Decodes nothing.
"""

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pyarrow as pa

from curation.tables.report import Problems, Progress, SourceError
from engine.contract.disk.temporaries import temporary_beside

IMAGES = "images"
_DIGITS = 32
"""Of the digest in hex, in a file's name."""
_STARTS = {
    b"\xff\xd8\xff": ".jpg", b"\x89PNG\r\n\x1a\n": ".png", b"GIF8": ".gif", b"BM": ".bmp", b"II*\x00": ".tif",
    b"MM\x00*": ".tif", b"\x00\x00\x00\x0cjP  ": ".jp2", b"\xff\x4f\xff\x51": ".jp2", b"P1": ".pbm", b"P2": ".pgm",
    b"P3": ".ppm", b"P4": ".pbm", b"P5": ".pgm", b"P6": ".ppm",
}
"""How encoded pictures begin, by format."""

Pictures = Callable[[str, list[int]], Iterable[tuple[int, bytes | None]]]
"""(name of a file of the data set, rows wanted of it, counted from 1 and rising) -> (row, the encoded picture or None)
of each of them, in that order."""


def provisional_id(file: str, row: int) -> str:
    """The id of a row that has none of its own until its picture is written."""
    return f"{file}:{row}"


def written(rows: pa.Table, folder: Path, pictures: Pictures, problems: Problems, progress: Progress) -> pa.Table:
    """The rows whose picture could be written below `folder`, with its path; the others are reported. A provisional
    sample_id becomes one of the picture's content; equal pictures are numbered in the order of the rows."""
    files, numbers, ids = (rows[name].to_pylist() for name in ("file", "row", "sample_id"))
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SourceError(f"pictures are written into {folder}; {error.strerror}; check rights and free "
                          "space") from error
    root, paths, done = folder.resolve(), np.full(rows.num_rows, None, dtype=object), 0
    folders, seen = set[Path](), Counter[str]()
    places_of: dict[str, dict[int, int]] = {}
    for place, (file, row) in enumerate(zip(files, numbers, strict=True)):
        places_of.setdefault(file, {})[row] = place
    for file, places in places_of.items():
        for row, picture in pictures(file, sorted(places)):
            place = places[row]
            paths[place] = _write(root, folders, picture, problems, file, row, ids[place])
            if paths[place] is not None and ids[place] == provisional_id(file, row):
                name = Path(paths[place]).stem
                seen[name] += 1
                ids[place] = name if seen[name] == 1 else f"{name}-{seen[name]}"
            done += 1
            if done % 500 == 0:
                progress(done, rows.num_rows, "writing pictures")
    progress(rows.num_rows, rows.num_rows, "writing pictures")
    for name, column in (("path", paths.tolist()), ("sample_id", ids)):
        rows = rows.set_column(rows.schema.get_field_index(name), name, pa.array(column, pa.string()))
    return rows.filter(pa.array([path is not None for path in paths]))


def _write(root: Path, folders: set[Path], picture: bytes | None, problems: Problems, file: str, row: int,
           sample_id: str) -> str | None:
    """The path of the picture below `root`; None, and a line in the report, where there is none. folders: those known
    to lie in it."""
    suffix = "" if picture is None else suffix_of(picture)
    if picture is None or not suffix:
        kind, reason = ("missing picture", "the row holds no picture") if not picture else \
            ("not an image", f"the row's {len(picture):,} bytes are no picture of a known format")
        problems.add(kind, reason, file=file, row=row, sample_id=sample_id)
        return None
    digest = hashlib.sha256(picture).hexdigest()[:_DIGITS]
    path = f"{digest[:2]}/{digest}{suffix}"
    target = root / path
    if target.parent not in folders:
        if not target.parent.resolve().is_relative_to(root):
            raise SourceError(f"pictures are written into {root}; {target.parent} leads out of it; remove that link")
        target.parent.mkdir(exist_ok=True)
        folders.add(target.parent)
    if target.is_file() and not target.is_symlink() and target.stat().st_size == len(picture):
        return path
    temporary = temporary_beside(root / "picture")
    temporary.write_bytes(picture)
    os.replace(temporary, target)
    return path


def suffix_of(picture: bytes) -> str:
    """The suffix of an encoded picture by how it begins; "" where that is no known format."""
    if picture[:4] == b"RIFF" and picture[8:12] == b"WEBP":
        return ".webp"
    if picture[4:12] in (b"ftypavif", b"ftypavis"):
        return ".avif"
    return next((suffix for start, suffix in _STARTS.items() if picture.startswith(start)), "")
