"""Ids and paths of a manifest's rows, which differ from row to row and are the largest part of it: read once in this
process, for the table of samples and for the thumbnails."""

import threading
from functools import lru_cache
from pathlib import Path

import polars as pl

from engine.contract.manifest import MANIFEST_NAME, column_names, read_manifest
from engine.contract.stamps import Stamp, stamp_of

KEYS = ("sample_id", "path")
UNREADABLE = (pl.exceptions.PolarsError, OSError, ValueError)
"""What Polars raises for a file that it cannot read."""
_lock = threading.Lock()


def manifest_keys(project: Path) -> pl.DataFrame:
    """sample_id and, where the manifest has it, path of every row in file order, both texts. Raises ManifestError."""
    with _lock:
        return _keys(Path(project), stamp_of(Path(project) / MANIFEST_NAME))


@lru_cache(maxsize=2)
def _keys(project: Path, _stamp: Stamp) -> pl.DataFrame:
    names = [name for name in KEYS if name in column_names(project)]
    try:
        found = pl.read_parquet(project / MANIFEST_NAME, columns=names)
    except UNREADABLE:  # says what is wrong, or reads what Polars cannot
        found = pl.from_pandas(read_manifest(project, columns=names)[names])
    return found.with_columns(pl.all().cast(pl.String))
