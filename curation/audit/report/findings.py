"""What the findings of an audit's report show, put in order for the templates. Works out nothing anew."""

from dataclasses import dataclass

from curation.audit.report.document import Facts
from curation.audit.report.figures import Axis, Whisker, axis_of, between, shade, whisker
from curation.audit.report.parts import (
    ClassPart,
    CorrectionsPart,
    EstimatePart,
    FlowPart,
    MatrixPart,
    RowPart,
    SizePart,
)

MAX_MATRIX = 20
"""Classes in a printed matrix; of more, those with the most reviewed errors. The JSON file has them all."""
MAX_ROWS = 10
"""Rows of a list of findings."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RateRow:
    """One class's noise rate, or that of all classes, whose name is None."""

    name: str | None
    rate: EstimatePart
    is_shown: bool
    drawing: Whisker


@dataclass(frozen=True, kw_only=True, slots=True)
class RateTable:
    """A row a class with its interval drawn, all classes first, then the highest rate."""

    axis: Axis
    rows: list[RateRow]


@dataclass(frozen=True, kw_only=True, slots=True)
class Cell:
    """A cell of the printed matrix, a share of its row."""

    text: str
    """Percent; a dot is the template's where it is ""."""
    is_seen: bool
    is_right: bool
    interval: str
    background: str


@dataclass(frozen=True, kw_only=True, slots=True)
class MatrixRow:
    number: int
    """Of the class, from 1."""
    part: RowPart
    cells: list[Cell]


@dataclass(frozen=True, kw_only=True, slots=True)
class MatrixTable:
    """Given class x true class, as far as it is printed."""

    rows: list[MatrixRow]
    has_undecided: bool
    """There are samples that are wrong but in dispute as what."""
    num_classes: int
    """Of all, printed or not."""
    flows: list[FlowPart]
    """The cells off the diagonal that may be quoted, largest first."""


def rate_table(health: Facts) -> RateTable | None:
    """None before the first review of the random queue."""
    rate = health["rate"]
    if rate is None or not rate["num_reviews"]:
        return None
    axis = axis_of([c["high"] if c["is_shown"] else None for c in health["classes"]] + [rate["high"]])

    def row(name: str | None, part: EstimatePart, is_shown: bool) -> RateRow:
        ends = (part["share"], part["low"], part["high"]) if is_shown else (None, None, None)
        return RateRow(name=name, rate=part, is_shown=is_shown, drawing=whisker(*ends, axis, rate["share"]))

    def order(part: ClassPart) -> tuple[bool, float]:
        return not part["is_shown"], -(part["share"] or 0.0)

    ordered = sorted(health["classes"], key=order)
    return RateTable(axis=axis, rows=[row(None, rate, True), *(row(c["name"], c, c["is_shown"]) for c in ordered)])


def matrix_table(found: MatrixPart | None) -> MatrixTable | None:
    """None where no class has enough reviews."""
    if found is None or not any(row["is_shown"] for row in found["rows"]):
        return None
    errors = [sum(cell["num_reviewed"] for column, cell in enumerate(row["cells"]) if column != code)
              for code, row in enumerate(found["rows"])]
    num = len(errors)
    kept = sorted(sorted(range(num), key=lambda code: (-errors[code], code))[:MAX_MATRIX])
    has_undecided = any(row["cells"][num + 1]["num_reviewed"] for row in found["rows"])
    columns = [*kept, num, *[num + 1] * has_undecided]
    return MatrixTable(
        rows=[MatrixRow(number=code + 1, part=found["rows"][code], cells=_cells(found["rows"][code], code, columns))
              for code in kept],
        has_undecided=has_undecided, num_classes=num,
        flows=sorted(found["flows"], key=lambda flow: -flow["count"])[:MAX_ROWS])


def moved_classes(done: CorrectionsPart) -> list[SizePart]:
    """Those whose samples were moved or left out."""
    return [c for c in done["classes"] if c["moved_out"] or c["moved_in"] or c["excluded"]]


def _cells(row: RowPart, code: int, columns: list[int]) -> list[Cell]:
    cells = []
    for column in columns:
        part, is_right = row["cells"][column], column == code
        share = part["share"]
        text = "" if share is None else f"{share * 100:.0f}" if share >= 0.0995 else f"{share * 100:.1f}"
        cells.append(Cell(text=text, is_seen=part["num_reviewed"] > 0, is_right=is_right,
                          interval=between(part["low"], part["high"]),
                          background="" if share is None else shade(share, is_right)))
    return cells
