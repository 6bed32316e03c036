"""A table of image paths and labels: CSV, TSV, Parquet or JSON Lines, every other column kept.

Paths are relative to the image root (by default the table's folder) or absolute inside it. The sample_id is the named
id column, else the path below the image root with `.` and `..` resolved, so it stays when table and images move
together. Without a split column every row is split train. Labels are text: 7 and "7" are one class, 007 another.

Opens no image. Guesses columns by the usual names and says which it took.
"""

import os
import posixpath
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curation.samples.own_exports import as_written, left_out
from curation.sources.reading.annotators import gather
from curation.sources.reading.answer_columns import ANNOTATOR, ANSWER
from curation.sources.reading.classes import (
    declared_classes,
    named_classes,
    of_numbers,
    refuse_from_one,
    text_of,
    whole,
)
from curation.sources.reading.columns import choose_columns
from curation.sources.reading.paths import REMOTE, found_paths
from curation.sources.reading.rows import MANIFEST_COLUMNS, SPLIT_NAMES, SPLIT_NUMBERS, Loaded, drop, plain_rows
from curation.sources.reading.source import Option, Source
from curation.tables.dialect import ENCODINGS
from curation.tables.frames import Frame, read_frame
from curation.tables.report import Column, Problems, Progress, SourceError
from curation.words import counted
from engine.contract.manifest import DECISION_COLUMNS
from engine.contract.pictures.mirror import is_address, make_mirror
from engine.contract.signal_columns import SIGNAL_COLUMNS

_SAID = {ANSWER: "answers", ANNOTATOR: "annotator"}
PICTURES = "pictures"
"""Folder of a project for pictures that lie elsewhere (engine.contract.pictures.mirror)."""
KEEP_GIGABYTES = 20.0
RESERVED = frozenset((*MANIFEST_COLUMNS, *SIGNAL_COLUMNS, *DECISION_COLUMNS, "image", "file", "row", "x", "y", "who",
                      "at", "why", "current_label", "in_validation", ANSWER, ANNOTATOR))
"""Names that the product gives a meaning of its own; an extra column of that name becomes source_NAME."""


def load(root: Path, project: Path, problems: Problems, progress: Progress, *, path_column: str | None = None,
         label_column: str | None = None, clean_label_column: str | None = None, split_column: str | None = None,
         group_column: str | None = None, id_column: str | None = None, image_root: str | None = None,
         classes: str | None = None, annotator_column: str | None = None, answers_column: str | None = None,
         encoding: str = "utf-8", keep_gigabytes: float = KEEP_GIGABYTES) -> Loaded:
    """Rows of the table file `root`. Raises SourceError for an unreadable table or a column it lacks.

    image_root: a folder, or an address such as s3://bucket/photos whose pictures are fetched as they are read.

    annotator_column, answers_column: "" for none. classes: a text file of one class name a line, in index order;
    labels may then also be 0-based line numbers. encoding: of a CSV.
    """
    if image_root is not None and is_address(image_root):
        folder = make_mirror(project / PICTURES, image_root, round(keep_gigabytes * 1e9)).folder
        image_root = None
    else:
        folder = (root.parent if image_root is None else Path(image_root)).resolve()
    if not folder.is_dir():
        raise SourceError(f"the image root must be a folder; there is none at {folder}; check the image root")
    named = {"path": path_column, "given_label": label_column, "clean_label": clean_label_column,
             "split": split_column, "group": group_column, "sample_id": id_column, ANNOTATOR: annotator_column,
             ANSWER: answers_column}
    frame = read_frame(root, problems, progress, encoding)
    columns, ours, several = choose_columns(frame.columns, named, root.name, folder)
    table, numbers = _readable_rows(replace(frame, columns=columns), ours, root.name, problems)
    table, names, named_by = _with_names(as_written(table), frame, ours)
    if (declared := declared_classes(classes, problems, progress)) is not None:
        names = declared
    rows, notes = listed_rows(table, ours, folder, root.name, numbers, classes=names,
                              as_given=Path(image_root) if image_root else root.parent)
    if (is_out := left_out(table)) is not None:
        rows = drop(rows, is_out, problems, "excluded", "a sample that people left out of the data stays out")
    found = gather(rows, several, names, problems)
    taken = {**ours, ANSWER: "', '".join(several.answers)} if several and ANSWER in ours else ours
    said = "columns: " + ", ".join(f"{_SAID.get(name, name)} from '{column}'" for name, column in taken.items())
    return Loaded(rows=found.rows, root=folder, classes=names, classes_file=os.path.basename(classes or root),
                  answers=found.answers, notes=[*frame.notes, said, *named_by, *notes, *found.notes])


def _with_names(table: pa.Table, frame: Frame, ours: dict[str, str]) -> tuple[pa.Table, tuple[str, ...] | None,
                                                                             list[str]]:
    """(the table with class numbers as the names that its schema has for them, these names, what is said of them)."""
    for column, classes in frame.class_labels.items():
        if column in table.column_names:
            place = table.column_names.index(column)
            table = table.set_column(place, column, of_numbers(table[column], classes))
    label = ours.get("given_label", "")
    names = frame.class_labels.get(label) or frame.categories.get(label)
    if not names or len(set(names)) < len(names):
        return table, None, []
    return table, names, [f"classes: {counted(len(names), 'name')} of column {label!r} in the schema, in their order"]


def listed_rows(table: pa.Table, ours: dict[str, str], folder: Path, file: str | Column, numbers: np.ndarray | None, *,
                classes: tuple[str, ...] | None = None, as_given: Path | None = None) -> tuple[pa.Table, list[str]]:
    """(rows of a table as a source hands them over, what was read how). ours: our column -> the table's, path among
    them; all others ride along.

    folder: what paths are relative to, links followed; as_given: the same as it was named. file, numbers: where each
    row stands. classes: labels may also be their 0-based numbers.
    """
    columns: dict[str, Column] = {name: text_of(table[column]) for name, column in ours.items()}
    columns["path"], notes = found_paths(_below(columns["path"], folder, as_given or folder), folder)
    columns.setdefault("sample_id", columns["path"])
    if "split" in columns:
        columns["split"], said = _our_splits(columns["split"])
        notes += said
    if classes is not None and "given_label" in columns:
        refuse_from_one(columns["given_label"], classes)
    for name in ("given_label", "clean_label"):  # of answers in cells the number is that of each, not the cell
        if classes is not None and name in columns:
            columns[name] = named_classes(columns[name], classes)
    extra, renamed = extra_columns(table, set(ours.values()))
    return plain_rows({**columns, **extra}, file, numbers), [*notes, *renamed]


def _readable_rows(frame: Frame, ours: dict[str, str], name: str, problems: Problems) -> tuple[pa.Table, np.ndarray]:
    """(rows, row numbers) whose needed columns are text. A row that is not UTF-8 gives one line, however often."""
    needed = {column for meaning, column in ours.items()
              if meaning in ("path", "given_label", "split", "sample_id", ANSWER)}
    is_lost, is_reported = np.zeros((2, len(frame.rows)), dtype=bool)
    for column, is_bad in sorted(frame.bad_bytes.items(), key=lambda item: item[0] not in needed):
        is_new = is_bad & ~is_reported
        is_reported |= is_bad
        is_lost |= is_bad if column in needed else False
        for place in np.flatnonzero(is_new):
            problems.add("not UTF-8", f"text must be UTF-8; the bytes of column {column!r} are not; save the table as "
                         "UTF-8, or name its encoding", file=name, row=int(frame.rows[place]),
                         action="skipped" if column in needed else "kept")
    return frame.columns.filter(pa.array(~is_lost)), frame.rows[~is_lost]


def _below(paths: Column, folder: Path, as_given: Path) -> Column:
    """Paths relative to `folder`, resolved by text alone; one that leaves it stays as it is, to be reported.

    as_given: the folder before links were followed: absolute paths may be written either way.
    """
    is_odd = pc.and_not(pc.match_substring_regex(paths, r"(^|/)\.{0,2}(/|$)"), pc.match_substring_regex(paths, REMOTE))
    is_odd = pc.fill_null(is_odd, False)
    if not pc.any(is_odd).as_py():
        return paths
    odd = paths.filter(is_odd).to_pylist()
    prefixes = [str(base).rstrip("/") + "/" for base in (folder, os.path.abspath(as_given))]
    plain = []
    for path in odd:
        path = posixpath.normpath(path)
        prefix = next((prefix for prefix in prefixes if path.startswith(prefix)), "")
        plain.append(path.removeprefix(prefix))
    return pc.replace_with_mask(whole(paths), whole(is_odd), pa.array(plain, pa.string()))


def _our_splits(splits: Column) -> tuple[Column, list[str]]:
    """(split names as ours, of which an unknown one stays, to be reported; what was read how)."""
    lower, notes = whole(pc.utf8_lower(splits)), list[str]()
    if set(pc.unique(lower.drop_null()).to_pylist()) == set(SPLIT_NUMBERS):
        names = SPLIT_NUMBERS
        notes.append("split by number: 0 train, 1 clean, 2 test")
    else:
        names = SPLIT_NAMES
    ours = pa.array(list(names.values())).take(pc.index_in(lower, value_set=pa.array(list(names))))
    if lower.null_count:
        notes.append(f"{counted(lower.null_count, 'row')} without a split taken as train")
    return pc.fill_null(pc.coalesce(ours, whole(splits)), "train"), notes


def extra_columns(frame: pa.Table, used: set[str]) -> tuple[dict[str, Column], list[str]]:
    """(columns of the table that are none of ours, numbers as numbers; a sentence for each that is renamed)."""
    extra: dict[str, Column] = {}
    renamed: list[str] = []
    for name in frame.column_names:
        if name in used:
            continue
        new = name or "unnamed"
        while new in RESERVED or new in extra or (new != name and new in frame.column_names):
            new = f"source_{new}"
        if new != name:
            renamed.append(f"column {name!r} is called {new!r} here")
        extra[new] = _typed(frame[name])
    return extra, renamed


def _typed(column: Column) -> Column:
    """Text as numbers where each can be written again as it stands: of ids of twenty digits, versions such as 1.10,
    phone numbers and hashes such as 1e5 a number would keep another thing than what was written."""
    if not pa.types.is_string(column.type):
        return column
    text = text_of(column)
    if text.null_count == len(text) or not _are_all(text, r"^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?$"):
        return text
    try:
        if _are_all(text, r"^-?[0-9]+$"):
            return text.cast(pa.int64())
        numbers = text.cast(pa.float64())
    except pa.ArrowInvalid:
        return text
    has_one_length = _are_all(text, r"\.") and pc.count_distinct(
        pc.utf8_length(pc.replace_substring_regex(text.drop_null(), r"^[^.]*", ""))).as_py() == 1
    is_measured = _are_all(text, r"\.[0-9]+[eE]|[eE][+-]")  # 4.5000e-02: a hash has neither point nor sign
    return numbers if is_measured or (has_one_length and not _are_any(text, "[eE]")) or \
        _are_written_again(text, numbers) else text


def _are_all(text: Column, pattern: str) -> bool:
    return bool(pc.all(pc.match_substring_regex(text, pattern)).as_py())


def _are_any(text: Column, pattern: str) -> bool:
    return bool(pc.any(pc.match_substring_regex(text, pattern)).as_py())


def _are_written_again(text: Column, numbers: Column) -> bool:
    """Whether each number's shortest form is the text, a final .0 aside."""
    short = pc.replace_substring_regex(text, r"\.0$", "")
    is_other = pc.not_equal(short, pc.replace_substring_regex(numbers.cast(pa.string()), r"\.0$", ""))
    return all(repr(float(one)) == one for one in pc.unique(text.filter(is_other)).to_pylist())


SOURCE = Source(
    title="Table (CSV, Parquet, JSON Lines)", load=load, is_root_file=True,
    help="A table of image paths and labels; every other column is kept, and every answer where several people gave "
         "one.",
    root_help="The table file: .csv, .tsv, .parquet or .jsonl.",
    options=(
        Option(name="path_column", help="Column of image paths. Default: the first usual name, such as path."),
        Option(name="label_column", help="Column of labels. Default: the first usual name, such as label."),
        Option(name="clean_label_column", help="Column of known true labels, for scoring alone."),
        Option(name="split_column", help="Column of splits: train, val (becomes clean) or test."),
        Option(name="group_column", help="Column of groups or domains, for worst-group figures."),
        Option(name="id_column", help="Column of sample ids. Default: sample_id if there is one, else the path."),
        Option(name="image_root", help="Folder that paths are relative to, or an address that pictures stay at, such "
                                       "as s3://bucket/photos (pip install s3fs; gcsfs, aiohttp). Default: the "
                                       "table's folder."),
        Option(name="keep_gigabytes", kind=float, default=KEEP_GIGABYTES, is_in_form=False,
               help="How much of the pictures at an address is kept in the project, in GB: those read last."),
        Option(name="classes", help="Text file of class names, one a line, in index order, or a CSV with the column "
                                    "label. Labels may then be names or their numbers counted from 0; any other is "
                                    "reported and left out."),
        Option(name="encoding", choices=ENCODINGS, default="utf-8", help="Of a CSV that is not UTF-8, such as cp1252 "
                                                                         "(of Windows)."),
        Option(name="annotator_column", help="Column of who answered, where an image is in several rows. Default: "
                                             "the first usual name, such as annotator; '' for none."),
        Option(name="answers_column", help="Column of answers beside the labels, or of all answers on an image, "
                                               "such as 21:cat;37:dog or a JSON list. Several columns, "
                                               "one a person: their names with commas between. Default: by usual "
                                               "names, such as label_1 and label_2; '' for none."),
    ))
