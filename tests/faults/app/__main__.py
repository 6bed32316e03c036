"""Kill the running app (SIGKILL) while somebody acts in it, again and again, and count what became of the acts.

    python -m tests.faults.app [--kills 200] [--acts decide,undo] [--out FILE.jsonl] [--folder DIR] [--show]

A life: the real Streamlit server starts in a forked process on the project as the last kill left it, a session opens
the act's page, presses, and the server is killed, in turn at a random moment around the word that the act is done, and
at a random change of a file or database. Then another process opens the project and looks: an act whose word arrived
is there exactly once, one without a word once or not at all, nothing is half, every sealed file is whole, and the
doctor, once the ledger was opened, finds no more than what a dead process was writing (which is swept). Exit status 1
where not.
"""

import argparse
import json
import logging
import random
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from tests.faults.app.acts import ACTS
from tests.faults.app.kills import OUTCOMES, Kill, Stage


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--acts", default=",".join(act.name for act in ACTS))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--show", action="store_true", help="the table of a file, and nothing more")
    options = parser.parse_args()
    known = read(options.out)
    if not options.show:
        with tempfile.TemporaryDirectory(prefix="whetstone-app-", dir=options.folder) as folder:
            for kill in lives(Path(folder), options.acts.split(","), options.kills - len(known),
                              options.seed + len(known)):
                known.append(kill)
                if options.out:
                    with open(options.out, "a") as sink:
                        sink.write(json.dumps(asdict(kill)) + "\n")
    print(table(known))
    bad = [kill for kill in known if kill.outcome in ("lost", "doubled", "half", "broken")]
    for kill in bad[:30]:
        print(f"{kill.outcome}: {kill.act}, {kill.moment}: {kill.words}")
    return 1 if bad else 0


def lives(folder: Path, names: list[str], num_kills: int, seed: int) -> Iterator[Kill]:
    """So many kills, the acts in turn; each act is first done twice undisturbed."""
    acts = [act for act in ACTS if act.name in names]
    stage, rng = Stage(folder, seed), random.Random(seed)
    for act in acts:
        print(f"{act.name}: {stage.measure(act)}", flush=True)
    number = num_done = 0
    while num_done < num_kills and number < 2 * num_kills:
        act, by_change = acts[number % len(acts)], bool(number // len(acts) % 2)
        number += 1
        try:
            yield stage.kill(act, rng, by_change)
            num_done += 1
        except (LookupError, TimeoutError) as error:  # the page was not there in time: killed, but in no act
            print(f"not counted: {act.name}: {error}", flush=True)


def read(path: Path | None) -> list[Kill]:
    return [Kill(**json.loads(line)) for line in path.read_text().splitlines()] if path and path.exists() else []


def table(kills: list[Kill]) -> str:
    """What became of the acts, a line a kind."""
    lines = [f"{'act':<12}{'kills':>7}{'at a change':>13}" + "".join(f"{name:>9}" for name in OUTCOMES) + "  swept"]
    for name in [*dict.fromkeys(kill.act for kill in kills), "all"]:
        own = [kill for kill in kills if name in ("all", kill.act)]
        lines.append(f"{name:<12}{len(own):>7,}{sum(kill.moment.startswith('change') for kill in own):>13,}"
                     + "".join(f"{sum(kill.outcome == outcome for kill in own):>9,}" for outcome in OUTCOMES)
                     + f"{sum(kill.num_left > 0 for kill in own):>7,}")
    return "\n".join(lines)


if __name__ == "__main__":
    logging.getLogger("streamlit").setLevel(logging.ERROR)
    sys.exit(main())
