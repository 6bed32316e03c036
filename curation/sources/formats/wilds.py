"""Metadata of WILDS and of data sets in its way: metadata.csv with y, a split by number, and a domain, which is group.

Numbers of splits: 0 train, 1 val (here clean), 2 test, or the column split_name; other names of WILDS: id_val is clean,
id_test is test. Camelyon17's paths are made as WILDS makes them, its val and test are centers 1 and 2.
"""

from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from curation.sources.formats.places import data_root, files_below, images_below, name_below
from curation.sources.reading.annotators import gather
from curation.sources.reading.answer_columns import with_answers
from curation.sources.reading.classes import text_of
from curation.sources.reading.columns import USUAL_NAMES
from curation.sources.reading.rows import SPLIT_NAMES, SPLIT_NUMBERS, Loaded
from curation.sources.reading.source import Option, Source
from curation.sources.reading.table import listed_rows
from curation.tables.frames import column_names, read_frame
from curation.tables.report import Column, Problems, Progress, SourceError

DOMAINS = ("group", "domain", "place", "center", "hospital", "location_remapped", "location", "region", "site",
           "batch", "experiment", "confounder")
LABELS = ("y", "tumor", *USUAL_NAMES["given_label"])
_CAMELYON = {"patient", "node", "x_coord", "y_coord", "tumor", "center"}


def load(root: Path, project: Path, problems: Problems, progress: Progress, *,
         group_column: str | None = None) -> Loaded:
    """Rows of metadata.csv. Raises SourceError where there is none, or it has no label, path or split."""
    path = _table_of(root)
    if path is None:
        raise SourceError(f"WILDS has metadata.csv with y and split; {root} has none; choose another format")
    home, frame = data_root(path), read_frame(path, problems, progress)
    table, file = frame.columns, name_below(path, home)
    have = table.column_names
    group = group_column or next((name for name in DOMAINS if name in have), None)
    if group is not None and group not in have:
        raise SourceError(f"a column of groups must be in {file}; got {group!r}; it has {', '.join(have)}; choose one")
    label = next((name for name in LABELS if name in have), None)
    if label is None:
        raise SourceError(f"WILDS has a column of labels called y; {file} has {', '.join(have)}; choose the table "
                          "format")
    is_camelyon = set(have) >= _CAMELYON
    image = None if is_camelyon else next((name for name in USUAL_NAMES["path"] if name in have), None)
    if image is None and not is_camelyon:
        raise SourceError(f"WILDS has a column of image paths such as filename; {file} has {', '.join(have)}; choose "
                          "the table format")
    names = _camelyon_paths(table) if image is None else text_of(table[image])
    splits, said = _splits(table)
    if is_camelyon:
        center = text_of(table["center"])
        splits = pc.if_else(pc.equal(center, "1"), "clean", pc.if_else(pc.equal(center, "2"), "test", splits))
    prefix = images_below(home, path, [name for name in names.slice(0, 2_000).to_pylist() if name])
    made = {"path": pc.binary_join_element_wise(prefix, names, ""), "given_label": table[label], "split": splits}
    used = {label, *([image] if image else []), *([] if said else ["split"])}
    if group is not None:
        made["group"] = table[group]
        used.add(group)
    ours = {name: name for name in made}
    for name in have:
        if name not in used and name not in made:
            made[name] = table[name]
    joined, ours, several = with_answers(pa.table(made), ours)
    rows, found = listed_rows(joined, ours, home, file, frame.rows)
    answers = gather(rows, several, None, problems)
    notes = [f"{file}: label from {label!r}, " + (f"group from {group!r}" if group else "no group")]
    notes.append(said or "split by number: 0 train, 1 clean, 2 test" + (", and by center" if is_camelyon else ""))
    return Loaded(rows=answers.rows, root=home, answers=answers.answers,
                  notes=[*notes, *frame.notes, *found, *answers.notes])


def _splits(table: pa.Table) -> tuple[Column, str]:
    """(each row's split, unknown ones as they stand; where it is from, "" where it is from numbers)."""
    name = "split_name" if "split_name" in table.column_names else "split"
    text = text_of(table[name])
    values = text.combine_chunks() if isinstance(text, pa.ChunkedArray) else text
    lower = pc.utf8_lower(values)
    codes = {**SPLIT_NAMES, **SPLIT_NUMBERS}
    place = pc.index_in(lower, value_set=pa.array(list(codes)))
    found = pc.coalesce(pa.array(list(codes.values())).take(place), values)
    is_numbers = pc.all(pc.is_in(lower, value_set=pa.array(list(SPLIT_NUMBERS)))).as_py()
    return found, "" if is_numbers else f"split from {name!r}"


def _camelyon_paths(table: pa.Table) -> Column:
    patient, node, x, y = (text_of(table[name]) for name in ("patient", "node", "x_coord", "y_coord"))
    patient = pc.utf8_lpad(patient, 3, "0")
    who = pc.binary_join_element_wise("patient_", patient, "_node_", node, "")
    return pc.binary_join_element_wise("patches/", who, "/patch_", who, "_x_", x, "_y_", y, ".png", "")


def _table_of(root: Path) -> Path | None:
    files = [root] if root.is_file() else files_below(root, ("metadata.csv",), depth=1)
    return next((path for path in files if _is_fit(path)), None)


def _is_fit(path: Path) -> bool:
    try:
        have = set(column_names(path))
    except SourceError:
        return False
    return "split" in have and bool(have & {"y", "tumor"})


def is_here(place: Path) -> bool:
    """Whether a folder has metadata.csv with y and split, or a file is one."""
    return (place.is_dir() or place.suffix.lower() == ".csv") and _table_of(place) is not None


SOURCE = Source(
    title="WILDS metadata", load=load, is_root_file=True, recognises=is_here,
    help="metadata.csv with y, split by number and a domain, as WILDS and Waterbirds have it; the domain is the group.",
    root_help="Folder with metadata.csv and the images, or the table itself.",
    options=(Option(name="group_column", help="Column of the domain. Default: domain, place, center or another usual "
                                              "name."),))
