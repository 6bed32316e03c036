"""A row of a study: what one run under one arm and seed came to, and all that it depends on. Imports no torch.

Reads and writes no file: engine.contract.studies.study_dir does.
"""

from typing import Literal, TypedDict, cast

from engine.contract.older_runs import FORMER_METRICS
from engine.contract.studies.study_plan import StudyError


class GroupFigures(TypedDict):
    """Accuracies on the test split, in [0, 1]; None and empty without one."""

    balanced_accuracy: float | None
    """Mean of the recalls of the classes present."""
    worst_class_accuracy: float | None
    worst_group_accuracy: float | None
    worst_group: str | None
    class_accuracies: dict[str, float]
    group_accuracies: dict[str, float]
    """Of groups of at least engine.contract.statistics.measures.SMALLEST_GROUP samples."""


class LastFigures(TypedDict):
    """Figures of the last epoch, or of the last that has them; None where none has."""

    test_accuracy: float | None
    clean_accuracy: float | None
    train_loss: float | None
    effective_sample_frac: float | None
    """Kish's effective sample size of the weights over the samples in training, in (0, 1]."""
    guard_wrong_share: float | None
    """Share of wrong labels among the routed, where the truth is known."""
    unguarded_wrong_share: float | None
    coverage: float | None
    num_routed: int
    churn: float | None
    validation_loss: float | None
    rest_loss: float | None
    """Held-out loss of those that rested by rotation alone, in the last epoch in which any did."""
    routed_loss_then: float | None
    """Held-out loss of the routed in that same epoch, under the same classifier."""
    weight_right: float | None
    weight_wrong: float | None
    """Mean weight of right and of wrong labels, where the truth is known."""
    churn_late: float | None
    """Mean over the last third of the epochs that have churn."""


class LabelFigures(TypedDict):
    """engine.contract.statistics.measures.detection of wrong labels by columns of signals.parquet, where the truth is
    known."""

    label_quality_auroc: float | None
    label_quality_average_precision: float | None
    mean_margin_auroc: float | None
    mean_margin_average_precision: float | None
    p_train_auroc: float | None
    p_train_average_precision: float | None


class RunFigures(LastFigures, GroupFigures, LabelFigures):
    """All that is measured of a run."""

    method: str
    seconds: float
    cpu_seconds: float
    """Both of the training alone, without ranking and measuring."""
    num_steps: int
    epochs: int
    device: str
    curve: dict[str, list[float | None]]
    """Figure -> its value in each epoch."""


class Provenance(TypedDict):
    """What a run was trained under. A row stands for a run of the same config, decisions and manifest."""

    settings: dict[str, object]
    """Its arm as it was planned (Arm.to_dict), for people to read."""
    config: dict[str, object]
    """RunConfig.to_dict(), of the code of then."""
    decisions_digest: str
    """SHA-256; "" without decisions."""
    manifest_digest: str
    code_revision: str
    finished: float
    """Seconds since the epoch."""


class DoneRow(Provenance, RunFigures):
    """A run that ended. Rows of older code lack the figures that came later."""

    arm: str
    seed: int
    state: Literal["done"]
    error: None
    ranking_seconds: float
    """That the cross-fitted ranking took, of which several arms may share one; 0 without."""


class FailedRow(Provenance):
    """A run that failed."""

    arm: str
    seed: int
    state: Literal["failed"]
    error: str
    """One line."""
    method: str


Row = DoneRow | FailedRow
FORMER_NAMES = {f"aum_{figure}": f"mean_margin_{figure}" for figure in ("auroc", "average_precision")}
FORMER_NAMES |= FORMER_METRICS
"""What older code called some figures."""


def row_of(values: object) -> Row:
    """A row as its file has it, figures under the names of now. Raises StudyError if it lacks what every row has."""
    kinds = {"arm": str, "seed": int, "config": dict, "settings": dict, "decisions_digest": str, "manifest_digest": str}
    if not isinstance(values, dict):
        raise StudyError(f"a row must be an object; got {values!r}")
    wrong = [name for name, kind in kinds.items() if not isinstance(values.get(name), kind)]
    if wrong or values.get("state") not in ("done", "failed"):
        name = wrong[0] if wrong else "state"
        raise StudyError(f"a row must have state (done or failed), {', '.join(kinds)}; its {name} is "
                         f"{values.get(name)!r}")
    row = {FORMER_NAMES.get(name, name): value for name, value in values.items()}
    if isinstance(curve := row.get("curve"), dict):
        row["curve"] = {FORMER_METRICS.get(name, name): value for name, value in curve.items()}
    return cast(Row, row)
