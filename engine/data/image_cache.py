"""Images as one uint8 array on disk: each is decoded once, in threads, and a killed decoding goes on where it was.

Knows files and pixels, no labels and no roles. M rows of the manifest, S the side.
"""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd

from engine.contract.disk.allocation import new_array
from engine.contract.disk.journal import JournalEntry, append_entry, read_journal, rows_digest
from engine.contract.disk.processes import LOCK_NAME, in_turn
from engine.contract.inside import inside
from engine.contract.manifest import MANIFEST_NAME, ManifestError, file_digest
from engine.contract.pictures.image_files import open_image
from engine.contract.pictures.mirror import RemoteError
from engine.contract.pixels import VERSION
from engine.data.decoding import reason_of, source_of, to_square
from engine.data.journal import write_journal

JOURNAL_NAME = "journal.jsonl"
MAX_NATIVE_SIZE = 224
CHUNK = 1024
VERIFIED_BYTES = 2**30
"""How much of an array is read again to verify it as it is opened: all of it up to here, about a second's work; of a
larger one chunks spread evenly."""
WAITING_SECONDS = 1.0
"""How often a process that waits for another to decode reports its progress."""

Progress = Callable[[int, int], None]


def native_size(rows: pd.DataFrame, root: Path) -> int:
    """The median longer side of up to 64 images spread over the data, at most 224 pixels, at least 8."""
    sides = []
    for row in np.linspace(0, len(rows) - 1, min(64, len(rows))).astype(int):
        try:
            with open_image(source_of(rows, int(row), root)) as image:
                sides.append(max(image.size))
        except RemoteError:
            raise
        except Exception:  # decoding says which and why; one picture must not end the run
            continue
    if not sides:
        raise ManifestError(f"images must be readable; none of {min(64, len(rows))} tried under {root} is; check root")
    return int(np.clip(np.median(sides), 8, MAX_NATIVE_SIZE))


def decode_images(project: Path, rows: pd.DataFrame, root: Path, size: int,
                  progress: Progress) -> tuple[np.ndarray, dict[int, str]]:
    """All images as (M, 3, size, size) uint8, memory-mapped, from the project's cache or decoded into it; {row: reason}
    of those that cannot be read.

    The cache is keyed by the manifest's digest, the size and the version of pixels. Chunks of CHUNK rows are decoded by
    all cores; a journal holds each finished chunk's digest, so that the process after a killed one decodes what is
    missing or does not match its digest. One process decodes at a time; others wait and report its progress. Rows that
    were unreadable are tried again, for files may have been mended since.
    """
    folder = inside(project, "cache", f"{file_digest(project / MANIFEST_NAME)[:16]}-{size}-{VERSION}")
    folder.mkdir(parents=True, exist_ok=True)
    path, num = folder / "images.npy", len(rows)
    starts = range(0, num, CHUNK)
    with in_turn(folder / LOCK_NAME, lambda: progress(min(num, CHUNK * len(read_journal(folder / JOURNAL_NAME))), num),
                 WAITING_SECONDS):
        journal = read_journal(folder / JOURNAL_NAME)
        images = _opened(path, (num, 3, size, size)) if journal else None
        if images is None:
            (folder / JOURNAL_NAME).unlink(missing_ok=True)  # it tells of another array
            journal, images = {}, new_array(path, (num, 3, size, size), np.uint8)
        for start in _damaged(images, journal):
            del journal[start]
        again = [int(row) for entry in journal.values() for row in entry["bad"]]
        with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
            def decode(numbers: list[int] | range) -> dict[str, str]:
                reasons = pool.map(lambda row: _decode_row(images, row, rows, root), numbers)
                return {str(row): reason for row, reason in zip(numbers, reasons, strict=True) if reason}

            for start in starts:
                if start not in journal:
                    bad = decode(range(start, min(start + CHUNK, num)))
                    journal[start] = {"start": start, "digest": _digest(images, start), "bad": bad}
                    append_entry(folder / JOURNAL_NAME, journal[start])
                    progress(min(start + CHUNK, num), num)
            if again:
                still = decode(again)
                for start in {CHUNK * (row // CHUNK) for row in again}:
                    bad = {row: reason for row, reason in still.items() if start <= int(row) < start + CHUNK}
                    journal[start] = {"start": start, "digest": _digest(images, start), "bad": bad}
                write_journal(folder / JOURNAL_NAME, journal)
        images.flush()
    return np.load(path, mmap_mode="r"), {int(row): reason for start in starts
                                          for row, reason in journal[start]["bad"].items()}


def _damaged(images: np.ndarray, journal: dict[int, JournalEntry]) -> list[int]:
    """First rows of chunks that do not match their digests. Of a large array chunks all over it are looked at, and
    every chunk once one of them is damaged."""
    starts = sorted(journal)
    step = max(1, -(-len(starts) // max(1, VERIFIED_BYTES // images[:CHUNK].nbytes)))
    if all(_digest(images, start) == journal[start]["digest"] for start in starts[::step]):
        return []
    return [start for start in starts if _digest(images, start) != journal[start]["digest"]]


def _opened(path: Path, shape: tuple[int, ...]) -> np.memmap | None:
    """The array to write in; None where it is gone, cut short or another one."""
    try:
        images: np.memmap = np.load(path, mmap_mode="r+")
    except (OSError, ValueError):
        return None
    return images if images.shape == shape and images.dtype == np.uint8 else None


def _digest(images: np.ndarray, start: int) -> str:
    return rows_digest(images[start:start + CHUNK])


def _decode_row(images: np.ndarray, row: int, rows: pd.DataFrame, root: Path) -> str:
    """Decode one image into its place; the reason why it cannot be read, "" if it can."""
    size = images.shape[-1]
    try:
        with open_image(source_of(rows, row, root), size) as image:
            images[row] = to_square(image, size, "crop").transpose(2, 0, 1)
    except RemoteError:  # a place that is down says nothing of any picture
        raise
    except Exception as error:  # Pillow raises whatever its codecs raise; the reason is kept
        return reason_of(error)
    return ""
