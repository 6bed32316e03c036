"""Whether a shard of features holds what the journal says of each of its chunks. Computes nothing anew."""

from functools import lru_cache
from pathlib import Path

import numpy as np

from engine.contract.integrity.journal import read_journal, rows_digest
from engine.contract.stamps import Stamp, stamp_of


def damaged_chunk(journal: Path, shard: Path, first: int, num_chunk: int, used: frozenset[int]) -> int | None:
    """First row of a chunk that is not as it was written, or of which the journal does not say so; None where all are
    or where there is no journal (imported features: the shard has a seal). Reads all of a shard, once until it changes.

    first: row of the store that the shard begins with; num_chunk: rows a chunk; used: first rows of the chunks that
    samples are in. Raises OSError, ValueError for a shard that is no array.
    """
    return _damaged_chunk(stamp_of(journal, shard), first, num_chunk, used)


@lru_cache(maxsize=1024)
def _damaged_chunk(files: Stamp, first: int, num_chunk: int, used: frozenset[int]) -> int | None:
    journal = Path(files[0].path)
    if not journal.exists():
        return None
    entries, rows = read_journal(journal), np.load(files[1].path, mmap_mode="r", allow_pickle=False)
    for start in sorted({*(start for start in entries if first <= start < first + len(rows)), *used}):
        at = start - first
        if start not in entries or rows_digest(rows[at:at + num_chunk]) != entries[start]["digest"]:
            return start
    return None
