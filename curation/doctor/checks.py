"""Looks at everything in a project and changes nothing. Reads whole files: minutes where there are many gigabytes."""

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

from curation.audit.reviews.batch_files import file_of
from curation.audit.reviews.blinding import lost_batches
from curation.doctor.chain import Chain, chain_findings, read_chain, read_witnesses
from curation.doctor.findings import Finding, Kind
from curation.jobs import feature_jobs, run_jobs, study_jobs
from curation.project import LEDGER_NAME, Project
from curation.samples.taking_part import part_lines
from curation.words import counted
from engine.contract.disk.seals import SEALED, check_seal
from engine.contract.disk.temporaries import orphans
from engine.contract.errors import UserError
from engine.contract.feature_dir import FeatureStore, list_features
from engine.contract.integrity.decisions import staleness
from engine.contract.manifest import DECISIONS_NAME, MANIFEST_NAME, resolve_image
from engine.contract.run_dir import RunDir
from engine.contract.run_list import Damaged

LOW_BYTES = 2**30
"""A disk with less free space is told."""
DERIVED = ("cache/", "live/", "thumbnails/")
"""Folders whose files are made anew when they are gone."""


def examine(project: Project) -> Iterator[Finding]:
    """What is not as it should be, in the order of KINDS."""
    yield from _manifest(project)
    yield from _ledger(project)
    yield from _jobs(project)
    yield from _files(project.path)
    yield from (Finding(kind="left_over", where=_shown(path, project.path), what="left by a process that is gone",
                        severity="note", repair="remove") for path in orphans(project.path))
    yield from (Finding(kind="link", where=name, what="a link that leads out of the project is not followed")
                for name in project.links_out)
    free = shutil.disk_usage(project.path).free
    if free < LOW_BYTES:
        yield Finding(kind="space", where=str(project.path), what=f"{free / 2**20:,.0f} MB are free", severity="note")


def _manifest(project: Project) -> Iterator[Finding]:
    try:
        rows = project.manifest()
    except UserError as error:
        yield Finding(kind="manifest", where=MANIFEST_NAME, what=str(error))
        return
    paths = rows["path"].dropna().tolist() if "path" in rows else []
    lost = [path for path in paths if not _is_there(project.root, path)]
    if lost:
        yield Finding(kind="pictures", where=lost[0], what=f"{len(lost):,} of {len(paths):,} pictures are missing or "
                      "lie outside of their folder; this is the first", severity="note")


def _is_there(root: Path, path: str) -> bool:
    try:
        return resolve_image(root, path).is_file()
    except (UserError, OSError, ValueError):
        return False


def _ledger(project: Project) -> Iterator[Finding]:
    """The database before it is opened, which would bring decisions.parquet up to date."""
    path = project.path / LEDGER_NAME
    if path.exists() and (problem := _sqlite_problem(path)):
        yield Finding(kind="ledger", where=LEDGER_NAME, what=problem)
        return
    try:
        witnesses = read_witnesses(project.path)
        if (found := chain_of(project)) is not None:
            yield from chain_findings(found, witnesses, LEDGER_NAME)
    except UserError as error:
        yield Finding(kind="ledger", where=LEDGER_NAME, what=_line(error))
        return
    if reason := staleness(project.path):
        yield Finding(kind="decisions", where=DECISIONS_NAME, what=reason, repair="rebuild_decisions")
        return
    try:
        ledger = project.ledger()
        ledger.state(), ledger.batches(), project.verdicts().rows()
        yield from _draws(project)
    except (UserError, ValueError, KeyError) as error:  # rows that make no history
        yield Finding(kind="ledger", where=LEDGER_NAME, what=_line(error))


def _draws(project: Project) -> Iterator[Finding]:
    """Batches of random queues that the ledger knows and whose files are gone or damaged."""
    for lost in lost_batches(project):
        drawn = f"lost or damaged; {counted(lost.num_lost, 'sample')} drawn in it for {lost.draw.who}"
        what = f"{drawn}, all judged since" if not lost.num_blind else (
            f"{drawn}, {lost.num_blind:,} of them not judged, which stay blind; restore it from a copy, or open "
            f"Estimate, which draws them again, or let go of them with `estimate --audit {lost.draw.audit} --release`")
        yield Finding(kind="draw", where=file_of(lost.draw), what=what,
                      severity="broken" if lost.num_blind else "note")


def chain_of(project: Project) -> Chain | None:
    """The chain of a project's ledger; None where there is no ledger yet. Raises LedgerError."""
    database = project.database
    return None if "://" not in database and not Path(database).exists() else read_chain(database)


def _sqlite_problem(path: Path) -> str:
    """What SQLite itself finds wrong with a file; "" where nothing."""
    try:
        with closing(sqlite3.connect(f"file:{quote(str(path.absolute()))}?mode=ro", uri=True)) as connection:
            said = [str(row[0]) for row in connection.execute("PRAGMA integrity_check(3)")]
    except sqlite3.Error as error:
        return f"{error}; restore it from a copy"
    return "" if said == ["ok"] else f"{'; '.join(said)}; restore it from a copy".replace("\n", " ")


def _jobs(project: Project) -> Iterator[Finding]:
    damaged: tuple[tuple[Kind, list[Damaged]], ...] = (
        ("run", run_jobs.damaged_runs(project.path)), ("study", study_jobs.damaged_studies(project.path)),
        ("features", feature_jobs.damaged_features(project.path)))
    for kind, found in damaged:
        yield from (Finding(kind=kind, where=name, what=line) for name, line in found)
    yield from _features(project)
    for run in project.runs():
        yield from _checkpoints(run)
        yield from (Finding(kind="evidence", where=f"runs/{run.name}", what=line, severity="note")
                    for line in part_lines(run))


def _features(project: Project) -> Iterator[Finding]:
    """Features of pixels that are decoded otherwise now, and chunks of a network's features that their journal does not
    vouch for; imported ones have seals."""
    for features in list_features(project.path):
        if line := features.outdated:
            yield Finding(kind="features", where=features.name, what=line, severity="note", repair="make_features")
        if not features.journal_path.is_file():
            continue
        try:
            FeatureStore(features)
        except (UserError, OSError) as error:
            yield Finding(kind="features", where=features.name, what=_line(error), repair="make_features")


def _checkpoints(run: RunDir) -> Iterator[Finding]:
    for path in sorted(run.checkpoint_dir.glob("*")) if run.checkpoint_dir.is_dir() else []:
        try:
            check_seal(path)
        except (OSError, ValueError) as error:
            yield Finding(kind="checkpoint", where=f"runs/{run.name}/checkpoint/{path.name}", what=_line(error))


def _files(folder: Path) -> Iterator[Finding]:
    """Sealed files that nothing above has read."""
    for path in sorted(folder.rglob("*")):
        name = _shown(path, folder)
        if path.suffix not in SEALED or path.is_symlink() or not path.is_file() or "/checkpoint/" in name \
                or name in (DECISIONS_NAME, MANIFEST_NAME):
            continue
        try:
            check_seal(path)
        except (OSError, ValueError) as error:
            if name.startswith(DERIVED):
                yield Finding(kind="cache", where=name, what=_line(error), repair="remove")
            else:
                yield Finding(kind="file", where=name, what=_line(error))


def _shown(path: Path, folder: Path) -> str:
    return path.relative_to(folder).as_posix()


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__
