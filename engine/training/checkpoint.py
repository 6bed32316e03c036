"""Checkpoints: complete loop state under checkpoint/, written whole or not at all; the last two are kept.

Each is sealed (engine.contract.disk.seals): one with a bit changed would resume to another result, and is not read.

Tensors and plain values only, read back with weights_only, so that a checkpoint from elsewhere runs no code.
"""

import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from engine.contract.disk.seals import check_seal
from engine.contract.work_dir import write_atomic

KEPT = 2
_NAME = re.compile(r"state-(\d+)-(\d+)\.pt")


class CheckpointError(RuntimeError):
    """No checkpoint of a run can be read. One line, ready to show."""


def save(folder: Path, epoch: int, step: int, state: dict[str, Any]) -> None:
    """Write the state after `step` steps of `epoch` and drop all but the newest two."""
    write_atomic(folder / f"state-{epoch:05d}-{step:07d}.pt", lambda path: torch.save(state, path))
    for old in checkpoints(folder)[:-KEPT]:
        old.unlink(missing_ok=True)


def checkpoints(folder: Path) -> list[Path]:
    """Complete checkpoints, oldest first."""
    return sorted(p for p in folder.glob("state-*.pt") if _NAME.fullmatch(p.name)) if folder.is_dir() else []


def load(path: Path) -> dict[str, Any]:
    """The state in a file. Raises FileNotFoundError, or CheckpointError where it cannot be read."""
    if not path.exists():
        raise FileNotFoundError(path)
    if not zipfile.is_zipfile(path):  # torch writes zip archives; a cut one has lost its directory
        raise CheckpointError(f"{path.name}: cut short or not a checkpoint")
    try:
        check_seal(path)
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # of a damaged file torch raises whatever its parts raise
        raise CheckpointError(f"{path.name}: {str(error).splitlines()[0]}") from error
    return state


def load_newest(folder: Path, say: Callable[[str], None]) -> dict[str, Any] | None:
    """The newest readable state; None if there is none at all. Raises CheckpointError if none of several is readable.

    A damaged newest one (a full disk, a power cut) falls back to the one before it; say: hears so.
    """
    failures = []
    for path in reversed(checkpoints(folder)):
        try:
            state = load(path)
        except (CheckpointError, OSError) as error:
            failures.append(str(error))
        else:
            if failures:
                say(f"going back to the checkpoint {path.name}, since {'; '.join(failures)}")
            return state
    if failures:
        raise CheckpointError(f"a checkpoint must be readable; {'; '.join(failures)}; start the run anew")
    return None
