"""How far the people agree whose answers came with the data (curation.sources.reading.annotators), whatever the given
labels are."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
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


@dataclass(frozen=True, kw_only=True, slots=True)
class PersonAnswers:
    """What one person answered, beside what others did on the same samples."""

    name: str
    num_answers: int
    num_pairs: int
    """Answers of others on the samples that this person answered on."""
    agreement: float | None
    """Share of these that are the same, in [0, 1], 0 bad; None without any."""
    num_known: int
    """Answers on samples whose true label is known."""
    right: float | None
    """Share of these that are it; None without any."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ClassAnswers:
    """How far people agree where one of them says a class."""

    label: str
    num_answers: int
    num_pairs: int
    """Other answers on the samples of these answers, one for each of them."""
    agreement: float | None
    """Share of these that are the same, in [0, 1], 0 bad; None without any."""


@dataclass(frozen=True, kw_only=True, slots=True)
class MixedUp:
    """Two classes that people say of the same samples."""

    labels: tuple[str, str]
    num_pairs: int
    """Pairs of answers on one sample that say one and the other."""
    num_samples: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Disagreement:
    people: tuple[PersonAnswers, ...]
    """Most answers first."""
    classes: tuple[ClassAnswers, ...]
    """Least agreement first."""
    mixed_up: tuple[MixedUp, ...]
    """Most pairs first."""


def annotators_of(project: Path) -> Annotators | None:
    """None where no answers came with the data, or they cannot be read (lost_answers)."""
    try:
        answers = read_answers(project)
    except (OSError, ValueError, KeyError):  # pyarrow's errors are among them
        return None
    return None if answers is None or not answers.num_rows else agreement_of(answers)


def lost_answers(project: Path) -> list[str]:
    """That answers are there and cannot be read now, and what to do; one line at most."""
    try:
        read_answers(project)
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


def disagreement_of(answers: pa.Table, truth: pa.Table) -> Disagreement:
    """Who and what the agreement is low with. answers: as agreement_of; truth: sample_id, clean_label (null: unknown).
    """
    sample, label = (_codes(answers[name]) for name in ("sample_id", "label"))
    names = answers["label"].combine_chunks().dictionary_encode().dictionary.to_pylist()
    size = np.bincount(sample)
    of_sample, count = _counted(sample, label)
    _, place = np.unique(sample * (int(label.max(initial=0)) + 1) + label, return_inverse=True)
    num_same, num_others = count[place] - 1, size[sample] - 1
    return Disagreement(people=_people(answers, truth, num_same, num_others),
                        classes=_classes(names, label, num_same, num_others),
                        mixed_up=_mixed_up(names, of_sample, label[np.unique(place, return_index=True)[1]], count))


def _people(answers: pa.Table, truth: pa.Table, num_same: np.ndarray,
            num_others: np.ndarray) -> tuple[PersonAnswers, ...]:
    place = pc.index_in(answers["sample_id"], value_set=truth["sample_id"].combine_chunks())
    clean = truth["clean_label"].combine_chunks().take(place.combine_chunks())
    frame = pd.DataFrame({"who": answers["annotator"].to_pandas(), "same": num_same, "others": num_others,
                          "known": pc.is_valid(clean).to_numpy(zero_copy_only=False),
                          "right": pc.fill_null(pc.equal(answers["label"].combine_chunks(), clean), False).to_numpy(
                              zero_copy_only=False)})
    rows = frame.assign(num=1).groupby("who")[["num", "same", "others", "known", "right"]].sum()
    found = [PersonAnswers(name=str(who), num_answers=num, num_pairs=others, agreement=_share(same, others),
                           num_known=known, right=_share(right, known))
             for who, (num, same, others, known, right) in zip(rows.index, rows.to_numpy(np.int64).tolist(),
                                                              strict=True)]
    return tuple(sorted(found, key=lambda one: (-one.num_answers, one.name)))


def _classes(names: list[str], label: np.ndarray, num_same: np.ndarray,
             num_others: np.ndarray) -> tuple[ClassAnswers, ...]:
    num, same, others = (np.bincount(label, weights, len(names)) for weights in (None, num_same, num_others))
    found = [ClassAnswers(label=name, num_answers=int(num[idx]), num_pairs=int(others[idx]),
                          agreement=_share(same[idx], others[idx])) for idx, name in enumerate(names)]
    return tuple(sorted(found, key=lambda one: (2.0 if one.agreement is None else one.agreement, one.label)))


def _mixed_up(names: list[str], sample: np.ndarray, label: np.ndarray, count: np.ndarray) -> tuple[MixedUp, ...]:
    """sample, label, count: (M,) how many say a label of a sample."""
    said = pd.DataFrame({"sample": sample, "label": label, "count": count})
    said = said[said["sample"].duplicated(keep=False)]
    pairs = said.merge(said, on="sample")
    pairs = pairs[pairs["label_x"] < pairs["label_y"]]
    pairs = pairs.assign(pairs=pairs["count_x"] * pairs["count_y"], samples=1)
    rows = pairs.groupby(["label_x", "label_y"])[["pairs", "samples"]].sum()
    found = [MixedUp(labels=(names[one], names[other]), num_pairs=num_pairs, num_samples=num_samples)
             for one, other, num_pairs, num_samples in rows.reset_index().to_numpy(np.int64).tolist()]
    return tuple(sorted(found, key=lambda one: (-one.num_pairs, one.labels)))


def _share(part: float, whole: float) -> float | None:
    return float(part / whole) if whole else None


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


def read_answers(project: Path) -> pa.Table | None:
    """sample_id, annotator, label of every answer; None where none came with the data. Raises OSError, ValueError or
    KeyError for a damaged file."""
    path = project / ANSWERS_NAME
    if not path.exists():
        return None
    check_seal(path)
    return pq.read_table(path, columns=["sample_id", "annotator", "label"])
