"""What a queued job begins under: the decisions in force, also after a process that died while it recorded one."""

import contextlib
from pathlib import Path

from engine.contract.errors import UserError
from engine.contract.integrity.decisions import is_elsewhere, staleness


def bring_up_to_date(project: Path) -> None:
    """Have decisions.parquet say what the ledger says. What stands in the way the engine says itself."""
    with contextlib.suppress(UserError, OSError):
        if is_elsewhere(project) or staleness(project):
            from curation.project import Project  # a second's work, seldom needed

            Project.open(project).ledger()
