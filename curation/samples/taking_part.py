"""How much of each split a run is about, and what of its evidence is gone: figures on a part look like those on all."""

from typing import Literal

import pyarrow.parquet as pq

from engine.contract.errors import UserError
from engine.contract.methods import METHODS
from engine.contract.run_dir import RunDir
from engine.contract.run_document import SplitCounts, num_used

Lost = Literal["probabilities", "history"]
"""Evidence that a run wrote and that is not there: mean held-out probabilities; epochs of the history."""
_LOST_WORDS: dict[Lost, str] = {"probabilities": "held-out predictions of its own training",
                                "history": "some epochs of its history"}


def lost_of(run: RunDir) -> list[Lost]:
    """What is gone from the folder of a run that is done. A run that cannot be read has lost nothing here: its own line
    says what is broken."""
    try:
        if not run.exists() or run.read_status()["state"] != "done" or not run.signals_path.exists():
            return []
        whole = run.read_config()
    except (UserError, OSError):
        return []
    if "splits" not in whole:  # older code did not write all of it
        return []
    document, found = whole["config"], list[Lost]()
    if not run.probabilities_path("probabilities").exists() and _was_held_out(run):
        found.append("probabilities")
    method = METHODS.get(str(document.get("method")))
    num_epochs = int(document.get("epochs") or 0) if method is not None and method.is_trained else 0
    if method is not None and method.is_trained and len(list((run.path / "history").glob("*.npy"))) < num_epochs:
        found.append("history")
    return found


def _was_held_out(run: RunDir) -> bool:
    """Whether any sample has had a held-out prediction."""
    try:
        column = pq.read_table(run.signals_path, columns=["heldout_epochs"])["heldout_epochs"]
    except (OSError, ValueError, KeyError):  # pyarrow's errors are among them
        return False
    return any(value for value in column.unique().to_pylist())


def is_lacking(run: RunDir) -> bool:
    """Whether anything is not there that should be: exclusions are asked for."""
    return bool(lost_of(run)) or any(counts["num_unreadable"] or counts["num_unlabelled"]
                                     for counts in splits_of(run).values())


def part_lines(run: RunDir) -> list[str]:
    """A sentence a split that the run is about a part of, and one on what is gone from its folder; none where all is
    there, and of runs of older code, which did not count."""
    lines = [split_words(run.name, split, counts) for split, counts in splits_of(run).items()
             if num_used(counts) < counts["num_samples"]]
    if lost := lost_of(run):
        lines.append(f"Gone from the folder of run {run.name}: {' and '.join(_LOST_WORDS[name] for name in lost)}. "
                     "What rests on them tells less than it did; restore them from a copy, or train the run anew.")
    return lines


def splits_of(run: RunDir) -> dict[str, SplitCounts]:
    """What the run found of each split; {} where it did not say, or cannot be read."""
    try:
        return run.read_config().get("splits") or {} if run.exists() else {}
    except (UserError, OSError):
        return {}


def split_words(name: str, split: str, counts: SplitCounts) -> str:
    """How much of one split takes part, and why the rest does not."""
    reasons = [f"{counts['num_unreadable']:,} missing or unreadable" if counts["num_unreadable"] else "",
               f"{counts['num_unlabelled']:,} without a label that is a class" if counts["num_unlabelled"] else "",
               f"{counts['num_excluded']:,} excluded by decisions" if counts["num_excluded"] else ""]
    return (f"Run {name}: {num_used(counts):,} of {counts['num_samples']:,} {split} samples take part "
            f"({', '.join(filter(None, reasons))}).")
