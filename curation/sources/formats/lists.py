"""Lists of images and labels in text files: WebVision, Food-101N, and lists such as ImageNet's train.txt.

    info/train_filelist_google.txt, ..._flickr.txt, val_filelist.txt, synsets.txt   WebVision: `path index` a line
    meta/imagelist.tsv, verified_train.tsv, verified_val.tsv                        Food-101N: `class/key` a line
    train.txt, val.txt, test.txt, synsets.txt                                       `path label` a line

A label that is the number of a line of synsets.txt, classes.txt or labels.txt, counted from 0, is that line; it is the
class's name as it stands there. Food-101N's verification (1: the label is right) becomes clean_label where it is 1.
"""

import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curation.sources.formats.gathered import distinct
from curation.sources.formats.places import data_root, files_below, head, images_below, name_below, split_of
from curation.sources.reading.images import IMAGE_SUFFIXES
from curation.sources.reading.rows import Loaded
from curation.sources.reading.source import Source
from curation.sources.reading.table import listed_rows
from curation.tables.lines import constant, read_lines
from curation.tables.report import Column, Problems, Progress, SourceError, joined, quoted
from curation.words import counted

NAMES = ("synsets.txt", "classes.txt", "labels.txt", "class_names.txt")
_FOOD = "imagelist.tsv"
_VERIFIED = ("verified_train.tsv", "verified_val.tsv")
_LINE = r"^(?P<path>.*\S)[ \t]+(?P<label>\S+)$"
_SUFFIXES = ("", ".jpg", ".jpeg", ".JPEG", ".png")


def load(root: Path, project: Path, problems: Problems, progress: Progress) -> Loaded:
    """Rows of every list. Raises SourceError where there is none."""
    food = [path for path in files_below(root, (_FOOD,)) if path.name == _FOOD]
    if food:
        return _food(food[0], problems, progress)
    files = [root] if root.is_file() else _lists(root)
    if not files:
        raise SourceError(f"a list of images has a path and a label a line, in a file called after its split, such as "
                          f"train.txt; {root} has none; check the folder")
    home, parts = data_root(files[0]), []
    classes, names_file = _classes(files[0], problems, progress)
    for path in files:
        file = name_below(path, home)
        lines = read_lines(path, file, problems, progress)
        found = pc.extract_regex(lines["text"], _LINE)
        is_bad = pc.is_null(found)
        if pc.any(is_bad).as_py():
            bad = lines.filter(is_bad).append_column("sample_id", pa.nulls(pc.sum(is_bad).as_py(), pa.string()))
            problems.add_rows("malformed line", joined("a line must read `path label`; got ", quoted(bad["text"])), bad)
            lines, found = lines.filter(pc.invert(is_bad)), found.filter(pc.invert(is_bad))
        found = found.combine_chunks()
        paths = pc.struct_field(found, "path")
        prefix = images_below(home, path, paths.slice(0, 2_000).to_pylist(), _SUFFIXES)
        num = len(paths)
        parts.append(pa.table({
            "path": pc.binary_join_element_wise(prefix, paths, ""), "given_label": pc.struct_field(found, "label"),
            "split": constant(split_of(path.stem) or "train", num).cast(pa.string()),
            "\0file": constant(file, num).cast(pa.string()), "\0row": lines["row"]}))
    table = pa.concat_tables(parts)
    ours = {name: name for name in ("path", "given_label", "split")}
    rows, notes = listed_rows(table.select(list(ours)), ours, home, table["\0file"].dictionary_encode(),
                              np.asarray(table["\0row"]), classes=classes)
    said = f"classes: {counted(len(classes), 'name')} of {names_file}, in its order" if classes else \
        "no file of class names: classes are taken from the labels"
    return Loaded(rows=rows, root=home, classes=classes, classes_file=names_file,
                  notes=[f"lists: {', '.join(name_below(path, home) for path in files)}", said, *notes])


def _lists(root: Path) -> list[Path]:
    return [path for path in files_below(root, (".txt",), depth=1) if path.name not in NAMES and _is_list(path)]


def _is_list(path: Path) -> bool:
    """Whether a file is called after a split and begins with paths and labels, by most of its first lines."""
    lines = [line for line in head(path, 4_096).splitlines()[:5] if line.strip()]
    found = [re.match(_LINE, line.strip()) for line in lines]
    num = sum(one is not None and (Path(one["path"]).suffix.lower() in IMAGE_SUFFIXES or one["label"].isdigit())
              for one in found)
    return split_of(path.stem) is not None and 2 * num > len(lines)


def _classes(path: Path, problems: Problems, progress: Progress) -> tuple[tuple[str, ...] | None, str]:
    """(names of the file of classes beside a list, or None; what that file is called)."""
    for name in NAMES:
        if (path.parent / name).is_file():
            lines = read_lines(path.parent / name, name, problems, progress)
            return distinct(lines["text"].to_pylist()), name
    return None, ""


def _food(path: Path, problems: Problems, progress: Progress) -> Loaded:
    """Food-101N: classes are folders; a verification says whether the label is right."""
    home = data_root(path)
    file = name_below(path, home)
    lines = read_lines(path, file, problems, progress)
    lines = lines.filter(pc.and_(pc.match_substring(lines["text"], "/"), pc.not_equal(lines["text"], "class_name/key")))
    keys: Column = lines["text"]
    verified = _verified(path.parent, problems, progress)
    known = pc.index_in(keys, value_set=verified["key"])
    is_right = pc.equal(verified["said"].combine_chunks().take(known.combine_chunks()), "1")
    labels = pc.replace_substring_regex(keys, "/.*$", "")
    prefix = images_below(home, path, keys.slice(0, 2_000).to_pylist(), _SUFFIXES)
    table = pa.table({"path": pc.binary_join_element_wise(prefix, keys, ""), "given_label": labels, "sample_id": keys,
                      "clean_label": pc.if_else(pc.fill_null(is_right, False), labels.combine_chunks(),
                                                pa.scalar(None, pa.string())),
                      "is_verified_right": is_right})
    ours = {name: name for name in ("path", "given_label", "sample_id", "clean_label")}
    rows, notes = listed_rows(table, ours, home, file, np.asarray(lines["row"]))
    num = len(is_right) - is_right.null_count
    notes = [f"Food-101N: {num:,} labels are verified, {pc.sum(is_right).as_py() or 0:,} of them right", *notes]
    return Loaded(rows=rows, root=home, notes=notes)


def _verified(folder: Path, problems: Problems, progress: Progress) -> pa.Table:
    """Columns key and said ("1" right, "0" wrong), each key once."""
    parts = []
    for name in _VERIFIED:
        if (folder / name).is_file():
            found = pc.extract_regex(read_lines(folder / name, name, problems, progress)["text"],
                                     r"^(?P<key>\S.*\S)\t(?P<said>[01])$").drop_null().combine_chunks()
            parts.append(pa.table({"key": pc.struct_field(found, "key"), "said": pc.struct_field(found, "said")}))
    empty = pa.table({"key": pa.array([], pa.string()), "said": pa.array([], pa.string())})
    return pa.concat_tables([empty, *parts])


def is_here(place: Path) -> bool:
    """Whether a folder has lists; a text file alone says too little."""
    if not place.is_dir():
        return False
    return any(path.name == _FOOD for path in files_below(place, (_FOOD,))) or bool(_lists(place))


SOURCE = Source(
    title="Lists (WebVision, Food-101N, train.txt)", load=load, is_root_file=True, recognises=is_here,
    help="Text files of a path and a label a line, one for each split; WebVision's and Food-101N's own.",
    root_help="Folder of the data set, or one list.")
