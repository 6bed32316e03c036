"""Signals from probabilities alone are those that the engine's record keeps of one held-out epoch."""

import numpy as np
import pandas as pd
import torch

from engine.contract.signal_columns import SIGNAL_COLUMNS
from engine.contract.statistics.confident import confident_suggestion, history_of, label_margins, signals_of
from engine.model.record import SignalRecord


def test_they_are_those_of_the_record_and_null_where_nothing_is_known() -> None:
    rng, classes, num = np.random.default_rng(0), ("a", "b", "c"), 40
    probs = rng.dirichlet([0.7] * 3, num).astype(np.float32)
    labels, ids = rng.integers(0, 3, num), np.array([f"s{i}" for i in range(num)], dtype=object)
    roles, reasons = np.zeros(num, dtype=int), np.full(num, "trains", dtype=object)
    roles[:2], reasons[:2] = 2, "excluded_decision"
    probs[2] = np.nan
    judged = np.arange(3, num)
    record, rows = SignalRecord(num, 3, 4, torch.device("cpu")), torch.arange(3, num)
    record.observe_heldout(rows, torch.log(torch.from_numpy(probs[3:])), torch.zeros(num - 3, 4),
                           torch.from_numpy(labels[3:]), epoch=1)
    held = record.heldout_predictions()
    expected = record.frame(
        sample_ids=ids, labels_N=labels, roles_N=roles, reasons_N=reasons, is_resting_N=np.zeros(num, dtype=bool),
        is_pinned_N=np.zeros(num, dtype=bool), classes=classes,
        suggestions_N=confident_suggestion(held.probs_NC, labels, held.is_known_N))
    found = signals_of(probs, labels, ids, roles, reasons, classes)
    assert tuple(found.columns) == SIGNAL_COLUMNS
    pd.testing.assert_frame_equal(found, expected, check_exact=False, atol=2e-5, rtol=1e-4)
    assert (found["heldout_epochs"].to_numpy()[judged] == 1).all() and not found["heldout_epochs"][:3].any()
    assert found.loc[:2, ["margin", "label_quality", "predicted_label"]].isna().all(axis=None)
    history = history_of(found)
    assert (history["role"][:2] == 2).all() and np.isnan(history["weight"]).all() and np.isnan(history["margin"][2])


def test_margins_are_of_the_label_against_the_best_other() -> None:
    probs = np.array([[0.7, 0.2, 0.1], [0.2, 0.5, 0.3], [np.nan] * 3, [1.0, 0.0, 0.0]])
    assert np.allclose(label_margins(probs, np.array([0, 2, 1, 0])), [0.5, -0.2, np.nan, 1.0], equal_nan=True)
    assert np.isnan(label_margins(probs, np.array([-1, 0, 0, 0]))[0])
