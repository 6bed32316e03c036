"""When two runs are repeats of one another: their settings except the seed, data and decisions, by digest.

Reads a run's config and decisions; compares no figures.
"""

import hashlib
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path

import pandas as pd

from curation.jobs.request import warm_start_of
from engine.contract.config import RunConfig
from engine.contract.errors import UserError
from engine.contract.manifest import DECISION_COLUMNS, read_decisions
from engine.contract.methods import METHODS
from engine.contract.run_dir import RunDir
from engine.contract.run_list import list_runs
from engine.contract.stamps import Stamp, stamp_of

NOT_OF_EXPERIMENT = ("seed", "device", "num_threads", "checkpoint_seconds", "tracker")
"""Settings that may differ between repeats of one experiment."""
ExperimentKey = tuple[tuple[tuple[str, object], ...], str | None, str]
"""Settings by dotted name and the weights taken from another run, digest of the manifest, digest of the decisions."""


def repeats_of(project: Path, run: RunDir) -> list[RunDir]:
    """The run and, after it, the finished runs of its project that differ from it by seed alone, newest first."""
    return [run, *(other for other in same_but_seed(run, list_runs(project)) if other.name != run.name)]


def same_but_seed(run: RunDir, others: Sequence[RunDir]) -> list[RunDir]:
    """The finished runs among `others` that differ from `run` by seed alone: same settings, manifest and decisions.

    A preview has no repeats and is none. Raises RunDirError or ConfigError where `run` itself is damaged.
    """
    key, found = experiment_key(run), []
    for other in others if key is not None else ():
        try:
            if (other.path / "predictions.parquet").exists() and experiment_key(other) == key:
                found.append(other)
        except UserError:  # a damaged run is no repeat; its own page says what is wrong
            continue
    return found


def experiment_key(run: RunDir) -> ExperimentKey | None:
    """All that makes two runs repeats of one another; None for a preview and for imported predictions, which repeat
    nothing. Worked out once for each state of the run's config and decisions."""
    return _experiment_key(run.path, stamp_of(run.path / "config.json", run.decisions_path))


@lru_cache(maxsize=4096)
def _experiment_key(path: Path, stamp: Stamp) -> ExperimentKey | None:
    run = RunDir(path)
    if warm_start_of(run) is not None:
        return None
    document = run.read_config()
    config = RunConfig.of_run(document["config"])
    if METHODS[config.method].is_imported:
        return None
    settings, manifest, decisions = key_of(config, document.get("manifest_digest"),
                                           digest_of_decisions(run.decisions_path))
    given = document.get("weights_from")
    return settings if given is None else (*settings, ("weights_from", given["signals_digest"])), manifest, decisions


def key_of(config: RunConfig, manifest_digest: str | None, decisions_digest: str) -> ExperimentKey:
    """experiment_key of a run of this config on this manifest under decisions of this digest_of."""
    every = flat(config.spelled_out().to_dict())
    settings = {name: value for name, value in every.items() if name not in NOT_OF_EXPERIMENT}
    return tuple(sorted(settings.items())), manifest_digest, decisions_digest


def digest_of(decisions: pd.DataFrame) -> str:
    """Digest of what decisions (DECISION_COLUMNS) say, in whatever order and file."""
    rows = decisions[list(DECISION_COLUMNS)].sort_values("sample_id").astype("str")
    return hashlib.sha256(pd.util.hash_pandas_object(rows, index=False).to_numpy().tobytes()).hexdigest()


def digest_of_decisions(path: Path) -> str:
    """digest_of a file of decisions, no file being no decisions; worked out once for each state of it."""
    return _digest_of_file(stamp_of(path))


@lru_cache(maxsize=1024)
def _digest_of_file(stamp: Stamp) -> str:
    return digest_of(read_decisions(Path(stamp[0].path)))


def flat(values: Mapping[str, object], prefix: str = "") -> dict[str, object]:
    """Nested settings by dotted name."""
    found: dict[str, object] = {}
    for name, value in values.items():
        found |= flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value}
    return found
