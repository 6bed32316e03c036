"""Folders of images, walked in the order of names: which files are images, and what is reported of all others.

Reads names, and the first bytes of files whose name has no suffix. Hidden files (.DS_Store) are counted, not reported
one by one.
"""

import os
from collections.abc import Iterator
from pathlib import Path

from curation.project import PROJECT_NAME
from curation.sources.formats.embedded import suffix_of
from curation.sources.reading.images import IMAGE_SUFFIXES
from curation.tables.report import Problems
from curation.words import is_whole
from engine.contract.manifest import MANIFEST_NAME
from engine.contract.pictures.image_files import NotAnImageError, open_regular

_HEAD_BYTES = 64
UNREAD_SUFFIXES = frozenset((".heic", ".heif", ".jxl", ".svg", ".psd", ".dng", ".cr2", ".cr3", ".nef", ".arw", ".raw",
                             ".exr", ".hdr", ".dcm", ".tga", ".npy", ".mat", ".ico", ".j2k"))
"""Of files that may hold pictures which are not read."""


class FolderWalk:
    """Lists folders below a root in name order; reports what is no image and what is reached by a link."""

    def __init__(self, root: Path, problems: Problems, project: Path) -> None:
        self.root, self.problems, self.project = root, problems, str(project)
        self.num_hidden = self.num_links = 0
        self.projects: list[str] = []
        """Folders that are projects of this program: their thumbnails and exports are no data."""
        self.lists: frozenset[str] = frozenset()
        """Files beside images that say something of them, and are read: no images, and nothing to report."""

    def relative(self, path: Path | str) -> str:
        return os.path.relpath(path, self.root).replace(os.sep, "/")

    def folders(self, parent: Path) -> list[Path]:
        """Class (or split) folders directly in `parent`; a file beside them belongs to no class."""
        found = []
        for entry in self._entries(parent):
            if not entry.is_dir():
                self.problems.add("no class folder", "an image must lie in the folder of its class",
                                  file=self.relative(entry.path), action="skipped" if _is_image(entry) else "ignored")
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
                elif _is_image(entry):
                    paths.append(self.relative(entry.path))
                elif self.relative(entry.path) not in self.lists:
                    self._report_other(entry)
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
            if entry.name.startswith(".") or entry.name == "__MACOSX":
                self.num_hidden += 1
            elif not _can_be_followed(entry):
                self.problems.add("unreadable", "a link must lead somewhere; this one leads round in a circle or "
                                  "cannot be followed", file=self.relative(entry.path))
            elif not is_whole(entry.name):
                self.problems.add("not UTF-8", "a file name must be UTF-8", file=self.relative(entry.path))
            else:
                visible.append(entry)
        return visible

    def _is_own(self, entry: os.DirEntry[str]) -> bool:
        """False, and a line in the report, for a folder that is a link, which may lead out or round in circles, or a
        project."""
        if entry.is_symlink():
            self.num_links += 1
            self.problems.add("leaves root", "a folder must lie inside the root; this one is a link, which is not "
                              "followed", file=self.relative(entry.path))
            return False
        if is_project(Path(entry.path)):
            self.projects.append(self.relative(entry.path))
            self.problems.add("a project", "a project's own thumbnails and exports are no data", action="ignored",
                              file=self.relative(entry.path))
            return False
        return True

    def _report_other(self, entry: os.DirEntry[str]) -> None:
        """A file beside the images: one that may be a picture is lost, others are none. Of a name without suffix the
        first bytes tell."""
        suffix = os.path.splitext(entry.name)[1].lower()
        if suffix in UNREAD_SUFFIXES:
            self.problems.add("unread format", f"pictures of {suffix} are not read here; convert them to JPEG or PNG",
                              file=self.relative(entry.path))
        else:
            self.problems.add("not an image", "the name has no image suffix", file=self.relative(entry.path),
                              action="ignored" if suffix or not _is_picture(entry.path) else "skipped")


def is_project(folder: Path) -> bool:
    """Whether a folder is a project of this program."""
    return (folder / PROJECT_NAME).is_file() and (folder / MANIFEST_NAME).is_file()


def _is_image(entry: os.DirEntry[str]) -> bool:
    return os.path.splitext(entry.name)[1].lower() in IMAGE_SUFFIXES


def _is_picture(path: str) -> bool:
    """Whether a file begins as pictures do, or may: a link is not followed, and some cannot be read."""
    if os.path.islink(path):
        return True
    try:
        with open_regular(Path(path)) as file:
            return bool(suffix_of(file.read(_HEAD_BYTES)))
    except (OSError, NotAnImageError):
        return True


def _can_be_followed(entry: os.DirEntry[str]) -> bool:
    """False for a link in a circle; one to nowhere can be, and is then a file that is missing."""
    try:
        entry.is_dir()
    except OSError:
        return False
    return True
