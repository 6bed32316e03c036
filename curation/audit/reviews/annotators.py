"""How far the people agree whose answers came with the data (curation.sources.reading.annotators), whatever the given
labels are."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curation.project import ANSWERS_NAME
from engine.contract.disk.seals import check_seal


@dataclass(frozen=True, kw_only=True, slots=True)
class Annotators:
    num_answers: int
    num_people: int
    """Whom the data name; 0: none."""
    num_samples: int
    """With an answer; num_shared of them with two or more."""
    num_shared: int
    agreement: float | None
    """Share of the pairs of answers on one sample that are the same, in [0, 1]; None without a pair."""
    alpha: float | None
    """krippendorff_alpha."""


def annotators_of(project: Path) -> Annotators | None:
    """None where no answers came with the data, or they cannot be read (lost_answers)."""
    try:
        answers = _read(project)
    except (OSError, ValueError, KeyError):  # pyarrow's errors are among them
        return None
    return None if answers is None or not answers.num_rows else agreement_of(answers)


def lost_answers(project: Path) -> list[str]:
    """That answers are there and cannot be read now, and what to do; one line at most."""
    try:
        _read(project)
    except (OSError, ValueError, KeyError) as error:
        return [f"how far the people agree whose answers came with the data is in {ANSWERS_NAME}; "
                f"{' '.join(str(error).split())[:200]}; import the data again"]
    return []


def agreement_of(answers: pa.Table) -> Annotators:
    """answers: sample_id, annotator (null: not named), label; no nulls but in annotator."""
    sample, label = (_codes(answers[name]) for name in ("sample_id", "label"))
    size = np.bincount(sample)
    num_pairs = int((size * (size - 1)).sum())
    _, count = _counted(sample, label)
    return Annotators(
        num_answers=answers.num_rows, num_people=pc.count_distinct(answers["annotator"]).as_py(),
        num_samples=len(size), num_shared=int((size > 1).sum()), alpha=krippendorff_alpha(sample, label),
        agreement=float((count * (count - 1)).sum() / num_pairs) if num_pairs else None)


def krippendorff_alpha(sample: np.ndarray, label: np.ndarray) -> float | None:
    """Krippendorff's alpha of nominal answers: 1 perfect, 0 what chance gives, below worse. Source: Krippendorff,
    Computing Krippendorff's Alpha-Reliability (2011), C: any number of answers a sample, those of one alone left out.

    sample, label: (N,) int64 from 0, of each answer. None where no sample has two, or all of these are alike.
    """
    size = np.bincount(sample, minlength=1)
    is_shared = size[sample] > 1
    sample, label = sample[is_shared], label[is_shared]
    num = len(sample)
    of_sample, count = _counted(sample, label)
    total = np.bincount(label, minlength=1).astype(np.float64)
    by_chance = num * (num - 1) - (total * (total - 1)).sum()
    if not by_chance:
        return None
    observed = num - (count * (count - 1) / (size[of_sample] - 1)).sum()
    return float(1 - (num - 1) * observed / by_chance)


def _counted(sample: np.ndarray, label: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(samples, how many of its answers are the same label), (M,) int64 each: one a sample and label."""
    width = int(label.max(initial=0)) + 1
    pairs, count = np.unique(sample * width + label, return_counts=True)
    return pairs // width, count


def _codes(column: pa.ChunkedArray) -> np.ndarray:
    codes: np.ndarray = column.combine_chunks().dictionary_encode().indices.to_numpy().astype(np.int64)
    return codes


def _read(project: Path) -> pa.Table | None:
    path = project / ANSWERS_NAME
    if not path.exists():
        return None
    check_seal(path)
    return pq.read_table(path, columns=["sample_id", "annotator", "label"])
