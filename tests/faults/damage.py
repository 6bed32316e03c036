"""Every file of a small project damaged in every way, and what each command and each page then does.

    python -m tests.faults.damage [--files TEXT] [--ways flip,empty] [--acts TEXT] [--every 7] [--out FILE.jsonl]
                                  [--seconds 600] [--show]

An outcome is one of: same (as with sound files), rebuilt (same, and one line says what was made anew), said (one line
says what is broken), gone (a missing file: it shows less, as before that file was first written), and what must not
be: traceback, generic ("Something went wrong"), silent (another result without a word). Each outcome is added to the
file at once; a later call goes on where it stopped. Exit status 1 where there is any of the last three.
"""

import argparse
import contextlib
import io
import json
import logging
import os
import re
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.faults.damage_acts import ACTS, Act, Seen, build

BAD = ("traceback", "generic", "silent")
OUTCOMES = ("same", "rebuilt", "said", "gone", *BAD)
_SAYS = re.compile(r"cannot be read|must (be|hold|have|come|lie|agree)|damaged|made anew|as it was written|restore|"
                   r"delete it|left by a process|has no |have no |must exist|needs |is no |no longer|changed since|"
                   r"going back to")
SKIPPED = ("images/", "cache/", ".lock", "log.txt", "output.txt", "tensorboard/", "-wal", "-shm", "cancel", "reader")
"""What holds no facts, or only text for people."""


def _flipped(at: float) -> Callable[[Path], None]:
    def damage(path: Path) -> None:
        content = bytearray(path.read_bytes())
        if content:
            content[int(at * (len(content) - 1))] ^= 4
        path.write_bytes(content)
    return damage


def _folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _zeros(path: Path) -> None:
    """A last block that never reached the disk."""
    content = path.read_bytes()
    path.write_bytes(content[:-64] + bytes(min(64, len(content))))


WAYS: dict[str, Callable[[Path], None]] = {
    "half": lambda path: os.truncate(path, path.stat().st_size // 2),
    "empty": lambda path: os.truncate(path, 0),
    "flip_0.1": _flipped(0.1), "flip_0.5": _flipped(0.5), "flip_0.9": _flipped(0.9),
    "zeros": _zeros,
    "text": lambda path: path.write_text("not what it was"),
    "deep": lambda path: path.write_text("[" * 100_000 + "]" * 100_000),
    "list": lambda path: path.write_text("[1, 2]"),
    "missing": lambda path: path.unlink(),
    "folder": _folder,
}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one act on a project with one damaged file."""

    file: str
    way: str
    act: str
    outcome: str
    words: str = ""


def files_of(project: Path) -> list[str]:
    """The files that can be damaged, relative to the project."""
    names = [str(path.relative_to(project)) for path in sorted(project.rglob("*")) if path.is_file()]
    return [name for name in names if not any(part in name for part in SKIPPED)]


def judge(before: Seen, now: Seen, way: str) -> tuple[str, str]:
    """(one of OUTCOMES, its words) of what was seen with sound files and with a damaged one."""
    if now.failure:
        return ("generic" if now.is_generic else "traceback"), now.failure[-300:]
    new = [line for line in now.said if line not in before.said]
    words = " | ".join(new)[:300]
    if now.shown == before.shown and now.status == before.status:
        return ("rebuilt" if new else "same"), words
    if (now.status in (2, 3) and new) or any(_SAYS.search(line) for line in new):
        return "said", words
    if way == "missing":
        return "gone", words
    return "silent", words or _difference(before.shown, now.shown)


def _difference(before: str, now: str) -> str:
    old, new = before.splitlines(), now.splitlines()
    return f"gone {[x for x in old if x not in new][:2]}, new {[x for x in new if x not in old][:2]}"[:300]


class Bench:
    """A sound project and a copy of it, in which what an act or a damage changed is put right before the next."""

    def __init__(self, folder: Path) -> None:
        self.sound, self.place = folder / "sound" / "p", folder / "projects" / "p"
        os.environ |= {"WHETSTONE_HOME": str(folder / "home"), "WHETSTONE_PROJECTS": str(self.place.parent)}
        build(self.sound)
        self.files = files_of(self.sound)
        shutil.copytree(self.sound, self.place)
        self._looks = _looks_of(self.place)
        self._before: dict[str, Seen] = {}

    def before(self, act: Act) -> Seen:
        """What an act shows with sound files."""
        if act.name not in self._before:
            self._before[act.name] = act.carry_out(self.place)
            self._put_right()
        return self._before[act.name]

    def trial(self, file: str, way: str, act: Act) -> Outcome:
        before = self.before(act)
        WAYS[way](self.place / file)
        outcome, words = judge(before, act.carry_out(self.place), way)
        self._put_right()
        return Outcome(file, way, act.name, outcome, words)

    def _put_right(self) -> None:
        """Whatever looks otherwise than after it was copied is copied anew, what was not there is removed."""
        now = _looks_of(self.place)
        for name in sorted({name for name in now.keys() | self._looks.keys()
                            if now.get(name) != self._looks.get(name)}, reverse=True):
            sound, path = self.sound / name, self.place / name
            if path.is_dir() and not path.is_symlink() and not sound.is_dir():
                shutil.rmtree(path)
            elif not path.is_dir():
                path.unlink(missing_ok=True)
            if sound.is_dir():
                path.mkdir(parents=True, exist_ok=True)
            elif sound.exists():
                path.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(sound, path)
        self._looks = _looks_of(self.place)


Look = tuple[int, int, int] | None


def _looks_of(folder: Path) -> dict[str, Look]:
    """Of everything below a folder, by its name: when it was written, its size and number; None of a folder."""
    found: dict[str, Look] = {}
    for place, folders, files in os.walk(folder):
        at = os.path.relpath(place, folder)
        found |= {os.path.normpath(os.path.join(at, name)): None for name in folders}
        for name in files:
            look = os.lstat(os.path.join(place, name))
            found[os.path.normpath(os.path.join(at, name))] = (look.st_mtime_ns, look.st_size, look.st_ino)
    return found


def plan(files: list[str], ways: list[str], acts: list[Act], every: int) -> Iterator[tuple[str, str, Act]]:
    """Every `every`-th of all combinations; neighbours in the order differ in all three."""
    everything = [(file, way, act) for act in acts for way in ways for file in files]
    yield from everything[::every]


def read(out: Path | None) -> list[Outcome]:
    if out is None or not out.exists():
        return []
    return [Outcome(**json.loads(line)) for line in out.read_text().splitlines()]


def table(known: list[Outcome]) -> str:
    kinds = sorted({Path(one.act).parts[0] for one in known})
    counts = Counter((Path(one.act).parts[0], one.outcome) for one in known)
    rows = [["", *OUTCOMES, "all"], *[[kind, *(str(counts[kind, one]) for one in OUTCOMES),
                                       str(sum(counts[kind, one] for one in OUTCOMES))] for kind in kinds]]
    rows.append(["all", *(str(sum(counts[kind, one] for kind in kinds)) for one in OUTCOMES), str(len(known))])
    return "\n".join("  ".join(f"{cell:>10}" for cell in row) for row in rows)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", default="", help="only files with this in their names")
    parser.add_argument("--ways", default=",".join(WAYS))
    parser.add_argument("--acts", default="", help="only acts with this in their names")
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=float("inf"), help="begin no more after this time")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--show", action="store_true", help="the table of a file, and nothing more")
    options = parser.parse_args()
    known, deadline = read(options.out), time.monotonic() + options.seconds
    if not options.show:
        done = {(one.file, one.way, one.act) for one in known}
        with tempfile.TemporaryDirectory(prefix="whetstone-damage-") as folder:
            bench = Bench(Path(folder))
            wanted = plan([name for name in bench.files if options.files in name], options.ways.split(","),
                          [act for act in ACTS if options.acts in act.name], options.every)
            for file, way, act in wanted:
                if (file, way, act.name) in done or time.monotonic() > deadline:
                    continue
                known.append(bench.trial(file, way, act))
                if options.out:
                    with open(options.out, "a") as sink:
                        sink.write(json.dumps(asdict(known[-1])) + "\n")
    print(table(known))
    bad = [one for one in known if one.outcome in BAD]
    for one in bad[:60]:
        print(f"{one.outcome}: {one.act} with {one.file} {one.way}: {one.words}")
    return 1 if bad else 0


if __name__ == "__main__":
    logging.getLogger("streamlit").setLevel(logging.ERROR)
    with contextlib.redirect_stderr(io.StringIO()) if not sys.flags.verbose else contextlib.nullcontext():
        status = main()
    sys.exit(status)
