"""The record of samples over epochs against values worked out by hand."""

import numpy as np
import pytest
import torch

from engine.contract.signal_columns import ROLES
from engine.model.losses import margins
from engine.model.record import SignalRecord, effective_sample_frac

CLASSES = ("a", "b")
LABELS = torch.tensor([0, 0, 1, 1])


def logits_of(*own: float) -> torch.Tensor:
    """Logits under which sample i gives its label the probability own[i]."""
    probs = torch.tensor([[p, 1 - p] if y == 0 else [1 - p, p] for p, y in zip(own, LABELS.tolist(), strict=False)])
    return torch.log(probs)


def new_record() -> SignalRecord:
    return SignalRecord(4, 2, 3, torch.device("cpu"))


def observe(record: SignalRecord, *own: float, weights=(1.0, 1.0, 1.0, 1.0)) -> None:
    num = len(own)
    record.observe_training(torch.arange(num), logits_of(*own), torch.ones(num, 3), LABELS[:num], torch.ones(num),
                            torch.tensor(weights[:num]), torch.zeros(num, dtype=torch.bool))


def frame_of(record: SignalRecord, roles=(0, 0, 0, 0), suggestions=(-1, -1, -1, -1)):
    none = np.zeros(4, dtype=bool)
    return record.frame(
        sample_ids=np.array(["s0", "s1", "s2", "s3"], dtype=object), labels_N=LABELS.numpy(), roles_N=np.array(roles),
        reasons_N=np.full(4, "trains", dtype=object), is_resting_N=none, is_pinned_N=np.arange(4) == 2,
        suggestions_N=np.array(suggestions), classes=CLASSES)


def test_later_held_out_epochs_count_more_in_quality_and_margin():
    record, rows = new_record(), torch.tensor([1])
    for epoch, own in ((1, 0.2), (3, 0.8)):
        record.observe_heldout(rows, logits_of(own, own)[1:], torch.ones(1, 3), LABELS[1:2], epoch)
    signals = frame_of(record)
    assert signals["label_quality"][1] == pytest.approx((1 * 0.2 + 3 * 0.8) / 4)
    assert signals["heldout_margin"][1] == pytest.approx((1 * -0.6 + 3 * 0.6) / 4, abs=1e-6)
    assert signals["heldout_epochs"].tolist() == [0, 2, 0, 0] and signals["label_quality"].isna().sum() == 3


def test_a_sample_seen_twice_in_an_epoch_counts_once_and_forgetting_needs_having_known():
    record = new_record()
    for epoch_values in ([(0.9, 0.2), (0.9, 0.9)], [(0.3, 0.4)], [(0.8, 0.8)], [(0.1, 0.9)]):
        record.start_epoch()
        for own in epoch_values:
            observe(record, *own)
    signals = frame_of(record)
    assert signals["forgetting"].tolist() == [2, 0, 0, 0], "sample 1 was wrong twice, but never right before"
    assert signals["mean_margin"][0] == pytest.approx(np.mean([0.8, -0.4, 0.6, -0.8]), abs=1e-6)
    assert signals["mean_margin"][1] == pytest.approx(np.mean([-0.6, -0.2, 0.6, 0.8]), abs=1e-6)


def test_weights_are_of_mean_one_over_this_epochs_samples_alone():
    record = new_record()
    record.start_epoch()
    observe(record, 0.5, 0.5, 0.5, 0.5, weights=(9.0, 9.0, 9.0, 9.0))
    record.start_epoch()
    observe(record, 0.5, 0.5, weights=(1.0, 3.0))
    record.end_epoch()
    np.testing.assert_allclose(frame_of(record)["weight"], [0.5, 1.5, np.nan, np.nan], rtol=1e-6)


def test_route_share_is_of_the_scored_epochs():
    record = new_record()
    for routed in ([True, False, False, False], [True, True, False, False]):
        record.count_routes(torch.tensor(routed))
    assert frame_of(record)["route_share"].tolist() == [1.0, 0.5, 0.0, 0.0]


def test_excluded_samples_have_no_signals_and_suggestions_are_names():
    record = new_record()
    record.start_epoch()
    observe(record, 0.9, 0.9, 0.9, 0.9)
    signals = frame_of(record, roles=(0, ROLES.index("excluded"), 0, 0), suggestions=(1, 1, -1, 0))
    numbers = ["p_train", "weight", "margin", "heldout_margin", "mean_margin", "label_quality", "loss", "route_share"]
    assert signals.loc[1, numbers].isna().all() and signals.loc[0, ["weight", "margin", "mean_margin"]].notna().all()
    assert signals["suggested_label"].fillna("-").tolist() == ["b", "-", "-", "a"]
    assert signals["predicted_label"].fillna("-").tolist() == ["a", "-", "b", "b"]


def test_cross_fitted_predictions_count_as_one_held_out_epoch():
    record, probs = new_record(), np.array([[0.7, 0.3], [0.4, 0.6], [0.1, 0.9], [np.nan, np.nan]], dtype=np.float32)
    record.set_heldout(probs, np.array([True, True, True, False]), LABELS.numpy())
    signals = frame_of(record)
    np.testing.assert_allclose(signals["label_quality"], [0.7, 0.4, 0.9, np.nan], rtol=1e-6)
    np.testing.assert_allclose(signals["heldout_margin"], [0.4, -0.2, 0.8, np.nan], rtol=1e-5)
    assert signals["heldout_epochs"].tolist() == [1, 1, 1, 0]


def test_cross_fitted_predictions_may_count_like_a_later_epoch():
    record, probs = new_record(), np.array([[0.7, 0.3], [0.4, 0.6], [0.1, 0.9], [np.nan, np.nan]], dtype=np.float32)
    record.set_heldout(probs, np.array([True, True, True, False]), LABELS.numpy(), weight=6.0)
    features = torch.zeros(2, record.num_kept)
    record.observe_heldout(torch.tensor([0, 3]), logits_of(0.2, 0.8), features, LABELS[[0, 3]], epoch=2)
    signals = frame_of(record)
    np.testing.assert_allclose(signals["label_quality"], [(6 * 0.7 + 2 * 0.2) / 8, 0.4, 0.9, 0.2], rtol=1e-6)
    np.testing.assert_allclose(signals["heldout_margin"], [(6 * 0.4 - 2 * 0.6) / 8, -0.2, 0.8, -0.6], rtol=1e-5)


def test_effective_sample_frac_is_kishs():
    assert effective_sample_frac(np.array([2.0, 2.0, np.nan])) == pytest.approx(1.0)
    assert effective_sample_frac(np.array([1.0, 0.0, 0.0, 0.0])) == pytest.approx(0.25)
    assert effective_sample_frac(np.array([np.nan])) is None
    assert float(margins(logits_of(0.6), LABELS[:1])) == pytest.approx(0.2, abs=1e-6)


def test_wide_features_are_kept_as_a_projection_that_keeps_their_angles_and_with_their_predictions():
    num, wide = 60, 700
    record = SignalRecord(num, 3, wide, torch.device("cpu"))
    assert record.num_kept == 64 and record.features.shape == (num, 64)
    generator = torch.Generator().manual_seed(1)
    centres = torch.randn(6, wide, generator=generator)
    features = centres.repeat(10, 1) + 0.7 * torch.randn(num, wide, generator=generator)
    logits, labels = torch.randn(num, 3, generator=generator), torch.arange(num) % 3
    record.observe_training(torch.arange(num), logits, features, labels, torch.zeros(num), torch.ones(num),
                            torch.zeros(num, dtype=torch.bool))
    unit = torch.nn.functional.normalize
    exact, kept = unit(features) @ unit(features).T, unit(record.features_of(slice(None)))
    assert float((exact - kept @ kept.T).abs().mean()) < 0.1
    head = torch.nn.Linear(wide, 3)
    torch.testing.assert_close(record.probabilities(head, torch.tensor([5, 2])), torch.softmax(logits[[5, 2]], 1),
                               rtol=1e-2, atol=1e-3)
    codes, scale = record.kept(features)
    assert torch.equal(codes, record.features) and torch.equal(scale, record.feature_scale)
    record.observe_heldout(torch.tensor([4]), logits[[7]], features[[7]], labels[[7]], 1)
    assert torch.equal(record.logits[4], record.logits[7])
    again = SignalRecord(num, 3, wide, torch.device("cpu"))
    assert torch.equal(again.projection, record.projection), "a resumed run projects alike"


def test_features_that_are_not_wide_are_kept_and_read_by_the_head_as_it_is_now():
    record, head = SignalRecord(4, 2, 3, torch.device("cpu")), torch.nn.Linear(3, 2)
    features = torch.randn(4, 3)
    record.observe_heldout(torch.arange(4), torch.zeros(4, 2), features, torch.zeros(4, dtype=torch.int64), 1)
    assert record.projection is None and record.logits is None
    torch.testing.assert_close(record.probabilities(head, slice(1, 3)), torch.softmax(head(features[1:3]), 1),
                               rtol=1e-2, atol=1e-2)


def test_what_is_kept_is_finite_however_large_features_are():
    record, rows = SignalRecord(2, 3, 300, torch.device("cpu")), torch.arange(2)
    record.observe_heldout(rows, torch.full((2, 3), 1e6), torch.full((2, 300), 1e6), torch.zeros(2, dtype=torch.int64),
                           1)
    assert record.features_of(rows).isfinite().all() and record.logits.isfinite().all()
    torch.testing.assert_close(record.features_of(rows), (torch.full((2, 300), 1e6) @ record.projection),
                               rtol=0, atol=float((torch.full((300,), 1e6) @ record.projection).abs().max()) / 250)


def test_kept_features_are_off_by_half_a_level_at_most_and_zeros_stay_zeros():
    record = SignalRecord(5, 2, 7, torch.device("cpu"))
    features = torch.randn(5, 7, generator=torch.Generator().manual_seed(0)) * torch.logspace(-3, 5, 5)[:, None]
    features[2] = 0.0
    record.observe_heldout(torch.arange(5), torch.zeros(5, 2), features, torch.zeros(5, dtype=torch.int64), 1)
    off = (record.features_of(slice(None)) - features).abs()
    assert (off <= features.abs().amax(1, keepdim=True) / 254 * 1.001).all() and (off[[0, 1, 3, 4]] > 0).any(1).all()
    assert (record.features_of(torch.tensor([2])) == 0).all()
