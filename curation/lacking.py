"""What results lack because a file of the project cannot be read: said beside them, so that none is less in silence."""

import sys

from curation.audit.reviews.blinding import blind_damage
from curation.audit.suspects.leaks import lost_leaks
from curation.project import Project
from curation.sources.console import visible


def lacking(project: Project) -> list[str]:
    """What is broken, what is not shown for it and what to do; a line each."""
    return [*blind_damage(project), *lost_leaks(project)]


def say_lacking(project: Project) -> None:
    """The same on standard error, for commands."""
    for line in lacking(project):
        print(f"not shown: {visible(line)}", file=sys.stderr)
