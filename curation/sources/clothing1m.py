"""Clothing1M's layout: key lists and label files of text beside a tree of images.

    category_names_eng.txt                       one class a line, in index order
    noisy_train_key_list.txt                     one key a line: split train
    noisy_label_kv.txt, clean_label_kv.txt       `key label` a line, split at the last space (keys may hold commas)
    clean_train_key_list.txt                     truth for training: joined onto the train row of the same key, which
                                                 then is dual-labelled; keys that noisy_train lacks go to split clean
    clean_val_key_list.txt, clean_test_key_list.txt   splits clean and test

The text files lie in ROOT or ROOT/annotations, images under ROOT as the keys say, or without the keys' images/. The
sample_id is the key. Reads these files and no others; everything is a column join in arrow, no row becomes a Python
object, so a million keys take seconds. Opens no image.

A key in two lists is leakage: the row of the list named first in ROW_LISTS is kept, so the test split stays whole.
"""

import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curation.sources.reading.classes import refuse_from_one
from curation.sources.reading.rows import Loaded, drop_repeats
from curation.tables.lines import located, read_lines
from curation.tables.report import Column, Problems, Progress, SourceError, joined, quoted

CATEGORIES = "category_names_eng.txt"
NOISY_LABELS, CLEAN_LABELS = "noisy_label_kv.txt", "clean_label_kv.txt"
NOISY_TRAIN, CLEAN_TRAIN = "noisy_train_key_list.txt", "clean_train_key_list.txt"
CLEAN_VAL, CLEAN_TEST = "clean_val_key_list.txt", "clean_test_key_list.txt"
ROW_LISTS = {CLEAN_TEST: "test", CLEAN_VAL: "clean", NOISY_TRAIN: "train", CLEAN_TRAIN: "clean"}
REQUIRED = (CATEGORIES, NOISY_TRAIN, NOISY_LABELS)

_PREFIX = "images/"
_NUM_PROBES = 60


def load(root: Path, project: Path, problems: Problems, progress: Progress) -> Loaded:
    """Rows of the four lists. Raises SourceError where a REQUIRED file is absent or the class names are unusable."""
    folder = root / "annotations" if (root / "annotations" / NOISY_TRAIN).is_file() else root
    missing = [name for name in REQUIRED if not (folder / name).is_file()]
    if missing:
        raise SourceError(f"a Clothing1M layout needs {', '.join(REQUIRED)} in {root} or its annotations folder; "
                          f"{', '.join(missing)} not found; check the folder")
    reader = _Reader(folder, problems, progress)
    classes = _class_names(reader)
    noisy, clean = reader.labels(NOISY_LABELS, classes), reader.labels(CLEAN_LABELS, classes)
    keys = {name: reader.keys(name) for name in ROW_LISTS}
    counts = {f"{name.removesuffix('_key_list.txt')} keys": table.num_rows for name, table in keys.items()}
    progress(0, 1, "joining labels")
    is_joined = pc.is_in(keys[CLEAN_TRAIN]["sample_id"], value_set=keys[NOISY_TRAIN]["sample_id"])
    joined_keys = keys[CLEAN_TRAIN].filter(is_joined)
    counts["clean_train keys that are noisy_train keys too"] = joined_keys.num_rows
    keys[CLEAN_TRAIN] = keys[CLEAN_TRAIN].filter(pc.invert(is_joined))
    rows = drop_repeats(pa.concat_tables(keys.values()), problems)
    _report_lacking(joined_keys, CLEAN_LABELS, clean, problems, action="kept")
    rows = _with_labels(rows, noisy, clean, problems)
    progress(1, 1, "joining labels")
    if _is_prefix_stripped(root, rows["sample_id"]):
        reader.notes.append(f"the images lie in {root} without the keys' {_PREFIX}")
        rows = rows.append_column("path", pc.replace_substring_regex(rows["sample_id"], f"^{_PREFIX}", ""))
    else:
        rows = rows.append_column("path", rows["sample_id"])
    return Loaded(rows=rows, root=root, classes=classes, classes_file=CATEGORIES, notes=reader.notes, counts=counts)


class _Reader:
    """Reads the layout's text files into columns; notes those that are absent."""

    def __init__(self, folder: Path, problems: Problems, progress: Progress) -> None:
        self.folder, self.problems, self.progress = folder, problems, progress
        self.notes: list[str] = []

    def lines(self, name: str) -> pa.Table:
        if (self.folder / name).is_file():
            return read_lines(self.folder / name, name, self.problems, self.progress)
        self.notes.append(f"{name} is absent: nothing read from it")
        return located(pa.array([], pa.string()), name, np.empty(0, np.int64))

    def keys(self, name: str) -> pa.Table:
        """Columns sample_id, file, row, split of one list, each key once."""
        lines = self.lines(name).rename_columns(["sample_id", "file", "row"])
        lines = lines.append_column("split", pa.array([ROW_LISTS[name]] * lines.num_rows, pa.string()))
        return drop_repeats(lines, self.problems)

    def labels(self, name: str, classes: tuple[str, ...]) -> pa.Table:
        """Columns sample_id, label (class name, null where it is none), raw, file, row of one `key label` file."""
        lines = self.lines(name)
        parts = pc.extract_regex(lines["text"], r"^(?P<key>.*\S)[ \t]+(?P<label>\S+)$")
        is_bad = pc.is_null(parts)
        if pc.any(is_bad).as_py():
            bad = lines.filter(is_bad).append_column("sample_id", pa.nulls(pc.sum(is_bad).as_py(), pa.string()))
            reason = joined("a line must read `key label`; got ", quoted(bad["text"]))
            self.problems.add_rows("malformed line", reason, bad)
            lines, parts = lines.filter(pc.invert(is_bad)), parts.filter(pc.invert(is_bad))
        parts = parts.combine_chunks()
        raw = pc.struct_field(parts, "label").dictionary_encode()
        refuse_from_one(raw.dictionary, classes)
        names = pa.array([_class_of(text, classes) for text in raw.dictionary.to_pylist()], pa.string())
        table = pa.table({"sample_id": pc.struct_field(parts, "key"), "label": names.take(raw.indices), "raw": raw,
                          "file": lines["file"], "row": lines["row"]})
        return drop_repeats(table, self.problems)


def _class_of(text: str, classes: tuple[str, ...]) -> str | None:
    """The class that a label of the files means: its 0-based index in decimal digits; None where it is none."""
    is_index = text.isascii() and text.isdigit() and len(text) < 10 and int(text) < len(classes)
    return classes[int(text)] if is_index else None


def _class_names(reader: _Reader) -> tuple[str, ...]:
    """Class names by index; a line that gives none keeps its place, so that labels keep their meaning."""
    lines = reader.lines(CATEGORIES)
    by_row = dict(zip(lines["row"].to_pylist(), lines["text"].to_pylist(), strict=True))
    names = []
    for row in range(1, max(by_row, default=0) + 1):
        if row not in by_row:
            reader.problems.add("malformed line", f"a class must have a name; it is called 'class {row - 1}' here",
                                file=CATEGORIES, row=row, action="kept")
        names.append(by_row.get(row, f"class {row - 1}"))
    if len(names) < 2:
        raise SourceError(f"{CATEGORIES} must name at least two classes; got {len(names)}; check the file")
    repeated = next((name for name in names if names.count(name) > 1), None)
    if repeated is not None:
        raise SourceError(f"class names must differ; {repeated!r} repeats in {CATEGORIES}; rename one")
    return tuple(names)


def _with_labels(rows: pa.Table, noisy: pa.Table, clean: pa.Table, problems: Problems) -> pa.Table:
    """Rows with given_label (noisy in train, else clean), clean_label, noisy_label, dual_labelled, key_list, group.

    Rows without a usable given label are reported and left out.
    """
    is_train = pc.equal(rows["split"], "train")
    lost = [_report_lacking(rows.filter(mask), name, labels, problems, action="skipped") for mask, name, labels in
            ((is_train, NOISY_LABELS, noisy), (pc.invert(is_train), CLEAN_LABELS, clean))]
    for ids in lost:
        if ids is not None:
            rows = rows.filter(pc.invert(pc.is_in(rows["sample_id"], value_set=ids)))
    is_train = pc.equal(rows["split"], "train")
    ids = rows["sample_id"]
    noisy_label = noisy["label"].take(pc.index_in(ids, value_set=noisy["sample_id"]))
    clean_place = pc.index_in(ids, value_set=clean["sample_id"])
    clean_label = clean["label"].take(clean_place)
    is_unknown = pc.and_(pc.and_(is_train, pc.is_valid(clean_place)), pc.is_null(clean_label))
    _report_unknown(clean.take(clean_place.filter(is_unknown)), problems, action="kept")
    columns = {"given_label": pc.if_else(is_train, noisy_label, clean_label), "clean_label": clean_label,
               "group": pa.nulls(len(ids), pa.string()), "noisy_label": noisy_label,
               "dual_labelled": pc.and_(is_train, pc.is_valid(clean_label)),
               "key_list": pc.replace_substring(rows["file"].cast(pa.string()), "_key_list.txt", "")}
    for name, column in columns.items():
        rows = rows.append_column(name, column)
    return rows


def _report_lacking(rows: pa.Table, name: str, labels: pa.Table, problems: Problems, *, action: str) -> Column | None:
    """Report rows without an entry in the label file `name`, or with one that is no class; their ids, None if none."""
    place = pc.index_in(rows["sample_id"], value_set=labels["sample_id"])
    is_absent = pc.is_null(place)
    problems.add_rows("missing label", f"no label in {name}", rows.filter(is_absent), action=action)
    if action == "kept":
        return None
    is_unknown = pc.and_(pc.is_valid(place), pc.is_null(labels["label"].take(place)))
    _report_unknown(labels.take(place.filter(is_unknown)), problems, action=action)
    is_lost = pc.or_(is_absent, is_unknown)
    return pc.filter(rows["sample_id"], is_lost) if pc.any(is_lost).as_py() else None


def _report_unknown(entries: pa.Table, problems: Problems, *, action: str) -> None:
    """Report label file entries (their own file and row) whose label is no class index."""
    if entries.num_rows:
        reason = joined(f"a label must be the number of a line of {CATEGORIES}, counted from 0; got ",
                        quoted(entries["raw"].cast(pa.string())))
        problems.add_rows("unknown label", reason, entries, action=action)


def _is_prefix_stripped(root: Path, keys: Column) -> bool:
    """True if images lie under root without the keys' images/ prefix: stats a few keys, spread over all."""
    spread = np.linspace(0, len(keys) - 1, min(_NUM_PROBES, len(keys))).astype(int)
    probes = [keys[int(idx)].as_py() for idx in spread]
    as_listed = sum(os.path.exists(root / key) for key in probes)
    without = sum(os.path.exists(root / key.removeprefix(_PREFIX)) for key in probes if key.startswith(_PREFIX))
    return without > as_listed
