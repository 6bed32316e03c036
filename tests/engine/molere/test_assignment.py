"""Roles of an epoch from a record and scores made by hand: what each source asks for and what each setting changes."""

import numpy as np
import pytest
import torch

from engine.contract.config import RunConfig
from engine.data.dataset import Dataset
from engine.model.record import SignalRecord
from engine.molere.assignment import EpochRoles, assign
from engine.molere.noise_model import noise_model
from engine.molere.routing import rotation_groups

NUM = 40
SCORES = np.linspace(0.1, 0.9, NUM)


def make_data(**changes) -> Dataset:
    """NUM training samples of one class: the lowest scores are the first rows."""
    fields = {"pins": np.zeros(NUM, np.int8), "excluded": np.zeros(NUM, bool), **changes}
    return Dataset(
        classes=("a", "b"), images=np.zeros((NUM, 3, 8, 8), np.uint8), labels=np.zeros(NUM, np.int64),
        clean_labels=np.full(NUM, -1), sample_ids=np.arange(NUM).astype(object), train_idx=np.arange(NUM),
        clean_idx=np.arange(0), test_idx=np.arange(0), groups=None,
        exclusions=np.full(NUM, "", dtype=object), unreadable={}, **fields)


def make_record(known=range(NUM), featured=range(NUM)) -> SignalRecord:
    """Features along a circle, so that neighbours are the rows beside; held-out predictions support every label."""
    record = SignalRecord(NUM, 2, 2, torch.device("cpu"))
    angle = torch.arange(NUM) * 2 * torch.pi / NUM
    record.features = (127 * torch.stack([angle.cos(), angle.sin()], dim=1)).round().to(torch.int8)
    record.feature_scale.fill_(1 / 127)
    record.has_features[list(featured)] = True
    record.heldout_probs[list(known), 0] = 1.0
    record.heldout_weight[list(known)] = 1.0
    return record


def roles_of(epoch=3, data=None, record=None, previous=None, ranking=None, groups=None, scores=SCORES, splitter=None,
             **settings) -> EpochRoles:
    bare = {"guard": "off", "rotation_groups": None, "epochs": 10, "warmup_fraction": 0.2}
    config = RunConfig.from_dict({**bare, **settings, "splitter": {"coverage": 1.0, **(splitter or {})}})
    data, record = data or make_data(), record or make_record()
    if scores is not None:
        record.p_train = torch.from_numpy(scores)
    held = record.heldout_predictions()
    return assign(epoch, config, data, ~data.excluded, previous, ranking=ranking,
                  groups=np.arange(NUM) % 4 if groups is None else groups, record=record,
                  noise=noise_model(held.probs_NC, data.train_labels, held.is_known_N))


def rows(mask: np.ndarray) -> list[int]:
    return np.flatnonzero(mask).tolist()


def test_the_splitter_decides_from_the_first_epoch_after_warmup():
    assert roles_of(epoch=2).phase == "warmup" and roles_of(epoch=3).phase == "game"
    assert rows(roles_of(epoch=3).routed) == [0, 1, 2, 3]
    assert rows(roles_of(epoch=2).routed) != [0, 1, 2, 3] and roles_of(epoch=2).routed.sum() == 4


def test_the_guard_admits_only_samples_with_held_out_support():
    record = make_record(known=range(2, NUM))
    for guard in ("agree", "confident"):
        current = roles_of(record=record, guard=guard)
        assert rows(current.routed) == [2, 3, 4, 5] and rows(current.withheld) == [0, 1]
    ranking = -SCORES
    hard = roles_of(record=make_record(known=range(30)), ranking=ranking, method="lrw_hard", guard="agree")
    assert rows(hard.routed) == [26, 27, 28, 29]


def test_hard_takes_the_lowest_and_easy_the_highest_margins():
    assert rows(roles_of(method="lrw_hard", ranking=SCORES).routed) == [0, 1, 2, 3]
    assert rows(roles_of(method="lrw_easy", ranking=SCORES).routed) == [36, 37, 38, 39]


def test_a_fixed_split_outlives_warmup_unchanged():
    first = roles_of(epoch=1, method="lrw_random")
    later = roles_of(epoch=3, method="lrw_random", previous=first)
    assert first.phase == "warmup" and later.phase == "game" and later.num_new == 0
    assert rows(later.routed) == rows(first.routed)


def test_hysteresis_lets_those_in_validation_stay():
    previous = roles_of(scores=np.roll(SCORES, 1))  # rows 1 to 4
    assert rows(roles_of(previous=previous, splitter={"hysteresis": 0.0}).routed) == [0, 1, 2, 3]
    stayed = roles_of(previous=previous, splitter={"hysteresis": 0.5})
    assert rows(stayed.routed) == [1, 2, 3, 4] and stayed.num_new == 0


def test_coverage_leaves_neighbours_in_training():
    current = roles_of(splitter={"coverage": 0.0, "num_neighbors": 2})
    assert rows(current.routed) == [0, 2, 4, 6] and rows(current.kept_by_coverage) == [1, 3, 5]
    assert current.coverage == 1.0


def test_coverage_looks_as_far_down_as_it_must():
    """Beyond the first 4 x quota: each routed sample forbids the five on both sides of it."""
    current = roles_of(splitter={"coverage": 0.0, "num_neighbors": 10})
    assert rows(current.routed) == [0, 6, 12, 18]
    assert rows(current.kept_by_coverage) == [r for r in range(18) if r % 6]


def test_samples_without_features_are_not_routed():
    assert rows(roles_of(record=make_record(featured=range(3, NUM))).routed) == [3, 4, 5, 6]
    assert rows(roles_of(record=make_record(featured=(20, 30))).routed) == [20, 30], "not even to fill the quota"


def test_rotation_turns_and_rests_neither_the_routed_nor_pinned_nor_excluded_nor_anybody_at_the_end():
    pins, excluded = np.zeros(NUM, np.int8), np.zeros(NUM, bool)
    pins[[7, 8]], excluded[11] = [1, -1], True
    data = make_data(pins=pins, excluded=excluded)
    seen = []
    for epoch in (3, 4, 5, 6):
        current = roles_of(epoch=epoch, data=data, rotation_groups=4)
        assert not (current.resting & current.routed).any()
        seen += rows(current.resting)
    expected = set(range(NUM)) - set(rows(current.routed)) - {7, 8, 11}
    assert sorted(seen) == sorted(expected), "each of the rest once in four epochs"
    assert not roles_of(epoch=10, rotation_groups=4, finish_fraction=0.0).resting.any()


def test_in_few_epochs_everybody_is_held_out_at_least_once_all_the_same():
    config = RunConfig(epochs=8, rotation_groups=8)
    groups = rotation_groups(NUM, config.num_rotation_groups, np.random.default_rng(0))
    heldout, current = np.zeros(NUM, int), None
    for epoch in range(1, 9):
        current = roles_of(epoch=epoch, previous=current, groups=groups, epochs=8, rotation_groups=8)
        if current.phase != "finish":
            heldout += current.routed | current.resting
    assert current.phase == "finish" and heldout.min() == 1 and current.routed.sum() == 4
    assert (heldout[~current.routed] == 1).all(), "and who is not in validation no more than once in six epochs"


@pytest.mark.parametrize("num_free", [1, 2])
def test_nobody_rests_where_that_would_leave_nobody_to_train_on(num_free):
    excluded = np.arange(NUM) >= num_free
    current = roles_of(data=make_data(excluded=excluded), rotation_groups=4, groups=np.full(NUM, 3))
    assert not current.resting.any()


def disputing(**own) -> SignalRecord:
    """Held-out predictions give row i its label with probability i / 100: nobody is supported."""
    record = make_record(**own)
    record.heldout_probs[:, 0] = torch.arange(NUM) / 100
    record.heldout_probs[:, 1] = 1 - torch.arange(NUM) / 100
    return record


def test_a_class_that_is_disputed_whole_sends_the_least_disputed_of_its_active():
    excluded = np.arange(NUM) >= 36
    current = roles_of(data=make_data(excluded=excluded), record=disputing(), guard="agree", val_fraction=0.125)
    # ceil(0.125 * 36) = 5 may go: rows 31 to 35; of these the quota, round(4.5) = 4, of the lowest scores.
    assert rows(current.routed) == [31, 32, 33, 34] and rows(current.withheld) == [0, 1, 2, 3]


def test_the_finish_keeps_the_last_split_rests_nobody_and_asks_the_splitter_nothing():
    settings = {"finish_fraction": 0.2, "rotation_groups": 4}
    last = roles_of(epoch=8, **settings)
    assert last.resting.any() and last.phase == "game" and last.num_new == 4
    for epoch in (9, 10):
        current = roles_of(epoch=epoch, previous=last, scores=None, **settings)
        assert current.phase == "finish" and not current.resting.any() and current.num_new == 0
        for name in ("routed", "withheld", "kept_by_coverage", "unguarded"):
            assert (getattr(current, name) == getattr(last, name)).all(), name
    assert last.resting.any(), "the roles of the epoch before stay as they were"
    fixed = roles_of(epoch=1, method="lrw_random", **settings)
    assert [roles_of(epoch=epoch, method="lrw_random", previous=fixed, **settings).phase == "finish"
            for epoch in (3, 8, 9, 10)] == [False, False, True, True]
