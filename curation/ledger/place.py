"""Where a project's decisions and verdicts lie, and whether they may lie there: project.json may come from anybody, and
opening a project must neither write elsewhere nor connect to a database on its word. Opens nothing."""

import os
from pathlib import Path

import sqlalchemy as sa

from curation.ledger.batch import LedgerError
from engine.contract.inside import is_inside

VARIABLE = "WHETSTONE_LEDGERS"
"""Databases that the person who runs this has named: URLs or paths, parted by spaces, each as project.json has it.
One alone may have spaces in it."""


def database_of(project: Path, named: object, default: str) -> str:
    """The SQLite file or database URL of a project: `default`, a file in it, or what its project.json names.

    Raises LedgerError for a file outside of the project, links followed, or any other database, unless it is one of
    VARIABLE's.
    """
    text = str(named or default)
    trusted = os.environ.get(VARIABLE, "")
    if text == trusted.strip() or text in trusted.split():
        return text
    if (file := _file_of(text)) is None or not is_inside(project / file, project):
        raise LedgerError(f"a ledger lies in its project, or is one that you name yourself in {VARIABLE}; "
                          f"{project / 'project.json' if named else project / default} leads to {_shown(text)}; set "
                          f"{VARIABLE} to it if that is yours")
    return str(project / file)


def _file_of(text: str) -> str | None:
    """The file of a path or of a plain SQLite URL; None for any other database."""
    if "://" not in text:
        return text
    try:
        url = sa.make_url(text)
    except sa.exc.ArgumentError:
        return None
    return url.database if url.drivername == "sqlite" and not url.query and url.database else None


def _shown(text: str) -> str:
    """The name without its password."""
    try:
        return sa.make_url(text).render_as_string(hide_password=True) if "://" in text else text.replace("\0", "\\0")
    except sa.exc.ArgumentError:
        return "no database"
