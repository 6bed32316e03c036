"""Decisions that an export of corrected labels took out of a project, read again: relabels and exclusions.

Each has its author and reason. Reads corrected_labels.csv and .parquet (curation.exports.corrections); decides nothing.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from curation.audit.reviews.answers_file import AuditError, as_written, plain_text, samples_named, utc
from curation.ledger.batch import said
from curation.ledger.replay import timeline
from curation.project import Project
from curation.tables.csv_table import header_of, read_whole_csv
from curation.tables.report import SourceError
from engine.contract.errors import UserError

COLUMNS = ("sample_id", "given_label", "corrected_label")
"""Of such a file; who, at, why, is_excluded: where it has them."""
SUFFIXES = (".csv", ".parquet")
LEFT_OUT = "excluded"


@dataclass(frozen=True, kw_only=True, slots=True)
class Decision:
    """What somebody decided about one sample."""

    sample_id: str
    label: str | None
    """The class given; None: it was left out."""
    who: str
    why: str
    at: str | None
    """UTC, ISO 8601 with milliseconds; None: the file does not say."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FoundDecisions:
    decisions: list[Decision]
    """That are not in force, in the order of the file."""
    against: dict[tuple[str, str], str]
    """(sample, author) of one of them -> who decided otherwise, and what; that decision is older."""
    refused: list[str]
    num_unknown: int
    num_same: int
    num_older: int
    """Than what has been decided about the sample here since, or undone."""
    num_unchanged: int


def is_own(path: Path) -> bool:
    """Whether a table is such a file: all Parquet is taken for one, of other tables those with COLUMNS."""
    if path.suffix.lower() == ".parquet":
        return True
    try:
        return set(COLUMNS) <= set(header_of(path))
    except (SourceError, OSError, ValueError):  # who reads it next says so
        return False


def read_decisions(project: Project, path: Path, who: str) -> FoundDecisions:
    """The decisions of a file of corrected labels. who: where it does not say. Raises AuditError for a file that cannot
    be read, or lacks a column."""
    rows = _rows(path)
    table = samples_named(project, rows["sample_id"], "given_label", "excluded")
    in_force = project.ledger().corrections().set_index("sample_id")
    decided_at = _decided_at(project, {as_written(str(cell), table.index) for cell in rows["sample_id"]})
    found, refused, against = list[Decision](), list[str](), dict[tuple[str, str], str]()
    row_of = dict[tuple[str, bool], int]()
    num_unknown = num_same = num_older = num_unchanged = 0
    for number, cells in zip(rows.index, rows.to_dict("records"), strict=True):
        row = {str(name): str(cell) for name, cell in cells.items()}
        acts = _acts(row)
        if not acts:
            num_unchanged += 1
            continue
        sample_id = as_written(row["sample_id"], table.index)
        if sample_id not in table.index:
            refused.append(f"row {number}: {sample_id!r} is no training sample here")
            num_unknown += 1
            continue
        for is_out, said_of_it in acts:
            if (first := row_of.setdefault((sample_id, is_out), number)) != number:
                refused.append(f"row {number}: {sample_id!r} is decided in row {first} already; the first one counts")
                break
            try:
                one = _decision(said_of_it, sample_id, is_out, who, project.classes,
                                str(table.at[sample_id, "given_label"]))
            except UserError as error:
                refused.append(f"row {number}: {error}")
                break
            now = (LEFT_OUT if table.at[sample_id, "excluded"] else None) if is_out else \
                in_force["label"].get(sample_id)
            if now == (LEFT_OUT if is_out else one.label):
                num_same += 1
                continue
            if one.at is not None and decided_at.get((sample_id, is_out), "") > one.at:
                num_older += 1
                continue
            if not is_out and now is not None and (other := str(in_force.at[sample_id, "who"])) != one.who:
                against[sample_id, one.who] = f"{other}: {now}"
            found.append(one)
    return FoundDecisions(decisions=found, against=against, refused=refused, num_unknown=num_unknown,
                          num_same=num_same, num_older=num_older, num_unchanged=num_unchanged)


def _decided_at(project: Project, ids: Collection[str]) -> dict[tuple[str, bool], str]:
    """(sample, whether it is about leaving it out) -> when that was last decided, undone or redone here."""
    batches, entries = project.ledger().decisions_on(ids, ("relabel", "exclude"))
    changed_by = timeline(batches).latest_change
    at, kind = (dict(zip(batches["batch_id"], batches[name], strict=True)) for name in ("at", "kind"))
    found: dict[tuple[str, bool], str] = {}
    for batch_id, sample_id in entries:
        key = sample_id, kind[batch_id] == "exclude"
        found[key] = max(found.get(key, ""), str(at[changed_by.get(batch_id, batch_id)]))
    return found


def _acts(row: Mapping[str, str]) -> list[tuple[bool, Mapping[str, str]]]:
    """(whether it leaves the sample out, else it relabels; the row with what it says of that) of each act of a row. Of
    a sample with both, who, at and why are the relabel's: who left it out is not known."""
    is_changed = row["corrected_label"] not in ("", row["given_label"])
    acts: list[tuple[bool, Mapping[str, str]]] = [(False, row)] if is_changed else []
    if row.get("is_excluded", "").lower() == "true":
        acts.append((True, {**row, "who": "", "at": "", "why": ""} if is_changed else row))
    return acts


def _decision(row: Mapping[str, str], sample_id: str, is_out: bool, who: str, classes: tuple[str, ...],
              given: str) -> Decision:
    """Raises UserError for what cannot be decided."""
    if as_written(row["given_label"], [given]) != given:
        raise AuditError(f"a decision is about the given label that was shown; got {row['given_label']!r} where the "
                         f"data now have {given!r}")
    label = None if is_out else as_written(row["corrected_label"], classes)
    if label is not None and label not in classes:
        raise AuditError(f"a label must be one of the {len(classes)} classes; got {label!r}")
    words = said(plain_text(row.get("who", "")) or who, plain_text(row.get("why", "")))
    return Decision(sample_id=sample_id, label=label, who=words["who"], why=words["why"],
                    at=utc(row.get("at", "").strip() or None))


def _rows(path: Path) -> pd.DataFrame:
    """All cells as text, "" where there is none, by their row."""
    try:
        if path.suffix.lower() != ".parquet":
            return read_whole_csv(path)
        frame = pq.read_table(path).to_pandas()
    except (SourceError, OSError, pa.ArrowException, ValueError) as error:
        raise AuditError(f"corrected labels must be a whole CSV or Parquet file; {path}: "
                         f"{' '.join(str(error).split())[:200]}; export them anew") from error
    if missing := [name for name in COLUMNS if name not in frame]:
        raise AuditError(f"corrected labels have the columns {', '.join(COLUMNS)}; {path} lacks {missing[0]}; export "
                         "them anew")
    text: pd.DataFrame = frame.astype(object).where(frame.notna(), "").map(str)
    return text.set_axis(range(1, len(text) + 1), axis="index")

