"""Contract 3, the study directory: arms x seeds on one project, one row a run. Imports no torch.

    study.json              the plan: arms, seeds, reference, common settings, versions, code revision, manifest digest,
                            hardware, what was not controlled
    rows/ARM-sSEED.json     a finished or failed run: its figures, its curve by epoch, and all that it depends on;
                            rows/replaced/ keeps those that a changed plan made obsolete
    margins/ARM-sSEED.npy   (T,) float16 margins in [-1, 1] of the test split, in manifest order
    rankings/KEY.npz        cross-fitted predictions that the arms of one seed share
    decisions/DIGEST.parquet  the decisions that arms were trained under (copies)
    status.json             state, done, total, running, ETA, pid and its start time, heartbeat, error
    report.json, report.html
    cancel                  present once somebody asked the study to stop

Every file is written under a temporary name and renamed, so a reader never sees half.
"""

import builtins
import contextlib
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from engine.contract.errors import UserError
from engine.contract.processes import alone_in
from engine.contract.run_dir import RunDirError, check_name
from engine.contract.work_dir import WorkDir, write_array

CURRENT_DECISIONS, NO_DECISIONS = None, "none"


class StudyError(UserError):
    """A study's plan or one of its files is wrong. One line, ready to show."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Arm:
    """One way to train, repeated over the seeds of a study."""

    name: str
    settings: dict[str, Any] = field(default_factory=dict)
    """Settings by dotted name, such as {"method": "molere", "reweighter.every": 4}; they go over the common ones."""
    decisions: str | None = CURRENT_DECISIONS
    """A file of DECISION_COLUMNS to train under. None: the project's current decisions; "none": no decisions."""
    epochs_factor: float = 1.0
    """Multiplies epochs, so that a cheaper method may have equal compute."""

    def __post_init__(self) -> None:
        try:
            check_name(self.name)
        except RunDirError as error:
            raise StudyError(f"an arm's name: {error}") from error
        if isinstance(self.epochs_factor, bool) or not isinstance(self.epochs_factor, (int, float)) \
                or not 0 < self.epochs_factor <= 1000:
            raise StudyError(f"epochs_factor must lie in (0, 1000]; arm {self.name} has {self.epochs_factor!r}")
        if not isinstance(self.settings, dict) or not (self.decisions is None or isinstance(self.decisions, str)):
            raise StudyError(f"an arm has settings (an object) and decisions (a path, none or null); arm {self.name} "
                             f"has {self.settings!r} and {self.decisions!r}")

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


class StudyDir(WorkDir):
    """One study's folder."""

    error = StudyError

    @classmethod
    def of(cls, project: Path, name: str) -> "StudyDir":
        """The study `name` of a project, whether it exists or not. Raises RunDirError for a bad name."""
        return cls(Path(project) / "studies" / check_name(name))

    @classmethod
    def list(cls, project: Path) -> "builtins.list[StudyDir]":
        """Every study of a project, newest plan first."""
        plans = [p for p in (Path(project) / "studies").glob("*/study.json") if not p.parent.name.startswith(".")]
        return [cls(p.parent) for p in sorted(plans, key=lambda p: p.stat().st_mtime, reverse=True)]

    @property
    def tables_path(self) -> Path:
        """The comparison of the arms, as engine.contract.study_summary.report_tables has it."""
        return self.path / "report.json"

    @property
    def report_path(self) -> Path:
        """The comparison as a page."""
        return self.path / "report.html"

    def exists(self) -> bool:
        return (self.path / "study.json").exists()

    # -- study.json

    def write_plan(self, plan: dict[str, Any]) -> None:
        self.write_json(self.path / "study.json", plan)

    def read_plan(self) -> dict[str, Any]:
        """arms (dicts of Arm), seeds, reference, settings, versions, ... Raises StudyError if there is none."""
        plan = self.read_json(self.path / "study.json")
        if plan is None:
            raise StudyError(f"a study needs study.json; {self.path} has none; start it with `python -m engine study`")
        return plan

    # -- rows/ and margins/

    def _file(self, folder: str, arm: str, seed: int, ending: str) -> Path:
        return self.path / folder / f"{check_name(arm)}-s{int(seed)}.{ending}"

    def write_row(self, row: dict[str, Any], margins: np.ndarray | None = None) -> None:
        """A run's row, after its margins (T,): a row that is there has its margins."""
        arm, seed = row["arm"], row["seed"]
        if margins is not None:
            write_array(self._file("margins", arm, seed, "npy"), margins.astype(np.float16))
        self.write_json(self._file("rows", arm, seed, "json"), row)

    def set_aside(self, arm: str, seed: int) -> None:
        """Move a row that no longer stands for the plan to rows/replaced/: hours of training are not deleted."""
        path = self._file("rows", arm, seed, "json")
        aside = path.parent / "replaced" / f"{path.stem}-{time.strftime('%Y%m%d-%H%M%S')}.json"
        aside.parent.mkdir(parents=True, exist_ok=True)
        path.rename(aside)

    def read_row(self, arm: str, seed: int) -> dict[str, Any] | None:
        """The row as it was written; None where that run never ended."""
        return self.read_json(self._file("rows", arm, seed, "json"))

    def read_rows(self) -> pd.DataFrame:
        """One row a run of the plan that ended, in the plan's order of arms, then by seed; figures as flat columns.

        group_accuracies, class_accuracies, curve and settings hold dicts. Rows of arms and seeds that the plan does
        not name are left out. Empty, with arm, seed and state, before the first run ends.
        """
        plan = self.read_plan()
        rows = [row for arm in plan["arms"] for seed in sorted(plan["seeds"])
                if (row := self.read_row(arm["name"], seed)) is not None]
        return pd.DataFrame(rows) if rows else pd.DataFrame({"arm": [], "seed": [], "state": []}, dtype=object)

    def read_margins(self, arm: str, seed: int) -> np.ndarray | None:
        """(T,) float16 margins of the test split in manifest order; None where that run has none."""
        path = self._file("margins", arm, seed, "npy")
        if not path.exists():
            return None
        margins: np.ndarray = np.load(path, allow_pickle=False)
        return margins

    # -- one process a study

    def lock(self) -> contextlib.AbstractContextManager[None]:
        """Only one process runs a study; a killed one lets go of it. Raises StudyError if another does."""
        self.path.mkdir(parents=True, exist_ok=True)
        return alone_in(self.path, StudyError(f"one process runs a study; {self.name!r} is being run by another; "
                                              "cancel it first"))
