"""The command transfer: arguments in, curation.transfer's work, lines out. Added by curation.__main__."""

import json
from pathlib import Path
from typing import Annotated

import typer

from curation.jobs import transfer_jobs
from curation.lacking import say_lacking, say_outdated
from curation.output_file import output_file, write_output
from curation.project import Project
from curation.sources.console import ShownProgress, visible
from curation.transfer.asking import NUM_REPEATS, ask
from curation.transfer.words import SCORE_OF_THE_SET, lines
from engine.contract.transfers.transfer_dir import HARD_VALIDATION


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("transfer")(transfer)


def transfer(
    project: Annotated[Path, typer.Argument(help="Project folder.")],
    *,
    features: Annotated[str, typer.Option(help="Features of another backbone than the run's own, by their name.")],
    set_name: Annotated[str, typer.Option("--set", help=f"{HARD_VALIDATION}: what a run's export of that name has; or "
                                          "a saved selection, by its name.")] = HARD_VALIDATION,
    run: Annotated[str, typer.Option(help="The run that chose the set; of a selection default the one it was made on."
                                     )] = "",
    repeats: Annotated[int, typer.Option(min=2, max=200, help="Random sets, each with its own seed.")] = NUM_REPEATS,
    seed: Annotated[int, typer.Option(min=0, help="Draws the random sets.")] = 0,
    out: Annotated[Path | None, typer.Option(callback=output_file, help="JSON file to write the score to.")] = None,
) -> None:
    """Score a set: is what one backbone found hard still hard for another, against random sets of equal size?

    The score is kept in the project, and exports of the set have it beside them.
    """
    opened = Project.open(project)
    asked = ask(opened, features, set_name=set_name, run=run, num_repeats=repeats, seed=seed)
    say_outdated(opened, features)
    folder = transfer_jobs.submit(opened.path, asked.request, asked.samples)
    with ShownProgress() as progress:
        score = transfer_jobs.waited_for(folder, progress)
    for line in lines(score):
        print(visible(line))
    print(SCORE_OF_THE_SET)
    say_lacking(opened)
    if out is not None:
        write_output(out, lambda path: path.write_text(json.dumps(score, indent=1), encoding="utf-8"))
        print(f"written to {visible(str(out))}")
