"""When two runs are repeats of one another: their settings but for the seed, data and decisions, by digest.

Reads a run's config and decisions; compares no figures.
"""

import hashlib
from functools import lru_cache
from pathlib import Path
from typing import Any

import pandas as pd

from curation.jobs.request import warm_start_of
from engine.contract.config import RunConfig
from engine.contract.manifest import DECISION_COLUMNS, read_decisions
from engine.contract.run_dir import RunDir
from engine.contract.stamps import Stamp, stamp_of

NOT_OF_EXPERIMENT = ("seed", "device", "num_threads", "checkpoint_seconds")
"""Settings that may differ between repeats of one experiment."""


def experiment_key(run: RunDir) -> tuple[Any, ...] | None:
    """All that makes two runs repeats of one another; None for a preview, which repeats nothing."""
    if warm_start_of(run) is not None:
        return None
    document = run.read_config()
    return key_of(RunConfig.of_run(document["config"]), document.get("manifest_digest"),
                  digest_of_decisions(run.decisions_path))


def key_of(config: RunConfig, manifest_digest: str | None, decisions_digest: str) -> tuple[Any, ...]:
    """experiment_key of a run of this config on this manifest under decisions of this digest_of."""
    settings = {name: value for name, value in flat(config.to_dict()).items() if name not in NOT_OF_EXPERIMENT}
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


def flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings by dotted name."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        found |= flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value}
    return found
