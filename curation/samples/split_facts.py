"""A project's splits: how many samples each has, and of how many the truth is known. Reads the manifest alone."""

from dataclasses import dataclass

import pyarrow.compute as pc
import pyarrow.parquet as pq

from curation.project import Project
from engine.contract.manifest import MANIFEST_NAME

HELD_OUT = ("test", "clean")
"""Splits that nothing trains on, so that accuracy can be measured on them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SplitFacts:
    """Samples by split."""

    sizes: dict[str, int]
    num_known: dict[str, int]
    """Those whose truth is known, so that accuracy on them is accuracy and not agreement with labels as given."""

    @property
    def can_measure(self) -> bool:
        return any(self.sizes.get(split) for split in HELD_OUT)

    def is_as_given(self, split: str) -> bool:
        """Whether any label of the split is as it was given, unchecked by a person."""
        return self.num_known.get(split, 0) < self.sizes.get(split, 0)


def split_facts(project: Project) -> SplitFacts:
    """Read from the manifest: two columns."""
    path = project.path / MANIFEST_NAME
    there = pq.read_schema(path).names
    table = pq.read_table(path, columns=[name for name in ("split", "clean_label") if name in there])
    known = table.filter(pc.is_valid(table["clean_label"])) if "clean_label" in there else table.slice(0, 0)
    counts = [{str(row["values"]): int(row["counts"]) for row in pc.value_counts(part["split"]).to_pylist()}
              for part in (table, known)]
    return SplitFacts(sizes=counts[0], num_known=counts[1])
