"""The ids that a decision is about: distinct, and of training samples. Reads two columns of the manifest."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curation.ledger.batch import LedgerError
from engine.contract.manifest import MANIFEST_NAME


def training_ids(project: Path, ids: Iterable[str]) -> np.ndarray:
    """The distinct ids, sorted, (n,) of str objects. Raises LedgerError for none, or for one that is no training
    sample of the project's manifest, which must be there."""
    sample_ids = np.array(sorted({str(i) for i in ([ids] if isinstance(ids, str) else ids)}), dtype=object)
    if not len(sample_ids):
        raise LedgerError("a decision needs at least one sample; got none; select some first")
    asked = pa.array(sample_ids, pa.string())
    rows = pq.read_table(project / MANIFEST_NAME, columns=["sample_id", "split"])
    rows = rows.filter(pc.is_in(rows["sample_id"], value_set=asked.cast(rows.schema.field("sample_id").type)))
    training = rows.filter(pc.equal(rows["split"], "train"))["sample_id"].combine_chunks().cast(pa.string())
    is_known = pc.is_in(asked, value_set=training).to_numpy(zero_copy_only=False)
    missing = sample_ids[~is_known]
    if len(missing):
        is_elsewhere = pc.any(pc.equal(rows["sample_id"], missing[0])).as_py()
        where = "of another split" if is_elsewhere else "not in the manifest"
        raise LedgerError(f"a decision is about training samples; {len(missing)} of {len(sample_ids)} are none, "
                          f"first {missing[0]!r} ({where}); check the ids")
    return sample_ids
