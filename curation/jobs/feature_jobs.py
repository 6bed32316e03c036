"""Features in the background: asked for here, queued with the runs, made by `python -m engine features`.

A features' folder has the status and cancel files of a run's, so curation.jobs.run_jobs starts, watches and stops it.
At its end the engine makes a run of method discriminant on them, by which pages show a map and suspects.

    request.json   FeatureRequest
"""

import sys
from dataclasses import asdict, dataclass, fields
from functools import lru_cache
from pathlib import Path

from curation.jobs import queue, run_jobs
from curation.jobs.queue import Job, JobError
from curation.jobs.request import REQUEST_NAME, config_of
from curation.jobs.run_jobs import RunStatus
from engine.contract.errors import UserError
from engine.contract.feature_dir import DEFAULT_BACKBONE, FeatureDir, FeatureError
from engine.contract.inside import way_out
from engine.contract.methods import METHODS
from engine.contract.run_dir import RunDir, check_name
from engine.contract.run_list import Damaged
from engine.contract.stamps import Stamp, stamp_of

MAX_AT_ONCE = 20_000
"""Images up to which features are made right after an import without being asked for: some minutes' work."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FeatureRequest:
    """Features, as they were asked for."""

    backbone: str = DEFAULT_BACKBONE
    image_size: int | None = None
    """Side of the images that the backbone sees, in pixels; None: its own."""
    is_mirrored: bool = False
    """Whether features of an image are averaged with those of its mirror image."""


def submit(project: Path, name: str, request: FeatureRequest, command: list[str] | None = None) -> Job:
    """Queue the making of features and start its process. Where some of the same request are there, those that are
    missing are made.

    `command` replaces the engine's (tests). Raises JobError if it is under way or the name is of features that were
    made otherwise, RunDirError for a bad name.
    """
    project = Path(project).resolve()
    features = FeatureDir.of(project, check_name(name))
    there = None if is_imported(features) else request_of(features)
    if is_imported(features) or (there is not None and not _is_same(request, there)):
        raise JobError(f"features of another network or size need a name of their own; {name!r} is taken; choose "
                       "another name")
    _refuse_active(features)
    if there is None:
        features.path.mkdir(parents=True, exist_ok=True)
        features.write_json(features.path / REQUEST_NAME, asdict(request))
    return _start(project, features, command)


def _is_same(request: FeatureRequest, there: FeatureRequest) -> bool:
    return (request.backbone, request.is_mirrored) == (there.backbone, there.is_mirrored) \
        and request.image_size in (None, there.image_size)


def resume(project: Path, name: str, command: list[str] | None = None) -> Job:
    """Queue features again: what is done stays, what is missing is made. Raises JobError if they are under way, were
    imported or never asked for, and as request_of does."""
    project = Path(project).resolve()
    features = FeatureDir.of(project, name)
    if is_imported(features) or request_of(features) is None:
        raise JobError(f"features that go on must be of a network; {name!r} were imported, or never asked for; import "
                       "them anew, or make others under another name")
    _refuse_active(features)
    return _start(project, features, command)


def cancel(project: Path, name: str) -> None:
    """Ask the making of features to stop; what is done stays. Raises JobError if it is not under way."""
    run_jobs.cancel_in(RunDir(FeatureDir.of(Path(project).resolve(), name).path))


def features_of(project: Path) -> list[FeatureDir]:
    """All features of a project that can be read, by name: made, under way, failed or imported."""
    return [features for features in _folders(project) if not damage_of(features)]


def damaged_features(project: Path) -> list[Damaged]:
    """Those that features_of leaves out, by name: damaged ones harm themselves alone."""
    return [Damaged(features.name, line) for features in _folders(project) if (line := damage_of(features))]


def _folders(project: Path) -> list[FeatureDir]:
    folder = Path(project) / "features"
    paths = sorted(folder.iterdir()) if folder.is_dir() else []
    return [FeatureDir(path) for path in paths if (path / "features.json").exists() or (path / REQUEST_NAME).exists()]


def damage_of(features: FeatureDir) -> str:
    """What is broken in the documents of features and what to do about it, one line; "" for sound ones. Files are read
    again only once they change."""
    files = (features.path / name for name in ("features.json", REQUEST_NAME, "status.json"))
    return way_out(features.path, features.path.parents[1]) or _damage(features.path, stamp_of(*files))


@lru_cache(maxsize=256)
def _damage(path: Path, stamp: Stamp) -> str:
    features = FeatureDir(path)
    try:
        features.read_status()
        if (path / "features.json").exists():
            features.read_document()
        if (path / REQUEST_NAME).exists():
            request_of(features)
    except (UserError, OSError) as error:
        return str(error)
    return ""


def is_imported(features: FeatureDir) -> bool:
    """Whether people brought these, so that they are not made here."""
    try:
        return features.read_document().get("kind") == "imported"
    except FeatureError:
        return False


def status_of(features: FeatureDir) -> RunStatus:
    """What is being done about features, in a run's words. Those that are there and were asked for elsewhere are
    done."""
    if features.exists() and not (features.path / "status.json").exists():
        return RunStatus(state="done", details={"state": "done"})
    return run_jobs.status_of(RunDir(features.path))


def is_under_way(features: FeatureDir) -> bool:
    """Whether a process makes them, or waits to, or makes the map of those that are made."""
    path, project = features.path.resolve(), features.path.parents[1]
    return status_of(features).is_active or any(
        job.kind == "features" and job.run_dir.path == path for job in queue.active()) or any(
        run_jobs.status_of(run).is_active for run in runs_on(project, features.name))


def request_of(features: FeatureDir) -> FeatureRequest | None:
    """What was asked for, here or on the command line; None where nothing was. Raises JobError if it is damaged."""
    values: object = features.read_json(features.path / REQUEST_NAME)
    names = {field.name for field in fields(FeatureRequest)}
    if isinstance(values, dict) and set(values) == names:
        return FeatureRequest(**values)
    if values is not None:
        raise JobError(f"{features.path / REQUEST_NAME} must hold {', '.join(sorted(names))}; it was damaged from "
                       "outside; ask for features anew under another name")
    if not (features.path / "features.json").exists():
        return None
    document = features.read_document()
    return FeatureRequest(backbone=document.get("backbone", ""), image_size=document.get("image_size"),
                          is_mirrored=document.get("is_mirrored", False))


def command_of(project: Path, features: FeatureDir) -> list[str]:
    """The engine's command line. Raises JobError as request_of does."""
    request = request_of(features)
    command = [sys.executable, "-m", "engine", "features", str(project), "--name", features.name]
    if request is None or not (features.path / REQUEST_NAME).exists():
        return command  # the engine goes on as their document says
    command += ["--backbone", request.backbone]
    if request.image_size is not None:
        command += ["--image-size", str(request.image_size)]
    return [*command, "--mirror"] if request.is_mirrored else command


def runs_on(project: Path, name: str) -> list[RunDir]:
    """Runs on these features that nobody trained, by which they are looked at: newest first, those that have not begun
    included."""
    found = []
    for run in run_jobs.run_dirs(project):
        try:
            config = config_of(run)
        except UserError:  # its own page says so
            continue
        if config.features == name and METHODS[config.method].is_head_only:
            found.append(run)
    return found


def run_on(project: Path, name: str) -> RunDir | None:
    """The newest of runs_on that is done, so that it has a map; None without."""
    return next((run for run in runs_on(project, name) if run.read_status()["state"] == "done"), None)


def _refuse_active(features: FeatureDir) -> None:
    if is_under_way(features):
        raise JobError(f"features are made once at a time; {features.name!r} is under way; wait or cancel it")


def _start(project: Path, features: FeatureDir, command: list[str] | None) -> Job:
    command = command or command_of(project, features)
    features.clear_cancel()
    return run_jobs.enqueue(project, "features", RunDir(features.path), "auto", command)
