"""The given labels as the data has them now, by sample: the manifest is read once, and again when it was replaced.

So that an answer, which is about one sample of a million, need not read them all. Knows no decision and no verdict.
"""

from collections.abc import Collection
from functools import lru_cache

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curation.project import Project, ProjectError
from engine.contract.manifest import MANIFEST_NAME
from engine.contract.stamps import Stamp, stamp_of


def given_rows(project: Project, sample_ids: Collection[str]) -> pd.DataFrame:
    """sample_id and given_label (object; None: it has none) of those that are training samples now, each once.

    Raises ProjectError for a manifest that cannot be read.
    """
    table, known = _labels(stamp_of(project.path / MANIFEST_NAME))
    new = list({str(sample_id) for sample_id in sample_ids} - known.keys())
    if new:
        ids = table["sample_id"]
        is_new = pc.is_in(ids, value_set=pa.array(new, ids.type))
        found = table.filter(is_new).to_pydict()
        known.update(dict.fromkeys(new, (False, None)))
        known.update({name: (True, label) for name, label in zip(*found.values(), strict=True)})
    rows = [(name, known[name][1]) for name in dict.fromkeys(map(str, sample_ids)) if known[name][0]]
    return pd.DataFrame(rows, columns=["sample_id", "given_label"], dtype=object)


@lru_cache(maxsize=2)
def _labels(stamp: Stamp) -> tuple[pa.Table, dict[str, tuple[bool, str | None]]]:
    """(sample_id and given_label of the training samples; what was asked of them so far: is it there, its label)."""
    path = stamp[0].path
    try:
        table = pq.read_table(path, columns=["sample_id", "given_label", "split"])
    except (OSError, pa.ArrowException) as error:
        raise ProjectError(f"a manifest must be a Parquet file as it was written; {path} cannot be read "
                           f"({type(error).__name__}); import the data again") from error
    return table.filter(pc.equal(table["split"], "train")).select(["sample_id", "given_label"]), {}
