"""Ids and paths of a manifest's rows, which differ from row to row and are the largest part of it: read once in this
process, for the table of samples and for the thumbnails."""

import threading
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

import polars as pl
import polars.selectors as cs

from engine.contract.manifest import MANIFEST_NAME, column_names, read_manifest
from engine.contract.stamps import Stamp, stamp_of

KEYS = ("sample_id", "path")
UNREADABLE = (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError, ValueError)
"""What Polars raises for a file that it cannot read."""
_lock = threading.Lock()


def columns_of(path: Path, names: Iterable[str]) -> pl.LazyFrame:
    """These columns of a Parquet file, to be read. Names and paths are taken as they are: `*` in them is no pattern."""
    return pl.scan_parquet(path, glob=False).select(cs.by_name(*names))


def manifest_keys(project: Path) -> pl.DataFrame:
    """sample_id and, where the manifest has it, path of every row in file order, both texts. Raises ManifestError."""
    with _lock:
        return _keys(Path(project), stamp_of(Path(project) / MANIFEST_NAME))


@lru_cache(maxsize=2)
def _keys(project: Path, _stamp: Stamp) -> pl.DataFrame:
    names = [name for name in KEYS if name in column_names(project)]
    try:
        found = columns_of(project / MANIFEST_NAME, names).collect()
    except UNREADABLE:  # says what is wrong, or reads what Polars cannot
        found = pl.from_pandas(read_manifest(project, columns=names)[names])
    return found.with_columns(pl.all().cast(pl.String))
