"""What the folders below a root are: classes, splits of classes, classes of splits, or a wrapper around either.

Reads names only, and those of links not at all.
"""

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from curation.sources.folder_walk import is_project
from curation.sources.reading.images import IMAGE_SUFFIXES
from curation.sources.reading.rows import SPLIT_NAMES
from curation.tables.report import SourceError

MAX_WRAPPERS = 4
_BESIDE = {"noisy", "clean", "set", "data", "dataset", "images", "image", "img", "imgs", "split", "small", "full"}
"""Words that stand beside that of a split in a folder's name."""
_MAX_PEEKED = 2_000
Order = Literal["classes", "splits", "classes of splits"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Arrangement:
    """How a tree of folders is read."""

    order: Order
    base: Path
    """The folder that holds the classes, or the splits: the root, or what it wraps."""


def split_of_folder(name: str, beside: frozenset[str] = frozenset()) -> str | None:
    """The split that a folder's name means, whatever its case; None where it means none. beside: the names of the
    folders beside it: clean_train beside noisy_train holds the trusted samples.

    >>> split_of_folder("Validation"), split_of_folder("test_set"), split_of_folder("train station")
    ('clean', 'test', None)
    """
    words = [word for word in re.split(r"[^a-z]+", name.lower()) if word]
    if name.lower() in SPLIT_NAMES:
        return SPLIT_NAMES[name.lower()]
    found = [word for word in words if word in SPLIT_NAMES and (word != "clean" or len(words) == 1)]
    if len(found) != 1 or any(word not in _BESIDE for word in words if word != found[0]):
        return None
    has_noisy = any("noisy" in other.lower() for other in beside)
    return "clean" if SPLIT_NAMES[found[0]] == "train" and "clean" in words and has_noisy else SPLIT_NAMES[found[0]]


def arrangement(root: Path, layout: str) -> Arrangement:
    """How `root` is read. layout: auto, class (its folders are classes) or split (they are splits).

    Raises SourceError where all folders are called as splits and none holds folders.
    """
    if layout != "auto":
        return Arrangement(order="splits" if layout == "split" else "classes", base=root)
    base = _unwrapped(root)
    folders = _folders(base)
    names = frozenset(folder.name for folder in folders)
    splits = [folder for folder in folders if split_of_folder(folder.name, names)]
    with_classes = [folder for folder in splits if _folders(folder)]
    has_train = any(split_of_folder(folder.name, names) == "train" for folder in with_classes)
    if has_train or (len(with_classes) > 1 and len(with_classes) == len(folders)):
        return Arrangement(order="splits", base=base)
    if splits and len(splits) == len(folders) and not with_classes and any(map(_has_images, splits)):
        raise SourceError(
            f"folders called as splits must hold a folder for each class; {', '.join(sorted(names)[:6])} in {base} "
            "hold images alone; put each image into the folder of its class, import a table of labels, or say layout "
            "class if these are the classes")
    return Arrangement(order="classes of splits" if _are_split_inside(folders) else "classes", base=base)


def _unwrapped(root: Path) -> Path:
    """The folder inside of folders that hold nothing but one folder, which holds folders alone."""
    for _ in range(MAX_WRAPPERS):
        folders = _folders(root)
        if len(folders) != 1 or split_of_folder(folders[0].name) or _has_images(root):
            return root
        inside = _folders(folders[0])
        is_class = all(split_of_folder(one.name) for one in inside) and not any(map(_folders, inside))
        if not inside or _has_images(folders[0]) or is_class:
            return root
        root = folders[0]
    return root


def _are_split_inside(folders: list[Path]) -> bool:
    """Whether every class holds folders, all of them called as splits, of two kinds or more."""
    inside = [[split_of_folder(one.name) for one in _folders(folder)] for folder in folders]
    kinds = {split for splits in inside for split in splits}
    return bool(inside) and all(inside) and None not in kinds and len(kinds) > 1


def _folders(parent: Path) -> list[Path]:
    """Folders in a folder, by name: those that are hidden, links or projects left out."""
    try:
        with os.scandir(parent) as entries:
            found = [Path(entry.path) for entry, _ in zip(entries, range(_MAX_PEEKED), strict=False)
                     if not entry.name.startswith(".") and entry.name != "__MACOSX" and not entry.is_symlink()
                     and entry.is_dir()]
    except OSError:
        return []
    return sorted(folder for folder in found if not is_project(folder))


def _has_images(folder: Path) -> bool:
    try:
        with os.scandir(folder) as entries:
            return any(os.path.splitext(entry.name)[1].lower() in IMAGE_SUFFIXES and not entry.name.startswith(".")
                       for entry, _ in zip(entries, range(_MAX_PEEKED), strict=False))
    except OSError:
        return False
