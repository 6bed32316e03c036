"""A table of image paths and labels: CSV, TSV, Parquet or JSON Lines, every other column kept.

Paths are relative to the image root (by default the table's folder) or absolute inside it. The sample_id is the named
id column, else the path below the image root with `.` and `..` resolved, so it stays when table and images move
together. Without a split column every row is split train. Labels are text: 7 and "7" are one class, 007 another.

Opens no image. Guesses columns by the usual names and says which it took.
"""

import os
import posixpath
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curation.samples.own_exports import as_written, left_out
from curation.sources.reading.images import IMAGE_SUFFIXES
from curation.sources.reading.paths import REMOTE, found_paths
from curation.sources.reading.rows import MANIFEST_COLUMNS, SPLIT_NAMES, Loaded, drop, plain_rows
from curation.tables.frames import Frame, read_frame
from curation.tables.lines import read_lines
from curation.tables.report import Column, Problems, Progress, SourceError
from engine.contract.manifest import DECISION_COLUMNS
from engine.contract.signal_columns import SIGNAL_COLUMNS

USUAL_NAMES = {
    "path": ("path", "image_path", "img_path", "file_path", "filepath", "file_name", "filename", "img_filename", "file",
             "image", "img"),
    "given_label": ("current_label", "corrected_label",  # of our own exports
                    "given_label", "label", "labels", "class", "class_name", "category", "target", "y", "noisy_label"),
    "clean_label": ("clean_label", "true_label"),
    "split": ("split", "set", "subset"),
    "group": ("group", "domain"),
    "sample_id": ("sample_id",),
}
"""Column names taken for each of ours, whatever their case, the first that the table has."""

RESERVED = frozenset((*MANIFEST_COLUMNS, *SIGNAL_COLUMNS, *DECISION_COLUMNS, "image", "file", "row", "x", "y", "who",
                      "at", "why", "current_label", "in_validation"))
"""Names that the product gives a meaning of its own; an extra column of that name becomes source_NAME."""


def load(root: Path, project: Path, problems: Problems, progress: Progress, *, path_column: str | None = None,
         label_column: str | None = None, clean_label_column: str | None = None, split_column: str | None = None,
         group_column: str | None = None, id_column: str | None = None, image_root: str | None = None,
         classes: str | None = None) -> Loaded:
    """Rows of the table file `root`. Raises SourceError for an unreadable table or a column it lacks.

    classes: a text file of one class name a line, in index order; labels may then also be 0-based line numbers.
    """
    folder = (root.parent if image_root is None else Path(image_root)).resolve()
    if not folder.is_dir():
        raise SourceError(f"the image root must be a folder; there is none at {folder}; check the image root")
    named = {"path": path_column, "given_label": label_column, "clean_label": clean_label_column,
             "split": split_column, "group": group_column, "sample_id": id_column}
    frame = read_frame(root, problems, progress)
    ours = _choose_columns(frame.columns.column_names, named, root.name)
    table, numbers = _readable_rows(frame, ours, root.name, problems)
    table = as_written(table)
    names = _class_names(classes, problems, progress)
    rows, notes = listed_rows(table, ours, folder, root.name, numbers, classes=names,
                              as_given=Path(image_root) if image_root else root.parent)
    if (is_out := left_out(table)) is not None:
        rows = drop(rows, is_out, problems, "excluded", "a sample that people left out of the data stays out")
    said = "columns: " + ", ".join(f"{name} from {column!r}" for name, column in ours.items())
    return Loaded(rows=rows, root=folder, classes=names, classes_file=os.path.basename(classes or root),
                  notes=[*frame.notes, said, *notes])


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
        columns["split"] = _our_splits(columns["split"])
    for name in ("given_label", "clean_label"):
        if classes is not None and name in columns:
            columns[name] = _named(columns[name], classes)
    extra, renamed = extra_columns(table, set(ours.values()))
    return plain_rows({**columns, **extra}, file, numbers), [*notes, *renamed]


def usual_columns(have: list[str], named: dict[str, str | None] | None = None) -> dict[str, str]:
    """Our column -> the table's: the one named, else the first usual name that it has. named: "" for no column."""
    named = named or {}
    lower = {name.lower(): name for name in reversed(have)}
    chosen: dict[str, str] = {}
    for ours in USUAL_NAMES:
        given = named.get(ours)
        free = (lower[name] for name in USUAL_NAMES[ours] if name in lower and lower[name] not in chosen.values()
                and lower[name] not in named.values())
        column = given if given is not None else next(free, None)
        if column:
            chosen[ours] = column
    return chosen


def _choose_columns(have: list[str], named: dict[str, str | None], table: str) -> dict[str, str]:
    """usual_columns of a table that has what it needs. Raises SourceError otherwise."""
    for given in named.values():
        if given and given not in have:
            raise SourceError(f"a named column must be in {table}; got {given!r}; it has {_listed(have)}; choose "
                              "one of them")
    chosen = usual_columns(have, named)
    for ours, words in (("path", "image paths"), ("given_label", "labels")):
        if ours not in chosen and any(os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES for name in have):
            raise SourceError(f"the first row of a table names its columns; {table} begins with a sample: "
                              f"{_listed(have)}; put a row such as path,label before it")
        if ours not in chosen:
            raise SourceError(f"a table needs a column of {words}; {table} has {_listed(have)}; name the column of "
                              f"{words}")
    return chosen


def _readable_rows(frame: Frame, ours: dict[str, str], name: str, problems: Problems) -> tuple[pa.Table, np.ndarray]:
    """(rows, row numbers) whose needed columns are text. A row that is not UTF-8 gives one line, however often."""
    needed = {column for meaning, column in ours.items() if meaning in ("path", "given_label", "split", "sample_id")}
    is_lost, is_reported = np.zeros((2, len(frame.rows)), dtype=bool)
    for column, is_bad in sorted(frame.bad_bytes.items(), key=lambda item: item[0] not in needed):
        is_new = is_bad & ~is_reported
        is_reported |= is_bad
        is_lost |= is_bad if column in needed else False
        for place in np.flatnonzero(is_new):
            problems.add("not UTF-8", f"text must be UTF-8; the bytes of column {column!r} are not", file=name,
                         row=int(frame.rows[place]), action="skipped" if column in needed else "kept")
    return frame.columns.filter(pa.array(~is_lost)), frame.rows[~is_lost]


def text_of(column: Column) -> Column:
    """Any plain column as strings without white space at their ends; null where that leaves nothing."""
    kind = column.type
    if pa.types.is_floating(kind):  # whole numbers with gaps come out of pandas as floats: 3.0 is label 3
        column = pc.if_else(pc.is_nan(column), pa.scalar(None, kind), column)
        is_whole = pc.all(pc.and_(pc.is_finite(column), pc.equal(pc.floor(column), column))).as_py()
        column = column.cast(pa.int64()) if is_whole else column
    text = pc.utf8_trim_whitespace(column.cast(pa.string()))
    return pc.if_else(pc.equal(text, ""), pa.scalar(None, pa.string()), text)


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
    return pc.replace_with_mask(_whole(paths), _whole(is_odd), pa.array(plain, pa.string()))


def _whole(column: Column) -> Column:
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column


def _our_splits(splits: Column) -> Column:
    """Split names as ours; an unknown one stays, to be reported; an empty one becomes ''."""
    lower = pc.utf8_lower(splits)
    known = pc.index_in(lower, value_set=pa.array(list(SPLIT_NAMES)))
    ours = pa.array(list(SPLIT_NAMES.values())).take(_whole(known))
    return pc.fill_null(pc.coalesce(ours, _whole(splits)), "")


def _class_names(path: str | None, problems: Problems, progress: Progress) -> tuple[str, ...] | None:
    """The declared classes, None where there is no file of them."""
    if path is None:
        return None
    if not os.path.isfile(path):
        raise SourceError(f"classes must be a text file of one class a line; there is none at {path!r}; check the path")
    names = read_lines(Path(path), os.path.basename(path), problems, progress)["text"].to_pylist()
    if len(set(names)) != len(names):
        raise SourceError(f"class names must differ; a name repeats in {path!r}; rename one")
    return tuple(names)


def _named(labels: Column, classes: tuple[str, ...]) -> Column:
    """Labels that are no class name but the number of one, as that name."""
    values = pa.array(classes, pa.string())
    numbers = pa.array([str(idx) for idx in range(len(classes))])
    by_number = values.take(_whole(pc.index_in(labels, value_set=numbers)))
    is_name = _whole(pc.is_in(labels, value_set=values))
    return pc.if_else(is_name, _whole(labels), pc.coalesce(by_number, _whole(labels)))


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


def _listed(names: list[str]) -> str:
    shown = ", ".join(repr(name) for name in names[:12])
    return (shown or "no column") + (f" and {len(names) - 12} more" if len(names) > 12 else "")
