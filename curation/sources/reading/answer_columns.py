"""Where a table holds several people's answers: by the names of its columns and by what is in them.

Three forms: long (an image in a row for each person who answered), wide (a column for each of them) and votes (all
answers on an image in one cell). What becomes of the answers, curation.sources.reading.annotators says.
"""

import re
from collections import Counter
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from curation.sources.reading.classes import text_of
from curation.sources.reading.votes import MAX_LOOKED_AT, are_votes, votes_text
from curation.tables.report import Column, SourceError

ANNOTATOR_NAMES = ("annotator", "annotator_id", "worker", "worker_id", "workerid", "rater", "rater_id", "labeler",
                   "labeler_id", "user", "user_id")
ANSWER_NAMES = ("answer", "vote", "response")
VOTES_NAMES = ("all_answers", "answers", "all_votes", "votes", "crowd_labels", "worker_labels")
"""Column names taken, whatever their case, the first that the table has."""
_SAYS = ("label", "answer", "vote", "response", "annotation")
_WIDE = re.compile(rf"(?P<stem>.*(?:{'|'.join(_SAYS)}|annotator|rater|worker|labell?er|expert|reader|coder))"
                   r"(?:[ _.-]?\d{1,3}|[ _.-][a-z])", re.IGNORECASE)
"""Columns of one person each: label_1, random_label2, rater A. Those of what is said come before those of who."""
_MIN_ALIKE = 0.1
"""Share of rows in which two of them say the same: people who label the same thing agree now and then, where several
labels of one image never repeat."""
ANSWER, ANNOTATOR = "answer.label", "answer.annotator"
"""What these columns of the table are called until their answers are gathered."""
_MERGED = "answer.wide"


@dataclass(frozen=True, kw_only=True, slots=True)
class AnswerColumns:
    """Where a table has several people's answers."""

    answers: tuple[str, ...]
    """The column of answers, or, where each has one of their own, several columns."""
    annotator: str | None
    """None: the answers are columns of votes, or of one person each."""
    has_own: bool
    """Whether the table has a given label beside the answers."""


def with_answers(table: pa.Table, ours: dict[str, str], *, annotator: str | None = None,
                 answers: str | None = None) -> tuple[pa.Table, dict[str, str], AnswerColumns | None]:
    """(the table, ours with ANSWER and ANNOTATOR, where the answers are) of a table that may hold several people's.

    Columns of one person each become one of votes, and ride along besides. ours, annotator, answers: see
    answer_columns. Raises SourceError for a column of answers that the table lacks.
    """
    found = answer_columns(table, ours, annotator=annotator, answers=answers)
    if found is None:
        return table, ours, None
    column = found.answers[0]
    if len(found.answers) > 1:
        column = _MERGED
        table = table.append_column(_MERGED, pa.array(_merged(table, found.answers), pa.string()))
    is_label = found.annotator is not None and not found.has_own
    more = {ANNOTATOR: found.annotator} if found.annotator is not None else {}
    return table, {**ours, ("given_label" if is_label else ANSWER): column, **more}, found


def answer_columns(table: pa.Table, ours: dict[str, str], *, annotator: str | None = None,
                   answers: str | None = None) -> AnswerColumns | None:
    """Which columns hold answers; None where no sample has several. ours: our column -> the table's.

    A table is long only where people whom it names answered on the same image. annotator, answers: columns named
    (answers also several, with commas between); "" for none.
    """
    columns = _named(table, answers) if answers else ()
    have = {name.lower(): name for name in reversed(table.column_names)}
    label = ours.get("given_label")
    free = {low: name for low, name in have.items() if name not in ours.values() and name != annotator}
    if annotator != "" and "path" in ours and (who := annotator or _first(free, ANNOTATOR_NAMES)):
        if is_long(table, ours.get("sample_id", ours["path"]), who):
            said = answers if len(columns) == 1 else _first(free, ANSWER_NAMES)
            if said is None and label is not None and label.lower() == "given_label":
                said = _first(free, ("label",))
            said = said or label
            return None if said is None else AnswerColumns(answers=(said,), annotator=who,
                                                           has_own=label is not None and said != label)
    if answers == "":
        return None
    votes = answers if len(columns) == 1 else _first(free, VOTES_NAMES)
    if len(columns) < 2 and votes is not None and pa.types.is_string(table[votes].type) and (
            columns or are_votes(table[votes])):
        return AnswerColumns(answers=(votes,), annotator=None, has_own=label is not None and votes != label)
    wide = columns if len(columns) > 1 else () if columns else wide_columns(table, label, set(ours.values()))
    return AnswerColumns(answers=wide, annotator=None, has_own=label is not None) if wide else None


def _named(table: pa.Table, names: str) -> tuple[str, ...]:
    """The columns that are named. Raises SourceError for one that the table lacks."""
    have = table.column_names
    found = (names,) if names in have else tuple(part.strip() for part in names.split(",") if part.strip())
    for name in found:
        if name not in have:
            raise SourceError(f"a column of answers must be in the table; got {name!r}; it has {', '.join(have)}; "
                              "choose one of them")
    return found


def wide_columns(table: pa.Table, label: str | None, taken: set[str]) -> tuple[str, ...]:
    """Columns of one person each: called alike but for a number or letter, of the same labels (those of the column
    `label`, where there is one), and alike in some rows. () where there are none. taken: columns with another meaning.
    """
    groups: dict[str, list[str]] = {}
    for name in table.column_names:
        if name not in taken and (match := _WIDE.fullmatch(name)):
            groups.setdefault(match["stem"].lower(), []).append(name)
    head = table.slice(0, MAX_LOOKED_AT)
    for stem in sorted(groups, key=lambda stem: not stem.endswith(_SAYS)):
        cells = [_cells(head[name]) for name in groups[stem]]
        if len(cells) > 1 and _are_alike(cells, None if label is None else set(_cells(head[label]))):
            return tuple(groups[stem])
    return ()


def _are_alike(columns: list[list[str | None]], labels: set[str | None] | None) -> bool:
    """Whether columns hold answers to one question. labels: what they may be; None: what the others are."""
    for place, cells in enumerate(columns):
        known = labels if labels is not None else {one for other in columns[:place] + columns[place + 1:]
                                                   for one in other}
        said = [cell for cell in cells if cell is not None]
        if 2 * sum(cell in known for cell in said) < len(said) or not said:
            return False
    rows = [[cell for cell in row if cell is not None] for row in zip(*columns, strict=True)]
    several = [row for row in rows if len(row) > 1]
    num_alike = sum(max(Counter(row).values()) > 1 for row in several)
    return bool(several) and num_alike >= _MIN_ALIKE * len(several)


def _merged(table: pa.Table, columns: tuple[str, ...]) -> list[str | None]:
    """A cell of votes for each row, each by the person that its column is called after; null without an answer."""
    rows = zip(*(_cells(table[name]) for name in columns), strict=True)
    votes = ([(who, cell) for who, cell in zip(columns, row, strict=True) if cell is not None] for row in rows)
    return [votes_text(found) if found else None for found in votes]


def _cells(column: Column) -> list[str | None]:
    """A column as text, null where there is none; whole numbers with gaps, which are floats, as whole numbers."""
    cells: list[str | None] = text_of(column).to_pylist()
    return cells


def is_long(table: pa.Table, key: str, annotator: str) -> bool:
    """Whether several people answered on one image. key, annotator: columns of images, and of people."""
    if key == annotator:
        return False
    pairs = pa.table({"key": table[key], "who": table[annotator]})
    people = pairs.group_by("key").aggregate([("who", "count_distinct")])
    people = people.filter(pc.is_valid(people["key"]))
    return bool(pc.any(pc.greater(people["who_count_distinct"], 1)).as_py())


def _first(have: dict[str, str], names: tuple[str, ...]) -> str | None:
    return next((have[name] for name in names if name in have), None)
