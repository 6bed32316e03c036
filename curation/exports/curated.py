"""The curated hard validation set: which samples, and where they come from. Writes no file."""

import re
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import numpy as np
import pandas as pd

from curation.audit.reviews.blinding import blind_damage, blind_ids, blind_words, is_blind, without_opinion
from curation.exports.staging import ExportError
from curation.project import Project
from curation.samples.table import free_names, samples
from curation.transfer.asking import scores_of
from curation.transfer.words import transfer_lines
from engine.contract.manifest import MANIFEST_NAME, file_digest
from engine.contract.run_dir import RunDir
from engine.contract.transfers.transfer_dir import TransferScore

PROVENANCE = ("run", "method", "seed", "config_digest", "manifest_digest", "decisions_digest", "run_manifest_digest",
              "run_decisions_digest", "exported_at")
DEFINITION = """
The set is every training sample that the run routed to validation (by its splitter, its ranking or a pin) or that is
pinned to validation now, less those now excluded or pinned to training, under its current label. Samples that only
rested from training in the run's last epoch are no part of it.

It was chosen to be hard and edited by people: tune on it, but do not report accuracy on it as if it were a test set.
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Curated:
    """A curated set, ready to write."""

    frame: pd.DataFrame
    """Columns of the sample table, then PROVENANCE; one row a sample."""
    provenance: dict[str, str | int]
    classes: tuple[str, ...]
    transfer: tuple[TransferScore, ...] = ()
    """Whether the set is hard for other backbones, as far as that was asked; of the whole set."""
    num_blind: int = 0
    """Without the model's opinion, as they are drawn for an estimate and not judged yet."""

    @property
    def class_counts(self) -> dict[str, int]:
        """Samples a class, in the project's order, classes without any included."""
        counts = self.frame["current_label"].value_counts()
        return {name: int(counts.get(name, 0)) for name in self.classes}


def curated_validation(project: Project, run: RunDir) -> Curated:
    """The run's curated hard validation set under the decisions in force now, as DEFINITION says.

    Raises ExportError if the run has no signals yet or the set is empty, RunDirError if the run has no config.
    """
    if not run.signals_path.exists():
        raise ExportError(f"an export needs a run with signals; {run.name} has none yet; wait for its first epoch")
    blind = blind_ids(project, project.verdicts().in_force())
    table = without_opinion(samples(project, run), blind)
    names = [name for name in table if name not in ("in_validation", "is_resting")]
    frame = table.rows(np.flatnonzero(table["in_validation"].flags), names).reset_index(drop=True)
    frame = frame.astype({"signal_row": np.int64})
    if frame.empty:
        raise ExportError(f"a curated validation set holds what the run routed and what is pinned there; that of "
                          f"{run.name} is empty; pin samples to validation or choose a run whose method routes")
    provenance = provenance_of(project, run)
    frame = frame.rename(columns=free_names([c for c in frame if c in PROVENANCE], set(PROVENANCE)))
    return Curated(frame=frame.assign(**provenance), provenance=provenance, classes=project.classes,
                   transfer=tuple(scores_of(project, frame)), num_blind=int(is_blind(frame, blind).sum()))


def with_rows(curated: Curated, mask: pd.Series) -> Curated:
    """The set with those samples alone. mask: one bool a row of its frame."""
    return replace(curated, frame=curated.frame[mask].reset_index(drop=True))


def provenance_of(project: Project, run: RunDir) -> dict[str, str | int]:
    """PROVENANCE: digests are SHA-256 of config.json, manifest.parquet and decisions.parquet (now, and at the run)."""
    document = run.read_config()
    return {
        "run": run.name, "method": str(document["config"]["method"]), "seed": int(document["config"]["seed"]),
        "config_digest": file_digest(run.path / "config.json"),
        "manifest_digest": file_digest(project.path / MANIFEST_NAME),
        "decisions_digest": file_digest(project.decisions_path),
        "run_manifest_digest": str(document.get("manifest_digest", "")),
        "run_decisions_digest": str(document.get("decisions_digest", "")),
        "exported_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def describe(project: Project, curated: Curated, files: str, class_counts: dict[str, int]) -> str:
    """README.txt of an export. `files`: what lies in this folder, one line each; class_counts: what was written."""
    return "\n".join([
        f"Curated hard validation set of project {plain(project.name)}: {sum(class_counts.values())} samples.",
        DEFINITION, *([blind_words(curated.num_blind), *map(plain, blind_damage(project)), ""]
                      if curated.num_blind else []),
        *map(plain, transfer_lines(curated.transfer)), "Files", files.strip(), "", "Samples by current label",
        *(f"{plain(name)}: {count}" for name, count in class_counts.items()), "", "Origin",
        *(f"{name}: {value}" for name, value in curated.provenance.items()), "",
        "Digests are SHA-256; an empty one means that there was no such file.",
        "In CSV files a text that a spreadsheet would run as a formula has a leading apostrophe.", ""])


def name_line(name: str) -> str:
    """A class's name as the line of a list: itself, but for the characters that end a line there."""
    return re.sub(r"[\r\n\x1f]", " ", name)


def plain(text: str) -> str:
    """A text on one line."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())
