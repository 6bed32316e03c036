"""The command verify: arguments in, curation.exports.digests' work, lines out. Added by curation.__main__."""

from pathlib import Path
from typing import Annotated

import typer

from curation.exports.digests import SUMS, num_listed, verify
from curation.sources.console import ShownProgress, visible
from curation.words import counted


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("verify")(verify_)


def verify_(
    folder: Annotated[Path, typer.Argument(help=f"An export with pictures: a folder with {SUMS}.")],
) -> None:
    """Compare an export with its digests: what is missing, changed or extra, a line each.

    Exit status 2 where anything is.
    """
    num = num_listed(folder)
    with ShownProgress() as progress:
        findings = verify(folder, lambda done, total: progress(done, total, "comparing files"))
    for row in findings.to_dict("records"):
        print(f"{row['kind']}: {visible(row['file'])}")
    kinds = findings["kind"].value_counts()
    said = ", ".join(f"{count:,} {kind}" for kind, count in kinds.items()) or "all as written"
    print(f"{counted(num, 'file')} compared: {said}")
    if len(findings):
        raise typer.Exit(2)
