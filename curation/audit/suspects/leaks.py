"""Pictures of the splits clean and test that are, or nearly are, in training: found once a set of features, and kept.

    features/NAME/leaks.parquet     sample_id, split, train_id, distance, is_identical, one row a pair; what it rests on
                                    in the file's metadata

Accuracy on such a picture says what was learned by heart. Which are near, curation.audit.suspects.near_pairs says; near
ones whose files have the same bytes are identical. Changes no split and decides nothing.
"""

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from curation.audit.suspects.duplicates import content_ids
from curation.audit.suspects.near_pairs import Progress, near_pairs
from curation.project import Project
from engine.contract.disk.processes import in_turn
from engine.contract.disk.seals import check_seal
from engine.contract.feature_dir import FeatureDir, FeatureStore, list_features
from engine.contract.manifest import MANIFEST_NAME, file_digest, read_manifest
from engine.contract.work_dir import write_atomic

FILE_NAME = "leaks.parquet"
LOCK_NAME = ".leaks.lock"
COLUMNS = ("sample_id", "split", "train_id", "distance", "is_identical")
SPLITS = ("clean", "test")
VERSION = 1
"""Of how near-duplicates are told; files of another are passed over."""
MAX_AT_ONCE = 200_000_000
"""Pairs to be looked at that take no more than some 10 seconds: 4,000 pictures and 12,000 are a quarter of it."""
_METADATA_KEY = b"whetstone"
_CODE_ROOT = Path(__file__).parents[3]


@dataclass(frozen=True, kw_only=True, slots=True)
class SplitLeaks:
    """What is known of one split's pictures, clean or test."""

    split: str
    num_samples: int
    """Of those with features."""
    num_near: int
    """Of these, so many have a near-duplicate in training, identical ones included."""
    num_identical: int
    """So many have a file there with the same bytes."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Leaks:
    """Pictures outside training that are nearly in it, by the features `features`."""

    features: str
    splits: tuple[SplitLeaks, ...]
    """Of the splits that have samples with features."""
    pairs: pd.DataFrame
    """COLUMNS: a sample of clean or test, and one of train it is near to; nearest first in each."""

    def of(self, split: str) -> SplitLeaks | None:
        """One split's; None where nothing is known of it."""
        return next((found for found in self.splits if found.split == split), None)


def leaks_of(project: Project, features: str | None = None) -> Leaks | None:
    """What is kept, by these features or, None, by the first of the project's that have it; None until it is found
    (find_leaks, begin). Reads small files alone, save for the digest of the manifest."""
    folders = list_features(project.path) if features is None else [FeatureDir.of(project.path, features)]
    manifest = file_digest(project.path / MANIFEST_NAME) if any(map(_has_file, folders)) else ""
    return next((found for folder in folders if (found := _read(folder, manifest)) is not None), None)


def lost_leaks(project: Project) -> list[str]:
    """Where leaks_of finds nothing: what was kept and cannot be read now, and what to do, a line each."""
    if leaks_of(project) is not None:
        return []
    lines = []
    for path in sorted((project.path / "features").glob(f"*/{FILE_NAME}")):
        try:
            folder = FeatureDir.of(project.path, path.parent.name)
            folder.read_document()
            folder.read_samples()
            check_seal(path)
            pq.read_schema(path)
        except (OSError, ValueError) as error:
            reason = " ".join(str(error).split())[:240]
            lines.append(f"pictures that are nearly in training were found by features {path.parent.name}, and cannot "
                         f"be read: {reason}; mend that, then find them with `python -m curation leaks {project.path} "
                         "--features NAME`")
    return lines


def find_leaks(project: Project, features: str, progress: Progress) -> Leaks:
    """leaks_of, found now where it is not kept: 4,000 among 12,000 take seconds. progress(done, total, message) may
    raise to give up, which leaves nothing. Raises FeatureError where there are no such features."""
    store, manifest = FeatureStore.open(project.path, features), file_digest(project.path / MANIFEST_NAME)
    with in_turn(store.folder.path / LOCK_NAME, lambda: progress(0, 1, "waiting for another process")):
        kept = _read(store.folder, manifest)
        return kept if kept is not None else _found(project, store, manifest, progress)


def found_soon(project: Project, features: str, progress: Progress) -> Leaks | None:
    """leaks_of, found now where that takes seconds; None where it would take longer and is not kept."""
    kept = leaks_of(project, features)
    if kept is not None:
        return kept
    is_train = read_manifest(project.path)["split"].eq("train")
    is_quick = int(is_train.sum()) * int((~is_train).sum()) <= MAX_AT_ONCE
    return find_leaks(project, features, progress) if is_quick else None


def begin(project: Project, features: str) -> None:
    """Find them in a process of its own, which outlives the app; two of them take turns, and the second has nothing to
    do."""
    subprocess.Popen([sys.executable, "-m", "curation", "leaks", str(project.path), "--features", features],
                     cwd=_CODE_ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                     start_new_session=True)


def words_of(features: str, splits: Sequence[SplitLeaks]) -> list[str]:
    """A sentence a split that has any, for commands and reports."""
    lines = []
    for found in splits:
        if found.num_near:
            same = f" ({found.num_identical:,} the same file)" if found.num_identical else ""
            lines.append(f"{found.num_near:,} of {found.num_samples:,} {found.split} pictures are nearly in training"
                         f"{same}, by features {features}: accuracy on them says what was learned by heart.")
    return lines


# -- inside


def _has_file(folder: FeatureDir) -> bool:
    return (folder.path / FILE_NAME).exists()


def _read(folder: FeatureDir, manifest: str) -> Leaks | None:
    """What is kept beside features; None where there is nothing, or it rests on other data, or is damaged."""
    path = folder.path / FILE_NAME
    try:
        check_seal(path)
        facts = json.loads((pq.read_schema(path).metadata or {})[_METADATA_KEY])
        if facts["rests_on"] != _rests_on(folder, manifest):
            return None
        return Leaks(features=folder.name, splits=tuple(SplitLeaks(**split) for split in facts["splits"]),
                     pairs=pd.read_parquet(path, columns=list(COLUMNS)))
    except (OSError, KeyError, TypeError, ValueError):  # pyarrow's errors are among them; it is found anew
        return None


def _rests_on(folder: FeatureDir, manifest: str) -> dict[str, object]:
    return {"version": VERSION, "samples": file_digest(folder.samples_path), "manifest": manifest}


def _found(project: Project, store: FeatureStore, manifest: str, progress: Progress) -> Leaks:
    rows = read_manifest(project.path, ["path"])
    row_of_sample, split = store.rows_of(rows["sample_id"]), rows["split"].to_numpy(dtype=object)
    train = np.flatnonzero((split == "train") & (row_of_sample >= 0))
    asked = np.flatnonzero((split != "train") & (row_of_sample >= 0))
    near = near_pairs(store, row_of_sample[asked], row_of_sample[train], progress)
    ids, first, second = rows["sample_id"].to_numpy(dtype=object), asked[near.asked], train[near.other]
    pairs = pd.DataFrame({"sample_id": ids[first], "split": split[first], "train_id": ids[second],
                          "distance": near.distance, "is_identical": _identical(project, store, rows, first, second)})
    splits = tuple(_split_of(pairs, name, int((split[asked] == name).sum())) for name in SPLITS
                   if (split[asked] == name).any())
    found = Leaks(features=store.folder.name, splits=splits, pairs=pairs)
    table = pa.Table.from_pandas(pairs, preserve_index=False)
    facts = {"rests_on": _rests_on(store.folder, manifest),
             "splits": [{name: getattr(split, name) for name in SplitLeaks.__dataclass_fields__} for split in splits]}
    table = table.replace_schema_metadata({**(table.schema.metadata or {}), _METADATA_KEY: json.dumps(facts).encode()})
    write_atomic(store.folder.path / FILE_NAME, lambda path: pq.write_table(table, path))
    return found


def _split_of(pairs: pd.DataFrame, name: str, num_samples: int) -> SplitLeaks:
    own = pairs[pairs["split"] == name]
    return SplitLeaks(split=name, num_samples=num_samples, num_near=int(own["sample_id"].nunique()),
                      num_identical=int(own.loc[own["is_identical"], "sample_id"].nunique()))


def _identical(project: Project, store: FeatureStore, rows: pd.DataFrame, first: np.ndarray,
               second: np.ndarray) -> np.ndarray:
    """(P,) bool: both rows' files have the same bytes, by the digests kept with the features, else by the files."""
    digests = store.samples.set_index("sample_id")["image_digest"].reindex(rows["sample_id"]).fillna("").to_numpy()
    if len(first) and "path" in rows and not (digests[first].astype(bool) & digests[second].astype(bool)).all():
        at = np.unique(np.concatenate([first, second]))
        paths = [None if pd.isna(path) else str(path) for path in rows["path"].iloc[at]]
        digests = digests.astype(object)
        digests[at] = content_ids(project.root, paths)
    return np.asarray((digests[first] == digests[second]) & (digests[first] != ""), dtype=bool)
