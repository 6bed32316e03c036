"""What holding out did, in sentences: how many a split has and had before, what moved, what overlaps."""

from collections import Counter
from itertools import combinations

import numpy as np
import pandas as pd

from curation.words import counted
from engine.contract.manifest import SPLITS


def fresh_words(name: str, num: int, total: int, seed: int) -> str:
    """Of a split that did not exist before: `num` of `total` samples were drawn."""
    return (f"split {name}: {_share(num, total)} held out by this import, at random by class (seed {seed}); their "
            "labels are as given")


def kept_words(name: str, split_R: np.ndarray, was_R: np.ndarray, seed: int | None) -> str:
    """Of a split that the project has already. split_R: (R,) object, as it is now; was_R: as it was, None of new
    samples. seed: of the draw among those; None: nothing was drawn."""
    is_in_R, is_new_R = split_R == name, pd.isna(was_R)
    num_before, num_added = int((is_in_R & (was_R == name)).sum()), int((is_in_R & is_new_R).sum())
    among = f"among {int(is_new_R.sum()):,} new samples"
    drawn = f"none taken {among}" if seed is None else f"{num_added:,} drawn {among}, at random by class (seed {seed})"
    return (f"split {name}: {_share(int(is_in_R.sum()), len(split_R))} held out: {num_before:,} kept as they were, "
            f"{drawn}; their labels are as given")


def moved_words(split: np.ndarray, was: np.ndarray) -> list[str]:
    """A sentence for each move of samples from one split to another. split, was: (N,) object; was: None of new ones."""
    is_moved = ~pd.isna(was) & (split != was)
    counts = Counter(zip(was[is_moved], split[is_moved], strict=True))
    return [f"{counted(num, 'sample')} moved from {old} to {new}"
            + (": runs made before this import trained on them" if old == "train" else "")
            for (old, new), num in sorted(counts.items())]


def overlap_words(column: str, values: pd.Series, split: np.ndarray) -> str:
    """How many values of a column are in two splits. values: (N,), null where unknown; split: (N,) object."""
    splits = pd.DataFrame({"value": values.to_numpy(), "split": split}).dropna().drop_duplicates()
    of = {name: set(splits.loc[splits["split"] == name, "value"]) for name in SPLITS}
    both = [(len(of[one] & of[other]), one, other) for one, other in combinations(SPLITS, 2)]
    found = [f"{num:,} {'are' if num > 1 else 'is'} in both {one} and {other}" for num, one, other in both if num]
    return f"values of {column} in two splits: {', '.join(found)}" if found else f"no {column} is in two splits"


def _share(num: int, total: int) -> str:
    return f"{num:,} of {total:,} samples ({num / total:.1%})"
