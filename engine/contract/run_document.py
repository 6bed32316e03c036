"""config.json of a run: its settings and where its results come from, as typed documents."""

from typing import Any, Required, TypedDict, cast

from engine.contract.config import RunConfig
from engine.contract.disk import layouts
from engine.contract.errors import UserError
from engine.contract.json_kinds import problem_of, shown
from engine.contract.methods import METHODS
from engine.contract.metrics import ChosenWeightDecay
from engine.contract.work_dir import MAX_SECONDS


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


class SplitCounts(TypedDict):
    """Samples of one split that the manifest lists, and why some of them take no part."""

    num_samples: int
    num_unreadable: int
    """The image is missing or cannot be read, or there are no features of it."""
    num_unlabelled: int
    """Of the others those whose label is no class."""
    num_excluded: int
    """Of the others those that a decision excludes; of split train alone."""


def num_used(counts: SplitCounts) -> int:
    """Samples that take part."""
    return counts["num_samples"] - counts["num_unreadable"] - counts["num_unlabelled"] - counts["num_excluded"]


def can_take_weights(config: RunConfig) -> bool:
    """Whether training is plain, all weights alike and nothing held in validation, so that those of another run can be
    taken (--weights-from)."""
    return config.weight_source == "uniform" and config.validation_source == "none" and not config.has_first_training \
        and METHODS[config.method].is_trained and config.weights_by is None


class RunDocument(TypedDict, total=False):
    """config.json: the settings of a run and where its results come from; older code wrote fewer of these."""

    layout: int
    config: Required[dict[str, Any]]
    """RunConfig.to_dict(); RunConfig.of_run reads it."""
    name: str
    method: str
    created: float
    """Seconds since 1970; 0 or later."""
    project: str
    versions: dict[str, str]
    code_revision: str
    manifest_digest: str
    decisions_digest: str
    num_decisions: int
    features_digest: str
    """Of the samples.parquet of the features it rests on; "" of a run on images alone."""
    hardware: str
    num_processes: int
    launch: str | None  # what tells one call of torchrun from the next
    warm_start: WarmStart
    """Of a preview alone."""
    weights_from: WeightsFrom
    """Of a training under another run's weights alone (engine.runs.given_weights)."""
    splits: dict[str, SplitCounts]
    """Of each split of the manifest (train, clean, test), as the run found it when it last began or went on."""
    chosen: ChosenWeightDecay
    """Of a head on features whose config leaves weight_decay to the run."""
    imported_file: str
    imported_digest: str
    map_of: str | None
    """Of method imported alone: name and SHA-256 of the file, and the run whose map and neighbours were taken."""


def checked(document: dict[str, Any]) -> RunDocument:
    """What was read of a config.json, its config whole: settings that older code did not know are what it did. Raises
    UserError, the end of a line, where one could not go by it."""
    created = document.get("created")
    problem = layouts.newer(document.get("layout"), layouts.RUN) or problem_of(document, RunDocument) or (
        f"created is {shown(created)}" if created is not None and not 0 <= created <= MAX_SECONDS else "")
    if problem:
        raise UserError(problem)
    try:
        config = RunConfig.of_run(document["config"]).written()
    except RecursionError as error:
        raise UserError("its config is nested too deeply") from error
    return cast(RunDocument, {**document, "config": config})
