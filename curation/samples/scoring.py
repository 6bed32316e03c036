"""How good is a run at finding wrong labels, where the truth is known. For scoring alone: nothing here reaches a run.

The truth is clean_label in the manifest, or a CSV of key,clean_label. A label is wrong where the one that the run was
trained under (given_label, or the relabel in the run's own decisions) differs from it. Does not estimate anything
where the truth is unknown: every figure says how many samples it rests on.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl

from curation.project import Project
from curation.samples.codes import comparable
from curation.samples.columns import Column
from curation.samples.frames import SampleTable
from curation.samples.table import samples
from curation.tables.csv_table import read_whole_csv
from curation.tables.report import SourceError
from engine.contract.errors import UserError
from engine.contract.manifest import read_decisions
from engine.contract.run_dir import RunDir
from engine.contract.signal_columns import WITHHELD
from engine.contract.statistics.measures import detection

KEY_COLUMNS = ("sample_id", "path")
"""Columns that the keys of an answers file may be; the one that more keys fit is taken."""
_NEEDED = (*KEY_COLUMNS, "given_label", "clean_label", "role", "role_reason", "label_quality")


class ScoringError(UserError):
    """An answers file cannot be read, or a run has nothing to score. One line, ready to show."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Score:
    """Figures of one run. None: not defined, for want of truth or of wrong or right labels."""

    run: str
    num_active: int
    """Training samples that are not excluded."""
    num_known: int
    """Of these, with a known truth."""
    wrong_share: float | None
    """Share of wrong labels among the known, in [0, 1]: what a random choice would hold."""
    num_validation: int
    """Samples routed or pinned to validation in the run's last epoch."""
    num_validation_known: int
    validation_wrong_share: float | None
    """Share of wrong labels in validation, with the guard as the run had it."""
    unguarded_wrong_share: float | None
    """What the run itself reported for its last epoch had the guard been off; None with an answers file, which it
    did not know (score a run with guard=off instead)."""
    num_withheld_known: int
    """Samples that the guard withheld in the last epoch, with a known truth."""
    withheld_wrong_share: float | None
    """Share of wrong labels among them: how right the guard was."""
    num_scored: int
    """Samples with a truth and a label_quality (held out at least once): what the next two rest on."""
    num_scored_wrong: int
    auroc: float | None
    """Of label_quality as a detector of wrong labels (low is bad): 0.5 chance, 1 perfect."""
    average_precision: float | None
    """The same ranking's average precision; wrong_share is chance."""
    coverage: float | None
    """Share of routed samples with a same-class nearest neighbour left in training, in the last epoch."""
    num_unmatched: int
    """Rows of the answers file that fit no training sample; 0 without a file."""


def score_run(project: Project, run: RunDir, answers: Path | None = None) -> Score:
    """Score a run against the truth. Raises ScoringError for a bad answers file, RunDirError without signals."""
    run.read_signals()
    whole = samples(project, run)
    table = SampleTable(whole.frame.lazy().filter(pl.col("signal_row") >= 0).select(
        name for name in _NEEDED if name in whole).collect())
    found_truth, num_unmatched = _truth(project, table, answers)
    truth, label = comparable(found_truth.codes, _trained_label(table, run).codes)
    is_active = ~table["role"].is_one_of(["excluded"])
    is_known = is_active & (truth >= 0) & (label >= 0)
    is_wrong = (label != truth) & is_known
    is_validation = is_active & table["role"].is_one_of(["validation"])
    quality = table["label_quality"].numbers
    is_scored = is_known & np.isfinite(quality)
    is_withheld = is_known & table["role_reason"].is_one_of(list(WITHHELD))
    found = detection(quality[is_scored], is_wrong[is_scored])
    return Score(
        run=run.name, num_active=int(is_active.sum()), num_known=int(is_known.sum()),
        wrong_share=_share(is_wrong, is_known), num_validation=int(is_validation.sum()),
        num_validation_known=int((is_validation & is_known).sum()),
        validation_wrong_share=_share(is_wrong, is_validation & is_known),
        unguarded_wrong_share=_of_last_epoch(run, "unguarded_wrong_share") if answers is None else None,
        num_withheld_known=int(is_withheld.sum()), withheld_wrong_share=_share(is_wrong, is_withheld),
        num_scored=int(is_scored.sum()), num_scored_wrong=int(is_wrong[is_scored].sum()), auroc=found.auroc,
        average_precision=found.average_precision, coverage=_of_last_epoch(run, "coverage"),
        num_unmatched=num_unmatched)


def read_answers(path: Path, classes: tuple[str, ...]) -> pd.Series:
    """Truth by key from a CSV with columns key and clean_label (a class name, or its 0-based position).

    Raises ScoringError for a file that is none, a key twice, or a label that is no class.
    """
    try:
        rows = read_whole_csv(path)
    except SourceError as error:
        raise ScoringError(f"answers must be a CSV of which each row can be read; {error}") from error
    if not {"key", "clean_label"} <= set(rows.columns):
        raise ScoringError(f"answers must have the columns key and clean_label; {path} has "
                           f"{', '.join(map(str, rows.columns))}; rename them")
    repeated = rows["key"][rows["key"].duplicated()]
    if len(repeated):
        raise ScoringError(f"a key must stand once in answers; {path} has {repeated.iloc[0]!r} twice; remove one")
    names = {**{str(i): name for i, name in enumerate(classes)}, **{name: name for name in classes}}
    labels = rows["clean_label"].map(names)
    if labels.isna().any():
        row = labels.index[labels.isna()][0]
        raise ScoringError(f"clean_label must be a class or its position; {path} row {row} says "
                           f"{rows.at[row, 'clean_label']!r}; the classes are {', '.join(classes)}")
    return pd.Series(labels.to_numpy(dtype=object), index=rows["key"].to_numpy(dtype=object))


def _truth(project: Project, table: SampleTable, answers: Path | None) -> tuple[Column, int]:
    """The true class of each row of the table (null where unknown), and how many answers fit no row."""
    if answers is None:
        nothing = pl.repeat(None, len(table), dtype=pl.String, eager=True)
        return table["clean_label"] if "clean_label" in table else Column(nothing), 0
    given = read_answers(answers, project.classes)
    keys = {name: _looked_up(table[name].cells, given) for name in KEY_COLUMNS if name in table}
    truth = max(keys.values(), key=pl.Series.count)
    num_matched = len(truth) - truth.null_count()
    if not num_matched:
        raise ScoringError(f"the keys of answers must be a training sample's {' or '.join(keys)}; none of {len(given)} "
                           f"in {answers} is, first {given.index[0]!r}; check that it belongs to this project")
    return Column(truth), len(given) - num_matched


def _trained_label(table: SampleTable, run: RunDir) -> Column:
    """The label that the run was trained under: its own decisions', else the given one."""
    decisions = read_decisions(run.decisions_path)
    relabels = decisions.loc[decisions["label"].notna()].set_index("sample_id")["label"]
    relabelled = _looked_up(table["sample_id"].cells, relabels)
    return Column(pl.select(pl.coalesce(relabelled, table["given_label"].cells.cast(pl.String))).to_series())


def _looked_up(keys: pl.Series, known: pd.Series) -> pl.Series:
    """(N,) texts of `known`, by its index, under these keys (N,); null where it has none."""
    found = pl.DataFrame({"key": pl.Series(known.index.to_list(), dtype=pl.String),
                          "value": pl.Series(known.to_list(), dtype=pl.String)})
    wanted = keys.cast(pl.String).alias("key").to_frame()
    return wanted.join(found, on="key", how="left", maintain_order="left")["value"]


def _share(is_wrong: np.ndarray, among: np.ndarray) -> float | None:
    return float(is_wrong[among].mean()) if among.any() else None


def _of_last_epoch(run: RunDir, figure: str) -> float | None:
    """A figure of metrics.jsonl's last line; None where it has none."""
    metrics = run.read_metrics()
    value = metrics[figure].iloc[-1] if figure in metrics else None
    return None if value is None or pd.isna(value) else float(value)
