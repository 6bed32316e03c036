"""The runs of a project: those that can be read, and what is wrong with the others, so that a damaged one harms itself
alone; and the one that shows features."""

import os
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from engine.contract.errors import UserError
from engine.contract.feature_dir import FeatureDir
from engine.contract.inside import way_out
from engine.contract.manifest import DECISIONS_NAME, MANIFEST_NAME, file_digest
from engine.contract.run_dir import RunDir, check_name
from engine.contract.run_document import RunDocument
from engine.contract.stamps import Stamp, stamp_of
from engine.contract.work_dir import check_table, open_array

_DOCUMENTS = ("config.json", "status.json", "metrics.jsonl")
_TABLES = ("signals.parquet", "embedding.parquet", "predictions.parquet", "decisions.parquet")
_ARRAYS = ("probabilities.npy", "label_head.npy", "cross_fitted.npy", "neighbours.npy")


class Damaged(NamedTuple):
    """The folder of a run or a study that cannot be used. line: what is broken and what to do, one line."""

    name: str
    line: str


def list_runs(project: Path) -> list[RunDir]:
    """Every run of a project that began and can be read, newest first by the time it was created."""
    folder = Path(project) / "runs"
    runs = [RunDir(p) for p in folder.iterdir() if not p.name.startswith(".") and (p / "config.json").exists()] \
        if folder.is_dir() else []
    sound = [run for run in runs if not damage_of(run)]
    return sorted(sound, key=lambda run: run.read_config().get("created") or 0.0, reverse=True)


def damage_of(run: RunDir) -> str:
    """What is broken in a run's files and what to do about it, one line; "" where each can be opened or is not there
    yet, they are no other run's, and no links out of the project. They are looked at again only once one changes."""
    stamp = stamp_of(*(run.path / name for name in (*_DOCUMENTS, *_TABLES, *_ARRAYS, "history")))
    return way_out(run.path, run.path.parents[1]) or _damage(run.path, stamp) or _copied_from(run)


@lru_cache(maxsize=2048)
def _damage(path: Path, stamp: Stamp) -> str:
    run = RunDir(path)
    try:
        run.read_status()
        if run.exists():
            run.read_config()
        run.read_metrics()
        arrays = [*(path / name for name in _ARRAYS), *sorted((path / "history").glob("*.npy"))]
        files = [*((path / name, check_table) for name in _TABLES), *((file, open_array) for file in arrays)]
        with ThreadPoolExecutor(os.cpu_count()) as pool:  # digests of gigabytes, for which no thread holds up another
            for _ in pool.map(lambda each: each[1](each[0]), [each for each in files if each[0].exists()]):
                pass
    except (UserError, OSError) as error:
        return str(error)
    return ""


def _copied_from(run: RunDir) -> str:
    """What to do about a copy of another run's folder, which is there as well: it would count as a second run."""
    try:
        document = run.read_config() if run.exists() else RunDocument(config={})
        name = document.get("name") or run.name
        if name == run.name:
            return ""
        original = RunDir(run.path.parent / check_name(name))
        created = document.get("created")  # none says nothing: two runs of older code have none
        is_copy = created is not None and original.exists() and original.read_config().get("created") == created
    except (UserError, OSError):  # of an original that is broken the copy is what is left
        return ""
    return f"each folder must be a run of its own; {run.path} is a copy of run {name}; move it away" if is_copy else ""


def map_run(project: Path, features: str) -> tuple[RunDir, bool]:
    """The run of method discriminant on features, which shows a map and suspected labels without a training, and
    whether it is there, done and up to date. Where it is not: a new run's, by the name of the features, or with a
    number where a run of that name is another's or out of date."""
    wanted = {"manifest_digest": file_digest(Path(project) / MANIFEST_NAME),
              "decisions_digest": file_digest(Path(project) / DECISIONS_NAME),
              "features_digest": file_digest(FeatureDir.of(project, features).samples_path)}
    number = 1
    while (run := RunDir.of(project, features if number == 1 else f"{features}-{number}")).exists():
        document = run.read_config()
        config = document["config"]
        if (config.get("method"), config.get("features")) == ("discriminant", features) \
                and run.read_status()["state"] == "done" \
                and all(document.get(key) == value for key, value in wanted.items()):
            return run, True
        number += 1
    return run, False
