"""Kill the program at every change of a file, again and again, and count what became of it.

    python -m tests.faults [--scenes train,decide] [--kills 1200] [--every 1] [--out FILE.json] [--folder DIR] [--show]

Goes round the scenes (tests.faults.commands, tests.faults.engine), a kill each in turn, from the first kill point of
each to its last and then anew. Each trial is added to the file at once, so that a run in the background can be looked
at and stopped; a later one adds to it. --every 7: only each seventh point. --show: the table of a file, and nothing
more. Exit status 1 where anything was lost or ended in a traceback.
"""

import argparse
import json
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

from tests.faults.commands import COMMANDS
from tests.faults.engine import ENGINE
from tests.faults.trials import Stage, Trial

SCENES = {scene.name: scene for scene in (*COMMANDS, *ENGINE)}
OUTCOMES = ("recovered", "said", "lost", "traceback")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenes", default=",".join(SCENES))
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--first", type=int, default=1, help="the first kill point")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--show", action="store_true")
    options = parser.parse_args()
    known = read(options.out)
    if not options.show:
        with tempfile.TemporaryDirectory(prefix="whetstone-faults-", dir=options.folder) as folder:
            known += play(options.scenes.split(","), options.kills, options.every, options.first, options.out,
                          Path(folder))
    print(table(known))
    bad = [trial for trial in known if trial.outcome in ("lost", "traceback")]
    for trial in bad[:20]:
        print(f"{trial.scene} at {trial.at}: {trial.outcome}: {trial.words}")
    return 1 if bad else 0


def play(names: list[str], num_kills: int, every: int, first: int, out: Path | None, folder: Path) -> list[Trial]:
    """So many kills, the scenes in turn."""
    stages = {name: Stage(SCENES[name], folder / name) for name in names}
    for name, stage in stages.items():
        print(f"{name}: {stage.num_points} kill points", flush=True)
    done: list[Trial] = []
    at = dict.fromkeys(names, first)
    while len(done) < num_kills:
        for name in names[:num_kills - len(done)]:
            trial = stages[name].trial(at[name])
            at[name] += every
            if at[name] > stages[name].num_points:
                at[name] = 1
            if trial.outcome == "unkilled":
                continue
            done.append(trial)
            if out is not None:
                with open(out, "a") as file:
                    file.write(json.dumps(asdict(trial)) + "\n")
    return done


def read(path: Path | None) -> list[Trial]:
    """The trials of a file, one a line."""
    if path is None or not path.exists():
        return []
    return [Trial(**json.loads(line)) for line in path.read_text().splitlines()]


def table(trials: list[Trial]) -> str:
    """What became of the kills, a line a scene."""
    lines = [f"{'scene':<14}{'kills':>7}{'points':>8}" + "".join(f"{name:>11}" for name in OUTCOMES) + "  orphans"]
    for name in [*dict.fromkeys(trial.scene for trial in trials), "all"]:
        own = [trial for trial in trials if name in ("all", trial.scene)]
        lines.append(f"{name:<14}{len(own):>7,}{len({(trial.scene, trial.at) for trial in own}):>8,}"
                     + "".join(f"{sum(trial.outcome == outcome for trial in own):>11,}" for outcome in OUTCOMES)
                     + f"{sum(trial.num_orphans > 0 for trial in own):>9,}")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
