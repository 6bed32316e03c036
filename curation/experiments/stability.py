"""One sample in the other seeds of a run: was it in validation there too? Reads its row of each history alone."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from engine.contract.config import RunConfig
from engine.contract.run_dir import RunDir


@dataclass(frozen=True, kw_only=True, slots=True)
class Stability:
    """A sample's course through the epochs of one run that route by splitter or rank: after warm-up, until it finishes.
    """

    seed: int
    epochs: tuple[int, int]
    """The first and the last of them."""
    has_warmup: bool
    """Roles were set at random in the epochs before the first."""
    num_epochs: int
    num_routed: int
    num_switches: int
    """How often it went from one side to the other."""
    is_routed: bool
    """In the last of these epochs."""


def stability(run: RunDir, row: int) -> Stability | None:
    """Of row `row` of the run's signals; None before such an epoch has ended."""
    config = RunConfig.of_run(run.read_config()["config"])
    history = run.read_history(row)
    epochs = history["epoch"].to_numpy()
    is_warm = config.validation_source == "learned"
    kept = (epochs > (config.warmup_epochs if is_warm else 0)) & (epochs < config.first_finish_epoch)
    routed = history["routed"].to_numpy()[kept].astype(bool)
    if not len(routed):
        return None
    counted = epochs[kept]
    return Stability(seed=config.seed, epochs=(int(counted[0]), int(counted[-1])),
                     has_warmup=bool(is_warm and counted[0] > 1), num_epochs=len(routed), num_routed=int(routed.sum()),
                     num_switches=int((np.diff(routed.astype(np.int8)) != 0).sum()), is_routed=bool(routed[-1]))


def over_seeds(siblings: Sequence[RunDir], row: int) -> list[Stability]:
    """stability of the same row in runs on the same manifest and decisions, by seed; a run without one is left out."""
    found = [stability(run, row) for run in siblings]
    return sorted((one for one in found if one is not None), key=lambda one: one.seed)
