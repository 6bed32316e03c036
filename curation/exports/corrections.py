"""Corrected labels as CSV, with the manifest they correct beside them, untouched."""

import shutil
from pathlib import Path

from curation.exports.cells import write_csv
from curation.exports.curated import plain
from curation.exports.staging import ExportError, ExportResult, Progress, staged
from curation.project import Project
from engine.manifest import MANIFEST_NAME, file_digest, read_manifest
from engine.rundir import RunDir

COLUMNS = ("sample_id", "given_label", "corrected_label", "who", "at", "why")
ORIGINAL = "original_manifest.parquet"


def export_corrections(project: Project, run: RunDir | None, target: Path, progress: Progress) -> ExportResult:
    """Write corrected_labels.csv, the manifest as imported and README.txt into `target`.

    One row a training sample whose label in force differs from the given one, with who, when and why of that very
    relabel. Needs no run. Raises ExportError where no label was corrected.
    """
    labels = project.ledger().corrections()
    rows = read_manifest(project.path, columns=())
    rows = rows[rows["split"] == "train"].merge(labels, on="sample_id", how="inner", validate="one_to_one")
    rows = rows.rename(columns={"label": "corrected_label"})
    rows = rows.loc[rows["given_label"].ne(rows["corrected_label"]), list(COLUMNS)]
    if rows.empty:
        raise ExportError("corrected labels are those relabelled to another class; there are none; relabel some first")
    with staged(target) as folder:
        write_csv(rows, folder / "corrected_labels.csv")
        shutil.copyfile(project.path / MANIFEST_NAME, folder / ORIGINAL)
        (folder / "README.txt").write_text("\n".join([
            f"Corrected labels of project {plain(project.name)}: {len(rows)} samples.", "",
            "corrected_labels.csv: sample_id, label in the data, label given by a person, who, when, why",
            f"{ORIGINAL}: the manifest as imported, untouched (SHA-256 {file_digest(folder / ORIGINAL)})", "",
            "In CSV files a text that a spreadsheet would run as a formula has a leading apostrophe.", ""]),
            encoding="utf-8")
    progress(len(rows), len(rows))
    counts = rows["corrected_label"].value_counts()
    return ExportResult(path=target, num_samples=len(rows),
                        class_counts={name: int(counts.get(name, 0)) for name in project.classes})
