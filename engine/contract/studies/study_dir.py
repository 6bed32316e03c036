"""Contract 3, the study directory: arms x seeds on one project, one row a run. Imports no torch.

    study.json              StudyDocument: arms, seeds, reference, common settings, versions, code revision, hardware
    rows/ARM-sSEED.json     a finished or failed run (study_row): its figures, its curve by epoch, and all that it
                            depends on; rows/replaced/ keeps those that a changed plan made obsolete
    margins/ARM-sSEED.npy   (T,) float16 margins in [-1, 1] of the test split, in manifest order
    rankings/KEY.npz        cross-fitted predictions that the arms of one seed share
    decisions/DIGEST.parquet  the decisions that arms were trained under (copies)
    status.json             StudyStatus: state, done, total, running, ETA, pid and its start time, heartbeat, error
    report.json, report.html
    cancel                  present once somebody asked the study to stop

Every file is written under a temporary name and renamed, so a reader never sees half.
"""

import builtins
import contextlib
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Literal, TypedDict

import numpy as np
import pandas as pd

from engine.contract.disk.processes import alone_in
from engine.contract.inside import job_folder, way_out
from engine.contract.run_dir import check_name
from engine.contract.studies.study_plan import StudyError, StudyPlan
from engine.contract.studies.study_row import Row, row_of
from engine.contract.work_dir import WorkDir, open_array, write_array


@dataclass(frozen=True, kw_only=True, slots=True)
class StudyDocument:
    """study.json: the plan, and where and by what code the study last went on with it."""

    plan: StudyPlan
    name: str
    project: str
    created: float
    updated: float
    """Both in seconds since the epoch."""
    is_tuned_here: bool | None
    """Whether settings were chosen on this project; None where that is not known."""
    versions: Mapping[str, str]
    """Package -> version."""
    code_revision: str
    hardware: str
    manifest_digest: str

    def to_dict(self) -> dict[str, object]:
        """Plain JSON values, the plan's beside the others, which of_dict reads back."""
        own = asdict(self)
        del own["plan"]
        return {**self.plan.to_dict(), **own}

    @classmethod
    def of_dict(cls, values: object) -> "StudyDocument":
        """Raises StudyError for anything that to_dict does not give. Other keys are left alone: older code wrote
        sentences under not_controlled, which engine.contract.studies.study_summary has as values."""
        plan = StudyPlan.of_dict(values)
        assert isinstance(values, dict), "a plan was read of it"
        kinds: dict[str, type | tuple[type, ...]] = {
            "created": (int, float), "updated": (int, float), "is_tuned_here": (bool, type(None)), "versions": dict}
        names = [f.name for f in fields(cls) if f.name != "plan"]
        wrong = [name for name in names if not isinstance(values.get(name), kinds.get(name, str))]
        if wrong:
            raise StudyError(f"a study must have {', '.join(names)}; its {wrong[0]} is {values.get(wrong[0])!r}")
        return cls(plan=plan, **{name: values[name] for name in names})


class RunningTask(TypedDict):
    """A run that a worker trains now."""

    arm: str
    seed: int
    message: str
    """What it does, for people."""


class StudyStatus(TypedDict, total=False):
    """status.json. Times are in seconds; started, heartbeat and pid_started since the epoch."""

    state: Literal["queued", "running", "done", "failed", "cancelled"]
    done: int
    """Runs that ended well, of this process and of those before it; failed: of this process; total: of the plan."""
    failed: int
    total: int
    running: list[RunningTask]
    eta_seconds: float | None
    started: float
    heartbeat: float
    pid: int
    pid_started: float | None
    host: str
    error: str | None


class StudyDir(WorkDir):
    """One study's folder."""

    error = StudyError

    @classmethod
    def of(cls, project: Path, name: str) -> "StudyDir":
        """The study `name` of a project, whether it exists or not. Raises RunDirError for a bad name, OutsideError
        for a folder with links that lead out of the project."""
        return cls(job_folder(project, "studies", check_name(name)))

    @classmethod
    def list(cls, project: Path) -> "builtins.list[StudyDir]":
        """Every study of a project, newest plan first."""
        plans = [p for p in (Path(project) / "studies").glob("*/study.json")
                 if not p.parent.name.startswith(".") and not way_out(p.parent, Path(project))]
        return [cls(p.parent) for p in sorted(plans, key=lambda p: p.stat().st_mtime, reverse=True)]

    @property
    def tables_path(self) -> Path:
        """The comparison of the arms, as engine.contract.studies.study_summary.report_tables has it."""
        return self.path / "report.json"

    @property
    def report_path(self) -> Path:
        """The comparison as a page."""
        return self.path / "report.html"

    def exists(self) -> bool:
        return (self.path / "study.json").exists()

    # -- study.json

    def write_document(self, document: StudyDocument) -> None:
        self.write_json(self.path / "study.json", document.to_dict())

    def read_document(self) -> StudyDocument:
        """Raises StudyError if there is none or it is damaged."""
        path = self.path / "study.json"
        values = self.read_json(path)
        if values is None:
            raise StudyError(f"a study needs study.json; {self.path} has none; start it with `python -m engine study`")
        try:
            return StudyDocument.of_dict(values)
        except StudyError as error:
            raise StudyError(f"{path} is no study's: {error}; it was damaged from outside: restore it from a "
                             "copy, or move its folder away") from error

    # -- rows/ and margins/

    def _file(self, folder: str, arm: str, seed: int, ending: str) -> Path:
        return self.path / folder / f"{check_name(arm)}-s{int(seed)}.{ending}"

    def write_row(self, row: Row, margins: np.ndarray | None = None) -> None:
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

    def read_row(self, arm: str, seed: int) -> Row | None:
        """The row as it was written; None where that run never ended. Raises StudyError if it is damaged."""
        path = self._file("rows", arm, seed, "json")
        try:
            values = self.read_json(path)
            return None if values is None else row_of(values)
        except StudyError as error:
            raise StudyError(f"{path} is no row of a study: {error}; remove it to train that run again") from error

    def read_rows(self) -> pd.DataFrame:
        """One row a run of the plan that ended, in the plan's order of arms, then by seed; figures as flat columns.

        group_accuracies, class_accuracies, curve and settings hold dicts. Rows of arms and seeds that the plan does
        not name are left out. Empty, with arm, seed and state, before the first run ends.
        """
        plan = self.read_document().plan
        rows = [row for arm in plan.arms for seed in plan.seeds if (row := self.read_row(arm.name, seed)) is not None]
        return pd.DataFrame(rows) if rows else pd.DataFrame({"arm": [], "seed": [], "state": []}, dtype=object)

    def read_margins(self, arm: str, seed: int) -> np.ndarray | None:
        """(T,) float16 margins of the test split in manifest order; None where that run has none."""
        path = self._file("margins", arm, seed, "npy")
        if not path.exists():
            return None
        return np.array(open_array(path))

    # -- one process a study

    def lock(self) -> contextlib.AbstractContextManager[None]:
        """Only one process runs a study; a killed one lets go of it. Raises StudyError if another does."""
        self.path.mkdir(parents=True, exist_ok=True)
        return alone_in(self.path, StudyError(f"one process runs a study; {self.name!r} is being run by another; "
                                              "cancel it first"))
