"""Features in the background: asked for here, queued with the runs, made by `python -m engine features`.

A features' folder has the status and cancel files of a run's, so curation.jobs.run_jobs starts, watches and stops it.
At its end the engine makes a run of method discriminant on them, by which pages show a map and suspects.

    request.json   FeatureRequest
"""

import sys
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from curation.jobs import queue, run_jobs
from curation.jobs.queue import Job, JobError
from curation.jobs.request import REQUEST_NAME
from curation.jobs.run_jobs import RunStatus
from engine.contract.feature_dir import DEFAULT_BACKBONE, FeatureDir, FeatureError
from engine.contract.run_dir import RunDir, check_name

DEFAULT_NAME = "lite0"
MAX_AT_ONCE = 20_000
"""Images up to which features are made right after an import without being asked for: some minutes' work."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FeatureRequest:
    """Features, as they were asked for."""

    backbone: str = DEFAULT_BACKBONE
    image_size: int | None = None
    """Side of the images that the backbone sees, in pixels; None: its own."""
    is_mirrored: bool = False


def submit(project: Path, name: str, request: FeatureRequest, command: list[str] | None = None) -> Job:
    """Queue the making of features, or of those that are missing where some are there, and start its process.

    `command` replaces the engine's (tests). Raises JobError if it is under way, RunDirError for a bad name,
    FeatureError where the name is that of imported features.
    """
    project = Path(project).resolve()
    features = FeatureDir.of(project, check_name(name))
    if features.exists() and features.read_document().get("kind") == "imported":
        raise FeatureError(f"features that were imported cannot be made here; {name!r} is such a name; choose another")
    features.path.mkdir(parents=True, exist_ok=True)
    features.write_json(features.path / REQUEST_NAME, asdict(request))
    return _start(project, features, command)


def resume(project: Path, name: str, command: list[str] | None = None) -> Job:
    """Queue features again: what is done stays, what is missing is made. Raises JobError if they are under way, were
    never asked for here, or the request is damaged."""
    project = Path(project).resolve()
    return _start(project, FeatureDir.of(project, name), command)


def cancel(project: Path, name: str) -> None:
    """Ask the making of features to stop; what is done stays. Raises JobError if it is not under way."""
    run_jobs.cancel_in(RunDir(FeatureDir.of(Path(project).resolve(), name).path))


def features_of(project: Path) -> list[FeatureDir]:
    """All features of a project by name: made, under way, failed or imported."""
    folder = Path(project) / "features"
    paths = sorted(folder.iterdir()) if folder.is_dir() else []
    return [FeatureDir(path) for path in paths if (path / "features.json").exists() or (path / REQUEST_NAME).exists()]


def status_of(features: FeatureDir) -> RunStatus:
    """What is being done about features, in a run's words. Imported ones are done."""
    return run_jobs.status_of(RunDir(features.path))


def is_under_way(features: FeatureDir) -> bool:
    """Whether a process makes them, or waits to, or makes the map of those that are made."""
    path = features.path.resolve()
    return status_of(features).is_active or any(
        job.kind == "features" and job.run_dir.path == path for job in queue.active())


def request_of(features: FeatureDir) -> FeatureRequest:
    """What was asked for. Raises JobError where nothing was, or the file is damaged."""
    values: object = features.read_json(features.path / REQUEST_NAME)
    names = {field.name for field in fields(FeatureRequest)}
    if not isinstance(values, dict) or set(values) != names:
        raise JobError(f"features to be made must have {REQUEST_NAME} with {', '.join(sorted(names))}; {features.path} "
                       "has none, or a damaged one; ask for them anew")
    return FeatureRequest(**values)


def command_of(project: Path, features: FeatureDir) -> list[str]:
    """The engine's command line. Raises JobError as request_of does."""
    request = request_of(features)
    command = [sys.executable, "-m", "engine", "features", str(project), "--name", features.name,
               "--backbone", request.backbone]
    if request.image_size is not None:
        command += ["--image-size", str(request.image_size)]
    return [*command, "--mirror"] if request.is_mirrored else command


def _start(project: Path, features: FeatureDir, command: list[str] | None) -> Job:
    if is_under_way(features):
        raise JobError(f"features are made once at a time; {features.name!r} is under way; wait or cancel it")
    features.clear_cancel()
    return run_jobs.enqueue(project, "features", RunDir(features.path), "auto",
                            command or command_of(project, features))
