"""Hugging Face's imagefolder with metadata: metadata.csv, .jsonl or .parquet beside the images it names (file_name).

A label column gives the labels, or several people's answers do; without any, the name of the folder that an image lies
in. The split is that of the folder of the metadata file.
"""

import posixpath
from pathlib import Path

import numpy as np
import pyarrow as pa

from curation.samples.own_exports import as_written
from curation.sources.formats.places import files_below, split_of
from curation.sources.reading.annotators import gather
from curation.sources.reading.answer_columns import answer_columns, with_answers
from curation.sources.reading.classes import text_of
from curation.sources.reading.columns import usual_columns
from curation.sources.reading.rows import SPLIT_NAMES, Loaded
from curation.sources.reading.table import listed_rows
from curation.tables.frames import column_names, concatenated, read_frame
from curation.tables.lines import constant
from curation.tables.report import Column, Problems, Progress, SourceError
from curation.words import counted

NAMES = ("metadata.csv", "metadata.jsonl", "metadata.parquet")
FILE_NAMES = ("file_name", "image_file_name", "image")
"""What names the image of a row, the first that a table has."""


def has_metadata(root: Path) -> bool:
    """Whether a folder or its folders hold a metadata file that names images; looks at all names."""
    return any(_named_by(path) for path in metadata_files(root)[:3])


def seems_to_have_metadata(root: Path) -> bool:
    """Whether a folder's folders do, by the first names in them."""
    found = (path for path in files_below(root, NAMES) if path.name.lower() in NAMES)
    return any(_named_by(path) for path in list(found)[:3] if path.parent != root)


def metadata_files(root: Path) -> list[Path]:
    """Every file below a folder that is called as metadata are."""
    return [path for path in files_below(root, NAMES, most=None) if path.name.lower() in NAMES]


def _named_by(path: Path) -> str | None:
    """The column of image names; None where it has none or cannot be read."""
    try:
        have = column_names(path)
    except SourceError:
        return None
    return next((name for name in FILE_NAMES if name in have), None)


def load_metadata(root: Path, problems: Problems, progress: Progress, label_column: str | None,
                  answers_column: str | None = None) -> Loaded:
    """Rows of every metadata file below `root`. Raises SourceError where none can be read."""
    home = root.resolve()
    parts, label, without = [], label_column, 0
    for path in metadata_files(root):
        name_column = _named_by(path)
        if name_column is None:
            without += 1
            continue
        frame = read_frame(path, problems, progress)
        usual = usual_columns(frame.columns.column_names, {"path": name_column})
        found = label_column or usual.get("given_label")
        if label_column and label_column not in frame.columns.column_names:
            raise SourceError(f"a column of labels must be in {path.name}; got {label_column!r}; it has "
                              f"{', '.join(frame.columns.column_names)}")
        label = label or found
        chosen = {name: column for name, column in usual.items() if name in ("path", "clean_label", "group")}
        chosen |= {"given_label": found} if found else {}
        is_said = answer_columns(frame.columns, chosen, answers=answers_column) is not None
        parts.append(_part(as_written(frame.columns), frame.rows, path, home, chosen, is_said))
    table = concatenated(parts)
    if "given_label" not in table.column_names:
        raise SourceError(f"an imagefolder needs labels; {root} has neither a column of labels nor folders of classes; "
                          "name the column of labels")
    file, numbers = table["\0file"].dictionary_encode(), np.asarray(table["\0row"])
    ours = {name: name for name in ("path", "given_label", "split", "sample_id", "clean_label", "group")
            if name in table.column_names}
    table, ours, several = with_answers(table.drop_columns(["\0file", "\0row"]), ours, answers=answers_column)
    rows, notes = listed_rows(table, ours, home, file, numbers)
    answers = gather(rows, several, None, problems)
    said = [f"label from {label!r}"] if label else [] if several else [
        "labels are the names of the folders that images lie in"]
    said += [f"answers from {', '.join(map(repr, several.answers))}"] if several else []
    notes = [f"{counted(len(parts), 'metadata file')}: {', '.join(said)}", *notes, *answers.notes]
    if without:
        notes.append(f"{counted(without, 'metadata file')} without a column {' or '.join(FILE_NAMES)} left out")
    return Loaded(rows=answers.rows, root=home, notes=notes, answers=answers.answers)


def _part(table: pa.Table, rows: np.ndarray, path: Path, home: Path, ours: dict[str, str], is_said: bool) -> pa.Table:
    """A file's rows with path, given_label, split and where they stand; the rest rides along. ours: our column -> the
    file's; is_said: whether people's answers, not folders, are the labels where no column is."""
    folder, num = path.resolve().parent.relative_to(home).as_posix(), table.num_rows
    names = text_of(table[ours["path"]])
    paths: Column = names if folder == "." else pa.compute.binary_join_element_wise(f"{folder}/", names, "")
    labels = text_of(table[ours["given_label"]]) if "given_label" in ours else pa.array(
        [None if name is None or is_said else _folder_label(posixpath.join(folder, name))
         for name in names.to_pylist()], pa.string())
    name = path.relative_to(home).as_posix() if path.is_relative_to(home) else path.name
    made = {"path": paths, "given_label": labels,
            "split": constant(split_of(folder) or "train", num).cast(pa.string()),
            "\0file": constant(name, num).cast(pa.string()), "\0row": pa.array(rows, pa.int64())}
    made |= {name: table[ours[name]] for name in ("clean_label", "group") if name in ours}
    rest = table.drop_columns(list(ours.values()))
    for one in rest.column_names:
        made[one if one not in made else f"source_{one}"] = rest[one]
    return pa.table(made)


def _folder_label(path: str) -> str | None:
    """The folder an image lies in, where it is no split's."""
    folder = posixpath.basename(posixpath.dirname(path))
    return None if not folder or folder == "." or folder.lower() in SPLIT_NAMES else folder
