"""One trial: the scene in a process that is killed at one point, then reopened and finished in another, and compared
with one that was left alone. Everything that computes runs in forked processes, so that heavy imports are paid once."""

import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from engine.contract.disk.failures import disk_line
from engine.contract.disk.temporaries import orphans
from engine.contract.errors import UserError
from tests.faults.kill_point import KillPoint, in_child
from tests.faults.scene import Scene

Outcome = Literal["recovered", "said", "lost", "traceback", "unkilled"]
"""recovered: finished to the same end; said: one line said what is broken; lost: an acknowledged step is gone, or the
end is another without a word; traceback: an error that is none of ours; unkilled: the work ended before that point."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Trial:
    """What became of one kill."""

    scene: str
    at: int
    outcome: Outcome
    words: str
    """What was said, or what is lost."""
    num_orphans: int
    """Half-written files that are still there after the work was finished."""


class Stage:
    """A folder in which a scene is played again and again."""

    def __init__(self, scene: Scene, folder: Path) -> None:
        self.scene, self.folder = scene, folder
        folder.mkdir(parents=True, exist_ok=True)
        os.environ["WHETSTONE_HOME"] = str(folder / "home")
        scene.load()
        self.before, self.place, self.log = folder / "before", folder / "place", folder / "log.txt"
        if in_child(lambda: scene.prepare(self.before), self.log):
            raise RuntimeError(f"{scene.name} could not be prepared; see {self.log}")
        self.num_points, self.expected = self._undisturbed()

    def _undisturbed(self) -> tuple[int, str]:
        """(number of kill points, what comes out) of the scene left alone."""
        self._set()

        def play() -> None:
            point = KillPoint(None, (self.place,))
            point.install()
            self.scene.act(self.place, 0, lambda number: None)
            (self.folder / "points").write_text(str(point.num))

        if in_child(play, self.log) or in_child(self._write_result, self.log):
            raise RuntimeError(f"{self.scene.name} fails by itself; see {self.log}")
        return int((self.folder / "points").read_text()), (self.folder / "result.json").read_text()

    def trial(self, at: int) -> Trial:
        """Kill at the at-th change, from 1."""
        self._set()
        acknowledged = self.folder / "acknowledged"
        acknowledged.unlink(missing_ok=True)

        def act() -> None:
            sink = os.open(acknowledged, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            KillPoint(at, (self.place,)).install()
            self.scene.act(self.place, 0, lambda number: os.write(sink, b"."))

        status = in_child(act, self.log)
        num = acknowledged.stat().st_size if acknowledged.exists() else 0
        if status >= 0:
            return self._trial(at, "unkilled" if status == 0 else "traceback", f"status {status} before the kill")
        told = self.folder / "told.json"
        told.unlink(missing_ok=True)

        def finish() -> None:
            try:
                self.scene.look(self.place, num)
                self.scene.act(self.place, num, lambda number: None)
                self._write_result()
                words: tuple[Outcome, str] = ("recovered", "")
            except AssertionError as error:
                words = ("lost", str(error))
            except Exception as error:
                line = str(error) if isinstance(error, UserError) else disk_line(error)
                words = ("said", line) if line else ("traceback", f"{type(error).__name__}: {error}")
            told.write_text(json.dumps(words))

        if in_child(finish, self.log):
            return self._trial(at, "traceback", "it could not be finished")
        outcome, said = json.loads(told.read_text())
        if outcome == "recovered":
            now = (self.folder / "result.json").read_text()
            if now != self.expected:
                mine, theirs = json.loads(now), json.loads(self.expected)
                outcome, said = "lost", f"another end: {[name for name in theirs if mine.get(name) != theirs[name]]}"
        return self._trial(at, outcome, said)

    def _trial(self, at: int, outcome: Outcome, words: str) -> Trial:
        return Trial(scene=self.scene.name, at=at, outcome=outcome, words=words[:300],
                     num_orphans=len(orphans(self.place)))

    def _write_result(self) -> None:
        (self.folder / "result.json").write_text(json.dumps(self.scene.result(self.place), sort_keys=True, default=str))

    def _set(self) -> None:
        """The scene as it is before it begins."""
        for folder in (self.place, self.folder / "home"):
            shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(self.before, self.place)
