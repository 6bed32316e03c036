"""Features of a project's images on disk: PROJECT/features/NAME/, and how to read and write it. Imports no torch.

    features.json       FeatureDocument: what made them
    samples.parquet     sample_id, image_digest, row (-1 where there are none), reason (why not): one row a sample of
                        the manifest as it was when they were made, in its order
    shards/00000.npy    (up to SHARD_ROWS, D) float16, finite; row r of samples.parquet is row r % SHARD_ROWS of
                        shard r // SHARD_ROWS
    journal.jsonl       one line a finished chunk of rows, with its digest (engine.contract.disk.journal)
    rows.parquet        SAMPLE_COLUMNS of every image that has a row, also of those that left the manifest (sample_id
                        null); plan-*.parquet: the same while features are being made (engine.data.feature_plan)
    leaks.parquet       pictures outside training that are nearly in it (curation.audit.suspects.leaks)
    status.json, cancel, log.txt, request.json, output.txt      as in a run's folder

N samples of the manifest, R rows asked for, D numbers each.
"""

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Literal, TypedDict, cast

import numpy as np
import pandas as pd

from engine.contract.disk.journal import damaged_chunk
from engine.contract.disk.seals import check_seal
from engine.contract.disk.temporaries import temporary_beside
from engine.contract.errors import UserError
from engine.contract.inside import job_folder, way_out
from engine.contract.manifest import file_digest
from engine.contract.pixels import VERSION
from engine.contract.run_dir import check_name
from engine.contract.work_dir import WorkDir, write_array, write_atomic

SHARD_ROWS = 65_536
CHUNK = 256
"""Rows that a backbone's features are finished in at once; SHARD_ROWS is a multiple of it."""
DEFAULT_BACKBONE = "efficientnet_lite0"
"""Its weights come with the requirements: nothing is downloaded."""
DEFAULT_FEATURES = "lite0"
"""The name of its features, where none is given."""
Fit = Literal["squash", "pad", "crop"]
"""How an image becomes a square: pressed together, with grey added, or its middle cut out."""
SAMPLE_COLUMNS = ("sample_id", "image_digest", "row", "reason")


class FeatureDocument(TypedDict, total=False):
    """features.json. Older code, and people who bring their own, may know fewer of these."""

    kind: Literal["backbone", "imported"]
    backbone: str
    """Name that engine.data.backbones opens; of imported ones the file they came from."""
    revision: str
    """Version of the package or the hub's revision that its weights came from; "" unknown."""
    digest: str
    """SHA-256 of the weights, in hex; of imported features that of the file."""
    licence: str
    """Of the weights; "" unknown."""
    num_features: int
    image_size: int | None
    """Side of the square images it saw, in pixels; None unknown."""
    mean: list[float]
    std: list[float]
    """Of the channels, on a scale of 0 to 1."""
    is_mirrored: bool
    """Whether features are the mean of those of the image and its mirror image."""
    fit: Fit
    weights: str
    """File of the weights, where that is not the backbone's own; "" otherwise."""
    pixels: int
    """engine.contract.pixels.VERSION of the pixels that it saw; absent of imported ones and of older code."""
    created: float
    """Seconds since 1970."""


_KINDS: dict[str, type] = {"kind": str, "backbone": str, "revision": str, "digest": str, "licence": str,
                           "num_features": int, "image_size": int, "is_mirrored": bool, "pixels": int}


class FeatureError(UserError):
    """A folder of features is absent or breaks the contract. One line, ready to show."""


class FeatureDir(WorkDir):
    """One folder of features: paths and documents; FeatureStore reads the numbers."""

    error = FeatureError

    @classmethod
    def of(cls, project: Path, name: str) -> "FeatureDir":
        """The features `name` of a project, whether they exist or not. Raises RunDirError for a bad name, OutsideError
        for a folder with links that lead out of the project."""
        return cls(job_folder(project, "features", check_name(name)))

    @property
    def samples_path(self) -> Path:
        return self.path / "samples.parquet"

    def shard_path(self, number: int) -> Path:
        return self.path / "shards" / f"{number:05d}.npy"

    @property
    def journal_path(self) -> Path:
        return self.path / "journal.jsonl"

    def exists(self) -> bool:
        """Whether features can be read; extraction writes samples.parquet last."""
        return self.samples_path.exists()

    def write_document(self, document: FeatureDocument) -> None:
        self.write_json(self.path / "features.json", document)

    def read_document(self) -> FeatureDocument:
        """Raises FeatureError where there is none or it is damaged."""
        values = self.read_json(self.path / "features.json")
        if values is None:
            raise FeatureError(f"features must have features.json; {self.path} has none; make them anew")
        wrong = [name for name, kind in _KINDS.items() if values.get(name) is not None
                 and (not isinstance(values[name], kind) or kind is int and isinstance(values[name], bool))]
        if wrong:
            raise FeatureError(f"features.json must be as it was written; in {self.path} its {wrong[0]} is "
                               f"{values[wrong[0]]!r}; restore it from a copy, or make the features anew under another "
                               "name")
        return cast(FeatureDocument, values)

    @property
    def outdated(self) -> str:
        """What to do about features of pixels that are decoded otherwise now, one line; "" of all others."""
        document = self.read_document()
        if document.get("kind") == "imported" or document.get("pixels") == VERSION:
            return ""
        return (f"features must be of pictures as they are shown now; those of {self.name!r} were made when EXIF's "
                f"orientation or deep colours were read otherwise (decoding {document.get('pixels') or 'not noted'}, "
                f"now {VERSION}); run `python -m engine features {self.path.parents[1]} --name {self.name}`, which "
                "makes them anew")

    def write_samples(self, samples: pd.DataFrame) -> None:
        """samples: SAMPLE_COLUMNS. The last file to be written: from now on the features can be read. Its digest tells
        these features from all others, also from others of the same samples."""
        assert tuple(samples.columns) == SAMPLE_COLUMNS, f"samples have {list(samples.columns)}"
        marked = samples.copy(deep=False)
        marked.attrs = {"numbers": self._numbers_digest()}  # goes into the file's metadata
        write_atomic(self.samples_path, lambda p: marked.to_parquet(p, index=False))

    def _numbers_digest(self) -> str:
        """Of what decides the numbers: all that features.json says, and of imported ones they themselves."""
        document: dict[str, object] = {**self.read_document(), "created": None}
        shards = sorted(self.path.glob("shards/*.npy")) if document.get("kind") == "imported" else []
        return hashlib.sha256(json.dumps([document, *map(file_digest, shards)], sort_keys=True).encode()).hexdigest()

    def read_samples(self) -> pd.DataFrame:
        """SAMPLE_COLUMNS. Raises FeatureError where features are not finished or the file is damaged."""
        if not self.exists():
            raise FeatureError(f"features {self.name!r} must be finished before they are used; {self.path} has no "
                               f"{self.samples_path.name}; run `python -m engine features`")
        try:
            check_seal(self.samples_path)
            return pd.read_parquet(self.samples_path, columns=list(SAMPLE_COLUMNS))
        except (OSError, ValueError) as error:
            raise FeatureError(f"{self.samples_path} must be a Parquet file with {', '.join(SAMPLE_COLUMNS)}; "
                               f"{str(error).splitlines()[0]}; make the features anew") from error


class FeatureStore:
    """Features that are finished, read from disk as far as they are used."""

    def __init__(self, folder: FeatureDir) -> None:
        """Raises FeatureError where they are not finished, damaged or cut short."""
        self.folder, self.document = folder, folder.read_document()
        self.samples = folder.read_samples()
        self.num_features = int(self.document["num_features"])
        num_rows = int(self.samples["row"].max()) + 1 if len(self.samples) else 0
        self.shards = [self._opened(number) for number in range(-(-num_rows // SHARD_ROWS))]
        if num_rows > sum(map(len, self.shards)):
            raise FeatureError(f"features {folder.name!r} must have {num_rows} rows; its shards have "
                               f"{sum(map(len, self.shards))}; make them anew")

    @classmethod
    def open(cls, project: Path, name: str) -> "FeatureStore":
        """The features `name` of a project. Raises as the constructor does."""
        return cls(FeatureDir.of(project, name))

    def _opened(self, number: int) -> np.ndarray:
        path = self.folder.shard_path(number)
        try:
            check_seal(path)
            shard: np.ndarray = np.load(path, mmap_mode="r", allow_pickle=False)
            damaged = self._damaged_row(number, path)
        except (OSError, ValueError, EOFError) as error:
            raise FeatureError(f"a shard of features must be a .npy file; {path}: {error}; make the features anew") \
                from error
        if damaged is not None:
            raise FeatureError(
                f"features must be as they were computed; of {self.folder.name!r} those from row {damaged} on have "
                f"changed; run `python -m engine features {self.folder.path.parents[1]} --name {self.folder.name}`, "
                "which makes these anew")
        if shard.ndim != 2 or shard.shape[1] != self.num_features or shard.dtype != np.float16:
            raise FeatureError(f"a shard of features must be float16 of {self.num_features} columns; {path} has "
                               f"{shard.dtype} {shard.shape}; make the features anew")
        return shard

    def _damaged_row(self, number: int, path: Path) -> int | None:
        rows = self.samples["row"].to_numpy()
        used = np.unique(rows[(rows >= 0) & (rows // SHARD_ROWS == number)] // CHUNK) * CHUNK
        return damaged_chunk(self.folder.journal_path, path, number * SHARD_ROWS, CHUNK, frozenset(used.tolist()))

    def rows_of(self, sample_ids: np.ndarray | pd.Series) -> np.ndarray:
        """(R,) int64 rows of samples by id; -1 where there are no features."""
        at = pd.Index(self.samples["sample_id"]).get_indexer(pd.Index(sample_ids))
        rows = self.samples["row"].to_numpy(dtype=np.int64)
        return np.where(at >= 0, rows[at], -1) if len(rows) else np.full(len(at), -1, dtype=np.int64)

    def read(self, rows: np.ndarray) -> np.ndarray:
        """(R, D) float16 of rows (R,) int64, all of them >= 0; read in the order of the disk."""
        rows = np.asarray(rows, dtype=np.int64)
        assert not (rows < 0).any(), "rows without features have nothing to read"
        found = np.empty((len(rows), self.num_features), dtype=np.float16)
        shard_of = rows // SHARD_ROWS
        for number in np.unique(shard_of):
            at = np.flatnonzero(shard_of == number)
            found[at] = self.shards[number][rows[at] % SHARD_ROWS]
        return found


def list_features(project: Path) -> list[FeatureDir]:
    """Every folder of features that can be read, by name."""
    found = [FeatureDir(path) for path in sorted((Path(project) / "features").glob("*"))]
    return [features for features in found if features.exists()
            and not way_out(features.path, Path(project)) and _has_document(features)]


def _has_document(features: FeatureDir) -> bool:
    with contextlib.suppress(FeatureError):  # absent; or damaged, which the Data page says
        return bool(features.read_document())
    return False


def write_features(folder: FeatureDir, document: FeatureDocument, sample_ids: Sequence[str], values_ND: np.ndarray,
                   is_known_N: np.ndarray, reason: str = "no features in the file") -> None:
    """Write features that are there already, whole. values_ND: (N, D) finite where known; row n is of sample_ids[n].
    As write_blocks does, which takes them piece by piece."""
    known = np.flatnonzero(is_known_N)
    row = np.full(len(sample_ids), -1, dtype=np.int64)
    row[known] = np.arange(len(known))
    write_blocks(folder, document, sample_rows(sample_ids, row, reason),
                 (values_ND[known[start:start + SHARD_ROWS]] for start in range(0, len(known), SHARD_ROWS)))


def sample_rows(sample_ids: Sequence[str], row_N: np.ndarray, reason: str) -> pd.DataFrame:
    """samples.parquet of features that came without digests of the images. row_N: (N,) int64, -1 where a sample has
    none, for this reason."""
    return pd.DataFrame({
        "sample_id": pd.Series(list(sample_ids), dtype=object), "image_digest": "", "row": row_N,
        "reason": pd.Series([reason if n < 0 else None for n in row_N], dtype=object)})


def write_blocks(folder: FeatureDir, document: FeatureDocument, samples: pd.DataFrame,
                 blocks: Iterable[np.ndarray]) -> None:
    """Write features whole, replacing those of the same name, samples.parquet last.

    samples: SAMPLE_COLUMNS. blocks: (B, D) of any length, finite, together the rows that `samples` names from 0 on;
    one shard of them is in memory at a time. Values beyond float16 are clipped. What `blocks` raises leaves the
    features that were there as they were.
    """
    staged = FeatureDir(temporary_beside(folder.path))
    num_rows = 0
    try:
        for number, shard in enumerate(_in_shards(blocks)):
            write_array(staged.shard_path(number), shard)
            num_rows += len(shard)
        assert num_rows and num_rows == int(samples["row"].max()) + 1, f"{num_rows} rows were written"
        folder.samples_path.unlink(missing_ok=True)
        shutil.rmtree(folder.path / "shards", ignore_errors=True)
        folder.path.mkdir(parents=True, exist_ok=True)
        os.replace(staged.path / "shards", folder.path / "shards")
        folder.write_document(document)
        folder.write_samples(samples)
    finally:
        shutil.rmtree(staged.path, ignore_errors=True)


def _in_shards(blocks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """(SHARD_ROWS, D) float16 each but the last."""
    largest, num = float(np.finfo(np.float16).max), 0
    kept: list[np.ndarray] = []
    for block in blocks:
        rest = np.clip(block, -largest, largest).astype(np.float16)
        while len(rest):
            part, rest = rest[:SHARD_ROWS - num], rest[SHARD_ROWS - num:]
            kept.append(part)
            num += len(part)
            if num == SHARD_ROWS:
                yield np.concatenate(kept)
                kept, num = [], 0
    if num:
        yield np.concatenate(kept)
