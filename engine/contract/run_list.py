"""The runs of a project: those that can be read, and what is wrong with the others, so that a damaged one harms itself
alone."""

from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from engine.contract.config import RunConfig
from engine.contract.errors import UserError
from engine.contract.run_dir import RunDir
from engine.contract.stamps import Stamp, stamp_of


class Damaged(NamedTuple):
    """The folder of a run or a study that cannot be used. line: what is broken and what to do, one line."""

    name: str
    line: str


def list_runs(project: Path) -> list[RunDir]:
    """Every run of a project that began and can be read, newest first by the time it was created."""
    folder = Path(project) / "runs"
    runs = [RunDir(p) for p in folder.iterdir() if (p / "config.json").exists()] if folder.is_dir() else []
    sound = [run for run in runs if not damage_of(run)]
    return sorted(sound, key=lambda run: run.read_config().get("created") or 0.0, reverse=True)


def damage_of(run: RunDir) -> str:
    """What is broken in a run's config, status or metrics and what to do about it, one line; "" where all three can be
    read or are not there yet. Files are read again only once they change."""
    return _damage(run.path, stamp_of(*(run.path / name for name in ("config.json", "status.json", "metrics.jsonl"))))


@lru_cache(maxsize=2048)
def _damage(path: Path, stamp: Stamp) -> str:
    run = RunDir(path)
    try:
        run.read_status()
        if run.exists():
            _check_config(run)
        run.read_metrics()
    except (UserError, OSError) as error:
        return str(error)
    return ""


def _check_config(run: RunDir) -> None:
    """Raises UserError where pages and commands could not go by this config.json."""
    file, document = run.path / "config.json", run.read_config()
    todo = "restore it from a copy, or move the folder of the run away"
    if not isinstance(document.get("config"), dict):
        raise run.error(f"{file} must have the run's config; it has {', '.join(document) or 'nothing'}; {todo}")
    kinds: dict[str, type | tuple[type, ...]] = {
        "created": (int, float), "method": str, "manifest_digest": str, "decisions_digest": str, "num_decisions": int,
        "versions": dict, "warm_start": dict, "weights_from": dict, "chosen": dict}
    wrong = [name for name, kind in kinds.items() if document.get(name) is not None
             and not isinstance(document.get(name), kind)]
    if wrong:
        raise run.error(f"{file} must be as it was written; its {wrong[0]} is {document.get(wrong[0])!r}; {todo}")
    try:
        RunConfig.of_run(document["config"])
    except UserError as error:
        raise run.error(f"{file} must have settings of a run: {error}; {todo}") from error
