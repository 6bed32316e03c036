"""Kaggle's competitions: train.csv of image ids and labels, whose images lie in a folder beside it under id.jpg.

Labels are one column, or a column of zeros and ones for each class. Test tables have no labels and are left out.
"""

import os
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from curation.sources.formats.one_hot import is_one_hot, labels_of
from curation.sources.formats.places import data_root, files_below, images_below, name_below, split_of
from curation.sources.reading.annotators import gather
from curation.sources.reading.answer_columns import with_answers
from curation.sources.reading.classes import text_of
from curation.sources.reading.columns import USUAL_NAMES
from curation.sources.reading.images import IMAGE_SUFFIXES
from curation.sources.reading.rows import Loaded
from curation.sources.reading.source import Option, Source
from curation.sources.reading.table import listed_rows
from curation.tables.frames import column_names, read_frame
from curation.tables.report import Column, Problems, Progress, SourceError

IDS = ("id", "image_id", "imageid", "image_name", "img_name", "image_file", "id_code", "image_path",
       *USUAL_NAMES["path"])
LABELS = (*USUAL_NAMES["given_label"], "level", "has_cactus")
_ENDINGS = (".csv", ".tsv")
_SUFFIXES = ("", *sorted(IMAGE_SUFFIXES, key=lambda suffix: suffix not in (".jpg", ".png", ".jpeg", ".tif")))


def load(root: Path, project: Path, problems: Problems, progress: Progress, *, path_column: str | None = None,
         label_column: str | None = None) -> Loaded:
    """Rows of the table of labels. Raises SourceError where there is none, or it lacks a column."""
    path = _table_of(root)
    if path is None:
        raise SourceError(f"a table of labels must have a column of image ids and one of labels; {root} has none; name "
                          "the file")
    home, frame = data_root(path), read_frame(path, problems, progress)
    have, file = frame.columns.column_names, name_below(path, home)
    for name in (path_column, label_column):
        if name is not None and name not in have:
            raise SourceError(f"a named column must be in {file}; got {name!r}; it has {', '.join(have)}; choose one")
    image = path_column or _usual(have, IDS) or have[0]
    label = label_column or _usual([name for name in have if name != image], LABELS)
    rest = [name for name in have if name != image]
    label = label or (rest[0] if len(rest) == 1 else None)
    table, numbers, classes = frame.columns, frame.rows, None
    if label is None:
        if not is_one_hot(table, rest):
            raise SourceError(f"a table of labels needs one column of them, or columns of 0 and 1; {file} has "
                              f"{', '.join(have)}; name the column of labels")
        labels, is_kept = labels_of(table, rest, file, numbers, text_of(table[image]), problems)
        classes, label = tuple(name.strip() for name in rest), "given_label"
        table = pa.table({image: table[image], label: labels}).filter(pa.array(is_kept))
        numbers = numbers[is_kept]
    names = text_of(table[image])
    prefix = images_below(home, path, [name for name in names.slice(0, 2_000).to_pylist() if name], _SUFFIXES)
    paths = pc.binary_join_element_wise(prefix, _with_suffix(names, home / prefix), "")
    table = table.set_column(table.schema.get_field_index(image), image, paths)
    table, ours, several = with_answers(table, {"path": image, "given_label": label})
    rows, found = listed_rows(table, ours, home, file, numbers)
    answers = gather(rows, several, classes, problems)
    notes = [f"{file}: image from {image!r}, label from " + ("a column for each class" if classes else repr(label))]
    return Loaded(rows=answers.rows, root=home, classes=classes, classes_file=file, answers=answers.answers,
                  notes=[*notes, *frame.notes, *found, *answers.notes])


def _with_suffix(names: Column, folder: Path) -> Column:
    """Image ids as the names of the files in a folder that are called so, whatever their suffix; others as they are."""
    try:
        files = pa.array(sorted(name for name in os.listdir(folder) if name.isprintable()), pa.string())
    except OSError:
        return names
    files = files.filter(pc.is_in(pc.utf8_lower(pc.extract_regex(files, r"(?P<end>\.[^.]*)$").field("end")),
                                  value_set=pa.array(sorted(IMAGE_SUFFIXES))))
    stems = pc.replace_substring_regex(files, r"\.[^.]*$", "")
    found = pc.index_in(names, value_set=stems)
    found = found.combine_chunks() if isinstance(found, pa.ChunkedArray) else found
    whole = names.combine_chunks() if isinstance(names, pa.ChunkedArray) else names
    return pc.coalesce(files.take(found), whole)


def _usual(have: list[str], names: tuple[str, ...]) -> str | None:
    lower = {name.strip().lower(): name for name in reversed(have)}
    return next((lower[name] for name in names if name in lower), None)


def _table_of(root: Path) -> Path | None:
    """The table that is meant: the file itself, else one called as train is, else the only one that is no test's."""
    if root.is_file():
        return root
    tables = [path for path in files_below(root, _ENDINGS, depth=1)
              if split_of(path.stem) != "test" and "submission" not in path.stem.lower() and _is_fit(path)]
    trains = [path for path in tables if split_of(path.stem) == "train"]
    return next(iter(trains), tables[0] if len(tables) == 1 else None)


def _is_fit(path: Path) -> bool:
    try:
        return len(column_names(path)) >= 2
    except SourceError:
        return False


def is_here(place: Path) -> bool:
    """Whether a folder has train.csv with a column of ids, or a file is one."""
    path = _table_of(place) if place.is_dir() or place.suffix.lower() in _ENDINGS else None
    if path is None or (place.is_dir() and split_of(path.stem) != "train"):
        return False
    try:
        have = [name.lower() for name in column_names(path)]
    except SourceError:
        return False
    return bool(set(have) & set(IDS) - set(USUAL_NAMES["path"])) and len(have) >= 2 and "sample_id" not in have


SOURCE = Source(
    title="Kaggle table", load=load, is_root_file=True, recognises=is_here,
    help="train.csv of image ids and labels beside folders of images, names without suffix; also one column a class.",
    root_help="Folder with train.csv, or the table itself.",
    options=(Option(name="path_column", help="Column of image ids. Default: id or another usual name, else the first."),
             Option(name="label_column", help="Column of labels. Default: a usual name, else the only other column.")))
