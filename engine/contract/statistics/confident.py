"""What predictions that did not see a label say of it: confident learning's rule, margins, the signals of a run that
trained nothing. numpy and pandas only. N samples, C classes."""

import numpy as np
import pandas as pd

from engine.contract.run_dir import HISTORY_DTYPE
from engine.contract.signal_columns import COLUMNS, ROLES

SMALLEST_PROBABILITY = 1e-7
"""Below it a loss would say more of rounding than of the sample."""


def confident_class(probs_NC: np.ndarray, labels_N: np.ndarray, is_known_N: np.ndarray,
                    slack: float = 0.0) -> np.ndarray:
    """The class that a held-out prediction confidently names, (N,) int64; -1 where it names none or is unknown.

    Confident learning's rule (Northcutt et al. 2021, eq. 1-2): sample i counts as class j if p_ij reaches t_j, the
    mean p_j of the samples labelled j; among several such classes the most probable counts. Unlike in the reference
    code a class that misses its threshold never wins. labels_N: codes; a class without a known sample names none.

    slack: a probability may miss its threshold by so much. The mean of equal probabilities may be rounded up beyond
    them, so that a class of one sample misses its own threshold: the reference code has 1e-6. Training has none; with
    one, runs would not repeat those of before.
    """
    num_classes = probs_NC.shape[1]
    thresholds_C = np.full(num_classes, np.inf)
    for c in range(num_classes):
        members = is_known_N & (labels_N == c)
        if members.any():
            thresholds_C[c] = probs_NC[members, c].mean()
    confident_NC = np.where(probs_NC >= thresholds_C - slack, probs_NC, -1.0)
    best_N = confident_NC.argmax(1)
    return np.where(is_known_N & (confident_NC.max(1) > 0), best_N, -1)


def confident_suggestion(probs_NC: np.ndarray, labels_N: np.ndarray, is_known_N: np.ndarray) -> np.ndarray:
    """confident_class where that is another class than the label, (N,) int64; -1 elsewhere."""
    best_N = confident_class(probs_NC, labels_N, is_known_N)
    return np.where(best_N != labels_N, best_N, -1)


def label_margins(probs_NC: np.ndarray, labels_N: np.ndarray) -> np.ndarray:
    """p_y - max_{j != y} p_j, (N,) float32 in [-1, 1]; NaN where the row of probabilities has NaN, or labels_N, int
    codes, is -1."""
    at, is_known = np.arange(len(labels_N)), known_rows(probs_NC, labels_N)
    own = probs_NC[at, labels_N]
    others = probs_NC.copy()
    others[at, labels_N] = -np.inf
    best = others.max(axis=1, initial=0.0)
    return np.where(is_known, own - best, np.nan).astype(np.float32)


def known_rows(probs_NC: np.ndarray, labels_N: np.ndarray) -> np.ndarray:
    """(N,) bool: there is a prediction and a label to hold it against."""
    known: np.ndarray = np.isfinite(probs_NC).all(axis=1) & (labels_N >= 0)
    return known


def signals_of(probs_NC: np.ndarray, labels_N: np.ndarray, sample_ids: np.ndarray, roles_N: np.ndarray,
               reasons_N: np.ndarray, classes: tuple[str, ...]) -> pd.DataFrame:
    """signals.parquet (engine.contract.signal_columns) of samples that were predicted out of fold, once each.

    probs_NC: float, rows that sum to 1, NaN rows where there is no prediction; labels_N: codes of the labels in force,
    -1 for none; roles_N: positions in ROLES; reasons_N: of ROLE_REASONS. Signals of excluded samples are null, and so
    are those of samples without a prediction.
    """
    is_out = roles_N == ROLES.index("excluded")
    is_judged = known_rows(probs_NC, labels_N) & ~is_out
    filled_NC = np.where(is_judged[:, None], probs_NC, 0.0).astype(np.float32)
    own = filled_NC[np.arange(len(labels_N)), labels_N]
    margin = np.where(is_judged, label_margins(filled_NC, labels_N), np.nan)
    suggestions = confident_suggestion(filled_NC, labels_N, is_judged)
    names = np.asarray([*classes, None], dtype=object)
    numbers = {"margin": margin, "heldout_margin": margin, "label_quality": own,
               "loss": -np.log(np.maximum(own, SMALLEST_PROBABILITY))}
    columns: dict[str, object] = {
        "sample_id": sample_ids, "role": np.asarray(ROLES, dtype=object)[roles_N], "role_reason": reasons_N,
        "is_resting": np.zeros(len(own), dtype=bool), "heldout_epochs": is_judged.astype(np.int32),
        "forgetting": np.zeros(len(own), dtype=np.int32),
        "predicted_label": names[np.where(is_judged, filled_NC.argmax(axis=1), -1)],
        "suggested_label": names[np.where(is_judged, suggestions, -1)],
        **{name: np.where(is_judged, values, np.nan).astype(np.float32) for name, values in numbers.items()}}
    unknown = np.full(len(own), np.nan, dtype=np.float32)
    frame = pd.DataFrame({name: columns.get(name, unknown) for name in COLUMNS})
    return frame.astype({name: "string" for name, column in COLUMNS.items() if column.kind == "text"})


def history_of(signals: pd.DataFrame) -> np.ndarray:
    """(N,) of HISTORY_DTYPE: that epoch of signals_of's samples."""
    records = np.zeros(len(signals), dtype=HISTORY_DTYPE)
    records["margin"] = signals["margin"].to_numpy(dtype=np.float32)
    records["p_train"] = records["weight"] = np.nan
    records["role"] = pd.Index(ROLES).get_indexer(pd.Index(signals["role"]))
    return records
