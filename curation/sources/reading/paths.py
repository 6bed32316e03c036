r"""Image paths as other machines and programs write them, and where these files lie here.

Backslashes, `file:` addresses, a folder that is not here (C:\Users\ada\photos\, /data/, the root's own name twice),
names without their folder or their suffix: understood where the files that are here leave no doubt, and said.
"""

import os
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

import numpy as np
import pyarrow as pa

from curation.sources.reading.images import IMAGE_SUFFIXES
from curation.tables.report import Column

NUM_LOOKED_AT = 200
ENOUGH = 0.9
"""Of the paths looked at, as many must be there for a reading of them to count."""
MAX_WALKED = 2_000_000
REMOTE = r"^[A-Za-z][A-Za-z0-9+.-]+://"
_Reading = Callable[[str], str]


def found_paths(paths: Column, folder: Path) -> tuple[Column, list[str]]:
    """(the paths, those that are not here as written read in the one way by which they are; what was read how).

    Looks at NUM_LOOKED_AT of them, evenly drawn; where most are here as they stand, nothing is changed.
    """
    written = paths.drop_null()
    if not len(written):
        return paths, []
    drawn = written.take(pa.array(np.linspace(0, len(written) - 1, min(len(written), NUM_LOOKED_AT)).astype(np.int64)))
    looked_at = list(dict.fromkeys(drawn.to_pylist()))
    here = _num_there(looked_at, folder) / len(looked_at)
    if here >= ENOUGH:
        return paths, []
    for words, reading in _readings(looked_at, folder, has_few=here <= 1 - ENOUGH):
        num = _num_there([reading(path) for path in looked_at], folder)
        if num >= ENOUGH * len(looked_at):
            read = [None if path is None else path if _is_there(path, folder) else reading(path)
                    for path in paths.to_pylist()]
            return pa.array(read, pa.string()), [f"{words} ({num:,} of {len(looked_at):,} looked at are there)"]
    return paths, []


def _readings(paths: list[str], folder: Path, has_few: bool) -> Iterator[tuple[str, _Reading]]:
    """Ways to read these paths, the plainest first, with what is said of each. has_few: whether few are here as they
    stand; else one that is missing is missing, and what bears its name elsewhere is another picture."""
    if any("\\" in path for path in paths):
        yield "paths are written with backslashes", _slashes
    if any(path.lower().startswith("file:") for path in paths):
        yield "paths are written as file: addresses", lambda path: _below(_local(path), folder)
    if not has_few:
        return
    plain = [_slashes(_local(path)) for path in paths]
    start = os.path.commonprefix([path.rpartition("/")[0] + "/" for path in plain])
    parts = start.split("/")[:-1]
    for num in range(1, len(parts) + 1):
        lead = "/".join(parts[:num]) + "/"
        if not lead.startswith("/") and os.path.isdir(folder / lead):
            continue  # what is missing there is missing: a file of that name beside the folder is another picture
        yield (f"paths begin with {lead!r}, which is not here: they are taken from what follows it",
               lambda path, lead=lead: _slashes(_local(path)).removeprefix(lead))  # type: ignore[misc]
    if not any(os.path.splitext(path)[1].lower() in IMAGE_SUFFIXES for path in plain):
        names = _names_in({os.path.dirname(path) for path in plain}, folder)
        yield "paths lack the suffix of the image", lambda path: _only(names.get(_slashes(path)), path)
    if not any("/" in path for path in plain):
        below = _names_below(folder)
        yield "images are named without their folder", lambda path: _only(below.get(path), path)


def _num_there(paths: list[str], folder: Path) -> int:
    return sum(_is_there(path, folder) for path in paths)


def _is_there(path: str, folder: Path) -> bool:
    try:
        return (folder / path).is_file()
    except (OSError, ValueError):  # a name too long, or with a NUL
        return False


def _slashes(path: str) -> str:
    return path.replace("\\", "/")


def _local(path: str) -> str:
    return unquote(urlsplit(path).path) if path.lower().startswith("file:") else path


def _below(path: str, folder: Path) -> str:
    return path.removeprefix(str(folder).rstrip("/") + "/")


def _only(found: list[str] | None, path: str) -> str:
    """The one file that it can be; the path itself where there is none, or several."""
    return found[0] if found is not None and len(found) == 1 else path


def _names_in(folders: set[str], folder: Path) -> dict[str, list[str]]:
    """Path without suffix -> the images of that name, in the folders that paths name."""
    found: dict[str, list[str]] = defaultdict(list)
    for below in folders:
        if os.path.isabs(below) or ".." in below.split("/"):
            continue
        try:
            names = os.listdir(folder / below)
        except OSError:
            continue
        for name in names:
            stem, suffix = os.path.splitext(name)
            if suffix.lower() in IMAGE_SUFFIXES:
                found[os.path.join(below, stem)].append(os.path.join(below, name))
    return found


def _names_below(folder: Path) -> dict[str, list[str]]:
    """Name -> where images of that name lie below a folder, by its first MAX_WALKED files."""
    found: dict[str, list[str]] = defaultdict(list)
    num = 0
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in names:
            if os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES:
                found[name].append(os.path.relpath(os.path.join(place, name), folder))
        num += len(names)
        if num > MAX_WALKED:
            return {}
    return found
