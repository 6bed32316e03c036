"""Roboflow's multi-label CSV: SPLIT/_classes.csv beside the images, a column of zeros and ones for each class.

The header has spaces after its commas. Class order is that of the columns. Rows of several classes are reported.
"""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curation.sources.formats.one_hot import labels_of
from curation.sources.formats.places import data_root, files_below, images_below, name_below, ours_of, split_of
from curation.sources.reading.classes import text_of
from curation.sources.reading.rows import Loaded
from curation.sources.reading.source import Source
from curation.sources.reading.table import listed_rows
from curation.tables.frames import read_frame
from curation.tables.report import Problems, Progress, SourceError

_NAME = "_classes.csv"


def load(root: Path, project: Path, problems: Problems, progress: Progress) -> Loaded:
    """Rows of every _classes.csv. Raises SourceError where there is none, or their classes differ."""
    files = ours_of(root, (_NAME,), lambda path: path.name.lower() == _NAME, f"Roboflow's labels are in {_NAME}")
    home, parts, notes, classes = data_root(root), [], list[str](), None
    for path in files:
        frame, file = read_frame(path, problems, progress), name_below(path, home)
        first, *rest = frame.columns.column_names
        names = tuple(name.strip() for name in rest)
        if len(set(names)) < 2:
            raise SourceError(f"Roboflow's {_NAME} has a column for each of two classes at least; {file} has "
                              f"{', '.join(names) or 'none'}; check the file")
        if classes is not None and set(names) != set(classes):
            raise SourceError(f"splits of one data set must share their classes; {file} and "
                              f"{name_below(files[0], home)} differ; import them apart")
        classes = classes or names
        images = text_of(frame.columns[first])
        labels, is_kept = labels_of(frame.columns, rest, file, frame.rows, images, problems)
        prefix = images_below(home, path, [name for name in images.slice(0, 2_000).to_pylist() if name]) \
            or file.removesuffix(path.name)
        kept = pa.array(is_kept)
        table = pa.table({"path": pc.binary_join_element_wise(prefix, images, "").filter(kept),
                          "given_label": labels.filter(kept),
                          "split": pa.array([split_of(file) or "train"] * int(is_kept.sum()), pa.string())})
        rows, found = listed_rows(table, {name: name for name in table.column_names}, home, file,
                                  np.asarray(frame.rows)[is_kept])
        parts.append(rows)
        notes += [one for one in (*frame.notes, *found) if one not in notes]
    return Loaded(rows=pa.concat_tables(parts, promote_options="permissive"), root=home, classes=classes,
                  classes_file=name_below(files[0], home), notes=notes)


def is_here(place: Path) -> bool:
    """Whether a folder holds such a file, or is one."""
    return any(path.name.lower() == _NAME for path in files_below(place, (_NAME,)))


SOURCE = Source(
    title="Roboflow (one column a class)", load=load, is_root_file=True, recognises=is_here,
    help="Roboflow's _classes.csv beside the images of each split: images of one class; those of several are reported.",
    root_help="Folder of the data set, or one _classes.csv.")
