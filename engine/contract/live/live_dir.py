"""The live folder, PROJECT/live/RUN/: a run on features under the decisions of now. Imports no torch.

It has the files of a run's folder (engine.contract.run_dir) and its name, so that pages show it in that run's place; it
lies outside of runs/, so that nothing lists, compares, resumes or exports it. Its config.json is the run's own.

    state.json      LiveState, written last: under which decisions each part is, and how the files then looked
    effect.json     LiveEffect
    reader          touched by whom looks at it; the engine ends some minutes after the last
    status.json, cancel, .lock, log.txt     as of a run
"""

import contextlib
import os
import time
from pathlib import Path
from typing import Literal, TypedDict, cast

from engine.contract.errors import UserError
from engine.contract.inside import job_folder
from engine.contract.manifest import MANIFEST_NAME
from engine.contract.run_dir import RunDir, check_name
from engine.contract.stamps import FileState, stamp_of

READER_SECONDS = 180.0
"""Without a look for so long, the engine ends."""
SETTLING_SECONDS = 0.4
"""Within so long after a file was replaced its state is written as well; a reader in between looks again."""
_FILES = ("signals.parquet", "probabilities.npy", "label_head.npy", "neighbours.npy", "neighbours.npz",
          "embedding.parquet", "config.json")


class LiveState(TypedDict):
    """state.json. Times in seconds since the epoch."""

    manifest: list[int]
    """Of the data it is of: mtime_ns and size of the manifest."""
    files: dict[str, list[int]]
    """mtime_ns and size of each file of this folder that pages read."""
    decisions_digest: str
    """Of the decisions.parquet that the judgement is under; "" of none."""
    num_decided: int
    """Samples that these decide on."""
    decided: float | None
    """When decisions.parquet was written; None without one."""
    judged: float
    """When the judgement was done: queue and margins."""
    trained_digest: str | None
    """Of the decisions that roles and weights are under; None: they are the run's own."""
    trained: float | None
    learns_weights: bool
    """Whether the run's method trains anything beside the judgement."""


class LiveEffect(TypedDict):
    """effect.json: what the decisions did so far. Plain heads of paired seeds, with and without the decisions."""

    decisions_digest: str
    num_seeds: int
    scored_on: Literal["test", "held_out"]
    """Pictures of the test split; or, where there is none, training samples that no decision is about, left out of
    both trainings and scored by their given labels."""
    num_scored: int
    """Pictures that each pair is scored on."""
    without: float | None
    """Mean accuracy in [0, 1] under the labels as given; None, as the next three, where too few can be scored."""
    gain: float | None
    """Mean of the paired differences in [-1, 1], with minus without; low and high are its 95% t interval."""
    low: float | None
    high: float | None
    measured: float
    """When, in seconds since the epoch."""
    seconds: float
    """How long that took."""


class LiveDir(RunDir):
    """One run's live folder."""

    @classmethod
    def of(cls, project: Path, name: str) -> "LiveDir":
        """The live folder of a project's run, whether it exists or not. Raises RunDirError for a bad name,
        OutsideError for a folder with links that lead out of the project."""
        return cls(job_folder(project, "live", check_name(name)))

    @property
    def project(self) -> Path:
        return self.path.parents[1]

    @property
    def base(self) -> RunDir:
        """The run that it shows under other decisions."""
        return RunDir.of(self.project, self.name)

    # -- its state

    def write_state(self, state: LiveState) -> None:
        """Written after all files that it names: what they look like is taken down here."""
        state["files"], state["manifest"] = self._files(), _looks(self.project / MANIFEST_NAME)
        self.write_json(self.path / "state.json", cast(dict[str, object], state))

    def read_state(self) -> LiveState | None:
        """What it is of; None where there is none, where it is of other data or another run of that name, or where a
        file was damaged from outside: then it is as if it were not there, and the engine makes it anew."""
        deadline = time.monotonic() + SETTLING_SECONDS
        while (state := self._state()) is None and self.signals_path.exists() and time.monotonic() < deadline:
            time.sleep(SETTLING_SECONDS / 8)
        return state

    def _state(self) -> LiveState | None:
        try:
            state = self.read_json(self.path / "state.json")
            if state is None or set(state) != set(LiveState.__annotations__):
                return None
            is_same = state["files"] == self._files() and state["manifest"] == _looks(self.project / MANIFEST_NAME)
            if not is_same or (self.path / "config.json").read_bytes() != (self.base.path / "config.json").read_bytes():
                return None
        except (UserError, OSError, TypeError):
            return None
        return cast(LiveState, state)

    def _files(self) -> dict[str, list[int]]:
        return {name: _looks(self.path / name) for name in _FILES}

    # -- its effect

    def write_effect(self, effect: LiveEffect | None) -> None:
        """Replace effect.json; None: there is nothing to measure."""
        if effect is None:
            (self.path / "effect.json").unlink(missing_ok=True)
        else:
            self.write_json(self.path / "effect.json", cast(dict[str, object], effect))

    def read_effect(self) -> LiveEffect | None:
        """What the decisions did, whichever these are; None before it is known, or where the file is damaged."""
        try:
            effect = self.read_json(self.path / "effect.json")
        except UserError:
            return None
        return cast(LiveEffect, effect) if effect and set(effect) == set(LiveEffect.__annotations__) else None

    # -- who looks

    def touch_reader(self) -> None:
        """Say that somebody looks, so that the engine stays."""
        self.path.mkdir(parents=True, exist_ok=True)
        (self.path / "reader").touch()

    def reader_age(self) -> float:
        """Seconds since the last look; inf without any."""
        with contextlib.suppress(OSError):
            return time.time() - os.stat(self.path / "reader").st_mtime
        return float("inf")


def _looks(path: Path) -> list[int]:
    """mtime_ns and size of a file, both 0 where there is none."""
    found: FileState = stamp_of(path)[0]
    return [found.mtime_ns, found.size]
