"""Studies in the background: planned here, queued with the runs, trained by `python -m engine study`.

A study's folder has the status and cancel files of a run's, so curation.jobs.run_jobs starts, watches and stops it,
and at most one of them all works on a device at a time.

    place.json     where its runs train, as its project had it when it was started
    request.json   the plan that was asked for (StudyPlan.to_dict; of older versions by arm's name), as the engine's
                   --plan reads it
    launch.json    how to start it: workers, is_tuned_here
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from curation.jobs import run_jobs
from curation.jobs.queue import Job, JobError
from curation.jobs.request import REQUEST_NAME, method_of
from curation.jobs.request import config_of as config_of_run
from curation.jobs.run_jobs import RunStatus
from engine.contract.cluster.place import PLACE_NAME, SLURM, choose_place, place_of
from engine.contract.config import RunConfig
from engine.contract.errors import UserError
from engine.contract.inside import way_out
from engine.contract.run_dir import RunDir, check_name
from engine.contract.run_list import Damaged
from engine.contract.settings import ConfigError, parse_settings
from engine.contract.stamps import Stamp, stamp_of
from engine.contract.studies.study_dir import StudyDir
from engine.contract.studies.study_plan import Arm, StudyPlan, config_of, merged, parse_arm, read_plan_file

LAUNCH_NAME = "launch.json"
OF_THEIR_OWN = ("method", "seed", "epochs")
"""Settings that a study is asked for by other means than its lines of settings."""


@dataclass(frozen=True, kw_only=True, slots=True)
class NewStudy:
    """A study that could be started: every arm's settings are valid."""

    name: str
    plan: StudyPlan
    num_workers: int = 1
    is_tuned_here: bool | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Cost:
    """What a plan will take, judged by what was trained on the project before."""

    num_runs: int
    seconds: float | None
    """Of all runs, on as many workers as planned; None where nothing has been measured."""
    num_measured: int
    """Finished runs that this rests on."""


# -- planning: starts nothing


def plan_study(name: str, methods: Sequence[str], num_seeds: int, epochs: int, *, arm_lines: str = "",
               setting_lines: str = "", reference: str | None = None, num_workers: int = 1,
               is_tuned_here: bool | None = None) -> NewStudy:
    """A study from what a person picked and typed. Raises ConfigError, StudyError or RunDirError in one line.

    arm_lines: more arms, one a line, as the command line's --arm has them; setting_lines: name=value, one a line.
    """
    settings = parse_settings([line.strip() for line in setting_lines.splitlines() if line.strip()])
    taken = [key for key in settings if key in OF_THEIR_OWN]
    if taken:
        raise ConfigError(f"a study's {', '.join(OF_THEIR_OWN)} stand in fields of their own; got {taken[0]} among the "
                          "settings; remove that line")
    arms = [*map(Arm.of_method, methods), *(parse_arm(line) for line in arm_lines.splitlines() if line.strip())]
    plan = merged(None, arms, range(num_seeds), {"epochs": epochs, **settings}, reference)
    for arm in plan.arms:
        config_of(arm, plan.settings, 0)
    return NewStudy(name=check_name(name), plan=plan, num_workers=num_workers, is_tuned_here=is_tuned_here)


def epoch_seconds(project: Path) -> dict[str, list[float]]:
    """method -> seconds that an epoch took in each finished run of the project, those of studies included; of methods
    that have epochs."""
    found: dict[str, list[float]] = {}
    for run in run_jobs.run_dirs(project):
        if run.exists() and run.read_status()["state"] == "done":
            metrics = run.read_metrics()
            if len(metrics) and method_of(run).is_trained:
                found.setdefault(config_of_run(run).method, []).append(float(metrics["seconds"].mean()))
    for study in StudyDir.list(project):
        if damage_of(study):
            continue
        rows = study.read_rows()
        for row in rows[rows["state"] == "done"].to_dict("records"):
            seconds = (row["seconds"] + row["ranking_seconds"]) / row["epochs"]
            found.setdefault(str(row["method"]), []).append(float(seconds))
    return found


def cost_of(new: NewStudy, measured: dict[str, list[float]]) -> Cost:
    """Runs and seconds of a study. measured: epoch_seconds; a method without any takes the mean of all runs."""
    plan = new.plan
    every = [seconds for values in measured.values() for seconds in values]
    if not every:
        return Cost(num_runs=plan.num_runs, seconds=None, num_measured=0)
    total = 0.0
    for arm in plan.arms:
        config: RunConfig = config_of(arm, plan.settings, 0)
        own = measured.get(config.method) or every
        total += config.epochs * sum(own) / len(own)
    at_once = min(new.num_workers, plan.num_runs)
    return Cost(num_runs=plan.num_runs, seconds=total * len(plan.seeds) / at_once, num_measured=len(every))


def command_of(project: Path, study: StudyDir) -> list[str]:
    """The engine's command line: a study that ever began goes on under its plan, else it is planned as asked for."""
    launch = study.read_json(study.path / LAUNCH_NAME) or {}
    command = [sys.executable, "-m", "engine", "study", str(project), "--name", study.name,
               "--workers", str(launch.get("workers", 1))]
    if (study.path / PLACE_NAME).exists():
        command += ["--place", str(study.path / PLACE_NAME)]
    if launch.get("is_tuned_here") is not None:
        command.append("--tuned-here" if launch["is_tuned_here"] else "--not-tuned-here")
    return command if study.exists() else [*command, "--plan", str(study.path / REQUEST_NAME)]


# -- looking


def studies(project: Path) -> list[StudyDir]:
    """Every study of a project that can be read, those still waiting to begin included, the one worked on last
    first."""
    stamps = {path: stamp for path, stamp in _folders(project).items() if not damage_of(StudyDir(path))}
    return [StudyDir(path) for path in sorted(stamps, key=lambda p: stamps[p], reverse=True)]


def damaged_studies(project: Path) -> list[Damaged]:
    """The studies that `studies` leaves out, by name: a damaged one harms itself alone."""
    return [Damaged(path.name, line) for path in sorted(_folders(project)) if (line := damage_of(StudyDir(path)))]


def _folders(project: Path) -> dict[Path, float]:
    """Folder of each study -> when its plan was last written."""
    folder, stamps = Path(project) / "studies", {}
    for path in folder.iterdir() if folder.is_dir() else ():
        files = [p for p in (path / "study.json", path / REQUEST_NAME) if p.exists()]
        if files and not path.name.startswith("."):
            stamps[path] = max(p.stat().st_mtime for p in files)
    return stamps


def damage_of(study: StudyDir) -> str:
    """What is broken in a study's plan, status or rows and what to do about it, one line; "" for a sound study. Files
    are read again only once they change."""
    files = [study.path / name for name in ("study.json", REQUEST_NAME, LAUNCH_NAME, "status.json")]
    files += sorted((study.path / "rows").glob("*.json"))
    return way_out(study.path, study.path.parents[1]) or _damage(study.path, stamp_of(*files))


@lru_cache(maxsize=256)
def _damage(path: Path, stamp: Stamp) -> str:
    study = StudyDir(path)
    try:
        study.read_status()
        plan = asked_plan(study)
        study.read_json(study.path / LAUNCH_NAME)
        if study.exists():
            for arm in plan.arms:
                for seed in plan.seeds:
                    study.read_row(arm.name, seed)
    except (UserError, OSError) as error:
        return str(error)
    return ""


def status_of(study: StudyDir) -> RunStatus:
    """What the study is doing now, in a run's words; details is status.json as engine.study.runner writes it."""
    return run_jobs.status_of(RunDir(study.path))


def asked_plan(study: StudyDir) -> StudyPlan:
    """The plan of study.json, else of the request. Raises StudyError if there is neither or it is damaged."""
    request = study.path / REQUEST_NAME
    if study.exists() or not request.exists():
        return study.read_document().plan
    asked = read_plan_file(request)
    return merged(None, asked.arms, asked.seeds, asked.settings, asked.reference)


# -- acting


def submit(project: Path, new: NewStudy, command: list[str] | None = None) -> Job:
    """Queue a new study and start its process. `command` replaces the engine's (tests). Raises JobError."""
    project = Path(project).resolve()
    study = StudyDir.of(project, new.name)
    run_jobs.claim(study.path, "study")
    study.write_json(study.path / LAUNCH_NAME, {"workers": new.num_workers, "is_tuned_here": new.is_tuned_here})
    study.write_json(study.path / REQUEST_NAME, new.plan.to_dict())
    return _start(project, study, command)


def resume(project: Path, name: str, command: list[str] | None = None) -> Job:
    """Queue a study again: what is done stays, what is missing or failed is trained. Raises JobError if active and
    StudyError for damaged files."""
    project = Path(project).resolve()
    study = StudyDir.of(project, name)
    if not study.path.is_dir():
        raise JobError(f"a study to resume must exist; {project.name} has no study {name!r}; start it instead")
    status = status_of(study)
    if status.is_active:
        raise JobError(f"a study can be resumed once it has stopped; {name!r} is {status.state}; wait or cancel it")
    study.clear_cancel()
    return _start(project, study, command)


def cancel(project: Path, name: str) -> None:
    """Ask a queued or running study to stop between two steps; finished runs stay. Raises JobError if it is neither."""
    run_jobs.cancel_in(RunDir(StudyDir.of(Path(project).resolve(), name).path))


def _start(project: Path, study: StudyDir, command: list[str] | None) -> Job:
    try:
        chosen = place_of(project)
    except ConfigError as error:
        raise JobError(str(error)) from error
    if chosen.where == SLURM:  # what it begins with holds until it is resumed
        choose_place(study.path, chosen)
    else:
        (study.path / PLACE_NAME).unlink(missing_ok=True)
    device = str(asked_plan(study).settings.get("device", RunConfig().device))
    return run_jobs.enqueue(project, "study", RunDir(study.path), device, command or command_of(project, study))
