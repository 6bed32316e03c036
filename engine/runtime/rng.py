"""Independent random generators, one for each purpose and place of a run."""

import numpy as np

STREAMS = {name: i for i, name in enumerate(
    ("init", "rotation", "split", "order", "augment", "validation", "splitter", "folds", "proxy", "heads",
     "weight_decay", "transfer", "mixup", "resting"))}


def stream(seed: int, name: str, *counters: int) -> np.random.Generator:
    """An independent generator for one purpose at one place of a run: nothing random has hidden state to restore."""
    return np.random.default_rng([seed, STREAMS[name], *counters])
