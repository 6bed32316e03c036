"""Clothing1M's own files, ready to take the place of the originals: `key label` a line, one key a line.

A label is the 0-based position of its class in category_names_eng.txt. Copies no image and never touches a file of the
data: noisy_label_kv.txt and the lists stay as they are. curation.sources.clothing1m reads what is written here.
"""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from curation.audit.reviews.known_labels import decided_labels, training_rows, with_labels
from curation.exports.curated import curated_validation, describe, name_line, plain
from curation.exports.staging import ExportError, ExportResult, Progress, staged
from curation.project import Project
from curation.samples.csv_cells import write_csv
from engine.contract.manifest import MANIFEST_NAME, file_digest, read_manifest
from engine.contract.run_dir import RunDir

CATEGORIES = "category_names_eng.txt"
KEYS = {"key": "the keys of the lists that the data came from",
        "path": "the images' paths, for the data did not come in Clothing1M's layout",
        "sample_id": "our sample ids, for the data did not come in Clothing1M's layout and paths are absent or repeat"}
"""What a key may be, and how README.txt says it."""
LABEL_FILES = """
corrected_label_kv.txt: `key label` of every sample whose label a person confirmed or changed: what people know
all_label_kv.txt: `key label` of every training sample, the label in force, in place of noisy_label_kv.txt
corrected_train_key_list.txt: every training key that is not left out, in place of noisy_train_key_list.txt
corrected_clean_train_key_list.txt: the keys with a true label that are not left out, in place of
  clean_train_key_list.txt: a key that stands there alone is no training key (absent where the data had no such list)
excluded_key_list.txt: training keys that people left out
category_names_eng.txt: the classes; a label is a line of it, counted from 0
problems.csv: samples that these files cannot hold (absent where there are none)
"""
VALIDATION_FILES = """
curated_val_key_list.txt: one key a line
curated_val_label_kv.txt: `key label` of these keys, the label in force
category_names_eng.txt: the classes; a label is a line of it, counted from 0
problems.csv: samples that these files cannot hold (absent where there are none)
"""
_UNWRITABLE = r"[\x00-\x1f\x7f]|^\s|\s$|^$"


def export_label_files(project: Project, run: RunDir | None, target: Path, progress: Progress) -> ExportResult:
    """Write the files of LABEL_FILES and README.txt into `target`; needs no run.

    num_samples and class_counts are those of corrected_label_kv.txt. Raises ExportError where nobody confirmed, changed
    or left out a single sample.
    """
    rows = with_labels(training_rows(project), decided_labels(project))
    if not (rows["is_known"] | rows["is_excluded"]).any():
        raise ExportError("corrected labels are those that a person confirmed, changed or left out; there are none; "
                          "review some samples first")
    kind, rows, problems = _writable(project, rows.rename(columns={"corrected_label": "label"}))
    known, excluded = rows[rows["is_known"]], rows["is_excluded"]
    with staged(target) as folder:
        _write_labels(folder / "corrected_label_kv.txt", known)
        _write_labels(folder / "all_label_kv.txt", rows)
        _write_lines(folder / "corrected_train_key_list.txt", rows.loc[~excluded, "key"])
        _write_lines(folder / "excluded_key_list.txt", rows.loc[excluded, "key"])
        if len(clean_keys := _clean_train_keys(project)):
            _write_lines(folder / "corrected_clean_train_key_list.txt",
                         clean_keys[~clean_keys.isin(rows.loc[excluded, "sample_id"])])
        _write_common(folder, project, problems, "\n".join([
            f"Corrected labels of project {plain(project.name)} as Clothing1M's files: {len(known)} known labels, "
            f"{int(excluded.sum())} samples left out, of {len(rows)} in training.", LABEL_FILES,
            f"Keys are {KEYS[kind]}.", "",
            f"manifest: SHA-256 {file_digest(project.path / MANIFEST_NAME)}",
            f"decisions: SHA-256 {file_digest(project.decisions_path)}", ""]))
    progress(len(rows), len(rows))
    counts = known["label"].value_counts()
    return ExportResult(path=target, num_samples=len(known), problems=problems,
                        class_counts={name: int(counts.get(name, 0)) for name in project.classes})


def export_validation_list(project: Project, run: RunDir, target: Path, progress: Progress) -> ExportResult:
    """Write the curated hard validation set as a key list with its labels and README.txt into `target`.

    Raises ExportError, also where not a single key can be written.
    """
    curated = curated_validation(project, run)
    frame = curated.frame.reindex(columns=["sample_id", "path", "current_label"])
    kind, rows, problems = _writable(project, frame.rename(columns={"current_label": "label"}), training_rows(project))
    if rows.empty:
        raise ExportError(f"a key list needs a key that stands on a line; none of {len(frame)} does, first "
                          f"{problems['sample_id'].iloc[0]!r}: {problems['reason'].iloc[0]}; mend the import")
    counts = rows["label"].value_counts()
    class_counts = {name: int(counts.get(name, 0)) for name in project.classes}
    with staged(target) as folder:
        _write_lines(folder / "curated_val_key_list.txt", rows["key"])
        _write_labels(folder / "curated_val_label_kv.txt", rows)
        text = describe(project, curated, f"{VALIDATION_FILES.strip()}\n\nKeys are {KEYS[kind]}.", class_counts)
        _write_common(folder, project, problems, text)
    progress(len(rows), len(rows))
    return ExportResult(path=target, num_samples=len(rows), problems=problems, class_counts=class_counts)


def _clean_train_keys(project: Project) -> pd.Series:
    """The keys of clean_train_key_list.txt, as far as they were imported."""
    columns = ("key_list", "dual_labelled")
    if project.info.source != "clothing1m" or not set(columns) <= set(project.columns()):
        return pd.Series(dtype="str")
    rows = read_manifest(project.path, columns=columns)
    keys: pd.Series = rows.loc[rows["dual_labelled"].eq(True) | rows["key_list"].eq("clean_train"), "sample_id"]
    return keys


def _writable(project: Project, rows: pd.DataFrame,
              everything: pd.DataFrame | None = None) -> tuple[str, pd.DataFrame, pd.DataFrame]:
    """(which of KEYS, rows with key and code that a line can hold, problems of the others).

    rows: sample_id, path, label; everything: all training rows where `rows` is a part of them, so that every export of
    a project has the same kind of key.
    """
    paths = (rows if everything is None else everything)["path"]
    kind = "key" if project.info.source == "clothing1m" else \
        "path" if paths.notna().all() and paths.is_unique else "sample_id"
    keys = rows["path" if kind == "path" else "sample_id"].astype(object)  # a list of texts is written fastest
    codes = rows["label"].map({name: code for code, name in enumerate(project.classes)})
    is_bad_key = pc.match_substring_regex(pa.array(keys, pa.large_string()), _UNWRITABLE).to_numpy(zero_copy_only=False)
    is_bad = is_bad_key | codes.isna().to_numpy()
    reasons = np.where(is_bad_key, "a key must stand on one line without spaces at its ends",
                       "its label is no class of the project")
    problems = rows[["sample_id"]].assign(file=rows["path"].fillna(""), reason=reasons)[is_bad]
    kept = rows.assign(key=keys)[~is_bad]
    return kind, kept.assign(code=codes[~is_bad].astype(int)), problems.reset_index(drop=True)


def _write_labels(path: Path, rows: pd.DataFrame) -> None:
    """`key label` a line."""
    _write_lines(path, [f"{key} {code}" for key, code in zip(rows["key"], rows["code"], strict=True)])


def _write_lines(path: Path, lines: Iterable[str]) -> None:
    with open(path, "w", encoding="utf-8", newline="\n") as file:
        file.writelines(f"{line}\n" for line in lines)


def _write_common(folder: Path, project: Project, problems: pd.DataFrame, readme: str) -> None:
    """Class names, README.txt and, where there are some, problems.csv."""
    _write_lines(folder / CATEGORIES, [name_line(name) for name in project.classes])
    if len(problems):
        write_csv(problems, folder / "problems.csv")
    (folder / "README.txt").write_text(readme, encoding="utf-8")
