"""Which sample each row of a file is of: by sample_id, or by row order where the counts agree. Reads no numbers."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from curation.evidence.array_file import ID_COLUMN, ArrayFile, EvidenceError

Order = Literal["sample_id", "all", "train"]
"""How rows were matched: by their ids, or as the project's samples in its order, all of them or the train split."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Match:
    """Rows of a file against the N samples of a manifest."""

    order: Order
    sample_of_row: np.ndarray
    """(R,) int64: position in the manifest of each row of the file; -1: of no sample of the project."""
    num_missing: int
    """Samples of the project without a row."""
    num_unknown: int
    """Rows that are of no sample of the project."""
    first_unknown: str = ""
    """The sample_id of the first of them."""


def match(file: ArrayFile, samples: pd.DataFrame, what: str) -> Match:
    """Match the rows of a file. samples: sample_id and split, in manifest order; what: "features", for errors.

    Raises EvidenceError where an id repeats, no id is of this project, or rows without ids are neither as many as all
    samples nor as those of split train.
    """
    if file.sample_ids is None:
        return _by_order(file, samples, what)
    repeated = pd.Series(file.sample_ids).duplicated().to_numpy()
    if repeated.any():
        second = int(repeated.argmax())
        first = int(np.flatnonzero(file.sample_ids == file.sample_ids[second])[0])
        raise EvidenceError(f"{ID_COLUMN} must be unique; {file.place(second)} repeats row {first:,}; remove one of "
                            f"them ({int(repeated.sum()):,} such rows)")
    at = pd.Index(samples["sample_id"]).get_indexer(pd.Index(file.sample_ids)).astype(np.int64)
    unknown = np.flatnonzero(at < 0)
    if len(unknown) == len(at):
        raise EvidenceError(f"{what} must be of this project's samples; none of the {len(at):,} ids of {file.path} is, "
                            f"first {file.sample_ids[0]!r}; ids are like {samples['sample_id'].iloc[0]!r}")
    return Match(order="sample_id", sample_of_row=at, num_missing=len(samples) - int((at >= 0).sum()),
                 num_unknown=len(unknown), first_unknown=str(file.sample_ids[unknown[0]]) if len(unknown) else "")


def _by_order(file: ArrayFile, samples: pd.DataFrame, what: str) -> Match:
    train = np.flatnonzero(samples["split"].to_numpy(dtype=object) == "train")
    if file.num_rows == len(samples):
        return Match(order="all", sample_of_row=np.arange(len(samples)), num_missing=0, num_unknown=0)
    if file.num_rows == len(train):
        return Match(order="train", sample_of_row=train, num_missing=len(samples) - len(train), num_unknown=0)
    raise EvidenceError(f"{what} without {ID_COLUMN} go by row order, so there must be one row a sample: "
                        f"{len(samples):,} in all or {len(train):,} of split train; {file.path} has "
                        f"{file.num_rows:,}; add {ID_COLUMN}")


def match_lines(found: Match, file: ArrayFile, num_samples: int, what: str) -> list[str]:
    """What was matched and what was not, a line each."""
    lines = [{"sample_id": f"matched by {ID_COLUMN}",
              "all": f"no {ID_COLUMN}: taken as all {num_samples:,} samples in the manifest's order",
              "train": f"no {ID_COLUMN}: taken as the {file.num_rows:,} samples of split train in the manifest's order",
              }[found.order]]
    if found.num_unknown:
        lines.append(f"{found.num_unknown:,} rows are of no sample of this project and were left out, first "
                     f"{found.first_unknown!r}")
    if found.num_missing:
        lines.append(f"{found.num_missing:,} of {num_samples:,} samples have no {what} in the file")
    if file.left_out:
        lines.append(f"columns that are no numbers were left out: {', '.join(file.left_out[:12])}"
                     f"{' ...' if len(file.left_out) > 12 else ''}")
    return lines
