"""Paths of a project that stay inside it, whatever links lie there: a project may come from anybody, and nothing is
read or written elsewhere on its word.

The project itself may be reached through links, and images may lie where the manifest's root says.
"""

import os
from pathlib import Path

from engine.contract.errors import UserError


class OutsideError(UserError):
    """A link in a project leads out of it. One line, ready to show."""


def is_inside(path: Path, folder: Path) -> bool:
    """Whether `path`, all links followed, is `folder` or lies in it, whether there is such a file or not."""
    try:
        real, root = os.path.realpath(path), os.path.realpath(folder)
    except ValueError:  # a name with a NUL, which no file has
        return False
    return os.path.commonpath([real, root]) == root


def inside(project: Path, *names: str) -> Path:
    """The path of a project's file or folder, whether there or not. Raises OutsideError if links lead it out."""
    path = Path(project).joinpath(*names)
    if not is_inside(path, project):
        raise OutsideError(_words(path))
    return path


def job_folder(project: Path, *names: str) -> Path:
    """The folder of a run, a study or features, whether there or not. Raises OutsideError if it, or a file or folder
    right in it, is a link that leads out: what works there writes to all of them."""
    path = Path(project).joinpath(*names)
    if outside := way_out(path, project):
        raise OutsideError(outside)
    return path


def way_out(folder: Path, project: Path) -> str:
    """What leads out of the project, of a folder of it and of what lies right in it, and what to do; "" where nothing
    does."""
    if not is_inside(folder, project):
        return _words(folder)
    try:
        with os.scandir(folder) as entries:
            links = sorted(entry.name for entry in entries if entry.is_symlink())
    except OSError:  # it is not there, or no folder
        return ""
    return next((_words(folder / name) for name in links if not is_inside(folder / name, project)), "")


def _words(path: Path) -> str:
    return (f"what a project holds must lie in it; {path} is, or lies in, a link that leads out; put the files in its "
            "place, or remove the link")
