"""Pins against the splitter: how often it alone would have put a pinned sample on the other side, in a finished run.

From the run's history, which has the splitter's own p_train of pinned samples; runs of older code recorded the pin
there, and say what the splitter wanted in the last epoch alone (p_train_unpinned). It wants a sample in validation
where its p_train is among the lowest of its class, as many as val_fraction sends there (class_quota); guard and
coverage are left aside. Where that line lies is read from at most MAX_SAMPLED samples, so that a million are as quick
as a few.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from curation.ledger.batch import PINS
from curation.samples.frames import SampleTable
from engine.contract.manifest import read_decisions
from engine.contract.run_dir import RunDir
from engine.contract.signal_columns import ROLES
from engine.contract.statistics.quota import class_quota
from engine.contract.work_dir import open_array

MAX_SAMPLED = 50_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Tension:
    """The pinned samples of a run with what the splitter wanted."""

    rows: pd.DataFrame
    """sample_id, pin, num_epochs (int, in which the splitter's wish is known), share_against (of these, in [0, 1]; NaN
    where there is none) and wish (the last known p_train without the pin), the most disputed first."""
    is_last_only: bool
    """The run recorded the last epoch's wish alone."""


def pin_tension(run: RunDir, table: SampleTable) -> Tension:
    """What the splitter wanted of the samples that were pinned in this run; without a splitter nothing is known of
    them. table: sample table of that run (sample_id, current_label, signal_row). Raises RunDirError for no config."""
    decisions = read_decisions(run.decisions_path)
    pinned = decisions[decisions["pin"].isin(PINS)]
    row_of = table.frame["signal_row"].to_numpy() if "signal_row" in table else np.full(len(table), -1)
    places = table.positions(pinned["sample_id"])
    is_known = (places >= 0) & (row_of[places] >= 0) if len(table) else np.zeros(len(pinned), dtype=bool)
    pinned, places = pinned[is_known], places[is_known]
    if pinned.empty:
        return Tension(rows=_frame(pinned, *(np.empty(0),) * 3), is_last_only=False)
    others = np.flatnonzero(row_of >= 0)
    step = -(-len(others) // MAX_SAMPLED)
    both = np.concatenate([places, others[::step]])
    classes = table["current_label"].codes.codes[both]
    to_validation = pinned["pin"].eq("validation").to_numpy(dtype=bool)
    fraction = float(run.read_config()["config"]["val_fraction"])
    known, against, wish, lines, is_recorded = _over_epochs(run, row_of[both], classes, to_validation, fraction,
                                                              step)
    if not is_recorded:
        wish = run.read_signals()["p_train_unpinned"].to_numpy(dtype=np.float64, na_value=np.nan)[row_of[places]]
        known = np.isfinite(wish).astype(np.int64)
        against = (known > 0) & ((wish <= lines) != to_validation)
    return Tension(rows=_frame(pinned, known, against, wish), is_last_only=not is_recorded)


def _over_epochs(run: RunDir, rows: np.ndarray, classes: np.ndarray, to_validation: np.ndarray,
                 fraction: float, step: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, bool]:
    """(known (M,), against (M,), wish (M,), lines (M,), is_recorded) of the first M of these rows of the history, the
    pinned ones: in how many epochs the wish is known and against the pin, the last of them and where the line of its
    class lay, and whether it was recorded at all (else it is the pin, 0 or 1). The other rows (R - M), one in `step` of
    all, draw the lines.
    """
    num = len(to_validation)
    known, against = np.zeros(num, dtype=np.int64), np.zeros(num, dtype=np.int64)
    wish, lines, is_recorded = np.full(num, np.nan), np.full(num, np.nan), False
    for path in sorted((run.path / "history").glob("*.npy")):
        records = open_array(path)[rows]
        p_train = records["p_train"].astype(np.float64)
        is_active = records["role"] != ROLES.index("excluded")
        p_train[~is_active] = np.nan
        line = class_lines(p_train[num:], classes[num:], fraction, int(classes.max()) + 1, step)[classes[:num]]
        own = p_train[:num]
        is_recorded |= bool(((own > 0) & (own < 1)).any())
        is_known = np.isfinite(own) & ~np.isnan(line)
        known += is_known
        against += is_known & ((own <= line) != to_validation)
        wish, lines = np.where(is_known, own, wish), np.where(is_known, line, lines)
    return known, against, wish, lines, is_recorded


def class_lines(p_train: np.ndarray, classes: np.ndarray, fraction: float, num_classes: int, step: int) -> np.ndarray:
    """(C,) highest p_train among those of each class that go to validation: -inf where none does, NaN of an empty
    class. Each sample stands for `step` of its class."""
    is_finite = np.isfinite(p_train)
    values, codes = p_train[is_finite], classes[is_finite]
    order = np.lexsort((values, codes))
    sizes = np.bincount(codes[codes >= 0], minlength=num_classes)
    starts = int((codes < 0).sum()) + np.cumsum(sizes) - sizes
    quotas = np.array([class_quota(int(size) * step, fraction) for size in sizes])
    is_sent = quotas > 0
    found = np.where(sizes > 0, -np.inf, np.nan)
    found[is_sent] = values[order][(starts + np.maximum(1, np.rint(quotas / step)).astype(np.int64) - 1)[is_sent]]
    return found


def _frame(pinned: pd.DataFrame, known: np.ndarray, against: np.ndarray, wish: np.ndarray) -> pd.DataFrame:
    share = np.where(known > 0, against / np.maximum(known, 1), np.nan)
    frame = pd.DataFrame({"sample_id": pinned["sample_id"].to_numpy(dtype=object), "pin": pinned["pin"].to_numpy(
        dtype=object), "num_epochs": known, "share_against": share.astype(np.float64), "wish": wish.astype(np.float64)})
    away = np.where(frame["pin"].eq("validation"), frame["wish"], 1 - frame["wish"])  # how far on the other side
    return frame.assign(away=away).sort_values(["share_against", "away"], ascending=False, na_position="last",
                                               kind="stable", ignore_index=True).drop(columns="away")
