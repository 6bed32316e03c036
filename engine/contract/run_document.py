"""config.json of a run: its settings and where its results come from, as typed documents."""

from typing import Any, Required, TypedDict

from engine.contract.config import RunConfig
from engine.contract.methods import METHODS
from engine.contract.metrics import ChosenWeightDecay


class WarmStart(TypedDict):
    """The classifier that a preview begins with."""

    run: str
    checkpoint: str
    """Name of the file in that run's checkpoint folder."""


class WeightsFrom(TypedDict):
    """The run whose weights, split and decisions a plain training goes by."""

    run: str
    signals_digest: str
    """SHA-256 of its signals.parquet as they were then."""


def can_take_weights(config: RunConfig) -> bool:
    """Whether training is plain, all weights alike and nothing held in validation, so that those of another run can be
    taken (--weights-from)."""
    return config.weight_source == "uniform" and config.validation_source == "none" and not config.is_cross_fitted \
        and METHODS[config.method].is_trained


class RunDocument(TypedDict, total=False):
    """config.json: the settings of a run and where its results come from; older code wrote fewer of these."""

    config: Required[dict[str, Any]]
    """RunConfig.to_dict(); RunConfig.of_run reads it."""
    name: str
    method: str
    created: float
    """Seconds since 1970."""
    project: str
    versions: dict[str, str]
    code_revision: str
    manifest_digest: str
    decisions_digest: str
    num_decisions: int
    features_digest: str
    """Of the features' samples.parquet; "" of a run on images."""
    hardware: str
    num_processes: int
    launch: str | None  # what tells one call of torchrun from the next
    warm_start: WarmStart
    """Of a preview alone."""
    weights_from: WeightsFrom
    """Of a training under another run's weights alone (engine.runs.given_weights)."""
    chosen: ChosenWeightDecay
    """Of a head on features whose config leaves weight_decay to the run."""
    imported_file: str
    imported_digest: str
    map_of: str | None
    """Of method imported alone: name and SHA-256 of the file, and the run whose map and neighbours were taken."""
