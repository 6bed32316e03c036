"""A transfer score on disk, PROJECT/transfers/NAME/: whether a set that one backbone found hard is hard for another.

    request.json     TransferRequest: what was asked for
    samples.parquet  SAMPLE_COLUMNS: the samples of the set, and those whose label is known to be right
    score.json       TransferScore, written last
    status.json, cancel, log.txt, output.txt     as in a run's folder

It is a score of the set. Neither side of it has seen the samples it is scored on, but the set was chosen, and tells
nothing of how well a model does on the data.
"""

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import TypedDict, cast

import pandas as pd

from engine.contract.disk.seals import check_seal
from engine.contract.errors import UserError
from engine.contract.inside import job_folder, way_out
from engine.contract.json_kinds import problem_of
from engine.contract.run_dir import check_name
from engine.contract.work_dir import WorkDir, write_atomic

FOLDER = "transfers"
SAMPLE_COLUMNS = ("sample_id", "is_in_set", "is_right")
"""string, bool, bool: is_right where the label in force is known to be right; samples of neither kind are left out."""
HARD_VALIDATION = "hard-validation"
"""The set that a run's export of this name has; any other name is a saved selection's."""


class TransferRequest(TypedDict):
    """request.json."""

    set: str
    """HARD_VALIDATION, or the name of a saved selection."""
    set_digest: str
    """digest_of its samples."""
    run: str
    """The run that chose it; "" of a selection made without one."""
    features: str
    """Of the other backbone."""
    own_features: str
    """Those the run was trained on; "" where it was on images, or there is none."""
    num_repeats: int
    """Random sets, each with a seed of its own."""
    seed: int
    num_suspected: int | None
    """Samples of the set whose label is more probably wrong than right by the audit of the run, and not known to be
    right; None without a run that labels can be judged by."""
    other_suspected_frac: float | None
    """The same of all other training samples, as a share."""


class Figure(TypedDict):
    """Of the set and of random sets with its share of each class; difference: set minus random, low and high its 95%
    interval (engine.contract.statistics.set_difference), None where too few tell it."""

    of_set: float
    of_random: float
    difference: float
    low: float | None
    high: float | None


class Comparison(TypedDict):
    """One backbone's heads on the set and on random sets, neither of which they were trained on."""

    num_set: int
    num_random: float
    """Of a random set, on average."""
    accuracy: Figure
    """Share predicted as labelled, in [0, 1]."""
    loss: Figure
    """Cross-entropy; high is hard."""
    margin: Figure
    """p_label - max of the other classes' p, in [-1, 1]; low is hard."""


class BackboneScore(TypedDict):
    """What the set is to one backbone."""

    features: str
    backbone: str
    """As features.json has it."""
    weight_decay: float
    all: Comparison
    right: Comparison | None
    """Of the samples on both sides whose label is known to be right; None where there are fewer than MIN_RIGHT."""


class TransferScore(TypedDict):
    """score.json."""

    request: TransferRequest
    num_samples: int
    """Of the set, that could be scored."""
    num_left_out: int
    """Of the set: without features, excluded, or of a class of which no other sample is left."""
    other: BackboneScore
    own: BackboneScore | None
    manifest_digest: str
    decisions_digest: str
    created: float
    """Seconds since the epoch."""


MIN_RIGHT = 30
"""Samples known to be right that each side must have before they are compared by themselves."""


class TransferError(UserError):
    """A transfer score cannot be made or read. One line, ready to show."""


class TransferDir(WorkDir):
    """One transfer score's folder."""

    error = TransferError

    @classmethod
    def of(cls, project: Path, name: str) -> "TransferDir":
        """The score `name` of a project, there or not. Raises RunDirError for a bad name, OutsideError for links out.
        """
        return cls(job_folder(project, FOLDER, check_name(name)))

    @property
    def samples_path(self) -> Path:
        return self.path / "samples.parquet"

    def write_request(self, request: TransferRequest, samples: pd.DataFrame) -> None:
        """samples: SAMPLE_COLUMNS."""
        write_atomic(self.samples_path, lambda path: samples[list(SAMPLE_COLUMNS)].to_parquet(path, index=False))
        self.write_json(self.path / "request.json", request)

    def read_request(self) -> TransferRequest:
        """Raises TransferError where there is none, or none of this kind."""
        return cast(TransferRequest, self._document("request.json", TransferRequest))

    def read_samples(self) -> pd.DataFrame:
        """SAMPLE_COLUMNS. Raises TransferError where there are none or the file is damaged."""
        try:
            check_seal(self.samples_path)
            return pd.read_parquet(self.samples_path, columns=list(SAMPLE_COLUMNS))
        except (OSError, ValueError) as error:
            raise TransferError(f"{self.samples_path} must have {', '.join(SAMPLE_COLUMNS)}; "
                                f"{' '.join(str(error).split())[:120]}; ask for the score anew") from error

    def write_score(self, score: TransferScore) -> None:
        self.write_json(self.path / "score.json", score)

    def has_score(self) -> bool:
        return (self.path / "score.json").exists()

    def read_score(self) -> TransferScore:
        """Raises TransferError where there is none, or none of this kind."""
        return cast(TransferScore, self._document("score.json", TransferScore))

    def _document(self, name: str, kind: type) -> dict[str, object]:
        values = self.read_json(self.path / name)
        problem = f"{self.path} has no {name}" if values is None else problem_of(values, kind)
        if values is None or problem:
            raise TransferError(f"a transfer score must be as it was written; {problem}; ask for it anew")
        return values


def transfers_of(project: Path) -> list[TransferDir]:
    """Every folder of a transfer score, asked for or made, the last asked for first; those that lead out of the project
    left out."""
    folder = Path(project) / FOLDER
    paths = [path.parent for path in folder.glob("*/request.json")
             if not path.parent.name.startswith(".") and not way_out(path.parent, Path(project))]
    return [TransferDir(path) for path in
            sorted(paths, key=lambda path: (path / "request.json").stat().st_mtime_ns, reverse=True)]


def digest_of(sample_ids: Iterable[str]) -> str:
    """SHA-256, in hex, of which samples a set has, in whatever order."""
    text = "\n".join(sorted(map(str, sample_ids)))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
