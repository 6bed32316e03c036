"""An import on a terminal: a progress bar, plain lines where there is no terminal, and the summary at the end.

Names and reasons come from outside: they are shown as text, never as markup, with control characters made visible.
"""

import sys
from types import TracebackType
from typing import TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from curation.sources.importing import ImportResult

_PLAIN_WIDTH = 120
_MAX_CLASSES = 30
_MAX_PROBLEMS = 5


class ShownProgress:
    """The progress callback of import_project: a bar for each stage, or a line at its start and at every quarter."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self.console = Console(file=stream or sys.stderr, markup=False, highlight=False)
        self.bars = Progress(TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(),
                             TimeElapsedColumn(), console=self.console, disable=not self.console.is_terminal)
        self.tasks: dict[str, TaskID] = {}
        self.quarters: dict[str, int] = {}

    def __enter__(self) -> "ShownProgress":
        self.bars.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self.bars.stop()

    def __call__(self, done: int, total: int, message: str) -> None:
        if self.console.is_terminal:
            if message not in self.tasks:
                self.tasks[message] = self.bars.add_task(visible(message), total=total)
            self.bars.update(self.tasks[message], completed=done, total=total)
            return
        quarter = 4 * done // total if total else 4
        if quarter > self.quarters.get(message, -1):
            self.quarters[message] = quarter
            print(f"{visible(message)}: {done:,} of {total:,}", file=self.console.file, flush=True)


def print_summary(result: ImportResult, stream: TextIO | None = None) -> None:
    """What was loaded, what disagrees, what was wrong and where the rest of it stands."""
    console = Console(file=stream or sys.stdout, markup=False, highlight=False, soft_wrap=True)
    if not console.is_terminal:
        console.width = _PLAIN_WIDTH
    splits = ", ".join(f"{num:,} {name}{' held out with labels as given' * (name in result.held_out)}"
                       for name, num in result.splits.items())
    console.print(f"{result.num_loaded:,} samples of {len(result.classes)} classes in {visible(str(result.project))} "
                  f"({splits}; {result.seconds:.1f} s)", style="bold")
    if not result.is_new:
        console.print(f"against the manifest that was here: {result.num_added:,} samples added, "
                      f"{result.num_removed:,} removed; decisions and runs kept")
    for name, num in result.counts.items():
        console.print(f"{num:>12,}  {name}")
    console.print(_class_table(result), soft_wrap=False)
    if len(result.classes) > _MAX_CLASSES:
        console.print(f"... and {len(result.classes) - _MAX_CLASSES:,} more classes")
    if result.disagreement is not None:
        d = result.disagreement
        console.print(f"labels that disagree with known truth in train: {d['num_wrong']:,} of {d['num_dual']:,}, "
                      f"{100 * d['share']:.1f}% (95% interval {100 * d['low']:.1f} to {100 * d['high']:.1f}%)")
    for note in result.notes:
        console.print(f"note: {visible(note)}")
    _print_problems(result, console)


def visible(text: str) -> str:
    """Text with every character that a terminal would obey, not show, written as an escape."""
    return "".join(ch if ch.isprintable() else ch.encode("unicode_escape").decode() for ch in text)


def _class_table(result: ImportResult) -> Table:
    has_dual = result.disagreement is not None
    names = ["class", "train", "clean", "test", *(["truth known", "wrong", "wrong %"] if has_dual else [])]
    table = Table(*names)
    for column in table.columns[1:]:
        column.justify = "right"
    for row in result.classes.head(_MAX_CLASSES).to_dict("records"):
        cells = [visible(str(row["class"])), *(f"{row[name]:,}" for name in ("train", "clean", "test"))]
        if has_dual:
            share = f"{100 * row['wrong'] / row['dual']:.1f}" if row["dual"] else ""
            cells += [f"{row['dual']:,}", f"{row['wrong']:,}", share]
        table.add_row(*(Text(cell) for cell in cells))
    return table


def _print_problems(result: ImportResult, console: Console) -> None:
    if not result.num_problems:
        console.print("no problems found")
        return
    kinds = ", ".join(f"{num:,} {kind}" for kind, num in result.problem_kinds.items())
    console.print(f"{result.num_problems:,} problems ({kinds}); all of them in {visible(str(result.report_path))}",
                  style="yellow")
    for line in result.first_problems.head(_MAX_PROBLEMS).to_dict("records"):
        row = "" if line["row"] is None or line["row"] != line["row"] else f", row {int(line['row'])}"
        console.print(f"  {visible(line['file'])}{row}: {line['kind']}: {visible(line['reason'])} ({line['action']})")
