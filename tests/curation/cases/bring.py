"""What a case is brought in by: the command, and what became of it."""

import contextlib
import io
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from curation.__main__ import main
from curation.exit_status import DONE, LOST, REFUSED
from curation.project import Project


@dataclass(frozen=True, kw_only=True, slots=True)
class Brought:
    """What a command did."""

    status: int
    said: str
    """All that it printed."""
    rows: pd.DataFrame
    """The samples; none where it refused."""
    lost: int
    """Findings that cost a row or a picture."""


def command(*arguments: object) -> tuple[int, str]:
    """(exit status, what was printed)."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
        status = main([str(one) for one in arguments])
    return status, out.getvalue()


def bring(source: str, root: Path, project: Path, *options: object) -> Brought:
    """Import into a new project. Holds what is true of any input: a refusal is one line and leaves nothing, and status
    0 never stands beside a loss."""
    status, said = command("import", source, root, "--project", project, *options)
    if status == REFUSED:
        errors = [line for line in said.splitlines() if line.startswith("error: ")]
        assert len(errors) == 1 and not project.exists(), said
        return Brought(status=status, said=errors[0], rows=pd.DataFrame(), lost=0)
    opened = Project.open(project)
    lost = int((opened.import_report()["action"] == "skipped").sum())
    assert status == (LOST if lost else DONE)
    return Brought(status=status, said=said, rows=opened.manifest(), lost=lost)
