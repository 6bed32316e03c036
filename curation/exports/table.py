"""The curated hard validation set as a table: Parquet and CSV with every signal, decision and provenance column."""

from pathlib import Path

from curation.exports.curated import curated_validation, describe
from curation.exports.staging import ExportResult, Progress, staged
from curation.project import Project
from curation.samples.csv_cells import write_csv
from curation.transfer.beside import write_beside
from engine.contract.run_dir import RunDir

FILES = """
hard_validation.parquet: one row a sample, values as they are
hard_validation.csv: the same rows for spreadsheets
"""


def export_table(project: Project, run: RunDir, target: Path, progress: Progress) -> ExportResult:
    """Write hard_validation.parquet, hard_validation.csv and README.txt into `target`. Raises ExportError."""
    curated = curated_validation(project, run)
    with staged(target) as folder:
        curated.frame.to_parquet(folder / "hard_validation.parquet", index=False)
        write_csv(curated.frame, folder / "hard_validation.csv")
        files = FILES + write_beside(curated.transfer, folder)
        text = describe(project, curated, files, curated.class_counts)
        (folder / "README.txt").write_text(text, encoding="utf-8")
    progress(len(curated.frame), len(curated.frame))
    return ExportResult(path=target, num_samples=len(curated.frame), class_counts=curated.class_counts)
