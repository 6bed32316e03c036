"""python -m curation doctor: what is broken in a project, one line each, and the repairs that are safe."""

from pathlib import Path
from typing import Annotated

import typer

from curation.doctor.checks import examine
from curation.doctor.findings import Finding, Repair
from curation.doctor.move_ledger import move_ledger
from curation.doctor.repair import repair
from curation.ledger.place import VARIABLE
from curation.project import Project
from curation.sources.console import visible
from curation.words import counted

_CAN: dict[Repair, str] = {"rebuild_decisions": "--repair makes it anew from the ledger",
                           "make_features": "--repair computes anew what is damaged or outdated",
                           "remove": "--repair removes it"}
_DONE: dict[Repair, str] = {"rebuild_decisions": "made anew from the ledger", "make_features": "computed anew",
                            "remove": "removed"}


def register(app: typer.Typer) -> None:
    """Add this command."""
    app.command("doctor")(doctor)
    app.command("move-ledger")(move)


def doctor(
    project: Annotated[Path, typer.Argument(help="Project folder.")],
    *,
    mend: Annotated[bool, typer.Option("--repair", help="Make anew what is derived, and remove what dead processes "
                                                        "left; says what it did.")] = False,
) -> int:
    """Look at everything in a project: data, decisions, runs, studies, features, files and free space.

    Exit status 2 where something is broken and was not repaired.
    """
    opened = Project.open(project)
    num_broken = num_found = 0
    for finding in examine(opened):
        is_done = mend and repair(opened, finding)
        num_found += finding.severity != "sound"
        num_broken += finding.severity == "broken" and not is_done
        print(visible(_words(finding, is_done)))
    print(f"{counted(num_found, 'finding')}, {num_broken:,} broken" if num_found else "nothing is broken")
    return 2 if num_broken else 0


def move(
    project: Annotated[Path, typer.Argument(help="Project folder.")],
    *,
    to: Annotated[str, typer.Option(help="An empty database: a URL such as postgresql+psycopg://ada@server/pets, which "
                                         f"{VARIABLE} names too, or a new file in the project.")],
) -> int:
    """Move a project's decisions and verdicts to another database, compare both, and have the project name the new one.

    The old one stays as it was, and refuses readers and writers from then on.
    """
    moved = move_ledger(Project.open(project), to)
    for table in moved:
        print(f"{table.table}: {counted(table.num_rows, 'row')}, the same on both sides, SHA-256 {table.digest[:16]}")
    print(visible("the project names the new database" if moved else "all had been copied; the project names it now"))
    return 0


def _words(finding: Finding, is_done: bool) -> str:
    """What it is about, what is found, and what was or can be done."""
    end = "" if finding.repair is None else f" ({(_DONE if is_done else _CAN)[finding.repair]})"
    return f"{finding.severity}: {finding.kind} {finding.where}: {finding.what}{end}"
