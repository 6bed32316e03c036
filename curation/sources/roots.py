"""The folders of this machine that the app's import form may look into, and what lies in them.

    WHETSTONE_ROOTS   folders, separated as in PATH; without it the whole machine, as the user who runs the app sees it

Reads names alone and follows no link out of a root. The command line reads what its user can and asks nothing here.
"""

import contextlib
import os
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from curation.ledger import people
from curation.sources.reading.images import IMAGE_SUFFIXES
from curation.tables.frames import SUFFIXES
from curation.tables.report import SourceError

MAX_ENTRIES = 100_000
"""Names of one folder that are looked at."""
_MAX_PEEKED, _MAX_FOLDERS = 1_000, 10
"""Names and folders that are looked at to tell whether data lie there."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Listing:
    """What lies in one folder; names in order, hidden ones left out."""

    path: Path
    folders: tuple[str, ...]
    tables: tuple[str, ...]
    """Files that can be imported as a table."""
    num_images: int
    num_other: int
    is_cut: bool
    """Whether there are more names than were looked at."""


def allowed_roots() -> list[Path]:
    """Absolute folders that exist, links followed, in the order given."""
    people.require("owner", "a look into this machine's folders")
    given = os.environ.get("WHETSTONE_ROOTS", "")
    found = [Path(part).expanduser().resolve() for part in given.split(os.pathsep) if part.strip()]
    return [path for path in dict.fromkeys(found) if path.is_dir()] if given.strip() else [Path("/")]


def start(last: Iterable[Path] = ()) -> Path:
    """Where to begin to look: the first of `last` (folders imported from, the newest first) that is there and allowed,
    else the first allowed root with images or tables, home where that is allowed, or the first root. Raises SourceError
    without any."""
    roots, home = allowed_roots(), Path.home().resolve()
    if not roots:
        raise SourceError("the folders to import from are named in WHETSTONE_ROOTS; none of them is there; mend it and "
                          "start the app anew")
    for place in (*(path.resolve() for path in last), *filter(_holds_data, roots), home):
        if place.is_dir() and any(place.is_relative_to(root) for root in roots):
            return place
    return roots[0]


def _holds_data(root: Path) -> bool:
    """Whether images or tables lie in a folder, in one of its first folders, or in one of theirs."""
    def holds(folder: Path, depth: int) -> bool:
        try:
            here = listing(folder, _MAX_PEEKED)
        except SourceError:
            return False
        return bool(here.num_images or here.tables) or (
            depth > 0 and any(holds(folder / name, depth - 1) for name in here.folders[:_MAX_FOLDERS]))

    return holds(root, 2)


def allowed(text: str) -> Path:
    """The folder or file that a path names, links followed. Raises SourceError where there is none or it lies outside
    of the allowed roots."""
    if "\0" in text or not text.strip():
        raise SourceError("a place must be named by an absolute path; got nothing that is one; choose a folder below")
    path = Path(text.strip())
    with contextlib.suppress(RuntimeError):  # no such user: then it is no absolute path
        path = path.expanduser()
    if not path.is_absolute():
        raise SourceError(f"a place must be named by an absolute path, such as /data/photos; got {text!r}; choose a "
                          "folder below")
    try:
        found = path.resolve(strict=True)
    except (OSError, RuntimeError):
        raise SourceError(f"a place must be on the machine that runs this app; there is none at {path}; check the "
                          "path or choose a folder below") from None
    if not any(found.is_relative_to(root) for root in allowed_roots()):
        raise SourceError(f"this app may import from {', '.join(map(str, allowed_roots()))}; {path} lies outside; move "
                          "the data there")
    return found


def listing(folder: Path, most: int = MAX_ENTRIES) -> Listing:
    """What lies in an allowed folder, by its first `most` names. Raises SourceError where it cannot be read."""
    folders, tables, num_images, num_other, num_seen = [], [], 0, 0, 0
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                num_seen += 1
                if num_seen > most:
                    break
                kind = _kind(entry, folder)
                if kind == "folder":
                    folders.append(entry.name)
                elif kind == "table":
                    tables.append(entry.name)
                num_images += kind == "image"
                num_other += kind == "other"
    except OSError as error:
        raise SourceError(f"a folder must be readable by the user who runs this app; {folder}: {error.strerror}; "
                          "choose another folder or change its rights") from error
    return Listing(path=folder, folders=tuple(sorted(folders)), tables=tuple(sorted(tables)), num_images=num_images,
                   num_other=num_other, is_cut=num_seen > most)


def leads_out(path: Path, home: Path) -> bool:
    """Whether a path below `home` leads, by links, out of it and of the allowed roots."""
    found = path.resolve()
    return not any(found.is_relative_to(root) for root in (home.resolve(), *allowed_roots()))


def _kind(entry: os.DirEntry[str], folder: Path) -> str:
    if entry.name.startswith(".") or not entry.name.isprintable():
        return "hidden"
    try:
        mode = entry.stat().st_mode
    except OSError:  # a link to nowhere
        return "hidden"
    suffix = os.path.splitext(entry.name)[1].lower()
    if stat.S_ISDIR(mode):
        kind = "folder"
    elif not stat.S_ISREG(mode):  # to open a pipe is to wait for who writes to it
        return "other"
    elif suffix in IMAGE_SUFFIXES:
        return "image"  # each is held to its root when it is read (engine.contract.manifest.resolve_image)
    else:
        kind = "table" if suffix in SUFFIXES else "other"
    return "hidden" if entry.is_symlink() and leads_out(Path(entry.path), folder) else kind
