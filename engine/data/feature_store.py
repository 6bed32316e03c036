"""Features of a manifest's images into PROJECT/features/NAME/: chunk by chunk, each with a digest in a journal.

A killed process's successor computes the chunks that are missing or damaged, in the same batches, and so reaches the
same bytes. Several processes of one machine take every so many-th chunk. Knows no labels; keeps no status. D features.
"""

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from engine.contract.disk.allocation import new_array
from engine.contract.disk.journal import JournalEntry, append_entry, read_journal, rows_digest
from engine.contract.feature_dir import CHUNK, SHARD_ROWS, FeatureDir, Fit
from engine.contract.pictures.image_files import open_image
from engine.contract.pictures.mirror import RemoteError
from engine.contract.work_dir import write_atomic
from engine.data.decoding import bytes_digest, encoded_bytes, reason_of, to_square
from engine.data.feature_plan import (
    chunks_of,
    known_plan,
    make_plan,
    plan_path,
    read_plan,
    rows_path,
    write_plan,
)
from engine.data.image_cache import Progress
from engine.data.inference import Inference
from engine.data.journal import write_journal
from engine.runtime import distributed

WAIT_SECONDS = 0.2
CHANGED = "its file changed while features were made; make them once more"
"""Why an image has none that may well have some next time."""
LARGEST = float(np.finfo(np.float16).max)
Part = Sequence[tuple[int, int, str]]
"""(row of the store, row of the manifest or -1, digest) of some images."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Extraction:
    """What is to be computed, of which images, and where to."""

    folder: FeatureDir
    manifest: pd.DataFrame
    """sample_id, path or image: M rows."""
    root: Path
    manifest_digest: str
    num_features: int
    image_size: int
    fit: Fit


def extract(job: Extraction, open_model: Callable[[], AbstractContextManager[Inference]], planning: Progress,
            computing: Progress) -> pd.DataFrame | None:
    """Make the features and write samples.parquet, the last file; returns it, on the first of several processes alone.

    open_model: loads the backbone, if there is anything to compute. planning, computing: are told (images done, all)
    often enough to stop the work by raising; chunks that are finished by then stay. None as well where another of the
    processes was stopped.
    """
    pending = distributed.broadcast_object(distributed.on_rank_zero(lambda: _prepare(job, planning)))
    assert pending is not None, "the first process prepares"
    plan = read_plan(plan_path(job.folder, job.manifest_digest))
    chunks = chunks_of(plan, len(job.manifest))
    mine = pending[distributed.rank()::distributed.size()]
    failure: BaseException | None = None
    try:
        if mine:
            with open_model() as inference:
                _compute(job, {start: chunks[start] for start in mine}, inference, computing)
    except BaseException as error:
        failure = error
    distributed.wait_for_all()

    def finish() -> pd.DataFrame | None:
        if failure is not None:
            raise failure
        return _finish(job, plan, list(chunks))

    samples = distributed.on_rank_zero(finish)
    if failure is not None:
        raise failure
    return samples


def forget(folder: FeatureDir) -> None:
    """Take back that any features are finished, so that all are computed anew. First samples.parquet: from then on
    nobody reads a mixture of old and new."""
    folder.samples_path.unlink(missing_ok=True)
    for path in (folder.journal_path, rows_path(folder), *folder.path.glob("plan-*.parquet")):
        path.unlink(missing_ok=True)


def _prepare(job: Extraction, progress: Progress) -> list[int]:
    """Plan, shards and journal on disk; first rows of the chunks to compute."""
    folder = job.folder
    journal = read_journal(folder.journal_path)
    damaged = [start for start, entry in journal.items() if _digest(job, start) != entry["digest"]]
    for start in damaged:
        del journal[start]
    path = plan_path(folder, job.manifest_digest)
    known = known_plan(folder)
    if known is None:
        journal = {}
    if not path.exists():
        lost = damaged if known is None else set(chunks_of(known, 0)) - set(journal)
        plan = make_plan(job.manifest, job.root, known, lost, progress)
        write_plan(path, plan)
    else:
        plan = read_plan(path)
    for other in folder.path.glob("plan-*.parquet"):
        if other != path:
            other.unlink()
    chunks = chunks_of(plan, len(job.manifest))
    write_journal(folder.journal_path, journal)
    _allocate(job, int(plan["row"].max()) + 1 if len(plan) else 0)
    return [start for start in sorted(chunks) if start not in journal]


def _opened(job: Extraction, number: int) -> np.memmap | None:
    """A shard to write in; None where it is gone, cut short or another one."""
    try:
        shard: np.memmap = np.load(job.folder.shard_path(number), mmap_mode="r+", allow_pickle=False)
    except (OSError, ValueError):
        return None
    return shard if shard.ndim == 2 and shard.shape[1] == job.num_features and shard.dtype == np.float16 else None


def _rows(shard: np.ndarray, start: int) -> np.ndarray:
    """A chunk of its shard: a view."""
    at = start % SHARD_ROWS
    return shard[at:at + CHUNK]


def _digest(job: Extraction, start: int) -> str:
    shard = _opened(job, start // SHARD_ROWS)
    return "" if shard is None else rows_digest(_rows(shard, start))


def _allocate(job: Extraction, num_rows: int) -> None:
    """Shards of zeros up to num_rows, rounded up to whole chunks; what is there already stays."""
    num_rows = CHUNK * -(-num_rows // CHUNK)
    for number in range(-(-num_rows // SHARD_ROWS)):
        num, shard = min(SHARD_ROWS, num_rows - number * SHARD_ROWS), _opened(job, number)
        if shard is not None and len(shard) >= num:
            continue

        def grown(path: Path, num: int = num, shard: np.memmap | None = shard) -> None:
            array = new_array(path, (num, job.num_features), np.float16)
            if shard is not None:
                array[:len(shard)] = shard
            array.flush()

        write_atomic(job.folder.shard_path(number), grown, is_sealed=False)  # its chunks have digests in the journal


def _compute(job: Extraction, chunks: dict[int, list[tuple[int, int, str]]], inference: Inference,
             progress: Progress) -> None:
    """Decode and embed in threads, a batch each; write chunks in order while the next are under way."""
    total, done, size = sum(map(len, chunks.values())), 0, inference.batch_size
    ahead = max(1, -(-2 * inference.num_workers * size // CHUNK))
    waiting: deque[tuple[int, list[Future[tuple[np.ndarray, dict[str, str]]]]]] = deque()
    with ThreadPoolExecutor(inference.num_workers) as pool:
        def finish() -> None:
            nonlocal done
            start, futures = waiting.popleft()
            for future in futures:
                while wait([future], WAIT_SECONDS).not_done:
                    progress(done, total)
                done += len(future.result()[0])
                progress(done, total)
            _write(job, start, [future.result() for future in futures])

        try:
            for start, images in chunks.items():
                waiting.append((start, [pool.submit(_embed, job, images[at:at + size], inference)
                                        for at in range(0, len(images), size)]))
                if len(waiting) > ahead:
                    finish()
            while waiting:
                finish()
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise


def _embed(job: Extraction, part: Part, inference: Inference) -> tuple[np.ndarray, dict[str, str]]:
    """(rows (b,) and features (b, D) of a batch as one record array, {row: why it has none})."""
    pixels = np.zeros((len(part), job.image_size, job.image_size, 3), dtype=np.uint8)
    bad: dict[str, str] = {}
    for place, (row, sample, digest) in enumerate(part):
        try:
            encoded = encoded_bytes(job.manifest, sample, job.root) if sample >= 0 else b""
            if bytes_digest(encoded) != digest:
                bad[str(row)] = CHANGED
                continue
            with open_image(encoded, job.image_size) as image:
                pixels[place] = to_square(image, job.image_size, job.fit)
        except RemoteError:  # a place that is down says nothing of any picture
            raise
        except Exception as error:  # Pillow raises whatever its codecs raise; the reason is kept
            bad[str(row)] = reason_of(error)
    values = inference.embed(pixels)
    is_finite = np.atleast_1d(np.isfinite(values).all(axis=1))
    for place, (row, _, _) in enumerate(part):
        if not is_finite[place]:
            bad.setdefault(str(row), "its features are not finite")
    found = np.zeros(len(part), dtype=[("row", np.int64), ("values", np.float16, (job.num_features,))])
    found["row"] = [row for row, _, _ in part]
    is_good = [str(row) not in bad for row, _, _ in part]
    found["values"][is_good] = np.clip(values[is_good], -LARGEST, LARGEST)
    return found, bad


def _write(job: Extraction, start: int, parts: list[tuple[np.ndarray, dict[str, str]]]) -> None:
    """A finished chunk into its shard, then into the journal."""
    shard = _opened(job, start // SHARD_ROWS)
    assert shard is not None, "shards were allocated before"
    chunk = np.zeros((CHUNK, job.num_features), dtype=np.float16)
    for found, _ in parts:
        chunk[found["row"] - start] = found["values"]
    _rows(shard, start)[:] = chunk
    shard.flush()
    bad = {row: reason for _, reasons in parts for row, reason in reasons.items()}
    append_entry(job.folder.journal_path, JournalEntry(start=start, digest=rows_digest(chunk), bad=bad))


def _finish(job: Extraction, plan: pd.DataFrame, starts: list[int]) -> pd.DataFrame | None:
    """samples.parquet and what the next extraction needs; None where chunks are missing."""
    journal = read_journal(job.folder.journal_path)
    if not set(starts) <= set(journal):
        return None
    bad = {int(row): reason for entry in journal.values() for row, reason in entry["bad"].items()}
    samples = plan.iloc[:len(job.manifest)].copy()
    is_bad = samples["row"].isin(list(bad))
    samples.loc[is_bad, "reason"] = samples.loc[is_bad, "row"].map(bad)
    samples.loc[is_bad, "row"] = -1
    write_journal(job.folder.journal_path, journal)
    job.folder.write_samples(samples)
    again = [row for row, reason in bad.items() if reason == CHANGED]
    write_plan(rows_path(job.folder), plan.assign(row=plan["row"].where(~plan["row"].isin(again), -1)))
    plan_path(job.folder, job.manifest_digest).unlink()
    return samples
