"""Which image has which row of a feature store: planned before anything is computed, from the images' digests.

    rows.parquet       SAMPLE_COLUMNS; sample_id null of images that left the manifest: they keep their rows
    plan-DIGEST.parquet    the same while features of the manifest of that digest are being made

Equal files share a row. New images begin a new chunk, so that a chunk's batches never change. Computes no features.
"""

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd

from engine.contract.disk.seals import check_seal
from engine.contract.feature_dir import CHUNK, SAMPLE_COLUMNS, FeatureDir, FeatureError
from engine.contract.pictures.mirror import RemoteError
from engine.contract.work_dir import write_atomic
from engine.data.decoding import bytes_digest, encoded_bytes, reason_of
from engine.data.image_cache import Progress

DIGESTED_AT_ONCE = 512


def plan_path(folder: FeatureDir, manifest_digest: str) -> Path:
    return folder.path / f"plan-{manifest_digest[:16]}.parquet"


def rows_path(folder: FeatureDir) -> Path:
    return folder.path / "rows.parquet"


def write_plan(path: Path, plan: pd.DataFrame) -> None:
    write_atomic(path, lambda p: plan.to_parquet(p, index=False))


def read_plan(path: Path) -> pd.DataFrame:
    """SAMPLE_COLUMNS. Raises FeatureError for a damaged file."""
    try:
        check_seal(path)
        return pd.read_parquet(path, columns=list(SAMPLE_COLUMNS))
    except (OSError, ValueError) as error:
        raise FeatureError(f"{path} must be a Parquet file with {', '.join(SAMPLE_COLUMNS)}; "
                           f"{str(error).splitlines()[0]}; remove the folder and make the features anew") from error


def known_plan(folder: FeatureDir) -> pd.DataFrame | None:
    """The newest plan of the folder, of whatever manifest; None before the first."""
    begun = sorted(folder.path.glob("plan-*.parquet"), key=lambda path: path.stat().st_mtime)
    path = begun[-1] if begun else rows_path(folder)
    return read_plan(path) if path.exists() else None


def make_plan(manifest: pd.DataFrame, root: Path, known: pd.DataFrame | None, lost: Iterable[int],
              progress: Progress) -> pd.DataFrame:
    """SAMPLE_COLUMNS: the manifest's samples in its order, then the rows that none of them has.

    known: an earlier plan; images in it keep their rows. lost: first rows of chunks that must be made anew: an image
    there that left the manifest is forgotten. Reads every image's file once, in threads.
    """
    digests, reasons = _digest_all(manifest, root, progress)
    row_of: dict[str, int] = {}
    if known is not None:
        has_row = known[known["row"] >= 0]
        row_of = dict(zip(has_row["image_digest"], has_row["row"].astype(int), strict=True))
    here = set(digests)
    gone = set(lost)
    row_of = {digest: row for digest, row in row_of.items() if digest in here or CHUNK * (row // CHUNK) not in gone}
    highest = int(known["row"].max()) + 1 if known is not None and len(known) else 0
    new = dict.fromkeys(digest for digest in digests if digest and digest not in row_of)
    row_of |= dict(zip(new, range(CHUNK * -(-highest // CHUNK), 2**62), strict=False))
    orphans = [digest for digest in row_of if digest not in here]
    return pd.DataFrame({
        "sample_id": pd.Series([*manifest["sample_id"], *[None] * len(orphans)], dtype=object),
        "image_digest": pd.Series([*digests, *orphans], dtype=object),
        "row": np.array([row_of.get(digest, -1) for digest in (*digests, *orphans)], dtype=np.int64),
        "reason": pd.Series([*reasons, *[None] * len(orphans)], dtype=object)})


def _digest_all(manifest: pd.DataFrame, root: Path, progress: Progress) -> tuple[list[str], list[str | None]]:
    """Of every sample the digest of its file and None, or "" and why there is none."""
    def digest_of(row: int) -> tuple[str, str | None]:
        try:
            return bytes_digest(encoded_bytes(manifest, row, root)), None
        except RemoteError:  # a place that is down says nothing of any picture
            raise
        except Exception as error:  # a missing file, one outside root, bytes that are null
            return "", reason_of(error)

    found: list[tuple[str, str | None]] = []
    with ThreadPoolExecutor() as pool:
        for rows in _parts(len(manifest)):
            found += pool.map(digest_of, rows)
            progress(len(found), len(manifest))
    return [digest for digest, _ in found], [reason for _, reason in found]


def _parts(num: int) -> Iterator[range]:
    return (range(start, min(start + DIGESTED_AT_ONCE, num)) for start in range(0, num, DIGESTED_AT_ONCE))


def chunks_of(plan: pd.DataFrame, num_samples: int) -> dict[int, list[tuple[int, int, str]]]:
    """First row of a chunk -> (row, sample, digest) of its images, by row; sample -1 of those that left the manifest.
    """
    placed = plan["row"].to_numpy()
    first = np.unique(placed[placed >= 0], return_index=True)[1]
    at = np.flatnonzero(placed >= 0)[first]
    chunks: dict[int, list[tuple[int, int, str]]] = {}
    for place, row, digest in zip(at.tolist(), placed[at].tolist(), plan["image_digest"].iloc[at], strict=True):
        chunks.setdefault(CHUNK * (row // CHUNK), []).append((row, place if place < num_samples else -1, digest))
    return chunks
