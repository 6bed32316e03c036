"""The commands decide, export, score, study-report and triage: arguments in, one module's work, lines out.

Added by curation.__main__.
"""

import getpass
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, cast

import numpy as np
import pandas as pd
import typer

from curation.audit.reviews import own_acts
from curation.audit.reviews.blinding import blind_ids, blind_words, without_opinion
from curation.audit.reviews.confirming import confirmed_ids
from curation.audit.suspects.leaks import leaks_of, words_of
from curation.exit_status import DONE, LOST
from curation.exports.exporting import EXPORTS, export
from curation.exports.metadata import METADATA, Metadata, carried_words
from curation.exports.pictures import PLACINGS, Placing
from curation.lacking import say_lacking
from curation.ledger.batch import Pin
from curation.ledger.journal import replay_journal, write_journal
from curation.ledger.ledger import Ledger
from curation.output_file import output_file, write_output
from curation.project import Project
from curation.samples.csv_cells import write_csv
from curation.samples.frames import SampleTable
from curation.samples.table import samples
from curation.samples.triage import DECIDED, LANES, REST, UNJUDGED, Rule, gather, lane_frame, lanes_of, wrong_share
from curation.sources.console import ShownProgress, visible
from curation.tables.ids import as_known, ids_in, read_ids
from curation.words import counted
from engine.contract.errors import UserError
from engine.contract.manifest import read_manifest
from engine.contract.studies.study_dir import StudyDir

ACTIONS = {
    "pin": "hold samples in --to validation or train (none: let go)",
    "exclude": "leave samples out of training and validation", "include": "take excluded samples back",
    "relabel": "give samples the class --label", "as-given": "put samples back to the label in the data",
    "undo": "take back your newest decision, or any --batch", "redo": "bring back what you undid last",
    "list": "show all batches, newest first", "dump": "write every decision to the file --journal (JSONL)",
    "replay": "read the file --journal into a project without decisions",
}
_SAMPLE_ACTIONS = ("pin", "exclude", "include", "relabel", "as-given")


class CommandError(UserError):
    """Options that do not fit together. One line, ready to show."""


def register(app: typer.Typer) -> None:
    """Add these commands."""
    app.command("decide")(decide)
    app.command("export")(export_)
    app.command("score")(score)
    app.command("study-report")(study_report)
    app.command("triage")(triage)


def decide(
    project: Annotated[Path, typer.Argument(help="Project folder.")],
    action: Annotated[str, typer.Argument(help="; ".join(f"{name}: {text}" for name, text in ACTIONS.items()))],
    *,
    ids: Annotated[list[str] | None, typer.Option("--id", help="A sample id; may be given often.")] = None,
    ids_file: Annotated[Path | None, typer.Option(help="Ids, one a line, or a CSV with the column sample_id; - is "
                                                     "standard input.")] = None,
    to: Annotated[str | None, typer.Option(help="(pin) validation, train or none.")] = None,
    label: Annotated[str | None, typer.Option(help="(relabel) The class to give.")] = None,
    batch: Annotated[int | None, typer.Option(help="(undo) The batch to undo instead of your newest.")] = None,
    by: Annotated[str | None, typer.Option(help="Who decides. Default: the user of this computer.")] = None,
    why: Annotated[str, typer.Option(help="The reason, kept with the decision.")] = "",
    run: Annotated[str, typer.Option(help="The run that the decision was taken on.")] = "",
    journal: Annotated[Path | None, typer.Option(help="(dump, replay) The file of decisions.")] = None,
) -> None:
    """Decide on training samples: pin, exclude, relabel, undo. Nothing is ever lost; see `list`."""
    if action not in ACTIONS:
        raise CommandError(f"an action must be one of {', '.join(ACTIONS)}; got {action!r}; choose one of them")
    opened, who = Project.open(project), by or _user()
    ledger = opened.ledger()
    if action in _SAMPLE_ACTIONS:
        sample_ids = [*(ids or []), *(_read_ids(opened, ids_file) if ids_file else [])]
        print(_take(ledger, action, sample_ids, to, label, who=who, why=why, run=run))
        if ledger.snapshot_problem:
            print(f"recorded; the snapshot could not be written: {ledger.snapshot_problem}", file=sys.stderr)
    elif action in ("undo", "redo"):
        print(_step(opened, action, batch, who, why))
    elif action == "list":
        _print_batches(ledger)
    elif journal is None:
        raise CommandError(f"{action} needs a file; none was given; name one with --journal")
    elif action == "dump":
        print(f"{counted(write_journal(ledger, journal), 'batch', 'batches')} written to {journal}")
    else:
        replayed = replay_journal(ledger, journal)
        print(f"{counted(replayed.num_batches, 'batch', 'batches')} replayed, "
              f"{counted(replayed.num_decisions, 'decision')} on samples")
        for row in replayed.vanished.to_dict("records"):
            print(f"without effect: batch {row['batch_id']} {row['kind']} {visible(str(row['sample_id']))}: "
                  f"{row['reason']} (kept in the ledger)")


def export_(
    project: Annotated[Path, typer.Argument(help="Project folder.")],
    *,
    what: Annotated[str, typer.Option(help="; ".join(f"{what} as {form}: {kind.help}"
                                                     for (what, form), kind in EXPORTS.items()))] = "hard-validation",
    form: Annotated[str, typer.Option(
        "--format", help=", ".join(dict.fromkeys(form for _, form in EXPORTS)))] = "table",
    run: Annotated[str | None, typer.Option(help="Run to export from.")] = None,
    pictures: Annotated[str, typer.Option(help=f"How pictures that are files come there: {', '.join(PLACINGS)}. A copy "
                                               "stays as it is, a link costs no space and changes with the data."
                                          )] = "copy",
    metadata: Annotated[str | None, typer.Option(help=f"What becomes of places, owners and orientation in the "
                                                 f"pictures' files: {', '.join(METADATA)}. strip: copies are upright "
                                                 "and without them; keep: byte for byte. Default: strip for copies, "
                                                 "keep for links, which are the data's own files.")] = None,
    out: Annotated[Path | None, typer.Option(help="New or empty folder. Default: a new one in the project's exports.")
                   ] = None,
) -> None:
    """Export the curated hard validation set or the corrected labels."""
    opened = Project.open(project)
    with ShownProgress() as progress:
        result = export(opened, opened.run(run) if run else None, what, form, out,
                        lambda done, total: progress(done, total, f"exporting {what}"), cast(Placing, pictures),
                        cast(Metadata | None, metadata))
    print(f"{counted(result.num_samples, 'sample')} exported to {visible(str(result.path))}")
    for name, count in result.class_counts.items():
        print(f"{count:>12,}  {visible(name)}")
    for line in carried_words(result.carried) if result.carried else ():
        print(line)
    say_lacking(opened)
    if len(result.problems):
        print(f"{len(result.problems):,} problems; all of them in problems.csv there")
        for row in result.problems.head(5).to_dict("records"):
            print(f"  {visible(row['sample_id'])}: {visible(row['reason'])}")
        raise typer.Exit(LOST)


def score(
    project: Annotated[Path, typer.Argument(help="Project folder.")],
    *,
    run: Annotated[str, typer.Option(help="Run to score.")],
    answers: Annotated[Path | None, typer.Option(help="CSV of key,clean_label: the truth, instead of the manifest's. A "
                                                 "key is a sample_id or a path.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Score a run against the truth: wrong labels in validation, and label_quality as their detector."""
    from curation.samples.scoring import score_run  # scikit-learn takes a second, which no other command should wait

    opened = Project.open(project)
    figures = score_run(opened, opened.run(run), answers)
    if as_json:
        print(json.dumps(asdict(figures), indent=2))
        raise typer.Exit(LOST if figures.num_unmatched else DONE)
    rows = [
        ("samples in training or validation", None, f"{figures.num_active:,}, {figures.num_known:,} with known truth"),
        ("wrong labels among all known", figures.wrong_share, f"of {figures.num_known:,}"),
        ("wrong labels in validation", figures.validation_wrong_share,
         f"of {figures.num_validation_known:,} known of {figures.num_validation:,}"),
        ("  had the guard been off", figures.unguarded_wrong_share, "as the run's last epoch reported"),
        ("wrong labels among the withheld", figures.withheld_wrong_share, f"of {figures.num_withheld_known:,}"),
        ("label_quality: AUROC", figures.auroc, f"{figures.num_scored:,} held out, {figures.num_scored_wrong:,} wrong"),
        ("label_quality: average precision", figures.average_precision, "chance is the share of wrong labels"),
        ("coverage of validation", figures.coverage, "same-class nearest neighbour left in training"),
    ]
    for name, value, basis in rows:
        shown = "" if name.startswith("samples") else "unknown" if value is None else f"{value:.4f}"
        print(f"{name:<36}{shown:>8}  ({basis})")
    leaks = leaks_of(opened)
    for line in words_of(leaks.features, leaks.splits) if leaks is not None else ():
        print(line)
    say_lacking(opened)
    if figures.num_unmatched:
        print(f"{counted(figures.num_unmatched, 'answer')} without a training sample of the run")
        raise typer.Exit(LOST)


def study_report(
    project: Annotated[Path, typer.Argument(help="Project folder.")],
    *,
    name: Annotated[str, typer.Option(help="Name of the study.")],
) -> None:
    """Write a study's comparison as one HTML page with its figures."""
    from curation.studies.page import write_report  # plotly takes a second, which no other command should wait

    Project.open(project)
    print(f"report: {write_report(StudyDir.of(project, name))}")


def triage(
    project: Annotated[Path, typer.Argument(help="Project folder.")],
    *,
    run: Annotated[str, typer.Option(help="Run whose held-out predictions and neighbours to judge by.")],
    lane: Annotated[str | None, typer.Option(help=f"One lane alone: {', '.join(LANES)}.")] = None,
    out: Annotated[Path | None, typer.Option(callback=output_file, help="CSV to write the queue to, most certain "
                                                                         "first.")] = None,
) -> None:
    """Sort undecided samples into lanes: probably mislabeled, ambiguous, out of place, hard but right."""
    if lane is not None and lane not in LANES:
        raise CommandError(f"a lane must be one of {', '.join(LANES)}; got {lane!r}; choose one of them")
    opened = Project.open(project)
    run_dir = opened.run(run)
    run_dir.read_signals()  # says so where there are none yet
    neighbours = run_dir.read_neighbours()
    if neighbours is None:
        raise CommandError(f"triage needs a run's neighbours; {run} has none; let it end with the setting embedding on")
    blind = blind_ids(opened, opened.verdicts().in_force())
    table = without_opinion(samples(opened, run_dir), blind)
    evidence = gather(table, neighbours, confirmed_ids(opened))
    lanes, priority = lanes_of(evidence, Rule())
    wanted = range(len(LANES)) if lane is None else [LANES.index(lane)]
    for which in wanted:
        _print_lane(LANES[which], table, np.flatnonzero(lanes == which))
    _print_lane("all samples", table, np.arange(len(table)))
    print(f"not queued: {(lanes == REST).sum():,} fit no lane, {(lanes == DECIDED).sum():,} decided, "
          f"{(lanes == UNJUDGED).sum():,} without held-out prediction or neighbours")
    if said := blind_words(int(table.has_ids(blind).sum())):
        print(said)
    say_lacking(opened)
    if out is not None:
        frame = pd.concat([lane_frame(table, evidence, lanes, priority, i) for i in wanted], ignore_index=True)
        write_output(out, lambda path: write_csv(frame, path))
        print(f"{counted(len(frame), 'sample')} written to {visible(str(out))}")


def _print_lane(name: str, table: SampleTable, rows: np.ndarray) -> None:
    """A lane's size and, where it is known, its share of wrong labels."""
    wrong = wrong_share(table, rows)
    known = "" if wrong is None else (f"  {wrong.share:.1%} wrong labels ({wrong.low:.1%} to {wrong.high:.1%}), "
                                      f"known for {wrong.known:,}")
    print(f"{name:<16}{len(rows):>10,}{known}")


def _take(ledger: Ledger, action: str, ids: list[str], to: str | None, label: str | None, *, who: str, why: str,
          run: str) -> str:
    """Take one decision; a line that says what was done."""
    words = {"who": who, "why": why, "view": "command line", "run": run}
    if action == "pin":
        if to is None:
            raise CommandError("pin needs a place; none was given; name it with --to validation, train or none")
        place = None if to == "none" else cast(Pin, to)  # the ledger refuses what is none
        number = ledger.pin(ids, place, origin="person", **words)
    elif action in ("relabel", "as-given"):
        if (label is None) != (action == "as-given"):
            raise CommandError(f"relabel needs a --label and as-given takes none; got {action} with {label!r}; name a "
                               "class or leave it out")
        number = ledger.relabel(ids, label, origin="person", **words)
    else:
        number = ledger.exclude(ids, action == "exclude", origin="person", **words)
    what = {"pin": f" to {to}", "relabel": f" as {visible(label or '')}"}.get(action, "")
    return f"{action}: {counted(len(set(ids)), 'sample')}{what} (batch {number}, by {who})"


def _step(project: Project, action: str, batch: int | None, who: str, why: str) -> str:
    """Undo or redo one's newest act, or undo one batch; what was done, as a line."""
    if action == "undo" and batch is not None:
        return f"undo: batch {project.ledger().undo_batch(batch, who, why)}"
    act = own_acts.undo(project, who, why) if action == "undo" else own_acts.redo(project, who, why)
    if act is None:
        return f"nothing to {action}"
    num = len(act.answers)
    return f"{action}: " + (f"batch {act.batch['batch_id']}" if act.batch else counted(num, "verdict"))


def _read_ids(project: Project, path: Path) -> list[str]:
    """The ids of a file, or of standard input, as the project has them."""
    ids = ids_in(sys.stdin.read()) if str(path) == "-" else read_ids(path)
    return as_known(ids, frozenset(read_manifest(project.path, [])["sample_id"]))


def _print_batches(ledger: Ledger) -> None:
    rows = ledger.batches()
    for row in rows.to_dict("records"):
        value = "" if row["value"] is None else f" {visible(str(row['value']))}"
        undone = " (undone)" if row["is_undone"] else ""
        why = f": {visible(row['why'])}" if row["why"] else ""
        print(f"{row['batch_id']:>5}  {row['at'][:19]}  {visible(row['who'])}  {row['kind']}{value}  "
              f"{counted(row['num_samples'], 'sample')}{undone}{why}")
    print(f"{counted(len(rows), 'batch', 'batches')}, {counted(len(ledger.state()), 'sample')} decided on")


def _user() -> str:
    """The user of this computer, as the system calls them."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container may run under a number without a name
        return "unknown"
