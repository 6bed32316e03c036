"""Rows of formats that list their images one by one, gathered in columns, so that a million of them stay small."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from curation.sources.reading.annotators import gather
from curation.sources.reading.answer_columns import is_long, with_answers
from curation.sources.reading.rows import Loaded
from curation.sources.reading.table import listed_rows
from curation.sources.reading.votes import Vote, votes_text
from curation.tables.frames import column_of, concatenated
from curation.tables.report import Problems, as_utf8
from curation.words import counted

Value = str | int | float | bool | None
OURS = ("path", "given_label", "split", "clean_label", "group", "sample_id")
_PLACE, _VOTES = ("\0file", "\0row"), "\0votes"
_EVERY = 50_000


class Gathered:
    """Collects rows; `loaded` hands them over."""

    def __init__(self, problems: Problems) -> None:
        self.problems = problems
        self.num_boxes = 0
        """Samples whose label is that of boxes or outlines."""
        self._parts: list[pa.Table] = []
        self._pending: list[dict[str, Value]] = []
        self._has_several = False

    def add(self, ours: Mapping[str, Value], extra: Mapping[str, Value], *, file: str, row: int,
            votes: Sequence[Vote] = ()) -> None:
        """One row. ours: columns of OURS, path among them; extra: what else is known, which rides along; votes: what
        several people said, where given_label is not said: it becomes what most of them did."""
        if votes:
            self._has_several |= len(votes) > 1
            ours = {**ours, _VOTES: votes_text(votes)}
            if ours.get("given_label") is None and len(votes) == 1:
                ours["given_label"] = votes[0][1]
        named = {name if name not in ours else f"source_{name}": value for name, value in extra.items()}
        self._pending.append({**ours, **named, "\0file": file, "\0row": row})
        if len(self._pending) >= _EVERY:
            self._flush()

    def one_of(self, labels: Iterable[str], *, file: str, row: int, path: str | None) -> str | None:
        """The only one of an image's labels; None where there is none, or, with a line in the report, several."""
        found = list(dict.fromkeys(labels))
        if len(found) > 1:
            shown = ", ".join(repr(label) for label in found[:5])
            self.problems.add("several labels", f"an image must have one class here; it has {len(found)}: {shown}",
                              file=file, row=row, sample_id=path)
        return found[0] if len(found) == 1 else None

    def _flush(self) -> None:
        names = dict.fromkeys(name for row in self._pending for name in row)
        columns = {name: column_of([row.get(name) for row in self._pending]) for name in names}
        self._parts.append(pa.table(columns))
        self._pending = []

    def loaded(self, root: Path, notes: list[str], *, classes: tuple[str, ...] | None = None,
               classes_file: str = "", annotator: str = "") -> Loaded:
        """The rows, their paths below `root`, found here where they were written elsewhere. annotator: the column of
        who answered, where an image may be in several rows."""
        if self._pending or not self._parts:
            if not self._pending:
                self._pending = [{"path": None, "given_label": None, "\0file": "", "\0row": 0}]
            self._flush()
        table = concatenated(self._parts)
        if "split" in table.column_names and (only := _only(table["split"])):
            notes = [*notes, f"the only split is called {only}: its samples are taken as train"]
            table = table.drop_columns(["split"])
        if "sample_id" in table.column_names and table["sample_id"].null_count:
            table = table.rename_columns(["source_id" if name == "sample_id" else name for name in table.column_names])
        file, numbers = table["\0file"].dictionary_encode(), np.asarray(table["\0row"])
        ours = {name: name for name in OURS if name in table.column_names}
        is_short = _VOTES in table.column_names and not self._has_several
        table = table.drop_columns([*_PLACE, *([_VOTES] if is_short else [])])
        who = "" if self._has_several or annotator not in table.column_names or not is_long(
            table, ours.get("sample_id", "path"), annotator) else annotator
        said = _VOTES if self._has_several else "given_label" if who else ""
        table, ours, several = with_answers(table, ours, annotator=who, answers=said)
        rows, found = listed_rows(table, ours, root, file, numbers)
        answers = gather(rows, several, classes, self.problems)
        if self.num_boxes:
            notes = [*notes, f"of {counted(self.num_boxes, 'image')} the label is the one class of boxes or outlines"]
        return Loaded(rows=answers.rows, root=root, classes=classes, classes_file=classes_file, answers=answers.answers,
                      notes=[*notes, *found, *answers.notes])


def _only(splits: pa.ChunkedArray) -> str | None:
    """The split of all rows, where it is one and not train."""
    names = [name for name in splits.unique().to_pylist() if name is not None]
    return names[0] if len(names) == 1 and names[0] != "train" else None


def plain(values: object, leave_out: Iterable[str] = ()) -> dict[str, Value]:
    """The plain values of a JSON object by name; nothing where it is none."""
    if not isinstance(values, dict):
        return {}
    left = set(leave_out)
    return {str(name): value for name, value in values.items()
            if name not in left and isinstance(value, str | int | float | bool)}


def distinct(names: Iterable[str]) -> tuple[str, ...]:
    """Class names in their order, white space at their ends removed as of labels. A repeated one gets its place in
    brackets, so that indices keep their meaning."""
    found, seen = [], Counter[str]()
    for idx, name in enumerate(as_utf8(str(one)).strip() for one in names):
        seen[name] += 1
        found.append(name if seen[name] == 1 and name else f"{name} [{idx}]".strip())
    return tuple(found)
