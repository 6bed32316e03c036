"""One life and death of the app's server, and what is found in the project afterwards."""

import asyncio
import json
import os
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from tests.faults.app.acts import Act
from tests.faults.app.server import Server, load
from tests.faults.app.session import Session
from tests.faults.kill_point import in_child

Outcome = Literal["said", "done", "none", "lost", "doubled", "half", "broken"]
"""said: its word arrived, and it is there once; done: it is there without a word; none: neither. What must not be:
lost: said and not there; doubled; half: a part of it; broken: the project, or what the doctor says."""
OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)
GRACE_SECONDS = 0.5
"""After the word, until the kill where no change brought it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Kill:
    """What became of an act in one life."""

    act: str
    moment: str
    """"change 7 of 12" or "0.31 s of 0.52"."""
    outcome: Outcome
    words: str
    num_left: int
    """Half-written files, which the next writer or the doctor sweeps."""


@dataclass(slots=True)
class Pace:
    """Of an undisturbed act: seconds from the press to its word, changes of files until then."""

    seconds: float
    num_changes: int


@dataclass(frozen=True, slots=True)
class Look:
    """What is found in the project: how often an act is there; "" or what is broken; left-over files."""

    count: int
    half: str
    broken: str
    num_left: int


class Stage:
    """A project that is worked on through all lives."""

    def __init__(self, folder: Path, first: int = 0) -> None:
        self.folder, self.project, self.num = folder, folder / "projects" / "p", first
        self.paces: dict[str, Pace] = {}
        for name in ("projects", "home"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        os.environ["WHETSTONE_HOME"] = str(folder / "home")
        load()
        if in_child(lambda: _build(self.project), folder / "log.txt"):
            raise RuntimeError(f"the project could not be made; see {folder / 'log.txt'}")

    def measure(self, act: Act) -> Pace:
        """The pace of an act in a server that has done one before."""
        server = Server(self.folder)
        try:
            for _ in range(2):
                self.num += 1
                asyncio.run(self._measured(server, act, f"act{self.num}"))
        finally:
            server.kill()
        return self.paces[act.name]

    async def _measured(self, server: Server, act: Act, name: str) -> None:
        async with Session(server.port, act.page, act.query(self.project)) as session:
            await _reach(session, act, name)
            server.arm(None)
            began = time.monotonic()
            await act.press(session, name)
            if not await session.until(lambda: act.is_said(session, name)):
                raise RuntimeError(f"{act.name} gives no word by itself: {session.words[-8:]}")
            self.paces[act.name] = Pace(time.monotonic() - began, server.num_changes())

    def kill(self, act: Act, rng: random.Random, by_change: bool) -> Kill:
        self.num += 1
        name, pace = f"act{self.num}", self.paces[act.name]
        before = self._look(act, name).count
        at = rng.randint(1, max(1, pace.num_changes)) if by_change else None
        seconds = rng.uniform(0, 1.2 * pace.seconds)
        moment = f"change {at} of {pace.num_changes}" if at else f"{seconds:.2f} s of {pace.seconds:.2f}"
        server = Server(self.folder)
        try:
            is_said = asyncio.run(self._pressed(server, act, name, at, seconds))
        finally:
            server.kill()
        found = self._look(act, name)
        outcome, words = _judged(is_said, found.count - before, found)
        return Kill(act=act.name, moment=moment, outcome=outcome, words=words[:300], num_left=found.num_left)

    async def _pressed(self, server: Server, act: Act, name: str, at: int | None, seconds: float) -> bool:
        """Press, and have the server die at the at-th change, or after so many seconds; whether the word came."""
        async with Session(server.port, act.page, act.query(self.project)) as session:
            await _reach(session, act, name)
            server.arm(at)
            await act.press(session, name)
            if at is None:
                await asyncio.sleep(seconds)
            else:
                await session.until(lambda: act.is_said(session, name))
                await asyncio.sleep(GRACE_SECONDS)
            os.kill(server.pid, 9)
            await session.until(lambda: session.is_closed, 10)
            return act.is_said(session, name)

    def _look(self, act: Act, name: str) -> Look:
        found = self.folder / "look.json"
        found.unlink(missing_ok=True)

        def look() -> None:
            found.write_text(json.dumps(_looked(self.project, act.count, name)))

        if in_child(look, self.folder / "log.txt"):
            return Look(0, "", f"it cannot be looked at; see {self.folder / 'log.txt'}", 0)
        return Look(*json.loads(found.read_text()))


async def _reach(session: Session, act: Act, name: str) -> None:
    await session.draw()
    await act.prepare(session, name)


def _judged(is_said: bool, num: int, found: Look) -> tuple[Outcome, str]:
    if found.broken:
        return "broken", found.broken
    if found.half:
        return "half", found.half
    if num > 1:
        return "doubled", f"{num} of it"
    if is_said:
        return ("said", "") if num == 1 else ("lost", "its word arrived and it is not there")
    return ("done" if num else "none"), ""


def _looked(project: Path, count: Callable[[Path, str], int], name: str) -> tuple[int, str, str, int]:
    """A Look, in a process that has seen nothing before."""
    from curation.doctor.checks import examine
    from curation.project import Project
    from engine.contract.disk.temporaries import orphans

    opened = Project.open(project)
    num_left = len(orphans(project))
    opened.ledger()  # as the next page does: brings decisions.parquet up to date, which a kill leaves one behind
    findings = list(examine(opened))
    broken = [f"{one.kind} {one.where}: {one.what}" for one in findings if one.severity == "broken"]
    try:
        return count(project, name), "", "; ".join(broken), num_left
    except AssertionError as error:
        return 0, str(error), "; ".join(broken), num_left


def _build(project: Path) -> None:
    """300 samples, a finished run, and a decision to undo."""
    from functools import partial
    from shutil import copyfile

    from curation.project import Project
    from engine.contract.manifest import MANIFEST_NAME
    from engine.contract.work_dir import write_atomic
    from tests.fakes import make_project, make_run

    make_project(project, 300, 12, 12, size=8)
    write_atomic(project / MANIFEST_NAME, partial(copyfile, project / MANIFEST_NAME))  # with its seal
    make_run(project)
    Project.open(project).ledger().relabel(["train-00007"], "dog", "ada")
