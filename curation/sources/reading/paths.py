r"""Image paths as other machines and programs write them, and where these files lie here.

Backslashes, `file:` and Label Studio's addresses, a folder that is not here (C:\Users\ada\photos\, /data/, the
root's own name twice), names without their folder or their suffix: understood where the files that are here leave no
doubt, and said.
"""

import os
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curation.sources.reading.images import IMAGE_SUFFIXES
from curation.tables.report import Column
from curation.words import counted

NUM_LOOKED_AT = 200
ENOUGH = 0.9
"""Of the paths looked at, as many must be there for a reading of them to count."""
MAX_WALKED = 2_000_000
UPLOADED = re.compile(r"^/?data/upload/(\d+/)?")
"""What Label Studio puts before the name of a file that was uploaded to it."""
DIGITS = re.compile(r"^[0-9a-f]{5,8}-")
"""What it puts before the name itself."""
_LOCAL_FILES = re.compile(r"^/?data/local-files/*\?")
REMOTE = r"^[A-Za-z][A-Za-z0-9+.-]+://"
_Reading = Callable[[str], str]


def found_paths(paths: Column, folder: Path) -> tuple[Column, list[str]]:
    """(the paths, those that are not here as written read in the one way by which they are; what was read how).

    Looks at NUM_LOOKED_AT of them, evenly drawn; where most are here as they stand, no more than the Unicode form of
    some is changed.
    """
    paths, formed = _in_the_files_form(paths, folder)
    looked_at = _drawn(paths)
    found = _best(looked_at, folder)
    if found is None or not found[0]:
        return paths, formed
    words, reading, num = found
    read = {path: path if path is None or _is_there(path, folder) else reading(path)
            for path in paths.unique().to_pylist()}
    names = Counter((to, _last(_slashes(path))) for path, to in read.items() if path is not None)
    several = Counter(to for to, _ in names)  # two names of one file: of neither is it certain
    notes = [f"{words} ({num:,} of {len(looked_at):,} looked at are there)"]
    if unsure := sum(several[to] > 1 and path != to for path, to in read.items() if path is not None):
        notes.append(f"{counted(unsure, 'path')} left as written, since another one leads to the same file")
    read = {path: path if path is None or several[to] > 1 else to for path, to in read.items()}
    return pa.array([read[path] for path in paths.to_pylist()], pa.string()), [*formed, *notes]


def _in_the_files_form(paths: Column, folder: Path) -> tuple[Column, list[str]]:
    """(the paths, of which those that differ by Unicode form alone from a file's name are that name, what was done):
    macOS writes an accent as a letter of its own."""
    is_odd = pc.fill_null(pc.invert(pc.string_is_ascii(paths)), False)
    odd = _drawn(paths.filter(is_odd)) if pc.any(is_odd).as_py() else []
    if _num_there(odd, folder) == len(odd):
        return paths, []
    names: dict[str, list[str]] = defaultdict(list)
    for found in _names_below(folder).values():
        for path in found:
            names[unicodedata.normalize("NFC", path)].append(path)
    read = {path: path if _is_there(path, folder) else _only(names.get(unicodedata.normalize("NFC", path)), path)
            for path in paths.filter(is_odd).unique().to_pylist()}
    num = sum(path != to for path, to in read.items())
    if not num:
        return paths, []
    return (pa.array([read.get(path, path) for path in paths.to_pylist()], pa.string()),
            [f"{counted(num, 'path')} written in another Unicode form than the file's name"])


def lead_to_images(values: Column, folder: Path) -> bool:
    """Whether a column's values name files that are here, as found_paths would read them."""
    looked_at = _drawn(values.cast(pa.string()))
    return bool(looked_at) and _best(looked_at, folder) is not None


def _drawn(paths: Column) -> list[str]:
    """Some of the paths, evenly drawn, each once."""
    written = paths.drop_null()
    places = np.linspace(0, len(written) - 1, min(len(written), NUM_LOOKED_AT)).astype(np.int64)
    return list(dict.fromkeys(written.take(pa.array(places)).to_pylist()))


def _best(paths: list[str], folder: Path) -> tuple[str, _Reading, int] | None:
    """(what is said of the first way of reading by which most paths are here, that way, how many are); "" is said where
    they are as they stand. None where there is no such way."""
    here = _num_there(paths, folder)
    if here >= ENOUGH * len(paths):
        return "", lambda path: path, here
    for words, reading in _readings(paths, folder, has_few=here <= (1 - ENOUGH) * len(paths)):
        num = _num_there([reading(path) for path in paths], folder)
        if num >= ENOUGH * len(paths):
            return words, reading, num
    return None


def _readings(paths: list[str], folder: Path, has_few: bool) -> Iterator[tuple[str, _Reading]]:
    """Ways to read these paths, the plainest first, with what is said of each. has_few: whether few are here as they
    stand; else one that is missing is missing, and what bears its name elsewhere is another picture."""
    if any("\\" in path for path in paths):
        yield "paths are written with backslashes", _slashes
    if any(path.lower().startswith("file:") for path in paths):
        yield "paths are written as file: addresses", lambda path: _below(_local(path), folder)
    if any(_LOCAL_FILES.match(path) for path in paths):
        yield "paths are Label Studio's addresses of local files", lambda path: _below(_local(path), folder)
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
    if all(UPLOADED.match(path) for path in plain):
        below = _names_below(folder)
        yield ("paths are Label Studio's addresses of uploaded files, taken by the names that these had",
               lambda path: _only(below.get(_last(path)) or below.get(DIGITS.sub("", _last(path))), path))
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


def _last(path: str) -> str:
    return path.rpartition("/")[2]


def _local(path: str) -> str:
    """The file that a `file:` address, or Label Studio's of a local file, names; else the path itself."""
    try:
        if _LOCAL_FILES.match(path):
            return (parse_qs(urlsplit(path).query).get("d") or [path])[0]
        return unquote(urlsplit(path).path) if path.lower().startswith("file:") else path
    except ValueError:  # no address, such as file://[
        return path


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
        except (OSError, ValueError):  # a name with a NUL
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
