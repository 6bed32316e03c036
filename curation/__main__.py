"""The command line of curation: `python -m curation COMMAND ...`. Each command is thin; the work is in the modules.

Exit status: see curation.exit_status.
"""

import math
import sys
from pathlib import Path
from typing import Annotated

import typer

from curation.audit import commands as audit_commands
from curation.commands import register
from curation.doctor import commands as doctor_commands
from curation.evidence import commands as evidence_commands
from curation.exit_status import DONE, EPILOG, INTERRUPTED, LOST, REFUSED
from curation.exports import commands as export_commands
from curation.sources.console import ShownProgress, print_summary, visible
from curation.sources.fetching import fetch
from curation.sources.importing import SOURCES, import_project
from curation.sources.reading.images import CHECKS
from curation.sources.splits import HoldOut
from curation.transfer import commands as transfer_commands
from engine.contract.cluster.errand import carry_out
from engine.contract.cluster.place import SLURM, read_place
from engine.contract.disk import event_log
from engine.contract.disk.failures import disk_line
from engine.contract.errors import UserError

app = typer.Typer(
    add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None,
    epilog=EPILOG,
    help="Bring data in, record decisions, audit, score and export. Training itself is `python -m engine`.")


def _help(option: str) -> str:
    """An option's help as the sources that take it word it, so that the form in the app and the command line agree."""
    texts = []
    for source, spec in SOURCES.items():
        for found in (one for one in spec.options if one.name == option):
            is_flag = found.choices == ("no", "yes")
            default = "" if found.default is None or is_flag else f" Default: {found.default}."
            choices = "" if found.choices is None or is_flag else f" One of {', '.join(found.choices)}."
            texts.append(f"({source}) {found.help}{choices}{default}")
    return " ".join(texts)


@app.command("import", epilog=EPILOG)
def import_(
    context: typer.Context,
    source: Annotated[str, typer.Argument(metavar="SOURCE", help=" ".join(
        f"{name}: {source.help}" for name, source in SOURCES.items()))],
    root: Annotated[str | None, typer.Argument(metavar="ROOT", help=" ".join(
        f"{name}: {source.root_help}" for name, source in SOURCES.items() if source.needs_root))] = None,
    *,
    project: Annotated[Path, typer.Option("--project", "-p", help="Project folder, made if absent. Importing again "
                                          "keeps its decisions and runs.")],
    check: Annotated[str, typer.Option(help=f"What to do with each image: {', '.join(CHECKS)}. exists: is it there; "
                                       "decode: read it whole; auto: decode up to 50,000 images, none above."
                                       )] = "auto",
    hold_out_test: Annotated[float, typer.Option(help="Share of each class to hold out for test where the data have no "
                                                 "test split.")] = 0.0,
    hold_out_clean: Annotated[float, typer.Option(help="Share of each class to watch accuracy on while training where "
                                                  "the data have no clean split.")] = 0.0,
    keep_together: Annotated[str | None, typer.Option(help="Column whose equal values, such as a patient's, stay in "
                                                      "one split when samples are held out.")] = None,
    hold_out_seed: Annotated[int, typer.Option(help="Draws what is held out.")] = 0,
    seed: Annotated[int | None, typer.Option(help=_help("seed"))] = None,
    noise: Annotated[float | None, typer.Option(help=_help("noise"))] = None,
    layout: Annotated[str | None, typer.Option(help=_help("layout"))] = None,
    path_column: Annotated[str | None, typer.Option(help=_help("path_column"))] = None,
    label_column: Annotated[str | None, typer.Option(help=_help("label_column"))] = None,
    clean_label_column: Annotated[str | None, typer.Option(help=_help("clean_label_column"))] = None,
    split_column: Annotated[str | None, typer.Option(help=_help("split_column"))] = None,
    group_column: Annotated[str | None, typer.Option(help=_help("group_column"))] = None,
    id_column: Annotated[str | None, typer.Option(help=_help("id_column"))] = None,
    image_root: Annotated[str | None, typer.Option(help=_help("image_root"))] = None,
    keep_gigabytes: Annotated[float | None, typer.Option(help=_help("keep_gigabytes"))] = None,
    classes: Annotated[str | None, typer.Option(help=_help("classes"))] = None,
    encoding: Annotated[str | None, typer.Option(help=_help("encoding"))] = None,
    annotator_column: Annotated[str | None, typer.Option(help=_help("annotator_column"))] = None,
    answers_column: Annotated[str | None, typer.Option(help=_help("answers_column"))] = None,
    image_column: Annotated[str | None, typer.Option(help=_help("image_column"))] = None,
    label_field: Annotated[str | None, typer.Option(help=_help("label_field"))] = None,
    answers_field: Annotated[str | None, typer.Option(help=_help("answers_field"))] = None,
    choice: Annotated[str | None, typer.Option(help=_help("choice"))] = None,
    noisy_labels: Annotated[str | None, typer.Option(help=_help("noisy_labels"))] = None,
    record_set: Annotated[str | None, typer.Option(help=_help("record_set"))] = None,
    config: Annotated[str | None, typer.Option(help=_help("config"))] = None,
    revision: Annotated[str | None, typer.Option(help=_help("revision"))] = None,
    dataset: Annotated[str | None, typer.Option(help=_help("dataset"))] = None,
    download: Annotated[bool, typer.Option("--download", help=_help("download"))] = False,
    place: Annotated[Path | None, typer.Option(
        help="A project's place.json, or one like it: where it names Slurm, a node of its cluster does the work.",
    )] = None,
) -> int:
    """Bring a data set into a project.

    What is wrong with single samples goes to import_report.parquet in the project and the rest loads. Where nothing
    can be loaded the project stays as it was and the exit status is 2. It is 3 where rows or pictures were left out.
    """
    if place is not None and (asked := read_place(place)).where == SLURM:
        return carry_out([sys.executable, "-m", "curation", *_without(context.obj, "--place")], asked, "import",
                         event_log.state_folder() / "slurm", Path(__file__).parents[1],
                         lambda text: print(text, end="", flush=True))
    held_out = HoldOut(test_frac=hold_out_test, clean_frac=hold_out_clean, together=keep_together, seed=hold_out_seed)
    with ShownProgress() as progress:
        result = import_project(
            source, project, root=root, progress=progress, check=check,
            held_out=held_out if hold_out_test or hold_out_clean else None, seed=seed, noise=noise, layout=layout,
            path_column=path_column, label_column=label_column, clean_label_column=clean_label_column,
            split_column=split_column, group_column=group_column, id_column=id_column, image_root=image_root,
            keep_gigabytes=keep_gigabytes, classes=classes, encoding=encoding, annotator_column=annotator_column,
            answers_column=answers_column,
            image_column=image_column, label_field=label_field, answers_field=answers_field, choice=choice,
            noisy_labels=noisy_labels, record_set=record_set, config=config, revision=revision,
            dataset=dataset, download="yes" if download else None)
    print_summary(result)
    return LOST if result.num_lost else DONE


def _without(arguments: list[str], option: str) -> list[str]:
    """A command line without an option and its value."""
    left, words = [], iter(arguments)
    for word in words:
        if word == option:
            next(words, None)
        elif not word.startswith(f"{option}="):
            left.append(word)
    return left


@app.command("fetch")
def fetch_(
    table: Annotated[Path, typer.Argument(metavar="TABLE", help="Table whose paths are addresses (https, s3, gs).")],
    *,
    project: Annotated[Path, typer.Option("--project", "-p", help="Project folder, made if absent; pictures go into "
                                          "its images.")],
    path_column: Annotated[str | None, typer.Option(help="Column of addresses. Default: the first usual name, such as "
                                                    "path.")] = None,
    minutes: Annotated[float | None, typer.Option(help="Stop after so many; the same command goes on later.")] = None,
) -> int:
    """Fetch the pictures that a table names by address into a project; a stopped fetch goes on where it was.

    Writes fetched.parquet, which `import table` reads, and fetch_report.csv with what could not be fetched.
    """
    with ShownProgress() as progress:
        done = fetch(table, project, progress, path_column=path_column,
                     seconds=math.inf if minutes is None else 60 * minutes)
    left = f", {done.num_left:,} left as the time was over" if done.num_left else ""
    print(f"{done.num_fetched:,} pictures fetched, {done.num_there:,} were there, "
          f"{len(done.failed) - done.num_left:,} failed{left}; next: python -m curation import table {done.table} "
          f"--project {project}")
    for address, reason in done.failed[:5]:
        print(f"  {visible(address)}: {visible(reason)}")
    return LOST if done.failed else DONE


register(app)
audit_commands.register(app)
evidence_commands.register(app)
doctor_commands.register(app)
export_commands.register(app)
transfer_commands.register(app)


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return its exit status; the log has that it ran."""
    arguments = sys.argv[1:] if arguments is None else arguments
    names = {found.name or getattr(found.callback, "__name__", "").replace("_", "-")
             for found in app.registered_commands}
    with event_log.command("curation", verb=next((word for word in arguments[:1] if word in names), "")) as ended:
        ended["status"] = _run(arguments)
    return ended["status"]


def _run(arguments: list[str]) -> int:
    try:
        status = app(arguments or ["--help"], prog_name="python -m curation", standalone_mode=False, obj=arguments)
    except (KeyboardInterrupt, typer.Abort):
        status = INTERRUPTED
    except Exception as error:
        line = _user_error(error)
        if line is None:
            raise
        event_log.event("refused", error=error)
        if line:
            print(f"error: {line}", file=sys.stderr)
        return REFUSED
    if status == INTERRUPTED:
        print("stopped", file=sys.stderr)
    return status if isinstance(status, int) else 0


def _user_error(error: Exception) -> str | None:
    """The one line to show if the user's input is to blame; None where we are.

    Our own modules raise UserError for it; the parser's errors know how to format themselves.
    """
    if hasattr(error, "format_message"):
        return " ".join(str(error.format_message()).split())
    if isinstance(error, UserError):
        return " ".join(str(error).split())
    return disk_line(error)


if __name__ == "__main__":
    sys.exit(main())
