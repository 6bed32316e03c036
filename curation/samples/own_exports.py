"""Tables that an export of ours wrote, as what they say: texts without the apostrophe that keeps a spreadsheet from
running them, samples that people left out marked as such. Any other table is left as it is."""

import pyarrow as pa
import pyarrow.compute as pc

from curation.samples.csv_cells import FORMULA_LEADS
from curation.tables.report import Column

MARKS = ("decisions_digest", "manifest_digest", "exported_at")
"""Columns that a table of a curated set has, and no other."""
EXCLUDED = {"corrected_label", "is_excluded"}
"""Columns of corrected_labels.parquet; samples with a true is_excluded are no part of the data any more."""
_APOSTROPHE = "^'([" + "".join(f"\\{lead}" if lead in "-+=@" else lead for lead in FORMULA_LEADS) + "])"


def as_written(table: pa.Table) -> pa.Table:
    """A table of text as it was before write_csv neutralised it; itself where it has not all of MARKS.

    A text of the data that began with an apostrophe and a sign loses the apostrophe: write_csv cannot tell them.
    """
    if not set(MARKS) <= set(table.column_names):
        return table
    columns = [without_apostrophes(column) if pa.types.is_string(column.type) else column for column in table.columns]
    return pa.table(dict(zip(table.column_names, columns, strict=True)))


def without_apostrophes(texts: Column) -> Column:
    """Texts as they were before write_csv neutralised them."""
    return pc.replace_substring_regex(texts, _APOSTROPHE, r"\1")


def left_out(table: pa.Table) -> Column | None:
    """(N,) bool, the samples that people excluded; None where the table is no export of corrected labels."""
    if not set(table.column_names) >= EXCLUDED:
        return None
    return pc.fill_null(pc.equal(pc.utf8_lower(table["is_excluded"].cast(pa.string())), "true"), False)


def for_training(rows: pa.Table) -> pa.Table | None:
    """The rows of a hard validation set, of which each was a training sample, as split train again; None of any other
    table. rows: with a column split."""
    if not set(MARKS) <= set(rows.column_names) or pc.any(pc.equal(rows["split"], "train")).as_py():
        return None
    place = rows.column_names.index("split")
    return rows.set_column(place, "split", pa.array(["train"] * rows.num_rows, pa.string()))
