"""Several people's answers on one sample: every one kept, the majority as label where the data have none of their own.

Where they stand in a table, curation.sources.reading.answer_columns says. Opens no image.
"""

from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curation.sources.reading.answer_columns import ANNOTATOR, ANSWER, AnswerColumns
from curation.sources.reading.classes import named_classes, whole
from curation.sources.reading.rows import drop, first_places, fitting, in_class_order
from curation.sources.reading.votes import votes_in
from curation.tables.report import Column, Problems, joined, quoted
from curation.words import counted

ANSWERS_SCHEMA = pa.schema([("sample_id", pa.string()), ("annotator", pa.string()), ("label", pa.string())])
"""annotator: null where the data name none."""
FIGURES = ("num_answers", "answers_agree", "is_tie")
"""Columns of a sample: int64; share in [0, 1] of its answers that are its given label, null without answers; whether
two labels or more have the most answers."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Gathered:
    rows: pa.Table
    """One a sample, with given_label and, where there are answers, FIGURES."""
    answers: pa.Table | None = None
    """ANSWERS_SCHEMA, in the order of the file."""
    notes: list[str] = field(default_factory=list)


def gather(rows: pa.Table, found: AnswerColumns | None, classes: tuple[str, ...] | None,
           problems: Problems) -> Gathered:
    """The samples of a source's rows, whose answers are the columns ANSWER and ANNOTATOR (with_answers)."""
    if found is None:
        return Gathered(rows=rows)
    if found.annotator is not None:
        return _gather_long(rows, found.has_own, classes, problems)
    return gather_votes(rows, found.has_own, classes, problems)


def renamed(answers: pa.Table | None, before: pa.Table, after: pa.Table) -> pa.Table | None:
    """Answers by the ids that samples have after their pictures were written. before, after: rows with sample_id, and
    file and row, which stay; answers of rows that are gone are left out."""
    if answers is None:
        return None
    keys = [pc.binary_join_element_wise(rows["file"].cast(pa.string()), rows["row"].cast(pa.string()), "\0")
            for rows in (before, after)]
    place = pc.index_in(whole(keys[0]), value_set=whole(keys[1]))
    now = whole(after["sample_id"]).take(place)
    ids = now.take(pc.index_in(whole(answers["sample_id"]), value_set=whole(before["sample_id"])))
    return answers.set_column(0, "sample_id", ids).filter(pc.is_valid(ids))


def _gather_long(rows: pa.Table, has_own: bool, classes: tuple[str, ...] | None, problems: Problems) -> Gathered:
    """The samples of a long table. rows: of a source, with ANNOTATOR, and ANSWER where has_own, else the answers are
    given_label. A row that cannot be a sample's, or whose person answered on the sample before, is reported."""
    rows = fitting(rows, classes, problems)
    first = first_places(rows["sample_id"])
    places = np.unique(first)
    labels = rows[ANSWER] if has_own else rows["given_label"]
    answers = pa.table({"sample_id": rows["sample_id"], "annotator": rows[ANNOTATOR], "file": rows["file"],
                        "label": labels if classes is None else named_classes(labels, classes), "row": rows["row"]})
    rows = rows.drop_columns([ANNOTATOR, *([ANSWER] if has_own else [])])
    own = {"file", "row"} if has_own else {"file", "row", "given_label"}
    differing = [name for name in rows.column_names if name not in own and _differs(rows[name], first)]
    notes = [f"columns that differ between the answers on a sample, of which its first row's are kept: "
             f"{', '.join(differing)}"] if differing else []
    rows = rows.take(pa.array(places))
    if not has_own:
        rows = _with(rows, "given_label", pa.nulls(rows.num_rows, pa.string()))
    return _gathered(rows, answers, classes, problems, notes)


def gather_votes(rows: pa.Table, has_own: bool, classes: tuple[str, ...] | None, problems: Problems) -> Gathered:
    """The samples of a table of votes. rows: of a source, with the cells as ANSWER. A cell that cannot be read is
    reported; its row stays where it has a given label."""
    column = whole(rows[ANSWER])
    rows = rows.drop_columns([ANSWER])
    cells = [None if cell is None else votes_in(cell) for cell in column.to_pylist()]
    is_bad = pa.array([found is None for found in cells]) if len(cells) else pa.array([], pa.bool_())
    is_bad = pc.and_(is_bad, pc.is_valid(column))
    bad = rows.filter(is_bad)
    reason = joined("answers must be such as 21:cat;37:dog or a JSON list; got ",
                    quoted(pc.utf8_slice_codeunits(column.filter(is_bad), 0, 80)))
    if has_own:
        problems.add_rows("malformed answers", reason, bad)
    else:
        rows = drop(rows, is_bad, problems, "malformed answers", lambda _: reason)
        cells = [found for found, is_out in zip(cells, is_bad.to_pylist(), strict=True) if not is_out]
    is_first = first_places(rows["sample_id"]) == np.arange(rows.num_rows)  # a repeat is reported, and has no say
    each = [(place, *vote) for place, found in enumerate(cells) if found and is_first[place] for vote in found]
    places = pa.array([place for place, _, _ in each], pa.int64())
    labels = pa.array([label for _, _, label in each], pa.string())
    answers = pa.table({
        "sample_id": rows["sample_id"].take(places), "annotator": pa.array([who for _, who, _ in each], pa.string()),
        "label": labels if classes is None else named_classes(labels, classes), "file": rows["file"].take(places),
        "row": rows["row"].take(places)})
    return _gathered(rows, answers, classes, problems, [])


def _gathered(rows: pa.Table, answers: pa.Table, classes: tuple[str, ...] | None, problems: Problems,
              notes: list[str]) -> Gathered:
    """rows: given_label is null where the majority is to be it. answers: as ANSWERS_SCHEMA, with file and row."""
    answers = drop(answers, pc.is_null(answers["label"]), problems, "missing answer", "an answer must be a label")
    answers = _once(answers.filter(pc.is_valid(answers["sample_id"])), problems)
    if classes is not None:
        is_known = pc.is_in(answers["label"], value_set=pa.array(classes, pa.string()))
        answers = drop(answers, pc.invert(is_known), problems, "unknown answer", lambda bad: joined(
            f"an answer must be one of the {len(classes)} classes; got ", quoted(bad["label"])))
    order = classes if classes is not None else in_class_order({*answers["label"].to_pylist()})
    given, figures = _figures(rows, answers, order)
    is_open = pc.is_null(rows["given_label"])
    num_tied = pc.sum(pc.and_(is_open, figures["is_tie"])).as_py() or 0
    rows = _with(rows, "given_label", given)
    if classes is None:
        seen = pa.concat_arrays([whole(rows[name]) for name in ("given_label", "clean_label")])
        odd = answers.filter(pc.invert(pc.is_in(answers["label"], value_set=seen)))
        problems.add_rows("unknown answer", joined("no sample has this label, which is an answer alone; got ",
                                                   quoted(odd["label"])), odd, action="kept")
    for name, column in figures.items():
        if name in rows.column_names:
            rows = rows.rename_columns([f"source_{name}" if one == name else one for one in rows.column_names])
            notes = [*notes, f"column {name!r} is called 'source_{name}' here"]
        rows = rows.add_column(rows.column_names.index("file"), name, column)
    num_open = pc.sum(pc.and_(is_open, pc.is_valid(given))).as_py() or 0
    majority = f"; the label of {counted(num_open, 'sample')} is what most people said" if num_open else ""
    notes = [f"{answers.num_rows:,} answers on {pc.count_distinct(answers['sample_id']).as_py():,} samples are kept "
             f"(answers.parquet){majority}", *notes]
    if num_tied:
        notes.append(f"of {counted(num_tied, 'sample')} as many people said another class: the first of the classes "
                     "counts (is_tie)")
    return Gathered(rows=rows, answers=answers.select(ANSWERS_SCHEMA.names).cast(ANSWERS_SCHEMA), notes=notes)


def _figures(rows: pa.Table, answers: pa.Table, order: tuple[str, ...]) -> tuple[Column, dict[str, Column]]:
    """(given_label, FIGURES) of each row; a null label becomes the one with most answers, of several the first in
    order."""
    num, names = rows.num_rows, pa.array(order, pa.string())
    sample = np.asarray(pc.index_in(answers["sample_id"], value_set=whole(rows["sample_id"]))).astype(np.int64)
    code = np.asarray(pc.index_in(answers["label"], value_set=names)).astype(np.int64)
    width = max(1, len(order))
    pairs, count = np.unique(sample * width + code, return_counts=True)
    of_sample, label = pairs // width, pairs % width
    most = np.zeros(num, dtype=np.int64)
    np.maximum.at(most, of_sample, count)
    is_top = count == most[of_sample]
    winner = np.full(num, -1)
    winner[of_sample[is_top][::-1]] = label[is_top][::-1]  # the last one written is the first in order
    majority = names.take(pa.array(winner, pa.int64(), mask=winner < 0))
    given = pc.coalesce(whole(rows["given_label"]), majority)
    given_code = np.asarray(pc.fill_null(pc.index_in(given, value_set=names), -1)).astype(np.int64)
    num_answers = np.bincount(sample, minlength=num)
    is_same = code == given_code[sample]
    agree = np.bincount(sample[is_same], minlength=num) / np.maximum(1, num_answers)
    return given, {"num_answers": pa.array(num_answers, pa.int64()),
                   "answers_agree": pa.array(agree, pa.float64(), mask=num_answers == 0),
                   "is_tie": pa.array(np.bincount(of_sample[is_top], minlength=num) > 1)}


def _once(answers: pa.Table, problems: Problems) -> pa.Table:
    """The first answer of each person on each sample; every later one is reported."""
    codes = [np.asarray(pc.fill_null(whole(answers[name]).dictionary_encode().indices, -1)).astype(np.int64)
             for name in ("sample_id", "annotator")]
    key = codes[0] * (codes[1].max(initial=0) + 2) + codes[1] + 1  # -1, nobody, has a place of its own
    _, first, place = np.unique(key, return_index=True, return_inverse=True)
    is_later = (first[place] != np.arange(len(key))) & (codes[1] >= 0)
    return drop(answers, pa.array(is_later), problems, "duplicate key",
                lambda bad: joined("one answer of a person on a sample counts, the first; again by ",
                                   quoted(bad["annotator"])))


def _differs(column: Column, first: np.ndarray) -> bool:
    column = whole(column)
    if pa.types.is_null(column.type):
        return False
    other = column.take(pa.array(first))
    is_other = pc.fill_null(pc.not_equal(column, other), False)
    return bool(pc.any(pc.or_(is_other, pc.xor(pc.is_null(column), pc.is_null(other)))).as_py())


def _with(rows: pa.Table, name: str, column: Column) -> pa.Table:
    return rows.set_column(rows.column_names.index(name), name, column)
