"""What a scene is: a few steps of real work on a small project that go on from any step, and what must be the same in
the end whether it was killed or not."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Result = dict[str, Any]
Act = Callable[[Path, int, Callable[[int], None]], None]
"""act(place, first, done): take the steps from number `first` on, each told to done(number) once it is acknowledged."""

@dataclass(frozen=True, kw_only=True, slots=True)
class Scene:
    """One kind of work."""

    name: str
    is_engine: bool
    prepare: Callable[[Path], None]
    """Fill an empty folder with what is there before."""
    act: Act
    look: Callable[[Path, int], None]
    """Reopen after a kill, after so many acknowledged steps: raises UserError where something is said to be broken,
    AssertionError where an acknowledged step is gone."""
    result: Callable[[Path], Result]
    load: Callable[[], object] = lambda: None
    """Imports what is slow to import, once for all trials."""


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


def files_below(folder: Path, without: tuple[str, ...] = ()) -> dict[str, str]:
    return {str(path.relative_to(folder)): digest(path) for path in sorted(folder.rglob("*"))
            if path.is_file() and not set(path.relative_to(folder).parts) & set(without) and path.name not in without}
