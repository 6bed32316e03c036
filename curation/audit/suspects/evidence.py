"""What speaks for and against every given label: predictions that did not see it, training dynamics, neighbours.

Reads the files of one run, or of several that differ by their seed alone, whose evidence is averaged. Turns nothing
into a probability of being wrong: curation.audit.suspects.scores does. Never looks at clean_label.

    N samples in the order of the sample table, C classes
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from curation.samples.frames import SampleTable
from curation.samples.triage import neighbour_shares
from engine.contract.methods import METHODS
from engine.contract.run_dir import RunDir, RunDirError
from engine.contract.work_dir import open_array

SMALLEST, LARGEST = 1e-37, 1 - 1e-9
"""Probabilities between which log-odds differ. Cut at a millionth, hundreds of labels tied at the top of the queue, and
of 9% wrong labels fewer were found (benchmarks/LOG.md)."""
ROWS_AT_ONCE = 65_536
SIGNALS = {"label_quality": "heldout_confidence", "mean_margin": "mean_margin",
           "loss": "loss", "forgetting": "forgetting"}
"""Columns of a run's signals -> their names here."""


Missing = Literal["label_head", "neighbours"]
"""Evidence that a run may lack: predictions that did not see the sample's label, and the nearest others."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """(N,) each, float32 unless said; NaN where unknown."""

    given: np.ndarray
    """int16 or int32 codes of the given label, -1 without one."""
    rival: np.ndarray
    """Codes of the most probable other class; -1 unknown."""
    rival_share: np.ndarray
    """Its probability among all classes but the given one, in [0, 1]."""
    own_odds: np.ndarray
    """log(p / (1 - p)) of self_confidence, 1 - p being what the other classes have: so labels that are surely right or
    surely wrong keep an order where self_confidence itself is 1 or 0."""
    columns: dict[str, np.ndarray]
    """Low is bad, except of loss and forgetting. self_confidence: probability of the given label by predictions that
    did not see it (probabilities_of; the features under the label head did), in [0, 1]; normalised_margin: that less
    the best other, plus 1, halved (as cleanlab has it), in [0, 1]; heldout_confidence: label_quality of the signals;
    dynamics: mean margin over the epochs, later ones counting more, in [-1, 1]; mean_margin, loss, forgetting: of the
    signals; neighbour_agreement: share of the neighbours with this label."""
    runs: tuple[str, ...]
    """Names of the runs it comes from."""
    is_on_features: bool
    """Whether these are runs on frozen features."""
    losses: tuple[float, ...]
    """losses_of the first."""


def gather(table: SampleTable, runs: Sequence[RunDir], classes: Sequence[str],
           neighbours: tuple[np.ndarray, np.ndarray] | None) -> Evidence:
    """Evidence of a sample table with the signals of runs[0] and its neighbours (RunDir.read_neighbours).

    All runs are on the manifest that the table is of, so that their signals have the same samples in the same rows.
    """
    given = table["given_label"].codes.into(classes)
    rows = table.frame["signal_row"].to_numpy()
    own, best, share, odds, rival = predictions_of(runs, rows, given)
    columns = {"self_confidence": own, "normalised_margin": (own - best + 1) / 2}
    others = [_in_rows(run.read_signals(), rows) for run in runs[1:]]
    for name, new_name in SIGNALS.items():
        columns[new_name] = _mean([np.asarray(table[name].numbers, dtype=np.float32),
                                   *(frame[name].to_numpy(dtype=np.float32, na_value=np.nan) for frame in others)])
    columns["dynamics"] = _mean([_dynamics(run, rows) for run in runs])
    columns["neighbour_agreement"] = _agreement(table, given, rows, neighbours)
    return Evidence(given=given, rival=rival, rival_share=share, own_odds=odds, columns=columns,
                    runs=tuple(r.name for r in runs),
                    is_on_features=runs[0].read_config()["config"].get("features") is not None,
                    losses=losses_of(runs[0]))


def missing_of(run: RunDir) -> list[Missing]:
    """What a run lacks, as a run does that has not ended, or one of older code that was trained with embedding=none."""
    found: list[Missing] = []
    if run.open_probabilities("label_head") is None and not _is_kfold(run):
        found.append("label_head")
    return found if run.neighbours_path.exists() else [*found, "neighbours"]


def log_odds(share: np.ndarray) -> np.ndarray:
    """log(p / (1 - p)) in float32, of p no nearer to 0 and 1 than SMALLEST and LARGEST; NaN stays."""
    p = np.clip(np.asarray(share, dtype=np.float64), SMALLEST, LARGEST)
    odds: np.ndarray = (np.log(p) - np.log1p(-p)).astype(np.float32)
    return odds


def probabilities_of(run: RunDir) -> np.ndarray | None:
    """(M, C) float in the order of the run's signals: out of fold by K trainings, where the run has those; by a head
    that did not see the label (engine.training.label_head), else held out by rotation; None without any."""
    probabilities = run.open_probabilities("probabilities")
    if probabilities is not None and _is_kfold(run):
        return probabilities
    crossed = run.open_probabilities("label_head")
    return probabilities if crossed is None else crossed


def losses_of(run: RunDir) -> tuple[float, ...]:
    """Mean training loss by epoch; none of a run that is no training, or whose metrics cannot be read."""
    if not _is_trained(run):
        return ()
    try:
        metrics = run.read_metrics()
    except RunDirError:  # Train says so
        return ()
    return tuple(pd.to_numeric(metrics["train_loss"]).tolist()) if "train_loss" in metrics else ()


def _is_trained(run: RunDir) -> bool:
    method = METHODS.get(str(run.read_config()["config"].get("method")))
    return method is None or method.is_trained


def _is_kfold(run: RunDir) -> bool:
    return bool(run.read_config()["config"].get("method") == "kfold")


def predictions_of(runs: Sequence[RunDir], rows: np.ndarray, given: np.ndarray
                   ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """(N,) each: mean probability of the given label, of its strongest rival, the rival's share of all but the given
    label, log-odds of the given label, and the rival's code."""
    sources = [found for found in map(probabilities_of, runs) if found is not None]
    smallest = max((_smallest(source.dtype) for source in sources), default=SMALLEST)
    own, best, share, odds = np.full((4, len(rows)), np.nan, dtype=np.float32)
    rival = np.full(len(rows), -1, dtype=given.dtype)
    usable = np.flatnonzero((rows >= 0) & (given >= 0)) if sources else np.empty(0, dtype=np.int64)
    for start in range(0, len(usable), ROWS_AT_ONCE):
        part = usable[start:start + ROWS_AT_ONCE]
        probs = np.mean([np.asarray(source[rows[part]], dtype=np.float32) for source in sources], axis=0)
        inside = np.arange(len(part))
        own[part] = probs[inside, given[part]]
        probs[inside, given[part]] = 0
        code, others = probs.argmax(1), probs.sum(1)
        odds[part] = np.log(np.maximum(own[part], smallest)) - np.log(np.maximum(others, smallest))
        best[part] = probs[inside, code]
        has_rival = best[part] > 0  # not where the given label has all, or there is no other class
        rival[part] = np.where(has_rival, code, -1)
        share[part] = np.where(has_rival, best[part] / np.where(has_rival, others, 1), np.nan)
    return own, best, share, odds, rival


def _smallest(kind: np.dtype[np.floating]) -> float:
    """What stands for a probability of 0 in numbers of this kind: half their smallest, where that is of any size."""
    return max(SMALLEST, float(np.finfo(kind).smallest_subnormal) / 2)


def _in_rows(signals: pd.DataFrame, rows: np.ndarray) -> pd.DataFrame:
    """A run's signals at these rows; rows of -1 are null."""
    return signals[list(SIGNALS)].reindex(rows)


def _mean(values: list[np.ndarray]) -> np.ndarray:
    """Mean over runs, of those that know a sample."""
    if len(values) == 1:
        return values[0]
    known = np.sum([np.isfinite(v) for v in values], axis=0)
    total = np.sum([np.nan_to_num(v) for v in values], axis=0, dtype=np.float32)
    return np.where(known > 0, total / np.maximum(known, 1), np.nan).astype(np.float32)


def _dynamics(run: RunDir, rows: np.ndarray) -> np.ndarray:
    """(N,) mean margin over the epochs of a run's history, the epoch's number its weight; NaN of a run without epochs,
    whose one look is its out-of-fold predictions over again."""
    total, weight = np.zeros((2, len(rows)), dtype=np.float32)
    if not _is_trained(run):
        return np.full(len(rows), np.nan, dtype=np.float32)
    is_in = rows >= 0
    for path in sorted((run.path / "history").glob("*.npy")):
        records = open_array(path)
        margin = np.full(len(rows), np.nan, dtype=np.float32)
        margin[is_in] = records["margin"][rows[is_in]]
        known = np.isfinite(margin)
        total += np.where(known, margin, 0) * int(path.stem)
        weight += known * np.float32(int(path.stem))
    return np.where(weight > 0, total / np.maximum(weight, 1), np.nan).astype(np.float32)


def _agreement(table: SampleTable, given: np.ndarray, rows: np.ndarray,
               neighbours: tuple[np.ndarray, np.ndarray] | None) -> np.ndarray:
    """(N,) share of the neighbours with the same given label; excluded samples do not count."""
    if neighbours is None:
        return np.full(len(given), np.nan, dtype=np.float32)
    code_of = np.full(len(neighbours[0]), -1, dtype=given.dtype)
    is_counted = (rows >= 0) & ~table["excluded"].flags
    code_of[rows[is_counted]] = given[is_counted]
    shares = neighbour_shares(code_of, neighbours, rows, given, np.full_like(given, -1))
    return np.asarray(shares[0])
