"""Manifest -> decoded images and labels.

Does not decide roles and does not change labels beyond applying the decisions file.
"""

import contextlib
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd

from engine.contract.config import RunConfig
from engine.contract.errors import UserError
from engine.contract.feature_dir import FeatureStore, list_features
from engine.contract.manifest import SPLITS, ManifestError, image_root, read_info, read_manifest
from engine.contract.method_config import asks_features, features_used
from engine.contract.methods import METHODS, TRAINABLE
from engine.contract.run_document import SplitCounts
from engine.contract.settings import ConfigError
from engine.data.components import open_components
from engine.data.image_cache import Progress, decode_images, native_size

KNOWN_SHARE = 0.9
"""Of a train split that features know, for a training on images to start from them unasked."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Dataset:
    """A project's samples in memory. M rows of the manifest, of which N are the train split, in manifest order."""

    classes: tuple[str, ...]
    images: np.ndarray
    """(M, 3, S, S) uint8, memory-mapped; on features (M, D) float16, what a head sees of each (engine.data.components).
    """
    labels: np.ndarray
    """(M,) int64 labels to train on or score against: given_label under the decisions; -1 where there is none."""
    clean_labels: np.ndarray
    """(M,) int64 known truth, -1 where unknown. For scoring alone."""
    sample_ids: np.ndarray
    """(M,) object."""
    train_idx: np.ndarray
    clean_idx: np.ndarray
    test_idx: np.ndarray
    """Rows of each split, int64; clean and test leave unreadable and unlabelled rows out."""
    pins: np.ndarray
    """(N,) int8 over train rows: 1 pinned to training, -1 pinned to validation, 0 free."""
    excluded: np.ndarray
    """(N,) bool: excluded by a decision, without a label or unreadable."""
    exclusions: np.ndarray
    """(N,) object: of excluded rows one of ROLE_REASONS (engine.contract.signal_columns), "" of others."""
    unreadable: dict[str, str]
    """sample_id -> what is wrong with its image, one line."""
    groups: np.ndarray | None
    """(M,) object of group names, where the manifest has them."""
    siblings: np.ndarray | None = None
    """(N,) int64 over train rows: samples of equal number stay in one fold; None: each by itself."""
    own_weights: np.ndarray | None = None
    """(N,) float32 over train rows, >= 0, from a column of the manifest; None: all alike."""
    features: np.ndarray | None = None
    """(M, D) float16 components of the features that splitter.features names, of a network of images; None of heads,
    and where there are none. Rows of no features are all 0."""
    splits: np.ndarray = field(default_factory=lambda: np.empty(0, dtype=object))
    """(M,) object: the split of each row."""

    @property
    def num_train(self) -> int:
        return len(self.train_idx)

    def split_counts(self) -> dict[str, SplitCounts]:
        """What each split of the manifest has, and what of it takes no part."""
        if not len(self.splits):  # of a data set that is no project's
            return {}
        is_unreadable = pd.Series(self.sample_ids).isin(self.unreadable.keys()).to_numpy(dtype=bool)
        is_decided = np.zeros(len(self.splits), dtype=bool)
        is_decided[self.train_idx] = self.exclusions == "excluded_decision"
        is_decided &= ~is_unreadable
        is_unlabelled = (self.labels < 0) & ~is_unreadable & ~is_decided
        return {split: SplitCounts(num_samples=int(of.sum()), num_unreadable=int((of & is_unreadable).sum()),
                                   num_unlabelled=int((of & is_unlabelled).sum()),
                                   num_excluded=int((of & is_decided).sum()))
                for split in SPLITS if (of := self.splits == split).any()}

    @property
    def num_classes(self) -> int:
        return len(self.classes)

    @property
    def train_labels(self) -> np.ndarray:
        labels: np.ndarray = self.labels[self.train_idx]
        return labels


def load_dataset(project: Path, decisions: pd.DataFrame, image_size: int | None, progress: Progress, *,
                 features: str | None = None, num_components: int | None = None,
                 folds_by: str | None = None, weights_by: str | None = None) -> Dataset:
    """Read the manifest, decode (or reopen) the images, or open their features, and apply the decisions.

    decisions: DECISION_COLUMNS. image_size None: the data's own size, at most 224. features, num_components, folds_by,
    weights_by: of the config. Raises ManifestError where the manifest breaks the contract, nothing is left to train on,
    a weight is none, or a decision names an unknown class.
    """
    project = Path(project)
    info = read_info(project)
    own = [column for column in (folds_by, weights_by) if column is not None]
    rows = read_manifest(project, columns=["path", "image", "clean_label", "group", *own])
    if not (rows["split"] == "train").any():
        raise ManifestError(f"a project needs samples of split train; {project} has none of {len(rows)}; import again")
    splits = rows["split"].to_numpy(dtype=object)
    train_idx = np.flatnonzero(splits == "train")
    if features is not None:
        images, bad = open_components(project, features, rows["sample_id"].to_numpy(dtype=object), train_idx,
                                      num_components, progress)
    else:
        root = image_root(project, info)
        images, bad = decode_images(project, rows, root, image_size or native_size(rows, root), progress)
    labels = _label_codes(rows["given_label"], info.classes)
    is_usable = labels >= 0
    is_usable[list(bad)] = False
    given = Dataset(
        classes=info.classes, images=images, labels=labels,
        clean_labels=_label_codes(rows["clean_label"], info.classes) if "clean_label" in rows else
        np.full(len(rows), -1, dtype=np.int64),
        sample_ids=rows["sample_id"].to_numpy(dtype=object), train_idx=train_idx,
        clean_idx=np.flatnonzero((splits == "clean") & is_usable),
        test_idx=np.flatnonzero((splits == "test") & is_usable),
        pins=np.zeros(len(train_idx), dtype=np.int8), excluded=np.zeros(len(train_idx), dtype=bool),
        exclusions=np.full(len(train_idx), "", dtype=object),
        unreadable={str(rows["sample_id"].iloc[row]): why for row, why in bad.items()},
        groups=rows["group"].to_numpy(dtype=object) if "group" in rows else None,
        splits=splits, siblings=None if folds_by is None else _siblings(rows, folds_by, train_idx),
        own_weights=None if weights_by is None else _weights(rows, weights_by, train_idx),
    )
    return decided(given, decisions, project)


def decided(data: Dataset, decisions: pd.DataFrame, project: Path) -> Dataset:
    """A dataset that was loaded under no decisions, under these (DECISION_COLUMNS); what is large is shared. Raises
    ManifestError as load_dataset does."""
    labels, train_idx = data.labels.copy(), data.train_idx
    sample_ids = data.sample_ids[train_idx]
    pins, excluded, reasons = _apply_decisions(decisions, sample_ids, train_idx, labels, data.classes)
    unreadable = pd.Series(sample_ids).isin(data.unreadable.keys()).to_numpy(dtype=bool)
    for is_out, reason in ((labels[train_idx] < 0, "excluded_unlabelled"), (unreadable, "excluded_unreadable")):
        reasons[is_out & ~excluded] = reason
        excluded |= is_out
    if excluded.all():
        first = next(iter(data.unreadable.values()), reasons[0])
        raise ManifestError(f"training needs at least one usable sample; all {len(train_idx)} of {project} are "
                            f"excluded, unlabelled or unreadable (first: {first}); undo exclusions or import again")
    if (excluded | (pins == -1)).all():
        raise ManifestError(f"training needs at least one usable sample outside validation; all {(~excluded).sum()} of "
                            f"{project} are pinned to validation; unpin some")
    return replace(data, labels=labels, pins=pins, excluded=excluded, exclusions=reasons)


def load_for(config: RunConfig, project: Path, decisions: pd.DataFrame, progress: Progress) -> Dataset:
    """load_dataset with what a config, settled, says of it. Raises ConfigError for a method that nothing here
    trains."""
    if METHODS[config.method].is_imported:
        raise ConfigError(f"predictions that were imported are not trained; got method={config.method}; choose one of "
                          f"{', '.join(TRAINABLE)}")
    data = load_dataset(project, decisions, config.image_size, progress, features=config.features,
                        num_components=config.num_components, folds_by=config.folds_by, weights_by=config.weights_by)
    starts_from = features_used(config)
    if config.features or starts_from is None:
        return data
    components, _ = open_components(Path(project), starts_from, data.sample_ids, data.train_idx, config.num_components,
                                    progress)
    return replace(data, features=components)


def settled(config: RunConfig, project: Path) -> RunConfig:
    """The config with the features that splitter.features=auto comes to in this project as it is now, where it counts
    at all. What is written of a run is settled: features that are made later change nothing about it."""
    if not asks_features(config) or config.splitter.features != "auto":
        return config
    return replace(config, splitter=replace(config.splitter, features=own_features(Path(project))))


def begun(config: RunConfig) -> RunConfig:
    """The config of a training that has begun, to load its data by: what it started from is in its checkpoint."""
    return replace(config, splitter=replace(config.splitter, features=None))


def own_features(project: Path) -> str | None:
    """The first features by name that can be read, are not outdated and are of most samples of the train split
    (KNOWN_SHARE); None: none. A folder called auto is no choice: its name means this one."""
    rows = read_manifest(project, [])
    wanted = rows.loc[rows["split"] == "train", "sample_id"].to_numpy(dtype=object)
    for features in list_features(project):
        with contextlib.suppress(UserError, KeyError, ValueError):  # damaged: the Data page says so
            known = FeatureStore.open(project, features.name).rows_of(wanted) >= 0
            if features.name != "auto" and not features.outdated and known.mean() >= KNOWN_SHARE:
                return features.name
    return None


def _siblings(rows: pd.DataFrame, column: str, train_idx: np.ndarray) -> np.ndarray:
    """(N,) int64 numbers of the column's values over train rows; a sample without one is by itself."""
    if column not in rows:
        raise ManifestError(f"folds_by must name a column of the data; there is no {column!r}; choose another, or none")
    numbers = pd.factorize(rows[column].iloc[train_idx])[0].astype(np.int64)
    alone = numbers < 0
    numbers[alone] = numbers.max(initial=-1) + 1 + np.arange(int(alone.sum()))
    return numbers


def _weights(rows: pd.DataFrame, column: str, train_idx: np.ndarray) -> np.ndarray:
    """(N,) float32, the column's values over train rows; 1 of a sample without one."""
    if column not in rows:
        raise ManifestError(f"weights_by must name a column of the data; there is no {column!r}; choose another, or "
                            "none")
    given = rows[column].iloc[train_idx]
    weights = pd.to_numeric(given, errors="coerce").to_numpy(dtype=np.float32, na_value=np.nan)
    is_bad = given.notna().to_numpy(dtype=bool) & ~(np.isfinite(weights) & (weights >= 0))
    if is_bad.any():
        row = int(np.flatnonzero(is_bad)[0])
        raise ManifestError(f"a weight must be a number of 0 or more; column {column!r} has {str(given.iloc[row])!r} "
                            f"of sample {rows['sample_id'].iloc[train_idx[row]]}; correct it, or leave weights_by out")
    return np.where(np.isnan(weights), np.float32(1.0), weights)


def _label_codes(names: pd.Series, classes: tuple[str, ...]) -> np.ndarray:
    """Positions in `classes`, -1 for null or unknown names."""
    return pd.Index(list(classes), dtype=object).get_indexer(pd.Index(names, dtype=object)).astype(np.int64)


def _apply_decisions(decisions: pd.DataFrame, sample_ids: np.ndarray, train_idx: np.ndarray, labels: np.ndarray,
                     classes: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pins, exclusions and their reasons over train rows; relabels are written into `labels`. Ids not in training
    are left."""
    pins = np.zeros(len(train_idx), dtype=np.int8)
    excluded = np.zeros(len(train_idx), dtype=bool)
    reasons = np.full(len(train_idx), "", dtype=object)
    position_of = pd.Series(np.arange(len(train_idx)), index=sample_ids)
    known = decisions[decisions["sample_id"].isin(position_of.index)]
    at = position_of.loc[known["sample_id"]].to_numpy()
    pin = known["pin"].to_numpy(dtype=object)
    pins[at[pin == "train"]] = 1
    pins[at[pin == "validation"]] = -1
    is_out = known["excluded"].fillna(False).to_numpy(dtype=bool)
    excluded[at[is_out]], reasons[at[is_out]] = True, "excluded_decision"
    has_label = known["label"].notna().to_numpy()
    codes = _label_codes(known["label"][has_label], classes)
    if (codes < 0).any():
        name = known["label"][has_label].iloc[int(np.flatnonzero(codes < 0)[0])]
        raise ManifestError(f"a relabel must name one of the project's classes; got {name!r}; undo that decision")
    labels[train_idx[at[has_label]]] = codes
    return pins, excluded, reasons
