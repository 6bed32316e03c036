"""What a folder or file most probably is: which source reads it, from where, with which columns. Reads names and a
table's header alone; the person at the form has the last word."""

import contextlib
from dataclasses import dataclass, field
from pathlib import Path

from curation.sources import clothing1m
from curation.sources.importing import SOURCES
from curation.sources.reading.columns import usual_columns
from curation.sources.roots import Listing, leads_out, listing
from curation.tables.frames import SUFFIXES, column_names
from curation.tables.report import SourceError

MAX_DEPTH = 4
"""Folders that hold nothing but one folder are looked through so far: zips are often packed that way."""
MAX_TABLES = 20
MAX_PEEKED = 2_000
"""Names of a folder that are looked at to tell what it is."""
_USUAL_TABLES = ("metadata", "labels", "train", "data", "annotations")


@dataclass(frozen=True, kw_only=True, slots=True)
class Recognised:
    """One way to read a place."""

    source: str
    """A key of SOURCES."""
    root: Path
    """What that source is given: a folder, or the table's file."""
    columns: tuple[str, ...] = ()
    """Of the table, in its order."""
    usual: dict[str, str] = field(default_factory=dict)
    """Our column -> the table's, by its usual names."""


def recognise(place: Path) -> list[Recognised]:
    """Every way to read a folder or file that seems to fit, the likeliest first. Raises SourceError, in words of a
    form, where there is none."""
    if place.is_file():
        if named := _named(place):
            return named
        if place.suffix.lower() not in SUFFIXES:
            raise SourceError(f"a file to import must be a table ({', '.join(SUFFIXES)}) or a zip; got {place.name!r}; "
                              "choose the folder of the images instead")
        return [_table(place)]
    for _ in range(MAX_DEPTH):
        here = listing(place)
        named = _named(place)
        is_all = bool(named or here.num_images or here.tables or len(here.folders) != 1)
        if is_all or not _is_wrapper(place / here.folders[0]):
            break
        place = place / here.folders[0]
    found, damaged = [*named, *_clothing(place)], []
    for name in _by_likelihood(here.tables)[:MAX_TABLES]:
        try:
            found.append(_table(place / name))
        except SourceError as error:  # hides nothing that lies beside it
            damaged.append(error)
    found.sort(key=lambda way: way.source == "table" and not {"path", "given_label"} <= set(way.usual))
    if _has_class_folders(place, here):
        likely = any(way.source != "table" or {"path", "given_label"} <= set(way.usual) for way in found)
        found.insert(len(found) if likely else 0, Recognised(source="imagefolder", root=place))
    if not found and damaged:
        raise damaged[0]
    if not found:
        raise SourceError("a data set is a folder with a folder of images for each class, or a table of image paths "
                          f"and labels; {place} holds {_words(here)}; choose the folder above or below")
    return found


def _named(place: Path) -> list[Recognised]:
    """The sources that know their format when they see it; where one may not look it sees nothing."""
    found = []
    for name, spec in SOURCES.items():
        with contextlib.suppress(OSError):
            if spec.recognises is not None and (spec.is_root_file or place.is_dir()) and spec.recognises(place):
                found.append(Recognised(source=name, root=place))
    return found


def _is_wrapper(folder: Path) -> bool:
    """Whether what lies in the only folder is itself a data set: then the folder above adds nothing."""
    below = _peek(folder)
    return below is not None and (bool(below.tables) or (not below.num_images and bool(below.folders)))


def _peek(folder: Path) -> Listing | None:
    """The first names of a folder; None where it cannot be read."""
    try:
        return listing(folder, MAX_PEEKED)
    except SourceError:
        return None


def _table(file: Path) -> Recognised:
    columns = tuple(column_names(file))
    return Recognised(source="table", root=file, columns=columns, usual=usual_columns(list(columns)))


def _clothing(place: Path) -> list[Recognised]:
    is_there = any(all((folder / name).is_file() for name in clothing1m.REQUIRED)
                   and not any(leads_out(file, place) for file in folder.glob("*.txt"))
                   for folder in (place, place / "annotations"))
    return [Recognised(source="clothing1m", root=place)] if is_there else []


def _by_likelihood(names: tuple[str, ...]) -> list[str]:
    """Usual names of a data set's table first."""
    def rank(name: str) -> int:
        stem = Path(name).stem.lower()
        return next((n for n, usual in enumerate(_USUAL_TABLES) if stem.startswith(usual)), len(_USUAL_TABLES))

    return sorted(names, key=rank)


def _has_class_folders(place: Path, here: Listing) -> bool:
    """Whether at least two folders hold images, or folders with images: the first ones are looked at."""
    num = 0
    for name in here.folders[:50]:
        below = _peek(place / name)
        if below is None:
            continue
        inside = [_peek(place / name / sub) for sub in below.folders[:3]]
        num += bool(below.num_images) or any(found is not None and found.num_images for found in inside)
        if num >= 2 or (num and name.lower() in ("train", "training")):
            return True
    return False


def _words(here: Listing) -> str:
    parts = [f"{num:,} {one if num == 1 else many}" for num, one, many in
             ((len(here.folders), "folder", "folders"), (here.num_images, "image", "images"),
              (here.num_other, "other file", "other files")) if num]
    return " and ".join(parts) or "nothing that can be read"
