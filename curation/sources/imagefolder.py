"""A tree of image folders: ROOT/CLASS/image, or ROOT/SPLIT/CLASS/image where ROOT/train holds class folders.

Split folders: see rows.SPLIT_NAMES (val, validation and clean become split clean). A class folder's own subfolders
belong to the class. The sample_id is the path below ROOT with forward slashes, so it stays when ROOT moves, and a
changed image stays the same sample; renaming a file or moving it to another class makes it a new one.

Reads names only. Hidden files (.DS_Store) are counted, not reported one by one.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from curation.sources.reading.images import IMAGE_SUFFIXES
from curation.sources.reading.rows import SPLIT_NAMES, Loaded, plain_rows
from curation.tables.report import Problems, Progress, SourceError
from curation.words import counted

LAYOUTS = ("auto", "class", "split")


def load(root: Path, project: Path, problems: Problems, progress: Progress, *, layout: str = "auto") -> Loaded:
    """Rows of every file with an image's suffix. Raises SourceError where ROOT has no class folder."""
    root = root.resolve()
    if root == project.resolve():
        raise SourceError(f"the project folder must not be the image folder itself; both are {root}; choose another "
                          "project folder, which may lie inside")
    walk = _Walk(root, problems, project.resolve())
    is_split = layout == "split" or (layout == "auto" and _has_train_split(root))
    places = _class_folders(walk, root, is_split)
    if not places:
        shape = "SPLIT/CLASS/image" if is_split else "CLASS/image"
        raise SourceError(f"an image folder must hold {shape}; {root} has no class folder; check the folder")
    parts = [_rows([], "train", "")]
    for idx, (split, folder) in enumerate(places):
        parts += [_rows(paths, split, folder.name) for paths in walk.images(folder)]
        progress(idx + 1, len(places), "listing folders")
    notes = [f"layout read as {'SPLIT/CLASS/image' if is_split else 'CLASS/image, all of it split train'}"]
    if walk.num_hidden:
        notes.append(f"{walk.num_hidden} hidden files left out")
    if walk.num_links:
        notes.append(f"{counted(walk.num_links, 'link')} to folders left out: links are not followed")
    return Loaded(rows=pa.concat_tables(parts), root=root, notes=notes,
                  candidates=tuple(sorted({folder.name for _, folder in places})))


def _has_train_split(root: Path) -> bool:
    """True if ROOT/train (in any case) holds folders: a class called train would hold images. What lies behind a link
    is not looked at."""
    trains = [p for p in root.iterdir() if _is_folder(p) and SPLIT_NAMES.get(p.name.lower()) == "train"]
    return any(_is_folder(child) for train in trains for child in train.iterdir())


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def _class_folders(walk: "_Walk", root: Path, is_split: bool) -> list[tuple[str, Path]]:
    """(split, folder) of every class folder, by name."""
    if not is_split:
        return [("train", folder) for folder in walk.folders(root)]
    found = []
    for folder in walk.folders(root):
        split = SPLIT_NAMES.get(folder.name.lower())
        if split is None:
            walk.problems.add("unknown split", f"a split folder must be one of {', '.join(SPLIT_NAMES)}",
                              file=walk.relative(folder))
        else:
            found += [(split, child) for child in walk.folders(folder)]
    return found


def _rows(paths: list[str], split: str, label: str) -> pa.Table:
    """Rows of one class in one split; no list declares them, so the report names the files themselves."""
    names = pa.array(paths, pa.string())
    columns = {"sample_id": names, "path": names, "given_label": pa.array([label] * len(paths), pa.string()),
               "split": pa.array([split] * len(paths), pa.string())}
    return plain_rows(columns, "", None)


class _Walk:
    """Lists folders below a root in name order; reports what is no image and what is reached by a link."""

    def __init__(self, root: Path, problems: Problems, project: Path) -> None:
        self.root, self.problems, self.project = root, problems, str(project)
        self.num_hidden = self.num_links = 0

    def relative(self, path: Path | str) -> str:
        return os.path.relpath(path, self.root).replace(os.sep, "/")

    def folders(self, parent: Path) -> list[Path]:
        """Class (or split) folders directly in `parent`; a file beside them belongs to no class."""
        found = []
        for entry in self._entries(parent):
            if not entry.is_dir():
                self.problems.add("no class folder", "an image must lie in the folder of its class",
                                  file=self.relative(entry.path))
            elif self._is_own(entry):
                found.append(Path(entry.path))
        return found

    def images(self, folder: Path) -> Iterator[list[str]]:
        """Paths below the root of the image files in `folder` and below it, a folder at a time."""
        pending = [folder]
        while pending:
            here, paths = pending.pop(), []
            subfolders = []
            for entry in self._entries(here):
                if entry.is_dir():
                    subfolders += [Path(entry.path)] if self._is_own(entry) else []
                elif os.path.splitext(entry.name)[1].lower() in IMAGE_SUFFIXES:
                    paths.append(self.relative(entry.path))
                else:
                    self.problems.add("not an image", "the name has no image suffix", file=self.relative(entry.path))
            pending += reversed(subfolders)
            if paths:
                yield paths

    def _entries(self, folder: Path) -> list[os.DirEntry[str]]:
        """Visible entries by name; names that are not UTF-8 and folders that cannot be read are reported."""
        try:
            with os.scandir(folder) as entries:
                found = sorted(entries, key=lambda entry: entry.name)
        except OSError as error:
            self.problems.add("unreadable folder", str(error.strerror), file=self.relative(folder))
            return []
        visible = []
        for entry in found:
            if entry.path == self.project:
                continue  # its thumbnails and cache are pictures too
            if entry.name.startswith("."):
                self.num_hidden += 1
            elif not _can_be_followed(entry):
                self.problems.add("unreadable", "a link must lead somewhere; this one leads round in a circle or "
                                  "cannot be followed", file=self.relative(entry.path))
            elif not _is_text(entry.name):
                self.problems.add("not UTF-8", "a file name must be UTF-8", file=self.relative(entry.path))
            else:
                visible.append(entry)
        return visible

    def _is_own(self, entry: os.DirEntry[str]) -> bool:
        """False, and a line in the report, for a folder that is a link: it may lead out, or round in circles."""
        if entry.is_symlink():
            self.num_links += 1
            self.problems.add("leaves root", "a folder must lie inside the root; this one is a link, which is not "
                              "followed", file=self.relative(entry.path))
        return not entry.is_symlink()


def _can_be_followed(entry: os.DirEntry[str]) -> bool:
    """False for a link in a circle; one to nowhere can be, and is then a file that is missing."""
    try:
        entry.is_dir()
    except OSError:
        return False
    return True


def _is_text(name: str) -> bool:
    """False for a name whose bytes are not UTF-8 (Python holds those as lone surrogates)."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
