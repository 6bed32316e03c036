"""The command verdicts: answers from a file into the log, and what was answered out of it. Added by
curation.audit.commands."""

import getpass
from functools import cache
from pathlib import Path
from typing import Annotated

import typer

from curation.audit.reviews import batch_files
from curation.audit.reviews.answers_file import read_answers
from curation.audit.reviews.consensus import on_current_labels
from curation.audit.reviews.elsewhere import SUFFIXES, Taken, read_elsewhere
from curation.audit.reviews.queues import disputes
from curation.audit.reviews.reconcile import reconcile, reconcile_all
from curation.exit_status import LOST
from curation.ledger.verdicts import QUEUES, Verdict
from curation.output_file import output_file, write_output
from curation.project import Project
from curation.samples.csv_cells import write_csv
from curation.samples.table import sample_table
from curation.sources.console import visible
from curation.words import counted

NAME = "audit"
"""The audit that is meant where none is named."""
ProjectArgument = Annotated[Path, typer.Argument(help="Project folder.")]
AuditOption = Annotated[str, typer.Option("--audit", help="Name of the audit.")]


def verdicts_(
    project: ProjectArgument,
    *,
    file: Annotated[Path | None, typer.Option(help="CSV of answers: sample_id, verdict and, for other, label; rows "
                                              "without a verdict are passed over. Or what Label Studio (JSON), "
                                              "FiftyOne (samples.json) or CVAT (XML) exports of samples that were "
                                              "exported to it.")] = None,
    queue: Annotated[str | None, typer.Option(help=f"Where the samples came from: {' or '.join(QUEUES)}. Default: "
                                              "what the file's column queue says.")] = None,
    by: Annotated[str | None, typer.Option(help="Who answered, where the file does not say. Default: the user of this "
                                           "computer.")] = None,
    run: Annotated[str, typer.Option(help="The run they were shown by.")] = "",
    out: Annotated[Path | None, typer.Option(callback=output_file, help="CSV of all verdicts, withdrawn too.")] = None,
    audit: AuditOption = NAME,
) -> None:
    """Read answers from a file into the audit and bring the labels in line with them; write out what was answered."""
    opened, refused = Project.open(project), False
    log = opened.verdicts()
    if file is not None:
        who = by or getpass.getuser()
        if file.suffix.lower() in SUFFIXES:
            refused = _take_elsewhere(opened, read_elsewhere(opened, file, who=who, run=run, audit=audit), who)
        else:
            drawn = cache(lambda: batch_files.drawn(opened.path, audit, log.in_force(audit), log.draws()))
            _take(opened, read_answers(opened, file, queue=queue, who=who, run=run, audit=audit, drawn=drawn), who)
    rows = log.rows(audit)
    num_judged = log.in_force(audit)["sample_id"].nunique()
    num_disputed = len(disputes(on_current_labels(log.in_force(), sample_table(opened, None)), audit))
    print(f"{audit}: {len(rows):,} rows, {num_judged:,} samples judged; {num_disputed:,} disputed in all audits")
    if out is not None:
        write_output(out, lambda p: write_csv(rows, p))
        print(f"{len(rows):,} rows written to {visible(str(out))}")
    if refused:
        raise typer.Exit(LOST)


def _take_elsewhere(project: Project, taken: Taken, who: str) -> bool:
    """Log what another tool's file says, and print what it cannot; whether there was such."""
    if taken.num_unchanged:
        print(f"passed over: {counted(taken.num_unchanged, 'label')} as they are, not known to have been looked at")
    for line in taken.refused:
        print(f"not taken: {visible(line)}")
    _take(project, taken.verdicts, who)
    return bool(taken.refused)


def _take(project: Project, answers: list[Verdict], who: str) -> None:
    """Log answers and bring the labels in line with them."""
    reconcile_all(project)  # what an earlier command was stopped before
    log, before = project.verdicts(), project.verdicts().revision
    num_new = sum(verdict_id > before for verdict_id in set(log.add(answers)))
    done = reconcile(project, project.ledger(), {answer.sample_id for answer in answers}, log.in_force(), who)
    known = f" ({len(answers) - num_new:,} known already)" if num_new < len(answers) else ""
    by = ", ".join(sorted({answer.who for answer in answers})) or who
    print(f"{len(answers):,} verdicts by {visible(by)}{known}: {done.num_relabelled:,} labels changed, "
          f"{done.num_excluded:,} samples excluded, {len(done.kept):,} left as somebody decided later")
