"""Corrected labels as a new column beside the given ones, with the manifest they correct beside them, untouched."""

import shutil
from pathlib import Path

from curation.audit.reviews.known_labels import decided_labels, training_rows, with_labels
from curation.exports.curated import plain
from curation.exports.staging import ExportError, ExportResult, Progress, staged
from curation.project import Project
from curation.samples.csv_cells import write_csv
from engine.contract.manifest import MANIFEST_NAME, file_digest
from engine.contract.run_dir import RunDir

COLUMNS = ("sample_id", "given_label", "corrected_label", "who", "at", "why")
TABLE_COLUMNS = ("sample_id", "path", "given_label", "corrected_label", "is_changed", "is_excluded", "verdict",
                 "num_reviewers", "who", "at", "why")
ORIGINAL = "original_manifest.parquet"
README = """
corrected_labels.csv: the changed labels alone: sample_id, label in the data, label given by a person, who, when, why
corrected_labels.parquet: every training sample ({num_rows}): given_label as it came, corrected_label the one in force,
  is_changed, is_excluded, the last verdict on it and by how many people, and who decided, when and why
{original}: the manifest as imported, untouched (SHA-256 {digest})

In CSV files a text that a spreadsheet would run as a formula has a leading apostrophe.
"""


def export_corrections(project: Project, run: RunDir | None, target: Path, progress: Progress) -> ExportResult:
    """Write corrected_labels.csv and .parquet, the manifest as imported and README.txt into `target`.

    In the CSV one row a training sample whose label in force differs from the given one, with who, when and why of that
    very relabel; in the Parquet file every training sample. Needs no run. Raises ExportError where no label was
    corrected.
    """
    rows = with_labels(training_rows(project), decided_labels(project))
    changed = rows.loc[rows["is_changed"], list(COLUMNS)]
    if changed.empty:
        raise ExportError("corrected labels are those changed to another class; there are none; relabel some first")
    with staged(target) as folder:
        write_csv(changed, folder / "corrected_labels.csv")
        rows[list(TABLE_COLUMNS)].to_parquet(folder / "corrected_labels.parquet", index=False)
        shutil.copyfile(project.path / MANIFEST_NAME, folder / ORIGINAL)
        text = README.format(num_rows=len(rows), original=ORIGINAL, digest=file_digest(folder / ORIGINAL))
        (folder / "README.txt").write_text(
            f"Corrected labels of project {plain(project.name)}: {len(changed)} samples.\n{text}", encoding="utf-8")
    progress(len(rows), len(rows))
    counts = changed["corrected_label"].value_counts()
    return ExportResult(path=target, num_samples=len(changed),
                        class_counts={name: int(counts.get(name, 0)) for name in project.classes})
