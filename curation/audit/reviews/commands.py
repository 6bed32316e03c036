"""The command verdicts: answers from a file into the log, and what was answered out of it. Added by
curation.audit.commands."""

import getpass
from pathlib import Path
from typing import Annotated

import typer

from curation.audit.reviews.brought import Brought, read_back, take
from curation.audit.reviews.consensus import on_current_labels
from curation.audit.reviews.queues import disputes
from curation.exit_status import LOST
from curation.ledger.verdicts import QUEUES
from curation.output_file import output_file, write_output
from curation.project import Project
from curation.samples.csv_cells import write_csv
from curation.samples.table import samples
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
                                              "exported to it. Or an export of corrected labels.")] = None,
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
        brought = read_back(opened, file, who=by or getpass.getuser(), audit=audit, run=run, queue=queue)
        _take(opened, brought)
        refused = bool(brought.refused)
    rows = log.rows(audit)
    num_judged = log.in_force(audit)["sample_id"].nunique()
    num_disputed = len(disputes(on_current_labels(log.in_force(), samples(opened, None)), audit))
    print(f"{audit}: {len(rows):,} rows, {num_judged:,} samples judged; {num_disputed:,} disputed in all audits")
    if out is not None:
        write_output(out, lambda p: write_csv(rows, p))
        print(f"{len(rows):,} rows written to {visible(str(out))}")
    if refused:
        raise typer.Exit(LOST)


def _take(project: Project, brought: Brought) -> None:
    """Record what is new and say what became of all there is in the file."""
    if brought.num_unchanged:
        print(f"passed over: {counted(brought.num_unchanged, 'label')} as they are, not known to have been looked at")
    if brought.num_older:
        print(f"passed over: {counted(brought.num_older, 'answer')} older than what was said here since")
    for line in brought.refused:
        print(f"not taken: {visible(line)}")
    done = take(project, brought)
    num = brought.num_new + brought.num_same
    known = f" ({brought.num_same:,} known already)" if brought.num_same else ""
    by = f" by {visible(', '.join(brought.authors))}" if brought.authors else ""
    if done.num_decisions:
        print(f"{counted(num, 'decision')}{by}{known}: {done.num_decisions:,} taken")
        return
    print(f"{num:,} verdicts{by}{known}: {done.labels.num_relabelled:,} labels changed, "
          f"{done.labels.num_excluded:,} samples excluded, {len(done.labels.kept):,} left as somebody decided later")
