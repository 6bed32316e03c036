"""Selections saved under a name: one JSON file a view in the project's folder, views/NAME.json.

Stores and finds predicates (curation.samples.predicates); does not know what they select.
"""

import json
import time
from pathlib import Path
from typing import NotRequired, TypedDict

from curation.ledger import people
from curation.project import Project
from curation.samples.predicates import Predicate
from engine.contract.disk.seals import opened_json, sealed_json
from engine.contract.errors import UserError
from engine.contract.inside import inside
from engine.contract.run_dir import RunDirError, check_name
from engine.contract.work_dir import write_atomic


class ViewError(UserError):
    """A saved view is not there or cannot be read. One line, ready to show."""


def folder(project: Project) -> Path:
    return inside(project.path, "views")


def names(project: Project) -> list[str]:
    """Names of the project's saved views, sorted; a file that is no view's is not among them."""
    return sorted(path.stem for path in folder(project).glob("*.json") if _is_name(path.stem))


class SavedView(TypedDict):
    """views/NAME.json; one of an older version, or mended by hand, may lack who and saved."""

    name: str
    predicate: Predicate
    run: str
    """That it was made on, "" for none."""
    who: NotRequired[str]
    saved: NotRequired[float]
    """Seconds since the epoch."""


def save(project: Project, name: str, predicate: Predicate, *, run: str, who: str) -> None:
    """Save it under this name, over an older one. Raises RunDirError for a name that cannot be a file's."""
    people.require("reviewer", "saving a selection")
    path = _path(project, name)
    document = SavedView(name=name, predicate=predicate, run=run, who=who, saved=time.time())
    path.parent.mkdir(exist_ok=True)
    write_atomic(path, lambda partial: partial.write_text(sealed_json(document, indent=1), encoding="utf-8"))


def load(project: Project, name: str) -> SavedView:
    """The view as saved, by whatever program: its predicate still has to be fitted to a table.

    Raises RunDirError for a bad name, ViewError where there is no such view or it cannot be read.
    """
    path = _path(project, name)
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        found = opened_json(found) if isinstance(found, dict) else found
    except FileNotFoundError as error:
        raise ViewError(f"this project has no saved view {name}; it may have been deleted") from error
    except (OSError, ValueError, RecursionError) as error:
        raise ViewError(f"the saved view {name} cannot be read: {path} is no JSON, or not as it was written; "
                        "delete it and save it anew") from error
    if not isinstance(found, dict) or not isinstance(found.get("predicate"), dict):
        raise ViewError(f"the saved view {name} cannot be read: {path} holds no predicate; delete it and save it anew")
    return SavedView(name=name, predicate=found["predicate"], run=str(found.get("run") or ""),
                     who=str(found.get("who") or ""))


def delete(project: Project, name: str) -> None:
    """Delete it; one that is not there is no error."""
    people.require("reviewer", "deleting a selection")
    _path(project, name).unlink(missing_ok=True)


def _path(project: Project, name: str) -> Path:
    return folder(project) / f"{check_name(name)}.json"


def _is_name(name: str) -> bool:
    try:
        check_name(name)
    except RunDirError:
        return False
    return True
