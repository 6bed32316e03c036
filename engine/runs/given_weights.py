"""Plain training under what another run learned: its sample weights, who it held in validation, and its decisions.

    given_weights.parquet      sample_id, weight, rests, role_reason: one row a training sample, copied as a run begins

The weights are those of that run's last epoch. A sample rests out of training if that run had it in validation there:
routed or pinned, not resting by rotation. Runs that learn weights finish with all samples (finish_fraction): then only
those pinned to validation rest. A sample that was in training without a weight, such as one that RHO-loss passed over,
has weight 1. What the other run does later changes nothing here.
"""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd

from engine.contract.config import RunConfig
from engine.contract.disk.seals import check_seal
from engine.contract.manifest import MANIFEST_NAME, file_digest
from engine.contract.run_dir import RunDir, RunDirError
from engine.contract.run_document import WeightsFrom, can_take_weights
from engine.contract.settings import ConfigError
from engine.contract.work_dir import write_atomic
from engine.data.dataset import Dataset
from engine.molere.weight_sources import Given

GIVEN_NAME = "given_weights.parquet"


def keep_given(project: Path, name: str, run: RunDir, config: RunConfig) -> WeightsFrom:
    """Copy what the run `name` learned, and its decisions, into the folder of `run`; what config.json keeps of it.

    Raises ConfigError where `config` is no plain training or that run saw other data, RunDirError where it is not there
    or its first epoch has not ended.
    """
    if not can_take_weights(config):
        raise ConfigError(f"weights of another run are for plain training; got method={config.method} with validation "
                          f"{config.validation_source}; choose method=erm")
    source = RunDir.of(project, name)
    if source.read_config().get("manifest_digest") != file_digest(Path(project) / MANIFEST_NAME):
        raise ConfigError(f"weights must be of this project's present data; it changed since {name!r} began; train "
                          "that run anew")
    signals = source.read_signals()
    rests = signals["weight"].isna() & (signals["role"] == "validation") & ~signals["is_resting"].astype(bool)
    kept = pd.DataFrame({"sample_id": signals["sample_id"], "weight": signals["weight"].fillna(1.0), "rests": rests,
                         "role_reason": signals["role_reason"]})
    write_atomic(run.path / GIVEN_NAME, lambda p: kept.to_parquet(p, index=False))
    if source.decisions_path.exists():
        write_atomic(run.decisions_path, lambda p: shutil.copyfile(source.decisions_path, p))
    return {"run": name, "signals_digest": file_digest(source.signals_path)}


def read_given(run: RunDir, data: Dataset) -> Given | None:
    """What keep_given left, in the order of the train split, the weights scaled to mean 1 over those that train; None
    where it left nothing."""
    if not run.read_config().get("weights_from"):
        return None
    path = run.path / GIVEN_NAME
    try:
        check_seal(path)
        rows = pd.read_parquet(path).set_index("sample_id").reindex(data.sample_ids[data.train_idx])
    except (OSError, ValueError) as error:  # pyarrow's errors are among them
        raise RunDirError(f"a run goes on under the weights that it began with; {path}: "
                          f"{' '.join(str(error).split())[:120]}; start a new run") from error
    rests = rows["rests"].to_numpy(dtype=bool)
    weights = rows["weight"].to_numpy(dtype=np.float32)
    weights = weights / weights[~rests & ~data.excluded].mean()
    return Given(weights_N=weights, rests_N=rests, reasons_N=rows["role_reason"].to_numpy(dtype=object))
