"""Which columns of a table are ours: those named, else by their usual names, else by what is in them."""

import os
from pathlib import Path

import pyarrow as pa

from curation.sources.reading.answer_columns import ANNOTATOR, ANSWER, AnswerColumns, with_answers
from curation.sources.reading.images import IMAGE_SUFFIXES
from curation.sources.reading.paths import lead_to_images
from curation.tables.report import SourceError

USUAL_NAMES = {
    "path": ("path", "image_path", "img_path", "file_path", "filepath", "file_name", "filename", "img_filename", "file",
             "image", "img"),
    "given_label": ("current_label", "corrected_label",  # of our own exports
                    "given_label", "label", "labels", "class", "class_name", "category", "target", "y", "noisy_label",
                    "choice",  # of Label Studio's CSV
                    "label_name", "label_id", "classname", "breed", "species", "diagnosis"),
    "clean_label": ("clean_label", "true_label"),
    "split": ("split", "set", "subset"),
    "group": ("group", "domain"),
    "sample_id": ("sample_id",),
}
"""Column names taken for each of ours, whatever their case, the first that the table has."""
ID_NAMES = ("image_name", "img_name", "image_file", "id", "image_id", "imageid", "img_id", "id_code", "key", "name")
"""Columns whose values may be the names of images, as in Kaggle's tables: taken where these images are there."""


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


def choose_columns(table: pa.Table, named: dict[str, str | None], name: str,
                   folder: Path) -> tuple[pa.Table, dict[str, str], AnswerColumns | None]:
    """with_answers of a table that has what it needs. Raises SourceError where a column lacks. named: with ANNOTATOR
    and ANSWER; folder: what paths are relative to."""
    have = table.column_names
    for ours, given in named.items():
        if given and given not in have and ours != ANSWER:
            raise SourceError(f"a named column must be in {name}; got {given!r}; it has {_listed(have)}; choose "
                              "one of them")
    usual = usual_columns(have, named)
    if "path" not in usual and named["path"] is None:
        free = {column.lower(): column for column in reversed(have) if column not in usual.values()}
        found = next((free[one] for one in ID_NAMES if one in free and lead_to_images(table[free[one]], folder)), None)
        usual = {"path": found, **usual} if found else usual
    table, chosen, several = with_answers(table, usual, annotator=named[ANNOTATOR], answers=named[ANSWER])
    for ours, words in (("path", "image paths"), ("given_label", "labels")):
        if ours in chosen or (ours == "given_label" and several is not None):
            continue
        if any(os.path.splitext(column)[1].lower() in IMAGE_SUFFIXES for column in have):
            raise SourceError(f"the first row of a table names its columns; {name} begins with a sample: "
                              f"{_listed(have)}; put a row such as path,label before it")
        hint = "import it as source kaggle, which reads a column of 0 and 1 for each class" if _is_one_hot(
            table, [column for column in have if column not in chosen.values()]) else f"name the column of {words}"
        raise SourceError(f"a table needs a column of {words}; {name} has {_listed(have)}; {hint}")
    return table, chosen, several


def _is_one_hot(table: pa.Table, names: list[str]) -> bool:
    return len(names) > 1 and all({str(value) for value in table[name].unique().to_pylist()} <= {"0", "1"}
                                  for name in names)


def _listed(names: list[str]) -> str:
    shown = ", ".join(repr(name) for name in names[:12])
    return (shown or "no column") + (f" and {len(names) - 12} more" if len(names) > 12 else "")
