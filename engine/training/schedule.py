"""The classifier's learning rate over a run."""

import math

from engine.contract.config import RunConfig

RISE = 0.05
"""Share of all steps over which the rate rises to its peak."""


def learning_rate(config: RunConfig, done: float) -> float:
    """Linear to the peak config.lr, then a cosine to zero. done: share of all steps done, in [0, 1)."""
    share = (done + 1e-3) / RISE if done < RISE else 0.5 * (1 + math.cos(math.pi * (done - RISE) / (1 - RISE)))
    return config.peak_lr() * min(share, 1.0)
