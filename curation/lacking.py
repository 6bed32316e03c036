"""What results lack because a file of the project cannot be read: said beside them, so that none is less in silence."""

import sys

from curation.audit.reviews.annotators import lost_answers
from curation.audit.reviews.blinding import blind_damage
from curation.audit.suspects.leaks import lost_leaks
from curation.project import Project
from curation.sources.console import visible
from engine.contract.feature_dir import FeatureDir


def lacking(project: Project) -> list[str]:
    """What is broken, what is not shown for it and what to do; a line each."""
    return [*blind_damage(project), *lost_leaks(project), *lost_answers(project.path)]


def say_outdated(project: Project, features: str) -> None:
    """On standard error, for commands: that features are of pixels which are decoded otherwise now, and what to do."""
    if line := FeatureDir.of(project.path, features).outdated:
        print(f"outdated: {visible(line)}", file=sys.stderr)


def say_lacking(project: Project) -> None:
    """The same on standard error, for commands."""
    for line in lacking(project):
        print(f"not shown: {visible(line)}", file=sys.stderr)
