"""Where a data set's files lie, and what their names say: files of a kind, their split, the folder of their images.

Follows no link out of the data set's folder.
"""

import os
import re
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

from curation.sources.reading.rows import SPLIT_NAMES
from curation.tables.report import SourceError

MAX_FILES = 5_000
MAX_LOOKED_AT = 20_000
"""Files found, and names, that are looked at to tell what a folder is."""
_NUM_PROBES = 40
_MAX_FOLDERS = 40
_HEAD_BYTES = 1 << 16


def files_below(root: Path, suffixes: tuple[str, ...], depth: int = 2, most: int | None = MAX_LOOKED_AT) -> list[Path]:
    """Files of these suffixes in `root` and in folders up to `depth` below it, in order; `root` itself where it is a
    file. Hidden names and links that lead out are left out. most: look at so many names alone, to tell what a folder
    is; None: at all, to read it: a table may lie behind a hundred thousand images."""
    if os.path.isfile(root):
        return [root] if root.name.lower().endswith(suffixes) else []
    found: list[Path] = []
    num_seen, pending = 0, [(root, 0)]
    home = root.resolve()
    while pending:
        folder, level = pending.pop(0)
        for entry in _entries(folder, most):
            num_seen += 1
            if most is not None and (num_seen > most or len(found) >= MAX_FILES):
                return sorted(found)
            is_named = entry.name.lower().endswith(suffixes)
            if not is_named and not (level < depth and (entry.is_symlink() or entry.is_dir(follow_symlinks=False))):
                continue  # of most names nothing is asked: no look at the disk
            path = folder / entry.name
            if entry.is_symlink() and not Path(os.path.realpath(path)).is_relative_to(home):  # in circles too
                continue
            if is_named and os.path.isfile(path):  # where Path.is_file raises if it may not look
                found.append(path)
            elif level < depth and os.path.isdir(path):
                pending.append((path, level + 1))
    return sorted(found)


def _names(folder: Path, most: int | None) -> list[str]:
    return [entry.name for entry in _entries(folder, most)]


def _entries(folder: Path, most: int | None) -> list[os.DirEntry[str]]:
    """What is not hidden among the first `most` names of a folder, by name."""
    try:
        with os.scandir(folder) as entries:
            found = list(islice(entries, most))
    except OSError:
        return []
    return sorted((one for one in found if not one.name.startswith(".") and one.name.isprintable()),
                  key=lambda one: one.name)


def ours_of(root: Path, suffixes: tuple[str, ...], is_ours: Callable[[Path], bool], what: str) -> list[Path]:
    """All files_below that are of a format. Raises SourceError where there is none."""
    if not root.exists():
        raise SourceError(f"a data set must be there; there is none at {root}; check the path")
    found = [path for path in files_below(root, suffixes, most=None) if is_ours(path)]
    if not found:
        raise SourceError(f"{what}; {root} {'is' if root.is_file() else 'holds'} none; check the path")
    return found


def head(path: Path, num_bytes: int = _HEAD_BYTES) -> str:
    """The beginning of a text file; "" where it cannot be read."""
    try:
        with open(path, "rb") as file:
            return file.read(num_bytes).decode("utf-8-sig", "replace")
    except OSError:
        return ""


def tail(path: Path, num_bytes: int = _HEAD_BYTES) -> str:
    """The end of a text file; "" where it cannot be read."""
    try:
        with open(path, "rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - num_bytes))
            return file.read().decode("utf-8", "replace")
    except OSError:
        return ""


def data_root(root: Path) -> Path:
    """The folder of the whole data set: that of a file, and the one above where it is only for annotations."""
    folder = root if root.is_dir() else root.parent
    is_aside = folder.name.lower() in ("annotations", "annotation", "labels", "meta", "info") and root.is_file()
    return (folder.parent if is_aside else folder).resolve()


def name_below(path: Path, folder: Path) -> str:
    """What a file is called in reports: its path below the data set's folder."""
    found = path.resolve()
    return found.relative_to(folder).as_posix() if found.is_relative_to(folder) else path.name


def split_of(path: str) -> str | None:
    """The split that a path's words name, the last such word: annotations/labels_train.json is train, and so are
    instances_train2017.json and data/train-00000-of-00004.parquet. None where there is none."""
    words = re.findall(r"[a-z]+", path.lower())
    return next((SPLIT_NAMES[word] for word in reversed(words) if word in SPLIT_NAMES), None)


def images_below(folder: Path, file: Path, names: list[str], suffixes: tuple[str, ...] = ("",)) -> str:
    """What to put before image names so that they are found below `folder`: of the usual folders in their order the
    first with half of some names, else the one with most; "" where none is. suffixes: that may follow a name.

    Half is enough: pictures of several splits often have the same names, and one that is missing beside its list must
    not make all of another split its pictures.
    """
    probes = names[::max(1, len(names) // _NUM_PROBES)][:_NUM_PROBES]
    best, most = "", 0
    for prefix in _prefixes(folder, file):
        num = sum(any(_is_there(folder / f"{prefix}{name}{suffix}") for suffix in suffixes) for name in probes)
        if num > most:
            best, most = prefix, num
        if 2 * num >= len(probes):
            break
    return best


def _prefixes(folder: Path, file: Path) -> Iterator[str]:
    """Usual places of images: beside the file, in the data set's folder, in images/ or data/, there by split or by the
    file's name without what it says first."""
    beside = os.path.relpath(file.resolve().parent, folder).replace(os.sep, "/")
    beside = "" if beside == "." or beside.startswith("..") else beside + "/"
    own = file.stem.partition("_")[2] or file.stem
    split = next((word for word in reversed(re.findall(r"[A-Za-z]+", file.stem)) if word.lower() in SPLIT_NAMES), "")
    for home in dict.fromkeys((beside, "")):
        yield home
        for place in ("images/", "data/", "img/", "imgs/", "JPEGImages/"):
            yield home + place
        for name in dict.fromkeys(name for name in (own, split, file.stem) if name):
            yield from (f"{home}images/{name}/", f"{home}{name}/", f"{home}data/{name}/", f"{home}{name}/images/",
                        f"{home}{name}_images/")
    for name in _names(folder, MAX_LOOKED_AT)[:_MAX_FOLDERS]:
        if (folder / name).is_dir():
            yield f"{name}/"
            inner = _names(folder / name, 100)[:5]
            yield from (f"{name}/{below}/" for below in inner if (folder / name / below).is_dir())


def _is_there(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False
