"""Rows on their way into a manifest: screened for what breaks the contract, counted by class, put in order.

Opens no image and knows no source format; each source hands over a Loaded.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from curation.project import Disagreement
from curation.sources.reading.paths import REMOTE
from curation.tables.lines import constant
from curation.tables.report import Column, Problems, Progress, joined, quoted
from engine.contract.manifest import SPLITS
from engine.contract.statistics.intervals import wilson_interval

SPLIT_NAMES = {
    "train": "train", "training": "train",
    "clean": "clean", "val": "clean", "valid": "clean", "validation": "clean", "dev": "clean",
    "test": "test", "testing": "test", "holdout": "test",
    "id_val": "clean", "ood_val": "clean", "id_test": "test", "ood_test": "test",  # of WILDS
}
"""What data sets call their splits, in lower case, and our name for each."""
SPLIT_NUMBERS = {"0": "train", "1": "clean", "2": "test"}
"""What WILDS, Waterbirds and CelebA call them."""

MANIFEST_COLUMNS = ("sample_id", "path", "given_label", "split", "clean_label", "group")
_LEAVES = r"^/|(^|/)\.\.(/|$)|^[A-Za-z]:[\\/]"


@dataclass(kw_only=True, slots=True)
class Loaded:
    """What a source hands over: rows not yet screened."""

    rows: pa.Table
    """MANIFEST_COLUMNS (strings), then extra columns, then file (dictionary) and row (int64, nullable), which say where
    the row was declared."""
    root: Path
    """The folder that every path lies in."""
    classes: tuple[str, ...] | None = None
    """Declared class names in index order; None to take them from the labels."""
    classes_file: str = ""
    """The file that the classes come from, for the report."""
    candidates: tuple[str, ...] = ()
    """Names to report where none of their samples loads, without keeping them as classes."""
    notes: list[str] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    """What the source's own files hold, by name."""
    unpack: Callable[[pa.Table, Problems, Progress], pa.Table] | None = None
    """Where the images lie inside the source's files: writes those of screened rows below root and gives the rows whose
    image could be written, with its path. A preview does not call it."""
    answers: pa.Table | None = None
    """Every answer where several people answered on a sample (curation.sources.reading.annotators.ANSWERS_SCHEMA)."""


def screen(loaded: Loaded, problems: Problems) -> pa.Table:
    """The rows that keep the contract; every other one gives a line in the report. Train rows come first."""
    return in_split_order(drop_repeats(fitting(loaded.rows, loaded.classes, problems), problems))


def fitting(rows: pa.Table, classes: tuple[str, ...] | None, problems: Problems) -> pa.Table:
    """The rows that each keep the contract by themselves, in their order; every other one gives a line in the report.
    classes: those declared, if any."""
    for name, kind, reason in (("path", "missing path", "a row must name an image"),
                               ("sample_id", "missing id", "a row must have a value in the id column"),
                               ("given_label", "missing label", "a sample must have a label")):
        if rows[name].null_count:
            rows = drop(rows, pc.is_null(rows[name]), problems, kind, reason)
    is_bad = pc.invert(pc.is_in(rows["split"], value_set=pa.array(SPLITS)))
    rows = drop(rows, is_bad, problems, "unknown split",
                lambda bad: joined(f"split must be one of {', '.join(SPLIT_NAMES)}, or each of 0, 1 and 2; got ",
                                   quoted(bad["split"])))
    rows = drop(rows, pc.match_substring_regex(rows["path"], REMOTE), problems, "remote image",
                lambda bad: joined("an image must be a file on this machine; got ", quoted(bad["path"]),
                                   "; download it, and name the file"))
    rows = drop(rows, pc.match_substring(rows["path"], "\0"), problems, "malformed path",
                lambda bad: joined("a path has no NUL character; got ", quoted(bad["path"])))
    rows = drop(rows, pc.match_substring_regex(rows["path"], _LEAVES), problems, "leaves root",
                lambda bad: joined("an image must lie inside the root; got ", quoted(bad["path"])))
    return rows if classes is None else _known_labels(rows, classes, problems)


def drop(rows: pa.Table, is_bad: Column, problems: Problems, kind: str,
         reason: str | Callable[[pa.Table], Column]) -> pa.Table:
    """`rows` without the bad ones, which are reported. reason: one text, or rows -> string array."""
    is_bad = pc.fill_null(is_bad, True)
    if not pc.any(is_bad).as_py():
        return rows
    bad = rows.filter(is_bad)
    problems.add_rows(kind, reason if isinstance(reason, str) else reason(bad), bad)
    return rows.filter(pc.invert(is_bad))


def drop_repeats(rows: pa.Table, problems: Problems) -> pa.Table:
    """The first row of each sample_id; every later one is reported with the place of the first."""
    first = first_places(rows["sample_id"])
    is_repeat = first != np.arange(rows.num_rows)
    if not is_repeat.any():
        return rows
    kept = rows.take(pa.array(first[is_repeat]))
    reason = joined("already in ", kept["file"], ", row ", pc.fill_null(kept["row"].cast(pa.string()), "none"),
                    "; the first one counts")
    return drop(rows, pa.array(is_repeat), problems, "duplicate key", lambda bad: reason)


def first_places(ids: Column) -> np.ndarray:
    """For each id the position of its first occurrence (int64); its own position where it is the first."""
    return np.asarray(pc.index_in(ids, value_set=ids)).astype(np.int64)


def in_split_order(rows: pa.Table) -> pa.Table:
    """Train rows first, then clean, then test, each in the order it came."""
    code = np.asarray(pc.index_in(rows["split"], value_set=pa.array(SPLITS)))
    return rows if (np.diff(code) >= 0).all() else rows.take(pa.array(np.argsort(code, kind="stable")))


def labels_seen(rows: pa.Table) -> tuple[str, ...]:
    """Every label in use, given or clean, in order: by value where all are whole numbers, else by code point."""
    seen = {label for name in ("given_label", "clean_label") for label in pc.unique(rows[name]).to_pylist()} - {None}
    return in_class_order(seen)


def in_class_order(labels: set[str]) -> tuple[str, ...]:
    """By value where all are whole numbers, else by code point."""
    if all(label.isascii() and label.isdigit() for label in labels):
        return tuple(sorted(labels, key=lambda label: (int(label), label)))
    return tuple(sorted(labels))


def class_table(rows: pa.Table, classes: tuple[str, ...]) -> pd.DataFrame:
    """One row a class, by given_label: class, train, clean, test, then for training rows of known truth dual, wrong.

    dual: training samples whose clean_label is known; wrong: those of them whose given_label differs from it.
    """
    names = pa.array(classes, pa.string())
    code = np.asarray(pc.index_in(rows["given_label"], value_set=names)).astype(np.int64)
    split = np.asarray(pc.index_in(rows["split"], value_set=pa.array(SPLITS))).astype(np.int64)
    table = pd.DataFrame({"class": list(classes)})
    for idx, name in enumerate(SPLITS):
        table[name] = np.bincount(code[split == idx], minlength=len(classes))
    is_dual = np.asarray(pc.is_valid(rows["clean_label"])) & (split == 0)
    is_wrong = np.asarray(pc.fill_null(pc.not_equal(rows["given_label"], rows["clean_label"]), False)) & is_dual
    table["dual"] = np.bincount(code[is_dual], minlength=len(classes))
    table["wrong"] = np.bincount(code[is_wrong], minlength=len(classes))
    return table


def disagreement(classes: pd.DataFrame) -> Disagreement | None:
    """How often given_label differs from the known truth in training; None where no truth is known. It speaks for the
    samples whose truth is known: for all of them only where those are a random draw."""
    num, wrong = int(classes["dual"].sum()), int(classes["wrong"].sum())
    if not num:
        return None
    low, high = wilson_interval(wrong / num, num)
    return Disagreement(num_dual=num, num_wrong=wrong, share=wrong / num, low=float(low), high=float(high))


def report_empty_classes(loaded: Loaded, table: pd.DataFrame, problems: Problems) -> None:
    """A line for each class without a training sample, and for each candidate that became no class."""
    for name in sorted(set(loaded.candidates) - set(table["class"])):
        problems.add("empty class", f"class {name!r} has no sample that loads and is left out", file=name)
    for idx, (name, num, total) in enumerate(zip(table["class"], table["train"],
                                                 table["train"] + table["clean"] + table["test"], strict=True)):
        if not num:
            where = "in no split" if not total else f"only {total} elsewhere"
            problems.add("empty class", f"class {name!r} has no training sample ({where})", action="kept",
                         file=loaded.classes_file or name,
                         row=idx + 1 if loaded.classes_file and loaded.classes is not None else None)


def plain_rows(columns: dict[str, Column], file: str | Column, rows: np.ndarray | None) -> pa.Table:
    """A rows table of a source: absent manifest columns are filled with nulls, split with train. file: of all rows, or
    of each."""
    num = len(columns["path"])
    filled = {name: columns.get(name, pa.nulls(num, pa.string())) for name in MANIFEST_COLUMNS}
    if "split" not in columns:
        filled["split"] = pa.array(["train"] * num, pa.string())
    extra = {name: column for name, column in columns.items() if name not in filled}
    numbers = pa.nulls(num, pa.int64()) if rows is None else pa.array(rows, pa.int64())
    return pa.table({**filled, **extra, "file": constant(file, num) if isinstance(file, str) else file,
                     "row": numbers})


def _known_labels(rows: pa.Table, classes: tuple[str, ...], problems: Problems) -> pa.Table:
    """Rows whose given_label is a class; a clean_label that is none is reported and becomes null."""
    names = pa.array(classes, pa.string())
    shown = f"a label must be one of the {len(classes)} classes; got "
    rows = drop(rows, pc.invert(pc.is_in(rows["given_label"], value_set=names)), problems, "unknown label",
                lambda bad: joined(shown, quoted(bad["given_label"])))
    is_bad = pc.and_(pc.is_valid(rows["clean_label"]), pc.invert(pc.is_in(rows["clean_label"], value_set=names)))
    if pc.any(is_bad).as_py():
        bad = rows.filter(is_bad)
        problems.add_rows("unknown label", joined("clean label: " + shown, quoted(bad["clean_label"])), bad,
                          action="kept")
        cleaned = pc.if_else(is_bad, pa.scalar(None, pa.string()), rows["clean_label"])
        rows = rows.set_column(rows.schema.get_field_index("clean_label"), "clean_label", cleaned)
    return rows
