"""Features that people bring: a file into PROJECT/features/NAME/, block by block, matched to the project's samples.

Trains nothing: `curation audit --features NAME` has the labels judged on them.
"""

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from curation.evidence.array_file import ArrayFile, EvidenceError
from curation.evidence.matching import Match, match, match_lines
from curation.evidence.opening import open_array_file
from curation.ledger import people
from curation.project import Project
from engine.contract.feature_dir import FeatureDir, FeatureDocument, sample_rows, write_blocks
from engine.contract.manifest import file_digest

Progress = Callable[[int, int, str], None]
LARGEST = float(np.finfo(np.float16).max)


@dataclass(frozen=True, kw_only=True, slots=True)
class ImportedFeatures:
    """What an import of features did."""

    features: FeatureDir
    file: ArrayFile
    match: Match
    num_samples: int
    """Of the project."""
    num_clipped: int
    """Numbers beyond float16's range, which were clipped to it."""


def import_features(project: Project, path: Path, name: str, *, backbone: str = "", licence: str = "",
                    is_replacing: bool = False, progress: Progress | None = None) -> ImportedFeatures:
    """Read a file of features (curation.evidence.array_file) into the project's features `name`.

    backbone, licence: what made them and of what licence, where that is known. is_replacing: imported features of this
    name may be replaced. Raises EvidenceError, with the project as it was, for a file of another shape, ids that repeat
    or are all unknown, a number that is not finite, or a name that is taken.
    """
    people.require("owner", "an import")
    folder = FeatureDir.of(project.path, name)
    _check_name(folder, is_replacing)
    file = open_array_file(path, "features")
    rows = project.manifest()
    found = match(file, rows, "features")
    row_of_sample = np.full(len(rows), -1, dtype=np.int64)
    kept = found.sample_of_row[found.sample_of_row >= 0]
    row_of_sample[kept] = np.arange(len(kept))
    document: FeatureDocument = {
        "kind": "imported", "backbone": backbone or path.name, "revision": "", "digest": file_digest(path),
        "licence": licence, "num_features": file.num_columns, "image_size": None, "created": time.time()}
    blocks = _Blocks(file, found, progress or (lambda done, total, message: None))
    samples = sample_rows(rows["sample_id"].tolist(), row_of_sample, f"no features in {path.name}")
    write_blocks(folder, document, samples, blocks.walk())
    folder.write_status(state="done", stage="imported", message="", error=None, started=time.time(), pid=os.getpid(),
                        heartbeat=time.time())
    return ImportedFeatures(features=folder, file=file, match=found, num_samples=len(rows),
                            num_clipped=blocks.num_clipped)


def feature_lines(done: ImportedFeatures) -> list[str]:
    """What was found in the file, a line each."""
    lines = match_lines(done.match, done.file, done.num_samples, "features")
    if done.num_clipped:
        lines.append(f"{done.num_clipped:,} numbers beyond the range of half floats were clipped to 65,504: scale the "
                     "file")
    return lines


def _check_name(folder: FeatureDir, is_replacing: bool) -> None:
    if not folder.path.exists():
        return
    is_imported = folder.exists() and folder.read_document().get("kind") == "imported"
    if not is_imported:
        raise EvidenceError(f"imported features need a name of their own; {folder.name!r} is of features that are made "
                            "here; choose another name")
    if not is_replacing:
        raise EvidenceError(f"imported features need a new name; {folder.name!r} exists; choose another name, or "
                            "ask that they be replaced (--replace)")


class _Blocks:
    """The rows of a file that are of samples, checked."""

    def __init__(self, file: ArrayFile, found: Match, progress: Progress) -> None:
        self.file, self.match, self.progress = file, found, progress
        self.num_clipped = 0

    def walk(self) -> Iterator[np.ndarray]:
        """(B, D) finite, in the order of the file. Raises EvidenceError at the first number that is not finite."""
        start = 0
        for block in self.file.blocks():
            at = self.match.sample_of_row[start:start + len(block)]
            kept = block if (at >= 0).all() else block[at >= 0]
            if not np.isfinite(kept).all():
                self._refuse(block, at, start)
            self.num_clipped += int((np.abs(kept) > LARGEST).sum())
            start += len(block)
            self.progress(start, self.file.num_rows, "reading features")
            yield kept
        if start != self.file.num_rows:
            raise EvidenceError(f"a file must be whole; {self.file.path} ended after {start:,} of "
                                f"{self.file.num_rows:,} rows; write it again")

    def _refuse(self, block: np.ndarray, at: np.ndarray, start: int) -> None:
        bad, column = np.nonzero(~np.isfinite(block) & (at >= 0)[:, None])
        raise EvidenceError(f"features must be finite; {self.file.place(start + int(bad[0]))} has "
                            f"{block[bad[0], column[0]]} in column {column[0]}; mend the row, or leave it out")
