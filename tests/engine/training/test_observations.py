"""What waits to be recorded: the record is told the same, and a run that is gone on with repeats."""

import copy

import numpy as np
import torch

from engine.model.record import SignalRecord
from engine.molere.meta_step import TrainBatch
from engine.training.observations import Observations

NUM, C, D = 6, 3, 4


def _batch(rows: list[int], seed: int) -> tuple[TrainBatch, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    at = np.array(rows)
    logits, features = torch.randn(len(at), C, generator=generator), torch.randn(len(at), D, generator=generator)
    losses = torch.rand(len(at), generator=generator)
    return TrainBatch(at, torch.from_numpy(at), features, torch.from_numpy(at % C), logits, features, losses), \
        torch.rand(len(at), generator=generator) + 0.5


def _observed(num_held: int, batches: list[list[int]], judged: np.ndarray | None = None) -> Observations:
    observations = Observations(SignalRecord(NUM, C, D, torch.device("cpu")), None, num_held)
    for seed, rows in enumerate(batches):
        observations.add(*_batch(rows, seed), None, judged)
    return observations


def test_several_batches_at_once_are_recorded_as_one_by_one() -> None:
    judged = np.array([True, False, False, False, True, False])
    each, together = (_observed(num, [[0, 3], [5, 1], [2]], judged) for num in (0, 100))
    assert not each.waiting and len(together.waiting) == 3 and not together.record.seen.any()
    together.flush(judged)
    for name, value in each.record.state_dict().items():
        torch.testing.assert_close(together.record.state_dict()[name], value, equal_nan=True, msg=name)
    assert together.record.margin.isnan().tolist() == [True, False, False, False, True, False]
    for name, total in each.totals.items():
        torch.testing.assert_close(together.totals[name], total)
    assert together.totals["samples"] == 5


def test_they_are_recorded_once_enough_wait() -> None:
    observations = _observed(4, [[0, 3], [5], [1], [2]])
    assert observations.record.seen.tolist() == [True, True, False, True, False, True]
    assert [len(held[0]) for held in observations.waiting] == [1]


def test_a_sample_that_occurs_twice_counts_as_it_was_first() -> None:
    observations = _observed(100, [[0, 3], [3, 1]])
    observations.flush(None)
    first, weights = _batch([0, 3], 0)
    assert observations.record.train_epochs.tolist() == [1, 1, 0, 1, 0, 0]
    assert observations.record.loss[3] == first.losses_B[1] and observations.record.weight[3] == weights[1]
    assert observations.totals["samples"] == 4


def test_what_waits_is_part_of_a_checkpoint_which_older_code_wrote_without_it() -> None:
    observations, again = _observed(100, [[0, 3], [2]]), _observed(100, [])
    state = copy.deepcopy(observations.state_dict())
    again.load_state_dict(state)
    for each in (observations, again):
        each.flush(None)
    torch.testing.assert_close(again.record.state_dict(), observations.record.state_dict(), equal_nan=True)
    again.load_state_dict({"totals": state["totals"]})
    assert not again.waiting
