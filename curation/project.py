"""A project folder: manifest, ledger, runs, thumbnails and exports of one data set. Opens and names; decides nothing.

    project.json           name, source, created (written by import)
    manifest.parquet       contract 1 (engine.contract.manifest)
    import_report.parquet  what the import skipped or found odd
    answers.parquet        every answer, where several people labelled a sample (curation.sources.reading.annotators)
    place.json             where its jobs run (engine.contract.cluster.place)
    ledger.sqlite          decisions and verdicts (curation.ledger); decisions.parquet: the decisions in force
    runs/NAME/             contract 2 (engine.contract.run_dir)
    features/NAME/         numbers of a pretrained network for every image (engine.contract.feature_dir)
    live/RUN/              a run under the decisions of now (engine.contract.live.live_dir)
    studies/NAME/          contract 3 (engine.contract.studies.study_dir)
    audits/NAME/           the plan of an estimate, its goal, the batches served (curation.audit)
    transfers/NAME/        whether a set is hard for another backbone (engine.contract.transfers.transfer_dir)
    views/NAME.json        saved selections (curation.samples.saved_views)
    pictures/  cache/  thumbnails/  exports/
"""

import json
import os
from pathlib import Path
from typing import NotRequired, TypedDict

import pandas as pd
import pyarrow.parquet as pq

from curation.ledger.batch import LedgerError
from curation.ledger.ledger import Ledger
from curation.ledger.newest import NewestRows, newest_rows
from curation.ledger.place import database_of
from curation.ledger.verdicts import VerdictLog
from engine.contract.disk import layouts
from engine.contract.disk.seals import check_seal
from engine.contract.errors import UserError
from engine.contract.inside import is_inside
from engine.contract.manifest import (
    DECISIONS_NAME,
    MANIFEST_NAME,
    ManifestError,
    ManifestInfo,
    image_root,
    read_info,
    read_manifest,
)
from engine.contract.run_dir import RunDir, RunDirError
from engine.contract.run_list import list_runs
from engine.contract.stamps import stamp_of

PROJECT_NAME = "project.json"
REPORT_NAME = "import_report.parquet"
ANSWERS_NAME = "answers.parquet"
LEDGER_NAME = "ledger.sqlite"
FOLDERS = ("runs", "features", "live", "studies", "audits", "views", "transfers", "cache", "thumbnails", "exports")
REPORT_COLUMNS = ("file", "row", "sample_id", "kind", "reason", "action")


class Disagreement(TypedDict):
    """How often the given label differs from the known truth among training samples that have one."""

    num_dual: int
    """Training samples whose truth is known; num_wrong of them have another given label."""
    num_wrong: int
    share: float
    low: float
    high: float
    """Ends of the share's 95% Wilson interval; all three in [0, 1]."""


class HeldOut(TypedDict):
    """What an import was asked to hold out (curation.sources.splits.HoldOut), and which splits are so."""

    test_frac: float
    clean_frac: float
    together: str | None
    seed: int
    splits: NotRequired[list[str]]
    """Those that an import drew, this one or one before: their labels are as given. Not of older projects."""


class ImportDetails(TypedDict, total=False):
    """What project.json keeps of an import, so that it can be shown again."""

    options: dict[str, str | int | float]
    check: str
    """none, exists or decode: what was done to the images."""
    counts: dict[str, int]
    """What the source's own lists hold, by name."""
    splits: dict[str, int]
    disagreement: Disagreement | None
    problem_kinds: dict[str, int]
    notes: list[str]
    classes: list[dict[str, object]]
    """class, train, clean, test, dual, wrong: samples by given label."""
    num_added: int
    num_removed: int
    seconds: float
    held_out: HeldOut | None
    """What the import held out of training, where the data had no split of their own."""


class ProjectDetails(ImportDetails, total=False):
    """project.json. A project may have been made by other means than an import, so that any of it may be absent."""

    layout: int
    name: str
    source: str
    created: float
    imported: float
    """As created, which is of the first import, in seconds since the epoch."""
    root: str
    num_samples: int
    num_problems: int
    ledger: str
    """The database of decisions and verdicts, where that is not ledger.sqlite (curation.ledger.place)."""


class ProjectError(UserError):
    """A folder is no project, or one of its files cannot be read. One line, ready to show."""


class Project:
    """One opened project. Holds its path and the manifest's metadata; every table is read when asked for."""

    def __init__(self, path: Path, info: ManifestInfo, details: ProjectDetails) -> None:
        self.path = path
        self.info = info
        self.details = details

    @classmethod
    def open(cls, path: str | Path) -> "Project":
        """Open the project in a folder. Raises ProjectError where there is none or it cannot be read."""
        folder = Path(os.path.abspath(path))  # not resolved: a link to a project, usual on clusters, is its name here
        if not folder.is_dir():
            raise ProjectError(f"a project is a folder; there is none at {path}; make one with "
                               "`python -m curation import`")
        try:
            return cls(folder, read_info(folder), _read_details(folder / PROJECT_NAME))
        except ManifestError as error:
            raise ProjectError(str(error)) from error

    @property
    def name(self) -> str:
        """The folder's name: what links, pickers and the command line call the project."""
        return self.path.name

    @property
    def classes(self) -> tuple[str, ...]:
        return self.info.classes

    @property
    def root(self) -> Path:
        """Absolute folder that the manifest's image paths lie in."""
        return image_root(self.path, self.info)

    @property
    def held_out(self) -> tuple[str, ...]:
        """Splits that an import drew from data without them: their labels are as given."""
        return drawn_splits(self.details.get("held_out"))

    @property
    def decisions_path(self) -> Path:
        return self.path / DECISIONS_NAME

    def manifest(self) -> pd.DataFrame:
        """Every row of the manifest, all splits, in file order. Raises ProjectError if it breaks the contract."""
        try:
            return read_manifest(self.path)
        except ManifestError as error:
            raise ProjectError(str(error)) from error

    def columns(self) -> list[str]:
        """Names of the manifest's columns, in its order; reads no rows."""
        return list(pq.read_schema(self.path / MANIFEST_NAME).names)

    def import_report(self) -> pd.DataFrame:
        """What the import found wrong, one row a problem, with REPORT_COLUMNS; no rows where all went well."""
        path = self.path / REPORT_NAME
        if not path.exists():
            return pd.DataFrame({name: pd.Series(dtype="Int64" if name == "row" else str) for name in REPORT_COLUMNS})
        try:
            check_seal(path)
            return pd.read_parquet(path)
        except (OSError, ValueError) as error:  # pyarrow's errors are among them
            raise ProjectError(f"{path} must be a table; {' '.join(str(error).split())[:120]}; import the data "
                               "again, or delete it: what the import found odd is then no longer known") from error

    def run(self, name: str) -> RunDir:
        """The run of that name. Raises ProjectError if there is none."""
        try:
            run = RunDir.of(self.path, name)
        except RunDirError as error:
            raise ProjectError(str(error)) from error
        if not run.path.is_dir():
            names = ", ".join(r.name for r in self.runs()) or "none yet"
            raise ProjectError(f"a run must be one of this project's ({names}); got {name!r}; list them on the Train "
                               "page or start one with `python -m engine train`")
        return run

    def runs(self) -> list[RunDir]:
        """Every run, newest first."""
        return list_runs(self.path)

    def ledger(self) -> Ledger:
        """The project's decisions, in its database, which is made on first use. Raises LedgerError."""
        return Ledger(self.database, self.decisions_path)

    @property
    def newest(self) -> NewestRows:
        """The ledger's newest rows, by which pages keep what they make of it. Raises LedgerError."""
        try:
            return newest_rows(self.database)
        except LedgerError:  # not made yet; or it is broken, which opening it says better
            self.ledger()
            return newest_rows(self.database)

    def verdicts(self) -> VerdictLog:
        """What reviewers found in the project's audits, in the same database. Raises LedgerError."""
        return VerdictLog(self.database, self.classes)

    @property
    def database(self) -> str:
        """Where decisions and verdicts lie: ledger.sqlite, or the database whose URL is project.json's `ledger` (one
        database a project; leave the password to the driver's own files). Raises LedgerError for one that project.json
        may not name (curation.ledger.place)."""
        return database_of(self.path, self.details.get("ledger"), LEDGER_NAME)

    @property
    def links_out(self) -> list[str]:
        """Folders of the project that are links which lead out of it, and are not followed."""
        return [name for name in FOLDERS if not is_inside(self.path / name, self.path)]


def drawn_splits(asked: HeldOut | None) -> tuple[str, ...]:
    """The splits of HeldOut; of older projects those that were asked for."""
    if not isinstance(asked, dict):  # none, or a damaged project.json
        return ()
    fracs = (("test", asked.get("test_frac")), ("clean", asked.get("clean_frac")))
    drawn = asked.get("splits", [name for name, frac in fracs if frac])
    return tuple(name for name in drawn if isinstance(name, str)) if isinstance(drawn, list) else ()


def projects_home() -> Path:
    """The folder that projects live in: $WHETSTONE_PROJECTS, else ./projects."""
    return Path(os.environ.get("WHETSTONE_PROJECTS") or "projects").resolve()


def project_named(home: Path, name: str) -> Path | None:
    """The project of that name in `home`, a link to a project elsewhere too, as list_projects lists it; None where
    there is none. No name leads out of `home`."""
    is_plain = bool(name) and name not in (".", "..") and Path(name).name == name and "\0" not in name
    path = home / name
    return path if is_plain and (path / MANIFEST_NAME).is_file() else None


def list_projects(home: Path) -> list[Path]:
    """Folders in `home` that hold a manifest, by name."""
    return sorted(path.parent for path in home.glob(f"*/{MANIFEST_NAME}") if path.is_file())


def imported_from(home: Path) -> list[Path]:
    """Folders outside of the projects that their data were imported from, the newest import first."""
    found: list[tuple[float, Path]] = []
    for path in list_projects(home):
        try:
            details = _read_details(path / PROJECT_NAME)
            root, when = Path(str(details.get("root") or ".")), float(details.get("imported") or 0.0)
        except (ProjectError, OSError, TypeError, ValueError):  # its own page says so
            continue
        if root.is_absolute() and not root.is_relative_to(home):
            found.append((when, root))
    return [root for _, root in sorted(found, key=lambda item: item[0], reverse=True)]


def last_worked_on(projects: list[Path]) -> Path | None:
    """The project in which anything was imported, made, trained, decided or saved last; None of none."""
    return max(projects, key=_worked_on, default=None)


def _worked_on(project: Path) -> float:
    """When its data, its decisions, or the list of its runs, features, studies, audits or views last changed, in
    seconds since the epoch."""
    names = (MANIFEST_NAME, PROJECT_NAME, DECISIONS_NAME, LEDGER_NAME, f"{LEDGER_NAME}-wal", "runs", "features",
             "studies", "audits", "views", "exports")
    return max(state.mtime_ns for state in stamp_of(*(project / name for name in names))) / 1e9


def _read_details(path: Path) -> ProjectDetails:
    """project.json's object; {} where there is no file, for the manifest alone makes a project."""
    try:
        details: ProjectDetails = json.loads(path.read_text())
    except FileNotFoundError:
        return {}
    except (ValueError, RecursionError, OSError) as error:
        reason = " ".join(str(error).split())[:120]
        raise ProjectError(f"{path} must be JSON; {reason}; import the data again, or restore a copy") from error
    if not isinstance(details, dict):
        raise ProjectError(f"{path} must hold a JSON object; got {type(details).__name__}; import the data again")
    if reason := layouts.newer(details.get("layout"), layouts.PROJECT):
        raise ProjectError(f"a project is read by the version that wrote it or a later one; {path}: {reason}")
    return details
